"""Cleaning texts that say nothing: too short, too long, repeating themselves, or like no other text in the data."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.scripts import UNSPACED
from polymodal.core.shown import many
from polymodal.core.values import check_range
from polymodal.ops.base import CellOp, Sketch
from polymodal.ops.ngram import count, merge, surprise
from polymodal.ops.rows import Row, Rows, SetAside

_EVERY = 7  # each so manieth row tells what is usual
_WORD = re.compile(r"\w+")
_LETTERS = re.compile(f"[{UNSPACED}]")


class Length(CellOp):
    """Sets aside texts with fewer than `least` or more than `most` words; a Chinese or Japanese letter is a word."""

    kinds = ("text",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, least: int = 1, most: int = 100_000):
        super().__init__(columns=columns)
        self.least = least
        self.most = most
        if not 0 <= least <= most:
            raise BadArgument(f"least must be between 0 and most; got least {least}, most {most}.")

    def mend(self, value: str, row: Row, column: str) -> str:
        words = count_words(value)
        if not self.least <= words <= self.most:
            few = words < self.least
            raise SetAside(
                f"has {many(words, 'word')}, {'fewer' if few else 'more'} than {self.least if few else self.most}"
            )
        return value


class Repetition(CellOp):
    """Sets aside texts that repeat themselves.

    `lines`: the most a share of equal lines may be (three lines or more); `words`: the most a share of one sequence of
    four words may cover (Rae et al. 2021 measure both); `packed`: the least a text of 200 letters or more may shrink
    to under compression.
    """

    kinds = ("text",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        lines: float = 0.5,
        words: float = 0.4,
        packed: float = 0.15,
    ):
        super().__init__(columns=columns)
        self.lines = lines
        self.words = words
        self.packed = packed
        check_range("[0, 1]", lines=lines, words=words, packed=packed)

    def mend(self, value: str, row: Row, column: str) -> str:
        lines = [line.strip() for line in value.splitlines() if line.strip()]
        if len(lines) >= 3 and (share := 1 - len(set(lines)) / len(lines)) > self.lines:
            raise SetAside(f"{share:.0%} of its lines are copies of others in it")
        words = [w.casefold() for w in _WORD.findall(value)]
        if len(words) >= 12:
            most = Counter(zip(words, words[1:], words[2:], words[3:])).most_common(1)[0][1]
            if most > 2 and (share := min(1.0, 4 * most / len(words))) > self.words:
                raise SetAside(f"the same four words over and over are {share:.0%} of it")
        encoded = value.encode("utf-8", "surrogatepass")
        if len(encoded) >= 200 and (share := len(zlib.compress(encoded, 6)) / len(encoded)) < self.packed:
            raise SetAside(f"shrinks to {share:.0%} under compression: it repeats itself")
        return value


class Unlikely(CellOp):
    """Sets aside texts like no other in the data: keyboard noise, broken encodings, another language.

    A character n-gram model is trained on the column itself (all other rows: a text never vouches for itself). A text
    is set aside when its perplexity a letter is more than `ratio` times that of the median row. Needs some hundred rows
    to know what is usual; texts of fewer than `shortest` letters pass.
    """

    kinds = ("text",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, ratio: float = 8.0, order: int = 4, shortest: int = 12
    ):
        super().__init__(columns=columns)
        self.ratio = ratio
        self.order = order
        self.shortest = shortest
        check_range("(1, inf)", ratio=ratio)
        check_range("[1, 6]", order=order)

    def partial_fit(self, rows: Rows) -> Sketch:
        texts = [(row.number, str(row.cells[c])) for row in rows for c in self.chosen if row.cells.get(c) is not None]
        sample = [text for number, text in texts if number % _EVERY == 0 and len(text) >= self.shortest]
        return {**count([text for _, text in texts], self.order), "sample": np.array(sample, dtype=np.str_)}

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        model = merge(parts, self.order)
        known = [str(text) for p in parts for text in p["sample"]]
        usual = np.median([surprise(t, model, self.order) for t in known]) if known else np.inf
        self.state = {**model, "usual": np.array(usual)}

    def mend(self, value: str, row: Row, column: str) -> str:
        if len(value) < self.shortest:
            return value
        usual = float(self.state["usual"])
        times = float(np.exp(surprise(value, self.state, self.order) - usual))
        if times > self.ratio:
            raise SetAside(f"is like no other text here: perplexity {times:.1f} times the usual, above {self.ratio:g}")
        return value


def count_words(text: str) -> int:
    """Words of a text; where words are not separated by spaces (see `core.scripts`) each letter counts as one."""
    return sum(len(_LETTERS.findall(word)) or 1 for word in _WORD.findall(text))
