"""Random recipes over random damage: nothing is lost, whoever does the work and whenever it is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outcome import contents
from PIL import Image

from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.ops import ANNOTATE, AUGMENT, CLEAN
from polymodal.ops.base import CellOp
from polymodal.preparation.recipe import Recipe
from polymodal.preparation.run import prepare

KINDS = {"photo": "image", "sound": "audio", "beat": "series", "words": "text", "price": "number", "shade": "category"}
FAULTS = ("good", "good", "good", "missing", "cut", "empty", "absent", "other", "twin", "strange")
TEXTS = {
    "good": "A brown dog runs over the wet grass to the left of the house", "cut": "A brown dog runs ov",
    "empty": "   ", "absent": "\u200b", "other": "<p>caf\u00c3\u00a9 &amp; bar</p> call +44 20 7946 0958",
    "twin": "A brown dog runs over the wet grass, to the left of the house", "strange": "\u4e2d\u6587 \U0001f600 !!! 7",
}  # fmt: skip
NUMBERS = {
    "good": "12.5", "cut": "1e", "empty": "", "absent": "n/a", "other": "3 ft", "twin": "12.5", "strange": "1e300"
}  # fmt: skip
SHADES = {
    "good": "red", "cut": "re", "empty": " ", "absent": "?", "other": "RED ", "twin": "blue", "strange": "r\u00e9d"
}  # fmt: skip
NEEDED: dict[str, dict[str, Any]] = {
    "units": {"columns": "price", "unit": "m"}, "range": {"columns": "price", "most": 100},
    "series_resample": {"factor": 0.5}, "mixup": {"label": "shade"}, "cutmix": {"label": "shade"},
    "smote": {"label": "shade", "balance": False}, "label_errors": {"label": "shade", "folds": 2},
    "synonyms": {"source": "LIST"}, "insert_words": {"source": "LIST"},
}  # fmt: skip
NAMED_MODEL = {"transcribe", "parse", "roles", "back_translate", "fill_in", "mismatched"}  # need a model that one names
SLOW = {"speak", "turns", "image_class", "objects", "segments"}  # seconds a row: tried row by row by the laws of ops


@cache
def known_steps(source: str) -> tuple[Any, ...]:
    """Every op that works on a kind of column of the table and needs nothing that is not installed."""
    found: list[Any] = []
    for name in sorted({*CLEAN, *AUGMENT, *ANNOTATE} - NAMED_MODEL - SLOW):
        options = {k: source if v == "LIST" else v for k, v in NEEDED.get(name, {}).items()}
        step = {"name": name, **options} if options else name
        try:
            Recipe.read([step]).ops(KINDS)
        except MissingExtra:
            continue
        by_cell = name in CLEAN and issubclass(CLEAN.load(name), CellOp)  # any other refuses keep_row
        found += [step, {"name": name, "keep_row": True, **options}] if by_cell else [step]
    return tuple(found)


@dataclass(frozen=True)
class Case:
    """A fault for every cell, the part of every row, and a recipe."""

    faults: list[tuple[str, ...]]
    parts: list[str]
    steps: list[Any]
    batch: int
    seed: int

    def table(self, files: Path, name: str) -> Path:
        """The table written beside the files that its cells name."""
        columns: dict[str, list[Any]] = {"id": [f"r{i}" for i in range(len(self.faults))], "split": self.parts}
        for at, (column, kind) in enumerate(KINDS.items()):
            columns[column] = [cell(kind, row[at], i) for i, row in enumerate(self.faults)]
        write_columns(columns, files / f"{name}.csv")
        return files / f"{name}.csv"

    @property
    def recipe(self) -> dict[str, Any]:
        return {"steps": self.steps, "batch": self.batch, "seed": self.seed}


def cell(kind: str, fault: str, row: int) -> str | None:
    if fault == "missing":
        return None
    if kind in ("image", "audio", "series"):
        suffix = {"image": "png", "audio": "wav", "series": "npy"}[kind]
        return f"{kind}/{fault}{row % 3 if fault == 'good' else ''}.{suffix}"
    texts = {"text": TEXTS, "number": NUMBERS, "category": SHADES}[kind]
    return texts[fault] if kind != "number" or fault != "good" else str(10 + row)


def drawn(seed: int, source: str, rows: int = 24) -> Case:
    """A case drawn without hypothesis, for ways of working that take seconds."""
    rng = np.random.default_rng(seed)
    steps = known_steps(source)
    return Case(
        [tuple(rng.choice(FAULTS, len(KINDS)).tolist()) for _ in range(rows)],
        rng.choice(["train", "train", "valid", "test"], rows).tolist(),
        [steps[i] for i in rng.choice(len(steps), 7, replace=False)], int(rng.integers(2, 9)), seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and damaged media of three kinds, and a list of synonyms."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for kind, suffix in (("image", "png"), ("audio", "wav"), ("series", "npy")):
        (folder / kind).mkdir()
        good = [_good(kind, rng) for _ in range(3)]
        for i, content in enumerate(good):
            (folder / kind / f"good{i}.{suffix}").write_bytes(content)
        for fault, content in (
            ("cut", good[0][: len(good[0]) // 3]), ("empty", b""), ("other", b"just words"), ("twin", good[0]),
            ("strange", _good(kind, rng, strange=True)),
        ):  # fmt: skip
            (folder / kind / f"{fault}.{suffix}").write_bytes(content)
    (folder / "list.txt").write_text("dog hound\nhouse home\nwet damp\n")
    return folder


def _good(kind: str, rng: np.random.Generator, *, strange: bool = False) -> bytes:
    """A small file; `strange`: a picture of one pixel, silence, a series with holes and one channel."""
    import io

    out = io.BytesIO()
    if kind == "image":
        small = Image.fromarray(rng.integers(0, 255, (4, 5, 3), np.uint8))
        (small.crop((0, 0, 1, 1)) if strange else small.resize((40, 32))).save(out, "PNG")
    elif kind == "audio":
        times = np.arange(4000) / 8000
        wave = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 900) * times) * (times > 0.1) + rng.normal(0, 0.003, 4000)
        soundfile.write(out, 0 * wave if strange else wave, 8000, format="WAV")
    else:
        series = np.cumsum(rng.normal(size=(60, 2)), 0)
        if strange:
            series = series[:, :1]
            series[3:9] = np.nan
        np.save(out, series.astype(np.float32))
    return out.getvalue()


def check(case: Case, out: Path, done: Any) -> None:
    """Every row came out once, kept or set aside with a reason, in its order; copies follow their source."""
    everything = [f"r{i}" for i in range(len(case.faults))]
    table = read_table(done.table)
    kept = [name for name in table.ids if "~" not in name]
    lines = pq.read_table(out / "set_aside.parquet").to_pylist()
    aside = [line["id"] for line in lines if not line["column"] and "~" not in line["id"]]
    assert sorted([*kept, *aside]) == sorted(everything)
    assert kept == [name for name in everything if name in set(kept)], "the order of rows is kept"
    assert all(line["op"] and line["reason"].strip() for line in lines)
    assert done.kept + done.set_aside == len(everything) == done.report["rows"]["input"]
    assert len(set(table.ids)) == len(table.ids)
    places = [int(re.match(r"r(\d+)", name)[1]) for name in table.ids]
    assert places == sorted(places), "copies stand behind their source"
    part = dict(zip(everything, case.parts))
    assert all(part[name.split("~")[0]] == "train" for name in table.ids if "~" in name), "training rows only"
    for column in ("photo", "sound", "beat"):
        for value in table.column(column):
            assert value is None or (out / value).is_file() or cell_is_damaged(value), (column, value)
    assert not (out / ".work").exists()


def cell_is_damaged(value: str) -> bool:
    """Whether the cell names a file that was never there: it stays as it came where no step looks into it."""
    return "absent" in value


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost(seed, rows, files, tmp_path_factory):
    case = drawn(seed, str(files / "list.txt"), rows)
    out = tmp_path_factory.mktemp("random") / "out"
    data = case.table(files, f"lost-{seed}-{rows}")
    done = prepare(data, case.recipe, out=out, schema={"kinds": KINDS}, workers=0, quiet=True)
    check(case, out, done)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_processes_and_one_give_the_same(seed, files, tmp_path):
    case = drawn(seed, str(files / "list.txt"))
    data = case.table(files, f"processes-{seed}")
    for workers in (0, 2):
        out = tmp_path / str(workers)
        check(case, out, prepare(data, case.recipe, out=out, schema={"kinds": KINDS}, workers=workers, quiet=True))
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")  # Ray's own settings, read by Ray itself
@pytest.mark.filterwarnings("ignore::FutureWarning:ray.*")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # its processes' logs, closed when they end
def test_ray_gives_the_same(files, tmp_path):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)  # a cluster that is there already is joined
    try:
        for seed in (4, 5):
            case = drawn(seed, str(files / "list.txt"))
            data = case.table(files, f"ray-{seed}")
            for engine in ("local", "ray"):
                out = tmp_path / f"{engine}-{seed}"
                prepare(
                    data, case.recipe, out=out, schema={"kinds": KINDS}, engine=engine, workers=0, quiet=True
                )  # fmt: skip
            assert contents(tmp_path / f"local-{seed}") == contents(tmp_path / f"ray-{seed}")
        assert ray.is_initialized(), "a cluster of someone else's is left running"
    finally:
        ray.shutdown()


@pytest.mark.parametrize("seed", [6, 7])
def test_kills_at_any_moment_change_nothing(seed, files, tmp_path):
    case = drawn(seed, str(files / "list.txt"), rows=60)
    data = case.table(files, f"kills-{seed}")
    (tmp_path / "recipe.yaml").write_text(json.dumps(case.recipe))
    (tmp_path / "schema.yaml").write_text(json.dumps({"kinds": KINDS}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    prepare(data, case.recipe, out=whole, schema={"kinds": KINDS}, workers=0, quiet=True)
    words = [
        "prepare", str(data), "-r", str(tmp_path / "recipe.yaml"), "-o", str(killed), "--workers", "0", "-q",
        "--schema", str(tmp_path / "schema.yaml"),
    ]  # fmt: skip
    code = "import sys; sys.argv[0] = 'polymodal'; from polymodal.cli import main; main()"
    rng = np.random.default_rng(seed)
    kills = 0
    for _ in range(4):
        again = ["--resume"] if (killed / ".work").exists() else []
        if (killed / "report.json").exists():
            break
        process = subprocess.Popen([sys.executable, "-c", code, *words, *again])
        before = _files(killed)
        wanted = before + int(rng.integers(1, 40))  # files written when it is killed
        while process.poll() is None and _files(killed) < wanted:
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.05)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() != 0
    assert kills, "no run was killed before its end"
    if (killed / ".work").exists():
        cleared_away = (killed / "report.json").exists() and not (killed / ".work" / "work.json").exists()
        with pytest.raises(BadArgument, match="is finished already") if cleared_away else nullcontext():
            prepare(data, case.recipe, out=killed, schema={"kinds": KINDS}, workers=0, resume=True, quiet=True)
    assert contents(killed) == contents(whole)


def _files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))  # which bears folders that go while it looks
