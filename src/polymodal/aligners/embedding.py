"""Vectors of a graph's entities, learned so that its triples can be told from others; filtered link prediction."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.part import Part
from polymodal.nn.normalize import l2_normalize

CELLS = 1 << 24  # distances times channels held at a time


class Embedding(Part):
    """A vector an entity and a relation. An author writes `distance` and `loss`."""

    def __init__(self, entities: int, relations: int):
        super().__init__()
        self.entities = entities
        self.relations = relations

    @abstractmethod
    def distance(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """How far each triple is from true: numbers of entities and relations, shapes that broadcast, to [...]."""

    @abstractmethod
    def loss(self, true: Tensor, false: Tensor) -> Tensor:
        """From the distances of true triples [B] and of K corrupted ones each [B, K]."""

    @abstractmethod
    def vectors(self) -> Tensor:
        """[entities, D] real vectors of length one: near entities play like parts in the graph."""

    def constrain(self) -> None:
        """Called after every step: keep parameters in their set. Nothing by default."""


class TransE(Embedding):
    """A relation moves its head to its tail: d(h, r, t) = ‖h + r - t‖, entities of length one (Bordes et al. 2013).

    Loss: the mean of max(0, margin + d(true) - d(false)). `norm` is 1 or 2.
    """

    def __init__(self, entities: int, relations: int, *, width: int = 32, margin: float = 1.0, norm: int = 2):
        super().__init__(entities, relations)
        if norm not in (1, 2):
            raise BadArgument(f"norm must be 1 or 2; got {norm}.")
        self.width = width
        self.margin = margin
        self.norm = norm
        reach = 6 / math.sqrt(width)
        self.entity = nn.Parameter(l2_normalize(torch.empty(entities, width).uniform_(-reach, reach)))
        self.relation = nn.Parameter(l2_normalize(torch.empty(relations, width).uniform_(-reach, reach)))

    def distance(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        gap = self.entity[heads] + self.relation[relations] - self.entity[tails]
        return gap.abs().sum(-1) if self.norm == 1 else _length(gap)

    def loss(self, true: Tensor, false: Tensor) -> Tensor:
        return (self.margin + true[:, None] - false).clamp(min=0).mean()

    def constrain(self) -> None:
        with torch.no_grad():
            self.entity.copy_(l2_normalize(self.entity))

    def vectors(self) -> Tensor:
        return l2_normalize(self.entity.detach())


class RotatE(Embedding):
    """A relation turns its head to its tail: d(h, r, t) = Σ_k |h_k · e^{iθ_rk} - t_k| over complex numbers (Sun et al.
    2019).

    Loss: -log σ(margin - d(true)) - Σ_j p_j log σ(d(false_j) - margin), p = softmax(sharpness · (margin - d(false))),
    held constant: the negatives that fool the model weigh most. `width` counts complex numbers.
    """

    def __init__(self, entities: int, relations: int, *, width: int = 16, margin: float = 6.0, sharpness: float = 1.0):
        super().__init__(entities, relations)
        self.width = width
        self.margin = margin
        self.sharpness = sharpness
        reach = (margin + 2) / width
        self.entity = nn.Parameter(torch.empty(entities, 2, width).uniform_(-reach, reach))
        self.angle = nn.Parameter(torch.empty(relations, width).uniform_(-math.pi, math.pi))

    def distance(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        (a, b), (x, y) = self.entity[heads].unbind(-2), self.entity[tails].unbind(-2)
        cosine, sine = self.angle[relations].cos(), self.angle[relations].sin()
        return _length(torch.stack([a * cosine - b * sine - x, a * sine + b * cosine - y], -1)).sum(-1)

    def loss(self, true: Tensor, false: Tensor) -> Tensor:
        weight = (self.sharpness * (self.margin - false)).detach().softmax(-1)
        wrong = -(weight * F.logsigmoid(false - self.margin)).sum(-1)
        return (wrong - F.logsigmoid(self.margin - true)).mean() / 2

    def vectors(self) -> Tensor:
        return l2_normalize(self.entity.detach().flatten(1))


def _length(gap: Tensor) -> Tensor:
    """Euclidean, with a finite gradient at zero."""
    return (gap.square().sum(-1) + 1e-12).sqrt()


def train_embedding(
    model: Embedding,
    triples: Tensor,
    *,
    epochs: int = 200,
    batch: int = 512,
    lr: float = 0.02,
    negatives: int = 16,
    seed: int = 0,
) -> list[float]:
    """Train in place on `triples` [N, 3]; the mean loss of every epoch. Draws from a generator of its own.

    A negative has its head or its tail exchanged for any entity, each half of the time.
    """  # fmt: skip
    if triples.ndim != 2 or triples.shape[1] != 3 or not len(triples):
        raise BadData(f"Triples are an array [N, 3] of at least one; got {tuple(triples.shape)}.")
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
        total = 0.0
        for some in torch.randperm(len(triples), generator=draw).split(batch):
            head, relation, tail = (column[:, None] for column in triples[some].T)
            false = torch.randint(model.entities, (len(some), negatives), generator=draw)
            first = torch.rand(len(some), negatives, generator=draw) < 0.5
            wrong = model.distance(torch.where(first, false, head), relation, torch.where(first, tail, false))
            loss = model.loss(model.distance(head, relation, tail)[:, 0], wrong)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.constrain()
            total += float(loss.detach()) * len(some)
        losses.append(total / len(triples))
    return losses


@torch.no_grad()
def link_prediction(
    model: Embedding, triples: Tensor, known: Tensor, *, k: Sequence[int] = (1, 3, 10)
) -> dict[str, float]:
    """`mrr` and `hits@k` of the missing head and of the missing tail of `triples` [N, 3], among all entities.

    Filtered (Bordes et al. 2013): entities that make another triple of `known` [M, 3] are not in the way. Ties count
    against us.
    """
    everyone = torch.arange(model.entities)
    ranks = []
    step = max(1, CELLS // max(1, model.entities * 64))
    for side in (0, 2):
        other = 2 - side
        keys = known[:, other] * model.relations + known[:, 1]
        order = keys.argsort()
        keys, fits = keys[order], known[order, side]
        for some in triples.split(step):
            ends = [some[:, :1], some[:, 1:2], some[:, 2:]]
            ends[side] = everyone[None]
            distance = model.distance(*ends)
            mine = distance.gather(1, some[:, side : side + 1])
            key = some[:, other] * model.relations + some[:, 1]
            first, last = torch.searchsorted(keys, key), torch.searchsorted(keys, key, right=True)
            count = last - first
            row = torch.arange(len(some)).repeat_interleave(count)
            place = torch.arange(len(row)) - (count.cumsum(0) - count - first).repeat_interleave(count)
            distance[row, fits[place]] = torch.inf
            distance.scatter_(1, some[:, side : side + 1], torch.inf)
            ranks.append(1 + (distance <= mine).sum(1))
    rank = torch.cat(ranks).double()
    return {"mrr": float(rank.reciprocal().mean()), **{f"hits@{n}": float((rank <= n).double().mean()) for n in k}}
