"""A kind from outside, as the guide shows it: one file under 40 lines, through everything that a fit does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polymodal as pm
from polymodal.core.errors import PolymodalError
from polymodal.data.inspection.inspect import inspect_table
from polymodal.data.kinds import KINDS
from polymodal.testing import check_encoder, check_kind, check_processor, example_cells, example_inputs

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
SCHEMA = {"register": ["my_kinds"], "target": "distress"}
QUICK = {
    "seeds": 1, "crossfit": 2, "workers": 2, "fusion": ["concat"], "dim": 8, "trackers": "none",
    "training": {"epochs": 3, "batch": 16}, "encoders": {"morse": "knowing_encoder:Knowing"},
}  # fmt: skip
ENCODER = """
from polymodal.data.kinds import KINDS
from polymodal.encoders.series_tcn import SeriesTCN


class Knowing(SeriesTCN):
    \"\"\"Fails in a process that does not know the kind.\"\"\"

    def __init__(self, facts, dim):
        super().__init__(facts, dim)
        assert KINDS["morse"].encoder == "series_tcn"
"""


def guide_file(name: str) -> str:
    found = re.search(rf"^```\w+\n(# {re.escape(name)}\n.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
    assert found is not None
    return found[1]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A table of calls in Morse code, of which one is missing and one broken; `my_kinds` can be imported by anyone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(":")]))
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    for table in ("_kinds", "_ends", "_modules"):
        monkeypatch.setattr(KINDS, table, dict(getattr(KINDS, table)))
    (tmp_path / "my_kinds.py").write_text(guide_file("my_kinds.py"), encoding="utf-8")
    (tmp_path / "knowing_encoder.py").write_text(ENCODER, encoding="utf-8")
    rows = ["file,words,distress"]
    for i in range(60):
        content = "hello" if i == 5 else "... --- ..." if i % 2 else ".- -... -.-."[: 4 + i % 9].strip()
        (tmp_path / f"{i}.morse").write_text(content)
        name = "" if i == 3 else f"{i}.morse"
        rows.append(f"{name},{['storm', 'calm', 'wind', 'rain'][i % 4]} off point {i % 7},{'yes' if i % 2 else 'no'}")
    (tmp_path / "calls.csv").write_text("\n".join(rows))
    yield tmp_path
    for module in ("my_kinds", "knowing_encoder"):
        sys.modules.pop(module, None)


def test_it_takes_less_than_40_lines():
    assert guide_file("my_kinds.py").count("\n") < 40


def test_its_parts_keep_every_law(calls):
    KINDS.register("my_kinds")
    check_kind("morse")
    check_processor("my_kinds:MorseProcessor", example_cells("morse"), broken=[b"", b"hello", b".-x"])
    check_encoder("series_tcn", *example_inputs("my_kinds:MorseProcessor"))


def test_without_it_the_column_is_of_no_use(calls):
    assert "file" not in pm.plan("calls.csv", "distress").schema.fields


def test_a_kind_from_outside_goes_through_everything(calls):
    plan = pm.plan("calls.csv", schema=SCHEMA, **QUICK)
    assert plan.schema.fields["file"].kind == "morse"
    assert "paths that end in .morse" in plan.schema.fields["file"].why
    assert plan.processors["file"] == {"name": "my_kinds:MorseProcessor"}

    seen = inspect_table(plan.table, plan.schema)
    assert seen.missing["file"] == ["3"]
    assert any(one.stream == "file" and one.likeness == "same" for one in seen.duplicates)

    run = pm.fit("calls.csv", schema=SCHEMA, out="runs/calls", quiet=True, deploy="concat", **QUICK)
    assert {row["strategy"] for row in run.leaderboard} >= {"concat", "file alone", "words alone"}
    assert [line for line in Path("runs/calls/set_aside.jsonl").read_text().splitlines() if "dots, dashes" in line]
    assert "cell morse" in run.report.read_text(encoding="utf-8")
    problems: list = []
    here = run.predict("calls.csv", problems=problems)
    assert [problem.row for problem in problems] == ["5"]

    code = (
        "import sys, polymodal as pm\n"
        "run = pm.load('runs/calls', trust=['my_kinds', 'knowing_encoder'])\n"
        "answers = run.predict('calls.csv')\n"
        "print(answers['distress'] == sys.argv[1].split(','), 'my_kinds' in sys.modules)\n"
        "from polymodal.inference.explanation import write_explanation\n"
        "write_explanation(run, 'calls.csv', run.explain('calls.csv', row='1'), 'why.html')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, ",".join(here["distress"])], capture_output=True, text=True)
    assert done.stdout.strip() == "True True", done.stderr
    page = Path("why.html").read_text(encoding="utf-8")
    assert "cell morse" in page
    assert "<svg" in page[page.index("cell morse") :]  # where the model looked, drawn as for a series


def test_a_process_that_cannot_import_it_says_so(calls):
    pm.fit("calls.csv", schema=SCHEMA, out="runs/calls", quiet=True, **{**QUICK, "workers": 0, "encoders": {}})
    done = subprocess.run(
        [sys.executable, "-c", "import polymodal as pm; pm.load('calls', trust='my_kinds')"],
        capture_output=True, text=True, cwd="runs", env={**os.environ, "PYTHONPATH": _without(calls)},
    )  # fmt: skip
    assert "UnknownName: No module 'my_kinds'" in done.stderr


def test_an_encoder_of_another_kind_is_refused(calls):
    with pytest.raises(PolymodalError, match="image_resnet reads image, but the stream 'file' is morse"):
        pm.plan("calls.csv", schema=SCHEMA, encoders={"morse": "image_resnet"})
    with pytest.raises(PolymodalError, match="Did you mean 'morse'"):
        pm.plan("calls.csv", schema=SCHEMA, encoders={"mors": "series_tcn"})


def _without(folder: Path) -> str:
    return os.pathsep.join(path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path != str(folder))
