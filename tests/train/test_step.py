"""Objectives in training: planted imbalance, towers end to end, resuming to the same bits, rows that are compared."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.config import Training
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.core.types import Tokens
from polymodal.data import synthetic
from polymodal.models.base import Model
from polymodal.models.build import Heads, build_answer, build_encoder, build_objectives
from polymodal.models.strategy import Strategy
from polymodal.objectives import OBJECTIVES, ogm
from polymodal.objectives.contribution import confidence
from polymodal.targets.classes import ClassesTarget
from polymodal.train.loop import train
from polymodal.train.optim import make_optimizer
from polymodal.train.step import TrainingStep

LABEL = ClassesTarget("label", ("negative", "positive"), frequencies=(0.5, 0.5))
NAMES = ("strong", "weak")
QUICK = {"seeds": 2, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "quiet": True}


def planted(rows: int = 400) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The strong and the weak stream's cells, and labels."""
    columns, target = synthetic.imbalanced(rows)
    cells = {name: torch.tensor(np.array(columns[name]), dtype=torch.float32) for name in NAMES}
    return cells, torch.tensor([LABEL.classes.index(v) for v in columns[target]])


def end_to_end(objective, *, dropout: float = 0.0):
    """Encoders and a fusion from scratch, with an objective: the lesson, and a batch's streams."""
    torch.manual_seed(0)
    quiet = {"name": "vector_mlp", "dropout": dropout, "drop": dropout, "noise": 0.0}
    encoders = {name: build_encoder(quiet, {"width": 8}, 16) for name in NAMES}
    strategy = Strategy("fusion", "concat", NAMES, objective=objective)
    widths = dict.fromkeys(NAMES, 16)
    answer = build_answer(strategy, widths, [LABEL], 16, Heads())
    model, (cells, truth) = Model(encoders, answer), planted()

    def read(rows: torch.Tensor) -> dict[str, Tokens]:
        there = torch.ones(len(rows), dtype=torch.bool)
        return {n: e({"vector": cells[n][rows], "present": there}) for n, e in model.encoders.items()}

    objectives = build_objectives(strategy, widths, [LABEL], 16, Heads())
    training = TrainingStep(model, objectives, read, {"label": truth}, epochs=6)
    return training, read, truth


def test_the_strong_tower_is_slowed_by_exactly_the_formula():
    """One step end to end: the strong encoder's gradient times its coefficient, the others as they are."""
    grads, factors = {}, {}
    for objective in (None, {"name": "ogm", "alpha": 0.4, "noise": False, "on": "gradient"}):
        training, read, truth = end_to_end(objective)
        optimizer = torch.optim.SGD(training.parameters(), lr=0.3)
        for _ in range(15):  # learn greedily first, without the hook
            for batch in torch.arange(300).split(50):
                optimizer.zero_grad()
                training.loss(read(batch), {"label": truth[batch]}).backward()
                optimizer.step()
        training.zero_grad()
        batch = torch.arange(300, 400)
        training.loss(read(batch), {"label": truth[batch]}).backward()
        if objective is not None:
            factors = ogm.coefficients(confidence(training._step, [LABEL], NAMES), 0.4)
        training.after_backward()
        grads[objective is None] = {n: p.grad.clone() for n, p in training.named_parameters() if p.grad is not None}
    assert factors["strong"] < 1
    assert factors["weak"] == 1
    touched = 0
    for name, plain in grads[True].items():
        strong = "encoders.of_strong" in name
        touched += strong
        torch.testing.assert_close(grads[False][name], plain * (factors["strong"] if strong else 1.0))
    assert touched >= 4


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_on_the_update_the_optimisers_step_is_what_is_scaled(optimizer: str):
    """Adam divides a lasting factor out of the gradient; the step itself keeps it."""
    ends = {}
    for objective in (None, {"name": "ogm", "alpha": 0.4, "noise": False}):
        training, read, truth = end_to_end(objective)
        before = {n: p.detach().clone() for n, p in training.named_parameters()}
        steps = make_optimizer(training, Training(optimizer=optimizer, lr=0.01))
        batch = torch.arange(300)
        training.loss(read(batch), {"label": truth[batch]}).backward()
        if objective is not None:
            factors = ogm.coefficients(confidence(training._step, [LABEL], NAMES), 0.4)
        training.after_backward()
        steps.step()
        training.after_step()
        ends[objective is None] = {n: p.detach() - before[n] for n, p in training.named_parameters()}
    slow = min(factors, key=lambda name: factors[name])
    assert factors[slow] < 1
    for name, change in ends[True].items():
        factor = factors[slow] if f"encoders.of_{slow}." in name else 1.0
        torch.testing.assert_close(ends[False][name], change * factor, rtol=1e-3, atol=1e-7)


def test_greedy_learning_starves_the_weak_stream_and_unimodal_heads_feed_it():
    """What the fusion makes of the weak stream alone is worse than it could be; a head of its own mends that."""
    found = {}
    for objective in (None, "unimodal"):
        training, read, truth = end_to_end(objective, dropout=0.1)
        optimizer = torch.optim.SGD(training.parameters(), lr=0.1)
        for _ in range(12):
            for batch in torch.arange(300).split(50):
                optimizer.zero_grad()
                training.train()
                training.loss(read(batch), {"label": truth[batch]}).backward()
                training.after_backward()
                optimizer.step()
        with torch.no_grad():
            training.eval()
            weak = read(torch.arange(400))["weak"].pooled.numpy()
        found[objective] = _probe(weak, truth.numpy())
    assert found["unimodal"] > found[None]


def _probe(x: np.ndarray, y: np.ndarray) -> float:
    """How well a logistic regression reads the label from a tower, on rows that trained neither."""
    from sklearn.linear_model import LogisticRegression

    return float(
        LogisticRegression(max_iter=1000)
        .fit(x[:300], y[:300])
        .predict_log_proba(x[300:])[np.arange(100), y[300:]]
        .mean()
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_interrupted_training_goes_on_to_the_same_bits(name: str, tmp_path):
    spec = {"gblend": {"name": "gblend", "every": 1}}.get(name, name)

    def run(stop: int | None, out):
        training, read, truth = end_to_end([spec, "unimodal"] if name != "unimodal" else spec, dropout=0.2)
        rows = training.rows(torch.arange(200))
        events = train(
            training, lambda b: training.loss(read(b), {"label": truth[b]}), lambda: 0.0, rows,
            Training(epochs=4, patience=0, batch=64), seed=5, checkpoint=out, hooks=training,
        )  # fmt: skip
        losses = []
        for event in events:
            losses.append(event.loss)
            if event.number == stop:
                break
        return losses, training

    whole, first = run(None, tmp_path / "a")
    started, _ = run(2, tmp_path / "b")
    rest, second = run(None, tmp_path / "b")
    assert started + rest == whole
    for (key, a), b in zip(first.state_dict().items(), second.state_dict().values()):
        assert torch.equal(a, b), key


# --- a whole fit ------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))

    def fit(out="run", **options):
        columns, target = synthetic.imbalanced(300)
        given = {**QUICK, "training": {"epochs": 3}, "fusion": ["gated"], **options}
        return pm.fit(columns, target, out=tmp_path / out, **given)

    return fit


def rows_of(run) -> dict[str, dict[str, str]]:
    with open(run.folder / "leaderboard.csv", encoding="utf-8") as file:
        return {row["strategy"]: row for row in csv.DictReader(file)}


def test_all_objectives_become_rows_beside_the_same_fusion_without(quick):
    run = quick(objectives="all", objectives_on="concat")
    rows = rows_of(run)
    assert {f"concat + {name}" for name in (*OBJECTIVES, "adapters")} <= set(rows)
    assert not any(name.startswith("gated + ") for name in rows)
    assert {rows[f"concat + {n}"]["parameters"] for n in OBJECTIVES} == {rows["concat + adapters"]["parameters"]}
    balance = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))["balance"]
    assert {o["name"] for o in balance["objectives"]} == set(OBJECTIVES)
    assert balance["objectives"][0]["baseline"] == "concat + adapters"
    again = pm.load(run.folder)
    columns, _ = synthetic.imbalanced(300)
    assert len(again.predict(columns)["row"]) == 300


def test_the_best_fusion_is_chosen_by_validation_when_none_is_named(quick):
    rows = rows_of(quick(objectives=["unimodal", ["ogm", "unimodal"]]))
    (base,) = {row["fusion"] for row in rows.values() if row["objective"]}
    assert {f"{base} + {what}" for what in ("adapters", "unimodal", "ogm + unimodal")} <= set(rows)
    other = ({"gated", "concat"} - {base}).pop()
    assert float(rows[base]["valid"]) >= float(rows[other]["valid"])


def test_one_objective_trains_every_joint_fusion_beside_the_plain_ones(quick):
    rows = rows_of(quick(objective={"name": "ogm", "alpha": 0.5}, align="infonce", seeds=1))
    assert {"concat", "gated", "late_mean", "concat + infonce + ogm(alpha=0.5)"} <= set(rows)
    assert not any(name.startswith("late_mean + ") for name in rows)


def test_fine_tuning_by_objectives_and_resuming(quick):
    options = {"objectives": ["mmpareto"], "objectives_on": "concat", "finetune": True, "seeds": 1}
    run = quick(finetune_training={"epochs": 1}, **options)
    rows = rows_of(run)
    assert {"concat + adapters fine-tuned", "concat + mmpareto fine-tuned"} <= set(rows)
    before = (run.folder / "leaderboard.csv").read_text(encoding="utf-8")
    for path in (run.folder / "work").glob("*/concat_*_mmpareto*"):
        path.unlink()
    again = quick(finetune_training={"epochs": 1}, resume=True, **options)
    strip = ("fit_seconds", "predict_ms")
    keep = [{k: v for k, v in row.items() if k not in strip} for row in csv.DictReader(before.splitlines())]
    assert keep == [{k: v for k, v in row.items() if k not in strip} for row in rows_of(again).values()]


def test_the_plan_tells_what_is_compared(tmp_path):
    columns, target = synthetic.imbalanced(100)
    text = pm.plan(columns, target, objectives=["ogm", "pmr"], objectives_on="concat").text()
    assert "objectives, on concat, each with an adapter a stream: adapters, ogm, pmr" in text
    assert "concat + agm" in pm.plan(columns, target, fusion="concat", objective="agm").text()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"objective": "ogn"}, UnknownName, "No objective is called 'ogn'. Did you mean 'ogm'"),
        ({"objectives": ["ogm", "pmrr"]}, UnknownName, "Did you mean 'pmr'"),
        (
            {"objectives": "all", "objectives_on": "late_mean"},
            BadArgument,
            "names 'late_mean', which is no joint fusion",
        ),
        ({"objective": {"name": "ogm", "aplha": 1}}, BadArgument, "Did you mean 'alpha'"),
        ({"align": "infonse"}, UnknownName, "Did you mean 'infonce'"),
        ({"objectives_on": "concat"}, BadArgument, "objectives_on says where objectives are compared"),
        ({"align": {"name": "knowledge", "graph": "g.csv"}}, BadArgument, "reads the cells of rows"),
        ({"align_weight": -1}, BadArgument, "align_weight must be at least 0"),
        ({"objective": "ogm", "streams": 1}, BadArgument, "needs a fusion of several streams"),
        ({"objectives": "all", "streams": 1}, BadArgument, "needs a fusion of several streams"),
    ],
)
def test_bad_options_are_refused(options, error, words):
    columns, target = synthetic.imbalanced(100)
    if options.pop("streams", None):
        columns = {k: v for k, v in columns.items() if k != "weak"}
    with pytest.raises(error, match=words):
        pm.plan(columns, target, **options)


def test_numbers_leave_out_what_needs_classes(tmp_path):
    columns, target = synthetic.product(100, kind="number")
    plan = pm.plan(columns, target, objectives="all", objectives_on="concat")
    names = {s.name for s in plan.compared}
    assert "concat + pmr" not in names
    assert len(names) == len(OBJECTIVES)
    assert "Objectives left out, since they do not serve these targets: pmr." in plan.text()
    with pytest.raises(BadArgument, match="pmr does not serve 1 target of the kind number: it needs scores of classes"):
        pm.plan(columns, target, objective="pmr")
