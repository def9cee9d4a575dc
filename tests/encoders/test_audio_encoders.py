"""Sound encoders: lengths, levels, padding, augmentation."""

import pytest
import torch

from polymodal.encoders import ENCODERS
from polymodal.encoders.audio import levelled

NAMES = ("audio_cnn", "audio_transformer", "audio_wavenet")
FACTS = {"rate": 8000, "length": 8000}


def sounds(rows=4, length=8000, real=None):
    samples = (torch.randn(rows, length) * 3000).round().clamp(-32768, 32767).to(torch.int16)
    return {"samples": samples, "length": torch.full((rows,), real or length, dtype=torch.int32)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("rate", "length"), [(8000, 8000), (16_000, 40_000), (8000, 1), (8000, 300), (44_100, 60_000)])
def test_any_length_gives_few_tokens_in_seconds(name, rate, length):
    encoder = ENCODERS.build(name, {"rate": rate, "length": length}, 12).eval()
    tokens = encoder(sounds(2, length))
    assert tokens.x.shape[1] <= 16
    assert tokens.x.isfinite().all()
    assert tokens.present.all()
    assert (tokens.where.diff(dim=1) > 0).all()
    assert float(tokens.where.max()) <= length / rate + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_silence_and_full_scale_are_finite(name):
    encoder = ENCODERS.build(name, FACTS, 12)
    inputs = sounds(3)
    inputs["samples"][0] = 0
    inputs["samples"][1] = 32767
    inputs["samples"][2] = -32768
    encoder.fit_statistics(inputs)
    for mode in (True, False):
        tokens = encoder.train(mode)(inputs)
        assert tokens.pooled.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_beyond_the_end_is_ignored_and_masked(name):
    encoder = ENCODERS.build(name, FACTS, 12).eval()
    inputs = sounds(2, real=3000)
    other = {**inputs, "samples": inputs["samples"].clone()}
    other["samples"][:, 3000:] = 9999
    first, second = encoder(inputs), encoder(other)
    assert torch.equal(first.pooled, second.pooled)
    assert not first.mask[:, -1].any()


@pytest.mark.parametrize("name", NAMES)
def test_loudness_does_not_matter(name):
    encoder = ENCODERS.build(name, FACTS, 12).eval()
    inputs = sounds(2)
    softer = {**inputs, "samples": (inputs["samples"].float() / 4).round().to(torch.int16)}
    assert torch.allclose(encoder(inputs).pooled, encoder(softer).pooled, atol=2e-2)


def test_levelled_has_unit_power_over_the_real_samples():
    inputs = sounds(3, real=5000)
    x = levelled(inputs["samples"], inputs["length"])
    assert x[:, :5000].square().mean(1) == pytest.approx(torch.ones(3), abs=1e-3)
    assert not x[:, 5000:].any()


@pytest.mark.parametrize("option", [{"shift": 0.2}, {"stretch": 0.3}, {"warp": 0.3}, {"mask": 0.3}, {"mix": 0.5}])
def test_every_augmentation_acts_in_training_only(option):
    still = {"name": "audio_cnn", "shift": 0.0, "stretch": 0.0, "warp": 0.0, "mask": 0.0, "mix": 0.0}
    inputs = sounds(8)
    encoder, plain = ENCODERS.build({**still, **option}, FACTS, 8), ENCODERS.build(still, FACTS, 8)
    assert not torch.equal(encoder.train().picture(inputs)[0], plain.train().picture(inputs)[0])
    assert torch.equal(encoder.eval().picture(inputs)[0], plain.eval().picture(inputs)[0])


def test_a_steady_hum_is_taken_away():
    encoder = ENCODERS.build("audio_cnn", FACTS, 8).eval()
    time = torch.arange(8000) / 8000
    noise = torch.randn(8000) * 300
    hum = 3000 * torch.sin(2 * torch.pi * 500 * time)
    samples = torch.stack([noise, noise + hum]).round().to(torch.int16)
    bands = encoder.log_mel(levelled(samples, torch.tensor([8000, 8000]))).mean(-1)
    assert bands[1].max() - bands[1].median() > 3
    picture, _ = encoder.picture({"samples": samples, "length": torch.tensor([8000, 8000])})
    assert picture.mean(-1).abs().max() < 1e-3


def test_the_cnn_keeps_channels_innermost_both_ways():
    encoder = ENCODERS.build("audio_cnn", FACTS, 12)
    inputs, seen = sounds(4), {}
    encoder.fit_statistics(inputs)
    encoder.train()
    layers = {n: m for n, m in encoder.named_modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d)}

    def watch(name):
        def forward(module, given, output):
            def backward(gradient):
                seen[name] = output.stride(1), gradient.stride(1)

            output.register_hook(backward)

        return forward

    for name, layer in layers.items():
        layer.register_forward_hook(watch(name))
    encoder(inputs).pooled.square().sum().backward()
    assert seen == dict.fromkeys(layers, (1, 1))


def test_the_layout_of_the_cnn_changes_neither_tokens_nor_gradients():
    torch.manual_seed(0)
    encoder = ENCODERS.build("audio_cnn", FACTS, 12).train().double()
    for name in ("shift", "mask", "mix"):
        setattr(encoder, name, 0.0)
    picture, real = torch.randn(3, 1, 40, 63, dtype=torch.float64), torch.ones(3, 63, dtype=torch.bool)
    encoder.picture = lambda inputs: (picture, real)
    found = []
    for plain in (False, True):
        encoder.zero_grad()
        if plain:
            for layer in (encoder.stem, encoder.body):
                for weight in layer.parameters():
                    weight.data = weight.data.contiguous()
            cells = encoder.stem(picture).flatten(1, 2)[:, :, None]
            steps = encoder.body(cells)[:, :, 0].transpose(1, 2)
            x = encoder.out(steps)
        else:
            tokens = []
            encoder.pool.register_forward_hook(lambda module, given, output, tokens=tokens: tokens.append(given[0]))
            encoder.encode({})
            x = tokens[0]
        x.square().sum().backward()
        found.append([x.detach(), *(p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 10
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
