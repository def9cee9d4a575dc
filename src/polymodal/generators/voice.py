"""Voices of transformers as they are: VITS, SpeechT5 with a vocoder, Bark and the like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from polymodal.core.errors import BadArgument, BadCell, require
from polymodal.core.values import check_range
from polymodal.core.wav import wav_bytes
from polymodal.data.media.array import read_array
from polymodal.data.media.sound import Sound
from polymodal.data.storage.decode import Broken, guarded
from polymodal.generators.base import Asked, Generator, Said
from polymodal.generators.opening import About
from polymodal.nn.flow import row_seed
from polymodal.nn.hub import load_pretrained
from polymodal.ops.networks import Placed, in_parts, network, quiet
from polymodal.ops.speech import neural

SPECTRAL = "speecht5"  # writes a spectrogram, which a vocoder makes heard
TAKES = {  # the options of a kind of models
    "vits": ("speed",), SPECTRAL: ("vocoder", "speaker"), "bark": ("preset",), "musicgen": ("seconds",),
    "musicgen_melody": ("seconds",),
}  # fmt: skip


class Voice(Generator):
    """Any model of transformers that says a text: VITS (MMS), SpeechT5, Bark, MusicGen, SeamlessM4T ….

    SpeechT5 needs `vocoder`, the folder or name of its HiFi-GAN, and `speaker`, a .npy file of the voice's vector;
    no other takes them. `speed` is of VITS; `preset` a speaker of Bark (`v2/en_speaker_6`); `seconds` the most that
    MusicGen plays (None: what its settings say). VITS and SpeechT5 say texts longer than they read at once in parts,
    cut between sentences; of what another cuts off the row's `problem` tells. Whatever is drawn follows from the seed
    and the row's number. Sounds have the model's own rate.
    """

    needs: ClassVar[tuple[str, ...]] = ("text",)
    column: ClassVar[str] = "sound"
    suffix: ClassVar[str] = ".wav"

    def __init__(
        self,
        about: About,
        *,
        vocoder: str = "",
        speaker: str = "",
        preset: str = "",
        speed: float = 1.0,
        seconds: float | None = None,
    ):
        super().__init__(about, batch=1)
        check_range("[0.3, 3]", speed=speed)
        check_range("(0, 3600]", "seconds", seconds=seconds)
        own = {"vocoder": vocoder, "speaker": speaker, "preset": preset, "speed": speed != 1, "seconds": seconds}
        takes = TAKES.get(about.kind, ())
        for name, given in own.items():
            if given and name not in takes:
                raise BadArgument(f"{about.name!r} is {about.told()}, which takes no {name!r}: leave it out.")
        self.vocoder, self.speaker, self.preset, self.speed, self.seconds = vocoder, speaker, preset, speed, seconds
        self.cut = ""  # what is to be said of the text that is being said
        self.say = self._opened()

    @classmethod
    def can(cls, about: About) -> bool:
        if about.pipeline:
            return False
        require("transformers", "hf")
        from transformers.models.auto import modeling_auto as known

        able = {**known.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES, SPECTRAL: "SpeechT5ForTextToSpeech"}.get(about.kind)
        return able is not None and (not about.classes or able in about.classes)

    def answers(self, rows: Sequence[Asked], seed: int) -> Iterator[tuple[int, Said]]:
        for place, row in enumerate(rows):
            said = guarded(lambda one: self._said(" ".join(one.texts), row_seed(one.number, seed)), row)
            yield place, Said(None, said.reason) if isinstance(said, Broken) else said

    def _said(self, text: str, seed: int) -> Said:
        self.cut = ""
        with torch.random.fork_rng(), torch.no_grad(), quiet():
            torch.manual_seed(seed)
            sound = self.say(text, seed)
        if not len(sound.samples) or not np.isfinite(sound.samples).all():
            raise BadCell("the model gave no sound of it")
        return Said(wav_bytes(sound.samples, sound.rate), self.cut)

    def _opened(self) -> Callable[[str, int], Sound]:
        """What says a text by a seed."""
        if self.about.kind == "vits":
            self.networks = [neural.voice(self.about.name)[1]]
            return lambda text, seed: _told(lambda: neural.vits(self.about.name, text, seed, self.speed))
        return self._spectral() if self.about.kind == SPECTRAL else self._waveform()

    def _spectral(self) -> Callable[[str, int], Sound]:
        if not self.vocoder or not self.speaker:
            raise BadArgument(
                f"{self.about.name!r} is {self.about.told()}, which needs vocoder=FOLDER, its HiFi-GAN, and "
                "speaker=FILE.npy, the vector of a voice."
            )
        reader, model = network("SpeechT5ForTextToSpeech", "AutoTokenizer", self.about.name)
        heard = load_pretrained("SpeechT5HifiGan", self.vocoder)
        heard = Placed(heard.eval(), model.place) if isinstance(model, Placed) else heard.eval()
        if heard.config.model_in_dim != model.config.num_mel_bins:
            raise BadArgument(
                f"The vocoder {self.vocoder!r} reads spectrograms of {heard.config.model_in_dim} bands, the voice "
                f"{self.about.name!r} writes {model.config.num_mel_bins}: they do not belong together."
            )
        self.networks = [model, heard]
        voice = _speaker(self.speaker, model.config.speaker_embedding_dim)
        most = model.config.max_text_positions

        def count(part: str) -> int:
            return len(reader(part)["input_ids"])

        def say(text: str, seed: int) -> Sound:
            parts = in_parts(text, count, most)
            if max(count(part) for part in parts) > most:
                raise BadCell(f"holds a word of more than the {most} tokens that the model reads at once")
            waves = [
                heard(model.generate(reader(part, return_tensors="pt")["input_ids"], speaker_embeddings=voice))
                for part in parts
            ]
            return Sound(torch.cat(waves).float().numpy(), heard.config.sampling_rate)

        return say

    def _waveform(self) -> Callable[[str, int], Sound]:
        reader, model = network("AutoModelForTextToWaveform", "AutoProcessor", self.about.name)
        self.networks = [model]
        rate, given = _rate(model), {"voice_preset": self.preset} if self.preset else {}
        long = {} if self.seconds is None else {"max_new_tokens": _tokens(model, self.seconds)}

        def say(text: str, seed: int) -> Sound:
            inputs = reader(text=text, return_tensors="pt", **given)
            self.cut = _cut(reader, text, inputs)
            found = model.generate(**inputs, **long) if model.can_generate() else model(**inputs).waveform
            found = found[0] if isinstance(found, tuple | list) else found
            most = None if self.seconds is None else max(1, round(self.seconds * rate))
            return Sound(found.float().reshape(-1, found.shape[-1]).mean(0)[:most].numpy(), rate)  # of all channels

        return say


def _tokens(model: Any, seconds: float) -> int:
    """How many tokens MusicGen writes of so many seconds: one a frame, and its further codebooks each lag one behind.
    Raises `BadArgument` where that is more than it can."""
    decoder, frames = model.config.decoder, model.config.audio_encoder.frame_rate
    lag = decoder.num_codebooks - 1
    count, most = math.ceil(seconds * frames) + lag, decoder.max_position_embeddings - 1
    if count > most:
        raise BadArgument(f"seconds={seconds:g}: the model plays at most {(most - lag) / frames:.3g} s.")
    return count


def _cut(reader: Any, text: str, inputs: Mapping[str, Any]) -> str:
    """What to say of a text of which the reader gave the model only the beginning."""
    tokenizer, mask = getattr(reader, "tokenizer", reader), inputs.get("attention_mask")
    if mask is None:
        return ""
    whole, read = len(tokenizer(text, add_special_tokens=False)["input_ids"]), int(mask.sum())
    return f"is {whole} tokens long, of which the model reads the first {read}" if whole > read else ""


def _told(say: Callable[[], Sound]) -> Sound:
    """A text of which a voice knows no letter is a cell that cannot be used."""
    try:
        return say()
    except BadArgument as error:
        raise BadCell(str(error)) from error


def _speaker(file: str, width: int) -> torch.Tensor:
    """The vector of a voice, [1, width]. Raises `BadArgument` for a file that holds none such."""
    try:
        vector = np.asarray(read_array(Path(file)), np.float32).reshape(-1)
    except BadCell as error:
        raise BadArgument(f"speaker={file!r} {error.reason}") from error
    if vector.shape != (width,):
        raise BadArgument(
            f"speaker={file!r} holds {vector.size} numbers; the vector of a voice has {width}, all finite."
        )
    return torch.from_numpy(vector)[None]


def _rate(model: Any) -> int:
    """Samples a second of what the model says, by its settings. Raises `BadArgument` where they do not tell."""
    config = model.config
    places = (config, getattr(model, "generation_config", None), getattr(config, "audio_encoder", None),
              getattr(config, "codec_config", None))  # fmt: skip
    for place in places:
        for name in ("sampling_rate", "sample_rate"):
            if isinstance(rate := getattr(place, name, None), int):
                return rate
    raise BadArgument(f"The settings of {type(model).__name__} tell no sampling rate: a sound would have none.")
