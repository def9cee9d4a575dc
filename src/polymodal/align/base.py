"""Aligner: several streams into one shared space, in which what belongs together lies together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from polymodal.align.pairs import Side
from polymodal.core.errors import BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens


class Aligner(Part):
    """Maps streams of the given widths into one space of width `dim`.

    An author writes `align` and either `loss`, which the training loop lowers (`learns = "gradient"`), or `fit`, which
    finds the maps from all vectors at once (`learns = "fit"`).
    """

    learns: ClassVar[str] = "gradient"
    paired: ClassVar[bool] = True  # False: learns without being told which items belong together

    def __init__(self, widths: Mapping[str, int], dim: int):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.widths = {name: widths[name] for name in self.names}
        self.dim = dim

    @final  # type: ignore[misc]
    def forward(self, streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The given streams, one or several, in the shared space. Raises `BadData` for a stream it does not know."""
        for name in streams:
            if name not in self.names:
                raise BadData(f"This aligner was built without the stream {name!r}.{suggest(name, self.names)}")
        return self.align({name: streams[name].cleared() for name in self.names if name in streams})

    @abstractmethod
    def align(self, streams: dict[str, Tokens]) -> dict[str, Tokens]:
        """The same streams, `x` [B, T, dim] and `pooled` [B, dim] (of length one) in the shared space; masks as given.

        Each stream's result depends on that stream alone, so that a text can be embedded where no picture is.
        """

    def loss(self, aligned: Mapping[str, Tokens], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of a batch of aligned streams; `rows[stream]` [B, M] as in `Side` says what belongs together."""
        raise NotImplementedError(f"{type(self).__name__} learns by fit, not by gradient.")

    def fit(self, sides: Mapping[str, Side], *, seed: int = 0) -> None:
        """Find the maps from the training items of every stream. Raises `BadData` when they do not suffice."""
        raise NotImplementedError(f"{type(self).__name__} learns by gradient, not by fit.")
