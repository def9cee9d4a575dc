"""What a preset stands for."""

from __future__ import annotations

import pytest

import polymodal as pm
from polymodal.config import Config
from polymodal.core.errors import BadArgument
from polymodal.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_options_that_exist(name: str):
    config = Config.from_options({"preset": name})
    for option, value in PRESETS[name].items():
        assert getattr(config, option) == value
    assert Config.from_options(config.to_dict()).to_dict() == config.to_dict()  # a run's file says it in full


def test_what_is_given_one_by_one_wins():
    config = Config.from_options({"preset": "fast", "seeds": 3, "fusion": "all"})
    assert (config.seeds, config.fusion, config.encodings) == (3, "all", "fitted")
    assert Config.from_options({"preset": "good"}) == Config()


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_names_and_a_target_has_no_use_for_is_left_out(name: str):
    rows = {"title": [f"thing {n}" for n in range(60)], "size": [n * 0.5 for n in range(60)]}
    rows["says"] = [f"this is thing {n % 3}" for n in range(60)]
    plan = pm.plan(rows, schema={"target": {"says": "text"}}, preset=name)
    assert "Left out, since it is not defined for text: late_mean" in plan.text()
    with pytest.raises(BadArgument, match="The fusion product is defined for"):
        pm.plan(rows, schema={"target": {"says": "text"}}, fusion="product")


def test_a_preset_in_a_file(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("preset: fast\nseeds: 2\n", encoding="utf-8")
    assert Config.read(path).seeds == 2
    assert Config.read(path).encodings == "fitted"


def test_unknown_words_name_what_there_is():
    with pytest.raises(BadArgument, match="Unknown preset 'fastest'.*fast"):
        Config.from_options({"preset": "fastest"})
    with pytest.raises(BadArgument, match="Unknown option 'presets' of fit.*preset"):
        Config.from_options({"presets": "fast"})
    with pytest.raises(BadArgument, match="Unknown encodings 'fited'.*fitted"):
        Config(encodings="fited")
