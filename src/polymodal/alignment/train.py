"""Training an aligner by gradient: on stored vectors, or together with its towers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.aligners.base import Aligner
from polymodal.aligners.pairs import pairs
from polymodal.alignment.items import Chosen, Tower
from polymodal.config import Training
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.data.split import SAMPLE, some_of
from polymodal.evaluation.retrieval import retrieval_metrics
from polymodal.nn.layers.named import Named
from polymodal.nn.place import CPU, device_of_module, in_use, to_device
from polymodal.train.gradcache import in_pieces
from polymodal.train.loop import Epoch, OutOfMemory, total, train

FROZEN = {"epochs": 60, "batch": 1024, "lr": 1e-3, "weight_decay": 0.1, "patience": 15}
TRAINED = {"epochs": 30, "batch": 128, "lr": 1e-3, "weight_decay": 0.05, "patience": 8}
JUDGED = 2000  # validation rows by which an epoch is chosen, at most
PIECE = 256  # items encoded at a time in use


class AlignTraining:
    """An aligner, its towers, and the items that they learn from and are chosen by."""

    def __init__(
        self,
        aligner: Aligner,
        towers: Mapping[str, Tower],
        chosen: Mapping[str, Chosen],
        chunk: int,
        options: Mapping[str, Any],
        device: torch.device = CPU,
        *,
        started: Collection[str] = (),
    ):
        """Towers that are `started` bring their statistics along."""
        self.started = started
        self.aligner, self.towers, self.chosen, self.device = aligner, towers, chosen, device
        learning = {n: t.encoder for n, t in towers.items() if not t.stored}
        self.frozen = not learning
        if aligner.reads_stored and learning:
            raise BadArgument(
                f"{type(aligner).__name__} as configured mixes or compares stored vectors (mixup, structure), so "
                f"towers must be frozen; {', '.join(learning)} would learn. Leave those options out, or freeze them."
            )
        self.settings = Training(modality_dropout=0.0).with_({**(FROZEN if self.frozen else TRAINED), **options})
        self.chunk = chunk or (8192 if self.frozen else 256)
        self.module = nn.ModuleDict({"aligner": aligner, "encoders": Named(learning)})

    def run(self, rows: np.ndarray, valid: Mapping[str, Chosen], seed: int, checkpoint: Path) -> Iterator[Epoch]:
        """Train in place on `rows` of the table and yield the epochs; the best by `valid`'s recall is in place then."""
        for name, tower in self.towers.items():
            if not (tower.stored or name in self.started):
                cells = some_of(self.chosen[name].cells, SAMPLE)
                tower.encoder.fit_statistics(tower.dataset.tensors(name, cells))
        self.module.to(self.device)
        return train(
            self.module,
            self.loss,
            lambda: recall(self.aligner, self.towers, valid),
            torch.from_numpy(rows),
            self.settings,
            seed=seed,
            checkpoint=checkpoint,
            least_steps=1,
            smaller=self.smaller,
        )

    def smaller(self) -> str:
        """Half as many items at a time: the batch stays, and so does the gradient (see `in_pieces`)."""
        if self.chunk < 2:
            raise OutOfMemory("A single item does not fit into memory on its way through its tower: lower batch.")
        self.chunk //= 2
        return f"Memory is short: items are computed {self.chunk} at a time, with the gradient of the whole batch."

    def loss(self, rows: Tensor) -> Tensor:
        """The loss of all items that stand in `rows` [b] of the table."""
        items = {name: chosen.standing_in(rows) for name, chosen in self.chosen.items()}
        items = {name: numbers for name, numbers in items.items() if len(numbers)}
        theirs = to_device({name: self.chosen[name].rows[numbers] for name, numbers in items.items()}, self.device)
        if self.frozen:
            stored = {name: self.towers[name].tokens(self.chosen[name].cells[n]) for name, n in items.items()}
            return total(self.aligner.objective(to_device(stored, self.device), theirs, self._embed))
        aligned = {}
        for name, numbers in items.items():
            cells = torch.from_numpy(self.chosen[name].cells)[numbers]
            tower = self.towers[name]
            aligned[name] = _one(
                in_pieces(
                    lambda part, n=name, t=tower: self._vectors(n, t.tokens(part.numpy(), self.device)),  # type: ignore[misc]
                    cells,
                    self.chunk,
                )
            )
        return total(self.aligner.loss(aligned, theirs))

    def _embed(self, streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The aligner itself, in pieces; pooled vectors only."""
        return {
            name: _one(
                in_pieces(
                    lambda part, n=name, t=tokens: self._vectors(n, t.select(part)),  # type: ignore[misc]
                    torch.arange(len(tokens), device=tokens.x.device),
                    self.chunk,
                )
            )
            for name, tokens in streams.items()
        }

    def _vectors(self, name: str, tokens: Tokens) -> Tensor:
        return self.aligner({name: tokens})[name].pooled


def _one(vectors: Tensor) -> Tokens:
    """Vectors, all present, as tokens."""
    return Tokens.of_pooled(vectors, torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device))


@torch.no_grad()
def embed_items(aligner: Aligner, tower: Tower, chosen: Chosen) -> np.ndarray:
    """Vectors float32 [N, dim] of the chosen items of one stream."""
    size, device = 8192 if tower.stored else PIECE, device_of_module(aligner)

    def vectors(inputs: Any) -> Tensor:
        tokens = inputs if tower.stored else tower.encoder(inputs)
        return aligner({tower.stream: tokens})[tower.stream].pooled.float()

    parts = [
        in_use(vectors, tower.inputs(chosen.cells[i : i + size]), device).numpy() for i in range(0, len(chosen), size)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, aligner.dim), np.float32)


def recall(aligner: Aligner, towers: Mapping[str, Tower], chosen: Mapping[str, Chosen]) -> float:
    """The mean of recall@1, 5 and 10 over both ways between all pairs of streams: what epochs are chosen by."""
    vectors = {name: embed_items(aligner, towers[name], chosen[name]) for name in towers}
    recalls: list[float] = []
    for a, b in linked_ways(chosen, "valid"):
        scores = retrieval_metrics(vectors[a], vectors[b], (chosen[a].rows, chosen[b].rows))
        recalls += [scores[f"recall@{k}"] for k in (1, 5, 10)]
    return float(np.mean(recalls))


def linked_ways(chosen: Mapping[str, Chosen], part: str) -> list[tuple[str, str]]:
    """Every ordered pair of streams that have items of a common row in this part: the one that asks, the one searched.

    Raises `BadData` when there is none.
    """
    linked = [(a, b) for a, b in combinations(chosen, 2) if len(pairs(chosen[a].rows, chosen[b].rows)[0])]
    if not linked:
        raise BadData(
            f"No {part} row has usable cells of two streams of {', '.join(chosen)}, so nothing can be judged by them. "
            "Give more rows, or rows in which both are filled in."
        )
    return [way for a, b in linked for way in ((a, b), (b, a))]
