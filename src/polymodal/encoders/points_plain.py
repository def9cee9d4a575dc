"""Hand-made features of clouds: where they lie, how they extend, and how far apart their points are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.encoders.features import FeatureEncoder, moments, quantiles
from polymodal.encoders.points import real_points
from polymodal.nn.points import binned

ROTATION = ("none", "up", "any")
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS = 12  # of each histogram
STEPS = (1, 2, 3, 5, 7, 11, 13, 17)  # from each point to its partners: the points come in an order of chance
SIDE = 4  # blocks of the cloud's own box, along each axis


class PointsPlain(FeatureEncoder):
    """Statistics of the points' places and features, and of how they lie to one another.

    Of places: distance from the sensor; moments and quantiles along each axis; shares of the points in 4 x 4 x 4
    blocks of the cloud's own box. Of shape: the roots of the eigenvalues of its covariance, and how linear, flat or
    round they are (Weinmann et al. 2015); histograms of distances from the middle, of distances between two points and
    of angles at one of three, drawn by chance (Osada et al. 2002). Of features: moments, quantiles, and how they
    change with distance. And how many points there are.

    `rotation` says which turns change nothing: `none` keeps all features; `up` only those that a turn about the
    upright axis leaves as they are; `any` those that every turn does.
    """

    processor = "points"

    def __init__(self, facts: Mapping[str, Any], dim: int, *, rotation: str = "none"):
        super().__init__(facts, dim)
        if rotation not in ROTATION:
            raise BadArgument(f"Unknown rotation {rotation!r}.{suggest(rotation, ROTATION)}")
        self.rotation = rotation
        count, width = int(facts["points"]), 3 + len(facts["features"])
        blank = {"points": torch.zeros(1, count, width), "frame": torch.tensor([[0.0, 0.0, 0.0, 1.0]])}
        whole = torch.full((1,), count, dtype=torch.int32)
        self._measured({**blank, "length": whole, "total": whole})

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        points, real = inputs["points"].float(), real_points(inputs)
        places, frame = points[..., :3], inputs["frame"].float()
        middle, spread, skew = moments(places, real)
        away = (places - middle[:, None]) * real[..., None]
        far = away.norm(dim=-1, keepdim=True)
        size = moments(far, real)[0].clamp(min=1e-9)
        from_origin = places.norm(dim=-1, keepdim=True)
        told = [
            inputs["total"].float().log1p()[:, None], size.log(), frame[:, 3:].clamp(min=1e-9).log(),
            frame[:, :3].norm(dim=-1, keepdim=True), quantiles(from_origin, real, SHARES).flatten(1),
            *_eigen(away, real), _histogram(far / size[:, None] / 3, real), *_partners(places, inputs["length"], size),
        ]  # fmt: skip
        if self.rotation != "any":
            level = places[..., :2].norm(dim=-1, keepdim=True)
            told += [middle[:, 2:], spread[:, 2:], skew[:, 2:], quantiles(level, real, SHARES).flatten(1)]
            told += [quantiles(places[..., 2:], real, SHARES).flatten(1), frame[:, 2:3]]
            told += [_histogram(away[..., 2:] / size[:, None] / 4 + 0.5, real)]
        if self.rotation == "none":
            told += [middle[:, :2], spread[:, :2], skew[:, :2], frame[:, :2]]
            told += [quantiles(places[..., :2], real, SHARES).flatten(1), _blocks(places, real)]
        if points.shape[2] > 3:
            own = points[..., 3:]
            ratio = ((own - moments(own, real)[0][:, None]) * (far - size[:, None]) * real[..., None]).sum(1)
            told += [*moments(own, real), quantiles(own, real, SHARES).flatten(1)]
            told += [ratio / size / real.sum(1, keepdim=True).clamp(min=1)]
        return torch.cat(told, 1)


def _eigen(away: Tensor, real: Tensor) -> list[Tensor]:
    """Roots of the eigenvalues of the covariance [B, 3], the largest first, and shares of the largest that say how
    linear, flat and round the cloud is [B, 3]."""
    count = real.sum(1).clamp(min=1)[:, None, None]
    roots = _eigenvalues((away.transpose(1, 2) @ away / count).double()).clamp(min=0).sqrt().float()
    largest = roots[:, :1].clamp(min=1e-9)
    linear, flat = roots[:, :1] - roots[:, 1:2], roots[:, 1:2] - roots[:, 2:]
    return [roots, torch.cat([linear, flat, roots[:, 2:]], 1) / largest]


def _eigenvalues(matrix: Tensor) -> Tensor:
    """[B, 3] of symmetric 3 x 3 matrices [B, 3, 3], the largest first, by the cosines of thirds of an angle (Smith
    1961): the same bits in any batch, and no error for what is no number."""
    mean = matrix.diagonal(dim1=1, dim2=2).mean(1)
    rest = matrix - mean[:, None, None] * torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    size = (rest.square().sum((1, 2)) / 6).sqrt()
    a, b, c = (rest / size.clamp(min=1e-300)[:, None, None]).unbind(1)
    angle = ((torch.linalg.cross(a, b) * c).sum(1) / 2).clamp(-1, 1).acos() / 3
    first, last = (mean + 2 * size * (angle + turn).cos() for turn in (0.0, 2 * math.pi / 3))
    return torch.stack([first, 3 * mean - first - last, last], 1)


def _partners(places: Tensor, length: Tensor, size: Tensor) -> list[Tensor]:
    """Histograms of distances between pairs of points, in units of `size` [B, 1], and of the angles between the ways
    to two others: [B, BINS] each."""
    count = places.shape[1]
    start = torch.arange(count, device=places.device)
    whole = length.long().clamp(min=1)[:, None]
    real = start[None] < length[:, None]
    ways, distances, angles = [], [], []
    for step in STEPS:
        at = (start[None] + step) % whole
        ways.append(places.gather(1, at[..., None].expand(-1, -1, 3)) - places)
        distances.append(ways[-1].norm(dim=-1, keepdim=True))
    for one, two in zip(ways[::2], ways[1::2]):
        angles.append(torch.nn.functional.cosine_similarity(one, two, dim=-1, eps=1e-9)[..., None] / 2 + 0.5)
    far = torch.stack([_histogram(one / size[:, None] / 4, real) for one in distances])
    wide = torch.stack([_histogram(one, real) for one in angles])
    return [far.mean(0), wide.mean(0)]


def _histogram(x: Tensor, real: Tensor) -> Tensor:
    """Shares of the real x [B, N, 1] in 0..1 that fall into each of the bins: [B, BINS]; what lies outside counts to
    the last at that end."""
    return _shares(binned(x[..., 0], BINS), real, BINS)


def _blocks(places: Tensor, real: Tensor) -> Tensor:
    """Shares of the points in 4 x 4 x 4 blocks of the cloud's own box: [B, 64]."""
    low = places.masked_fill(~real[..., None], torch.inf).amin(1, keepdim=True)
    high = places.masked_fill(~real[..., None], -torch.inf).amax(1, keepdim=True)
    across = binned((places - low) / (high - low).clamp(min=1e-9), SIDE)
    return _shares((across[..., 0] * SIDE + across[..., 1]) * SIDE + across[..., 2], real, SIDE**3)


def _shares(at: Tensor, real: Tensor, bins: int) -> Tensor:
    """Shares of the real points that fall into each of the bins that `at` [B, N] numbers: [B, bins]."""
    weight = real.float()
    shares = weight.new_zeros(at.shape[0], bins).scatter_add_(1, at, weight)
    return shares / weight.sum(1, keepdim=True).clamp(min=1)
