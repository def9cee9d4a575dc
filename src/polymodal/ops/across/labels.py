"""Labels that the rest of the row contradicts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.values import check_range
from polymodal.ops.across.features import matrix, sketch_rows
from polymodal.ops.across.uncertainty import APART, LEAST, in_words, told_apart
from polymodal.ops.base import BatchOp, Sketch
from polymodal.ops.rows import Rows

log = logging.getLogger(__name__)
SHUFFLINGS, SHUFFLED = 20, 4096  # how often labels are shuffled to see what a wrong one looks like, of how many rows


class LabelErrors(BatchOp):
    """Finds rows whose label is likely wrong, by what a model that did not see them makes of them.

    Out-of-sample probabilities come from a logistic regression, cross-validated over `folds`, on cheap features of all
    columns together: words and pairs of words, small pictures and their edges, mel bands, numbers. A label's score is
    the log-odds it gets (its self-confidence: Northcutt, Jiang & Chuang 2021), less those of its class. Labels shuffled
    at random tell what a wrong one scores, and from them and the labels given each label gets a probability of being
    wrong (Efron 2008); it is doubted above `sure` where another class scores more. `then`: `set_aside`, or `mark`,
    which adds the columns LABEL_doubt (that probability, 0 where not doubted) and LABEL_instead and keeps every row.

    It doubts as well as it knows: the more rows, and the better they tell their labels, the more wrong labels it finds.
    Under 30 labelled rows, or where the rest of a row hardly tells the label, none is doubted, and a warning says so.
    Labels mixed up always in the same way are half learnt, so that fewer of them are found.
    """

    kinds = ("text", "image", "audio", "series", "number", "category")

    def __init__(
        self,
        *,
        label: str,
        columns: Sequence[str] | str | None = None,
        folds: int = 5,
        sure: float = 0.5,
        then: str = "set_aside",
    ):
        super().__init__(columns=columns)
        self.label = label
        self.folds = folds
        self.sure = sure
        self.then = then
        check_range("[2, inf)", folds=folds)
        check_range("(0, 1)", sure=sure)
        if then not in ("set_aside", "mark"):
            raise BadArgument(f"then must be set_aside or mark; got {then!r}.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        if self.label not in kinds:
            raise BadArgument(f"There is no column {self.label!r} for the label; there are {', '.join(kinds)}.")
        kinds_after = super().bind(kinds)
        self.chosen = [column for column in self.chosen if column != self.label]
        self._kinds = {column: kinds[column] for column in self.chosen}
        return kinds_after

    def adds(self) -> dict[str, str]:
        marks = {f"{self.label}_doubt": "number", f"{self.label}_instead": "category"}
        return marks if self.then == "mark" else {}

    def partial_fit(self, rows: Rows) -> Sketch:
        for column in self.chosen:
            self.values(rows, column)  # rows with a broken file go: nothing can be read off them
        known = Rows([row for row in rows if row.cells.get(self.label) is not None and not row.copy])
        return {
            **sketch_rows(known, self.chosen, self._kinds),
            "row": np.array([row.number for row in known], np.int64),
            "label": np.array([str(row.cells[self.label]) for row in known], np.str_),
        }

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        row, label = (np.concatenate([p[name] for p in parts]) for name in ("row", "label"))
        names, codes = np.unique(label, return_inverse=True)
        empty = {"row": np.zeros(0, np.int64), "doubt": np.zeros(0), "instead": np.zeros(0, np.str_)}
        self.state = empty
        if len(names) < 2:
            return
        if len(names) > max(20, len(row) // 10):
            raise BadData(
                f"The column {self.label!r} holds {len(names)} different values in {len(row)} rows: that is no label "
                "to learn. Name the column of classes."
            )
        if len(row) < LEAST:
            log.warning("%s: %d labelled rows tell too little, none is doubted.", self.name, len(row))
            return
        probability = out_of_sample(matrix(parts, [self._kinds[c] for c in self.chosen]), codes, self.folds, self.seed)
        agree = np.array((probability.argmax(1) == codes).mean())
        self.state = {**empty, "agree": agree}
        odds = scores(probability, codes)
        told = told_apart(odds[np.arange(len(codes)), codes], shuffled(odds, codes, self.seed))
        if told.apart < APART:
            log.warning(
                "%s: the other columns hardly tell %r, none is doubted. Name columns that tell more of it, or give "
                "more rows.", self.name, self.label
            )  # fmt: skip
            return
        best = odds.argmax(1)
        doubted = np.flatnonzero((told.probability > self.sure) & (best != codes))
        doubt = told.probability[doubted]
        self.state = {"row": row[doubted], "doubt": doubt, "instead": names[best[doubted]], "agree": agree}

    def work(self, rows: Rows) -> None:
        told = zip(*(self.state[name].tolist() for name in ("row", "doubt", "instead")))
        doubted = {row: (doubt, instead) for row, doubt, instead in told}
        if self.then == "mark":
            for row in rows:
                doubt, instead = doubted.get(row.number, (0.0, None))
                row.put(f"{self.label}_doubt", round(doubt, 3))
                row.put(f"{self.label}_instead", instead)
            return
        reasons = {}
        for i, row in enumerate(rows):
            if row.number in doubted and not row.copy:
                doubt, instead = doubted[row.number]
                given = row.cells.get(self.label)
                reasons[i] = f"is labelled {given!r}, but all the rest speaks for {instead!r}: "
                reasons[i] += f"wrong with a probability of {in_words(doubt)}"
        self.refuse(rows, reasons)


def out_of_sample(features: object, codes: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """[N, C] probabilities of each row's classes from models that did not see it; classes in order of their codes."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = int(codes.max()) + 1
    part = np.random.default_rng(seed).permutation(len(codes)) % folds
    probability = np.full((len(codes), classes), 1e-6)
    for k in range(folds):
        held, seen = np.flatnonzero(part == k), np.flatnonzero(part != k)
        if len(held) and len(np.unique(codes[seen])) > 1:
            model = LogisticRegression(C=1.0, max_iter=200)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # probabilities a step short of the best are fine
                model.fit(features[seen], codes[seen])  # type: ignore[index]
            probability[np.ix_(held, model.classes_)] = model.predict_proba(features[held])  # type: ignore[index]
    return probability / probability.sum(1, keepdims=True)


def scores(probability: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[N, C]: the log-odds of each class [N, C], less those of the class among all labels: a rare one has its due."""
    share = np.bincount(codes, minlength=probability.shape[1]) / len(codes)
    return _log_odds(probability) - _log_odds(share)


def shuffled(odds: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
    """[M]: the scores that rows give the labels of others, where they differ from their own."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(len(codes))[:SHUFFLED] for _ in range(SHUFFLINGS)]
    pairs = np.concatenate([np.stack((i, codes[np.roll(i, 1)])) for i in drawn], axis=1)
    rows, other = pairs[:, codes[pairs[0]] != pairs[1]]
    return odds[rows, other]


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(clipped) - np.log1p(-clipped)
