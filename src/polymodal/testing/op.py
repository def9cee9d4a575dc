"""The laws of ops: nothing lost, nothing random, nothing that depends on who does the work."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from polymodal.core.registry import options_of
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.media.cloud import Cloud
from polymodal.data.media.sound import Sound
from polymodal.data.media.volume import Volume
from polymodal.ops.base import Op
from polymodal.ops.rows import Refused, Row, Rows
from polymodal.preparation.recipe import Recipe
from polymodal.testing.subject import Violation, judge

Columns = Mapping[str, Sequence[Any]]


def check_op(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    """Try every law of ops on a table: `columns` of cells (media decoded, None where missing) of the given `kinds`.

    Raises `NotConformant`, which lists each broken law; `MissingExtra` where a package is not installed.
    """
    laws = (
        _options_kept, _nothing_lost, _the_same_again, _batches, _state_through_a_file, _cells_untouched, _missing,
    )  # fmt: skip
    _built(spec, kinds)  # a package that it lacks is the caller's to install, and breaks no law
    judge(_name(spec), [partial(law, spec, columns, kinds) for law in laws])


def _options_kept(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    options_of(_built(spec, kinds))  # raises for an option that is not kept


def _nothing_lost(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    rows = _done(spec, columns, kinds)
    kept = [row.number for row in rows.kept if not row.copy]
    aside = [one.row.number for one in rows.refused if not one.row.copy]
    if sorted(kept + aside) != list(range(_count(columns))):
        raise Violation(
            "nothing lost", f"kept {kept} and set aside {sorted(aside)}.", "A row is kept or refused, once."
        )
    if kept != sorted(kept):
        raise Violation("order kept", f"the rows came out in the order {kept}.", "Keep `rows.kept` in its order.")
    names = [row.id for row in rows.kept]
    if len(set(names)) != len(names):
        raise Violation("ids unique", f"ids came out as {names}.", "Make copies with `row.copied(self.place, k)` only.")
    if any(not one.reason.strip() for one in rows.refused):
        raise Violation(
            "reasons given", "a row was set aside without a reason.", "Say what was found and what was expected."
        )


def _the_same_again(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    _equal(
        "reproducible", _done(spec, columns, kinds), _done(spec, columns, kinds), "Draw from `self.random(row)` only."
    )


def _batches(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    if _built(spec, kinds).reads_batch:
        return
    whole = _done(spec, columns, kinds)
    for size in (1, 3):
        _equal(
            "batches do not matter", whole, _done(spec, columns, kinds, size),
            "Take nothing from the batch: what needs other rows goes through `partial_fit` and `finalize`.",
        )  # fmt: skip


def _state_through_a_file(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    op = _built(spec, kinds)
    if not op.surveys:
        return
    op.finalize([op.partial_fit(Rows(_rows(columns, kinds)))])
    file = io.BytesIO()
    try:
        np.savez(file, allow_pickle=False, **op.state)  # type: ignore[arg-type]
    except ValueError as error:
        raise Violation(
            "state in plain arrays",
            f"the state cannot be written: {error}",
            "Keep numbers and fixed-width text in `state`.",
        ) from error
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        other = _built(spec, kinds)
        other.state = {name: arrays[name] for name in arrays.files}
    first, second = (Rows(_rows(columns, kinds)) for _ in range(2))
    op.apply(first)
    other.apply(second)
    _equal("state is all", first, second, "What `apply` needs of the survey must be in `self.state`.")


def _cells_untouched(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    before = {name: [_plain(value) for value in copy.deepcopy(list(cells))] for name, cells in columns.items()}
    _done(spec, columns, kinds)
    if before != {name: [_plain(value) for value in cells] for name, cells in columns.items()}:
        raise Violation("cells untouched", "a decoded cell was changed in place.", "Give a new value to `row.put`.")


def _missing(spec: Any, columns: Columns, kinds: Mapping[str, str]) -> None:
    nothing = {name: [None] * _count(columns) for name in columns}
    try:
        _done(spec, nothing, kinds)
        _done(spec, {name: [] for name in columns}, kinds)
    except Exception as error:
        raise Violation(
            "missing cells", f"with every cell missing, or no row at all, it raises {type(error).__name__}: {error}",
            "None is a missing cell: leave it. A batch may be empty.",
        ) from error  # fmt: skip


def _built(spec: Any, kinds: Mapping[str, str]) -> Op:
    (op,) = Recipe.read([spec]).ops(kinds)
    return op


def _done(spec: Any, columns: Columns, kinds: Mapping[str, str], size: int | None = None) -> Rows:
    """The rows after the op, worked on in batches of `size` rows."""
    op = _built(spec, kinds)
    rows = _rows(columns, kinds)
    cut = [rows[i : i + (size or max(1, len(rows)))] for i in range(0, len(rows), size or max(1, len(rows)))] or [[]]
    if op.surveys:
        op.finalize([op.partial_fit(Rows(_rows_again(part))) for part in cut])
    done = Rows([])
    for part in cut:
        batch = Rows(part)
        op.apply(batch)
        done.kept += batch.kept
        done.refused += batch.refused
    return done


def _rows(columns: Columns, kinds: Mapping[str, str]) -> list[Row]:
    return [
        Row(f"r{i}", i, {name: _cell(cells[i], kinds[name]) for name, cells in columns.items()}, kinds)
        for i in range(_count(columns))
    ]


def _rows_again(rows: Sequence[Row]) -> list[Row]:
    """The same rows anew: a survey sees a copy of them, as it does in a run."""
    return [Row(row.id, row.number, dict(row.cells), row.kinds, notations=row.notations) for row in rows]


def _cell(value: Any, kind: str) -> Any:
    wrapped = kind in MEDIA_KINDS and value is not None and not isinstance(value, Media)
    return Media(kind, b"", value) if wrapped else value


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _equal(law: str, first: Rows, second: Rows, mend: str) -> None:
    for what, one, other in (
        ("rows kept", [_told(r) for r in first.kept], [_told(r) for r in second.kept]),
        ("rows set aside", [_reason(r) for r in first.refused], [_reason(r) for r in second.refused]),
    ):
        if one != other:
            difference = next((a for a, b in zip(one, other) if a != b), "their number")
            raise Violation(law, f"{what} differ between two ways of doing the same: {str(difference)[:200]}", mend)


def _told(row: Row) -> tuple[str, dict[str, Any]]:
    return row.id, {name: _plain(row.cells[name]) for name in sorted(row.cells)}


def _reason(one: Refused) -> tuple[str, str, str]:
    return one.row.id, one.op, one.reason


def _plain(value: Any) -> Any:
    if isinstance(value, Media):
        return _plain(value.decoded) if value.decoded is not None else value.source
    if isinstance(value, Sound):
        return value.rate, value.samples.tobytes()
    if isinstance(value, Volume):
        return value.values.tobytes()
    if isinstance(value, Cloud):
        return value.table().tobytes()
    return value.tobytes() if hasattr(value, "tobytes") else repr(value)


def _name(spec: Any) -> str:
    return str(spec.get("name", spec) if isinstance(spec, Mapping) else spec)
