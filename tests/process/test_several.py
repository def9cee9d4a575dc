"""Several processors of the same cells, and encoders that each read their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS

CELLS = [[1.0, 2.0], [3.0, 5.0], [2.0, 0.0]]
SPEC = {"name": "several", "parts": ["vector", {"name": "vector", "standardize": False}]}


def fitted():
    processor = PROCESSORS.build(SPEC)
    cells = [processor.read(cell) for cell in CELLS]
    processor.fit(cells)
    return processor, {name: torch.from_numpy(array) for name, array in processor.process(cells).items()}


def test_every_part_reads_and_learns_for_itself():
    processor, inputs = fitted()
    alone = PROCESSORS.build("vector")
    alone.fit([alone.read(cell) for cell in CELLS])
    own = alone.process([alone.read(cell) for cell in CELLS])
    assert set(inputs) == {f"{i}.{name}" for i in (0, 1) for name in own}
    name = next(iter(own))
    assert np.array_equal(inputs[f"0.{name}"], own[name])
    assert not np.array_equal(inputs[f"1.{name}"], own[name])
    assert processor.facts()["parts"][0] == alone.facts()
    assert processor.kind == "vector"
    assert np.array_equal(processor.show(processor.read(CELLS[0]))["array"], CELLS[0])


def test_what_was_learned_comes_back():
    processor, inputs = fitted()
    other = PROCESSORS.build(SPEC)
    other.load_state(processor.state())
    again = other.process([other.read(cell) for cell in CELLS])
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)


def test_encoders_side_by_side_each_read_their_part():
    processor, inputs = fitted()
    spec = {"name": "beside", "parts": ["vector_plain"] * 3, "reads": [0, 1, 0]}
    encoder = ENCODERS.build(spec, processor.facts(), 8)
    encoder.fit_statistics(inputs)
    tokens = encoder.eval()(inputs)
    first, second, third = tokens.pooled.split(2, 1)
    assert torch.allclose(second, torch.tensor(CELLS), atol=1e-5)
    assert torch.equal(first, third)
    assert not torch.allclose(first, second)
    with pytest.raises(BadArgument, match=r"beside has 3 encoders that read \[0, 1, 2\] of 2 processors"):
        ENCODERS.build({**spec, "reads": [0, 1, 2]}, processor.facts(), 8)


def test_noise_reaches_every_part():
    processor, inputs = fitted()
    noisy = processor.corrupt(inputs, 1.0, torch.Generator().manual_seed(0))
    assert set(noisy) == set(inputs)
    assert all(not torch.equal(noisy[name], inputs[name]) for name in inputs if inputs[name].is_floating_point())


def test_parts_are_of_one_kind():
    with pytest.raises(BadArgument, match="several takes processors of one kind; got text, vector"):
        PROCESSORS.build({"name": "several", "parts": ["vector", "text"]})
