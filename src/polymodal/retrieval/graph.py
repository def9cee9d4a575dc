"""Approximate search: a graph of near neighbours (HNSW, Malkov & Yashunin 2018) by FAISS, measured before it is used.

A few hundred items are kept out while the graph is built and asked as queries that it has never seen; the breadth of
the search is doubled until recall@10 reaches what was asked for. Then they are added too. Candidates are scored again
with the full vectors, so that scores are those of the exact search.

The graph can be computed again at any time, so its file needs no journal: it is written at once and checked by digest,
and one that does not belong to the index as it is now is passed over.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polymodal.core.errors import require
from polymodal.core.files import writing
from polymodal.retrieval import exact

LINKS = 32  # neighbours an item: 16 lost 5 points of recall at equal time on 30,000 vectors of width 384
BUILD_BREADTH = 80
PROBES = 200
MOST_BREADTH = 2048
SPARE = 4  # candidates taken for each item wanted, since the graph scores in 16 bits


@dataclass(frozen=True)
class Facts:
    """What a graph was built on and how well it does: `items` of generation `generation`, recall@10 over probes."""

    generation: str
    items: int
    calibrated: bool
    breadth: int
    recall: float


class Graph:
    """Neighbours of the first `facts.items` items of an index."""

    def __init__(self, found: Any, order: np.ndarray, facts: Facts):
        self._index = found
        self._order = order  # item number by the graph's own
        self._place = np.argsort(order)
        self.facts = facts

    @classmethod
    def build(
        cls, vectors: np.ndarray, alive: np.ndarray, *, generation: str, calibrated: bool, recall: float, seed: int = 0
    ) -> Graph:
        """A graph over `vectors` [N, D]; items that are not `alive` are left out of the measurement only.

        `recall` is the recall@10 to reach. Needs the extra `search`.
        """
        faiss = require("faiss", "search")
        index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_bf16, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_BREADTH
        rng = np.random.default_rng(seed)
        living = np.flatnonzero(alive)
        held = rng.choice(living, min(PROBES, len(living) // 10), replace=False)
        kept = np.ones(len(vectors), dtype=bool)
        kept[held] = False
        order = np.concatenate([np.flatnonzero(kept), held])
        built = np.flatnonzero(kept)
        index.train(vectors)
        index.add(vectors[built])
        graph = cls(index, order, Facts(generation, len(vectors), calibrated, 0, 0.0))
        graph.facts = graph._measured(vectors, held, kept & alive, recall)
        index.add(vectors[held])
        return graph

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> np.ndarray:
        """Items [Q, n] likely to be among the k best of those `allowed` [items] bool, -1 where there are fewer."""
        return self._candidates(queries, max(SPARE * k, 40), allowed, max(self.facts.breadth, k))

    def _candidates(self, queries: np.ndarray, count: int, allowed: np.ndarray | None, breadth: int) -> np.ndarray:
        faiss = require("faiss", "search")
        options: dict[str, Any] = {"efSearch": max(breadth, count)}
        if allowed is not None and not allowed.all():
            bits = np.packbits(allowed[self._order[: self._index.ntotal]], bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        _, numbers = self._index.search(
            np.ascontiguousarray(queries, np.float32), count, params=faiss.SearchParametersHNSW(**options)
        )
        return np.where(numbers < 0, -1, self._order[numbers])

    def _measured(self, vectors: np.ndarray, held: np.ndarray, allowed: np.ndarray, wanted: float) -> Facts:
        """The least breadth that reaches the recall asked for, on items that the graph does not hold."""
        queries = vectors[held]
        truth, _ = exact.search(queries, vectors, allowed, 10)
        breadth, recall = 32, 1.0
        while len(held):
            hits = rescored(queries, vectors, self._candidates(queries, 40, allowed, breadth), 10)[0]
            recall = float(np.mean([len(set(a) & set(b)) / max(1, (b >= 0).sum()) for a, b in zip(hits, truth)]))
            if recall >= wanted or breadth >= MOST_BREADTH:
                break
            breadth *= 2
        return Facts(self.facts.generation, len(vectors), self.facts.calibrated, breadth, recall)

    # --- files ---

    def save(self, path: Path) -> None:
        """Write it at once."""
        faiss = require("faiss", "search")
        body = faiss.serialize_index(self._index).tobytes() + self._order.astype("<i8").tobytes()
        head = {**asdict(self.facts), "digest": _digest(self.facts, body)}
        with writing(path) as temporary:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + body)

    @classmethod
    def load(cls, path: Path, generation: str) -> Graph | None:
        """The graph of this generation of the index; None where the file is not whole or of another."""
        content = path.read_bytes()
        line, _, body = content.partition(b"\n")
        try:
            head = json.loads(line)
            digest = head.pop("digest")
            facts = Facts(**head)
        except (ValueError, KeyError, TypeError):
            return None
        if facts.generation != generation or digest not in (_digest(facts, body), xxhash.xxh3_128_hexdigest(body)):
            return None
        faiss = require("faiss", "search")
        cut = len(body) - 8 * facts.items
        index = faiss.deserialize_index(np.frombuffer(body[:cut], np.uint8))
        return cls(index, np.frombuffer(body[cut:], "<i8").astype(np.int64), facts)


def _digest(facts: Facts, body: bytes) -> str:
    """Of all that a file holds; those of before have a digest of the graph alone."""
    return xxhash.xxh3_128_hexdigest(json.dumps(asdict(facts)).encode() + body)


def rescored(
    queries: np.ndarray, vectors: np.ndarray, items: np.ndarray, k: int, adjust: exact.Adjust | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each query's own candidates `items` [Q, n], -1 for none, by full vectors; as `exact.search`."""
    scores = np.einsum("qd,qnd->qn", queries, vectors[items])
    if adjust is not None:
        scores = adjust(scores, items)
    scores = np.where(items < 0, -np.inf, scores).astype(np.float32)
    empty = np.full((len(items), k), -1), np.full((len(items), k), -np.inf, np.float32)
    return exact.merge((items, scores), empty, k)
