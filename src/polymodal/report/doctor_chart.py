"""The alignment doctor's figures as one picture: who finds whom, by a linear map and after training, beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.canvas import (
    CARD,
    CHANCE,
    FUSION,
    MUTED,
    NARROW,
    SINGLE,
    SIZE,
    WIDE,
    Canvas,
    chart,
    spread,
    value_axis,
)
from polymodal.report.wording import joined, plain, share, shorten_all, text_width

_TOP = 24.0  # pixels of the legend
_LIFT = 96.0  # pixels for how many times chance was found


@chart
def doctor(diagnosis: Mapping[str, Any], *, narrow: bool = False) -> Canvas:
    """`diagnosis` is that of `Diagnosis.to_json`: a row a direction, in galleries of one size; squares are the linear
    map's recall, dots the shared space's, diamonds chance; lines are 95 % intervals, and beside them stands how many
    times chance they are. `narrow`: for a phone, names above their rows.

    Rows of streams with too few pairs for either are left out.
    """
    rows = _rows(diagnosis)
    alt = "Recall of partners: " + "; ".join(_told(row) for row in rows)
    width, tall = (NARROW, 46.0) if narrow else (WIDE, 26.0)  # pixels from one row to the next
    longest = max((text_width(row["name"], SIZE) for row in rows), default=60.0)
    left = 4.0 if narrow else min(longest + 18, width * 0.35)
    bottom = _TOP + tall * max(len(rows), 1)
    canvas = Canvas(width, bottom + 24, alt + ".")
    axes = canvas.axes(left, _TOP, width - _LIFT, bottom)
    axes.set(yticks=[], ylim=(max(len(rows), 1) - 0.5, -0.5))
    ends = [v for row in rows for r in row["found"].values() for v in (r["low"], r["high"])]
    value_axis(axes, *spread([0.0, *ends, *(row["chance"] for row in rows)]), ticks=5 if narrow else 8)
    x = left
    for word, color in (("linear map", SINGLE), ("shared space", FUSION), ("chance", CHANCE)):
        canvas.text(x, 9, word, color=color, size=SIZE - 1)
        x += text_width(word, SIZE - 1) + 24
    canvas.text(width - _LIFT + 10, 9, "times chance", color=MUTED, size=SIZE - 1)
    room, down = (width - 8, 0.18) if narrow else (left - 12, 0.0)
    for i, (row, name) in enumerate(zip(rows, shorten_all([row["name"] for row in rows], room, SIZE))):
        canvas.text(left if narrow else 0, _TOP + (i + (0.22 if narrow else 0.5)) * tall, name, color=MUTED)
        axes.plot([row["chance"]], [i + down], "D", color=CHANCE, markersize=5, markeredgewidth=0)
        for what, color, shape, shift in (("before", SINGLE, "s", -0.14), ("after", FUSION, "o", 0.14)):
            if (r := row["found"].get(what)) is not None:
                axes.plot([r["low"], r["high"]], [i + down + shift] * 2, color=color, linewidth=2.2, alpha=0.5)
                axes.plot([r["mean"]], [i + down + shift], shape, color=color, markersize=6.5, markeredgecolor=CARD)
        lifts = " ".join(f"×{plain(r['mean'] / r['chance'], 1)}" for r in row["found"].values())
        canvas.text(width - _LIFT + 10, _TOP + (i + 0.5 + down) * tall, lifts, color=MUTED, size=SIZE - 1)
    return canvas


def _told(row: Mapping[str, Any]) -> str:
    words = {"before": "linear map", "after": "shared space"}
    each = ", ".join(f"{words[what]} {share(recall['mean'])}" for what, recall in row["found"].items())
    return f"{row['name']} {each}, chance {share(row['chance'])}"


def _rows(diagnosis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Directions with what the linear map found and the shared space: of the same pairs where there is one."""
    after = {tuple(p["streams"]): p for p in (diagnosis.get("after") or {}).get("pairings", ())}
    rows = []
    for pairing in diagnosis["before"]["pairings"]:
        a, b = pairing["streams"]
        trained = after.get((a, b), {})
        probe = pairing["probe"] or {}
        for number, (query, corpus, key) in enumerate(((a, b, "forward"), (b, a, "backward"))):
            ways = {"before": (trained.get("linear") or {number: probe.get(key)})[number],
                    "after": (trained.get("recall") or {number: None})[number]}  # fmt: skip
            found = {what: next(r for r in way if r["k"] == pairing["judged"]) for what, way in ways.items() if way}
            if found:
                first = next(iter(found.values()))
                name = f"{joined(query)} finds {joined(corpus)} in {first['k']} of {first['gallery']}"
                rows.append({"name": name, "found": found, "chance": first["chance"]})
    return rows
