"""Many small networks that share their weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.values import check_range
from polymodal.learners.base import RAREST, Learner
from polymodal.learners.columns import Columns
from polymodal.nn.check import check_count
from polymodal.targets.base import CLASSES, MULTILABEL, NUMBER

HELD = 0.15  # of the rows, by which training stops
LEAST = 60  # rows from which some are held out
WHOLE = 30  # epochs where none are
UNFITTED: Mapping[str, Any] = {"features": 0, "gaps": 0, "width": 0, "meaning": NUMBER}


class TabM(Learner):
    """`members` perceptrons that share their weights and differ by scales of what goes in and out of every layer.

    TabM (Gorishniy, Kotelnikov & Babenko 2025; the scales are BatchEnsemble's, Wen, Tran & Ba 2020): every member has a
    loss of its own, and the answer is their mean, of probabilities where there are classes. `width` and `depth` are
    those of the shared layers. A part of the rows, where there are 60, stops the training once `patience` epochs
    brought nothing; the best epoch is kept.
    """

    shift: Tensor
    scale: Tensor
    seen: Tensor

    def __init__(
        self, facts: Mapping[str, Any] | None = None, *, members: int = 16, width: int = 128, depth: int = 2,
        dropout: float = 0.1, lr: float = 2e-3, decay: float = 3e-4, epochs: int = 150, patience: int = 12,
    ):  # fmt: skip
        super().__init__()
        check_range("[0, 1)", dropout=dropout)
        check_range("(0, inf)", lr=lr)
        check_range("[0, inf)", decay=decay)
        self.members, self.width, self.depth = (
            check_count(name, value) for name, value in (("members", members), ("width", width), ("depth", depth))
        )
        self.epochs, self.patience = check_count("epochs", epochs), check_count("patience", patience)
        self.dropout, self.lr, self.decay = dropout, lr, decay
        self._allot(facts or UNFITTED)

    def _allot(self, facts: Mapping[str, Any]) -> None:
        self.meaning = facts["meaning"]
        self.columns = Columns(facts["features"], facts["gaps"])
        sizes = [self.columns.width, *[self.width] * self.depth, facts["width"]]
        layers = pairwise(sizes)
        self.layers = nn.ModuleList(_Shared(self.members, i, o) for i, o in layers).requires_grad_(False)
        self.register_buffer("shift", torch.zeros(facts["width"]))
        self.register_buffer("scale", torch.ones(facts["width"]))
        self.register_buffer("seen", torch.ones(facts["width"], dtype=torch.bool))

    def facts(self) -> dict[str, Any]:
        return {**{k: getattr(self.columns, k) for k in ("features", "gaps")}, "width": len(self.shift),
                "meaning": self.meaning}  # fmt: skip

    def scores(self, features: Tensor) -> Tensor:
        self._check(self.columns.features, len(self.shift), features.shape[1])
        return self._joined(self._members(self.columns(features)))

    def _members(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """[N, F] standardised features to what every member says, [N, members, W]."""
        x = x[:, None].expand(-1, self.members, -1)
        for i, layer in enumerate(self.layers):
            if i:
                x = F.dropout(F.relu(x), dropout)
            x = layer(x)
        return x

    def _joined(self, said: Tensor) -> Tensor:
        """[N, members, W] to the scores of all together [N, W]."""
        if self.meaning == CLASSES:
            said = said.masked_fill(~self.seen, -torch.inf).log_softmax(2)
            mean = said.logsumexp(1) - math.log(self.members)
            return torch.where(self.seen, mean, math.log(RAREST))
        if self.meaning == MULTILABEL:
            return said.sigmoid().mean(1).clamp(RAREST, 1 - RAREST).logit()
        return said.mean(1) * self.scale + self.shift

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        known = target >= 0 if meaning == CLASSES else ~np.isnan(target.reshape(len(target), -1)).all(1)
        features, target = features[known], target[known]
        columns = Columns.of(features)
        self._allot({"features": columns.features, "gaps": columns.gaps, "width": width, "meaning": meaning})
        self.columns = columns
        x = columns(torch.from_numpy(features))
        if meaning == CLASSES:
            truth = torch.from_numpy(target.astype(np.int64))
            self.seen.copy_(torch.bincount(truth, minlength=width) > 0)
        else:
            truth = torch.from_numpy(target.reshape(len(target), -1).astype(np.float32))
            if meaning == NUMBER:
                truth = truth.repeat_interleave(max(1, len(levels)), 1)
                self.shift.copy_(truth.nanmean(0))
                self.scale.copy_((truth - self.shift).square().nanmean(0).sqrt().clamp(min=1e-6))
                truth = (truth - self.shift) / self.scale
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            for i, layer in enumerate(self.layers):
                layer.start(signs=i == 0)  # type: ignore[operator]
            self._train(x, truth, torch.tensor(levels))
        self.requires_grad_(False)

    def _train(self, x: Tensor, truth: Tensor, levels: Tensor) -> None:
        order = torch.randperm(len(x))
        held = round(HELD * len(x)) if len(x) >= LEAST else 0
        out, rows = order[:held], order[held:]
        self.requires_grad_(True)
        matrices = [p for p in self.parameters() if p.ndim > 1]
        rest = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": self.decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        best, kept, since = float("inf"), copy.deepcopy(self.layers.state_dict()), 0
        for _ in range(self.epochs if held else WHOLE):
            for batch in _batches(rows):
                optimizer.zero_grad()
                self._loss(self._members(x[batch], self.dropout), truth[batch], levels).backward()
                optimizer.step()
            if not held:
                continue
            with torch.no_grad():
                loss = float(self._loss(self._members(x[out]), truth[out], levels))
            since = 0 if loss < best else since + 1
            if loss < best:
                best, kept = loss, copy.deepcopy(self.layers.state_dict())
            elif since >= self.patience:
                break
        if held:
            self.layers.load_state_dict(kept)

    def _loss(self, said: Tensor, truth: Tensor, levels: Tensor) -> Tensor:
        """The mean of the members' own losses over what is known."""
        if self.meaning == CLASSES:
            said = said.masked_fill(~self.seen, -1e4)
            return F.cross_entropy(said.flatten(0, 1), truth.repeat_interleave(self.members))
        known = ~truth.isnan()
        each = torch.where(known, truth, 0.0)[:, None].expand_as(said)
        if self.meaning == MULTILABEL:
            loss = F.binary_cross_entropy_with_logits(said, each, reduction="none")
        elif len(levels):
            level = levels.repeat(said.shape[2] // len(levels))
            loss = torch.maximum(level * (each - said), (level - 1) * (each - said))
        else:
            loss = (said - each).square()
        return (loss.mean(1) * known).sum() / known.sum().clamp(min=1)


class _Shared(nn.Module):
    """A linear layer that `members` share: [B, members, I] to [B, members, O], what goes in and out scaled by each."""

    def __init__(self, members: int, inner: int, outer: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inner, outer))
        self.into = nn.Parameter(torch.ones(members, inner))
        self.out = nn.Parameter(torch.ones(members, outer))
        self.bias = nn.Parameter(torch.zeros(members, outer))

    def start(self, *, signs: bool) -> None:
        """Draw weights; with `signs` of what goes in, which make the members differ."""
        bound = 1 / max(1, len(self.weight)) ** 0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
            self.bias.uniform_(-bound, bound)
            if signs:
                self.into.bernoulli_().mul_(2).sub_(1)

    def forward(self, x: Tensor) -> Tensor:
        return ((x * self.into) @ self.weight) * self.out + self.bias


def _batches(rows: Tensor) -> Iterator[Tensor]:
    """The rows in a new order, some at a time: an eighth of them, 16 to 256."""
    size = min(256, max(16, len(rows) // 8))
    return iter(rows[torch.randperm(len(rows))].split(size))
