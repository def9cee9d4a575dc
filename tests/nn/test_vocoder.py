"""Vocoders by folder: what their files say of the spectrogram, and that this is the one their library makes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_generators import save_vocoder

from polymodal.core.errors import BadArgument, BadData
from polymodal.nn.signal.vocoder import PUBLISHED, form_of, vocoder_of

pytest.importorskip("transformers", reason="needs the extra hf")


@pytest.fixture
def wave() -> np.ndarray:
    rng, time = np.random.default_rng(0), np.arange(64 * 30) / 8000
    return (0.3 * np.sin(2 * np.pi * 440 * time) + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("kind", ["SpeechT5HifiGan", "FastSpeech2ConformerHifiGan"])
def test_spectrograms_of_hifi_gan_are_those_of_the_library(tmp_path, kind, wave):
    from transformers import SpeechT5FeatureExtractor

    form = form_of(save_vocoder(tmp_path / "v", kind=kind))
    assert (form.rate, form.bands, form.window, form.hop, form.low, form.high) == (8000, 16, 256, 64, 80, 3800)
    spectral = SpeechT5FeatureExtractor.from_pretrained(tmp_path / "v")
    theirs = spectral(audio_target=wave, sampling_rate=8000).input_values[0]
    ours = form.logarithm(form.amplitude(torch.from_numpy(wave))).T.numpy()
    assert ours.shape == (30, 16)
    np.testing.assert_allclose(ours, theirs[:30], atol=1e-3)


def test_spectrograms_of_univnet_are_those_of_the_library(tmp_path, wave):
    from transformers import UnivNetFeatureExtractor

    form = form_of(save_vocoder(tmp_path / "v", kind="UnivNetModel"))
    assert (form.high, form.floor, form.natural, form.centred) == (4000, 1e-5, True, False)
    theirs = UnivNetFeatureExtractor.from_pretrained(tmp_path / "v").mel_spectrogram(wave)
    ours = form.logarithm(form.amplitude(torch.from_numpy(wave))).T.numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_waves_are_the_networks_own_and_always_alike(tmp_path, kind, wave):
    import transformers

    folder = save_vocoder(tmp_path / "v", kind=kind)
    found, amplitude = vocoder_of(folder), form_of(folder).amplitude(torch.from_numpy(wave))
    heard = found.wave(amplitude)
    assert heard.shape == (64 * 30,)
    assert torch.equal(heard, found.wave(amplitude))
    assert not any(p.requires_grad for p in found.network.parameters())
    assert found.wave(amplitude[:, :1]).shape == (64,), "a frame is a sound"
    assert found.wave(0 * amplitude).isfinite().all(), "silence has a logarithm"
    again = getattr(transformers, kind).from_pretrained(folder)
    read = found.form.logarithm(amplitude).T[None]
    if kind != "UnivNetModel":
        assert torch.equal(again(read)[0], heard)
        found.network.mean[:], found.network.scale[:] = 1.0, 2.0
        assert not found.bare
        assert not torch.equal(found.wave(amplitude), heard), "its statistics count"


def test_what_nothing_beside_it_says_is_published_or_refused(tmp_path):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    small = {"upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]]}
    SpeechT5HifiGan(SpeechT5HifiGanConfig(**small)).save_pretrained(tmp_path / "v")
    assert form_of(str(tmp_path / "v")) == PUBLISHED["SpeechT5HifiGan"]
    told = json.loads((tmp_path / "v" / "config.json").read_text())
    (tmp_path / "v" / "config.json").write_text(json.dumps(told | {"model_type": "hifigan"}))  # as older files say
    assert vocoder_of(str(tmp_path / "v")).bare
    with pytest.raises(BadArgument, match=r"has bands 16 and hop 64 and rate 8000, unlike the published SpeechT5"):
        form_of(save_vocoder(tmp_path / "odd", told=False))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_mel_bins": 20}, r"disagree: config.json says bands 16, preprocessor_config.json bands 20"),
        ({"sampling_rate": 16000}, "says hop 64 and rate 8000, preprocessor_config.json hop 128 and rate 16000"),
        ({"win_function": "hamming_window"}, "says win_function 'hamming_window'; only 'hann_window' is known here"),
        ({"fmax": 5000}, "says what cannot be"),
    ],
)
def test_files_that_disagree(tmp_path, changed, message):
    with pytest.raises(BadArgument, match=message):
        form_of(save_vocoder(tmp_path / "v", **changed))


def test_what_is_no_vocoder(tmp_path):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
              ).save_pretrained(tmp_path / "bert")  # fmt: skip
    with pytest.raises(BadArgument, match="is a BertModel, which is no vocoder: a vocoder is a SpeechT5HifiGan"):
        form_of(str(tmp_path / "bert"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArgument, match=r"holds no config.json of a model"):
        form_of(str(tmp_path / "empty"))
    with pytest.raises(BadArgument, match="is not there"):
        form_of(str(tmp_path / "nowhere"))
    with pytest.raises(BadArgument, match="is no folder here, and no model of this name can be had"):
        form_of("nobody/vocoder")
    folder = save_vocoder(tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(BadArgument, match="SpeechT5HifiGan cannot load"):
        vocoder_of(folder)
    folder = save_vocoder(tmp_path / "heard")
    told = {"feature_extractor_type": "WhisperFeatureExtractor"}
    (tmp_path / "heard" / "preprocessor_config.json").write_text(json.dumps(told))
    with pytest.raises(BadArgument, match="is of 'WhisperFeatureExtractor', which says no log-mels"):
        form_of(folder)


def test_a_vocoder_of_no_numbers(tmp_path):
    found = vocoder_of(save_vocoder(tmp_path / "v"))
    with torch.no_grad():
        found.network.conv_post.bias[:] = torch.nan
    with pytest.raises(BadData, match="no finite numbers: its weights are damaged"):
        found.wave(torch.ones(16, 9))
