"""Numbers, dates and words as people write them."""

import datetime as dt

from polymodal.process.cells import as_date, as_word, date_formats, tell_type


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
    assert tell_type(["1", "2", "3", "4", "many"]) == "number"
    assert tell_type(["1", "2", "?", "4", "?"]) == "number", "one sign is a missing value"
    assert tell_type(["1", "2", "+", "4", "-"]) == "category"
    assert tell_type(["1", "2", "x", "y", "?"]) == "category"
    assert tell_type(["2020-01-02", None, "2021-03-04"]) == "date"
    assert tell_type([True, False, True]) == "category"
    assert tell_type([None, None]) == "category"
    assert tell_type(["5 kg", "6 lb", "7 in", "8 cm", "9 s"]) == "category", "five units are no one quantity"
