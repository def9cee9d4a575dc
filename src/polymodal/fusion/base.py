"""Fusion: several streams to one; DecisionFusion: several streams' scores to one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from polymodal.core.errors import BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens


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

    Scores are logits for classes and multilabel, standardised values for a number: `kind` says which.
    """

    level: ClassVar[str] = "decision"

    def __init__(self, names: Sequence[str], kind: str, width: int):
        super().__init__()
        self.names = tuple(sorted(names))
        self.kind = kind
        self.width = width

    @final  # type: ignore[misc]
    def forward(self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Scores [B, width] a stream and presence [B] bool a stream to scores [B, width] of the same meaning."""
        _ordered(scores, self.names)
        zero = next(iter(scores.values())).new_zeros(())
        clean = [torch.where(present[n][:, None], scores[n], zero) for n in self.names]
        return self.combine(torch.stack(clean, 1), torch.stack([present[n] for n in self.names], 1))

    @abstractmethod
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        """[B, K, width] scores (zero where absent) and [B, K] bool to [B, width]; finite when no stream is present."""
