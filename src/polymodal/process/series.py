"""Series of measurements: T x channels, with gaps, to one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.core.values import check_range
from polymodal.data.media.array import read_array
from polymodal.process.base import Processor

FRAMINGS = ("crop", "resample")
LONGEST = 4096  # steps, when the length is chosen
LARGEST = 1e30  # values beyond are not measurements and overflow float32 arithmetic


class SeriesProcessor(Processor):
    """Reads a `.npy` or `.csv` file, an array or a list: T steps, or T steps x channels.

    `length` is the number of steps kept; None takes the 95th percentile of the training series, at most 4,096.
    `framing` makes that length: `crop` keeps the beginning and pads the end, so that time keeps its scale; `resample`
    stretches every series to it. `rate` in steps a second gives the tokens their place in seconds.

    Missing values (NaN, empty) inside a channel are interpolated; `valid` says which values were measured. A channel
    without any is zero. A series with another number of channels than in training is `BadCell`.

    Arrays: `values` float32 [N, L, C], `valid` bool [N, L, C], `length` int32 [N], how many steps are real. Facts:
    `channels`, `length`, `rate`.
    """

    kind = "series"

    def __init__(self, *, length: int | None = None, framing: str = "crop", rate: float = 1.0):
        if framing not in FRAMINGS:
            raise BadArgument(f"Unknown framing {framing!r}.{suggest(framing, FRAMINGS)}")
        check_range("[2, inf)", "steps", length=length)
        check_range("(0, inf)", "steps a second", rate=rate)
        self.length = length
        self.framing = framing
        self.rate = rate
        self.length_ = length or LONGEST
        self.channels_: int | None = None

    def read(self, cell: Any) -> np.ndarray:
        """A path, an array or a list to float32 [T, channels] with NaN for gaps. Raises `BadCell`."""
        values = _array(cell)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2:
            raise BadCell(f"a series has one axis (steps) or two (steps, channels); this has {values.ndim}")
        values = np.where(np.abs(values) <= LARGEST, values, np.nan).astype(np.float32)
        if not np.isfinite(values).any():
            raise BadCell("the series holds no finite value")
        if self.channels_ is not None and values.shape[1] != self.channels_:
            raise BadCell(f"the series has {values.shape[1]} channels where training has {self.channels_}")
        return values

    def fit(self, cells: Iterable[np.ndarray]) -> None:
        """Choose the length and learn the number of channels from decoded training series."""
        lengths, channels = [], Counter[int]()
        for values in cells:
            lengths.append(len(values))
            channels[values.shape[1]] += 1
        if channels:
            self.channels_ = min(channels, key=lambda c: (-channels[c], c))
        if self.length is None and lengths:
            self.length_ = max(2, min(LONGEST, round(float(np.quantile(lengths, 0.95)))))

    def process(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Decoded series to `values`, `valid` and `length`. Raises `BadCell` for a series with other channels."""
        channels = self.facts()["channels"]
        values = np.zeros((len(cells), self.length_, channels), np.float32)
        valid = np.zeros(values.shape, bool)
        length = np.empty(len(cells), np.int32)
        for row, series in enumerate(cells):
            if series.shape[1] != channels:
                raise BadCell(f"the series has {series.shape[1]} channels where training has {channels}")
            filled, known = self._framed(series)
            steps = length[row] = len(filled)
            values[row, :steps], valid[row, :steps] = filled, known
        return {"values": values, "valid": valid, "length": length}

    def facts(self) -> dict[str, Any]:
        return {"channels": self.channels_ or 1, "length": self.length_, "rate": self.rate}

    def state(self) -> dict[str, Any]:
        return {"channels": self.channels_, "length": self.length_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.channels_, self.length_ = state["channels"], int(state["length"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise of 2 · `level` times each channel's own deviation: SNR = -20 log10(2 · level) dB.

        0 is clean, 0.5 is 0 dB, 1 is -6 dB. Values that were not measured stay as they are.
        """
        values, valid = inputs["values"], inputs["valid"]
        count = valid.sum(1, keepdim=True).clamp(min=1)
        mean = (values * valid).sum(1, keepdim=True) / count
        spread = (((values - mean) * valid).square().sum(1, keepdim=True) / count).sqrt()
        noise = torch.randn(values.shape, generator=generator)
        return {**inputs, "values": values + 2 * level * spread * noise * valid}

    def show(self, cell: np.ndarray) -> dict[str, Any]:
        """The series as it was read, gaps as NaN."""
        return {"kind": "series", "array": cell}

    def _framed(self, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gaps filled, and where values were measured, both at most [length_, C]."""
        if self.framing == "crop":
            series = series[: self.length_]
        known = np.isfinite(series)
        filled = np.stack([_filled(series[:, c], known[:, c]) for c in range(series.shape[1])], axis=1)
        if self.framing == "crop" or len(series) == self.length_:
            return filled, known
        source = np.linspace(0, len(series) - 1, self.length_)
        steps = np.arange(len(series))
        stretched = np.stack([np.interp(source, steps, filled[:, c]) for c in range(series.shape[1])], axis=1)
        return stretched.astype(np.float32), known[source.round().astype(int)]


class PretrainedSeriesProcessor(SeriesProcessor):
    """What `SeriesProcessor` makes, for a tower of series (Ansari et al. 2024).

    Options: `model`, a hub name or a folder; the others as there.
    """

    def __init__(self, *, model: str = "", length: int | None = None, framing: str = "crop", rate: float = 1.0):
        super().__init__(length=length, framing=framing, rate=rate)
        self.model = model

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "model": self.model}


def _filled(channel: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Linear interpolation over gaps, the nearest value at the ends, zero where nothing is known."""
    if known.all():
        return channel
    if not known.any():
        return np.zeros_like(channel)
    steps = np.arange(len(channel))
    return np.interp(steps, steps[known], channel[known]).astype(np.float32)


def _array(cell: Any) -> np.ndarray:
    if isinstance(cell, str | Path):
        return read_array(Path(cell)).astype(np.float64)
    try:
        values = np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadCell("the list is not a series of numbers, or its steps differ in their number of channels") from error
    return values
