"""What one column is, told from its cells, with the reason in words."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.addresses import is_link
from polymodal.core.dates import DAY_FIRST, MONTH_FIRST, is_clock
from polymodal.core.errors import BadCell
from polymodal.core.numbers import Notation, read_number
from polymodal.core.reading import MOST, SAMPLE, Reading, is_sign
from polymodal.core.scripts import UNSPACED
from polymodal.core.shown import many
from polymodal.core.words import key_of
from polymodal.data.kinds import KINDS
from polymodal.data.media.array import map_array
from polymodal.data.paths import fault_of, placed, resolve
from polymodal.data.remote.remote import ALLOW
from polymodal.data.tables.table import Lazy, Table
from polymodal.data.values import as_array
from polymodal.targets.labels import labels_of, listed

NEAR_UNIQUE = 0.95  # distinct values over cells, above which a word names its row
PROBES = 8  # .npy headers opened to tell a vector from a series
ARRAY = "array"  # a file of one, whose shape tells which kind it is
FEW = 20  # distinct values that make a category whatever the number of rows, and classes of a whole-number target
_ID_NAME = re.compile(  # an index is one of rows; others are measured: heat_index
    r"(^|[_\s.-])(id|ids|uuid|guid|key|(?i:sku|isbn|ean|gtin|upc|asin|barcode))$|"
    r"(?i:(^|[_\s.-])(order|invoice|ticket|serial|part|article|customer|account|case|patient)[_\s.-]?(no|nr|num|number)\.?$)|"
    r"^((row|record|sample|item|line|image|file)[_\s.-]?)?(index|idx)$|^unnamed|"
    r"^column_1$|[a-z](Id|ID)$",
    re.ASCII,
)
_COUNTED = re.compile(  # what rises by one a row and is no row number
    r"(^|[_\s.-])(year|quarter|month|week|day|hour|minute|second|time|t|step|age|epoch|trial|dose|depth|distance|level|"
    r"rank|round|cycle|index)s?($|[_\s.-])",
    re.IGNORECASE,
)
_UNSPACED = re.compile(f"[\uac00-\ud7a3{UNSPACED}]")  # Hangul too: a word of it says as much as several
_LETTERS_A_WORD = 3
SENTENCE = 3.0  # words of a mean text from which it is written rather than chosen
PHRASE = 2.0  # words of a mean label from which it may be a text
_DIGITS = re.compile(r"\d+")
_PARTED = re.compile(r"[\s,;|]+")
_CLOUD_NAME = re.compile(r"(^|[_\s.-])(points|cloud|pointcloud|lidar|radar|velodyne)($|[_\s.-])", re.IGNORECASE)
_WIDEST = 8  # columns of an array of points: places, and what is known of each
_CODE_NAME = re.compile(r"zip|postal|postcode|plz|code$", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """The kind of a column and why.

    Besides the kinds of fields, a guess may be `number`, `category` or `date` (which share the stream `table`), or
    `id`, `constant`, `empty` or `other`, which are not used. `warning` is set when the user should know more, `binding`
    when the processor must not guess otherwise; `options` are those that a field of it needs. `written` is what was
    decided of the way in which its numbers or dates are written (see `Reading.of`), `absent` are its marks of absence.
    """

    kind: str
    why: str
    warning: str = ""
    binding: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    written: str = ""
    absent: tuple[str, ...] = ()


def tell(table: Table, column: str, written: str = "") -> Guess:
    """The kind of one column of `table`. Opens at most a few .npy headers, no other file.

    `written` is what the user says of its numbers or dates (see `Reading.of`).
    """
    values = table.column(column)
    present = [value for value in values if value is not None]
    if not present:
        return Guess("empty", "every cell is missing")
    sample = present[:: max(1, len(present) // SAMPLE)]
    for guess in (_tell_archive(sample), _tell_bytes(sample), _tell_arrays(sample, column)):
        if guess:
            return guess
    if all(isinstance(value, str | list) for value in sample):
        guess = _tell_paths(table, column, sample)
        if guess:
            return guess
    distinct = len(set(map(_hashable, present)))
    folders = _tell_folders(table, column) if all(isinstance(value, str) for value in sample) else None
    if folders and 2 * distinct > len(present):
        return folders
    guess = _tell_rest(column, values, sample, distinct, written)
    if folders and not guess.warning:  # what names classes, or places, may name the folders of their files too
        said = f"{column}: its few values are names of folders too. If each is a {folders.kind}, say so by kinds."
        return replace(guess, warning=said)
    return guess


def _tell_rest(column: str, values: Sequence[Any], sample: Sequence[Any], distinct: int, written: str) -> Guess:
    """What holds neither files nor arrays."""
    present = [value for value in values if value is not None]
    if distinct == 1 and len(values) > 1:
        return Guess("constant", f"every cell is {_short(present[0])}")
    return _tell_lists(sample, column) or _tell_values(column, present, distinct, written)


def tell_target(values: Sequence[Any], column: str = "the target", written: str = "") -> Guess:
    """What the cells of the target `column` ask for: `classes`, `number` or `multilabel`. `written` as in `tell`."""
    present = [value for value in values if value is not None]
    if present and sum(listed(value) is not None for value in present) >= MOST * len(present):
        items = [str(item) for value in present for item in listed(value) or ()]
        if why := _free(items):
            return Guess("text", f"cells are lists of texts: {why}")
        return Guess("multilabel", "cells are lists of labels", _wordy(items, column))
    piped = [value for value in present if isinstance(value, str) and "|" in value]
    if piped:
        parts = {label for value in present for label in labels_of(value)}
        if len(parts) < len(set(map(str, present))) or len(piped) > len(present) / 2:
            return Guess("multilabel", f"cells like {_short(piped[0])} hold several of {many(len(parts), 'label')}")
    reading = Reading.of(present, written)
    if reading.type == "number" or (reading.type == "date" and all(map(is_clock, present))):
        given = _without(present, reading.absent)
        notation = reading.notation if reading.type == "number" else Notation.of(given)
        numbers = [number for value in given if (number := notation.number(value)) is not None]
        distinct = len(set(numbers))
        whole = all(number.is_integer() for number in numbers)
        said = _absent_in_words(present, reading.absent)
        warning, way = _open_comma(column, notation), written or ("," if notation.decimal == "," else "")
        if not whole or distinct > FEW:
            why = f"{distinct} different {'whole ' if whole else ''}numbers{_in_words(notation)}{said}"
            return Guess("number", why, warning, written=way, absent=reading.absent)
        return Guess("classes", f"{distinct} different whole numbers{said}", absent=reading.absent)
    absent = tuple(mark for mark in _one_sign(present) if set(mark) == {"?"})
    distinct = len({key_of(value) for value in _without(present, absent)})
    said = f"{distinct} different values{_absent_in_words(present, absent)}"
    if reading.type != "date" and (why := _free(list(map(str, present)))):
        return Guess("text", f"free text: {why}", absent=absent)
    if reading.type == "date" and distinct > FEW:
        days = f"{column}: each of {distinct} dates is a class of its own. To predict when, give a number, as of days."
        return Guess("classes", said, days, absent=absent)
    return Guess("classes", said, absent=absent)


def _free(texts: Sequence[str]) -> str:
    """Why texts are written rather than chosen from a few: most are different, of several words; "" if not."""
    if len(texts) < FEW or len(set(texts)) <= len(texts) / 2:
        return ""
    words = _mean_words(texts)
    return f"{len(set(texts)):,} different in {len(texts):,}, {words:.1f} words each" if words >= SENTENCE else ""


def _mean_words(texts: Sequence[str]) -> float:
    return sum(map(_words, texts)) / max(1, len(texts))


def _wordy(items: Sequence[str], column: str) -> str:
    """What to say of labels that may be answers in words: most are phrases; "" if not."""
    if _mean_words(items) < PHRASE:
        return ""
    return (
        f"{column}: the items of its lists, such as {_short(items[0])}, are taken for {many(len(set(items)), 'label')}."
        f" If each is an answer in words, any of which is right, say in a schema `target: {{{column}: text}}`."
    )


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
    contents = [value for value in sample if isinstance(value, bytes)]
    named = [kind for value in sample if isinstance(value, str) and (kind := KINDS.of_file(value))] if contents else []
    if len(contents) + len(named) < MOST * len(sample):
        return None
    kinds = Counter([*map(KINDS.of_bytes, contents), *named])
    return _of_files(kinds.most_common(1)[0][0], "bytes that begin as {} files do")


def _tell_arrays(sample: Sequence[Any], column: str) -> Guess | None:
    arrays = [value for value in sample if isinstance(value, np.ndarray)]
    if len(arrays) < MOST * len(sample):
        return None
    if all(a.dtype == np.uint8 and (a.ndim == 2 or (a.ndim == 3 and a.shape[-1] in (1, 3, 4))) for a in arrays):
        return Guess("image", "arrays of bytes with the shape of pictures")
    if all(a.dtype == np.uint8 and a.ndim == 4 and a.shape[-1] in (1, 3, 4) for a in arrays):
        return Guess("video", "arrays of bytes with the shape of films")
    return _of_shapes([array.shape for array in arrays], "arrays", column)


def _of_shapes(shapes: Sequence[tuple[int, ...]], what: str, column: str) -> Guess:
    # [n, 4] may as well be four channels over time: the column's name alone can tell.
    if _CLOUD_NAME.search(column) and all(len(s) == 2 and 3 <= s[1] <= _WIDEST for s in shapes):
        return Guess("points", f"{what} of {min(s[0] for s in shapes)} to {max(s[0] for s in shapes)} points")
    if all(len(shape) == 1 for shape in shapes) and len(set(shapes)) == 1:
        return Guess("vector", f"{what} of {shapes[0][0]} numbers each")
    if all(len(shape) in (1, 2) for shape in shapes):
        return Guess("series", f"{what} of {min(s[0] for s in shapes)} to {max(s[0] for s in shapes)} steps")
    deep = [shape for shape in shapes if len(shape) == 3]
    if len(deep) >= MOST * len(shapes):  # one that is flat does not hide what the column holds; reading it will name it
        return Guess("volume", f"{what} of {deep[0][0]} slices of {deep[0][1]} x {deep[0][2]}")
    return Guess("other", f"{what} of shape {shapes[0]}, which no kind takes")


def _tell_paths(table: Table, column: str, sample: Sequence[str | list[Any]]) -> Guess | None:
    names = [value for value in sample if isinstance(value, str) and len(value) < 1024]
    kinds = Counter(kind for value in names if (kind := KINDS.of_file(value)))
    lists = Counter(kind for value in sample if (kind := _kind_of_list(value)))
    kind, count = next(iter(kinds.most_common(1)), ("", 0))
    several = sum(lists[one] for one in _parts(kind)) if kind else 0
    count += several
    if not kinds and not lists:
        return None
    if count <= len(sample) / 2:  # half is enough: nobody writes file names by chance, and the rest are faults
        return _lists_of_files(lists) if 2 * lists.total() > len(sample) else None
    of = f"{count:,} of {len(sample):,} cells" if count < len(sample) else "cells"
    if table.remote is None and sum(map(is_link, names)) > len(sample) / 2:
        count = sum(isinstance(value, str) and is_link(value) for value in table.column(column))
        said = f"{count:,} of {many(len(table), 'cell')} are web addresses of {kind} files"
        return Guess("other", f"{said}; download them and give their paths, or let them be fetched: {ALLOW}")
    suffixes = Counter(
        value.strip().lower().partition("?")[0].rpartition(".")[2] for value in names if KINDS.of_file(value) == kind
    )
    why = f"{of} are paths that end in {', '.join('.' + suffix for suffix, _ in suffixes.most_common(3))}"
    why += " or lists of files" if several else ""
    if kind == ARRAY:
        guess = _tell_npy(table, column)
        return Guess(guess.kind, f"{why}; {guess.why}")
    return Guess(kind, why, options=KINDS[kind].path_options)


def _parts(kind: str) -> tuple[str, ...]:
    """The kinds of files of which several may make a cell of this kind."""
    return (kind, *KINDS[kind].also) if KINDS[kind].cell == "files" else ()


def _lists_of_files(lists: Counter[str]) -> Guess:
    """Of cells that list files of these kinds: where several kinds take them, the user alone knows what they are."""
    kind = lists.most_common(1)[0][0]
    why, fitting = f"cells are lists of {kind} files", [name for name in KINDS.of(cell="files") if kind in _parts(name)]
    if len(fitting) == 1:
        return Guess(fitting[0], why)
    return Guess("other", why + (f"; if each is a {' or '.join(fitting)}, name that kind" if fitting else ""))


def _kind_of_list(value: str | list[Any]) -> str | None:
    """The kind of the files that a cell lists; None where it lists none, or others too."""
    items = listed(value) if isinstance(value, list) or value.startswith("[") else None
    kinds = {KINDS.of_file(item) if isinstance(item, str) else None for item in items or ()}
    return kinds.pop() if len(kinds) == 1 else None


def _tell_folders(table: Table, column: str) -> Guess | None:
    """Folders of a scan's slices or of a film's frames, by the first file of some."""
    named = [(base, value) for base, value in zip(table.bases, table.column(column)) if isinstance(value, str)]
    found: Counter[str | None] = Counter()
    for base, value in named[:: max(1, len(named) // PROBES)][:PROBES]:
        path = resolve(base, value) if isinstance(base, Path) and value and len(value) < 1024 else None
        if path is None or fault_of(path) or not path.is_dir():
            return None
        first = _first_file(path)
        if first is not None:
            with first.open("rb") as file:
                found[KINDS.of_bytes(file.read(512)) or KINDS.of_file(first.name)] += 1
    if "volume" in found:
        return Guess("volume", "cells are folders of a scan's slices")
    if "image" in found:
        return Guess("video", "cells are folders of pictures, taken for a film's frames")
    return None


def _first_file(folder: Path) -> Path | None:
    """A file in it, however deep, without looking at all that it holds; none that is hidden."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        if seen := [name for name in files if not name.startswith(".")]:
            return Path(where) / min(seen)
    return None


def _tell_npy(table: Table, column: str) -> Guess:
    shapes: list[tuple[int, ...]] = []
    named = [(base, value) for base, value in zip(table.bases, table.column(column)) if isinstance(value, str)]
    for base, value in [pair for pair in named if KINDS.of_file(pair[1]) == ARRAY][:PROBES]:
        try:
            shapes.append(map_array(placed(base, value, table.remote)).shape)
        except BadCell:
            continue  # a broken file tells nothing here; reading it will name it
    if not shapes:
        return Guess("vector", f"none of the first {PROBES} could be opened, so vectors are assumed")
    return _of_shapes(shapes, "arrays", column)


def _tell_lists(sample: Sequence[Any], column: str) -> Guess | None:
    lists = [value for value in sample if _may_be_list(value)]
    if 2 * sum(isinstance(value, str) and read_number(value) is not None for value in lists) > len(lists):
        return None  # 1,234,567
    judged = [array for value in lists if (array := as_array(value)) is not None]
    if len(judged) < MOST * len(sample):
        if any(isinstance(value, list | tuple | dict) for value in sample):
            kind = next(type(value).__name__ for value in sample if isinstance(value, list | tuple | dict))
            return Guess("other", f"cells of type {kind} that are no lists of numbers")
        return None
    return _of_shapes([array.shape for array in judged], "lists", column)


def _may_be_list(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, list | tuple)
    text = value.strip()
    if text[:1] in ("[", "("):
        return True
    parts = len(_PARTED.split(text, maxsplit=2)) if text[:1] in "+-−.0123456789" else 1
    return parts > 2 or (parts == 2 and read_number(text) is None)  # not "1,5"


def _tell_values(column: str, present: Sequence[Any], distinct: int, written: str) -> Guess:
    reading = Reading.of(present, written)
    if all(isinstance(value, bool) for value in present):
        return Guess("category", "true or false")
    said = _absent_in_words(present, reading.absent)
    given = _without(present, reading.absent)
    if reading.type == "date":
        what = "clock times" if all(map(is_clock, given)) else "dates"
        way = reading.formats[0] if reading.formats else ""
        return Guess(
            "date",
            f"{what} such as {given[0]}{_order_in_words(way)}{said}",
            _open_date(column, reading),
            written=way,
            absent=reading.absent,
        )
    if reading.type == "number":
        notation = reading.notation
        numbers = [number for value in given if (number := notation.number(value)) is not None]
        rest = len(given) - len(numbers)
        more = f"{_in_words(notation)}{said}" + (
            f"; {many(rest, 'cell is no number', 'cells are not numbers')}" if rest else ""
        )
        guess = _tell_numbers(column, given, numbers, more)
        if guess.kind != "number":
            return replace(guess, absent=reading.absent)
        warning = _open_comma(column, notation) or guess.warning
        way = written or ("," if notation.decimal == "," else "")
        return replace(guess, warning=warning, written=way, absent=reading.absent)
    return _tell_words(column, [str(value) for value in present], distinct)


def _tell_numbers(column: str, present: Sequence[Any], numbers: Sequence[float], mixed: str) -> Guess:
    distinct = len(set(map(_hashable, present)))
    whole = all(number.is_integer() for number in numbers)
    if whole and len(numbers) == distinct and len(numbers) >= FEW // 2:
        if names_things(column):
            return Guess("id", "whole numbers, each once, under the name of an identifier")
        by_one = all(after == before + 1 for before, after in pairwise(numbers))
        if by_one and numbers[0] in (0, 1) and not _COUNTED.search(column):
            return Guess("id", f"whole numbers that count the rows from {numbers[0]:g}")
    if whole and names_things(column):
        return _tell_key(column, len(present), distinct)
    if any(isinstance(value, str) and value[:1] == "0" and value.isdigit() and len(value) > 1 for value in present):
        return Guess("category", f"{distinct:,} codes of digits, some with leading zeros{mixed}", binding=True)
    if whole and _CODE_NAME.search(column):
        said = f"{distinct:,} whole numbers under the name of a code{mixed}"
        return Guess("number", f"{said}; kept as a number, since neighbouring codes are often alike")
    return Guess("number", f"{distinct:,} different numbers{mixed}")


def _in_words(notation: Notation) -> str:
    return f"; {notation.why}" if notation.why else ""


def _order_in_words(written: str) -> str:
    return {DAY_FIRST: ", the day first", MONTH_FIRST: ", the month first"}.get(written, "")


def _open_date(column: str, reading: Reading) -> str:
    """What is said of dates that may be read either way."""
    if not reading.unsure:
        return ""
    way = reading.formats[0]
    other, first = (DAY_FIRST, "the day") if way == MONTH_FIRST else (MONTH_FIRST, "the month")
    return (
        f"{column}: {reading.unsure!r} and the other dates may be read either way; {_order_in_words(way)[2:]} is "
        f"assumed. If {first} comes first, say in a schema `written: {{{column}: '{other}'}}`."
    )


def _open_comma(column: str, notation: Notation) -> str:
    """What is said of a comma that may be either sign."""
    if not notation.unsure:
        return ""
    return (
        f"{column}: the comma of {notation.unsure!r} is taken to part thousands, for no cell tells otherwise. If "
        f"decimals stand behind it, say in a schema `written: {{{column}: ','}}`."
    )


def _without(cells: Sequence[Any], absent: Collection[str]) -> list[Any]:
    return [cell for cell in cells if not (absent and isinstance(cell, str) and cell.strip() in absent)]


def _one_sign(present: Sequence[Any]) -> tuple[str, ...]:
    """The one sign ("?", "-") that stands among words for a missing value, up to half of the cells."""
    counts = Counter(value.strip() for value in present if isinstance(value, str))
    signs = [text for text in counts if is_sign(text)]
    return tuple(signs) if len(signs) == 1 and len(counts) > 2 and 2 * counts[signs[0]] <= len(present) else ()


def _absent_in_words(present: Sequence[Any], absent: Sequence[str]) -> str:
    """What is said of the marks that were taken for missing values."""
    if not absent:
        return ""
    marks, verb = ", ".join(map(repr, absent)), "stands" if len(absent) == 1 else "stand"
    return f"; {marks} {verb} for a missing value ({many(len(present) - len(_without(present, absent)), 'cell')})"


def _tell_words(column: str, present: Sequence[str], distinct: int) -> Guess:
    share = distinct / len(present)
    words = sum(map(_words, present)) / len(present)
    said = f"{distinct:,} different in {many(len(present), 'cell')}, {words:.1f} words each"
    if names_things(column) and words < 1.5:
        return _tell_key(column, len(present), distinct)
    absent = _one_sign(present)
    more = _absent_in_words(present, absent)
    if distinct <= FEW and len(present) >= 2 * distinct:
        return Guess("category", f"few values: {said}{more}", absent=absent)
    if share >= NEAR_UNIQUE and words < 1.5 and len(present) >= FEW:
        coded = sum(any(letter.isdigit() for letter in value) for value in present) / len(present)
        if coded > 0.5 and not _varied(present):
            return Guess("id", f"a code of its own in nearly every row: {said}")
    if share > 0.5 or (words >= 3 and (share > 0.02 or distinct > 500)):
        return Guess("text", f"free text: {said}")
    return Guess("category", f"repeated values: {said}{more}", absent=absent)


def _varied(texts: Sequence[str]) -> bool:
    """Whether these are words of a script that parts none, and differ in more than their digits."""
    bare = [_DIGITS.sub("", text) for text in texts]
    return sum(len(_UNSPACED.findall(text)) > 1 for text in bare) > len(bare) / 2 and len(set(bare)) > len(bare) / 5


def _words(text: str) -> float:
    """Words of a text; where a script parts none, as many as its letters make."""
    unspaced = 0 if text.isascii() else len(_UNSPACED.findall(text))
    return max(len(text.split()), unspaced // _LETTERS_A_WORD)


def names_things(column: str) -> bool:
    """Whether a column is named like an identifier: its numbers are names, and none is more than another."""
    return bool(_ID_NAME.search(column))


def _tell_key(column: str, count: int, distinct: int) -> Guess:
    """A column named like an identifier: of the row, of a group of rows, or, with few values, a category."""
    said = f"{distinct:,} different in {many(count, 'cell')}"
    if distinct >= NEAR_UNIQUE * count:
        return Guess("id", f"named like an identifier and nearly unique: {said}")
    if distinct <= FEW:
        return Guess("category", f"few values: {said}")
    return Guess(
        "id",
        f"named like an identifier that rows share: {said}",
        f"{column}: rows share its values ({said}). If they belong together, say `group: {column}`, so that they never "
        "straddle a split; if it describes the rows, as a user who comes back does, say `kinds: {"
        + column
        + ": entity}`.",
    )


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
