"""Encode once: a stream's tokens go to the store under the encoder's fingerprint and the cell's digest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from polymodal.core.digest import fingerprint
from polymodal.core.registry import options_of, plain
from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import Dataset
from polymodal.data.storage.decode import CellProcessor, read_cells
from polymodal.data.storage.store import Store
from polymodal.encoders.base import Encoder
from polymodal.nn.place import device_of_module, in_use

BATCH = 128  # cells encoded at a time
SEGMENT = 1024  # cells written at a time: what a kill can lose
PROBE = 64  # cells by which the cost of encoding is timed


@torch.no_grad()
def store_tokens(
    encoder: Encoder, dataset: Dataset, stream: str, store: Store, rows: np.ndarray | None = None,
    *, tokens_of: Callable[[np.ndarray], Tokens] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Encode those cells of `rows` (default all) whose tokens the store lacks.

    `tokens_of` gives rows' tokens where they follow from what is known already. Returns the group, how many cells were
    encoded now, and what a row costs to encode, in milliseconds.
    """
    device = device_of_module(encoder.eval())
    group = encoder_group(encoder, dataset.groups[stream])
    rows = np.arange(len(dataset)) if rows is None else rows
    rows = rows[dataset.present[stream][rows]]
    digests = dataset.digests[stream]
    missing = rows[store.missing(group, digests[rows])]
    store.describe(group, kind="tokens", stream=stream, encoder=type(encoder).__name__)
    read = tokens_of or (lambda part: in_use(encoder, dataset.tensors(stream, part), device))
    for chunk in _chunks(missing, SEGMENT):
        arrays = [tokens_to_arrays(read(part)) for part in _chunks(chunk, BATCH)]
        store.write(group, digests[chunk], {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]})
    return {
        "group": group,
        "encoded": len(missing),
        "ms_per_row": _milliseconds(encoder, dataset, stream, rows[:PROBE]),
        "dim": encoder.dim,
    }


def _milliseconds(encoder: Encoder, dataset: Dataset, stream: str, rows: np.ndarray) -> float:
    """What one row costs to encode, the best of three: timed apart, since the store may have had every row already."""
    if not len(rows):
        return 0.0
    inputs, took, device = dataset.tensors(stream, rows), [], device_of_module(encoder)
    for _ in range(3):
        started = time.perf_counter()
        in_use(encoder, inputs, device)
        took.append(time.perf_counter() - started)
    return 1000 * min(took) / len(rows)


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


def _chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
