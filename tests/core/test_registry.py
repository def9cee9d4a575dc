"""Specs in every form, and errors that name what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_type_hints

import pytest

from polymodal.core.errors import BadArgument, MissingExtra, UnknownName, suggest
from polymodal.core.registry import Catalogue, Entry, in_words, options, options_of


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


class Typed:
    """A gate whose options say of what type they are."""

    def __init__(
        self, width: int, *, temperature: float = 1.0, depth: int = 2, hard: bool = False,
        names: Sequence[str] | None = None, pair: tuple[int, int] = (1, 2), way: Literal["up", "down"] = "up",
        shares: Mapping[str, float] | None = None,
        bare: list = [],  # noqa: B006 - an annotation without an inside
    ):  # fmt: skip
        vars(self).update({k: v for k, v in locals().items() if k != "self"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": "a"}, "temperature of typed takes a number; got 'a'"),
        ({"temperature": [1]}, r"temperature of typed takes a number; got \[1\]"),
        ({"temperature": float("nan")}, "temperature of typed takes a number; got nan"),
        ({"temperature": None}, "temperature of typed takes a number; got None"),
        ({"depth": 2.5}, "depth of typed takes a whole number; got 2.5"),
        ({"depth": True}, "depth of typed takes a whole number; got True"),
        ({"hard": "yes"}, "hard of typed takes true or false; got 'yes'"),
        ({"names": "a"}, "names of typed takes a list of texts or nothing; got 'a'"),
        ({"names": ["a", 1]}, "names of typed takes a list of texts or nothing"),
        ({"pair": [1]}, "pair of typed takes a list of 2 numbers"),
        ({"way": "left"}, "way of typed takes 'up' or 'down'; got 'left'"),
        ({"shares": {"a": "b"}}, "shares of typed takes 'name: value' pairs or nothing"),
        ({"bare": 3}, "bare of typed takes list; got 3"),
        ({"deepth": 3}, "Unknown argument 'deepth' of typed. Did you mean 'depth'"),
        ({3: 3}, "Unknown argument 3 of typed"),
    ],
)  # fmt: skip
def test_options_are_of_the_type_that_the_constructor_says(given, said):
    parts = Catalogue("gate", f"{__name__}:Typed", {"typed": Entry(f"{__name__}:Typed", "", "folklore")})
    with pytest.raises(BadArgument, match=said):
        parts.build({"name": "typed", **given}, 7)


def test_options_of_their_type_pass_as_json_and_yaml_have_them():
    parts = Catalogue("gate", f"{__name__}:Typed", {"typed": Entry(f"{__name__}:Typed", "", "folklore")})
    given = {"temperature": 2, "depth": 3, "names": ("a",), "pair": [3, 4], "way": "down", "shares": {"a": 1}}
    made = parts.build({"name": "typed", **given}, 7)
    assert {name: getattr(made, name) for name in given} == given


def test_every_catalogued_part_refuses_an_option_of_another_type():
    from polymodal import catalogues

    tried = 0
    for family in map(catalogues.catalogue, catalogues.FAMILIES):
        for name in family:
            try:
                cls = family.load(name)
            except MissingExtra:
                continue
            hints = get_type_hints(cls.__init__)
            for option in options(cls):
                if hints.get(option) in (int, float, bool, str):
                    tried += 1
                    with pytest.raises(BadArgument, match=f"{option} of {name} takes"):
                        family.resolve({"name": name, option: object()})
    assert tried > 300


def test_a_mapping_written_as_text_is_no_dotted_path():
    with pytest.raises(UnknownName, match="is no dotted path, .*; a part with options is a mapping"):
        catalogue().build("{name: gate, temperature: 2}", 7)


def test_specs_in_words():
    assert in_words("text") == "text"
    assert in_words({"name": "quantiles", "levels": [0.1, 0.9], "least": 2}) == "quantiles, levels: 0.1, 0.9; least: 2"


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


def test_suggest_completes_a_name_that_was_begun():
    assert suggest("acc", ["accuracy", "mcc"]) == " Did you mean 'accuracy'?"
    assert suggest("gat", ["gather", "gate", "other"]) == " Did you mean 'gate'?"  # begun by two: the nearest


def test_a_missing_option_is_named():
    from polymodal.ops import CLEAN

    with pytest.raises(BadArgument, match="units needs columns, unit: give it as an option"):
        CLEAN.build("units")
    with pytest.raises(BadArgument, match="units needs unit: give it as an option"):
        CLEAN.build({"name": "units", "columns": "width"})
