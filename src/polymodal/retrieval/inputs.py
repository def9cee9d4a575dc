"""What a caller gives to an index, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.retrieval.changes import Put, Vectors, storable
from polymodal.retrieval.corpus import Corpus

ONE = 1e-5  # how far from one a length may be to count as one


def unique(ids: Sequence[str]) -> list[str]:
    """The ids as strings. Raises `BadData` when one is given twice, `BadArgument` for a single string."""
    if isinstance(ids, str):
        raise BadArgument(f"ids is a list of ids; got the string {ids!r}. Put it in a list.")
    names = [str(identifier) for identifier in ids]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise BadData(f"The id {twice!r} is given twice; a row is one id.")
    return names


def unit(vectors: Any, dim: int, what: str) -> np.ndarray:
    """float32 [n, dim] of length one. Raises `BadData` for another width, and for zero or infinite vectors."""
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise BadData(f"Vectors of this index have {dim} numbers; got {list(np.shape(vectors))} for {what}.")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        raise BadData(f"Some of {what} are zero or not finite: they have no direction. Leave missing items out.")
    return rows if np.abs(length - 1).max(initial=0) < ONE else rows / length


def as_put(
    ids: Sequence[str],
    vectors: Mapping[str, Vectors | np.ndarray],
    columns: Mapping[str, Sequence[Any]],
    corpus: Corpus,
) -> Put:
    """The change that says it, of vectors of length one. Raises `BadData` or `UnknownName` for what does not fit."""
    names = unique(ids)
    wrong = {name: len(values) for name, values in columns.items() if len(values) != len(names)}
    if wrong:
        raise BadData(f"Each column needs a value for each of {len(names)} ids; got {wrong}.")
    for stream in vectors:
        if stream not in corpus.streams:
            raise UnknownName(f"The index was made without the stream {stream!r}.{suggest(stream, corpus.streams)}")
    items = {stream: _items(stream, given, len(names), corpus.dim) for stream, given in vectors.items()}
    return Put(names, {name: [storable(value) for value in values] for name, values in columns.items()}, items)


def _items(stream: str, given: Vectors | np.ndarray, count: int, dim: int) -> Vectors:
    if not isinstance(given, Vectors):
        if np.ndim(given) != 2 or len(given) != count:
            raise BadData(f"{stream!r} needs a vector for each of {count} ids; got {list(np.shape(given))}.")
        given = Vectors.one_each(given, stream)
    positions = np.asarray(given.positions, dtype=np.int64)
    lengths = (len(positions), len(given.vectors), len(given.parts))
    if len(set(lengths)) > 1:
        raise BadData(f"Items of {stream!r} need a position, a vector and a part each; got {lengths} of them.")
    if len(positions) and not 0 <= positions.min() <= positions.max() < count:
        raise BadData(
            f"Positions of {stream!r} are places among the {count} ids; got {positions.min()} to {positions.max()}."
        )
    if not len(positions):
        return Vectors(positions, np.zeros((0, dim), np.float32), [])
    return Vectors(positions, unit(given.vectors, dim, f"items of {stream!r}"), list(given.parts))
