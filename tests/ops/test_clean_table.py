"""Cleaning numbers and categories."""

from __future__ import annotations

import numpy as np
import pytest
from ops import applied, run

from polymodal.core.errors import BadArgument


def test_units_become_one():
    cells = ["5 ft", '60 "', "1.524 m", "152.4cm", "1,000 mm", "2", 3.0, "4 kg", "tall", "$5", None]
    after, aside = run({"units": {"columns": "x", "unit": "m"}}, cells, "text")
    assert np.allclose(after[:7], [1.524, 1.524, 1.524, 1.524, 1.0, 2, 3])
    assert set(aside) == {7, 8, 9}
    assert aside[7] == "x: is in 'kg', which is no unit of length"
    assert run({"units": {"columns": "x", "unit": "°C"}}, ["68 °F", "300 K"], "text")[0] == pytest.approx([20.0, 26.85])
    with pytest.raises(BadArgument, match="Unknown unit 'mtr'"):
        run({"units": {"columns": "x", "unit": "mtr"}}, cells, "text")


@pytest.mark.parametrize(
    ("unit", "cells"),
    [
        ("kg", {"1,234 kg": 1234, "1 200 kg": 1200, "12'500 g": 12.5, "−5 kg": -5, "5 µg": 5e-9, "5 μg": 5e-9,
                "500 MG": 5e-4, "5 Kg.": 5, "3 tonnes": 3000, "2 lb 3 oz": 0.99223331, "12 stone": 76.20351816,
                ".5 kg": 0.5}),
        ("m", {"5'11\"": 1.8034, "5 ft 3 in": 1.6002, "6′ 2″": 1.8796, "3 m 20 cm": 3.2, "5 nm": 5e-9}),
        ("Ω", {"4.7 kΩ": 4700, "4.7 kohm": 4700, "10 Ohm": 10, "1 MΩ": 1e6, "5 mΩ": 5e-3}),
        ("W", {"5 mW": 5e-3, "5 MW": 5e6, "3 kw": 3000}),
        ("min", {"1 h 30 min": 90, "90 s": 1.5}),
        ("sqm", {"500 sq. ft.": 46.45152, "50 m2": 50}),
    ],
)  # fmt: skip
def test_units_as_people_write_them(unit, cells):
    after, aside = run({"units": {"columns": "x", "unit": unit}}, list(cells), "text")
    assert not aside
    assert after == pytest.approx(list(cells.values()))


def test_what_could_mean_two_things_is_not_guessed():
    cells = ["1,5 kg", "1.234,5 kg", "5-7 kg", "5 kg 3 m", "20 g 3 kg"]
    aside = run({"units": {"columns": "x", "unit": "kg"}}, cells, "text")[1]
    assert set(aside) == {0, 1, 2, 3, 4}
    assert "give decimal: ',' if it is decimal" in aside[0]
    after = run({"units": {"columns": "x", "unit": "kg", "decimal": ","}}, ["1,5 kg", "1.234,5 kg", "1.234 kg"], "text")
    assert after == ([1.5, 1234.5, 1234.0], {})
    assert run({"units": {"columns": "x", "unit": "W"}}, ["5 Mw"], "text")[1], "mega or milli"
    with pytest.raises(BadArgument, match="decimal must be"):
        run({"units": {"columns": "x", "unit": "kg", "decimal": ";"}}, cells, "text")


@pytest.mark.parametrize(
    "categories",
    [
        [">50K", "<=50K"], ["C", "C++", "C#"], ["A", "A-", "A+"], ["1", "-1", "+1"], ["1.5", "15"], ["2-3", "23"],
        ["male", "female"], ["M", "N"], ["class 1", "class 2"], ["Class A", "Class B"], ["stage II", "stage III"],
        ["typical", "atypical"], ["hypertension", "hypotension"], ["ascending", "descending"], ["legal", "illegal"],
        ["married", "unmarried"], ["Gambia", "Zambia"], ["Austria", "Australia"], ["left", "lift"], ["Iran", "Iraq"],
    ],
)  # fmt: skip
def test_categories_that_differ_are_never_joined(categories):
    for common in categories:
        cells = [common] * 60 + categories
        assert run("categories", cells, "category")[0] == cells


@pytest.mark.parametrize(
    ("common", "slips"),
    [
        ("New York", ["NEW  YORK", "New-York", "New_York", "NewYork", "Nwe York", "New Yrok"]),
        ("St. Louis", ["St Louis", "st louis."]), ("O'Neill", ["ONeill", "O’Neill"]), ("AT&T", ["at & t"]),
        ("Electronics", ["Eelctronics", "Electronisc", "Electrnics", "ELECTRONICS", "Electronicss"]),
        ("Computer Science", ["Compter Science", "computer  sceince"]), ("Straße", ["Strasse"]),
    ],
)  # fmt: skip
def test_slips_become_the_common_spelling(common, slips):
    assert set(run("categories", [common] * 100 + slips, "category")[0]) == {common}


def test_range():
    after, aside = run({"range": {"least": 0, "most": 120}}, ["30", -1, "130", "many", None], "number")
    assert after[0] == "30"
    assert aside == {1: "x: is -1, below 0", 2: "x: is 130, above 120", 3: "x: is 'many', where a number was expected"}
    for options in ({}, {"least": 5, "most": 3}):
        with pytest.raises(BadArgument):
            run({"range": options}, ["1"], "number")


def test_outliers_keep_the_long_tail():
    rng = np.random.default_rng(0)
    prices = np.exp(rng.normal(12, 0.5, 400)).round(2).tolist()
    aside = run("outliers", [*prices, 1e9, -5e6, "junk"], "number")[1]
    assert set(aside) >= {400, 401}
    assert len(aside) <= 2 + 0.01 * 400
    assert set(run({"outliers": {"times": 1e6}}, [*prices, 1e9], "number")[1]) == set()
    assert not run("outliers", [0] * 90 + [1, 2, 3], "number")[1], "where most are the same nothing is usual"
    assert not run("outliers", [None, None], "number")[1]


def test_each_column_by_its_own_measure():
    rows, _ = applied(
        "outliers", {"a": [*range(20), 500], "b": [*range(0, 20000, 1000), 500]}, {"a": "number", "b": "number"}
    )
    assert [r.reason.split(":")[0] for r in rows.refused] == ["a"]


def test_categories_get_one_spelling():
    cells = (
        ["New York"] * 40 + ["new york", "NEW  YORK", "New-York", "Nwe York"] + ["Zürich"] * 30 + ["Zurich", "zürich "]
    )
    cells += ["York"] * 10 + ["Cork"] * 1 + ["iPhone 14"] * 40 + ["iPhone 15"] + [None]
    after, aside = run("categories", cells, "category")
    assert not aside
    assert set(after[:44]) == {"New York"}
    assert set(after[44:76]) == {"Zürich"}
    assert after[76:86] == ["York"] * 10
    assert after[86] == "Cork", "short words are names of their own"
    assert after[-2] == "iPhone 15", "a digit makes a difference"
    assert run({"categories": {"rare": 0.0}}, cells, "category")[0][43] == "Nwe York"
    assert run({"categories": {"same": {"NYC": "New York"}}}, [*cells, "NYC"], "category")[0][-1] == "New York"
    assert run("categories", ["Some text", "some text", "some text"], "text")[0][0] == "Some text", (
        "free text is left alone"
    )
    assert run({"categories": {"columns": "x"}}, ["Some text", "some text", "some text"], "text")[0][0] == "some text"
