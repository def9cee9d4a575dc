"""Recognition by hidden Markov models: pocketsphinx with a grammar, a list of words, or an n-gram model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, require
from polymodal.data.media.sound import Sound

RATE = 16_000
FILL = 0.003  # level of the noise above what a sound of a lower rate holds, of full scale


class Sphinx:
    """Pocketsphinx (Huggins-Daines et al. 2006; BSD) with its own English acoustic model, dictionary and trigrams.

    One of `words` (one of these phrases is said), `grammar` (a JSGF text, or the file of one) and `language_model`
    (an ARPA or DMP file) says what may be said; without any it is free English dictation. `dictionary` is a file in the
    form of the CMU dictionary. Every sound is heard by itself: the mean of its own cepstra is taken off. The acoustic
    model is of 16 kHz: sounds of a lower rate get faint noise above what they hold, for bands of nothing, whose
    logarithms are large and wild, outweigh the speech.

    Raises `BadArgument` for words that the dictionary lacks, for a grammar that cannot be read, and for absent files.
    """

    def __init__(
        self, *, words: Sequence[str] | None = None, grammar: str = "", language_model: str = "", dictionary: str = ""
    ):
        sphinx = require("pocketsphinx", "speech")
        if sum(map(bool, (words, grammar, language_model))) > 1:
            raise BadArgument("Give one of words, grammar and language_model, not several.")
        for name, path in (("language_model", language_model), ("dictionary", dictionary)):
            if path and not Path(path).is_file():
                raise BadArgument(f"The {name} {path!r} does not exist.")
        given: dict[str, Any] = {"loglevel": "FATAL", "cmn": "batch", "samprate": RATE}
        if dictionary:
            given["dict"] = dictionary
        if words or grammar:
            given["lm"] = None
        if language_model:
            given["lm"] = language_model
        self.decoder = sphinx.Decoder(**given)
        phrases = [" ".join(phrase.lower().split()) for phrase in words or ()]
        lacking = sorted({w for phrase in phrases for w in phrase.split() if self.decoder.lookup_word(w) is None})
        if lacking:
            raise BadArgument(f"The dictionary lacks {', '.join(lacking)}. Add them to a `dictionary` of your own.")
        if words or grammar:
            text = f"#JSGF V1.0; grammar words; public <said> = {' | '.join(phrases)};" if words else _text(grammar)
            try:
                self.decoder.add_jsgf_string("given", text)
                self.decoder.activate_search("given")
            except (RuntimeError, ValueError, KeyError) as error:
                raise BadArgument(
                    "The grammar cannot be read as JSGF, or names words that the dictionary lacks. It begins with "
                    "'#JSGF V1.0;', names itself by 'grammar NAME;' and has a rule 'public <NAME> = ...;'."
                ) from error

    def hear(self, sound: Sound) -> tuple[str, float]:
        """The words, and how sure (0..1): the geometric mean of the words' posterior probabilities. Nothing
        recognised is ("", 0)."""
        samples = (filled(sound.at(RATE), sound.rate).clip(-1, 1) * 32767).astype(np.int16)
        self.decoder.reinit_feat()  # else what was heard before shifts the scores a little
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        finally:
            self.decoder.end_utt()
        hypothesis = self.decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return "", 0.0
        logs = [math.log(min(1.0, max(1e-12, s.prob))) for s in self.decoder.seg() if s.word[0] not in "<["]
        return hypothesis.hypstr, math.exp(sum(logs) / len(logs)) if logs else 0.0


def filled(samples: np.ndarray, rate: int) -> np.ndarray:
    """`samples` [n] at 16 kHz that come from `rate`, with faint noise above half of `rate`; the same each time."""
    if rate >= RATE or not len(samples):
        return samples
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(0, FILL, len(samples)))
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) < rate / 2] = 0
    return samples + np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def _text(grammar: str) -> str:
    if grammar.lstrip().startswith("#JSGF"):
        return grammar
    if not Path(grammar).is_file():
        raise BadArgument(f"grammar is a JSGF text beginning with '#JSGF', or the file of one; got {grammar!r}.")
    return Path(grammar).read_text(encoding="utf-8")
