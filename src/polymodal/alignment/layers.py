"""`layer: auto`: which hidden layer of each frozen tower to align, chosen on training pairs before they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners.layers import choose_layers
from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.data.items import Items
from polymodal.data.storage.dataset import Dataset
from polymodal.models.build import build_encoder
from polymodal.process.base import Processor

ROWS = 1000  # of training that are looked at
BATCH = 32


def is_open(spec: Spec) -> bool:
    """Whether a spec leaves the choice of its layer to `resolve_layers`."""
    return isinstance(spec, Mapping) and spec.get("layer") == "auto"


def resolve_layers(
    specs: Mapping[str, Spec],
    processed: Mapping[str, tuple[Items, Dataset]],
    processors: Mapping[str, Processor],
    train: np.ndarray,
    *,
    width: int,
    seed: int,
) -> tuple[dict[str, Spec], list[str]]:
    """The specs with every `layer: auto` replaced by a number, and what was chosen in words.

    At most 1,000 of the rows `train` are encoded once more for it. Raises `BadArgument` for towers that learn: which
    layer of them aligns best is not known before they have.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(train)[:ROWS])
    layers: dict[str, Sequence[Tensor]] = {}
    stands: dict[str, Tensor] = {}
    for name, (some, dataset) in processed.items():
        plain = {k: v for k, v in specs[name].items() if k != "layer"} if is_open(specs[name]) else specs[name]
        torch.manual_seed(seed)
        encoder = build_encoder(plain, processors[name].facts(), width).eval()
        if any(p.requires_grad for p in encoder.parameters()):
            raise BadArgument(f"The layer of a tower can be chosen between frozen towers only; {name!r} learns.")
        cells = np.flatnonzero(dataset.present[name] & np.isin(some.row, rows))
        blocks = [dataset.tensors(name, cells[i : i + BATCH]) for i in range(0, len(cells), BATCH)]
        layers[name] = _candidates(encoder, blocks, is_open(specs[name]))
        stands[name] = torch.from_numpy(some.row[cells])[:, None]
    choice = choose_layers(layers, stands, seed=seed)
    chosen = {n: {**s, "layer": choice.chosen[n]} if is_open(s) else s for n, s in specs.items()}
    return chosen, [choice.words([name for name, spec in specs.items() if is_open(spec)])]


@torch.inference_mode()
def _candidates(encoder: Any, blocks: list[dict[str, Tensor]], several: bool) -> list[Tensor]:
    """Pooled vectors [N, width] of each layer that may be chosen."""
    if not several:
        return [torch.cat([encoder(block).pooled for block in blocks])]
    return [torch.cat(parts) for parts in zip(*(encoder.layers_of(_inputs(block)) for block in blocks))]


def _inputs(block: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in block.items() if name != "present"}
