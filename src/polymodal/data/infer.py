"""What one column is, told from its cells, with the reason in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.numbers import Notation, read_number, without_mark
from polymodal.data.kinds import KINDS
from polymodal.data.media.array import map_array
from polymodal.data.paths import is_link, resolve
from polymodal.data.tables.table import Lazy, Table
from polymodal.data.values import as_array, looks_like_date, looks_numeric
from polymodal.targets.labels import labels_of

MOST = 0.8  # the share of cells that decides; the rest are reported as not of the column's kind
NEAR_UNIQUE = 0.95  # distinct values over cells, above which a word names its row
SAMPLE = 4000  # cells looked at where every cell would cost a parse
PROBES = 8  # .npy headers opened to tell a vector from a series
ARRAY = "array"  # a file of one, whose shape tells which kind it is
FEW = 20  # distinct values that make a category whatever the number of rows, and classes of a whole-number target
_ID_NAME = re.compile(r"(^|[_\s.-])(id|ids|uuid|guid|key|index|idx)$|^unnamed|^column_1$|[a-z](Id|ID)$", re.ASCII)
_PARTED = re.compile(r"[\s,;]+")
_CODE_NAME = re.compile(r"zip|postal|postcode|plz|code$", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """The kind of a column and why.

    Besides the kinds of fields, a guess may be `number`, `category` or `date` (which share the stream `table`), or
    `id`, `constant`, `empty` or `other`, which are not used. `warning` is set when the user should know more, `binding`
    when the processor must not guess otherwise; `options` are those that a field of it needs.
    """

    kind: str
    why: str
    warning: str = ""
    binding: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def tell(table: Table, column: str) -> Guess:
    """The kind of one column of `table`. Opens at most a few .npy headers, no other file."""
    values = table.column(column)
    present = [value for value in values if value is not None]
    if not present:
        return Guess("empty", "every cell is missing")
    sample = present[:: max(1, len(present) // SAMPLE)]
    for judge in (_tell_archive, _tell_bytes, _tell_arrays):
        guess = judge(sample)
        if guess:
            return guess
    if all(isinstance(value, str) for value in sample):
        guess = _tell_paths(table, column, sample)
        if guess:
            return guess
    distinct = len(set(map(_hashable, present)))
    if distinct == 1 and len(values) > 1:
        return Guess("constant", f"every cell is {_short(present[0])}")
    return _tell_lists(sample) or _tell_values(column, present, distinct)


def tell_target(values: Sequence[Any]) -> tuple[str, str]:
    """(`classes`, `number` or `multilabel`, why) for a target's cells."""
    present = [value for value in values if value is not None]
    if any(isinstance(value, list | tuple) for value in present):
        return "multilabel", "cells are lists of labels"
    piped = [value for value in present if isinstance(value, str) and "|" in value]
    if piped:
        parts = {label for value in present for label in labels_of(value)}
        if len(parts) < len(set(map(str, present))) or len(piped) > len(present) / 2:
            return "multilabel", f"cells like {_short(piped[0])} hold several of {len(parts)} labels"
    given = without_mark(present)
    notation = Notation.of(given)
    numbers = [number for value in given if (number := notation.number(value)) is not None]
    if given and len(numbers) >= MOST * len(given):
        distinct = len(set(numbers))
        whole = all(number.is_integer() for number in numbers)
        if not whole or distinct > FEW:
            why = f"{distinct} different {'whole ' if whole else ''}numbers{_in_words(notation)}"
            return "number", why + _mark_in_words(present, given)
        return "classes", f"{distinct} different whole numbers"
    return "classes", f"{len(set(map(str, present)))} different values"


def _tell_archive(sample: Sequence[Any]) -> Guess | None:
    lazy = [value for value in sample if isinstance(value, Lazy)]
    if len(lazy) < MOST * len(sample):
        return None
    kinds = Counter(KINDS.of_file(value.name) for value in lazy)
    if kinds.most_common(1)[0][0] is None:
        kinds = Counter(KINDS.of_bytes(value.load()) for value in lazy[:PROBES])
    return _of_files(kinds.most_common(1)[0][0], "{} files in an archive")


def _of_files(kind: str | None, why: str) -> Guess:
    """By the kind of the files that cells hold, whose name goes into `why`; arrays are not opened here."""
    if kind is None:
        return Guess("other", "bytes of no kind that is known")
    if kind == ARRAY:
        return Guess("vector", f"{why.format('.npy')}; name the kind series in a schema if they run in time")
    return Guess(kind, why.format(kind))


def _tell_bytes(sample: Sequence[Any]) -> Guess | None:
    raw = [value.get("bytes") if isinstance(value, dict) else value for value in sample]
    contents = [value for value in raw if isinstance(value, bytes)]
    if len(contents) < MOST * len(sample):
        return None
    return _of_files(Counter(map(KINDS.of_bytes, contents)).most_common(1)[0][0], "bytes that begin as {} files do")


def _tell_arrays(sample: Sequence[Any]) -> Guess | None:
    arrays = [value for value in sample if isinstance(value, np.ndarray)]
    if len(arrays) < MOST * len(sample):
        return None
    if all(a.dtype == np.uint8 and (a.ndim == 2 or (a.ndim == 3 and a.shape[-1] in (1, 3, 4))) for a in arrays):
        return Guess("image", "arrays of bytes with the shape of pictures")
    return _of_shapes([array.shape for array in arrays], "arrays")


def _of_shapes(shapes: Sequence[tuple[int, ...]], what: str) -> Guess:
    if all(len(shape) == 1 for shape in shapes) and len(set(shapes)) == 1:
        return Guess("vector", f"{what} of {shapes[0][0]} numbers each")
    if all(len(shape) in (1, 2) for shape in shapes):
        return Guess("series", f"{what} of {min(s[0] for s in shapes)} to {max(s[0] for s in shapes)} steps")
    return Guess("other", f"{what} of shape {shapes[0]}, which no kind takes")


def _tell_paths(table: Table, column: str, sample: Sequence[str]) -> Guess | None:
    kinds = Counter(kind for value in sample if (kind := KINDS.of_file(value)) and len(value) < 1024)
    if not kinds:
        return None
    kind, count = kinds.most_common(1)[0]
    if count <= len(sample) / 2:  # half is enough: nobody writes file names by chance, and the rest are faults
        return None
    of = f"{count:,} of {len(sample):,} cells" if count < len(sample) else "cells"
    if sum(map(is_link, sample)) > len(sample) / 2:
        return Guess("other", f"{of} are web addresses of {kind} files; download them and give their paths")
    suffixes = Counter(value.strip().lower().rpartition(".")[2] for value in sample if KINDS.of_file(value) == kind)
    why = f"{of} are paths that end in {', '.join('.' + suffix for suffix, _ in suffixes.most_common(3))}"
    if kind == ARRAY:
        guess = _tell_npy(table, column)
        return Guess(guess.kind, f"{why}; {guess.why}")
    return Guess(kind, why, options=KINDS[kind].path_options)


def _tell_npy(table: Table, column: str) -> Guess:
    shapes: list[tuple[int, ...]] = []
    named = [(base, value) for base, value in zip(table.bases, table.column(column)) if isinstance(value, str)]
    for base, value in [pair for pair in named if KINDS.of_file(pair[1]) == ARRAY][:PROBES]:
        try:
            shapes.append(map_array(resolve(base, value)).shape)
        except BadCell:
            continue  # a broken file tells nothing here; reading it will name it
    if not shapes:
        return Guess("vector", f"none of the first {PROBES} could be opened, so vectors are assumed")
    return _of_shapes(shapes, "arrays")


def _tell_lists(sample: Sequence[Any]) -> Guess | None:
    lists = [value for value in sample if _may_be_list(value)]
    if 2 * sum(isinstance(value, str) and read_number(value) is not None for value in lists) > len(lists):
        return None  # 1,234,567
    judged = [array for value in lists if (array := as_array(value)) is not None]
    if len(judged) < MOST * len(sample):
        if any(isinstance(value, list | tuple | dict) for value in sample):
            kind = next(type(value).__name__ for value in sample if isinstance(value, list | tuple | dict))
            return Guess("other", f"cells of type {kind} that are no lists of numbers")
        return None
    return _of_shapes([array.shape for array in judged], "lists")


def _may_be_list(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, list | tuple)
    text = value.strip()
    return text.startswith("[") or (text[:1] in "+-.0123456789" and len(_PARTED.split(text, maxsplit=2)) > 2)


def _tell_values(column: str, present: Sequence[Any], distinct: int) -> Guess:
    sample = without_mark(present[:: max(1, len(present) // SAMPLE)])
    if all(isinstance(value, bool) for value in sample):
        return Guess("category", "true or false")
    if sum(map(looks_like_date, sample)) >= MOST * len(sample):
        return Guess("date", f"dates such as {present[0]}")
    if sum(map(looks_numeric, sample)) >= MOST * len(sample):
        given = without_mark(present)
        notation = Notation.of(given)
        numbers = [number for value in given if (number := notation.number(value)) is not None]
        if len(numbers) >= MOST * len(given):
            said = _in_words(notation) + _mark_in_words(present, given)
            rest = len(given) - len(numbers)
            return _tell_numbers(column, given, numbers, f"{said}; {rest:,} cells are not numbers" if rest else said)
    return _tell_words(column, [str(value) for value in present], distinct)


def _tell_numbers(column: str, present: Sequence[Any], numbers: Sequence[float], mixed: str) -> Guess:
    distinct = len(set(map(_hashable, present)))
    whole = all(number.is_integer() for number in numbers)
    if whole and len(numbers) == distinct and len(numbers) >= FEW // 2:
        if _ID_NAME.search(column):
            return Guess("id", "whole numbers, each once, under the name of an identifier")
        dense = max(numbers) - min(numbers) <= 2 * len(numbers)
        if dense and all(after > before for before, after in pairwise(numbers)):
            return Guess("id", "whole numbers that only rise, as row numbers do")
    if whole and _ID_NAME.search(column):
        return _tell_key(column, len(present), distinct)
    if any(isinstance(value, str) and value[:1] == "0" and value.isdigit() and len(value) > 1 for value in present):
        return Guess("category", f"{distinct:,} codes of digits, some with leading zeros{mixed}", binding=True)
    if whole and _CODE_NAME.search(column):
        said = f"{distinct:,} whole numbers under the name of a code{mixed}"
        return Guess("number", f"{said}; kept as a number, since neighbouring codes are often alike")
    return Guess("number", f"{distinct:,} different numbers{mixed}")


def _in_words(notation: Notation) -> str:
    return f"; {notation.why}" if notation.why else ""


def _mark_in_words(present: Sequence[Any], given: Sequence[Any]) -> str:
    """What is said of the sign that was taken for a missing value."""
    if len(given) == len(present):
        return ""
    mark = next(value for value in present if isinstance(value, str) and not any(map(str.isalnum, value)))
    return f"; {mark.strip()!r} stands for a missing value ({len(present) - len(given):,} cells)"


def _tell_words(column: str, present: Sequence[str], distinct: int) -> Guess:
    share = distinct / len(present)
    words = sum(len(value.split()) for value in present) / len(present)
    said = f"{distinct:,} different in {len(present):,} cells, {words:.1f} words each"
    if _ID_NAME.search(column) and words < 1.5:
        return _tell_key(column, len(present), distinct)
    if distinct <= FEW and len(present) >= 2 * distinct:
        return Guess("category", f"few values: {said}")
    if share >= NEAR_UNIQUE and words < 1.5 and len(present) >= FEW:
        coded = sum(any(letter.isdigit() for letter in value) for value in present) / len(present)
        if coded > 0.5:
            return Guess("id", f"a code of its own in nearly every row: {said}")
    if share > 0.5 or (words >= 3 and (share > 0.02 or distinct > 500)):
        return Guess("text", f"free text: {said}")
    return Guess("category", f"repeated values: {said}")


def _tell_key(column: str, count: int, distinct: int) -> Guess:
    """A column named like an identifier: of the row, of a group of rows, or, with few values, a category."""
    said = f"{distinct:,} different in {count:,} cells"
    if distinct >= NEAR_UNIQUE * count:
        return Guess("id", f"named like an identifier and nearly unique: {said}")
    if distinct <= FEW:
        return Guess("category", f"few values: {said}")
    return Guess(
        "id",
        f"named like an identifier that rows share: {said}",
        f"{column}: rows share its values ({said}). If they belong together, say `group: {column}`, so that they never "
        "straddle a split; if it describes the rows, say `kinds: {" + column + ": category}`.",
    )


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
