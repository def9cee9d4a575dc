"""Attention over long sequences, at a cost linear in their length: a sliding window, and kernel feature maps."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.layers.attention import Rule, attend
from polymodal.nn.precision import autocast_type

KINDS = ("auto", "full", "window", "linear")
FULL_UP_TO = 512  # places up to which `auto` attends to all: from there on the window is quicker (benchmarks/long.py)
WINDOW = 64  # places to each side


def window_attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, window: int = WINDOW, leaders: int = 0
) -> Tensor:
    """Sliding-window attention with a few global places (Longformer, Beltagy et al. 2020), each place to itself, to
    `window` places on either side, and to the first `leaders` places, which attend to everything.

    Arguments and result are those of `attend` with L = S and `mask` [B, S]. Time and memory are linear in L: queries
    are cut into blocks of `window`, and each block is shown its own keys and those of its two neighbours.
    """
    length = query.shape[2] - leaders
    if mask is None:
        mask = query.new_ones(query.shape[0], query.shape[2], dtype=torch.bool)
    led = attend(query[:, :, :leaders], key, value, mask)
    if length <= 0:
        return led
    blocks = -(-length // window)
    extra = blocks * window - length

    def around(x: Tensor) -> Tensor:
        """[B, H, S, D] to [B · blocks, H, leaders + 3 · window, D]: what each block is shown."""
        rest = F.pad(x[:, :, leaders:], (0, 0, window, extra + window)).unflatten(2, (blocks + 2, window))
        first = x[:, :, None, :leaders].expand(-1, -1, blocks, -1, -1)
        near = [rest[:, :, place : place + blocks] for place in range(3)]
        return torch.cat([first, *near], 3).transpose(1, 2).flatten(0, 1)

    real = F.pad(mask[:, leaders:], (window, extra + window)).unfold(1, 3 * window, window)  # [B, blocks, 3 · window]
    offset = torch.arange(3 * window, device=mask.device) - torch.arange(window, device=mask.device)[:, None]
    seen = real[:, :, None] & ((offset >= 0) & (offset <= 2 * window))  # [B, blocks, window, 3 · window]
    first = mask[:, None, None, :leaders].expand(-1, blocks, window, -1)
    own = F.pad(query[:, :, leaders:], (0, 0, 0, extra)).unflatten(2, (blocks, window)).transpose(1, 2).flatten(0, 1)
    attended = attend(own, around(key), around(value), torch.cat([first, seen], 3).flatten(0, 1))
    attended = attended.unflatten(0, (-1, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :length]
    return torch.cat([led, attended], 2)


def linear_attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Linear attention (Katharopoulos et al. 2020): φ(q)ᵀ Σ_s φ(k_s) v_sᵀ / φ(q)ᵀ Σ_s φ(k_s) with φ(x) = elu(x) + 1.

    Arguments and result are those of `attend` with `mask` [B, S]. The sums over places are taken once for all queries,
    at least in float32, so that time and memory are linear in L and S.
    """
    exact = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(autocast_type(query), enabled=False):
        q, k = F.elu(query.to(exact)) + 1, F.elu(key.to(exact)) + 1
        if mask is not None:
            k = k * mask[:, None, :, None]
        total = q @ k.sum(2).unsqueeze(-1)
        attended = q @ (k.transpose(-2, -1) @ value.to(exact)) / total.clamp(min=torch.finfo(exact).tiny)
    return attended.to(query.dtype)


def check_kind(attention: str | int) -> str | int:
    """The option itself. Raises `BadArgument` unless it is one of `KINDS` or the reach of a window."""
    if isinstance(attention, int) and not isinstance(attention, bool) and attention >= 1:
        return attention
    if attention not in KINDS:
        hint = suggest(str(attention), KINDS)
        raise BadArgument(f"attention is {', '.join(KINDS)} or the reach of a window; got {attention!r}.{hint}")
    return attention


def settled(attention: str | int, length: int) -> str | int:
    """What is meant for a sequence of `length`: "full", "linear" or the reach of a window."""
    if attention == "auto":
        attention = "full" if length <= FULL_UP_TO else "window"
    return WINDOW if attention == "window" else attention


def rule_of(attention: str | int, leaders: int) -> Rule:
    """How places attend to one another, given what `settled` found; a window has the first `leaders` as global ones."""
    if isinstance(attention, int):
        return partial(window_attend, window=attention, leaders=leaders)
    return linear_attend if attention == "linear" else attend
