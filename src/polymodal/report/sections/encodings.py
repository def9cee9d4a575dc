"""What a report says of encodings: which were tried for each modality, what they cost, and which were kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.sections.base import Cell, Evaluation
from polymodal.report.wording import clean, duration, is_number


def encodings(evaluation: Evaluation) -> dict[str, Any] | None:
    """A row an encoding that was tried: what was fitted to it, its loss on rows it did not see, its cost."""
    given = evaluation.get("encodings") or {}
    rows = [_row(stream, rung) for stream, rungs in given.items() for rung in rungs]
    if not rows:
        return None
    caption = (
        "The loss is that of rows which the encoding's own answer had not seen, where several were compared on all of "
        "them: less is better. What is fitted in one go takes its features by formula and fits shallow learners to "
        "them; the others are trained by gradients. The cost counts every part of the cross-fitting."
    )
    return {"rows": rows, "caption": caption}


def _row(stream: str, rung: Mapping[str, Any]) -> list[Cell]:
    used = [
        one["learner"] + (f" {100 * one['weight']:.0f} %" if one["weight"] < 1 else "")
        for ladder in (rung.get("ladder") or {}).values()
        for one in ladder
        if one.get("weight")
    ]
    loss, cost = rung.get("loss"), rung.get("cpu_seconds")
    kept = "kept" if rung.get("kept") else clean(rung.get("why") or "not kept")
    return [
        Cell(clean(stream)),
        Cell(clean(rung["encoder"])),
        Cell(", ".join(dict.fromkeys(used)) if rung.get("fitted") else "gradients"),
        Cell(f"{loss:.4f}" if is_number(loss) else "", loss if is_number(loss) else None),
        Cell(duration(cost) if is_number(cost) else "", cost if is_number(cost) else None),
        Cell(kept),
    ]
