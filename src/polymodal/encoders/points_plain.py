"""Hand-made features of clouds: where their points lie, how they extend, and which shape they make."""

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


class PointsPlain(FeatureEncoder):
    """Where the points lie, how they extend, and what is known of them.

    Of places: distances from the sensor; moments and quantiles along each axis; the roots of the eigenvalues of their
    covariance, and how linear, flat or round they are (Weinmann et al. 2015). Of features: moments, quantiles, and how
    they change with the distance from the middle. And how many points there are.

    `rotation` says which turns change nothing: `none` keeps all; `up` only what a turn about the upright axis leaves
    as it is; `any` what every turn does.
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
        told = [
            inputs["total"].float().log1p()[:, None], size.log(), frame[:, 3:].clamp(min=1e-9).log(),
            frame[:, :3].norm(dim=-1, keepdim=True), _quantiles(places.norm(dim=-1, keepdim=True), real),
            *_eigen(away, real),
        ]  # fmt: skip
        if self.rotation != "any":
            told += [middle[:, 2:], spread[:, 2:], skew[:, 2:], frame[:, 2:3], _quantiles(places[..., 2:], real)]
            told += [_quantiles(places[..., :2].norm(dim=-1, keepdim=True), real)]
        if self.rotation == "none":
            told += [middle[:, :2], spread[:, :2], skew[:, :2], frame[:, :2], _quantiles(places[..., :2], real)]
        if points.shape[2] > 3:
            own = points[..., 3:]
            ratio = ((own - moments(own, real)[0][:, None]) * (far - size[:, None]) * real[..., None]).sum(1)
            told += [*moments(own, real), _quantiles(own, real)]
            told += [ratio / size / real.sum(1, keepdim=True).clamp(min=1)]
        return torch.cat([*told, *self.shape(away, far, size, inputs["length"])], 1)

    def shape(self, away: Tensor, far: Tensor, size: Tensor, length: Tensor) -> list[Tensor]:
        """More features [B, F] of where points lie from the middle, [B, N, 3]; how far, [B, N, 1], on average `size`
        [B, 1]; `length` [B] are real. Here none."""
        return []


class PointsShape(PointsPlain):
    """The features of `points_plain`, and of the shape, whatever its size: histograms of distances from the middle, of
    distances between two points and of angles at one of three, drawn by chance (Osada, Funkhouser, Chazelle & Dobkin
    2002); and, unless `rotation` is `any`, of heights.
    """

    def shape(self, away: Tensor, far: Tensor, size: Tensor, length: Tensor) -> list[Tensor]:
        real = torch.arange(away.shape[1], device=away.device) < length[:, None]
        told = [_histogram(far / size[:, None] / 3, real), *_partners(away, length, size)]
        return told if self.rotation == "any" else [*told, _histogram(away[..., 2:] / size[:, None] / 4 + 0.5, real)]


def _quantiles(x: Tensor, real: Tensor) -> Tensor:
    """[B, 7 * K] of the real x [B, N, K]."""
    return quantiles(x, real, SHARES).flatten(1)


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
    at = binned(x[..., 0], BINS)
    weight = real.float()
    shares = weight.new_zeros(at.shape[0], BINS).scatter_add_(1, at, weight)
    return shares / weight.sum(1, keepdim=True).clamp(min=1)
