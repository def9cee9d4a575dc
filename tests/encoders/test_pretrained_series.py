"""Chronos-Bolt as a tower for series, on tiny checkpoints: what its package gives, windows, gaps, channels, errors."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_towers
import torch

from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS
from polymodal.encoders.checkpoints import Shelf
from polymodal.process import PROCESSORS
from polymodal.testing import check_encoder
from polymodal.train.encode import encoded

pytest.importorskip("transformers")

# What chronos-forecasting 2.3.2 gives for `cells` (its `embed`, torch 2.13, transformers 5.24): of some rows and
# patches, counted from the end, the first five values of the state.
GIVEN = {
    True: {
        (0, -7): [0.02361, 0.28623, -0.28625, 0.5152, 0.60826], (1, -2): [0.49684, 0.42162, 1.30085, 0.841, 1.0552],
        (2, -3): [0.41258, 0.8876, 1.21714, 0.87979, 1.28137], (0, -1): [1.44621, -0.99037, 0.57484, 0.12813, -0.44933],
    },
    False: {
        (0, -6): [1.39466, -1.59217, 1.42726, -0.67269, 1.15865], (1, -1): [0.45918, 0.48957, 1.25902, 0.8626, 1.03279],
        (2, -2): [0.0755, 1.0442, 0.9153, 0.86015, 1.1687], (0, -1): [0.61002, 0.37255, 1.25772, 0.84656, 1.09142],
    },
}  # fmt: skip
LOCATION, SCALE = [6.839268, 12.970211, 2.5], [2.317373, 10.333133, 1e-5]


def cells() -> list[np.ndarray]:
    steps = np.arange(30.0, dtype=np.float32)
    first = np.sin(steps / 2) * 3 + 5 + 0.1 * steps
    first[[4, 5, 6, 7, 8, 17]] = np.nan
    return [first, steps[:11] ** 1.5, np.full(9, 2.5, np.float32)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bolts")
    return {
        True: tiny_towers.save_bolt(root / "reg"),
        False: tiny_towers.save_bolt(root / "bare", reg=False),
        "short": tiny_towers.save_bolt(root / "short", context=16),
    }


def built(folder, given, *, length=30, rate=1.0, **options):
    processor = PROCESSORS.build({"name": "pretrained_series", "model": folder, "length": length, "rate": rate})
    read = [processor.read(cell) for cell in given]
    processor.fit(read)
    inputs = {name: torch.from_numpy(array) for name, array in processor.process(read).items()}
    return ENCODERS.build({"name": "pretrained_series", **options}, processor.facts(), 20).eval(), inputs


@pytest.mark.parametrize("reg", [True, False])
def test_states_are_those_of_the_package(folders, reg):
    encoder, inputs = built(folders[reg], cells())
    states = encoder.tower(**encoder.arguments(inputs)).last_hidden_state
    assert states.shape == (3, 8 + reg, 16)
    for (row, patch), wanted in GIVEN[reg].items():
        assert states[row, patch, :5].tolist() == pytest.approx(wanted, abs=5e-5)
    pooled = encoder(inputs).pooled
    assert pooled[:, -2].sinh().tolist() == pytest.approx(LOCATION, rel=1e-5)
    assert pooled[:, -1].exp().tolist() == pytest.approx(SCALE, rel=1e-5)


def test_patches_with_a_value_are_averaged(folders):
    encoder, inputs = built(folders[True], cells())
    states = encoder.tower(**encoder.arguments(inputs)).last_hidden_state
    tokens = encoder(inputs)
    assert tokens.mask.sum(1).tolist() == [8, 3, 3]
    # 30 steps end with the eighth patch: of the first row, steps 2 to 5, 6 to 9 and 10 to 13 are the second to fourth
    known = [i for i in range(8) if np.isfinite(cells()[0][max(0, 4 * i - 2) : 4 * i + 2]).any()]
    assert torch.allclose(tokens.pooled[0, :16], states[0, known].mean(0), atol=1e-5)
    assert torch.allclose(tokens.pooled[1, :16], states[1, 5:8].mean(0), atol=1e-5)
    own, _ = built(folders[True], cells(), pool="own")
    assert torch.allclose(own(inputs).pooled[:, :16], states[:, -1], atol=1e-5)
    assert torch.equal(own(inputs).pooled[:, 16:], tokens.pooled[:, 16:])
    bare, inputs = built(folders[False], cells(), pool="own")
    with pytest.raises(BadArgument, match="no pooling of its own"):
        bare(inputs)


def test_a_patch_without_a_value_does_not_count(folders):
    gap = np.sin(np.arange(24.0))
    gap[8:12] = np.nan
    encoder, inputs = built(folders[True], [gap], length=24)
    states = encoder.tower(**encoder.arguments(inputs)).last_hidden_state
    assert torch.allclose(encoder(inputs).pooled[0, :16], states[0, [0, 1, 3, 4, 5]].mean(0), atol=1e-5)


def test_a_layer_can_be_chosen(folders):
    encoder, inputs = built(folders[True], cells())
    layers = encoder.layers_of(inputs)
    assert len(layers) == 3
    for i, pooled in enumerate(layers):
        one, _ = built(folders[True], cells(), layer=i)
        assert torch.equal(one(inputs).pooled, pooled)
    given = encoder.arguments(inputs)["inputs_embeds"]
    assert torch.allclose(layers[0][1, :16], given[1, 5:8].mean(0), atol=1e-5), "what goes into the first block"


def test_tokens_know_their_seconds(folders):
    encoder, inputs = built(folders[True], cells(), rate=10.0, tokens=4)
    tokens = encoder(inputs)
    assert tokens.x.shape == (3, 4, 18)
    assert tokens.where[0, :, 0].tolist() == pytest.approx([0.2, 1.0, 1.8, 2.6])
    assert tokens.mask[1].tolist() == [False, False, True, True]
    assert tokens.where[1, 2:, 0].tolist() == pytest.approx([0.0, 0.7])


def test_a_row_is_the_same_in_any_batch(folders):
    rows = [np.random.default_rng(i).normal(size=(n, 2)) for i, n in enumerate((3, 40, 17, 21, 1))]
    encoder, inputs = built(folders["short"], rows, length=40)
    whole = encoder(inputs)
    for i in range(len(rows)):
        one = encoder({name: value[i : i + 1] for name, value in inputs.items()})
        for name in ("x", "mask", "pooled", "where"):
            assert torch.allclose(getattr(one, name)[0].float(), getattr(whole, name)[i].float(), atol=1e-5)
    assert encoder.lengths(inputs).tolist() == [2, 20, 10, 12, 2]
    sorted_ones = encoded(encoder, {**inputs, "present": torch.ones(len(rows), dtype=torch.bool)})
    assert torch.allclose(sorted_ones.pooled, whole.pooled, atol=1e-5)


def test_what_is_longer_than_the_model_reads_is_cut_into_windows(folders):
    series = np.random.default_rng(0).normal(size=40).cumsum()
    encoder, inputs = built(folders["short"], [series], length=40)
    given = encoder.arguments(inputs)
    assert given["inputs_embeds"].shape == (3, 5, 16), "three windows of four patches, and the last token"
    assert given["attention_mask"].tolist() == [[0, 0, 1, 1, 1], [1] * 5, [1] * 5]
    tokens = encoder(inputs)
    assert tokens.x.shape == (1, 10, 18)
    assert tokens.mask.all()
    last, few = built(folders["short"], [series[-16:]], length=16)
    assert torch.allclose(tokens.x[0, -4:, :16], last(few).x[0, :, :16], atol=1e-5)
    own, inputs = built(folders["short"], [series], length=40, pool="own")
    ends = [built(folders["short"], [part], length=16, pool="own") for part in (series[:8], series[8:24], series[24:])]
    mean = torch.stack([one(few).pooled[0, :16] for one, few in ends]).mean(0)
    assert torch.allclose(own(inputs).pooled[0, :16], mean, atol=1e-5)


def test_channels_stand_side_by_side_while_they_are_few(folders):
    channels = [np.random.default_rng(i).normal(size=(20, 70)) for i in range(2)]
    alone, inputs = built(folders[True], [c[:, :1] for c in channels], length=20)
    each = [alone({**inputs, "values": torch.tensor(np.stack([c[:, i : i + 1] for c in channels])).float()})
            for i in range(70)]  # fmt: skip
    few, two = built(folders[True], [c[:, :2] for c in channels], length=20)
    assert few.dim == 2 * 16 + 4
    pooled = few(two).pooled
    assert torch.allclose(pooled[:, :32], torch.cat([each[0].pooled[:, :16], each[1].pooled[:, :16]], 1), atol=1e-5)
    assert torch.allclose(few(two).x[..., 16:32], each[1].x[..., :16], atol=1e-5)
    many, all_of_them = built(folders[True], channels, length=20)
    assert many.dim == 16 + 140
    mean = torch.stack([one.pooled[:, :16] for one in each]).mean(0)
    assert torch.allclose(many(all_of_them).pooled[:, :16], mean, atol=1e-5)
    assert torch.allclose(
        many(all_of_them).pooled[:, 16:86], torch.stack([o.pooled[:, 16] for o in each], 1), atol=1e-5
    )
    dumb = all_of_them["valid"].clone()
    dumb[:, :, 1:] = False
    spared = many({**all_of_them, "valid": dumb})
    assert torch.allclose(spared.pooled[:, :16], each[0].pooled[:, :16], atol=1e-5), "a mean of those that have values"


def test_level_and_spread_are_kept_and_nothing_overflows(folders):
    base = np.sin(np.arange(30.0))
    encoder, inputs = built(folders[True], [base, 1e4 + 50 * base, 1e30 * base, np.full(30, 7.3), 1e-30 * base])
    pooled = encoder(inputs).pooled
    assert pooled.isfinite().all()
    assert torch.allclose(pooled[0, :16], pooled[1, :16], atol=1e-3), "the model takes level and spread off"
    assert torch.allclose(pooled[0, :16], pooled[2, :16], atol=1e-3)
    assert pooled[1, 16] - pooled[0, 16] > 5
    assert pooled[1, 17] - pooled[0, 17] == pytest.approx(np.log(50), abs=1e-3)
    assert pooled[3, 17] == pytest.approx(np.log(1e-5))
    nothing = encoder({**inputs, "valid": torch.zeros_like(inputs["valid"])})
    assert nothing.present.all()
    assert nothing.pooled.abs().sum() == 0


@pytest.mark.parametrize("tune", ["frozen", "lora_last", "last"])
def test_it_keeps_the_laws_of_encoders(folders, tune):
    rows = [np.random.default_rng(i).normal(size=(n, 2)) for i, n in enumerate((30, 9, 17, 30, 4, 22, 13, 30))]
    encoder, inputs = built(folders[True], rows)
    check_encoder({"name": "pretrained_series", "tune": tune}, encoder.facts, inputs)


def _patches(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    kept = {n: v for n, v in load_file(file).items() if n != "input_patch_embedding.output_layer.bias"}
    save_file(kept, file, metadata={"format": "pt"})


def _settings(folder):
    about = json.loads((folder / "config.json").read_text())
    about["chronos_config"]["input_patch_stride"] = 2
    (folder / "config.json").write_text(json.dumps(about))


def _width(folder):
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "d_ff": 12}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_patches, r"lack 1 % of the weights of ChronosBolt: .*Copy them again"),
        (_settings, "ChronosBolt cannot load .* its config.json is none of Chronos-Bolt"),
        (_width, "weights do not fit its config.json"),
    ],
)
def test_files_of_another_model_are_refused(folders, tmp_path, spoil, words):
    shutil.copytree(folders[True], tmp_path / "bolt")
    spoil(tmp_path / "bolt")
    with pytest.raises(BadArgument, match=words):
        built(str(tmp_path / "bolt"), cells())


def test_a_shelf_knows_it_by_its_settings(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "models"
    shutil.copytree(folders[True], root / "mine")
    assert Shelf(str(root)).of("pretrained_series").found.name == "mine"
    shutil.copytree(folders[True], root / "amazon" / "chronos-bolt-small")
    shutil.copytree(folders[True], root / "chronos-bolt-tiny")
    search = Shelf(str(root)).of("pretrained_series")
    assert search.found.name == "amazon/chronos-bolt-tiny", "small ones first"
    assert search.why == "also there: amazon/chronos-bolt-small, mine"
    assert "Apache-2.0" in search.found.told()
    assert Shelf(str(root)).of("pretrained_text").found is None


def test_a_shelf_says_what_is_missing(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("bare", "cut", "other"):
        shutil.copytree(folders[True], tmp_path / "models" / name)
    (tmp_path / "models" / "bare" / "model.safetensors").unlink()
    weights = tmp_path / "models" / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    settings = tmp_path / "models" / "other" / "config.json"
    settings.write_text(settings.read_text().replace("ChronosBoltPipeline", "Chronos2Pipeline"))
    search = Shelf(str(tmp_path / "models")).of("pretrained_series")
    assert search.found is None
    assert "bare has no weights (model.safetensors)" in search.why
    assert "cut has damaged weights: copy them again" in search.why
    assert "other is a Chronos2Pipeline, of which no encoder is opened; a ChronosBoltPipeline is" in search.why
