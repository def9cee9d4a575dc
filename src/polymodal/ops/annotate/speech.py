"""Speech to text, and text to speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.rows import SetAside
from polymodal.ops.speech.synthesis import ENGINES as VOICES
from polymodal.ops.speech.synthesis import speak

ENGINES = ("pocketsphinx", "whisper", "wav2vec2")


class Transcribe(CellAnnotate):
    """What is said in a sound. New columns: `_transcript` (text), `_transcript_confidence` (0..1), `_transcript_model`.

    Engines: `pocketsphinx` (hidden Markov models, English; needs no download), told by one of `words`, `grammar` (JSGF)
    and `language_model` what may be said, with a `dictionary` of one's own if need be; `whisper` and `wav2vec2`, whose
    `model` is a Hugging Face hub name or a local folder (`language` as in `en` and at most `most` tokens for Whisper).
    Whisper can be told the `words`, too: one of these phrases is then said. Free dictation by pocketsphinx is poor; a
    list of words or a grammar makes it usable.
    """

    kinds = ("audio",)
    gives: ClassVar[Mapping[str, str]] = {
        "transcript": "text", "transcript_confidence": "number", "transcript_model": "category",
    }  # fmt: skip

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        engine: str = "pocketsphinx",
        model: str = "",
        words: Sequence[str] | None = None,
        grammar: str = "",
        language_model: str = "",
        dictionary: str = "",
        language: str = "",
        most: int = 200,
    ):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ENGINES)
        self.model = model
        self.words = words
        self.grammar = grammar
        self.language_model = language_model
        self.dictionary = dictionary
        self.language = language
        self.most = most
        self._sphinx: Any = None
        ours = {"words": words, "grammar": grammar, "language_model": language_model, "dictionary": dictionary}
        if engine == "pocketsphinx":
            if model or language:
                raise BadArgument("model and language are of whisper and wav2vec2; pocketsphinx takes language_model.")
            from polymodal.ops.speech.hmm import Sphinx

            self._sphinx = Sphinx(**ours)  # type: ignore[arg-type]
        else:
            needs_model(engine, model)
            if wrong := [name for name, value in ours.items() if value and (engine, name) != ("whisper", "words")]:
                raise BadArgument(f"{wrong[0]} is of the engine pocketsphinx; {engine} cannot be told so.")
            if language and engine == "wav2vec2":
                raise BadArgument("language is of whisper; a wav2vec2 model has its language.")
        check_range("[1, inf)", "tokens", most=most)
        if engine != "pocketsphinx":
            self._check()

    def _check(self) -> None:
        """A model that cannot be used is said before any row is read."""
        from polymodal.ops.networks import network
        from polymodal.ops.speech import neural

        if self.engine == "whisper":
            model = neural.listener(self.model, self.language, 1 if self.words else self.most)[1]
            if self.words:
                neural.beginning(self.model, model, self.language)
        else:
            network("Wav2Vec2ForCTC", "Wav2Vec2Processor", self.model)

    def told(self, value: Sound) -> Mapping[str, Any]:
        if self.engine == "pocketsphinx":
            (text, sure), model = self._sphinx.hear(value), "pocketsphinx en-us"
        else:
            from polymodal.ops.speech import neural

            model = called(self.model)
            if self.engine == "whisper" and self.words:
                text, sure = neural.whisper_among(self.model, value, self.language, self.words)
            elif self.engine == "whisper":
                text, sure = neural.whisper(self.model, value, self.language, self.most)
            else:
                text, sure = neural.wav2vec2(self.model, value)
        return {"transcript": text, "transcript_confidence": round(sure, 4), "transcript_model": model}

    def __getstate__(self) -> dict[str, Any]:
        """Without the recogniser, which another process builds for itself."""
        return {**self.__dict__, "_sphinx": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.engine == "pocketsphinx":
            from polymodal.ops.speech.hmm import Sphinx

            self._sphinx = Sphinx(
                words=self.words, grammar=self.grammar, language_model=self.language_model, dictionary=self.dictionary
            )


class Speak(CellAnnotate):
    """A text said aloud. New columns: `_spoken` (audio) and `_spoken_model`.

    Engines and options as in `polymodal.speak`. A text that the engine cannot say sets the row aside.
    """

    kinds = ("text",)
    gives: ClassVar[Mapping[str, str]] = {"spoken": "audio", "spoken_model": "category"}

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "formant", voice: str = "en",
        pitch: float = 110.0, speed: float = 1.0, units: str = "", model: str = "",
    ):  # fmt: skip
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, VOICES)
        self.voice = voice
        self.pitch = pitch
        self.speed = speed
        self.units = units
        self.model = model
        if (engine == "units") != bool(units):
            raise BadArgument("units, a folder of recordings, goes with the engine units, and only with it.")
        if (engine == "vits") != bool(model):
            raise BadArgument("model, a hub name or a local folder, goes with the engine vits, and only with it.")
        if model:
            from polymodal.ops.speech import neural

            neural.voice(model)  # a model that cannot be used is said before any row is read

    def told(self, value: str) -> Mapping[str, Any]:
        try:
            sound = speak(
                value, engine=self.engine, voice=self.voice, pitch=self.pitch, speed=self.speed,
                units=self.units or None, model=self.model,
            )  # fmt: skip
        except BadArgument as error:
            raise SetAside(str(error)) from error
        name = {"formant": "formant", "espeak": f"espeak-ng {self.voice}", "units": "recorded units"}
        return {"spoken": Media("audio", b"", sound), "spoken_model": name.get(self.engine) or called(self.model)}
