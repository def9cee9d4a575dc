"""One stream's tokens at another's times: interpolation on `Tokens.where` seconds."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.types import Tokens
from polymodal.nn.graphs import observed
from polymodal.nn.layers.pool import masked_mean

WAYS = ("linear", "nearest")
OUTSIDE = ("mask", "hold", "refuse")


def middles(tokens: Tokens, name: str = "The stream") -> Tensor:
    """[B, T] seconds: `where[..., 0]`, or the middle of start and end where it has two; masked places zero.

    Raises `BadData` for tokens without times.
    """
    if tokens.where is None:
        raise BadData(f"{name} has no times (`where` is None), so that it cannot be put on a clock.")
    times = tokens.where[..., :2].mean(-1)
    return torch.where(tokens.mask, times, times.new_zeros(()))


def spans(tokens: Tokens, name: str = "The stream") -> tuple[Tensor, Tensor]:
    """[B, T] first and last second of every token: equal for tokens of one time. Raises `BadData` without times."""
    middle = middles(tokens, name)
    if tokens.where is None or tokens.where.shape[-1] < 2:
        return middle, middle
    return tokens.where[..., 0], tokens.where[..., 1]


def resample(
    tokens: Tokens, times: Tensor, real: Tensor | None = None, *, way: str = "linear", outside: str = "mask"
) -> Tokens:
    """The stream at `times` [B, N] seconds, of which `real` [B, N] bool count: tokens [B, N, D] with `where` [B, N, 1].

    "linear" lies between the two real tokens around a time, "nearest" takes the nearer. A token that spans a time
    (start ≤ time ≤ end, where `where` has two columns) is taken as it is. Outside the first and last real token:
    "mask" leaves a gap, "hold" repeats the end, "refuse" raises `BadData` (an exported graph cannot raise: it holds).
    Tokens may come in any order. `pooled` is the mean over the new tokens. Differentiable with respect to the tokens
    and, if linear, the times.
    """
    if way not in WAYS:
        raise BadArgument(f"Unknown way of interpolation {way!r}.{suggest(way, WAYS)}")
    if outside not in OUTSIDE:
        raise BadArgument(f"Unknown rule {outside!r} for times outside.{suggest(outside, OUTSIDE)}")
    if times.ndim != 2 or times.shape[0] != tokens.x.shape[0]:
        raise BadArgument(f"times are [{tokens.x.shape[0]}, N], as the stream has rows; got {tuple(times.shape)}.")
    real = torch.ones_like(times, dtype=torch.bool) if real is None else real
    x, known, begin, end = _in_order(tokens)
    middle = (begin + end) / 2
    count = known.sum(1, keepdim=True)
    last = (count - 1).clamp(min=0)
    right = torch.searchsorted(middle.detach().contiguous(), times.detach().contiguous()).minimum(last)
    left = (right - 1).clamp(min=0)
    low, high = middle.gather(1, left), middle.gather(1, right)
    gap = high - low
    share = torch.where(gap > 0, (times - low) / torch.where(gap > 0, gap, 1.0), 1.0).clamp(0, 1)
    share = (share > 0.5).to(share) if way == "nearest" else share
    for near, weight in ((right, 1.0), (left, 0.0)):  # where a token spans the time, it is there whole
        inside = (begin.gather(1, near) < times) & (times < end.gather(1, near))
        share = torch.where(inside, torch.full_like(share, weight), share)
    interpolated = torch.lerp(_rows(x, left), _rows(x, right), share[..., None].to(x.dtype))
    first, final = begin[:, :1], end.gather(1, last)
    there = real & (count > 0) & ((times >= first - _slack(first)) & (times <= final + _slack(final)))
    if outside != "mask":
        if outside == "refuse" and observed((real & (count > 0) & ~there).any()):
            row = int((real & (count > 0) & ~there).any(1).nonzero()[0])
            asked = times[row][real[row]]
            raise BadData(
                f"Row {row}: asked for {float(asked.min()):g} to {float(asked.max()):g} s of a stream that runs from "
                f"{float(first[row]):g} to {float(final[row]):g} s. outside='mask' leaves gaps, 'hold' repeats ends."
            )
        there = real & (count > 0)
    return Tokens(interpolated, there, masked_mean(interpolated, there), times[..., None].to(x.dtype)).cleared()


def ticks(begin: Tensor, end: Tensor, count: int) -> Tensor:
    """[B, count] middles of `count` equal stretches between two seconds [B] each."""
    share = (torch.arange(count, device=begin.device, dtype=begin.dtype) + 0.5) / count
    return begin[:, None] + (end - begin)[:, None] * share


def _in_order(tokens: Tokens) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, mask, starts and ends by time, the masked ones behind, at the end of time."""
    begin, end = spans(tokens)
    key = torch.where(tokens.mask, (begin + end) / 2, torch.inf)
    if observed((tokens.mask & ~key.detach().isfinite()).any()):
        raise BadData("A real token has a time that is not finite. Mask tokens of unknown time.")
    if observed((tokens.mask & (begin.detach() > end.detach())).any()):
        raise BadData("A token ends before it begins: `where` holds start and end in seconds, in this order.")
    key, order = key.detach().sort(dim=1, stable=True)
    known = tokens.mask.gather(1, order)
    far = torch.finfo(key.dtype).max / 4
    begin, end = (torch.where(known, t.gather(1, order), t.new_tensor(far)) for t in (begin, end))
    x = torch.where(tokens.mask[..., None], tokens.x, tokens.x.new_zeros(()))
    return _rows(x, order), known, begin, end


def _rows(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def _slack(times: Tensor) -> Tensor:
    """What rounding of a time may move it."""
    return 8 * torch.finfo(times.dtype).eps * (1 + times.abs())
