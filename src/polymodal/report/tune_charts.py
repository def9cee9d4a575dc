"""The charts of a search: score against cost, the trials in their order, which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from polymodal.report.canvas import (
    AGAINST,
    CARD,
    FAINT,
    FUSION,
    INK,
    MUTED,
    NARROW,
    SINGLE,
    SIZE,
    Canvas,
    chart,
    spread,
    value_axis,
)
from polymodal.report.wording import decimals, plain, share, shorten_all

Row = Mapping[str, Any]

TICKS = 6
_HEIGHT = 300.0
_BOX = (52.0, 26.0, NARROW - 12.0, _HEIGHT - 42.0)


@chart
def front(trials: Sequence[Row], cost: str, unit: str, score: str, best: int) -> Canvas:
    """Finished `trials` by their `cost` and score: dots that nothing beats are filled, a square is the default
    settings, a ring the best trial."""
    ahead = [f"trial {t['trial']}: {plain(t['score'])} at {plain(t[cost], 2)} {unit}" for t in trials if t["front"]]
    canvas = Canvas(NARROW, _HEIGHT, f"{score} against {unit}; nothing beats {'; '.join(ahead)}.")
    axes = canvas.axes(*_BOX)
    value_axis(axes, *spread([t[cost] for t in trials]))
    value_axis(axes, *spread([t["score"] for t in trials]), along="y")
    for t in trials:
        shape, color = ("s", SINGLE) if t["default"] else ("o", FUSION)
        face = color if t["front"] else CARD
        axes.plot([t[cost]], [t["score"]], shape, color=color, markersize=7, markerfacecolor=face, markeredgewidth=1.5)
        if t["trial"] == best:
            axes.plot([t[cost]], [t["score"]], "o", color=INK, markersize=13, markerfacecolor="none")
    canvas.text(0, 10, score, color=MUTED, size=SIZE - 1)
    canvas.text(_BOX[2], _HEIGHT - 10, unit, color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


@chart
def history(trials: Sequence[Row], score: str, greater_is_better: bool) -> Canvas:
    """The score of each of `trials` in its order: dots are finished, crosses given up after a part of the rows; the
    line is the best so far."""
    done = [t for t in trials if t["state"] == "complete"]
    pick = max if greater_is_better else min
    so_far = list(accumulate((t["score"] for t in done), pick))
    alt = f"{score} of {len(trials)} trials; the best so far goes from {plain(so_far[0])} to {plain(so_far[-1])}"
    canvas = Canvas(NARROW, _HEIGHT, f"{alt}.")
    axes = canvas.axes(*_BOX)
    last = max(t["trial"] for t in trials)
    axes.set(xlim=spread([0, last]), xticks=range(0, last + 1, last // TICKS + 1))
    value_axis(axes, *spread([t["score"] for t in trials]), along="y")
    axes.step([t["trial"] for t in done], so_far, where="post", color=FAINT, linewidth=1.6)
    for t in trials:
        shape, color = ("o", FUSION) if t["state"] == "complete" else ("x", AGAINST)
        axes.plot([t["trial"]], [t["score"]], shape, color=color, markersize=6)
    canvas.text(0, 10, score, color=MUTED, size=SIZE - 1)
    canvas.text(_BOX[2], _HEIGHT - 10, "trial", color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


@chart
def settings(found: Mapping[str, float]) -> Canvas:
    """How much each setting mattered, a bar each; shares add up to one."""
    rows = sorted(found.items(), key=lambda one: -one[1])
    height = 26.0 * len(rows) + 12
    canvas = Canvas(NARROW, height, "; ".join(f"{name} {share(value)}" for name, value in rows) + ".")
    axes = canvas.axes(190, 4, NARROW - 60, height - 8)
    axes.set(yticks=[], xticks=[], xlim=(0, max(found.values()) or 1), ylim=(len(rows) - 0.5, -0.5))
    axes.barh(range(len(rows)), [value for _, value in rows], height=0.5, color=FUSION)
    places = decimals([1.0])
    for i, (name, (_, value)) in enumerate(zip(shorten_all([name for name, _ in rows], 180, SIZE), rows)):
        middle = 4 + (height - 12) * (i + 0.5) / len(rows)
        canvas.text(0, middle, name, color=MUTED)
        canvas.text(NARROW - 52, middle, share(value) if value >= 10**-places else "0 %", color=MUTED, size=SIZE - 1)
    return canvas
