"""A word heard in noise, and seen: what the film of a speaker adds to the sound.

    python benchmarks/lips.py [colour] [letter] [digit] [--db 0 -5] [--clean] [--noise pink|white|babble] [--seeds 1]

`avspeech` (GRID, speaker 1; Cooke, Barker, Cunningham & Shao 2006; CC BY 4.0), under $POLYMODAL_DATA: sentences of six
words, their beginnings known. Each row's stretch is its word, a tenth of a second longer on either side. Noise is added
to the whole sentence, its mean power so many decibels below the sentence's. Babble is made of five other sentences of
the same speaker, of the training part. A default fit; the sentences of the test part are new, the speaker is not.

A line a word and noise: film alone, sound alone and what was chosen, with 95 % intervals over test rows; before it what
the report says of it, with the paired difference from the best modality alone.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from by_hand import spent
from noise import KINDS, planted
from realdata import folder_of
from tools import parser, show

import polymodal as pm
from polymodal.data.media.cell import Media
from polymodal.data.media.sound import Sound
from polymodal.data.tables.source import read_table

WORDS = ("verb", "colour", "preposition", "letter", "digit", "adverb")
PARTS = ("train", "valid", "test")
AROUND = 0.1  # seconds before and after the word


def sentences() -> dict[str, dict[str, list[Any]]]:
    """Each part's columns, films as files and `sound` as they hold it."""
    parts = {}
    for part in PARTS:
        table = read_table(folder_of("avspeech") / f"{part}.csv")
        films = [table.base / cell for cell in table.column("video")]
        parts[part] = {name: table.column(name) for name in table.columns} | {
            "video": [str(film) for film in films],
            "sound": [Media("audio", film).value() for film in films],
        }
    return parts


def heard(parts: dict[str, dict[str, list[Any]]], noise: str, db: float | None, folder: Path) -> None:
    """Writes each part's sounds as files of `folder`, with noise where `db` is told, and names them in `audio`."""
    rng = np.random.default_rng(0)
    voices = parts["train"]["sound"]
    for part, columns in parts.items():
        columns["audio"] = []
        for name, sound in zip(columns["id"], columns["sound"]):
            others: list[Sound] = [voice for voice in voices if voice is not sound]
            mixed = sound if db is None else planted(sound, noise, db, rng, others)
            file = folder / f"{part}-{name}.wav"
            soundfile.write(file, mixed.samples, mixed.rate)
            columns["audio"].append(str(file))


def cut(columns: dict[str, list[Any]], word: str) -> dict[str, list[Any]]:
    """The columns of a fit that is asked for one of the words."""
    at = WORDS.index(word)
    starts = [json.loads(cell) if isinstance(cell, str) else list(cell) for cell in columns["word_starts_s"]]
    begin = [max(0.0, one[at] - AROUND) for one in starts]
    end = [(one[at + 1] if at + 1 < len(one) else one[at] + 0.4) + AROUND for one in starts]
    return {"id": columns["id"], "lips": columns["video"], "voice": columns["audio"], "begin": begin, "end": end,
            "word": columns[word]}  # fmt: skip


def measured(parts: dict[str, dict[str, list[Any]]], word: str, seeds: int) -> dict[str, Any]:
    before, tables = spent(), {part: cut(columns, word) for part, columns in parts.items()}
    stretch = {"from": "begin", "to": "end"}
    fields = {
        "lips": {"kind": "video", "columns": ["lips"], "frames": 12, **stretch},
        "voice": {"kind": "audio", "columns": ["voice"], **stretch},
    }
    with tempfile.TemporaryDirectory() as scratch:
        run = pm.fit(
            tables["train"], valid=tables["valid"], test=tables["test"], metric="accuracy", seeds=seeds, quiet=True,
            schema={"fields": fields, "target": {"word": "classes"}}, out=f"{scratch}/run", store=f"{scratch}/store",
        )  # fmt: skip
        board = {row["strategy"]: row for row in run.leaderboard}
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        verdict = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))["verdict"]
    print(verdict["headline"], *verdict["sentences"][:2], flush=True)
    alone = {name: board[f"{name} alone"] for name in fields}
    return {
        "word": word,
        **{f"{name} alone": score(row) for name, row in alone.items()},
        "chosen": metrics["chosen"],
        "score": score(board[metrics["chosen"]]),
        "cpu_s": round(spent() - before),
    }


def score(row: dict[str, Any]) -> str:
    return f"{row['test_mean']:.3f} ({row['test_low']:.3f} to {row['test_high']:.3f})"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("words", nargs="*", default=["colour", "letter", "digit"], choices=WORDS)
    options.add_argument("--db", nargs="*", type=float, default=[0.0, -5.0])
    options.add_argument("--clean", action="store_true")
    options.add_argument("--noise", choices=KINDS, default="pink")
    options.add_argument("--seeds", type=int, default=1)
    given = options.parse_args()
    parts, rows = sentences(), []
    for db in [*([None] if given.clean else []), *given.db]:
        with tempfile.TemporaryDirectory() as folder:
            heard(parts, given.noise, db, Path(folder))
            for word in given.words:
                noise = "none" if db is None else f"{given.noise} {db:g} dB"
                rows.append({"noise": noise, **measured(parts, word, given.seeds)})
    show(rows, given.json)


if __name__ == "__main__":
    main()
