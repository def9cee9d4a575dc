"""Damage every kind of file that polymodal opens at random, and see that a fault is a message and never a traceback.

    python benchmarks/fuzz.py [FORMAT …] [--cases 200] [--seed 0] [--memory 1000] [--seconds 30] [--keep FOLDER]

Formats: csv, jsonl, parquet, schema, recipe, bundle, wav, png, npy. Tables go through `inspect`, `plan` and `predict`,
schemas through `inspect` and `plan`, recipes through `prepare`, bundles through `predict`; wav, png and npy are cells
of a table, twelve damaged files at a time, that goes through `inspect` and `predict`. Commands are called as the
command line calls them, in processes forked from one that has imported everything, with `--memory` megabytes of address
space above what the libraries map (about 2 GB, of which they use a tenth) and `--seconds` a case. Mutations are of
bytes (bits flipped, bytes inserted, removed, doubled, cut off, spliced with another file) and of structure (values
replaced by what programs are known to trip over, headers with other figures and right checksums). Counted are
tracebacks (anything that is no message of ours), hangs and kills; the files that caused them are left in `--keep`.
Exits with 1 when there is any.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
import typer
import yaml
from PIL import Image
from tools import parser, show

from polymodal import cli

ctypes.CDLL(None).mallopt(-8, 1)  # one arena: each reserves 128 MB of addresses
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve more addresses than they use
ROWS, BATCH, FILES = 16, 40, 12  # of a table; cases that one forked process tries; damaged files in one table
FAST = {"fusion": "concat", "seeds": 1, "crossfit": 0, "ensemble": False, "trackers": "none", "workers": 0,
        "training": {"epochs": 1}, "dim": 8}  # fmt: skip
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, -(2**63), 10**40, 10**400, 0.1, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "\0", "\x1b[31m", "\u202e", "\ud800", "NaN", "1e999", "-", "[", "[[1,2],[3]]", "[1,null]", "{}",
    "../../etc/passwd", "/", "http://a.b/c", "C:\\x", "2024-02-30", "1,5", "∞", "٣", "é" * 300, "x" * 70000,
    "9" * 5000, "[" * 5000, "a|b|c", "sounds/0.wav", "pictures/0.png", [], {}, [[]], [1, "a", None], {"a": {"b": [1]}},
    [[1, 2], [3]],
    [10**400], "/dev/zero",
)  # fmt: skip


@dataclass
class Count:
    """What became of the mutations of one format."""

    cases: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> dict[str, Any]:
        kinds = Counter(fault.partition(" ")[0] for fault in self.faults.elements())
        return {
            "format": name, "mutations": self.cases, "tracebacks": kinds["traceback"], "hangs": kinds["hang"],
            "kills": kinds["kill"], "ms_each": 1000 * self.seconds / max(self.cases, 1),
        }  # fmt: skip


# --- what is damaged --------------------------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """A small table in three forms with its media, a schema, a recipe and a finished run."""
    cli.app = typer.main.get_command(cli.app)  # made anew it takes longer than most commands
    rng = np.random.default_rng(0)
    for name in ("pictures", "sounds", "series"):
        (folder / name).mkdir()
    rows = []
    for i in range(ROWS):
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(folder / f"pictures/{i}.png")
        soundfile.write(folder / f"sounds/{i}.wav", rng.normal(0, 0.1, 400), 8000)
        np.save(folder / f"series/{i}.npy", rng.normal(size=(16, 2)).astype(np.float32))
        rows.append({
            "id": f"r{i}", "photo": f"pictures/{i}.png", "sound": f"sounds/{i}.wav", "walk": f"series/{i}.npy",
            "title": f"a {'red' if i % 2 else 'blue'} thing number {i} that was seen here", "price": round(i * 1.7, 2),
            "colour": "red" if i % 3 else "green", "when": f"2024-01-{i + 1:02}", "label": "ab"[i % 2],
        })  # fmt: skip
    write_csv(folder / "rows.csv", rows)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_parquet(folder / "rows.parquet", rows)
    schema = {
        "target": {"label": "classes"}, "id": "id", "kinds": {"colour": "category", "title": "text"},
        "fields": {"photo": "image", "sound": {"kind": "audio"}, "walk": {"kind": "series", "columns": ["walk"]},
                   "title": "text", "rest": {"kind": "table", "columns": ["price", "colour"]}}, "ignore": ["when"],
    }  # fmt: skip
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False), encoding="utf-8")
    steps = ["readable", "spaces", {"length": {"columns": ["title"], "least": 2}}, {"name": "blurred", "below": 0.5},
             {"exact_duplicates": {"columns": ["title"]}}, {"outliers": {"times": 20}}, "flip"]  # fmt: skip
    recipe = {"seed": 3, "batch": 4, "steps": steps}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    (folder / "fast.yaml").write_text(yaml.safe_dump(FAST), encoding="utf-8")
    os.environ["POLYMODAL_STORE"] = str(folder / "store")
    fit = ("--schema", folder / "schema.yaml", "--config", folder / "fast.yaml", "--out", folder / "run", "--quiet")
    words = [("fit", folder / "rows.csv", *fit), ("prepare", folder / "rows.csv", "--recipe", folder / "recipe.yaml",
              "--out", folder / "prepared", "--workers", 0, "--quiet")]  # fmt: skip
    for suffix in ("csv", "jsonl", "parquet"):  # what they import is then there before processes are forked
        words += [(name, folder / f"rows.{suffix}", "--target", "label") for name in ("inspect", "plan")]
        words.append(("predict", folder / "run", folder / f"rows.{suffix}", "--out", folder / "answers.csv"))
    for one in words:
        if said := call(*one):
            raise SystemExit(f"{one[0]} fails on whole files: {said}")


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows(["" if v is None else _text(v) for v in row.values()] for row in rows)


def _text(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 10_000:
        return "9" * 5000
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list | dict) else str(value)


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Each column with a type that Arrow finds for its values, else as text."""
    columns = {}
    for key in rows[0]:
        values, name = [row[key] for row in rows], key.encode("utf-8", "replace").decode()
        try:
            columns[name] = pa.array(values)
            pq.write_table(pa.table({name: columns[name]}), io.BytesIO())  # Parquet lacks some types that Arrow has
        except (pa.ArrowException, OverflowError, UnicodeError, ValueError, TypeError):
            words = [None if v is None else _text(v).encode("utf-8", "replace").decode() for v in values]
            columns[name] = pa.array(words)
    pq.write_table(pa.table(columns), path)


# --- mutations --------------------------------------------------------------------------------------------------------


def bytes_mutated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to eight changes of bytes."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at, size = rng.randrange(len(made) + 1), rng.choice((1, 1, 2, 4, 16, 64, 512))
        way = rng.randrange(7)
        if way == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            made[at:at] = rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size, b"\x1b[2J", b"[" * size))
        elif way == 2:
            del made[at : at + size]
        elif way == 3:
            made[at:at] = made[at : at + size] * rng.choice((1, 2, 50))
        elif way == 4 and rng.random() < 0.5:
            del made[at:]
        elif way == 5:
            start = rng.randrange(len(other) + 1)
            made[at : at + size] = other[start : start + size]
        elif at < len(made):
            made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x2C, 0x0A, 0x5B, 0x7B))
    return bytes(made)


def rows_mutated(rows: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Cells, whole columns or names replaced by what programs trip over."""
    rows = [dict(row) for row in rows]
    for _ in range(rng.choice((1, 1, 2, 5))):
        name, value, way = rng.choice(list(rows[0])), rng.choice(NASTY), rng.randrange(5)
        if way == 0:
            for row in rows:
                row[name] = value if rng.random() < 0.8 else row[name]
        elif way == 1 and isinstance(value, str):
            rows = [{(value if key == name else key): v for key, v in row.items()} for row in rows]
        elif way == 2:
            rows = rows[: rng.randrange(1, len(rows) + 1)] * rng.choice((1, 1, 3))
        else:
            rng.choice(rows)[name] = value
    return rows


def value_mutated(value: Any, rng: random.Random, depth: int = 0) -> Any:
    """A value of YAML or JSON in which one place was replaced, removed, renamed, doubled or wrapped."""
    if not isinstance(value, dict | list) or not value or (depth and rng.random() < 0.25):
        way = rng.randrange(6)
        if way == 0:
            return [value] * rng.choice((1, 2, 100))
        if way == 1:
            return {"name": value} if isinstance(value, str) else {str(value): value}
        if way == 2 and isinstance(value, int | float):
            return rng.choice((-value, value * 1000, value + 0.5, str(value)))
        if way == 3:
            for _ in range(rng.choice((5, 70, 2000))):
                value = [value]
            return value
        return rng.choice(NASTY)
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(made)) if isinstance(made, dict) else rng.randrange(len(made))
    way = rng.randrange(8)
    if way == 0:
        del made[key]
    elif way == 1 and isinstance(made, dict):
        made[str(rng.choice(NASTY))[:100] if rng.random() < 0.5 else str(key) + "x"] = made.pop(key)
    elif way == 1:
        made.insert(key, made[rng.randrange(len(made))])
    else:
        made[key] = value_mutated(made[key], rng, depth + 1)
    return made


_LINES = (
    "a: &a [x]\nb: [*a, *a]", "? [1, 2]\n: 3", "z: !!python/object:os.system x", "z: *none", "z: 2024-13-45",
    "z: !!int ''", "z: !!binary x", "- &a [*a]", "\t", "%YAML 9", "---", "<<: 3",
)  # fmt: skip


def dumped(value: Any, as_json: bool, rng: random.Random) -> bytes:
    """As a file holds it; what nests too deep for the writer too. YAML may get a doubled line, an alias or a tag."""
    try:
        text = json.dumps(value) if as_json else yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    except (RecursionError, ValueError, yaml.YAMLError):
        text = '{"a": ' + "[" * 3000 + "]" * 3000 + "}"
    if not as_json and rng.random() < 0.2:
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        text = "\n".join([*lines[:at], rng.choice((lines[at], *_LINES)), *lines[at:]])
    return text.encode("utf-8", "surrogatepass")


def wav_mutated(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    at = rng.choice((4, 16, 20, 22, 24, 28, 32, 34, 40))  # sizes, format, channels, rate, bytes, bits
    form = "<H" if at in (20, 22, 32, 34) else "<I"
    top = 2 ** (8 * struct.calcsize(form)) - 1
    struct.pack_into(form, made, at, rng.choice((0, 1, 2, 3, 7, 255, top // 2, top, rng.randrange(top), 192_000 & top)))
    return bytes(made)


def png_mutated(content: bytes, rng: random.Random) -> bytes:
    """A chunk with other content, twice or not at all, and right checksums."""
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    i = rng.randrange(len(chunks))
    kind, data = chunks[i]
    way = rng.randrange(5)
    if way == 0:
        chunks.insert(i, chunks[i])
    elif way == 1:
        del chunks[i]
    elif way == 2:
        extra = rng.choice((b"tEXt", b"zTXt", b"iCCP", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"gAMA", b"IDAT"))
        chunks.insert(1, (extra, rng.choice((rng.randbytes(30), b"a\0\0" + zlib.compress(bytes(10**6)), b""))))
    elif kind == b"IHDR":
        width, height = (rng.choice((0, 1, 12, 2**15, 2**31 - 1, 2**32 - 1)) for _ in range(2))
        tail = bytes((rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1)), 0, 0, rng.choice((0, 1, 2))))
        chunks[i] = (kind, struct.pack(">II", width, height) + tail)
    else:
        chunks[i] = (kind, bytes_mutated(data, content, rng))
    body = (len(d).to_bytes(4, "big") + k + d + zlib.crc32(k + d).to_bytes(4, "big") for k, d in chunks)
    return content[:8] + b"".join(body)


def npy_mutated(content: bytes, rng: random.Random) -> bytes:
    """Another header, or another array altogether."""
    if rng.random() < 0.3:
        held, buffer = rng.choice(_ARRAYS), io.BytesIO()
        if rng.random() < 0.3:
            np.savez(buffer, held) if rng.random() < 0.7 else np.savez_compressed(buffer, a=held, b=held)
        else:
            np.save(buffer, held, allow_pickle=True)
        return buffer.getvalue()
    dtype = rng.choice(_DTYPES)
    shape = rng.choice(((16, 2), (), (0,), (-1,), (2**40,), (16,) * 40, (1, 1, 16), (32,), (10**9,), "x", (1.5,)))
    text = f"{{'descr': {dtype!r}, 'fortran_order': {rng.choice((False, True, 3))}, 'shape': {shape!r}, }}"
    text += rng.choice(("", "(" * 500, " " * 12000)) + "\n"
    head = b"\x93NUMPY" + bytes((rng.choice((1, 1, 2, 3, 9)), 0)) + struct.pack("<H", len(text)) + text.encode()
    return head + content[128:]


_DTYPES = ("<f4", "<f8", "|O", "<U5", "|b1", "<c16", "<M8[s]", "|V8", ">i2", "<f2", "|S3", "x", "[('a','<f4')]")
_ARRAYS = (
    np.array([{}, 1], object), np.zeros((0, 3)), np.zeros((2, 3, 4)), np.full(5, np.nan), np.full(5, np.inf),
    np.zeros(3, "M8[D]"), np.zeros(3, "c16"), np.array(["a", "b"]), np.zeros(2, [("a", "f4")]), np.array(3.0),
    np.array([2**63], np.uint64), np.array([1e308, -1e308]), np.zeros((10**6,), np.bool_), np.zeros(3, np.float16),
    np.zeros((1, 200), np.int8),
)  # fmt: skip


def weights_mutated(content: bytes, rng: random.Random) -> bytes:
    """A tensor's name, type, shape or place changed in the header, or its numbers by NaN and infinities."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    name = rng.choice([n for n in header if n != "__metadata__"])
    if rng.random() < 0.5:
        start, end = header[name]["data_offsets"]
        value = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e30, -1e30, 0.0)))
        data[start:end] = (value * ((end - start) // 4 + 1))[: end - start]
    else:
        header = value_mutated(header, rng)
    try:
        text = json.dumps(header).encode("utf-8", "replace")
    except (RecursionError, ValueError):
        text = b"{}"
    return len(text).to_bytes(8, "little") + text + bytes(data)


# --- what is done with them -------------------------------------------------------------------------------------------


def call(*words: Any) -> str:
    """A command as its command line has it: the message that ended it, if one did. Anything else is raised."""
    before, sys.argv = sys.argv, ["polymodal", *map(str, words)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            cli.main()
    except SystemExit as end:
        if end.code not in (0, 2, None):
            lines = [line.strip() for line in said.getvalue().splitlines() if line.strip()]
            places = [line for line in lines if line.startswith("File") and "polymodal" in line]
            raise RuntimeError(f"{places[-1].rpartition('/')[2] if places else ''}: {lines[-1]}") from end
        return said.getvalue() if end.code else ""
    finally:
        sys.argv = before
    return ""


Mutate = Callable[[bytes, random.Random], bytes]


class Trial:
    """The files at hand, and how a mutation of each format is made and tried."""

    def __init__(self, folder: Path):
        self.folder = folder
        with (folder / "rows.csv").open(encoding="utf-8") as file:
            self.rows: list[dict[str, Any]] = list(csv.DictReader(file))
        self.last: list[Path] = []  # what the last case wrote

    def table(self, suffix: str, rng: random.Random) -> None:
        path = self.folder / f"damaged{os.getpid()}.{suffix}"
        content = (self.folder / f"rows.{suffix}").read_bytes()
        if rng.random() < 0.5:
            path.write_bytes(bytes_mutated(content, (self.folder / "schema.yaml").read_bytes(), rng))
        else:
            rows = rows_mutated(self.rows, rng)
            if suffix == "csv":
                write_csv(path, rows)
            elif suffix == "parquet":
                write_parquet(path, rows)
            else:
                lines = [dumped(row, True, rng) for row in rows]
                path.write_bytes(b"\n".join(lines) + b"\n")
        self.last = [path]
        call("inspect", path, "--target", "label")
        call("plan", path, "--target", "label")
        call("predict", self.folder / "run", path, "--out", self.folder / f"answers{os.getpid()}.csv")

    def settings(self, name: str, rng: random.Random) -> None:
        content = (self.folder / f"{name}.yaml").read_bytes()
        if rng.random() < 0.4:
            made = bytes_mutated(content, (self.folder / "run" / "config.yaml").read_bytes(), rng)
        else:
            made = dumped(value_mutated(yaml.safe_load(content), rng), False, rng)
        path = self.folder / f"damaged{os.getpid()}.yaml"
        path.write_bytes(made)
        self.last = [path]
        if name == "schema":
            call("inspect", self.folder / "rows.csv", "--schema", path)
            call("plan", self.folder / "rows.csv", "--schema", path)
        else:
            out = self.folder / f"prepared{os.getpid()}"
            shutil.rmtree(out, ignore_errors=True)
            call("prepare", self.folder / "rows.csv", "--recipe", path, "--out", out, "--workers", 0, "--quiet")

    def bundle(self, rng: random.Random) -> None:
        run, path = self.folder / "run", self.folder / f"bundle{os.getpid()}"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(run, path, ignore=shutil.ignore_patterns("work", "report.html", "*.jsonl"))
        name = rng.choice(("config.yaml", "schema.json", "weights.safetensors"))
        content = (run / name).read_bytes()
        if rng.random() < 0.4:
            made = bytes_mutated(content, (run / "schema.json").read_bytes(), rng)
        elif name == "weights.safetensors":
            made = weights_mutated(content, rng)
        else:
            made = dumped(value_mutated(yaml.safe_load(content), rng), name.endswith("json"), rng)
        (path / name).write_bytes(made)
        if rng.random() < 0.8:  # else the digests alone tell
            (path / "manifest.json").unlink(missing_ok=True)
        self.last = [path]
        call("predict", path, self.folder / "few.csv", "--out", self.folder / f"answers{os.getpid()}.csv")

    def media(self, column: str, suffix: str, mutate: Mutate, rng: random.Random) -> None:
        rows, self.last = [], []
        for i in range(FILES):
            whole = (self.folder / self.rows[i % ROWS][column]).read_bytes()
            made = mutate(whole, rng) if rng.random() < 0.5 else bytes_mutated(whole, whole[::-1], rng)
            path = self.folder / f"cell{os.getpid()}_{i}.{suffix}"
            path.write_bytes(made)
            rows.append({**self.rows[i % ROWS], "id": f"m{i}", column: path.name})
            self.last.append(path)
        table = self.folder / f"cells{os.getpid()}.csv"
        write_csv(table, rows)
        self.last.append(table)
        call("inspect", table, "--schema", self.folder / "schema.yaml")
        call("predict", self.folder / "run", table, "--out", self.folder / f"answers{os.getpid()}.csv")

    def formats(self) -> dict[str, Callable[[random.Random], None]]:
        return {
            "csv": lambda rng: self.table("csv", rng),
            "jsonl": lambda rng: self.table("jsonl", rng),
            "parquet": lambda rng: self.table("parquet", rng),
            "schema": lambda rng: self.settings("schema", rng),
            "recipe": lambda rng: self.settings("recipe", rng),
            "bundle": self.bundle,
            "wav": lambda rng: self.media("sound", "wav", wav_mutated, rng),
            "png": lambda rng: self.media("photo", "png", png_mutated, rng),
            "npy": lambda rng: self.media("walk", "npy", npy_mutated, rng),
        }


def where(error: BaseException) -> str:
    """The exception, and the last place of ours that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "polymodal" in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
    return f"traceback {type(error).__name__} at {place}: {str(error)[:100]!r}"


def work(trial: Trial, name: str, first: int, last: int, given: Any, report: int) -> None:
    """In a forked process: try the cases, and tell the parent of each as it begins and of what it raised."""
    resource.setrlimit(resource.RLIMIT_AS, (mapped() + given.memory * 10**6,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1), os.dup2(nowhere, 2)  # libraries write there too
    attempt = trial.formats()[name]
    for case in range(first, last):
        os.write(report, f"{case}\n".encode())
        signal.alarm(given.seconds)
        rng = random.Random(f"{name} {given.seed} {case}")
        try:
            attempt(rng)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is sought
            told = f"{case} {where(error)}".replace("\n", " ").encode("utf-8", "replace")[:400]
            os.write(report, told + b"\n")  # first: what the case left may not be there to be kept
            keep(trial, name, case, given.keep)
        signal.alarm(0)


def mapped() -> int:
    """Bytes of addresses that this process has: its libraries above all."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))


def keep(trial: Trial, name: str, case: int, folder: Path | None) -> None:
    for path in (path for path in trial.last if folder and path.exists()):
        target = folder / f"{name}_{case}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)


def attack(trial: Trial, name: str, given: Any) -> Count:
    """Fork until all cases are tried; a process that dies costs its case and is followed by another."""
    count, started = Count(), time.perf_counter()
    each = FILES if name in ("wav", "png", "npy") else 1
    first, total = 0, -(-given.cases // each)
    while first < total:
        reader, writer = os.pipe()
        last = min(total, first + BATCH)
        if (child := os.fork()) == 0:
            try:
                work(trial, name, first, last, given, writer)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "r", encoding="utf-8", errors="replace") as lines:
            told = [line.rstrip("\n") for line in lines]
        _, status = os.waitpid(child, 0)
        begun = [int(line) for line in told if line.isdigit()]
        for line in told:
            if not line.isdigit() and (fault := line.partition(" ")[2]):
                count.faults[fault.strip()] += 1
                print(f"{name} {line}", file=sys.stderr, flush=True)
        first = begun[-1] + 1 if begun else last
        count.cases += len(begun) * each
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            what = "hang" if number == signal.SIGALRM else "kill"
            fault = f"{what} in case {first - 1} by {signal.Signals(number).name}"
            count.faults[fault] += 1
            print(f"{name} {fault}", file=sys.stderr, flush=True)
    count.seconds = time.perf_counter() - started
    print(f"{name}: {count.cases:,} mutations in {count.seconds:,.0f} s", file=sys.stderr, flush=True)
    return count


def main() -> None:
    read = parser(__doc__)
    read.add_argument("formats", nargs="*")
    read.add_argument("--cases", type=int, default=200)
    read.add_argument("--seed", type=int, default=0)
    read.add_argument("--memory", type=int, default=1000, help="megabytes of addresses above the libraries'")
    read.add_argument("--seconds", type=int, default=30)
    read.add_argument("--keep", type=Path)
    given = read.parse_args()
    torch.set_num_threads(1)  # a process that has more of them cannot be forked
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        with (Path(folder) / "rows.csv").open() as whole:
            (Path(folder) / "few.csv").write_text("".join(list(whole)[:4]))
        trial = Trial(Path(folder))
        print(f"{mapped() / 1e6:,.0f} MB of addresses are mapped by libraries", file=sys.stderr)
        names = given.formats or list(trial.formats())
        counts = {name: attack(trial, name, given) for name in names}
    show([count.row(name) for name, count in counts.items()], given.json)
    for name, count in counts.items():
        for fault, times in count.faults.most_common(30):
            print(f"{name}: {times} × {fault}")
    sys.exit(any(count.faults for count in counts.values()))


if __name__ == "__main__":
    main()
