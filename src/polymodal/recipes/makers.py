"""How the cells of a made-up table are made, one function a kind of column.

A maker takes what its column shows (`polymodal.recipes.sample.Shown`) and gives a cell a row, as a CSV holds it. Files
go beside the table, arrays to `arrays/`. A pattern that stands for a value is drawn once a column.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.core.errors import BadArgument, require
from polymodal.data import examples

if TYPE_CHECKING:
    from polymodal.recipes.sample import Shown

COLOURS = np.array([(205, 60, 50), (60, 150, 70), (60, 80, 200), (220, 190, 60), (150, 70, 170), (90, 190, 200)])
RATE, FPS = 8000, 10  # of made-up sound, in Hz; of made-up films, frames a second
_SLOT = re.compile(r"\{(\w+)\}")


def count(shown: Shown, *, start: int = 0) -> list[int]:
    """Numbers from `start` on: what names the row of an array."""
    return list(range(start, start + len(shown)))


def name(shown: Shown, *, of: str = "r{}") -> list[str]:
    """A name of its own for each row."""
    return [of.format(row) for row in range(len(shown))]


def group(shown: Shown, *, each: int = 8, of: str = "g{}") -> list[str]:
    """The same name for `each` rows that follow one another; none is in two parts."""
    starts = np.flatnonzero(np.diff(shown.parts, prepend=-1))
    place = np.arange(len(shown)) - starts[shown.parts]
    new = (place % each == 0).cumsum() - 1
    return [of.format(number) for number in new]


def date(shown: Shown, *, start: str = "2020-01-01", hours: float = 24.0, form: str = "%Y-%m-%d") -> list[str]:
    """Moments `hours` apart, in the order of the rows, so that the parts follow one another in time."""
    first = datetime.fromisoformat(start)
    return [(first + timedelta(hours=hours * row)).strftime(form) for row in range(len(shown))]


def value(shown: Shown, *, called: Mapping[str, Any] | None = None) -> list[Any]:
    """The values of the factors as words, as the target has them; `called` gives them other names."""
    words = [[shown.names[factor][code] for code in codes] for factor, codes in shown.codes.items()]
    joined = [" ".join(each) for each in zip(*words)]
    return joined if called is None else [called[one] for one in joined]


def category(shown: Shown, *, values: Sequence[Any]) -> list[Any]:
    """One of `values`: that of the combination shown, by turns where there are more of these, else any."""
    code = shown.code if shown.codes else shown.draw.integers(len(values), size=len(shown))
    return [values[one % len(values)] for one in code]


def number(shown: Shown, *, mean: float = 0.0, sd: float = 1.0, apart: float = 1.0, digits: int = 2) -> list[float]:
    """Numbers around `mean` with a deviation of `sd`, in which combinations lie `apart` deviations from the next."""
    place = shown.code - (shown.kinds - 1) / 2
    values = mean + sd * (apart * place + shown.draw.standard_normal(len(shown)))
    return [round(one, digits or None) for one in values.tolist()]


def text(shown: Shown, *, templates: Sequence[str], words: Mapping[str, Any] | None = None) -> list[str]:
    """A template a row, whose `{factor}` is told by one of the `words` of its value, and `{other}` by any of them.

    A factor without words is told by the name of its value.
    """
    told = words or {}
    slots = {slot for template in templates for slot in _SLOT.findall(template)}
    if strange := slots - set(told) - set(shown.codes):
        raise BadArgument(f"Column {shown.column!r} of a sample: no words and no factor for {{{min(strange)}}}.")

    def said(slot: str, row: int) -> str:
        if slot not in shown.codes:
            return str(shown.draw.choice(told[slot]))
        known = shown.names[slot][shown.codes[slot][row]]
        return str(shown.draw.choice(told[slot][known])) if slot in told else known

    def written(row: int, template: str) -> str:
        return _SLOT.sub(lambda found: said(found[1], row), template)

    return [written(row, templates[which]) for row, which in enumerate(shown.draw.choice(len(templates), len(shown)))]


def dialogue(
    shown: Shown, *, turns: Sequence[tuple[str, str]], words: Mapping[str, Any] | None = None, most: int = 3
) -> list[str]:
    """Conversations as JSON: up to `most` exchanges of `turns`, each what the user asks and what is answered."""
    cells = []
    for row in range(len(shown)):
        messages = []
        for which in shown.draw.permutation(len(turns))[: shown.draw.integers(1, most + 1)]:
            codes = {factor: codes[row : row + 1] for factor, codes in shown.codes.items()}
            one = type(shown)(shown.column, codes, shown.names, shown.parts[row : row + 1], shown.draw, shown.folder)
            for role, said in zip(("user", "assistant"), turns[which]):
                messages.append({"role": role, "content": text(one, templates=[said], words=words)[0]})
        cells.append(json.dumps(messages, ensure_ascii=False))
    return cells


def series(shown: Shown, *, steps: int = 24, channels: int = 1, noise: float = 1.0, empty: float = 0.0) -> None:
    """A smooth course a combination, [steps, channels], in noise, in `arrays/<column>.npy`, in the order of the
    rows; `empty` of it not measured."""
    knots = shown.draw.standard_normal((shown.kinds, 4, channels))
    along = np.linspace(0, 3, steps)
    low, part = np.minimum(along.astype(int), 2), along - np.minimum(along.astype(int), 2)
    courses = knots[:, low] * (1 - part[:, None]) + knots[:, low + 1] * part[:, None]
    values = courses[shown.code] + noise * shown.draw.standard_normal((len(shown), steps, channels))
    values[shown.draw.random(values.shape) < empty] = np.nan
    _array(shown, values)


def vector(shown: Shown, *, width: int = 16, noise: float = 1.0) -> None:
    """A direction a combination, in noise, in `arrays/<column>.npy`."""
    places = shown.draw.standard_normal((shown.kinds, width))
    _array(shown, places[shown.code] + noise * shown.draw.standard_normal((len(shown), width)))


def picture(shown: Shown, *, size: int = 32, folder: str = "photos", blur: float = 20.0) -> list[str]:
    """Blots on skin, clothes on a ground, whatever: a shape by the last factor in a colour by the first, in noise."""
    from PIL import Image

    return _files(shown, folder, "png", lambda row, path: Image.fromarray(_pixels(shown, row, size, blur)).save(path))


def sound(shown: Shown, *, folder: str = "audio") -> list[str]:
    """Half a second of a tone that tells the combination, in noise."""
    return _files(shown, folder, "wav", lambda row, path: path.write_bytes(examples.audio(shown.draw, shown.code[row])))


def volume(shown: Shown, *, folder: str = "volumes") -> list[str]:
    """A scan, an array [slices, height, width]: a box where the combination is even, else a ball."""
    return _files(shown, folder, "npy", lambda row, path: np.save(path, examples.volume(shown.draw, shown.code[row])))


def film(
    shown: Shown, *, folder: str = "video", seconds: float = 1.0, size: int = 48, heard: float = 1.0, noise: float = 0.1
) -> list[str]:
    """An MP4 that shows the combination as a picture of that colour, and tells it by a tone, right with the chance
    `heard`. Raises `MissingExtra` without the extra `video`."""
    av = require("av", "video")

    def write(row: int, path: Path) -> None:
        frames, wave = round(seconds * FPS), np.arange(int(seconds * RATE)) / RATE
        told = shown.code[row] if shown.draw.random() < heard else shown.draw.integers(shown.kinds)
        wave = 0.3 * np.sin(2 * np.pi * (300 + 200 * told) * wave) + noise * shown.draw.standard_normal(len(wave))
        stream = io.BytesIO()
        with av.open(stream, "w", format="mp4") as held:
            seen, sounds = held.add_stream("libx264", rate=FPS), held.add_stream("aac", rate=RATE, layout="mono")
            seen.width = seen.height = size
            seen.pix_fmt = "yuv420p"
            for _ in range(frames):
                held.mux(seen.encode(av.VideoFrame.from_ndarray(_pixels(shown, row, size, 20.0), "rgb24")))
            held.mux(seen.encode())
            for start in range(0, len(wave) - 1024, 1024):
                part = av.AudioFrame.from_ndarray(
                    wave[None, start : start + 1024].astype(np.float32), "fltp", layout="mono"
                )
                part.sample_rate, part.pts = RATE, start
                held.mux(sounds.encode(part))
            held.mux(sounds.encode())
        path.write_bytes(stream.getvalue())

    return _files(shown, folder, "mp4", write)


def edges(shown: Shown, *, each: int = 3, of: str = "r{}") -> None:
    """A file of edges, called as the column is: each row knows `each` others, which show the same as it does."""
    lines = ["source,target"]
    for row, code in enumerate(shown.code):
        alike = np.flatnonzero(shown.code == code)
        for other in shown.draw.choice(alike, min(each, len(alike)), replace=False):
            lines += [f"{of.format(row)},{of.format(other)}"] if other != row else []
    (shown.folder / shown.column).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pixels(shown: Shown, row: int, size: int, blur: float) -> np.ndarray:
    """uint8 [size, size, 3]: a shape somewhere near the middle."""
    first, last = (codes[row] for codes in (next(iter(shown.codes.values())), [*shown.codes.values()][-1]))
    y, x = np.mgrid[:size, :size] - (size / 2 + shown.draw.normal(0, size / 16, 2))[:, None, None]
    far, wide = np.hypot(x, y), size / 4
    shapes = (far < wide, np.maximum(abs(x), abs(y)) < wide, abs(x) + abs(y) < wide, abs(far - wide) < 3, abs(y) < 4)
    pixels = np.where(shapes[last % len(shapes)][..., None], COLOURS[first % len(COLOURS)], 215)
    return np.clip(pixels + shown.draw.normal(0, blur, (size, size, 3)), 0, 255).astype(np.uint8)


def _array(shown: Shown, values: np.ndarray) -> None:
    path = shown.folder / "arrays" / f"{shown.column}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, values.astype(np.float32))


def _files(shown: Shown, folder: str, suffix: str, write: Callable[[int, Path], Any]) -> list[str]:
    """A file a row, and their names from the table."""
    (shown.folder / folder).mkdir(exist_ok=True)
    cells = [f"{folder}/{row}.{suffix}" for row in range(len(shown))]
    for row, cell in enumerate(cells):
        write(row, shown.folder / cell)
    return cells


MAKERS: Mapping[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        count, name, group, date, value, category, number, text, dialogue, series, vector, picture, sound, volume, film,
        edges,
    )
}  # fmt: skip
