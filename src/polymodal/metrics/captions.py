"""Metrics of longer answers by the n-grams that they share with several references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.registry import label
from polymodal.core.values import check_range
from polymodal.metrics import METRICS
from polymodal.metrics.base import Metric
from polymodal.metrics.counts import ratio
from polymodal.metrics.ngrams import grams, looked_up
from polymodal.metrics.words import check_segment, words
from polymodal.metrics.written import Written, best, present

TINY, SMALL = 1e-15, 1e-9  # what COCO's script adds above and below, so that no 4-gram in common is no logarithm of 0
LEAST_ROWS = 50  # below them, which n-grams are rare cannot be told


class Bleu(Written):
    """BLEU-n of all rows together: the geometric mean of the precisions of 1- to `n`-grams, no n-gram counting more
    often than in the reference that has it most, times exp(1 - r/c) where the answers, of c words, are shorter than
    the references nearest in length, of r (Papineni et al. 2002).

    Not smoothed, words cut as COCO's captions are (`words.words`; `segment` cuts Chinese). A mean of sentences' BLEU is
    another number. Raises `BadArgument` for `n` below 1.
    """

    title, bounds = "BLEU", (0.0, 1.0)

    def __init__(self, *, n: int = 4, segment: str = "characters"):
        self.n, self.segment = n, segment
        check_range("[1, 20]", n=n)
        check_segment(segment, "bleu")

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        """n-grams in common and n-grams said, for each length; words said, words of the nearest reference."""
        row, texts = present(references)
        cut = [words(text, self.segment) for text in (*said.tolist(), *texts)]
        rows = len(said)
        added = []
        for every in grams(cut, self.n):
            ours, theirs = every.of(0, rows), every.of(rows, len(cut))
            key, place = np.unique(theirs.owned(row), return_inverse=True)
            most = np.zeros(len(key), dtype=np.int64)
            np.maximum.at(most, place, theirs.count)
            common = np.minimum(ours.count, looked_up(key, most, ours.owned(np.arange(rows))))
            added += [np.bincount(ours.text, common, rows), ours.totals(rows)]
        length = np.array([len(one) for one in cut], dtype=np.float64)
        off = -np.abs(length[rows:] - length[:rows][row]) - length[rows:] / (length.max(initial=0) + 1)
        nearest = np.flatnonzero(off == best(row, off, rows)[row])  # of two as near, the shorter
        added += [length[:rows], length[rows:][nearest[np.searchsorted(row[nearest], np.arange(rows))]]]
        return np.stack(added, axis=1)

    def joined(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        *shared, said, nearest = sums
        precision = (np.stack(shared[::2]) + TINY) / (np.stack(shared[1::2]) + SMALL)
        brevity = np.minimum(0.0, 1 - (nearest + SMALL) / (said + TINY))
        return np.exp(np.log(precision).mean(0) + brevity)


class Cider(Written):
    """CIDEr-D: cosine of the n-grams of answer and reference, each weighed by how few rows have it, the mean over 1- to
    `n`-grams, references and rows, times 10 (Vedantam, Zitnick & Parikh 2015). Papers print 100 times a tenth of it:
    0.776 is their 77.6.

    An n-gram counts in the answer at most as much as in the reference, and a pair counts exp(-d² / 2 sigma²), d being
    the difference of their numbers of bigrams, as the reference program has it. How rare n-grams are is read from the
    references of all rows at once, each row a document; resampling does not change it. Below 50 rows that is
    guesswork, and the metric NaN, unless `documents` says it: lists of references of at least 50 things. Figures of
    other test sets, and with other documents, are not comparable. `segment` cuts Chinese (see `words.words`).

    Raises `BadArgument` for fewer documents, or options outside their range.
    """

    title, bounds = "CIDEr-D", (0.0, 10.0)

    def __init__(
        self,
        *,
        n: int = 4,
        sigma: float = 6.0,
        segment: str = "characters",
        documents: Sequence[Sequence[str]] | None = None,
    ):
        self.n, self.sigma, self.segment, self.documents = n, sigma, segment, documents
        check_range("[1, 20]", n=n)
        check_range("(0, inf)", sigma=sigma)
        check_segment(segment, "cider")
        if documents is not None and len(documents) < LEAST_ROWS:
            raise BadArgument(f"cider takes documents of at least {LEAST_ROWS} things; got {len(documents)}.")

    @property
    def name(self) -> str:
        spec = METRICS.spec(self)
        return label({**spec, "documents": len(spec["documents"])} if "documents" in spec else spec)

    def settled(self, truth: np.ndarray) -> Metric:
        if self.documents is not None or len(truth) < LEAST_ROWS:
            return self
        told = [[text for text in row if text] for row in (truth if truth.ndim == 2 else truth[:, None]).tolist()]
        return Cider(n=self.n, sigma=self.sigma, segment=self.segment, documents=told)

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        rows = len(said)
        of, further = row, []
        if self.documents is not None:
            of = np.repeat(np.arange(len(self.documents)), [len(texts) for texts in self.documents])
            further = [text for texts in self.documents for text in texts]
        elif rows < LEAST_ROWS:
            return np.full(rows, np.nan)
        count = rows if self.documents is None else len(self.documents)
        cut = [words(text, self.segment) for text in (*said.tolist(), *texts, *further)]
        end, value = rows + len(texts), np.zeros(len(texts))
        length = np.array([len(one) for one in cut[:end]], dtype=np.float64).clip(min=1) - 1
        near = np.exp(-((length[:rows][row] - length[rows:]) ** 2) / (2 * self.sigma**2))
        for every in grams(cut, self.n):
            ours, theirs = every.of(0, rows), every.of(rows, end)
            known = theirs if self.documents is None else every.of(end, len(cut))
            held = np.bincount(np.unique(known.owned(of)) % every.kinds, minlength=every.kinds)
            rare = np.log(count) - np.log(np.maximum(held, 1))
            a, b = ours.count * rare[ours.gram], theirs.count * rare[theirs.gram]
            both = np.minimum(looked_up(ours.owned(np.arange(rows)), a, theirs.owned(row)), b) * b
            below = np.sqrt(np.bincount(ours.text, a**2, rows))[row] * np.sqrt(
                np.bincount(theirs.text, b**2, len(texts))
            )
            value += np.nan_to_num(ratio(np.bincount(theirs.text, both, len(texts)), below))
        return 10 / self.n * np.bincount(row, value * near, rows) / np.bincount(row, minlength=rows)


class Chrf(Written):
    """chrF: F-score of character 1- to `n`-grams of all rows together, precision and recall being means over lengths;
    recall counts `beta` times as much (Popović 2015). From 0 to 100, as it is printed.

    Characters as they stand, without spaces, as sacrebleu's `chrF2`. Of several references a row the one of the
    greatest F-score counts, and of equals the shortest.
    """

    title, bounds = "chrF", (0.0, 100.0)

    def __init__(self, *, n: int = 6, beta: float = 2.0):
        self.n, self.beta = n, beta
        check_range("[1, 20]", n=n)
        check_range("(0, inf)", beta=beta)

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        """n-grams said, of the reference, and in common, for each length."""
        row, texts = present(references)
        rows = len(said)
        cut = ["".join(text.split()) for text in (*said.tolist(), *texts)]
        counts = []
        for every in grams(cut, self.n):
            ours, theirs = every.of(0, rows), every.of(rows, len(cut))
            asked = theirs.totals(len(texts))
            common = np.minimum(theirs.count, looked_up(ours.owned(np.arange(rows)), ours.count, theirs.owned(row)))
            both = np.bincount(theirs.text, common, len(texts))
            counts.append(np.stack([np.where(asked > 0, ours.totals(rows)[row], 0), asked, both]))
        each = np.stack(counts)  # [n, 3, P]
        order = np.lexsort((each[:, 1].sum(0), -self._score(each).round(9), row))
        first = order[np.searchsorted(row, np.arange(rows))]  # `row` is ascending, before and after
        return each[:, :, first].reshape(3 * self.n, rows).T

    def joined(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._score(sums.reshape(self.n, 3, -1))

    def _score(self, counts: np.ndarray) -> np.ndarray:
        said, asked, both = counts.transpose(1, 0, 2)
        there = (said > 0) & (asked > 0)
        lengths = np.maximum(there.sum(0), 1)
        precision, recall = (np.where(there, both / np.maximum(of, 1e-9), 0).sum(0) / lengths for of in (said, asked))
        square = self.beta**2
        return 100 * np.nan_to_num(ratio((1 + square) * precision * recall, square * precision + recall))
