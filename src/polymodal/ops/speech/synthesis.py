"""Text to speech: by formants, by eSpeak NG, by recorded units, by a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound

ENGINES = ("formant", "espeak", "units", "vits")
JOIN = 0.02  # seconds over which units are blended


def speak(
    text: str, *, engine: str = "formant", voice: str = "en", pitch: float = 110.0, speed: float = 1.0,
    units: str | Path | Mapping[str, Sound] | None = None, model: str = "", seed: int = 0,
) -> Sound:  # fmt: skip
    """Say a text.

    Engines: `formant` (parametric, our own after Klatt 1980; English, intelligible at best), `espeak` (parametric,
    eSpeak NG, extra `espeak`, over a hundred languages by `voice`), `units` (recordings of words or phrases joined at
    their ends, a folder of files named after what is said in them or a mapping), `vits` (a network, extra `hf`;
    `model` is a hub name or a local folder). `pitch` in Hz is of the parametric ones; `speed` 1 is the usual one, and
    of no use to `units`. `seed` is of `formant` and `vits`.

    Raises `BadArgument` for what the engine cannot say.
    """
    if engine not in ENGINES:
        raise BadArgument(f"Unknown engine {engine!r}.{suggest(engine, ENGINES)}")
    check_range("[50, 500]", "Hz", pitch=pitch)
    check_range("[0.3, 3]", speed=speed)
    if not text.strip():
        raise BadArgument("There is nothing to say: the text is empty.")
    if engine == "formant":
        from polymodal.ops.speech import formant

        return formant.speak(text, pitch=pitch, speed=speed, seed=seed)
    if engine == "espeak":
        from polymodal.ops.speech import espeak

        return espeak.speak(text, voice=voice, pitch=pitch, speed=speed)
    if engine == "units":
        if not units:
            raise BadArgument("The engine units needs `units`: a folder of recordings named after what is said.")
        return joined(text, units if isinstance(units, Mapping) else recordings(str(units)))
    if not model:
        raise BadArgument("The engine vits needs `model`: a hub name as in facebook/mms-tts-eng, or a local folder.")
    from polymodal.ops.speech import neural

    return neural.vits(model, text, seed, speed)


@cache
def recordings(folder: str) -> dict[str, Sound]:
    """The sounds of a folder by what is said in them: `good_morning.wav` is "good morning"."""
    if not Path(folder).is_dir():
        raise BadArgument(f"units must be a folder of recordings; {folder!r} is none.")
    files = sorted(f for f in Path(folder).iterdir() if f.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"))
    if not files:
        raise BadArgument(f"The folder {folder!r} holds no recording (wav, flac, ogg, mp3).")
    return {f.stem.replace("_", " ").lower(): Media("audio", f).value() for f in files}


def joined(text: str, units: Mapping[str, Sound]) -> Sound:
    """The text by the longest units that it is made of, blended over 20 ms, at the highest rate among them.

    Raises `BadArgument` for a word that no unit says.
    """
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())
    longest = max(len(unit.split()) for unit in units)
    chosen: list[Sound] = []
    i = 0
    while i < len(words):
        size = next((n for n in range(longest, 0, -1) if " ".join(words[i : i + n]) in units), 0)
        if not size:
            raise BadArgument(f"No unit says {words[i]!r}.{suggest(words[i], units)}")
        chosen.append(units[" ".join(words[i : i + size])])
        i += min(size, len(words) - i)
    if not chosen:
        raise BadArgument(f"There is no word in {text!r}.")
    rate = max(sound.rate for sound in chosen)
    heard = {id(sound): sound.at(rate) for sound in chosen}
    made: list[np.ndarray] = [heard[id(chosen[0])]]
    for sound in chosen[1:]:
        last, piece = made[-1], heard[id(sound)]
        over = min(round(JOIN * rate), len(last), len(piece))
        rising = np.linspace(0, 1, over, dtype=np.float32)
        blended = last[len(last) - over :] * (1 - rising) + piece[:over] * rising
        made[-1:] = [last[: len(last) - over], np.concatenate([blended, piece[over:]])]
    return Sound(np.concatenate(made), rate)
