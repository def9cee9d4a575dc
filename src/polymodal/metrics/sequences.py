"""Metrics of words in their order: what answer and reference share, and what must be changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq, Levenshtein

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.metrics.counts import ratio
from polymodal.metrics.words import check_segment, spoken, words
from polymodal.metrics.written import Written, best, present

UNITS = ("word", "character")


class RougeL(Written):
    """Mean over rows of (1 + β²) P R / (R + β² P), P and R being the shares of the answer's and of a reference's words
    in their longest common subsequence (Lin 2004).

    As COCO's captions are judged: the greatest P and the greatest R of the references, each for itself, and β = 1.2.
    F1 of the best reference, which other programs give, is less. `segment` cuts Chinese (see `words.words`).
    """

    title, bounds = "ROUGE-L", (0.0, 1.0)

    def __init__(self, *, beta: float = 1.2, segment: str = "characters"):
        self.beta, self.segment = beta, segment
        check_range("(0, inf)", beta=beta)
        check_segment(segment, "rouge_l")

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        answers = [words(text, self.segment) for text in said.tolist()]
        shares = []
        for i, text in zip(row.tolist(), texts):
            reference, answer = words(text, self.segment), answers[i]
            common = LCSseq.similarity(answer, reference)
            shares.append((common / max(len(answer), 1), common / max(len(reference), 1)))
        precision, recall = (best(row, share, len(said)) for share in zip(*shares))
        square = self.beta**2
        return np.nan_to_num(ratio((1 + square) * precision * recall, recall + square * precision))


class Wer(Written):
    """Words to replace, leave out and put in, of all rows together, as a share of the references' words (Levenshtein
    1966): 0 is perfect, and it may exceed 1.

    Words are what spaces part, in small letters, without signs; Chinese characters are words. With `unit` character,
    letters are counted instead. Of several references the one with the least share counts. Raises `BadArgument` for
    another unit.
    """

    title, greater_is_better, bounds = "word error rate", False, (0.0, np.inf)

    def __init__(self, *, unit: str = "word"):
        self.unit = unit
        if unit not in UNITS:
            raise BadArgument(f"wer takes unit={' or '.join(map(repr, UNITS))}; got {unit!r}.")

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        answers = [self._units(text) for text in said.tolist()]
        least: dict[int, tuple[float, int, int]] = {}
        for i, text in zip(row.tolist(), texts):
            reference = self._units(text)
            edits = Levenshtein.distance(answers[i], reference)
            found = (edits / max(len(reference), 1), edits, len(reference))
            least[i] = min(least.get(i, found), found)
        return np.array([least[i][1:] for i in range(len(said))], dtype=np.float64).reshape(-1, 2)

    def joined(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return ratio(sums[0], sums[1])

    def _units(self, text: str) -> Sequence[str]:
        said = spoken(text)
        return said if self.unit == "word" else "".join(said)
