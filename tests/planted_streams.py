"""Rows of which half can be answered by one cheap stream, and the other half only by a costly one."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.adaptive import Adaptive
from polymodal.models.base import Labelled
from polymodal.models.build import Heads, Parts
from polymodal.targets.base import Target
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.number import NumberTarget

COST = {"cheap": 1.0, "costly": 9.0}
WIDTHS = {"cheap": 4, "costly": 4}
CLASSES = ClassesTarget("y", ("a", "b", "c", "d"), frequencies=(0.25, 0.25, 0.25, 0.25))
NUMBER = NumberTarget("y")


def planted(rows: int, seed: int, target: Target = CLASSES) -> tuple[Labelled, torch.Tensor]:
    """The rows, and which of them [B] bool the cheap stream suffices for: it says so itself, by its size."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randint(4, (rows,), generator=draw)
    easy = torch.rand(rows, generator=draw) < 0.5
    shown = F.one_hot(truth, 4).float()

    def noise(size: float) -> torch.Tensor:
        return torch.randn(rows, 4, generator=draw) * size

    cheap = torch.where(easy[:, None], 3 * shown + noise(0.3), noise(0.3))
    streams = {"cheap": Tokens.from_vector(cheap), "costly": Tokens.from_vector(2 * shown + noise(0.3))}
    value = truth if target.kind == "classes" else truth.float() - 1.5
    return Labelled(streams, {"y": value}), easy


def trained(spec: Any, target: Target = CLASSES, *, steps: int = 120, **parts: Any) -> Adaptive:
    """An answer trained and settled on planted rows."""
    torch.manual_seed(0)
    answer = ANSWERS.build(spec, WIDTHS, [target], Parts(8, Heads(), COST, **parts)).train()
    rows, _ = planted(512, 0, target)
    optimizer = torch.optim.AdamW([p for p in answer.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(answer.losses(answer(rows.streams), rows.targets).values()).backward()
        optimizer.step()
    answer.finalize(rows, planted(400, 1, target)[0], 0)
    return answer.eval()
