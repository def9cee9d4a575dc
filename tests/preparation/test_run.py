"""prepare: nothing is lost, whatever the recipe, the damage, the engine or the moment of a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outcome import contents
from PIL import Image

from polymodal.core.errors import BadArgument, PolymodalError, UnknownName
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.preparation.recipe import Recipe
from polymodal.preparation.run import prepare

DAMAGE = ("none", "truncated", "empty", "absent", "text", "flat", "twin", "missing")
STEPS = (
    "readable",
    "upright",
    {"name": "uniform", "below": 6},
    "spaces",
    "exact_duplicates",
    {"name": "readable", "keep_row": True},
)


def make_table(folder: Path, damage: list[str]) -> Path:
    """A row a kind of damage: a photo and a text."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir(parents=True)
    rows = {"id": [f"r{i}" for i in range(len(damage))], "photo": [], "words": [], "price": []}
    for i, fault in enumerate(damage):
        path = folder / "photos" / f"{i}.png"
        pixels = np.full((16, 16, 3), 90, np.uint8) if fault == "flat" else rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        if fault == "truncated":
            path.write_bytes(path.read_bytes()[:150])
        if fault == "empty":
            path.write_bytes(b"")
        if fault == "text":
            path.write_text("no picture")
        if fault == "absent":
            path.unlink()
        twin = fault == "twin" and i
        rows["photo"].append(None if fault == "missing" else f"photos/{0 if twin else i}.png")
        rows["words"].append("the  same words" if twin else f" a text  of row {i} ")
        rows["price"].append(str(10 + i))
    write_columns(rows, folder / "shop.csv")
    return folder / "shop.csv"


@given(
    damage=st.lists(st.sampled_from(DAMAGE), min_size=1, max_size=14),
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5),
    batch=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kept_and_set_aside_are_the_input(damage, steps, batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare")
    data = make_table(folder, damage)
    done = prepare(data, {"steps": steps, "batch": batch}, out=folder / "out", workers=0, quiet=True)
    kept = read_table(done.table).ids
    aside = [r for r in pq.read_table(folder / "out" / "set_aside.parquet").to_pylist() if not r["column"]]
    everything = [f"r{i}" for i in range(len(damage))]
    assert sorted([*kept, *(r["id"] for r in aside)]) == sorted(everything)
    assert kept == [i for i in everything if i in set(kept)], "the order of rows is kept"
    assert all(r["reason"] and r["op"] for r in aside)
    assert done.kept + done.set_aside == len(damage) == done.report["rows"]["input"]
    assert not (folder / "out" / ".work").exists()


def test_what_is_damaged_is_named(tmp_path):
    data = make_table(tmp_path, list(DAMAGE))
    done = prepare(data, ["readable", {"name": "uniform", "below": 6}], out=tmp_path / "out", workers=0, quiet=True)
    aside = {r["id"]: r["reason"] for r in pq.read_table(tmp_path / "out" / "set_aside.parquet").to_pylist()}
    assert aside.keys() == {"r1", "r2", "r3", "r4", "r5"}
    assert "is a picture that is cut short or damaged" in aside["r1"]
    assert aside["r2"].startswith("photo: the file '2.png' is empty (0 bytes)")
    assert aside["r3"].startswith("photo: the file '3.png' does not exist")
    assert "nearly one colour" in aside["r5"]
    # the twin's file is the first row's
    assert read_table(done.table).column("photo")[1:] == ["media/photo/000000000.png", None]


def test_a_row_may_be_kept_without_its_broken_cell(tmp_path):
    data = make_table(tmp_path, ["none", "empty", "none"])
    done = prepare(data, [{"readable": {"keep_row": True}}], out=tmp_path / "out", workers=0, quiet=True)
    assert (done.kept, done.set_aside) == (3, 0)
    assert read_table(done.table).column("photo")[1] is None
    (cell,) = pq.read_table(tmp_path / "out" / "set_aside.parquet").to_pylist()
    assert (cell["id"], cell["column"], cell["photo"]) == ("r1", "photo", "photos/1.png")


RECIPE = {"steps": ["readable", "spaces", {"name": "exact_duplicates", "columns": "words"}, "uniform"], "batch": 4}


def test_two_processes_and_one_give_the_same(tmp_path):
    data = make_table(tmp_path, list(DAMAGE) * 3)
    for workers in (0, 2):
        prepare(data, RECIPE, out=tmp_path / f"out{workers}", workers=workers, quiet=True)
    assert contents(tmp_path / "out0") == contents(tmp_path / "out2")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")  # Ray's own settings, read by Ray itself
@pytest.mark.filterwarnings("ignore::FutureWarning:ray.*")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # its processes' logs, closed when they end
def test_ray_gives_the_same(tmp_path):
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    data = make_table(tmp_path, list(DAMAGE) * 2)
    prepare(data, RECIPE, out=tmp_path / "local", workers=0, quiet=True)
    prepare(data, RECIPE, out=tmp_path / "ray", engine="ray", workers=2, quiet=True)
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


def test_a_killed_run_goes_on_to_the_same_result(tmp_path):
    data = make_table(tmp_path, list(DAMAGE) * 8)
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    prepare(data, RECIPE, out=tmp_path / "whole", workers=0, quiet=True)
    words = [
        "prepare",
        str(data),
        "-r",
        str(tmp_path / "recipe.yaml"),
        "-o",
        str(tmp_path / "killed"),
        "--workers",
        "0",
        "-q",
    ]
    code = "import sys; sys.argv[0] = 'polymodal'; from polymodal.cli import main; main()"
    for parts in (1, 6, 14):  # part files written when it is killed
        process = subprocess.Popen([sys.executable, "-c", code, *words, *(["--resume"] if parts > 1 else [])])
        while process.poll() is None and len(list((tmp_path / "killed").glob(".work/stage-[0-9]*/*.jsonl"))) < parts:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if (tmp_path / "killed" / ".work").exists():
        prepare(data, RECIPE, out=tmp_path / "killed", workers=0, resume=True, quiet=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_faults_of_a_recipe_are_said_before_any_work(tmp_path):
    data = make_table(tmp_path, ["none"])
    for recipe, error, message in (
        (["unifrom"], UnknownName, "No op is called 'unifrom'. Did you mean 'uniform'"),
        ([{"uniform": {"belo": 3}}], BadArgument, "Unknown argument 'belo' of uniform. Did you mean 'below'"),
        ([{"uniform": {"columns": "foto"}}], BadArgument, "There is no column 'foto'. Did you mean 'photo'"),
        ([{"uniform": {"columns": "words"}}], BadArgument, "'words' is of kind text; this op takes image"),
        ([], BadArgument, "has no step"),
        ([3], BadArgument, "must be a name"),
        ({"step": ["uniform"]}, BadArgument, "Unknown entry 'step'"),
        ("nowhere.yaml", BadArgument, "does not exist"),
    ):
        with pytest.raises(error, match=message):
            prepare(data, recipe, out=tmp_path / "out", workers=0, quiet=True)
        assert not (tmp_path / "out").exists()
    with pytest.raises(BadArgument, match="Unknown engine 'spark'"):
        prepare(data, ["spaces"], out=tmp_path / "out2", engine="spark")


def test_two_runs_never_mix(tmp_path):
    data = make_table(tmp_path, ["none"] * 3)
    prepare(data, ["spaces"], out=tmp_path / "out", workers=0, quiet=True)
    with pytest.raises(BadArgument, match="is not empty"):
        prepare(data, ["spaces"], out=tmp_path / "out", workers=0, quiet=True)


def test_an_op_that_fails_names_its_rows_and_can_be_resumed(tmp_path, monkeypatch):
    data = make_table(tmp_path, ["none"] * 5)
    from polymodal.ops.clean.text import Spaces

    plain = Spaces.mend

    def fail(self, value, row, column):
        if row.number == 3:
            raise RuntimeError("out of luck")
        return plain(self, value, row, column)

    monkeypatch.setattr(Spaces, "mend", fail)
    with pytest.raises(PolymodalError, match="Rows 2 to 3 could not be prepared .spaces.: RuntimeError: out of luck"):
        prepare(data, {"steps": ["spaces"], "batch": 2}, out=tmp_path / "out", workers=0, quiet=True)
    monkeypatch.setattr(Spaces, "mend", plain)
    done = prepare(data, {"steps": ["spaces"], "batch": 2}, out=tmp_path / "out", workers=0, resume=True, quiet=True)
    assert done.kept == 5


def test_a_recipe_reads_back_as_it_was_written():
    recipe = Recipe.read({"seed": 3, "batch": 7, "steps": ["spaces", {"uniform": {"below": 2}}, {"name": "readable"}]})
    assert recipe.steps == ("spaces", {"name": "uniform", "below": 2}, {"name": "readable"})
    import yaml

    assert Recipe.read(yaml.safe_load(recipe.to_yaml())) == recipe
