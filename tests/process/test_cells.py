"""Numbers, dates and words as people write them."""

import datetime as dt

import pytest

from polymodal.process.cells import as_date, as_number, as_word, date_formats, main_unit, tell_type


@pytest.mark.parametrize(
    ("cell", "value", "unit"),
    [
        (3, 3.0, ""), ("1,234", 1234.0, ""), ("1 234 567.8", 1234567.8, ""), ("1.234,5", 1234.5, ""), ("0,5", 0.5, ""),
        ("12,345,678", 12345678.0, ""), ("1'234'567", 1234567.0, ""), ("$5", 5.0, "$"), ("-$5", -5.0, "$"),
        ("$-5", -5.0, "$"), ("£1,234.50", 1234.5, "£"), ("US$ 7", 7.0, "us$"), ("EUR 1,000", 1000.0, "eur"),
        ("-3 kg", -3.0, "kg"), ("−4", -4.0, ""), ("50%", 50.0, "%"), (".5", 0.5, ""), ("5.", 5.0, ""),
        ("1.2e-3", 0.0012, ""), ("+7", 7.0, ""), ("21 °C", 21.0, "°c"),
    ],
)  # fmt: skip
def test_numbers(cell, value, unit):
    assert as_number(cell) == (pytest.approx(value), unit)


@pytest.mark.parametrize(
    "cell",
    ["2020-01-02", "10.02.2020", "1.2.3", "12:30", "a1", "AB-12", "1,2,3", "3-4", "abc", "", "nan", "inf", True,
     float("nan"), float("inf"), dt.date(2020, 1, 2), "1e999"],
)  # fmt: skip
def test_what_is_no_number(cell):
    assert as_number(cell) is None


def test_dates_in_many_forms():
    day = dt.datetime(2020, 3, 4)
    assert as_date("2020-03-04", []) == as_date(dt.date(2020, 3, 4), []) == day
    assert as_date("2020-03-04T05:06:07Z", []) == dt.datetime(2020, 3, 4, 5, 6, 7)
    assert as_date("4 Mar 2020", ["%d %b %Y"]) == day
    assert as_date("2020", []) is None
    assert as_date("hello there", []) is None


def test_the_column_tells_day_from_month():
    assert date_formats(["03/04/2020", "25/12/2020"]) == ["%d/%m/%Y"]
    assert date_formats(["03/04/2020", "12/25/2020"]) == ["%m/%d/%Y"]
    assert date_formats(["03/04/2020"]) == ["%m/%d/%Y"]
    assert date_formats(["2020-01-02"]) == []


def test_words_of_one_category_are_one():
    assert as_word(3) == as_word(3.0) == as_word("3") == as_word("3.0") == "3"
    assert as_word(True) == as_word("True") == "true"
    assert as_word(" red   shoe ") == "red shoe"
    assert as_word("$3") == "$3"


def test_types_are_told_by_what_reads_four_in_five():
    assert tell_type(["1", "2", "3", "4", "?"]) == "number"
    assert tell_type(["1", "2", "x", "y", "?"]) == "category"
    assert tell_type(["2020-01-02", None, "2021-03-04"]) == "date"
    assert tell_type([True, False, True]) == "category"
    assert tell_type([None, None]) == "category"
    assert tell_type(["5 kg", "6 lb", "7 in", "8 cm", "9 s"]) == "category", "five units are no one quantity"
    assert main_unit(["5 kg", "6 kg", "7 lb", "8", None]) == "kg"
