"""Targets, fitted on training rows and encoded anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.core.errors import BadArgument, BadData
from polymodal.targets.base import Target, fitted
from polymodal.targets.labels import labels_of


def test_classes():
    target = fitted("y", "classes", ["b", "a", " b ", None, "b"])
    assert target.classes == ("a", "b")
    assert target.frequencies == (0.25, 0.75)
    codes = target.encode(["a", None, "c", "b"])
    assert codes.dtype == np.int64
    assert codes.tolist() == [0, -1, -1, 1]
    assert target.unseen(["a", None, "c", "c"]) == {"c": 2}


def test_numbered_classes_are_sorted_by_value_and_read_alike_from_any_file():
    target = fitted("y", "classes", [10, 2.0, "1"])
    assert target.classes == ("1", "2", "10")
    assert target.encode(["2", 2, 2.0]).tolist() == [1, 1, 1]


def test_multilabel():
    target = fitted("y", "multilabel", ["a|b", "a", ["c", "a"], None, "|"])
    assert target.classes == ("a", "b", "c")
    assert target.frequencies == (0.75, 0.25, 0.25)
    hot = target.encode(["b|a", None, ["z"], ""])
    assert hot.dtype == np.float32
    np.testing.assert_array_equal(hot, np.array([[1, 1, 0], [np.nan] * 3, [0, 0, 0], [0, 0, 0]], np.float32))
    assert target.unseen(["a|z"]) == {"z": 1}
    assert labels_of("a | b|") == ["a", "b"]


def test_numbers_are_standardised_by_the_training_rows():
    target = fitted("y", "number", [1, "2", None, 3.0, "4"])
    assert not target.log
    assert (target.location, target.scale) == (2.5, np.std([1, 2, 3, 4]))
    encoded = target.encode(["2.5", None, "word", 4])
    assert encoded.dtype == np.float32
    assert encoded[0] == 0
    assert np.isnan(encoded[1:3]).all()
    assert target.unseen(["2.5", "word"]) == {"word": 1}


def test_skewed_positive_numbers_are_modelled_by_their_logarithm():
    prices = np.exp(np.random.default_rng(0).normal(12, 1, 500))
    target = fitted("price", "number", prices.tolist())
    assert target.log
    assert target.location == pytest.approx(np.log(prices).mean())
    np.testing.assert_allclose(target.encode(prices.tolist()).std(), 1, rtol=1e-4)
    assert not fitted("price", "number", [*prices.tolist(), 0.0]).log
    assert not fitted("price", "number", (20 - np.log(prices)).tolist()).log
    encoded = target.encode([0.0, -5.0, None, prices.min(), prices.max()])
    assert -10 < encoded[1] < encoded[0] < -4 < encoded[3], "what is not positive is a number, below all others"
    np.testing.assert_allclose(target.restore(encoded.astype(float))[:2], [0, -5], atol=1)
    np.testing.assert_allclose(target.restore(encoded.astype(float))[3:], [prices.min(), prices.max()], rtol=1e-5)


def test_a_class_bears_its_commonest_spelling_and_is_known_by_any():
    target = fitted("y", "classes", ["1.0", "1.0", 1, "2", 2.0, True, "true", "true", "TRUE"])
    assert target.classes == ("1.0", "2", "true")
    assert target.encode([1, "1", "1.00", 2.0, "2.0", True, "True", "01", "1.1"]).tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
        -1,
        -1,
    ]
    assert target.unseen(["3.0", 3, "3", None, 1]) == {"3": 3}
    assert target.survey(["1.0", 1, "1.0", None]) == ({"classes": {"1.0": 3}}, {})
    older = Target.from_json({"name": "y", "kind": "classes", "classes": ["1", "1.0"], "frequencies": [0.5, 0.5]})
    assert older.encode(["1", "1.0", 1]).tolist() == [0, 1, 0], "two classes of an older bundle stay two"
    order = {"name": "ordinal", "order": [1, 2, 3]}
    assert fitted("y", order, ["3.0", "1.0", 2]).encode(["1.0", 3, "2"]).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["red, small", "red", "small ,red", "", None], ","),
        (["red; small", "red", "small;red", "", None], ";"),
        (["red|small", "red", "small|red", "", None], "|"),
        (['["red", "small"]', "['red']", "['small', 'red']", "[]", None], "|"),
        ([["red", "small"], ("red",), np.array(["small", "red"]), [], None], "|"),
        ([["red", None, "small"], ["red", ""], {"red", "small"}, [None], None], "|"),
    ],
)
def test_lists_of_labels_are_read_however_they_are_written(cells, separator):
    target = fitted("tags", "multilabel", cells)
    assert (target.classes, target.separator) == (("red", "small"), separator)
    expected = [[1, 1], [1, 0], [1, 1], [0, 0], [np.nan] * 2]
    np.testing.assert_array_equal(target.encode(cells), expected)
    assert Target.from_json(target.to_json()) == target
    assert target.unseen([cells[0], "blue"]) == {"blue": 1}


def test_a_comma_in_a_label_parts_nothing_where_bars_part_the_labels():
    assert fitted("y", "multilabel", ["Paris, France|Rome, Italy", "Rome, Italy"]).classes == (
        "Paris, France",
        "Rome, Italy",
    )


def test_json_round_trip():
    target = fitted("y", "classes", ["a", "b"])
    assert Target.from_json(target.to_json()) == target


@pytest.mark.parametrize(
    ("kind", "values", "error", "message"),
    [
        ("clases", ["a"], BadArgument, r"Target 'y' cannot be of kind 'clases'\. Did you mean 'classes'\?"),
        ("classes", [None], BadData, r"Target 'y' is missing in every training row, so there is nothing to learn"),
        ("classes", ["a", "a"], BadData, r"Target 'y' is 'a' in every training row; two classes are needed"),
        ("multilabel", ["", "|"], BadData, r"Target 'y' has no label in any training row"),
        ("number", ["a", "b"], BadData, r"no training row holds one \(first value: 'a'\)"),
        ("number", [3, 3.0], BadData, r"Target 'y' is 3 in every training row: there is nothing to predict"),
    ],
)
def test_what_cannot_be_learned_is_refused(kind, values, error, message):
    with pytest.raises(error, match=message):
        fitted("y", kind, values)
