"""Search over 100,000 vectors: exact and approximate against brute force, and an index that is killed while it grows.

    python benchmarks/search.py [--items 100000] [--widths 64,384] [--embeddings F.npy] [--rounds 7] [--kills 20]

Vectors lie in clusters of several sizes along directions of falling weight, as embeddings do; `--embeddings` takes real
ones instead, [N, D], of which the last 500 are asked as queries. Every figure of speed is a median of rounds in which
the ways alternate in one process on one thread, and the ratio is of the same round; brute force is NumPy's matrix
product with `argpartition`. Then a process that adds rows is killed with SIGKILL at random moments, again and again on
one index; ids that it had said were added and are not there, or are there twice, are counted. Exits with 1 if there is
one.

Last, a corpus of two modalities: half of the things are there as pictures, the other half as texts, and other texts of
all of them are asked, with the gap calibrated and not. The space is planted, with a gap as wide as the things differ;
`--pairs` takes vectors of a real one, an .npz with `pictures` [N, D] and `texts` [N, C, D].
"""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tools import parser, show

from polymodal.core.errors import require
from polymodal.retrieval.index import Index

QUERIES = 500
PIECE = 5000
WRITER = """
import sys
import numpy as np
from polymodal.retrieval.index import Index
folder, start, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
index, rng = Index(folder), np.random.default_rng(start)
for i in range(start, 10**9):
    n = int(rng.integers(1, 400))
    ids = [f"{i}.{j}" for j in range(n)]
    index.add(ids, {"a": rng.normal(size=(n, width))}, {"n": [i] * n})
    print(i, n, flush=True)
    if i % 25 == 24:
        index.compact()
"""


def clustered(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Unit vectors [count, width]: clusters of falling size, spread along directions of falling weight."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(width, width)) * (np.arange(1, width + 1) ** -0.5)[:, None]
    centres, weights = rng.normal(size=(300, width)), 1 / np.arange(1, 301)
    rng = np.random.default_rng(seed + 1)
    member = rng.choice(300, size=count, p=weights / weights.sum())
    x = (0.5 * centres[member] + rng.normal(size=(count, width))) @ directions
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def brute(queries: np.ndarray, vectors: np.ndarray, k: int = 10) -> np.ndarray:
    """What a few lines of NumPy do: [Q, k] places, best first."""
    scores = queries @ vectors.T
    places = np.argpartition(-scores, k, axis=1)[:, :k]
    return np.take_along_axis(places, np.argsort(-np.take_along_axis(scores, places, 1), axis=1), 1)


def timed(call: Callable[[], Any], least: float = 0.3) -> float:
    """Seconds a call, over at least `least` seconds."""
    started, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < least or not count:
        call()
        count += 1
    return spent / count


def speeds(index: Index, vectors: np.ndarray, queries: np.ndarray, rounds: int) -> list[dict[str, Any]]:
    """Queries a second and their ratio to brute force, for one query at a time and for a hundred."""
    found = []
    for batch in (1, 100):
        asked = [queries[i * batch : (i + 1) * batch] for i in range(len(queries) // batch)]
        turn = [0]

        def some(asked: list[np.ndarray] = asked, turn: list[int] = turn) -> np.ndarray:
            turn[0] += 1
            return asked[turn[0] % len(asked)]

        ways: dict[str, Callable[[], Any]] = {
            "brute force": lambda: brute(some(), vectors),
            "exact": lambda: index.nearest(some(), approximate=False),
            "approximate": lambda: index.nearest(some(), approximate=True),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, call in ways.items():
                taken[name].append(timed(call) / batch)
        for name, seconds in taken.items():
            ratios = [b / s for b, s in zip(taken["brute force"], seconds)]
            found.append(
                {
                    "batch": batch,
                    "way": name,
                    "queries_a_second": round(1 / statistics.median(seconds)),
                    "of_brute_force": statistics.median(ratios),
                    "least": min(ratios),
                    "most": max(ratios),
                }
            )
    return found


def measured(name: str, vectors: np.ndarray, queries: np.ndarray, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """One corpus: build, memory, recall, speed."""
    require("faiss", "search").omp_set_num_threads(1)  # before memory is looked at: the library takes some itself
    before = _held()
    index = Index.create(folder, dim=vectors.shape[1], streams={"a": "vector"})
    started = time.perf_counter()
    for start in range(0, len(vectors), PIECE):
        piece = vectors[start : start + PIECE]
        index.add([str(i) for i in range(start, start + len(piece))], {"a": piece})
    added, flat = time.perf_counter() - started, _held() - before
    started = time.perf_counter()
    index.build_graph("on")
    built, graphed = time.perf_counter() - started, _held() - before
    started = time.perf_counter()
    Index(folder)
    opened = time.perf_counter() - started
    truth = brute(queries, vectors)
    recall = {}
    for way, approximate in (("exact", False), ("approximate", True)):
        items = index.nearest(queries, approximate=approximate).items
        recall[way] = float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(items, truth)]))
    assert index.graph is not None
    print(
        f"{name}: {len(vectors):,} × {vectors.shape[1]}; added in {added:.1f} s, graph in {built:.1f} s (breadth "
        f"{index.graph.facts.breadth}, recall@10 {index.graph.facts.recall:.3f} by its own measure), opened in "
        f"{opened:.1f} s; {vectors.nbytes / 1e6:.0f} MB of vectors, {flat:.0f} MB held, {graphed:.0f} MB with graph",
        file=sys.stderr,
    )
    return [
        {"corpus": name, "width": vectors.shape[1], **row, "recall_at_10": recall.get(row["way"], 1.0)}
        for row in speeds(index, vectors, queries, rounds)
    ]


def _held() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def killed(folder: Path, times: int, width: int = 64, seed: int = 0) -> dict[str, Any]:
    """Kill a writer `times` times on one index; what it had said is compared with what is there."""
    draw = random.Random(seed)
    Index.create(folder, dim=width, streams={"a": "vector"})
    said: set[str] = set()
    number, torn = 0, 0
    for _ in range(times):
        command = [sys.executable, "-c", WRITER, str(folder), str(number), str(width)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(draw.randint(1, 40))]
        time.sleep(draw.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        for line in lines:
            i, n = map(int, line.split())
            said.update(f"{i}.{j}" for j in range(n))
            number = max(number, i + 2)  # the one after may have been written and not said
        torn += bool(Index(folder).notes)
    index = Index(folder)
    names = index.corpus.names
    alive = int(index.corpus.alive.sum())
    return {
        "kills": times,
        "unfinished_writes": torn,
        "ids_acknowledged": len(said),
        "lost": len(said - set(names)),
        "twice": len(names) - len(set(names)) + alive - len(names),
        "written_not_said": len(set(names) - said),
    }


def planted_pairs(count: int = 1000, width: int = 64, gap: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, D] and two texts [N, 2, D] of the same things, the modalities `gap` times their spread apart."""
    rng = np.random.default_rng(0)
    things = rng.normal(size=(count, width)) / np.sqrt(width)
    shift = rng.normal(size=(2, width)) / np.sqrt(width) * gap
    pictures = things + 0.8 * rng.normal(size=things.shape) / np.sqrt(width) + shift[0]
    texts = things[:, None] + 0.8 * rng.normal(size=(count, 2, width)) / np.sqrt(width) + shift[1]
    return pictures, texts


def mixed(pictures: np.ndarray, texts: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Texts asked in a corpus of which every second thing is a picture and every other a text: how its item ranks."""
    count = len(pictures)
    shown = np.arange(count) % 2 == 0
    asked = texts[:, 1:].reshape(-1, texts.shape[-1])
    wanted = np.repeat(np.arange(count), texts.shape[1] - 1)
    found = []
    for calibrate in ("off", "on"):
        index = Index.create(
            folder / calibrate, dim=pictures.shape[1], streams={"picture": "image", "text": "text"}, calibrate=calibrate
        )
        index.add([str(i) for i in np.flatnonzero(shown)], {"picture": pictures[shown]})
        index.add([str(i) for i in np.flatnonzero(~shown)], {"text": texts[~shown, 0]})
        items = index.nearest(asked, 10, stream="text").items
        rows = np.array(index.corpus.ids).astype(int)[index.corpus.row[items]]
        hit = rows == wanted[:, None]
        row: dict[str, Any] = {"calibrate": calibrate, "queries": len(asked)}
        for what, some in (("all", slice(None)), ("of_pictures", shown[wanted]), ("of_texts", ~shown[wanted])):
            row |= {f"recall@{k}_{what}": float(hit[some, :k].any(1).mean()) for k in (1, 10)}
        row["pictures_in_first_10"] = float((index.corpus.stream[items] == 0).mean())
        found.append(row)
    return found


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--widths", default="64,384")
    options.add_argument("--embeddings", type=Path)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--pairs", type=Path)
    given = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as root, threadpool_limits(1):
        if given.embeddings is not None:
            x = np.load(given.embeddings).astype(np.float32)
            x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
            rows += measured(
                given.embeddings.stem, np.ascontiguousarray(x[:-QUERIES]), x[-QUERIES:], given.rounds, Path(root) / "e"
            )
        for width in [int(w) for w in given.widths.split(",") if w]:
            x, q = clustered(given.items, width), clustered(QUERIES, width, seed=1)
            rows += measured("clusters", x, q, given.rounds, Path(root) / str(width))
        kill = killed(Path(root) / "killed", given.kills) if given.kills else None
        pairs = (
            planted_pairs() if given.pairs is None else tuple(np.load(given.pairs)[n] for n in ("pictures", "texts"))
        )
        calibrated = mixed(pairs[0], pairs[1], Path(root) / "mixed")
    if rows:
        show(rows, given.json)
    show(calibrated, given.json)
    if kill is not None:
        show([kill], given.json)
        if kill["lost"] or kill["twice"]:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
