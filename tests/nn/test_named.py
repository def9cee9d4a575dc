"""Modules under any name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from polymodal.nn.layers.named import Named, module_name

AWKWARD = ["type", "values", "keys", "a.b", "a", "%2E", "of_a", "", " ", "ü", "training", "..", "%"]


def test_modules_are_found_by_awkward_names_and_kept_in_order():
    modules = {name: nn.Linear(1, 1) for name in AWKWARD}
    named = Named(modules)
    assert list(named) == named.keys() == AWKWARD
    assert [name for name, _ in named.items()] == AWKWARD
    assert all(named[name] is module for name, module in modules.items())
    assert "type" in named
    assert "b" not in named
    assert len(list(named.parameters())) == 2 * len(AWKWARD)
    del named["type"]
    assert "type" not in named
    with pytest.raises(KeyError):
        named["type"]


def test_weights_come_back_under_the_same_names():
    one, other = (Named({name: nn.Linear(1, 1) for name in AWKWARD}) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(one[name].weight, other[name].weight) for name in AWKWARD)


@given(st.text(), st.text())
def test_different_names_stay_different(one, other):
    assert (module_name(one) == module_name(other)) == (one == other)
    assert "." not in module_name(one)
    assert list(Named({one: nn.Identity()})) == [one]
