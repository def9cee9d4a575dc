"""The values of a series as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder, stretches


class SeriesPlain(FeatureEncoder):
    """Each channel's values in their order, and the share of each that was measured.

    A series of more steps than `parts`, which the longest here may have, is told by the means of `parts` equal
    stretches of its own length. For short series whose single steps matter, as the last day's or the second channel's
    fourth hour; what repeats at any time is for `series_rocket`.
    """

    processor = "series"

    def __init__(self, facts: Mapping[str, Any], dim: int, *, parts: int = 32):
        super().__init__(facts, dim)
        check_range("[1, 1000]", parts=parts)
        self.parts = parts
        self.length = int(facts["length"])
        blank = torch.zeros(1, self.length, int(facts["channels"]))
        self._measured({"values": blank, "valid": blank.bool(), "length": torch.ones(1, dtype=torch.int32)})

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        values, length = inputs["values"].float(), inputs["length"].clamp(min=1)
        real = (torch.arange(self.length, device=values.device) < length[:, None])[..., None]
        measured = (inputs["valid"] & real).to(values.dtype)
        told = [torch.where(real, values, 0.0), measured]
        if self.length > self.parts:
            start, end = torch.zeros_like(length, dtype=values.dtype), length.to(values.dtype)
            told = [stretches(x, start, end, self.parts) for x in told]
        return torch.cat([x.flatten(1) for x in told], 1)
