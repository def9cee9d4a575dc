"""How well words are cut, tagged and tied: segmentation F1, tagging accuracy, unlabelled and labelled attachment."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np

from polymodal.core.errors import BadData
from polymodal.evaluation.statistics import Interval
from polymodal.ops.language.conllu import Sentence

Parse = tuple[Sequence[int], Sequence[str]]


def tag_counts(gold: Sequence[Sentence], tags: Sequence[Sequence[str]]) -> np.ndarray:
    """Words with the right tag, and words, of each sentence [N, 2]."""
    _match(gold, [len(t) for t in tags])
    return np.array([(sum(a == b for a, b in zip(s.tags, t)), len(s)) for s, t in zip(gold, tags)])


def parse_counts(gold: Sequence[Sentence], parses: Sequence[Parse], *, labelled: bool) -> np.ndarray:
    """Words with the right head, with `labelled` the right relation too, and words, of each sentence [N, 2].

    Punctuation counts, as in the shared task on Universal Dependencies (Zeman et al. 2018).
    """
    _match(gold, [len(heads) for heads, _ in parses])
    right = [
        sum(
            head == true and (not labelled or relation == name)
            for head, true, relation, name in zip(heads, s.heads, relations, s.relations)
        )
        for s, (heads, relations) in zip(gold, parses)
    ]
    return np.array([(r, len(s)) for r, s in zip(right, gold)])


def segment_counts(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> np.ndarray:
    """Twice the words found at their very letters, and the words of both sides together, of each text [N, 2].

    Their sums' ratio is F1. Raises `BadData` where the letters differ.
    """
    counts = _spans(gold, found)
    return np.stack([2 * counts[:, 0], counts[:, 1] + counts[:, 2]], 1)


def tagging_scores(gold: Sequence[Sentence], tags: Sequence[Sequence[str]], known: Collection[str]) -> dict[str, float]:
    """Accuracy, and accuracy on words outside `known`, the words of the training corpus (NaN where there are none)."""
    counts = tag_counts(gold, tags).sum(0)
    new = [a == b for s, t in zip(gold, tags) for w, a, b in zip(s.words, s.tags, t) if w not in known]
    return {"accuracy": float(counts[0] / counts[1]), "accuracy_unknown": float(np.mean(new)) if new else float("nan")}


def parse_scores(gold: Sequence[Sentence], parses: Sequence[Parse]) -> dict[str, float]:
    """Unlabelled and labelled attachment scores."""
    either = {name: parse_counts(gold, parses, labelled=name == "las").sum(0) for name in ("uas", "las")}
    return {name: float(right / words) for name, (right, words) in either.items()}


def segmentation_scores(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of words, each right only with both its ends (Sproat & Emerson 2003)."""
    right, true, given = _spans(gold, found).sum(0)
    return {"precision": float(right / given), "recall": float(right / true), "f1": float(2 * right / (given + true))}


def ratio_interval(counts: np.ndarray, *, draws: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """The ratio of two sums over sentences, `counts` [N, 2], with an interval by the bootstrap of sentences."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), draws) @ counts
    low, high = np.quantile(weights[:, 0] / weights[:, 1], [(1 - level) / 2, (1 + level) / 2])
    right, words = counts.sum(0)
    return Interval(float(right / words), float(low), float(high))


def cut(words: Sequence[str]) -> set[tuple[int, int]]:
    """Where each word begins and ends, counted in letters without spaces."""
    ends = np.cumsum([0, *(len(word) for word in words)]).tolist()
    return set(itertools.pairwise(ends))


def _spans(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> np.ndarray:
    for i, (one, other) in enumerate(zip(gold, found, strict=True), 1):
        if "".join(one) != "".join(other):
            raise BadData(
                f"Text {i}: both sides must have the same letters; {''.join(other)[:40]!r} is not the truth's."
            )
    return np.array([(len(cut(a) & cut(b)), len(a), len(b)) for a, b in zip(gold, found)])


def _match(gold: Sequence[Sentence], sizes: Sequence[int]) -> None:
    if len(gold) != len(sizes):
        raise BadData(f"There are {len(gold)} sentences, and answers for {len(sizes)}.")
    for i, (one, size) in enumerate(zip(gold, sizes), 1):
        if len(one) != size:
            raise BadData(f"In sentence {i} are {len(one)} words, and answers for {size}.")
