"""Feature-level fusions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.fusion.relation import PLACE
from polymodal.nn.layers.position import index_features
from reference.arithmetic import attention as attention_of
from reference.arithmetic import block, feed_forward, gelu, linear, norm, softmax
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

WIDTHS = {"audio": 3, "image": 4, "text": 2}
TOKENS = {"audio": 3, "image": 1, "text": 2}
DIM = 6
PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
ROWS = len(PRESENT)
MASKS = {  # which tokens are real; a row that lacks the stream has none
    name: PRESENT[:, [k]] & (np.arange(TOKENS[name]) < np.array([TOKENS[name], 1, TOKENS[name], 1])[:, None])
    for k, name in enumerate(WIDTHS)
}
Formula = Callable[[list[np.ndarray], np.ndarray, Arrays], np.ndarray]
TokenFormula = Callable[[dict[str, np.ndarray], list[np.ndarray], Arrays], np.ndarray]


def fusion_pair(name: str, formula: Formula, **options: Any) -> Pair:
    """A fusion of pooled vectors: `formula(vectors, present, state)` to [ROWS, DIM].

    Vectors of absent streams are zero; rows without any are cleared here.
    """

    def theirs(values: Arrays) -> np.ndarray:
        vectors = [values[f"pooled.{n}"] * PRESENT[:, [k]] for k, n in enumerate(WIDTHS)]
        return formula(vectors, PRESENT, values) * PRESENT.any(1)[:, None]

    def run(call: Callable[..., Tokens], values: Tensors) -> Tensor:
        there = torch.from_numpy(PRESENT)
        return (
            call({n: Tokens.from_vector(values[f"pooled.{n}"], there[:, k]) for k, n in enumerate(WIDTHS)})
            .cleared()
            .pooled
        )

    return module_pair(FUSIONS.build({"name": name, **options}, WIDTHS, DIM), theirs, _pooled(), run)


def tokens_pair(name: str, formula: TokenFormula, **options: Any) -> Pair:
    """A fusion of token sequences: `formula(sequences, pooled vectors, state)` to the pooled vector [ROWS, DIM].

    Sequences [ROWS, TOKENS, width] are zero where `MASKS` is False.
    """
    rng = np.random.default_rng(2)
    sequences = {f"x.{n}": rng.normal(size=(ROWS, TOKENS[n], width)) for n, width in WIDTHS.items()}

    def theirs(values: Arrays) -> np.ndarray:
        x = {n: values[f"x.{n}"] * MASKS[n][..., None] for n in WIDTHS}
        vectors = [values[f"pooled.{n}"] * PRESENT[:, [k]] for k, n in enumerate(WIDTHS)]
        return formula(x, vectors, values) * PRESENT.any(1)[:, None]

    def run(call: Callable[..., Tokens], values: Tensors) -> Tensor:
        masks = {n: torch.from_numpy(m) for n, m in MASKS.items()}
        return call({n: Tokens(values[f"x.{n}"], masks[n], values[f"pooled.{n}"]) for n in WIDTHS}).cleared().pooled

    return module_pair(FUSIONS.build({"name": name, **options}, WIDTHS, DIM), theirs, {**_pooled(), **sequences}, run)


def _pooled() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {f"pooled.{n}": rng.normal(size=(ROWS, width)) for n, width in WIDTHS.items()}


# --- plain ------------------------------------------------------------------------------------------------------------


def join(x: list[np.ndarray], present: np.ndarray, p: Arrays, name: str = "join") -> np.ndarray:
    return linear(np.concatenate(x, 1), p, f"{name}.map") + (1.0 - present) @ p[f"{name}.absent.weight"].T


@parity("fusion", "concat", source="folklore")
def concat() -> Pair:
    return fusion_pair("concat", join)


@parity("fusion", "mean", source="folklore")
def mean() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        mapped = [linear(v, p, f"project.maps.{k}") * present[:, [k]] for k, v in enumerate(x)]
        return sum(mapped) / np.maximum(present.sum(1, keepdims=True), 1)

    return fusion_pair("mean", formula)


def weighted_sum(x: list[np.ndarray], alpha: np.ndarray, p: Arrays) -> np.ndarray:
    alpha = alpha / np.maximum(alpha.sum(1, keepdims=True), 1e-300)
    return sum(alpha[:, [k]] * linear(v, p, f"project.maps.{k}") for k, v in enumerate(x))


@parity("fusion", "weighted", source="folklore")
def weighted() -> Pair:
    return fusion_pair("weighted", lambda x, there, p: weighted_sum(x, np.exp(p["weights.logits"]) * there, p))


@parity("fusion", "weighted", "alpha given", source="folklore")
def weighted_fixed() -> Pair:
    alpha = [0.5, 0.25, 0.25]
    return fusion_pair("weighted", lambda x, there, p: weighted_sum(x, np.array(alpha) * there, p), alpha=alpha)


@parity("fusion", "mlp", source="folklore")
def mlp() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        hidden = linear(gelu(join(x, present, p)), p, "rest.2")
        return linear(gelu(hidden), p, "rest.5")

    return fusion_pair("mlp", formula, hidden=5, layers=2)


# --- gates and attention ----------------------------------------------------------------------------------------------


def _gate_scores(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
    return join(x, present, p, "gates").reshape(len(present), len(x), DIM)


@parity("fusion", "gated", source="Arevalo, Solorio, Montes-y-Gómez, González 2017")
def gated() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        gates = np.where(present[..., None], np.exp(_gate_scores(x, present, p)), 0.0)
        gates = gates / np.maximum(gates.sum(1, keepdims=True), 1e-300)
        return sum(gates[:, k] * np.tanh(linear(v, p, f"project.maps.{k}")) for k, v in enumerate(x))

    return fusion_pair("gated", formula)


@parity("fusion", "gated", "sigmoid", source="Arevalo, Solorio, Montes-y-Gómez, González 2017")
def gated_sigmoid() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        gates = present[..., None] / (1 + np.exp(-_gate_scores(x, present, p) / 0.5))
        return sum(gates[:, k] * np.tanh(linear(v, p, f"project.maps.{k}")) for k, v in enumerate(x))

    return fusion_pair("gated", formula, gate="sigmoid", temperature=0.5)


@parity("fusion", "attention", source="Lee, Lee, Kim, Kosiorek, Choi, Teh 2019")
def attention() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        tokens = np.stack([linear(v, p, f"project.maps.{k}") for k, v in enumerate(x)], 1)
        tokens = norm(tokens, p, "norm") + p["stream"]
        rows = [
            attention_of(p["query"][None], tokens[b], present[None, b], p, "attention", heads=2)[0] for b in range(ROWS)
        ]
        found = np.stack(rows)
        return found + feed_forward(norm(found, p, "feed_norm"), p, "feed")

    return fusion_pair("attention", formula, heads=2)


# --- products ---------------------------------------------------------------------------------------------------------


def with_one(vectors: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate([v, np.ones((len(v), 1))], 1) for v in vectors]


@parity("fusion", "tensor", source="Zadeh, Chen, Poria, Cambria, Morency 2017", against="NumPy einsum")
def tensor() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        mapped = [np.tanh(linear(v, p, f"project.maps.{k}")) * present[:, [k]] for k, v in enumerate(x)]
        cube = np.einsum("bi,bj,bk->bijk", *with_one(mapped)).reshape(len(present), -1)
        return cube @ p["out.weight"].T + join(x, present, p)

    return fusion_pair("tensor", formula, width=2)


@parity("fusion", "lowrank", source="Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency 2018", against="NumPy einsum")
def lowrank() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        weight = np.einsum("rio,rjo,rko->ijko", *(p[f"factors.{k}"] for k in range(3)))
        return np.einsum("bi,bj,bk,ijko->bo", *with_one(x), weight) + p["bias"]

    return fusion_pair("lowrank", formula, rank=3)


# --- token sequences --------------------------------------------------------------------------------------------------


def line_up(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`nn.streams.LineUp` for sequences without places: tokens [B, N, DIM], mask [B, N], each token's stream [N].

    The sinusoids of the tokens' numbers are the package's: constants in float32, which have a test of their own.
    """
    parts, masks, owner = [], [], []
    for k, name in enumerate(WIDTHS):
        mask = MASKS[name]
        place = index_features(mask.shape[1], DIM).double().numpy()[np.maximum(mask.cumsum(1) - 1, 0)]
        parts.append((linear(pooled[k], p, f"line.maps.{k}") + p["line.stream"][k] + p["line.whole"][k])[:, None])
        parts.append(linear(x[name], p, f"line.maps.{k}") + p["line.stream"][k] + p["line.gain"][k] * place)
        masks += [mask.any(1, keepdims=True), mask]
        owner += [k] * (1 + mask.shape[1])
    return np.concatenate(parts, 1), np.concatenate(masks, 1), np.array(owner)


@parity("fusion", "cross", source="simplified from Lu et al. 2019; Tsai et al. 2019")
def cross() -> Pair:
    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        tokens, mask, owner = line_up(x, pooled, p)
        vectors: list[list[np.ndarray]] = [[] for _ in WIDTHS]
        for row, real in zip(tokens, mask):
            others = real[None] & (owner[:, None] != owner)
            row = norm(block(row, row, others, p, "blocks.0", heads=2), p, "norm")
            for k in range(len(WIDTHS)):
                own = (owner == k) & real
                parts = row[own] if own.any() else np.zeros((1, DIM))
                vectors[k].append(np.concatenate([parts[0], parts.mean(0)]))  # the pooled vector leads its stream
        return join([np.stack(v) for v in vectors], PRESENT, p)

    return tokens_pair("cross", formula, heads=2)


@parity("fusion", "unified", source="Chen, Li, Yu, El Kholy, Ahmed, Gan, Cheng, Liu 2020; Kim, Son, Kim 2021")
def unified() -> Pair:
    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        tokens, mask, _ = line_up(x, pooled, p)
        out = []
        for row, real in zip(tokens, mask):
            row, real = np.concatenate([p["start"][None], row]), np.concatenate([[True], real])
            seen = np.repeat(real[None], len(row), 0)
            row = block(row, row, seen, p, "blocks.0", heads=2)
            out.append(norm(block(row[:1], row, seen[:1], p, "blocks.1", heads=2)[0], p, "norm"))
        return np.stack(out)

    return tokens_pair("unified", formula, heads=2)


@parity("fusion", "relation", source="Santoro et al. 2017; Katharopoulos et al. 2020", against="a loop over the pairs")
def relation() -> Pair:
    heads, width = 2, 3

    def unit(x: np.ndarray) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)

    def related(row: int, x: dict[str, np.ndarray], c: list[np.ndarray], p: Arrays) -> np.ndarray:
        real = {n: x[n][row][MASKS[n][row]] for n in WIDTHS}
        placed = {n: np.pad(o, ((0, 0), (0, PLACE))) for n, o in real.items()}
        found = []
        for k, name in enumerate(WIDTHS):
            query = unit(linear(c[k], p, f"ask.{k}").reshape(heads, width))
            value, mean = np.zeros((heads, width)), real[name].mean(0) if len(real[name]) > 1 else 0.0
            for o, at in zip(real[name], placed[name]):
                key = unit(linear(o - mean, p, f"key.{k}").reshape(heads, width))
                held = linear(at, p, f"value.{k}").reshape(heads, width)
                value += (query * key).sum(-1, keepdims=True) / width**0.5 * held / len(real[name]) ** 0.5
            found.append(value.ravel())
        m = np.maximum(linear(np.concatenate([*found, *c]), p, "middle"), 0)
        sums = [np.zeros(width) for _ in WIDTHS]
        for k, name in enumerate(WIDTHS):
            for at in placed[name]:
                pair = np.maximum(linear(m, p, "left") + linear(at, p, f"right.{k}"), 0)
                sums[k] += np.maximum(linear(pair, p, "pair"), 0) / len(placed[name]) ** 0.5
        return np.concatenate([*sums, m, *c])

    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        others = [[j for j in range(len(WIDTHS)) if j != k] for k in range(len(WIDTHS))]
        asked = [join([pooled[j] for j in some], PRESENT[:, some], p, f"given.{k}") for k, some in enumerate(others)]
        asked = [
            (c - p[f"even.{k}.running_mean"]) / np.sqrt(p[f"even.{k}.running_var"] + 1e-5) for k, c in enumerate(asked)
        ]
        return gelu(linear(np.stack([related(b, x, [c[b] for c in asked], p) for b in range(ROWS)]), p, "out"))

    return tokens_pair("relation", formula, heads=heads, width=width)


# --- factorised products ----------------------------------------------------------------------------------------------


@parity("fusion", "mfb", source="Yu, Yu, Fan, Tao 2017", against="NumPy einsum")
def mfb() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        weight = np.einsum("rio,rjo,rko->ijko", *(p[f"factors.{k}"] for k in range(3)))
        z = np.einsum("bi,bj,bk,ijko->bo", *with_one(x), weight)
        z = z / np.sqrt(np.abs(z) + 1e-4)
        return z / np.linalg.norm(z, axis=1, keepdims=True) * np.sqrt(DIM)

    return fusion_pair("mfb", formula, rank=3)


@parity("fusion", "mlb", source="Kim, On, Lim, Kim, Ha, Zhang 2017")
def mlb() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        product = np.ones((ROWS, 5))
        for k, vector in enumerate(x):
            factor = norm(linear(vector, p, f"project.maps.{k}"), p, f"norms.{k}")
            product = product * np.where(present[:, [k]], factor, 1)
        return gelu(linear(product, p, "out"))

    return fusion_pair("mlb", formula, width=5)


@parity("fusion", "mutan", source="Ben-younes, Cadene, Cord, Thome 2017", against="NumPy einsum")
def mutan() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        modes = [np.tanh(linear(v, p, f"project.maps.{k}")) * present[:, [k]] for k, v in enumerate(x)]
        core = np.einsum("rio,rjo,rko->ijko", *(p[f"core.{k}"] for k in range(3)))
        return linear(np.einsum("bi,bj,bk,ijko->bo", *with_one(modes), core), p, "out")

    return fusion_pair("mutan", formula, width=3, rank=2)


# --- graphs -----------------------------------------------------------------------------------------------------------


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def messages(x: np.ndarray, edges: np.ndarray, bias: np.ndarray, p: Arrays, name: str, kind: str) -> np.ndarray:
    """What every node [N, DIM] hears over edges [N, N] bool with a bias [H, N, N], edge by edge."""
    heads, size = len(bias), x.shape[1] // len(bias)
    out = np.zeros_like(x)
    names = {"gat": ("values", "values"), "gatv2": ("source", "target"), "gated": ("key", "query")}[kind]
    sent, own = (linear(x, p, f"{name}.{n}").reshape(len(x), heads, size) for n in names)
    values = linear(x, p, f"{name}.values").reshape(sent.shape) if kind == "gated" else sent
    for i, h in np.ndindex(len(x), heads):
        heard = np.flatnonzero(edges[i])
        if not len(heard):
            continue
        if kind == "gat":
            scores = leaky(sent[heard, h] @ p[f"{name}.source"][h] + own[i, h] @ p[f"{name}.target"][h])
        elif kind == "gatv2":
            scores = leaky(sent[heard, h] + own[i, h]) @ p[f"{name}.score"][h]
        else:
            scores = sent[heard, h] @ own[i, h] / np.sqrt(size)
        scores = scores + bias[h, i, heard]
        weights = 1 / (1 + np.exp(-scores)) / len(heard) if kind == "gated" else softmax(scores)
        out[i, h * size : (h + 1) * size] = weights @ values[heard, h]
    return out


def graph_block(x: np.ndarray, edges: np.ndarray, bias: np.ndarray, p: Arrays, name: str, kind: str) -> np.ndarray:
    heard = messages(norm(x, p, f"{name}.norm"), edges, bias, p, f"{name}.messages", kind)
    x = x + linear(heard, p, f"{name}.out")
    return x + feed_forward(norm(x, p, f"{name}.feed_norm"), p, f"{name}.feed")


def _graph(kind: str) -> Pair:
    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        tokens, mask, owner = line_up(x, pooled, p)
        bias = p["pairs"][:, owner[:, None], owner]
        out = np.zeros((ROWS, DIM))
        for b in np.flatnonzero(mask.any(1)):
            nodes = tokens[b]
            for block_name in ("blocks.0", "blocks.1"):
                nodes = graph_block(nodes, mask[b] & mask[b][:, None], bias, p, block_name, kind)
            nodes = norm(nodes, p, "norm")[mask[b]]
            shares = softmax(np.tanh(linear(nodes, p, "read.score.0")) @ p["read.score.2.weight"][0])
            out[b] = shares @ nodes
        return out

    return tokens_pair("graph", formula, messages=kind, heads=2)


@parity("fusion", "graph", "GAT", source="Veličković, Cucurull, Casanova, Romero, Liò, Bengio 2018")
def graph_gat() -> Pair:
    return _graph("gat")


@parity("fusion", "graph", "GATv2", source="Brody, Alon, Yahav 2022")
def graph_gatv2() -> Pair:
    return _graph("gatv2")


@parity("fusion", "graph", "gated", source="Bresson & Laurent 2017")
def graph_gated() -> Pair:
    return _graph("gated")
