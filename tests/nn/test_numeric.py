"""Embeddings of numbers against the paper's formulas, written again with loops."""

import math

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.numeric import CategoryEmbedding, FeatureLinear, NumberEmbedding, Periodic, PiecewiseLinear

EDGES = [[-2.0, -0.5, 0.0, 1.5], [0.0, 1.0]]


def by_hand(x: float, edges: list[float], bins: int) -> list[float]:
    out = [0.0] * bins
    last = len(edges) - 1
    for t in range(1, last + 1):
        share = (x - edges[t - 1]) / (edges[t] - edges[t - 1])
        if t > 1:
            share = max(share, 0.0)
        if t < last:
            share = min(share, 1.0)
        out[t - 1] = share
    return out


@pytest.mark.parametrize("x", [-3.0, -2.0, -1.0, -0.5, 0.3, 1.5, 4.0])
def test_piecewise_linear_is_the_paper_s(x):
    found = PiecewiseLinear(EDGES)(torch.tensor([[x, x]]))[0]
    for row, edges in zip(found, EDGES):
        assert row.tolist() == pytest.approx(by_hand(x, edges, 3), abs=1e-6)


def test_padding_bins_stay_zero_and_gradients_finite():
    x = torch.randn(5, 2, requires_grad=True)
    code = PiecewiseLinear(EDGES)(x)
    assert (code[:, 1, 1:] == 0).all()
    code.sum().backward()
    assert x.grad.isfinite().all()
    inside = (x[:, 1] > 0) & (x[:, 1] < 1)
    assert torch.allclose(x.grad[inside, 1], torch.ones(int(inside.sum())))


def test_periodic_is_the_paper_s():
    part = Periodic(2, 3, 0.5)
    x = torch.randn(4, 2)
    found = part(x)
    for b in range(4):
        for c in range(2):
            angles = [2 * math.pi * f * float(x[b, c]) for f in part.frequency[c].tolist()]
            wanted = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert found[b, c].tolist() == pytest.approx(wanted, abs=1e-4)


def test_feature_linear_is_a_matrix_a_feature():
    part, x = FeatureLinear(3, 4, 5), torch.randn(2, 3, 4)
    wanted = torch.stack([x[:, c] @ part.weight[c] + part.bias[c] for c in range(3)], dim=1)
    assert torch.allclose(part(x), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["piecewise", "periodic", "linear"])
def test_missing_numbers_have_their_own_vector(kind):
    part = NumberEmbedding(EDGES, 6, kind=kind)
    known = torch.tensor([[True, False]])
    first, second = (part(torch.tensor([[1.0, v]]), known) for v in (0.0, 9.0))
    assert torch.equal(first, second)
    assert torch.equal(first[0, 1], part.missing[1])
    assert not torch.equal(first[0, 0], part(torch.tensor([[0.2, 0.0]]), known)[0, 0])


def test_unknown_embedding_is_named():
    with pytest.raises(BadArgument, match="Did you mean 'periodic'"):
        NumberEmbedding(EDGES, 4, kind="periodical")


def test_categories_of_different_columns_do_not_share():
    part = CategoryEmbedding([3, 4], 5)
    out = part(torch.tensor([[1, 1], [2, 3]]))
    assert torch.equal(out[0, 1], part.table.weight[3 + 1])
    assert torch.equal(out[1], torch.stack([part.table.weight[2], part.table.weight[3 + 3]]))
