"""Learning to judge whether items of two streams belong together, on stored tokens, against hard negatives.

Negatives are drawn by softmax of the aligned vectors' cosine over all training items, anew at every step; what shares
a row with the item, as every caption of its photo does, is never one (Li et al. 2022, BLIP: there within a batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.aligners.pairs import matches
from polymodal.alignment.config import Matching
from polymodal.alignment.reranking import Embedded, Judged, Reader, log_odds
from polymodal.config import Training
from polymodal.models.matching import Matcher
from polymodal.nn.place import CPU, to_device
from polymodal.train.loop import Epoch, total, train

DEFAULTS = {"epochs": 12, "batch": 64, "lr": 5e-4, "weight_decay": 0.05, "patience": 4}
CENTRED = 256  # rows by whose pairs the bias is set at the start
POOL = 1 << 14  # items among which negatives are looked for at a step, at most


class MatchTraining:
    """A matcher and the training items that it learns from."""

    def __init__(
        self, matcher: Matcher, read: Reader, train: Embedded, options: Matching, device: torch.device = CPU
    ):  # fmt: skip
        self.matcher, self.read, self.part, self.options, self.device = matcher, read, train, options, device
        self.vectors = {name: torch.from_numpy(v) for name, v in train.vectors.items()}
        self.settings = Training(modality_dropout=0.0).with_({**DEFAULTS, **options.training})
        self.pairs = list(combinations(sorted(train.chosen), 2))
        self.there = {name: chosen.first[1:] > chosen.first[:-1] for name, chosen in train.chosen.items()}

    def run(self, rows: np.ndarray, valid: Judged, seed: int, checkpoint: Path | None = None) -> Iterator[Epoch]:
        """Train in place on `rows` of the table; the best epoch by `valid` is in place then, with its trust."""
        useful = torch.stack([self.there[a] & self.there[b] for a, b in self.pairs]).any(0)
        numbers = torch.from_numpy(rows)[useful[rows]]
        self.matcher.to(self.device)
        self._centre(numbers[:CENTRED])
        yield from train(
            self.matcher, self.loss, lambda: valid.best(self.matcher, self.read)[0], numbers, self.settings,
            seed=seed, checkpoint=checkpoint,
        )  # fmt: skip
        self.matcher.trust.fill_(valid.best(self.matcher, self.read)[1])

    def loss(self, rows: Tensor) -> Tensor:
        """Binary cross-entropy of one pair a row and pair of streams, and of negatives of both its items."""
        judged = self._judged(rows)
        return total({name: F.binary_cross_entropy_with_logits(*pair) for name, pair in judged.items()})

    @torch.no_grad()
    def _centre(self, rows: Tensor) -> None:
        """Set the bias so that pairs belong together as often as they do: else the first epochs learn only that."""
        judged = list(self._judged(rows).values())
        odds, truth = (torch.cat(parts) for parts in zip(*judged))
        self.matcher.bias.add_(truth.mean().clamp(0.01, 0.99).logit() - odds.mean())

    def _judged(self, rows: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Log-odds and truth of drawn pairs, those that belong together first, by pair of streams."""
        judged, chosen, times = {}, self.part.chosen, self.options.negatives
        for a, b in self.pairs:
            both = rows[self.there[a][rows] & self.there[b][rows]]
            if not len(both):
                continue
            left, right = chosen[a].drawn(both), chosen[b].drawn(both)
            lefts = torch.cat([left, self.negatives(b, right, a).flatten(), left.repeat_interleave(times)])
            rights = torch.cat([right, right.repeat_interleave(times), self.negatives(a, left, b).flatten()])
            truth = (torch.arange(len(lefts)) < len(left)).float()
            real = (lefts >= 0) & (rights >= 0)
            odds = log_odds(self.matcher, self.read, chosen, (a, lefts[real]), (b, rights[real]))
            judged[f"{a}~{b}"] = odds, to_device(truth[real], self.device)
        return judged

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
