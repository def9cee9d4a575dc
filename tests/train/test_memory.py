"""A batch that memory does not hold is computed in parts: the same step, said once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from polymodal.config import Training
from polymodal.train.loop import OutOfMemory, notes_of, train

ROWS = 96
OPTIONS = Training(epochs=3, batch=48, precision="float32", l1=1e-3, modality_dropout=0.0)


class Short(nn.Module):
    """A small network on a device that holds `most` rows at a time."""

    def __init__(self, most: int, *, normed: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8) if normed else nn.GELU(), nn.Linear(8, 3))
        self.most, self.sizes = most, []

    def forward(self, x):
        self.sizes.append(x.shape[0])
        if x.shape[0] > self.most:
            raise torch.OutOfMemoryError("planted: CUDA out of memory")
        return self.net(x)


def trained(module: Short, **more) -> list:
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(ROWS, 5, generator=draw), torch.randint(3, (ROWS,), generator=draw)
    options = more.pop("options", OPTIONS)
    return list(
        train(module, lambda rows: F.cross_entropy(module(x[rows]), y[rows]), lambda: 0.0, torch.arange(ROWS), options,
              least_steps=1, **more)
    )  # fmt: skip


@pytest.mark.parametrize("most", [1, 10, 24, 47])
def test_the_result_is_that_of_the_whole_batch(most):
    whole, short = Short(ROWS), Short(most)
    expected, found = trained(whole), trained(short)
    for (name, a), b in zip(whole.state_dict().items(), short.state_dict().values()):
        assert torch.allclose(a, b, atol=2e-5), name
    assert [e.loss for e in found] == pytest.approx([e.loss for e in expected], rel=1e-5)
    assert sum(size > most for size in short.sizes) <= 6, "what does not fit is tried once a size, not at every step"


def test_it_is_said_once_and_only_where_it_happens():
    assert notes_of(trained(Short(ROWS))) == []
    (note,) = notes_of(trained(Short(30)))
    assert "24 rows at a time" in note
    assert "normalisation" not in note


def test_batch_normalisation_is_told_of():
    (note,) = notes_of(trained(Short(30, normed=True)))
    assert "Batch normalisation sees those rows alone" in note


def test_one_row_that_does_not_fit_is_an_error():
    with pytest.raises(OutOfMemory, match=r"single row.*lower batch.*planted"):
        trained(Short(0))


class Whole:
    """Hooks that read whole batches."""

    def after_backward(self): ...

    def after_step(self): ...

    def between_epochs(self, done): ...


def test_objectives_that_read_whole_batches_are_not_cut():
    with pytest.raises(OutOfMemory, match=r"48 rows.*whole batches.*lower batch"):
        trained(Short(30), hooks=Whole())
    trained(Short(48), hooks=Whole())


def test_a_loss_whose_rows_read_one_another_is_made_smaller_by_its_own_means():
    module = Short(20)
    calls = []

    def smaller():
        calls.append(module.most)
        module.most *= 2
        return "pieces of half the size"

    found = trained(module, smaller=smaller)
    assert calls == [20, 40]
    assert notes_of(found) == ["pieces of half the size"]
    assert set(module.sizes) == {48}, "the batch itself is never cut"


def test_checkpoints_go_on_after_memory_ran_short(tmp_path):
    whole, broken = Short(20), Short(20)
    trained(whole)
    path = tmp_path / "checkpoint"
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(ROWS, 5, generator=draw), torch.randint(3, (ROWS,), generator=draw)

    def events():
        return train(
            broken, lambda rows: F.cross_entropy(broken(x[rows]), y[rows]), lambda: 0.0, torch.arange(ROWS), OPTIONS,
            least_steps=1, checkpoint=path,
        )  # fmt: skip

    next(events())
    list(events())
    for a, b in zip(whole.state_dict().values(), broken.state_dict().values()):
        assert torch.allclose(a, b, atol=2e-5)
