"""The command that a report gives makes the same run again, pasted where the first was made."""

from __future__ import annotations

import csv
import json
import shlex

import pytest
from small_table import QUICK

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, UnknownName

VOLATILE = ("fit_seconds", "predict_ms")


def board(folder) -> list[dict[str, str]]:
    with open(folder / "leaderboard.csv", encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in VOLATILE} for row in csv.DictReader(file)]


def command(folder) -> str:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["command"]


def test_pasted_it_makes_the_same_run(shop, tmp_path, monkeypatch):
    """With a schema given as a dict, which no file holds but the run's own."""
    monkeypatch.chdir(shop.folder)
    monkeypatch.setenv("POLYMODAL_STORE", str(shop.store))
    schema = {"fields": {"words in the title": {"kind": "text", "columns": ["title"]}, "price": {"kind": "table"}}}
    run = pm.fit("shop.csv", "category", schema=schema, out="runs/a first", quiet=True, **QUICK)
    words = shlex.split(command(run.folder))
    assert words[0] == "polymodal"
    assert "--out" in words
    monkeypatch.setattr("sys.argv", [*words, "--quiet"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert board(shop.folder / "runs" / "a first-again") == board(run.folder)


def test_tables_in_memory_are_told_as_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {"a": [float(i % 9) for i in range(60)], "b": [float(i % 7) for i in range(60)],
             "y": ["low" if i % 9 < 4 else "high" for i in range(60)]}  # fmt: skip
    run = pm.fit(table, "y", out=tmp_path / "run", quiet=True, **{**QUICK, "crossfit": 0})
    told = command(run.folder)
    assert told.startswith("polymodal.fit(table, schema=")
    again = eval(told.partition("  #")[0].replace("polymodal.fit(", "pm.fit("), {"pm": pm, "table": table})
    assert board(again.folder) == board(run.folder)


def test_a_run_s_schema_fits_its_columns_alone(shop):
    schema = shop.run / "schema.json"
    with pytest.raises(BadArgument, match="leave out the target"):
        pm.plan(shop.table, "category", schema=schema)
    with pytest.raises(UnknownName, match="photo"):
        pm.plan({"title": ["a"] * 20, "category": ["x", "y"] * 10}, schema=schema)
