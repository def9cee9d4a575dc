"""scikit-learn's own checks of an estimator, and a table of pictures, words and numbers through its tools."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.sklearn import PolymodalClassifier, PolymodalRegressor

QUICK = {"workers": 0, "trackers": "none", "seeds": 1, "crossfit": 0, "ensemble": False, "dim": 16}
FAILS = {"check_methods_subset_invariance": "single precision: a row's answer differs in the 7th digit by its batch"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", [PolymodalClassifier(config=QUICK), PolymodalRegressor(config=QUICK)], ids=["classifier", "regressor"]
)
def test_scikit_learn_s_checks(estimator):
    fails = FAILS if isinstance(estimator, PolymodalClassifier) else {}
    results = check_estimator(estimator, on_skip=None, expected_failed_checks=fails)
    told = {one["check_name"]: one["status"] for one in results}
    assert {name for name, status in told.items() if status == "skipped"} == {"check_array_api_input"}
    assert sum(status == "passed" for status in told.values()) >= 45


@pytest.fixture
def frame(shop, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("POLYMODAL_STORE", str(shop.store))
    monkeypatch.chdir(shop.folder)
    table = pandas.read_csv(shop.table)
    return table.drop(columns=["category"]), table["category"]


def test_a_table_of_many_kinds_in_a_pipeline(frame):
    X, y = frame
    whole = make_pipeline(FunctionTransformer(), PolymodalClassifier(config={**QUICK, "fusion": "concat"}))
    scores = cross_val_score(whole, X, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert scores.mean() > 0.5
    model = clone(whole).fit(X, y)[-1]
    assert set(model.run_.predictor.schema.fields) == set(pm.plan(X.assign(y=y), "y").schema.fields)
    assert list(model.feature_names_in_) == list(X.columns)
    assert set(model.predict(X)) <= set(y)


def test_a_pickle_lives_on_its_own(frame):
    X, y = frame
    model = PolymodalClassifier(config={**QUICK, "fusion": "concat"}).fit(X, y)
    folder = model.run_.folder
    expected = model.predict_proba(X)
    packed = pickle.dumps(model)
    del model
    assert not folder.exists(), "the folder of an estimator that is gone is gone with it"
    np.testing.assert_array_equal(pickle.loads(packed).predict_proba(X), expected)


def test_records_and_columns_that_are_not_a_frame(shop):
    table = {
        "n": [float(i % 7) for i in range(60)],
        "word": [f"{'low' if i % 7 < 3 else 'high'} {i}" for i in range(60)],
    }
    y = ["a" if i % 7 < 3 else "b" for i in range(60)]
    records = [dict(zip(table, values)) for values in zip(*table.values())]
    model = PolymodalClassifier(config={**QUICK, "fusion": "concat", "deploy": "concat"}).fit(records, y)
    assert model.score(table, y) > 0.9
    assert list(model.classes_) == ["a", "b"]
    for misnamed in ({"N": table["n"], "word": table["word"]}, [{"N": 1.0, "word": "low 1"}]):
        with pytest.warns(UserWarning, match="no column 'n', which the model reads. Did you mean 'N'?"):
            model.predict(misnamed)


@pytest.mark.parametrize("two", [("1", " 1"), ("1.0", "1"), ("TRUE", "true"), ("é", "e\u0301"), ("nan", "")])
def test_labels_that_a_table_takes_for_one_or_for_none_stay_apart(two):
    X = np.random.default_rng(0).normal(size=(80, 2))
    y = np.where(X[:, 0] > 0, *two)
    model = PolymodalClassifier(config=QUICK).fit(X, y)
    assert set(model.predict(X).tolist()) == set(two)
    assert model.score(X, y) > 0.6


@pytest.mark.parametrize("absent", [None, float("nan")])
def test_a_row_without_a_label_is_named(absent):
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.array(["a", "b"] * 30, dtype=object)
    y[7] = absent
    with pytest.raises(ValueError, match="row 7 has no label"):
        PolymodalClassifier(config=QUICK).fit(X, y)


def test_options_that_do_not_exist():
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60.0)
    with pytest.raises(BadArgument, match="seeds"):
        PolymodalRegressor(config={"seed_s": 2}).fit(X, y)
    with pytest.raises(ValueError, match="minimum of 6"):
        PolymodalRegressor(config=QUICK).fit(X[:3], y[:3])


@pytest.mark.parametrize("estimator", [PolymodalClassifier, PolymodalRegressor])
@pytest.mark.parametrize("empty", [[], {}, {"a": []}, np.empty((0, 2))])
def test_nothing_to_learn_from(estimator, empty):
    with pytest.raises(ValueError, match=r"0 sample|Expected 2D"):
        estimator(config=QUICK).fit(empty, [])


def test_one_class_is_named():
    with pytest.raises(ValueError, match="holds one class: 'x'"):
        PolymodalClassifier(config=QUICK).fit({"a": [1.0] * 8}, ["x"] * 8)
