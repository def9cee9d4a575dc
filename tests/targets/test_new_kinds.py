"""Ordered classes, quantiles and several numbers: what each is, and each through plan, fit, predict and the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.metrics import METRICS
from polymodal.targets.base import Target, fitted
from polymodal.targets.numbers import listed_numbers

ROWS = 160
QUICK = {
    "seeds": 1, "crossfit": 2, "dim": 8, "workers": 0, "trackers": "none", "quiet": True,
    "encoder_training": {"epochs": 10}, "answer_training": {"epochs": 20},
}  # fmt: skip


def shop(seed: int = 0) -> dict[str, list]:
    """Two vectors whose sum says the answer in several forms."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(2, ROWS, 3)).astype(np.float32)
    z = left[:, 0] + right[:, 0]
    noise, apart = rng.normal(size=ROWS) * (0.1 + left[:, 1] ** 2), left[:, 0] - right[:, 0]
    stars = np.digitize(z, [-1.5, -0.5, 0.5, 1.5])
    return {
        "left": left.tolist(),
        "right": right.tolist(),
        "grade": [["poor", "fair", "good", "great", "best"][s] for s in stars],
        "price": [None if i % 19 == 0 else float(v) for i, v in enumerate(z + noise)],
        "place": [[float(a), None if i % 7 == 0 else float(b)] for i, (a, b) in enumerate(zip(z, apart))],
    }


KINDS = {
    "grade": {"kind": "ordinal", "order": ["poor", "fair", "good", "great", "best"]},
    "price": "quantiles",
    "place": "numbers",
}


@pytest.mark.parametrize("name", KINDS)
def test_a_new_kind_goes_all_the_way(name: str, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    data = {column: cells for column, cells in shop().items() if column in ("left", "right", name)}
    asked = {"target": {name: KINDS[name]}}
    resolved = pm.plan(data, schema=asked, **{k: v for k, v in QUICK.items() if k != "quiet"})
    assert f"Target: {name} ({resolved.targets[0].summary}), judged by " in resolved.text()
    inspected = pm.inspect(data, schema=asked)
    assert inspected.balance[name]["kind"] == resolved.targets[0].kind
    fusions = ["gated", "late_mean", "late_weighted", "product", "stacking", "experts", "boosted", "hybrid"]
    run = pm.fit(data, schema=asked, out=tmp_path / "run", fusion=fusions, **QUICK)
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert {*fusions, "concat", "chance", "left alone", "ensemble"} <= set(rows)
    metric = resolved.targets[0].metrics[0]
    assert {row["metric"] for row in rows.values()} == {metric}
    better = 1 if metric == "accuracy" or metric == "r2" else -1
    assert better * float(rows["concat"]["test_mean"]) > better * float(rows["chance"]["test_mean"])

    again = pm.load(tmp_path / "run")
    columns = again.predict(data)
    assert len(columns[name]) == ROWS
    assert columns == run.predict(data)
    if name != "grade":
        truth = np.array([np.array(v, float).reshape(-1) for v in data[name] if v is not None])
        low, high = (
            np.array([np.array(e).reshape(-1) for v, e in zip(data[name], columns[f"{name}_{end}"]) if v is not None])
            for end in ("low", "high")
        )
        assert 0.75 < np.mean(((low <= truth) & (truth <= high) | np.isnan(truth)).all(1)) <= 1
    evaluation = again.evaluate(data, out=tmp_path / "report")
    assert evaluation["kind"] == resolved.targets[0].kind
    assert evaluation["task"] in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert np.isfinite(list(evaluation["metrics"].values())).all()
    explained = again.explain(data, limit=3)
    assert set(explained[0]["worth"]) == {"left", "right"}
    assert (tmp_path / "run" / "report.html").exists()


def head_of(target: Target, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return HEADS.build({"name": target.head, **options}, 4, target)


def tokens(rows: int = 6) -> Tokens:
    torch.manual_seed(1)
    return Tokens.from_vector(torch.randn(rows, 4))


# --- ordered classes --------------------------------------------------------------------------------------------------


def test_the_order_is_given_or_told_from_numbers():
    words = ["low", "high", "low", "middle"]
    given = fitted("y", {"name": "ordinal", "order": ["low", "middle", "high"]}, words)
    assert given.classes == ("low", "middle", "high")
    assert given.encode(["high", None, "low"]).tolist() == [2, -1, 0]
    assert fitted("y", "ordinal", ["grade 10", "grade 2", "grade 1"]).classes == ("grade 1", "grade 2", "grade 10")
    assert fitted("y", "ordinal", [10, 9.0, "8"]).classes == ("8", "9", "10")
    with pytest.raises(BadArgument, match=r"order of 'y' cannot be told from its classes: high, low, middle\. Give it"):
        fitted("y", "ordinal", words)
    with pytest.raises(BadData, match="is 'high' in a training row, which its order lacks: low, middle"):
        fitted("y", {"name": "ordinal", "order": ["low", "middle"]}, words)
    with pytest.raises(BadArgument, match="names a class twice"):
        fitted("y", {"name": "ordinal", "order": ["low", "low"]}, words)
    with pytest.raises(BadArgument, match=r"Unknown argument 'ordr' of ordinal\. Did you mean 'order'"):
        fitted("y", {"name": "ordinal", "ordr": ["low"]}, words)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_coral_loss_is_the_sum_of_its_yes_or_no_questions(classes: int):
    target = fitted("y", "ordinal", [str(i) for i in range(classes)] * 2)
    head, truth = head_of(target).double(), torch.arange(6) % classes
    scores = head(Tokens.from_vector(tokens().pooled.double()))
    p = scores.softmax(1)
    torch.testing.assert_close(p.sum(1), torch.ones(6, dtype=p.dtype))
    above = p.flip(1).cumsum(1).flip(1)[:, 1:]
    asks = (truth[:, None] > torch.arange(classes - 1)).double()
    expected = torch.nn.functional.binary_cross_entropy(above, asks, reduction="none").sum(1).mean()
    torch.testing.assert_close(head.loss_of_scores(scores, truth).double(), expected, rtol=1e-5, atol=1e-6)
    # what CORAL says: one score, and the same distance between thresholds in every row
    odds = above.logit()
    assert (odds.diff() < 0).all()
    assert odds.diff().std(0).max() < 1e-6 if classes > 2 else True


def test_ordinal_starts_at_the_training_shares():
    target = fitted("y", "ordinal", [1] * 6 + [2] * 3 + [3])
    none = tokens(2).keep(torch.tensor([False, False]))
    np.testing.assert_allclose(target.decode(head_of(target)(none))["probability"][0], [0.6, 0.3, 0.1], atol=1e-5)
    zero = Tokens.from_vector(torch.zeros(1, 4))
    np.testing.assert_allclose(target.decode(head_of(target)(zero))["probability"][0], [0.6, 0.3, 0.1], atol=1e-3)
    assert target.row_score(torch.eye(3), torch.tensor([0, 2, 0])).tolist() == [1, 0.5, 0]


def test_an_order_is_a_list_and_what_it_lacks_is_said():
    with pytest.raises(BadArgument, match=r"order of ordinal takes a list; got 'low'"):
        fitted("y", {"name": "ordinal", "order": "low"}, ["low", "high"])
    with pytest.raises(BadData, match=r"which its order lacks: low, high. Add it to the order"):
        fitted("y", {"name": "ordinal", "order": ["low", "high"]}, ["low", "higher"])


# --- quantiles --------------------------------------------------------------------------------------------------------


def test_quantiles_rise_and_their_loss_is_the_pinball():
    target = fitted("y", "quantiles", np.random.default_rng(0).normal(5, 2, 400).tolist())
    assert target.levels == (0.05, 0.25, 0.5, 0.75, 0.95)
    head, truth = head_of(target), torch.tensor([0.3, -1.0, 2.0, 0.1, float("nan"), 0.0])
    scores = head(tokens())
    assert (scores.diff(dim=1) > 0).all()
    missed = truth[:4, None].numpy() - scores[:4].detach().numpy()
    q = np.array(target.levels)
    known = np.maximum(q * missed, (q - 1) * missed).mean(1)
    last = -scores[5].detach().numpy()
    expected = np.append(known, np.maximum(q * last, (q - 1) * last).mean()).mean()
    assert head.loss_of_scores(scores, truth).item() == pytest.approx(expected, rel=1e-5)
    none = target.decode(head(tokens(1).keep(torch.tensor([False]))))
    np.testing.assert_allclose(none["quantiles"][0], target.chance(), rtol=1e-3)
    crossed = target.decode(torch.tensor([[1.0, 0.0, 0.5, -1.0, 2.0]]))
    assert (np.diff(crossed["quantiles"]) >= 0).all()
    assert crossed["value"][0] == crossed["quantiles"][0, 2]


def test_the_interval_is_moved_until_it_holds_what_it_promises():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2000)
    target = fitted("y", {"name": "quantiles", "levels": [0.1, 0.5, 0.9]}, truth.tolist())
    encoded = target.encode(truth.tolist())
    narrow, wide = np.tile([-0.1, 0.0, 0.1], (2000, 1)), np.tile([-9.0, 0.0, 9.0], (2000, 1))
    for scores in (narrow, wide):
        radius = target.radius(scores, encoded)
        ends = target.interval(torch.from_numpy(scores), radius)
        assert np.mean((ends["low"] <= truth) & (truth <= ends["high"])) == pytest.approx(0.8, abs=0.01)
    assert target.radius(narrow, encoded) > 0 > target.radius(wide, encoded)
    assert target.radius(narrow[:3], encoded[:3]) == float("inf")


@pytest.mark.parametrize(
    "levels", [[0.5], [0.1, 0.5], [0.1, 0.4, 0.9], [0.9, 0.5, 0.1], [0.0, 0.5, 1.0], ["low", 0.5, 0.9], 0.5]
)
def test_levels_that_cannot_be_are_refused(levels):
    with pytest.raises(BadArgument, match=r"levels (rise between 0 and 1|of quantiles takes a list of numbers)"):
        fitted("y", {"name": "quantiles", "levels": levels}, [1, 2, 3])


# --- several numbers --------------------------------------------------------------------------------------------------


def test_numbers_are_read_from_lists_and_entries_may_be_missing():
    target = fitted("y", "numbers", [[1, 10], "[3, 30]", "1|", [None, 20], "word"])
    np.testing.assert_allclose(target.location, [5 / 3, 20])
    encoded = target.encode([[5 / 3, 20], None, "1|", [1, 2, 3], "word"])
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded[0], [0, 0], atol=1e-6)
    assert np.isnan(encoded[[1, 3, 4]]).all()
    assert np.isnan(encoded[2]).tolist() == [False, True]
    assert target.known(encoded).tolist() == [True, False, True, False, False]
    assert target.unseen(["1|2", [1, 2, 3], "word"]) == {"[1, 2, 3]": 1, "word": 1}
    assert target.survey(["1|2", "word", None])[1] == {1: "is 'word', but the target is a list of numbers"}
    assert listed_numbers("[1, null]").tolist()[:1] == [1]
    assert listed_numbers("[1,") is None
    head, truth = head_of(target), torch.from_numpy(encoded)
    scores = torch.zeros(5, 2)
    only = truth[~truth.isnan()]
    expected = torch.nn.functional.huber_loss(torch.zeros(3), only)
    torch.testing.assert_close(head.loss_of_scores(scores, truth), expected)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1, 2], r"no training row holds a list of them \(first value: 1\)"),
        (["a", "b"], r"no training row holds a list"),
        ([[1, 2], [1, 3]], r"Number 1 of 'y' is the same in every training row"),
    ],
)
def test_numbers_that_cannot_be_learned_are_refused(cells, message):
    with pytest.raises(BadData, match=message):
        fitted("y", "numbers", cells)


# --- files ------------------------------------------------------------------------------------------------------------


def test_targets_of_older_runs_are_read():
    old = {"name": "y", "kind": "classes", "classes": ["a", "b"], "location": 0.0, "scale": 1.0,
           "frequencies": [0.25, 0.75], "log": False}  # fmt: skip
    target = Target.from_json(old)
    assert (target.classes, target.frequencies) == (("a", "b"), (0.25, 0.75))
    old = {**old, "kind": "number", "classes": [], "frequencies": [], "location": 0.1, "scale": 0.3, "log": True}
    target = Target.from_json(old)
    assert (target.location, target.scale, target.log) == (0.1, 0.3, True)


def test_metrics_of_ordered_classes_and_of_words():
    rng = np.random.default_rng(2)
    truth, weights = rng.integers(0, 4, 50), rng.integers(0, 3, (50, 3)).astype(float)
    weights[0] += 1
    prediction = np.eye(4)[np.clip(truth + rng.integers(-1, 2, 50), 0, 3)]
    metric = METRICS.build("quadratic_kappa")
    found = metric.weighted(*metric.read(truth, prediction), weights)
    for w, value in zip(weights.T.astype(int), found):
        rows = np.repeat(np.arange(50), w)
        expected = cohen_kappa_score(truth[rows], prediction[rows].argmax(1), weights="quadratic")
        assert value == pytest.approx(expected)
    said, words = np.array(["red", "bleu", "", "x"]), np.array(["red", "blue", "green", ""])
    assert METRICS.build("exact_match")(words, said) == pytest.approx(1 / 3)
