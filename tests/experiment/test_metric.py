"""What a fit is judged by: chosen, measured, told and kept by the metric that was asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.experiment.compare import compare
from polymodal.experiment.outcome import Outcome, Question, chance, valid_scores
from polymodal.metrics.build import metrics_of
from polymodal.models.strategy import Strategy
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.number import NumberTarget
from polymodal.testing.metric import example_forms

FORMS = example_forms()

QUICK = {
    "seeds": 2, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "fusion": ["gated"], "ensemble": True,
    "training": {"epochs": 25}, "quiet": True,
}  # fmt: skip
TOY = '''"""What a mistake costs."""
import numpy as np
from polymodal.metrics.base import Metric


def cost(truth, prediction):
    """A euro for what is said too low, a fifth for what is said too high."""
    off = truth - prediction
    return float(np.where(off > 0, off, -off / 5).mean())


cost.greater_is_better = False


def broken(truth, prediction):
    return {}["price"]


class Near(Metric):
    """Share of prices that are met to within `euros`."""

    needs, truths, bounds, proportion = "values", ("number",), (0.0, 1.0), True

    def __init__(self, *, euros: float = 2.0):
        self.euros = euros

    def weighted(self, truth, prediction, weights):
        return (np.abs(truth - prediction) <= self.euros) @ weights / weights.sum(0)
'''


def rows(count: int = 240, seed: int = 0) -> dict[str, list]:
    """Numbers and words, of which the price is a sum; the class is whether it is above 30."""
    rng = np.random.default_rng(seed)
    size, kind = rng.normal(20, 5, count), rng.integers(0, 2, count)
    price = size + 12 * kind + rng.normal(0, 1, count)
    words = ["nice", "old", "good", "plain", "light", "heavy", "fine", "rare"]
    told = [f"a {' '.join(rng.permutation(words)[:4])} {'bag' if k else 'shoe'} for you" for k in kind]
    return {
        "size": [f"{v:.3f}" for v in size], "title": told,
        "price": [f"{v:.3f}" for v in price], "dear": ["yes" if v > 30 else "no" for v in price],
    }  # fmt: skip


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The toy metrics as a module, and a store."""
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_metrics.py").write_text(TOY, encoding="utf-8")
    return tmp_path


def one(**dropped: str) -> dict[str, list]:
    return {name: cells for name, cells in rows().items() if name not in dropped.values()}


def test_a_function_of_ones_own_is_what_a_run_is_chosen_and_judged_by(toys):
    run = pm.fit(
        one(a="dear"), "price", out=toys / "run", metric=["toy_metrics:cost", "mae", "toy_metrics:Near"], **QUICK
    )
    board = run.leaderboard
    assert {row["metric"] for row in board} == {"cost"}
    assert list(board[0])[-6:] == [f"{name}_test{end}" for name in ("mae", "Near") for end in ("", "_low", "_high")]
    fusions = [float(row["valid"]) for row in board if row["level"] not in ("single", "chance")]
    assert fusions == sorted(fusions)  # least first
    assert all(float(r["mae_test_low"]) <= float(r["mae_test"]) <= float(r["mae_test_high"]) for r in board)
    metrics = run.metrics
    assert metrics["primary"] == "cost"
    assert list(metrics["test"])[:3] == ["cost", "mae", "Near"]
    assert {"low", "high"} <= set(metrics["test"]["mae"])
    assert "r2" in metrics["test"]
    best = min(board, key=lambda row: float(row["valid"]))
    assert run.metrics["chosen"] == best["strategy"]
    evaluation = json.loads((toys / "run" / "evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["primary"], evaluation["greater_is_better"]) == ("cost", False)
    gain = evaluation["verdict"]["against_single"]
    single = next(r for r in board if r["strategy"] == evaluation["verdict"]["against_single"]["name"])
    fusion = next(r for r in board if r["strategy"] == metrics["best_fusion"])
    assert gain["difference"] == pytest.approx(float(single["test_mean"]) - float(fusion["test_mean"]), abs=1e-4)
    assert "lower by" in evaluation["verdict"]["sentences"][0]
    assert list(evaluation["further"]) == ["mae", "Near"]
    page = run.report.read_text(encoding="utf-8")
    assert "Strategies by cost on test" in page
    assert "MAE" in page
    assert "gain on best single" in page

    again = run.evaluate(one(a="dear"), quiet=True)  # the caller made the run: its metric is run
    assert again["primary"] == "cost"
    loaded = pm.load(toys / "run")
    with pytest.raises(BadData, match="names the part 'toy_metrics:cost'.*--trust toy_metrics"):
        loaded.evaluate(one(a="dear"), quiet=True)
    assert pm.load(toys / "run", trust="toy_metrics").evaluate(one(a="dear"), quiet=True)["primary"] == "cost"
    named = loaded.evaluate(one(a="dear"), metric="toy_metrics:cost", quiet=True, out=toys / "new")
    assert named["score"] == again["score"]
    assert named["verdict"]["sentences"] == []
    assert loaded.evaluate(one(a="dear"), metric=["rmse", "mae"], quiet=True)["verdict"]["sentences"][0].startswith(
        "mae "
    )
    assert len(loaded.predict(one(a="dear"))["price"]) == 240


def test_a_metric_by_target_and_targets_share_a_scale(toys):
    table = rows()
    run = pm.fit(table, ["price", "dear"], out=toys / "run", metric={"price": "mae", "dear": ["macro_f1", "brier"]},
                 **QUICK)  # fmt: skip
    found = {row["target"]: row["metric"] for row in run.leaderboard}
    assert found == {"price": "mae", "dear": "f1_macro"}
    assert run.metrics["targets"]["dear"]["primary"] == "f1_macro"
    of = {row["target"]: row for row in run.leaderboard}
    assert of["price"]["brier_test"] is None is not of["dear"]["brier_test"]


def strategy(name: str) -> Strategy:
    single = name == "x alone"
    return Strategy("single", "late_mean", ("x",)) if single else Strategy("fusion", "concat", ("x", "y"), name)


def test_errors_in_euros_do_not_drown_a_share():
    rng = np.random.default_rng(0)
    dear, price = rng.integers(0, 2, 100), rng.normal(1000, 300, 100)
    targets = [ClassesTarget("dear", ("a", "b"), frequencies=(0.5, 0.5)), NumberTarget("price", location=1000)]
    questions = [
        Question(targets[0], dear, dear),
        Question(targets[1], price, price, metrics=metrics_of(["mae"], FORMS["number"])),
    ]

    def outcome(name: str, right: float, off: float) -> Outcome:
        wrong = rng.random(100) > right
        said = np.eye(2)[np.where(wrong, 1 - dear, dear)][None]
        answers = {"dear": said, "price": price[None] + off}
        return Outcome(strategy(name), answers, answers)

    good, bad = outcome("concat", 0.9, 60.0), outcome("x alone", 0.5, 50.0)  # ten euros are less than forty rows
    for made in (good, bad):
        share = 1 - np.abs(made.valid["price"][0] - price).mean() / np.abs(price - 1000).mean()
        right = (made.valid["dear"][0].argmax(1) == dear).mean()
        assert valid_scores(made, questions)[0] == pytest.approx((share + right) / 2)
    assert compare([good, bad, chance(questions, 1)], questions).chosen == "concat"


def test_smaller_errors_win_and_are_said_to():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 300)
    question = Question(NumberTarget("y"), truth, truth, metrics=metrics_of(["mae", "r2"], FORMS["number"]))

    def outcome(name: str, off: float) -> Outcome:
        answers = {"y": truth + np.random.default_rng(1).normal(0, off, (3, 300))}
        return Outcome(strategy(name), answers, answers)

    members = [outcome("x alone", 1.0), outcome("concat", 0.5), outcome("gated", 0.3)]
    found = compare([*members, chance([question], 3)], [question])
    assert (found.chosen, found.helped) == ("gated", True)
    assert found.headline.startswith("Fusing helped: mae 0.")
    assert "lower by +0." in found.sentences[0]
    assert "better than plain concatenation: lower by +0." in found.sentences[1]
    assert found.rows[0]["r2_test"] > 0.5


def test_a_function_itself_is_written_as_its_path(toys):
    import toy_metrics

    assert pm.plan(one(a="dear"), "price", metric=toy_metrics.cost).metrics == {"price": ["toy_metrics:cost"]}
    near = toy_metrics.Near(euros=3.0)
    assert pm.plan(one(a="dear"), "price", metric=[near]).metrics == {
        "price": [{"name": "toy_metrics:Near", "euros": 3.0}]
    }
    with pytest.raises(BadArgument, match="metric takes text or a class or a function or .*; got 3"):
        pm.plan(one(a="dear"), "price", metric=3)


def test_the_default_is_the_kind_s_own(toys):
    plan = pm.plan(one(a="dear"), "price")
    assert plan.metrics == {}
    assert "judged by r2; beside it, mae, rmse." in plan.text()
    assert "judged by mae; beside it, r2, top" not in plan.text()
    assert "judged by mae; beside it, r2." in pm.plan(one(a="dear"), "price", metric=["mae", "r2"]).text()


@pytest.mark.parametrize(
    ("metric", "error", "said"),
    [
        ("maee", UnknownName, "No metric is called 'maee'. Did you mean 'mae'"),
        ("accuracy", BadArgument, "accuracy reads labels of class or labels; the target 'price' is number"),
        ("log_loss", BadArgument, "log_loss reads probabilities"),
        ("toy_metrics:broken", BadArgument, "The metric broken raises KeyError: 'price'"),
        ("toy_metrics:nothing", UnknownName, "has no 'nothing'"),
        ({"prize": "mae"}, UnknownName, "metric names 'prize', which is no target. Did you mean 'price'"),
        ({"name": "toy_metrics:Near", "cents": 3}, BadArgument, "Unknown argument 'cents'"),
    ],
)
def test_what_cannot_be_judged_by_is_refused_before_anything_is_computed(toys, metric, error, said):
    with pytest.raises(error, match=said):
        pm.plan(one(a="dear"), "price", metric=metric)


def test_ece_can_be_shown_but_nothing_is_chosen_by_it(toys):
    with pytest.raises(BadArgument, match="dear cannot be judged by ece: it is biased on few rows"):
        pm.plan(one(a="price"), "dear", metric="ece")
    assert "judged by log_loss; beside it, ece." in pm.plan(one(a="price"), "dear", metric=["log_loss", "ece"]).text()


def test_a_function_that_does_not_say_which_way_is_better_is_judged_by_right_answers(toys, monkeypatch):
    code = "def euros(truth, prediction):\n    return abs(truth - prediction).sum()\n\n\n"
    code += "def same(truth, prediction):\n    return 1.0\n"
    (toys / "toy_silent.py").write_text(code, encoding="utf-8")
    plan = pm.plan(one(a="dear"), "price", metric="toy_silent:euros")
    assert "euros does not say which way is better; by what right answers get, less is." in plan.text()
    assert plan.metrics == {"price": [{"name": "toy_silent:euros", "greater_is_better": False}]}
    spec = {"name": "toy_silent:euros", "greater_is_better": False}
    assert "which way is better" not in pm.plan(one(a="dear"), "price", metric=spec).text()
    with pytest.raises(BadArgument, match="same gives 1 to right answers and to those of other rows alike. Say which"):
        pm.plan(one(a="dear"), "price", metric="toy_silent:same")
