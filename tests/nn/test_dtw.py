"""Warping: paths, windows, ragged batches, limits, no loop over cells. Values and gradients: reference/temporal.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.signal.dtw import dtw, pair_costs, soft_dtw


def test_a_sequence_matches_its_slowed_copy_at_no_cost():
    a = torch.randn(1, 6, 3, dtype=torch.float64)
    slow = a.repeat_interleave(torch.tensor([1, 2, 1, 3, 1, 1]), 1)
    total, path = dtw(pair_costs(a, slow))
    assert float(total) == pytest.approx(0, abs=1e-12)
    assert path[0].int().argmax(0).tolist() == [0, 1, 1, 2, 3, 3, 3, 4, 5]


def test_paths_are_monotone_and_their_cost_is_the_sum_along_them():
    cost = torch.rand(20, 7, 9)
    n, m = torch.randint(1, 8, (20,)), torch.randint(1, 10, (20,))
    total, path = dtw(cost, n, m)
    assert torch.allclose(total, (cost * path).sum((1, 2)))
    for one, i, j in zip(path, n.tolist(), m.tolist()):
        cells = one.nonzero().tolist()
        assert cells[0] == [0, 0]
        assert cells[-1] == [i - 1, j - 1]
        steps = {(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(cells)}
        assert steps <= {(0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("call", [lambda *a: dtw(*a)[0], soft_dtw])
def test_a_row_does_not_depend_on_its_batch_or_padding(call):
    cost = torch.rand(4, 6, 5)
    n, m = torch.tensor([6, 3, 1, 4]), torch.tensor([5, 5, 2, 1])
    whole = call(cost, n, m)
    alone = [call(c[None, :i, :j]) for c, i, j in zip(cost, n, m)]
    assert torch.allclose(whole, torch.cat(alone))


def test_soft_becomes_hard_and_lies_below_it():
    cost = torch.rand(5, 8, 8, dtype=torch.float64)
    hard = dtw(cost)[0]
    assert torch.allclose(soft_dtw(cost, gamma=1e-4), hard, atol=1e-2)
    assert (soft_dtw(cost, gamma=1.0) < hard).all()


def test_soft_gradient_by_autograd_and_with_masks_is_finite():
    cost = torch.rand(2, 5, 6, dtype=torch.float64, requires_grad=True)
    n, m = torch.tensor([5, 2]), torch.tensor([6, 4])
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, n, m, gamma=0.2, window=4), cost)
    soft_dtw(cost * 1e4, gamma=1e-3).sum().backward()
    assert cost.grad is not None
    assert cost.grad.isfinite().all()


def test_the_window_forbids():
    cost = torch.ones(1, 6, 6)
    cost[:, 0], cost[:, :, -1] = 0, 0  # free along the edge, far from the diagonal
    assert float(dtw(cost)[0]) < float(dtw(cost, window=1)[0])
    assert not (dtw(cost, window=1)[1] & ((torch.arange(6)[:, None] - torch.arange(6)).abs() > 1)).any()
    assert float(soft_dtw(cost, gamma=0.1)) < float(soft_dtw(cost, gamma=0.1, window=1))


def test_as_many_steps_as_anti_diagonals(monkeypatch):
    import polymodal.nn.signal.dtw as module

    seen = []
    diagonal = module._diagonal
    monkeypatch.setattr(module, "_diagonal", lambda *a: seen.append(a) or diagonal(*a))
    soft_dtw(torch.rand(3, 40, 30))
    assert len(seen) == 40 + 30 - 1


def test_bad_input():
    cost = torch.rand(2, 4, 6)
    with pytest.raises(BadArgument, match=r"window=1 lets no path through: a row's lengths differ by 2"):
        dtw(cost, window=1)
    with pytest.raises(BadArgument, match="gamma must be positive; got 0"):
        soft_dtw(cost, gamma=0)
    with pytest.raises(BadArgument, match="n gives each of 2 rows a length from 1 to 4"):
        dtw(cost, torch.tensor([0, 4]))
    with pytest.raises(BadArgument, match=r"For one pair give cost\[None\]"):
        dtw(cost[0])


def test_soft_dtw_under_bfloat16():
    cost = torch.rand(2, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    soft_dtw(cost).float().sum().backward()
    assert cost.grad is not None
    assert cost.grad.isfinite().all()
