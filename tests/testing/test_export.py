"""Every catalogued part that is a graph can be exported for any number of rows; and what hinders it is caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from polymodal.catalogues import FAMILIES as CATALOGUES
from polymodal.catalogues import catalogue
from polymodal.core.errors import UnknownName
from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.testing import NotConformant, check_export
from polymodal.testing.export import EXCUSED, FAMILIES, WHOLES, exported

QUICK: dict[str, Any] = {
    "policy": {"steps": 5},
    "imputed": {"by": "flow", "steps": 5},
}  # what a part does before it is exported
# From scratch: a part with an extra wraps a network of another library, whose export that library decides.
PARTS = [(f, name) for f in FAMILIES for name in catalogue(f) if not catalogue(f).entry(name).extra]


@pytest.mark.parametrize(("family", "name"), PARTS)
def test_a_part_exports_or_says_why_not(family: str, name: str):
    spec = {"name": name, **QUICK.get(name, {})}
    if f"{family}/{name}" not in EXCUSED:
        check_export(family, spec)
        return
    with pytest.raises(NotConformant, match="it cannot be"):  # else strike it from EXCUSED
        check_export(family, spec)


@pytest.mark.parametrize("name", WHOLES)
def test_what_joins_parts_exports(name: str):
    exported(WHOLES[name]())


def test_every_family_is_exported_or_excused():
    assert set(CATALOGUES) == set(FAMILIES) | {name for name in EXCUSED if "/" not in name}
    for name in EXCUSED:
        family, _, part = name.partition("/")
        assert part in catalogue(family) if part else family not in FAMILIES, name


def test_an_excuse_that_is_none_is_caught(monkeypatch):
    monkeypatch.setitem(EXCUSED, "fusion/mean", "planted")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_part_exports_or_says_why_not("fusion", "mean")


def test_a_family_that_is_no_graph_is_refused():
    with pytest.raises(UnknownName, match="'processor' are not exported"):
        check_export("processor", "image")


def test_an_exported_program_is_saved_and_loaded(tmp_path):
    (one,) = FAMILIES["fusion"]("cross")
    program = exported(one)
    torch.export.save(program, tmp_path / "fusion.pt2")
    loaded = torch.export.load(tmp_path / "fusion.pt2").module()
    streams = {name: tokens.select(torch.arange(3)) for name, tokens in one.args[0].items()}
    fused, again = program.module()(streams), loaded(streams)
    assert isinstance(again, Tokens)
    for a, b in ((fused.x, again.x), (fused.mask, again.mask), (fused.pooled, again.pooled)):
        assert torch.equal(a, b)
    assert again.where is None


# --- planted faults ---------------------------------------------------------------------------------------------------


class Sound(Fusion):
    """A mean of linear maps, which the classes below spoil."""

    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.maps = torch.nn.ModuleList(torch.nn.Linear(w, dim) for w in self.widths.values())

    def fuse(self, streams):
        mapped = torch.stack([m(t.pooled) for m, t in zip(self.maps, streams.values())], 1)
        return self.spoiled(Tokens.from_vector(mapped.mean(1), presence(streams.values()).any(1)), streams)

    def spoiled(self, fused, streams):
        return fused


class CountsRows(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x + torch.zeros(len(fused), 1, 1), fused.mask, fused.pooled)


class CountsTensorRows(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x, fused.mask, fused.pooled.view(len(fused.pooled), -1))


class BranchesOnData(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x, fused.mask, fused.pooled * 2) if fused.mask.any() else fused


class ComparesStorage(Sound):
    def spoiled(self, fused, streams):
        return fused.cleared() if fused.x.data_ptr() == fused.pooled.data_ptr() else fused


class ComparesValues(Sound):
    def spoiled(self, fused, streams):
        return fused.cleared() if torch.equal(fused.x[:, 0], fused.pooled) else fused


class PicksRows(Sound):
    def spoiled(self, fused, streams):
        some = fused.present.nonzero()[:, 0]
        return fused.select(some)


class TakesANumber(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x, fused.mask, fused.pooled * float(fused.pooled.abs().max()))


class BranchesOnRows(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x, fused.mask, fused.pooled * (2 if fused.x.shape[0] > 4 else 1))


class ReturnsOneRow(Sound):
    def spoiled(self, fused, streams):
        return Tokens(fused.x, fused.mask, fused.pooled[:1])


class BakesTheExampleIn(Sound):
    def spoiled(self, fused, streams):
        shift = 0.0 if torch.compiler.is_exporting() else float(fused.pooled.mean())
        return Tokens(fused.x, fused.mask, fused.pooled + shift)


def test_a_sound_fusion_exports():
    check_export("fusion", Sound)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (CountsRows, "it cannot be|rows for good"),
        (CountsTensorRows, "it cannot be|rows for good"),
        (BranchesOnData, "it cannot be"),
        (ComparesStorage, "it cannot be"),
        (ComparesValues, "it cannot be"),
        (PicksRows, "rows go by several counts|it cannot be"),
        (TakesANumber, "it cannot be"),
        (BranchesOnRows, "it cannot be|rows only"),
        (ReturnsOneRow, "rows for good"),
        (BakesTheExampleIn, "the graph says something else"),
    ],
)
def test_a_planted_fault_is_caught(part: type, words: str):
    with pytest.raises(NotConformant, match=words):
        check_export("fusion", part)
