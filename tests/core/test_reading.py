"""Numbers, dates and words as people write them, told from their column."""

import datetime as dt

import pytest

from polymodal.core.dates import DAY_FIRST, MONTH_FIRST, as_date, date_formats, is_clock
from polymodal.core.reading import Reading
from polymodal.core.words import as_word, key_of, label_of


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-03-04", dt.datetime(2020, 3, 4)),
        ("2020-03-04T05:06:07Z", dt.datetime(2020, 3, 4, 5, 6, 7)),
        ("2020-03-04 05:06:07.250+02:00", dt.datetime(2020, 3, 4, 5, 6, 7, 250000)),
        ("4 Mar 2020", dt.datetime(2020, 3, 4)),
        ("4-Mar-20", dt.datetime(2020, 3, 4)),
        ("Wed, 4th March 2020 at 5 pm", dt.datetime(2020, 3, 4, 17)),
        ("March 4, 2020", dt.datetime(2020, 3, 4)),
        ("4. März 2020", dt.datetime(2020, 3, 4)),
        ("4 déc. 2020", dt.datetime(2020, 12, 4)),
        ("Mar  4 2020 3:05PM", dt.datetime(2020, 3, 4, 15, 5)),
        ("20200304T150000Z", dt.datetime(2020, 3, 4, 15)),
        ("2020年3月4日", dt.datetime(2020, 3, 4)),
        ("03/14/2024 03:00 PM", dt.datetime(2024, 3, 14, 15)),
        ("3/14/24, 12:05:09 a.m.", dt.datetime(2024, 3, 14, 0, 5, 9)),
        ("31.5.2024 7:30", dt.datetime(2024, 5, 31, 7, 30)),
        ("14:30", dt.datetime(1970, 1, 1, 14, 30)),
        ("2:05:07 PM", dt.datetime(1970, 1, 1, 14, 5, 7)),
        ("05.01.2024 15:07 Uhr", dt.datetime(2024, 1, 5, 15, 7)),
        ("5. Januar 2024, 9 Uhr", dt.datetime(2024, 1, 5, 9)),
        ("14/03/2024 15h07", dt.datetime(2024, 3, 14, 15, 7)),
        ("9am", dt.datetime(1970, 1, 1, 9)),
        (dt.date(2020, 3, 4), dt.datetime(2020, 3, 4)),
        (dt.time(7, 30), dt.datetime(1970, 1, 1, 7, 30)),
    ],
)
def test_dates_in_many_forms(text, moment):
    assert as_date(text) == moment


@pytest.mark.parametrize(
    "text",
    ["2020", "hello there", "1.2.3", "1.2.30", "31 Mango 2024", "2024-05", 3, None, "99/99/2024", "25:10", "13:00 PM",
     "24h", "1h30", "20240531", "x" * 100],
)  # fmt: skip
def test_no_dates(text):
    assert as_date(text) is None


def test_a_format_of_the_users_goes_first():
    assert as_date("20240531", ["%Y%m%d"]) == dt.datetime(2024, 5, 31)
    assert as_date("3/4/2020", [DAY_FIRST]) == dt.datetime(2020, 4, 3)
    assert as_date("3/4/2020", [MONTH_FIRST]) == as_date("3/4/2020") == dt.datetime(2020, 3, 4)
    assert as_date("3.4.2020") == dt.datetime(2020, 4, 3)
    assert as_date("12-31-2020") == as_date("31-12-2020") == dt.datetime(2020, 12, 31), "no month is above 12"


def test_the_column_tells_day_from_month():
    assert date_formats(["03/04/2020", "25/12/2020"]) == ([DAY_FIRST], "")
    assert date_formats(["03/04/2020", "12/25/2020"]) == ([MONTH_FIRST], "")
    assert date_formats(["05/05/2020", "11/7/2024 3:00 PM"]) == ([MONTH_FIRST], "11/7/2024 3:00 PM")
    assert date_formats(["11.7.2024"]) == ([DAY_FIRST], "11.7.2024")
    assert date_formats(["5/5/2020"]) == ([MONTH_FIRST], ""), "either way is the same day"
    assert date_formats(["2020-01-02", 3, None]) == ([], "")


def test_words_of_one_category_are_one():
    assert as_word(3) == as_word(3.0) == as_word("3") == as_word("3.0") == "3"
    assert as_word(True) == as_word("True") == "true"
    assert as_word("Ja") == as_word(" ja ") == "ja"
    assert as_word(" red   shoe ") == "red shoe"
    assert as_word("$3") == "$3"


def test_labels_that_are_one_share_their_key_and_others_do_not():
    assert {key_of(cell) for cell in (1, 1.0, "1", " 1.0 ", "1.00")} == {"1"}
    assert {key_of(cell) for cell in (True, "true", "TRUE", "True")} == {"true"}
    assert key_of("cafe\u0301") == key_of("café")
    assert key_of("−1") == key_of(-1.0) == "-1"
    apart = ["01", "1", "1.10", "1.1", "A", "a", "T", "t", "10%", "10", "yes", "y", "1e3", "1000"]
    assert len(set(map(key_of, apart))) == len(apart)
    assert [label_of(cell) for cell in (3.0, " 3.0 ", "cat ")] == ["3", "3.0", "cat"]


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (["1", "2", "3", "4", "many"], "number"),
        (["1", "2", "?", "4", "?"], "number"),
        (["1", "-", "unknown", "2", "n.a."], "category"),  # less than half are left
        (["1", "5", "--", "unknown", "2", "7"], "number"),
        (["1", "2", "+", "4", "-"], "category"),
        (["1", "2", "x", "y", "?"], "category"),
        (["2020-01-02", None, "2021-03-04"], "date"),
        (["2020-01-02", "-", "2021-03-04", "?"], "date"),
        ([True, False, True], "category"),
        ([None, None], "category"),
        (["5 kg", "6 lb", "7 in", "8 cm", "9 s"], "category"),  # five units are no one quantity
        (["12-31-2024", "01-15-2024", "02-20-2024"], "date"),
        (["14:30", "9:05"], "date"),
        (["36:15", "9:05"], "number"),
        (["PT1H", "PT90M"], "number"),
        ([dt.timedelta(hours=1), dt.timedelta(hours=2)], "number"),
        (["12 Main Street", "7 High Street"], "category"),
        ([f"{i} Main Street" for i in range(20)], "category"),
        ([*map(str, range(12)), *["ND"] * 9], "number"),
        ([*map(str, range(12)), *["+"] * 9], "category"),
        (["1", "2", "3", "G"] * 9, "category"),  # a floor is no missing number
        (["120 minutes", "90 minutes"], "number"),
    ],
)
def test_types_are_told_by_what_reads_four_in_five(cells, type_):
    assert Reading.of(cells).type == type_


def test_durations_are_seconds():
    for cells, seconds in [
        (["36:15:00", "1:02:03"], [130500, 3723]),
        (["36:15", "12:10"], [2175, 730]),  # minutes, since no day has 36 hours
        (["PT1H30M", "P1DT0.5S", "-PT5S"], [5400, 86400.5, -5]),
        (["1 days 02:03:04", "-1 days +00:00:01"], [93784, -86399]),
        ([dt.timedelta(minutes=1), "0 days 00:02:00"], [60, 120]),
    ]:
        reading = Reading.of(cells)
        assert reading.notation.numbers(cells).tolist() == seconds
    assert is_clock("14:30")
    assert not is_clock("2020-01-02 14:30")


def test_what_the_user_says_goes_before_what_cells_show():
    assert Reading.of(["1,234", "2,345"], ",").notation.numbers(["1,234"]).tolist() == [1.234]
    assert Reading.of(["1.234", "2.345"], ",").notation.numbers(["1.234"]).tolist() == [1234]
    assert Reading.of(["11/7/2024"], DAY_FIRST).formats == (DAY_FIRST,)
    assert Reading.of(["20240531", "20240601"], "%Y%m%d").type == "date"
    assert Reading.of(["1,234", "2,345"]).notation.unsure == "1,234"
