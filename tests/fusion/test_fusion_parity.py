"""What formulas alone do not say of feature-level fusions; the formulas are in `tests/reference/fusion.py`."""

from __future__ import annotations

import torch

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS

DIM = 6
ROWS = 4


def test_two_streams_are_the_gated_unit_of_the_paper():
    fusion = FUSIONS.build("gated", {"a": 3, "b": 2}, DIM).double().eval()
    a, b = torch.randn(ROWS, 3, dtype=torch.float64), torch.randn(ROWS, 2, dtype=torch.float64)
    maps, gates = fusion.project.maps, fusion.gates.map
    scores = gates(torch.cat([a, b], 1)).unflatten(1, (2, DIM))
    z = torch.sigmoid(scores[:, 0] - scores[:, 1])  # a softmax over two is a sigmoid of the difference
    expected = z * maps[0](a).tanh() + (1 - z) * maps[1](b).tanh()
    found = fusion({"a": Tokens.from_vector(a), "b": Tokens.from_vector(b)}).pooled
    torch.testing.assert_close(found, expected)


def test_seed_formula():
    """α·a + (1 - α)·b, with maps that are the identity."""
    fusion = FUSIONS.build({"name": "weighted", "alpha": 0.3}, {"a": DIM, "b": DIM}, DIM).eval()
    for project in fusion.project.maps:
        torch.nn.init.eye_(project.weight)
        torch.nn.init.zeros_(project.bias)
    a, b = torch.randn(ROWS, DIM), torch.randn(ROWS, DIM)
    missing = torch.tensor([True, True, True, False])
    found = fusion({"a": Tokens.from_vector(a), "b": Tokens.from_vector(b, missing)}).pooled
    torch.testing.assert_close(found[:3], (0.3 * a + 0.7 * b)[:3])
    torch.testing.assert_close(found[3], a[3])


def test_cross_attends_to_the_others_only():
    """A stream's own tokens reach only its own mean, so with one stream present the attention adds nothing."""
    fusion = FUSIONS.build({"name": "cross", "dropout": 0.0}, {"a": 4, "b": 4}, 8).eval()
    streams = {n: Tokens(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4)) for n in "ab"}
    hidden = torch.zeros(2, dtype=torch.bool)
    alone = fusion({"a": streams["a"], "b": streams["b"].keep(hidden)}).pooled
    torch.nn.init.zeros_(fusion.blocks[0].attention.out.weight)
    torch.testing.assert_close(fusion({"a": streams["a"], "b": streams["b"].keep(hidden)}).pooled, alone)
    assert not torch.allclose(fusion(streams).pooled, alone)


def test_unified_with_one_layer_reads_only_the_class_token():
    fusion = FUSIONS.build({"name": "unified", "layers": 1}, {"a": 4, "b": 4}, 8).eval()
    streams = {n: Tokens(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4)) for n in "ab"}
    line = fusion.line(list(streams.values()))
    whole = torch.cat([fusion.start.expand(2, 1, 8), line.x], 1)
    expected = fusion.norm(fusion.blocks[0](whole)[:, 0])
    torch.testing.assert_close(fusion(streams).pooled, expected)


def test_the_scale_at_the_start_suits_a_linear_head():
    """Fused vectors of unit-scale streams neither vanish nor explode, so that one learning rate serves all."""
    widths = {"a": 64, "b": 64, "c": 32, "d": 16}
    streams = {n: Tokens.from_vector(torch.randn(256, w)) for n, w in widths.items()}
    for name in FUSIONS:
        spread = float(FUSIONS.build(name, widths, 64).eval()(streams).pooled.detach().std())
        assert 0.1 < spread < 3.0, (name, spread)
