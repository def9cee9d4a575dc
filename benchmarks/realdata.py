"""The real data of the benchmarks: where each lies, what is asked, and figures published on the same features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOSI = {name: {"kind": "vector", "array": f"arrays/{name}.npy", "row": "row"} for name in ("text", "audio", "video")}


@dataclass(frozen=True)
class Data:
    """One data set: its target, a schema where inference does not suffice, and `published` lines with their source."""

    target: str
    schema: Mapping[str, Any] | None = None
    published: tuple[str, ...] = ()

    def sources(self, folder: Path) -> dict[str, Any]:
        """Arguments of `polymodal.plan` and `polymodal.fit`."""
        files = {part: folder / f"{part}.csv" for part in ("train", "valid", "test")}
        return {
            "data": files["train"],
            "target": None if self.schema else self.target,
            "valid": files["valid"],
            "test": files["test"],
            "schema": dict(self.schema) if self.schema else None,
        }


KNOWN: dict[str, Data] = {
    "avdigits": Data("label"),
    "mosi": Data(
        "label",
        {"fields": MOSI, "target": {"label": "classes"}, "group": "video_id"},
        (
            "bc-LSTM, all three (Poria et al. 2017, as NLP-progress lists it): .803; it reads the utterances around "
            "each, which no strategy here does",
        ),
    ),
    "houses": Data("price"),
}


def folder_of(name: str) -> Path:
    """Where a data set lies: a path, or a name within POLYMODAL_DATA (default: ../shared/data beside the project)."""
    root = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    for folder in (Path(name), root / name):
        if (folder / "train.csv").exists():
            return folder
    raise SystemExit(
        f"There is no {name}/train.csv, here or in {root}; set POLYMODAL_DATA to the folder that holds it."
    )


def known(name: str) -> Data:
    """The data set of that name or path."""
    found = KNOWN.get(Path(name).name)
    if found is None:
        raise SystemExit(f"{name} is none of {', '.join(KNOWN)}.")
    return found
