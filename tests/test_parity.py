"""Every registered formula against its independent one at float64, values and gradients; none is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.parity import CASES, Case, Pair, cases, compare

from polymodal.catalogues import FAMILIES, catalogue

FORWARD, GRADIENT = 1e-9, 1e-6  # the second is the error of central differences
# A part with an extra wraps a network of another library, whose formula is that library's.
NEEDED = tuple(family for family in ("fusion", "decision", "head", "align", "objective") if family in FAMILIES)
OURS = [(f, part) for f in NEEDED for part in catalogue(f) if not catalogue(f).entry(part).extra]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_parity(case: Case):
    errors = compare(case)
    assert errors.forward <= FORWARD
    assert errors.gradient is None or errors.gradient <= GRADIENT


@pytest.mark.parametrize(("family", "part"), OURS)
def test_every_part_has_a_formula(family: str, part: str):
    named = {(case.family, case.part) for case in cases()}
    assert (family, part) in named, f"register a formula of {family} {part!r} in tests/reference"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_formula_names_its_source(case: Case):
    assert any(c.isdigit() for c in case.source) or case.source in ("folklore", "polymodal")
    if case.family in FAMILIES:
        assert case.part in catalogue(case.family)


def _case(pair: Pair) -> Case:
    return Case("test", "planted", "", "folklore", "NumPy", lambda: pair)


def test_a_wrong_value_and_a_wrong_gradient_are_seen():
    at = {"x": np.array([1.0, 2.0])}
    right = compare(_case(Pair(lambda v: v["x"] ** 2, lambda v: v["x"] ** 2, at)))
    assert right.forward == 0
    assert right.gradient < 1e-9
    assert compare(_case(Pair(lambda v: v["x"] ** 2 + 1e-3, lambda v: v["x"] ** 2, at))).forward == pytest.approx(1e-3)
    cut = Pair(lambda v: v["x"].detach() * v["x"], lambda v: v["x"] ** 2, at)
    assert compare(_case(cut)).gradient > 0.1
    analytic = Pair(lambda v: v["x"] ** 2, lambda v: v["x"] ** 2, at, gradient=lambda v, up: {"x": 3 * v["x"] * up})
    assert compare(_case(analytic)).gradient > 0.1


def test_single_precision_and_missing_gradients_are_refused():
    at = {"x": np.array([1.0, 2.0])}
    with pytest.raises(AssertionError, match="ours is torch.float32"):
        compare(_case(Pair(lambda v: v["x"].float(), lambda v: v["x"], at)))
    with pytest.raises(AssertionError, match="y gets no gradient"):
        compare(_case(Pair(lambda v: v["x"] * 2, lambda v: v["x"] * 2, {**at, "y": at["x"]})))
    fixed = Pair(lambda v: v["x"] * 2, lambda v: v["x"] * 2, {**at, "y": at["x"]}, constant=("y",))
    assert compare(_case(fixed)).gradient < 1e-9


def test_values_alone_are_compared_where_nothing_is_smooth():
    pair = Pair(lambda v: torch.argsort(v["x"]).double(), lambda v: np.argsort(v["x"]), {"x": np.ones(1)}, smooth=False)
    assert compare(_case(pair)).gradient is None


def test_two_cases_of_one_name_are_refused():
    from reference.parity import parity

    with pytest.raises(ValueError, match="two parity cases"):
        parity(CASES[0].family, CASES[0].part, CASES[0].variant, source="folklore")(lambda: None)
