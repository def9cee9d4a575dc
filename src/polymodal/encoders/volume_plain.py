"""Hand-made features of scans: how bright, how textured and how shaped they are, in the whole and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder
from polymodal.encoders.image_hog import ImageHOG

BINS = 16  # of each histogram
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


class VolumePlain(FeatureEncoder):
    """The features of `image_hog` of what each of the three axes shows, its middle slice and its brightest voxels
    (maximum intensity projection, Wallis et al. 1989); histograms of values and of the steepness between neighbours;
    and mean, spread and steepness of `cells` x `cells` x `cells` blocks.
    """

    processor = "volume"

    def __init__(self, facts: Mapping[str, Any], dim: int, *, cells: int = 4, orientations: int = 9):
        super().__init__(facts, dim)
        check_range("[2, 16]", cells=cells)
        self.cells, self.orientations = cells, orientations
        size, slices = int(facts["size"]), int(facts["slices"])
        self.picture = ImageHOG({"channels": 1, "size": size}, dim, cells=cells, orientations=orientations)
        self._measured({"pixels": torch.zeros(1, slices, 1, size, size, dtype=torch.uint8)})

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        x = inputs["pixels"][:, :, 0].float() / 255
        size = x.shape[-1]
        views = []
        for axis in (1, 2, 3) if x.shape[1] > 1 else (1,):
            middle = x.select(axis, x.shape[axis] // 2)
            for shown in (middle, x.amax(axis)) if x.shape[1] > 1 else (middle,):
                square = F.interpolate(shown[:, None], (size, size), mode="area")
                views.append(self.picture.features({"pixels": (square * 255).round().to(torch.uint8)}))
        steep = sum((_steps(x, axis).square() for axis in (1, 2, 3)), torch.zeros_like(x)).sqrt()
        deep, high, wide = (min(self.cells, side) for side in x.shape[1:])
        mean, square, edge = (
            F.adaptive_avg_pool3d(v[:, None], (deep, high, wide)).flatten(1) for v in (x, x * x, steep)
        )
        spread = (square - mean * mean).clamp(min=0).sqrt()
        return torch.cat([*views, _histogram(x), _histogram(steep), mean, spread, edge], 1)


def _steps(x: Tensor, axis: int) -> Tensor:
    """Differences to the next voxel along an axis; the last voxel has none."""
    return torch.diff(x, dim=axis, append=x.narrow(axis, x.shape[axis] - 1, 1))


def _histogram(x: Tensor) -> Tensor:
    """Shares of values in 0..1 that fall into 16 bins, and five quantiles: [B, 21]."""
    flat = x.flatten(1)
    bins = (flat * BINS).long().clamp(0, BINS - 1)
    shares = torch.zeros(x.shape[0], BINS, device=x.device).scatter_add_(1, bins, torch.ones_like(flat)) / flat.shape[1]
    ordered = flat.sort(1).values
    quantiles = [ordered[:, int(share * (flat.shape[1] - 1))] for share in SHARES]
    return torch.cat([shares, torch.stack(quantiles, 1)], 1)
