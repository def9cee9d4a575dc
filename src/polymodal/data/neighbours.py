"""The features of rows that others may read, and from a row's links to those features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_text
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.data.links import LinkOptions

NEW = 3  # the part of rows that came after train (0), valid (1) and test (2)
READABLE: dict[str, Callable[[int, int], bool]] = {  # of a neighbour's part and the reader's
    "earlier": lambda theirs, own: theirs <= own,
    "own": lambda theirs, own: theirs == own,
    "all": lambda theirs, own: True,
}


@dataclass(frozen=True, eq=False)
class Memory:
    """What is known of rows by id: `vectors` [N, W] float16 of features and the `part` [N] of the split each is of.

    No label is in it.
    """

    ids: tuple[str, ...]
    vectors: np.ndarray
    part: np.ndarray

    def with_new(self, ids: Sequence[str], vectors: np.ndarray) -> Memory:
        """With rows of a new table; what it says of a row goes before what was known."""
        fresh = set(ids)
        old = np.array([identifier not in fresh for identifier in self.ids], dtype=bool)
        kept = [identifier for identifier, keep in zip(self.ids, old) if keep]
        part = np.full(len(ids), NEW, np.int8)
        return Memory(
            (*kept, *ids),
            np.concatenate([self.vectors[old], vectors.astype(np.float16)]),
            np.concatenate([self.part[old], part]),
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        text = np.frombuffer("\0".join(self.ids).encode("utf-8", "surrogatepass"), np.uint8)
        save_sealed(path, {"ids": text, "vectors": self.vectors, "part": self.part})

    @classmethod
    def load(cls, path: Path) -> Memory:
        """What `save` wrote."""
        stored, _ = load_sealed(path)
        ids = stored["ids"].tobytes().decode("utf-8", "surrogatepass").split("\0")
        return cls(tuple(ids), stored["vectors"], stored["part"])


def features_of(pooled: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> np.ndarray:
    """Streams' pooled vectors [N, D] side by side, sorted by name, then a bit a stream: is it there? [N, W] float16."""
    names = sorted(pooled)
    vectors = [np.where(present[n][:, None], pooled[n], 0.0) for n in names]
    bits = np.stack([present[n] for n in names], 1)
    return np.concatenate([*vectors, bits], 1).astype(np.float16)


def resolved(
    links: Sequence[Mapping[str, Any] | None],
    ids: Sequence[str],
    part: np.ndarray,
    memory: Memory,
    options: LinkOptions,
) -> list[dict[str, Any] | None]:
    """Link cells with the features of the neighbours that each row may read; None where there is none.

    A row of `part` [N] keeps its strongest neighbours known to `memory`, at most `options.neighbours`. Between equally
    strong ones a draw decides that depends on the two ids alone, so it is the same in any table.
    """
    place = {identifier: position for position, identifier in enumerate(memory.ids)}
    parts = memory.part.tolist()
    allowed = READABLE[options.across]
    cells: list[dict[str, Any] | None] = []
    for identifier, own, cell in zip(ids, part.tolist(), links):
        pairs = zip(cell["ids"], cell["weights"]) if cell else ()
        near = [(n, weight, place[n]) for n, weight in pairs if n in place and allowed(parts[place[n]], own)]
        if len(near) > options.neighbours:
            near.sort(key=lambda one: (-one[1], digest_text(f"{identifier}\0{one[0]}")))
            near = near[: options.neighbours]
        cells.append(_cell(near, memory.vectors))
    return cells


def _cell(near: Sequence[tuple[str, float, int]], vectors: np.ndarray) -> dict[str, Any] | None:
    if not near:
        return None
    ids, weights, places = zip(*near)
    return {"ids": list(ids), "weights": list(weights), "vectors": vectors[list(places)]}
