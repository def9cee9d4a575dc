"""Streams hidden at random: the one mechanism behind modality dropout and ranking."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.core.types import Tokens, presence


def drop_streams(streams: Mapping[str, Tokens], rate: float) -> dict[str, Tokens]:
    """Modality dropout (Neverova et al. 2016): clear each stream of each row with probability `rate`, never a
    row's last.

    Draws from torch's global generator.
    """
    if rate <= 0 or len(streams) < 2:
        return dict(streams)
    present = presence(streams.values())
    keep = present & (torch.rand(present.shape, device=present.device) >= rate)
    return mask_streams(streams, torch.where(keep.any(1, keepdim=True), keep, present))


def fewer_streams(streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Every row with a random part of its streams: at least one is kept, and, where it has several, one is hidden.

    Each proper, non-empty subset of a row's streams is as likely as any other. Draws from torch's global generator.
    """
    present = presence(streams.values())
    keep = present & (torch.rand(present.shape, device=present.device) < 0.5)
    for _ in range(64):  # drawn again where all or none were kept: at worst every other time, with two streams
        bad = (keep.sum(1) == 0) | (keep.sum(1) == present.sum(1))
        bad &= present.sum(1) > 1
        if not bad.any():
            break
        keep = torch.where(bad[:, None], present & (torch.rand(present.shape, device=present.device) < 0.5), keep)
    return mask_streams(streams, torch.where((present.sum(1) > 1)[:, None], keep, present))


def mask_streams(streams: Mapping[str, Tokens], keep: Tensor) -> dict[str, Tokens]:
    """The streams with those masked that `keep` [B, K] bool does not name; a fusion clears what is masked anyway."""
    return {name: t.changed(mask=t.mask & keep[:, i, None]) for i, (name, t) in enumerate(streams.items())}
