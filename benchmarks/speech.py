"""Word error rate on spoken digits by signal-to-noise ratio, and how near the cepstra are to a reference.

    python benchmarks/speech.py [--data ../shared/data/avdigits] [--rows 200] [--whisper FOLDER]

Pocketsphinx is told that one of ten digits is said; `--whisper` hears the same sounds with a local model. Rows are the
first of the test split. Intervals are 95%, by resampling utterances. Then the largest error of MFCC and LPC cepstra, in
float64, against NumPy and SciPy (the Toeplitz system solved; the cepstrum by the Fourier transform of the envelope).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools import parser, show

from polymodal.evaluate.speech import wer
from polymodal.nn.cepstra import LPCC, MFCC
from polymodal.prepare.media import Media, Sound
from polymodal.prepare.speech.hmm import Sphinx
from polymodal.prepare.speech.neural import whisper

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BANDS = ((-99.0, -2.0), (-2.0, 0.0), (0.0, 2.0), (2.0, 4.0), (4.0, 99.0))


def heard(sounds: list[Sound], hear: Callable[[Sound], tuple[str, float]]) -> list[str]:
    """What is heard in each sound, small letters without signs."""
    return ["".join(c for c in hear(sound)[0].lower() if c.isalnum() or c == " ").strip() for sound in sounds]


def by_band(name: str, truth: list[str], said: list[str], snr: np.ndarray) -> list[dict[str, Any]]:
    """A row for each band of the signal-to-noise ratio, and one for all."""
    rows = []
    for low, high in (*BANDS, (-99.0, 99.0)):
        of = np.flatnonzero((snr >= low) & (snr < high))
        if len(of):
            found = wer([truth[i] for i in of], [said[i] for i in of])
            band = (
                "all" if high - low > 190 else f"{low:g} to {high:g}".replace("-99 to", "below").replace("to 99", "up")
            )
            rows.append({
                "engine": name, "snr_db": band, "words": found.words, "wer": round(found.rate, 3),
                "low": round(found.low, 3), "high": round(found.high, 3), "substituted": found.substitutions,
                "deleted": found.deletions, "inserted": found.insertions,
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


def main() -> None:
    found = parser(__doc__)
    found.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "avdigits")
    found.add_argument("--rows", type=int, default=200)
    found.add_argument("--whisper", default="", help="the folder of a Whisper model")
    given = found.parse_args()
    with open(given.data / "test.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[: given.rows]
    sounds = [Media("audio", given.data / row["audio"]).value() for row in rows]
    truth, snr = [row["label"] for row in rows], np.array([float(row["snr_db"]) for row in rows])
    table = by_band("pocketsphinx, ten digits", truth, heard(sounds, Sphinx(words=DIGITS).hear), snr)
    if given.whisper:
        table += by_band("whisper", truth, heard(sounds, lambda s: whisper(given.whisper, s, "en", 20)), snr)
    show(table, given.json)
    show(parity(), given.json)


if __name__ == "__main__":
    main()
