"""Real processes: however a run ends no worker is left, and files beside the data are never taken for Python's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import polymodal

SOURCE = Path(polymodal.__file__).parents[1]
SHADOWS = ("secrets", "random", "csv", "tokenize", "queue", "statistics", "numpy", "torch", "yaml")
WORK = """
import os, time
from polymodal.runs.events import Done, EpochEnd

def sleep(values, device):
    yield EpochEnd(1, 2, float(os.getpid()), None)
    time.sleep(600)

def modules(values, device):
    import csv, queue, random, secrets, statistics, tokenize
    yield Done({m.__name__: m.__file__ for m in (csv, queue, random, secrets, statistics, tokenize)})
"""
PARENT = """
import signal, sys, time
from polymodal import cli
from polymodal.runs.pool import Job, Pool

def work():
    with Pool(runs="work:sleep", devices=["cpu", "cpu"]) as pool:
        for _, event in pool.run([Job(work="", out=str(i)) for i in range(2)]):
            print(int(event.loss), flush=True)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nor one under nohup with this
cli.app = work
(cli.main if sys.argv[1] == "cli" else work)()
"""


def environment(*folders: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, *folders)))}


def gone(pid: int, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":  # nobody reaps it here
                return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [
        ("cli", signal.SIGTERM, 143),
        ("cli", signal.SIGHUP, 129),
        ("cli", signal.SIGINT, None),
        ("python", signal.SIGTERM, -signal.SIGTERM),
        ("python", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_no_worker_outlives_its_parent(tmp_path, how, number, code):
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), how]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(), start_new_session=True
    ) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert len(set(workers)) == 2
        os.kill(parent.pid, number)  # it alone: a terminal's Ctrl-C would reach the workers too
        try:
            ended = parent.wait(30)
        finally:
            parent.kill()
    assert all(map(gone, workers))
    assert code is None or ended == code


DEAF = """
import os, signal, threading, time
from polymodal.runs import pool as pools

pools._Worker._listen = lambda self, events: time.sleep(600)
with pools.Pool(runs="work:say", devices=["cpu"]) as pool:
    threading.Thread(target=lambda: list(pool.run([pools.Job(work="", out="said")])), daemon=True).start()
    while not os.path.exists("said"):
        time.sleep(0.1)
    print(open("said").read(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_worker_outlives_a_parent_that_had_not_heard_all(tmp_path):
    (tmp_path / "work.py").write_text(
        "import os\nfrom polymodal.runs.events import Done\n"
        "def say(values, device):\n"
        "    yield Done({})\n"
        "    with open('being', 'w') as file:\n"
        "        file.write(str(os.getpid()))\n"
        "    os.rename('being', 'said')\n"
    )
    (tmp_path / "parent.py").write_text(DEAF)
    command = [sys.executable, "parent.py"]
    said = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100)
    assert said.returncode == -signal.SIGKILL
    assert gone(int(said.stdout))
    assert "Traceback" not in said.stderr


def shadowed(folder: Path) -> Path:
    """A folder of data in which files bear names of Python's modules."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text("raise SystemExit('code beside the data ran')")
    (folder / "rows.csv").write_text("a,b,label\n" + "".join(f"{i},{i % 3},{'xy'[i % 2]}\n" for i in range(20)))
    return folder


def test_a_command_takes_no_file_beside_the_data_for_a_module(tmp_path):
    command = [sys.executable, "-m", "polymodal.cli", "inspect", "rows.csv", "--target", "label"]
    said = subprocess.run(command, cwd=shadowed(tmp_path), env=environment(), capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("rows: 20 rows")


@pytest.mark.parametrize("first", ["", "."])
def test_a_worker_takes_no_file_beside_the_data_for_a_module_and_finds_own_parts(tmp_path, first):
    """The parent has Python's modules already, and then the folder of the data first of all, as notebooks do."""
    shadowed(tmp_path)
    (tmp_path / "work.py").write_text(WORK)
    parent = (
        "import json, pathlib, sys\n"
        "from polymodal.runs.pool import Job, Pool\n"
        f"sys.path[:0] = [{first!r}, pathlib.Path('notebooks')]\n"
        "with Pool(runs='work:modules', devices=['cpu']) as pool:\n"
        "    print(json.dumps([e.to_json() for _, e in pool.run([Job(work='', out='')])]))\n"
    )
    command = [sys.executable, "-P", "-c", parent]
    said = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert '"event": "done"' in said.stdout
    assert str(tmp_path) not in said.stdout


AHEAD = """
import os, sys, threading, time
from polymodal.runs.pool import Job, Pool
from polymodal.runs.processes import fork_ahead
import own

print("waits to be said once", end="")
if sys.argv[1] == "threads":
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(fork_ahead("own:run"))
with Pool(runs="own:run", devices=["cpu"] * 2) as pool:
    found = [event for _, event in pool.run([Job(work="", out=str(i)) for i in range(3)])]
    print([type(event).__name__ for event in found])
    print({event.result["imported"] == os.getpid() for event in found if hasattr(event, "result")})
with Pool(runs="own:run", devices=["cpu"]) as pool:
    print([type(event).__name__ for _, event in pool.run([Job(work="", out="2")])])
"""
OWN = """
import os, sys
from polymodal.runs.events import Done

HERE = os.getpid()

def run(values, device):
    if values["out"] == "0":
        sys.exit(7)
    yield Done({"imported": HERE})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks are trusted on Linux")
@pytest.mark.parametrize("how", ["alone", "threads"])
def test_workers_are_forked_from_a_process_with_one_thread(tmp_path, how):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "parent.py").write_text(AHEAD)
    command = [sys.executable, str(tmp_path / "parent.py"), how]
    said = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=100)
    assert said.returncode == 0, said.stderr
    first, events, same, again = said.stdout.splitlines()
    assert first == f"waits to be said once{how == 'alone'}"
    assert sorted(eval(events)) == ["Done", "Done", "Failed"]
    assert eval(same) == {how == "alone"}
    assert eval(again) == ["Done"]


def test_a_worker_whose_parent_was_killed_ends_without_a_word():
    """A socket whose other end died with words unread is reset rather than closed."""
    code = """
import queue
from polymodal.runs import worker

def words():
    yield "{}"
    raise ConnectionResetError

worker._listen(words(), queue.SimpleQueue())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")
