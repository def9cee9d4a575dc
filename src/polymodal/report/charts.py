"""The charts that compare: strategies, modalities, pairs and subsets of modalities.

Every function takes the lists of `evaluation.json` and returns an inline `<svg>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from polymodal.report.canvas import (
    AGAINST,
    BAND,
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
    Canvas,
    chart,
    spread,
    value_axis,
)
from polymodal.report.wording import decimals, finite, is_number, joined, plain, shorten_all, signed, text_width

Row = Mapping[str, Any]

_STYLE = {"fusion": (FUSION, "o"), "single": (SINGLE, "s"), "chance": (CHANCE, "D")}
_ROW = 23.0  # pixels from one row of a chart to the next


def role(row: Row) -> str:
    """What a leaderboard row is: `chance` (and what else must be beaten), `single` (one modality) or `fusion`."""
    words = {str(row.get("level", "")).lower(), str(row.get("strategy", "")).lower()}
    if words & {"chance", "baseline", "pretrained"}:
        return "chance"
    return "single" if words & {"single", "unimodal"} else "fusion"


@dataclass(frozen=True)
class _Line:
    """One row of an interval plot: a name, a value with its interval, and how it is marked."""

    name: str
    mean: float
    low: float
    high: float
    role: str
    chosen: bool = False


def _line(row: Row, name: str, mean: str, low: str, high: str, kind: str, chosen: bool = False) -> _Line:
    middle = float(row[mean])
    ends = [float(row[k]) if is_number(row.get(k)) else middle for k in (low, high)]
    return _Line(name, middle, ends[0], ends[1], kind, chosen)


def beyond(rows: Sequence[Row], greater_is_better: bool) -> bool:
    """Whether `leaderboard` shows some score of `rows` as an arrow, because it lies beyond the drawn range."""
    lines = _lines(rows, None)
    low, high = _window(lines, greater_is_better)
    return any(not low <= line.mean <= high for line in lines)


def _lines(rows: Sequence[Row], chosen: str | None) -> list[_Line]:
    return [
        _line(r, joined(r["strategy"]), "test_mean", "test_low", "test_high", role(r), r["strategy"] == chosen)
        for r in rows
        if is_number(r.get("test_mean"))
    ]


@chart
def leaderboard(
    rows: Sequence[Row], *, chosen: str | None, metric: str, greater_is_better: bool, width: float
) -> Canvas:
    """Every strategy as a dot with its interval, in the order given; a dashed line at the best single modality.

    Rows without a test score are left out. A score so bad that it would squeeze all others is shown as an arrow.
    """
    lines = _lines(rows, chosen)
    pick = max if greater_is_better else min
    singles = [line.mean for line in lines if line.role == "single"]
    best = pick(lines, key=lambda line: line.mean)
    alt = f"Interval plot of {len(lines)} strategies by {metric}; best is {best.name} with {plain(best.mean)}."
    return _intervals(
        lines, alt, width, reference=(pick(singles), "best single modality") if singles else None,
        window=_window(lines, greater_is_better),
    )  # fmt: skip


def _window(lines: Sequence[_Line], greater_is_better: bool) -> tuple[float, float]:
    """Limits of the value axis; the worst strategies do not count where they would squeeze the rest into half of it."""
    sign = 1 if greater_is_better else -1
    ends = sorted(sorted((sign * line.low, sign * line.high)) for line in lines)
    top = max(high for _, high in ends)
    first = 0
    while first < len(ends) // 3 and top - ends[first + 1][0] < (top - ends[first][0]) / 2:
        first += 1
    low, high = sorted((sign * ends[first][0], sign * top))
    return spread((low, high), margin=0.04)


def _intervals(
    lines: Sequence[_Line], alt: str, width: float, *, reference: tuple[float, str] | None, window: tuple[float, float]
) -> Canvas:
    places = decimals([line.mean for line in lines])
    numbers = max(text_width(plain(line.mean, places), SIZE) for line in lines) + 12
    names = min(max(text_width(line.name, SIZE) * 1.06 for line in lines) + 18, width * (0.34 if width < 500 else 0.3))
    top = 20.0 if reference else 4.0
    canvas = Canvas(width, top + _ROW * len(lines) + 24, alt)
    for i, line in enumerate(lines):
        if line.chosen:
            canvas.box(0, top + i * _ROW, width, top + (i + 1) * _ROW, BAND)
    axes = canvas.axes(names, top, width - numbers, top + _ROW * len(lines))
    axes.set(yticks=[], ylim=(len(lines) - 0.5, -0.5))
    value_axis(axes, *window, ticks=5 if width < 500 else 9)
    if reference and window[0] < reference[0] < window[1]:
        axes.axvline(reference[0], color=SINGLE, linewidth=1.2, dashes=(3, 3))
        middle = names + (reference[0] - window[0]) / (window[1] - window[0]) * (width - numbers - names)
        half = text_width(reference[1], SIZE - 1) / 2
        canvas.text(min(max(middle, half), width - half), 9, reference[1], color=MUTED, size=SIZE - 1, anchor="center")
    words = shorten_all([line.name for line in lines], names - 14, SIZE * 1.06)
    for i, (line, word) in enumerate(zip(lines, words, strict=True)):
        y = top + (i + 0.5) * _ROW
        canvas.text(8, y, word, bold=line.chosen)
        canvas.text(width - 8, y, plain(line.mean, places), anchor="right", bold=line.chosen)
        _whisker(axes, i, line, window)
    return canvas


def _whisker(axes: Axes, y: float, line: _Line, window: tuple[float, float]) -> None:
    color, shape = _STYLE[line.role]
    if not window[0] <= line.mean <= window[1]:
        low = line.mean < window[0]
        axes.plot([window[0] if low else window[1]], [y], "<" if low else ">", color=color, markersize=7, clip_on=False)
        return
    axes.plot([max(line.low, window[0]), min(line.high, window[1])], [y, y], color=color, linewidth=2.2, alpha=0.5,
              solid_capstyle="butt")  # fmt: skip
    size = 8.5 if line.chosen else 6.5 if shape == "o" else 5.5
    axes.plot([line.mean], [y], shape, color=color, markersize=size, markeredgecolor=CARD, markeredgewidth=0.8)


@chart
def worth(streams: Sequence[Row], *, unit: str) -> Canvas:
    """A bar with its interval a stream: what the stream added, on average over all ways to add it (Shapley)."""
    rows = [_line(s, clean_name(s), "mean", "low", "high", "fusion") for s in streams]
    low, high = spread([0.0, *(v for r in rows for v in (r.low, r.high, r.mean))])
    low = 0.0 if low >= -0.07 * high and all(min(r.low, r.mean) >= 0 for r in rows) else low
    alt = (
        f"Bars of what each modality was worth in {unit}: "
        + ", ".join(f"{r.name} {signed(r.mean)}" for r in rows)
        + "."
    )
    names, numbers, tall = _name_column(rows), 58.0, 30.0
    canvas = Canvas(NARROW, 6 + tall * len(rows) + 24, alt)
    axes = canvas.axes(names, 6, NARROW - numbers, 6 + tall * len(rows))
    axes.set(yticks=[], ylim=(len(rows) - 0.5, -0.5))
    value_axis(axes, low, high, ticks=4)
    axes.axvline(0, color=FAINT, linewidth=1.2)
    places = decimals([r.mean for r in rows])
    words = shorten_all([r.name for r in rows], names - 8, SIZE)
    for i, row in enumerate(rows):
        color = FOR if row.mean >= 0 else AGAINST
        sure = row.low > 0 or row.high < 0 or row.low == row.high
        axes.barh([i], [row.mean], height=0.56, color=color, alpha=0.85 if sure else 0.3, linewidth=0)
        if row.high > row.low:
            axes.plot([row.low, row.high], [i, i], color=INK, linewidth=1.4, solid_capstyle="butt")
        y = 6 + (i + 0.5) * tall
        canvas.text(0, y, words[i])
        canvas.text(NARROW, y, signed(row.mean, places), anchor="right")
    return canvas


def clean_name(stream: Row) -> str:
    """A stream's name on one line."""
    return joined(stream["name"])


def _name_column(rows: Sequence[_Line], widest: float = 130.0) -> float:
    return min(max(text_width(r.name, SIZE) for r in rows) + 12, widest)


@chart
def alone_and_without(
    streams: Sequence[Row],
    *,
    together: float | None,
    metric: str,
    ring: tuple[str, str] = ("without", "without it"),
) -> Canvas:
    """For each stream the score with nothing else (square) and another, by default with everything else (ring).

    `ring` is the key of the second score and the words for it.
    """
    key, words_of_ring = ring
    rows = [s for s in streams if is_number(s.get("alone")) or is_number(s.get(key))]
    values = finite([v for s in rows for v in (s.get("alone"), s.get(key))] + [together])
    alt = f"Score by {metric} of each modality alone and {words_of_ring}: " + "; ".join(
        f"{clean_name(s)} alone {plain(s.get('alone'))}, {words_of_ring} {plain(s.get(key))}" for s in rows
    )
    lines = [_Line(clean_name(s), 0, 0, 0, "single") for s in rows]
    names, tall, top = _name_column(lines), 30.0, 20.0
    canvas = Canvas(NARROW, top + tall * len(rows) + 24, alt + ".")
    axes = canvas.axes(names, top, NARROW - 14, top + tall * len(rows))
    axes.set(yticks=[], ylim=(len(rows) - 0.5, -0.5))
    low, high = spread(values, margin=0.08)
    value_axis(axes, low, high, ticks=5)
    if is_number(together):
        axes.axvline(together, color=INK, linewidth=1.2, dashes=(3, 3))
        x = names + (together - low) / (high - low) * (NARROW - 14 - names)
        half = text_width("all together", SIZE - 1) / 2
        canvas.text(min(max(x, half), NARROW - half), 9, "all together", color=MUTED, size=SIZE - 1, anchor="center")
    words = shorten_all([line.name for line in lines], names - 8, SIZE)
    for i, stream in enumerate(rows):
        canvas.text(0, top + (i + 0.5) * tall, words[i])
        ends = finite([stream.get("alone"), stream.get(key)])
        axes.plot(ends, [i] * len(ends), color=GRID, linewidth=4, solid_capstyle="round")
        for which, shape, size, face, edge in ((key, "o", 9, CARD, FUSION), ("alone", "s", 6, SINGLE, SINGLE)):
            if is_number(stream.get(which)):
                axes.plot([stream[which]], [i], shape, color=face, markersize=size, markeredgecolor=edge,
                          markeredgewidth=2 if which == key else 0)  # fmt: skip
    return canvas


@chart
def interactions(names: Sequence[str], pairs: Sequence[Row]) -> Canvas:
    """Lower triangle of pairs: together more than apart (synergy) or the same thing told twice (redundancy)."""
    value = {frozenset(p["pair"]): p for p in pairs if is_number(p.get("mean"))}
    strongest = max((abs(p["mean"]) for p in value.values()), default=0.0) or 1.0
    size = len(names) - 1
    widths = [text_width(joined(n), SIZE) for n in names]
    left = min(max(widths[1:]) + 10, 120.0)
    turned = max(widths[:-1]) > min((NARROW - left) / size, 62.0) - 6
    if turned:  # the first column's name must not leave the picture on the left
        left = max(left, min(widths[0], 110.0) * 0.72 - 14)
    cell = min((NARROW - left) / size, 62.0)
    below = min(max(widths[:-1]), 110.0) * 0.72 + 16 if turned else 22.0
    alt = "Matrix of pairs of modalities: " + "; ".join(
        f"{joined(p['pair'])} {signed(p['mean'])} ({p.get('kind', 'none')})" for p in value.values()
    )
    canvas = Canvas(NARROW, cell * size + below, alt + ".")
    axes = canvas.axes(left, 0, left + cell * size, cell * size)
    axes.set(xticks=[], yticks=[], xlim=(0, size), ylim=(size, 0))
    font = min(SIZE, cell / 3.6)
    words = shorten_all(names[1:], left - 8, SIZE)
    for i in range(1, len(names)):
        canvas.text(0, (i - 0.5) * cell, words[i - 1])
        for j in range(i):
            pair = value.get(frozenset((names[i], names[j])))
            strength = min(abs(pair["mean"]) / strongest, 1.0) if pair else 0.0
            sure = pair is not None and pair.get("kind") in ("synergy", "redundancy")
            color = (FOR if pair["mean"] > 0 else AGAINST) if pair and sure else GRID
            axes.fill_between([j + 0.03, j + 0.97], i - 0.97, i - 0.03, linewidth=0, color=color,
                              alpha=0.15 + 0.85 * strength if sure else 0.45)  # fmt: skip
            if pair:
                dark = sure and strength > 0.72
                axes.text(j + 0.5, i - 0.5, _short(pair["mean"]), ha="center", va="center_baseline", fontsize=font,
                          color=CARD if dark else INK if sure else MUTED)  # fmt: skip
    for j, word in enumerate(shorten_all(names[:-1], 110.0 if turned else cell - 4, SIZE)):
        x, y = left + (j + 0.5) * cell, cell * size + 11
        canvas.text(x + 4 if turned else x, y, word, anchor="right" if turned else "center", turn=45 if turned else 0)
    return canvas


def _short(value: float) -> str:
    """A signed number without its leading zero: +.031."""
    return signed(value, decimals([value])).replace("0.", ".", 1) if abs(value) < 1 else signed(value, 1)


def telling_subsets(subsets: Sequence[Row], streams: int, most: int = 31) -> list[Row]:
    """The subsets worth drawing: all when few, else the singles, all but one, and the best of each size."""
    if len(subsets) <= most:
        return list(subsets)
    edges = [s for s in subsets if len(s["streams"]) in (1, streams - 1, streams)]
    kept = {frozenset(s["streams"]) for s in edges}
    for size in range(2, streams - 1):
        of_size = [s for s in subsets if len(s["streams"]) == size]
        if of_size:
            kept.add(frozenset(of_size[0]["streams"]))  # they come best first
    return [s for s in subsets if frozenset(s["streams"]) in kept]


@chart
def subsets(rows: Sequence[Row], names: Sequence[str], *, metric: str) -> Canvas:
    """A dot matrix of which streams were given, beside the score with its interval, in the order given."""
    step = min(24.0, 150.0 / len(names))
    words = shorten_all(names, 96.0, SIZE)
    head = max(text_width(w, SIZE) for w in words) * 0.72 + 16
    lines = [_line(r, "", "mean", "low", "high", "single" if len(r["streams"]) == 1 else "fusion") for r in rows]
    places = decimals([line.mean for line in lines])
    numbers = max(text_width(plain(line.mean, places), SIZE) for line in lines) + 10
    left, tall = step * len(names) + 14, 21.0
    right = NARROW - numbers
    best = f"{joined(rows[0]['streams'])}, {plain(rows[0]['mean'])}"
    alt = f"Score by {metric} for {len(rows)} subsets of the modalities; best: {best}."
    canvas = Canvas(NARROW, head + tall * len(rows) + 24, alt)
    window = spread([v for line in lines for v in (line.low, line.high)])
    axes = canvas.axes(left, head, right, head + tall * len(rows))
    axes.set(yticks=[], ylim=(len(rows) - 0.5, -0.5))
    value_axis(axes, *window, ticks=4)
    dots = canvas.axes(0, head, step * len(names), head + tall * len(rows))
    dots.set(xticks=[], yticks=[], xlim=(0, len(names)), ylim=(len(rows) - 0.5, -0.5))
    for j, word in enumerate(words):
        canvas.text((j + 0.5) * step + 2, head - 8, word, turn=45, color=MUTED)
    for i, (row, line) in enumerate(zip(rows, lines, strict=True)):
        given = [j + 0.5 for j, n in enumerate(names) if n in row["streams"]]
        absent = [j + 0.5 for j, n in enumerate(names) if n not in row["streams"]]
        dots.plot(given, [i] * len(given), color=_STYLE[line.role][0], linewidth=2, alpha=0.4)
        for places_in, color in ((absent, GRID), (given, _STYLE[line.role][0])):
            dots.plot(
                places_in, [i] * len(places_in), "o", color=color, markersize=min(8, step / 2.2), markeredgewidth=0
            )
        _whisker(axes, i, line, window)
        canvas.text(NARROW, head + (i + 0.5) * tall, plain(line.mean, places), anchor="right")
    return canvas
