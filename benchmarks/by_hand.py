"""A default fit, or a preset, against what hand-made features and a simple model reach on the same test rows.

`python benchmarks/by_hand.py [NAME …] [--preset best]`: a line a data set: the chosen strategy's score on test with its
95 % interval, the figure by hand, whether the interval lies below or above it, and the CPU seconds of all processes.
By hand is one plain run on training and validation rows together: hand-made features, logistic regression unless said.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from realdata import folder_of

import polymodal as pm


def series(*names: str) -> dict[str, Any]:
    return {name: {"kind": "series", "array": f"arrays/{name}.npy", "row": "row"} for name in names}


def columns(kind: str, *names: str) -> dict[str, Any]:
    return {name: {"kind": kind, "columns": [name]} for name in names}


def record(*names: str) -> dict[str, Any]:
    return {"record": {"kind": "table", "columns": list(names)}}


@dataclass(frozen=True)
class Reference:
    """A set's fields and metric, and what all its modalities reach together by hand; `group` ties rows to one part."""

    fields: Mapping[str, Any]
    metric: str
    hand: float
    group: str = ""
    target: Mapping[str, str] = field(default_factory=lambda: {"label": "classes"})
    hides: str = ""  # an array whose first channel is set to zero at the last step: it would tell the answer

    def folder(self, name: str, scratch: Path) -> Path:
        whole = folder_of(name)
        if not self.hides:
            return whole
        shutil.copytree(whole, scratch / "data")
        at = scratch / "data" / "arrays" / f"{self.hides}.npy"
        values = np.load(at)
        values[:, -1, 0] = 0
        np.save(at, values)
        return scratch / "data"


MOSI = {name: {"kind": "vector", "array": f"arrays/{name}.npy", "row": "row"} for name in ("text", "audio", "video")}
BEHAVIOUR = record("airline", "retweets", "hour", "weekday", "tweets_of_author", "timezone")
BOXES = record("bedrooms", "bathrooms", "area_sqft", "zipcode")
ROOMS = columns("image", "frontal", "bathroom", "bedroom", "kitchen")
SETS: dict[str, Reference] = {
    # an SVM; image and audio alone .795 (numbers of the recording are left out as they are by hand)
    "avdigits": Reference(
        {**columns("image", "image"), **columns("audio", "audio"), **columns("text", "text")}, "accuracy", 0.877
    ),
    "mosi": Reference(MOSI, "accuracy", 0.757, "video_id"),
    # ridge regression of the logarithm of the price on the table alone
    "houses": Reference({**ROOMS, **BOXES}, "r2", 0.658, target={"price": "number"}),
    "skin": Reference({**columns("image", "image"), **record("age", "sex", "site")}, "balanced_accuracy", 0.513),
    "icu": Reference(
        {**series("vitals", "labs"), **record("age", "gender", "height_cm", "weight_kg", "icu_type")}, "auroc", 0.863
    ),
    "movies": Reference(
        {**columns("text", "title", "genres", "tags"), **columns("image", "poster"), **record("user_id", "year")},
        "auroc", 0.724, "movie_id", target={"liked": "classes"},
    ),
    "home_sensors": Reference(
        series("temperature", "light", "sound", "co2", "motion"), "balanced_accuracy", 0.742, "day"
    ),
    "home_commands": Reference(columns("text", "text"), "accuracy", 0.980),
    "voice_commands": Reference(columns("audio", "audio"), "accuracy", 0.844, "speaker"),
    "gold": Reference(
        {**columns("text", "headlines"), **series("returns")}, "accuracy", 0.833,
        target={"today": "classes"}, hides="returns",
    ),
    "pages": Reference(columns("text", "name"), "accuracy", 0.823),
    "voice_emotion": Reference(
        {**columns("audio", "audio"), **columns("text", "text"), **record("sex", "intensity")},
        "balanced_accuracy", 0.406, "actor",
    ),
    "airline": Reference({**columns("text", "text"), **BEHAVIOUR}, "accuracy", 0.795, "author"),
    "banking": Reference(columns("text", "text"), "accuracy", 0.915),
    "touch": Reference(series("pressure", "electrodes", "force", "joints"), "accuracy", 0.997),
    "waimai": Reference(columns("text", "text"), "auroc", 0.942),
}  # fmt: skip


def spent() -> float:
    """CPU seconds of this process and of all that it waited for."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in each)


def measured(name: str, preset: str) -> str:
    known, before = SETS[name], spent()
    with tempfile.TemporaryDirectory() as scratch:
        folder = known.folder(name, Path(scratch))
        run = pm.fit(
            folder / "train.csv", valid=folder / "valid.csv", test=folder / "test.csv", metric=known.metric,
            schema={"fields": known.fields, "target": known.target, **({"group": known.group} if known.group else {})},
            out=Path(scratch) / "run", store=str(Path(scratch) / "store"), config={"preset": preset}, quiet=True,
        )  # fmt: skip
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    found, hand = metrics["test"][known.metric], known.hand
    side = "below" if found["high"] < hand else "above" if found["low"] > hand else "not told apart"
    return (
        f"{name:15} {known.metric:18} {found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})  "
        f"by hand {hand:.3f}: {side}; {metrics['chosen']}, {spent() - before:.0f} CPU s"
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", default=list(SETS), help=", ".join(SETS))
    words.add_argument("--preset", default="good")
    given = words.parse_args()
    for name in given.names:
        print(measured(name, given.preset), flush=True)


if __name__ == "__main__":
    main()
