"""In time: warping, its soft form, interpolation, and fusion on one clock, by double loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.nn.signal.clock import resample
from polymodal.nn.signal.dtw import dtw, pair_costs, soft_dtw
from reference.arithmetic import linear
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

LENGTHS = ((5, 4), (3, 4), (1, 2))


def warped(cost: np.ndarray, least: Callable[[list[float]], float], window: int | None = None) -> float:
    """The table of Sakoe & Chiba cell by cell."""
    n, m = cost.shape
    table = np.full((n + 1, m + 1), np.inf)
    table[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            if window is None or abs(i - j) <= window:
                table[i + 1, j + 1] = cost[i, j] + least([table[i, j], table[i, j + 1], table[i + 1, j]])
    return float(table[n, m])


def soft_least(gamma: float) -> Callable[[list[float]], float]:
    def least(values: list[float]) -> float:
        low = min(values)
        return low if low == np.inf else low - gamma * np.log(sum(np.exp((low - v) / gamma) for v in values))

    return least


def _costs() -> dict[str, np.ndarray]:
    return {"cost": np.random.default_rng(4).uniform(size=(3, 5, 4))}


def _each(values: Arrays, least: Callable[[list[float]], float], window: int | None = None) -> np.ndarray:
    return np.array([warped(c[:n, :m], least, window) for c, (n, m) in zip(values["cost"], LENGTHS)])


N, M = (torch.tensor(x) for x in zip(*LENGTHS))


@parity("nn", "dtw", "ragged", source="Sakoe & Chiba 1978")
def plain() -> Pair:
    return Pair(lambda v: dtw(v["cost"], N, M)[0], lambda v: _each(v, min), _costs())


@parity("nn", "dtw", "window", source="Sakoe & Chiba 1978")
def banded() -> Pair:
    return Pair(lambda v: dtw(v["cost"], N, M, window=1)[0], lambda v: _each(v, min, 1), _costs())


@parity("nn", "soft_dtw", "ragged", source="Cuturi & Blondel 2017")
def soft() -> Pair:
    return Pair(lambda v: soft_dtw(v["cost"], N, M, gamma=0.3), lambda v: _each(v, soft_least(0.3)), _costs())


@parity("nn", "soft_dtw", "window", source="Cuturi & Blondel 2017")
def soft_banded() -> Pair:
    return Pair(
        lambda v: soft_dtw(v["cost"], N, M, gamma=0.3, window=1), lambda v: _each(v, soft_least(0.3), 1), _costs()
    )


@parity("nn", "soft_dtw", "of vectors", source="Cuturi & Blondel 2017")
def soft_vectors() -> Pair:
    draw = np.random.default_rng(5)
    at = {"a": draw.normal(size=(2, 4, 3)), "b": draw.normal(size=(2, 5, 3))}

    def theirs(values: Arrays) -> np.ndarray:
        costs = ((values["a"][:, :, None] - values["b"][:, None]) ** 2).sum(-1)
        return np.array([warped(c, soft_least(1.0)) for c in costs])

    return Pair(lambda v: soft_dtw(pair_costs(v["a"], v["b"])), theirs, at)


MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0]], dtype=bool)


def interpolated(x: np.ndarray, when: np.ndarray, mask: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One row by `numpy.interp`, channel by channel, and which times lie within the stream."""
    order = np.argsort(when[mask])
    at, values = when[mask][order], x[mask][order]
    within = (times >= at[0]) & (times <= at[-1]) if len(at) else np.zeros(len(times), bool)
    found = np.stack([np.interp(times, at, v) for v in values.T], 1) if len(at) else np.zeros((len(times), x.shape[1]))
    return found * within[:, None], within


@parity("nn", "clock", "linear", source="folklore")
def linear_clock() -> Pair:
    draw = np.random.default_rng(6)
    at = {
        "x": draw.normal(size=(3, 4, 2)),
        "where": draw.uniform(0, 3, size=(3, 4, 1)),
        "times": draw.uniform(0, 3, size=(3, 6)),
    }

    def ours(values: Tensors) -> Tensor:
        mask = torch.from_numpy(MASK)
        tokens = Tokens(values["x"], mask, values["x"].mean(1), values["where"])
        return resample(tokens, values["times"]).x

    def theirs(values: Arrays) -> np.ndarray:
        rows = zip(values["x"], values["where"][..., 0], MASK, values["times"])
        return np.stack([interpolated(*row)[0] for row in rows])

    return Pair(ours, theirs, at)


@parity("fusion", "temporal", source="folklore")
def fused_on_a_clock() -> Pair:
    draw = np.random.default_rng(7)
    widths, dim, ticks, lag = {"audio": 3, "gyro": 2, "photo": 4}, 5, 4, 0.25
    shapes = {"audio": (2, 4, 3), "gyro": (2, 3, 2), "photo": (2, 1, 4)}
    masks = {
        "audio": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], bool), "gyro": np.array([[1, 1, 1], [0, 0, 0]], bool),
        "photo": np.array([[1], [1]], bool),
    }  # fmt: skip
    at = {f"x.{n}": draw.normal(size=shape) for n, shape in shapes.items()}
    when = {n: np.sort(draw.uniform(0, 3, size=shapes[n][:2])) for n in ("audio", "gyro")}

    def run(call: Callable[..., Any], values: Tensors) -> Tensor:
        return call({
            n: Tokens(
                values[f"x.{n}"], torch.from_numpy(masks[n]), values[f"x.{n}"][:, 0],
                torch.from_numpy(when[n])[..., None] if n in when else None,
            )
            for n in widths
        }).pooled  # fmt: skip

    def theirs(values: Arrays) -> np.ndarray:
        rows = []
        for row in range(2):
            moved = {n: w[row] - lag * (n == "gyro") for n, w in when.items()}
            all_times = np.concatenate([moved[n][masks[n][row]] for n in moved])
            low, high = all_times.min(), all_times.max()
            total = np.zeros(dim)
            for t in low + (high - low) * (np.arange(ticks) + 0.5) / ticks:
                parts, present = [], []
                for n in widths:
                    if n == "photo":
                        parts.append(values["x.photo"][row, 0])
                        present.append(1.0)
                    else:
                        x, within = interpolated(values[f"x.{n}"][row], moved[n], masks[n][row], np.array([t]))
                        parts.append(x[0])
                        present.append(float(within[0]))
                joined = linear(np.concatenate(parts), values, "inner.join.map")
                total += joined + (1 - np.array(present)) @ values["inner.join.absent.weight"].T
            rows.append(total / ticks)
        return np.stack(rows)

    part = FUSIONS.build({"name": "temporal", "ticks": ticks, "lags": {"gyro": lag}}, widths, dim)
    return module_pair(part, theirs, at, run)
