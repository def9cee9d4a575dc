"""In time: interpolation, and fusion on one clock, by double loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.nn.signal.clock import resample
from reference.arithmetic import linear
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

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
