"""Linear models of sparse rows: against scikit-learn's, with gaps, rare classes and quantiles."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as Reference

from polymodal.core.errors import BadArgument, BadData
from polymodal.learners import LEARNERS
from polymodal.learners import sparse as module
from polymodal.learners.sparse import Sparse

drawn = np.random.default_rng(0)
ROWS = sparse.random_array((240, 50), density=0.1, rng=0, dtype=np.float32, format="csr")
TRUE = drawn.normal(size=(50, 3))
SCORES = ROWS @ TRUE + 0.3 * drawn.normal(size=(240, 3)) + [0.0, 0.3, 0.6]
CLASSES = SCORES.argmax(1)


@pytest.fixture
def exact(monkeypatch):
    """Go on until nothing is gained."""
    monkeypatch.setattr(module, "SETTLED", 1e-9)
    return {"steps": 500}


@pytest.mark.parametrize("strength", [0.3, 10.0])
def test_classes_are_scikit_learn_s_logistic_regression(exact, strength):
    learner = Sparse(strength=strength, **exact).fit(ROWS, CLASSES, "classes")
    expected = LogisticRegression(C=strength, max_iter=2000, tol=1e-8).fit(ROWS, CLASSES).predict_proba(ROWS)
    np.testing.assert_allclose(learner.scores(ROWS).softmax(1).numpy(), expected, atol=2e-3)


def test_few_steps_come_close():
    learner = Sparse(strength=10.0).fit(ROWS, CLASSES, "classes")
    expected = LogisticRegression(C=10.0, max_iter=2000).fit(ROWS, CLASSES).predict_proba(ROWS)
    assert np.abs(learner.scores(ROWS).softmax(1).numpy() - expected).max() < 0.1
    assert (learner.scores(ROWS).argmax(1).numpy() == expected.argmax(1)).mean() > 0.97


def test_labels_are_logistic_regressions_of_the_rows_that_have_them(exact):
    labels = (SCORES > 0.5).astype(float)
    labels[::3, 1] = np.nan
    learner = Sparse(strength=2.0, **exact).fit(ROWS, labels, "multilabel")
    for c in range(3):
        known = ~np.isnan(labels[:, c])
        reference = LogisticRegression(C=2.0, max_iter=2000, tol=1e-8).fit(ROWS[known], labels[known, c])
        found = learner.scores(ROWS)[:, c].sigmoid().numpy()
        np.testing.assert_allclose(found, reference.predict_proba(ROWS)[:, 1], atol=2e-3)


def test_numbers_are_a_ridge_regression(exact):
    learner = Sparse(strength=4.0, **exact).fit(ROWS, SCORES[:, :2], "number")
    expected = Reference(alpha=0.25).fit(ROWS.toarray(), SCORES[:, :2]).predict(ROWS.toarray())
    np.testing.assert_allclose(learner.scores(ROWS).numpy(), expected, atol=5e-3)


def test_quantiles_hold_their_share_of_rows_not_seen():
    levels = (0.1, 0.5, 0.9)
    learner = Sparse(strength=4.0).fit(ROWS[:160], SCORES[:160, :1], "number", levels=levels)
    said = learner.scores(ROWS[160:]).numpy()
    assert said.shape == (80, 3)
    assert (np.diff(said, axis=1) >= 0).all()
    below = (SCORES[160:, :1] < said).mean(0)
    assert np.abs(below - levels).max() < 0.15


@pytest.mark.parametrize("meaning", ["classes", "multilabel", "number"])
def test_an_array_says_what_sparse_rows_say_and_facts_restore(meaning):
    target = {"classes": CLASSES, "multilabel": (SCORES > 0.5).astype(float), "number": SCORES[:, 0]}[meaning]
    learner = LEARNERS.build({"name": "sparse", "strength": 2.0}, None).fit(ROWS, target, meaning)
    dense = ROWS.toarray()
    dense[dense == 0] = np.nan
    again = Sparse(strength=2.0).fit(dense, target, meaning)
    assert torch.allclose(again.scores(torch.from_numpy(dense)), learner.scores(ROWS), atol=1e-4)
    other = Sparse(learner.facts(), strength=2.0)
    other.load_state_dict(learner.state_dict())
    assert torch.equal(other.scores(ROWS), learner.scores(ROWS))


def test_classes_and_labels_that_were_not_seen_stay_unlikely():
    some = CLASSES.copy()
    some[CLASSES == 2] = -1
    shares = Sparse().fit(ROWS, some, "classes", width=4).scores(ROWS).softmax(1)
    assert (shares[:, 2:] < 1e-3).all()
    alone = Sparse().fit(ROWS, np.where(CLASSES == 1, 1, -1), "classes", width=3).scores(ROWS)
    assert (alone.argmax(1) == 1).all()
    labels = np.stack([np.ones(240), CLASSES == 0], 1).astype(float)
    assert (Sparse().fit(ROWS, labels, "multilabel").scores(ROWS)[:, 0].sigmoid() > 0.999).all()


def test_rows_that_hold_nothing_get_the_shares_of_all():
    empty = sparse.csr_array((240, 50), dtype=np.float32)
    shares = Sparse().fit(empty, CLASSES, "classes").scores(empty).softmax(1)[0].numpy()
    np.testing.assert_allclose(shares, np.bincount(CLASSES) / 240, atol=1e-4)


def test_errors():
    with pytest.raises(BadArgument, match="strength"):
        Sparse(strength=0.0)
    with pytest.raises(BadData, match="not fitted"):
        Sparse().scores(ROWS)
    with pytest.raises(BadData, match="50 features; got 20"):
        Sparse().fit(ROWS, CLASSES, "classes").scores(ROWS[:, :20])
    with pytest.raises(BadData, match="No row carries a label"):
        Sparse().fit(ROWS, np.full(240, -1), "classes")
