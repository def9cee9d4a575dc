"""Numbers written as lines of text."""

from __future__ import annotations

import csv
import io

import numpy as np


def numbers_in(text: str) -> np.ndarray:
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
    if lines and not any(_is_number(value) for value in lines[0]):
        lines = lines[1:]
    if not lines:
        raise ValueError("no line of numbers")
    if len({len(line) for line in lines}) > 1:
        raise ValueError("its lines differ in their number of columns")
    return np.array([[float(v) if v.strip() else np.nan for v in line] for line in lines], dtype=np.float64)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
