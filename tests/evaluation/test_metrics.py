"""Parity of every metric with scikit-learn or SciPy, and of its weighted form with repeated rows."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from polymodal.core.errors import BadData, UnknownName
from polymodal.evaluation.metrics import METRICS, compute, primary


def classes(rows=60, count=5, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, count, rows)
    logits = rng.normal(size=(rows, count)) + 1.2 * np.eye(count)[truth]
    if ties:
        logits = logits.round(0)
    p = np.exp(logits)
    return truth, p / p.sum(1, keepdims=True)


def labels(rows=60, count=4, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, count)) < 0.4).astype(np.float32)
    p = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + 1.5 * truth - 1)))
    return truth, p.round(1) if ties else p


def numbers(rows=60, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 2, rows)
    prediction = truth + rng.normal(size=rows)
    return (truth.round(), prediction.round()) if ties else (truth, prediction)


DATA = {"classes": classes, "multilabel": labels, "number": numbers}
CASES = [(name, kind) for name, m in METRICS.items() for kind in m.kinds if kind in DATA]


def reference(name, kind, t, p):
    said = p.argmax(1) if kind == "classes" else (p >= 0.5).astype(int)
    if kind == "classes":
        return {
            "accuracy": lambda: sk.accuracy_score(t, said),
            "balanced_accuracy": lambda: sk.balanced_accuracy_score(t, said),
            "f1_macro": lambda: sk.f1_score(t, said, average="macro"),
            "log_loss": lambda: sk.log_loss(t, p, labels=range(p.shape[1])),
            "auroc": lambda: sk.roc_auc_score(t, p, multi_class="ovr"),
            "top3": lambda: sk.top_k_accuracy_score(t, p, k=3, labels=range(p.shape[1])),
        }[name]()
    if kind == "multilabel":
        return {
            "f1_macro": lambda: sk.f1_score(t, said, average="macro"),
            "f1_micro": lambda: sk.f1_score(t, said, average="micro"),
            "auroc": lambda: sk.roc_auc_score(t, p),
            "map": lambda: sk.average_precision_score(t, p),
            "hamming": lambda: sk.hamming_loss(t, said),
        }[name]()
    return {
        "r2": lambda: sk.r2_score(t, p),
        "mae": lambda: sk.mean_absolute_error(t, p),
        "rmse": lambda: sk.root_mean_squared_error(t, p),
        "mape": lambda: sk.mean_absolute_percentage_error(t[t != 0], p[t != 0]),
        "spearman": lambda: stats.spearmanr(t, p).statistic,
    }[name]()


@pytest.mark.parametrize(
    ("name", "kind", "ties"),  # libraries break ties of top-k in different ways, so that case is tested by hand below
    [(*c, ties) for c in CASES for ties in (False, True) if c[0] != "ece" and (c[0], ties) != ("top3", True)],
)
def test_equals_the_reference(name, kind, ties):
    truth, prediction = DATA[kind](ties=ties)
    assert METRICS[name](truth, prediction) == pytest.approx(reference(name, kind, truth, prediction), rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_weighted_equals_the_metric_on_repeated_rows(name, kind, ties):
    metric, (truth, prediction) = METRICS[name], DATA[kind](rows=23, ties=ties)
    counts = np.random.default_rng(1).multinomial(23, np.full(23, 1 / 23), size=9).T
    found = metric.weighted(truth, prediction, counts.astype(float))
    expected = [metric(np.repeat(truth, c, axis=0), np.repeat(prediction, c, axis=0)) for c in counts.T]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_handful_of_rows_gives_a_value_or_nan_and_no_warning(name, kind, rows):
    for seed in range(5):
        truth, prediction = DATA[kind](rows=rows, seed=seed, ties=True)
        value = METRICS[name](truth, prediction)
        assert np.isnan(value) or np.isfinite(value)
        counts = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=5).T.astype(float)
        found = METRICS[name].weighted(truth, prediction, counts)
        expected = [
            METRICS[name](*(np.repeat(x, c, axis=0) for x in (truth, prediction))) for c in counts.T.astype(int)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_unlabelled_rows_do_not_count(name, kind):
    truth, prediction = DATA[kind]()
    spoiled = truth.copy()
    spoiled[::3] = -1 if kind == "classes" else np.nan
    keep = np.arange(len(truth)) % 3 > 0
    assert METRICS[name](spoiled, prediction) == METRICS[name](truth[keep], prediction[keep])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_labelled_row_is_nan_without_a_warning(name, kind):
    truth, prediction = DATA[kind]()
    truth = np.full_like(truth, -1 if kind == "classes" else np.nan)
    assert np.isnan(METRICS[name](truth, prediction))


def test_a_class_absent_from_test():
    truth, p = classes(count=4)
    keep = truth != 2
    truth, p = truth[keep], p[keep]
    found = compute("classes", truth, p)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(truth, p.argmax(1), average="macro"))
    recalls = [np.mean(p[truth == c].argmax(1) == c) for c in (0, 1, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    expected = [sk.roc_auc_score(truth == c, p[:, c]) for c in (0, 1, 3)]
    assert found["auroc"] == pytest.approx(np.mean(expected))
    assert all(np.isfinite(v) for v in found.values())


def test_a_single_class_in_test():
    truth, p = np.zeros(10, dtype=np.int64), np.tile([0.7, 0.2, 0.1], (10, 1))
    found = compute("classes", truth, p)
    assert found["accuracy"] == found["balanced_accuracy"] == found["f1_macro"] == 1
    assert np.isnan(found["auroc"])
    assert found["ece"] == pytest.approx(0.3)


def test_a_constant_truth():
    truth = np.full(8, 5e9 / 3)
    found = compute("number", truth, truth + np.arange(8))
    assert found["r2"] == 0
    assert np.isnan(found["spearman"])
    assert METRICS["r2"](truth, truth) == 1
    assert METRICS["spearman"](np.arange(8.0), np.ones(8)) == 0


def test_r2_of_a_tight_truth_far_from_zero():
    truth, prediction = numbers()
    assert METRICS["r2"](truth + 1e6, prediction + 1e6) == pytest.approx(sk.r2_score(truth, prediction), rel=1e-6)


def test_mape_leaves_out_zeros():
    assert METRICS["mape"](np.array([0.0, 2.0, -4.0]), np.array([9.0, 1.0, -3.0])) == pytest.approx((0.5 + 0.25) / 2)
    assert np.isnan(METRICS["mape"](np.zeros(3), np.ones(3)))


def test_a_label_that_never_occurs_is_left_out_of_the_mean():
    truth, p = labels()
    truth[:, 1] = 0
    p[:, 1] = 0.1
    keep = [0, 2, 3]
    assert METRICS["f1_macro"](truth, p) == pytest.approx(METRICS["f1_macro"](truth[:, keep], p[:, keep]))
    assert METRICS["map"](truth, p) == pytest.approx(METRICS["map"](truth[:, keep], p[:, keep]))


def test_log_loss_of_a_confident_mistake_is_finite():
    assert METRICS["log_loss"](np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(1e-7))


def test_top3_is_left_out_where_it_says_nothing():
    assert "top3" not in compute("classes", *classes(count=3))
    assert compute("classes", *classes(count=5))["top3"] > compute("classes", *classes(count=5))["accuracy"]
    assert METRICS["top3"](np.array([4, 2]), np.full((2, 5), 0.2)) == 0.5  # equal scores: the first three are 0, 1, 2


@pytest.mark.parametrize("kind", sorted(DATA))
def test_compute_begins_with_the_primary_metric(kind):
    found = compute(kind, *DATA[kind]())
    assert next(iter(found)) == primary(kind)
    assert set(found) == {n for n, m in METRICS.items() if kind in m.kinds}


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_perfect_answers_are_best(name, kind):
    truth, prediction = DATA[kind](count=5) if kind == "classes" else DATA[kind]()
    perfect = np.eye(5)[truth] if kind == "classes" else truth.astype(float)
    best, usual = METRICS[name](truth, perfect), METRICS[name](truth, prediction)
    assert best == (1 if METRICS[name].greater_is_better else pytest.approx(0, abs=2e-7))
    assert (best > usual) == METRICS[name].greater_is_better


def test_errors_say_what_to_give():
    with pytest.raises(UnknownName, match="Did you mean 'number'"):
        primary("numbers")
    with pytest.raises(BadData, match=r"\(3, classes\); got \(3,\)"):
        METRICS["accuracy"](np.array([0, 1, 0]), np.zeros(3))
    with pytest.raises(BadData, match="class 2, but predictions have 2"):
        METRICS["accuracy"](np.array([0, 1, 2]), np.full((3, 2), 0.5))
    with pytest.raises(BadData, match="NaN or infinite"):
        METRICS["r2"](np.zeros(2), np.array([1.0, np.nan]))
