"""A space that needs no training: pictures lie by their mean colour, words by the colours that they name."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from polymodal.core.errors import BadCell
from polymodal.data.items import items
from polymodal.data.schema import Field, Schema
from polymodal.data.tables.source import Problem, Table
from polymodal.process import PROCESSORS

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "yellow": (230, 210, 40)}


class ColourSpace:
    """As `polymodal.inference.space.Space`: streams `photo` (image) and `title` (text, several columns)."""

    def __init__(self, columns=("title",), mark="colours"):
        many = {"many": True} if len(columns) > 1 else {}
        self.fields = {"photo": Field("photo", "image", ("photo",)), "title": Field("title", "text", columns, many)}
        self.schema = Schema(self.fields)
        self.processors = {"photo": PROCESSORS.build("image"), "title": PROCESSORS.build("text")}
        self.processors["title"].fit([f"a {name} thing" for name in COLOURS] * 2)
        self.dim, self.mark, self.folder = 4, mark, "the run"
        self.embedded = 0

    @property
    def streams(self):
        return {name: field.kind for name, field in self.fields.items()}

    def field(self, stream):
        return self.fields[stream]

    def items(self, stream, table):
        return items(table, self.fields[stream])

    def to(self, device):
        return self

    def embed(self, stream, given, *, base=None, problems=None):
        if isinstance(given, Table):
            found, ids = self.items(stream, given), given.ids
        else:
            table = Table.build({stream: list(given)}, base=base)
            found, ids = items(table, Field(stream, self.streams[stream], (stream,))), table.ids
        vectors, present = np.zeros((len(found), 4), np.float32), np.zeros(len(found), bool)
        for place in range(len(found)):
            try:
                cell = found.cells[place]
                if cell is not None:
                    vectors[place] = self._vector(stream, cell)
                    present[place] = True
            except BadCell as error:
                problems.append(Problem(ids[found.row[place]], found.column[place], error.reason))
        self.embedded += int(present.sum())
        return vectors, present

    def _vector(self, stream, cell):
        decoded = self.processors[stream].read(cell)
        if stream == "photo":
            colour = np.asarray(self.processors[stream].show(decoded)["array"]).reshape(-1, 3).mean(0)
        else:
            named = [rgb for name, rgb in COLOURS.items() if name in decoded.lower()]
            colour = np.mean(named, axis=0) if named else np.array([1.0, 1.0, 1.0])
        found = np.array([*(colour - 100), 20.0 if stream == "photo" else -20.0])
        return found / np.linalg.norm(found)


def write_things(folder: Path, rows: int = 40, captions: int = 1, seed: int = 0) -> Path:
    """`things.csv`: coloured photos with titles, prices and brands; photo 3 is broken, 5 not given, title 7 missing."""
    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    titles = ["title"] if captions == 1 else [f"title_{i}" for i in range(captions)]
    path = folder / "things.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "photo", *titles, "price", "brand", "colour"])
        for i in range(rows):
            colour = list(COLOURS)[i % 4]
            pixels = np.clip(np.array(COLOURS[colour]) + rng.normal(0, 12, (24, 32, 3)), 0, 255).astype(np.uint8)
            name = f"photos/{i}.png"
            if i == 3:
                (folder / name).write_bytes(b"no picture")
            else:
                Image.fromarray(pixels).save(folder / name)
            said = [f"a {colour} thing, number {i}, seen {c + 1} times" for c in range(captions)]
            writer.writerow(
                [
                    f"t{i}",
                    "" if i == 5 else name,
                    *(["" if i == 7 else s for s in said]),
                    f"{10 + i}.5",
                    "xyz"[i % 3],
                    colour,
                ]
            )
    return path
