"""Tables with planted answers: what an honest comparison must say about them is known beforehand.

Each function returns (columns, target): a dict of lists that `read_table` takes, and the name of the target column.
Streams are list cells, `width` numbers each: a hidden scalar along a fixed direction, plus noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range

Planted = tuple[dict[str, list[Any]], str]
DIRECTIONS = 4  # in which a hidden direction of `product` can point
SPREAD = 0.3  # standard deviation of the noise in every direction; hidden scalars have about 1


def product(n: int = 1000, *, width: int = 8, kind: str = "classes", seed: int = 0) -> Planted:
    """Two streams that each hold a hidden direction in four dimensions; the directions' inner product decides.

    The label is `same` where they point the same way and `different` where they do not; with `kind="number"` it is the
    cosine itself. Either stream alone is independent of it. What must come out: either stream and every late fusion
    (mean, weights, product of experts, stacking) are at chance, accuracy 0.5 or R² 0; a fusion that multiplies (tensor,
    low-rank, attention across streams, an MLP on both) is near 1. Shapley's interaction of the two streams is synergy.

    A single hidden number a stream would not do: where signs alone decide, two scores that say nothing add up to
    three right answers in four, or to one, by luck.
    """
    if kind not in ("classes", "number"):
        raise BadArgument(f"kind={kind!r} is neither 'classes' nor 'number'.")
    if width < DIRECTIONS:
        raise BadArgument(f"width={width} numbers cannot hold a direction in {DIRECTIONS} dimensions.")
    random = _random(n, seed)
    left = _unit(random.normal(size=(n, DIRECTIONS)))
    across = random.normal(size=(n, DIRECTIONS))
    across = _unit(across - left * (left * across).sum(1, keepdims=True))
    cosine = _hidden(random, n) / 1.5  # away from zero, so that its sign can be told
    right = cosine[:, None] * left + np.sqrt(1 - cosine**2)[:, None] * across
    label = {"number": cosine, "classes": np.where(cosine > 0, "same", "different")}[kind].tolist()
    return {"left": _spread(random, left, width), "right": _spread(random, right, width), "label": label}, "label"


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
    check_range("[0, 1)", share=share)
    random = _random(n, seed)
    hidden = random.normal(size=(2, n))
    absent = random.random((2, n)) < share
    label = np.where(hidden.sum(axis=0) > 0, "positive", "negative").tolist()
    columns: dict[str, list[Any]] = {}
    for name, scalars, gone in zip(("left", "right"), hidden, absent):
        cells = _cells(random, scalars, width)
        columns[name] = [None if empty else cell for cell, empty in zip(cells, gone)]
    return columns | {"label": label}, "label"


def imbalanced(n: int = 1000, *, width: int = 8, seed: int = 0) -> Planted:
    """`strong` tells the label in 85 rows of 100, plainly; `weak` the rest, faintly: greedy learning overlooks it.

    The label is the sign of 2 a + b with a in `strong` and, at a third of its size, b in `weak`. What must come out: a
    joint model answers from `strong`; its answers from `weak` alone are worse than those of a model of `weak` alone.
    """
    random = _random(n, seed)
    strong, weak = random.normal(size=(2, n))
    label = np.where(2 * strong + weak > 0, "positive", "negative").tolist()
    columns = {"strong": _cells(random, strong, width), "weak": _cells(random, weak / 3, width)}
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


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _spread(random: np.random.Generator, hidden: np.ndarray, width: int) -> list[list[float]]:
    """List cells: unit vectors [n, d] turned at random into `width` dimensions, plus noise."""
    turn = np.linalg.qr(random.normal(size=(width, hidden.shape[1])))[0]
    values = hidden @ turn.T * np.sqrt(width) + SPREAD * random.normal(size=(len(hidden), width))
    return values.round(4).tolist()


def _noisy_sign(random: np.random.Generator, hidden: np.ndarray, wrong: float) -> list[str]:
    flip = np.where(random.random(len(hidden)) < wrong, -1, 1)
    return np.where(hidden * flip > 0, "positive", "negative").tolist()
