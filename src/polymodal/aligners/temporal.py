"""Streams of one event laid over each other in time: the lag between two sensors, warping one onto another."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.signal.clock import middles, resample, ticks
from polymodal.nn.signal.dtw import dtw, pair_costs


class Lag(NamedTuple):
    """`seconds` by which the second stream runs late, and the `correlation` of the two once that is taken off."""

    seconds: float
    correlation: float


def estimate_lag(a: Tokens, b: Tokens, *, most: float, step: float, overlap: float = 0.5) -> Lag:
    """The lag in -most..most seconds at which `b`, brought `lag` earlier, goes best with `a`.

    Both are brought to a's extent, a time every `step` seconds. The score is Pearson's correlation over all rows, times
    and channels that both have, each row's channels centred (Knapp & Carter 1976, without a filter); streams of
    different widths are summed to one signal first. The best lag is
    refined by the parabola through its neighbours. Lags at which fewer than `overlap` of a's times are covered do not
    count. Raises `BadData` where streams have no times, no shared clock, or do not vary.
    """
    if not (most > 0 and 0 < step <= most):
        raise BadArgument(f"most and step are seconds with 0 < step <= most; got most={most}, step={step}.")
    if len(a) != len(b):
        raise BadArgument(f"The streams hold the same rows; got {len(a)} and {len(b)}.")
    times, later = _grid(a, step), middles(b, "The second stream")
    one = resample(a, times)
    lags = torch.arange(-round(most / step), round(most / step) + 1) * step
    shifted = replace(b, where=later[..., None])
    scores = torch.stack([_correlation(one, resample(shifted, times + lag), overlap) for lag in lags])
    if not scores.isfinite().any():
        raise BadData(
            f"No lag within {most:g} s leaves the two streams {overlap:.0%} of a shared clock on which both vary. "
            "Look at their seconds (`where`), or allow a larger lag."
        )
    best = int(torch.where(scores.isfinite(), scores, -torch.inf).argmax())
    moved = 0.0
    if 0 < best < len(lags) - 1 and bool(scores[best - 1 : best + 2].isfinite().all()):
        low, mid, high = scores[best - 1 : best + 2].tolist()
        bend = low - 2 * mid + high
        moved = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return Lag(float(lags[best]) + moved * step, float(scores[best]))


def warp(
    tokens: Tokens, onto: Tokens, *, features: tuple[Tensor, Tensor] | None = None, window: int | None = None
) -> tuple[Tokens, Tensor]:
    """`tokens` bent onto the tokens of `onto` by dynamic time warping, and the mean cost along each row's path [B].

    Each new token is the mean of those that the path pairs with a token of `onto`, whose `where` it gets. Costs are
    squared distances of the tokens' vectors, or of `features` ([B, T, F] of `tokens`, [B, N, F] of `onto`) where the
    widths differ. A row that lacks either stream comes out missing, at cost 0. Raises `BadArgument` where widths
    differ and no features are given, or where a masked token stands before a real one: order in time is order here.
    """
    ours, theirs = features or (tokens.x, onto.x)
    if ours.shape[-1] != theirs.shape[-1]:
        raise BadArgument(
            f"Vectors of widths {ours.shape[-1]} and {theirs.shape[-1]} cannot be compared: give `features` of one."
        )
    for name, stream in (("tokens", tokens), ("onto", onto)):
        if bool((stream.mask[:, 1:] & ~stream.mask[:, :-1]).any()):
            raise BadArgument(f"A real token of {name} stands behind a masked one; sort the real ones to the front.")
    both = tokens.present & onto.present
    n, m = onto.mask.sum(1).clamp(min=1), tokens.mask.sum(1).clamp(min=1)
    total, path = dtw(pair_costs(theirs, ours), n, m, window=window)
    share = path.to(tokens.x.dtype)
    x = share @ tokens.x / share.sum(2, keepdim=True).clamp(min=1)
    mask = onto.mask & both[:, None]
    cost = torch.where(both, total / path.sum((1, 2)), torch.zeros_like(total))
    return Tokens(x, mask, masked_mean(x, mask), onto.where).cleared(), cost


def _grid(tokens: Tokens, step: float) -> Tensor:
    """[B, N] times `step` apart over each row's own extent; N from the longest row."""
    seconds = middles(tokens, "The first stream")
    begin = seconds.masked_fill(~tokens.mask, torch.inf).amin(1)
    end = seconds.masked_fill(~tokens.mask, -torch.inf).amax(1)
    known = begin <= end
    if not bool(known.any()):
        raise BadData("The first stream is missing in every row, so that there is no clock to share.")
    begin, end = (torch.where(known, t, torch.zeros_like(t)) for t in (begin, end))
    count = max(2, int(((end - begin).max() / step).ceil()))
    return ticks(begin, begin + count * step, count)


def _correlation(a: Tokens, b: Tokens, overlap: float) -> Tensor:
    both = a.mask & b.mask
    if float(both.sum()) < max(3.0, overlap * float(a.mask.sum())):
        return torch.tensor(torch.nan)
    signals = []
    for tokens in (a, b):
        x = tokens.x if a.width == b.width else tokens.x.sum(2, keepdim=True)
        x = (x - masked_mean(x, both)[:, None]) * both[..., None]
        signals.append(x.flatten().double())
    power = (signals[0].square().sum() * signals[1].square().sum()).sqrt()
    return (signals[0] @ signals[1] / power).float() if power > 0 else torch.tensor(torch.nan)
