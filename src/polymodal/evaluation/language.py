"""How well words are cut, tagged and tied: segmentation F1, tagging accuracy, unlabelled and labelled attachment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polymodal.core.errors import BadData
from polymodal.evaluation.means import share_interval
from polymodal.evaluation.statistics import Interval
from polymodal.ops.language.conllu import Sentence, read_conllu
from polymodal.ops.language.labels import cuttable
from polymodal.ops.language.train import learnt, load_parser, load_segmenter, load_tagger

Parse = tuple[Sequence[int], Sequence[str]]


def language_scores(folder: str | Path, corpus: str | Path | Sequence[Sentence]) -> dict[str, Interval]:
    """How well what `train_language` left in `folder` does on a corpus that it did not learn from, with 95% intervals.

    `segment`: F1 of words, each right only with both its ends (Sproat & Emerson 2003); `tags`: accuracy; `uas` and
    `las`: unlabelled and labelled attachment, of words tagged by the folder's tagger, or by the corpus where it has
    none. Raises `BadData` for a corpus that is not CoNLL-U.
    """
    sentences = read_conllu(corpus) if isinstance(corpus, str | Path) else list(corpus)
    held = learnt(folder)
    counts = {}
    tags = [sentence.tags for sentence in sentences]
    if "segment" in held:
        gold = [[word for run in cuttable(sentence) for word in run] for sentence in sentences]
        counts["segment"] = segment_counts(gold, [load_segmenter(folder).segment(s.text())[0] for s in sentences])
    if "tags" in held:
        tags = [load_tagger(folder).tag(sentence.words)[0] for sentence in sentences]
        counts["tags"] = tag_counts(sentences, tags)
    if "parse" in held:
        parses = [load_parser(folder).parse(s.words, t)[:2] for s, t in zip(sentences, tags)]
        counts |= {name: parse_counts(sentences, parses, labelled=name == "las") for name in ("uas", "las")}
    return {name: share_interval(count) for name, count in counts.items()}


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
    for i, (one, other) in enumerate(zip(gold, found, strict=True), 1):
        if "".join(one) != "".join(other):
            raise BadData(
                f"Text {i}: both sides must have the same letters; {''.join(other)[:40]!r} is not the truth's."
            )
    return np.array([(2 * len(cut(a) & cut(b)), len(a) + len(b)) for a, b in zip(gold, found)])


def cut(words: Sequence[str]) -> set[tuple[int, int]]:
    """Where each word begins and ends, counted in letters without spaces."""
    ends = np.cumsum([0, *(len(word) for word in words)]).tolist()
    return set(itertools.pairwise(ends))


def _match(gold: Sequence[Sentence], sizes: Sequence[int]) -> None:
    if len(gold) != len(sizes):
        raise BadData(f"There are {len(gold)} sentences, and answers for {len(sizes)}.")
    for i, (one, size) in enumerate(zip(gold, sizes), 1):
        if len(one) != size:
            raise BadData(f"In sentence {i} are {len(one)} words, and answers for {size}.")
