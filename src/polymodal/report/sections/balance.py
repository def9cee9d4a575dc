"""What a report says of balance: which modality dominates, which is starved, and whether that was mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report import charts
from polymodal.report.sections.base import Cell, Chart, Evaluation, Key, metric_name
from polymodal.report.wording import clean, decimals, interval, is_number, plain, signed


def balance(evaluation: Evaluation) -> dict[str, Any] | None:
    """The sentences, each modality inside the fusion beside its own model, and objectives beside training without."""
    given = evaluation.get("balance") or {}
    streams, objectives = given.get("streams") or [], given.get("objectives") or []
    if not streams and not objectives:
        return None
    metric, fusion = metric_name(evaluation), clean(given.get("fusion", "the fusion"))
    drawn = None
    if streams:
        caption = (
            f"The square is a model trained on this modality alone, the ring is {fusion} given only this modality, at "
            "the same seeds. A ring far to the worse side means that the fusion left the modality under-trained."
        )
        inside = [{"name": s["name"], "alone": s["single"]["mean"], "inside": s["inside"]["mean"]} for s in streams]
        svg = charts.alone_and_without(inside, together=None, metric=metric, ring=("inside", "inside the fusion"))
        keys = (Key("square single", "its own model"), Key("ring fusion", "inside the fusion"))
        drawn = Chart(f"Each modality alone, {metric}", caption, svg, legend=keys)
    return {
        "sentences": [clean(s) for s in given.get("sentences") or []],
        "chart": drawn,
        "streams": [_stream(s) for s in streams],
        "objectives": [_objective(o) for o in objectives],
        "metric": metric,
        "fusion": fusion,
    }


def _stream(row: Mapping[str, Any]) -> list[Cell]:
    gap = row["gap"]
    places = decimals([row["single"]["mean"], row["inside"]["mean"]])
    return [
        Cell(clean(row["name"])),
        _number(row["single"]["mean"], places),
        _number(row["inside"]["mean"], places),
        _number(gap["difference"], places, sign=True),
        Cell(interval(gap.get("low"), gap.get("high"), places, sign=True)),
    ]


def _objective(row: Mapping[str, Any]) -> list[Cell]:
    places = decimals([row["test"]["mean"]])
    return [
        Cell(clean(row["strategy"])),
        _number(row["valid_difference"], places, sign=True),
        _number(row["test"]["mean"], places),
        _number(row["difference"], places, sign=True),
        Cell(interval(row.get("low"), row.get("high"), places, sign=True)),
        Cell(_chance(row.get("p_holm")), row.get("p_holm")),
    ]


def _number(value: Any, places: int, *, sign: bool = False) -> Cell:
    return Cell(signed(value, places) if sign else plain(value, places), value if is_number(value) else None)


def _chance(p: Any) -> str:
    return "" if not is_number(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
