"""What `config=` takes: an instance, a file, a dict or nothing, with options beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import polymodal as pm
from polymodal.alignment.config import AlignConfig
from polymodal.config import Config, Training
from polymodal.core.errors import BadArgument

TABLE = {"x": [float(i % 7) for i in range(40)], "w": [float(i % 5) for i in range(40)], "y": ["a", "b"] * 20}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fast.yaml"
    path.write_text("seeds: 2\ntraining: {epochs: 3}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", [Path, str])
def test_a_path_is_read_as_the_command_line_reads_it(file, kind):
    assert Config.given(kind(file), {}) == Config.read(file)
    assert Config.given(kind(file), {"seeds": 5}) == Config.read(file, {"seeds": 5})
    assert pm.plan(TABLE, "y", config=kind(file), fusion="concat").config.seeds == 2


def test_so_do_runs_of_other_kinds(tmp_path):
    (tmp_path / "align.yaml").write_text("seed: 3\ntowers: frozen\n", encoding="utf-8")
    assert AlignConfig.given(tmp_path / "align.yaml", {"dim": 8}) == AlignConfig.from_options(
        {"seed": 3, "towers": "frozen", "dim": 8}
    )


def test_a_dict_and_an_instance():
    assert Config.given({"seeds": 2}, {"dim": 8}) == Config(seeds=2, dim=8)
    assert Config.given(None, {"dim": 8}) == Config(dim=8)
    assert Config.given(Config(seeds=2), {}) == Config(seeds=2)
    with pytest.raises(BadArgument, match="either in config or one by one"):
        Config.given(Config(), {"dim": 8})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (42, "config takes a Config, the path of a YAML file or a dict of options; got int"),
        (AlignConfig(), "got AlignConfig"),
        ("missing.yaml", "'missing.yaml' does not exist"),
        ({"sedes": 1}, "Did you mean 'seeds'"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(config, words):
    with pytest.raises(BadArgument, match=words):
        pm.plan(TABLE, "y", config=config)


def test_a_part_of_a_training_has_its_share_of_epochs_and_of_steps():
    part = Training(epochs=100, steps=2501).part(0.5)
    assert (part.epochs, part.steps) == (50, 1251)
    assert Training(epochs=6).part(1 / 3, least=5) == Training(epochs=5)
    assert [Training(epochs=100, steps=2500).within(157).epochs, Training(epochs=9).within(157).epochs] == [15, 9]
