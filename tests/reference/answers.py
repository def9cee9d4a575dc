"""Answers that are more than one fusion or rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.build import Heads, Parts
from polymodal.targets.classes import ClassesTarget
from reference.arithmetic import gelu, linear, norm, sigmoid, softmax
from reference.decisions import pooled as late_mean
from reference.fusion import DIM, PRESENT, WIDTHS
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

TARGET = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.2, 0.3, 0.5))
NAMES = tuple(WIDTHS)
Formula = Callable[[dict[str, np.ndarray], Arrays], np.ndarray]


def answer_pair(
    name: str, formula: Formula, settle: Callable[[Any], None] = lambda answer: None, **options: Any
) -> Pair:
    """An answer in use: `formula(pooled vectors, zero where absent, state)` to scores [ROWS, 3], after `settle`."""
    rng = np.random.default_rng(5)
    inputs = {f"pooled.{n}": rng.normal(size=(len(PRESENT), width)) for n, width in WIDTHS.items()}

    def theirs(values: Arrays) -> np.ndarray:
        return formula({n: values[f"pooled.{n}"] * PRESENT[:, [k]] for k, n in enumerate(NAMES)}, values)

    def run(call: Callable[..., Any], values: Tensors) -> Tensor:
        there = torch.from_numpy(PRESENT)
        streams = {n: Tokens.from_vector(values[f"pooled.{n}"], there[:, k]) for k, n in enumerate(NAMES)}
        return call(streams).predictions["y"]

    answer = ANSWERS.build({"name": name, **options}, WIDTHS, [TARGET], Parts(DIM, Heads()))
    settle(answer)
    return module_pair(answer, theirs, inputs, run)


def head(vector: np.ndarray, present: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    """A linear head, and the prior where there is nothing to read."""
    return np.where(present[:, None], linear(vector, p, f"{name}.scorer.out"), p[f"{name}.scorer.prior"])


def joined(vectors: dict[str, np.ndarray], p: Arrays, name: str, present: np.ndarray = PRESENT) -> np.ndarray:
    beside = np.concatenate(list(vectors.values()), 1)
    return linear(beside, p, f"{name}.map") + linear(1.0 - present, p, f"{name}.absent")


@parity("answer", "experts", source="Li, Chen, Han 2025")
def experts() -> Pair:
    def formula(vectors: dict[str, np.ndarray], p: Arrays) -> np.ndarray:
        gate = np.exp(linear(gelu(joined(vectors, p, "read")), p, "gates.of_y"))
        gate = gate * np.where(PRESENT.any(1, keepdims=True), PRESENT, 1)
        gate = gate / gate.sum(1, keepdims=True)
        each = [head(vectors[n], PRESENT[:, k], p, f"experts.of_y.of_{n}") for k, n in enumerate(NAMES)]
        return sum(gate[:, [k]] * scores for k, scores in enumerate(each))

    return answer_pair("experts", formula, gate=5)


@parity("answer", "hybrid", "concat, late mean", source="Atrey, Hossain, El Saddik, Kankanhalli 2010")
def hybrid() -> Pair:
    def formula(vectors: dict[str, np.ndarray], p: Arrays) -> np.ndarray:
        some = PRESENT.any(1)
        fused = joined(vectors, p, "fuse.join") * some[:, None]
        at = "decisions.heads.of_y.of_"
        each = [head(vectors[n], PRESENT[:, k], p, at + n) for k, n in enumerate(NAMES)]
        each.append(head(fused, some, p, at + "audio+image+text+"))
        present = np.concatenate([PRESENT, some[:, None]], 1)
        scores = np.stack(each, 1) * present[..., None]
        found = late_mean(scores, np.where(some[:, None], present, 1.0), "classes")
        return np.where(some[:, None], np.log(softmax(found)), p[f"{at}{NAMES[0]}.scorer.prior"])

    return answer_pair("hybrid", formula, rule="late_mean")


@parity("answer", "imputed", "mean", source="Rubin 1987")
def imputed() -> Pair:
    def settle(answer: Any) -> None:
        for guess in answer.imputer.guesses.values():
            torch.nn.init.normal_(guess.out[1].weight)
        answer.imputer.middle.normal_()
        answer.imputer.spread.uniform_(0.5, 2)
        answer.imputer.able.fill_(True)
        answer.load_state_dict(answer.state_dict())

    def formula(vectors: dict[str, np.ndarray], p: Arrays) -> np.ndarray:
        cuts = np.cumsum(list(WIDTHS.values()))[:-1]
        middle, spread = ([*np.split(p[f"imputer.{one}"], cuts)] for one in ("middle", "spread"))
        units = {n: (vectors[n] - middle[k]) / spread[k] * PRESENT[:, [k]] for k, n in enumerate(NAMES)}
        whole = {}
        for k, name in enumerate(NAMES):
            at = f"imputer.guesses.of_{name}"
            x = joined(units, p, f"{at}.join")
            for block in (f"{at}.blocks.0", f"{at}.blocks.1"):
                h = linear(norm(x, p, f"{block}.0"), p, f"{block}.1")
                x = x + linear(h * sigmoid(h), p, f"{block}.3")
            guess = linear(norm(x, p, f"{at}.out.0"), p, f"{at}.out.1") * spread[k] + middle[k]
            whole[name] = np.where(PRESENT[:, [k]], vectors[name], guess)
        some = PRESENT.any(1)
        fused = joined(whole, p, "inner.fusion.join", np.ones_like(PRESENT))
        return head(fused, some, p, "inner.heads.of_y")

    return answer_pair("imputed", formula, settle, by="mean", hidden=5)
