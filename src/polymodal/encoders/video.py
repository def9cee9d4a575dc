"""What the film encoders share: frames scaled and augmented alike, tokens over time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Held
from polymodal.encoders.image import ImageEncoder
from polymodal.nn.layers.pool import AttentionPool
from polymodal.nn.layers.segment import segment_mean

MOST_TOKENS = 16


class VideoEncoder(ImageEncoder):
    """Abstract: films `pixels` uint8 [B, T, C, S, S], of whose frames `length` [B] are real, shown at `times` [B, T].

    Options of augmentation: see `ImageEncoder`. All frames of a film are moved, mirrored and blanked alike, so that
    what moves between them is its own. What can be hidden are tubes, the same patch in every frame (Tong et al. 2022).
    """

    processor = "video"

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of each channel, over real frames."""
        super().fit_statistics({"pixels": inputs["pixels"][real_frames(inputs)]})

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return super().hideable(_flat(inputs))

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        shape = inputs["pixels"].shape
        rest, held = super().hide(_flat(inputs), hidden)
        return {**rest, "pixels": rest["pixels"].view(shape)}, held

    def film(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Standardised floats [B, T, C, S, S], zero where no frame is."""
        pixels = inputs["pixels"]
        x = self.standardised(_flat(inputs)["pixels"]).view(pixels.shape)
        return x * real_frames(inputs)[:, :, None, None, None]


class TimePool(nn.Module):
    """Steps in time to at most 16 tokens, and a `pooled` that is their weighted mean, the weights learned."""

    def __init__(self, dim: int):
        super().__init__()
        self.pool = AttentionPool(dim)

    def forward(self, steps: Tensor, real: Tensor, times: Tensor) -> Tokens:
        """Steps [B, L, dim], real ones [B, L] bool, their times [B, L] in seconds, to tokens."""
        x, mask, _ = segment_mean(steps, real, MOST_TOKENS)
        where, _, _ = segment_mean(times[..., None], real, MOST_TOKENS)
        return Tokens(x, mask, self.pool(x, mask).to(x.dtype), where)


def real_frames(inputs: Mapping[str, Tensor]) -> Tensor:
    """[B, T] bool."""
    times = inputs["times"]
    return torch.arange(times.shape[1], device=times.device) < inputs["length"][:, None]


def _flat(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {**inputs, "pixels": inputs["pixels"].flatten(1, 2)}
