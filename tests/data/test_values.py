"""What one value is."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from polymodal.data.values import as_array, as_number, looks_like_date, looks_numeric


@pytest.mark.parametrize(
    ("value", "number"),
    [("1.5", 1.5), (" 7 ", 7), ("1e3", 1000), ("1,234.5", 1234.5), ("$5", 5), ("12 %", 12), ("-3", -3), (4, 4)],
)
def test_numbers(value, number):
    assert as_number(value) == number
    assert looks_numeric(value)


@pytest.mark.parametrize("value", ["abc", "", "1_0", "inf", "nan", "1.2.3", "12 Main Street", "1999-2001", True, None])
def test_no_numbers(value):
    assert as_number(value) is None
    assert not looks_numeric(value)


@pytest.mark.parametrize("value", ["3 kg", "EUR 1.234,50", "3,14", "1 234", "5 °C", "10m"])
def test_measures_look_numeric_though_the_processor_must_read_them(value):
    assert as_number(value) is None
    assert looks_numeric(value)


@pytest.mark.parametrize(
    "value",
    ["2024-05-31", "2024-05-31T12:00Z", "31.5.2024", "5/31/24", "31 May 2024", "May 31, 2024", date(2024, 5, 31)],
)
def test_dates(value):
    assert looks_like_date(value)


@pytest.mark.parametrize("value", ["1.2.3", "2024", "31 Mango 2024", "2024-05", 3, None])
def test_no_dates(value):
    assert not looks_like_date(value)


def test_list_cells():
    assert as_array("[1, 2, null]")[:2].tolist() == [1, 2]
    assert np.isnan(as_array("[1, NaN]")[1])
    assert as_array("1 2;3").tolist() == [1, 2, 3]
    assert as_array([[1, 2], [3, 4]]).shape == (2, 2)
    assert as_array(np.arange(3)).dtype == np.float32
    for value in ("[1, 2", "a b", "3", [], ["a"], ["1", "2"], [[1], [2, 3]], [[[1]]], 3, None, np.array("x")):
        assert as_array(value) is None
