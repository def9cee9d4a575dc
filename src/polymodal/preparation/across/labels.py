"""Labels that the rest of the row contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.preparation.across.features import matrix, sketch_rows
from polymodal.prepare.base import BatchOp, Sketch
from polymodal.prepare.rows import Rows


class LabelErrors(BatchOp):
    """Finds rows whose label is likely wrong, by confident learning (Northcutt, Jiang & Chuang 2021).

    Out-of-sample probabilities come from a logistic regression, cross-validated over `folds`, on cheap features of all
    columns together: words and pairs of words, small pictures and their edges, mel bands, numbers. The threshold of a
    class is the mean probability that rows with its label get for it; rows in which the likeliest class among those
    that reach their threshold is not the label are counted, and so many rows are doubted: those that give their label
    the lowest probability, where another class exceeds it by `margin`. `then`: `set_aside`, or `mark`, which adds the
    columns LABEL_doubt (0..1) and LABEL_instead and keeps every row.

    It doubts as well as it knows: where the rest of a row tells the label rightly in two of three rows only, many rows
    that it doubts are right, and `mark` is the choice. A smaller margin finds more wrong labels, and doubts more right
    ones.
    """

    kinds = ("text", "image", "audio", "series", "number", "category")

    def __init__(
        self,
        *,
        label: str,
        columns: Sequence[str] | str | None = None,
        folds: int = 5,
        margin: float = 0.35,
        then: str = "set_aside",
    ):
        super().__init__(columns=columns)
        self.label = label
        self.folds = folds
        self.margin = margin
        self.then = then
        if folds < 2:
            raise BadArgument(f"folds must be at least 2; got {folds}.")
        if not 0 <= margin <= 1:
            raise BadArgument(f"margin is a difference of probabilities, between 0 and 1; got {margin}.")
        if then not in ("set_aside", "mark"):
            raise BadArgument(f"then must be set_aside or mark; got {then!r}.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        if self.label not in kinds:
            raise BadArgument(f"There is no column {self.label!r} for the label; there are {', '.join(kinds)}.")
        found = super().bind(kinds)
        self.chosen = [column for column in self.chosen if column != self.label]
        self._kinds = {column: kinds[column] for column in self.chosen}
        return found

    def adds(self) -> dict[str, str]:
        marks = {f"{self.label}_doubt": "number", f"{self.label}_instead": "category"}
        return marks if self.then == "mark" else {}

    def sketch(self, rows: Rows) -> Sketch:
        for column in self.chosen:
            self.values(rows, column)  # rows with a broken file go: nothing can be read off them
        known = Rows([row for row in rows if row.cells.get(self.label) is not None and not row.copy])
        return {
            **sketch_rows(known, self.chosen, self._kinds),
            "row": np.array([row.number for row in known], np.int64),
            "label": np.array([str(row.cells[self.label]) for row in known], np.str_),
        }

    def settle(self, sketches: Iterable[Sketch]) -> None:
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
        probability = out_of_sample(matrix(parts, [self._kinds[c] for c in self.chosen]), codes, self.folds, self.seed)
        instead, doubt = confident(probability, codes, self.margin)
        found = np.flatnonzero(instead >= 0)
        agree = np.array((probability.argmax(1) == codes).mean())
        self.state = {"row": row[found], "doubt": doubt[found], "instead": names[instead[found]], "agree": agree}

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
                reasons[i] = f"is labelled {given!r}, but all the rest speaks for {instead!r} ({doubt:.0%} more likely)"
        self.refuse(rows, reasons)


def out_of_sample(features: object, codes: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """[N, C] probabilities of each row's classes from models that did not see it; classes in order of their codes."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = int(codes.max()) + 1
    part = np.random.default_rng(seed).permutation(len(codes)) % folds
    found = np.full((len(codes), classes), 1e-6)
    for k in range(folds):
        held, seen = np.flatnonzero(part == k), np.flatnonzero(part != k)
        if len(held) and len(np.unique(codes[seen])) > 1:
            model = LogisticRegression(C=3.0, max_iter=200)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # probabilities a step short of the best are fine
                model.fit(features[seen], codes[seen])  # type: ignore[index]
            found[np.ix_(held, model.classes_)] = model.predict_proba(features[held])  # type: ignore[index]
    return found / found.sum(1, keepdims=True)


def confident(probability: np.ndarray, codes: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """For each row the class that contradicts its label, -1 for none, and by how much it is likelier, [N] each."""
    each = np.arange(len(codes))
    own = probability[each, codes]
    threshold = np.array(
        [own[codes == c].mean() if (codes == c).any() else np.inf for c in range(probability.shape[1])]
    )
    reached = np.where(probability >= threshold, probability, -1.0)
    wrong = int(((reached.max(1) >= 0) & (reached.argmax(1) != codes)).sum())
    best = probability.argmax(1)
    doubt = probability[each, best] - own
    lowest = np.zeros(len(codes), bool)
    lowest[np.argsort(own, kind="stable")[:wrong]] = True
    doubted = lowest & (best != codes) & (doubt > margin)
    return np.where(doubted, best, -1), np.where(doubted, doubt, 0.0)
