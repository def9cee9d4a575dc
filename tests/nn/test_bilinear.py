"""Products of vectors against einsum over the whole tensor."""

import numpy as np
import pytest
import torch

from polymodal.nn.layers.bilinear import low_rank_product, outer_product, with_one


def test_outer_product_of_three():
    a, b, c = (torch.randn(4, n, dtype=torch.float64) for n in (2, 3, 5))
    expected = np.einsum("bi,bj,bk->bijk", a.numpy(), b.numpy(), c.numpy()).reshape(4, -1)
    np.testing.assert_allclose(outer_product([a, b, c]).numpy(), expected, atol=1e-14)
    assert torch.equal(outer_product([a]), a)


def test_low_rank_product_is_the_contraction_of_its_factors():
    vectors = [torch.randn(4, n, dtype=torch.float64) for n in (2, 3, 5)]
    factors = [torch.randn(6, n, 7, dtype=torch.float64) for n in (2, 3, 5)]
    weight = np.einsum("rio,rjo,rko->ijko", *(f.numpy() for f in factors))
    expected = np.einsum("bi,bj,bk,ijko->bo", *(v.numpy() for v in vectors), weight)
    np.testing.assert_allclose(low_rank_product(vectors, factors).numpy(), expected, atol=1e-12)


def test_low_rank_product_of_nothing():
    with pytest.raises(ValueError, match="at least one vector"):
        low_rank_product([], [])


def test_with_one():
    assert with_one(torch.zeros(2, 3)).tolist() == [[0, 0, 0, 1]] * 2
