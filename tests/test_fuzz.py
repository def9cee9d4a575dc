"""A quick part of `benchmarks/fuzz.py`: damaged files of every kind end in messages, never in tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polymodal

HARNESS = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(polymodal.__file__).parents[1]), **variables}
    return subprocess.run([sys.executable, str(HARNESS), *words], env=environment, capture_output=True, text=True)


def test_damaged_files_end_in_messages():
    said = run("--cases", "12", "--seed", "7")
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines()[0].split() == ["format", "mutations", "tracebacks", "hangs", "kills", "ms", "each"]
    assert len(said.stdout.splitlines()) == 10


def test_the_harness_counts_what_it_seeks(tmp_path):
    """Faults put into the reader of JSON are found: the first case raises, the second hangs, the third dies."""
    (tmp_path / "sitecustomize.py").write_text(
        "import json, os, pathlib, signal, time\n"
        "tried = pathlib.Path(__file__).with_name('tried')\n"
        "parent, decode = os.getpid(), json.JSONDecoder.decode\n"
        "def broken(self, text, *rest):\n"
        "    if os.getpid() == parent: return decode(self, text, *rest)\n"
        "    with tried.open('a') as file: file.write('x')\n"
        "    place = tried.stat().st_size\n"
        "    if place == 1: raise RuntimeError('broken on purpose')\n"
        "    if place == 2: time.sleep(60)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "json.JSONDecoder.decode = broken\n"
    )
    path = os.pathsep.join([str(Path(polymodal.__file__).parents[1]), str(tmp_path)])
    said = run("jsonl", "--cases", "3", "--seconds", "2", PYTHONPATH=path)
    assert said.returncode == 1, said.stdout + said.stderr
    assert said.stdout.splitlines()[1].split()[1:5] == ["3", "1", "1", "1"]
    assert "RuntimeError" in said.stdout
