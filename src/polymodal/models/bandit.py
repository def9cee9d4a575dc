"""A choice of streams that goes on learning from what users say was right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens, presence
from polymodal.core.values import check_range
from polymodal.models.adaptive import Adaptive
from polymodal.models.base import Labelled, TokenSource
from polymodal.models.build import Parts
from polymodal.models.row_score import mean_row_score, scored_rows
from polymodal.nn.linucb import LinUCB
from polymodal.nn.mask_streams import mask_streams
from polymodal.targets.base import ScoredTarget

MANY = 5  # streams from which not every subset is an arm: one more stream each, all but one each, and all


@dataclass(frozen=True)
class Served:
    """What is kept of rows that were answered until their truth is told: all [B, …], scores by target."""

    contexts: Tensor
    arms: Tensor
    work: Tensor
    scores: Mapping[str, Tensor]


class Bandit(Adaptive):
    """A contextual bandit over subsets of streams and answers (LinUCB; Li, Chu, Langford, Schapire 2010).

    The cheapest stream is always encoded. The context of a row is which streams it has, and how much each answer doubts
    given that stream alone; an arm is a subset with that stream and one of `answers`; the reward is its rightness minus
    `price` times its share of the work. Only the chosen arm's streams are encoded, so only its reward is ever learned.

    It starts from validation rows, on which every arm can be tried, weighed down to `trust` rows, and goes on learning
    by `Run.feedback`. `alpha` is how optimistic it is about what it has not tried; `discount` below 1 lets the past
    fade, so that it follows a change. The same feedback in the same order leaves the same state.

    Raises `BadArgument` for a value that cannot be.
    """

    level: ClassVar[str] = "bandit"
    nested: ClassVar[tuple[str, ...]] = ("answers",)

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        answers: Spec | Sequence[Spec] = "concat", price: float = 0.05, alpha: float = 0.3, discount: float = 0.995,
        trust: float = 100.0,
    ):  # fmt: skip
        specs = list(answers) if isinstance(answers, list | tuple) else [answers]
        super().__init__(widths, targets, parts, specs)
        self.answers = answers
        self.price = price
        self.alpha = alpha
        self.discount = discount
        self.trust = trust
        check_range("[0, inf)", price=price, alpha=alpha, trust=trust)
        check_range("(0, 1]", discount=discount)
        rest = tuple(range(1, len(self.names)))
        sizes = range(len(rest) + 1) if len(self.names) < MANY else sorted({0, 1, len(rest) - 1, len(rest)})
        self.subsets = [some for size in sizes for some in combinations(rest, size)]  # by place, the cheapest is there
        width = 1 + len(self.names) + 2 * len(specs) * len(self.targets)
        self.model = LinUCB(len(self.subsets) * len(specs), width, alpha=alpha, discount=discount)
        self._served: list[Served] | None = None

    def arms(self) -> tuple[Tensor, Tensor]:
        """[M, K] the streams of each arm, and [M] the number of its answer."""
        order = self.cost.argsort(stable=True)
        keep = torch.zeros(len(self.subsets), len(self.names), dtype=torch.bool, device=order.device)
        for row, some in zip(keep, self.subsets):
            row[order[torch.tensor([0, *some], device=order.device)]] = True
        each = len(self.inner)
        return keep.repeat_interleave(each, 0), torch.arange(each, device=order.device).repeat(len(self.subsets))

    def _cheapest(self) -> Tensor:
        """[K] bool: the one stream that is always encoded."""
        return torch.arange(len(self.names), device=self.cost.device) == self.cost.argmin()

    def choose(self, source: TokenSource) -> tuple[dict[str, Tensor], Tensor]:
        present = self.present(source)
        cheap = self._cheapest()
        streams, speaker = self.arms()
        with torch.no_grad():
            contexts = self._context(present, self.taken(source, present & cheap))
            arms = self.model.choose(contexts)
        keep = present & streams[arms]
        keep = torch.where(keep.any(1, keepdim=True), keep, present)
        scores = self.spoken(self.taken(source, keep), speaker[arms])
        if self._served is not None:
            work = (keep * self.cost).sum(1) / self.cost.sum()
            self._served.append(Served(contexts, arms, work, {n: s.detach() for n, s in scores.items()}))
        return scores, keep

    def _context(self, present: Tensor, streams: Mapping[str, Tokens]) -> Tensor:
        """[B, d] one, which streams there are, and each answer's doubt and its square, in 0..1."""
        doubts = []
        for answer in self.inner:
            said = answer(streams).predictions
            for target in self.targets:
                doubt = self.doubt(target, said[target.name], streams)
                doubts.append(doubt / (1 + doubt) if target.name in self.spread else doubt)
        doubt = torch.stack(doubts, 1).double()
        return torch.cat([torch.ones(present.shape[0], 1, device=present.device), present, doubt, doubt**2], 1)

    # --- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Start the model of every arm from validation rows."""
        self.eval()
        self.settle(train, valid, seed)
        rows = torch.nonzero(scored_rows(self.targets, valid.targets))[:, 0]
        known = Labelled(
            {n: valid.streams[n].select(rows) for n in self.names}, {n: t[rows] for n, t in valid.targets.items()}
        )
        whole = dict(known.streams)
        present = presence(whole.values())
        contexts = self._context(present, mask_streams(whole, present & self._cheapest()))
        rewards = []
        for keep, answer in zip(*self.arms()):
            got = present & keep
            got = torch.where(got.any(1, keepdim=True), got, present)
            work = (got * self.cost).sum(1) / self.cost.sum()
            rewards.append(self.tried(known, got, int(answer))[2] - self.price * work)
        self.model.learn_all(contexts, torch.stack(rewards, 1), min(1.0, self.trust / max(1, len(rows))))

    @contextmanager
    def serving(self) -> Iterator[list[Served]]:
        """While the block runs, everything that is answered is kept in the list that it gives."""
        served: list[Served] = []
        self._served = served
        try:
            yield served
        finally:
            self._served = None

    @torch.no_grad()
    def learn(self, served: Served, truth: Mapping[str, Tensor]) -> Tensor:
        """Learn from rows answered before, now that their encoded truth is known; returns their rewards [B].

        Rows without any known target teach nothing, and have NaN.
        """
        rewards = mean_row_score(self.targets, served.scores, truth) - self.price * served.work
        told = ~rewards.isnan()
        self.model.update(served.contexts[told], served.arms[told], rewards[told])
        return rewards
