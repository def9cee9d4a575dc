"""The report of a preparation as a page: counts, reasons, and changes that one can see and hear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.files import writing
from polymodal.core.shown import many
from polymodal.data.media.cell import Media
from polymodal.data.media.cloud import Cloud, in_words
from polymodal.data.media.volume import Volume
from polymodal.preparation.compare import SHORT, marked
from polymodal.report.cards import cloud_views, picture, sound, span_of, spectrogram, trace
from polymodal.report.page import cards, page
from polymodal.report.wording import count, duration, joined, plain

MOST_REASONS, MOST_NOTES = 30, 20
HEARD = 8  # seconds of a sound that the page holds
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
        title=path.parent.resolve().name,
        source=report["source"],
        notes=report["notes"][:MOST_NOTES],
        figures=[f for f in figures if f["value"] != "0" or f["name"].startswith("rows ")],
        ops=[
            {
                **op,
                "told": _told(op),
                "shown": bool(op["samples"]),
                "counts": [count(op[key]) for key in _COUNTS] + [duration(op["seconds"])],
            }
            for op in report["ops"]
        ],
        reasons=report["reasons"][:MOST_REASONS],
        more_reasons=max(0, len(report["reasons"]) - MOST_REASONS),
        changes=[
            {"number": i, "name": op["name"], "told": _told(op), "rows": [_sample(s) for s in op["samples"]]}
            for i, op in enumerate(report["ops"], start=1)
            if op["samples"]
        ],
    )
    with writing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _told(op: Mapping[str, Any]) -> str:
    """The columns of a step and the options that it was given."""
    options = [f"{name}: {joined(value)}" for name, value in op["options"].items() if name != "columns"]
    return "; ".join([", ".join(op["columns"]), *options] if op["columns"] else options)


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    before, after = sample["before"], sample["after"]
    told = [_card("before", before), _card("after", after)]
    if "text" in before and "text" in after:
        if before["text"] and after["text"]:
            told[0]["text"], told[1]["text"] = marked(before["text"], after["text"])
        else:
            told = [{**one, "text": shortened(one["text"])} for one in told]
    elif all(one["kind"] == "series" for one in told):  # on one scale, or drift taken out could not be seen
        told = [{**one, "picture": drawn} for one, drawn in zip(told, _traces(before, after), strict=True)]
    came = told[0]["kind"] == "missing" != told[1]["kind"]
    return {
        "id": sample["id"],
        "column": sample["column"],
        "form": "came" if came else "both",
        "cells": cards(told, sample["id"]),
    }


def shortened(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]} … ({count(len(text))} characters)"


def _traces(*sides: Mapping[str, Any]) -> list[str]:
    series = [Media("series", Path(side["path"])).value() for side in sides]
    return [trace(one, span=span_of(series)) for one in series]


def _card(side: str, value: Mapping[str, Any]) -> dict[str, Any]:
    if "text" in value:
        return {"stream": side, "kind": "text" if value["text"] else "missing", "text": value["text"]}
    media = Media(value["media"], Path(value["path"]))
    return {"stream": side, **_CARDS[media.kind](media.value())}


def _image(content: Any) -> dict[str, Any]:
    array = np.asarray(content.convert("RGB"))
    note = f"{content.width} × {content.height}, {content.mode}"
    return {"kind": "image", "image": picture(array), "small": max(array.shape[:2]) < 64, "note": note}


def _audio(content: Any) -> dict[str, Any]:
    heard, seconds = content.samples[: HEARD * content.rate], content.seconds
    note = f"{seconds:.2f} s at {content.rate:,} Hz, {loudest(content.samples)}"
    note += f", the first {HEARD} s" if seconds > HEARD else ""
    drawn = spectrogram(heard, content.rate)
    return {"kind": "audio", "audio": sound(heard, content.rate), "picture": drawn, "note": note}


def _volume(content: Volume) -> dict[str, Any]:
    return {"kind": "image", "image": picture(_slice(content)), "small": False}


def _video(content: Any) -> dict[str, Any]:
    return {"kind": "text", "text": "a film"}


def _points(content: Cloud) -> dict[str, Any]:
    return {"kind": "image", "image": cloud_views(content.places), "small": False, "note": in_words(content)}


def _series(content: np.ndarray) -> dict[str, Any]:
    return {"kind": "series", "picture": trace(content), "note": many(len(content), "step")}


_CARDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "image": _image, "audio": _audio, "video": _video, "volume": _volume, "points": _points,
    "series": _series,
}  # fmt: skip


def loudest(samples: np.ndarray) -> str:
    """The highest level in decibels of full scale."""
    peak = float(np.abs(samples).max(initial=0.0))
    return f"peak {plain(20 * np.log10(peak), 1)} dB" if peak > 0 else "silent"


def _slice(scan: Volume) -> np.ndarray:
    """uint8 [H, W, 3]: the middle slice, from its 1st to its 99th percentile."""
    flat = scan.values[len(scan.values) // 2]
    low, high = np.percentile(flat, (1, 99))
    grey = (np.clip((flat - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
