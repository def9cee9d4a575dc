"""A convolutional network on log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.audio import SpectrogramEncoder, SpottedPool, coarser
from polymodal.nn.memory_format import channels_last, channels_last_gradient
from polymodal.nn.precision import training_precision


class AudioCNN(SpectrogramEncoder):
    """Two convolutions over bands and frames, then three over time alone (after Hershey et al. 2017, much smaller).

    The first two forgive a small shift in frequency, as between speakers; then all bands of a frame become one
    vector. `width` is the number of channels of the first stage. Tokens are at most 16 stretches of time, `where`
    their middle in seconds; `pooled` is a weighted mean, the weights learned.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 32,
        mels: int = 40,
        shift: float = 0.15,
        stretch: float = 0.0,
        warp: float = 0.0,
        mask: float = 0.2,
        mix: float = 0.3,
    ):
        super().__init__(facts, dim, mels=mels, shift=shift, stretch=stretch, warp=warp, mask=mask, mix=mix)
        self.width = width
        bands = -(-mels // 4)  # two strides of two, each rounding up
        self.stem = nn.Sequential(_stage(1, width, (5, 3), (2, 2)), _stage(width, width, (3, 3), (2, 1)))
        self.body = nn.Sequential(
            _stage(bands * width, 5 * width, (1, 3), (1, 1)),
            _stage(5 * width, 5 * width, (1, 3), (1, 2)),
            _stage(5 * width, 5 * width, (1, 3), (1, 1)),
        )
        channels_last(self.stem, self.body)
        self.out = nn.Linear(5 * width, dim)
        self.pool = SpottedPool(dim, self.seconds)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        picture, real = self.picture(inputs)
        picture = picture[:, 0, ..., None].permute(0, 3, 1, 2)  # one channel, innermost: the first stage keeps to it
        cells = channels_last_gradient(self.stem(picture)).flatten(1, 2).unsqueeze(2)
        steps = self.body(cells.contiguous(memory_format=torch.channels_last)).squeeze(2).transpose(1, 2)
        return self.pool(self.out(steps), coarser(real, steps.shape[1]))

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 12, "batch": 128, "weight_decay": 0.05, "precision": training_precision()}


def _stage(before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
