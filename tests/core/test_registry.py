"""Specs in every form, and errors that name what to do."""

from __future__ import annotations

import pytest

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.registry import Catalogue, Entry, options_of


class Base:
    pass


class Gate(Base):
    """A part with two options."""

    def __init__(self, width: int, *, temperature: float = 1.0, mode: str = "soft"):
        self.width = width
        self.temperature = temperature
        self.mode = mode


class Forgetful(Base):
    def __init__(self, *, size: int = 3):
        self.other = size


def catalogue() -> Catalogue:
    here = __name__
    return Catalogue("gate", f"{here}:Base", {"gate": Entry(f"{here}:Gate", "a gate", "Someone 2000")})


@pytest.mark.parametrize("spec", ["gate", {"name": "gate"}, Gate, f"{__name__}:Gate", {"name": Gate}])
def test_every_form_of_a_spec_builds_the_same_part(spec):
    part = catalogue().build(spec, 7)
    assert type(part) is Gate
    assert (part.width, part.temperature) == (7, 1.0)


def test_an_instance_passes_through():
    part = Gate(3, mode="hard")
    assert catalogue().build(part, 7) is part


def test_a_part_is_written_back_as_its_spec():
    parts = catalogue()
    spec = {"name": "gate", "temperature": 0.5}
    assert parts.spec(parts.build(spec, 7)) == spec


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match="No gate is called 'gat'. Did you mean 'gate'?"):
        catalogue().build("gat", 7)


def test_unknown_argument_suggests_the_nearest():
    with pytest.raises(BadArgument, match="Unknown argument 'temprature' of gate. Did you mean 'temperature'?"):
        catalogue().build({"name": "gate", "temprature": 1}, 7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (3, "is given as a name, a dict with 'name', a class"),
        ({"temperature": 1}, "needs the key 'name'"),
        ("no.such.module:Thing", "No module 'no.such.module'"),
        (f"{__name__}:Gates", "Did you mean 'Gate'?"),
        ("pathlib:Path", "is not a gate: it must subclass"),
    ],
)
def test_unusable_specs_say_what_is_wrong(spec, message):
    with pytest.raises((BadArgument, UnknownName), match=message):
        catalogue().build(spec, 7)


def test_registering_adds_a_name_once():
    parts = catalogue()
    parts.register("mine", source="me")(Forgetful)
    assert "mine" in parts
    assert parts.entry("mine").source == "me"
    with pytest.raises(BadArgument, match="exists already"):
        parts.register("mine")(Gate)


def test_an_option_that_is_not_kept_is_refused():
    with pytest.raises(BadArgument, match="does not keep its option 'size'"):
        options_of(Forgetful())


def test_suggest_lists_everything_when_nothing_is_near():
    assert suggest("zzz", ["b", "a"]) == " Allowed: a, b."


def test_a_missing_option_is_named():
    from polymodal.ops import CLEAN

    with pytest.raises(BadArgument, match="units needs columns, unit: give it as an option"):
        CLEAN.build("units")
    with pytest.raises(BadArgument, match="units needs unit: give it as an option"):
        CLEAN.build({"name": "units", "columns": "width"})
