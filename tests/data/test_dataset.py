"""Datasets: processed once, broken cells set aside with a reason, absent cells zero."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from polymodal.core.errors import BadArgument, BadCell, BadData, MissingExtra, UnknownName
from polymodal.core.types import Batch
from polymodal.data.storage import dataset as dataset_module
from polymodal.data.storage import decode, stream
from polymodal.data.storage.dataset import Dataset, process_table, read_cells
from polymodal.data.storage.store import Store
from polymodal.data.tables.table import Problem
from polymodal.process.image import ImageProcessor


class Value:
    """A decoded cell that can be watched."""

    alive: ClassVar = weakref.WeakSet()
    most = 0

    def __init__(self, number: float):
        self.number = number
        Value.alive.add(self)
        Value.most = max(Value.most, len(Value.alive))


class Numbers:
    """A processor of cells that are numbers as text, or files that hold one; it learns the largest training number."""

    def __init__(self, *, factor: int = 1, broken: str = ""):
        self.factor = factor
        self.broken = broken
        self.largest_ = 0.0
        self.reads: list = []
        self.fitted: list = []
        self.sizes: list = []
        self._lock = threading.Lock()

    def read(self, cell):
        with self._lock:
            self.reads.append(cell)
        text = cell.read_text() if isinstance(cell, Path) else cell
        faults = {
            "bad": BadCell("is bad"), "odd": SyntaxError("broken PNG\nsecond line"), "silent": ZeroDivisionError(),
            "memory": MemoryError(), "stop": KeyboardInterrupt(), "extra": MissingExtra("install it"),
        }  # fmt: skip
        if text in faults:
            raise faults[text]
        return Value(float(text))

    def fit(self, cells):
        self.fitted = [value.number for value in cells]
        self.largest_ = max(self.fitted)

    def process(self, cells):
        self.sizes.append(len(cells))
        if any(value.number == 666 for value in cells):
            raise ValueError("no such number")
        numbers = np.array([value.number for value in cells], np.float32)
        rows = len(cells) - (self.broken == "rows")
        return {"x": np.repeat(numbers[:rows, None] * self.factor, 3, 1), "n": numbers[:rows].astype(np.int16)}

    def state(self):
        return {"largest": self.largest_}

    def load_state(self, state):
        self.largest_ = state["largest"]


class Odd(Sequence):
    """Cells of which some cannot even be handed over, as from an archive cut short."""

    def __init__(self, cells):
        self.cells = cells

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, index):
        if self.cells[index] == "lost":
            raise BadCell("the archive is cut short")
        return self.cells[index]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def run(store, cells, processor=None, **options) -> Dataset:
    options = {"ids": [f"row{i}" for i in range(len(cells))], **options}
    return process_table({"s": cells}, {"s": processor or Numbers()}, store, **options)


def reasons(dataset: Dataset) -> dict[str, str]:
    return {problem.row: problem.reason for problem in dataset.bad}


def test_rows_come_back_as_tensors_and_absent_ones_are_zero(store):
    cells = ["3", None, "5", "bad", "3"]
    targets = {"t": np.array([0, 1, 2, 3, 4])}
    numbers = {"s": cells, "other": [None, "1", "2", "3", "4"]}
    dataset = process_table(
        numbers, {"s": Numbers(), "other": Numbers(factor=2)}, store, ids=list("abcde"), targets=targets
    )
    assert len(dataset) == 5
    assert dataset.streams == ("s", "other")
    assert dataset.present["s"].tolist() == [True, False, True, False, True]
    assert dataset.bad == [Problem("d", "s", "is bad")]
    batch = dataset.batch(torch.tensor([4, 1, 3, 2]))
    assert isinstance(batch, Batch)
    assert list(batch.ids) == ["e", "b", "d", "c"]
    assert batch.targets["t"].tolist() == [4, 1, 3, 2]
    inputs = batch.inputs["s"]
    assert set(inputs) == {"x", "n", "present"}
    assert inputs["present"].dtype == torch.bool
    assert inputs["present"].tolist() == [True, False, False, True]
    assert inputs["x"].dtype == torch.float32
    assert inputs["x"].tolist() == [[3.0] * 3, [0.0] * 3, [0.0] * 3, [5.0] * 3]
    assert inputs["n"].dtype == torch.int16
    assert batch.inputs["other"]["x"][:, 0].tolist() == [8, 2, 6, 4]
    assert (dataset.digests["s"][0] == dataset.digests["s"][4]).all()
    assert not dataset.digests["s"][1].any()


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_small_streams_from_memory_and_large_ones_from_maps_read_the_same(store, monkeypatch, limit):
    monkeypatch.setattr(dataset_module, "IN_MEMORY", limit)
    monkeypatch.setattr(stream, "SEGMENT", 1)  # a segment a chunk
    cells = [str(i) if i % 7 else None for i in range(300)]
    dataset = run(store, cells)
    rows = np.random.default_rng(0).permutation(300)
    found = dataset.tensors("s", rows)
    assert found["x"][:, 0].tolist() == [float(i) if i % 7 else 0.0 for i in rows]
    found["x"][:] = -1  # a batch is a copy
    assert dataset.tensors("s", np.array([1, 7]))["x"][:, 0].tolist() == [1.0, 0.0]


def test_a_second_run_decodes_nothing(store):
    cells = ["1", "bad", None, "odd", "4", "1", "666"]
    first, second = Numbers(), Numbers()
    before = run(store, cells, first, fit_rows=np.arange(5))
    assert len(first.reads) == 5, "each content once, for fitting and processing together"
    after = run(store, cells, second, fit_rows=np.arange(5))
    assert second.reads == second.fitted == []
    assert second.largest_ == 4
    assert after.bad == before.bad
    assert after.groups == before.groups
    np.testing.assert_array_equal(after.present["s"], before.present["s"])
    run(store, [*cells, "9"], third := Numbers(), fit_rows=np.arange(5))
    assert third.reads == ["9"]


def test_equal_cells_are_decoded_once(store):
    dataset = run(store, ["1", "2", "1", "bad", "2", "bad"], processor := Numbers())
    assert sorted(processor.reads) == ["1", "2", "bad"]
    assert dataset.tensors("s", np.arange(6))["n"].tolist() == [1, 2, 1, 0, 2, 0]
    assert reasons(dataset) == {"row3": "is bad", "row5": "is bad"}


# --- broken cells ---


def test_whatever_a_decoder_raises_costs_one_cell(store):
    dataset = run(store, Odd(["1", "bad", "odd", "silent", "lost", "five", "666", "7"]))
    assert reasons(dataset) == {
        "row1": "is bad", "row2": "SyntaxError: broken PNG", "row3": "ZeroDivisionError",
        "row4": "the archive is cut short",
        "row5": "ValueError: could not convert string to float: 'five'", "row6": "ValueError: no such number",
    }  # fmt: skip
    assert dataset.present["s"].tolist() == [True] + [False] * 6 + [True]
    assert dataset.tensors("s", np.arange(8))["n"].tolist() == [1, 0, 0, 0, 0, 0, 0, 7]


@pytest.mark.parametrize(
    ("cell", "error"), [("memory", MemoryError), ("stop", KeyboardInterrupt), ("extra", MissingExtra)]
)
def test_what_is_not_the_cells_fault_passes(store, cell, error):
    with pytest.raises(error):
        run(store, ["1", cell])


def test_a_file_that_comes_later_is_read_then(store, tmp_path):
    files = [tmp_path / "0", tmp_path / "1"]
    files[0].write_text("5")
    dataset = run(store, files)
    assert dataset.bad[0].row == "row1"
    assert "No such file" in dataset.bad[0].reason
    files[1].write_text("6")
    assert run(store, files).tensors("s", np.arange(2))["n"].tolist() == [5, 6]


def test_a_fault_of_the_moment_is_not_remembered(store, tmp_path):
    class Disk(Numbers):
        fails = True

        def read(self, cell):
            if cell == "2" and self.fails:
                try:
                    raise OSError(5, "Input/output error")
                except OSError as error:
                    raise BadCell("cannot be read") from error
            return super().read(cell)

    assert reasons(run(store, ["1", "2"], Disk(), fit_rows=np.arange(2))) == {"row1": "cannot be read"}
    Disk.fails = False
    dataset = run(store, ["1", "2"], processor := Disk(), fit_rows=np.arange(2))
    assert not dataset.bad
    assert processor.fitted == [1, 2]


def test_long_reasons_in_any_script_are_remembered(store):
    class Wordy(Numbers):
        def read(self, cell):
            raise BadCell("é" * 1000)

    for _ in range(2):
        (problem,) = run(store, ["1"], Wordy()).bad
        assert problem.reason.startswith("é" * 256)
        assert set(problem.reason) == {"é"}


def test_real_pictures_that_are_broken_are_named(store):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, "png")
    whole = buffer.getvalue()
    cells = [whole, whole[:200], b"not a picture", b"", None]
    dataset = run(store, cells, ImageProcessor(size=8), fit_rows=np.arange(5))
    assert list(reasons(dataset)) == ["row1", "row2", "row3"]
    assert dataset.tensors("s", np.arange(5))["pixels"].shape == (5, 3, 8, 8)
    assert reasons(run(store, cells, ImageProcessor(size=8), fit_rows=np.arange(5))) == reasons(dataset)


# --- fitting ---


def test_only_training_cells_are_seen_in_fitting(store):
    cells = ["1", None, "9", "bad", "4", "100"]
    run(store, cells, processor := Numbers(), fit_rows=np.array([0, 1, 3, 4]))
    assert processor.fitted == [1, 4]
    run(store, cells, other := Numbers(), fit_rows=np.array([0, 2]))
    assert other.fitted == [1, 9]


def test_without_fit_rows_processors_are_used_as_they_are(store):
    first = run(store, ["1", "2"], fitted := Numbers(), fit_rows=np.arange(2))
    again = Numbers()
    again.load_state(fitted.state())
    second = run(store, ["2", "3"], again)
    assert again.fitted == []
    assert again.reads == ["3"], "the same state finds what was processed before"
    assert second.groups == first.groups


def test_the_sample_for_fitting_is_bounded_and_seeded(store, monkeypatch):
    monkeypatch.setattr(stream, "FIT_CELLS", 50)
    cells = [str(i) for i in range(400)]
    fitted = []
    for seed in (0, 0, 1):
        store.clear()
        run(store, cells, processor := Numbers(), fit_rows=np.arange(300), seed=seed)
        fitted.append(processor.fitted)
    assert len(fitted[0]) == len(set(fitted[0])) == 50
    assert max(fitted[0]) < 300
    assert fitted[0] == fitted[1] != fitted[2]


def test_options_and_what_was_learned_make_another_group(store):
    cells = ["1", "2"]
    groups = {run(store, cells, processor).groups["s"] for processor in (Numbers(), Numbers(factor=2), Numbers())}
    groups |= {run(store, cells, Numbers(), fit_rows=np.arange(n)).groups["s"] for n in (1, 2)}
    assert len(groups) == 4
    assert run(store, cells, Numbers(factor=2)).tensors("s", np.arange(2))["x"][:, 0].tolist() == [2.0, 4.0]


def test_no_usable_training_cell_is_an_error_that_says_why(store):
    with pytest.raises(BadData, match=r"No training cell of 's' is usable; the first of 2: is bad.*leave the field"):
        run(store, ["bad", "odd", "3"], fit_rows=np.arange(2))
    with pytest.raises(BadData, match="all are missing"):
        run(store, [None, None, "3"], fit_rows=np.arange(2))


# --- memory, threads, progress ---


def test_a_column_is_never_held_whole(store, monkeypatch):
    monkeypatch.setattr(stream, "KEPT", 0)
    Value.most = 0
    gc.collect()
    cells = [str(i) for i in range(10 * decode.CHUNK)]
    run(store, cells, processor := Numbers(), workers=1)
    assert max(processor.sizes) == decode.CHUNK
    assert Value.most <= 2 * decode.CHUNK


def test_what_was_decoded_for_fitting_is_kept_within_bounds(store, monkeypatch):
    monkeypatch.setattr(stream, "_weight", lambda value: 1)
    monkeypatch.setattr(stream, "KEPT", 100)
    run(store, [str(i) for i in range(300)], processor := Numbers(), fit_rows=np.arange(300))
    assert len(processor.reads) == 300 + 200


def test_threads_keep_the_order(tmp_path):
    files = []
    for i in range(500):
        files.append(tmp_path / f"{i}.txt")
        files[-1].write_text("odd" if i % 50 == 3 else str(i))
    results = []
    for workers in (1, 4):
        processor = Numbers()
        dataset = run(Store(tmp_path / f"store{workers}"), files, processor, fit_rows=np.arange(400), workers=workers)
        results.append((dataset.tensors("s", np.arange(500))["n"].tolist(), dataset.bad, processor.fitted))
    assert results[0] == results[1]
    assert len(results[0][1]) == 10
    assert results[0][2] == [i for i in range(400) if i % 50 != 3]


def test_progress_counts_every_cell_once(store):
    for cells in (["1", None, "bad", "1", "2"] * 40, ["1", "2", "7", "bad"]):
        told: list[tuple[str, int]] = []
        run(store, cells, fit_rows=np.arange(4), progress=lambda name, count, told=told: told.append((name, count)))
        assert {name for name, _ in told} == {"s"}
        assert sum(count for _, count in told) == len(cells)


# --- keeping, and what is refused ---


def test_save_and_open_in_another_place(store, tmp_path):
    cells = {"s": ["1", None, "3"], "all absent": [None, "bad", None]}
    targets = {"t": np.array([1.0, np.nan, 2.0], np.float32)}
    processors = {"s": Numbers(), "all absent": Numbers()}
    before = process_table(cells, processors, store, ids=["a", "b", "ç"], targets=targets)
    before.save(tmp_path / "saved")
    after = Dataset.open(tmp_path / "saved", Store(store.root))
    for kept in ("ids", "bad", "streams", "groups"):
        assert getattr(after, kept) == getattr(before, kept)
    np.testing.assert_array_equal(after.targets["t"], targets["t"])
    for name in cells:
        np.testing.assert_array_equal(after.digests[name], before.digests[name])
        for key, tensor in before.tensors(name, np.arange(3)).items():
            assert torch.equal(after.tensors(name, np.arange(3))[key], tensor)
    assert after.tensors("all absent", np.arange(3))["x"].shape == (3, 3)
    store.clear()
    with pytest.raises(BadData, match="lacks 2 of 2 cells"):
        Dataset.open(tmp_path / "saved", Store(store.root)).tensors("s", np.arange(3))


def test_what_does_not_fit_together_is_refused(store):
    with pytest.raises(BadData, match="'s' has 1 rows, but there are 2 ids"):
        run(store, ["1"], ids=["a", "b"])
    with pytest.raises(BadData, match="'t' has 3 rows"):
        run(store, ["1"], targets={"t": np.zeros(3)})
    with pytest.raises(BadData, match="'s' has no processor. Did you mean 'ss'"):
        process_table({"s": ["1"]}, {"ss": Numbers()}, store, ids=["a"])
    with pytest.raises(BadArgument, match="Numbers.process must give arrays of one row for each of 2 cells"):
        run(store, ["1", "2"], Numbers(broken="rows"))
    with pytest.raises(UnknownName, match="no stream 'z'"):
        run(store, ["1"]).tensors("z", np.arange(1))


def test_cells_are_read_without_a_store_too():
    arrays, present, bad = read_cells(Numbers(), Odd(["1", None, "lost", "bad", "5"]), [4, 2, 1, 3])
    assert present.tolist() == [True, False, False, False]
    assert arrays["n"].tolist() == [5, 0, 0, 0]
    assert bad == [(1, "the archive is cut short"), (3, "is bad")]
    arrays, present, bad = read_cells(Numbers(), [None, "bad"])
    assert (arrays, present.tolist(), bad) == ({}, [False, False], [(1, "is bad")])


def test_real_cells(store, real_data):
    from polymodal.data.schema import Schema
    from polymodal.data.tables.source import cells, read_table
    from polymodal.process import PROCESSORS

    table = read_table(real_data("avdigits") / "valid.csv").select(range(60))
    fields = Schema.infer(table).fields
    raw = {name: cells(table, field) for name, field in fields.items()}
    dataset = process_table(
        raw, {n: PROCESSORS.build(f.kind) for n, f in fields.items()}, store, ids=table.ids, fit_rows=np.arange(40)
    )
    assert not dataset.bad
    batch = dataset.batch(np.arange(60))
    assert {f.kind for f in fields.values()} >= {"image", "audio", "text", "table"}
    for name in fields:
        assert batch.inputs[name]["present"].sum() > 50
        assert all(len(tensor) == 60 for tensor in batch.inputs[name].values())
