"""What a random order of the corpus finds: the chance level of retrieval metrics, exactly, for any number of partners.

Where r of n items belong to a query and the order says nothing of it, their places are drawn without replacement, so
that the first k hold one with probability 1 - C(n - r, k) / C(n, k) (the hypergeometric distribution): five captions a
photo make chance about five times k/n. `relevant` [Q] is r for each query, from 1 to n; `corpus` is n.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

NOT_ABOVE = {
    "chance": "Nothing learned that this test can show: chance lies inside the interval",
    "below": "Less than chance would find: the space has collapsed, or it keeps apart what belongs together",
}


def against(chance: float, low: float, high: float) -> str:
    """Where an interval lies: `above` chance, `below` it, or `chance` where that is inside or nothing can be said."""
    return "above" if low > chance else "below" if high < chance else "chance"


def recall(relevant: np.ndarray, corpus: int, k: int) -> np.ndarray:
    """[Q] the probability that any relevant item is among the first `k`; 1 where that is the whole corpus."""
    taken = np.arange(min(k, corpus))
    missed = (corpus - np.asarray(relevant)[:, None] - taken) / (corpus - taken)
    return 1 - np.clip(missed, 0, None).prod(1)


def recall_spread(relevant: np.ndarray, corpus: int, k: int, *, level: float = 0.95) -> tuple[float, float]:
    """Between what shares recall@k of these queries lies with probability `level`, each in a random order of its own:
    quantiles of the sum of their binomials."""
    values, counts = np.unique(relevant, return_counts=True)
    total = np.ones(1)
    for share, count in zip(recall(values, corpus, k), counts):
        found = np.arange(count + 1)
        ways = gammaln(count + 1) - gammaln(found + 1) - gammaln(count - found + 1)
        total = np.convolve(total, np.exp(ways + xlogy(found, share) + xlog1py(count - found, -share)))
    below = np.cumsum(total)
    ends = np.searchsorted(below, [(1 - level) / 2, (1 + level) / 2 - 1e-12])
    return float(ends[0] / len(relevant)), float(min(ends[1], len(relevant)) / len(relevant))


def average_precision(relevant: np.ndarray, corpus: int) -> np.ndarray:
    """[Q] the mean average precision: H(n)/n (n - r)/(n - 1) + (r - 1)/(n - 1), H(n) the sum of 1/i up to n.

    At place i stands a relevant item with probability r/n; then (r - 1)(i - 1)/(n - 1) others stand before it.
    """
    if corpus == 1:
        return np.ones(len(relevant))
    harmonic = float((1 / np.arange(1, corpus + 1)).sum())
    relevant = np.asarray(relevant, dtype=np.float64)
    return harmonic / corpus * (corpus - relevant) / (corpus - 1) + (relevant - 1) / (corpus - 1)


def reciprocal_rank(relevant: np.ndarray, corpus: int) -> np.ndarray:
    """[Q] the mean of 1 / rank of the first relevant item."""
    values, which = np.unique(relevant, return_inverse=True)
    places = np.arange(1, corpus + 1)
    means = [float((-np.diff(_later(int(r), corpus), prepend=1.0) / places).sum()) for r in values]
    return np.array(means)[which]


def median_rank(relevant: np.ndarray, corpus: int) -> float:
    """The median of the first relevant items' ranks over queries and orders: half are found so far or before."""
    values, counts = np.unique(relevant, return_counts=True)
    found = 1 - sum(count * _later(int(r), corpus) for r, count in zip(values, counts)) / counts.sum()
    first, second = np.searchsorted(found, 0.5 - 1e-12), np.searchsorted(found, 0.5 + 1e-12)
    return float(first + second) / 2 + 1


def _later(relevant: int, corpus: int) -> np.ndarray:
    """[n] the probability that the first relevant item stands after place 1, 2, … n."""
    taken = np.arange(corpus)
    return np.cumprod(np.clip((corpus - relevant - taken) / (corpus - taken), 0, None))
