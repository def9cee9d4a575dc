"""How likely each of many things given is wrong, told from what wrong ones score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 30  # scores from which a distribution can be told
APART = 1.25  # below it most of those doubted are right (found on pairs of photos and captions, blurred by noise)
_GRID = 1024  # places between the lowest score and the highest
_ROUNDS = 500


@dataclass(frozen=True)
class Told:
    """`probability` [N] of each score to be of a wrong one; `apart`: by how many standard deviations right ones, as
    fitted, score more than wrong ones do.
    """

    probability: np.ndarray
    apart: float


def told_apart(given: np.ndarray, wrong: np.ndarray) -> Told:
    """How likely each of the scores `given` [N] is of a wrong one, by the two-groups model (Efron 2008).

    `wrong` [M] are scores of what is surely wrong; a higher score fits better. Their density is smoothed by a Gaussian
    kernel; the right ones among those given are taken as normal, above the mean of the wrong ones. Their share, mean
    and spread are fitted by expectation maximisation to the scores given, and the probability (the local false
    discovery rate) is made to fall with the score. Both need `LEAST` scores to mean much.
    """
    low, high = min(given.min(), wrong.min()), max(given.max(), wrong.max())
    if high - low < 1e-9:
        return Told(np.zeros(len(given)), 0.0)
    at, step = np.linspace(low, high, _GRID, retstep=True)
    count = np.histogram(given, _GRID, (low - step / 2, high + step / 2))[0].astype(np.float64)
    null = _smoothed(wrong, at, step)
    floor = float(wrong.mean())
    share, mean = 0.1, max(float(np.median(given)), floor)
    narrowest = max(float(wrong.std()) / 20, step)
    spread = max(float(given.std()), narrowest)
    for _ in range(_ROUNDS):
        right = np.exp(-(((at - mean) / spread) ** 2) / 2) / spread / np.sqrt(2 * np.pi)
        is_wrong = share * null / np.maximum(share * null + (1 - share) * right, 1e-300)
        was, share = share, float((count * is_wrong).sum() / count.sum())
        weight = count * (1 - is_wrong)
        if abs(share - was) < 1e-7 or weight.sum() < 1:
            break
        mean = max(float((weight * at).sum() / weight.sum()), floor)
        spread = max(float(np.sqrt((weight * (at - mean) ** 2).sum() / weight.sum())), narrowest)
    top = int(np.searchsorted(at, mean))
    is_wrong[top:] = np.minimum.accumulate(is_wrong[top:])  # beyond the mean of the right ones none is doubted more,
    is_wrong[:top] = np.maximum.accumulate(is_wrong[:top][::-1])[::-1]  # below it none less than a better one
    apart = (mean - floor) / np.sqrt((float(wrong.var()) + spread**2) / 2)
    return Told(np.interp(given, at, is_wrong), float(apart))


def in_words(probability: float) -> str:
    """A probability as people write it; never 100%."""
    return "over 99%" if probability > 0.99 else f"{probability:.0%}"


def _smoothed(scores: np.ndarray, at: np.ndarray, step: float) -> np.ndarray:
    """The density of scores at evenly spaced places, by a Gaussian kernel of Silverman's width (1986)."""
    share = np.histogram(scores, len(at), (at[0] - step / 2, at[-1] + step / 2))[0] / len(scores)
    low, high = np.percentile(scores, (25, 75))
    width = 0.9 * min(float(scores.std()), float(high - low) / 1.34 or np.inf) * len(scores) ** -0.2
    reach = np.arange(-len(at) + 1, len(at)) * step / max(width, step)
    kernel = np.exp(-(reach**2) / 2)
    return np.convolve(share, kernel / kernel.sum() / step, "valid")
