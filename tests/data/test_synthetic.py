"""The planted answers are planted: simple independent models find what the docs promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from polymodal.core.errors import BadArgument
from polymodal.data.schema import Schema
from polymodal.data.synthetic import copied_stream, imbalanced, missing, noise_stream, product
from polymodal.data.tables.source import read_table


def accuracy(features: np.ndarray, labels: list[str]) -> float:
    half = len(labels) // 2
    model = LogisticRegression(max_iter=500).fit(features[:half], labels[:half])
    return float(model.score(features[half:], labels[half:]))


def explained(features: np.ndarray, labels: list[float]) -> float:
    half = len(labels) // 2
    model = LinearRegression().fit(features[:half], labels[:half])
    return float(model.score(features[half:], labels[half:]))


@pytest.mark.parametrize("make", [product, noise_stream, copied_stream, missing, imbalanced])
def test_they_are_tables_whose_streams_are_told(make):
    columns, target = make(100, seed=1)
    table = read_table(columns)
    schema = Schema.infer(table, target)
    assert {one.kind for one in schema.fields.values()} == {"vector"}
    assert len(schema.fields) == 2
    assert schema.targets == {target: "classes"}
    assert make(100, seed=1) == (columns, target)
    assert make(100, seed=2) != (columns, target)
    with pytest.raises(BadArgument, match=r"n=3 rows are too few"):
        make(3)


def test_only_the_product_tells():
    columns, target = product(4000)
    left, right, label = np.array(columns["left"]), np.array(columns["right"]), columns[target]
    for alone in (left, right, np.hstack([left, right])):
        assert accuracy(alone, label) == pytest.approx(0.5, abs=0.05)
    outer = np.einsum("ni,nj->nij", left, right).reshape(len(left), -1)
    assert accuracy(outer, label) > 0.97
    columns, target = product(4000, kind="number")
    left, right, label = np.array(columns["left"]), np.array(columns["right"]), columns[target]
    for alone in (left, right, np.hstack([left, right])):
        assert explained(alone, label) == pytest.approx(0.0, abs=0.03)
    outer = np.einsum("ni,nj->nij", left, right).reshape(len(left), -1)
    assert explained(outer, label) > 0.9


def test_the_product_refuses_what_it_cannot_make():
    with pytest.raises(BadArgument, match="neither 'classes' nor 'number'"):
        product(100, kind="rank")
    with pytest.raises(BadArgument, match="cannot hold a direction in 4 dimensions"):
        product(100, width=3)


def test_noise_tells_nothing_and_signal_nine_tenths():
    columns, target = noise_stream(4000)
    assert accuracy(np.array(columns["noise"]), columns[target]) == pytest.approx(0.5, abs=0.05)
    assert accuracy(np.array(columns["signal"]), columns[target]) == pytest.approx(0.9, abs=0.03)


def test_the_copy_is_the_signal():
    columns, target = copied_stream(1000)
    assert columns["copy"] == columns["signal"]
    assert accuracy(np.array(columns["copy"]), columns[target]) == pytest.approx(0.9, abs=0.05)


def test_both_streams_tell_more_than_one_and_cells_are_missing():
    columns, target = missing(4000, share=0.25)
    absent = np.array([[cell is None for cell in columns[name]] for name in ("left", "right")])
    np.testing.assert_allclose(absent.mean(axis=1), 0.25, atol=0.03)
    assert (absent.all(axis=0)).any()
    whole = ~absent.any(axis=0)
    streams = [np.array([cell for cell, kept in zip(columns[name], whole) if kept]) for name in ("left", "right")]
    label = [answer for answer, kept in zip(columns[target], whole) if kept]
    assert accuracy(streams[0], label) == pytest.approx(0.75, abs=0.05)
    assert accuracy(np.hstack(streams), label) > 0.9
    with pytest.raises(BadArgument, match=r"share must be at least 0 and below 1; got 1"):
        missing(100, share=1)
