"""Parity of every metric with scikit-learn or SciPy, its laws, and what it refuses."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.metrics import ALIASES, METRICS
from polymodal.metrics.base import Metric
from polymodal.metrics.build import build_metric, by_target, fits, judged, measure, metrics_of
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import NotConformant, check_metric
from polymodal.testing.metric import example_forms

FORMS = {**example_forms(), "classes": judged(ClassesTarget("y", tuple("abcde")))}


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
CASES = [
    (name, kind)
    for name in METRICS
    for kind in DATA
    if fits(METRICS.build(name), FORMS[kind])
    if not METRICS.load(name).grouped  # see test_within.py
]
REFERENCES = {
    "classes": {
        "accuracy": lambda t, p, said: sk.accuracy_score(t, said),
        "balanced_accuracy": lambda t, p, said: sk.balanced_accuracy_score(t, said),
        "f1_macro": lambda t, p, said: sk.f1_score(t, said, average="macro"),
        "f1_micro": lambda t, p, said: sk.f1_score(t, said, average="micro"),
        "f1_weighted": lambda t, p, said: sk.f1_score(t, said, average="weighted"),
        "mcc": lambda t, p, said: sk.matthews_corrcoef(t, said),
        "kappa": lambda t, p, said: sk.cohen_kappa_score(t, said),
        "quadratic_kappa": lambda t, p, said: sk.cohen_kappa_score(t, said, weights="quadratic"),
        "log_loss": lambda t, p, said: sk.log_loss(t, p, labels=range(p.shape[1])),
        "brier": lambda t, p, said: sk.brier_score_loss(t, p, labels=range(p.shape[1]), scale_by_half=False),
        "auroc": lambda t, p, said: sk.roc_auc_score(t, p, multi_class="ovr"),
        "map": lambda t, p, said: sk.average_precision_score(t, p),
        "top_k": lambda t, p, said: sk.top_k_accuracy_score(t, p, k=3, labels=range(p.shape[1])),
    },
    "multilabel": {
        "accuracy": lambda t, p, said: sk.accuracy_score(t, said),
        "f1_macro": lambda t, p, said: sk.f1_score(t, said, average="macro"),
        "f1_micro": lambda t, p, said: sk.f1_score(t, said, average="micro"),
        "f1_weighted": lambda t, p, said: sk.f1_score(t, said, average="weighted"),
        "f1_samples": lambda t, p, said: sk.f1_score(t, said, average="samples", zero_division=1),
        "auroc": lambda t, p, said: sk.roc_auc_score(t, p),
        "map": lambda t, p, said: sk.average_precision_score(t, p),
        "hamming": lambda t, p, said: sk.hamming_loss(t, said),
    },
    "number": {
        "r2": lambda t, p, said: sk.r2_score(t, p),
        "mae": lambda t, p, said: sk.mean_absolute_error(t, p),
        "median_ae": lambda t, p, said: sk.median_absolute_error(t, p),
        "rmse": lambda t, p, said: sk.root_mean_squared_error(t, p),
        "mape": lambda t, p, said: sk.mean_absolute_percentage_error(t[t != 0], p[t != 0]),
        "spearman": lambda t, p, said: stats.spearmanr(t, p).statistic,
        "pinball": lambda t, p, said: sk.mean_pinball_loss(t, p, alpha=0.5),
    },
}


def reference(name, kind, t, p):
    said = p.argmax(1) if kind == "classes" else (p >= 0.5).astype(int)
    return REFERENCES[kind][name](t, p, said)


def cost(truth, prediction):
    return float(np.abs(truth - prediction).mean())


cost.greater_is_better = False


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_metric_keeps_the_laws(name, kind):
    check_metric(name, kinds=[kind])


@pytest.mark.parametrize(
    ("name", "kind", "ties"),  # libraries break ties of top-k in different ways, so that case is tested by hand below
    [(*c, ties) for c in CASES for ties in (False, True) if c[0] != "ece" and (c[0], ties) != ("top_k", True)],
)
def test_equals_the_reference(name, kind, ties):
    truth, prediction = DATA[kind](ties=ties)
    found = METRICS.build(name)(truth, prediction)
    assert found == pytest.approx(reference(name, kind, truth, prediction), rel=1e-9)


@pytest.mark.parametrize("name", [n for n in FORMS["number"].metrics if n not in ("mape", "spearman", "rmse")])
def test_several_numbers_are_their_mean(name):
    truth, prediction = (np.stack(x, axis=1) for x in zip(*(numbers(seed=seed) for seed in range(3))))
    formula = {"r2": sk.r2_score, "mae": sk.mean_absolute_error}[name]
    assert METRICS.build(name)(truth, prediction) == pytest.approx(formula(truth, prediction), rel=1e-9)
    counts = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=3).T
    expected = [METRICS.build(name)(np.repeat(truth, c, axis=0), np.repeat(prediction, c, axis=0)) for c in counts.T]
    np.testing.assert_allclose(METRICS.build(name).weighted(truth, prediction, counts.astype(float)), expected)


def test_quantiles_are_judged_by_pinball_and_their_median_by_all_others():
    truth, prediction = numbers()
    levels = (0.1, 0.5, 0.9)
    quantiles = prediction[:, None] + np.array([-1.0, 0.0, 1.3])
    expected = np.mean([sk.mean_pinball_loss(truth, q, alpha=a) for q, a in zip(quantiles.T, levels)])
    metric = build_metric({"name": "pinball", "levels": list(levels)}, FORMS["number"])
    assert metric(truth, quantiles) == pytest.approx(expected, rel=1e-9)
    assert metric.name == "pinball(levels=[0.1, 0.5, 0.9])"
    assert METRICS.build("mae")(truth, quantiles) == METRICS.build("mae")(truth, prediction)
    with pytest.raises(BadData, match=r"3 levels, and the answer gives 1 quantile"):
        metric(truth, prediction)
    for wrong in ([1.5], ["low"], [], 0.5):
        with pytest.raises(BadArgument, match=r"pinball takes a list of (levels between 0 and 1|numbers)"):
            build_metric({"name": "pinball", "levels": wrong}, FORMS["number"])
    for wrong in (0, "two"):
        with pytest.raises(BadArgument, match=r"top_k takes (k of at least 1|a whole number); got "):
            METRICS.build({"name": "top_k", "k": wrong})


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_handful_of_rows_gives_a_value_or_nan_and_no_warning(name, kind, rows):
    metric = METRICS.build(name)
    for seed in range(5):
        truth, prediction = DATA[kind](rows=rows, seed=seed, ties=True)
        value = metric(truth, prediction)
        assert np.isnan(value) or np.isfinite(value)
        counts = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=5).T.astype(float)
        found = metric.weighted(*metric.read(truth, prediction), counts)
        expected = [metric(*(np.repeat(x, c, axis=0) for x in (truth, prediction))) for c in counts.T.astype(int)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_unlabelled_rows_do_not_count(name, kind):
    metric, (truth, prediction) = METRICS.build(name), DATA[kind]()
    spoiled = truth.copy()
    spoiled[::3] = -1 if kind == "classes" else np.nan
    keep = np.arange(len(truth)) % 3 > 0
    assert metric(spoiled, prediction) == metric(truth[keep], prediction[keep])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_labelled_row_is_nan_without_a_warning(name, kind):
    truth, prediction = DATA[kind]()
    truth = np.full_like(truth, -1 if kind == "classes" else np.nan)
    assert np.isnan(METRICS.build(name)(truth, prediction))


def every(kind, truth, prediction):
    return measure(metrics_of((), FORMS[kind]), FORMS[kind], truth, prediction)


def test_a_class_absent_from_test():
    truth, p = classes(count=4)
    keep = truth != 2
    truth, p = truth[keep], p[keep]
    found = every("classes", truth, p)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(truth, p.argmax(1), average="macro"))
    recalls = [np.mean(p[truth == c].argmax(1) == c) for c in (0, 1, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    expected = [sk.roc_auc_score(truth == c, p[:, c]) for c in (0, 1, 3)]
    assert found["auroc"] == pytest.approx(np.mean(expected))
    assert all(np.isfinite(v) for v in found.values())


def test_a_single_class_in_test():
    truth, p = np.zeros(10, dtype=np.int64), np.tile([0.7, 0.2, 0.1], (10, 1))
    found = every("classes", truth, p)
    assert found["accuracy"] == found["balanced_accuracy"] == found["f1_macro"] == 1
    assert np.isnan(found["auroc"])
    assert found["ece"] == pytest.approx(0.3)


def test_a_constant_truth():
    truth = np.full(8, 5e9 / 3)
    found = every("number", truth, truth + np.arange(8))
    assert found["r2"] == 0
    assert np.isnan(found["spearman"])
    assert METRICS.build("r2")(truth, truth) == 1
    assert METRICS.build("spearman")(np.arange(8.0), np.ones(8)) == 0


def test_r2_of_a_tight_truth_far_from_zero():
    truth, prediction = numbers()
    expected = sk.r2_score(truth, prediction)
    assert METRICS.build("r2")(truth + 1e6, prediction + 1e6) == pytest.approx(expected, rel=1e-6)


def test_mape_leaves_out_zeros():
    mape = METRICS.build("mape")
    assert mape(np.array([0.0, 2.0, -4.0]), np.array([9.0, 1.0, -3.0])) == pytest.approx((0.5 + 0.25) / 2)
    assert np.isnan(mape(np.zeros(3), np.ones(3)))


def test_a_label_that_never_occurs_is_left_out_of_the_mean():
    truth, p = labels()
    truth[:, 1] = 0
    p[:, 1] = 0.1
    keep = [0, 2, 3]
    for name in ("f1_macro", "map"):
        metric = METRICS.build(name)
        assert metric(truth, p) == pytest.approx(metric(truth[:, keep], p[:, keep]))


def test_log_loss_of_a_confident_mistake_is_finite():
    assert METRICS.build("log_loss")(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(1e-7))


def test_top3_is_left_out_where_it_says_nothing_and_nobody_asked():
    assert "top3" not in every("classes", *classes(count=3))
    assert measure(metrics_of(["top3"], FORMS["classes"]), FORMS["classes"], *classes(count=3))["top3"] == 1
    assert every("classes", *classes(count=5))["top3"] > every("classes", *classes(count=5))["accuracy"]
    top = METRICS.build("top_k")
    assert top(np.array([4, 2]), np.full((2, 5), 0.2)) == 0.5  # equal scores: the first three are 0, 1, 2
    assert (top.name, build_metric("top5", FORMS["classes"]).name) == ("top3", "top5")


@pytest.mark.parametrize("kind", sorted(DATA))
def test_all_metrics_begin_with_the_one_judged_by(kind):
    assert tuple(every(kind, *DATA[kind]())) == FORMS[kind].metrics
    last = FORMS[kind].metrics[-1]
    asked = list(measure(metrics_of([last], FORMS[kind]), FORMS[kind], *DATA[kind]()))
    assert asked == [last, *FORMS[kind].metrics[:-1]]


def test_labels_alone_are_judged_by_what_reads_labels():
    truth, p = classes()
    said = p.argmax(1)
    for name in ("accuracy", "f1_macro", "mcc", "quadratic_kappa"):
        assert METRICS.build(name)(truth, said) == pytest.approx(METRICS.build(name)(truth, p))
    with pytest.raises(BadData, match="log_loss reads probabilities, and this answer gives labels alone"):
        METRICS.build("log_loss")(truth, said)


def test_errors_say_what_to_give():
    accuracy = METRICS.build("accuracy")
    with pytest.raises(BadData, match=r"\(3, classes\); got \(3,\)"):
        accuracy(np.array([0, 1, 0]), np.zeros(3))
    with pytest.raises(BadData, match="class 2, but predictions have 2"):
        accuracy(np.array([0, 1, 2]), np.full((3, 2), 0.5))
    with pytest.raises(BadData, match="NaN or infinite"):
        METRICS.build("r2")(np.zeros(2), np.array([1.0, np.nan]))
    with pytest.raises(UnknownName, match="No metric is called 'acuracy'. Did you mean 'accuracy'"):
        build_metric("acuracy", FORMS["classes"])
    with pytest.raises(
        BadArgument, match=r"mae reads values of number; the target 'label' is classes.*Allowed: accuracy, auroc, "
    ):
        build_metric("mae", FORMS["classes"], target="label")
    with pytest.raises(BadArgument, match="Unknown argument 'n' of top_k.* Allowed: k"):
        build_metric({"name": "top_k", "n": 2}, FORMS["classes"])
    with pytest.raises(BadArgument, match="accuracy is named twice for 'y'"):
        metrics_of(["accuracy", "accuracy"], FORMS["classes"], target="y")
    with pytest.raises(BadArgument, match="needs the key 'name'"):
        build_metric({"k": 2}, FORMS["classes"])
    with pytest.raises(BadArgument, match="a Metric or a dict"):
        build_metric("builtins:int", FORMS["classes"])
    with pytest.raises(BadArgument, match="A metric is a name"):
        build_metric(3, FORMS["classes"])


@pytest.mark.parametrize("alias", ALIASES)
def test_other_names_of_the_field_are_known(alias):
    spec = ALIASES[alias]
    kind = next(k for k in FORMS if fits(METRICS.build(spec), FORMS[k]))
    assert build_metric(alias, FORMS[kind]).name == METRICS.build(spec).name


def test_metrics_are_given_for_all_targets_or_by_target():
    targets = ["price", "name"]
    assert by_target(None, targets) == {"price": [], "name": []}
    assert by_target("mae", targets) == {"price": ["mae"], "name": ["mae"]}
    assert by_target({"price": ["mae", "r2"]}, targets) == {"price": ["mae", "r2"], "name": []}
    assert by_target({"name": "accuracy"}, targets) == {"price": [], "name": ["accuracy"]}  # a target's name
    top = {"name": "top_k", "k": 2}
    assert by_target(top, targets) == {"price": [top], "name": [top]}
    assert by_target(cost, ["price"]) == {"price": [f"{__name__}:cost"]}
    with pytest.raises(UnknownName, match="metric names 'prise', which is no target. Did you mean 'price'"):
        by_target({"prise": "mae"}, targets)


# --- functions and classes of the user's own --------------------------------------------------------------------------


def test_a_function_is_a_metric_and_its_rows_are_resampled():
    truth, prediction = numbers(rows=30)
    metric = build_metric(f"{__name__}:cost", FORMS["number"])
    assert (metric.name, metric.greater_is_better, metric.guessed) == ("cost", False, False)
    assert metric(truth, prediction) == pytest.approx(METRICS.build("mae")(truth, prediction))
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=9).T.astype(float)
    expected = METRICS.build("mae").weighted(truth, prediction, counts)
    np.testing.assert_allclose(metric.weighted(truth, prediction, counts), expected)
    check_metric(cost, kinds=["number"], direct=lambda t, p: float(np.abs(t - p).mean()))


def test_a_function_reads_labels_unless_it_asks_for_more():
    seen = []

    def look(truth, prediction):
        seen.append(prediction)
        return 0.5

    build_metric(look, FORMS["classes"])(*classes())
    assert seen[-1].shape == (60,)
    build_metric({"name": look, "needs": "probabilities"}, FORMS["classes"])(*classes())
    assert seen[-1].shape == (60, 5)
    look.needs = "probabilities"
    build_metric(look, FORMS["multilabel"])(*labels())
    assert seen[-1].dtype.kind == "f"
    assert build_metric(look, FORMS["classes"]).guessed
    assert not build_metric({"name": look, "greater_is_better": False}, FORMS["classes"]).greater_is_better
    with pytest.raises(BadArgument, match="look reads values of class; this target is classes, whose"):
        build_metric({"name": look, "needs": "values"}, FORMS["classes"])
    with pytest.raises(BadArgument, match="Unknown argument 'k' of look. Allowed: greater_is_better, needs"):
        build_metric({"name": look, "k": 3}, FORMS["classes"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda t, p: float("nan"), "gives nan on 60 rows"),
        (lambda t, p: np.zeros(3), "must give one number; it gave array"),
        (lambda t, p: "good", "must give one number; it gave 'good'"),
        (lambda t, p: t["price"], r"raises IndexError: .*[^.]\. Given were truth \(60,\)"),
    ],
)
def test_a_function_that_gives_no_number_is_named(given, said):
    given.__name__ = "mine"
    with pytest.raises(BadArgument, match=f"The metric mine {said}"):
        build_metric(given, FORMS["number"])(*numbers())


@pytest.mark.parametrize("kind", sorted(DATA))
@pytest.mark.parametrize("greater", [True, False])
def test_which_way_is_better_is_seen_from_right_answers(kind, greater):
    def match(truth, prediction):
        return (1 if greater else -1) * float(np.mean(truth == prediction))

    assert build_metric(match, FORMS[kind]).direction(DATA[kind]()[0]) is greater


@pytest.mark.parametrize("kind", ["classes", "multilabel"])
def test_which_way_is_better_is_seen_of_probabilities_too(kind):
    def distance(truth, prediction):
        return float(np.abs((np.eye(5)[truth] if truth.ndim == 1 else truth) - prediction).mean())

    distance.needs = "probabilities"
    assert build_metric(distance, FORMS[kind]).direction(DATA[kind]()[0]) is False


def test_a_path_that_leads_nowhere_is_refused():
    with pytest.raises(UnknownName, match="No module 'my_metrics'"):
        build_metric("my_metrics:cost", FORMS["number"])
    with pytest.raises(UnknownName, match="has no 'kost'. Did you mean 'cost'"):
        build_metric(f"{__name__}:kost", FORMS["number"])


class Within(Metric):
    """Share of numbers that are at most `off` from the truth."""

    needs, truths, bounds = "values", ("number",), (0.0, 1.0)

    def __init__(self, *, off: float = 0.5):
        self.off = off

    def weighted(self, truth, prediction, weights):
        return (np.abs(truth - prediction) <= self.off) @ weights / weights.sum(0)


def test_a_class_is_a_metric_with_options():
    check_metric(Within, direct=lambda t, p: float(np.mean(np.abs(t - p) <= 0.5)))
    metric = build_metric({"name": f"{__name__}:Within", "off": 2.0}, FORMS["number"])
    assert (metric.name, metric.off) == ("Within(off=2.0)", 2.0)


class Unweighted(Within):
    """Forgets the weights."""

    def weighted(self, truth, prediction, weights):
        return np.full(weights.shape[1], (np.abs(truth - prediction) <= self.off).mean())


class Turned(Within):
    """Says that less is better."""

    greater_is_better = False


class Narrow(Within):
    """Says too little of its bounds."""

    bounds = (0.5, 1.0)


class Early(Within):
    """Reads the first half of the rows."""

    def weighted(self, truth, prediction, weights):
        return super().weighted(truth, prediction, weights * (np.arange(len(truth)) < len(truth) / 2)[:, None] + 1e-12)


class Spoiling(Within):
    """Changes what it reads."""

    def weighted(self, truth, prediction, weights):
        prediction -= truth
        return (np.abs(prediction) <= self.off) @ weights / weights.sum(0)


class Lucky(Within):
    """Says what a constant answer gets, and it does not."""

    chance = 0.123


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Unweighted, "a weighted row counts as a row repeated"),
        (Turned, "a perfect answer is best"),
        (Narrow, "within its bounds"),
        (Early, "the order of rows changes nothing"),
        (Spoiling, "inputs untouched"),
        (Lucky, "chance"),
    ],
)
def test_the_check_catches(broken, law):
    with pytest.raises(NotConformant) as caught:
        check_metric(broken)
    assert law in {violation.law for violation in caught.value.violations}
