"""Word error rate: how many words a transcript got wrong, with an interval over utterances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from polymodal.core.errors import BadData


@dataclass(frozen=True)
class WordErrors:
    """`rate` = (substitutions + deletions + insertions) / words, and the ends of its 95% interval.

    NaN with no reference word; the ends are NaN for a single utterance.
    """

    rate: float
    low: float
    high: float
    substitutions: int
    deletions: int
    insertions: int
    words: int
    utterances: int


def edits(reference: Sequence[str], said: Sequence[str]) -> tuple[int, int, int]:
    """Substitutions, deletions and insertions of a cheapest way from `reference` to `said` (Levenshtein 1966)."""
    kinds = Counter(step.tag for step in Levenshtein.editops(reference, said))
    return kinds["replace"], kinds["delete"], kinds["insert"]


def wer(
    references: Sequence[str], hypotheses: Sequence[str | None], *, seed: int = 0, resamples: int = 2000
) -> WordErrors:
    """Word error rate over utterances; small letters and capitals are the same, words are what spaces part.

    Utterances are resampled with replacement for the interval (Bisani & Ney 2004), percentiles of the rate. A missing
    hypothesis is an empty one. Raises `BadData` for lists of other lengths.
    """
    if len(references) != len(hypotheses):
        raise BadData(f"There are {len(references)} references and {len(hypotheses)} hypotheses.")
    cut = [(r.lower().split(), (h or "").lower().split()) for r, h in zip(references, hypotheses)]
    counts = np.array([(*edits(r, h), len(r)) for r, h in cut], np.int64).reshape(-1, 4)
    s, d, n, words = (int(total) for total in counts.sum(0))
    if not words:
        return WordErrors(np.nan, np.nan, np.nan, s, d, n, 0, len(counts))
    low = high = float("nan")
    if len(counts) > 1:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)
        wrong, of = drawn @ counts[:, :3].sum(1), drawn @ counts[:, 3]
        low, high = (float(x) for x in np.percentile(wrong[of > 0] / of[of > 0], [2.5, 97.5]))
    return WordErrors((s + d + n) / words, low, high, s, d, n, words, len(counts))
