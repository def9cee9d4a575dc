"""Learning to judge whether items of two streams belong together, on stored tokens, against hard negatives.

Negatives are drawn by softmax of the aligned vectors' cosine over all training items, anew at every step; what shares
a row with the item, as every caption of its photo does, is never one (Li et al. 2022, BLIP: there within a batch).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.aligners.pairs import matches
from polymodal.alignment.config import Matching
from polymodal.alignment.items import Chosen, Tower
from polymodal.alignment.reranking import Embedded, Judged, log_odds
from polymodal.config import Training
from polymodal.models.matching import Matcher
from polymodal.nn.place import CPU, to_device
from polymodal.train.loop import Epoch, total, train

DEFAULTS = {"epochs": 20, "batch": 64, "lr": 1e-3, "weight_decay": 0.05, "patience": 5}
POOL = 1 << 14  # items among which negatives are looked for at a step, at most


class MatchTraining:
    """A matcher and the training items that it learns from."""

    def __init__(
        self,
        matcher: Matcher,
        towers: Mapping[str, Tower],
        train: Embedded,
        options: Matching,
        device: torch.device = CPU,
    ):
        self.matcher, self.towers, self.part, self.options, self.device = matcher, towers, train, options, device
        self.vectors = {name: torch.from_numpy(v) for name, v in train.vectors.items()}
        self.settings = Training(modality_dropout=0.0).with_({**DEFAULTS, **options.training})
        self.pairs = list(combinations(sorted(train.chosen), 2))

    def run(self, rows: np.ndarray, valid: Judged, seed: int, checkpoint: Path | None = None) -> Iterator[Epoch]:
        """Train in place on `rows` of the table; the best epoch by `valid` is in place then, with its trust."""
        there = {name: _standing(chosen) for name, chosen in self.part.chosen.items()}
        useful = np.logical_or.reduce([there[a] & there[b] for a, b in self.pairs])
        self.there = {name: torch.from_numpy(one) for name, one in there.items()}
        self.matcher.to(self.device)
        yield from train(
            self.matcher, self.loss, lambda: valid.best(self.matcher, self.towers)[0],
            torch.from_numpy(rows[useful[rows]]), self.settings, seed=seed, checkpoint=checkpoint,
        )  # fmt: skip
        self.matcher.trust.fill_(valid.best(self.matcher, self.towers)[1])

    def loss(self, rows: Tensor) -> Tensor:
        """Binary cross-entropy of one pair a row and pair of streams, and of negatives of both its items."""
        losses, chosen = {}, self.part.chosen
        for a, b in self.pairs:
            both = rows[self.there[a][rows] & self.there[b][rows]]
            if not len(both):
                continue
            left, right = chosen[a].drawn(both), chosen[b].drawn(both)
            wrong = self.negatives(b, right, a), self.negatives(a, left, b)
            times = self.options.negatives
            lefts = torch.cat([left, wrong[0].flatten(), left.repeat_interleave(times)])
            rights = torch.cat([right, right.repeat_interleave(times), wrong[1].flatten()])
            truth = (torch.arange(len(lefts)) < len(left)).float()
            real = (lefts >= 0) & (rights >= 0)
            logits = log_odds(self.matcher, self.towers, chosen, (a, lefts[real]), (b, rights[real]))
            losses[f"{a}~{b}"] = F.binary_cross_entropy_with_logits(logits, to_device(truth[real], self.device))
        return total(losses)

    def negatives(self, query: str, items: Tensor, corpus: str) -> Tensor:
        """[n, negatives] items of `corpus` that do not belong to `items` [n] of `query` and are near; -1 for none."""
        count = len(self.vectors[corpus])
        pool = torch.arange(count) if count <= POOL else torch.randperm(count)[:POOL]
        near = self.vectors[query][items] @ self.vectors[corpus][pool].T / self.options.temperature
        rows = (self.part.chosen[name].rows for name in (query, corpus))
        mine, theirs = next(rows)[items], next(rows)[pool]
        near = near.masked_fill(matches(mine, theirs), -torch.inf)
        some = near.isfinite().any(1)
        drawn = torch.full((len(items), self.options.negatives), -1)
        if some.any():
            drawn[some] = pool[torch.multinomial(near[some].softmax(1), self.options.negatives, replacement=True)]
        return drawn


def _standing(chosen: Chosen) -> np.ndarray:
    """[rows of the table] bool: which have an item."""
    return (chosen.first[1:] > chosen.first[:-1]).numpy()
