"""Any batch in pieces: the gradient of the whole, dropout included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.aligners import ALIGNERS
from polymodal.core.types import Tokens
from polymodal.train.gradcache import in_pieces


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", ["infonce", "siglip"])
def test_pieces_have_the_gradient_of_the_whole(method, dtype):
    draw = torch.Generator().manual_seed(0)
    data = {"a": torch.randn(60, 7, generator=draw, dtype=dtype), "b": torch.randn(60, 9, generator=draw, dtype=dtype)}
    rows = {n: torch.arange(60)[:, None] // 2 for n in data}
    tower = nn.Sequential(nn.Linear(9, 9), nn.Tanh()).to(dtype)
    part = ALIGNERS.build({"name": method, "dropout": 0.0}, {"a": 7, "b": 9}, 6).to(dtype)

    def embed(name, numbers):
        values = tower(data[name][numbers]) if name == "b" else data[name][numbers]
        return part({name: Tokens.from_vector(values)})[name].pooled

    found = []
    for size in (60, 7, 1):
        for p in (*part.parameters(), *tower.parameters()):
            p.grad = None
        vectors = {n: in_pieces(lambda i, n=n: embed(n, i), torch.arange(60), size) for n in data}
        loss = sum(part.loss({n: Tokens.from_vector(v) for n, v in vectors.items()}, rows).values())
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in (*part.parameters(), *tower.parameters()))])
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for other in found[1:]:
        for a, b in zip(other, found[0]):
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def test_dropout_agrees_between_the_two_runs_of_a_piece():
    """With the same masks in both runs, the gradient of sum(y²)/2 at W is yᵀ(mask x), of what was returned."""
    torch.manual_seed(0)
    x, layer, seen = torch.randn(12, 5), nn.Linear(5, 5, bias=False), []

    def embed(numbers):
        hidden = nn.functional.dropout(x[numbers], 0.5)
        seen.append(hidden.detach())
        return layer(hidden)

    y = in_pieces(embed, torch.arange(12), 4)
    (y.square().sum() / 2).backward()
    assert len(seen) == 6  # three pieces, twice
    assert sorted(map(torch.sum, seen[:3])) == sorted(map(torch.sum, seen[3:]))
    torch.testing.assert_close(layer.weight.grad, y.detach().T @ torch.cat(seen[:3]))


def test_no_graph_is_kept_without_gradient():
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        assert not in_pieces(lambda i: layer(torch.ones(len(i), 3)), torch.arange(5), 2).requires_grad
