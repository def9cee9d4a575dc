"""Attention: parity with NumPy, rows without keys, bfloat16."""

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.attention import MultiHeadAttention, attend


def reference(query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[B, H, L, D], [B, H, S, D] twice and [B, L, S] to [B, H, L, D], with loops."""
    out = np.zeros_like(query)
    for b, h, i in np.ndindex(*query.shape[:3]):
        seen = np.flatnonzero(mask[b, i])
        if len(seen):
            scores = key[b, h, seen] @ query[b, h, i] / np.sqrt(query.shape[-1])
            weights = np.exp(scores - scores.max())
            out[b, h, i] = weights / weights.sum() @ value[b, h, seen]
    return out


@pytest.mark.parametrize("per_query", [False, True])
def test_matches_the_formula(per_query: bool):
    query, key, value = (torch.randn(3, 2, n, 4, dtype=torch.float64) for n in (5, 7, 7))
    mask = torch.rand(3, 5, 7) < 0.5 if per_query else torch.rand(3, 7) < 0.5
    mask[1] = False
    full = mask if per_query else mask[:, None].expand(3, 5, 7)
    expected = reference(query.numpy(), key.numpy(), value.numpy(), full.numpy())
    np.testing.assert_allclose(attend(query, key, value, mask).numpy(), expected, atol=1e-12)


def test_no_mask_means_all_keys():
    q = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(attend(q, q, q), attend(q, q, q, torch.ones(2, 3, dtype=torch.bool)))


def test_a_row_without_keys_gives_zeros_and_finite_gradients():
    attention = MultiHeadAttention(8, 2)
    x = torch.randn(2, 3, 8, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    out = attention(x, mask)
    assert not out[1].any()
    out.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_masked_keys_are_not_read():
    attention = MultiHeadAttention(8, 2).eval()
    x, context = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[True, False, True, False]] * 2)
    changed = torch.where(mask[..., None], context, 99.0)
    torch.testing.assert_close(attention(x, mask, context), attention(x, mask, changed))


def test_context_of_another_width():
    attention = MultiHeadAttention(8, 4, context_dim=5)
    assert attention(torch.randn(2, 3, 8), None, torch.randn(2, 6, 5)).shape == (2, 3, 8)


def test_bfloat16_training_on_the_cpu_uses_float32_attention(monkeypatch):
    seen = []
    real = torch.nn.functional.scaled_dot_product_attention

    def spy(query, *rest, **named):
        seen.append(query.dtype)
        return real(query, *rest, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    attention = MultiHeadAttention(8, 2)
    x = torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert attention(x).dtype == torch.bfloat16
        with torch.no_grad():
            attention(x)
    assert seen == [torch.float32, torch.bfloat16]


def test_heads_must_divide_the_width():
    with pytest.raises(BadArgument, match=r"width of 8 cannot be cut into 3 heads. Allowed: \[1, 2, 4, 8\]"):
        MultiHeadAttention(8, 3)
