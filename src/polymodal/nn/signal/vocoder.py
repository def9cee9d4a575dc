"""Neural vocoders of transformers: what spectrogram one reads, told by its files, and the wave that it makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, BadData, require
from polymodal.nn.hub import CONFIG, load_pretrained, model_files, read_settings

SPECTRAL = "preprocessor_config.json"  # of the spectrogram, beside the network's own settings
LEAST = 8  # frames that a vocoder is given: a shorter spectrogram is held on, and its wave cut
EXTRACTORS = {"SpeechT5FeatureExtractor": "SpeechT5", "UnivNetFeatureExtractor": "UnivNet"}
UNIVNET = (("win_length", 1024), ("filter_length", 1024), ("hop_length", 256))
FIXED = {"win_function": "hann_window", "do_normalize": False, "compression_factor": 1.0, "center": False}


@dataclass(frozen=True)
class MelForm:
    """The log-mel spectrogram that a vocoder was trained on.

    Amplitudes of frames of `window` samples under a Hann window, `hop` apart, through `bands` filters between `low` and
    `high` Hz (Slaney 1998), and the `natural` or the decimal logarithm of at least `floor`. `centred` frames lie round
    multiples of `hop`, others round the middles between these.
    """

    rate: int
    bands: int
    window: int
    hop: int
    low: float
    high: float
    floor: float
    natural: bool
    centred: bool

    def amplitude(self, wave: Tensor) -> Tensor:
        """[bands, T] of a wave [n], T = ceil(n / hop); before its beginning and behind its end it is mirrored."""
        count = max(1, math.ceil(len(wave) / self.hop))
        side = self.window // 2 if self.centred else (self.window - self.hop) // 2
        long = F.pad(wave.float(), (0, count * self.hop - len(wave)))
        way = "reflect" if len(long) > self.window else "constant"  # what is shorter has nothing to be mirrored
        padded = F.pad(long[None], (side, self.window - side), mode=way)
        frames = padded[0].unfold(0, self.window, self.hop)[:count]
        return (torch.fft.rfft(frames * torch.hann_window(self.window)).abs() @ _bank(self)).T

    def logarithm(self, amplitude: Tensor) -> Tensor:
        """As the vocoder reads it."""
        bounded = amplitude.clamp(min=self.floor)
        return bounded.log() if self.natural else bounded.log10()


# What the published vocoders of each class read (Kong, Kim & Bae 2020; ESPnet's of LJSpeech; Jang et al. 2021).
PUBLISHED = {
    "SpeechT5HifiGan": MelForm(16_000, 80, 1024, 256, 80.0, 7600.0, 1e-10, natural=False, centred=True),
    "FastSpeech2ConformerHifiGan": MelForm(22_050, 80, 1024, 256, 80.0, 7600.0, 1e-10, natural=False, centred=True),
    "UnivNetModel": MelForm(24_000, 100, 1024, 256, 0.0, 12_000.0, 1e-5, natural=True, centred=False),
}
KINDS = {
    "speecht5_hifigan": "SpeechT5HifiGan",
    "fastspeech2_conformer_hifigan": "FastSpeech2ConformerHifiGan",
    "univnet": "UnivNetModel",
}


@dataclass(frozen=True)
class Vocoder:
    """A vocoder, frozen and on the CPU: its `form`, and a `mark` by which it is known again."""

    network: Any
    form: MelForm
    mark: str

    @property
    def bare(self) -> bool:
        """Whether it was saved without statistics of spectrograms, by which others of its class normalise them."""
        statistics = [getattr(self.network, name, None) for name in ("mean", "scale")]
        return all(value is not None and bool((value == k).all()) for k, value in enumerate(statistics))

    @torch.no_grad()
    def wave(self, amplitude: Tensor) -> Tensor:
        """A wave [T · hop], within -1 to 1, of amplitudes [bands, T]: always the same one. Raises `BadData` where the
        network gives no numbers."""
        count = amplitude.shape[1]
        held = F.pad(amplitude[None], (0, max(0, LEAST - count)), mode="replicate")
        read = self.form.logarithm(held).transpose(1, 2)
        if type(self.network).__name__ == "UnivNetModel":
            shape = (*read.shape[:2], self.network.config.model_in_channels)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            found = self.network(input_features=read, noise_sequence=noise).waveforms
        else:
            found = self.network(read)
        if not found.isfinite().all():
            raise BadData("The vocoder's waves hold no finite numbers: its weights are damaged. Copy it again.")
        return found.reshape(-1)[: count * self.form.hop].clamp(-1, 1)


@lru_cache(maxsize=2)
def vocoder_of(model: str) -> Vocoder:
    """The vocoder of a folder or a hub. Raises `BadArgument` as `form_of`, and where its weights lack or do not fit."""
    name, form = _told(model)
    network = load_pretrained(getattr(require("transformers", "hf"), name), model)
    network = network.float().eval().requires_grad_(False)
    return Vocoder(network, form, fingerprint({"weights": dict(network.state_dict()), "form": vars(form)}))


def form_of(model: str) -> MelForm:
    """The spectrogram that a vocoder reads, by its settings and, where they are there, those of its spectrogram.

    Raises `BadArgument` where it cannot be had, is no vocoder, or where its files disagree or leave something open.
    """
    return _told(model)[1]


@lru_cache(maxsize=8)
def _told(model: str) -> tuple[str, MelForm]:
    """The class of a vocoder, and what it reads."""
    files = model_files(model, CONFIG, SPECTRAL)
    settings, beside = (read_settings(files[file]) if file in files else {} for file in (CONFIG, SPECTRAL))
    name = _class_of(model, settings)
    usual = PUBLISHED[name]
    hop = settings.get("upsample_rates", settings.get("resblock_stride_sizes", [usual.hop]))
    own = {
        "bands": settings.get("model_in_dim", settings.get("num_mel_bins", usual.bands)),
        "hop": math.prod(hop) if isinstance(hop, list) and all(isinstance(k, int) for k in hop) else hop,
        **({"rate": settings["sampling_rate"]} if "sampling_rate" in settings else {}),
    }
    form = _extracted(model, beside) if beside else usual
    odd = {key: value for key, value in own.items() if getattr(form, key) != value}
    said = " and ".join(f"{key} {value}" for key, value in odd.items())
    if odd and beside:
        there = " and ".join(f"{key} {getattr(form, key)}" for key in odd)
        raise BadArgument(f"The files of the vocoder {model!r} disagree: {CONFIG} says {said}, {SPECTRAL} {there}.")
    if odd:
        raise BadArgument(
            f"The vocoder {model!r} has {said}, unlike the published {name}, so its window and its mel range cannot be "
            f"told: put the {SPECTRAL} of its spectrogram ({' or '.join(EXTRACTORS)}) beside its {CONFIG}."
        )
    return name, form


def _class_of(model: str, settings: Mapping[str, Any]) -> str:
    named = settings.get("architectures")
    saved = [str(one) for one in named] if isinstance(named, list) else []
    name = next((one for one in saved if one in PUBLISHED), "" if saved else KINDS.get(str(settings.get("model_type"))))
    if name:
        return name
    told = f"a {saved[0]}" if saved else f"a model {settings['model_type']!r}" if "model_type" in settings else ""
    what = f"{model!r} is {told}, which is no vocoder" if told else f"{model!r} holds no {CONFIG} of a model"
    raise BadArgument(f"{what}: a vocoder is a {' or '.join(PUBLISHED)} of transformers, by folder or name of a hub.")


def _extracted(model: str, told: Mapping[str, Any]) -> MelForm:
    """The form that the settings of a feature extractor say; what they leave out is that class's own."""
    kind = EXTRACTORS.get(str(told.get("feature_extractor_type")))
    if kind is None:
        raise BadArgument(
            f"The {SPECTRAL} of the vocoder {model!r} is of {told.get('feature_extractor_type')!r}, which says no "
            f"log-mels of a vocoder: give that of {' or '.join(EXTRACTORS)}."
        )
    own = PUBLISHED["UnivNetModel" if kind == "UnivNet" else "SpeechT5HifiGan"]
    fixed = FIXED if kind == "UnivNet" else {"win_function": FIXED["win_function"]}
    for key, only in fixed.items():
        if told.get(key, only) != only:
            raise BadArgument(f"{SPECTRAL} of {model!r} says {key} {told[key]!r}; only {only!r} is known here.")

    def number(key: str, default: float) -> float:
        value = told.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise BadArgument(f"{SPECTRAL} of {model!r}: {key} is {value!r}, which is no number of at least 0.")
        return value

    rate = int(number("sampling_rate", own.rate))
    if kind == "UnivNet":
        window, whole, hop = (int(number(key, usual)) for key, usual in UNIVNET)
        if window != whole:
            raise BadArgument(f"{SPECTRAL} of {model!r}: win_length {window} is not filter_length {whole}.")
        floor, high = number("compression_clip_val", own.floor), number("fmax", rate / 2)
    else:
        window, hop = (int(number(key, ms) * rate // 1000) for key, ms in (("win_length", 64), ("hop_length", 16)))
        floor, high = number("mel_floor", own.floor), number("fmax", own.high)
    form = MelForm(
        rate, int(number("num_mel_bins", own.bands)), window, hop, number("fmin", own.low), high, floor,
        natural=own.natural, centred=own.centred,
    )  # fmt: skip
    if not (0 < form.hop <= form.window and form.low < form.high <= rate / 2 and form.bands and form.floor > 0):
        raise BadArgument(f"{SPECTRAL} of {model!r} says what cannot be: {form}.")
    return form


@lru_cache(maxsize=8)
def _bank(form: MelForm) -> Tensor:
    """[window // 2 + 1, bands] filters of one area each, by transformers' own formula (that of librosa)."""
    require("transformers", "hf")
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        form.window // 2 + 1, form.bands, form.low, form.high, form.rate, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(filters.astype(np.float32))
