"""Attention at linear cost; its formulas in NumPy are in `tests/reference/long.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.attention import attend
from polymodal.nn.layers.long import FULL_UP_TO, WINDOW, check_kind, linear_attend, rule_of, settled, window_attend

RULES = {"window": partial(window_attend, window=2, leaders=1), "linear": linear_attend}


def heads(length: int, rows: int = 2, **named: object) -> list[torch.Tensor]:
    return [torch.randn(rows, 2, length, 4, **named) for _ in range(3)]


@pytest.mark.parametrize("length", [1, 2, 6, 7, 13])
@pytest.mark.parametrize(("window", "leaders"), [(1, 0), (2, 1), (3, 2), (50, 1)])
def test_the_window_is_attention_under_a_band(length: int, window: int, leaders: int):
    parts = heads(length, requires_grad=True, dtype=torch.float64)
    mask = torch.rand(2, length) < 0.7
    at = torch.arange(length)
    led = at < leaders
    band = ((at[:, None] - at).abs() <= window) | led | led[:, None]
    found = window_attend(*parts, mask, window=window, leaders=leaders)
    expected = attend(*parts, mask[:, None] & band)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    for ours, theirs in zip(*(torch.autograd.grad((out * upstream).sum(), parts) for out in (found, expected))):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        window_attend(*parts, window=window, leaders=leaders), attend(*parts, band.expand(2, -1, -1))
    )


@pytest.mark.parametrize("name", RULES)
def test_rows_without_keys_give_zeros_and_finite_gradients(name: str):
    parts = heads(9, requires_grad=True)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1] = False
    out = RULES[name](*parts, mask)
    assert out[0].abs().min() > 0
    assert not out[1].any()
    out.square().sum().backward()
    assert all(part.grad.isfinite().all() for part in parts)


@pytest.mark.parametrize("name", RULES)
def test_masked_keys_are_not_read(name: str):
    query, key, value = heads(9)
    mask = torch.rand(2, 9) < 0.6
    hidden = ~mask[:, None, :, None]
    changed = RULES[name](query, key.masked_fill(hidden, 7.0), value.masked_fill(hidden, 7.0), mask)
    torch.testing.assert_close(changed, RULES[name](query, key, value, mask))


@pytest.mark.parametrize("name", RULES)
def test_bfloat16_stays_near_float32(name: str):
    parts = heads(40)
    exact = RULES[name](*parts)
    rough = [part.bfloat16().requires_grad_() for part in parts]
    with torch.autocast("cpu", torch.bfloat16):
        found = RULES[name](*rough)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - exact).abs().max().detach()) < 0.05
    found.float().sum().backward()
    assert all(part.grad.isfinite().all() for part in rough)


class Largest(TorchDispatchMode):
    """Notes the bytes behind the largest tensor that any operation gives, backward ones included."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.nbytes = max([self.nbytes, *sizes])
        return out


def _largest(rule, length: int) -> int:
    parts = heads(length, rows=1, requires_grad=True)
    mask = torch.ones(1, length, dtype=torch.bool)
    with Largest() as noted:
        rule(*parts, mask).sum().backward()
    return noted.nbytes


@pytest.mark.parametrize("name", ["window", "linear"])
def test_memory_is_linear_in_the_length(name: str):
    rule = rule_of(settled(name, 1), leaders=2)
    assert _largest(rule, 4096) <= 2.1 * _largest(rule, 2048)


def test_a_square_mask_would_be_noticed():
    def square(query, key, value, mask):
        return attend(query, key, value, mask[:, None] & mask[:, :, None])

    assert _largest(square, 1024) > 3 * _largest(square, 512)


def test_auto_goes_by_length():
    assert settled("auto", FULL_UP_TO) == "full"
    assert settled("auto", FULL_UP_TO + 1) == settled("window", 1) == WINDOW
    assert settled("linear", 1) == "linear"
    assert settled(5, 10_000) == 5
    assert rule_of("full", 1) is attend
    assert rule_of("linear", 1) is linear_attend


@pytest.mark.parametrize("given", ["ful", 0, -1, True, 2.0])
def test_other_kinds_are_refused(given):
    with pytest.raises(BadArgument, match="auto, full, window, linear or the reach of a window; got"):
        check_kind(given)
