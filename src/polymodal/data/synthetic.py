"""Tables with planted answers: what an honest comparison must say about them is known beforehand.

Each function returns (columns, target): a dict of lists that `read_table` takes, and the name of the target column.
Streams are list cells, `width` numbers each: a hidden scalar along a fixed direction, plus noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument

Planted = tuple[dict[str, list[Any]], str]
SPREAD = 0.3  # standard deviation of the noise in every direction; hidden scalars have about 1


def product(n: int = 1000, *, width: int = 8, seed: int = 0) -> Planted:
    """Two streams whose hidden scalars' product decides: `same` where their signs agree, else `different`.

    What must come out: either stream alone and every late fusion (mean, weights, product of experts, stacking) are at
    chance, 0.5, for each stream alone is independent of the label; a fusion that multiplies (tensor, low-rank,
    attention across streams, an MLP on both) is near 1. Shapley's interaction of the two streams is synergy.
    """
    random = _random(n, seed)
    left, right = _hidden(random, n), _hidden(random, n)
    label = np.where(left * right > 0, "same", "different")
    columns = {"left": _cells(random, left, width), "right": _cells(random, right, width), "label": label.tolist()}
    return columns, "label"


def noise_stream(n: int = 1000, *, width: int = 8, seed: int = 0) -> Planted:
    """`signal` tells the label in nine rows of ten; `noise` has nothing to do with it.

    What must come out: the worth of `noise` has an interval that contains 0, and no fusion beats `signal` alone.
    """
    random = _random(n, seed)
    signal = _hidden(random, n)
    columns: dict[str, list[Any]] = {
        "signal": _cells(random, signal, width),
        "noise": _cells(random, _hidden(random, n), width),
        "label": _noisy_sign(random, signal, 0.1),
    }
    return columns, "label"


def copied_stream(n: int = 1000, *, width: int = 8, seed: int = 0) -> Planted:
    """`signal` tells the label in nine rows of ten; `copy` is the same numbers again.

    What must come out: the interaction of the two is redundancy, not synergy; their worths are alike; no fusion beats
    the better of them.
    """
    random = _random(n, seed)
    signal = _hidden(random, n)
    cells = _cells(random, signal, width)
    label = _noisy_sign(random, signal, 0.1)
    return {"signal": cells, "copy": [list(cell) for cell in cells], "label": label}, "label"


def missing(n: int = 1000, *, width: int = 8, share: float = 0.3, seed: int = 0) -> Planted:
    """Two complementary streams, a `share` of whose cells is missing at random, independently; some rows have neither.

    The label is the sign of the hidden scalars' sum, so each stream alone is right in about three rows of four and both
    together nearly always. What must come out: any subset of streams gives finite answers; rows with both streams are
    answered better than rows with one, and those better than rows with none, which are at chance.
    """
    if not 0 <= share < 1:
        raise BadArgument(f"share={share} of the cells cannot be missing; it must be at least 0 and below 1.")
    random = _random(n, seed)
    hidden = random.normal(size=(2, n))
    absent = random.random((2, n)) < share
    label = np.where(hidden.sum(axis=0) > 0, "positive", "negative").tolist()
    columns: dict[str, list[Any]] = {}
    for name, scalars, gone in zip(("left", "right"), hidden, absent):
        cells = _cells(random, scalars, width)
        columns[name] = [None if empty else cell for cell, empty in zip(cells, gone)]
    return columns | {"label": label}, "label"


def _random(n: int, seed: int) -> np.random.Generator:
    if n < 10:
        raise BadArgument(f"n={n} rows are too few to show anything; give 10 or more.")
    return np.random.default_rng(seed)


def _hidden(random: np.random.Generator, n: int) -> np.ndarray:
    """Scalars [n] of either sign with equal chance, away from zero, so that their sign can be told."""
    return random.choice([-1.0, 1.0], n) * random.uniform(0.5, 1.5, n)


def _cells(random: np.random.Generator, hidden: np.ndarray, width: int) -> list[list[float]]:
    """List cells: each scalar along a random unit direction, plus noise."""
    direction = random.normal(size=width)
    direction /= np.linalg.norm(direction)
    values = hidden[:, None] * direction * np.sqrt(width) + SPREAD * random.normal(size=(len(hidden), width))
    return values.round(4).tolist()


def _noisy_sign(random: np.random.Generator, hidden: np.ndarray, wrong: float) -> list[str]:
    flip = np.where(random.random(len(hidden)) < wrong, -1, 1)
    return np.where(hidden * flip > 0, "positive", "negative").tolist()
