"""Fusions and rules broken on purpose are caught: a quick part of `benchmarks/mutation.py`."""

from __future__ import annotations

from functools import cache

import pytest
from mutation import caught, equivalent, mutants, tried

from polymodal.fusion import DECISIONS, FUSIONS

OTHER = {
    "gated": {"gate": "sigmoid", "temperature": 0.5},
    "lowrank": {"rank": 2},
    "graph": {"messages": "gat"},
    "product": {"prior": [0.7, 0.1, 0.1, 0.05, 0.05]},
    "late_weighted": {"temperature": False},
}
# What only a formula can tell: the part still keeps its contract, as another one than it says.
FORMULA_ALONE = {
    ("lowrank", "two streams swapped"), ("graph", "two streams swapped"), ("product", "absent streams count as there"),
}  # fmt: skip


@cache
def _mutants(name: str):
    return {m.fault: m for m in mutants(FUSIONS if name in FUSIONS else DECISIONS, name, OTHER[name], weights=1)}


@pytest.mark.parametrize("name", OTHER)
def test_every_fault_is_caught(name: str):
    for fault, mutant in _mutants(name).items():
        expected = "its formula" if (name, fault) in FORMULA_ALONE else None
        found = tried(mutant)["caught_by"]
        assert found != "SURVIVED", (name, fault)
        assert (found == "its formula") == (expected == "its formula"), (name, fault, found)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("masked values leak", "ignores masked values"),
        ("rows mixed", "row independent of its batch"),
        ("chance from elsewhere", "same seed, same result"),
        ("not finite in an empty row", "finite"),
        ("state not saved", "save and load"),
        ("streams in the order given", "order of streams"),
        ("two streams swapped", "every stream is heard"),
        ("option ignored: temperature", "options matter"),
        ("padding counts", "ignores padding"),
        ("reads_tokens lies", "reads_tokens"),
    ],
)
def test_the_law_that_catches_it_is_the_one_that_names_it(fault: str, law: str):
    assert caught(_mutants("gated")[fault]) == law


def test_a_mutant_that_changes_nothing_is_told_apart():
    """A product of [x; 1] reads an absent stream as it reads zeros, so counting it as there changes nothing."""
    mutant = _mutants("lowrank")["absent streams count as there"]
    assert equivalent(mutant)
    assert not equivalent(_mutants("lowrank")["rows mixed"])
