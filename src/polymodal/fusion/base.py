"""Fusion: several streams to one; DecisionFusion: several streams' scores to one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens
from polymodal.targets.base import MEANINGS

Loss = Callable[[Tensor, Tensor], Tensor]  # of scores [n, width] and encoded targets [n, …]


def _ordered(given: Mapping[str, object], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise BadData(f"This fusion was built without the stream {name!r}.{suggest(name, names)}")
    missing = [n for n in names if n not in given]
    if missing:
        raise BadData(f"The streams {missing} were not given. A missing modality is an all-False mask, not a gap.")


class Fusion(Part):
    """Joins streams into one `Tokens` of width `dim`.

    `widths` gives each stream's width. An author writes `fuse`, which receives the streams in the order of
    `self.names` (sorted, so that the caller's order never matters) with every masked value already zero.
    """

    level: ClassVar[str] = "feature"  # early | feature | hybrid | unified … (a word for the leaderboard)
    reads_tokens: ClassVar[bool] = False  # False: only `pooled` is read, so sequences need not be loaded

    def __init__(self, widths: Mapping[str, int], dim: int):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.widths = {name: widths[name] for name in self.names}
        self.dim = dim

    @final  # type: ignore[misc]
    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        """Fuse. Raises `BadData` for a stream unknown or not given."""
        _ordered(streams, self.names)
        return self.fuse({name: streams[name].cleared() for name in self.names})

    @abstractmethod
    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        """Tokens of width `dim`, B rows. A row with no stream at all must come out finite, with a False mask."""


class DecisionFusion(Part):
    """Joins the scores that each stream's own head gave: late fusion.

    What scores mean, `meaning` says: `classes` (logits), `multilabel` (log-odds) or `number` (standardised values); see
    `targets.base`.
    """

    level: ClassVar[str] = "decision"
    needs: ClassVar[tuple[str, ...]] = MEANINGS  # what scores may mean for the rule to be defined

    def __init__(self, names: Sequence[str], meaning: str, width: int):
        super().__init__()
        if meaning not in self.needs:
            raise BadArgument(
                f"{type(self).__name__} combines scores of {' or '.join(self.needs)}, not of {meaning}. For all of "
                "them there are late_mean, late_weighted, product and stacking."
            )
        self.names = tuple(sorted(names))
        self.meaning = meaning
        self.width = width

    @final  # type: ignore[misc]
    def forward(self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Scores [B, width] a stream and presence [B] bool a stream to scores [B, width] of the same meaning."""
        _ordered(scores, self.names)
        zero = next(iter(scores.values())).new_zeros(())
        clean = [torch.where(present[n][:, None], scores[n], zero) for n in self.names]
        return self.combine(torch.stack(clean, 1), torch.stack([present[n] for n in self.names], 1))

    def losses(
        self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor], truth: Tensor, own: Mapping[str, Loss]
    ) -> dict[str, Tensor]:
        """Named losses of a batch; the combined answer's own goes by the name "".

        `own[stream](scores, truth)` is the loss of a stream's head. Unless overridden each head learns alone, from the
        rows that have its stream, and the rule's parameters from scores cut off from the heads.
        """
        losses = {n: own[n](scores[n][present[n]], truth[present[n]]) for n in scores}  # no row at all: a loss of zero
        if any(p.requires_grad for p in self.parameters()):
            detached = {n: value.detach() for n, value in scores.items()}
            losses[""] = own[self.names[0]](self(detached, present), truth)
        return losses

    def see(self, rows: Tensor) -> None:
        """The numbers [b] of the training rows of the batch that comes next, for a rule that remembers rows."""

    @abstractmethod
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        """[B, K, width] scores (zero where absent) and [B, K] bool to [B, width]; finite when no stream is present."""
