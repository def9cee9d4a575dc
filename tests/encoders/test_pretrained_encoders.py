"""Pretrained towers on tiny random checkpoints: processors, tuning, pooling, dual encoders, errors."""

import io
import re
import shutil
import wave

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image

from polymodal.core.errors import BadArgument, BadCell
from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS

pytest.importorskip("transformers")

TEXTS = ["a red shoe", "Dog runs faster, a blue dog runs", "a"]
KINDS = {
    "text": "text",
    "vit": "vision",
    "wav2vec2": "audio",
    "whisper": "audio",
    "clip_text": "text",
    "clip_vision": "vision",
    "dinov2": "vision",
    "efficientnet": "vision",
    "bolt": "series",
}


def picture(seed, size=(50, 40)):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def sound(seed, samples, rate=8000):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        noise = np.random.default_rng(seed).normal(0, 3000, samples).astype(np.int16)
        file.writeframes(noise.tobytes())
    return stream.getvalue()


CELLS = {
    "text": TEXTS,
    "vision": [picture(0), picture(1, (33, 70)), picture(2)],
    "audio": [sound(0, 4000), sound(1, 16000, 16000), sound(2, 900)],
    "series": [np.random.default_rng(i).normal(size=(n, 2)) for i, n in enumerate((30, 17, 5))],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    clip = tiny_towers.save_clip(root / "clip")
    return {
        "text": tiny_towers.save_bert(root / "bert"),
        "vit": tiny_towers.save_vit(root / "vit"),
        "wav2vec2": tiny_towers.save_wav2vec2(root / "wav2vec2"),
        "whisper": tiny_towers.save_whisper(root / "whisper"),
        "clip_text": clip,
        "clip_vision": clip,
        "dinov2": tiny_towers.save_dinov2(root / "dinov2"),
        "mobilenet": tiny_towers.save_mobilenet(root / "mobilenet"),
        "efficientnet": tiny_towers.save_efficientnet(root / "efficientnet"),
        "clap": tiny_towers.save_clap(root / "clap"),
        "bolt": tiny_towers.save_bolt(root / "bolt"),
    }


def prepared(folders, which):
    kind = KINDS[which]
    processor = PROCESSORS.build({"name": f"pretrained_{kind}", "model": folders[which]})
    cells = [processor.read(cell) for cell in CELLS[kind]]
    processor.fit(cells)
    return processor, {name: torch.from_numpy(array) for name, array in processor.process(cells).items()}


def built(folders, which, **options):
    processor, inputs = prepared(folders, which)
    encoder = ENCODERS.build({"name": f"pretrained_{KINDS[which]}", **options}, processor.facts(), 20)
    return encoder, inputs


def test_names_are_catalogued():
    for name in ("pretrained_text", "pretrained_vision", "pretrained_audio"):
        assert ENCODERS.load(name).processor == name
        assert PROCESSORS.entry(name).extra == ENCODERS.entry(name).extra == "hf"


@pytest.mark.parametrize("which", KINDS)
def test_frozen_is_without_gradient_and_the_same_in_training(folders, which):
    encoder, inputs = built(folders, which)
    assert encoder.pretrained
    assert not any(p.requires_grad for p in encoder.parameters())
    first, second = encoder.train()(inputs), encoder.eval()(inputs)
    assert torch.equal(first.pooled, second.pooled)
    assert not first.pooled.requires_grad
    assert first.x.shape[1] <= 16
    assert first.x.shape[2] == first.pooled.shape[1] == encoder.dim
    assert first.x.isfinite().all()
    assert first.present.all()


@pytest.mark.parametrize("which", KINDS)
@pytest.mark.parametrize("tune", ["last", "lora", "full"])
def test_what_is_tuned_learns_and_nothing_else(folders, which, tune):
    if which == "efficientnet" and tune == "lora":
        with pytest.raises(BadArgument, match="no linear layer that LoRA"):
            built(folders, which, tune=tune)
        return
    encoder, inputs = built(folders, which, tune=tune, layers=1)
    assert encoder.dim == 20
    encoder.train()
    tokens = encoder(inputs)
    (tokens.pooled.square().sum() + tokens.x.square().sum()).backward()
    learning = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert {"out.weight", "out.bias"} <= learning
    tower = {name for name in learning if name.startswith("tower")}
    assert tower
    if tune == "lora":
        assert all(name.endswith((".up", ".down")) for name in tower)
    if tune == "last":
        assert all(re.search(r"\.(\d+)\.", name)[1] != "0" for name in tower), "the first of two blocks stays"
    if tune != "full":
        assert len(tower) < len(list(encoder.tower.parameters())) / 1.5


@pytest.mark.parametrize("which", ["text", "dinov2", "whisper", "bolt"])
def test_adapters_of_the_last_blocks_alone(folders, which):
    encoder, _ = built(folders, which, tune="lora_last", layers=1)
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad and name.startswith("tower")}
    assert learning
    assert all(name.endswith((".up", ".down")) and ".1." in name for name in learning)


def test_training_in_pieces_of_like_length_is_the_same(folders, monkeypatch):
    from polymodal.encoders import pretrained

    encoder, inputs = built(folders, "text", tune="lora_last")
    many = {name: value.repeat(4, *[1] * (value.ndim - 1)) for name, value in inputs.items()}
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    encoder.train()
    pieces = encoder(many)
    monkeypatch.setattr(pretrained, "TOGETHER", 100)
    whole = encoder(many)
    assert torch.allclose(pieces.pooled, whole.pooled, atol=1e-5)
    assert torch.allclose(pieces.x, whole.x, atol=1e-5)
    assert torch.equal(pieces.mask, whole.mask)


def last_block_learns(folder):
    """A picture tower whose last block is tuned, six pictures for it, and its weights and statistics so far."""
    processor = PROCESSORS.build({"name": "pretrained_vision", "model": folder})
    spec = {"name": "pretrained_vision", "tune": "lora_last", "layers": 1}
    encoder = ENCODERS.build(spec, processor.facts(), 20).train()
    inputs = {"pixels": torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8)}
    return encoder, inputs, {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.mark.parametrize("which", ["mobilenet", "efficientnet"])
def test_last_blocks_without_queries_learn_themselves(folders, which):
    encoder, inputs, before = last_block_learns(folders[which])
    encoder(inputs)
    moved = {n for n, value in encoder.state_dict().items() if not torch.equal(value, before[n])}
    learning = {n for n, p in encoder.named_parameters() if p.requires_grad and n.startswith("tower")}
    assert learning
    assert moved
    assert {name.rsplit(".", 1)[0] for name in moved} <= {name.rsplit(".", 1)[0] for name in learning}, (
        "statistics of batches move only where weights learn"
    )


@pytest.mark.parametrize("which", ["mobilenet", "efficientnet"])
def test_statistics_are_not_those_of_the_last_batch(folders, which):
    """transformers takes the decay of TensorFlow (.99) for the momentum of PyTorch, which is one less it."""
    processor = PROCESSORS.build({"name": "pretrained_vision", "model": folders[which]})
    encoder = ENCODERS.build({"name": "pretrained_vision", "tune": "full"}, processor.facts(), 20).train()
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}
    first = encoder.tower.embeddings.batchnorm if which == "efficientnet" else norms[0]
    seen = []
    first.register_forward_hook(lambda module, given, out: seen.append(given[0].mean((0, 2, 3))))
    before = first.running_mean.clone()
    encoder({"pixels": torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)})
    assert torch.allclose(first.running_mean, 0.9 * before + 0.1 * seen[0], atol=1e-5)


@pytest.mark.parametrize("which", ["mobilenet", "efficientnet", "vit"])
def test_pictures_in_pieces_come_out_the_same(folders, which, monkeypatch):
    from polymodal.encoders import pretrained

    processor = PROCESSORS.build({"name": "pretrained_vision", "model": folders[which]})
    encoder = ENCODERS.build("pretrained_vision", processor.facts(), 20).train()
    inputs = {"pixels": torch.randint(0, 255, (5, 3, 32, 32), dtype=torch.uint8)}
    whole, rows = encoder(inputs), []
    encoder.tower.register_forward_hook(lambda module, given, out: rows.append(len(out.last_hidden_state)))
    monkeypatch.setattr(pretrained, "PIXELS", 2 * 32**2)
    parts = encoder(inputs)
    assert rows == [2, 2, 1]
    for name in ("x", "pooled", "where"):
        assert torch.allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize("which", ["mobilenet", "efficientnet"])
def test_blocks_that_do_not_learn_are_passed_once(folders, which):
    encoder, inputs, before = last_block_learns(folders[which])
    with torch.no_grad():
        settled = encoder.once(inputs)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    rows = []
    below = (encoder.tower.layer if which == "mobilenet" else encoder.tower.encoder.blocks)[0]
    below.register_forward_hook(lambda module, given, out: rows.append(len(out)))
    for learning in (False, True):
        for part in encoder.train(learning).modules():
            if isinstance(part, torch.nn.Dropout):
                part.eval()
        found, gradients = [], []
        for given in (inputs, settled):
            encoder.zero_grad()
            tokens = encoder(given)
            tokens.pooled.square().sum().backward()
            found.append(tokens)
            gradients.append([p.grad.clone() for p in encoder.parameters() if p.requires_grad])
        for name in ("x", "pooled", "where"):
            assert torch.allclose(getattr(found[0], name), getattr(found[1], name), atol=1e-5)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*gradients))
    assert min(rows) == 1, "one small picture stands for those that are settled"


def test_a_transformer_settles_nothing(folders):
    for which, tune in (("vit", "lora_last"), ("vit", "frozen")):
        encoder, inputs = built(folders, which, tune=tune)
        assert encoder.once(inputs) == {}


def test_the_sound_side_of_clap(folders):
    processor = PROCESSORS.build({"name": "pretrained_audio", "model": folders["clap"]})
    cells = [processor.read(cell) for cell in CELLS["audio"]]
    processor.fit(cells)
    inputs = {name: torch.from_numpy(array) for name, array in processor.process(cells).items()}
    tokens = ENCODERS.build("pretrained_audio", processor.facts(), 20)(inputs)
    assert tokens.pooled.shape == (3, 24)
    assert tokens.x.isfinite().all()


def test_files_that_lack_weights_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folders["text"], tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    save_file({n: v for n, v in load_file(file).items() if "layer.1" not in n}, file, metadata={"format": "pt"})
    with pytest.raises(BadArgument, match=r"lack \d+ % of the weights of BertModel"):
        ENCODERS.build("pretrained_text", {"model": str(tmp_path / "cut")}, 20)


@pytest.mark.parametrize("which", ["text", "vit"])
def test_lora_starts_as_the_frozen_tower(folders, which):
    frozen, inputs = built(folders, which)
    adapted, _ = built(folders, which, tune="lora", rank=3)
    adapted.eval()
    states = adapted.tower(**adapted.arguments(inputs)).last_hidden_state
    assert torch.allclose(states, frozen.tower(**frozen.arguments(inputs)).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("tune", ["frozen", "lora"])
def test_weights_are_saved_and_loaded(folders, tune):
    first, inputs = built(folders, "text", tune=tune)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    second, _ = built(folders, "text", tune=tune)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(inputs).pooled, second.eval()(inputs).pooled)
    assert ENCODERS.spec(first) == {"name": "pretrained_text", **({"tune": "lora"} if tune == "lora" else {})}


def test_text_tokens_are_words_with_their_spans(folders):
    encoder, inputs = built(folders, "text")
    tokens = encoder(inputs)
    spans = tokens.where[1][tokens.mask[1]].long().tolist()
    assert [TEXTS[1][a:b] for a, b in spans] == ["Dog", "runs", "faster", ",", "a", "blue", "dog", "runs"]
    states = encoder.tower(**encoder.arguments(inputs)).last_hidden_state
    assert torch.allclose(tokens.pooled[0], states[0, 1:4].mean(0), atol=1e-5), "special tokens do not count"
    own, _ = built(folders, "text", pool="own")
    assert torch.allclose(own(inputs).pooled, states[:, 0], atol=1e-6)


def test_padding_changes_nothing(folders):
    encoder, inputs = built(folders, "text")
    short = {name: value[:, :8] if value.ndim > 1 else value for name, value in inputs.items()}
    assert torch.allclose(encoder(short).pooled[0], encoder(inputs).pooled[0], atol=1e-5)


def test_pictures_are_scaled_as_the_checkpoint_says(folders):
    encoder, inputs = built(folders, "vit")
    assert inputs["pixels"].dtype == torch.uint8
    scaled = encoder.arguments(inputs)["pixel_values"]
    wanted = (inputs["pixels"][:, 2].double() / 255 - 0.3) / 0.5
    assert torch.allclose(scaled[:, 2].double(), wanted, atol=1e-6)


@pytest.mark.parametrize("which", ["efficientnet", "align", "vit"])
def test_pictures_reach_the_tower_as_their_framing_would_make_them(folders, which, tmp_path):
    """One divides by the spread twice, one shifts by 1 and does not say so in mean and spread."""
    folder = folders["vit" if which == "align" else which]
    if which == "align":
        shutil.copytree(folder, tmp_path / which)
        folder = str(tmp_path / which)
        options = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False, "do_normalize": False}
        size = {"size": {"height": 32, "width": 32}}
        tiny_towers.save_framing(tmp_path / which, "EfficientNetImageProcessor", {**size, **options})
    processor = PROCESSORS.build({"name": "pretrained_vision", "model": folder})
    cell = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    encoder = ENCODERS.build("pretrained_vision", processor.facts(), 20)
    pixels = torch.from_numpy(processor.process([cell])["pixels"])
    assert torch.equal(pixels[0].permute(1, 2, 0), torch.from_numpy(cell)), "nothing is scaled before"
    wanted = processor.framer(cell, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    found = encoder.arguments({"pixels": pixels})["pixel_values"].numpy()
    assert np.allclose(found, wanted, atol=1e-4)


def test_a_layer_of_a_convolutional_tower_cannot_be_chosen(folders):
    with pytest.raises(BadArgument, match="its layers differ in width"):
        built(folders, "efficientnet", layer=1)


def test_a_grid_of_patches_with_its_places(folders):
    encoder, inputs = built(folders, "vit", tokens=4)
    tokens = encoder(inputs)
    assert tokens.where[0].tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    states = encoder.tower(**encoder.arguments(inputs)).last_hidden_state
    corner = states[:, 1:].view(3, 4, 4, -1)[:, :2, 2:].mean((1, 2))
    assert torch.allclose(tokens.x[:, 1], corner, atol=1e-5)
    assert torch.allclose(tokens.pooled, states[:, 0])
    mean, _ = built(folders, "vit", pool="mean", tokens=4)
    assert torch.allclose(mean(inputs).pooled, states[:, 1:].mean(1), atol=1e-5)


@pytest.mark.parametrize("which", ["wav2vec2", "whisper"])
def test_silence_behind_a_sound_is_masked(folders, which):
    encoder, inputs = built(folders, which)
    tokens = encoder(inputs)
    counts = tokens.mask.sum(1).tolist()
    assert counts[2] < counts[0] < counts[1]
    seconds = tokens.where[1][tokens.mask[1], 0]
    assert 0.8 < float(seconds.max()) <= 1.15


def test_dual_encoders_meet_in_one_space(folders):
    from transformers import CLIPModel

    text, words = built(folders, "clip_text")
    vision, pictures = built(folders, "clip_vision")
    assert text.dim == vision.dim == 24
    clip = CLIPModel.from_pretrained(folders["clip_text"]).eval()
    with torch.no_grad():
        whole = clip(**text.arguments(words), **vision.arguments(pictures))
    for mine, theirs in ((text(words), whole.text_embeds), (vision(pictures), whole.image_embeds)):
        assert torch.allclose(torch.nn.functional.normalize(mine.pooled, dim=1), theirs, atol=1e-5)


def test_processors_keep_their_state(folders):
    for which in KINDS:
        processor, inputs = prepared(folders, which)
        other = PROCESSORS.build({"name": f"pretrained_{KINDS[which]}", "model": folders[which]})
        other.load_state(processor.state())
        arrays = other.process([other.read(cell) for cell in CELLS[KINDS[which]]])
        assert all(torch.equal(torch.from_numpy(arrays[name]), value) for name, value in inputs.items())
        generator = torch.Generator().manual_seed(0)
        noisy = processor.corrupt(inputs, 0.5, generator)
        assert any(not torch.equal(noisy[name], inputs[name]) for name in inputs)
        assert all(torch.equal(processor.corrupt(inputs, 0.0, generator)[n], inputs[n]) for n in inputs)
        assert processor.show(processor.read(CELLS[KINDS[which]][0]))["kind"] == processor.kind


def test_bad_cells(folders):
    for kind, which, cell in (
        ("text", "text", " "),
        ("vision", "vit", b"no picture"),
        ("audio", "whisper", b"no sound"),
    ):
        with pytest.raises(BadCell):
            PROCESSORS.build({"name": f"pretrained_{kind}", "model": folders[which]}).read(cell)


def test_errors_say_what_to_do(folders):
    facts = {"model": folders["text"], "length": 8}
    with pytest.raises(BadArgument, match=r"hf download no-such/model .*model=FOLDER"):
        PROCESSORS.build({"name": "pretrained_text", "model": "no-such/model"})
    with pytest.raises(BadArgument, match="needs `model`"):
        PROCESSORS.build("pretrained_vision")
    with pytest.raises(BadArgument, match="Did you mean 'lora'"):
        ENCODERS.build({"name": "pretrained_text", "tune": "lorra"}, facts, 8)
    with pytest.raises(BadArgument, match="name one model"):
        ENCODERS.build({"name": "pretrained_text", "model": "other"}, facts, 8)
    with pytest.raises(BadArgument, match="has no audio side; it has: text, vision"):
        ENCODERS.build("pretrained_audio", {"model": folders["clip_text"], "seconds": None}, 8)
    encoder, inputs = built(folders, "whisper", pool="own")
    with pytest.raises(BadArgument, match="set pool='mean'"):
        encoder(inputs)


def test_a_network_whose_configuration_names_no_width(tmp_path):
    from transformers import MobileNetV2Config, MobileNetV2ImageProcessor, MobileNetV2Model

    MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.25, min_depth=8)).save_pretrained(tmp_path)
    small = {"size": {"shortest_edge": 70}, "crop_size": {"height": 64, "width": 64}}
    MobileNetV2ImageProcessor(**small).save_pretrained(tmp_path)
    encoder, inputs = built({"vit": str(tmp_path)}, "vit", tokens=4)
    tokens = encoder(inputs)
    assert encoder.dim == tokens.x.shape[-1] == 1280
    assert tokens.x.shape[1] == 4
    assert torch.isfinite(tokens.pooled).all()


def test_weights_of_another_shape_are_refused(folders, tmp_path):
    import json
    import shutil

    shutil.copytree(folders["text"], tmp_path / "wide")
    path = tmp_path / "wide" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "intermediate_size": config["intermediate_size"] + 1}))
    with pytest.raises(BadArgument, match=r"do not fit its config.json: .* is \(.*\), not \(.*copy them again"):
        ENCODERS.build("pretrained_text", {"model": str(tmp_path / "wide")}, 20)
