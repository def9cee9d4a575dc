"""Every command that reads a table says what reading set aside; the report lists every column, used or not."""

from __future__ import annotations

import json
import sys

import pytest
from small_table import QUICK

import polymodal as pm
from polymodal import cli

RAGGED = "notes.csv:5: has 4 cells where the header has 6"


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """A table with a ragged row, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words = ("small", "old", "kind", "loud", "red")
    lines = ["note,price,label,code,clip,blank"]
    for i in range(60):
        pet = ("cat", "dog")[i % 2]
        said = f"a {words[i % 5]} animal that {'meows' if pet == 'cat' else 'barks'} {words[i % 3]}"
        lines.append(f"{said},{10 + i * 7 % 13}.5,{pet},a{i:04}x,https://example.org/clip{i}.mp4,")
    lines.insert(4, "one,2,cat,too few")
    (tmp_path / "notes.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "notes.csv"


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert not stopped.value.code, said.err
        return said.out, said.err

    return call


def test_commands_that_train_nothing_say_what_reading_set_aside(notes, run, tmp_path):
    (tmp_path / "recipe.yaml").write_text("steps:\n  - spaces\n")
    assert RAGGED in run("inspect", notes, "--target", "label")[0]
    assert any(RAGGED in line for line in run("plan", notes, "--target", "label")[0].splitlines())
    assert RAGGED in "".join(json.loads(run("plan", notes, "--target", "label", "--json")[0])["notes"])
    assert RAGGED in run("prepare", notes, "--suggest")[0]
    assert RAGGED in run("prepare", notes, "--recipe", "recipe.yaml", "--out", tmp_path / "done")[1]
    found = json.loads(run("inspect", notes, "--target", "label", "--json")[0])
    assert [one["row"] for one in found["problems"]] == ["notes.csv:5"]


def test_fit_says_it_and_its_report_lists_every_column(notes, run, tmp_path):
    options = [f"--set={name}={json.dumps(value)}" for name, value in {**QUICK, "fusion": ["concat"]}.items()]
    _, said = run("fit", notes, "--target", "label", "--out", tmp_path / "run", *options)
    assert RAGGED in said
    assert "clip is not used although its cells look like web addresses" in said
    data = json.loads((tmp_path / "run" / "evaluation.json").read_text())["data"]
    assert {one["name"]: (one["use"], one["kind"]) for one in data["columns"]} == {
        "note": ("stream", "text"), "price": ("stream", "number"), "label": ("target", "classes"),
        "code": ("not used", "id"), "clip": ("not used", "other"), "blank": ("not used", "empty"),
    }  # fmt: skip
    page = (tmp_path / "run" / "report.html").read_text()
    assert RAGGED in page
    for name in ("code", "clip", "blank"):
        assert f'<th scope="row">{name}</th>' in page


def test_python_has_the_same(notes):
    found = pm.inspect(notes, "label")
    assert [one.name for one in found.columns] == ["note", "price", "label", "code", "clip", "blank"]
    assert RAGGED in str(found.problems[0])
    assert any(RAGGED in note for note in pm.plan(notes, "label").notes)
