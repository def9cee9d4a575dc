"""The loop learns, stops, resumes to the same bits, and refuses to go on with a broken loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.config import SCHEDULES, Training
from polymodal.core.errors import BadArgument
from polymodal.train import loop
from polymodal.train.loop import Diverged, train


def problem(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 5, generator=generator)
    y = x @ torch.randn(5, generator=generator)
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    rows, held = torch.arange(150), torch.arange(150, 200)

    def loss(batch):
        return ((module(x[batch])[:, 0] - y[batch]) ** 2).mean()

    def validate():
        return -((module(x[held])[:, 0] - y[held]) ** 2).mean().item()

    return module, loss, validate, rows


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "adagrad"])
def test_every_optimizer_learns(optimizer):
    module, loss, validate, rows = problem()
    lr = {"sgd": 0.02, "adagrad": 0.1}.get(optimizer, 0.01)
    events = list(train(module, loss, validate, rows, Training(epochs=15, batch=32, optimizer=optimizer, lr=lr)))
    assert events[-1].loss < 0.4 * events[0].loss
    assert validate() == pytest.approx(max(e.valid for e in events), rel=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_differ(schedule):
    from polymodal.train.optim import Schedule, make_optimizer

    module = nn.Linear(2, 1)
    options = Training(schedule=schedule, warmup=0.1, lr=1.0)
    optimizer = make_optimizer(module, options)
    rule = Schedule(optimizer, options, 100)
    rates = []
    for step in range(100):
        rule.before_step(step)
        rates.append(optimizer.param_groups[0]["lr"])
        if step % 10 == 9:
            rule.after_epoch(improved=step < 30)
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    last = {"cosine": 0.0, "step": 0.01, "plateau": 0.25, "constant": 1.0}[schedule]
    assert rates[-1] == pytest.approx(last, abs=1e-3)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, average):
    options = Training(epochs=6, batch=32, average=average, patience=0)
    module, loss, validate, rows = problem()
    whole = list(train(module, loss, validate, rows, options, seed=3))
    expected = {k: v.clone() for k, v in module.state_dict().items()}

    module, loss, validate, rows = problem()
    checkpoint = tmp_path / "run.checkpoint"
    half = train(module, loss, validate, rows, options, seed=3, checkpoint=checkpoint)
    for _ in range(3):
        next(half)
    half.close()
    module, loss, validate, rows = problem(seed=0)
    torch.rand(17)  # the generator is elsewhere when the run is taken up again
    rest = list(train(module, loss, validate, rows, options, seed=3, checkpoint=checkpoint))

    assert [e.number for e in rest] == [4, 5, 6]
    assert [(e.loss, e.valid) for e in rest] == [(e.loss, e.valid) for e in whole[3:]]
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_patience_stops_and_the_best_weights_stay():
    module, loss, _, rows = problem()
    scores = iter([1.0, 3.0, 2.0, 2.0, 2.0, 2.0])
    kept = []

    def validate():
        kept.append(module[0].weight.detach().clone())
        return next(scores)

    events = list(train(module, loss, validate, rows, Training(epochs=30, batch=64, patience=2)))
    assert len(events) == 4
    assert torch.equal(module[0].weight, kept[1])


@pytest.mark.parametrize(("steps", "epochs"), [(0, 7), (30, 3), (35, 3), (1, 1), (10_000, 7)])
def test_steps_bound_the_epochs(steps, epochs):
    module, loss, validate, rows = problem()
    asked = Training(epochs=7, steps=steps, patience=0)  # of ten steps each
    assert len(list(train(module, loss, validate, rows, asked))) == epochs
    with pytest.raises(BadArgument, match="steps must be at least 0; got -1"):
        Training(steps=-1)


def test_seconds_end_it_and_the_best_weights_stay(monkeypatch):
    """An epoch takes a second by this clock; the fourth would end after the three and a half that there are."""
    module, loss, _, rows = problem()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(len(weights)))
    scores = iter([-1.0, -3.0, -2.0])
    weights = []

    def judged():
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
        return next(scores)

    events = list(train(module, loss, judged, rows, Training(epochs=9, batch=32), seconds=3.5))
    assert [event.note for event in events] == ["", "", "The time limit ended it after 3 of 9 epochs."]
    assert all(torch.equal(value, weights[0][name]) for name, value in module.state_dict().items())
    monkeypatch.undo()
    for options in (Training(epochs=1), Training(epochs=9, patience=1)):
        ended = list(train(module, loss, lambda: 0.0, rows, options, seconds=0.0 if options.epochs == 1 else 1e9))
        assert not any(event.note for event in ended), "it would have ended there anyway"


def test_l1_makes_weights_smaller():
    sums = []
    for l1 in (0.0, 0.05):
        module, loss, validate, rows = problem()
        list(train(module, loss, validate, rows, Training(epochs=30, batch=32, lr=0.01, l1=l1, patience=0)))
        sums.append(sum(p.abs().sum().item() for p in module.parameters() if p.ndim > 1))
    assert sums[1] < 0.8 * sums[0]


def test_a_loss_that_is_not_finite_is_refused():
    module, _, validate, rows = problem()
    with pytest.raises(Diverged, match="Lower lr"):
        list(
            train(
                module,
                lambda batch: module(torch.full((2, 5), float("nan"))).mean(),
                validate,
                rows,
                Training(epochs=2),
            )
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamx"}, "Did you mean 'adam"),
        ({"schedule": "linear"}, "Unknown schedule 'linear'"),
        ({"precision": "fp16"}, "Unknown precision 'fp16'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"betas": [0.9]}, "betas takes a list of 2 numbers"),
        ({"betas": [0.9, 1.0]}, "betas must be at least 0 and below 1"),
        ({"modality_dropout": 1.0}, "modality_dropout must be at least 0 and below 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(BadArgument, match=message):
        Training(**options)


def test_unknown_training_option_suggests():
    with pytest.raises(BadArgument, match="Unknown training option 'epoch'. Did you mean 'epochs'?"):
        Training().with_({"epoch": 3})


def test_a_score_that_is_not_known_is_worse_than_any_other():
    module, loss, _, rows = problem()
    scores = iter([float("nan"), 1.0, float("nan"), 0.5])
    events = list(train(module, loss, lambda: next(scores), rows, Training(epochs=4, patience=0)))
    assert [e.best for e in events] == [True, True, False, False]
