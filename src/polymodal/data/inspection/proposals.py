"""What a user may want otherwise, each with the line of schema that says so. Nothing is changed unasked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from polymodal.core.dates import as_date, is_clock
from polymodal.core.errors import BadCell, PolymodalError
from polymodal.core.numbers import Notation
from polymodal.core.registry import plain
from polymodal.data.cells import cells
from polymodal.data.copies import stretched
from polymodal.data.inspection.columns import STREAM, UNUSED, Column, columns_of
from polymodal.data.kinds import KINDS
from polymodal.data.leaks import leak_by_name
from polymodal.data.media.array import map_array
from polymodal.data.media.picture import open_picture
from polymodal.data.schema import Field, Schema
from polymodal.data.split import moments_of, strata
from polymodal.data.tables.delimited import read_delimited
from polymodal.data.tables.table import Table
from polymodal.data.unused import SAID
from polymodal.targets.base import CLASSES, NUMBER, asked
from polymodal.targets.columns import free
from polymodal.targets.labels import SEPARATORS, label_of, labels_of, listed

SHARED = 0.2  # of the rows, that share a value with another, below which a column groups nothing
TESTED = 5  # test rows whose group has other rows, below which an unseen group is no surprise
TICKS, ALIKE = 20, 0.05  # different dates that make a time; above chance, by which neighbours must agree
RANKS = 0.85  # area under the ROC curve, or rank correlation, above which a share ranks the target well
ROWS = 20_000  # rows that are ranked
FILES, LINES = 64, 2000  # beside the table: files that are looked at; lines of an edge list
PICTURES, SIDE = 8, 128  # pictures opened a column, and the pixels of a side that are counted
SHADES, COVER = 4, 0.97  # so few colours cover so much of a mask
_WHO = re.compile(
    r"(^|[_\s.-])(speaker|actor|author|patient|subject|participant|person|user|customer|client|writer|singer|artist|"
    r"reviewer|rater|annotator|session|household|player|student|driver)s?([_\s.-]?(id|name|no|nr|number|code))?$",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"(?<!name)(?<!id)(?<!number)[_\s.-]of[_\s.-]", re.IGNORECASE)  # tweets_of_author is no author
_ROW = re.compile(r"(^|[_\s.-])(row|index|idx|line)$", re.IGNORECASE)
_EDGES = re.compile(r"edge|link|graph|network|relation|neighbo|friend|follow|citation", re.IGNORECASE)
_ENDS = (("source", "target"), ("from", "to"), ("src", "dst"), ("head", "tail"), ("a", "b"))
_SCORE = re.compile(
    r"(^|[_\s.-])(pred|preds|predicted|prediction|prob|probs|proba|probability|score|scores|logit|logits|risk|"
    r"confidence|y_?hat|saps|sofa|apache|oasis)(?=$|[_\s.\d-])",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(^|[_\s.-])(year|yr|jahr|ann[eé]e|año)s?($|[_\s.-])", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """What was noticed of a column or of files beside the table, and the one line of schema that acts on it."""

    column: str
    why: str
    schema: str

    def __str__(self) -> str:
        return f"{self.why} In a schema: `{self.schema}`."


def proposals(
    table: Table, schema: Schema, part_of: Sequence[str] | None = None, every: Sequence[Column] | None = None
) -> list[Proposal]:
    """What the cells, the pictures and the files beside the table speak for. Opens a few pictures of each column.

    `part_of` names each row's part of the split, where the data have one of their own; `every` is `columns_of` the
    table, where that is known.
    """
    every = columns_of(table, schema) if every is None else every
    found = weighty(table, schema, part_of, every)
    numbered = any("array: " in one.schema for one in found)
    keys = _keys(table, schema, [column for column in every if not (numbered and _ROW.search(column.name))])
    return [*found, *_masks(table, schema), *_scales(table, every), *keys]


def weighty(
    table: Table, schema: Schema, part_of: Sequence[str] | None = None, every: Sequence[Column] | None = None
) -> list[Proposal]:
    """Those that change a figure: lists, groups, times, streams beside the table, scores. No picture is opened."""
    every = columns_of(table, schema) if every is None else every
    groups = [*_groups(table, schema, every, part_of), *_recordings(table, schema, part_of)]
    return [
        *_lists(table, schema),
        *groups,
        *_times(table, schema, every, part_of),
        *_beside(table, schema),
        *_scores(table, schema, every),
    ]


def _masks(table: Table, schema: Schema) -> Iterator[Proposal]:
    """Columns of pictures that are masks of another column's."""
    pictures = [one for one in schema.fields.values() if one.about.copies == "picture" and len(one.columns) == 1]
    told: set[str] = set()
    for mask, other in permutations(pictures, 2):
        if mask.name in told or other.name in told:
            continue
        given = zip(*(table.column(one.columns[0]) for one in (mask, other)))
        both = [row for row, values in enumerate(given) if None not in values]
        drawn, plain, same, seen = 0, 0, 0, 0
        for row in both[:: max(1, len(both) // PICTURES)][:PICTURES]:
            try:
                (few, size), (other_few, other_size) = (_shades(cells(table, one)[row]) for one in (mask, other))
            except BadCell:
                continue  # the inspection names it
            seen += 1
            drawn, plain, same = drawn + few, plain + (not other_few), same + (size == other_size)
        if seen and min(drawn, plain) >= 0.8 * seen and 2 * same > seen:
            told.add(mask.name)
            why = (
                f"{mask.name} looks like a mask of {other.name}: pictures of the same size with few shades. Somebody "
                "drew it, so leave it out unless it is there for new rows."
            )
            yield Proposal(mask.name, why, f"ignore: [{_word(mask.columns[0])}]")


def _shades(cell: Any) -> tuple[bool, tuple[int, ...]]:
    """Whether so few colours cover a picture as cover a mask, and its height and width. Raises `BadCell`."""
    pixels = np.asarray(open_picture(cell).convert("RGB") if isinstance(cell, Path | bytes) else cell)
    size = pixels.shape[:2]
    pixels = pixels[:: max(1, size[0] // SIDE), :: max(1, size[1] // SIDE)]
    flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1).astype(np.int64) // 16
    counts = np.sort(np.unique(flat @ 16 ** np.arange(flat.shape[1]), return_counts=True)[1])[::-1]
    return bool(counts[:SHADES].sum() >= COVER * len(flat)), size


def _lists(table: Table, schema: Schema) -> Iterator[Proposal]:
    """Targets of classes whose cells are lists of the same few labels."""
    for name, kind in schema.targets.items():
        present = [value for value in table.column(name) if isinstance(value, str)]
        if asked(name, kind).scores != CLASSES or not present:
            continue
        whole = {label_of(value) for value in present}
        for separator in SEPARATORS:
            lists = [value for value in present if listed(value) is not None]
            several = lists or [value for value in present if len(labels_of(value, separator)) > 1]
            parts = Counter(label for value in present for label in set(labels_of(value, separator)))
            fewer = 1 < len(parts) < len(whole) and min(parts.values()) > 1 and 10 * len(several) >= len(present)
            if fewer or 2 * len(lists) > len(present):
                why = (
                    f"{name}: cells like {several[0][:40]!r} look like lists of {len(parts)} labels; as classes they "
                    f"are {len(whole)}, each list one of its own."
                )
                yield Proposal(name, why, f"target: {{{_word(name)}: multilabel}}")
                break


def _groups(table: Table, schema: Schema, every: Sequence[Column], part_of: Sequence[str] | None) -> Iterator[Proposal]:
    """Columns that say whose a row is: none of the test rows' values is in training, or they are called so."""
    if schema.group is not None:
        return
    for column in every:
        if column.use not in (STREAM, UNUSED) or _is_content(column.kind):
            continue
        values = [None if value is None else label_of(value) for value in table.column(column.name)]
        count = Counter(value for value in values if value is not None)
        shared = sum(n for n in count.values() if n > 1)
        if len(count) < 3 or shared < SHARED * len(values) or (column.kind == "number" and not len(_whole(values))):
            continue
        named = bool(_WHO.search(column.name)) and not _COUNTED.search(column.name)
        if part_of is not None and not _YEAR.search(column.name):
            parts = {part: {v for v, p in zip(values, part_of) if p == part and v} for part in ("train", "test")}
            tested = sum(count[v] > 1 for v, p in zip(values, part_of) if p == "test" and v)
            apart = parts["train"] and parts["test"] and not parts["train"] & parts["test"]
            if apart and tested >= TESTED and (column.kind != "number" or named):
                why = (
                    f"{column.name}: none of the {len(parts['test'])} values of the test rows occurs in training, as "
                    "where rows belong together (a speaker, an author). What it says of a row is no help for new ones."
                )
                yield Proposal(column.name, why, f"group: {_word(column.name)}")
                continue
        if named and 2 * shared >= len(values) and (part_of is None or len(set(part_of)) == 1):
            why = (
                f"{column.name}: {len(count):,} values in {len(values):,} rows; {shared / len(values):.0%} of the rows "
                f"share theirs with others, so that a random split puts the same {column.name} into both parts. Where "
                "rows of one share more than new rows will, they must not straddle the split."
            )
            yield Proposal(column.name, why, f"group: {_word(column.name)}")


def _recordings(table: Table, schema: Schema, part_of: Sequence[str] | None) -> Iterator[Proposal]:
    """Columns of recordings of which several rows read stretches, unless the data's own split keeps each whole."""
    for column in dict.fromkeys(field.columns[0] for field in stretched(schema) if schema.group is None):
        rows: dict[Any, list[int]] = {}
        for row, value in enumerate(table.column(column)):
            if isinstance(value, str):
                rows.setdefault((table.bases[row], value), []).append(row)
        shared = [some for some in rows.values() if len(some) > 1]
        parts = part_of if part_of is not None and len(set(part_of)) > 1 else None
        apart = parts is not None and all(len({parts[row] for row in some}) == 1 for some in shared)
        if shared and len(rows) > 2 and not apart:
            why = (
                f"{column}: {sum(map(len, shared)):,} rows read stretches of {len(shared):,} recordings that others "
                "read too. Those of one have its voices, place and light in common, by which test rows may be answered."
            )
            yield Proposal(column, why, f"group: {_word(column)}")


def _times(table: Table, schema: Schema, every: Sequence[Column], part_of: Sequence[str] | None) -> Iterator[Proposal]:
    """The column of dates in whose order the rows came, or whose neighbours in time have the same answer."""
    if schema.time or schema.group or (part_of is not None and len(set(part_of)) > 1):
        return
    best: tuple[int, str, np.ndarray] = (TICKS - 1, "", np.zeros(0))
    for column in every:
        if column.kind == "date" or column.use == "id":
            cells_ = table.column(column.name)
            dated = sum(as_date(cell) is not None and not is_clock(cell) for cell in cells_[:TICKS])
            if dated >= 0.9 * len(cells_[:TICKS]):
                moments = moments_of(cells_)
                if (ticks := len(np.unique(moments[np.isfinite(moments)]))) > best[0]:
                    best = ticks, column.name, moments
    _, name, moments = best
    if not name:
        return
    known = np.flatnonzero(np.isfinite(moments))
    order = known[np.argsort(moments[known], kind="stable")]
    said = [f"rows stand in its order, as they came ({len(known):,} dates)"] * bool(
        (np.diff(moments[known]) >= 0).all()
    )
    same, chance = _neighbours(table, schema, order)
    if same - chance > max(4 * np.sqrt(chance * (1 - chance) / len(order)), ALIKE):
        said.append(f"rows next to each other in time have the same answer in {same:.0%}, any two rows in {chance:.0%}")
    if said:
        why = (
            f"{name}: {'; '.join(said)}. New rows come later than these: a random split puts rows from before and "
            "after each test row into training. In time, the latest rows judge."
        )
        yield Proposal(name, why, f"time: {_word(name)}")


def _neighbours(table: Table, schema: Schema, order: np.ndarray) -> tuple[float, float]:
    """In which share of neighbours by `order` the first target is the same, and of any two rows; numbers by tenths."""
    for target, kind in schema.targets.items():
        scores, cells_ = asked(target, kind).scores, table.column(target)
        if scores in (NUMBER, CLASSES):
            numbers = scores == NUMBER
            given = Notation.of(cells_).numbers(cells_).astype(float) if numbers else list(map(label_of, cells_))
            code = strata(given, len(table))[order]
            shares = np.bincount(code) / max(1, len(code))
            return float((code[1:] == code[:-1]).mean()) if len(code) > 1 else 0.0, float((shares**2).sum())
    return 0.0, 0.0


def _is_content(kind: str) -> bool:
    return KINDS[kind].media or not KINDS[kind].cell


def _beside(table: Table, schema: Schema) -> Iterator[Proposal]:
    """Arrays whose rows the table numbers, and edge lists of its ids, in the table's folder."""
    if table.joined and len(set(table.bases)) > 1:
        return
    held = {str(one.options.get("array") or one.options.get("path")) for one in schema.fields.values()}
    row = next((column for column in table.columns if _ROW.search(column) and len(_whole(table.column(column)))), None)
    new: dict[str, dict[str, Any]] = {}
    for path, name in _files(table, (".npy", ".npz")):
        if name not in held and (spec := _array(table, path, row)) is not None:
            new[free({*schema.fields, *new}, path.stem)] = {**spec, "array": name, **({"row": row} if row else {})}
    identifier = schema.id
    for path, name in _files(table, (".csv", ".tsv")):
        if name in held or any(one.about.reads_neighbours for one in schema.fields.values()):
            continue
        if _EDGES.search(path.stem) and (edges := _edges(table, path, schema)) is not None:
            identifier, spec = edges
            new[free({*schema.fields, *new}, "links")] = {"kind": "links", "path": name, **spec}
            break
    if not new:
        return
    lines = {one.name: _spec(one, row) for one in schema.fields.values()}
    whole: dict[str, Any] = {"fields": {n: spec for n, spec in lines.items() if spec} | new}
    whole |= {"id": identifier} if identifier and identifier != schema.id else {}
    listed = ", ".join(str(spec.get("array") or spec.get("path")) for spec in new.values())
    why = f"Beside the table lie {listed}, which no stream reads; its rows can be found in them."
    yield Proposal(", ".join(new), why, _flow(whole))


def _files(table: Table, suffixes: tuple[str, ...]) -> list[tuple[Path, str]]:
    """Files of the table's folder and of its folder `arrays`, with their names from there."""
    folders = [table.base, table.base / "arrays"]
    try:
        found = sorted(p for folder in folders if folder.is_dir() for p in folder.iterdir() if p.suffix in suffixes)
        return [(path, path.relative_to(table.base).as_posix()) for path in found[:FILES] if path.is_file()]
    except OSError:
        return []  # a folder that may not be listed holds nothing to propose


def _array(table: Table, path: Path, row: str | None) -> dict[str, Any] | None:
    """The kind of stream, and the key, of an array file that has a row for every row of the table."""
    key: str | None = None
    try:
        try:
            array = map_array(path, "")  # an archive tells the keys that it has instead
        except KeyError as held:
            key = held.args[0] if len(held.args) > 1 else None
            array = map_array(path, key)
    except (BadCell, OSError):
        return None
    numbers = table.rows if row is None else Notation.of(table.column(row)).numbers(
        [value for value in table.column(row) if value is not None])  # fmt: skip
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf" or not len(numbers):
        return None
    rows = int(numbers.max()) + 1
    if rows > len(array) or (row is None and rows < len(array)):
        return None
    return {"kind": "vector" if array.ndim == 2 else "series"} | ({"key": key} if key else {})


def _edges(table: Table, path: Path, schema: Schema) -> tuple[str | None, dict[str, Any]] | None:
    """The column of ids and the options of links, when most of the first edges join rows of the table."""
    try:
        edges = read_delimited(path, limit=LINES)
    except (PolymodalError, OSError):
        return None
    lower = {column.lower(): column for column in reversed(edges.columns)}
    ends = next(((lower[a], lower[b]) for a, b in _ENDS if a in lower and b in lower), tuple(edges.columns[:2]))
    if len(ends) < 2:
        return None
    named = {label_of(value) for end in ends for value in edges.column(end) if value is not None}
    keys = [schema.id] if schema.id else [c for c in table.columns if len(set(map(str, table.column(c)))) == len(table)]
    for key in keys:
        if named and 2 * len(named & {label_of(value) for value in table.column(key)}) >= len(named):
            weight = lower.get("weight")
            options = {} if ends == ("source", "target") else {"source": ends[0], "target": ends[1]}
            return key, {**options, **({"weight": weight} if weight else {})}
    return None


def _spec(one: Field, without: str | None) -> Any:
    """A field as a schema file says it, without a column that numbers rows."""
    if one.about.reads_neighbours or "array" in one.options:
        return {"kind": one.kind, **one.options}
    read = [column for column in one.columns if column != without]
    listed = {} if read == [one.name] else {"columns": read}
    return ({"kind": one.kind, **listed, **one.options} if listed or one.options else one.kind) if read else None


def _scores(table: Table, schema: Schema, every: Sequence[Column]) -> Iterator[Proposal]:
    """Numbers that look like what another model or a person's rule said of the target."""
    asks = ((target, asked(target, kind).scores) for target, kind in schema.targets.items())
    target, scores = next((ask for ask in asks if ask[1] in (NUMBER, CLASSES)), ("", ""))
    if not target:
        return  # one is enough to point at them
    step = max(1, len(table) // ROWS)
    cells_ = table.column(target)[::step]
    if scores == NUMBER:
        answers = Notation.of(cells_).numbers(cells_)
    else:
        answers = np.array(["" if value is None else label_of(value) for value in cells_])
    for column in (one for one in every if one.kind == "number" and one.use == STREAM):
        x = Notation.of(given := table.column(column.name)).numbers(given)
        known = x[np.isfinite(x)]
        share = len(known) and known.min() >= 0 and known.max() <= 1 and len(np.unique(known)) > 10
        named = _SCORE.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name))
        rank = _ranks(x[::step], answers) if named or share else float("nan")
        if named or rank >= RANKS:
            how = "rank correlation" if scores == NUMBER else "AUC"
            said = f"it ranks {target} with an {how} of {rank:.2f}" if rank == rank else "its name says so"
            why = (
                f"{column.name} may be a score that another model or rule made ({said}). If it is not known for "
                "new rows, or is what is to be beaten, leave it out."
            )
            yield Proposal(column.name, why, f"ignore: [{_word(column.name)}]")


def _ranks(x: np.ndarray, y: np.ndarray) -> float:
    """How well a number [n] ranks answers [n]: their Spearman correlation where they are numbers, else the AUC of the
    class for which that is best; either way round. NaN of x and y, and the empty answer, are unknown."""
    if y.dtype.kind == "f":
        both = np.isfinite(x) & np.isfinite(y)
        a, b = (_places(values[both]) for values in (x, y))
        return abs(float(np.corrcoef(a, b)[0, 1])) if len(a) > 2 and np.ptp(a) and np.ptp(b) else float("nan")
    both = np.isfinite(x) & (y != "")
    ranks, y = _places(x[both]), y[both]
    best = float("nan")
    for name, n in Counter(y.tolist()).most_common(20):
        if 0 < n < len(y):
            area = (ranks[y == name].sum() - n * (n + 1) / 2) / (n * (len(y) - n))
            best = float(np.nanmax([best, area, 1 - area]))
    return best


def _places(x: np.ndarray) -> np.ndarray:
    """float64 [n] the rank of each number from 1 on, the mean of their ranks for those that are equal."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _scales(table: Table, every: Sequence[Column]) -> Iterator[Proposal]:
    """Whole numbers of a short scale, which may be an order or names; and years."""
    for column in every:
        if column.use not in (STREAM, "target") or column.kind not in ("number", "classes"):
            continue
        given = _whole(table.column(column.name))
        if not len(given):
            continue
        numbers = {int(n) for n in given}
        low, high = min(numbers), max(numbers)
        scale = low in (0, 1) and high in (4, 5, 7, 10) and len(numbers) >= max(4, 0.75 * (high - low + 1))
        name, span = _word(column.name), f"{column.name}: whole numbers from {low} to {high}"
        if column.use == STREAM and len(given) >= 20 and (np.diff(given) == 1).all():
            why = f"{span}, one more in each row, are taken for a number. If they name the rows:"
            yield Proposal(column.name, why, f"id: {name}")
        elif column.use == STREAM and (scale or (low >= 1800 and high <= 2100 and 3 <= len(numbers) <= 300)):
            of = "a scale" if scale else "years"
            why = f"{span}, as of {of}, are taken for a number. If each is a name of its own:"
            yield Proposal(column.name, why, f"kinds: {{{name}: category}}")
        elif column.use == "target" and (scale or (column.kind == "classes" and len(numbers) >= 5 and high - low < 15)):
            what = f"{len(numbers)} classes without an order" if column.kind == "classes" else "a number"
            why = f"{span} are taken for {what}. For answers that are steps of a scale:"
            yield Proposal(column.name, why, f"target: {{{name}: ordinal}}")


def _keys(table: Table, schema: Schema, every: Sequence[Column]) -> Iterator[Proposal]:
    """Columns left out since they name rows; none that would give the answer away if it were read."""
    keys = [c for c in every if c.use == UNUSED and c.kind == "id" and c.why != SAID]
    answers = {target: table.column(target) for target in schema.targets}
    keys = [c for c in keys if not any(leak_by_name(c.name, table.column(c.name), *one) for one in answers.items())]
    if keys:
        kinds = {c.name: "number" if c.why.startswith("whole numbers") else "category" for c in keys}
        they = f"{', '.join(kinds)}: not used, since {'it names' if len(keys) == 1 else 'they name'} rows."
        yield Proposal(", ".join(kinds), f"{they} If {'it describes' if len(keys) == 1 else 'they describe'} them:",
                       _flow({"kinds": kinds}))  # fmt: skip


def _whole(values: Sequence[Any]) -> np.ndarray:
    """float64 [n] of the values that are there, where all of them are whole numbers; else [0]."""
    present = [value for value in values if value is not None]
    if not all(isinstance(value, str | int | float) for value in present[:100]):
        return np.zeros(0)
    numbers = Notation.of(present).numbers(present)
    return numbers if (numbers == np.round(numbers)).all() else np.zeros(0)


def _word(name: str) -> str:
    """A name as YAML writes it within a line."""
    return yaml.safe_dump([name], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]


def _flow(values: Mapping[str, Any]) -> str:
    """One line of YAML; a schema of several keys is one mapping."""
    written = yaml.safe_dump(plain(values), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    line = written.strip()
    return line[1:-1] if len(values) == 1 else line
