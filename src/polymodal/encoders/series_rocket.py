"""Hand-made features of series: statistics of each channel, and fixed convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder, moments, present_rows, quantiles, stretches
from polymodal.encoders.series import channel_statistics

TAPS = 9
KERNELS = list(combinations(range(TAPS), 3))  # 84: where a kernel's taps are 2, all others being -1
MOST_CHANNELS = 9  # of one kernel
FINEST = 1024  # steps of a deviation: whole numbers, so that sums are exact in any order and on any device
LIMIT = 8.0  # deviations, of what is convolved
ROWS = 128  # training series that the biases are drawn from
AT_ONCE = 84 * 512  # convolved values of a row held at once
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BANDS = 4
MOST_PAIRED = 24  # channels up to which every pair's correlation is told
GOLDEN = (math.sqrt(5) - 1) / 2


class SeriesRocket(FeatureEncoder):
    """Statistics of each channel, and MiniRocket (Dempster, Schmidt & Webb 2021): shares of 84 fixed convolutions.

    Statistics, over what was measured: moments, quantiles, first and last value, slope, share measured, mean change,
    autocorrelation, energy by frequency, when the extremes come; then means and shares measured of at most `parts`
    equal stretches, a short series' own values; and the correlation of every two channels, up to 24 channels.

    MiniRocket: kernels of nine taps, dilated up to the series' length, each over a few channels drawn with a fixed
    seed; the feature is the share of steps at which the convolution exceeds a bias, a quantile of convolutions of
    training series. About `kernels` such features, 0 for none; at most one of each kernel for every nine steps, so
    none of a series that is shorter than a kernel. Series are centred, and with `scale` each channel of each brought
    to deviation 1, before they are convolved; padding counts no step.
    """

    processor = "series"
    centre: Tensor
    width: Tensor
    taps: Tensor
    biases: Tensor

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, kernels: int = 1000, parts: int = 12, scale: bool = False
    ):
        super().__init__(facts, dim)
        check_range("[0, 100000]", kernels=kernels)
        check_range("[1, 1000]", parts=parts)
        self.kernels, self.parts, self.scale = kernels, parts, scale
        self.channels, self.length = int(facts["channels"]), int(facts["length"])
        self.register_buffer("centre", torch.zeros(self.channels))
        self.register_buffer("width", torch.ones(self.channels))
        each = min(math.ceil(kernels / len(KERNELS)), self.length // TAPS)
        self.dilations = _dilations(self.length, each) if each else {}
        self.register_buffer("taps", _taps(self.channels, len(self.dilations)), persistent=False)
        self.register_buffer("biases", torch.zeros(len(KERNELS), each))
        blank = torch.zeros(1, self.length, self.channels)
        self._measured({"values": blank, "valid": blank.bool(), "length": torch.ones(1, dtype=torch.int32)})

    @torch.no_grad()
    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of each channel over its measured values, biases of the kernels, then of every feature."""
        rows = present_rows(inputs)
        mean, spread = channel_statistics(rows["values"], rows["valid"])
        self.centre.copy_(mean)
        self.width.copy_(spread)
        self._draw_biases(rows)
        super().fit_statistics(rows)

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        x, measured, real = self._prepared(inputs)
        length = inputs["length"].clamp(min=1)
        told = [self._statistics(x, measured, real, length)]
        if 2 <= self.channels <= MOST_PAIRED:
            told.append(_correlations(x, real))
        if self.dilations:
            told.append(self.shares(self.convolved(x, real), real, length))
        return torch.cat(told, 1)

    def _prepared(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised values [B, L, C], zero where a channel has none; which are measured; which steps are real."""
        values = inputs["values"].float()
        real = torch.arange(values.shape[1], device=values.device) < inputs["length"].clamp(min=1)[:, None]
        measured = inputs["valid"] & real[..., None]
        x = ((values - self.centre) / self.width).clamp(-20, 20)
        return torch.where(measured.any(1, keepdim=True) & real[..., None], x, 0.0), measured, real

    def _statistics(self, x: Tensor, measured: Tensor, real: Tensor, length: Tensor) -> Tensor:
        rows, steps, _ = x.shape
        time = torch.arange(steps, device=x.device, dtype=x.dtype)
        count = measured.sum(1)
        told = [*moments(x, measured), quantiles(x, measured, SHARES).flatten(1), count / length[:, None]]
        first = torch.where(measured, time[:, None], steps - 1).amin(1)
        last = torch.where(measured, time[:, None], 0).amax(1)
        told += [x.gather(1, place.long()[:, None])[:, 0] for place in (first, last)]
        centred, _ = _centred(x, real)
        moment = torch.where(real, time, 0.0)
        moment = torch.where(real, moment - moment.sum(1, keepdim=True) / length[:, None], 0.0)
        told.append(torch.einsum("bt,btc->bc", moment, centred) / moment.square().sum(1).clamp(min=1)[:, None])
        both = (real[:, 1:] & real[:, :-1])[..., None]
        pairs = (length - 1).clamp(min=1)[:, None]
        change = torch.where(both, x.diff(dim=1), 0.0)
        told += [change.abs().sum(1) / pairs, (change.square().sum(1) / pairs).sqrt(), change.abs().amax(1)]
        told.append(((centred[:, 1:] >= 0) != (centred[:, :-1] >= 0)).logical_and(both).sum(1) / pairs)
        power = centred.square().sum(1).clamp(min=1e-6)
        told += [(centred[:, lag:] * centred[:, : steps - lag]).sum(1) / power for lag in (1, 2, 4) if lag < steps]
        for sign in (1, -1):
            peak = torch.where(measured, x * sign, -torch.inf).argmax(1)
            told.append(peak / length[:, None])
        told += _bands(centred)
        parts = min(self.parts, steps)
        zero = x.new_zeros(rows)
        told.append(stretches(x, zero, length.to(x.dtype), parts).flatten(1))
        if parts > 1:
            told.append(stretches(measured.to(x.dtype), zero, length.to(x.dtype), parts).flatten(1))
        return torch.cat(told, 1)

    def convolved(self, x: Tensor, real: Tensor) -> Tensor:
        """What is convolved, [B, C, L]: each series centred, if so wished scaled, in whole steps; zero as padding."""
        centred, spread = _centred(x, real)
        if self.scale:
            centred = centred / torch.where(spread > 1e-4, spread, torch.inf)[:, None]
        return ((centred.clamp(-LIMIT, LIMIT) * FINEST).round() / FINEST).transpose(1, 2)

    def shares(self, x: Tensor, real: Tensor, length: Tensor) -> Tensor:
        """Share of the steps at which each convolution of x [B, C, L] exceeds each bias: [B, 84 · biases].

        Every other kernel (its number plus the dilation's) counts only the steps where no tap is beyond an end, if
        there are any; as in the paper.
        """
        told = []
        start = 0
        together = max(4, AT_ONCE // x.shape[2])
        for number, (dilation, count) in enumerate(self.dilations.items()):
            every, inner = _counted(real, length, TAPS // 2 * dilation)
            for first in range(0, len(KERNELS), together):
                some = slice(first, first + together)
                odd = (torch.arange(len(KERNELS), device=x.device)[some, None] + number) % 2 == 1
                weight = torch.where(odd, inner[:, None], every[:, None])
                y = _convolution(x, self.taps[number, some], dilation)
                for place in range(start, start + count):
                    told.append(((y > self.biases[some, place, None]) * weight).sum(2))
            start += count
        return torch.cat(told, 1)

    def _draw_biases(self, rows: Mapping[str, Tensor]) -> None:
        total = rows["length"].shape[0]
        if not total or not self.dilations:
            return
        chosen = torch.linspace(0, total - 1, min(total, ROWS)).long().to(rows["length"].device)
        x, _, real = self._prepared({name: value[chosen] for name, value in rows.items()})
        x = self.convolved(x, real)
        start = 0
        for number, (dilation, count) in enumerate(self.dilations.items()):
            for kernel in range(len(KERNELS)):
                y = _convolution(x, self.taps[number, kernel : kernel + 1], dilation)[:, 0][real].sort().values
                order = torch.arange(
                    start + kernel * self.biases.shape[1], start + kernel * self.biases.shape[1] + count
                )
                share = ((order + 1) * GOLDEN) % 1
                place = (share * (len(y) - 1)).long().to(y.device)
                # Half a step above: no convolution is ever equal to a bias.
                self.biases[kernel, start : start + count] = y[place] + 0.5 / FINEST
            start += count


def _dilations(length: int, each: int) -> dict[int, int]:
    """Dilations, at most 32, and how many biases each kernel has there: `each` in all."""
    highest = math.log2(max(1.0, (length - 1) / (TAPS - 1)))
    exponents = torch.linspace(0, highest, min(each, 32), dtype=torch.float64)
    counted: dict[int, int] = {}
    for place in range(each):
        dilation = int(2 ** float(exponents[place % len(exponents)]))
        counted[dilation] = counted.get(dilation, 0) + 1
    return dict(sorted(counted.items()))


def _taps(channels: int, dilations: int) -> Tensor:
    """Weights [dilations, 84, C, 9], zero for the channels that a kernel does not read."""
    taps = torch.full((len(KERNELS), TAPS), -1.0)
    for number, places in enumerate(KERNELS):
        taps[number, list(places)] = 2.0
    draw = torch.Generator().manual_seed(0)
    read = torch.zeros(dilations, len(KERNELS), channels)
    most = math.log2(min(channels, MOST_CHANNELS) + 1)
    for row in read.view(-1, channels):
        count = int(2 ** (float(torch.rand((), generator=draw)) * most))
        row[torch.randperm(channels, generator=draw)[: max(1, count)]] = 1.0
    return read[..., None] * taps[:, None]


def _convolution(x: Tensor, taps: Tensor, dilation: int) -> Tensor:
    """[B, C, L] by [K, C, 9] to [B, K, L], zeros beyond the ends."""
    return F.conv1d(x, taps, padding=TAPS // 2 * dilation, dilation=dilation)


def _counted(real: Tensor, length: Tensor, margin: int) -> tuple[Tensor, Tensor]:
    """Weights [B, L] that sum to 1: of all real steps, and of those `margin` away from both ends, if there are any."""
    place = torch.arange(real.shape[1], device=real.device)
    inner = real & (place >= margin) & (place < (length - margin)[:, None])
    inner = torch.where(inner.any(1, keepdim=True), inner, real)
    return tuple(w / w.sum(1, keepdim=True) for w in (real.float(), inner.float()))  # type: ignore[return-value]


def _centred(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Each series less its mean over the real steps, zero beyond, [B, L, C]; and its deviation [B, C]."""
    mean, spread, _ = moments(x, real)
    return torch.where(real[..., None], x - mean[:, None], 0.0), spread


def _correlations(x: Tensor, real: Tensor) -> Tensor:
    """Correlation of every two channels [B, C (C - 1) / 2], 0 where one is constant."""
    centred, spread = _centred(x, real)
    unit = centred / torch.where(spread > 1e-4, spread, torch.inf)[:, None]
    both = unit.transpose(1, 2) @ unit / real.sum(1)[:, None, None]
    one, other = torch.triu_indices(x.shape[2], x.shape[2], 1, device=x.device)
    return both[:, one, other]


def _bands(centred: Tensor) -> list[Tensor]:
    """Logarithm of the mean power in at most four octaves of frequency, the highest last."""
    power = torch.view_as_real(torch.fft.rfft(centred, dim=1)).square().sum(-1)
    bins = power.shape[1]
    edges = sorted({max(1, bins >> shift) for shift in range(BANDS)} | {1, bins})
    return [(power[:, a:b].mean(1) / centred.shape[1] + 1e-4).log() for a, b in pairwise(edges)]
