"""The learner "tabicl" on tiny random checkpoints: what it keeps, what its package says, and what is missing."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadData, MissingExtra
from polymodal.learners import LEARNERS
from polymodal.learners import tabicl as module
from polymodal.learners.tabicl import TabICL

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(90, 6)).astype(np.float32)
X[::7, 2] = np.nan
TARGETS = {
    "classes": (X[:, 0] > 0).astype(np.int64) + 2 * (X[:, 1] > 0),
    "multilabel": np.stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 3] > 9], 1).astype(np.float64),
    "number": np.stack([X[:, 0] - 0.5 * X[:, 3], X[:, 4]], 1).astype(np.float64),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("tabicl")
    import tiny_context

    return tiny_context.save_tabicl(tmp_path_factory.mktemp("given") / "TabICL")


def build(model, facts=None, **options):
    return LEARNERS.build({"name": "tabicl", "model": model, "estimators": 2, **options}, facts)


def fitted(model, meaning, *, levels=(), width=None, **options):
    return build(model, **options).fit(X[:60], TARGETS[meaning][:60], meaning, levels=levels, width=width, seed=3)


def said(learner, x=X[60:]):
    return learner.scores(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("meaning", TARGETS)
def test_it_says_what_its_package_says(model, meaning):
    package = pytest.importorskip("tabicl")
    scores, truth = said(fitted(model, meaning)), TARGETS[meaning][:60]
    options = {"allow_auto_download": False, "device": "cpu", "n_estimators": 2, "random_state": 3}
    if meaning == "number":
        path = f"{model}/tabicl-regressor-v2-20260212.ckpt"
        own = [package.TabICLRegressor(model_path=path, **options).fit(X[:60], y).predict(X[60:]) for y in truth.T]
        np.testing.assert_allclose(scores, np.stack(own, 1), rtol=1e-4, atol=1e-5)
        return
    path = f"{model}/tabicl-classifier-v2-20260212.ckpt"
    if meaning == "classes":
        own = package.TabICLClassifier(model_path=path, **options).fit(X[:60], truth).predict_proba(X[60:])
        np.testing.assert_allclose(np.exp(scores), own, atol=1e-5)
        return
    for k in (0, 1):
        own = package.TabICLClassifier(model_path=path, **options).fit(X[:60], truth[:, k]).predict_proba(X[60:])
        np.testing.assert_allclose(1 / (1 + np.exp(-scores[:, k])), own[:, 1], atol=1e-5)
    assert (scores[:, 2] < -9).all(), "a label that no row has"


@pytest.mark.parametrize("meaning", TARGETS)
def test_facts_and_tensors_bring_it_back(model, meaning):
    one = fitted(model, meaning, levels=(0.1, 0.5, 0.9) if meaning == "number" else ())
    again = build(model, one.facts())
    again.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(said(again), said(one))
    np.testing.assert_array_equal(said(copy.deepcopy(one)), said(one))
    assert all(value.isfinite().all() for value in one.state_dict().values()), "a bundle holds no other weights"
    assert said(one).shape[1] == {"classes": 4, "multilabel": 3, "number": 6}[meaning]


def test_a_row_is_answered_alike_in_any_company(model):
    one = fitted(model, "classes")
    alone = np.concatenate([said(one, X[i : i + 1]) for i in range(60, 90)])
    np.testing.assert_allclose(alone, said(one), atol=1e-5)


def test_rows_without_a_label_are_passed_over(model):
    hidden = np.concatenate([TARGETS["classes"][:60], np.full(10, -1)])
    one = build(model).fit(np.concatenate([X[:60], 50 + X[60:70]]), hidden, "classes", seed=3)
    np.testing.assert_array_equal(said(one), said(fitted(model, "classes")))
    both = np.stack([TARGETS["number"][:60, 0], np.full(60, np.nan)], 1)
    assert np.abs(said(build(model).fit(X[:60], both, "number"))[:, 1]).max() == 0


@pytest.mark.parametrize("meaning", TARGETS)
def test_odd_features_and_single_rows_do_not_stop_it(model, meaning):
    wide = DRAW.normal(size=(60, 130)).astype(np.float32)
    wide[:, :6] = X[:60]
    wide[:, 7], wide[:, 8], wide[::3, 9], wide[5, 10] = np.nan, 1.0, np.nan, np.inf
    for rows, some in ((60, wide), (60, wide[:, 7:9]), (2, wide), (1, wide)):
        learner = build(model).fit(some[:rows], TARGETS[meaning][:rows], meaning)
        assert np.isfinite(said(learner, some)).all()
    odd = np.stack([np.full(6, v, np.float32) for v in (np.nan, np.inf, 1e30)])
    assert np.isfinite(said(fitted(model, meaning), odd)).all()


def test_classes_that_no_row_has_and_more_of_them_than_places(model):
    chance = np.exp(said(fitted(model, "classes", width=6)))
    assert chance[:, 4:].max() < 1e-3
    many = build(model).fit(X[:60], np.arange(60) % 14, "classes")
    np.testing.assert_allclose(np.exp(said(many)).sum(1), 1, atol=1e-3)
    nothing = build(model).fit(np.ones((4, 2), np.float32), np.array([0, 0, 0, 1]), "classes")
    np.testing.assert_allclose(np.exp(said(nothing, np.ones((1, 2), np.float32))), [[0.75, 0.25]], atol=1e-6)


def test_rows_and_features_are_bounded(model):
    one = fitted(model, "classes", rows=20, most=2)
    assert one.table.shape == (20, 2)
    assert {0, 1} == set(one.read.tolist()), "those that tell of the classes"
    assert len({tuple(row) for row in one.table.tolist()}) == 20
    assert np.isfinite(said(one)).all()


def test_a_process_keeps_few_networks(model):
    learners = [fitted(model, "classes") for _ in range(module.LIVE + 2)]
    first = [said(one) for one in learners]
    assert len(TabICL._live) == module.LIVE
    for one, before in zip(learners, first):
        np.testing.assert_array_equal(said(one), before)


def test_the_newest_checkpoint_is_opened_and_no_other_later(model, tmp_path, monkeypatch):
    shutil.copytree(model, tmp_path / "TabICL")
    old = tmp_path / "TabICL" / "tabicl-classifier-v1.1-20250506.ckpt"
    old.write_bytes(b"not opened")
    one = fitted(str(tmp_path / "TabICL"), "classes")
    before = said(one)
    (tmp_path / "shelf").mkdir()
    shutil.move(tmp_path / "TabICL", tmp_path / "shelf")
    monkeypatch.setenv("POLYMODAL_MODELS", str(tmp_path / "shelf"))
    again = build(str(tmp_path / "TabICL"), one.facts())
    again.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(said(again), before)
    again.load_state_dict(one.state_dict())  # closes it
    import tiny_context

    tiny_context.save_tabicl(tmp_path / "shelf" / "TabICL", seed=1)
    with pytest.raises(BadData, match="another checkpoint than this learner was fitted with"):
        said(again)


def test_errors_say_what_to_do(model, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for folder in ("", str(tmp_path / "empty"), str(tmp_path / "nowhere")):
        with pytest.raises(BadArgument, match=r"needs a tabicl-classifier-\*\.ckpt .* hf download jingang/TabICL"):
            fitted(folder, "classes")
    with pytest.raises(BadData, match="not fitted"):
        said(build(model))
    with pytest.raises(BadData, match="fitted to 6 features; got 3"):
        said(fitted(model, "classes"), X[:, :3])


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tabicl", None)
    with pytest.raises(MissingExtra, match=r"polymodal\[tabicl\]"):
        build("models").fit(X, TARGETS["classes"], "classes")
