"""Annotating sound: who speaks when, what is heard, and its cepstra."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np

from polymodal.core.errors import BadArgument, require
from polymodal.core.values import check_range
from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.networks import network
from polymodal.ops.speech.neural import pieces
from polymodal.ops.speech.turns import RATE, by_energy, by_silero, voices

CLASSIFIER = ("AutoModelForAudioClassification", "AutoFeatureExtractor")
HEARD = 10  # seconds that a classifier hears at once, as those of AudioSet were trained on
LABELS = ("silence", "tone", "harmonic", "noise")


class Cepstra(CellAnnotate):
    """The sound's cepstra as a series [frames, count], in a new column `_cepstra`.

    `method` is `mfcc` (Davis & Mermelstein 1980) or `lpc` (Atal 1974); frames of `window` seconds every `hop` seconds,
    at the sound's own rate or at `rate` samples a second.
    """

    kinds = ("audio",)
    gives: ClassVar[Mapping[str, str]] = {"cepstra": "series"}

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, method: str = "mfcc", count: int = 13,
        window: float = 0.025, hop: float = 0.01, rate: int | None = None,
    ):  # fmt: skip
        super().__init__(columns=columns)
        self.method = one_of("method", method, ("mfcc", "lpc"))
        self.count = count
        self.window = window
        self.hop = hop
        self.rate = rate
        check_range("[1, 26]", count=count)
        check_range("[0.005, 1]", "seconds", window=window)
        check_range("[0.001, 1]", "seconds", hop=hop)
        check_range("[2000, 384000]", "samples a second", rate=rate)

    def told(self, value: Sound) -> Mapping[str, Any]:
        import torch

        if not len(value.samples):
            return {}
        rate = self.rate or value.rate
        made = _cepstra(self.method, rate, round(self.window * rate), max(1, round(self.hop * rate)), self.count)
        cepstra = made(torch.from_numpy(value.at(rate))[None])[0]
        return {"cepstra": Media("series", b"", cepstra.numpy())}


@cache
def _cepstra(method: str, rate: int, window: int, hop: int, count: int) -> Any:
    from polymodal.nn.signal.cepstra import LPCC, MFCC

    return (MFCC if method == "mfcc" else LPCC)(rate, window=window, hop=hop, count=count)


class Turns(CellAnnotate):
    """Who speaks when. New columns: `_turns` (JSON: start and end in seconds, speaker), `_speech` (seconds of speech),
    `_speakers` (how many), `_turns_model`.

    Voice activity by `engine`: `energy` (levels above the background by `above` dB; hears any sound, not only speech)
    or `silero` (silero-vad, MIT, weights in the package). Pauses shorter than `gap` seconds are closed, stretches
    shorter than `least` left out. Speakers are told apart by the statistics of their MFCC and agglomerative clustering,
    not by a trained speaker model: `speakers` says how many there are, None lets a distance of `apart` decide.
    """

    kinds = ("audio",)
    gives: ClassVar[Mapping[str, str]] = {
        "turns": "other", "speech": "number", "speakers": "number", "turns_model": "category",
    }  # fmt: skip

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "energy", above: float = 10.0,
        gap: float = 0.2, least: float = 0.1, speakers: int | None = None, apart: float = 8.0,
    ):  # fmt: skip
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ("energy", "silero"))
        self.above = above
        self.gap = gap
        self.least = least
        self.speakers = speakers
        self.apart = apart
        check_range("(0, inf)", above=above, apart=apart)
        check_range("[0, inf)", gap=gap, least=least)
        check_range("[1, inf)", speakers=speakers)
        if engine == "silero":
            require("silero_vad", "speech")

    def told(self, value: Sound) -> Mapping[str, Any]:
        if self.engine == "silero":
            turns = by_silero(value, self.gap, self.least)
        else:
            turns = by_energy(value, self.above, self.gap, self.least)
        turns = voices(value, turns, self.speakers, self.apart)
        return {
            "turns": json.dumps([[round(t.start, 3), round(t.end, 3), t.speaker] for t in turns]),
            "speech": round(sum(t.end - t.start for t in turns), 3),
            "speakers": len({t.speaker for t in turns}),
            "turns_model": f"{self.engine} + MFCC clusters",
        }


class SoundClass(CellAnnotate):
    """What kind of sound it is. New columns: `_sound` (category), `_sound_confidence` (0..1), `_sound_model`.

    `signal` needs no model and names what the signal shows, no more: silence, tone (a few narrow lines), harmonic (a
    pitch, as in voices and instruments) or noise. `transformers` takes an audio classification `model`, a Hugging Face
    hub name or a local folder, as in `MIT/ast-finetuned-audioset-10-10-0.4593` (Gong, Chung & Glass 2021); of sounds
    above 10 s it hears pieces, and their probabilities are averaged.
    """

    kinds = ("audio",)
    gives: ClassVar[Mapping[str, str]] = {
        "sound": "category", "sound_confidence": "number", "sound_model": "category",
    }  # fmt: skip

    def __init__(self, *, columns: Sequence[str] | str | None = None, engine: str = "signal", model: str = ""):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ("signal", "transformers"))
        self.model = model
        if engine == "transformers":
            needs_model(engine, model)
            network(*CLASSIFIER, model)  # a model that cannot be read is said before any row is
        elif model:
            raise BadArgument("model is of the engine transformers; signal has none.")

    def told(self, value: Sound) -> Mapping[str, Any]:
        if not len(value.samples):
            return {}
        if self.engine == "signal":
            label, sure = by_signal(value)
            return {"sound": label, "sound_confidence": round(sure, 4), "sound_model": "signal"}
        label, sure = _by_network(self.model, value)
        return {"sound": label, "sound_confidence": round(sure, 4), "sound_model": called(self.model)}


def by_signal(sound: Sound) -> tuple[str, float]:
    """One of `LABELS` and how clear it is, 0..1.

    Silence below -60 dB; else by the share of the power in the strongest hundredth of the spectrum (tone) and by the
    highest autocorrelation at lags of 60 to 500 Hz over 50 ms frames, weighted by power (harmonic).
    """
    wave = sound.at(RATE).astype(np.float64)
    power = float((wave**2).mean())
    if power < 1e-6:
        return "silence", float(np.clip(-10 * np.log10(power + 1e-12) / 60 - 0.5, 0, 1))
    size = 800
    shape = np.hanning(size + 2)[1:-1]  # above 0 everywhere: a sound may be a sample long
    taper = np.fft.irfft(np.abs(np.fft.rfft(shape, 2 * size)) ** 2)[: size // 2]
    weighted = []
    for part in np.array_split(np.pad(wave, (0, -len(wave) % size)).reshape(-1, size), 1 + len(wave) // (1000 * size)):
        frames = part * shape
        spectrum = np.abs(np.fft.rfft(frames, 2 * size, axis=1)) ** 2
        top = np.sort(spectrum, 1)[:, -size // 100 :].sum(1) / np.maximum(spectrum.sum(1), 1e-12)
        correlation = np.fft.irfft(spectrum, axis=1)[:, : size // 2]
        periodic = correlation / np.maximum(correlation[:, :1], 1e-12) / (taper / taper[0])
        pitch = periodic[:, RATE // 500 : RATE // 60].max(1)
        weighted.append(np.stack([top, pitch, np.ones(len(part))]) @ (frames**2).sum(1))
    *sums, weight = np.sum(weighted, 0)
    lines, voiced = (float(np.clip(one / weight, 0, 1)) for one in sums)
    if lines > 0.85:
        return "tone", lines
    return ("harmonic", voiced) if voiced > 0.5 else ("noise", 1 - voiced)


def _by_network(name: str, sound: Sound) -> tuple[str, float]:
    import torch

    features, model = network(*CLASSIFIER, name)
    rate = features.sampling_rate
    chances, weights = [], []
    for samples in pieces(sound.at(rate), rate, HEARD * rate):
        weights.append(len(samples))
        short = max(0, rate // 40 - len(samples))  # the first frame of such networks spans 25 ms
        with torch.no_grad():
            given = features(np.pad(samples, (0, short)), sampling_rate=rate, return_tensors="pt")
            chances.append(model(**given).logits[0].softmax(-1).numpy())
    mean = np.average(chances, axis=0, weights=weights)
    return str(model.config.id2label[int(mean.argmax())]), float(mean.max())
