"""A Transformer over patches that a condition turns: it begins as nothing, reads what it is given, and learns."""

from __future__ import annotations

import pytest
import torch

from polymodal.nn.layers.dit import PATCH, DiT, TurnedBlock
from polymodal.testing import example_target
from polymodal.testing.head import check_head

ROWS = 3


def made(shape=(2, 10, 7), **options) -> DiT:
    """A small one whose weights are far from where they begin."""
    torch.manual_seed(0)
    found = DiT(shape, 8, **{"depth": 0, "condition": 5, **options})
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return found


def given(shape=(2, 10, 7)) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return torch.randn(ROWS, *shape), torch.rand(ROWS), torch.randn(ROWS, 5)


def test_at_first_it_says_nothing_and_its_blocks_change_nothing():
    fresh = DiT((2, 10, 7), 8, depth=1, condition=5)
    assert not fresh(*given()).any()
    assert len(fresh.blocks) == 4
    x = torch.randn(2, 6, 16)
    assert torch.equal(TurnedBlock(16, 4, 8)(x, torch.randn(2, 8)), x)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 10, 7), (3, 5, 12), (1, 3, 3)])
def test_any_side_will_do(shape):
    z, t, condition = given(shape)
    told = made(shape)(z, t, condition)
    assert told.shape == z.shape
    assert told.isfinite().all()


def test_patches_come_back_to_where_they_were():
    shape = (3, 2 * PATCH, 3 * PATCH)
    found = DiT(shape, 12, depth=0, condition=5)  # 48 units: as many as a patch has numbers
    found.places.zero_()
    with torch.no_grad():
        found.first.weight.copy_(torch.eye(48).view_as(found.first.weight))
        found.first.bias.zero_()
        found.last.weight.copy_(torch.eye(48))
    found.norm = torch.nn.Identity()
    z, t, condition = given(shape)
    torch.testing.assert_close(found(z, t, condition), z)


def test_time_condition_place_and_other_patches_all_count():
    found, (z, t, condition) = made(), given()
    told = found(z, t, condition)
    for other in ((z, t / 2, condition), (z, t, condition + 1)):
        assert not torch.allclose(found(*other), told, atol=1e-3)
    far = z.clone()
    far[..., -1, -1] += 1
    assert not torch.allclose(found(far, t, condition)[..., 0, 0], told[..., 0, 0], atol=1e-5)
    same = torch.zeros_like(z)
    assert found(same, t, condition)[..., :PATCH, 0].sub(found(same, t, condition)[..., PATCH : 2 * PATCH, 0]).any()


def test_tokens_are_read_and_hidden_ones_are_not():
    found, (z, t, condition) = made(context=6), given()
    context, mask = torch.randn(ROWS, 4, 6), torch.ones(ROWS, 4, dtype=torch.bool)
    mask[:, 2:] = False
    told = found(z, t, condition, context, mask)
    odd = context.clone()
    odd[:, 2:] = torch.nan
    assert torch.equal(found(z, t, condition, odd, mask), told)
    torch.testing.assert_close(found(z, t, condition, context[:, :2], mask[:, :2]), told)
    assert not torch.allclose(found(z, t, condition, context + 1, mask), told, atol=1e-3)


def test_it_learns():
    """Two pictures, told by the condition alone from noise that says nothing."""
    torch.manual_seed(0)
    found = DiT((1, 8, 8), 8, depth=0, condition=2)
    wanted, condition = torch.randn(2, 1, 8, 8), torch.eye(2)
    optimizer = torch.optim.Adam(found.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (found(torch.randn(2, 1, 8, 8), torch.ones(2), condition) - wanted).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * wanted.square().mean()


def test_as_the_network_of_a_flow_it_keeps_the_laws_of_heads():
    check_head({"name": "flow", "network": "dit", "channels": 16, "depth": 0, "steps": 2}, example_target("picture"))
