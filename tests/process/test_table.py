"""Table processor: types, units, rare categories, missing values, dates, what training alone may teach."""

import json

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.data.media.remarks import remarks
from polymodal.process.table import TableProcessor

COLORS = ["red", "blue", "green"]


def rows(count=120, seed=0):
    draw = np.random.default_rng(seed)
    return [
        {
            "price": f"${draw.integers(1_000, 9_000):,}",
            "weight": float(draw.normal(50, 10)),
            "color": COLORS[i % 3] if i % 40 else f"rare{i}",
            "sold": f"20{10 + i % 12}-0{1 + i % 9}-15",
            "new": bool(i % 2),
            "grade": str(1 + i % 5),
        }
        for i in range(count)
    ]


def fitted(cells=None, **options):
    processor = TableProcessor(**options)
    cells = rows() if cells is None else cells
    processor.fit([processor.read(cell) for cell in cells])
    return processor


def test_types_and_arrays():
    processor = fitted()
    facts = processor.facts()
    assert facts["columns"] == ["price", "weight", "color", "sold", "new", "grade"]
    assert facts["category_names"] == ["color", "new", "grade"]
    assert facts["categories"] == [2 + 3, 2 + 2, 2 + 5]
    assert facts["numbers"][:3] == ["price", "weight", "sold (time)"]
    assert "sold (hour sine)" not in facts["numbers"], "no time of day varies"
    arrays = processor.process([processor.read(cell) for cell in rows()])
    known = arrays["numbers"][:, :2]
    assert np.allclose(known.mean(0), 0, atol=1e-5)
    assert np.allclose(known.std(0), 1, atol=1e-4)
    assert arrays["known"].all()
    assert arrays["categories"].min() >= 1


def test_missing_unknown_and_unreadable():
    cells = [*rows(), {**rows()[0], "price": "call us"}, {**rows()[0], "price": "5 kg"}]
    processor = fitted(cells)
    assert processor.unreadable_ == {"price": 2}
    arrays = processor.process(
        [processor.read({"price": "call us", "weight": None, "color": "mauve", "sold": "", "new": None, "grade": "3"})]
    )
    assert arrays["known"][0].tolist() == [False] * (arrays["known"].shape[1] - 1) + [True]
    assert (arrays["numbers"][0, :-1] == 0).all()
    assert arrays["categories"].tolist()[0][:2] == [1, 0]


@pytest.mark.parametrize(
    ("column", "cell"),
    [("price", "call us"), ("price", [1, 2]), ("sold", "soon"), ("sold", ["2019"]), ("new", {}), ("color", ["red"])],
)  # fmt: skip
def test_a_value_that_counts_as_missing_is_remarked(column, cell):
    processor = fitted()
    with remarks() as said:
        arrays = processor.process([processor.read({**rows()[0], column: cell})])
    assert said == [f"its value of {column!r} cannot be read and counts as missing"]
    absent = processor.process([processor.read({**rows()[0], column: None})])
    assert all(np.array_equal(arrays[name], absent[name]) for name in absent)
    with remarks() as said:
        processor.read({**rows()[0], "color": "mauve", "weight": None})
    assert not said, "an unknown word and an empty cell are no fault"


def test_only_a_row_without_any_usable_value_is_bad():
    with pytest.raises(BadCell, match="every column of the row is empty"):
        TableProcessor().read({"a": None, "b": " ", "c": float("nan")})
    processor = fitted([{"a": i} for i in range(50)])
    with pytest.raises(BadCell, match="no column of the row holds"):
        processor.read({"a": "x"})
    assert processor.read({"a": "7"}) == {"a": "7"}


def test_outliers_are_clipped_and_training_alone_decides():
    processor = fitted()
    wild = processor.process([{**rows()[0], "weight": 1e12}])["numbers"][0, 1]
    assert 2 < wild < 6
    before = json.dumps(processor.state())
    processor.process(rows(seed=1))
    assert json.dumps(processor.state()) == before


def test_nearly_constant_columns_keep_their_few_values():
    processor = fitted([{"a": 0.5 if i else 9.25} for i in range(1000)])
    numbers = processor.process([{"a": 0.5}, {"a": 9.25}])["numbers"][:, 0]
    assert numbers[1] > 10 * abs(numbers[0])


def test_options_change_something():
    assert fitted(types={"grade": "category"}).facts()["numbers"] == [
        n for n in fitted().facts()["numbers"] if n != "grade"
    ]
    assert "grade" not in fitted(distinct=0).facts()["category_names"]
    assert fitted(categories=2).facts()["categories"][0] == 2 + 2
    assert fitted(rare=1).facts()["categories"][0] == 2 + 3 + 3
    assert len(fitted(bins=3).facts()["edges"][0]) == 4


def test_numbers_that_rows_share_under_the_name_of_an_identifier_are_categories():
    table = [{"user_id": 1000 + i % 150, "steps": 1000 + i % 150, "row_id": i} for i in range(600)]
    facts = fitted(table).facts()
    assert facts["category_names"] == ["user_id"]
    assert facts["categories"] == [2 + 150]
    assert facts["numbers"] == ["steps", "row_id"]


def test_edges_are_quantiles_of_the_standardised_values():
    processor = fitted([{"a": float(i)} for i in range(400)], bins=4)
    edges = processor.facts()["edges"][0]
    values = np.sort(processor.process([{"a": float(i)} for i in range(400)])["numbers"][:, 0])
    assert edges[0] == pytest.approx(values[0])
    assert edges[-1] == pytest.approx(values[-1])
    assert edges[2] == pytest.approx(np.median(values), abs=0.01)


def test_state_is_json_and_restores_everything():
    processor = fitted()
    other = TableProcessor()
    other.load_state(json.loads(json.dumps(processor.state())))
    assert json.dumps(other.facts()) == json.dumps(processor.facts())
    for name, array in processor.process(rows(seed=2)).items():
        assert (array == other.process(rows(seed=2))[name]).all()


def test_corrupt_mixes_numbers_and_swaps_categories():
    processor = fitted()
    inputs = {k: torch.from_numpy(v) for k, v in processor.process(rows()).items()}
    inputs["known"][:, 0] = False
    inputs["numbers"][:, 0] = 0.0
    generator = torch.Generator().manual_seed(0)
    same = processor.corrupt(inputs, 0.0, generator)
    assert all(torch.equal(same[k], inputs[k]) for k in inputs)
    gone = processor.corrupt(inputs, 1.0, generator)
    assert (gone["numbers"][:, 0] == 0).all(), "a missing value stays missing"
    correlation = torch.corrcoef(torch.stack([gone["numbers"][:, 1], inputs["numbers"][:, 1]]))[0, 1]
    assert abs(correlation) < 0.3
    assert torch.equal(gone["categories"].sort(0).values, inputs["categories"].sort(0).values)
    assert (gone["categories"] != inputs["categories"]).any()


def test_errors_name_what_is_allowed():
    with pytest.raises(BadArgument, match="Did you mean 'number'"):
        TableProcessor(types={"a": "numbr"})
    with pytest.raises(BadArgument, match="Did you mean 'weight'"):
        fitted(types={"wieght": "number"})
    with pytest.raises(BadArgument, match="not fitted"):
        TableProcessor().facts()


def test_columns_without_any_value_do_no_harm():
    processor = fitted([{"a": float(i), "b": None} for i in range(40)], types={"b": "number"})
    arrays = processor.process([{"a": 1.0, "b": None}, {"a": 2.0, "b": "7"}])
    assert np.isfinite(arrays["numbers"]).all()
    dates = fitted([{"a": float(i), "b": None} for i in range(40)], types={"b": "date"})
    assert dates.facts()["numbers"] == ["a", "b (time)"]


def test_a_row_alone_is_read_as_its_column_was():
    rows = [{"x": f"{i / 8}".replace(".", ",")} for i in range(80)]
    processor = TableProcessor()
    processor.fit([processor.read(row) for row in rows])
    assert processor.columns_[0].decimal == ","
    again = TableProcessor()
    again.load_state(processor.state())
    given = [processor.read({"x": cell}) for cell in ("1,125", 1.125)]
    numbers = again.process(given)["numbers"]
    assert numbers[0] == numbers[1]
    old = processor.state()
    del old["columns"][0]["decimal"]
    again.load_state(old)
    assert again.columns_[0].decimal == ".", "of a bundle made before"
