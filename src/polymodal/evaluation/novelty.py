"""How much of what was written is one's own: answers copied from training, answers and n-grams that differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from polymodal.evaluation.means import mean_interval
from polymodal.evaluation.statistics import Interval
from polymodal.metrics.ngrams import grams
from polymodal.metrics.words import words


def copied(answers: Sequence[str], training: Iterable[str], *, segment: str = "characters", **options: Any) -> Interval:
    """The share of answers that stand among the training answers, word for word, with its interval over rows
    (`options` as in `bootstrap`).

    Capitals and signs do not count (`words.words`). One less it is their novelty (Devlin et al. 2015 found 60 to 70% of
    captions copied). NaN of no answer.
    """
    known = {words(text, segment) for text in training}
    return mean_interval(np.array([words(text, segment) in known for text in answers]), proportion=True, **options)


def distinct(answers: Sequence[str], *, n: int = 2, segment: str = "characters") -> dict[str, float]:
    """Different answers, 1-grams, … `n`-grams of all answers together, as shares of how many there are.

    Distinct-n (Li et al. 2016); keys are `answers`, `1`, … NaN where there is none. The shares fall with the number of
    answers: compare equal numbers.
    """
    cut = [words(text, segment) for text in answers]
    counts = {"answers": (len(set(cut)), len(cut))}
    counts |= {str(i): (len(np.unique(g.gram)), int(g.count.sum())) for i, g in enumerate(grams(cut, n), 1)}
    return {name: different / total if total else float("nan") for name, (different, total) in counts.items()}
