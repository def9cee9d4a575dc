"""Pooling: parity with NumPy, nothing to pool, masked NaN."""

import numpy as np
import torch

from polymodal.nn.layers.pool import AttentionPool, masked_mean, masked_softmax


def test_softmax_over_real_places_only():
    scores = torch.tensor([[1.0, 500.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(scores, mask)
    expected = np.exp([1.0, 3.0]) / np.exp([1.0, 3.0]).sum()
    np.testing.assert_allclose(weights.detach()[0, [0, 2]], expected, rtol=1e-6)
    assert weights[0, 1] == 0
    assert not weights[1].any()
    weights.square().sum().backward()
    assert scores.grad.isfinite().all()


def test_softmax_keeps_the_type_and_double_precision():
    scores, mask = torch.randn(2, 5, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(masked_softmax(scores, mask), scores.softmax(1), rtol=1e-14, atol=1e-14)
    assert masked_softmax(scores.bfloat16(), mask).dtype == torch.bfloat16


def test_mean_ignores_masked_nan_and_is_zero_of_nothing():
    x = torch.tensor([[[1.0], [float("nan")], [3.0]], [[float("nan")]] * 3])
    mask = torch.tensor([[True, False, True], [False] * 3])
    assert masked_mean(x, mask).tolist() == [[2.0], [0.0]]


def test_attention_pool_is_a_weighted_mean():
    pool = AttentionPool(4, hidden=3).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, False, True, False, False]])
    first, last = pool.score[0], pool.score[2]
    found = pool(x, mask).detach().numpy()
    for b in range(2):
        seen = x[b][mask[b]].numpy()
        scores = np.tanh(seen @ first.weight.detach().numpy().T + first.bias.detach().numpy())
        scores = np.exp(scores @ last.weight.detach().numpy()[0])
        np.testing.assert_allclose(found[b], scores / scores.sum() @ seen, rtol=1e-9)
    none = pool(x * float("nan"), torch.zeros(2, 5, dtype=torch.bool))
    assert not none.any()
