"""The alignment doctor's figures as one picture: who finds whom, by a linear map and after training, beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.canvas import CARD, CHANCE, FUSION, MUTED, SINGLE, SIZE, WIDE, Canvas, chart, spread, value_axis
from polymodal.report.wording import joined, share, shorten_all, text_width

_ROW = 26.0  # pixels from one row to the next


@chart
def doctor(diagnosis: Mapping[str, Any]) -> Canvas:
    """`diagnosis` is that of `Diagnosis.to_json`: a row a direction with its largest k; squares are the linear map's
    recall before training, dots the shared space's after it, diamonds chance; lines are 95 % intervals.

    Rows of streams with too few pairs for either are left out.
    """
    rows = _rows(diagnosis)
    alt = "Recall of partners: " + "; ".join(_told(row) for row in rows)
    left = min(max((text_width(row["name"], SIZE) for row in rows), default=60.0) + 18, WIDE * 0.35)
    canvas = Canvas(WIDE, 24 + _ROW * max(len(rows), 1) + 24, alt + ".")
    axes = canvas.axes(left, 24, WIDE - 20, 24 + _ROW * max(len(rows), 1))
    axes.set(yticks=[], ylim=(max(len(rows), 1) - 0.5, -0.5))
    ends = [v for row in rows for r in row["found"].values() for v in (r["low"], r["high"])]
    value_axis(axes, *spread([0.0, *ends, *(row["chance"] for row in rows)]), ticks=8)
    x = left
    for word, color in (("linear map, before", SINGLE), ("shared space, after", FUSION), ("chance", CHANCE)):
        canvas.text(x, 9, word, color=color, size=SIZE - 1)
        x += text_width(word, SIZE - 1) + 24
    for i, (row, name) in enumerate(zip(rows, shorten_all([row["name"] for row in rows], left - 12, SIZE))):
        canvas.text(0, 24 + (i + 0.5) * _ROW, name, color=MUTED)
        axes.plot([row["chance"]], [i], "D", color=CHANCE, markersize=5, markeredgewidth=0)
        for what, color, shape, shift in (("before", SINGLE, "s", -0.14), ("after", FUSION, "o", 0.14)):
            if (r := row["found"].get(what)) is not None:
                axes.plot([r["low"], r["high"]], [i + shift] * 2, color=color, linewidth=2.2, alpha=0.5)
                axes.plot([r["mean"]], [i + shift], shape, color=color, markersize=6.5, markeredgecolor=CARD)
    return canvas


def _told(row: Mapping[str, Any]) -> str:
    each = ", ".join(f"{what} {share(recall['mean'])}" for what, recall in row["found"].items())
    return f"{row['name']} {each}, chance {share(row['chance'])}"


def _rows(diagnosis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Directions with what was found before and after."""
    after = {tuple(p["streams"]): p for p in (diagnosis.get("after") or {}).get("pairings", ())}
    rows = []
    for pairing in diagnosis["before"]["pairings"]:
        a, b = pairing["streams"]
        trained = after.get((a, b), {}).get("recall")
        probe = pairing["probe"] or {}
        for number, (query, corpus, key) in enumerate(((a, b, "forward"), (b, a, "backward"))):
            recalls = {}
            if probe.get(key):
                recalls["before"] = probe[key][-1]
            if trained and trained[number]:
                recalls["after"] = trained[number][-1]
            if recalls:
                first = next(iter(recalls.values()))
                name = f"{joined(query)} finds {joined(corpus)} in {first['k']}"
                rows.append({"name": name, "found": recalls, "chance": first["chance"]})
    return rows
