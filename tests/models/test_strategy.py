"""A strategy says what it is in fields; its name, its files and its row follow from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.fusion.late import LateMean
from polymodal.fusion.simple import Concat, Weighted
from polymodal.models.specs import resolved
from polymodal.models.strategy import Strategy

STREAMS = ("photo", "text")
CONCAT = Strategy("fusion", "concat", STREAMS)


@pytest.mark.parametrize(
    ("strategy", "name", "key"),
    [
        (Strategy("single", "late_mean", ("a photo",)), "a photo alone", "answers/a_photo_alone_"),
        (CONCAT, "concat", "answers/concat"),
        (replace(CONCAT, encoders="finetuned"), "concat fine-tuned", "finetuned/concat"),
        (replace(CONCAT, adapters=True), "concat + adapters", "answers/concat___adapters_"),
        (replace(CONCAT, adapters=True, objective=["ogm", {"name": "agm", "alpha": 0.5}]),
         "concat + ogm + agm(alpha=0.5)", "answers/concat___ogm___agm_alpha_0_5__"),
        (replace(CONCAT, adapters=True, objective="ogm", align="infonce", encoders="finetuned"),
         "concat + infonce + ogm fine-tuned", "finetuned/concat___infonce___ogm_"),
        (Strategy("fusion", {"name": "weighted", "alpha": 0.3}, STREAMS, "weighted(alpha=cv)"),
         "weighted(alpha=cv)", "answers/weighted_alpha_cv__"),
        (Strategy("chance", "chance", ()), "chance", "answers/chance"),
    ],
)  # fmt: skip
def test_the_name_and_the_files_follow_from_the_fields(strategy, name, key):
    assert strategy.name == name
    assert strategy.key.startswith(key)
    assert strategy.key.split("/")[0] == ("answers" if strategy.encoders == "apart" else strategy.encoders)


def test_a_name_may_hold_what_names_are_joined_by():
    odd = Strategy("fusion", {"name": "mixture", "of": "a + b fine-tuned"}, STREAMS)
    assert odd.fusion == odd.name == "mixture(of=a + b fine-tuned)"
    assert odd.encoders == "apart"
    assert replace(odd, adapters=True).variant == "adapters"


@pytest.mark.parametrize("strategy", [CONCAT, replace(CONCAT, objective=["ogm"], adapters=True, encoders="finetuned")])
def test_json_gives_the_same_strategy_back(strategy):
    written = json.loads(json.dumps(strategy.to_json()))
    assert written["name"] == strategy.name
    assert Strategy.from_json(written) == strategy


def test_what_was_written_before_there_were_fields_is_read():
    old = {
        "name": "weighted(alpha=cv) + infonce", "family": "fusion", "spec": {"name": "weighted", "alpha": 0.3},
        "streams": ["photo", "text"], "facts": None, "objective": None, "align": "infonce", "align_weight": 0.2,
        "towers": True,
    }  # fmt: skip
    read = Strategy.from_json(old)
    assert read.name == "weighted(alpha=0.3) + infonce"
    assert read.adapters, "they were called towers"
    assert (read.streams, read.align, read.align_weight, read.encoders) == (STREAMS, "infonce", 0.2, "apart")


def test_a_spec_is_resolved_into_what_planning_and_building_ask():
    hybrid = resolved({"name": "hybrid", "fusion": "cross"})
    assert (hybrid.family, hybrid.level, hybrid.reads_tokens) == ("answer", "hybrid", True)
    assert [part.cls.__name__ for part in hybrid.inner] == ["Cross", "Stacking"]
    assert not resolved("hybrid").reads_tokens
    product = resolved({"name": "hybrid", "rule": "product"})
    assert product.needs == resolved("product").needs
    assert resolved("concat").needs is None
    assert (resolved(Concat).family, resolved(LateMean).family, resolved("boosted").level) == (
        "fusion", "decision", "learner",
    )  # fmt: skip
    assert resolved(Weighted({"x": 2, "y": 2}, 4, alpha=0.3)).options == {"alpha": 0.3}


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("conkat", UnknownName, "concat"),
        ({"nam": "concat"}, BadArgument, "needs the key 'name'"),
        ({"name": "gated", "temprature": 1}, BadArgument, "temperature"),
        ({"name": "hybrid", "fusion": "conkat"}, UnknownName, "concat"),
        (dict[str, int], BadArgument, "neither"),
        (3, BadArgument, "int is neither"),
    ],
)
def test_a_spec_that_names_no_part_is_refused(spec, error, words):
    with pytest.raises(error, match=words):
        resolved(spec)
