"""Encode once: a stream's tokens go to the store under the encoder's fingerprint and the cell's digest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.digest import fingerprint
from polymodal.core.registry import options_of, plain
from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import Dataset
from polymodal.data.storage.decode import CellProcessor, read_cells
from polymodal.data.storage.store import Store
from polymodal.encoders.base import Encoder
from polymodal.nn.place import at_rest, device_of_module, in_use, joined_tokens

BATCH = 128  # cells encoded at a time
PLACES = 1024  # of cells that differ in length: tokens encoded at a time on a CPU, whose cache they fit into …
WIDER = 16  # … times as many elsewhere
SEGMENT = 1024  # cells written at a time: what a kill can lose
PROBE = 64  # cells by which the cost of encoding is timed


@torch.no_grad()
def store_tokens(
    encoder: Encoder, dataset: Dataset, stream: str, store: Store, rows: np.ndarray | None = None,
    *, timed: bool = True, tokens_of: Callable[[np.ndarray], Tokens] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Encode those cells of `rows` (default all) whose tokens the store lacks.

    `tokens_of` gives rows' tokens where they follow from what is known already. Returns the group, how many cells were
    encoded now, and, `timed`, what a row costs to encode, in milliseconds.
    """
    at_rest(encoder)
    group = encoder_group(encoder, dataset.groups[stream])
    rows = np.arange(len(dataset)) if rows is None else rows
    rows = rows[dataset.present[stream][rows]]
    digests = dataset.digests[stream]
    missing = rows[store.missing(group, digests[rows])]
    store.describe(group, kind="tokens", stream=stream, encoder=type(encoder).__name__)
    took = 0.0
    for chunk in _chunks(missing, SEGMENT):
        size = BATCH if encoder.lengths(dataset.tensors(stream, chunk[:BATCH])) is None else SEGMENT
        arrays = []
        for part in _chunks(chunk, size):
            if tokens_of is not None:
                arrays.append(tokens_to_arrays(tokens_of(part)))
                continue
            inputs, started = dataset.tensors(stream, part), time.perf_counter()
            tokens = encoded(encoder, inputs)
            took += time.perf_counter() - started
            arrays.append(tokens_to_arrays(tokens))
        store.write(group, digests[chunk], {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]})
    about = {"group": group, "encoded": len(missing), "dim": encoder.dim}
    if not timed:
        return about
    enough = len(missing) >= PROBE and tokens_of is None
    return about | {"ms_per_row": 1000 * took / len(missing) if enough else _timed(encoder, dataset, stream, rows)}


def encoded(encoder: Encoder, inputs: Mapping[str, Tensor], size: int = BATCH) -> Tokens:
    """Tokens, on the CPU, of what a processor made of some rows and of `present` [B]; `size` rows at a time.

    Rows whose cost grows with their length go from the longest to the shortest, as many at a time as `PLACES` allow,
    so that little of a batch is padding; the order of the outcome is that of the rows.
    """
    device, rows = device_of_module(encoder), len(inputs["present"])
    lengths = encoder.lengths(inputs) if rows > 1 else None
    if lengths is None and rows <= size:
        return in_use(encoder, inputs, device)
    if lengths is None:
        parts = [{name: value[i : i + size] for name, value in inputs.items()} for i in range(0, rows, size)]
        return joined_tokens([in_use(encoder, part, device) for part in parts])
    places = PLACES if device.type == "cpu" else WIDER * PLACES
    order = lengths.argsort(descending=True, stable=True)
    tokens, start = [], 0
    while start < rows:
        stop = start + max(1, places // max(1, int(lengths[order[start]])))
        chosen = order[start:stop]
        tokens.append(in_use(encoder, {name: value[chosen] for name, value in inputs.items()}, device))
        start = stop
    return joined_tokens(tokens).select(order.argsort())


def _timed(encoder: Encoder, dataset: Dataset, stream: str, rows: np.ndarray) -> float:
    """What one row costs to encode, the best of three or of a second: the store had nearly every row already."""
    if not len(rows):
        return 0.0
    inputs = dataset.tensors(stream, rows[:PROBE])
    took: list[float] = []
    while len(took) < 3 and sum(took) < 1:
        started = time.perf_counter()
        encoded(encoder, inputs)
        took.append(time.perf_counter() - started)
    return 1000 * min(took) / len(rows[:PROBE])


def processing_ms(processor: CellProcessor, cells: Sequence[Any], rows: np.ndarray) -> float:
    """What one row costs to decode and process, the best of three; cells that cannot be used cost what they cost."""
    chosen, took = rows[:PROBE], []
    for _ in range(3):
        started = time.perf_counter()
        read_cells(processor, cells, chosen)
        took.append(time.perf_counter() - started)
    return 1000 * min(took) / max(1, len(chosen))


def encoder_group(encoder: Encoder, cells: str) -> str:
    """The store's group of an encoder: its class, options, facts and weights, and the group of the cells it reads."""
    return fingerprint(
        {
            "encoder": type(encoder),
            "options": plain(options_of(encoder)),
            "facts": encoder.facts,
            "cells": cells,
            "weights": encoder.state_dict(),
        }
    )


def tokens_to_arrays(tokens: Tokens) -> dict[str, np.ndarray]:
    """What the store keeps of tokens: values in float16, which costs less than a thousandth of their size."""
    arrays = {
        "x": tokens.x.to(torch.float16).numpy(),
        "mask": tokens.mask.numpy(),
        "pooled": tokens.pooled.to(torch.float16).numpy(),
    }
    if tokens.where is not None:
        arrays["where"] = tokens.where.to(torch.float16).numpy()
    return arrays


def tokens_from_arrays(arrays: Mapping[str, np.ndarray]) -> Tokens:
    """The tokens that `tokens_to_arrays` wrote, in float32."""
    parts = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return Tokens(**{name: value if name == "mask" else value.float() for name, value in parts.items()})


def _chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
