"""A small table of a recipe's form, made up: for trying, and for tests that know what must come out.

A sample says how many `rows` each part has, what is `hidden` in a row (factors, each with its values) and how each
column shows it. The target tells a factor as it is; a stream `shows` factors through its own eyes: it is right with
the chance `sure`, else it shows a value drawn at random, independently of the other streams. So streams that are each
unsure are surer together, and a stream at `sure: 0` has nothing to say: what the report must find is planted.
"""

from __future__ import annotations

import csv
import inspect
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.files import write_json
from polymodal.core.values import check_range
from polymodal.data.split import PARTS
from polymodal.recipes.makers import MAKERS

STAMP = "sample.json"
KEYS = ("rows", "hidden", "columns", "seed", "config")


@dataclass(frozen=True)
class Shown:
    """What one column knows of the rows: `codes` the value of each factor that it shows [N] by name, `names` the
    factors' values, `parts` which part each row is in [N], `draw` numbers of its own, `folder` where files go."""

    column: str
    codes: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    parts: np.ndarray
    draw: np.random.Generator
    folder: Path

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def kinds(self) -> int:
        """How many combinations of the factors' values there are."""
        return int(np.prod([len(self.names[factor]) for factor in self.codes], dtype=int))

    @property
    def code(self) -> np.ndarray:
        """int [N]: which combination a row shows."""
        code = np.zeros(len(self), int)
        for factor, values in self.codes.items():
            code = code * len(self.names[factor]) + values
        return code


def write_sample(sample: Mapping[str, Any], folder: Path) -> Path:
    """Write `train.csv`, `valid.csv`, `test.csv` and the files that they name; the same bytes for the same sample.

    A folder that holds this very sample already is left as it is. Raises `BadArgument` where it holds anything else,
    and for what a sample cannot say.
    """
    stamp = folder / STAMP
    mark = {"sample": fingerprint(dict(sample)), "made": "up by polymodal; nothing in it was measured"}
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == mark:
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise BadArgument(f"{folder} is not empty, and not the sample of this recipe. Give another --out, or empty it.")
    folder.mkdir(parents=True, exist_ok=True)
    parts, table = _drawn(sample, folder)
    for part in PARTS:
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(
                [values[row] for values in table.values()] for row in np.flatnonzero(parts == PARTS.index(part))
            )
    write_json(stamp, mark)
    return folder


def _drawn(sample: Mapping[str, Any], folder: Path) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The part of each row, and the columns."""
    for key in sample:
        if key not in KEYS:
            raise BadArgument(f"A sample cannot say {key!r}.{suggest(str(key), KEYS)}")
    check_range("[3, 100_000]", **{f"rows of {part}": sample["rows"][part] for part in PARTS})
    parts = np.repeat(range(len(PARTS)), [sample["rows"][part] for part in PARTS])
    seed = sample.get("seed", 0)
    draw = np.random.default_rng(seed)
    names, truth = {}, {}
    for factor, values in sample["hidden"].items():
        shares = np.array(list(values.values()), float) if isinstance(values, Mapping) else np.ones(len(values))
        names[factor] = tuple(map(str, values))
        truth[factor] = draw.choice(len(names[factor]), len(parts), p=shares / shares.sum())
    table: dict[str, list[Any]] = {}
    for column, spec in sample["columns"].items():
        own = np.random.default_rng([seed, zlib.crc32(column.encode())])
        shown = Shown(column, truth, names, parts, own, folder)
        made = _column(shown, dict(spec))
        if made is not None:
            table[column] = made
    return parts, table


def _column(shown: Shown, spec: dict[str, Any]) -> list[Any] | None:
    """The cells of one column, None where its maker writes a file beside the table."""
    what = f"Column {shown.column!r} of a sample"
    make, sure, gaps = spec.pop("make", None), spec.pop("sure", 1.0), spec.pop("gaps", 0.0)
    factors = spec.pop("shows", [])
    factors = [factors] if isinstance(factors, str) else factors
    if make not in MAKERS:
        raise BadArgument(f"{what} cannot be made as {make!r}.{suggest(str(make), MAKERS)}")
    check_range("[0, 1]", sure=sure, gaps=gaps)
    for factor in factors:
        if factor not in shown.names:
            raise BadArgument(f"{what} shows {factor!r}, which is not hidden.{suggest(str(factor), shown.names)}")
    maker = MAKERS[make]
    options = [name for name, one in inspect.signature(maker).parameters.items() if one.kind is one.KEYWORD_ONLY]
    for option in spec:
        if option not in options:
            raise BadArgument(f"{what}: {make} has no option {option!r}.{suggest(option, options)}")
    codes = {factor: _seen(shown, factor, sure) for factor in factors}
    cells = maker(replace(shown, codes=codes), **spec)
    if cells is None:
        return None
    return ["" if gone else cell for cell, gone in zip(cells, shown.draw.random(len(shown)) < gaps)]


def _seen(shown: Shown, factor: str, sure: float) -> np.ndarray:
    """int [N]: the factor's value, or, where the column is not sure, any."""
    any_value = shown.draw.integers(len(shown.names[factor]), size=len(shown))
    return np.where(shown.draw.random(len(shown)) < sure, shown.codes[factor], any_value)
