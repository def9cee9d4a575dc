"""The generator and its critic: who moves whom, by turns; resuming; one pass; what the critic sees and knows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.config import Training
from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.heads.gan import Gan
from polymodal.models.base import Joint
from polymodal.nn.layers.adversary import Standardised, augmented, sides_of
from polymodal.nn.opponent import opponents_of
from polymodal.targets.base import Target, fitted
from polymodal.testing import example_target
from polymodal.testing.head import check_head
from polymodal.testing.target import CELLS
from polymodal.train.loop import train
from polymodal.train.turns import Turns

WIDTH, ROWS = 6, 8
SMALL = {"channels": 8, "latent": 4}


def head(**options) -> Gan:
    torch.manual_seed(0)
    return HEADS.build({"name": "gan", **SMALL, **options}, WIDTH, example_target("picture"))


def tokens(rows: int = ROWS) -> Tokens:
    torch.manual_seed(1)
    return Tokens.from_vector(torch.randn(rows, WIDTH))


def truth(made: Gan) -> torch.Tensor:
    known = torch.from_numpy(made.target.encode(CELLS["picture"]))
    return known[torch.arange(ROWS) % len(known)]


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def moved(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and int((a.int() - b.int()).abs().max()) <= 1


def test_it_keeps_the_laws_of_heads():
    check_head({"name": "gan", **SMALL}, example_target("picture"))


# --- turns ------------------------------------------------------------------------------------------------------------


def test_each_side_is_moved_by_its_own_loss_alone():
    made = head().train()
    before = weights(made)
    optimizer = torch.optim.Adam([p for p in made.parameters() if p.requires_grad], 1e-2)
    made.loss(tokens(), truth(made)).backward()
    assert not [name for name, p in made.critic.named_parameters() if p.grad is not None]
    optimizer.step()
    after = moved(made, before)
    assert {name.split(".")[0] for name in after} == {"told", "nothing", "generator"}
    assert {n for n in before if n.startswith("generator")} <= after, "the critic's judgement reaches all of it"
    before = weights(made)
    Turns(made, "float32").take(1.0)
    assert moved(made, before) == {name for name in before if name.startswith("critic.")}
    assert not any(p.requires_grad or p.grad is not None for p in made.critic.parameters())


def test_what_lies_below_learns_from_the_generators_loss_alone():
    made = head(drop=0.0).train()
    x = torch.randn(ROWS, 1, WIDTH, requires_grad=True)
    given = Tokens(x, torch.ones(ROWS, 1, dtype=torch.bool), x.mean(1))
    with torch.no_grad():
        made.generator.first.weight.zero_()
        for block in made.generator.blocks:
            block.film.weight.zero_()
    made.loss(given, truth(made)).backward()
    assert x.grad is None or not x.grad.any(), "the critic's knowledge of the condition is no way to please it"
    with made.critic.learning():
        value = made.critic.loss(*made.critic.forget()[0])
    assert value.requires_grad
    value.backward()
    assert x.grad is None or not x.grad.any()


def test_both_sides_descend():
    made = head(drop=0.0, augment=False).train()
    given, pictures = tokens(), truth(made)
    turns = Turns(made, "float32")
    made.loss(given, pictures)
    met = made.critic._met[0]
    before = float(made.critic.loss(*met))
    for _ in range(20):
        made.critic.meet(*met)
        turns.take(10.0)
    assert float(made.critic.loss(*met)) < before - 0.1, "real pictures and drawn ones are told apart"
    mine = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(mine, 1e-2)
    start = float(made.loss(given, pictures).detach())
    for _ in range(10):
        optimizer.zero_grad()
        made.loss(given, pictures).backward()
        optimizer.step()
    assert float(made.loss(given, pictures).detach()) < start - 0.1, "the generator climbs what the critic says"


def test_a_turn_is_taken_on_what_was_met_and_a_broken_step_is_forgotten():
    made = head().train()
    turns = Turns(made, "float32")
    before = weights(made)
    turns.take(1.0)
    assert not moved(made, before), "nothing was met"
    made.loss(tokens(), truth(made))
    turns.begin()
    turns.take(1.0)
    assert not moved(made, before), "what was met in a step that memory did not hold counts no more"
    made.eval().loss(tokens(), truth(made))
    assert not made.critic._met, "judging teaches nobody"


def test_a_batch_in_parts_is_the_same_turn():
    ends = []
    for parts in ([slice(0, 8)], [slice(0, 2), slice(2, 8)]):
        made = head(augment=False, drop=0.0).double().eval()  # in which the spectral norms stand still
        x, drawn = (torch.rand(ROWS, *made.target.shape, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
        told = torch.ones(ROWS, dtype=torch.bool)
        for part in parts:
            batch = x.double()[part], drawn.double()[part], tokens().pooled.double()[part]
            made.critic.meet(*batch, told[part], told[part])
        Turns(made, "float32").take(1.0)
        ends.append(weights(made.critic))
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, atol=1e-6, rtol=0)


def fit(made: Gan, *, checkpoint=None, **options):
    given, pictures = tokens(64), truth(made)[torch.arange(64) % ROWS]

    def loss(rows):
        return made.loss(given.select(rows), pictures[rows])

    def validate():
        return -float(made.loss(given, pictures))

    asked = Training(modality_dropout=0.0).with_({**made.recipe(), "epochs": 4, "batch": 16, **options})
    return train(made, loss, validate, torch.arange(64), asked, seed=3, checkpoint=checkpoint)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path, schedule):
    whole = head()
    events = list(fit(whole, schedule=schedule))
    broken = head()
    half = fit(broken, checkpoint=tmp_path / "c", schedule=schedule)
    next(half)
    next(half)
    half.close()
    again = head(seed=0)
    torch.rand(5)
    rest = list(fit(again, checkpoint=tmp_path / "c", schedule=schedule))
    assert [(e.number, e.loss, e.valid) for e in rest] == [(e.number, e.loss, e.valid) for e in events[2:]]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    assert moved(whole.critic, weights(head().critic)), "it learned at all"


def test_rates_are_two_and_the_critics_follows_the_schedule():
    ends = {}
    for rate in (1e-4, 1e-3):
        made = head(critic_lr=rate)
        before = weights(made.critic)
        list(fit(made, epochs=1, average=0.0))
        ends[rate] = max(float((v - before[n]).abs().max()) for n, v in weights(made.critic).items())
    assert ends[1e-3] > 3 * ends[1e-4]
    (critic,) = opponents_of(head())
    assert critic.lr == 4e-4
    assert critic.betas == (0.0, 0.99)
    made = head().train()
    made.loss(tokens(), truth(made))
    before = weights(made.critic)
    Turns(made, "float32").take(0.0)
    assert not moved(made.critic, before)


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_the_same_row_is_the_same_picture_whatever_is_beside_it():
    made, numbers = head().eval(), torch.arange(10, 10 + ROWS)
    whole = made.draw(tokens(), numbers)
    for row in (0, 5):
        assert near(made.draw(tokens().select(slice(row, row + 1)), numbers[row : row + 1]), whole[row : row + 1])
    assert not near(made.draw(tokens(), numbers, copy=1), whole)
    assert not near(made.draw(tokens(), numbers, seed=4), whole)
    assert not near(made.draw(tokens(), numbers + 1), whole)
    made.number(numbers)
    assert near(made(tokens())[:, 0], whole)


@pytest.mark.parametrize("option", ["guidance", "steps", "solver"])
def test_what_a_flow_takes_is_refused(option):
    with pytest.raises(BadArgument, match=f"Unknown option '{option}' of drawing by Gan.*Allowed: seed"):
        head().eval().draw(tokens(), torch.arange(ROWS), **{option: 2.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 1}, "latent must be between 4 and 1,024"),
        ({"critic_lr": 0.0}, "critic_lr must be above 0"),
        ({"drop": 1.0}, "drop must be at least 0 and below 1"),
        ({"guidance": 2.0}, "Unknown argument 'guidance' of gan"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(BadArgument, match=message):
        head(**options)


def test_a_row_without_a_token_is_finite_and_the_same_whatever_stood_there():
    made = head()
    none = tokens().keep(torch.zeros(ROWS, dtype=torch.bool))
    odd = Tokens(torch.full_like(none.x, torch.nan), none.mask, torch.full_like(none.pooled, torch.nan))
    assert torch.equal(made.eval()(none), made(odd))
    assert made.train().loss(odd.cleared(), truth(made)).isfinite()
    assert torch.equal(made.plain.mean, torch.zeros(WIDTH)), "rows without a token teach no mean"


def test_saved_and_loaded_it_draws_the_same():
    made = head(drop=0.2)
    list(fit(made, epochs=1))
    answer = Joint(FUSIONS.build("concat", {"a": WIDTH}, WIDTH), {"y": made}).eval()
    spec = HEADS.spec(made)
    assert spec == {"name": "gan", **SMALL, "drop": 0.2}
    again = HEADS.build(spec, WIDTH, Target.from_json(made.target.to_json()))
    other = Joint(FUSIONS.build("concat", {"a": WIDTH}, WIDTH), {"y": again}).eval()
    other.load_state_dict(answer.state_dict())
    assert torch.equal(answer({"a": tokens()}).predictions["y"], other({"a": tokens()}).predictions["y"])


@pytest.mark.parametrize("size", [4, 9, 28])
def test_any_side(size):
    target = fitted("y", {"name": "picture", "size": size}, CELLS["picture"])
    made = Gan(WIDTH, target, channels=4, latent=4)
    assert made.train().loss(tokens(), torch.from_numpy(target.encode([CELLS["picture"][0]] * ROWS))).isfinite()
    assert made.eval()(tokens()).shape == (ROWS, 2, 3, size, size)
    assert sides_of(28) == [28, 14, 7]


# --- parts ------------------------------------------------------------------------------------------------------------


def test_the_critic_hears_the_condition_of_rows_that_are_told_alone():
    made = head(augment=False).eval()
    x, all_of = torch.rand(ROWS, *made.target.shape), torch.ones(ROWS, dtype=torch.bool)
    a, b = tokens().pooled, tokens().pooled.flip(0)
    assert not torch.allclose(made.critic(x, a, all_of), made.critic(x, b, all_of))
    assert torch.equal(made.critic(x, a, ~all_of), made.critic(x, b, ~all_of))


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


def test_conditions_lose_what_they_have_in_common():
    made = Standardised(3).train()
    x, there = torch.tensor([5.0, -2.0, 100.0]) + 0.1 * torch.randn(400, 3), torch.arange(400) % 4 > 0
    for some in torch.arange(400).split(50):
        found = made(x[some], there[some])
    assert torch.equal(found[~there[some]], torch.zeros(int((~there[some]).sum()), 3))
    use = made.eval()(x, there)[there]
    torch.testing.assert_close(use.mean(0), torch.zeros(3), atol=0.1, rtol=0)
    torch.testing.assert_close(use.std(0), torch.ones(3), atol=0.15, rtol=0)
    assert torch.equal(made(x[:1], there[1:2]), made(x[:9], there[1:2].expand(9))[:1]), "a row by itself"
