"""Warps, rolls and stripes with known answers."""

import torch

from polymodal.nn.signal.warp import affine, rolled, stripes, uniform


def test_identity_and_mirror():
    x = torch.rand(2, 3, 5, 7)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    assert torch.allclose(affine(x, identity), x, atol=1e-5)
    assert torch.allclose(affine(x, mirror), x.flip(3), atol=1e-5)


def test_rolled_moves_each_row_by_its_own():
    x = torch.arange(10.0).view(2, 1, 5)
    moved = rolled(x, torch.tensor([1, -2]))
    assert torch.equal(moved[0], x[0].roll(1, -1))
    assert torch.equal(moved[1], x[1].roll(-2, -1))
    mask = torch.tensor([[True, False, False]])
    assert rolled(mask, torch.tensor([2])).tolist() == [[False, False, True]]


def test_stripes_are_one_stretch_of_bounded_width():
    found = stripes(500, 40, 0.25, torch.zeros(1))
    assert found.sum(1).max() <= 11
    assert found.any(0).all()
    starts = (found[:, 1:] & ~found[:, :-1]).sum(1) + found[:, 0]
    assert starts.max() == 1


def test_uniform_stays_within_its_reach():
    draws = uniform(1000, 0.3, torch.zeros(1))
    assert draws.abs().max() <= 0.3
    assert draws.min() < -0.25
    assert draws.max() > 0.25
