"""Streams put onto one clock, then fused moment by moment by any fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.signal.clock import OUTSIDE, WAYS, middles, resample, spans, ticks


class Temporal(Fusion):
    """Every stream at the same times, any `fusion` at each of them, and the mean over time.

    A stream is brought to the times by interpolation on its seconds (`nn.clock.resample`), `way` linear or nearest;
    beyond its ends it is missing ("mask"), repeated ("hold") or refused. `timed` names the streams whose `where` is in
    seconds; None: those with one number of place, as sound and series have. Subtitles, which have a start and an end,
    must be named, since pictures have two numbers too. Any other stream is there at every time, by its pooled vector.

    The clock is the times of the stream `clock`, or `ticks` times spread evenly over each row, from the first to the
    last second of its timed streams. `lags` are the seconds by which streams run late.
    """

    level: ClassVar[str] = "temporal"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, fusion: Spec = "concat", timed: Sequence[str] | None = None,
        clock: str | None = None, ticks: int = 16, lags: Mapping[str, float] | None = None, way: str = "linear",
        outside: str = "mask",
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.fusion = fusion
        self.timed = timed
        self.clock = clock
        self.ticks = check_count("ticks", ticks)
        self.lags = lags
        self.way = way
        self.outside = outside
        for name in (*(timed or ()), *(lags or {}), *([clock] if clock else [])):
            if name not in self.names:
                raise UnknownName(f"temporal names no stream {name!r}.{suggest(name, self.names)}")
        for word, allowed in ((way, WAYS), (outside, OUTSIDE)):
            if word not in allowed:
                raise BadArgument(f"Unknown word {word!r} in temporal.{suggest(word, allowed)}")
        self.inner: Fusion = FUSIONS.build(fusion, self.widths, dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        moved = {name: self._on_time(name, tokens) for name, tokens in streams.items()}
        timed = {name: t for name, t in moved.items() if t is not None}
        times, real = self._clock(timed, streams)
        at = {
            name: resample(timed[name], times, real, way=self.way, outside=self.outside)
            if name in timed
            else _always(tokens, real)
            for name, tokens in streams.items()
        }
        each = {name: Tokens.from_vector(t.x.flatten(0, 1), t.mask.flatten()) for name, t in at.items()}
        fused = self.inner(each)
        x, mask = fused.pooled.view(*real.shape, self.dim), fused.present.view(real.shape)
        return Tokens(x, mask, masked_mean(x, mask), times[..., None]).cleared()

    def _on_time(self, name: str, tokens: Tokens) -> Tokens | None:
        """The stream with its lag taken off, or None where it has no times."""
        if self.timed is None:
            if tokens.where is None or tokens.where.shape[-1] != 1:
                return None
        elif name not in self.timed:
            return None
        if tokens.where is None:
            raise BadData(
                f"temporal was told that {name!r} has times, but its encoder gives none. Take it out of `timed`."
            )
        return replace(tokens, where=tokens.where - (self.lags or {}).get(name, 0.0))

    def _clock(self, timed: Mapping[str, Tokens], streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Times [B, N] and which of them are real, [B, N] bool; a row without timed streams has one moment."""
        first = next(iter(streams.values()))
        anyone = torch.stack([t.present for t in streams.values()]).any(0)
        if self.clock is not None:
            if self.clock not in timed:
                raise BadArgument(f"The clock {self.clock!r} is no stream with times. Timed here: {sorted(timed)}.")
            chosen = timed[self.clock]
            times, real = middles(chosen), chosen.mask
        elif timed:
            ends = [spans(t) for t in timed.values()]
            begin = torch.cat([b.masked_fill(~t.mask, torch.inf) for (b, _), t in zip(ends, timed.values())], 1).amin(1)
            end = torch.cat([e.masked_fill(~t.mask, -torch.inf) for (_, e), t in zip(ends, timed.values())], 1).amax(1)
            known = begin <= end
            times = ticks(torch.where(known, begin, 0.0), torch.where(known, end, 0.0), self.ticks)
            real = known[:, None].expand_as(times)
        else:
            times = first.x.new_zeros(first.x.shape[0], 1)
            real = torch.zeros_like(times, dtype=torch.bool)
        alone = anyone & ~real.any(1)
        real = real | (alone[:, None] & (torch.arange(times.shape[1], device=times.device) == 0))
        return torch.where(real, times, 0.0), real


def _always(tokens: Tokens, real: Tensor) -> Tokens:
    """The pooled vector at every real moment."""
    x = tokens.pooled[:, None].expand(-1, real.shape[1], -1)
    return Tokens(x, real & tokens.present[:, None], tokens.pooled)
