"""Every learner: what it learns, what it passes over, and that tensors alone bring it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from polymodal.core.errors import BadArgument, BadData
from polymodal.learners import LEARNERS
from polymodal.learners.calibrated import calibrated
from polymodal.learners.columns import Columns
from polymodal.learners.ridge import Ridge as RidgeLearner

EVERY = [name for name in LEARNERS if not LEARNERS.entry(name).extra]  # others have tests of their own
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(240, 6)).astype(np.float32)
CLASS = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0.8)
LABELS = np.stack([X[:, 0] > 0, X[:, 1] > 0.5], 1).astype(np.float64)
NUMBER = (X[:, 0] - 0.5 * X[:, 3]).astype(np.float64)
TARGETS = {"classes": CLASS, "multilabel": LABELS, "number": NUMBER}
TRAIN, TEST = slice(0, 160), slice(160, 240)


def fitted(name: str, meaning: str, **more):
    return LEARNERS.build(name, None).fit(X[TRAIN], TARGETS[meaning][TRAIN], meaning, **more)


def said(learner, rows=TEST) -> np.ndarray:
    return learner.scores(torch.from_numpy(X[rows])).numpy()


@pytest.mark.parametrize("name", EVERY)
def test_it_learns_what_there_is(name: str):
    assert (said(fitted(name, "classes")).argmax(1) == CLASS[TEST]).mean() > 0.6  # the classes are not linear
    assert ((said(fitted(name, "multilabel")) > 0) == LABELS[TEST]).mean() > 0.8
    error = said(fitted(name, "number"))[:, 0] - NUMBER[TEST]
    assert (error**2).mean() < 0.4 * NUMBER[TEST].var()


@pytest.mark.parametrize("meaning", TARGETS)
@pytest.mark.parametrize("name", EVERY)
def test_facts_and_tensors_bring_it_back(name: str, meaning: str):
    one = fitted(name, meaning)
    again = LEARNERS.build(name, one.facts())
    again.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(said(again), said(one))


@pytest.mark.parametrize("name", EVERY)
def test_rows_without_a_label_and_gaps_in_features(name: str):
    hidden = np.concatenate([CLASS[TRAIN], np.full(40, -1)])
    more = np.concatenate([X[TRAIN], 50 + DRAW.normal(size=(40, 6)).astype(np.float32)])
    one = LEARNERS.build(name, None).fit(more, hidden, "classes")
    np.testing.assert_allclose(said(one), said(fitted(name, "classes")), atol=1e-5)
    gaps = X[TRAIN].copy()
    gaps[::3, 2:4] = np.nan
    scores = LEARNERS.build(name, None).fit(gaps, CLASS[TRAIN], "classes").scores(torch.full((3, 6), torch.nan))
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_a_class_that_no_row_has_is_very_unlikely(name: str):
    chance = torch.from_numpy(said(fitted(name, "classes", width=5))).softmax(1)[:, 3:]
    assert chance.max() < 0.02
    one = LEARNERS.build(name, None).fit(X[TRAIN], np.full(160, 1), "classes", width=3)
    assert (torch.from_numpy(said(one)).softmax(1)[:, 1] > 0.9).all()


@pytest.mark.parametrize("name", EVERY)
def test_quantiles_hold_their_share(name: str):
    one = fitted(name, "number", levels=(0.1, 0.5, 0.9))
    scores = said(one)
    assert scores.shape == (80, 3)
    inside = ((NUMBER[TEST] >= scores[:, 0]) & (NUMBER[TEST] <= scores[:, 2])).mean()
    assert 0.45 < inside <= 1.0  # trees on 160 rows are sure of themselves


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("meaning", TARGETS)
def test_odd_features_and_single_rows_do_not_stop_it(name: str, meaning: str):
    wide = DRAW.normal(size=(160, 130)).astype(np.float32)
    wide[:, :6] = X[TRAIN]
    wide[:, 7], wide[:, 8], wide[::3, 9], wide[5, 10] = np.nan, 1.0, np.nan, np.inf
    for rows, some in ((slice(0, 160), wide), (slice(0, 160), wide[:, :12]), (slice(0, 2), wide), (slice(0, 1), wide)):
        learner = LEARNERS.build(name, None).fit(some[rows], TARGETS[meaning][TRAIN][rows], meaning)
        assert learner.scores(torch.from_numpy(some)).isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_a_number_that_no_row_has_is_answered_by_its_mean(name: str):
    both = np.stack([NUMBER, np.full(240, np.nan, np.float32)], 1)
    scores = said(LEARNERS.build(name, None).fit(X[TRAIN], both[TRAIN], "number"))
    assert np.corrcoef(scores[:, 0], NUMBER[TEST])[0, 1] > 0.5
    assert np.abs(scores[:, 1]).max() < 0.05


@pytest.mark.parametrize("name", EVERY)
def test_errors_say_what_to_do(name: str):
    with pytest.raises(BadArgument, match="Did you mean 'classes'"):
        LEARNERS.build(name, None).fit(X, CLASS, "clases")
    with pytest.raises(BadData, match="No row carries a label"):
        LEARNERS.build(name, None).fit(X, np.full(240, -1), "classes")
    with pytest.raises(BadData, match="not fitted"):
        LEARNERS.build(name, None).scores(torch.zeros(2, 6))
    with pytest.raises(BadData, match="fitted to 6 features; got 3"):
        fitted(name, "classes").scores(torch.zeros(2, 3))


def test_ridge_is_scikit_learn_s_at_the_penalty_that_leaving_one_out_likes_best():
    """By brute force: every row left out, at every penalty."""
    x, y = X[:40], NUMBER[:40]
    columns = Columns.of(x)
    z = columns(torch.from_numpy(x)).numpy().astype(np.float64)
    eigen = np.linalg.eigvalsh((z - z.mean(0)).T @ (z - z.mean(0))).clip(0).mean()
    penalties = np.logspace(-4, 4, 17) * eigen
    errors = []
    for penalty in penalties:
        left = [
            Ridge(alpha=penalty).fit(np.delete(z, i, 0), np.delete(y, i)).predict(z[i : i + 1])[0] for i in range(40)
        ]
        errors.append(((np.array(left) - y) ** 2).mean())
    best = Ridge(alpha=penalties[int(np.argmin(errors))]).fit(z, y)
    one = RidgeLearner().fit(x, y, "number")
    fresh = torch.from_numpy(X[40:60])
    np.testing.assert_allclose(one.scores(fresh)[:, 0].numpy(), best.predict(columns(fresh).numpy()), atol=2e-3)


def test_ridge_of_more_features_than_rows_is_the_same_map():
    wide = DRAW.normal(size=(30, 80)).astype(np.float32)
    y = wide[:, 0].astype(np.float64)
    one = RidgeLearner().fit(wide, y, "number")
    assert np.corrcoef(one.scores(torch.from_numpy(wide))[:, 0].numpy(), y)[0, 1] > 0.9


def test_the_kernel_is_as_good_as_a_support_vector_machine():
    ring = (np.linalg.norm(X[:, :2], axis=1) > 1.2).astype(np.int64)
    one = LEARNERS.build("kernel", None).fit(X[TRAIN, :2], ring[TRAIN], "classes")
    mine = (one.scores(torch.from_numpy(X[TEST, :2])).argmax(1).numpy() == ring[TEST]).mean()
    svm = SVC().fit(X[TRAIN, :2], ring[TRAIN]).score(X[TEST, :2], ring[TEST])
    linear = LogisticRegression().fit(X[TRAIN, :2], ring[TRAIN]).score(X[TEST, :2], ring[TEST])
    assert mine >= svm - 0.05 > linear


def test_landmarks_and_widths_of_the_kernel_count():
    few = LEARNERS.build({"name": "kernel", "landmarks": 20}, None).fit(X[TRAIN], CLASS[TRAIN], "classes")
    wide = LEARNERS.build({"name": "kernel", "width": 8.0}, None).fit(X[TRAIN], CLASS[TRAIN], "classes")
    assert few.facts()["landmarks"] == 20
    assert not np.allclose(said(wide), said(fitted("kernel", "classes")))
    with pytest.raises(BadArgument, match="width must be above 0"):
        LEARNERS.build({"name": "kernel", "width": 0.0}, None)


def test_logits_of_left_out_rows_mean_what_they_say():
    left = torch.from_numpy(np.where(CLASS[:, None] == np.arange(3), 0.6, 0.2) + DRAW.normal(0, 0.3, (240, 3)))
    slope, shift = calibrated(left, torch.from_numpy(CLASS), exclusive=True)
    chance = (left * slope + shift).softmax(1).numpy()
    np.testing.assert_allclose(chance.mean(0), np.bincount(CLASS) / 240, atol=0.02)
    loss = -np.log(chance[np.arange(240), CLASS]).mean()
    for factor in (0.5, 2.0):
        other = (left * slope * factor + shift).softmax(1).numpy()
        assert loss < -np.log(other[np.arange(240), CLASS]).mean()


def test_columns_tell_what_is_missing_together_once():
    x = X[:50].copy()
    x[:10, :3] = np.nan
    x[5:20, 4] = np.nan
    columns = Columns.of(x)
    assert columns.gaps == 2
    told = columns(torch.from_numpy(x))
    assert told.shape == (50, 8)
    assert torch.equal(told[:10, :3], torch.zeros(10, 3))
    assert len(told[:, 6].unique()) == 2
    constant = Columns.of(np.full((5, 2), 3.0, np.float32))
    assert torch.equal(constant(torch.tensor([[3.0, 9.0]])), torch.zeros(1, 2))


def test_a_linear_map_found_elsewhere_stays_as_it_is():
    weight, bias = torch.randn(6, 3), torch.randn(3)
    rows = 20 * torch.randn(10, 6)
    torch.testing.assert_close(RidgeLearner.of(weight, bias).scores(rows), rows @ weight + bias, rtol=1e-4, atol=1e-3)


def test_members_of_tabm_differ_and_their_mean_answers():
    one = fitted("tabm", "number")
    x = one.columns(torch.from_numpy(X[TEST]))
    each = one._members(x)[..., 0] * one.scale + one.shift
    assert each.std(1).mean() > 1e-3
    torch.testing.assert_close(each.mean(1), torch.from_numpy(said(one)[:, 0]))
    errors = (each - torch.from_numpy(NUMBER[TEST])[:, None]).square().mean(0)
    assert ((said(one)[:, 0] - NUMBER[TEST]) ** 2).mean() <= errors.mean()
    state = torch.get_rng_state()
    again = fitted("tabm", "number")
    assert torch.equal(torch.get_rng_state(), state), "what others draw stays as it is"
    np.testing.assert_array_equal(said(again), said(one))
    small = LEARNERS.build({"name": "tabm", "members": 2, "width": 8, "depth": 1, "epochs": 2}, None)
    small.fit(X[TRAIN], NUMBER[TRAIN], "number")
    assert small._members(x).shape == (80, 2, 1)
    with pytest.raises(BadArgument, match="dropout must be"):
        LEARNERS.build({"name": "tabm", "dropout": 1.0}, None)
