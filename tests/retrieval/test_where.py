"""Filters: what they let pass, three values, and errors that say where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.retrieval.changes import Put
from polymodal.retrieval.corpus import Corpus
from polymodal.retrieval.where import matching

ROWS = {
    "price": [10.0, "20", None, 30, 35.5, "cheap"],
    "brand": ["x", "y", "x", None, "z's", 'a "b"'],
    "unit price": [1, 2, 3, 4, 5, 6],
    "tags": [["red", "old"], ["Blue"], None, [], ["red"], ["dark red"]],
    "sold": [True, False, None, True, False, True],
    "code": ["007", "7", 7, 7.0, "x7", None],
}


@pytest.fixture
def corpus():
    made = Corpus(["a"], 2)
    made.apply(Put([str(i) for i in range(6)], ROWS, {}))
    return made


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("price < 30", [0, 1]),
        ("30 > price", [0, 1]),
        ("price >= 30", [3, 4]),
        ("10 < price <= 30", [1, 3]),
        ("price == 20", [1]),
        ("price = 20", [1]),
        ("price != 20", [0, 3, 4]),
        ("not price == 20", [0, 3, 4]),
        ("not (price < 30 and brand == 'x')", [1, 3, 4, 5]),  # row 2: brand is x, its price unknown
        ("price is missing", [2]),
        ("not price is missing", [0, 1, 3, 4, 5]),
        ("brand is not missing and price == 'cheap'", [5]),
        ("brand == 'x' or brand == \"z's\"", [0, 2, 4]),
        ("brand in ('x', 'y')", [0, 1, 2]),
        ("brand not in ('x', 'y')", [4, 5]),
        ('brand == "a \\"b\\""', [5]),
        ("price in (10, 35.5)", [0, 4]),
        ("`unit price` > 4 or `unit price` < -1.5e3", [4, 5]),
        ("tags contains 'RED'", [0, 4, 5]),
        ("tags not contains 'red'", [1, 3]),
        ("sold == true", [0, 3, 5]),
        ("sold == 1", [0, 3, 5]),
        ("code == '7'", [1, 2, 3]),
        ("code == 7", [0, 1, 2, 3]),
        ("brand == 'x' or price > 30 and sold == false", [0, 2, 4]),
        ("(brand == 'x' or price > 30) and sold == false", [4]),
        ("brand < 'y'", [0, 2, 5]),
        ({"brand": "x"}, [0, 2]),
        ({"price": {"<": 30, ">": 10}}, [1]),
        ({"brand": ["x", "y"], "sold": True}, [0]),
        ({"price": None}, [2]),
        ({"tags": {"contains": "blue"}, "price": 20}, [1]),
    ],
)
def test_what_passes(corpus, where, rows):
    assert np.flatnonzero(matching(where, corpus)).tolist() == rows
    if isinstance(where, str):
        never = matching(f"({where}) and not ({where})", corpus)
        assert not never.any()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("price <", "found its end"),
        ("price < 30 brand == 'x'", r"Expected `and`, `or` or the end, but found 'brand' \(character 12\)"),
        ("price", "Expected a comparison"),
        ("brand == x", "One side of a comparison is a column and the other a number or a quoted string"),
        ("3 < 4", "One side"),
        ("brand in 'x'", r"Expected `\(`"),
        ("brand in ('x' 'y')", r"Expected `\)`"),
        ("brand == 'x", "A quote is not closed"),
        ("price % 3", "from character 7 on"),
        ("brand is 3", "Expected `missing`"),
        ("price not < 3", "after `not`"),
        ("(price < 3", r"Expected `\)`"),
        ("", "found its end"),
        ("3 in (3)", "Expected a column"),
        ("brand == 3", "holds no number.*'x'.*quotes"),
        ("tags contains 3", "quoted string"),
        ("__import__('os')", "Expected a comparison"),
        ({"price": {"<>": 3}}, "No comparison '<>'"),
        ({"price": {"<": [3]}}, "strings and numbers; got list"),
        ({}, "leave it out"),
    ],
)
def test_what_cannot_be_read_is_refused(corpus, where, words):
    with pytest.raises(BadArgument, match=words):
        matching(where, corpus)


def test_an_unknown_column_is_refused_with_the_nearest(corpus):
    with pytest.raises(UnknownName, match="no column 'prise'. Did you mean 'price'"):
        matching("prise < 3", corpus)
    with pytest.raises(UnknownName, match="Did you mean 'unit price'"):
        matching({"unit_price": 3}, corpus)


@given(st.text(alphabet="abprice()<>=!'\"` 0.9,andornotis", max_size=40))
def test_any_text_is_read_or_refused(text):
    made = Corpus(["a"], 2)
    made.apply(Put([str(i) for i in range(6)], ROWS, {}))
    try:
        found = matching(text, made)
    except (BadArgument, UnknownName):
        return
    assert found.shape == (6,)
    assert found.dtype == bool
