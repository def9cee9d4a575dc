"""The same values through every door, as CSV, JSONL, Parquet, a DataFrame and dicts, are of one kind and worth
the same."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polymodal.data.cells import cells
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.process.table import TableProcessor
from polymodal.targets.base import fitted

DOORS = ("csv", "jsonl", "parquet", "frame", "records")
ROWS = 48
T0 = dt.datetime(2024, 1, 5, 7, 30)


def plain(value: Any) -> Any:
    """A value as JSON and CSV files hold it, written as people and databases do."""
    if isinstance(value, dt.timedelta):
        return str(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Fraction):
        return float(value)
    return str(value) if isinstance(value, Decimal | UUID | Path) else value


def through(door: str, columns: dict[str, list[Any]], folder: Path) -> Any:
    """`columns` in that form, as `read_table` takes it."""
    if door == "frame":
        return pd.DataFrame(columns)
    if door == "records":
        return [dict(zip(columns, row)) for row in zip(*columns.values())]
    path = folder / f"t.{door}"
    if door == "parquet":
        own = {
            n: [plain(v) if isinstance(v, UUID | Path | Fraction) else v for v in values]
            for n, values in columns.items()
        }
        pq.write_table(pa.table(own), path)
    else:
        rows = [[plain(value) for value in row] for row in zip(*columns.values())]
        with open(path, "w", newline="", encoding="utf-8") as file:
            if door == "jsonl":
                file.writelines(json.dumps(dict(zip(columns, row))) + "\n" for row in rows)
            else:
                csv.writer(file).writerows([list(columns), *rows])
    return path


def repeated(*values: Any) -> list[Any]:
    return [values[i % len(values)] for i in range(ROWS)]


NUMBERS = [i * 1.37 + 0.5 for i in range(ROWS)]
COLUMNS: dict[str, tuple[list[Any], str]] = {
    "decimals of a database": ([Decimal(f"{n:.2f}") for n in NUMBERS], "number"),
    "fractions of Python": ([Fraction(137 * i + 50, 100) for i in range(ROWS)], "number"),
    "decimal commas": ([f"{n:.2f}".replace(".", ",") for n in NUMBERS], "number"),
    "thousands by points": ([f"{1000 * n:,.1f}".translate({44: ".", 46: ","}) for n in NUMBERS], "number"),
    "thousands by spaces": ([f"{1000 * n:,.1f}".translate({44: "\u202f", 46: ","}) for n in NUMBERS], "number"),
    "thousands by apostrophes": ([f"{1000 * n:,.1f}".replace(",", "’") for n in NUMBERS], "number"),
    "the minus of typesetters": ([f"−{n:.2f}" for n in NUMBERS], "number"),
    "per cent": ([f"{n:.1f} %" for n in NUMBERS], "number"),
    "marks of absence": (["?" if i % 3 else f"{n:.2f}" for i, n in enumerate(NUMBERS[::2] * 2)], "category"),
    "some marks of absence": (["-" if i % 3 == 0 else f"{n:.2f}" for i, n in enumerate(NUMBERS)], "number"),
    "a word of absence": (["unknown" if i % 3 == 0 else f"{n:.2f}" for i, n in enumerate(NUMBERS)], "number"),
    "time spans": ([dt.timedelta(hours=7 * i, seconds=1) for i in range(ROWS)], "number"),
    "long spans": ([f"{20 + i}:15:00" for i in range(ROWS)], "number"),
    "ISO spans": ([f"PT{i}H{i}M" for i in range(ROWS)], "number"),
    "moments": ([T0 + dt.timedelta(hours=7 * i) for i in range(ROWS)], "date"),
    "days": ([(T0 + dt.timedelta(days=i)).date() for i in range(ROWS)], "date"),
    "times of day": ([(T0 + dt.timedelta(minutes=17 * i)).time() for i in range(ROWS)], "date"),
    "clock": ([(T0 + dt.timedelta(minutes=17 * i)).strftime("%I:%M %p") for i in range(ROWS)], "date"),
    "am and pm": ([(T0 + dt.timedelta(hours=7 * i)).strftime("%m/%d/%Y %I:%M %p") for i in range(ROWS)], "date"),
    "heat_index": ([60 + i for i in range(ROWS)], "number"),
    "year": ([1960 + i for i in range(ROWS)], "number"),
    "truths": (repeated(True, False, False), "category"),
    "truths in words": (repeated("ja", "nein", "nein"), "category"),
    "country": (repeated("NA", "DE", "FR", "DE"), "category"),
    "titles": ([f"华为手机{64 + i}G黑色2024款全新正品包邮" for i in range(ROWS)], "text"),
    "ชื่อ": ([f"โทรศัพท์มือถือ{64 + i}GBสีดำรุ่นใหม่" for i in range(ROWS)], "text"),
    "名前": ([f"新品スマートフォン{64 + i}GBブラック" for i in range(ROWS)], "text"),
    "codes": ([f"AB-{i:04d}" for i in range(ROWS)], "id"),
    "photo": ([Path("ph") / f"{i:02d}.png" for i in range(ROWS)], "image"),
    "key": ([UUID(int=i) for i in range(ROWS)], "id"),
    "wave": ([np.arange(8.0 + i % 3) for i in range(ROWS)], "series"),
    "tags": (repeated("red, small", "blue"), "category"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_of_one_kind_whichever_way_it_comes(name, door, tmp_path):
    values, kind = COLUMNS[name]
    base = {"note": [f"a pet number {i} that {'barks' if i % 2 else 'meows'}" for i in range(ROWS)], name: values}
    found = {}
    for way in ("records", door):
        table = read_table(through(way, base, tmp_path))
        schema = Schema.infer(table)
        table = schema.read(table)
        record = next((one for one in schema.fields.values() if name in one.columns), None)
        if record is None:
            assert kind == "id", schema.explain()
            assert name in schema.ignored
            continue
        told = record.why.removeprefix(f"{name} (").split(":")[0] if record.kind == "table" else record.kind
        assert told == kind, record.why
        given = [cells(table, record)[row] for row in range(ROWS)]
        if record.kind == "table":
            processor = TableProcessor(**record.processor_options)
            given = [cell for cell in given if cell is not None]
            processor.fit(given)
            found[way] = processor.process(given)
            assert not processor.unreadable_, "what stands for a missing value is missing, not unreadable"
        elif record.kind == "text":
            found[way] = {"texts": np.array(given)}
        elif record.kind == "series":
            found[way] = {"steps": np.concatenate(given)}
    if found:
        assert found["records"].keys() == found[door].keys()
        for array, values_ in found["records"].items():
            np.testing.assert_array_equal(values_, found[door][array])


TARGETS: dict[str, tuple[list[Any], str, list[str] | None]] = {
    "decimal commas": ([f"{n:.2f}".replace(".", ",") for n in NUMBERS], "number", None),
    "decimals of a database": ([Decimal(f"{n:.2f}") for n in NUMBERS], "number", None),
    "fractions of Python": ([Fraction(137 * i + 50, 100) for i in range(ROWS)], "number", None),
    "spans": ([dt.timedelta(hours=7 * i, seconds=1) for i in range(ROWS)], "number", None),
    "marked": (["?" if i % 4 == 0 else f"{n:.2f}" for i, n in enumerate(NUMBERS)], "number", None),
    "per cent": (repeated("10%", "20%", "50%"), "classes", ["10%", "20%", "50%"]),
    "whole": (repeated(0, 1, 1), "classes", ["0", "1"]),
    "whole floats": (repeated(0.0, 1.0, 1.0), "classes", None),
    "truths": (repeated(True, False, False), "classes", ["False", "True"]),
    "none is a class": (repeated("None", "Minor", "Major"), "classes", ["Major", "Minor", "None"]),
    "a mark is none": (repeated("?", "Minor", "Major"), "classes", ["Major", "Minor"]),
    "lists": ([["red"], ["red", "small"], []] * (ROWS // 3), "multilabel", ["red", "small"]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_asks_the_same_whichever_way_it_comes(name, door, tmp_path):
    values, kind, classes = TARGETS[name]
    columns = {"price": [f"{n:.3f}" for n in NUMBERS], "y": values}
    encoded = []
    for way in ("records", door):
        table = read_table(through(way, columns, tmp_path))
        schema = Schema.infer(table, "y")
        table = schema.read(table)
        assert schema.targets == {"y": kind}
        target = fitted("y", schema.targets["y"], table.column("y"))
        assert classes is None or list(target.labels) == classes
        encoded.append(target.encode(table.column("y")))
    np.testing.assert_array_equal(*encoded)


def test_numbers_and_their_text_are_the_same_classes():
    mixed = repeated(0, 1, "0", "1", 1.0, "1.0")
    table = read_table([{"price": n, "y": y} for n, y in zip(NUMBERS, mixed)])
    schema = Schema.infer(table, "y")
    assert schema.targets == {"y": "classes"}
    target = fitted("y", "classes", table.column("y"))
    assert target.classes == ("0", "1")
    assert target.encode(mixed).tolist() == repeated(0, 1, 0, 1, 1, 1)
