"""The charts that look at one model: noise, calibration, confusion, residuals, training.

Every function takes the lists of `evaluation.json` and returns an inline `<svg>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from polymodal.report.canvas import (
    AGAINST,
    CARD,
    CHANCE,
    FAINT,
    FOR,
    FUSION,
    GRID,
    INK,
    MUTED,
    NARROW,
    SINGLE,
    SIZE,
    SMALL,
    Canvas,
    chart,
    spread,
    value_axis,
)
from polymodal.report.wording import finite, is_number, joined, plain, shorten_all, text_width

Row = Mapping[str, Any]

MATRIX_LIMIT = 20  # classes; beyond, a matrix can no longer be read and the most confused pairs tell more
DOTS = 250  # rows shown in the plot of predictions; more would only cover each other


@chart
def noise(curve: Row, others: Sequence[Row], *, chance: float | None, metric: str) -> Canvas:
    """One stream's score as noise in it grows, with its band; the other streams' curves stay behind it in grey.

    All streams get the same scale, so that panels can be compared.
    """
    alt = (
        f"{metric} goes from {plain(curve['mean'][0])} to {plain(curve['mean'][-1])} as noise in "
        f"{joined(curve['stream'])} grows from {plain(curve['levels'][0], 1)} to {plain(curve['levels'][-1], 1)}."
    )
    every = [curve, *others]
    values = finite(v for c in every for k in ("mean", "low", "high") for v in c.get(k) or [])
    canvas = Canvas(SMALL, 136, alt)
    axes = canvas.axes(34, 8, SMALL - 8, 104)
    value_axis(axes, min(c["levels"][0] for c in every), max(c["levels"][-1] for c in every), ticks=2)
    axes.grid(False, axis="x")
    low, high = spread(values)
    value_axis(axes, low, high, along="y", ticks=4)
    if is_number(chance) and low < chance < high:
        axes.axhline(chance, color=CHANCE, linewidth=1.2, dashes=(2, 3))
    for other in others:
        axes.plot(other["levels"], other["mean"], color=FAINT, linewidth=1, alpha=0.6)
    _band(axes, curve)
    axes.plot(curve["levels"], curve["mean"], color=FUSION, linewidth=2, solid_capstyle="round")
    canvas.text(SMALL - 8, 129, "noise", color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


def _band(axes: Axes, curve: Row) -> None:
    low, high = curve.get("low"), curve.get("high")
    if low and high and all(map(is_number, [*low, *high])):
        axes.fill_between(curve["levels"], low, high, color=FUSION, alpha=0.18, linewidth=0)


@chart
def reliability(bins: Sequence[Row], before: Sequence[Row]) -> Canvas:
    """How often the model was right against how sure it was, after and, if known, before scaling its confidence.

    Below, how many rows fall in each bin.
    """
    filled = [b for b in bins if b.get("count") and is_number(b.get("accuracy"))]
    alt = "Reliability plot: " + "; ".join(
        f"{plain(b['confidence'], 2)} sure, right in {plain(b['accuracy'], 2)}" for b in filled
    )
    canvas = Canvas(NARROW, 400, alt + ".")
    axes = canvas.axes(40, 8, NARROW - 10, 308)
    value_axis(axes, 0, 1)
    value_axis(axes, 0, 1, along="y")
    axes.tick_params(labelbottom=False)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, dashes=(3, 3))
    canvas.text(46, 18, "share right", color=MUTED, size=SIZE - 1)
    earlier = [b for b in before if b.get("count") and is_number(b.get("accuracy"))]
    axes.plot([b["confidence"] for b in earlier], [b["accuracy"] for b in earlier], "-o", color=SINGLE, linewidth=1.2,
              markersize=6, markerfacecolor=CARD, markeredgewidth=1.6, clip_on=False)  # fmt: skip
    axes.plot([b["confidence"] for b in filled], [b["accuracy"] for b in filled], "-o", color=FUSION, linewidth=1.8,
              markersize=7.5, markeredgecolor=CARD, markeredgewidth=1.2, clip_on=False)  # fmt: skip
    counts = canvas.axes(40, 316, NARROW - 10, 362)
    counts.set(yticks=[], ylim=(0, max(b["count"] for b in filled)))
    value_axis(counts, 0, 1)
    counts.grid(False)
    # Stems and not bars: bins of equal size lie anywhere, and near certainty they crowd together.
    counts.vlines(
        [b["confidence"] for b in filled], 0, [b["count"] for b in filled], color=FUSION, alpha=0.5, linewidth=5
    )
    canvas.text(46, 322, "rows", color=MUTED, size=SIZE - 1)
    canvas.text(40 + (NARROW - 50) / 2, 391, "confidence", color=MUTED, size=SIZE - 1, anchor="center")
    return canvas


@chart
def confusion(matrix: Sequence[Sequence[float]], classes: Sequence[str]) -> Canvas:
    """Rows are the truth, columns what the model said; colour is the share of a row, numbers are counts.

    The diagonal (right) and the rest (wrong) have a colour each.
    """
    counts = np.asarray(matrix, dtype=float)
    n = len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [joined(c) for c in classes]
    right = counts.trace() / max(counts.sum(), 1)
    alt = (
        f"Confusion matrix of {n} classes; {plain(100 * right, 1)} percent of {plain(counts.sum(), 0)} rows are right."
    )
    left = min(max(max(text_width(w, SIZE) for w in names) + 12, 76.0), 116.0)
    cell = min((NARROW - left) / n, 84.0)
    turned = max(text_width(w, SIZE) for w in names) > cell - 4
    across = shorten_all(names, 92.0 if turned else cell - 2, SIZE)
    head = max(text_width(w, SIZE) for w in across) + 14 if turned else 22.0
    canvas = Canvas(NARROW, head + cell * n + 6, alt)
    axes = canvas.axes(left, head, left + cell * n, head + cell * n)
    axes.set(xticks=[], yticks=[], xlim=(0, n), ylim=(n, 0))
    font = min(SIZE, cell / (0.62 * max(len(f"{counts.max():.0f}"), 2)))
    axes.fill_between([0, n], 0, n, color=GRID, alpha=0.35, linewidth=0)
    for i, j in zip(*np.nonzero(counts), strict=True):
        strength = float(shares[i, j])
        axes.fill_between([j + 0.02, j + 0.98], i + 0.02, i + 0.98, linewidth=0, color=FOR if i == j else AGAINST,
                          alpha=0.12 + 0.88 * strength**0.7)  # fmt: skip
        if font >= 6.5:
            axes.text(j + 0.5, i + 0.5, f"{counts[i, j]:.0f}", ha="center", va="center_baseline", fontsize=font,
                      color=CARD if strength > 0.6 else INK)  # fmt: skip
    canvas.text(left - 8, head - 8, "was ↓ said →", color=MUTED, size=SIZE - 2, anchor="right")
    for i, (word, top) in enumerate(zip(shorten_all(names, left - 18, SIZE), across, strict=True)):
        canvas.text(left - 8, head + (i + 0.5) * cell, word, anchor="right")
        canvas.text(left + (i + 0.5) * cell, head - 8, top, anchor="left" if turned else "center",
                    turn=90 if turned else 0, color=MUTED)  # fmt: skip
    return canvas


@chart
def predictions(residuals: Row) -> Canvas:
    """Predicted against true numbers with their intervals as thin lines; on the dashed line the prediction is right.

    At most `DOTS` rows, evenly spread over the true values, are drawn.
    """
    truth, said = np.asarray(residuals["truth"], float), np.asarray(residuals["prediction"], float)
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(said))
    known = known[np.argsort(truth[known], kind="stable")]
    some = known[np.linspace(0, len(known) - 1, min(len(known), DOTS)).round().astype(int)]
    values = np.concatenate([truth[some], said[some]])
    log = bool(values.min() > 0 and values.max() > 25 * values.min())
    canvas = Canvas(
        NARROW, 378, f"Predicted against true values of {len(some)} rows, with a line where both are equal."
    )
    axes = canvas.axes(52, 18, NARROW - 16, 336)
    if log:
        axes.set(xscale="log", yscale="log")
        low, high = float(values.min() / 1.15), float(values.max() * 1.15)
    else:
        low, high = spread(values.tolist())
    value_axis(axes, low, high, log=log)
    value_axis(axes, low, high, along="y", log=log)
    axes.plot([low, high], [low, high], color=FAINT, linewidth=1.2, dashes=(3, 3))
    if residuals.get("low") is not None and residuals.get("high") is not None:
        ends = [np.clip(np.asarray(residuals[k], float)[some], low, high) for k in ("low", "high")]
        axes.vlines(truth[some], *ends, color=FUSION, linewidth=1, alpha=0.3)
    axes.scatter(truth[some], said[some], s=13, color=FUSION, alpha=0.75, linewidth=0)
    canvas.text(52, 8, "predicted, log scale" if log else "predicted", color=MUTED, size=SIZE - 1)
    canvas.text((52 + NARROW - 16) / 2, 367, "true", color=MUTED, size=SIZE - 1, anchor="center")
    return canvas


@chart
def errors(residuals: Row) -> Canvas:
    """How often the prediction was too low or too high, and by how much: a histogram of prediction minus truth."""
    off = np.asarray(residuals["prediction"], float) - np.asarray(residuals["truth"], float)
    off = off[np.isfinite(off)]
    reach = float(np.quantile(np.abs(off), 0.99)) or 1.0
    half = 12
    counts, edges = np.histogram(np.clip(off, -reach, reach), bins=2 * half + 1, range=(-reach, reach))
    centres = (edges[1:] + edges[:-1]) / 2
    canvas = Canvas(NARROW, 230, f"Histogram of errors; the middle error is {plain(float(np.median(off)))}.")
    axes = canvas.axes(16, 18, NARROW - 16, 186)
    axes.set(yticks=[], ylim=(0, counts.max() * 1.05))
    value_axis(axes, -reach, reach)
    colors = [AGAINST] * half + [CHANCE] + [FOR] * half
    axes.bar(centres, counts, width=(edges[1] - edges[0]) * 0.86, color=colors, linewidth=0, alpha=0.8)
    axes.axvline(0, color=INK, linewidth=1.2)
    canvas.text(10, 8, "← too low", color=MUTED, size=SIZE - 1)
    canvas.text(NARROW - 10, 8, "too high →", color=MUTED, size=SIZE - 1, anchor="right")
    canvas.text(NARROW / 2, 218, "prediction minus truth", color=MUTED, size=SIZE - 1, anchor="center")
    return canvas


@chart
def training(runs: Sequence[Row]) -> Canvas:
    """One part's training: validation above, training loss below, a line a run; the dot is the best epoch.

    The two have different units, hence two strips and not two axes on one.
    """
    runs = [r for r in runs if r.get("epoch")]
    name = joined(runs[0]["name"])
    best = max(max(finite(r["valid"]), default=float("-inf")) for r in runs)
    canvas = Canvas(SMALL, 184, f"Training of {name}: best validation {plain(best)}.")
    last = max(max(r["epoch"]) for r in runs)
    first = min(min(r["epoch"]) for r in runs)
    for key, top, bottom, color, label in (
        ("valid", 20, 84, FUSION, "validation"),
        ("train", 106, 152, SINGLE, "training loss"),
    ):
        axes = canvas.axes(34, top, SMALL - 8, bottom)
        values = finite(v for r in runs for v in r.get(key) or [])
        if not values:
            continue
        value_axis(axes, *spread(values, margin=0.1), along="y", ticks=3)
        axes.set_xlim(first - 0.3, last + 0.3)
        _epochs(axes, first, last, labels=key == "train")
        for run in runs:
            _run(axes, run, key, color, alpha=1.0 if len(runs) == 1 else 0.7)
        canvas.text(34, top - 10, label, color=MUTED, size=SIZE - 1)
    canvas.text(SMALL - 8, 178, "epoch", color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


@chart
def learning(curve: Row) -> Canvas:
    """The loss by the number of rows learned from, on a logarithmic scale."""
    rows, losses = curve["rows"], [float(v) for v in curve["loss"]]
    canvas = Canvas(SMALL, 118, f"Loss {plain(losses[0])} from {rows[0]} rows, {plain(losses[-1])} from {rows[-1]}.")
    axes = canvas.axes(34, 20, SMALL - 14, 86)
    value_axis(axes, *spread(losses, margin=0.15), along="y", ticks=3)
    axes.set_xscale("log", base=2)
    axes.set_xlim(rows[0] * 0.9, rows[-1] * 1.1)
    axes.set_xticks(rows, labels=[f"{count:,}" for count in rows])
    axes.minorticks_off()
    axes.plot(rows, losses, color=SINGLE, linewidth=1.6, marker="o", markersize=4)
    canvas.text(34, 10, "loss", color=MUTED, size=SIZE - 1)
    canvas.text(SMALL - 8, 112, "rows", color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


def _epochs(axes: Axes, first: int, last: int, *, labels: bool) -> None:
    middle = [(first + last) // 2] if last - first > 3 else []
    axes.set_xticks(sorted({first, *middle, last}))
    axes.tick_params(axis="x", labelbottom=labels)


def _run(axes: Axes, run: Row, key: str, color: str, *, alpha: float) -> None:
    values = [float(v) if is_number(v) else float("nan") for v in run[key]]
    alone = "o" if len(values) == 1 else ""
    axes.plot(
        run["epoch"],
        values,
        color=color,
        linewidth=1.6,
        alpha=alpha,
        solid_capstyle="round",
        marker=alone,
        markersize=4,
    )
    if key == "valid" and finite(values):
        best = int(np.nanargmax(values))
        axes.plot([run["epoch"][best]], [values[best]], "o", color=color, markersize=6.5, markeredgecolor=CARD,
                  markeredgewidth=1.2)  # fmt: skip
