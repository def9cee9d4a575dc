"""Metrics of the order within groups, against plain formulas and against every order of ties."""

from itertools import permutations

import numpy as np
import pytest

from polymodal.core.errors import BadArgument
from polymodal.evaluation.statistics import bootstrap, resample
from polymodal.metrics.within import GroupAuc, HitAt, Mrr, Ndcg, RecallAt

METRICS = [Ndcg(k=3), RecallAt(k=2), HitAt(k=2), Mrr(), GroupAuc()]


def plain(metric, gains) -> float:
    """The figure of a group whose rows stand in this order."""
    gains = np.array(gains, float)
    if isinstance(metric, Ndcg):
        weight = 1 / np.log2(np.arange(2, 2 + len(gains)))
        best = np.sort(gains)[::-1]
        return (gains * weight)[: metric.k].sum() / (best * weight)[: metric.k].sum()
    if isinstance(metric, RecallAt):
        return gains[: metric.k].sum() / gains.sum()
    if isinstance(metric, HitAt):
        return float(gains[: metric.k].any())
    if isinstance(metric, Mrr):
        return 1 / (1 + int(np.argmax(gains)))
    pairs = [(a, b) for a in range(len(gains)) for b in range(len(gains)) if gains[a] > gains[b]]
    return float(np.mean([a < b for a, b in pairs]))


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_each_equals_its_formula_over_groups(metric):
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 9, 80)
    truth, scores = draw.integers(0, 2, 80), draw.random((80, 2))
    expected = []
    for group in range(9):
        rows = np.flatnonzero(groups == group)
        if len(set(truth[rows])) == 2:
            expected.append(plain(metric, truth[rows][np.argsort(-scores[rows, 1])]))
    probabilities = np.stack([1 - scores[:, 1], scores[:, 1]], 1)
    assert metric(truth, probabilities, groups) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("gains", "scores"),
    [([1, 0, 0, 1], [0.5] * 4), ([0, 1, 0, 1, 0], [0.9, 0.5, 0.5, 0.5, 0.1]), ([1, 0, 1, 0], [0.2, 0.2, 0.1, 0.1])],
)
def test_equal_scores_count_as_the_mean_of_all_their_orders(metric, gains, scores):
    gains, scores = np.array(gains, float), np.array(scores)
    orders = [order for order in permutations(range(len(gains))) if np.all(np.diff(scores[list(order)]) <= 0)]
    expected = np.mean([plain(metric, gains[list(order)]) for order in orders])
    assert metric(gains, scores, np.zeros(len(gains), int)) == pytest.approx(expected)


def test_graded_gains_and_those_below_nothing():
    ndcg = Ndcg(k=2)
    assert ndcg(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0, 3.0]), np.zeros(3, int)) == pytest.approx(
        2 / np.log2(3) / (3 + 2 / np.log2(3))
    )
    assert ndcg(np.array([1.0, -5.0]), np.array([1.0, 0.0]), np.zeros(2, int)) == 1


def test_groups_that_say_nothing_of_an_order_are_left_out():
    truth = np.array([1, 0, 1, 1, 0, 0, 1])  # the first group alone has both; the last has one row
    groups = np.array([0, 0, 1, 1, 2, 2, 3])
    right = np.eye(2)[truth]
    for metric in METRICS:
        assert metric(truth, right, groups) == 1
        assert metric(truth[:2], right[[1, 0]], groups[:2]) == metric(truth, right[[1, 0, 2, 3, 4, 5, 6]], groups)
        assert np.isnan(metric(truth[2:], right[2:], groups[2:]))


def test_rows_without_a_truth_do_not_count():
    scores = np.array([0.1, 0.9, 0.5])
    truth, groups = np.array([0.0, np.nan, 1.0]), np.zeros(3, int)
    assert GroupAuc()(truth, scores, groups) == 1
    assert resample(GroupAuc(), truth, scores[None], seed=0, groups=np.array([0, 1, 0])).point[0] == 1


def test_the_order_of_rows_changes_nothing():
    draw = np.random.default_rng(1)
    truth, scores, groups = draw.integers(0, 2, 60), draw.random(60).round(1), draw.integers(0, 8, 60)
    order = draw.permutation(60)
    for metric in METRICS:
        there = metric(truth.astype(float), scores, groups)
        assert metric(truth[order].astype(float), scores[order], groups[order]) == pytest.approx(there)


def test_intervals_are_over_groups():
    draw = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 6)
    truth = draw.integers(0, 2, 240)
    scores = truth + draw.normal(0, 1.5, 240)
    one = bootstrap(GroupAuc(), truth.astype(float), scores[None], seed=0, groups=groups)
    assert one.low < one.mean < one.high
    each = [GroupAuc()(truth[groups == g].astype(float), scores[groups == g], np.zeros(6, int)) for g in range(40)]
    error = np.nanstd(each, ddof=1) / np.sqrt(np.isfinite(each).sum())
    assert one.high - one.low == pytest.approx(2 * 2.02 * error, rel=0.15)


def test_without_groups_it_says_what_to_name():
    with pytest.raises(BadArgument, match="--rank-by"):
        Ndcg()(np.array([0.0, 1.0]), np.array([0.1, 0.2]))


@pytest.mark.parametrize("make", [Ndcg, RecallAt, HitAt])
def test_a_cut_is_a_count(make):
    with pytest.raises(BadArgument, match="k must be"):
        make(k=0)


def test_relevant_is_what_is_worth_enough():
    ratings, scores = np.array([5.0, 3.0, 4.0, 1.0]), np.array([0.1, 0.9, 0.2, 0.3])
    assert RecallAt(k=2, least=4)(ratings, scores, np.zeros(4, int)) == 0
    assert RecallAt(k=3, least=4)(ratings, scores, np.zeros(4, int)) == 0.5
    assert RecallAt(k=2, least=3)(ratings, scores, np.zeros(4, int)) == pytest.approx(1 / 3)
