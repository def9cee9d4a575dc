"""What is acknowledged stays: kills, full disks, torn ends, damage; one writer and many readers."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from polymodal.core.errors import BadData, PolymodalError
from polymodal.retrieval import journal as journal_module
from polymodal.retrieval.index import Index
from polymodal.retrieval.journal import Journal

WRITER = """
import sys, numpy as np
from polymodal.retrieval.index import Index
folder, start, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
index, rng = Index(folder), np.random.default_rng(seed)
for i in range(start, 10**9):
    n = int(rng.integers(1, 40))
    ids = [f"{i}.{j}" for j in range(n)]
    index.add(ids, {"a": rng.normal(size=(n, 16))}, {"i": [i] * n})
    print(" ".join(ids), flush=True)
    if i % 4 == 3:
        index.delete(ids[:1]); print("-" + ids[0], flush=True)
    if i % 10 == 9:
        index.compact()
"""


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_is_twice(tmp_path):
    draw, said, gone, number = random.Random(0), set(), set(), 0
    Index.create(tmp_path / "i", dim=16, streams={"a": "text"})
    for round_ in range(4):
        process = start(WRITER, tmp_path / "i", number, round_)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(draw.randint(1, 25))]
        time.sleep(draw.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        for line in lines:
            if line.startswith("-"):
                gone.add(line[1:].strip())
            else:
                said.update(line.split())
                number = max(number, int(line.split(".")[0]) + 2)
        index = Index(tmp_path / "i")
        names = index.corpus.names
        assert len(names) == len(set(names)) == int(index.corpus.alive.sum())
        assert not gone & set(names)
        unsaid = said - gone - set(names)  # a deletion may be written that the process did not live to say
        assert len(unsaid) <= 1
        assert all(name.endswith(".0") for name in unsaid)
        gone |= unsaid
    assert len(said) > 100


def filled(folder, count=5):
    index = Index.create(folder, dim=4, streams={"a": "text"})
    for i in range(count):
        index.add([f"r{i}"], {"a": np.eye(4)[[i % 4]]}, {"n": [i]})
    return index, folder / "items.journal"


def ends(path):
    """Where each record ends."""
    journal = Journal(path)
    return [journal.end for _ in journal.read()]


def test_a_torn_end_is_dropped_wherever_it_was_cut(tmp_path):
    _, path = filled(tmp_path / "i")
    whole, places = path.read_bytes(), ends(path)
    for cut in range(places[-2] + 1, places[-1]):
        path.write_bytes(whole[:cut])
        index = Index(tmp_path / "i")
        assert index.corpus.names == ["r0", "r1", "r2", "r3"]
        assert f"{cut - places[-2]} bytes" in index.notes[0]
        index.add(["new"], {"a": np.eye(4)[:1]})
        assert Index(tmp_path / "i").corpus.names == ["r0", "r1", "r2", "r3", "new"]


def test_a_damaged_byte_is_found_wherever_it_is(tmp_path):
    _, path = filled(tmp_path / "i")
    whole, places = path.read_bytes(), ends(path)
    for place in range(places[0], len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 0x10
        path.write_bytes(content)
        record = next(i for i, end in enumerate(places) if place < end)
        if record == len(places) - 1 and place < places[-2] + 32:
            continue  # its header says how long it is: an unfinished record and a damaged one look alike here
        with pytest.raises(BadData, match=f"from byte {places[record - 1]:,} on.*salvage"):
            Index(tmp_path / "i")
        saved = Index(tmp_path / "i", salvage=True)
        assert saved.corpus.names == [f"r{i}" for i in range(5) if i != record - 1]


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    _, path = filled(tmp_path / "i")
    for content in (b"", b"something else", os.urandom(2000)):
        path.write_bytes(content)
        with pytest.raises(BadData, match="no index that this version reads"):
            Index(tmp_path / "i")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path, monkeypatch, code):
    """Some bytes go through and then none: what was written of the record is taken back."""
    index, path = filled(tmp_path / "i")
    before, real = path.read_bytes(), journal_module._write

    def half(file, content):
        real(file, content[: len(content) // 2])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_write", half)
        with pytest.raises(PolymodalError, match="The disk is full" if code == errno.ENOSPC else "cannot be written"):
            index.add(["more"], {"a": np.eye(4)[:1]})
    assert path.read_bytes() == before
    assert "more" not in index
    index.add(["more"], {"a": np.eye(4)[:1]})
    assert "more" in Index(tmp_path / "i")


def test_a_full_disk_during_compaction_leaves_the_index_as_it_was(tmp_path, monkeypatch):
    index, path = filled(tmp_path / "i")
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fsync", full)
        with pytest.raises(PolymodalError, match="The disk is full"):
            index.compact()
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["items.journal", "lock"]
    assert len(index) == 5


def test_what_is_acknowledged_was_synced(tmp_path, monkeypatch):
    index, path = filled(tmp_path / "i")
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        journal_module.os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), real(handle))
    )
    index.add(["more"], {"a": np.eye(4)[:1]})
    assert synced == [path.stat().st_size]


def test_one_writer_at_a_time_and_readers_do_not_wait(tmp_path):
    index, _ = filled(tmp_path / "i")
    with index.writing():
        other = Index(tmp_path / "i")
        other._lock.patience = 0.05
        assert other.nearest(np.eye(4)[:1], 1).items[0, 0] >= 0
        with pytest.raises(PolymodalError, match=rf"Another process \({os.getpid()}\) has been writing"):
            other.add(["x"], {"a": np.eye(4)[:1]})
        index.add(["y"], {"a": np.eye(4)[:1]})  # the holder writes on
    other.add(["x"], {"a": np.eye(4)[:1]})
    assert {"x", "y"} <= set(other.corpus.names)


def test_readers_see_whole_changes_while_a_writer_writes_and_compacts(tmp_path):
    """Every row that is added together is found together or not at all, and what was said is there."""
    Index.create(tmp_path / "i", dim=16, streams={"a": "text"})
    process = start(WRITER.replace("    if i % 4 == 3:", "    if False:"), tmp_path / "i", 0, 0)
    assert process.stdout is not None
    readers, said = [Index(tmp_path / "i") for _ in range(2)], set()
    try:
        for _ in range(40):
            said.update(process.stdout.readline().split())
            for reader in readers:
                found = reader.nearest(np.ones((1, 16)), 5)
                assert said <= set(reader.corpus.names)
                assert (found.items >= 0).sum() == min(5, len(reader))
                groups = {}
                for name in reader.corpus.names:
                    groups.setdefault(name.split(".")[0], []).append(int(name.split(".")[1]))
                assert all(sorted(group) == list(range(len(group))) for group in groups.values())
    finally:
        process.kill()
        process.communicate()
