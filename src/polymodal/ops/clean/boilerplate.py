"""Cleaning texts of what stands in many of them: notices, slogans, menus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xxhash

from polymodal.core.values import check_range
from polymodal.ops.base import CellOp, Sketch
from polymodal.ops.rows import Row, Rows

_END = re.compile(r"(?<=[.!?…])[^\S\n]+|(?<=[。！？])|\n+")
_SPACES = re.compile(r"\s+")
NONE = np.empty((0, 2), np.uint64)


class Boilerplate(CellOp):
    """Sentences and lines that stand in many texts go ("Free shipping on orders over $50."), the rest of a text stays.

    A piece goes when at least `least` different texts hold it and they are at least a `share` of the column's different
    texts (Wenzek et al. 2020 drop such paragraphs of web pages). Case and spaces make no difference. Pieces of fewer
    than `letters` letters stay, and so does a text that holds nothing else: equal texts are for `exact_duplicates`.
    """

    kinds = ("text",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, share: float = 0.02, least: int = 10, letters: int = 12
    ):
        super().__init__(columns=columns)
        self.share = share
        self.least = least
        self.letters = letters
        check_range("(0, 1]", share=share)
        check_range("[2, inf)", "texts", least=least)  # what stands in one is no boilerplate

    def partial_fit(self, rows: Rows) -> Sketch:
        sketch: Sketch = {}
        for place, column in enumerate(self.chosen):
            texts = {str(row.cells[column]) for row in rows if row.cells.get(column) is not None}
            pairs = [(_key(text), key) for text in texts for key in {k for k, _ in self._pieces(text)}]
            sketch[f"pairs{place}"] = np.array(sorted(pairs), np.uint64).reshape(-1, 2)
            sketch[f"texts{place}"] = np.array(sorted({_key(text) for text in texts}), np.uint64)
        return sketch

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        for place in range(len(self.chosen)):
            texts = len(np.unique(np.concatenate([NONE[:, 0], *(part[f"texts{place}"] for part in parts)])))
            pairs = np.unique(np.concatenate([NONE, *(part[f"pairs{place}"] for part in parts)]), axis=0)
            keys, counts = np.unique(pairs[:, 1], return_counts=True)
            self.state[f"usual{place}"] = keys[counts >= max(self.least, self.share * texts)]

    def mend(self, value: str, row: Row, column: str) -> str:
        pieces = list(self._pieces(value))
        keys = np.array([key for key, _ in pieces], np.uint64)
        usual = np.isin(keys, self.state[f"usual{self.chosen.index(column)}"])
        kept, last = [], 0
        for _, (start, end) in (piece for piece, goes in zip(pieces, usual) if goes):
            kept.append(value[last:start])
            last = end
        mended = "".join([*kept, value[last:]]).strip()
        return mended if kept and mended else value

    def _pieces(self, text: str) -> Iterator[tuple[int, tuple[int, int]]]:
        """The key of each piece that is long enough, and its place with the spaces behind it."""
        start = 0
        for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
            plain = _SPACES.sub(" ", text[start:end]).strip().casefold()
            if sum(map(str.isalnum, plain)) >= self.letters:
                yield _key(plain), (start, end)
            start = end


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
