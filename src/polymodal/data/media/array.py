"""The one way to open numbers that lie in a file: NumPy's own forms, never a pickle, and lines of text."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.limits import Refused, check_size
from polymodal.data.media.files import AGAIN, DAMAGE, head_of, looks_like, opened, said

_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"


def read_array(source: Path | bytes) -> np.ndarray:
    """The numbers of a .npy file, of a .npz file that holds one array, or of lines of text: a line a step.

    Raises `BadCell` for a file that cannot be read, holds no number or several arrays.
    """
    with opened(source) as stream:
        content = stream.read()
        stream.seek(0)
        if content.startswith((_NPY, _NPZ)):
            values = load_array(stream, None)
        else:
            try:
                values = _lines(content.decode("utf-8-sig"))
            except ValueError as error:
                raise BadCell(
                    f"is neither an array in .npy form nor lines of numbers ({said(error)}){looks_like(content)}"
                ) from error
        if values.dtype.kind not in "biuf":
            raise BadCell(f"holds {values.dtype.name} values, where a series has numbers: save them as float")
        if not values.size or not values.ndim:
            raise BadCell(
                f"holds no step (its shape is {values.shape}): a series has one value at least along its first axis"
            )
        if not np.isfinite(values).any():
            raise BadCell("holds no number, only NaN or infinite values: there is nothing to learn from")
        return values


def map_array(path: Path, key: str | None = None) -> np.ndarray:
    """The array of a .npy file, mapped rather than read; or of a .npz file, by its key where it holds several.

    Raises `BadCell`; a key that is not there is a `KeyError` that holds those that are.
    """
    with opened(path) as stream:
        if not (head := head_of(stream)).startswith((_NPY, _NPZ)):
            raise BadCell(f"is no array in .npy or .npz form{looks_like(head)}")
        return load_array(path, key)


def load_array(source: Any, key: str | None) -> np.ndarray:
    """The array of an opened .npy or .npz file, or of one at a path, by its key where it holds several.

    Raises `BadCell`; `KeyError` as `map_array` does.
    """
    try:
        held = np.load(source, mmap_mode="r" if isinstance(source, Path) else None, allow_pickle=False)
        if isinstance(held, np.ndarray):
            return held
        with held:
            if key is None and len(held.files) > 1:
                listed = ", ".join(held.files)
                raise BadCell(
                    f"holds several arrays ({listed}): say which with `key` if the file is one for all rows, else save "
                    "the one that is meant alone"
                )
            if key is not None and key not in held.files:
                raise KeyError(*held.files)
            if not held.files:
                raise BadCell(f"holds no array: {AGAIN}")
            name = key or held.files[0]
            with held.zip.open(f"{name}.npy" if f"{name}.npy" in held.zip.namelist() else name) as member:
                check_size(held.zip.getinfo(member.name).file_size, "cell")
            if not isinstance(values := held[name], np.ndarray):
                raise BadCell(f"holds something that is no array under {name!r}: {AGAIN}")
            return values
    except (BadCell, KeyError):
        raise
    except Refused as error:
        raise BadCell(error.reason) from error
    except DAMAGE as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise BadCell(
                "holds Python objects (a pickle), which may run any code when opened and is never read: save numbers, "
                "as by np.save(path, array.astype(float))"
            ) from error
        raise BadCell(f"is an array in .npy form that is cut short or damaged ({said(error)}): {AGAIN}") from error


def _lines(text: str) -> np.ndarray:
    """float64 [lines, columns]: a line a step, separated by tabs, semicolons or commas; empty values become NaN.

    A first line of names is skipped. Raises `ValueError` for what is no number, for lines that differ in their number
    of columns, and where there is no line.
    """
    first = text.partition("\n")[0]
    delimiter = next((d for d in ("\t", ";", ",") if d in first), ",")
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if lines and not any(_is_float(value) for value in lines[0]):
        lines = lines[1:]
    if not lines:
        raise ValueError("no line of numbers")
    if len({len(line) for line in lines}) > 1:
        raise ValueError("its lines differ in their number of columns")
    return np.array([[float(v) if v.strip() else np.nan for v in line] for line in lines], dtype=np.float64)


def _is_float(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
