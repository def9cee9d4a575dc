"""Temperatures recover what was planted, bins hold what they should, conformal intervals cover."""

import numpy as np
import pytest

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation.calibration import (
    conformal_interval,
    conformal_radius,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from polymodal.nn.calibrate import probability_of


def overconfident(rows: int, factor: float, multilabel: bool, seed: int = 0):
    """Scores `factor` times too large for the truth drawn from them."""
    rng = np.random.default_rng(seed)
    scores = 1.5 * rng.normal(size=(rows, 4))
    p = probability_of(scores, multilabel)
    if multilabel:
        truth = (rng.random(p.shape) < p).astype(np.float32)
    else:
        truth = (p.cumsum(1) < rng.random((rows, 1))).sum(1)
    return scores * factor, truth


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_temperature_recovers_the_planted_one(factor, multilabel):
    scores, truth = overconfident(4000, factor, multilabel)
    assert fit_temperature(scores, truth) == pytest.approx(factor, rel=0.08)


@pytest.mark.parametrize("multilabel", [False, True])
def test_temperature_is_at_the_lowest_loss(multilabel):
    scores, truth = overconfident(5000, 2.0, multilabel)
    best = fit_temperature(scores, truth)

    def loss(temperature):
        p = probability_of(scores / temperature, multilabel)
        likelihood = np.where(truth > 0.5, p, 1 - p) if multilabel else p[np.arange(len(truth)), truth]
        return -np.log(likelihood).mean()

    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))


@pytest.mark.parametrize("multilabel", [False, True])
def test_tempering_lowers_the_calibration_error_on_other_rows(multilabel):
    temperature = fit_temperature(*overconfident(2000, 3.0, multilabel))
    scores, truth = overconfident(8000, 3.0, multilabel, seed=1)
    before, after = (
        expected_calibration_error(probability_of(x, multilabel), truth) for x in (scores, scores / temperature)
    )
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize("multilabel", [False, True])
def test_scores_of_any_size_are_probabilities(multilabel):
    assert np.isfinite(probability_of(np.array([[1e4, -1e4]]), multilabel)).all()


def test_temperature_stays_finite_where_every_row_is_right():
    scores = 10 * np.eye(3)[np.arange(30) % 3]
    temperature = fit_temperature(scores, np.arange(30) % 3)
    assert 0.05 < temperature < 10
    assert probability_of(scores / temperature).max() < 0.99  # thirty right answers do not prove more


def test_unlabelled_rows_do_not_count():
    scores, truth = overconfident(300, 2.0, False)
    spoiled = np.concatenate([truth, [-1] * 5])
    more = np.concatenate([scores, 99 * np.eye(4)[[0, 1, 2, 3, 0]]])
    assert fit_temperature(more, spoiled) == fit_temperature(scores, truth)
    p = probability_of(more)
    assert expected_calibration_error(p, spoiled) == expected_calibration_error(p[:300], truth)
    assert fit_temperature(scores, np.full(300, -1)) == 1
    assert np.isnan(expected_calibration_error(p, np.full(305, -1)))
    assert reliability_bins(p, np.full(305, -1)) == []


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    truth = np.array([0] * 8 + [1] * 2 + [1] * 6 + [0] * 4)
    assert expected_calibration_error(p, truth, bins=2) == pytest.approx((abs(0.9 - 0.8) + abs(0.6 - 0.6)) / 2)
    assert reliability_bins(p, truth, bins=2) == [
        {"confidence": pytest.approx(0.6), "accuracy": pytest.approx(0.6), "count": 10},
        {"confidence": pytest.approx(0.9), "accuracy": pytest.approx(0.8), "count": 10},
    ]


def test_bins_have_equal_mass_and_ties_share_one():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 100)
    truth = rng.integers(0, 3, 100)
    assert [b["count"] for b in reliability_bins(p, truth, bins=10)] == [10] * 10
    constant = np.full((100, 3), 1 / 3)
    assert [b["count"] for b in reliability_bins(constant, truth, bins=10)] == [100]


def test_conformal_intervals_cover_as_promised():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        residual = rng.standard_t(2, size=60)  # heavy tails: no distribution is assumed
        radius = conformal_radius(residual[:49], np.zeros(49), 0.9)
        hits += (np.abs(residual[49:]) <= radius).mean()
    assert hits / 1000 == pytest.approx(0.9, abs=0.01)


def test_conformal_radius_is_the_right_order_statistic():
    truth = np.arange(1.0, 100.0)
    assert conformal_radius(truth, np.zeros(99), 0.95) == 95
    assert conformal_radius(truth, np.zeros(99), 0.9) == 90
    assert conformal_radius(np.append(truth, np.nan), np.zeros(100), 0.9) == 90
    assert conformal_radius(truth[:8], np.zeros(8), 0.9) == np.inf  # nine rows are the fewest that can promise 90%


def test_conformal_radius_of_logarithms_is_a_factor():
    prediction = np.array([1.0, 10.0, 100.0] * 30)
    truth = prediction * np.exp(np.random.default_rng(0).normal(size=90))
    low, high = conformal_interval(prediction, conformal_radius(truth, prediction, 0.8, log=True), log=True)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(high / prediction, prediction / low)
    low, high = conformal_interval(prediction, 2.0)
    np.testing.assert_allclose(high - low, 4.0)


def test_errors():
    with pytest.raises(BadArgument, match="coverage"):
        conformal_radius(np.ones(3), np.ones(3), 90)
    with pytest.raises(BadData, match="above 0"):
        conformal_radius(np.array([1.0, -1.0]), np.ones(2), 0.5, log=True)
    with pytest.raises(BadData, match=r"\[N, C\]"):
        fit_temperature(np.ones(3), np.ones(3, dtype=int))
