"""Feature-level fusions against independent formulas in NumPy float64: values, and gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS

WIDTHS = {"audio": 3, "image": 4, "text": 2}
DIM = 6
ROWS = 4
Formula = Callable[[list[np.ndarray], np.ndarray, dict[str, np.ndarray]], np.ndarray]


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def linear(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def norm(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def concat(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    return linear(np.concatenate(x, 1), p, "join.map") + (1.0 - present) @ p["join.absent.weight"].T


def mean(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    mapped = [linear(v, p, f"project.maps.{k}") * present[:, [k]] for k, v in enumerate(x)]
    return sum(mapped) / np.maximum(present.sum(1, keepdims=True), 1)


def weighted(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    alpha = np.exp(p["weights.logits"]) * present
    alpha = alpha / np.maximum(alpha.sum(1, keepdims=True), 1e-300)
    return sum(alpha[:, [k]] * linear(v, p, f"project.maps.{k}") for k, v in enumerate(x))


def gated(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    scores = linear(np.concatenate(x, 1), p, "gates.map") + (1.0 - present) @ p["gates.absent.weight"].T
    scores = scores.reshape(len(present), len(x), DIM)
    gates = np.where(present[..., None], np.exp(scores), 0.0)
    gates = gates / np.maximum(gates.sum(1, keepdims=True), 1e-300)
    return sum(gates[:, k] * np.tanh(linear(v, p, f"project.maps.{k}")) for k, v in enumerate(x))


def attention(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray], heads: int = 2) -> np.ndarray:
    tokens = np.stack([linear(v, p, f"project.maps.{k}") for k, v in enumerate(x)], 1)
    tokens = norm(tokens, p, "norm") + p["stream"]
    key, value = np.split(linear(tokens, p, "attention.key_value"), 2, axis=-1)
    query = linear(p["query"], p, "attention.query")
    out = np.zeros((len(present), DIM))
    size = DIM // heads
    for row in np.flatnonzero(present.any(1)):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            seen = np.flatnonzero(present[row])
            shares = softmax(key[row][seen][:, part] @ query[part] / np.sqrt(size))
            out[row, part] = shares @ value[row][seen][:, part]
    found = linear(out, p, "attention.out")
    return found + linear(gelu(linear(norm(found, p, "feed_norm"), p, "feed.0")), p, "feed.3")


def tensor(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    ones = np.ones((len(present), 1))
    mapped = [np.tanh(linear(v, p, f"project.maps.{k}")) * present[:, [k]] for k, v in enumerate(x)]
    a, b, c = (np.concatenate([v, ones], 1) for v in mapped)
    cube = np.einsum("bi,bj,bk->bijk", a, b, c).reshape(len(present), -1)
    return cube @ p["out.weight"].T + concat(x, present, p)


def lowrank(x: list[np.ndarray], present: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    ones = np.ones((len(present), 1))
    a, b, c = (np.concatenate([v, ones], 1) for v in x)
    weight = np.einsum("rio,rjo,rko->ijko", *(p[f"factors.{k}"] for k in range(3)))
    return np.einsum("bi,bj,bk,ijko->bo", a, b, c, weight) + p["bias"]


CASES: dict[str, tuple[Formula, dict[str, object]]] = {
    "concat": (concat, {}), "mean": (mean, {}), "weighted": (weighted, {}), "gated": (gated, {}),
    "attention": (attention, {"heads": 2}), "tensor": (tensor, {"width": 2}), "lowrank": (lowrank, {"rank": 3}),
}  # fmt: skip


def _case(name: str):
    torch.manual_seed(3)
    fusion = FUSIONS.build({"name": name, **CASES[name][1]}, WIDTHS, DIM).double().eval()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    present = torch.tensor([[True] * 3, [True, False, True], [False, False, True], [False] * 3])
    x = [(torch.randn(ROWS, w, dtype=torch.float64) * present[:, [k]]) for k, w in enumerate(WIDTHS.values())]
    p = {n: v.detach().numpy() for n, v in fusion.state_dict().items()}
    return fusion, x, present, p


def _run(fusion: torch.nn.Module, x: list[torch.Tensor], present: torch.Tensor) -> torch.Tensor:
    streams = {name: Tokens.from_vector(x[k], present[:, k]) for k, name in enumerate(WIDTHS)}
    return fusion(streams).pooled


@pytest.mark.parametrize("name", CASES)
def test_values(name: str):
    fusion, x, present, p = _case(name)
    expected = CASES[name][0]([v.numpy() for v in x], present.numpy(), p)
    expected[~present.any(1).numpy()] = 0.0  # a row without streams is cleared
    np.testing.assert_allclose(_run(fusion, x, present).detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str):
    fusion, x, present, p = _case(name)
    formula = CASES[name][0]
    upstream = np.random.default_rng(0).normal(size=(ROWS, DIM)) * present.any(1).numpy()[:, None]
    x = [v.requires_grad_() for v in x]
    (_run(fusion, x, present) * torch.from_numpy(upstream)).sum().backward()

    def value(arrays: list[np.ndarray], parameters: dict[str, np.ndarray]) -> float:
        return float((formula(arrays, present.numpy(), parameters) * upstream).sum())

    arrays = [v.detach().numpy().copy() for v in x]
    for k, stream in enumerate(x):
        expected = _difference(lambda a, k=k: value([*arrays[:k], a, *arrays[k + 1 :]], p), arrays[k])
        np.testing.assert_allclose(stream.grad.numpy(), expected * present.numpy()[:, [k]], atol=2e-6)
    for parameter_name, parameter in fusion.named_parameters():
        expected = _difference(
            lambda a, n=parameter_name: value(arrays, {**p, n: a}), parameter.detach().numpy().copy(), most=12
        )
        found = parameter.grad.numpy()
        np.testing.assert_allclose(np.where(np.isnan(expected), 0, found), np.nan_to_num(expected), atol=2e-6)


def _difference(f: Callable[[np.ndarray], float], at: np.ndarray, most: int = 1000, h: float = 1e-5) -> np.ndarray:
    """Central differences; NaN beyond `most` entries, which are not tried."""
    out = np.full(at.shape, np.nan)
    places = list(np.ndindex(*at.shape))
    for place in places[:: max(1, len(places) // most)]:
        up, down = at.copy(), at.copy()
        up[place] += h
        down[place] -= h
        out[place] = (f(up) - f(down)) / (2 * h)
    return out


def test_two_streams_are_the_gated_unit_of_the_paper():
    fusion = FUSIONS.build("gated", {"a": 3, "b": 2}, DIM).double().eval()
    a, b = torch.randn(ROWS, 3, dtype=torch.float64), torch.randn(ROWS, 2, dtype=torch.float64)
    maps, gates = fusion.project.maps, fusion.gates.map
    scores = gates(torch.cat([a, b], 1)).unflatten(1, (2, DIM))
    z = torch.sigmoid(scores[:, 0] - scores[:, 1])  # a softmax over two is a sigmoid of the difference
    expected = z * maps[0](a).tanh() + (1 - z) * maps[1](b).tanh()
    found = fusion({"a": Tokens.from_vector(a), "b": Tokens.from_vector(b)}).pooled
    torch.testing.assert_close(found, expected)


def test_sigmoid_gates_of_the_paper_for_more_streams():
    fusion = FUSIONS.build({"name": "gated", "gate": "sigmoid"}, WIDTHS, DIM).double().eval()
    x = [torch.randn(ROWS, w, dtype=torch.float64) for w in WIDTHS.values()]
    gates = fusion.gates.map(torch.cat(x, 1)).sigmoid().unflatten(1, (3, DIM))
    expected = sum(gates[:, k] * project(x[k]).tanh() for k, project in enumerate(fusion.project.maps))
    torch.testing.assert_close(_run(fusion, x, torch.ones(ROWS, 3, dtype=torch.bool)), expected)


def test_seed_formula():
    """α·a + (1 - α)·b, with maps that are the identity."""
    fusion = FUSIONS.build({"name": "weighted", "alpha": 0.3}, {"a": DIM, "b": DIM}, DIM).eval()
    for project in fusion.project.maps:
        torch.nn.init.eye_(project.weight)
        torch.nn.init.zeros_(project.bias)
    a, b = torch.randn(ROWS, DIM), torch.randn(ROWS, DIM)
    missing = torch.tensor([True, True, True, False])
    found = fusion({"a": Tokens.from_vector(a), "b": Tokens.from_vector(b, missing)}).pooled
    torch.testing.assert_close(found[:3], (0.3 * a + 0.7 * b)[:3])
    torch.testing.assert_close(found[3], a[3])


def test_cross_attends_to_the_others_only():
    """A stream's own tokens reach only its own mean, so with one stream present the attention adds nothing."""
    fusion = FUSIONS.build({"name": "cross", "dropout": 0.0}, {"a": 4, "b": 4}, 8).eval()
    streams = {n: Tokens(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4)) for n in "ab"}
    hidden = torch.zeros(2, dtype=torch.bool)
    alone = fusion({"a": streams["a"], "b": streams["b"].keep(hidden)}).pooled
    torch.nn.init.zeros_(fusion.blocks[0].attention.out.weight)
    torch.testing.assert_close(fusion({"a": streams["a"], "b": streams["b"].keep(hidden)}).pooled, alone)
    assert not torch.allclose(fusion(streams).pooled, alone)


def test_unified_with_one_layer_reads_only_the_class_token():
    fusion = FUSIONS.build({"name": "unified", "layers": 1}, {"a": 4, "b": 4}, 8).eval()
    streams = {n: Tokens(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4)) for n in "ab"}
    line = fusion.line(list(streams.values()))
    whole = torch.cat([fusion.start.expand(2, 1, 8), line.x], 1)
    expected = fusion.norm(fusion.blocks[0](whole)[:, 0])
    torch.testing.assert_close(fusion(streams).pooled, expected)


def test_the_scale_at_the_start_suits_a_linear_head():
    """Fused vectors of unit-scale streams neither vanish nor explode, so that one learning rate serves all."""
    widths = {"a": 64, "b": 64, "c": 32, "d": 16}
    streams = {n: Tokens.from_vector(torch.randn(256, w)) for n, w in widths.items()}
    for name in FUSIONS:
        spread = float(FUSIONS.build(name, widths, 64).eval()(streams).pooled.detach().std())
        assert 0.1 < spread < 3.0, (name, spread)
