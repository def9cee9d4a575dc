"""Choice of hidden layers: on planted layers, and on tiny towers saved as transformers saves them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_towers
import torch

from polymodal.aligners.layers import choose_layers
from polymodal.core.errors import BadArgument, BadData
from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS


def planted(count: int = 60):
    """Layer 1 of the one and layer 0 of the other hold the same numbers turned; the others are noise."""
    draw = torch.Generator().manual_seed(0)
    shared = torch.randn(count, 4, generator=draw)
    noise = [torch.randn(count, 6, generator=draw) for _ in range(3)]
    turn = torch.randn(4, 5, generator=draw)
    rows = torch.arange(count)[:, None]
    return {"text": [noise[0], shared, noise[1]], "image": [shared @ turn, noise[2]]}, {"text": rows, "image": rows}


def test_planted_layers_are_chosen():
    layers, rows = planted()
    found = choose_layers(layers, rows, k=5)
    assert found.chosen == {"image": 0, "text": 1}
    assert set(found.agreement) == {(i, t) for i in range(2) for t in range(3)}
    assert found.agreement[0, 1] > 2 * found.agreement[1, 2]
    assert found.words().startswith("layer 0 of image, layer 1 of text: mutual nearest neighbours agree in ")


def test_every_item_counts_once_and_rows_say_what_belongs_together():
    """Captions stand in another order than photos, and every photo has two: neighbours are those of single pairs."""
    layers, rows = planted()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    double = torch.cat([order, order])
    many = {"text": [x[double] for x in layers["text"]], "image": layers["image"]}
    found = choose_layers(many, {"text": rows["text"][double], "image": rows["image"]}, k=5)
    once = choose_layers(layers, rows, k=5)
    assert found.chosen == once.chosen
    assert found.agreement == pytest.approx(once.agreement)


def test_three_streams_and_equal_layers():
    layers, rows = planted()
    both = {**layers, "sound": [layers["text"][1], layers["text"][1].clone()]}
    found = choose_layers(both, {**rows, "sound": rows["text"]}, k=5)
    assert found.chosen == {"image": 0, "sound": 1, "text": 1}  # of equal ones the later


def test_too_few_pairs_are_refused():
    layers, rows = planted(12)
    with pytest.raises(BadData, match="12 pairs of 'image' and 'text' are too few"):
        choose_layers(layers, rows)


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    return {
        "text": tiny_towers.save_bert(root / "bert"),
        "audio": tiny_towers.save_wav2vec2(root / "wav2vec2"),
        "dual": tiny_towers.save_clip(root / "clip"),
    }


def tower(folder, kind, cells, **options):
    processor = PROCESSORS.build({"name": f"pretrained_{kind}", "model": folder})
    read = [processor.read(cell) for cell in cells]
    processor.fit(read)
    inputs = {name: torch.from_numpy(array) for name, array in processor.process(read).items()}
    return ENCODERS.build({"name": f"pretrained_{kind}", **options}, processor.facts(), 20).eval(), inputs


TEXTS = ["a red shoe", "dog runs", "a blue dog runs fast"]


@pytest.mark.parametrize("pool", ["mean", "own"])
def test_a_layer_of_a_tower_is_what_the_tower_says(towers, pool):
    plain, inputs = tower(towers["text"], "text", TEXTS, pool=pool)
    layers = plain.layers_of(inputs)
    assert len(layers) == 3  # what goes into the first of two blocks, and what comes out of each
    for number, expected in enumerate(layers):
        chosen, _ = tower(towers["text"], "text", TEXTS, pool=pool, layer=number)
        torch.testing.assert_close(chosen(inputs).pooled, expected)
    torch.testing.assert_close(plain(inputs).pooled, layers[2])
    states = plain.tower(**plain.arguments(inputs), output_hidden_states=True).hidden_states[1]
    real = inputs["word"] >= 0
    mean = torch.stack([row[r].mean(0) for row, r in zip(states, real)])
    torch.testing.assert_close(layers[1], states[:, 0] if pool == "own" else mean)


def test_layers_of_sound(towers):
    import io

    import soundfile

    cells = []
    for seed in range(2):
        file = io.BytesIO()
        soundfile.write(file, np.random.default_rng(seed).normal(0, 0.1, 4000), 8000, format="WAV")
        cells.append(file.getvalue())
    encoder, inputs = tower(towers["audio"], "audio", cells)
    layers = encoder.layers_of(inputs)
    assert [layer.shape for layer in layers] == [(2, 32)] * 3
    assert not torch.allclose(layers[0], layers[1])


def test_layers_that_are_not_there_are_refused(towers):
    with pytest.raises(BadArgument, match="from 0 to 2, the tower's blocks; got 3"):
        tower(towers["text"], "text", TEXTS, layer=3)
    with pytest.raises(BadArgument, match="shared space is its last layer"):
        tower(towers["dual"], "text", TEXTS, layer=1)
