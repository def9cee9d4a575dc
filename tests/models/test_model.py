"""Model: streams to scores. Joint and late answers, blends of them, and streams dropped in training."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.types import Batch, Tokens
from polymodal.models.base import Blend, Model
from polymodal.models.build import Heads, build_answer, build_encoder
from polymodal.models.strategy import Strategy
from polymodal.nn.mask_streams import drop_streams
from polymodal.targets.base import Target
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.multilabel import MultilabelTarget
from polymodal.targets.number import NumberTarget
from polymodal.targets.quantiles import QuantilesTarget

CLASSES = ClassesTarget("kind", ("a", "b", "c"), frequencies=(0.5, 0.3, 0.2))
LABELS = MultilabelTarget("tags", ("x", "y"), frequencies=(0.5, 0.3))
NUMBER = NumberTarget("price", location=3.0, scale=2.0)
LOG_PRICE = NumberTarget("price", location=1.0, scale=0.5, log=True)
WIDTHS = {"left": 6, "right": 4}
ROWS = 12


def streams(rows: int = ROWS, seed: int = 0) -> dict[str, Tokens]:
    """Two streams of three tokens; in some rows one is missing, in the last both."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for k, (name, width) in enumerate(WIDTHS.items()):
        x = torch.randn(rows, 3, width, generator=generator)
        present = torch.arange(rows) % 4 != k
        present[-1] = False
        found[name] = Tokens(x, present[:, None].expand(rows, 3).clone(), x.mean(1)).cleared()
    return found


def targets(*asked: Target, rows: int = ROWS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    made = {
        "classes": lambda t: torch.randint(0, t.width, (rows,), generator=generator),
        "multilabel": lambda t: torch.randint(0, 2, (rows, t.width), generator=generator).float(),
        "number": lambda t: torch.randn(rows, generator=generator),
    }
    return {t.name: made[t.kind](t) for t in asked}


def answer(spec, *asked: Target, family: str = "fusion", seed: int = 0):
    torch.manual_seed(seed)
    names = tuple(WIDTHS)
    return build_answer(Strategy(family, spec, names), WIDTHS, asked, 8, Heads()).eval()


# --- joint ------------------------------------------------------------------------------------------------------------


def test_a_joint_answer_scores_every_target_from_one_fused_stream():
    joint = answer("concat", CLASSES, LABELS, NUMBER)
    output = joint(streams())
    assert {name: tuple(s.shape) for name, s in output.predictions.items()} == {
        "kind": (ROWS, 3),
        "tags": (ROWS, 2),
        "price": (ROWS, 1),
    }
    assert torch.equal(output.predictions["kind"], joint.head("kind")(output.fused))
    losses = joint.losses(output, targets(CLASSES, LABELS, NUMBER))
    assert set(losses) == {"kind", "tags", "price"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in joint.fusion.parameters())


def test_a_model_goes_from_a_batch_to_losses():
    encoders = {name: build_encoder("vector_mlp", {"width": width}, width) for name, width in WIDTHS.items()}
    model = Model(encoders, answer("mean", CLASSES)).train()
    inputs = {name: {"vector": torch.randn(ROWS, w), "present": torch.ones(ROWS).bool()} for name, w in WIDTHS.items()}
    assert not model(Batch(inputs)).losses
    output = model(Batch(inputs, targets(CLASSES)))
    output.losses["kind"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {name: len(tokens) for name, tokens in output.streams.items()} == dict.fromkeys(WIDTHS, ROWS)


# --- decisions --------------------------------------------------------------------------------------------------------


def test_late_heads_learn_each_on_its_own_and_nothing_from_the_rule():
    late = answer("stacking", CLASSES, family="decision").train()
    truth = targets(CLASSES)
    losses = late.losses(late(streams()), truth)
    assert set(losses) == {"kind/left", "kind/right", "kind"}
    losses["kind"].backward(retain_graph=True)
    assert all(p.grad is None for p in late.heads.parameters())
    assert all(p.grad.abs().sum() > 0 for p in late.rules.parameters())
    late.zero_grad()
    losses["kind/left"].backward()
    assert all(p.grad is not None for p in late.heads["kind"]["left"].parameters())
    assert all(p.grad is None for p in (*late.heads["kind"]["right"].parameters(), *late.rules.parameters()))


def test_a_rule_without_parameters_adds_no_loss():
    late = answer("late_mean", CLASSES, NUMBER, family="decision")
    losses = late.losses(late(streams()), targets(CLASSES, NUMBER))
    assert set(losses) == {"kind/left", "kind/right", "price/left", "price/right"}


def test_a_late_head_learns_from_the_rows_that_have_its_stream():
    late = answer("late_mean", CLASSES, family="decision")
    given, truth = streams(), targets(CLASSES)
    there = given["left"].present
    expected = late.heads["kind"]["left"].loss_of_scores(
        late.heads["kind"]["left"](given["left"])[there], truth["kind"][there]
    )
    assert torch.equal(late.losses(late(given), truth)["kind/left"], expected)


def test_a_batch_in_which_a_stream_is_nowhere_can_be_stepped_over():
    late = answer("late_mean", CLASSES, NUMBER, family="decision").train()
    given = {name: tokens.keep(torch.zeros(ROWS).bool()) for name, tokens in streams().items()}
    losses = late.losses(late(given), targets(CLASSES, NUMBER))
    assert [float(value.detach()) for value in losses.values()] == [0.0] * 4
    sum(losses.values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in late.parameters())


def test_one_stream_alone_answers_as_its_head_does():
    torch.manual_seed(0)
    single = build_answer(Strategy("single", "late_mean", ("left",)), WIDTHS, [CLASSES], 8, Heads())
    given = streams()
    scores = single.eval()({"left": given["left"]}).predictions["kind"]
    there = given["left"].present
    own = single.head("kind")(given["left"])
    torch.testing.assert_close(scores[there].softmax(1), own[there].softmax(1))


# --- blend ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [CLASSES, LABELS, NUMBER, LOG_PRICE], ids=lambda t: t.summary)
def test_a_blend_of_one_answers_as_it_does(target):
    one = answer("concat", target)
    blended = Blend([one], [0.3]).eval()(streams()).predictions[target.name]
    found, expected = (one.head(target.name).decode(s) for s in (blended, one(streams()).predictions[target.name]))
    for name in {"probability", "value"} & set(found):
        assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("target", [CLASSES, LABELS, NUMBER, LOG_PRICE], ids=lambda t: t.summary)
def test_a_blend_is_the_weighted_mean_in_the_users_units(target):
    members = [answer("concat", target), answer("mean", target, seed=1), answer("late_mean", target, family="decision")]
    weights = [3.0, 1.0, 0.0]
    blend = Blend(members, weights).eval()
    found = blend.head(target.name).decode(blend(streams()).predictions[target.name])
    each = [m.head(target.name).decode(m(streams()).predictions[target.name]) for m in members]
    for name in {"probability", "value"} & set(found):
        assert found[name] == pytest.approx(0.75 * each[0][name] + 0.25 * each[1][name], rel=1e-4, abs=1e-6)


# --- modality dropout -------------------------------------------------------------------------------------------------


def test_never_a_rows_last_stream_is_dropped_and_none_appears():
    given = streams(400)
    for rate in (0.1, 0.5, 0.99):
        for _ in range(10):
            kept = drop_streams(given, rate)
            before = torch.stack([t.present for t in given.values()], 1)
            after = torch.stack([t.present for t in kept.values()], 1)
            assert not (after & ~before).any()
            assert torch.equal(after.any(1), before.any(1))


def test_the_rate_is_kept():
    rows, rate = 40_000, 0.2
    given = {name: Tokens.from_vector(torch.ones(rows, 2)) for name in ("a", "b", "c")}
    kept = torch.stack([t.present for t in drop_streams(given, rate).values()], 1)
    whole = rate**3  # of the rows would lose all three, and keep them
    assert float((~kept).float().mean()) == pytest.approx(rate - whole, abs=0.005)
    assert float(kept.all(1).float().mean()) == pytest.approx((1 - rate) ** 3 + whole, abs=0.01)
    together = (~kept[:, 0] & ~kept[:, 1]).float().mean()
    assert float(together) == pytest.approx(rate**2 * (1 - rate), abs=0.005)


@pytest.mark.parametrize("spec", ["concat", "gated", "cross", "unified", "tensor"])
def test_to_a_fusion_a_dropped_stream_is_a_missing_one(spec):
    fusion = answer(spec, CLASSES).fusion
    given = streams()
    torch.manual_seed(0)
    dropped = drop_streams(given, 0.5)
    missing = {name: given[name].keep(tokens.present) for name, tokens in dropped.items()}
    assert any(not torch.equal(t.present, given[name].present) for name, t in dropped.items())
    assert torch.equal(fusion(dropped).pooled, fusion(missing).pooled)


def test_without_a_rate_or_a_second_stream_nothing_is_drawn():
    given = streams()
    state = torch.get_rng_state()
    assert drop_streams(given, 0.0) == given
    assert drop_streams({"left": given["left"]}, 0.9)["left"] is given["left"]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("rule", ["late_mean", "late_weighted", "product", "stacking"])
def test_a_row_that_no_stream_has_keeps_the_width_of_its_quantiles(rule):
    asked = QuantilesTarget("price", marginal=(-1.2, 0.1, 1.5), levels=(0.1, 0.5, 0.9))
    scores = answer(rule, asked, family="decision")(streams()).predictions["price"]
    assert scores[-1].tolist() == pytest.approx([-1.2, 0.1, 1.5], abs=1e-5)
    assert scores[0].tolist() != pytest.approx([-1.2, 0.1, 1.5], abs=1e-3)
