"""Synthesis by formants: resonators driven by a buzz and by noise (Klatt 1980), words read by letter rules."""

from __future__ import annotations

import math
import re
import unicodedata

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.data.media.sound import Sound

RATE = 16_000
STEP = 80  # samples between changes of the resonators: 5 ms

# Phonemes in ARPABET: formants in Hz at the start (and at the end of a glide), milliseconds, buzz and noise in 0..1,
# and the noise's centre in Hz. Formants after Peterson & Barney (1952) and Klatt (1980), rounded.
_TABLE = """
IY 270 2290 3010 130 1 0 0|IH 390 1990 2550 100 1 0 0|EH 530 1840 2480 110 1 0 0|AE 660 1720 2410 150 1 0 0
AA 730 1090 2440 150 1 0 0|AO 570 840 2410 150 1 0 0|UH 440 1020 2240 100 1 0 0|UW 300 870 2240 130 1 0 0
AH 640 1190 2390 90 1 0 0|ER 490 1350 1690 140 1 0 0|AX 500 1500 2500 60 1 0 0
EY 530 1840 2480 170 1 0 0 300 2200 2900|AY 730 1090 2440 200 1 0 0 350 2000 2600
OW 570 840 2410 170 1 0 0 350 800 2300|AW 730 1090 2440 200 1 0 0 400 900 2300|OY 570 840 2410 220 1 0 0 350 2000 2600
W 290 610 2150 70 .8 0 0|Y 260 2070 3020 60 .8 0 0|R 310 1060 1380 80 .8 0 0|L 310 1050 2880 80 .8 0 0
M 250 1270 2130 80 .5 0 0|N 250 1700 2600 80 .5 0 0|NG 250 2000 2700 80 .5 0 0
B 200 1100 2150 60 .3 0 0|D 200 1600 2600 60 .3 .1 3500|G 200 2000 2850 60 .3 .1 2000
P 400 1100 2150 80 0 .1 900|T 400 1600 2600 80 0 .3 4500|K 300 2000 2850 80 0 .2 2000
F 340 1100 2080 110 0 .12 5500|TH 320 1290 2540 110 0 .1 5000|S 320 1390 2530 120 0 .5 5800
SH 300 1840 2750 120 0 .5 3000|HH 500 1500 2500 70 0 .15 1500|CH 350 1800 2820 120 0 .4 3000
V 220 1100 2080 70 .5 .06 5500|DH 270 1290 2540 60 .5 .05 5000|Z 240 1390 2530 90 .5 .3 5800
ZH 300 1840 2750 90 .5 .3 3000|JH 260 1800 2820 100 .4 .3 3000|_ 500 1500 2500 120 0 0 0
"""


def _read() -> dict[str, tuple[float, ...]]:
    table = {}
    for line in re.split(r"[|\n]", _TABLE.strip()):
        name, *values = line.split()
        table[name] = tuple(map(float, values))
    return table


PHONEMES = _read()
STOPS = ("P", "T", "K", "B", "D", "G", "CH", "JH")
_WORDS = {
    "zero": "Z IH R OW", "one": "W AH N", "two": "T UW", "three": "TH R IY", "four": "F AO R", "five": "F AY V",
    "six": "S IH K S", "seven": "S EH V AX N", "eight": "EY T", "nine": "N AY N", "ten": "T EH N", "the": "DH AX",
    "a": "AX", "of": "AH V", "to": "T UW", "is": "IH Z", "was": "W AA Z", "are": "AA R", "you": "Y UW", "i": "AY",
    "he": "HH IY", "we": "W IY", "she": "SH IY", "me": "M IY", "be": "B IY", "do": "D UW", "have": "HH AE V",
    "hello": "HH AX L OW", "world": "W ER L D", "no": "N OW", "go": "G OW", "so": "S OW", "by": "B AY", "my": "M AY",
    "yes": "Y EH S", "said": "S EH D", "some": "S AH M", "come": "K AH M", "there": "DH EH R", "their": "DH EH R",
    "they": "DH EY", "what": "W AH T", "who": "HH UW", "were": "W ER", "your": "Y AO R", "as": "AE Z", "his": "HH IH Z",
    "has": "HH AE Z", "people": "P IY P AX L", "water": "W AO T ER", "left": "L EH F T", "right": "R AY T",
}  # fmt: skip
# Letters to phonemes, the longest first; a rule of the shape X_e wants one consonant and a last e after it.
_LETTERS = {
    "tion": "SH AX N", "sion": "ZH AX N", "ture": "CH ER", "ough": "AO", "augh": "AO", "eigh": "EY", "igh": "AY",
    "tch": "CH", "dge": "JH", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "ng": "NG",
    "qu": "K W", "kn": "N", "wr": "R", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY",
    "ay": "EY", "oa": "OW", "oi": "OY", "oy": "OY", "au": "AO", "aw": "AO", "ew": "UW", "ey": "IY", "ie": "IY",
    "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "ll": "L", "ss": "S", "tt": "T", "pp": "P",
    "nn": "N", "mm": "M", "ff": "F", "rr": "R", "dd": "D", "bb": "B", "gg": "G", "zz": "Z", "cc": "K",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K",
    "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V",
    "w": "W", "x": "K S", "y": "IH", "z": "Z", "'": "",
}  # fmt: skip
_LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}


def phonemes(text: str) -> list[str]:
    """English text to ARPABET, `_` for a pause: a few words by heart, the others by letter rules (much simpler than
    those of Elovitz et al. 1976), numbers digit by digit, capitals without a vowel by their names. What stands
    in braces is taken as phonemes, as in `{HH AX L OW}`.

    Raises `BadArgument` for an unknown phoneme, and for a text without a letter.
    """
    phones: list[str] = []
    for given, word, digit, pause in re.findall(r"\{([^}]*)\}|([A-Za-z']+)|([0-9])|([,.;:!?])", _plain(text)):
        if given:
            phones += [re.sub(r"[0-2]$", "", p.upper()) for p in given.split()]
        elif digit:
            phones += _WORDS[list(_WORDS)[int(digit)]].split()
        elif pause:
            phones.append("_")
        else:
            phones += _by_rule(word.lower())
    for one in phones:
        if one not in PHONEMES:
            raise BadArgument(f"Unknown phoneme {one!r}.{suggest(one, PHONEMES)}")
    if not any(one != "_" for one in phones):
        raise BadArgument(f"There is nothing to say in {text!r}; the formant engine reads English letters and digits.")
    return phones


_SHORT = {"dr": "docter", "mr": "mister", "mrs": "missis", "prof": "professor", "st": "saint"}
_SPOKEN = {"%": " per sent ", "&": " and ", "+": " plus ", "=": " eekwals ", "@": " at "}
_NAMES = {
    "A": "EY", "B": "B IY", "C": "S IY", "D": "D IY", "E": "IY", "F": "EH F", "G": "JH IY", "H": "EY CH", "I": "AY",
    "J": "JH EY", "K": "K EY", "L": "EH L", "M": "EH M", "N": "EH N", "O": "OW", "P": "P IY", "Q": "K Y UW",
    "R": "AA R",
    "S": "EH S", "T": "T IY", "U": "Y UW", "V": "V IY", "W": "D AH B AX L Y UW", "X": "EH K S", "Y": "W AY",
    "Z": "Z IY",
}  # fmt: skip


def _plain(text: str) -> str:
    """Letters without accents, titles and signs as words, capitals that are no word by their names; phonemes stay."""
    kept = unicodedata.normalize("NFKD", text)
    kept = "".join(c for c in kept if not unicodedata.combining(c))
    parts = re.split(r"(\{[^}]*\})", kept)
    for i in range(0, len(parts), 2):
        part = re.sub(r"\b(Dr|Mr|Mrs|Prof|St)\.", lambda m: _SHORT[m[1].lower()], parts[i])
        part = re.sub(r"(?<=\d),(?=\d{3})", "", part)
        part = re.sub("|".join(map(re.escape, _SPOKEN)), lambda m: _SPOKEN[m[0]], part)
        parts[i] = re.sub(
            r"\b(?:[A-Z]\.){2,}|\b[B-DF-HJ-NP-TV-XZ]{2,}\b|\b[B-HJ-Z]\b",
            lambda m: "{" + " ".join(_NAMES[c] for c in m[0] if c != ".") + "}", part,
        )  # fmt: skip
    return "".join(parts)


def _by_rule(word: str) -> list[str]:
    if word in _WORDS:
        return _WORDS[word].split()
    phones: list[str] = []
    i = 0
    while i < len(word):
        if word[i] in _LONG and re.fullmatch(r"[^aeiouwxy]e(s|d)?", word[i + 1 :]):
            phones += [_LONG[word[i]]]
            i += 1
        elif word[i:] == "e" and i > 1:
            break
        elif word[i:] == "y" and i:
            phones += ["AY" if not any(p in phones for p in _VOWELS) else "IY"]
            break
        elif word[i] in "cg" and word[i + 1 : i + 2] in ("e", "i", "y"):
            phones += ["S" if word[i] == "c" else "JH"]
            i += 1
        else:
            size = next(n for n in (4, 3, 2, 1) if word[i : i + n] in _LETTERS)
            phones += _LETTERS[word[i : i + size]].split()
            i += size
    return phones


_VOWELS = [name for name, values in PHONEMES.items() if values[4] == 1]


def speak(text: str, *, pitch: float, speed: float, seed: int) -> Sound:
    """Speech at 16 kHz: a buzz of `pitch` Hz that falls towards the end, through three resonators in cascade, plus
    noise around the fricative's centre; `speed` 1 is the usual one."""
    said = phonemes(text)
    frames = _frames(said, speed)
    rng = np.random.default_rng(seed)
    count = len(frames) * STEP
    contour = np.repeat(pitch * np.linspace(1.1, 0.85, len(frames)), STEP)
    phase = np.cumsum(contour / RATE)
    pulses = np.diff(np.floor(phase), prepend=0) * (RATE / contour) ** 0.5
    wave = _filtered(pulses, frames[:, 3], frames[:, :3], (60, 90, 150))
    noise = rng.normal(size=count)
    hiss = _filtered(noise, frames[:, 4], np.maximum(frames[:, 5:6], 200), (1000,))
    made = wave / max(1e-9, np.abs(wave).max()) + 0.5 * hiss / max(1.0, np.abs(hiss).max())
    return Sound((0.8 * made / np.abs(made).max()).astype(np.float32), RATE)


def _frames(said: list[str], speed: float) -> np.ndarray:
    """[frames, 6] every 5 ms: three formants, buzz, noise, the noise's centre; formants glide over 30 ms."""
    rows = []
    for name in said:
        f1, f2, f3, long, buzz, hiss, centre, *end = PHONEMES[name]
        count = max(4, round(long / speed * RATE / 1000 / STEP))
        share = np.linspace(0, 1, count)[:, None]
        formants = np.array([f1, f2, f3]) * (1 - share) + np.array(end or [f1, f2, f3]) * share
        level = np.full(count, buzz), np.full(count, hiss)
        if name in STOPS:  # a closure, then the burst
            level[1][: 2 * count // 3] = 0
        rows.append(np.column_stack([formants, *level, np.full(count, centre)]))
    frames = np.concatenate([*rows, np.tile(rows[-1][-1:] * [1, 1, 1, 0, 0, 1], (6, 1))])
    width = np.hanning(9)[1:-1]
    for column in range(4):
        padded = np.pad(frames[:, column], len(width) // 2, mode="edge")
        frames[:, column] = np.convolve(padded, width / width.sum(), "valid")
    return frames


def _filtered(source: np.ndarray, levels: np.ndarray, centres: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """`source` times `levels` [frames], through a cascade of resonators at `centres` [frames, K] Hz."""
    from scipy.signal import lfilter

    wave = source * np.repeat(levels, STEP)
    for k, width in enumerate(widths):
        out, state = np.empty_like(wave), np.zeros(2)
        radius = math.exp(-math.pi * width / RATE)
        for i, centre in enumerate(centres[:, k]):
            b, c = 2 * radius * math.cos(2 * math.pi * centre / RATE), -(radius**2)
            piece = slice(i * STEP, (i + 1) * STEP)
            out[piece], state = lfilter([1 - b - c], [1, -b, -c], wave[piece], zi=state)
        wave = out
    return wave
