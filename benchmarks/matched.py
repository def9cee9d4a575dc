"""Fits at matched seeds on several tables, scored on the same test rows, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polymodal as pm
from polymodal.data.tables.source import read_table
from polymodal.evaluation.statistics import bootstrap, paired
from polymodal.metrics import METRICS

Ways = Mapping[str, tuple[Any, Mapping[str, Any]]]  # name -> (training rows, options of the fit)
QUICK = {"fusion": "concat", "crossfit": 2, "finetune": False, "trackers": "none", "seeds": 1}


def compared(
    ways: Ways, target: str, valid: Any, test: Any, out: Path, *, seeds: int, epochs: int, against: str, number: bool
) -> list[dict[str, Any]]:
    """A row a way: the score of its models on `test` and the difference from `against`, over test rows and seeds."""
    cells = read_table(test).column(target)
    names = sorted({str(c) for c in cells})
    truth = np.array([float(c) for c in cells]) if number else np.array([names.index(str(c)) for c in cells])
    metric = METRICS.build("r2" if number else "accuracy")
    told: dict[str, np.ndarray] = {}
    for name, (train, options) in ways.items():
        found = []
        for seed in range(seeds):
            folder = out / f"{name}-{seed}"
            run = pm.load(folder) if (folder / "metrics.json").exists() else None
            if run is None:
                run = pm.fit(
                    train, target, valid=valid, test=test, out=folder, seed=seed, quiet=True,
                    **{**QUICK, "training": {"epochs": epochs}, **options},
                )  # fmt: skip
            found.append(_answers(run.predict(test), target, names, number))
        told[name] = np.stack(found)
    rows = []
    for name, given in told.items():
        score = bootstrap(metric, truth, given, seed=0)
        apart = paired(metric, truth, given, told[against], seed=0)
        rows.append(
            {
                "trained on": name,
                "r2" if number else "accuracy": score.mean,
                "interval": f"{score.low:.3f} to {score.high:.3f}",
                f"less {against}": apart.mean if hasattr(apart, "mean") else apart.difference,
                "paired interval": f"{apart.low:+.3f} to {apart.high:+.3f}",
            }
        )
    return rows


def _answers(told: Mapping[str, Sequence[Any]], target: str, names: Sequence[str], number: bool) -> np.ndarray:
    """Predicted numbers [N], or the chosen class of each row as [N, C]."""
    if number:
        return np.array([float(v) for v in told[target]])
    return np.eye(len(names))[[names.index(str(v)) for v in told[target]]]
