"""Points in space: which lie far apart, and which are near which."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest(places: Tensor, real: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Farthest point sampling (Gonzalez 1985; Eldar et al. 1997): [B, count] numbers of points of [B, N, 3], and
    which of them are new.

    The first is the real point farthest from the middle of the cloud, each of the others the real one farthest from all
    before; of equal ones the first. Where a cloud has fewer places than `count`, further numbers repeat some.
    """
    places = places.float()
    weight = real[..., None].to(places.dtype)
    middle = (places * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    away = (places - middle).square().sum(-1).masked_fill(~real, -1.0)
    nearest = torch.where(real, torch.inf, -1.0).to(places.dtype)
    chosen, new = [], []
    for step in range(count):
        at = (nearest if step else away).argmax(1, keepdim=True)
        new.append((nearest.gather(1, at) > 0) if step else real.any(1, keepdim=True))
        chosen.append(at)
        far = (places - places.gather(1, at[..., None].expand(-1, -1, 3))).square().sum(-1)
        nearest = torch.minimum(nearest, far)
    return torch.cat(chosen, 1), torch.cat(new, 1)


def near(centres: Tensor, places: Tensor, real: Tensor, count: int) -> Tensor:
    """[B, S, count] numbers of the real points of [B, N, 3] nearest to each centre [B, S, 3]; where there are fewer,
    points that are not real fill up."""
    far = torch.cdist(centres.float(), places.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return far.masked_fill(~real[:, None], torch.inf).topk(min(count, places.shape[1]), largest=False).indices


def taken(values: Tensor, at: Tensor) -> Tensor:
    """[B, ..., C] of the rows of values [B, N, C] that `at` [B, ...] numbers."""
    flat = at.flatten(1)
    return values.gather(1, flat[..., None].expand(-1, -1, values.shape[2])).view(*at.shape, values.shape[2])


def binned(share: Tensor, bins: int | Tensor) -> Tensor:
    """int64 of the same shape: the number of the bin, of `bins` equal ones between 0 and 1, that each share lies in;
    what lies outside counts to the last at that end, what is no number to the first."""
    return torch.minimum(torch.nan_to_num(share * bins).floor().clamp(min=0), share.new_tensor(0) + bins - 1).long()
