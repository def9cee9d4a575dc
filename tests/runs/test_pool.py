"""Workers: every job comes to an end, whatever the others do, and no worker outlives its pool."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

import pytest
import torch

import polymodal as pm
from polymodal.data import synthetic
from polymodal.experiment.answer_job import AnswerJob
from polymodal.fusion.simple import Concat
from polymodal.models.strategy import Strategy
from polymodal.runs.events import Done, EpochEnd, Failed, Skipped
from polymodal.runs.pool import FORKS, Job, Pool

from .test_ending import gone

ODD = '''
import os, time
from polymodal.fusion.simple import Concat

class Dies(Concat):
    """Takes its whole process with it."""
    def fuse(self, streams):
        os._exit(3)

class Prints(Concat):
    """Talks while it works."""
    def fuse(self, streams):
        print("a word from the part")
        os.write(1, b"a word from below Python\\\\n")
        return super().fuse(streams)

class Sleeps(Concat):
    """Never comes to an end by itself."""
    def fuse(self, streams):
        time.sleep(600)
'''


class Raises(Concat):
    """Cannot fuse."""

    def fuse(self, streams):
        raise ValueError("this part is broken")


class Own(Concat):
    """A user's part; notes on how many threads it runs."""

    threads: ClassVar[set[int]] = set()

    def fuse(self, streams):
        self.threads.add(torch.get_num_threads())
        return super().fuse(streams)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The working folder of a small fit, whose tokens further jobs can train on."""
    folder = tmp_path_factory.mktemp("run")
    columns, target = synthetic.missing(80)
    pm.fit(
        columns,
        target,
        out=folder / "run",
        store=str(folder / "store"),
        fusion=["concat"],
        seeds=1,
        crossfit=0,
        dim=8,
        workers=0,
        trackers="none",
        training={"epochs": 1},
        quiet=True,
    )
    return folder / "run" / "work"


@pytest.fixture
def job(work, tmp_path, monkeypatch):
    """Makes jobs; parts of ODD are where worker processes can import them."""
    (tmp_path / "odd_parts.py").write_text(ODD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(spec, name=None, **more):
        name = name or str(spec).rsplit(":", 1)[-1].lower()
        strategy, out = Strategy("fusion", spec, ("left", "right"), name), str(tmp_path / "out" / name)
        return AnswerJob(strategy=strategy, seed=0, training={"epochs": 1}, work=str(work), out=out,
                         store=str(work.parents[1] / "store"), **more)  # fmt: skip

    return make


def last(events):
    """The last event of every job, by the job's name."""
    return {job.strategy.name: event for job, event in events}


def test_a_worker_that_dies_takes_one_job_with_it_and_printing_disturbs_nothing(job, capfd):
    jobs = [job("mean"), job("odd_parts:Dies"), job("odd_parts:Prints"), job("missing_parts:None"), job("mlp")]
    with Pool(1, runs="polymodal.experiment.jobs:guarded") as pool:
        found = last(pool.run(jobs))
        assert [type(event) for event in found.values()] == [Done, Failed, Done, Failed, Done]
        assert found["dies"].reason == "its worker process ended with code 3"
        assert "missing_parts" in found["none"].reason
        again = last(pool.run([job("mean"), job("gated")]))
        assert again["mean"].cached
        assert not again["gated"].cached
        workers = list(pool._workers)
    assert not any(worker.alive for worker in workers)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a word from the part" in captured.err
    assert "a word from below Python" in captured.err


def test_interrupted_jobs_are_dropped_and_the_pool_can_be_used_again(job):
    with Pool(2, runs="polymodal.experiment.jobs:guarded") as pool:
        events = pool.run([job("odd_parts:Sleeps"), job("mean"), job("odd_parts:Sleeps")])
        assert next(events)[0].name == "mean #0"
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
        assert len(pool._workers) == 1  # the one that slept is gone
        found = last(pool.run([job("weighted")]))
    assert isinstance(found["weighted"], Done)


def test_inline_jobs_run_in_this_process_on_one_thread(job):
    torch.set_num_threads(2)
    with Pool(2, runs="polymodal.experiment.jobs:guarded") as pool:
        jobs = [job(f"{__name__}:Raises", inline=True), job(f"{__name__}:Own", inline=True)]
        found = last(pool.run(jobs))
        assert not pool._workers
    assert found["raises"].reason == "ValueError: this part is broken"
    assert "in fuse" in found["raises"].trace
    assert found["own"].result["parameters"] > 0
    assert Own.threads == {1}
    assert torch.get_num_threads() == 2


def test_without_workers_everything_runs_here(job):
    with Pool(0, runs="polymodal.experiment.jobs:guarded") as pool:
        found = last(pool.run([job("mean"), job(f"{__name__}:Raises")]))
        assert not pool._workers
    assert [type(event) for event in found.values()] == [Done, Failed]


def test_jobs_past_the_time_limit_are_skipped_and_no_worker_is_started(job):
    with Pool(2, runs="polymodal.experiment.jobs:guarded") as pool:
        found = last(pool.run([job("mean"), job("mlp"), job("gated", inline=True)], until=time.perf_counter() - 1))
        assert not pool._workers
    assert [type(event) for event in found.values()] == [Skipped] * 3


def test_there_is_at_least_one_worker():
    assert Pool(runs="polymodal.experiment.jobs:guarded").workers >= 1


def echo(values, device):
    """What a job is told."""
    yield Done(values["out"] + " on " + device)


def test_every_worker_has_its_device_and_keeps_it(tmp_path, monkeypatch):
    (tmp_path / "told_device.py").write_text(
        "import time\n"
        "from polymodal.runs.events import Done\n"
        "def run(values, device):\n"
        "    time.sleep(0.2)\n"
        "    yield Done({'device': device})\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    jobs = [Job(work="", out=str(i)) for i in range(6)]
    with Pool(runs="told_device:run", devices=["cuda:0", "cuda:1"]) as pool:
        assert pool.workers == 2
        found = [event.result["device"] for _, event in pool.run(jobs)]
        assert [worker.device for worker in pool._workers] == ["cuda:0", "cuda:1"]
    assert len(found) == 6
    assert set(found) == {"cuda:0", "cuda:1"}


def test_jobs_that_run_here_are_told_where():
    with Pool(runs=f"{__name__}:echo", devices=[], here="mps") as pool:
        assert [event.result for _, event in pool.run([Job(work="", out="one")])] == ["one on mps"]


@pytest.mark.skipif(not FORKS, reason="workers are forks on Linux")
def test_workers_import_once_and_one_that_dies_is_followed_by_another(tmp_path, monkeypatch):
    (tmp_path / "counted.py").write_text(
        "import os, pathlib, threading\n"
        "from polymodal.runs.events import Done\n"
        "with open(pathlib.Path(__file__).with_name('imports'), 'a') as file:\n"
        "    file.write('x')\n"
        "assert threading.active_count() == 1\n"
        "def run(values, device):\n"
        "    if values['out'] == '1':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    yield Done({'parent': os.getppid(), 'own': os.getpid()})\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Pool(runs="counted:run", devices=["cpu", "cpu"]) as pool:
        found = [event for _, event in pool.run([Job(work="", out=str(i)) for i in range(6)])]
    assert [event.reason for event in found if isinstance(event, Failed)] == [
        "its worker process ended with code -9 (often: out of memory)"
    ]
    done = [event.result for event in found if isinstance(event, Done)]
    assert len(done) == 5
    assert len({one["parent"] for one in done}) == 1
    assert os.getpid() not in {one["parent"] for one in done}
    assert (tmp_path / "imports").read_text() == "x"


def test_where_nothing_is_forked_a_worker_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.runs.pool.FORKS", False)
    (tmp_path / "begun.py").write_text(
        "import os\nfrom polymodal.runs.events import Done\n"
        "def run(values, device):\n"
        "    if values['out'] == '0':\n"
        "        os._exit(3)\n"
        "    yield Done({'parent': os.getppid()})\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Pool(runs="begun:run", devices=["cpu"]) as pool:
        first, second = [event for _, event in pool.run([Job(work="", out=str(i)) for i in range(2)])]
        assert [worker.alive for worker in pool._workers].count(True) == 1
    assert first.reason == "its worker process ended with code 3"
    assert second.result == {"parent": os.getpid()}


TALKS = """
import os, time
from polymodal.runs.events import Done, EpochEnd
time.sleep(SLOW)
def run(values, device):
    yield EpochEnd(1, 2, float(os.getpid()), None)
    time.sleep(600 if values["out"] == "long" else 0)
    yield Done({"pid": os.getpid()})
"""


@pytest.fixture
def talks(tmp_path, monkeypatch):
    """A module that carries out jobs, and says who does."""
    (tmp_path / "talks.py").write_text(TALKS.replace("SLOW", "0"), encoding="utf-8")
    (tmp_path / "slowly.py").write_text(TALKS.replace("SLOW", "3"), encoding="utf-8")
    (tmp_path / "broken_library.py").write_text("raise OSError('libgomp.so.1: cannot open', __name__)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.skipif(not FORKS, reason="workers are forks on Linux")
def test_workers_end_though_their_host_was_killed(talks):
    with Pool(runs="talks:run", devices=["cpu"] * 2) as pool:
        events = pool.run([Job(work="", out=name) for name in ("long", "short")])
        heard = [next(events)[1] for _ in range(3)]
        os.kill(pool._host._process.pid, signal.SIGKILL)
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 20
    assert all(gone(int(event.loss)) for event in heard if isinstance(event, EpochEnd))


@pytest.mark.skipif(not FORKS, reason="workers are forks on Linux")
def test_libraries_that_cannot_be_imported_ahead_fail_no_job(talks):
    names = ["broken_library", *(f"a_library_of_a_long_name_that_is_nowhere_{i}" for i in range(100))]
    with Pool(runs="talks:run", devices=["cpu"], imports=names) as pool:
        assert [type(event) for _, event in pool.run([Job(work="", out="short")])] == [EpochEnd, Done]


@pytest.mark.skipif(not FORKS, reason="workers are forks on Linux")
def test_after_ctrl_c_no_answer_is_taken_for_that_to_another_request(talks, capfd):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Pool(runs="slowly:run", devices=["cpu"]) as pool:
            signal.setitimer(signal.ITIMER_REAL, 1)
            with pytest.raises(KeyboardInterrupt):  # while modules are imported
                list(pool.run([Job(work="", out="short")]))
            _, done = [event for _, event in pool.run([Job(work="", out="short")])]
            assert pool._workers[0].process._pid == done.result["pid"]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert "Traceback" not in capfd.readouterr().err


def test_what_cannot_be_imported_fails_every_job():
    with Pool(runs="no_such_module:run", devices=["cpu"]) as pool:
        found = [event for _, event in pool.run([Job(work="", out=str(i)) for i in range(2)])]
    assert [event.reason for event in found] == ["its worker process ended with code 1"] * 2
