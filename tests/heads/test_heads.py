"""What every head owes, run over the catalogue."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.core.registry import options, options_of
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.multilabel import MultilabelTarget
from polymodal.targets.number import NumberTarget

TARGETS = {
    "classes": ClassesTarget("t", ("a", "b", "c"), frequencies=(0.5, 0.3, 0.2)),
    "multilabel": MultilabelTarget("t", ("a", "b", "c"), frequencies=(0.5, 0.3, 0.01)),
    "number": NumberTarget("t", location=2.0, scale=3.0),
}
UNLABELLED = {
    "classes": torch.tensor([-1, -1]),
    "multilabel": torch.full((2, 3), float("nan")),
    "number": torch.full((2,), float("nan")),
}
TRUTH = {
    "classes": torch.tensor([0, 1, 2, 1]),
    "multilabel": torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]),
    "number": torch.tensor([0.3, -1.0, 2.0, 0.1]),
}
CHANGED = {  # another allowed value of every option
    "hidden": 8, "dropout": 0.5, "class_weight": "balanced", "focal": 2.0, "label_smoothing": 0.1,
    "positive_weight": "balanced", "threshold": 0.3, "huber": None,
}  # fmt: skip


def tokens(rows: int = 4, width: int = 5) -> Tokens:
    torch.manual_seed(1)
    return Tokens.from_vector(torch.randn(rows, width))


@pytest.fixture(params=sorted(TARGETS))
def kind(request):
    return request.param


def build(kind: str, **given):
    torch.manual_seed(0)
    return HEADS.build({"name": kind, **given}, 5, TARGETS[kind])


def test_every_head_is_here():
    writers = {"writer", "writer_pretrained", "writer_recurrent", "writer_unified"}
    others = {"ordinal", "quantiles", "flow", "gan", *writers}
    assert set(HEADS) == {*TARGETS, *others}, "these are tried in tests/targets and in files of their own"
    assert all(isinstance(TARGETS[name], HEADS.load(name).answers) for name in TARGETS)


def test_scores_have_the_targets_width_and_decode_has_a_value_a_row(kind):
    head = build(kind)
    scores = head(tokens())
    assert scores.shape == (4, TARGETS[kind].width)
    decoded = head.decode(scores)
    assert all(len(v) == 4 and isinstance(v, np.ndarray) for v in decoded.values())
    assert set(decoded) == ({"value"} if kind == "number" else {"label", "probability"})


@pytest.mark.parametrize("hidden", [0, 7])
def test_a_row_without_tokens_gets_the_prior_even_after_training(kind, hidden):
    head = build(kind, hidden=hidden)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    for _ in range(5):
        optimizer.zero_grad()
        head.loss_of_scores(head(tokens()), TRUTH[kind]).backward()
        optimizer.step()
    empty = tokens().keep(torch.tensor([True, False, True, False]))
    decoded = head.decode(head(empty))
    if kind == "number":
        assert decoded["value"][1] == pytest.approx(2.0)
    else:
        np.testing.assert_allclose(decoded["probability"][[1, 3]], [TARGETS[kind].frequencies] * 2, rtol=1e-5)


def test_unlabelled_rows_do_not_count(kind):
    head = build(kind)
    scores = head(tokens(6))
    both = torch.cat([TRUTH[kind], UNLABELLED[kind]])
    assert head.loss_of_scores(scores, both).item() == pytest.approx(
        head.loss_of_scores(scores[:4], TRUTH[kind]).item(), rel=1e-6
    )


def test_a_batch_without_any_label_gives_zero_and_a_gradient(kind):
    head = build(kind)
    loss = head.loss_of_scores(head(tokens(2)), UNLABELLED[kind])
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize("hidden", [0, 7])
def test_every_parameter_receives_gradient(kind, hidden):
    head = build(kind, hidden=hidden)
    head.loss_of_scores(head(tokens()), TRUTH[kind]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_overfits_four_rows(kind):
    head = build(kind, hidden=32)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = head.loss_of_scores(head(tokens()), TRUTH[kind])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_bfloat16_is_finite_and_close(kind):
    head = build(kind)
    with torch.autocast("cpu", torch.bfloat16):
        scores = head(tokens())
        loss = head.loss_of_scores(scores, TRUTH[kind])
    assert torch.isfinite(loss)
    assert loss.item() == pytest.approx(head.loss_of_scores(head(tokens()), TRUTH[kind]).item(), abs=0.05)
    assert all(len(v) == 4 for v in head.decode(scores).values())


def test_options_are_kept_and_written_back(kind):
    given = {name: CHANGED[name] for name in options(HEADS.load(kind))}
    head = build(kind, **given)
    assert options_of(head) == given
    assert HEADS.spec(head) == {"name": kind, **given}


def test_every_option_changes_something(kind):
    def behaviour(**given):
        head = build(kind, **given)
        torch.manual_seed(3)
        scores = head(tokens())
        fixed = torch.tensor([[0.5, -0.2, 3.0], [0.1, 0.2, 0.3], [1.0, 1.0, -4.0], [0.0, 0.0, 0.0]])
        fixed = fixed[:, : TARGETS[kind].width] * 3
        return scores, head.loss_of_scores(fixed, TRUTH[kind]), str(head.decode(fixed).get("label"))

    default = behaviour()
    for name in options(HEADS.load(kind)):
        changed = behaviour(**{name: CHANGED[name]})
        same = [torch.equal(default[0], changed[0]), torch.equal(default[1], changed[1]), default[2] == changed[2]]
        assert not all(same), name


def test_state_restores_the_same_scores(kind):
    head, other = build(kind, hidden=4), build(kind, hidden=4)
    with torch.no_grad():
        for p in head.parameters():
            p.add_(0.3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head(tokens()), other(tokens()))


@pytest.mark.parametrize(
    ("kind_", "given", "word"),
    [
        ("classes", {"hidden": -1}, "hidden"),
        ("classes", {"dropout": 1.0}, "dropout"),
        ("classes", {"focal": -1.0}, "focal"),
        ("classes", {"label_smoothing": 1.0}, "label_smoothing"),
        ("classes", {"class_weight": "balance"}, "'balanced'"),
        ("multilabel", {"positive_weight": 3}, "positive_weight of multilabel takes text or nothing; got 3"),
        ("multilabel", {"threshold": 1.0}, "threshold"),
        ("number", {"huber": 0.0}, "huber"),
        ("number", {"delta": 1.0}, "Unknown argument 'delta'"),
    ],
)
def test_a_bad_option_is_refused_by_name(kind_, given, word):
    with pytest.raises(BadArgument, match=word):
        build(kind_, **given)


@pytest.mark.parametrize(("name", "option"), [("classes", "class_weight"), ("multilabel", "positive_weight")])
def test_balancing_needs_frequencies(name, option):
    with pytest.raises(BadArgument, match="frequencies"):
        HEADS.build({"name": name, option: "balanced"}, 5, replace(TARGETS[name], frequencies=()))
