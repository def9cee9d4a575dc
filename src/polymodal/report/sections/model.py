"""What a report says of the chosen model: confidence, confusion or residuals, training, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.report import diagnostics
from polymodal.report.page import cards
from polymodal.report.sections.base import PANELS, Chart, Evaluation, Key, metric_name
from polymodal.report.wording import clean, count, decimals, is_number, joined, plain, share, signed


def calibration(evaluation: Evaluation) -> dict[str, Any] | None:
    """The reliability plot and its bins as a table."""
    given = evaluation.get("calibration") or {}
    if not any(b.get("count") and is_number(b.get("accuracy")) for b in given.get("bins") or []):
        return None
    caption = (
        "Of the answers given with a certain confidence, the share that was right: on the dashed line the model is as "
        "often right as it says; below it, it is over-confident."
    )
    if is_number(given.get("temperature")):
        rows = "rows that its models had not seen" if evaluation.get("refitted") else "validation rows"
        caption += f" Scores were divided by {plain(given['temperature'], 2)}, found on {rows}."
    before = given.get("bins_before") or []
    legend: tuple[Key, ...] = (Key("dot fusion", f"after scaling, error {plain(given.get('ece'))}"),)
    if before:
        legend = (Key("ring single", f"before, error {plain(given.get('ece_before'))}"), *legend)
    elif is_number(given.get("ece_before")):
        caption += f" Before, the error was {plain(given['ece_before'])}."
    svg = diagnostics.reliability(given["bins"], before)
    return {
        "chart": Chart("Can its confidence be believed?", caption, svg, legend=legend),
        "bins": [{"sure": _percent(b["confidence"]), "right": _percent(b["accuracy"]), "count": count(b["count"]),
                  "gap": signed(100 * (b["accuracy"] - b["confidence"]), 1)} for b in reversed(given["bins"])
                 if b.get("count") and is_number(b.get("accuracy"))],
    }  # fmt: skip


def confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    """The matrix if it can be read, the pairs most often confused, and the classes most often missed."""
    matrix, classes = evaluation.get("confusion"), list(evaluation.get("classes") or [])
    if not matrix:
        return None
    counts = np.asarray(matrix, dtype=float)
    classes = classes if len(classes) == len(counts) else [str(i) for i in range(len(counts))]
    drawn = None
    if len(counts) <= diagnostics.MATRIX_LIMIT:
        caption = (
            "A line is a true class, a column what the model said; blue is right, orange wrong, and the stronger the "
            "colour the larger the share of the line."
        )
        legend = (Key("bar for", "right"), Key("bar against", "wrong"))
        drawn = Chart("What is taken for what", caption, diagnostics.confusion(matrix, classes), legend=legend)
    wrong = counts - np.diag(np.diag(counts))
    totals = counts.sum(1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:12]
    pairs = [divmod(int(flat), len(counts)) for flat in order if wrong.flat[flat] > 0]
    recall = np.diag(counts) / np.maximum(totals, 1)
    hardest = [int(i) for i in np.argsort(recall, kind="stable") if totals[i] > 0][:12] if drawn is None else []
    return {
        "chart": drawn,
        "pairs": [{"truth": clean(classes[i]), "said": clean(classes[j]), "count": count(wrong[i, j]),
                   "share": share(wrong[i, j] / totals[i]), "bar": 100 * wrong[i, j] / wrong.max()} for i, j in pairs],
        "hardest": [{"name": clean(classes[i]), "recall": share(recall[i]), "rows": count(totals[i]),
                     "bar": 100 * recall[i]} for i in hardest],
        "classes": len(counts),
    }  # fmt: skip


def residuals(evaluation: Evaluation) -> list[Chart] | None:
    """Predicted against true, and the histogram of errors."""
    given = evaluation.get("residuals")
    if not given or not len(given.get("truth", [])):
        return None
    caption = "A dot is a row: on the dashed line the prediction is right, above it too high, below it too low."
    if given.get("low") is not None and given.get("high") is not None:
        truth, low, high = (np.asarray(given[k], float) for k in ("truth", "low", "high"))
        held = float(np.mean((low <= truth) & (truth <= high)))
        caption += f" Thin lines are the model's own intervals; they held the true value in {share(held)} of all rows."
    if len(given["truth"]) > diagnostics.DOTS:
        caption += f" {diagnostics.DOTS} of {count(len(given['truth']))} rows are drawn."
    errors = (
        "How many predictions were off by how much; a heap centred on zero means no habit of guessing too low or "
        "high. The outermost bars hold all errors beyond."
    )
    return [
        Chart("Predicted against true", caption, diagnostics.predictions(given)),
        Chart("How far off", errors, diagnostics.errors(given)),
    ]


def training(evaluation: Evaluation) -> dict[str, Any] | None:
    """Small charts, one an encoder or fusion; runs of the same name and stage share one."""
    stages: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for run in evaluation.get("curves") or []:
        same = stages.setdefault(clean(run.get("stage", "")), {}).setdefault(clean(run["name"]), [])
        if run.get("epoch") and run not in same:
            same.append(run)
    panels = [(name, stage, runs) for stage, parts in stages.items() for name, runs in parts.items() if runs]
    if not panels:
        return None
    caption = (
        "Validation score and training loss epoch by epoch; the dot is the best epoch, whose weights are kept. Loss "
        "that falls while validation falls too is learning by heart."
    )
    if not evaluation.get("greater_is_better", True):
        caption += f" The score is minus the {metric_name(evaluation)}, so that higher is better."
    return {
        "caption": caption + (f" The first {PANELS} of {len(panels)} are shown." if len(panels) > PANELS else ""),
        "panels": [(name, stage, diagnostics.training(runs)) for name, stage, runs in panels[:PANELS]],
    }


def mistakes(evaluation: Evaluation) -> list[dict[str, Any]] | None:
    """The rows the model got wrong while surest, in the order given."""
    return _told(evaluation.get("mistakes") or []) or None


def words(evaluation: Evaluation) -> dict[str, Any] | None:
    """Answers in words: how many differ, how many are copied, and those that are best."""
    found = evaluation.get("words")
    if not found:
        return None
    said = [f"{share(found['distinct'])} of the {count(found['rows'])} answers differ from one another."]
    if found.get("copied"):
        said.append(f"{_with_ends(found['copied'])} are answers of the training rows, word for word.")
    if invented := found.get("invented"):
        most = ", ".join(f"{clean(name)} ({count(times)})" for name, times in invented["most"].items())
        said.append(f"{_with_ends(invented)} name an object that no reference names{f': {most}' if most else ''}.")
    if found.get("not_looked"):
        said.append(f"Objects that no reference names were not looked for: {clean(found['not_looked'])}")
    symbols = {"bpe": "pieces of words"}.get(found["symbols"], found["symbols"])
    said.append(f"They have {found['length']:.1f} {symbols} in the mean.")
    return {"said": " ".join(said), "best": _told(found.get("best") or [])}


def _with_ends(part: Mapping[str, Any]) -> str:
    ends = f" (95% interval {share(part['low'])} to {share(part['high'])})" if is_number(part.get("low")) else ""
    return share(part["mean"]) + ends


def drawings(evaluation: Evaluation) -> dict[str, Any] | None:
    """What was drawn beside what is true, and what of training it is most like."""
    if not (rows := evaluation.get("drawings") or []):
        return None
    noun, copies = clean(rows[0].get("noun") or "picture"), sum(bool(row.get("copied")) for row in rows)
    said = f"What was drawn for some test rows, and the {noun} that belongs to the row."
    if any(is_number(row.get("near")) for row in rows):
        found = "none" if not copies else f"{copies} of {len(rows)}"
        said += (
            f" Beside it the training {noun} that is most like the drawn one, and how far that is as a share of what "
            f"is usual for true {noun}s; what is nearer than half as far is a copy, or nearly: {found} here."
        )
    shown = []
    for row in rows:
        each = cards(row.get("each") or [], row.get("id"))
        if is_number(row.get("near")) and each:
            near = f"{plain(row['near'], 2)} × the usual"
            each[-1]["note"] = f"{near}: a copy" if row.get("copied") else near
        shown.append({"id": clean(row.get("id", "")), "copied": bool(row.get("copied")), "each": each,
                      "cells": cards(row.get("cells") or [], row.get("id"))})  # fmt: skip
    return {"title": f"{noun.capitalize()}s", "said": said, "rows": shown}


def _told(examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with what was said of them and what was true, in the order given."""
    return [
        {
            "id": clean(m.get("id", "")),
            "truth": joined(m.get("truth")),
            "said": joined(m.get("prediction")),
            "sure": share(m["probability"]) if is_number(m.get("probability")) else "",
            "off": _off(m),
            "cells": cards(m.get("cells") or [], m.get("id")),
        }
        for m in examples
    ]


def _percent(value: float) -> str:
    """With a decimal, since bins of equal size crowd together near certainty."""
    return f"{100 * value:.1f} %"


def _off(mistake: Mapping[str, Any]) -> str:
    truth, said = mistake.get("truth"), mistake.get("prediction")
    if not (is_number(truth) and is_number(said)):
        return ""
    return signed(said - truth, decimals([truth, said]))
