"""The page of a `pretrain` run: what was learned without labels, from which rows, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.page import page
from polymodal.report.sections import model, run
from polymodal.report.wording import clean, count, duration, joined, share


def render(metrics: Mapping[str, Any], curve: Mapping[str, list[float]]) -> str:
    """The page as one HTML string; `metrics` is the content of `metrics.json`, `curve` has `epoch`, `loss`, `valid`."""
    curves = [{"name": metrics["objective"], "stage": "pretrain", "train": curve["loss"], **curve}]
    facts = [
        ("Streams", ", ".join(f"{clean(name)} ({kind})" for name, kind in metrics["streams"].items())),
        ("Parameters of the encoders", count(metrics["parameters"])),
        ("Parameters they learned by, not kept", count(metrics["left_behind"])),
        ("Cells set aside", count(metrics["set_aside"])),
        *((clean(t["what"]).capitalize(), duration(t["seconds"])) for t in metrics["timings"]),
    ]
    told = sentences(metrics)
    return page(
        "align.html.j2",
        title=", ".join(clean(name) for name in metrics["streams"]),
        what="pretraining",
        how=f", {metrics['objective']}",
        columns=(), ways=(), doctor=None, matching=None, shown=(),
        headline=told[0],
        sentences=told[1:],
        training=model.training({"curves": curves, "primary": "score"}) if curve["epoch"] else None,
        notes=metrics["notes"],
        facts=facts + [(name, joined(value)) for name, value in run.environment(metrics) or []],
    )  # fmt: skip


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Which rows were used, and what is left of the loss of knowing nothing."""
    rows, found = metrics["rows"], metrics["valid"]
    test = f", {count(rows['test'])} of them test rows, as was asked" if rows["test"] else "; no test row was read"
    said = [f"Learned without labels from {count(rows['learned'])} rows{test}, chosen by {count(rows['judged'])}."]
    for name, value in found.items():
        if name in metrics["blind"]:
            blind = share(metrics["blind"][name])
            said.append(
                f"{clean(name)}: a word costs {share(value)} of what it costs to know only how frequent words are; "
                f"{blind} where the row's other streams are not seen."
            )
        elif name != "contrast":
            told = share(1 - value) if value < 1 else "nothing"
            said.append(f"{clean(name)}: {told} of what was hidden is told from what is left.")
    if "contrast" in found:
        said.append(f"Which cells stand in one row: the loss is {share(found['contrast'])} of that of guessing.")
    return [*said, "What that is worth is for `fit --start` to measure: it may be nothing."]
