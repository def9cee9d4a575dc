"""Encoders by formula with three shallow learners, beside what one plain run by hand reached.

    python benchmarks/features.py [STREAM ...] [--json]

Streams are those of STREAMS; without any, all whose data lie in POLYMODAL_DATA (default: ../shared/data beside the
project). Each goes through the product's own processor and encoder, whose statistics see training rows alone. A
learner's strength is chosen by four folds of the training and validation rows, by speaker or actor where there are
any; it is then fitted on all of these and judged once on the test rows. `chosen` is the learner that the folds put
first, `by_hand` the figure of the data's own description. Rows without the stream are left out. CPU, one thread.
"""

from __future__ import annotations

import csv
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from realdata import folder_of
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict
from sklearn.svm import SVC, SVR
from tools import parser, show

from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS

Row = dict[str, str]
AT_ONCE = 256
METRICS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy_score, "balanced": balanced_accuracy_score, "auc": roc_auc_score, "r2": r2_score,
}  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """A stream of a data set: its encoder, the column or array that it lies in, and what is asked."""

    data: str
    encoder: str
    source: str | tuple[str, ...]
    metric: str = "accuracy"
    target: str = "label"
    group: str = ""
    by_hand: float | None = None
    middle: bool = False  # the middle eighth of a series, less its mean

    def cells(self, folder: Path, rows: list[Row]) -> Iterator[Any]:
        """Raw cells, None where a series has no value."""
        array = np.load(folder / "arrays" / f"{self.source}.npy") if self.encoder == "series_rocket" else None
        for row in rows:
            if array is not None:
                cell = array[int(row["row"])]
                if self.middle:
                    start = len(cell) * 7 // 16
                    cell = cell[start : start + len(cell) // 8]
                    cell = cell - cell.mean(0)
                yield cell if np.isfinite(cell).any() else None
            elif isinstance(self.source, tuple):
                yield {name: row[name] for name in self.source}
            else:
                yield folder / row[self.source]


RECORD = ("age", "gender", "height_cm", "weight_kg", "icu_type")
SLIDE = {"pressure": 0.603, "electrodes": 0.623, "force": 0.660, "joints": 0.457}
ROOMS = ("frontal", "bathroom", "bedroom", "kitchen")
STREAMS = {
    "commands": Stream("voice_commands", "audio_mfcc", "audio", group="speaker", by_hand=0.844),
    "emotion": Stream("voice_emotion", "audio_mfcc", "audio", "balanced", group="actor", by_hand=0.406),
    "spoken": Stream("avdigits", "audio_mfcc", "audio"),
    "written": Stream("avdigits", "image_hog", "image"),
    "skin": Stream("skin", "image_hog", "image", "balanced", by_hand=0.501),
    **{room: Stream("houses", "image_hog", room, "r2", "price") for room in ROOMS},
    **{name: Stream("touch", "series_rocket", name, by_hand=best, middle=True) for name, best in SLIDE.items()},
    "vitals": Stream("icu", "series_rocket", "vitals", "auc", by_hand=0.831),
    "labs": Stream("icu", "series_rocket", "labs", "auc", by_hand=0.768),
    "record": Stream("icu", "table_plain", RECORD, "auc", by_hand=0.687),
}


def learners(metric: str) -> dict[str, list[Any]]:
    """Learners in a few strengths each."""
    if metric == "r2":
        return {
            "linear": [Ridge(a) for a in (10.0, 100.0, 1e3, 1e4)],
            "svm": [SVR(C=c) for c in (1, 5)],
            "trees": [ExtraTreesRegressor(200, random_state=0)],
        }
    even = "balanced" if metric == "balanced" else None
    return {
        "linear": [LogisticRegression(C=c, max_iter=200, class_weight=even) for c in (1e-3, 1e-2, 1e-1)],
        "svm": [SVC(C=c, class_weight=even) for c in ((1,) if metric == "auc" else (1, 5))],
        "trees": [ExtraTreesClassifier(200, min_samples_leaf=m, class_weight=even, random_state=0) for m in (1, 5)],
    }


def measured(name: str) -> dict[str, Any]:
    """One line of the table."""
    one = STREAMS[name]
    x, y, part, groups, milliseconds = features(one)
    seen, test = np.flatnonzero(part != "test"), np.flatnonzero(part == "test")
    folds: Any = (KFold if one.metric == "r2" else StratifiedKFold)(4, shuffle=True, random_state=0)
    if groups is not None:
        folds, groups = GroupKFold(4), groups[seen]
    scores, found = {}, {}
    for kind, several in learners(one.metric).items():
        judged = []
        for learner in several:
            answer = cross_val_predict(learner, x[seen], y[seen], cv=folds, groups=groups, method=method(one, learner))
            judged.append(METRICS[one.metric](y[seen], answer if answer.ndim == 1 else answer[:, 1]))
        scores[kind] = max(judged)
        best = several[int(np.argmax(judged))].fit(x[seen], y[seen])
        answer = getattr(best, method(one, best))(x[test])
        found[kind] = float(METRICS[one.metric](y[test], answer if answer.ndim == 1 else answer[:, 1]))
    first = max(scores, key=lambda kind: scores[kind])
    return {
        "stream": name, "data": one.data, "encoder": one.encoder, "features": x.shape[1], "ms_a_row": milliseconds,
        "metric": one.metric, **found, "chosen": first, "by_folds": float(scores[first]), "test": found[first],
        "by_hand": one.by_hand if one.by_hand is not None else "",
    }  # fmt: skip


def method(one: Stream, learner: Any) -> str:
    """Which answer of a learner is scored."""
    if one.metric != "auc":
        return "predict"
    return "decision_function" if hasattr(learner, "decision_function") else "predict_proba"


def features(one: Stream) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, float]:
    """Features [n, F], targets, parts and groups of all rows that have the stream, and CPU milliseconds a row."""
    folder, rows = folder_of(one.data), []
    for part in ("train", "valid", "test"):
        with (folder / f"{part}.csv").open(encoding="utf-8") as file:
            rows += [{**row, "part": part} for row in csv.DictReader(file)]
    processor = PROCESSORS.build(ENCODERS.load(one.encoder).processor)  # type: ignore[attr-defined]
    both = [(cell, row) for cell, row in zip(one.cells(folder, rows), rows) if cell is not None]
    cells, rows = [processor.read(cell) for cell, _ in both], [row for _, row in both]
    part = np.array([row["part"] for row in rows])
    processor.fit([cell for cell, kept in zip(cells, part == "train") if kept])
    inputs = {name: torch.from_numpy(array) for name, array in processor.process(cells).items()}
    encoder = ENCODERS.build(one.encoder, processor.facts(), 64)
    train = np.flatnonzero(part == "train")[:2048]  # as many as `fit` shows it
    encoder.fit_statistics({name: value[train] for name, value in inputs.items()})
    started = time.process_time()
    with torch.no_grad():
        made = [
            encoder({k: v[i : i + AT_ONCE] for k, v in inputs.items()}).pooled for i in range(0, len(rows), AT_ONCE)
        ]
    spent = 1e3 * (time.process_time() - started) / len(rows)
    words = np.array([row[one.target] for row in rows])
    y = np.log(words.astype(float)) if one.metric == "r2" else np.unique(words, return_inverse=True)[1]
    groups = np.array([row[one.group] for row in rows]) if one.group else None
    return torch.cat(made).numpy(), y, part, groups, spent


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn")
    arguments = parser(__doc__)
    arguments.add_argument("streams", nargs="*", metavar="STREAM", help=", ".join(STREAMS))
    given = arguments.parse_args()
    if unknown := set(given.streams) - set(STREAMS):
        raise SystemExit(f"There is no stream {', '.join(sorted(unknown))}; there are {', '.join(STREAMS)}.")
    show([measured(name) for name in given.streams or STREAMS], given.json)
