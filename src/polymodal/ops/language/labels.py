"""Segmenter and tagger learnt from a corpus: two ways of labelling a sequence, one form of model folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.ops.language.conllu import Sentence
from polymodal.ops.language.crf import Crf, letter_features, word_features
from polymodal.ops.language.hmm import Hmm

METHODS = ("crf", "hmm")


class Labeller:
    """A sequence model under its method's name: `crf` or `hmm`."""

    def __init__(self, method: str, model: Crf | Hmm):
        self.method = method
        self.model = model

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What JSON holds, and what the arrays hold."""
        if isinstance(self.model, Hmm):
            return {"method": "hmm", "labels": self.model.labels, "symbols": self.model.symbols}, self.model.arrays
        return {"method": "crf"}, {"crf": self.model.model}

    @staticmethod
    def load(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> Crf | Hmm:
        """The sequence model that `state` told of."""
        return Hmm(told["labels"], told["symbols"], arrays) if told["method"] == "hmm" else Crf(arrays["crf"])


class Tagger(Labeller):
    """Parts of speech of words."""

    @classmethod
    def train(cls, corpus: Sequence[Sentence], *, method: str = "crf") -> Tagger:
        """Learn from UPOS. Raises `BadData` where the corpus has none."""
        _check(method)
        used = [one for one in corpus if set(one.tags) != {"_"}]
        if not used:
            raise BadData("The corpus has no UPOS tags to learn from.")
        tags = [one.tags for one in used]
        if method == "hmm":
            return cls(method, Hmm.train([one.words for one in used], tags))
        return cls(method, Crf.train([word_features(one.words) for one in used], tags))

    def tag(self, words: Sequence[str]) -> tuple[list[str], list[float]]:
        """A tag for each word, with its probability given the sentence."""
        return self.model.decode(words if isinstance(self.model, Hmm) else word_features(words))  # type: ignore[arg-type]


class Segmenter(Labeller):
    """Words of a text, by one label a letter: begins, middle, end of a word, or a word by itself (Xue 2003).

    Spaces part words always, and are part of none.
    """

    @classmethod
    def train(cls, corpus: Sequence[Sentence], *, method: str = "crf") -> Segmenter:
        """Learn where words end from sentences whose spacing is that of their words' `spaces`."""
        _check(method)
        runs = [run for one in corpus for run in cuttable(one)]
        texts, marks = ["".join(run) for run in runs], [[m for word in run for m in _marks(word)] for run in runs]
        if method == "hmm":
            return cls(method, Hmm.train([list(text) for text in texts], marks))
        return cls(method, Crf.train([letter_features(text) for text in texts], marks))

    def segment(self, text: str) -> tuple[list[str], list[float]]:
        """The words of a text; each with the least probability among the labels of its letters."""
        words: list[str] = []
        sure: list[float] = []
        for run in text.split():
            crf = isinstance(self.model, Crf)
            marks, chances = self.model.decode(letter_features(run) if crf else list(run))  # type: ignore[arg-type]
            begun = 0
            for i, mark in enumerate(marks):
                last = i + 1 == len(marks)
                if last or mark in "ES" or marks[i + 1] in "BS":
                    words.append(run[begun : i + 1])
                    sure.append(min(chances[begun : i + 1]))
                    begun = i + 1
        return words, sure


def _check(method: str) -> None:
    if method not in METHODS:
        raise BadArgument(f"Unknown method {method!r}.{suggest(method, METHODS)}")


def cuttable(one: Sentence) -> list[list[str]]:
    """The words between spaces; a word that has a space inside counts as several. A multiword token is cut where its
    words are its letters, as in "gonna"; one that is written otherwise, as "du" is of "de" and "le", stays whole."""
    runs: list[list[str]] = [[]]
    for word, space in _tokens(one):
        pieces = word.split()
        for i, piece in enumerate(pieces):
            runs[-1].append(piece)
            if space or i + 1 < len(pieces):
                runs.append([])
    return [run for run in runs if run]


def _tokens(one: Sentence) -> list[tuple[str, bool]]:
    kept = [(a, b, form) for a, b, form in one.joined if "".join(one.words[a - 1 : b]) != form]
    return Sentence(one.words, one.tags, spaces=one.spaces, joined=kept).written()


def _marks(word: str) -> str:
    return "S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E"
