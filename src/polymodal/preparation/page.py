"""The report of a preparation as a page: counts, reasons, and changes that one can see and hear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.files import writing
from polymodal.evaluate.media import picture, sound, spectrogram, trace
from polymodal.evaluate.page import cards, page
from polymodal.evaluate.wording import count, duration
from polymodal.prepare.media import Media
from polymodal.prepare.medical import Volume

MOST_REASONS = 20
_COUNTS = ("seen", "changed", "set_aside", "blanked", "added")


def write_page(report: Mapping[str, Any], path: Path) -> None:
    """`report.html`: everything inside, nothing from elsewhere."""
    rows = report["rows"]
    figures = [
        {"name": "rows given", "value": count(rows["input"]), "note": "kept and set aside add up to these"},
        {"name": "rows kept", "value": count(rows["kept"]), "note": "in the table"},
        {"name": "rows set aside", "value": count(rows["set_aside"]), "note": "in set_aside.parquet, with the reason"},
        {
            "name": "cells set aside",
            "value": count(rows["cells_set_aside"]),
            "note": "their rows were kept without them",
        },
        {"name": "rows added", "value": count(rows["added"]), "note": "made by augmentation"},
    ]
    html = page(
        "prepare.html.j2",
        title=path.parent.name,
        figures=[f for f in figures if f["value"] != "0" or f["name"].startswith("rows ")],
        ops=[{**op, "counts": [count(op[key]) for key in _COUNTS] + [duration(op["seconds"])]} for op in report["ops"]],
        reasons=report["reasons"][:MOST_REASONS],
        samples=[_sample(op["name"], sample) for op in report["ops"] for sample in op["samples"]],
    )
    with writing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _sample(op: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    told = [_card(side, sample[side]) for side in ("before", "after")]
    return {"op": op, "id": sample["id"], "column": sample["column"], "cells": cards(told, sample["id"])}


def _card(side: str, value: Mapping[str, Any]) -> dict[str, Any]:
    if "text" in value:
        return {"stream": side, "kind": "text" if value["text"] else "missing", "text": value["text"]}
    media = Media(value["media"], Path(value["path"]))
    content = media.value()
    if media.kind == "image":
        array = np.asarray(content.convert("RGB"))
        return {"stream": side, "kind": "image", "image": picture(array), "small": max(array.shape[:2]) < 64}
    if media.kind == "audio":
        drawn = spectrogram(content.samples, content.rate)
        return {"stream": side, "kind": "audio", "audio": sound(content.samples, content.rate), "picture": drawn}
    if media.kind == "volume":
        return {"stream": side, "kind": "image", "image": picture(_slice(content)), "small": False}
    if media.kind == "video":
        return {"stream": side, "kind": "text", "text": f"a film of {count(len(content))} bytes"}
    return {"stream": side, "kind": "series", "picture": trace(content)}


def _slice(scan: Volume) -> np.ndarray:
    """uint8 [H, W, 3]: the middle slice, from its 1st to its 99th percentile."""
    flat = scan.values[len(scan.values) // 2]
    low, high = np.percentile(flat, (1, 99))
    grey = (np.clip((flat - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
