"""A table with every kind of dirt planted in it, and the list of what was planted."""

from __future__ import annotations

import csv
import io
import unicodedata
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import BadArgument

COLUMNS = ("id", "photo", "sound", "note", "price", "size", "bought", "label")
LABELS = {"red": (200, 60, 60), "green": (60, 180, 60), "blue": (60, 60, 200)}
MARKS = ("", "NA", "NaN", "null", "None", "N/A")
WRONG_NUMBERS = ("unknown", "twelve", "see note", "tbd")
BREAKAGES = ("truncated picture", "empty sound", "text named .png", "no such picture", "no such sound")
RATE = 8000  # Hz
HUGE = 14_000  # pixels, the side of the one picture of 196 megapixels


@dataclass(frozen=True)
class Fault:
    """One planted fault: the row's id (or `file:line` where no row can come of it), its column, and what is wrong.

    `what` is `broken`, `missing`, `misfit`, `copy` (of another row's picture), `set aside` (the whole row) or `noted`.
    """

    row: str
    column: str
    what: str
    detail: str = ""


def messy(folder: str | Path, rows: int = 10_000, *, broken: float = 0.03, seed: int = 0) -> list[Fault]:
    """Write `folder/messy.csv` with its pictures and sounds, and return every fault that was planted in it.

    Label, colour of the photo, pitch of the sound, words of the note and price go together, so that a model can learn
    from what is left. Planted: a share `broken` of rows with a truncated PNG, a zero-byte WAV, text renamed .png, or
    a missing file; one PNG of 196 megapixels; missing cells in six spellings; words among the prices; copies of
    pictures; rows with too many or too few cells, with an open quote, with a NUL byte, and a line in Windows-1252.
    Not faults, but to be borne: a byte-order mark, Windows paths, and file names in composed and decomposed Unicode.

    Raises `BadArgument` for fewer than 200 rows, in which not every kind of fault has a place.
    """
    if rows < 200:
        raise BadArgument(f"rows={rows} are too few for every kind of fault; give 200 or more.")
    return _Mess(Path(folder), rows, seed).write(broken)


class _Mess:
    def __init__(self, folder: Path, rows: int, seed: int):
        self.folder = folder
        self.random = np.random.default_rng(seed)
        self.faults: list[Fault] = []
        self.rows: list[dict[str, str]] = []
        for name in ("photos", "sounds"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(rows):
            self.rows.append(self._row(number))

    def write(self, broken: float) -> list[Fault]:
        free = self.random.permutation(len(self.rows)).tolist()

        def take(count: int) -> list[int]:
            return [free.pop() for _ in range(count)]

        count = round(broken * len(self.rows))
        for turn, row in enumerate(take(count)):
            self._break(row, BREAKAGES[turn % len(BREAKAGES)])
        self._huge(take(1)[0])
        for row in take(max(2, len(self.rows) // 1000)):
            self._copy(row, take(1)[0])
        for column in ("photo", "sound", "note", "price", "size", "bought"):
            for turn, row in enumerate(take(max(6, len(self.rows) // 100))):
                self.rows[row][column] = MARKS[turn % len(MARKS)]
                self._fault(row, column, "missing", repr(MARKS[turn % len(MARKS)]))
        for turn, row in enumerate(take(max(4, len(self.rows) // 100))):
            self.rows[row]["price"] = WRONG_NUMBERS[turn % len(WRONG_NUMBERS)]
            self._fault(row, "price", "misfit", WRONG_NUMBERS[turn % len(WRONG_NUMBERS)])
        for row in self.random.choice(len(self.rows), len(self.rows) // 10, replace=False):
            self.rows[row]["photo"] = self.rows[row]["photo"].replace("photos/", "photos\\")
        self._table(ragged=take(4), nul=take(1)[0], foreign=take(1)[0])
        return self.faults

    def _row(self, number: int) -> dict[str, str]:
        label = str(self.random.choice(list(LABELS)))
        kind = list(LABELS).index(label)
        stem = f"{number:05d}"
        written = stored = f"{stem}.png"
        if number % 20 == 7:  # one file name in twenty goes beyond ASCII, in either form, on disk in the other
            forms = ("NFC", "NFD") if number % 40 == 7 else ("NFD", "NFC")
            written, stored = (unicodedata.normalize(form, f"Zoë_Müller_{stem}.png") for form in forms)  # type: ignore[arg-type]
        self._photo(self.folder / "photos" / stored, np.array(LABELS[label]))
        self._sound(self.folder / "sounds" / f"{stem}.wav", 300 * (kind + 1))
        mood = str(self.random.choice(["lovely", "plain", "worn", "bright"]))
        made = str(self.random.choice(["house", "garden", "kitchen", "school"]))
        tone = label if self.random.random() < 0.6 else "coloured"
        year, month, day = self.random.integers((2010, 1, 1), (2025, 13, 29))
        return {
            "id": f"r{stem}",
            "photo": f"photos/{written}",
            "sound": f"sounds/{stem}.wav",
            "note": f"a {mood} {tone} thing number {number} for the {made}",
            "price": f"{self.random.normal(10 * (kind + 1), 4):.2f}",
            "size": str(self.random.choice(["small", "medium", "large"])),
            "bought": f"{year}-{month:02d}-{day:02d}",
            "label": label,
        }

    def _photo(self, path: Path, colour: np.ndarray) -> None:
        coarse = self.random.normal(0, 60, (6, 6, 1)) + colour + self.random.normal(0, 40, 3)
        pixels = np.kron(coarse, np.ones((4, 4, 1))) + self.random.normal(0, 20, (24, 24, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)

    def _sound(self, path: Path, pitch: float) -> None:
        time = np.arange(RATE // 8) / RATE
        tone = np.sin(2 * np.pi * pitch * self.random.uniform(0.8, 1.25) * time)
        samples = 0.3 * tone + self.random.normal(0, 0.1, len(time))
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())

    def _fault(self, row: int, column: str, what: str, detail: str) -> None:
        self.faults.append(Fault(self.rows[row]["id"], column, what, detail))

    def _path(self, row: int, column: str) -> Path:
        """The file on disk, under whichever form its name has there."""
        path = self.folder / self.rows[row][column]
        forms = [Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")]
        return next((form for form in (path, *forms) if form.exists()), path)

    def _break(self, row: int, breakage: str) -> None:
        column = "sound" if "sound" in breakage else "photo"
        path = self._path(row, column)
        match breakage:
            case "truncated picture":
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2])
            case "empty sound":
                path.write_bytes(b"")
            case "text named .png":
                path.write_text("This was a picture once.\n", encoding="utf-8")
            case _:
                path.unlink()
        self._fault(row, column, "broken", breakage)

    def _huge(self, row: int) -> None:
        Image.new("1", (HUGE, HUGE)).save(self._path(row, "photo"))
        self._fault(row, "photo", "broken", "too many pixels")

    def _copy(self, row: int, original: int) -> None:
        self._path(row, "photo").write_bytes(self._path(original, "photo").read_bytes())
        self._fault(row, "photo", "copy", f"of {self.rows[original]['id']}")

    def _table(self, *, ragged: list[int], nul: int, foreign: int) -> None:
        """Write the CSV, and spoil some of its lines."""
        lines = [_line(COLUMNS), *(_line([row[column] for column in COLUMNS]) for row in self.rows)]
        spoiled: dict[int, Any] = {
            ragged[0]: lambda line: line[:-2] + b",one cell too many\r\n",
            ragged[1]: lambda line: line.rsplit(b",", 2)[0] + b"\r\n",
            ragged[2]: lambda line: line.replace(b",a ", b',"a ', 1),
            ragged[3]: lambda line: line.rsplit(b",", 5)[0] + b"\r\n",
            nul: lambda line: line.replace(b",a ", b",a\0", 1),
            foreign: lambda line: line.replace(b" thing ", " thing café ".encode("cp1252"), 1),
        }
        for row, spoil in spoiled.items():
            lines[row + 1] = spoil(lines[row + 1])
        (self.folder / "messy.csv").write_bytes(b"\xef\xbb\xbf" + b"".join(lines))
        for row in ragged:
            self.faults.append(Fault(f"messy.csv:{row + 2}", "", "set aside", self.rows[row]["id"]))
        self._fault(nul, "note", "noted", "NUL byte")
        self.faults.append(Fault(f"messy.csv:{foreign + 2}", "", "noted", "Windows-1252"))


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode("utf-8")
