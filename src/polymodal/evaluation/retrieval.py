"""How well queries find what belongs to them: recall@k, mean average precision, median rank.

An item's rank is one more than the number of items before it. Right for one-to-one and many-to-many pairs alike: a
query's recall@k is 1 if any relevant item is among the first k, the convention of captioned photos (Karpathy & Fei-Fei
2015); its average precision counts every relevant item (Manning, Raghavan & Schuetze 2008, section 8.4); its rank is
that of the first relevant one. Ties count against us: an irrelevant item of an equal score stands before the relevant
one, so that a space which has collapsed to a point finds nothing. Queries without a relevant item are not judged.
What a random order would find depends on how many items belong to each query: `Ranks.chance` says it exactly.

Both directions are two calls with the sides exchanged. Scores are computed a block of queries at a time and thrown
away, so that 100,000 queries against 100,000 items need no more than `BLOCK` scores at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.values import check_range
from polymodal.evaluation.means import Mean
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.metrics import random_order
from polymodal.metrics.counts import medians
from polymodal.metrics.values import Values

BLOCK = 16 << 20  # scores held at a time: 64 MB
TIE = {"float32": 1e-6, "float64": 1e-13}  # of the largest possible score: what rounding alone makes of equal scores

Relevant = Callable[[np.ndarray], np.ndarray] | tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Ranks:
    """What each judged query found: `query` [Q] its number, `first` [Q] the rank (from 1) of the first relevant item,
    `precision` [Q] its average precision, `relevant` [Q] how many of the `corpus` items are."""

    query: np.ndarray
    first: np.ndarray
    precision: np.ndarray
    relevant: np.ndarray
    corpus: int

    def metrics(self, k: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """`recall@k` for each k, `map`, `median_rank`."""
        recalls = {f"recall@{n}": float((self.first <= n).mean()) for n in k}
        return {**recalls, "map": float(self.precision.mean()), "median_rank": float(np.median(self.first))}

    def chance(self, k: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """The same of a random order of the corpus: the mean over queries, exactly (see `metrics.random_order`)."""
        recalls = {f"recall@{n}": float(random_order.recall(self.relevant, self.corpus, n).mean()) for n in k}
        precision = float(random_order.average_precision(self.relevant, self.corpus).mean())
        return {**recalls, "map": precision, "median_rank": random_order.median_rank(self.relevant, self.corpus)}

    def intervals(
        self, k: Sequence[int] = (1, 5, 10), *, groups: np.ndarray | None = None, seed: int = 0, level: float = 0.95
    ) -> dict[str, Interval]:
        """The same with intervals over queries (`statistics.bootstrap`).

        `groups` [Nq], one entry a query of the call, names queries that are drawn together: a photo's five captions.
        """
        values = {f"recall@{n}": (self.first <= n).astype(np.float64) for n in k}
        values |= {"map": self.precision, "median_rank": self.first.astype(np.float64)}
        together = None if groups is None else np.asarray(groups)[self.query]
        truth = np.zeros(len(self.query))
        return {
            name: bootstrap(
                _Median() if name == "median_rank" else Mean(name != "map"), truth, value[None],
                seed=seed, level=level, groups=together,
            )
            for name, value in values.items()
        }  # fmt: skip


def retrieval_metrics(
    queries: Any, corpus: Any, relevant: Relevant, *, k: Sequence[int] = (1, 5, 10), chunk: int = 1024
) -> dict[str, float]:
    """`recall@k` for each k, `map` and `median_rank` of queries [Nq, D] among a corpus [Nc, D], by inner product.

    Arguments and errors are those of `retrieval_ranks`, which also gives intervals.
    """
    if not k or min(k) < 1:
        raise BadArgument(f"k names how many first items count, each 1 or more; got {tuple(k)}.")
    return retrieval_ranks(queries, corpus, relevant, chunk=chunk).metrics(k)


def retrieval_ranks(queries: Any, corpus: Any, relevant: Relevant, *, chunk: int = 1024) -> Ranks:
    """What every query [Nq, D] finds in the corpus [Nc, D], by inner product; arrays or tensors, float32 or float64.

    `relevant` is a pair of rows, [Nq, M] and [Nc, M'] padded with -1 as in `align.pairs.Side`: those belong together
    that share a row. Or a function from numbers of queries [n] to bool [n, Nc]. `chunk` queries are taken at a time.

    Raises `BadData` for shapes that do not fit, vectors that are not finite, or when no query has a relevant item.
    """
    asked, items = _vectors(queries, "queries"), _vectors(corpus, "the corpus")
    if asked.shape[1] != items.shape[1]:
        raise BadData(
            f"Queries have {asked.shape[1]} numbers and the corpus {items.shape[1]}; both must lie in one space."
        )
    asked, items = (x.astype(np.result_type(asked, items), copy=False) for x in (asked, items))
    check_range("[1, inf)", "queries", chunk=chunk)
    tie = TIE[items.dtype.name] * float(np.linalg.norm(items, axis=1).max(initial=0.0))
    judged = []
    for numbers, starts, chosen in _pairs(relevant, len(asked), len(items), chunk):
        step = max(1, BLOCK // max(1, len(items)))
        for begin in range(0, len(numbers), step):
            block = asked[numbers[begin : begin + step]]
            slack = tie * np.linalg.norm(block, axis=1)
            for i, row in enumerate(block @ items.T, start=begin):
                wanted = chosen[starts[i] : starts[i + 1]]
                judged.append((numbers[i], *_judged(row, wanted, slack[i - begin]), len(wanted)))
    if not judged:
        raise BadData(f"None of {len(asked)} queries has a relevant item among {len(items)}; nothing can be judged.")
    query, first, precision, relevant_items = map(np.array, zip(*judged))
    return Ranks(query, first, precision, relevant_items, len(items))


@dataclass(frozen=True)
class Evidence:
    """What a test says of recall@k: whether it lies `above` chance, `below`, or chance lies inside its interval or
    there is none (`chance`). `spread` is where recall@k of as many queries lies in 95 % of random orders."""

    k: int
    verdict: str
    chance: float
    spread: tuple[float, float]
    queries: int
    unjudged: int
    corpus: int


def evidence(ranks: Ranks, intervals: Mapping[str, Interval], asked: int) -> Evidence:
    """Of recall@5, or @1 where five are a large part of the corpus; `asked` is the number of queries, judged or not."""
    k = 5 if ranks.chance((5,))["recall@5"] <= 0.5 else 1
    chance, found = ranks.chance((k,))[f"recall@{k}"], intervals[f"recall@{k}"]
    verdict = random_order.against(chance, found.low, found.high)
    spread = random_order.recall_spread(ranks.relevant, ranks.corpus, k)
    return Evidence(k, verdict, chance, spread, len(ranks.query), asked - len(ranks.query), ranks.corpus)


def _judged(scores: np.ndarray, chosen: np.ndarray, slack: float) -> tuple[int, float]:
    """The rank of the first relevant item and the average precision, from scores [Nc] and the relevant items [r]."""
    own = np.sort(scores[chosen])[::-1]
    near = np.sort(scores[scores >= own[-1] - slack])
    mine = np.sort(own)
    before = len(near) - np.searchsorted(near, own - slack) - (len(mine) - np.searchsorted(mine, own - slack))
    count = np.arange(1, len(own) + 1)
    ranks = count + before  # `before` irrelevant items score no less, rounding aside
    return int(ranks[0]), float((count / ranks).mean())


def _pairs(
    relevant: Relevant, queries: int, items: int, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A chunk at a time: numbers of the queries that have a relevant item, [n]; where the relevant items of each begin
    in the list that follows, [n + 1]; and that list, items in order of the queries."""
    side = None if callable(relevant) else _sides(relevant, queries, items)
    for start in range(0, queries, chunk):
        numbers = np.arange(start, min(start + chunk, queries))
        if side is not None:
            query, item = _joined(side[0][numbers], side[1])
        else:
            assert callable(relevant)
            mask = np.asarray(relevant(numbers))
            if mask.shape != (len(numbers), items) or mask.dtype != bool:
                raise BadData(f"relevant gave {mask.dtype} {mask.shape}; expected bool {(len(numbers), items)}.")
            query, item = np.nonzero(mask)
        counts = np.bincount(query, minlength=len(numbers))
        some = counts > 0
        yield numbers[some], np.concatenate([[0], np.cumsum(counts[some])]), item


def _joined(rows: np.ndarray, side: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (query, item) that share a row, each pair once, in order of the queries."""
    owner, column = np.nonzero(rows >= 0)
    wanted = rows[owner, column]
    items, keys = side
    first = np.searchsorted(keys, wanted)
    counts = np.searchsorted(keys, wanted, side="right") - first
    query = np.repeat(owner, counts)
    item = items[np.arange(len(query)) + np.repeat(first - np.cumsum(counts) + counts, counts)]
    pairs = np.unique(np.stack([query, item]), axis=1) if rows.shape[1] > 1 else np.stack([query, item])
    return pairs[0], pairs[1]


def _sides(relevant: tuple[Any, Any], queries: int, items: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The queries' rows, and the corpus's entries sorted by row: (item, row)."""
    ours, theirs = (_array(rows) for rows in relevant)
    for rows, count, what in ((ours, queries, "queries"), (theirs, items, "items of the corpus")):
        if rows.ndim != 2 or len(rows) != count or not np.issubdtype(rows.dtype, np.integer):
            raise BadData(f"Rows of the {count} {what} are whole numbers [{count}, M]; got {rows.dtype} {rows.shape}.")
    item, column = np.nonzero(theirs >= 0)
    keys = theirs[item, column]
    _, once = np.unique(np.stack([keys, item]), axis=1, return_index=True)  # a row named twice counts once; by row
    return ours, (item[once], keys[once])


def _vectors(values: Any, what: str) -> np.ndarray:
    array = _array(values)
    if array.ndim != 2:
        raise BadData(f"Vectors of {what} are [N, D]; got {array.shape}.")
    array = array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise BadData(f"Some vectors of {what} are not finite: what made them diverged or read a broken value.")
    return array


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


class _Median(Values):
    """The median of a value a query."""

    greater_is_better = False

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return medians(weights, prediction)
