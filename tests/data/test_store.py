"""The store: round trips, several writers, crashes at any moment, full disks, broken files."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from polymodal.core.errors import BadArgument, BadData, PolymodalError, UnknownName
from polymodal.data.storage import segment
from polymodal.data.storage.group import STALE
from polymodal.data.storage.store import Store, default_store

GROUP, OTHER = "ab" * 16, "cd" * 16
DTYPES = ["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]


def keys_of(numbers) -> np.ndarray:
    """A key a number, spread over the key space as digests are."""
    numbers = np.asarray(numbers, np.uint64)
    words = np.stack([numbers * np.uint64(0x9E3779B97F4A7C15), numbers], 1)
    return words.view(np.uint8).reshape(-1, 16)


def arrays_of(numbers) -> dict[str, np.ndarray]:
    """Arrays that tell from their values which number they belong to."""
    numbers = np.asarray(numbers)
    x = (numbers[:, None, None] % 1000 + np.zeros((1, 3, 4))).astype(np.float16)
    return {"x": x, "mask": np.repeat(numbers[:, None] % 2 == 1, 5, 1), "number": numbers.astype(np.int64)}


def check(view, numbers) -> None:
    for name, array in arrays_of(numbers).items():
        found = view.load()[name]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    names = data.draw(
        st.lists(st.text(max_size=8).filter(lambda n: n != segment.KEYS), min_size=1, max_size=4, unique=True)
    )
    form = {n: (data.draw(st.sampled_from(DTYPES)), data.draw(st.lists(st.integers(0, 3), max_size=3))) for n in names}
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    total = sum(sizes)
    keys = rng.integers(0, 256, (total, 16), dtype=np.uint8)
    content = {
        n: (rng.integers(0, 2, (total, *shape)) * rng.integers(1, 100)).astype(dtype)
        for n, (dtype, shape) in form.items()
    }
    root = tmp_path_factory.mktemp("store")
    store = Store(root)
    for start, stop in zip(np.cumsum([0, *sizes]), np.cumsum(sizes)):
        store.write(GROUP, keys[start:stop], {n: a[start:stop] for n, a in content.items()})
    wanted = rng.integers(0, total, 12) if total else np.zeros(0, int)
    for reader in (store, Store(root)):
        assert not len(reader.missing(GROUP, keys))
        view = reader.view(GROUP, keys[wanted])
        rows = rng.permutation(len(wanted))
        found = view.read(rows)
        if total:
            assert view.names == tuple(sorted(names))
            assert view.nbytes == sum(a[wanted].nbytes for a in content.values())
        for name in view.names:
            assert found[name].dtype == content[name].dtype
            assert view.shape(name) == content[name].shape[1:]
            np.testing.assert_array_equal(found[name], content[name][wanted[rows]])


def test_reading_some_arrays_gives_copies_that_may_be_changed(tmp_path):
    store = Store(tmp_path)
    store.write(GROUP, keys_of(range(4)), arrays_of(range(4)))
    found = store.view(GROUP, keys_of(range(4))).read(np.array([2]), names=("x",))
    assert set(found) == {"x"}
    found["x"][:] = -1
    check(store.view(GROUP, keys_of(range(4))), range(4))


def test_keys_that_share_their_first_half_are_told_apart(tmp_path):
    words = np.array([[7, 1], [7, 2], [7, 3], [2**64 - 1, 2**64 - 1], [0, 0]], np.uint64)
    store = Store(tmp_path)
    store.write(GROUP, words, {"n": np.arange(5)})
    assert store.view(GROUP, words[::-1].copy()).load()["n"].tolist() == [4, 3, 2, 1, 0]
    others = np.array([[7, 4], [7, 0], [8, 1], [2**64 - 1, 0]], np.uint64)
    assert store.missing(GROUP, others).tolist() == [0, 1, 2, 3]


def test_missing_gives_the_first_of_equal_keys_in_order(tmp_path):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([5]), arrays_of([5]))
    assert store.missing(GROUP, keys_of([9, 5, 3, 9, 1, 3])).tolist() == [0, 2, 4]
    assert store.has(GROUP, keys_of([9, 5, 5])).tolist() == [False, True, True]
    assert store.missing(OTHER, keys_of([5])).tolist() == [0]
    assert store.missing(GROUP, keys_of([5]).view("V16")[:, 0]).tolist() == []


def test_a_key_written_twice_is_read_once(tmp_path):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([1, 2]), {"n": np.array([1, 2])})
    store.write(GROUP, keys_of([2, 3]), {"n": np.array([-2, 3])})
    assert store.view(GROUP, keys_of([3, 2, 1])).load()["n"].tolist() == [3, 2, 1]


def test_another_reader_sees_what_was_written_since(tmp_path):
    writer, reader = Store(tmp_path), Store(tmp_path)
    assert len(reader.missing(GROUP, keys_of([1]))) == 1
    writer.write(GROUP, keys_of([1]), arrays_of([1]))
    assert len(reader.missing(GROUP, keys_of([1]))) == 0


def test_a_segment_is_a_safetensors_file(tmp_path):
    Store(tmp_path).write(GROUP, keys_of(range(3)), arrays_of(range(3)))
    (file,) = (tmp_path / GROUP).glob("*.safetensors")
    found = load_file(file)
    np.testing.assert_array_equal(found.pop(segment.KEYS).view(np.uint8), keys_of(range(3)))
    for name, array in arrays_of(range(3)).items():
        np.testing.assert_array_equal(found.pop(name), array)
    assert not found


# --- several processes, crashes ---


def _write_many(root: str, numbers: list[int]) -> None:
    store = Store(root)
    for start in range(0, len(numbers), 7):
        store.write(GROUP, keys_of(numbers[start : start + 7]), arrays_of(numbers[start : start + 7]))


def test_two_processes_write_one_group_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [list(range(210)), list(range(100, 310))]
    workers = [context.Process(target=_write_many, args=(str(tmp_path), numbers)) for numbers in both]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = Store(tmp_path)
    assert not len(store.missing(GROUP, keys_of(range(310))))
    check(store.view(GROUP, keys_of(range(310))), range(310))
    assert len(list((tmp_path / GROUP).glob("*.safetensors"))) == 60
    assert not list(tmp_path.rglob("*.tmp"))


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_store import GROUP, Store, arrays_of, keys_of
store = Store(sys.argv[1])
for number in range(10**6):
    store.write(GROUP, keys_of([number]), arrays_of([number]))
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("acknowledged", [1, 20, 57])
def test_kill_during_writing_loses_nothing_acknowledged(tmp_path, acknowledged):
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(acknowledged):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = max([last, *map(int, writer.stdout.read().split())])
    store = Store(tmp_path)
    assert not len(store.missing(GROUP, keys_of(range(last + 1))))
    check(store.view(GROUP, keys_of(range(last + 1))), range(last + 1))
    store.write(GROUP, keys_of([10**7]), arrays_of([10**7]))
    check(Store(tmp_path).view(GROUP, keys_of([10**7])), [10**7])


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_between_writing_and_renaming_leaves_a_temporary_only(tmp_path):
    stop = "import os, signal; os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)"
    command = [sys.executable, "-c", f"{stop}\n{WRITER}", str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    (left,) = (tmp_path / GROUP).iterdir()
    assert left.suffix == ".tmp"
    assert Store(tmp_path).missing(GROUP, keys_of([0])).tolist() == [0]
    assert left.exists(), "a fresh temporary may belong to a live writer"
    old = time.time() - STALE - 1
    os.utime(left, (old, old))
    Store(tmp_path).missing(GROUP, keys_of([0]))
    assert not left.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_says_what_to_free_and_leaves_nothing(tmp_path, monkeypatch, code):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([1]), arrays_of([1]))

    def full(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(segment.os, "fsync", full)
    with pytest.raises(PolymodalError, match=r"disk is full.*polymodal store --clear all.*POLYMODAL_STORE"):
        store.write(GROUP, keys_of([2]), arrays_of([2]))
    monkeypatch.undo()
    assert [p.suffix for p in (tmp_path / GROUP).iterdir()] == [".safetensors"]
    assert store.missing(GROUP, keys_of([1, 2])).tolist() == [1]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PolymodalError, match=r"Cannot write to the store .*file.*POLYMODAL_STORE"):
        Store(tmp_path / "file").write(GROUP, keys_of([1]), arrays_of([1]))


@pytest.mark.parametrize("damage", ["empty", "length", "header", "data", "one byte", "longer", "zeros"])
def test_broken_segments_are_ignored_with_one_line(tmp_path, caplog, damage):
    writer = Store(tmp_path)
    writer.write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    (broken,) = (tmp_path / GROUP).glob("*.safetensors")
    writer.write(GROUP, keys_of([3]), arrays_of([3]))
    content = broken.read_bytes()
    changed = {
        "empty": b"", "length": content[:5], "header": content[:40], "data": content[:-30],
        "one byte": content[:-1], "longer": content + b"\0", "zeros": bytes(len(content)),
    }  # fmt: skip
    broken.write_bytes(changed[damage])
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert store.missing(GROUP, keys_of([1, 2, 3])).tolist() == [0, 1]
    assert len(caplog.records) == 1
    assert broken.name in caplog.text
    store.write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    check(store.view(GROUP, keys_of([1, 2, 3])), [1, 2, 3])


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_no_flipped_bit_is_answered_from(tmp_path):
    """Every bit of a segment, header, keys and arrays: what holds it is computed again, or reads as it was."""
    Store(tmp_path).write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    (path,) = (tmp_path / GROUP).glob("*.safetensors")
    content, met = path.read_bytes(), 0
    logging.disable(logging.WARNING)
    try:
        for bit in range(8 * len(content)):
            path.write_bytes(content)
            flipped(path, bit)
            store = Store(tmp_path)
            missing = store.missing(GROUP, keys_of([1, 2])).tolist()
            met += missing == [0, 1]
            if not missing:
                check(store.view(GROUP, keys_of([1, 2])), [1, 2])
    finally:
        logging.disable(logging.NOTSET)
    assert met == 8 * len(content)


def test_a_segment_of_another_group_is_not_answered_from(tmp_path, caplog):
    other = GROUP[::-1]
    Store(tmp_path).write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    Store(tmp_path).write(other, keys_of([1, 2]), arrays_of([3, 4]))  # of one form and with the same keys
    (here,), (there,) = ((tmp_path / group).glob("*.safetensors") for group in (GROUP, other))
    here.write_bytes(there.read_bytes())
    store = Store(tmp_path)
    assert store.missing(GROUP, keys_of([1, 2])).tolist() == [0, 1]
    assert f"it belongs to group {other}" in caplog.text
    store.write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    check(store.view(GROUP, keys_of([1, 2])), [1, 2])


@pytest.mark.parametrize("ask", ["has", "missing", "view"])
def test_a_damaged_array_is_computed_again_with_one_line(tmp_path, caplog, ask):
    writer = Store(tmp_path)
    for number in (1, 2, 3):
        writer.write(GROUP, keys_of([number]), arrays_of([number]))
    damaged = sorted((tmp_path / GROUP).glob("*.safetensors"))[:2]
    for path in damaged:
        flipped(path, 8 * path.stat().st_size - 3)  # in the last array, which is no longer looked at once it is open
    store, keys = Store(tmp_path), keys_of([1, 2, 3])
    with caplog.at_level(logging.WARNING):
        if ask == "has":
            assert store.has(GROUP, keys).tolist() == [False, False, True]
        elif ask == "view":
            with pytest.raises(BadData, match=r"lacks 2 of 3 cells .*damaged on the disk.*--resume"):
                store.view(GROUP, keys)
        assert store.missing(GROUP, keys).tolist() == [0, 1]
    (line,) = caplog.messages
    assert "2 cells" in line
    assert "computed again" in line
    assert not any(path.exists() for path in damaged), "so that no other process asks them, and it is said once"
    store.write(GROUP, keys_of([1, 2]), arrays_of([1, 2]))
    check(Store(tmp_path).view(GROUP, keys), [1, 2, 3])


def test_a_whole_copy_of_a_damaged_row_is_found(tmp_path, monkeypatch):
    """Also where the damaged segment may not be deleted."""
    for _ in range(2):
        Store(tmp_path).write(GROUP, keys_of([1]), arrays_of([1]))
    first = min((tmp_path / GROUP).glob("*.safetensors"))
    flipped(first, 8 * first.stat().st_size - 3)

    def refuse(path, missing_ok=False):
        raise PermissionError(errno.EACCES, "read only")

    monkeypatch.setattr(Path, "unlink", refuse)
    store = Store(tmp_path)
    check(store.view(GROUP, keys_of([1])), [1])
    assert not len(store.missing(GROUP, keys_of([1])))
    assert first.exists()


def test_only_arrays_that_are_asked_for_are_read_through(tmp_path):
    Store(tmp_path).write(GROUP, keys_of([1]), arrays_of([1]))
    (path,) = (tmp_path / GROUP).glob("*.safetensors")
    flipped(path, 8 * path.stat().st_size - 3)  # in `mask`, the last
    view = Store(tmp_path).view(GROUP, keys_of([1]), ("x",))
    np.testing.assert_array_equal(view.load()["x"], arrays_of([1])["x"])
    with pytest.raises(UnknownName, match="mask"):
        view.read(np.array([0]), ("mask",))
    with pytest.raises(UnknownName, match="'xx'"):
        Store(tmp_path).view(GROUP, keys_of([1]), ("xx",))


def test_stores_of_before_are_read(tmp_path):
    """Segments without digests, as `save_file` of safetensors writes them."""
    (tmp_path / GROUP).mkdir()
    save_file({segment.KEYS: keys_of([1, 2]).view("<u8"), **arrays_of([1, 2])}, tmp_path / GROUP / "1.safetensors")
    store = Store(tmp_path)
    store.write(GROUP, keys_of([3]), arrays_of([3]))
    check(store.view(GROUP, keys_of([1, 2, 3])), [1, 2, 3])


def test_a_segment_of_another_form_is_ignored(tmp_path, caplog):
    store, late = Store(tmp_path), Store(tmp_path)
    late._check = lambda *given: None  # as a writer would that looked before the group's first segment was there
    store.write(GROUP, keys_of([1]), {"n": np.zeros(1, np.int64)})
    late.write(GROUP, keys_of([2]), {"n": np.zeros(1, np.float32)})
    with caplog.at_level(logging.WARNING):
        assert Store(tmp_path).missing(GROUP, keys_of([1, 2])).tolist() == [1]
    assert "another form" in caplog.text


# --- what is refused ---


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array"),
        ({"n": np.zeros(3)}, r"row for each of 2 keys; got \{'n': 3\}"),
        ({"n": np.zeros(())}, "row for each of 2 keys"),
        ({"n": np.zeros(2, np.float32)}, "Arrays of another form"),
        ({"m": np.zeros(2)}, "Arrays of another form"),
        ({"n": np.zeros((2, 1))}, "Arrays of another form"),
        ({"n": np.zeros(2, complex)}, "dtype complex128"),
        ({segment.KEYS: np.zeros(2)}, "cannot be called"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([1]), {"n": np.zeros(1)})
    with pytest.raises(BadArgument, match=message):
        store.write(GROUP, keys_of([2, 3]), arrays)


def test_odd_keys_groups_and_names_are_refused(tmp_path):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([1]), arrays_of([1]))
    with pytest.raises(BadArgument, match=r"got uint8 \[1, 8\]"):
        store.missing(GROUP, np.zeros((1, 8), np.uint8))
    with pytest.raises(BadArgument, match="hexadecimal"):
        store.missing("../outside", keys_of([1]))
    with pytest.raises(BadData, match="lacks 1 of 2 cells"):
        store.view(GROUP, keys_of([1, 2]))
    with pytest.raises(UnknownName, match="Did you mean 'mask'"):
        store.view(GROUP, keys_of([1])).shape("masks")
    with pytest.raises(UnknownName, match="No array 'y'"):
        store.view(GROUP, keys_of([1])).read(np.array([0]), names=("y",))


# --- keeping house ---


def test_groups_sizes_and_descriptions(tmp_path):
    store = Store(tmp_path / "new")
    assert store.groups() == []
    assert store.size() == 0
    store.write(GROUP, keys_of(range(100)), arrays_of(range(100)))
    store.describe(OTHER, kind="tokens", stream="photo")
    store.describe(OTHER, kind="said later")
    assert store.groups() == [GROUP, OTHER]
    assert store.meta(OTHER)["kind"] == "tokens"
    assert "created" in store.meta(OTHER)
    assert store.meta(GROUP) == {}
    assert store.size() == sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    report = store.report()
    assert [(g["group"], g["rows"], g["segments"]) for g in report["groups"]] == [(GROUP, 100, 1), (OTHER, 0, 0)]
    assert report["bytes"] == store.size() == store.size(GROUP) + store.size(OTHER)
    assert "photo" in store.text()


def test_clear_frees_what_it_says(tmp_path):
    store = Store(tmp_path)
    for group in (GROUP, OTHER):
        store.write(group, keys_of(range(9)), arrays_of(range(9)))
    view = store.view(GROUP, keys_of(range(9)))
    size = store.size(GROUP)
    assert store.clear(older_than=60) == 0
    with pytest.raises(UnknownName, match="no group 'abac'"):
        store.clear("abac")
    assert store.clear("abab") == size
    assert store.groups() == [OTHER]
    check(view, range(9))  # what is open stays readable
    assert len(store.missing(GROUP, keys_of(range(9)))) == 9
    for path in (tmp_path / OTHER).iterdir():
        os.utime(path, (0, 0))
    assert store.clear(older_than=60) > 0
    assert store.groups() == []


def test_clear_leaves_the_segment_that_is_being_written(tmp_path):
    store = Store(tmp_path)
    store.write(GROUP, keys_of([1]), arrays_of([1]))
    live = tmp_path / GROUP / "0-1.tmp"
    live.write_bytes(b"half")
    store.clear()
    assert [p.name for p in (tmp_path / GROUP).iterdir()] == [live.name]
    store.write(GROUP, keys_of([2]), arrays_of([2]))
    assert store.missing(GROUP, keys_of([1, 2])).tolist() == [0]


def test_the_default_place_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "mine"))
    assert default_store() == tmp_path / "mine"
    monkeypatch.delenv("POLYMODAL_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_store() == tmp_path / "polymodal" / "store"
