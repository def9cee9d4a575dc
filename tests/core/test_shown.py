"""Nothing of the data steers the terminal: one printer, and all that is said goes through it."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import pytest

import polymodal as pm
from polymodal import cli
from polymodal.core.shown import plain, tell
from polymodal.runs.progress import Progress

SOURCE = Path(pm.__file__).parent
STEERING = (
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\r", "\b", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\ud800",
)  # fmt: skip
EVIL = "a" + "".join(STEERING) + "z"


def steers(text: str) -> bool:
    return any(sign in text for sign in ("\x1b", "\x9b", "\r", "\b", "\x07", "\x7f", *STEERING[-5:]))


def test_what_steers_is_written_out_and_the_rest_stays():
    assert plain("a\x1b[31mb\u202ec\ud800\x9b\U000e0001") == r"a\x1b[31mb\u202ec\ud800\u009b\udb40\udc01"
    assert plain("tab\tline\nمی‌خواهم 👩‍👧 日本 é") == "tab\tline\nمی‌خواهم 👩‍👧 日本 é"
    assert not steers(plain(EVIL))


def test_json_stays_json():
    value = {"a": EVIL, EVIL: "\U000e0041"}
    assert json.loads(plain(json.dumps(value, ensure_ascii=False))) == value


def test_progress_shows_nothing_that_steers():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream in (io.StringIO(), Terminal()):
        with Progress(stream=stream) as progress:
            progress.say(EVIL)
            stage = progress.stage("work", 20)
            for _ in range(20):
                stage.advance(f"{EVIL}[bold]")
            stage.detail(EVIL)
        shown = stream.getvalue()
        assert r"\x1b]0;title\x07" in shown
        assert not any(sign in shown for sign in ("\x1b]0", "\x9b", "\u202e", "\ud800"))


def write(folder: Path, form: str) -> Path:
    """A table whose names, cells, labels and file names all steer."""
    path = folder / f"rows.{form}"
    rows = [
        {"id": f"{EVIL}{i}", "photo": f"{EVIL}{i}.png", f"n{EVIL}": i * 1.5, "label": f"{EVIL}{i % 2}"}
        for i in range(12)
    ]
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines).replace("\r", "").replace("\ud800", "") + "\nto,few\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "words", [["inspect"], ["inspect", "--json"], ["plan"], ["plan", "--json"], ["plan", "--target", EVIL]]
)
def test_no_command_says_what_steers(tmp_path, capsys, monkeypatch, form, words):
    path = write(tmp_path, form)
    target = [] if "--target" in words else ["--target", "label"]
    monkeypatch.setattr(sys, "argv", ["polymodal", words[0], str(path), *words[1:], *target])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert "1b" in said.out + said.err
    assert not steers(said.out + said.err)


def test_a_fault_of_ours_is_told_without_steering(capsys, monkeypatch):
    def fails():
        raise RuntimeError(EVIL)

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in said
    assert "RuntimeError: a" in said
    assert not steers(said)


def test_full_memory_is_a_message(capsys, monkeypatch):
    def fails():
        raise MemoryError

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("polymodal: the memory is full.")


def test_nothing_else_prints():
    printers = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "sys.stdout.write"):
                printers.add(path.relative_to(SOURCE).as_posix())
    assert printers == {"core/shown.py"}


def test_tell_prints_to_where_it_is_told():
    stream = io.StringIO()
    tell("a\x1b", stream)
    assert stream.getvalue() == "a\\x1b\n"
