"""Trees as tensors against scikit-learn's own predictions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.registry import options_of
from polymodal.core.types import Tokens
from polymodal.learners import LEARNERS
from polymodal.learners.boosted import Boosted
from polymodal.models.build import parameters, pooled_features


def features(rows: int = 500, seed: int = 0) -> np.ndarray:
    """Numbers, a few of them missing, ties and a small whole number among them."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 8)).astype(np.float32)
    x[:, 1] = x[:, 1].round(1)
    x[:, 2] = draw.integers(0, 4, rows)
    x[draw.random(x.shape) < 0.15] = np.nan
    return x


X = features()
FRESH = features(300, seed=1)
FILLED = np.nan_to_num(X, nan=0.7)
LABELS = {classes: np.argmax(FILLED[:, :classes] + 0.3 * FILLED[:, 3:4] ** 2, 1) for classes in (2, 3, 5)}


def sklearn_options(part: Boosted, seed: int = 0) -> dict:
    return {
        "max_iter": part.trees, "learning_rate": part.lr, "max_leaf_nodes": part.leaves, "max_depth": part.depth,
        "min_samples_leaf": part.least, "max_features": part.share, "l2_regularization": part.l2, "max_bins": 63,
        "early_stopping": True, "n_iter_no_change": part.patience, "random_state": seed,
    }  # fmt: skip


@pytest.mark.parametrize("classes", LABELS)
def test_classes_match_scikit_learn(classes: int):
    part = Boosted(trees=30).fit(X, LABELS[classes], "classes", seed=4)
    model = HistGradientBoostingClassifier(**sklearn_options(part, 4)).fit(X, LABELS[classes])
    for rows in (X, FRESH):
        found = part.scores(torch.from_numpy(rows)).double().softmax(1).numpy()
        np.testing.assert_allclose(found, model.predict_proba(rows), atol=1e-6)


def test_of_many_features_the_telling_ones_are_read():
    wide = np.random.default_rng(2).normal(size=(500, 300)).astype(np.float32)
    wide[:, 7], wide[:, 290] = X[:, 0], X[:, 2]
    number = FILLED[:, 0] ** 3 + 2 * FILLED[:, 2]
    for target, meaning in ((number, "number"), ((number > 2).astype(int), "classes")):
        part = Boosted(trees=20, most=2).fit(wide, target, meaning)
        narrow = Boosted(trees=20).fit(wide[:, [7, 290]], target, meaning)
        found = part.scores(torch.from_numpy(wide))
        assert torch.equal(found, narrow.scores(torch.from_numpy(wide[:, [7, 290]])))
        assert part.facts()["features"] == 300
        other = wide.copy()
        other[:, [i for i in range(300) if i not in (7, 290)]] = 0
        assert torch.equal(found, part.scores(torch.from_numpy(other)))


def test_numbers_match_scikit_learn():
    target = FILLED[:, 0] ** 2 + FILLED[:, 2]
    part = Boosted(trees=30).fit(X, target, "number", seed=4)
    model = HistGradientBoostingRegressor(**sklearn_options(part, 4)).fit(X, target)
    for rows in (X, FRESH):
        found = part.scores(torch.from_numpy(rows))[:, 0].numpy()
        np.testing.assert_allclose(found, model.predict(rows), atol=1e-5)


def test_what_trees_learned_counts_as_parameters():
    small, large = (Boosted(trees=n).fit(X, LABELS[2], "classes", seed=4) for n in (5, 30))
    assert parameters(large) > 4 * parameters(small) > 1000


def test_labels_match_scikit_learn_one_by_one():
    target = np.stack([FILLED[:, 0] > 0, FILLED[:, 1] + FILLED[:, 2] > 1, np.zeros(len(X))], 1).astype(np.float32)
    target[::7, 1] = np.nan
    part = Boosted(trees=20).fit(X, target, "multilabel", seed=4)
    found = part.scores(torch.from_numpy(FRESH)).double().sigmoid().numpy()
    for c in range(2):
        known = ~np.isnan(target[:, c])
        model = HistGradientBoostingClassifier(**sklearn_options(part, 4)).fit(X[known], target[known, c])
        np.testing.assert_allclose(found[:, c], model.predict_proba(FRESH)[:, 1], atol=1e-6)
    assert (found[:, 2] < 1e-3).all()  # a label that fitting never saw


def test_thresholds_between_neighbouring_floats():
    """A split between two adjacent float32 numbers must not swallow the upper one."""
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2.0))
    x = np.where(np.arange(80) % 2, high, low).astype(np.float32)[:, None]
    part = Boosted(trees=5, share=1.0).fit(x, (np.arange(80) % 2).astype(np.float64), "number")
    found = part.scores(torch.tensor([[low], [high]]))
    assert found[0, 0] < 0.5 < found[1, 0]


def test_missing_goes_the_way_that_was_learned():
    x = np.random.default_rng(0).normal(size=(300, 1)).astype(np.float32)
    x[:100] = np.nan
    part = Boosted(share=1.0).fit(x, (np.arange(300) < 100).astype(int), "classes")
    assert part.scores(torch.tensor([[float("nan")], [0.0]])).argmax(1).tolist() == [1, 0]


def test_through_a_file_without_scikit_learn(tmp_path):
    part = Boosted(trees=10).fit(X, LABELS[3], "classes", width=4)
    save_file(part.state_dict(), tmp_path / "trees.safetensors")
    code = (
        "import sys, torch; from safetensors.torch import load_file; from polymodal.learners.boosted import Boosted;"
        f"part = Boosted({part.facts()}); part.load_state_dict(load_file({str(tmp_path / 'trees.safetensors')!r}));"
        "part.scores(torch.zeros(2, 8)); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    second = Boosted(part.facts())
    second.load_state_dict(load_file(tmp_path / "trees.safetensors"))
    assert torch.equal(second.scores(torch.from_numpy(FRESH)), part.scores(torch.from_numpy(FRESH)))


def test_classes_never_seen_are_unlikely_but_possible():
    labels = np.where(LABELS[3] == 1, 2, LABELS[3])
    found = Boosted(trees=10).fit(X, labels, "classes", width=5).scores(torch.from_numpy(FRESH)).softmax(1)
    assert found.shape == (300, 5)
    assert (found[:, [1, 3, 4]] < 0.01).all()
    assert (found > 0).all()


def test_one_class_only():
    found = Boosted().fit(X, np.full(len(X), 1), "classes", width=3).scores(torch.from_numpy(FRESH))
    assert (found.argmax(1) == 1).all()


def test_unlabelled_rows_do_not_count():
    hidden = np.concatenate([LABELS[3], np.full(50, -1)])
    more = np.concatenate([X, features(50, seed=9)])
    a = Boosted(trees=5).fit(X, LABELS[3], "classes").scores(torch.from_numpy(FRESH))
    assert torch.equal(Boosted(trees=5).fit(more, hidden, "classes").scores(torch.from_numpy(FRESH)), a)
    with pytest.raises(BadData, match="No row carries a label"):
        Boosted().fit(X, np.full(len(X), np.nan), "number")


def test_few_rows_and_rare_classes():
    few = np.array([0, 0, 0, 1, 1, 2] * 3)
    assert Boosted(least=1).fit(X[:18], few, "classes").scores(torch.from_numpy(X[:18])).isfinite().all()
    lone = LABELS[2].copy()
    lone[0] = 2
    assert Boosted(trees=5).fit(X, lone, "classes").facts()["width"] == 3


def test_seeds():
    a, b, c = (Boosted(trees=5).fit(X, LABELS[3], "classes", seed=s).scores(torch.from_numpy(FRESH)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    "changed",
    [
        {"trees": 3},
        {"lr": 0.3},
        {"leaves": 3},
        {"depth": 2},
        {"least": 60},
        {"share": 1.0},
        {"l2": 50.0},
        {"patience": 1},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_option_changes_the_trees(changed: dict):
    base = {"trees": 60, "lr": 0.5}  # enough to stop early
    plain, other = (LEARNERS.build({"name": "boosted", **o}) for o in (base, {**base, **changed}))
    a, b = (part.fit(X, LABELS[5], "classes").scores(torch.from_numpy(FRESH)) for part in (plain, other))
    assert not torch.equal(a, b)
    assert options_of(other) == {**base, **changed}


def test_errors():
    with pytest.raises(BadArgument, match="Did you mean 'classes'"):
        Boosted().fit(X, LABELS[3], "clases")
    with pytest.raises(BadArgument, match="leaves must be at least 2"):
        Boosted(leaves=1)
    with pytest.raises(BadArgument, match="share must be above 0 and at most 1; got 1.5"):
        Boosted(share=1.5)
    with pytest.raises(BadData, match="not fitted"):
        Boosted().scores(torch.zeros(2, 8))
    with pytest.raises(BadData, match="fitted to 8 features; got 3"):
        Boosted(trees=2).fit(X, LABELS[3], "classes").scores(torch.zeros(2, 3))


def test_pooled_features_are_ordered_and_nan_where_absent():
    a = Tokens.from_vector(torch.ones(2, 2), torch.tensor([True, False]))
    b = Tokens.from_vector(torch.full((2, 1), 5.0))
    found = pooled_features({"b": b, "a": a})
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 5.0], [torch.nan, torch.nan, 5.0]]), equal_nan=True)
