"""Word error rate on spoken words by signal-to-noise ratio, and how near the cepstra are to a reference.

    python benchmarks/speech.py [--data avdigits] [--rows 200] [--prompts FOLDER] [--draws 3] [--whisper FOLDER]

Digits in noise: the first rows of avdigits' test split (a folder, or a name in POLYMODAL_DATA). `--prompts`: clean
prompts of one voice (see `noise.py`), 47 numbers, days and months, with noise planted in them. Pocketsphinx is told
which words there are; `--whisper` hears the same sounds with a local model (`local_models.py` makes one), told the
words too, and told nothing: numerals that it writes then are read as words. "gate before": noise reduction first.
Intervals are 95%, by resampling utterances. Then the largest error of MFCC and LPC cepstra, in float64, against NumPy
and SciPy (the Toeplitz system solved; the cepstrum by the Fourier transform of the envelope).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise import KINDS, planted, words_of
from realdata import folder_of
from tools import parser, show

from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.metrics.sequences import Wer
from polymodal.nn.signal.cepstra import LPCC, MFCC
from polymodal.ops.clean.noise import Gate
from polymodal.ops.rows import Row
from polymodal.ops.speech.hmm import Sphinx
from polymodal.ops.speech.neural import whisper, whisper_among

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMERALS = {str(i): word for i, word in enumerate(DIGITS)}
Hear = Callable[[Sound], tuple[str, float]]
NO_ROW = Row("", 0, {}, {})
BANDS = ((-99.0, -2.0), (-2.0, 0.0), (0.0, 2.0), (2.0, 4.0), (4.0, 99.0))


def heard(sounds: Sequence[Sound], hear: Hear) -> list[str]:
    """What is heard in each sound, small letters without signs, numerals as words."""
    told = ["".join(c for c in hear(sound)[0].lower() if c.isalnum() or c == " ").split() for sound in sounds]
    return [" ".join(NUMERALS.get(word, word) for word in words) for words in told]


def gated(hear: Hear) -> Hear:
    """Hearing after noise reduction."""
    gate = Gate()
    return lambda sound: hear(gate.mend(sound, NO_ROW, ""))


def wer(truth: Sequence[str], said: Sequence[str]) -> tuple[int, Interval]:
    """How many words were said, and the word error rate."""
    found = bootstrap(Wer(), np.array(truth), np.array([said], dtype=str), seed=0)
    return sum(len(text.split()) for text in truth), found


def by_band(name: str, truth: list[str], said: list[str], snr: np.ndarray) -> list[dict[str, Any]]:
    """A row for each band of the signal-to-noise ratio, and one for all."""
    rows = []
    for low, high in (*BANDS, (-99.0, 99.0)):
        of = np.flatnonzero((snr >= low) & (snr < high))
        if len(of):
            words, found = wer([truth[i] for i in of], [said[i] for i in of])
            band = (
                "all" if high - low > 190 else f"{low:g} to {high:g}".replace("-99 to", "below").replace("to 99", "up")
            )
            rows.append({
                "engine": name, "snr_db": band, "words": words, "wer": round(found.mean, 3),
                "low": round(found.low, 3), "high": round(found.high, 3),
            })  # fmt: skip
    return rows


def parity() -> list[dict[str, Any]]:
    """The largest absolute error of both cepstra, on the tests' reference."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
    import test_cepstra as reference

    waves, form = torch.from_numpy(reference.WAVES), {"window": reference.WINDOW, "hop": reference.HOP}
    ours = MFCC(reference.RATE, dtype=torch.float64, **form)(waves).numpy()
    lpc = LPCC(reference.RATE, order=10, dtype=torch.float64, **form)(waves).numpy()
    theirs = np.stack([reference.mfcc(wave, 13, 26, 22) for wave in reference.WAVES])
    solved = np.stack([reference.lpcc(wave, 13, 10) for wave in reference.WAVES])
    return [
        {"cepstra": "MFCC", "largest_error": f"{np.abs(ours - theirs).max():.1e}"},
        {"cepstra": "LPC", "largest_error": f"{np.abs(lpc - solved).max():.1e}"},
    ]


def by_noise(name: str, hear: Hear, words: Mapping[str, Sound], draws: int) -> list[dict[str, Any]]:
    """A row for each kind and level of noise planted in the words, and one for the clean ones."""
    speech = list(words.values())
    rows = []
    for kind, db in (("none", np.inf), *((kind, db) for kind in KINDS for db in (20, 10, 5, 0, -5))):
        rng = np.random.default_rng(0)
        repeats = 1 if kind == "none" else draws
        sounds = [s if kind == "none" else planted(s, kind, db, rng, speech) for _ in range(repeats) for s in speech]
        count, found = wer(list(words) * repeats, heard(sounds, hear))
        rows.append({
            "engine": name, "noise": kind, "snr_db": f"{db:g}", "words": count, "wer": round(found.mean, 3),
            "low": round(found.low, 3), "high": round(found.high, 3),
        })  # fmt: skip
    return rows


def main() -> None:
    found = parser(__doc__)
    found.add_argument("--data", default="avdigits")
    found.add_argument("--rows", type=int, default=200)
    found.add_argument("--prompts", type=Path)
    found.add_argument("--draws", type=int, default=3, help="times each prompt is heard in each noise")
    found.add_argument("--whisper", default="", help="the folder of a Whisper model")
    given = found.parse_args()
    folder = folder_of(given.data)
    with open(folder / "test.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[: given.rows]
    sounds = [Media("audio", folder / row["audio"]).value() for row in rows]
    truth, snr = [row["label"] for row in rows], np.array([float(row["snr_db"]) for row in rows])
    ways = told(DIGITS, given.whisper)
    show([row for name, hear in ways.items() for row in by_band(name, truth, heard(sounds, hear), snr)], given.json)
    if given.prompts:
        words = words_of(given.prompts)
        ways = told(list(words), given.whisper)
        show([row for name, hear in ways.items() for row in by_noise(name, hear, words, given.draws)], given.json)
    show(parity(), given.json)


def told(words: Sequence[str], model: str) -> dict[str, Hear]:
    """The ways of hearing, by name."""
    sphinx = Sphinx(words=words).hear
    ways: dict[str, Hear] = {"pocketsphinx": sphinx, "pocketsphinx, gate before": gated(sphinx)}
    if model:
        ways["whisper, told nothing"] = lambda sound: whisper(model, sound, "en", 20)
        ways["whisper"] = lambda sound: whisper_among(model, sound, "en", words)
    return ways


if __name__ == "__main__":
    main()
