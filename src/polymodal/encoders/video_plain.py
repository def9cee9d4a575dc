"""Hand-made features of films: what their frames show, how that changes, and where something moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder, moments, stretches
from polymodal.encoders.image_hog import ImageHOG, luminance
from polymodal.encoders.video import real_frames

COARSE = 8  # cells a side in which movement is told


class VideoPlain(FeatureEncoder):
    """The features of `image_hog`, their mean and spread over the frames; then, by `parts` equal stretches of the film,
    how edges (histograms of gradients in `cells` x `cells` cells) differ from their mean, and how much the brightness
    of 8 x 8 cells changes from frame to frame, as a share of what changes in the film (after Bobick & Davis 2001).
    """

    processor = "video"

    def __init__(self, facts: Mapping[str, Any], dim: int, *, parts: int = 6, cells: int = 4, orientations: int = 9):
        super().__init__(facts, dim)
        check_range("[1, 64]", parts=parts)
        self.parts, self.cells, self.orientations = parts, cells, orientations
        self.picture = ImageHOG(facts, dim, cells=cells, orientations=orientations)
        channels, side, frames = (int(facts[name]) for name in ("channels", "size", "frames"))
        blank = torch.zeros(1, frames, channels, side, side, dtype=torch.uint8)
        self._measured({"pixels": blank, "times": torch.zeros(1, frames), "length": torch.ones(1, dtype=torch.int32)})

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        pixels, real = inputs["pixels"], real_frames(inputs)
        rows, frames = pixels.shape[:2]
        flat = pixels.flatten(0, 1)
        shown = self.picture.features({"pixels": flat}).unflatten(0, (rows, frames))
        mean, spread, _ = moments(shown, real)
        edges = self.picture.gradients(flat.float() / 255).unflatten(0, (rows, frames))
        start, end = torch.zeros(rows, device=flat.device), inputs["length"].clamp(min=1).float()
        apart = stretches(edges - moments(edges, real)[0][:, None], start, end, self.parts)
        small = F.adaptive_avg_pool2d(luminance(flat.float() / 255), COARSE).flatten(1).unflatten(0, (rows, frames))
        moved = torch.diff(small, dim=1, prepend=small[:, :1]).abs() * real[..., None]
        total = moved.sum((1, 2)).clamp(min=1e-3)
        where = stretches(moved, start, end, self.parts) / total[:, None, None]
        return torch.cat([mean, spread, apart.flatten(1), where.flatten(1), total.log()[:, None]], 1)
