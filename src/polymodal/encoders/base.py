"""Encoder: tensors of one field to `Tokens`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from polymodal.core.part import Part
from polymodal.core.types import Tokens


@dataclass(frozen=True, eq=False)
class Held:
    """What parts of cells hold, for a decoder to rebuild.

    `values` are float [B, P, V], in units of their spread, or, of `words` different ones, int64 [B, P]; `hidden` bool
    [B, P], or [B, P, V], says which of them were hidden.
    """

    values: Tensor
    hidden: Tensor
    words: int = 0


class Encoder(Part):
    """Turns what its processor made into `Tokens` of width `dim`.

    An author writes `encode`; keeps few tokens (at most about 16 a cell from scratch: pool space and time), since every
    fusion pays for each of them; and, where it helps, `augment`.
    """

    processor: ClassVar[str] = ""  # catalogue name of the processor that feeds it
    processor_options: ClassVar[Mapping[str, Any]] = {}  # of that processor, where the user names none
    pretrained: ClassVar[bool] = False
    traced: ClassVar[bool] = True  # a token carries what lies at its `where`, and only that
    hidden_share: ClassVar[float] = 0.5  # of a cell's parts, in masked modelling

    def __init__(self, facts: Mapping[str, Any], dim: int):
        super().__init__()
        self.facts = dict(facts)
        self.dim = dim

    @final  # type: ignore[misc]
    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Encode `inputs`; rows whose `inputs["present"]` [B] bool is False come out missing."""
        rest = {name: value for name, value in inputs.items() if name != "present"}
        if self.training:
            rest = self.augment(rest)
        tokens = self.encode(rest)
        return tokens.keep(inputs["present"]) if "present" in inputs else tokens.cleared()

    @abstractmethod
    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        """[B, …] tensors to Tokens [B, T, dim]. Must be finite for any input that the processor can make."""

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Random change of the inputs in training only; draws from torch's global generator. Default: none."""
        return inputs

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Set buffers (mean, spread) from a sample of training inputs before training. Default: nothing."""
        return

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """[B, P] bool: the parts of each cell that `hide` can hide, as patches, stretches, columns or words. Default:
        None, there are none, and masked modelling leaves the encoder out."""
        return None

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """The inputs without the parts that `hidden` [B, P] bool names, and what these held. What a hidden part held
        must change nothing of the inputs that are given back. `inputs` may be what `once` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no parts that can be hidden.")

    def once(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What no training changes of the way from `inputs` to tokens: tensors, a row a cell, that `augment` and
        `encode` take in their place, so that it is done once a cell and not once an epoch. Default: there is none."""
        return {}

    def lengths(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """[B] how long each row is, where a batch costs what its longest row costs; rows of like length are then
        encoded together. A row's tokens must not depend on it, nor their number. Default: None, all cost the same."""
        return None

    def recipe(self) -> dict[str, Any]:
        """How it likes to be trained from scratch: options of the loop (`lr`, `epochs`, `batch` …) by name."""
        return {}
