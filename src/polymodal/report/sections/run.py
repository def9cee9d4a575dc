"""What a report says of the data and of the run: rows, fields, warnings, timings, environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.sections.base import Evaluation
from polymodal.report.wording import clean, count, duration, is_number, joined


def data(evaluation: Evaluation) -> dict[str, Any] | None:
    """Rows a split, streams and every column, used or not, with what is missing or broken, and warnings."""
    given = evaluation.get("data")
    if not given:
        return None
    rows = given.get("rows") or {}
    total = sum(rows.values())
    return {
        "rows": [{"name": clean(n), "count": count(v), "share": 100 * v / total} for n, v in rows.items() if total],
        "fields": [{**dict.fromkeys(("kind", "why"), ""), **dict.fromkeys(("missing", "bad"), 0), **field}
                   for field in given.get("fields") or []],
        "columns": given.get("columns") or [],
        "total": total,
        "warnings": given.get("warnings") or [],
    }  # fmt: skip


def timings(evaluation: Evaluation) -> list[dict[str, Any]] | None:
    """What took how long, longest first, with a bar each."""
    given = sorted(
        (t for t in evaluation.get("timings") or [] if is_number(t.get("seconds"))), key=lambda t: -t["seconds"]
    )
    longest = given[0]["seconds"] if given else 0
    return [{"what": clean(t["what"]), "time": duration(t["seconds"]), "bar": 100 * t["seconds"] / (longest or 1)}
            for t in given] or None  # fmt: skip


def environment(evaluation: Evaluation) -> list[tuple[str, str]] | None:
    """Names and values, nested ones as `outer inner`."""
    flat: list[tuple[str, str]] = []
    for name, value in (evaluation.get("environment") or {}).items():
        if isinstance(value, Mapping):
            flat += [(f"{clean(name)} {clean(inner)}", joined(v)) for inner, v in value.items()]
        else:
            flat.append((clean(name), joined(value)))
    return flat or None
