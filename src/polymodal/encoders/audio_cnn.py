"""A convolutional network on log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.audio import MOST_TOKENS, SpectrogramEncoder
from polymodal.nn.segment import segment_mean


class AudioCNN(SpectrogramEncoder):
    """Convolutions over bands and frames (Hershey et al. 2017, much smaller), then bands averaged away.

    `width` is the number of channels of the first stage. Tokens are at most 16 stretches of time, `where` their
    middle in seconds; `pooled` is their mean.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 32,
        mels: int = 40,
        shift: float = 0.1,
        stretch: float = 0.15,
        warp: float = 0.15,
        mask: float = 0.2,
        mix: float = 0.3,
    ):
        super().__init__(facts, dim, mels=mels, shift=shift, stretch=stretch, warp=warp, mask=mask, mix=mix)
        self.width = width
        self.body = nn.Sequential(
            _stage(1, width, (2, 2)),
            _stage(width, 2 * width, (2, 1)),
            _stage(2 * width, 2 * width, (2, 2)),
            _stage(2 * width, 4 * width, (2, 1)),
        )
        self.out = nn.Linear(4 * width * -(-mels // 16), dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        picture, real = self.picture(inputs)
        cells = self.body(picture).flatten(1, 2).transpose(1, 2)  # [B, frames / 4, channels * bands]
        real = F.adaptive_max_pool1d(real[:, None].float(), cells.shape[1])[:, 0].bool()
        x, mask, centre = segment_mean(self.out(cells), real, MOST_TOKENS)
        where = (centre * self.seconds)[None, :, None].expand(len(x), -1, 1)
        weight = mask[..., None].to(x.dtype)
        return Tokens(x, mask, (x * weight).sum(1) / weight.sum(1).clamp(min=1), where)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 20, "batch": 128, "weight_decay": 0.05}


def _stage(before: int, after: int, stride: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
