"""The flow that draws pictures and sounds: guidance, noise by rows, missing conditions, what it keeps in files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.experiment.work import Work
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.heads.flow import Flow
from polymodal.models.base import Joint
from polymodal.nn.flow import even_times, guided, on_path, random_times, row_noise, walk
from polymodal.nn.layers.unet import Look
from polymodal.targets.base import Target, fitted
from polymodal.testing import example_target
from polymodal.testing.head import check_head
from polymodal.testing.target import CELLS

WIDTH, ROWS = 6, 5


DRAWN = pytest.mark.parametrize("kind", ["picture", "sound"])


def head(kind: str = "picture", **options) -> Flow:
    """A small head whose weights are far from where they begin."""
    torch.manual_seed(0)
    made = HEADS.build({"name": "flow", "channels": 8, "steps": 3, **options}, WIDTH, example_target(kind))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def tokens(rows: int = ROWS, several: int = 1) -> Tokens:
    torch.manual_seed(1)
    x = torch.randn(rows, several, WIDTH)
    return Tokens(x, torch.ones(rows, several, dtype=torch.bool), x.mean(1))


def near(a: torch.Tensor, b: torch.Tensor, levels: int = 1) -> bool:
    """Whether pictures are the same but for rounding."""
    return a.shape == b.shape and int((a.int() - b.int()).abs().max()) <= levels


LOOKS = {"attention": True, "depth": 1, "solver": "heun", "guidance": 1.0}


@pytest.mark.parametrize("options", [{}, LOOKS, {**LOOKS, "network": "dit"}])
def test_it_keeps_the_laws_of_heads(options):
    if options:  # of one token alone no query learns where to look
        made = head(**options)
        made.train().loss(tokens(several=3), torch.from_numpy(made.target.encode(CELLS["picture"][:ROWS]))).backward()
        assert all(p.grad is not None and p.grad.any() for p in made.parameters() if p is not made.nothing)
    else:
        check_head({"name": "flow", "channels": 8, "steps": 2}, example_target("picture"))


@DRAWN
def test_guidance_0_is_the_flow_without_a_condition_and_1_the_conditional_one(kind):
    made, given, numbers = head(kind), tokens(), torch.arange(ROWS)
    hidden = given.keep(torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(made.draw(given, numbers, guidance=0.0), made.draw(hidden, numbers, guidance=1.0))
    plain = made.draw(given, numbers, guidance=1.0)
    assert not torch.equal(plain, made.draw(given, numbers, guidance=0.0))
    assert near(plain, made.draw(given, numbers, guidance=1 + 1e-6))
    assert not near(plain, made.draw(given, numbers, guidance=3.0))
    assert torch.equal(made.draw(hidden, numbers, guidance=3.0), made.draw(hidden, numbers, guidance=0.0))


def test_guided_velocity_is_on_the_line_between_both():
    told_of = torch.tensor([[2.0], [5.0]])

    def field(z, t, told):
        return torch.where(told[:, None], told_of, torch.ones_like(told_of))

    z, t = torch.zeros(2, 1), torch.zeros(2)
    for w in (0, 1, 1.5, 3.0):
        torch.testing.assert_close(guided(field, w)(z, t), 1 + w * (told_of - 1))


@DRAWN
@pytest.mark.parametrize("network", ["unet", "dit"])
@pytest.mark.parametrize("attention", [False, True])
def test_the_same_seed_draws_the_same_whatever_is_beside_it(attention, network, kind):
    made, numbers = head(kind, attention=attention, network=network), torch.arange(10, 10 + ROWS)
    given = tokens(several=2)
    whole = made.draw(given, numbers)
    for row in range(ROWS):
        alone = made.draw(given.select(slice(row, row + 1)), numbers[row : row + 1])
        assert near(alone, whole[row : row + 1])
    assert near(made.draw(given.select(torch.tensor([3, 1])), numbers[[3, 1]]), whole[[3, 1]])
    assert not near(made.draw(given, numbers, seed=5), whole)
    assert not near(made.draw(given, numbers, copy=1), whole)
    assert not near(made.draw(given, numbers + 1), whole)


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_more_padding_changes_nothing(network):
    made, given = head(attention=True, network=network), tokens(several=2)
    padded = Tokens(
        torch.cat([given.x, torch.full((ROWS, 3, WIDTH), torch.nan)], 1),
        torch.cat([given.mask, torch.zeros(ROWS, 3, dtype=torch.bool)], 1), given.pooled,
    )  # fmt: skip
    assert near(made(padded)[:, 0], made(given)[:, 0])


def test_the_order_of_tokens_counts_where_they_are_attended_to():
    given, numbers = tokens(several=3), torch.arange(ROWS)
    turned = Tokens(given.x.flip(1), given.mask, given.pooled)
    assert not near(
        head("sound", attention=True).draw(turned, numbers), head("sound", attention=True).draw(given, numbers)
    )
    assert torch.equal(head("sound").draw(turned, numbers), head("sound").draw(given, numbers))


def test_an_answer_is_two_pictures_by_the_numbers_of_rows():
    made, given = head(), tokens()
    made.number(torch.arange(7, 7 + ROWS))
    answer = made(given)
    assert answer.shape == (ROWS, 2, 3, 8, 8)
    assert answer.dtype == torch.uint8
    assert torch.equal(answer[:, 1], made.draw(given, torch.arange(7, 7 + ROWS), copy=1))
    again = made(given)  # the numbers were those of the rows before
    assert torch.equal(again[:, 0], made.draw(given, torch.arange(ROWS)))
    assert made.decode(answer)["drawn"].shape == (ROWS, 2, 8, 8, 3)
    assert made(given.select(slice(0, 0))).shape == (0, 2, 3, 8, 8)


@DRAWN
def test_a_row_without_a_token_is_finite_and_the_same_whatever_stood_there(kind):
    made = head(kind, attention=True)
    none = tokens().keep(torch.zeros(ROWS, dtype=torch.bool))
    odd = Tokens(torch.full_like(none.x, torch.nan), none.mask, torch.full_like(none.pooled, torch.nan))
    assert torch.equal(made(none), made(odd))
    truth = torch.from_numpy(made.target.encode(CELLS[kind][:ROWS]))
    for training in (True, False):
        assert made.train(training).loss(odd.cleared(), truth).isfinite()


def test_loss_in_use_is_always_the_same_and_that_of_noise_without_training():
    made, given = head(), tokens(8)
    truth = torch.from_numpy(made.target.encode(CELLS["picture"][:8]))
    assert made.loss(given, truth) == made.loss(given, truth)
    made.train()
    assert made.loss(given, truth) != made.loss(given, truth)
    torch.manual_seed(0)
    fresh = Flow(WIDTH, made.target, channels=8).eval()  # whose velocity is 0
    x = made.target.fields(truth).float() / 127.5 - 1
    noise = row_noise(range(8), x.shape[1:], 0)
    torch.testing.assert_close(fresh.loss(given, truth), (noise - x).square().mean())
    assert fresh.loss(given, torch.from_numpy(made.target.encode([None] * 8))) == 0


def test_the_order_of_rows_changes_no_loss_in_use():
    given, order, numbers = tokens(8), torch.tensor([5, 2, 7, 0, 1, 6, 4, 3]), torch.arange(20, 28)
    for made in (head(), HEADS.build({"name": "gan", "channels": 8}, WIDTH, example_target("picture")).eval()):
        truth = torch.from_numpy(made.target.encode(CELLS["picture"][:ROWS]))[torch.arange(8) % ROWS]

        def loss(rows: torch.Tensor, made=made, truth=truth) -> torch.Tensor:
            made.number(numbers[rows])
            return made.loss(given.select(rows), truth[rows])

        whole = loss(torch.arange(8))
        torch.testing.assert_close(loss(order), whole)
        torch.testing.assert_close((5 * loss(order[:5]) + 3 * loss(order[5:])) / 8, whole)
        assert loss(torch.arange(8)) != made.loss(given, truth), "other rows have other noise"


def test_a_fit_tells_the_numbers_of_the_rows_that_are_judged():
    heard = []

    class Hears(Joint):
        def number(self, rows):
            heard.extend(rows.tolist())

        def judged(self, streams, targets):
            return {"y": torch.tensor(1.0)}

    work = SimpleNamespace(numbers=np.arange(600) * 3, device=torch.device("cpu"), asked=lambda rows: {})
    rows = np.arange(300)[::-1].copy()
    assert Work.minus_loss(work, Hears(FUSIONS.build("concat", {"a": WIDTH}, WIDTH), {}), lambda some: {}, rows) == -1
    assert heard == (rows * 3).tolist()


def test_saved_and_loaded_it_draws_the_same():
    made = head(channels=12, depth=1, guidance=2.0)
    fusion = FUSIONS.build("concat", {"a": WIDTH}, WIDTH)
    answer = Joint(fusion, {"y": made}).eval()
    target = Target.from_json(made.target.to_json())
    spec = HEADS.spec(made)
    assert spec == {"name": "flow", "channels": 12, "depth": 1, "guidance": 2.0, "steps": 3}
    other = Joint(FUSIONS.build("concat", {"a": WIDTH}, WIDTH), {"y": HEADS.build(spec, WIDTH, target)}).eval()
    other.load_state_dict(answer.state_dict())
    assert torch.equal(answer({"a": tokens()}).predictions["y"], other({"a": tokens()}).predictions["y"])


def test_a_joint_answer_draws_nothing_where_only_losses_are_asked_for(monkeypatch):
    made = head()
    answer = Joint(FUSIONS.build("concat", {"a": WIDTH}, WIDTH), {"y": made}).eval()
    monkeypatch.setattr(made, "draw", lambda *a, **k: pytest.fail("drew"))
    truth = {"y": torch.from_numpy(made.target.encode(CELLS["picture"][:ROWS]))}
    assert answer.judged({"a": tokens()}, truth)["y"].isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be between 1 and 1,000; got 0"),
        ({"guidance": -1.0}, "guidance must be between 0 and 100"),
        ({"solver": "eulr"}, "Unknown solver 'eulr'. Did you mean 'euler'"),
        ({"drop": 1.0}, "drop must be at least 0 and below 1"),
        ({"channels": 2}, "channels must be between 4 and 1,024"),
        ({"width": 32}, "Unknown argument 'width' of flow"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(BadArgument, match=message):
        head(**options)
    if "steps" in options:
        with pytest.raises(BadArgument, match=message):
            head().draw(tokens(), torch.arange(ROWS), **options)


@pytest.mark.parametrize(("size", "grey"), [(4, True), (7, False), (28, True)])
def test_any_side_grey_and_in_colour(size, grey):
    cells = [cell[..., 0] if grey else cell for cell in CELLS["picture"]]
    target = fitted("y", {"name": "picture", "size": size}, cells)
    torch.manual_seed(0)
    made = Flow(WIDTH, target, channels=4, steps=1, depth=3).eval()
    assert made(tokens()).shape == (ROWS, 2, 1 if grey else 3, size, size)


def test_places_of_a_field_know_where_they_are_when_they_look_at_tokens():
    torch.manual_seed(0)
    look = Look(8, WIDTH, within=False).eval()
    given = tokens(2, several=4)
    seen = look(torch.ones(2, 8, 3, 5), given.x, given.mask).detach()
    assert seen.shape == (2, 8, 3, 5)
    apart = (seen.flatten(2)[..., None] - seen.flatten(2)[..., None, :]).abs().sum(1)
    assert (apart + torch.eye(15) > 1e-5).all(), "of equal places no two see the same"
    torch.testing.assert_close(look(torch.ones(2, 8, 3, 5), given.x, given.mask & False), torch.ones(2, 8, 3, 5))


# --- the walk ---------------------------------------------------------------------------------------------------------


def test_a_straight_velocity_leads_to_the_data_in_one_step():
    x, noise = torch.randn(3, 2), torch.randn(3, 2)
    for solver in ("euler", "heun"):
        for steps in (1, 4):
            found = walk(lambda z, t: noise - x, noise, steps=steps, solver=solver)
            torch.testing.assert_close(found, x)


def test_heun_errs_less_than_euler():
    noise = torch.ones(1, 1)
    exact = noise * torch.exp(torch.tensor(-1.0))  # dz/dt = z from t = 1 to 0
    away = {s: float((walk(lambda z, t: z, noise, steps=8, solver=s) - exact).abs()) for s in ("euler", "heun")}
    assert away["heun"] < away["euler"] / 4


def test_paths_and_times():
    x, noise = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    z, velocity = on_path(x, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(z[0], x[0])
    assert torch.equal(z[1], noise[1])
    torch.testing.assert_close(velocity, noise - x)
    even, random = even_times(torch.arange(4096), x), random_times(4096, x)
    assert ((even > 0) & (even < 1)).all()
    expected = torch.tensor([-1.2816, 0, 1.2816]).sigmoid()
    torch.testing.assert_close(even.quantile(torch.tensor([0.1, 0.5, 0.9])), expected, atol=2e-3, rtol=0)
    assert (even.sort().values - random.sort().values).abs().mean() < 0.01
    assert torch.equal(even_times(torch.arange(3), x), even[:3]), "a row's time does not depend on how many there are"


def test_noise_is_that_of_a_row():
    a, b = row_noise([3, 9], (2, 4), 1), row_noise([9, 4, 3], (2, 4), 1)
    assert torch.equal(a[0], b[2])
    assert torch.equal(a[1], b[0])
    assert not torch.equal(a[0], b[1])
    assert not torch.equal(a, row_noise([3, 9], (2, 4), 2))
    assert row_noise([], (2, 4), 0).shape == (0, 2, 4)
