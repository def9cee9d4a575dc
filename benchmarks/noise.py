"""Clean speech, and noise planted in it at a signal-to-noise ratio.

The speech: the prompts of a telephone exchange, one voice, 8 kHz. Debian's package `asterisk-core-sounds-en-wav`
(CC BY-SA 3.0) holds them: `dpkg -x asterisk-core-sounds-en-wav_*.deb X`, then X/usr/share/asterisk/sounds/en_US_f_Allison.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound

KINDS = ("white", "pink", "babble")
VOICES = 5  # in babble
_ONES = "zero one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_MONTHS = "january february march april may june july august september october november december"


def words_of(folder: Path) -> dict[str, Sound]:
    """Prompts of one known word: numbers, days and months, by the names of their files."""
    names = dict(enumerate(f"{_ONES} {_TEENS}".split())) | {10 * i: word for i, word in enumerate(_TENS.split(), 2)}
    files = {word: f"digits/{number}.wav" for number, word in names.items()}
    files |= {word: f"digits/day-{i}.wav" for i, word in enumerate(_DAYS.split())}
    files |= {word: f"digits/mon-{i}.wav" for i, word in enumerate(_MONTHS.split())}
    return {word: _read(folder / name) for word, name in files.items()}


def prompts(folder: Path, most: int, *, seconds: tuple[float, float] = (1.0, 6.0)) -> list[Sound]:
    """At most so many prompts of that length, in the order of their names."""
    found = (_read(path) for path in sorted(folder.glob("*.wav")))
    return [sound for sound in found if seconds[0] <= sound.seconds <= seconds[1]][:most]


def planted(sound: Sound, kind: str, db: float, rng: np.random.Generator, others: Sequence[Sound] = ()) -> Sound:
    """The sound with noise of a kind, its mean power `db` below the sound's; `others` are the voices of babble."""
    made = _noise(kind, len(sound.samples), rng, others)
    power = float((sound.samples**2).mean())
    made *= np.sqrt(power / 10 ** (db / 10) / (made**2).mean())
    mixed = sound.samples + made
    return Sound((mixed / max(1.0, np.abs(mixed).max())).astype(np.float32), sound.rate)


def _noise(kind: str, length: int, rng: np.random.Generator, others: Sequence[Sound]) -> np.ndarray:
    if kind == "white":
        return rng.normal(size=length)
    if kind == "pink":  # power falls with the frequency
        spectrum = np.fft.rfft(rng.normal(size=length))
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), length)
    picked = [others[i].samples for i in rng.choice(len(others), VOICES, replace=False)]
    return np.sum([np.roll(np.resize(s, length), int(rng.integers(length))) for s in picked], axis=0)


def _read(path: Path) -> Sound:
    return Media("audio", path).value()
