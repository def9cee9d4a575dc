"""What a report says of encodings: which were tried for each modality, what they cost, and which were kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from polymodal.report import diagnostics
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
    told = [clean(line) for line in evaluation.get("checkpoints") or ()]
    return {"rows": rows, "caption": caption, "checkpoints": told, "learning": _learning(evaluation, given)}


def _learning(evaluation: Evaluation, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Learning curves, a modality each, of its best encoding by formula, and what they say of more rows."""
    found = []
    for stream, rungs in given.items():
        able = [
            (rung["loss"] if is_number(rung.get("loss")) else float("inf"), i, rung["encoder"], curve)
            for i, rung in enumerate(rungs)
            if (curve := (rung.get("curves") or {}).get(evaluation["target"]))
        ]
        if able:
            _, _, encoder, curve = min(able)
            found.append((clean(stream), clean(encoder), curve))
    if not found:
        return None
    learns = sorted((one for one in found if one[2]["gain"] > 2 * one[2]["error"]), key=lambda one: -one[2]["gain"])
    half, all_rows = found[0][2]["rows"][-2:]
    if learns:
        each = ", ".join(f"{name} {curve['gain']:.3f} ± {2 * curve['error']:.3f}" for name, _, curve in learns)
        said = (
            f"Twice the rows, from {half:,} to {all_rows:,}, took off the loss: {each}. More rows would likely help, "
            f"{learns[0][0]} most."
        )
        if more := evaluation.get("refitted"):
            part = learns[0][2]["gain"] * math.log2(1 + more["valid"] / more["train"])
            said += (
                f" That the model learns from the {more['valid']:,} validation rows beside the {more['train']:,} "
                f"training rows is, by this slope, worth {part:.3f} of {learns[0][0]}'s loss."
            )
        if rest := [name for name, _, _ in found if name not in [one[0] for one in learns]]:
            said += f" Of {', '.join(rest)} no gain shows."
    else:
        said = (
            f"From {half:,} to {all_rows:,} rows no modality's loss fell by more than twice its standard error: more "
            "rows of this kind promise little."
        )
    caption = (
        "The loss of rows that were not learned from, by how many were: what was fitted by formula, fitted again to a "
        "quarter and to half of the rows. The same rows judge every point."
    )
    panels = [(name, encoder, diagnostics.learning(curve)) for name, encoder, curve in found]
    return {"said": said, "caption": caption, "panels": panels}


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
