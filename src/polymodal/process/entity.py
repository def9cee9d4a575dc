"""Who or what rows share: users, items, patients, machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.words import key_of
from polymodal.nn.check import check_count
from polymodal.process.base import Processor


class EntityProcessor(Processor):
    """Gives each entity of the training rows a number. "7", 7 and 7.0 are one.

    Those in fewer than `rare` training rows, or beyond the `most` commonest, share the number 0 with those that come
    for the first time when the model is asked; where all are that rare, each has a number of its own.

    `process` gives `entity` int32 [N, 1] and `count` float32 [N, 1],
    the logarithm of 1 and the entity's training rows.
    """

    kind = "entity"

    def __init__(self, *, rare: int = 2, most: int = 100_000):
        self.rare = check_count("rare", rare)
        self.most = check_count("most", most)
        self.counts_: dict[str, int] = {}

    def read(self, cell: Any) -> str:
        """The name of the entity. Raises `BadCell` where there is none."""
        if not (name := key_of(cell)):
            raise BadCell("names nothing")
        return name

    def fit(self, cells: Iterable[str]) -> None:
        """Count the entities."""
        counts = Counter(cells)
        common = [name for name in counts if counts[name] >= self.rare] or list(counts)
        known = sorted(common, key=lambda name: (-counts[name], name))
        self.counts_ = {name: counts[name] for name in known[: self.most]}

    def process(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        places = {name: place for place, name in enumerate(self.counts_, 1)}
        entity = np.array([places.get(name, 0) for name in cells], np.int32).reshape(-1, 1)
        count = np.array([self.counts_.get(name, 0) for name in cells], np.float32).reshape(-1, 1)
        return {"entity": entity, "count": np.log1p(count)}

    def facts(self) -> dict[str, Any]:
        """`entities`: how many numbers there are, 0 included."""
        return {"entities": 1 + len(self.counts_)}

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.counts_ = {str(name): int(count) for name, count in state["counts"].items()}
