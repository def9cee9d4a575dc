"""A default fit, or a preset, against what hand-made features and a simple model reach on the same test rows.

`python benchmarks/by_hand.py [NAME …] [--preset best]`: a line a data set: the chosen strategy's score on test with its
95 % interval, the figure by hand, whether the interval lies below or above it, and the CPU seconds of all processes.
By hand is one plain run on training and validation rows together: hand-made features, logistic regression unless said.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

from realdata import folder_of

import polymodal as pm


def series(*names: str) -> dict[str, Any]:
    return {name: {"kind": "series", "array": f"arrays/{name}.npy", "row": "row"} for name in names}


def columns(kind: str, *names: str) -> dict[str, Any]:
    return {name: {"kind": kind, "columns": [name]} for name in names}


def record(*names: str) -> dict[str, Any]:
    return {"record": {"kind": "table", "columns": list(names)}}


MOSI = {name: {"kind": "vector", "array": f"arrays/{name}.npy", "row": "row"} for name in ("text", "audio", "video")}
BEHAVIOUR = record("airline", "retweets", "hour", "weekday", "tweets_of_author", "timezone")
# By data set: fields, what ties rows, the metric, and by hand all modalities together.
SETS: dict[str, tuple[dict[str, Any], str, str, float]] = {
    "mosi": (MOSI, "video_id", "accuracy", 0.757),
    "skin": ({**columns("image", "image"), **record("age", "sex", "site")}, "", "balanced_accuracy", 0.513),
    "icu": (
        {**series("vitals", "labs"), **record("age", "gender", "height_cm", "weight_kg", "icu_type")},
        "", "auroc", 0.863,
    ),
    "home_sensors": (series("temperature", "light", "sound", "co2", "motion"), "day", "balanced_accuracy", 0.742),
    "home_commands": (columns("text", "text"), "", "accuracy", 0.980),
    "voice_commands": (columns("audio", "audio"), "speaker", "accuracy", 0.844),
    "voice_emotion": (
        {**columns("audio", "audio"), **columns("text", "text"), **record("sex", "intensity")},
        "actor", "balanced_accuracy", 0.406,
    ),
    "airline": ({**columns("text", "text"), **BEHAVIOUR}, "author", "accuracy", 0.795),
    "banking": (columns("text", "text"), "", "accuracy", 0.915),
    "touch": (series("pressure", "electrodes", "force", "joints"), "", "accuracy", 0.997),
    "waimai": (columns("text", "text"), "", "auroc", 0.942),
    "pages": (columns("text", "name"), "", "accuracy", 0.823),
}  # fmt: skip


def spent() -> float:
    """CPU seconds of this process and of all that it waited for."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in each)


def measured(name: str, preset: str) -> str:
    fields, group, metric, hand = SETS[name]
    folder, before = folder_of(name), spent()
    schema = {"fields": fields, "target": {"label": "classes"}, **({"group": group} if group else {})}
    with tempfile.TemporaryDirectory() as scratch:
        run = pm.fit(
            folder / "train.csv", valid=folder / "valid.csv", test=folder / "test.csv", schema=schema, metric=metric,
            out=Path(scratch) / "run", store=str(Path(scratch) / "store"), config={"preset": preset}, quiet=True,
        )  # fmt: skip
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    found = metrics["test"][metric]
    side = "below" if found["high"] < hand else "above" if found["low"] > hand else "not told apart"
    return (
        f"{name:15} {metric:18} {found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})  by hand {hand:.3f}: "
        f"{side}; {metrics['chosen']}, {spent() - before:.0f} CPU s"
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
