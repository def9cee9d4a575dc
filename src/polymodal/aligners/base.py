"""Aligner: several streams into one shared space, in which what belongs together lies together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, final

from torch import Tensor

from polymodal.aligners.pairs import Side
from polymodal.core.errors import BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens
from polymodal.nn.normalize import l2_normalize

Embed = Callable[[Mapping[str, Tokens]], dict[str, Tokens]]


class Aligner(Part):
    """Maps streams of the given widths into one space of width `dim`.

    An author writes `project` (or the whole of `align`), and either `loss`, which the training loop lowers
    (`learns = "gradient"`), or `fit`, which finds the maps from all vectors at once (`learns = "fit"`). What is fitted
    lies in buffers whose shapes follow from the constructor's arguments, so that a saved aligner can be loaded.
    """

    learns: ClassVar[str] = "gradient"
    paired: ClassVar[bool] = True  # False: learns without being told which items belong together
    reads_cells: ClassVar[bool] = False  # True: `inform` wants to be called before training
    linear: bool = False  # True: each stream goes through one linear map, and so cannot be said to beat such a map

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

    def align(self, streams: dict[str, Tokens]) -> dict[str, Tokens]:
        """The same streams, `x` [B, T, dim] and `pooled` [B, dim] (of length one) in the shared space; masks as given.

        Each stream's result depends on that stream alone, so that a text can be embedded where no picture is.
        """
        return {name: on_sphere(tokens, partial(self.project, name)) for name, tokens in streams.items()}

    def project(self, name: str, vectors: Tensor) -> Tensor:
        """Vectors [..., width] of the stream `name` to [..., dim]; `align` gives them length one."""
        raise NotImplementedError(f"{type(self).__name__} has neither `project` nor `align`.")

    def loss(self, aligned: Mapping[str, Tokens], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of a batch of aligned streams; `rows[stream]` [B, M] as in `Side` says what belongs together.

        Streams may differ in B: ten photos and their fifty captions are a batch.
        """
        raise NotImplementedError(f"{type(self).__name__} learns by fit, not by gradient.")

    @property
    def reads_stored(self) -> bool:
        """Whether `objective` needs the stored tokens themselves, so that the towers must be frozen."""
        return False

    def objective(
        self, streams: Mapping[str, Tokens], rows: Mapping[str, Tensor], embed: Embed | None = None
    ) -> dict[str, Tensor]:
        """Named losses of a batch of stored tokens. `embed` stands for `self`: the same vectors in less memory."""
        return self.loss((embed or self)(streams), rows)

    def inform(self, columns: Mapping[str, Sequence[Any]], *, seed: int = 0) -> list[str]:
        """Told before training the raw cells of the table, column by column; cell r belongs to row r of `Side.rows`.

        An aligner that learns from more than the streams' vectors reads it here (`reads_cells`); nothing of it is
        needed afterwards to embed. Returns what the user should be told.
        """
        return []

    def fit(self, sides: Mapping[str, Side], *, seed: int = 0) -> list[str]:
        """Find the maps from the training items of every stream. Returns what the user should be told.

        Raises `BadData` when they do not suffice.
        """
        raise NotImplementedError(f"{type(self).__name__} learns by gradient, not by fit.")


def on_sphere(tokens: Tokens, change: Callable[[Tensor], Tensor]) -> Tokens:
    """Tokens whose vectors went through `change` [..., D] -> [..., dim] and were scaled to length one; masks as given.

    A pooled vector that is the only token (`Tokens.single`) goes through once.
    """
    pooled = l2_normalize(change(tokens.pooled))
    if tokens.single:
        return Tokens.of_pooled(pooled, tokens.mask, tokens.where).cleared()
    return Tokens(l2_normalize(change(tokens.x)), tokens.mask, pooled, tokens.where).cleared()
