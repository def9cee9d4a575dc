"""Fusions by attention and by exchange at several depths, row by row and stream by stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from reference.arithmetic import block, feed_forward, linear, norm, sigmoid
from reference.fusion import DIM, PRESENT, ROWS, WIDTHS, fusion_pair, join, line_up, tokens_pair
from reference.parity import Arrays, Pair, parity

K = len(WIDTHS)
HEADS = 2


def group(p: Arrays, name: str, number: int, groups: int) -> Arrays:
    """The `number`-th of the sets of weights below `name`, as those of a module of its own called `one`."""
    own: dict[str, np.ndarray] = {}
    for key, value in p.items():
        if key.startswith(f"{name}."):
            own[f"one{key.removeprefix(name)}"] = value[number] if value.ndim > 1 else np.split(value, groups)[number]
    width = own["one.feed.0.weight"].shape[1]
    for plain in ("one.norm", "one.feed_norm"):
        own |= {f"{plain}.weight": np.ones(width), f"{plain}.bias": np.zeros(width)}
    return own


def read(x: np.ndarray, context: np.ndarray, real: np.ndarray, p: Arrays, name: str, heads: int = HEADS) -> np.ndarray:
    """A `TransformerBlock` whose queries may all read the same places `real` [S] of the context."""
    return block(x, context, np.repeat(real[None], len(x), 0), p, name, heads)


@parity("fusion", "kxk", source="Vaswani et al. 2017")
def kxk() -> Pair:
    def formula(x: list[np.ndarray], present: np.ndarray, p: Arrays) -> np.ndarray:
        tokens = np.stack([linear(v, p, f"project.maps.{k}") for k, v in enumerate(x)], 1) + p["stream"]
        out = np.zeros((ROWS, DIM))
        for b in np.flatnonzero(present.any(1)):
            heard = read(tokens[b], tokens[b], present[b], p, "block")
            out[b] = heard[present[b]].mean(0)
        return out

    return fusion_pair("kxk", formula, heads=HEADS)


def by_row(row: Callable[[list[np.ndarray], list[np.ndarray], Arrays], list[np.ndarray]]):
    """A formula of each row's streams: tokens [L_k, DIM] and masks [L_k] of each to the K vectors that are joined."""

    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        tokens, mask, owner = line_up(x, pooled, p)
        led = [
            row([tokens[b, owner == k] for k in range(K)], [mask[b, owner == k] for k in range(K)], p)
            for b in range(ROWS)
        ]
        vectors = [np.stack([vectors[k] for vectors in led]) * PRESENT[:, [k]] for k in range(K)]
        return join(vectors, PRESENT, p)

    return formula


def _mult(layers: int) -> Pair:
    pairs = [(i, j) for i in range(K) for j in range(K) if i != j]

    def row(tokens: list[np.ndarray], masks: list[np.ndarray], p: Arrays) -> list[np.ndarray]:
        heard: list[list[np.ndarray]] = [[] for _ in range(K)]
        for number, (i, j) in enumerate(pairs):
            z = tokens[i]
            for layer in range(layers):
                z = read(z, tokens[j], masks[j], group(p, f"crossing.{layer}", number, len(pairs)), "one")
            heard[i].append(z)
        led = []
        for i in range(K):
            z = np.concatenate(heard[i], 1)
            for layer in range(layers):
                z = read(z, z, masks[i], group(p, f"own.{layer}", i, K), "one", (K - 1) * HEADS)
            led.append(norm(z[0], p, "norm"))
        return led

    return tokens_pair("mult", by_row(row), heads=HEADS, layers=layers)


@parity("fusion", "mult", source="Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov 2019")
def mult() -> Pair:
    return _mult(1)


@parity("fusion", "mult", "two layers", source="Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov 2019")
def mult_deeper() -> Pair:
    return replace(_mult(2), smooth=False)  # finite differences of so many weights would take long


def _mbt(layers: int) -> Pair:
    def row(tokens: list[np.ndarray], masks: list[np.ndarray], p: Arrays) -> list[np.ndarray]:
        shared, there = p["start"], np.array([m.any() for m in masks])
        size = len(shared)
        for layer in range(layers):
            told = []
            for k in range(K):
                whole = np.concatenate([tokens[k], shared])
                real = np.concatenate([masks[k], np.ones(size, bool)])
                told.append(read(whole, whole, real, group(p, f"blocks.{layer}", k, K), "one"))
            tokens = [t[:-size] for t in told]
            shared = there @ np.stack([t[-size:] for t in told]).reshape(K, -1) / max(1, there.sum())
            shared = shared.reshape(size, DIM)
        return [norm(z[0], p, "norm") for z in tokens]

    return tokens_pair("mbt", by_row(row), heads=HEADS, bottlenecks=2, layers=layers)


@parity("fusion", "mbt", source="Nagrani, Yang, Arnab, Jansen, Schmid, Sun 2021")
def mbt() -> Pair:
    return _mbt(2)


@parity("fusion", "mbt", "three layers", source="Nagrani, Yang, Arnab, Jansen, Schmid, Sun 2021")
def mbt_deeper() -> Pair:
    return replace(_mbt(3), smooth=False)


def _perceiver(layers: int) -> Pair:
    def formula(x: dict[str, np.ndarray], pooled: list[np.ndarray], p: Arrays) -> np.ndarray:
        tokens, mask, _ = line_up(x, pooled, p)
        out = []
        for row, real in zip(tokens, mask):
            z = p["start"]
            for layer in range(layers):
                z = read(z, row, real, p, f"reads.{layer}")
                z = read(z, z, np.ones(len(z), bool), p, f"thinks.{layer}")
            out.append(norm(z, p, "norm").mean(0))
        return np.stack(out)

    return tokens_pair("perceiver", formula, heads=HEADS, latents=3, layers=layers)


@parity("fusion", "perceiver", source="Jaegle, Gimeno, Brock, Zisserman, Vinyals, Carreira 2021")
def perceiver() -> Pair:
    return _perceiver(1)


@parity("fusion", "perceiver", "two layers", source="Jaegle, Gimeno, Brock, Zisserman, Vinyals, Carreira 2021")
def perceiver_deeper() -> Pair:
    return replace(_perceiver(2), smooth=False)


def _deep(x: list[np.ndarray], present: np.ndarray, p: Arrays, excite: bool) -> np.ndarray:
    h = [linear(v, p, f"project.maps.{k}") for k, v in enumerate(x)]
    centre = np.zeros((ROWS, DIM))
    count = np.maximum(present.sum(1, keepdims=True), 1)

    def listen(level: int) -> np.ndarray:
        heard = sum(p["heard"][level, k] * v * present[:, [k]] for k, v in enumerate(h)) / count
        return heard + (p["kept"][level - 1] * centre if level else 0)

    for level in range(2):
        if excite:
            h = [v * present[:, [k]] for k, v in enumerate(h)]
            z = np.maximum(join(h, present, p, f"exchanges.{level}.squeeze"), 0)
            gates = 2 * sigmoid(linear(z, p, f"exchanges.{level}.excite"))
            h = [v * gates[:, k * DIM : (k + 1) * DIM] for k, v in enumerate(h)]
        centre = listen(level)
        after = []
        for k, v in enumerate([*h, centre]):
            own = {key: value[k] if value.ndim > 1 else np.split(value, K + 1)[k] for key, value in p.items()
                   if key.startswith(f"feeds.{level}.")}  # fmt: skip
            plain = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)
            after.append(v + feed_forward(plain, own, f"feeds.{level}"))
        *h, centre = after
    return norm(listen(2), p, "out_norm")


@parity("fusion", "deep", source="Vielzeuf, Lechervy, Pateux, Jurie 2018; Joze, Shaban, Iuzzolino, Koishida 2020")
def deep() -> Pair:
    return fusion_pair("deep", lambda x, present, p: _deep(x, present, p, True))


@parity("fusion", "deep", "without excitation", source="Vielzeuf, Lechervy, Pateux, Jurie 2018")
def deep_plain() -> Pair:
    return fusion_pair("deep", lambda x, present, p: _deep(x, present, p, False), excite=False)
