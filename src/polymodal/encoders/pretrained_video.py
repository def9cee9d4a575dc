"""Pretrained towers for films: a picture tower on every frame, or one that reads a film whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.encoders.pretrained import PIXELS, PretrainedTower, PretrainedVision
from polymodal.encoders.video import real_frames
from polymodal.nn.graphs import pieces
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.segment import segment_mean
from polymodal.nn.place import joined_tokens

PATCHES_FIRST = ("timesformer",)  # whose tokens run through a patch's frames, and not through a frame's patches


class PretrainedVideo(PretrainedVision):
    """A picture encoder of Hugging Face transformers (Wolf et al. 2020) on every frame, or one for films (VideoMAE,
    ViViT, TimeSformer), which reads them whole; of a film with fewer frames the last is held.

    A frame's token is its pooled vector, a whole reader's the mean of the patches of one step in time. Stretches of
    equal length are averaged to at most `tokens` tokens; `where` is their time in seconds, `pooled` their mean.
    Options: see `PretrainedTower`. Raises `BadArgument` where a checkpoint reads another number of frames.
    """

    processor = "pretrained_video"

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        model: str = "",
        tune: str = "frozen",
        layers: int = 2,
        rank: int = 8,
        pool: str = "auto",
        tokens: int = 16,
        layer: int | str | None = None,
    ):
        super().__init__(
            facts, dim, model=model, tune=tune, layers=layers, rank=rank, pool=pool, tokens=tokens, layer=layer
        )
        own: Any = getattr(self.tower.config, "num_frames", None)
        if own is not None and own != int(facts["frames"]):
            raise BadArgument(f"{facts['model']!r} reads {own} frames, not {facts['frames']}: leave `frames` out.")
        self.whole = own is not None

    def once(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def _encoded(self, inputs: Mapping[str, Tensor]) -> Tokens:
        pixels = inputs["pixels"]
        if pixels.device.type != "cpu" or (self.training and self.tune != "frozen"):
            return PretrainedTower._encoded(self, inputs)
        few = max(1, PIXELS // (pixels.shape[1] * pixels.shape[-2] * pixels.shape[-1]))
        parts = zip(*(pieces(value, few) for value in inputs.values()), strict=True)
        return joined_tokens([PretrainedTower._encoded(self, dict(zip(inputs, part, strict=True))) for part in parts])

    def arguments(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        pixels, real = inputs["pixels"], real_frames(inputs)
        if not self.whole:
            return super().arguments({"pixels": pixels.flatten(0, 1)})
        place = torch.arange(pixels.shape[1], device=pixels.device)
        held = torch.minimum(place, real.sum(1, keepdim=True).clamp(min=1) - 1)
        shown = pixels.gather(1, held[:, :, None, None, None].expand_as(pixels))
        return super().arguments({"pixels": shown})

    def arrange(self, output: Any, inputs: Mapping[str, Tensor]) -> tuple[Tokens, Tensor | None]:
        pixels, real = inputs["pixels"], real_frames(inputs)
        rows, frames = pixels.shape[:2]
        if self.whole:
            steps = self.project(self._steps(output.last_hidden_state, frames, pixels.shape[-2:]))
        else:
            tokens, own = super().arrange(output, {"pixels": pixels.flatten(0, 1)})
            wanted = self.pool != "mean" and own is not None
            steps = (own if wanted and own is not None else tokens.pooled).unflatten(0, (rows, frames))
        each = frames // steps.shape[1]  # frames a step
        there = real[:, ::each]
        x, mask, _ = segment_mean(steps, there, self.tokens)
        where, _, _ = segment_mean(inputs["times"][:, ::each, None], there, self.tokens)
        return Tokens(x, mask, masked_mean(steps, there), where), None

    def _steps(self, states: Tensor, frames: int, size: tuple[int, ...]) -> Tensor:
        """[B, steps, width] of a whole reader's tokens [B, extra + steps · patches, width]."""
        config: Any = self.tower.config
        tube, patch = getattr(config, "tubelet_size", 1), getattr(config, "patch_size", None)
        deep, high, wide = tube if isinstance(tube, list | tuple) else (tube, patch, patch)
        steps, patches = frames // deep, (size[0] // high) * (size[1] // wide)
        extra = states.shape[1] - steps * patches
        if not 0 <= extra < 32:
            raise BadArgument(f"{type(self.tower).__name__} arranges its tokens in a way that is not known here.")
        if config.model_type in PATCHES_FIRST:
            return states[:, extra:].unflatten(1, (patches, steps)).mean(1)
        return states[:, extra:].unflatten(1, (steps, patches)).mean(2)
