"""Cells that several rows hold are encoded once a batch, and rows that hold them are drawn together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from polymodal.config import Training
from polymodal.core.types import Tokens
from polymodal.train import once
from polymodal.train.loop import train
from polymodal.train.once import MOST, Inputs, drawn_together, encode_once, spared


class Rows:
    """As much of a `Dataset` as is read: a number a cell, and whether it is there."""

    def __init__(self, cells):
        self.numbers = np.array(cells)
        self.present = {"x": self.numbers >= 0}

    def cells(self, stream):
        return self.numbers

    def tensors(self, stream, rows):
        return {
            "values": torch.from_numpy(self.numbers[rows]).float(),
            "present": torch.from_numpy(self.numbers[rows] >= 0),
        }


class Counting(nn.Module):
    """Counts the rows that it encodes and those that it settles."""

    def __init__(self, settles=False):
        super().__init__()
        self.encoded, self.settles, self.prepared = 0, settles, []

    def once(self, inputs):
        self.prepared += inputs["values"].tolist()
        return {"values": inputs["values"]} if self.settles else {}

    def forward(self, inputs):
        self.encoded += len(inputs["values"])
        x = torch.stack([inputs["values"], inputs["values"] ** 2], 1)[:, None]
        return Tokens(x, inputs["present"][:, None], x[:, 0]).cleared()


@pytest.mark.parametrize("settles", [False, True])
@pytest.mark.parametrize(
    ("cells", "encoded"),
    [([3, 1, 3, 3, 2, 1], 3), ([5, 6, 7], 3), ([-1, 4, -1], 2), ([9], 1)],
)
def test_a_cell_is_encoded_once_and_every_row_gets_its_tokens(cells, encoded, settles):
    encoder, rows = Counting(settles), np.arange(len(cells))
    found = encode_once(encoder, Inputs(encoder, Rows(cells), "x", rows), rows, torch.device("cpu"))
    assert encoder.encoded == encoded
    wanted = Counting()(Rows(cells).tensors("x", rows))
    for name in ("x", "mask", "pooled"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))


def test_cells_are_settled_once_as_far_as_memory_allows(monkeypatch):
    cells, rows, encoder = Rows([7, 8, 7, 9, 9, 8]), np.array([5, 0, 2, 1]), Counting(settles=True)
    monkeypatch.setattr(once, "CHUNK", 1)
    read = Inputs(encoder, cells, "x", rows)
    assert sorted(encoder.prepared) == [7, 8]
    assert read.tensors(np.array([2, 5, 0]))["values"].tolist() == [7, 8, 7]
    monkeypatch.setattr(once, "IN_MEMORY", 7)  # two float32 are 8 bytes
    encoder = Counting(settles=True)
    assert Inputs(encoder, cells, "x", rows).tensors(np.array([3]))["values"].tolist() == [9]
    assert len(encoder.prepared) == 1  # by the first it is seen that all are too many


def test_gradients_of_rows_that_share_a_cell_add_up():
    layer, values = nn.Linear(1, 2), [2, 2, 3]

    def encoder(inputs):
        pooled = layer(inputs["values"][:, None])
        return Tokens(pooled[:, None], inputs["present"][:, None], pooled)

    read = Inputs(Counting(), Rows(values), "x", np.arange(3))
    encode_once(encoder, read, np.arange(3), torch.device("cpu")).pooled.sum().backward()
    assert layer.weight.grad.flatten().tolist() == [7.0, 7.0]


def test_rows_of_one_cell_are_drawn_a_few_at_a_time():
    cells = [0] * 10 + [1] * 3 + list(range(2, 9))
    alike = drawn_together(Rows(cells), "x", np.arange(20), 4).numpy()
    for number in np.unique(alike):
        assert len({cells[i] for i in np.flatnonzero(alike == number)}) == 1
    assert sorted(np.bincount(alike[:10])[np.unique(alike[:10])]) == [2, MOST, MOST]
    assert drawn_together(Rows(range(20)), "x", np.arange(20), 4) is None


def test_missing_cells_are_no_cause_to_draw_rows_together():
    half = Rows([-1] * 10 + list(range(10)))
    assert drawn_together(half, "x", np.arange(20), 4) is None
    assert spared(half, "x", np.arange(20), 4) == 0
    paired = Rows([-1] * 10 + [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    alike = drawn_together(paired, "x", np.arange(20), 4).numpy()
    assert sorted(np.bincount(alike)) == [1] * 10 + [2] * 5
    assert spared(paired, "x", np.arange(20), 4) == pytest.approx(5 * (0.36 - 0.2))


@pytest.mark.parametrize(("different", "drawn"), [(1, False), (3, False), (240, True), (1200, False)])
def test_cells_that_every_batch_meets_are_no_cause_either(different, drawn):
    cells, rows = Rows(np.arange(1200) % different), np.arange(1200)
    alike = drawn_together(cells, "x", rows, 60)
    assert (alike is not None) == drawn
    if not drawn:
        return
    generator = torch.Generator().manual_seed(0)
    apart = torch.randperm(1200, generator=generator)
    together = torch.randperm(int(alike.max()) + 1, generator=generator)[alike].argsort()
    met = [np.mean([len(np.unique(cells.numbers[b])) for b in order.split(60)]) for order in (apart, together)]
    assert met[0] - met[1] == pytest.approx(spared(cells, "x", rows, 60), rel=0.1)


def test_rows_that_are_alike_meet_in_a_batch_and_every_epoch_has_another_order():
    seen = []
    module = nn.Linear(1, 1)

    def loss(batch):
        seen.append(batch.tolist())
        return module(torch.ones(1, 1)).sum()

    rows, alike = torch.arange(100, 164), torch.arange(64) // 4
    options = Training(epochs=2, batch=16, patience=0)
    list(train(module, loss, lambda: 0.0, rows, options, alike=alike, least_steps=1))
    assert len(seen) == 8
    for batch in seen:
        assert sorted(np.bincount((np.array(batch) - 100) // 4)[np.unique((np.array(batch) - 100) // 4)]) == [4] * 4
    first, second = ([row for batch in some for row in batch] for some in (seen[:4], seen[4:]))
    assert sorted(first) == sorted(second) == rows.tolist()
    assert first != second
