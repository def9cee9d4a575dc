"""Quality-aware late fusion: a stream counts in proportion to how sure its energy says it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.values import check_range
from polymodal.fusion.base import DecisionFusion, Loss
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import CLASSES


class Qmf(DecisionFusion):
    """Σ_k w_k z_k with weights in proportion to each stream's negative energy (Zhang et al. 2023, QMF).

    c_k = T log Σ_c exp(z_kc / T), at least 0, and w = c / Σ c over the streams that are there; the paper's code divides
    by ten instead, so that scores would grow with the number of streams. No gradient flows through the weights.

    The heads learn by their own losses, by that of the answer, and by a ranking that makes confidence fall where the
    loss was high, for neighbours i, j in the batch, with weight `ranking`:
    mean max(0, sign(h_i - h_j)(c_i - c_j) + |h_i - h_j|), where h is the row's mean loss over the epochs before, scaled
    to 0..1 a stream. Rows without a number (see `see`) are ranked by this step's own losses.

    `temperature` is T. Only for classes, which have an energy. Raises `BadArgument` for other targets and for values
    out of range.
    """

    needs: ClassVar[tuple[str, ...]] = (CLASSES,)

    def __init__(
        self, names: Sequence[str], meaning: str, width: int, *, temperature: float = 1.0, ranking: float = 0.1
    ):  # fmt: skip
        super().__init__(names, meaning, width)
        self.temperature = temperature
        self.ranking = ranking
        check_range("(0, inf)", temperature=temperature)
        check_range("[0, inf)", ranking=ranking)
        self._rows: Tensor | None = None
        self._summed = torch.zeros(0, len(self.names))  # of training alone, so it is no buffer
        self._seen = torch.zeros(0, len(self.names))

    def confidence(self, scores: Tensor) -> Tensor:
        """[..., C] scores to [...] negative energy, at least 0."""
        scores = at_least_float32(scores)
        return (self.temperature * torch.logsumexp(scores / self.temperature, -1)).clamp(min=0)

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        sure = self.confidence(scores.detach()) * present
        total = sure.sum(1, keepdim=True)
        equal = present / present.sum(1, keepdim=True).clamp(min=1)  # where no stream is sure of anything
        weights = torch.where(total > 0, sure / total.clamp(min=torch.finfo(total.dtype).tiny), equal.to(total.dtype))
        return (weights[..., None] * scores).sum(1)

    def see(self, rows: Tensor) -> None:
        self._rows = rows

    def losses(
        self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor], truth: Tensor, own: Mapping[str, Loss]
    ) -> dict[str, Tensor]:
        losses = {n: own[n](scores[n][present[n]], truth[present[n]]) for n in self.names}
        losses[""] = own[self.names[0]](self(scores, present), truth)
        if self.ranking and self.training:
            known = truth >= 0
            rows = torch.stack([present[n] & known for n in self.names], 1)
            logits = torch.stack([scores[n] for n in self.names], 1)
            past, counted = self._history(logits.detach(), truth.clamp(min=0), rows)
            sure = self.confidence(torch.where(rows[..., None], logits, 0.0))
            losses["ranking"] = self.ranking * ranking_loss(sure, past, counted)
        return losses

    def _history(self, logits: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[B, K] each row's mean past loss in 0..1, and whether it has one; this step's losses join the past."""
        classes = logits.shape[-1]
        each = truth[:, None].expand(rows.shape).reshape(-1)
        now = F.cross_entropy(at_least_float32(logits).reshape(-1, classes), each, reduction="none").view(rows.shape)
        if self._rows is None:
            return _scaled(now, rows, now[rows]), rows
        numbers, self._rows = self._rows.to(now.device), None
        self._summed, self._seen = self._summed.to(now.device), self._seen.to(now.device)
        if len(more := self._summed.new_zeros(max(0, int(numbers.max()) + 1 - len(self._seen)), rows.shape[1])):
            self._summed, self._seen = torch.cat([self._summed, more]), torch.cat([self._seen, more])
        mean = self._summed / self._seen.clamp(min=1)
        past = _scaled(mean[numbers], rows, mean[self._seen > 0]), rows & (self._seen[numbers] > 0)
        self._summed[numbers] += torch.where(rows, now, 0.0).to(self._summed.dtype)
        self._seen[numbers] += rows
        return past


def ranking_loss(sure: Tensor, past: Tensor, counted: Tensor) -> Tensor:
    """Mean over neighbours of max(0, sign(h_i - h_j)(c_i - c_j) + |h_i - h_j|): confidence c and past loss h, [B, K].

    Pairs of which one is not `counted` [B, K] bool, and those of equal past, do not count. Zero without a pair.
    """
    gap = past - past.roll(1, 0)
    pairs = counted & counted.roll(1, 0) & (gap != 0)
    each = F.relu(gap.sign() * (sure - sure.roll(1, 0)) + gap.abs())
    return torch.where(pairs, each, 0.0).sum() / pairs.sum().clamp(min=1)


def _scaled(values: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """Values in 0..1, by the smallest and the largest of `known`."""
    if not len(known):
        return torch.zeros_like(values)
    low, high = known.min(), known.max()
    return torch.where(rows, (values - low) / (high - low).clamp(min=1e-6), 0.0)
