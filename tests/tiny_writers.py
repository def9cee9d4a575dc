"""Heads that write, small enough to learn a few texts in a moment."""

from __future__ import annotations

import torch

from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.testing import example_target
from polymodal.testing.head import example_truth

SMALL = {"units": 16}
TARGET = example_target("text")


def built(spec, width: int = 6, target=TARGET) -> torch.nn.Module:
    torch.manual_seed(0)
    return HEADS.build(spec, width, target).eval()


def tokens(rows: int = 8, count: int = 5, width: int = 6) -> Tokens:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(rows, count, width, generator=draw)
    mask = torch.rand(rows, count, generator=draw) < 0.8
    mask[:, 0] = True
    mask[1:2] = False
    return Tokens(x, mask, x.mean(1), torch.rand(rows, count, 2, generator=draw)).cleared()


def learned(name: str, **options) -> torch.nn.Module:
    """A head that has learned its rows, so that what it writes differs from row to row."""
    head, seen, truth = built({"name": name, **SMALL, **options}), tokens(), example_truth(TARGET)
    optimizer = torch.optim.AdamW(head.train().parameters(), lr=0.01)
    for _ in range(120):
        optimizer.zero_grad()
        head.loss(seen, truth).backward()
        optimizer.step()
    return head.eval()
