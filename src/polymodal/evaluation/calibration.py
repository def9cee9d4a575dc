"""Calibration: are answers given with 80% confidence right 80% of the time, and how wide must an interval be?"""

from __future__ import annotations

import math

import numpy as np

from polymodal.metrics.probabilities import BINS, binned_gaps, confidences
from polymodal.metrics.ranks import midranks
from polymodal.nn.calibrate import conformal_radius as conformal_radius
from polymodal.nn.calibrate import fit_temperature as fit_temperature
from polymodal.nn.calibrate import labelled

LEAST, RESOLUTION = 1e-30, 1e-7  # single precision holds probabilities much closer to 0 than to 1


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017) over bins of equal mass (Nixon et al. 2019).

    `probability` [N, C]; `truth` class numbers [N] or 0/1 [N, C]; unlabelled rows (-1, NaN) do not count. It is biased
    upwards on few rows: a perfectly calibrated answer on 100 rows shows several points. NaN without a labelled row.
    """
    confidence, right = confidences(*labelled(probability, truth))
    return float(binned_gaps(confidence, right, np.ones((len(right), 1)), bins)[0]) if len(right) else float("nan")


def reliability_bins(probability: np.ndarray, truth: np.ndarray, *, bins: int = 10) -> list[dict[str, float]]:
    """Bins of equal mass, as {"confidence", "accuracy", "count"}, confidence ascending; empty bins are left out."""
    confidence, right = confidences(*labelled(probability, truth))
    if not len(right):
        return []
    place = ((midranks(confidence, np.ones((len(right), 1)))[:, 0] - 0.5) / len(right) * bins).astype(np.int64)
    binned = [(confidence[place == b], right[place == b]) for b in range(bins)]
    return [{"confidence": float(c.mean()), "accuracy": float(r.mean()), "count": len(c)} for c, r in binned if len(c)]


def conformal_interval(prediction: np.ndarray, radius: float, *, log: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends, [N] each, of the intervals of `radius` around `prediction` [N]."""
    if log:
        return prediction * math.exp(-radius), prediction * np.exp(radius)
    return prediction - radius, prediction + radius
