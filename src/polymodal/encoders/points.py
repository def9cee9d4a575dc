"""What the encoders of clouds share: which points are real, their scale, augmentation, and boxes that can be hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.encoders.base import Encoder, Held
from polymodal.encoders.features import present_rows
from polymodal.nn.points import binned
from polymodal.nn.signal.warp import uniform

BOXES = (4, 4, 2)  # ahead, to the left and up, that can be hidden
MOST = 4096  # clouds by which the scale is told


class PointsEncoder(Encoder):
    """Abstract: clouds `points` [B, N, 3 + K] as `process.points` makes them, of which `length` are real.

    Options of augmentation, in training only: `rotate` (degrees about the upright axis through the origin), `scale`
    (share; a cloud in metres is then nearer or farther, so that it is 0 by default) and `jitter` (of the spread of all
    places) are the largest random changes, drawn anew for every cloud, the jitter for every point. What can be hidden
    are boxes of the room that the training clouds fill, 4 x 4 x 2 (Hess et al. 2023).
    """

    processor = "points"
    middle: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, facts: Mapping[str, Any], dim: int, *, rotate: float, scale: float, jitter: float):
        super().__init__(facts, dim)
        self.rotate, self.scale, self.jitter = rotate, scale, jitter
        self.channels = 3 + len(facts["features"])
        self.register_buffer("middle", torch.zeros(3))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("low", -torch.ones(3))
        self.register_buffer("high", torch.ones(3))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Middle, spread and room of the real points."""
        rows = {name: value[:MOST] for name, value in present_rows(inputs).items()}
        places = rows["points"][..., :3].float()[real_points(rows)]
        if not len(places):
            return
        self.middle.copy_(places.mean(0))
        self.spread.copy_((places - places.mean(0)).square().sum(1).mean().sqrt().clamp(min=1e-6))
        step = max(1, len(places) // 1_000_000)
        ends = places[::step].sort(0).values
        at = (len(ends) - 1) * torch.tensor([0.01, 0.99])
        low, high = ends[at.round().long()]
        self.low.copy_(low)
        self.high.copy_(torch.maximum(high, low + 1e-3 * self.spread))

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        points = inputs["points"].float()
        angle = uniform(points.shape[0], math.radians(self.rotate), points)
        size = torch.exp(uniform(points.shape[0], math.log1p(self.scale), points))
        cos, sin = (size * angle.cos())[:, None], (size * angle.sin())[:, None]
        x, y, z = points[..., :3].unbind(-1)
        places = torch.stack([cos * x - sin * y, sin * x + cos * y, size[:, None] * z], -1)
        if self.jitter:
            places = places + self.jitter * self.spread * torch.randn_like(places)
        return {**inputs, "points": torch.cat([places, points[..., 3:]], -1)}

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The boxes that hold a point."""
        return self._counts(inputs) > 0

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Points in hidden boxes are left out; what these held is how many, where on average, and their features."""
        points, real, box = inputs["points"].float(), real_points(inputs), self._boxes(inputs)
        counts = self._counts(inputs)
        own = torch.cat([(points[..., :3] - self.middle) / self.spread, points[..., 3:]], -1) * real[..., None]
        sums = own.new_zeros(*counts.shape, own.shape[2]).scatter_add_(1, box[..., None].expand_as(own), own)
        held = torch.cat([counts.log1p()[..., None], sums / counts.clamp(min=1)[..., None]], -1)
        gone = real & hidden.gather(1, box)
        rest = {"points": points.masked_fill(gone[..., None], 0.0), "real": real & ~gone}
        return {**inputs, **rest}, [Held(held, hidden)]

    def scaled(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Places [B, N, 3] in units of the training clouds' spread about their middle, features [B, N, K], and which
        points are real [B, N]: one at least, so that a cloud of which all is hidden has a token too."""
        points, real = inputs["points"].float(), real_points(inputs)
        first = torch.arange(points.shape[1], device=points.device) == 0
        real = real | (first & ~real.any(1, keepdim=True))
        places = (points[..., :3] - self.middle) / self.spread
        return places.masked_fill(~real[..., None], 0.0), points[..., 3:].masked_fill(~real[..., None], 0.0), real

    def metres(self, places: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Scaled places [B, T, 3] in metres, from where the cloud's own are counted."""
        frame = inputs["frame"].float()[:, None]
        return (places.float() * self.spread + self.middle) * frame[..., 3:] + frame[..., :3]

    def _boxes(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, N] the number of each point's box."""
        size = inputs["points"].new_tensor(BOXES, dtype=torch.float32)
        share = (inputs["points"][..., :3].float() - self.low) / (self.high - self.low)
        across = binned(share, size)
        return (across[..., 0] * BOXES[1] + across[..., 1]) * BOXES[2] + across[..., 2]

    def _counts(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, P] how many points each box holds, float."""
        real = real_points(inputs).float()
        return real.new_zeros(real.shape[0], math.prod(BOXES)).scatter_add_(1, self._boxes(inputs), real)


def real_points(inputs: Mapping[str, Tensor]) -> Tensor:
    """[B, N] bool: the points that are there and not hidden."""
    if "real" in inputs:
        return inputs["real"]
    places = torch.arange(inputs["points"].shape[1], device=inputs["length"].device)
    return places < inputs["length"][:, None]
