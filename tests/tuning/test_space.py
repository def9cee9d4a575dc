"""The space that is derived from a plan: parts, then what of their options matters beside them."""

from __future__ import annotations

import pytest
from small_table import write_shop

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS
from polymodal.experiment.strategies import AUTO as FUSIONS
from polymodal.models.specs import CATALOGUES
from polymodal.tuning.config import TuneConfig
from polymodal.tuning.space import Space


class Drawn:
    """A trial that says what it is told to, or the first value."""

    def __init__(self, **said):
        self.said = said

    def suggest_categorical(self, name, values):
        return self.said.get(name, values[0])

    def suggest_float(self, name, low, high, log):
        return self.said.get(name, low)

    suggest_int = suggest_float


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"), rows=60)


def plan_of(table, **options):
    return pm.plan(table, "category", config=TuneConfig(**options).fit_config())


def test_derived_from_a_default_plan(table):
    plan = plan_of(table)
    space = Space.of(plan, {})
    assert list(space.settings["encoders.photo"].values) == ["auto", "image_hog", "image_resnet", "image_vit"]
    assert next(iter(space.settings["encoders.title"].values)) == "text_linear"
    assert not [name for one in space.settings.values() for name in one.values if "pretrained" in str(name)]
    assert list(space.settings["fusion"].values) == [*FUSIONS, "photo alone", "title alone", "table alone"]
    names = set(space.settings)
    assert {"dim", "answer_training.lr", "encoder_training.lr", "encoders.photo.image_resnet.width"} <= names
    assert {"fusion.gated.temperature", "fusion.attention.heads", "fusion.concat.dropout"} <= names
    assert "align_weight" not in names
    assert not any(name.startswith(("objective", "augment")) for name in names)
    start = space.start("gated")
    assert start["encoders.photo"] == "auto"
    assert start["dim"] == 64
    assert start["answer_training.lr"] == 2e-3
    assert start["fusion.gated.temperature"] == 1.0
    assert "fusion.attention.heads" not in start
    assert space.options({"fusion": "gated"}) == {"fusion": ["gated"]}


def test_only_what_changes_something_is_drawn(table):
    space = Space.of(plan_of(table), {})
    late = space.suggest(Drawn(fusion="late_mean"))
    assert not [
        name for name in late if name.startswith(("answer_training", "fusion.", "encoder_training")) or name == "dim"
    ]
    alone = space.suggest(Drawn(**{"fusion": "photo alone", "encoders.photo": "image_resnet"}))
    assert {name.split(".")[1] for name in alone if name.startswith("encoders.")} == {"photo"}
    assert "encoders.photo.image_resnet.width" in alone
    assert not [name for name in alone if name.startswith("fusion.")]
    assert "fusion" not in space.options(alone)
    named = [s.name for s in space.trained(alone, space.plan.strategies)]
    assert named == ["photo alone"]
    trained = space.suggest(Drawn(**{"fusion": "gated", "encoders.photo": "image_resnet"}))
    assert {"encoders.photo.image_resnet.width", "encoder_training.lr", "answer_training.lr"} <= set(trained)
    assert not [name for name in trained if "image_vit" in name or "attention" in name]
    said = space.options(
        {"encoders.photo": "image_resnet", "encoders.photo.image_resnet.width": 8, "encoder_training.lr": 0.00123456}
    )
    assert said["encoders"] == {"photo": {"name": "image_resnet", "width": 8}}
    assert said["encoder_training"] == {"lr": 0.001235}
    formula = space.options({"encoders.photo": "image_hog"})
    assert formula["encoders"] == {"photo": {"name": "scored", "of": "image_hog"}}


def test_what_is_on_can_be_searched(table):
    plan = plan_of(table, objective="ogm", align="infonce", augment=["flip", {"drop_words": {"amount": 0.2}}], seeds=1)
    space = Space.of(plan, {})
    on = {"objective.ogm.alpha", "align_weight", "augment.drop_words.amount", "augment.drop_words.copies"}
    assert on <= set(space.settings)
    assert "augment.flip.copies" not in space.settings  # a picture has one mirror image
    said = space.options({"objective.ogm.alpha": 0.5, "align_weight": 0.2, "augment.drop_words.amount": 0.3})
    assert said["objective"] == [{"name": "ogm", "alpha": 0.5}]
    assert said["align_weight"] == 0.2
    assert said["augment"] == ["flip", {"name": "drop_words", "amount": 0.3}]


def test_the_weight_of_two_streams_is_a_number(table):
    schema = {"fields": {"a": {"kind": "table", "columns": ["price"]}, "b": {"kind": "text", "columns": ["title"]}}}
    config = TuneConfig(fusion=["weighted", "late_weighted"], encodings="fitted").fit_config()
    space = Space.of(pm.plan(table, "category", schema=schema, config=config), {})
    alpha = space.settings["fusion.weighted.alpha"]
    assert (alpha.low, alpha.high) == (0.0, 1.0)
    assert space.options({"fusion": "weighted", "fusion.weighted.alpha": 0.25})["fusion"] == [
        {"name": "weighted", "alpha": 0.25}
    ]
    three = Space.of(plan_of(table, fusion=["weighted"], encodings="fitted"), {}).settings["fusion.weighted.alpha"]
    first = next(iter(three.values))
    given = Space.of(plan_of(table, fusion=["weighted"], encodings="fitted"), {}).options(
        {"fusion": "weighted", "fusion.weighted.alpha": first}
    )
    assert abs(sum(given["fusion"][0]["alpha"].values()) - 1) < 1e-9


def test_a_named_encoder_keeps_its_name_and_lends_its_options(table):
    space = Space.of(plan_of(table, encoders={"photo": {"name": "image_resnet", "width": 8}}), {})
    assert "encoders.photo" not in space.settings
    assert list(space.settings["encoders.photo.image_resnet.width"].values) == [4, 8, 16]
    assert space.options({"encoders.photo.image_resnet.width": 4})["encoders"] == {
        "photo": {"name": "image_resnet", "width": 4}
    }


def test_an_encoder_that_is_not_offered_lends_no_options(table):
    plan = plan_of(table, encoders={"photo": {"name": "image_resnet", "width": 8}})
    space = Space.of(plan, {"encoders.photo": {"values": ["image_vit", "image_hog"]}})
    assert list(space.settings["encoders.photo"].values) == ["image_vit", "image_hog"]
    assert "encoders.photo.image_vit.width" in space.settings
    assert not [name for name in space.settings if "image_resnet" in name]


def test_what_the_user_gives_wins_and_comes_back_the_same(table):
    given = {
        "derive": False,
        "fusion": {"values": ["concat", {"name": "mlp", "hidden": 32}]},
        "fusion.mlp.layers": {"low": 1, "high": 3},
        "encoders.title": {"values": ["text_linear", "text_bilstm"]},
        "encoder_training.epochs": {"values": [2, 4]},
        "training.weight_decay": {"low": 0.001, "high": 0.1, "log": True},
    }
    plan = plan_of(table)
    space = Space.of(plan, given)
    assert set(space.settings) == set(given) - {"derive"}
    again = Space.of(plan, {"derive": False, **space.to_json()})
    assert again.to_json() == space.to_json()
    assert list(again.settings) == list(space.settings)
    drawn = space.suggest(Drawn(fusion="mlp(hidden=32)"))
    assert drawn["fusion.mlp.layers"] == 1
    assert drawn["encoder_training.epochs"] == 2
    assert space.options(drawn)["fusion"] == [{"name": "mlp", "hidden": 32, "layers": 1}]
    assert "fusion.mlp.layers" not in space.suggest(Drawn(fusion="concat"))
    assert set(Space.of(plan, {"fusion": False, "dim": False}).settings).isdisjoint({"fusion", "dim"})
    as_it_is = Space.of(plan, {"encoders.photo": False}).settings
    assert not [name for name in as_it_is if name.startswith("encoders.photo")]  # options of none that is chosen
    one = Space.of(plan, {"derive": False, "fusion": {"values": ["mlp"]}, "fusion.mlp.hidden": {"values": [8, 16]}})
    assert one.options(one.suggest(Drawn()))["fusion"] == [{"name": "mlp", "hidden": 8}]
    with pytest.raises(BadArgument, match="derive of space takes true or false"):
        Space.of(plan, {"derive": "no"})


@pytest.mark.parametrize("name", sorted({name for family in ("fusion", "decision") for name in CATALOGUES[family]}))
def test_the_ends_of_every_fusion_can_be_built(table, name):
    plan = plan_of(table, fusion=[name], encodings="fitted")
    space = Space.of(plan, {})
    for one in space.settings.values():
        assert not space._fault(one), one
        for end in one.ends:
            assert one.holds(end)


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"scored", "beside", "links_graph"}))
def test_encoders_of_the_catalogue_take_what_is_derived(name):
    """Widths at half and twice their size, shares from none to half: options that their constructors accept."""
    from polymodal.core.registry import check_options
    from polymodal.tuning.space import SHARES, WIDTHS, _of_part

    cls = ENCODERS.load(name)
    for option in _of_part("encoders.x", name, (*WIDTHS, *SHARES)):
        one = option.derived()
        for end in one.ends if one else ():
            check_options(cls, {option.name.rpartition(".")[2]: one.value(end)}, label=name)
