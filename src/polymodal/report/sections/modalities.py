"""What a report says of the modalities: their worth, how pairs interact, every subset, noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polymodal.report import charts, diagnostics
from polymodal.report.sections.base import PANELS, Chart, Evaluation, Key, chosen_row, metric_name
from polymodal.report.wording import clean, decimals, interval, is_number, joined, plain, signed


def worth(evaluation: Evaluation) -> dict[str, Any] | None:
    """Shapley bars, alone and without, and how pairs interact."""
    given = evaluation.get("worth") or {}
    streams = [s for s in given.get("streams") or [] if is_number(s.get("mean"))]
    if not streams:
        return None
    streams = sorted(streams, key=lambda s: -s["mean"])
    metric = metric_name(evaluation)
    unit = clean(given.get("unit") or "") if given.get("unit") != evaluation["primary"] else metric
    unit = unit or metric
    adds = "adds" if evaluation.get("greater_is_better", True) else "takes off"
    caption = (
        f"How much {unit} each modality {adds} on average over every order in which the modalities could be added "
        "(Shapley value), with its 95 % interval; a pale bar cannot be told from zero."
    )
    drawn = [Chart("Worth of each modality", caption, charts.worth(streams, unit=unit))]
    if len(streams) > 1 and any(is_number(s.get("alone")) or is_number(s.get("without")) for s in streams):
        caption = (
            "The square is the score with this modality alone, the ring the score with all others but not it; a ring "
            "close to the dashed line means that the others make up for its loss."
        )
        keys = (Key("square single", "alone"), Key("ring fusion", "without it"))
        svg = charts.alone_and_without(streams, together=together(evaluation), metric=metric)
        drawn.append(Chart(f"Alone and without, {metric}", caption, svg, legend=keys))
    pairs = sorted(
        (p for p in given.get("interactions") or [] if is_number(p.get("mean"))), key=lambda p: -abs(p["mean"])
    )
    if len(streams) > 2 and pairs:
        caption = (
            "Two modalities with synergy tell more together than apart; with redundancy they tell the same thing "
            "twice; grey pairs cannot be told from zero."
        )
        legend = (Key("bar for", "synergy"), Key("bar against", "redundancy"), Key("bar grid", "neither"))
        names = [s["name"] for s in streams]
        drawn.append(Chart("How pairs interact", caption, charts.interactions(names, pairs), legend=legend))
    return {"charts": drawn, "pairs": [_pair(p) for p in pairs]}


def _pair(pair: Mapping[str, Any]) -> dict[str, str]:
    kind = clean(pair.get("kind", "none"))
    places = decimals([pair["mean"]])
    return {
        "names": " + ".join(map(clean, pair["pair"])),
        "mean": signed(pair["mean"], places),
        "interval": interval(pair.get("low"), pair.get("high"), places, sign=True),
        "kind": "neither" if kind == "none" else kind,
    }


def together(evaluation: Evaluation) -> float | None:
    """The score with every stream: the largest subset's, else the chosen strategy's."""
    subsets = [s for s in evaluation.get("subsets") or [] if is_number(s.get("mean"))]
    if subsets:
        return float(max(subsets, key=lambda s: len(s["streams"]))["mean"])
    row = chosen_row(evaluation)
    return float(row["test_mean"]) if row is not None and is_number(row.get("test_mean")) else None


def subsets(evaluation: Evaluation) -> dict[str, Any] | None:
    """The dot matrix and the full table of subsets, best first."""
    sign = -1 if evaluation.get("greater_is_better", True) else 1
    rows = sorted((s for s in evaluation.get("subsets") or [] if s["streams"] and is_number(s.get("mean"))),
                  key=lambda s: sign * s["mean"])  # fmt: skip
    if len(rows) < 2:  # one stream: nothing can be left out
        return None
    names = sorted({n for r in rows for n in r["streams"]}, key=lambda n: (-_alone(rows, n, sign), n))
    telling = charts.telling_subsets(rows, len(names))
    caption = (
        "Each line is the same model with only the dotted modalities given; the dot beside it is its score and 95 % "
        "interval, so you see what a missing modality costs."
    )
    if len(telling) < len(rows):
        caption += f" Shown are {len(telling)} of {len(rows)}: singles, all but one, and the best of each size."
    places = decimals([r["mean"] for r in rows])
    return {
        "chart": Chart(f"What it answers with less, {metric_name(evaluation)}", caption,
                       charts.subsets(telling, names, metric=metric_name(evaluation))),
        "rows": [{"streams": joined(r["streams"]), "size": len(r["streams"]), "mean": plain(r["mean"], places),
                  "value": r["mean"], "interval": interval(r.get("low"), r.get("high"), places)} for r in rows],
        "metric": metric_name(evaluation),
    }  # fmt: skip


def _alone(rows: Iterable[Mapping[str, Any]], name: str, sign: int) -> float:
    return next((-sign * r["mean"] for r in rows if list(r["streams"]) == [name]), float("-inf"))


def noise(evaluation: Evaluation) -> dict[str, Any] | None:
    """One small chart a stream, all on one scale."""
    curves = [c for c in evaluation.get("noise") or [] if c.get("levels")][:PANELS]
    if not curves:
        return None
    metric = metric_name(evaluation)
    board = [r.get("test_mean") for r in evaluation.get("leaderboard") or [] if r["strategy"] == "chance"]
    level, up = next(iter(board), evaluation.get("chance")), evaluation.get("greater_is_better", True)
    panels = [
        (clean(c["stream"]), "", diagnostics.noise(c, curves[:i] + curves[i + 1 :], chance=level, metric=metric))
        for i, c in enumerate(curves)
    ]
    caption = (
        f"The {metric} on test while noise is added to one modality only, with its 95 % band: a line that stays "
        f"{'high' if up else 'low'} means that the model does well without it."
    )
    if len(curves) > 1:
        caption += " Grey lines are the other modalities."
    drawn = [v for c in curves for v in [*c["mean"], *(c.get("low") or []), *(c.get("high") or [])] if is_number(v)]
    if is_number(level) and (level > min(drawn) if up else level < max(drawn)):
        caption += " The dotted line is chance."
    return {"caption": caption, "panels": panels}
