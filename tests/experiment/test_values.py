"""Values that files and people write otherwise than expected, through a whole fit."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

import polymodal as pm
from polymodal.data.tables.write import write_columns

HALF = "\ud83d"  # of an emoji that was cut in two
FAST = {"fusion": "concat", "seeds": 1, "crossfit": 0, "ensemble": False, "trackers": "none", "workers": 0,
        "training": {"epochs": 1}}  # fmt: skip
LABELS = [0, "1", "None" + HALF, "0", 1.0, "None" + HALF]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    rows = [
        {"id": f"r{i}{HALF}", "brand" + HALF: ("x", "y" + HALF)[i % 2], "price": f"{i * 37 % 100},{i:02d}",
         "wave": [[j, 1] for j in range(6 + i % 2)] if i % 17 else [[1, 2, 3]] * 6,
         "owner": f"o{i // 2}{HALF}", "label": LABELS[i % 6]}
        for i in range(48)
    ]  # fmt: skip
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pm.fit(path, "label", out=folder / "run", schema={"group": "owner"}, quiet=True, **FAST), path


def test_half_a_surrogate_pair_is_borne_everywhere(run, tmp_path):
    finished, path = run
    folder = finished.folder
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    assert "brand" + HALF in schema["schema"]["fields"]["table"]["columns"]
    assert "None\\ud83d" in (folder / "report.html").read_text(encoding="utf-8")
    columns = pm.load(folder).predict(path)
    assert columns["id"][0] == "r0" + HALF
    for suffix in ("csv", "jsonl", "parquet"):
        write_columns(columns, tmp_path / f"p.{suffix}")
    first = json.loads((tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["id"] == "r0" + HALF, "JSON holds it as it was"
    assert pq.read_table(tmp_path / "p.parquet").column("id")[0].as_py() == "r0\\ud83d"
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()[1].startswith("r0\\ud83d,")


def test_numbers_and_their_text_are_one_class_in_every_file(run):
    finished, path = run
    columns = pm.load(finished.folder).predict(path)
    assert {"label=0", "label=1", f"label=None{HALF}"} <= set(columns)
    assert set(columns["label"]) <= {"0", "1", "None" + HALF}
    table = pq.read_table(finished.folder / "predictions_test.parquet")
    assert set(table.column("label_truth").to_pylist()) <= {"0", "1", "1.0", "None\\ud83d"}


def test_a_series_of_other_channels_costs_its_own_cell(run):
    lines = [json.loads(line) for line in (run[0].folder / "set_aside.jsonl").read_text().splitlines()]
    assert {line["row"].strip(HALF) for line in lines} == {"r0", "r17", "r34"}
    assert all("3 channels where training has 2" in line["reason"] for line in lines)
