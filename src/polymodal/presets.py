"""Presets of a fit: what a word stands for, so that a plan and a run's files say it in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.core.errors import BadArgument, suggest

CHEAP = ("concat", "late_mean", "product", "stacking")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # seconds to a first report: features by formula, what combines answers, one seed
    "fast": {"encodings": "fitted", "pretrained": False, "fusion": list(CHEAP), "seeds": 1, "joint": False},
    # the defaults: pretrained towers where a checkpoint is at hand
    "auto": {},
    "good": {},
    # every encoding in finer parts, pretrained towers tuned to the target, more ways to fuse, more seeds
    "best": {
        "fusion": [*CHEAP, "gated", "attention", "mlp", "lowrank", "ridge", "kernel", "extra_trees", "tabm"],
        "seeds": 5,
        "crossfit": 5,
        "target_aware": True,
    },
    # the smallest model that serves: formulas, the plainest fusions, one model instead of one a part
    "edge": {
        "encodings": "fitted",
        "pretrained": False,
        "fusion": ["concat", "late_mean"],
        "seeds": 1,
        "joint": False,
        "ensemble": False,
        "evidence": "validation",
    },
}


def preset(name: Any) -> dict[str, Any]:
    """The options that a preset stands for. Raises `BadArgument` for another word."""
    if not isinstance(name, str) or name not in PRESETS:
        raise BadArgument(f"Unknown preset {name!r}.{suggest(str(name), PRESETS)}")
    return dict(PRESETS[name])
