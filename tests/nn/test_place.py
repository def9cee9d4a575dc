"""Batches on a device, and halved where its memory is short."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.types import Tokens
from polymodal.nn.place import CPU, device_of_module, in_use, to_device
from polymodal.testing.devices import one_device_only


def tokens(rows: int) -> Tokens:
    x = torch.randn(rows, 2, 3)
    return Tokens(x, torch.ones(rows, 2, dtype=torch.bool), x.mean(1), x[..., :1])


def test_on_the_cpu_nothing_moves_or_is_copied():
    batch = {"a": tokens(4), "b": {"values": torch.randn(4)}}
    moved = to_device(batch, CPU)
    assert moved["a"] is batch["a"]
    assert moved["b"]["values"] is batch["b"]["values"]


def test_a_nest_moves_whole_and_comes_back():
    batch = {"a": tokens(4), "b": {"values": torch.randn(4)}}
    with one_device_only() as device:
        seen = []

        def run(inputs):
            seen.extend([inputs["a"].x.device, inputs["a"].where.device, inputs["b"]["values"].device])
            return {"sum": inputs["a"].pooled.sum(1) + inputs["b"]["values"]}

        found = in_use(run, batch, device)
        assert set(seen) == {device}
        assert found["sum"].device == CPU
    assert torch.allclose(found["sum"], batch["a"].pooled.sum(1) + batch["b"]["values"])


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(TypeError, match="got list"):
        to_device([torch.ones(1)], CPU)


def test_where_a_module_is():
    assert device_of_module(torch.nn.Linear(2, 2).to("meta")).type == "meta"
    assert device_of_module(torch.nn.BatchNorm1d(2, affine=False).to("meta")).type == "meta"
    assert device_of_module(torch.nn.Identity()) == CPU


@pytest.mark.parametrize("most", [1, 3, 7])
def test_batches_are_halved_until_they_fit(most):
    sizes = []

    def run(batch):
        sizes.append(batch["a"].x.shape[0])
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("planted")
        return {"tokens": batch["a"], "score": batch["a"].pooled * 2}

    whole = tokens(13)
    with pytest.warns(RuntimeWarning, match="halved"):
        found = in_use(run, {"a": whole}, CPU)
    assert torch.equal(found["score"], whole.pooled * 2)
    for name in ("x", "mask", "pooled", "where"):
        assert torch.equal(getattr(found["tokens"], name), getattr(whole, name))
    assert max(size for size in sizes if size <= most) <= most


@pytest.mark.filterwarnings("ignore:The memory of")
def test_a_single_row_that_does_not_fit_is_an_error():
    def run(batch):
        raise torch.OutOfMemoryError("planted")

    with pytest.raises(torch.OutOfMemoryError, match="planted"):
        in_use(run, torch.ones(4, 2), CPU)
