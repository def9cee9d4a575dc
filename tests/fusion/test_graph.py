"""Graph fusion: messages within streams and between them."""

from __future__ import annotations

from dataclasses import replace

import torch

from polymodal.fusion import FUSIONS
from polymodal.testing import check_fusion
from polymodal.testing.subject import random_streams

WIDTHS = {"a": 4, "b": 4}


def test_gated_messages_keep_the_laws():
    check_fusion({"name": "graph", "messages": "gated"})


def test_messages_run_between_streams_and_within_them():
    """With a pair of streams silenced, a node of the one no longer depends on the other."""
    fusion = FUSIONS.build({"name": "graph", "rounds": 1}, WIDTHS, 8).eval()
    streams = random_streams(WIDTHS, full=True)
    moved = {**streams, "b": replace(streams["b"], x=streams["b"].x + 1.0)}
    nodes = 1 + streams["a"].x.shape[1]
    assert not torch.allclose(fusion(streams).x[:, :nodes], fusion(moved).x[:, :nodes])
    with torch.no_grad():
        fusion.pairs[:, 0, 1] = -1e4  # a no longer hears b
    torch.testing.assert_close(fusion(streams).x[:, :nodes], fusion(moved).x[:, :nodes])
    assert not torch.allclose(fusion(streams).x[:, nodes:], fusion(moved).x[:, nodes:])
