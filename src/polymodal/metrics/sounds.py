"""Metrics of drawn sounds, of spectrograms [N, M, T, 1] as bytes of `nn.signal.levels`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from polymodal.metrics.base import Metric
from polymodal.metrics.pictures import Energy
from polymodal.nn.signal.cepstra import cosine_matrix
from polymodal.nn.signal.dtw import warped
from polymodal.nn.signal.levels import STEP, lengths

CEPSTRA = 13  # of a frame, the first of them its level
STRETCHES = 8  # of the time, whose means and spreads are compared
CELLS = 2**22  # pairs of frames that are compared at a time


class SoundEnergy(Energy):
    """The energy score of drawn sounds, as that of pictures, in the space of `features` of spectrograms."""

    truths = ("sound",)

    def space(self, fields: np.ndarray) -> np.ndarray:
        return features(fields)


class _PerRow(Metric):
    """A mean over rows and drawings of an error, at least 0."""

    needs = "drawn"
    truths = ("sound",)
    greater_is_better = False
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def view(self, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """[N] the error of each row, which resamples share."""
        each = [self.error(truth[..., 0], prediction[:, k, ..., 0]) for k in range(prediction.shape[1])]
        return np.mean(each, 0)

    def error(self, truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """[N] of spectrograms [N, M, T] each."""
        raise NotImplementedError

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return prediction @ weights / weights.sum(0)


class MelCepstral(_PerRow):
    """Mel-cepstral distance in dB of each drawing to the true sound, along the best warping of time (Kubichek 1993).

    10 / ln 10 · √(2 Σ Δc²) of the cepstra 1 to 12 of the logarithmic amplitude, the mean over the frames that dynamic
    time warping pairs: loudness does not count, and neither does tempo. Two speakers who say the same are far apart.
    """

    def error(self, truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        found = []
        rows = max(1, CELLS // truth.shape[2] ** 2)
        for start in range(0, len(truth), rows):
            x, y = truth[start : start + rows], drawn[start : start + rows]
            a, b = (_cepstra(one)[..., 1:] for one in (x, y))
            squares = (a * a).sum(2)[:, :, None] + (b * b).sum(2)[:, None] - 2 * a @ b.transpose(0, 2, 1)
            # Cepstra of power in dB by an orthonormal transform: 10 / ln 10 and √2 are in it already.
            found.append(warped(np.sqrt(squares.clip(0) / truth.shape[1]), lengths(x), lengths(y)))
        return np.concatenate(found)


class Duration(_PerRow):
    """How far drawn sounds are from as long as the true one, as a share of that."""

    def error(self, truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        return np.abs(lengths(drawn) - lengths(truth)) / lengths(truth)


def features(fields: np.ndarray) -> np.ndarray:
    """[N, F] float64 of spectrograms [N, M, T, 1]: mean and spread of each cepstrum in each of 8 stretches of the time.

    In dB; a cepstrum's spread tells sharp onsets and syllables from a blur.
    """
    x = _cepstra(fields[..., 0])
    stretches = np.array_split(x, min(STRETCHES, x.shape[1]), axis=1)
    parts = [part for one in stretches for part in (one.mean(1), one.std(1))]
    return np.concatenate(parts, 1).astype(np.float64)


def _cepstra(levels: np.ndarray) -> np.ndarray:
    """[N, T, 13] float32 of spectrograms [N, M, T]."""
    bands = levels.shape[1]
    cosines = cosine_matrix(bands, min(CEPSTRA, bands)).numpy()
    return (levels.astype(np.float32) * np.float32(STEP)).transpose(0, 2, 1) @ cosines
