"""The generator and its critic: who moves whom, one pass, what is seen of few pictures."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.heads.gan import Gan
from polymodal.nn.layers.adversary import augmented, sides_of
from polymodal.targets.base import fitted
from polymodal.testing import example_target
from polymodal.testing.head import check_head
from polymodal.testing.target import CELLS

WIDTH, ROWS = 6, 8


def head(**options) -> Gan:
    torch.manual_seed(0)
    return HEADS.build({"name": "gan", "channels": 8, "latent": 4, **options}, WIDTH, example_target("picture"))


def tokens() -> Tokens:
    torch.manual_seed(1)
    return Tokens.from_vector(torch.randn(ROWS, WIDTH))


def truth(made: Gan) -> torch.Tensor:
    return torch.from_numpy(made.target.encode(CELLS["picture"][:ROWS]))


def gradients(made: Gan, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    made.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None and p.grad.any()}


def test_it_keeps_the_laws_of_heads():
    check_head({"name": "gan", "channels": 8, "latent": 8}, example_target("picture"))


def test_each_side_is_moved_by_its_own_loss_alone(monkeypatch):
    made = head().train()
    torch.manual_seed(2)
    whole = gradients(made, made.loss(tokens(), truth(made)))
    assert {name.split(".")[0] for name in whole} == {
        "told",
        "nothing",
        "generator",
        "critic",
    } or "nothing" not in whole
    monkeypatch.setattr(made.generator, "forward", lambda condition: torch.zeros(ROWS, *made.target.shape))
    torch.manual_seed(2)
    of_critic = gradients(made, made.loss(tokens(), truth(made)))
    assert {name.split(".")[0] for name in of_critic} == {"critic"}, "pictures that are given move the critic alone"


def test_the_generator_climbs_what_the_critic_says():
    made = head(drop=0.0).train()
    given, pictures = tokens(), truth(made)
    optimizer = torch.optim.Adam(made.generator.parameters(), 1e-2)

    def liked() -> float:
        with torch.no_grad():
            condition = made.eval()._condition(given, given.present)
            noise = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0))
            return float(made.critic(made.generator(torch.cat([condition, noise], 1)), condition).mean())

    before = liked()
    for _ in range(10):
        optimizer.zero_grad()
        made.train().loss(given, pictures).backward()
        optimizer.step()
    assert liked() > before


def test_one_pass_and_no_option_of_a_flow():
    made = head().eval()
    numbers = torch.arange(ROWS)
    assert torch.equal(made.draw(tokens(), numbers)[2:3], made.draw(tokens().select(slice(2, 3)), numbers[2:3]))
    assert not torch.equal(made.draw(tokens(), numbers), made.draw(tokens(), numbers, copy=1))
    with pytest.raises(BadArgument, match="Unknown option 'guidance' of drawing by Gan"):
        made.draw(tokens(), numbers, guidance=2.0)
    with pytest.raises(BadArgument, match="latent must be between 4"):
        head(latent=1)


@pytest.mark.parametrize("size", [4, 9, 28])
def test_any_side(size):
    target = fitted("y", {"name": "picture", "size": size}, CELLS["picture"])
    made = Gan(WIDTH, target, channels=4, latent=4).eval()
    assert made(tokens()).shape == (ROWS, 2, 3, size, size)
    assert made.train().loss(tokens(), torch.from_numpy(target.encode(CELLS["picture"][:ROWS]))).isfinite()
    assert sides_of(28) == [28, 14, 7]


def test_changes_are_of_a_row_and_let_a_gradient_through():
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).repeat(32, 3, 1, 1).requires_grad_()
    torch.manual_seed(0)
    y = augmented(x)
    assert y.shape == x.shape
    assert len({tuple(row.flatten().tolist()) for row in y.detach()}) == 32
    y.sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).sum(1) > 0).all()
    assert ((x.grad == 0) | (x.grad == 1)).all()
