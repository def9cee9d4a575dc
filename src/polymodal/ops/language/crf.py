"""A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001), by python-crfsuite (MIT)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polymodal.core.errors import BadData, require


class Crf:
    """Labels of a sequence of feature lists. The model is kept as the bytes that CRFsuite writes."""

    def __init__(self, model: np.ndarray):
        self.model = np.ascontiguousarray(model, np.uint8)
        self._tagger = require("pycrfsuite", "language").Tagger()
        self._bytes = self.model.tobytes()  # the tagger reads them as long as it lives, and holds no reference
        self._tagger.open_inmemory(self._bytes)

    @classmethod
    def train(
        cls, features: Sequence[Sequence[Sequence[str]]], labels: Sequence[Sequence[str]], *, epochs: int = 60
    ) -> Crf:
        """Fit by L-BFGS with both penalties at CRFsuite's usual strengths. Raises `BadData` where there is nothing."""
        crfsuite = require("pycrfsuite", "language")
        if not any(labels):
            raise BadData("There is no labelled symbol to learn from.")
        trainer = crfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params({"c1": 0.05, "c2": 0.01, "max_iterations": epochs, "feature.possible_transitions": True})
        for one, marks in zip(features, labels):
            if marks:
                trainer.append(list(one), list(marks))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            trainer.train(str(file))
            return cls(np.frombuffer(file.read_bytes(), np.uint8))

    def decode(self, features: Sequence[Sequence[str]]) -> tuple[list[str], list[float]]:
        """The likeliest labels, and the probability of each label given the whole sequence."""
        if not features:
            return [], []
        labels = self._tagger.tag(list(features))
        return labels, [float(self._tagger.marginal(label, i)) for i, label in enumerate(labels)]


def word_features(words: Sequence[str]) -> list[list[str]]:
    """Of each word: itself, its shape, endings and beginnings, its neighbours."""
    low = [word.lower() for word in words]
    features = []
    for i, word in enumerate(words):
        one = ["b", "w=" + low[i], "s=" + shape(word)]
        one += [f"e{n}={low[i][-n:]}" for n in (1, 2, 3, 4) if len(word) > n]
        one += [f"p{n}={low[i][:n]}" for n in (1, 2, 3) if len(word) > n]
        for d in (-2, -1, 1, 2):
            near = low[i + d] if 0 <= i + d < len(words) else "<>"
            one.append(f"w{d}={near}")
        one += [f"l={one[-3]}{low[i]}", f"e-1={low[i - 1][-3:] if i else '<>'}"]
        features.append(one)
    return features


def letter_features(text: str) -> list[list[str]]:
    """Of each letter: itself and its neighbours alone, in twos and threes, and what kinds of letters they are."""
    padded = f"\x02\x02{text}\x03\x03"
    kinds = [shape(c) for c in padded]
    features = []
    for i in range(2, len(text) + 2):
        a, b, c, d, e = tuple(padded[i - 2 : i + 3])
        features.append([
            "b", f"0={c}", f"-1={b}", f"1={d}", f"-2={a}", f"2={e}", f"-10={b}{c}", f"01={c}{d}", f"-11={b}{d}",
            f"-2-1={a}{b}", f"12={d}{e}", f"-101={b}{c}{d}", "k=" + "".join(kinds[i - 1 : i + 2]),
        ])  # fmt: skip
    return features


def shape(word: str) -> str:
    """What a word looks like: letters to X x 一, digits to 0, runs of one shortened."""
    kinds = ""
    for c in word:
        kind = (
            "0" if c.isdigit() else "一" if "\u3400" <= c <= "\u9fff" else "X" if c.isupper()
            else "x" if c.isalpha() else c if c.isprintable() else "~"
        )  # fmt: skip
        kinds += kind if kinds[-1:] != kind else ""
    return kinds
