"""Splits and folds: grouped, stratified, seeded; or before and after."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from polymodal.core.dates import as_date, date_formats
from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.numbers import Notation

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
EPOCH = datetime(1970, 1, 1)
SAMPLE = 2048  # training rows by which a network's inputs are standardised
PARTS = ("train", "valid", "test")


def split_rows(
    n: int,
    *,
    valid: float = 0.1,
    test: float = 0.2,
    labels: Sequence[Any] | np.ndarray | None = None,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Positions of the rows of `train`, `valid` and `test`: int64, ascending, disjoint, all of 0..n-1.

    `valid` and `test` are shares of the rows; a share of 0 gives an empty part. `labels` stratify (see `strata`);
    every class has a row in train when it has one at all. Rows of one group never straddle two parts; a group of None
    is a group of its own. The same seed gives the same split.

    Raises `BadArgument` for shares outside 0..1 or that leave nothing to train on, `BadData` for too few rows or
    groups.
    """
    shares = np.array([1 - valid - test, valid, test])
    if (shares < 0).any() or shares[0] <= 0:
        raise BadArgument(f"valid={valid} and test={test} must be 0 or more and leave a share for training.")
    part = _assign(n, shares, labels, groups, seed)
    return {name: np.flatnonzero(part == number) for number, name in enumerate(PARTS)}


def moments_of(cells: Sequence[Any]) -> np.ndarray:
    """float64 [n] when each cell is, in seconds where they are dates, else as they count; NaN where it is not told."""
    formats, _ = date_formats(cells)
    dates = [as_date(cell, formats) for cell in cells]
    if any(dates):
        return np.array([np.nan if date is None else (date - EPOCH).total_seconds() for date in dates])
    return Notation.of(cells).numbers(cells).astype(np.float64)


def split_in_time(
    moments: np.ndarray, *, valid: float = 0.1, test: float = 0.2, groups: Sequence[Hashable] | None = None
) -> dict[str, np.ndarray]:
    """As `split_rows`, but in order: no row of `train` is later than one of `valid`, and none of these than of `test`.

    `moments` [n] float64 say when; NaN is not known, and such rows are trained on. Rows of one moment, and of one
    group, stay together; a group is as late as its latest row. The shares are met as nearly as that allows.

    Raises `BadArgument` as `split_rows` does, `BadData` where there are fewer moments than parts.
    """
    if valid < 0 or test < 0 or valid + test >= 1:
        raise BadArgument(f"valid={valid} and test={test} must be 0 or more and leave a share for training.")
    unit = units(groups, len(moments))
    latest = np.full(int(unit.max()) + 1 if len(unit) else 0, -np.inf)
    np.fmax.at(latest, unit, moments)
    when = latest[unit]
    steps, place = np.unique(when, return_inverse=True)
    wanted = [share for share in (valid, test) if share]
    if len(steps) <= len(wanted):
        raise BadData(f"{len(steps)} moments cannot be shared among {len(wanted) + 1} parts, one after the other.")
    before = np.r_[0, np.bincount(place).cumsum()]  # rows before each step
    part, end = np.zeros(len(steps), int), len(steps)
    for number, share in ((2, test), (1, valid)):
        if share:
            least = 1 + (number == 2 and valid > 0)  # steps that must be left before
            begin = int(np.abs(before[least:end] - (before[end] - share * len(when))).argmin()) + least
            part[begin:end], end = number, begin
    return {name: np.flatnonzero(part[place] == number) for number, name in enumerate(PARTS)}


def fold_ids(
    n: int,
    k: int,
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Which of k folds each row belongs to: int64 [n] of 0..k-1, stratified by `labels`, whole by `groups`.

    Groups can make folds unlike: the first is the one whose labels are most like all rows', so that what is tried on
    one fold only is tried on something that tells.

    Raises `BadArgument` for k below 2, `BadData` for fewer rows or groups than folds.
    """
    if k < 2:
        raise BadArgument(f"k={k} folds: at least 2 are needed.")
    fold = _assign(n, np.full(k, 1 / k), labels, groups, seed, keep_in_first=False)
    if groups is not None:
        stratum = strata(labels, n)
        counts = np.zeros((k, int(stratum.max()) + 1))
        np.add.at(counts, (fold, stratum), 1)
        shares = counts / counts.sum(1, keepdims=True)
        typical = int(np.abs(shares - counts.sum(0) / n).sum(1).argmin())
        order = np.arange(k)
        order[[0, typical]] = typical, 0
        fold = order[fold]
    return fold


def some_of(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of `rows`, drawn by a fixed seed and in their order: a file's first rows may be all of a kind."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]


def split_of_column(values: Sequence[Any], *, ids: Sequence[str] | None = None) -> list[str]:
    """The part of each row from the cells of a `split` column (train, valid/val/dev/validation, test).

    Raises `BadData` for a cell that is missing or names no part, or when no row is for training.
    """
    parts = []
    for row, value in enumerate(values):
        name = SPLIT_NAMES.get(str(value).strip().lower())
        if name is None:
            what = "is missing" if value is None else f"is {value!r}"
            near = "" if value is None else suggest(str(value), SPLIT_NAMES)
            which = ids[row] if ids is not None else row
            raise BadData(f"The split of row {which} {what}; it must be train, valid or test.{near}")
        parts.append(name)
    if "train" not in parts:
        raise BadData("The split column gives no row to train on: at least some must say 'train'.")
    return parts


def strata(labels: Sequence[Any] | np.ndarray | None, n: int, *, bins: int = 10) -> np.ndarray:
    """An int64 stratum [n] a row: its class; its tenth for a number (float); its rarest label for multi-hot [n, C].

    Missing labels (None, -1, NaN) are a stratum of their own. Raises `BadArgument` when the length is not n.
    """
    if labels is None:
        return np.zeros(n, dtype=np.int64)
    if len(labels) != n:
        raise BadArgument(f"{len(labels)} labels were given for {n} rows.")
    array = labels if isinstance(labels, np.ndarray) else np.array([str(label) for label in labels])
    if array.ndim == 2:
        rarity = np.argsort(np.argsort(np.nansum(array, axis=0), kind="stable"))
        rank = np.where(np.nan_to_num(array) > 0, rarity, array.shape[1])
        return rank.min(axis=1).astype(np.int64)
    if array.dtype.kind == "f":
        known = np.isfinite(array)
        edges = np.quantile(array[known], np.linspace(0, 1, bins + 1)[1:-1]) if known.any() else []
        return np.where(known, np.searchsorted(edges, array, side="right"), bins)
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _assign(
    n: int,
    shares: np.ndarray,
    labels: Sequence[Any] | np.ndarray | None,
    groups: Sequence[Hashable] | None,
    seed: int,
    *,
    keep_in_first: bool = True,
) -> np.ndarray:
    """The part [n] of each row."""
    stratum = strata(labels, n)
    unit = units(groups, n)
    count = int(unit.max()) + 1 if n else 0
    wanted = np.count_nonzero(shares)
    if count < wanted:
        what, mend = ("row", "Give more rows.") if groups is None else ("group", "Choose another `group`, or none.")
        what += "" if count == 1 else "s"
        raise BadData(f"{count} {what} cannot be shared among {wanted} parts: each needs at least one. {mend}")
    generator = np.random.default_rng(seed)
    part_of_unit = (_deal if count == n else _pack)(unit, stratum, shares, generator)
    _fill_empty(part_of_unit, shares)
    if keep_in_first:
        _complete_first(part_of_unit, unit, stratum)
    return part_of_unit[unit]


def units(groups: Sequence[Hashable] | None, n: int) -> np.ndarray:
    """A number a row, counted from 0, the same for rows that must stay together; whose group is None is alone."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise BadArgument(f"{len(groups)} groups were given for {n} rows.")
    seen: dict[Hashable, int] = {}
    names = [("alone", row) if group is None else ("group", group) for row, group in enumerate(groups)]
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)


def _deal(unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows shuffled, ordered by stratum, and dealt to the part that lags its share most.

    The debts carry over from stratum to stratum, so that many small classes still leave every part its whole share.
    """
    order = generator.permutation(len(unit))
    order = order[np.argsort(stratum[order], kind="stable")]
    debt = np.zeros(len(shares))
    part = np.empty(len(unit), dtype=np.int64)
    for row in order:
        debt += shares
        chosen = int(debt.argmax())
        debt[chosen] -= 1
        part[row] = chosen
    return part


def _pack(unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Whole groups, large ones first, each to the part whose counts of every stratum it brings nearest to its share."""
    count, kinds = int(unit.max()) + 1, int(stratum.max()) + 1
    sizes = np.bincount(unit, minlength=count)
    shuffled = generator.permutation(count)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    rows_of = np.split(np.argsort(unit, kind="stable"), np.cumsum(sizes)[:-1])
    wanted = np.maximum(np.outer(shares, np.bincount(stratum, minlength=kinds)), 1e-9)
    held = np.zeros_like(wanted)
    part = np.empty(count, dtype=np.int64)
    for group in order:
        present, counts = np.unique(stratum[rows_of[group]], return_counts=True)
        need, has = wanted[:, present], held[:, present]
        cost = ((2 * (has - need) * counts + counts**2) / need).sum(axis=1)
        chosen = int(cost.argmin())
        held[chosen, present] += counts
        part[group] = chosen
    return part


def _fill_empty(part: np.ndarray, shares: np.ndarray) -> None:
    """Give every wanted part at least one unit, taken from the part with most units."""
    for number in np.flatnonzero(shares):
        if not (part == number).any():
            largest = np.bincount(part, minlength=len(shares)).argmax()
            part[np.flatnonzero(part == largest)[-1]] = number


def _complete_first(part: np.ndarray, unit: np.ndarray, stratum: np.ndarray) -> None:
    """Move units so that every stratum has a row in the first part, unless that would empty another part."""
    for kind in np.setdiff1d(stratum, stratum[part[unit] == 0]):
        for candidate in np.unique(unit[stratum == kind]):
            if (part == part[candidate]).sum() > 1:
                part[candidate] = 0
                break
