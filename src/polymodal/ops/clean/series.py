"""Cleaning series of measurements: gaps, drift, other rates, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.ops.base import CellOp
from polymodal.ops.rows import Row, SetAside

WAYS = ("linear", "previous", "zero")


class Gaps(CellOp):
    """Fills missing samples (NaN, infinite): `linear` between the neighbours, the `previous` one, or `zero`.

    A series with a gap longer than `longest` samples in any channel is set aside, for what would be put there is not
    measured; so is one without any sample. At the ends the nearest sample is repeated.
    """

    kinds = ("series",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, longest: int = 20, fill: str = "linear"):
        super().__init__(columns=columns)
        self.longest = longest
        self.fill = fill
        check_range("[0, inf)", "samples", longest=longest)
        if fill not in WAYS:
            raise BadArgument(f"Unknown fill {fill!r}.{suggest(fill, WAYS)}")

    def mend(self, value: np.ndarray, row: Row, column: str) -> np.ndarray:
        known = np.isfinite(value)
        if known.all():
            return value
        channels = value.reshape(len(value), -1).astype(np.float32, copy=True)
        for channel in channels.T:
            there = np.isfinite(channel)
            if not there.any():
                raise SetAside("has a channel without any sample")
            gap = longest_run(~there)
            if gap > self.longest:
                raise SetAside(f"has a gap of {gap} samples, above {self.longest}")
            if self.fill == "zero":
                channel[~there] = 0
            else:
                at = np.arange(len(channel))
                if self.fill == "previous":
                    last = np.maximum.accumulate(np.where(there, at, -1))
                    channel[:] = channel[np.where(last < 0, there.argmax(), last)]
                else:
                    channel[~there] = np.interp(at[~there], at[there], channel[there])
        return channels.reshape(value.shape)


class Drift(CellOp):
    """Takes slow drift out: the polynomial of `degree` that fits each channel best in least squares.

    Degree 0 takes away the mean, 1 a straight line. `keep_level` gives the mean back. Missing samples stay missing.
    """

    kinds = ("series",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, degree: int = 1, keep_level: bool = True):
        super().__init__(columns=columns)
        self.degree = degree
        self.keep_level = keep_level
        check_range("[0, 8]", degree=degree)

    def mend(self, value: np.ndarray, row: Row, column: str) -> np.ndarray:
        if len(value) <= self.degree:
            return value
        channels = value.reshape(len(value), -1).astype(np.float64)
        basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(value)), self.degree)
        for channel in channels.T:
            known = np.isfinite(channel)
            if known.sum() > self.degree:
                level = channel[known].mean() if self.keep_level else 0.0
                channel -= basis @ np.linalg.lstsq(basis[known], channel[known], rcond=None)[0] - level
        return channels.reshape(value.shape).astype(np.float32)


class SeriesResample(CellOp):
    """Another number of samples: `samples` a series, or `factor` times as many.

    By SciPy's polyphase filter (`resample_poly`), which lets nothing above half the new
    rate through; to a fixed number of samples by the nearest ratio, then cut or held at the end. Series with missing
    samples are set aside.
    """

    kinds = ("series",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        samples: int | None = None,
        factor: float | None = None,
    ):
        super().__init__(columns=columns)
        self.samples = samples
        self.factor = factor
        if (samples is None) == (factor is None):
            raise BadArgument("Give one of samples and factor.")
        if (samples or factor or 0) <= 0:
            raise BadArgument(f"samples and factor must be above 0; got {samples or factor}.")

    def mend(self, value: np.ndarray, row: Row, column: str) -> np.ndarray:
        from fractions import Fraction

        from scipy.signal import resample_poly

        wanted = self.samples or max(1, round(len(value) * (self.factor or 1)))
        if wanted == len(value):
            return value
        if not np.isfinite(value).all():
            raise SetAside("has missing samples, which a filter spreads over the whole: put the step gaps before")
        ratio = next(  # the simplest that ends within half a sample of the end
            ratio
            for most in (1000, 100_000, len(value))
            if abs((ratio := Fraction(wanted, len(value)).limit_denominator(most)) * len(value) - wanted) <= 0.5
            or most == len(value)
        )
        resampled = resample_poly(value.astype(np.float64), ratio.numerator, ratio.denominator, axis=0, padtype="line")
        if len(resampled) < wanted:
            resampled = np.concatenate([resampled, np.repeat(resampled[-1:], wanted - len(resampled), axis=0)])
        return resampled[:wanted].astype(np.float32)


class Smooth(CellOp):
    """Savitzky–Golay smoothing (1964): in a moving window of `window` samples the best fitting polynomial of `degree`.

    Keeps the height and width of peaks, which a moving mean does not. Isolated spikes, further than `spikes` median
    absolute deviations from the median of their window (Hampel 1974), are replaced by that median first. Series shorter
    than the window, and those with missing samples (`gaps` fills them), stay as they are.
    """

    kinds = ("series",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, window: int = 11, degree: int = 3, spikes: float = 6.0
    ):
        super().__init__(columns=columns)
        self.window = window
        self.degree = degree
        self.spikes = spikes
        if window < 3 or window % 2 == 0 or not 0 <= degree < window:
            raise BadArgument(f"window must be odd, at least 3, and above degree; got {window} and {degree}.")
        check_range("(0, inf)", spikes=spikes)

    def mend(self, value: np.ndarray, row: Row, column: str) -> np.ndarray:
        from scipy.ndimage import median_filter
        from scipy.signal import savgol_filter

        if len(value) < self.window or not np.isfinite(value).all():
            return value
        channels = value.reshape(len(value), -1).astype(np.float64)
        middle = median_filter(channels, (self.window, 1), mode="nearest")
        away = np.abs(channels - middle)
        usual = 1.4826 * median_filter(away, (self.window, 1), mode="nearest")
        channels = np.where((away > self.spikes * usual) & (usual > 0), middle, channels)
        return savgol_filter(channels, self.window, self.degree, axis=0).reshape(value.shape).astype(np.float32)


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True in [n] bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
