"""What one value is."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from polymodal.core.numbers import Notation, as_number, read_number
from polymodal.data.values import as_array


@pytest.mark.parametrize(
    ("cell", "value", "unit"),
    [
        (3, 3.0, ""), ("1,234", 1234.0, ""), ("1 234 567.8", 1234567.8, ""), ("1.234,5", 1234.5, ""), ("0,5", 0.5, ""),
        ("12,345,678", 12345678.0, ""), ("1'234'567", 1234567.0, ""), ("$5", 5.0, "$"), ("-$5", -5.0, "$"),
        ("$-5", -5.0, "$"), ("£1,234.50", 1234.5, "£"), ("US$ 7", 7.0, "us$"), ("EUR 1,000", 1000.0, "eur"),
        ("-3 kg", -3.0, "kg"), ("−4", -4.0, ""), ("50%", 50.0, "%"), (".5", 0.5, ""), ("5.", 5.0, ""),
        ("1.2e-3", 0.0012, ""), ("+7", 7.0, ""), ("21 °C", 21.0, "°c"), ("3,14", 3.14, ""), ("0,500", 0.5, ""),
        ("1.234", 1.234, ""), ("1.234.567", 1234567.0, ""), ("1 234", 1234.0, ""), ("1 234,5", 1234.5, ""),
        ("12 %", 12.0, "%"), ("−3", -3.0, ""), ("1e5", 100000.0, ""), ("−1,5e3 kg", -1500.0, "kg"),
        (Decimal("3.10"), 3.1, ""), (" 7 ", 7.0, ""), ("EUR 1.234,50", 1234.5, "eur"),
        (timedelta(minutes=2), 120.0, ""), ("12:30", 45000.0, "h:mm"), (time(12, 30), 45000.0, "h:mm:ss"),
        ("2:05:07 PM", 50707.0, "h:mm:ss"), ("PT90S", 90.0, "ISO 8601 duration"),
        ("(1,234.50)", -1234.5, ""), ("($5.00)", -5.0, "$"), ("$(5.00)", -5.0, "$"), ("(3 kg)", -3.0, "kg"),
        ("5.00-", -5.0, ""), ("3-", 3.0, "-"), ("(-3)", -3.0, "()"),
    ],
)  # fmt: skip
def test_numbers_with_their_units(cell, value, unit):
    assert read_number(cell) == (pytest.approx(value), unit)


@pytest.mark.parametrize(
    "cell",
    ["2020-01-02", "10.02.2020", "1.2.3", "12:75", "P", "PT", "3:2", "a1", "AB-12", "1,2,3", "3-4", "abc", "", "nan",
     "inf", True, float("nan"), float("inf"), date(2020, 1, 2), "1e999", "1_0", ".", "-", "1,23,4", Decimal("NaN"),
     10**400],
)  # fmt: skip
def test_what_is_no_number(cell):
    assert read_number(cell) is None


def test_a_number_by_itself_has_no_unit_but_money_or_per_cent():
    cells = ["3,14", "$5", "12 %", "3 kg", "12 Main Street", None]
    assert [as_number(cell) for cell in cells] == [3.14, 5, 12, None, None, None]


@pytest.mark.parametrize(
    ("cells", "values", "why"),
    [
        (["1,234", "5,678"], [1234, 5678], "the comma of '1,234' parts thousands, for no cell tells otherwise"),
        (["1,234", "5.5", "7"], [1234, 5.5, 7], "the comma of '1,234' parts thousands, as '5.5' tells"),
        (["1,234", "0,5", None], [1.234, 0.5, np.nan], "the comma is before decimals, as in '0,5'"),
        (["1.234", "1.234.567", 8.5], [1234, 1234567, 8.5], "the comma is before decimals, as in '1.234.567'"),
        (
            ["1.234", "9,75", "12,5 kg", "3 lb"],
            [1234, 9.75, 12.5, np.nan],
            "the comma is before decimals, as in '9,75'",
        ),
        (["0,5", "2.5", "3.5", "1,234"], [0.5, 2.5, 3.5, 1234], "the comma of '1,234' parts thousands, as '2.5' tells"),
        (["1.234", "2.345"], [1.234, 2.345], ""),
        (["3 kg", "4 kg", "5 lb", 6], [3, 4, np.nan, 6], ""),
        (["2 years", "1 year", "3 years", "5 months"], [2, 1, 3, np.nan], ""),
        (["5.00", "(3.50)", "7.10"], [5, -3.5, 7.1], "'(3.50)' is below zero, as accounts write it"),
        (["5,00", "3,50-"], [5, -3.5], "the comma is before decimals, as in '5,00'"),
        ([True, "a", 1, 2.5], [np.nan, np.nan, 1, 2.5], ""),
        ([], [], ""),
    ],
)
def test_the_column_tells_what_a_cell_leaves_open(cells, values, why):
    notation = Notation.of(cells)
    np.testing.assert_array_equal(notation.numbers(cells), values)
    assert notation.why == why


@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_written_any_way_are_read_back(decimal):
    values = np.random.default_rng(0).normal(0, 1e4, 500).round(3).tolist()
    for thousands in ("", ".,"[decimal == "."], " ", "\u202f", "'"):
        cells = [f"{v:,.3f}".replace(",", "t").replace(".", decimal).replace("t", thousands) for v in values]
        assert Notation.of(cells).numbers(cells).tolist() == values
    clean = [repr(v) for v in values]
    assert Notation.of(clean).numbers(clean).tolist() == Notation.of(values).numbers(values).tolist() == values


def test_list_cells():
    assert as_array("[1, 2, null]")[:2].tolist() == [1, 2]
    assert np.isnan(as_array("[1, NaN]")[1])
    assert as_array("1 2;3").tolist() == [1, 2, 3]
    for cell in ("1,,3", "[1, null, 3]", "1; ;3", [1, "", 3], "1|NA|3", [1, "?", 3], "1 nan 3"):
        assert as_array(cell).tolist() == pytest.approx([1, np.nan, 3], nan_ok=True)
    for cell in ("0,5; 1,5", "0,5|1,5", "[0.5 1.5]", "(0.5, 1.5)", "0.5,1.5,", "[0.5\n 1.5]"):
        assert as_array(cell).tolist() == [0.5, 1.5]
    assert as_array("−1,2").tolist() == [-1, 2]
    assert as_array([[1, 2], [3, 4]]).shape == (2, 2)
    assert as_array(np.arange(3)).dtype == np.float32
    for value in (
        "[1, 2",
        "a b",
        "3",
        [],
        ["a"],
        ["1", "2"],
        [[1], [2, 3]],
        [[[1]]],
        3,
        None,
        np.array("x"),
        "?,?",
        "[1]]",
    ):
        assert as_array(value) is None
