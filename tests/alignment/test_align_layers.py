"""`layer: auto` in `align`: chosen on training pairs, written down, told, and refused for towers that learn."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image

import polymodal as pm
from polymodal.core.errors import BadArgument

WORDS = ("red", "blue", "dog", "shoe", "runs", "fast", "a")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixty small pictures, each with a text of its own, and two tiny towers."""
    pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("layers")
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    for number in range(60):
        pixels = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    table = {
        "photo": [str(root / f"{number}.png") for number in range(60)],
        "text": [" ".join(draw.choice(WORDS, size=5)) for _ in range(60)],
    }
    towers = {
        "photo": {"name": "pretrained_vision", "model": tiny_towers.save_vit(root / "vit"), "layer": "auto"},
        "text": {"name": "pretrained_text", "model": tiny_towers.save_bert(root / "bert")},
    }
    return table, towers


def test_the_layer_is_chosen_and_written_down(photos, tmp_path):
    table, towers = photos
    run = pm.align(
        table, ["photo", "text"], out=tmp_path / "run", store=str(tmp_path / "store"), quiet=True, dim=8,
        method={"name": "procrustes", "keep": 4}, encoders=towers,
    )  # fmt: skip
    layer = run.space.encoders["photo"].layer
    assert layer in (0, 1, 2)
    assert run.space.encoders["text"].layer is None
    assert f"layer {layer} of photo" in (run.folder / "report.html").read_text(encoding="utf-8")
    again = pm.load_space(run.folder)
    assert again.encoders["photo"].layer == layer


def test_towers_that_learn_have_no_layer_to_choose(photos, tmp_path):
    table, towers = photos
    with pytest.raises(BadArgument, match="layer"):
        pm.align(
            table, ["photo", "text"], out=tmp_path / "run", store=str(tmp_path / "store"), quiet=True, dim=8,
            method="infonce", towers="finetune", encoders=towers, training={"epochs": 1},
        )  # fmt: skip
