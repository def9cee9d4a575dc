"""Intervals cover, tests keep their level, and neither is fooled by small numbers."""

import numpy as np
import pytest
from scipy.special import ndtr

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation.statistics import bootstrap, caruana, compare_draws, holm, mix, paired, resample
from polymodal.metrics import METRICS

ACCURACY, R2 = METRICS.build("accuracy"), METRICS.build("r2")
SIMULATIONS, RESAMPLES = 400, 200


def answers(right: np.ndarray) -> np.ndarray:
    """Predictions [..., 2] for a truth of ones that are right where `right` says so."""
    right = np.asarray(right, dtype=float)
    return np.stack([1 - right, right], -1)


def ones(rows: int) -> np.ndarray:
    return np.ones(rows, dtype=np.int64)


def share_covering(simulate, true: float, metric=ACCURACY, groups=None) -> float:
    hits = 0
    for i in range(SIMULATIONS):
        truth, predictions = simulate(np.random.default_rng(i))
        found = bootstrap(metric, truth, predictions, seed=i, resamples=RESAMPLES, groups=groups)
        hits += found.low <= true <= found.high
    return hits / SIMULATIONS


@pytest.mark.parametrize(("rows", "true"), [(200, 0.84), (300, 0.6), (100, 0.95)])
def test_interval_of_accuracy_covers_over_rows(rows, true):
    def simulate(rng):
        return ones(rows), answers(rng.random((1, rows)) < true)

    assert 0.93 <= share_covering(simulate, true) <= 0.975


@pytest.mark.parametrize(("between", "within"), [(0.0, 0.5), (0.3, 0.3), (0.1, 1.0)])
def test_interval_of_accuracy_covers_over_rows_and_three_seeds(between, within):
    """Right where easiness of the row + luck of the seed + luck of the row under the seed > 0."""

    def simulate(rng):
        score = 1 + rng.normal(size=(1, 200)) + between * rng.normal(size=(3, 1)) + within * rng.normal(size=(3, 200))
        return ones(200), answers(score > 0)

    true = ndtr(1 / np.sqrt(1 + between**2 + within**2))
    assert 0.93 <= share_covering(simulate, true) <= 0.985


def test_interval_covers_over_groups_and_would_not_over_rows():
    def simulate(rng):
        score = 1 + np.repeat(rng.normal(size=40), 5) + 0.5 * rng.normal(size=200)
        return ones(200), answers(score > 0)[None]

    true = ndtr(1 / np.sqrt(1.25))
    assert 0.93 <= share_covering(simulate, true, groups=np.arange(200) // 5) <= 0.98
    assert share_covering(simulate, true) < 0.85


@pytest.mark.parametrize(("groups", "rows"), [(5, 15), (3, 15), (20, 5), (7, 11)])
def test_equal_groups_have_one_honest_interval(groups, rows):
    """Every group has the same share, so that resamples differ by rounding alone, or not at all."""
    group = np.arange(groups * rows) % groups
    said = answers((np.arange(groups * rows) // groups < 2)[None])
    found = bootstrap(ACCURACY, ones(groups * rows), said, seed=0, groups=group)
    alone = bootstrap(ACCURACY, ones(groups * rows), said, seed=0)
    assert found.low < found.mean - 0.02
    assert found.low <= alone.low + 0.01
    assert found.high >= alone.high - 0.01
    scattered = (np.arange(groups * rows) // groups < 2) ^ ((group == 0) & (np.arange(groups * rows) // groups == 5))
    near = bootstrap(ACCURACY, ones(groups * rows), answers(scattered[None]), seed=0, groups=group)
    assert (near.high - near.low) == pytest.approx(found.high - found.low, rel=0.5)  # one row does not change it all


def test_groups_that_are_all_right_count_once_each():
    found = bootstrap(ACCURACY, ones(50), answers(np.ones((1, 50))), seed=0, groups=np.arange(50) // 10)
    assert found.low < 0.5


def test_equal_groups_say_nothing_of_a_figure_that_is_no_share():
    group = np.arange(12) % 3
    truth, off = np.arange(12.0), np.where(np.arange(12) // 3 % 2, 1.0, -2.0)
    found = bootstrap(METRICS.build("mae"), truth, (truth + off)[None], seed=0, groups=group)
    assert found.mean == 1.5
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("rows", [9, 400])
def test_a_perfect_ranking_is_not_certainty(rows):
    auroc, truth = METRICS.build("auroc"), np.arange(rows) % 2
    perfect, constant = answers(truth[None]), np.full((1, rows, 2), 0.5)
    found = bootstrap(auroc, truth, perfect, seed=0)
    assert found.mean == found.high == 1
    assert found.low == pytest.approx(rows / (rows + 1.96**2), abs=0.1)
    assert found.low < 1
    assert vars(bootstrap(auroc, truth, constant, seed=0)) == {"mean": 0.5, "low": 0.5, "high": 0.5}  # and it is
    gain = paired(auroc, truth, perfect, constant, seed=0)
    assert 0 < gain.low < 0.5 < gain.high <= 1


@pytest.mark.parametrize(("name", "true"), [("r2", 0.51), ("mae", 0.7 * np.sqrt(2 / np.pi)), ("rmse", 0.7)])
def test_interval_of_a_numbers_metric_covers(name, true):
    def simulate(rng):
        truth = rng.normal(size=200)
        return truth, (truth + 0.7 * rng.normal(size=200))[None]

    assert 0.92 <= share_covering(simulate, true, METRICS.build(name)) <= 0.98


@pytest.mark.parametrize(("differs", "seed_luck"), [(0.1, 0.0), (0.5, 0.1)])
def test_paired_test_keeps_its_level(differs, seed_luck):
    wrong = 0
    for i in range(SIMULATIONS):
        rng = np.random.default_rng(i)
        row = 1 + rng.normal(size=(1, 200))
        a, b = (row + differs * rng.normal(size=(1, 200)) + seed_luck * rng.normal(size=(3, 1)) > 0 for _ in range(2))
        found = paired(ACCURACY, ones(200), answers(a), answers(b), seed=i, resamples=RESAMPLES)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        wrong += found.p < 0.05
    assert wrong / SIMULATIONS <= 0.065


def test_paired_test_finds_a_real_difference():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 1000)) < 0.9, rng.random((3, 1000)) < 0.85
    found = paired(ACCURACY, ones(1000), answers(a), answers(b), seed=0)
    assert found.low > 0
    assert found.p < 0.01
    assert found.difference == pytest.approx(a.mean() - b.mean())
    swapped = paired(ACCURACY, ones(1000), answers(b), answers(a), seed=0)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    assert swapped.p == pytest.approx(found.p)


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=300)
    shared = 0.5 * rng.normal(size=300)
    a, b = (truth + shared + s * rng.normal(size=300) for s in (0.05, 0.15))
    one = paired(R2, truth, a[None], b[None], seed=0)
    alone = bootstrap(R2, truth, a[None], seed=0)
    assert one.low > 0
    assert one.high - one.low < 0.5 * (alone.high - alone.low)


def test_all_right_is_not_certainty():
    found = bootstrap(ACCURACY, ones(50), answers(np.ones((3, 50))), seed=0)
    assert found.mean == found.high == 1
    assert 0.90 < found.low < 0.95  # Wilson: 50 / (50 + 1.96^2) = 0.929


def test_four_rows_in_favour_are_not_proof():
    a, b = np.ones((1, 100)), np.ones((1, 100))
    b[0, :4] = 0
    found = paired(ACCURACY, ones(100), answers(a), answers(b), seed=0)
    assert found.difference == pytest.approx(0.04)
    assert found.low < 0
    assert 0.0625 < found.p < 0.2  # McNemar's exact test says 0.125, its mid-p 0.0625


@pytest.mark.parametrize("metric", [ACCURACY, R2])
def test_equal_predictions_do_not_differ(metric):
    rng = np.random.default_rng(0)
    truth = ones(50) if metric is ACCURACY else rng.normal(size=50)
    p = answers(rng.random((3, 50)) < 0.8) if metric is ACCURACY else truth + rng.normal(size=(3, 50))
    found = paired(metric, truth, p, p, seed=0)
    assert found.difference == 0
    assert found.low <= 0 <= found.high
    assert found.p == pytest.approx(1)


def test_draws_are_the_metric_on_drawn_rows():
    rng = np.random.default_rng(0)
    truth, p = rng.normal(size=40), rng.normal(size=(2, 40))
    draws = resample(R2, truth, p, seed=3, resamples=50).draws
    assert draws.shape == (2, 50)
    picks = np.random.default_rng(3).integers(0, 40, size=(50, 40))
    np.testing.assert_allclose(draws, [[R2(truth[i], q[i]) for i in picks] for q in p])


def test_many_rows_are_drawn_in_chunks(monkeypatch):
    from polymodal.evaluation import statistics

    rng = np.random.default_rng(0)
    truth, p = ones(300), answers(rng.random((2, 300)) < 0.8)
    whole = bootstrap(ACCURACY, truth, p, seed=0)
    monkeypatch.setattr(statistics, "CELLS", 300 * 64)
    parts = bootstrap(ACCURACY, truth, p, seed=0)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.004)


def test_same_seed_same_interval_other_seed_other():
    rng = np.random.default_rng(0)
    truth, p = rng.normal(size=80), rng.normal(size=(2, 80))
    assert bootstrap(R2, truth, p, seed=1) == bootstrap(R2, truth, p, seed=1) != bootstrap(R2, truth, p, seed=2)


def test_unlabelled_rows_do_not_count():
    rng = np.random.default_rng(0)
    truth, p = ones(90), answers(rng.random((2, 90)) < 0.8)
    truth[60:] = -1
    groups = np.arange(90) // 2
    found = bootstrap(ACCURACY, truth, p, seed=0, groups=groups)
    assert found == bootstrap(ACCURACY, truth[:60], p[:, :60], seed=0, groups=groups[:60])


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_say_nothing(rows):
    found = paired(ACCURACY, ones(rows), *(answers(np.ones((2, rows))),) * 2, seed=0)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert not bootstrap(ACCURACY, ones(rows), answers(np.ones((2, rows))), seed=0).excludes(0.5)


def test_a_metric_undefined_in_some_resamples_still_has_an_interval():
    rng = np.random.default_rng(0)
    truth = np.array([1, 1] + [0] * 18)  # one resample in eight draws no row of class 1
    found = bootstrap(METRICS.build("auroc"), truth, answers(rng.random((1, 20))), seed=0)
    assert 0 <= found.low < found.mean < found.high


def test_calibration_error_has_no_interval():
    rng = np.random.default_rng(0)
    found = bootstrap(METRICS.build("ece"), ones(50), answers(rng.random((2, 50))), seed=0)
    assert found.mean > 0
    assert np.isnan(found.low)


def test_level_widens():
    rng = np.random.default_rng(0)
    draws = resample(ACCURACY, ones(100), answers(rng.random((3, 100)) < 0.8), seed=0)
    assert draws.interval(0.8).low > draws.interval(0.95).low > draws.interval(0.99).low
    with pytest.raises(BadArgument, match="above 0 and below 1"):
        draws.interval(95)


def test_mix_is_linear():
    rng = np.random.default_rng(0)
    parts = [resample(ACCURACY, ones(60), answers(rng.random((2, 60)) < q), seed=0) for q in (0.9, 0.7, 0.5)]
    mean, contrast, interaction = mix(np.array([[0.5, 0.5, 0], [1, -1, 0], [1, -2, 1]]), parts)
    np.testing.assert_allclose(mean.draws, (parts[0].draws + parts[1].draws) / 2)
    assert (mean.contrast, mean.step) == (False, 0)
    assert (contrast.contrast, contrast.step, interaction.step) == (True, 1, 2)
    assert compare_draws(parts[0], parts[1]).difference == pytest.approx(contrast.mean)


def test_shapes_and_seeds_are_checked():
    p = answers(np.ones((2, 10)))
    with pytest.raises(BadData, match=r"\[seeds, rows"):
        bootstrap(ACCURACY, ones(10), p[0], seed=0)
    with pytest.raises(BadData, match="groups"):
        bootstrap(ACCURACY, ones(10), p, seed=0, groups=np.arange(9))
    with pytest.raises(BadData, match="got 2 and 1"):
        paired(ACCURACY, ones(10), p, p[:1], seed=0)


def test_holm_is_the_textbook_example():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).max() == 1
    assert len(holm([])) == 0


def test_caruana_finds_the_complementary_pair_and_leaves_the_useless_out():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    noise = rng.normal(size=400)
    members = [truth + noise, truth - noise, rng.normal(size=400)]  # the first two cancel
    weights = caruana(members, truth, R2, rounds=10)
    np.testing.assert_allclose(weights, [0.5, 0.5, 0])
    loss = caruana(members, truth, METRICS.build("rmse"), rounds=10)
    np.testing.assert_allclose(loss, weights)  # also where smaller is better


def test_caruana_is_at_least_as_good_as_the_best_member():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    members = [rng.dirichlet(np.ones(3), 200) + q * np.eye(3)[truth] for q in (0.1, 0.2, 0.3)]
    weights = caruana(members, truth, ACCURACY)
    assert weights.sum() == pytest.approx(1)
    assert ACCURACY(truth, np.tensordot(weights, members, 1)) >= max(ACCURACY(truth, m) for m in members)
    with pytest.raises(BadArgument, match="a member"):
        caruana([], truth, ACCURACY)


def test_few_groups_do_not_widen_the_difference_of_predictions_that_hardly_differ():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 600)
    groups = np.repeat(np.arange(20), 30)
    one = np.eye(2)[np.where(rng.random(600) < 0.8, truth, 1 - truth)]
    other = one.copy()
    other[[10, 200]] = other[[10, 200], ::-1]
    found = paired(METRICS.build("accuracy"), truth, one[None], other[None], seed=0, groups=groups)
    assert found.high - found.low < 0.03
    assert found.low < found.difference < found.high


@pytest.mark.parametrize(("name", "least", "most"), [("mae", 0.0, np.inf), ("r2", -np.inf, 1.0)])
def test_an_interval_holds_no_score_that_there_cannot_be(name, least, most):
    truth = np.arange(20.0)
    seeds = truth + np.array([0.0, 8.0])[:, None] * np.random.default_rng(0).normal(size=20)
    around = bootstrap(METRICS.build(name), truth, seeds, seed=0)
    assert around.low == least or around.high == most
    better = paired(METRICS.build(name), truth, seeds[:1], seeds[1:], seed=0)
    assert np.isfinite([better.low, better.high]).all()
