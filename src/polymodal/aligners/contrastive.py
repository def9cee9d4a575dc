"""Aligners by contrast: what belongs together is drawn together, everything else in the batch pushed apart."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from polymodal.aligners.base import Aligner, Embed
from polymodal.aligners.contrast import Links, infonce, infonce_both, sigmoid
from polymodal.aligners.mixup import fusemix
from polymodal.aligners.queue import Queue, lengthened
from polymodal.aligners.structure import structure
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.nn.gather import gathered, summed, world
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.projection import Projection

NEIGHBOURHOOD = 1024  # items of a stream among which `structure` looks at neighbourhoods, at most
MOST_SCALE = 100.0  # as in CLIP: beyond it, training becomes unstable


class Contrastive(Aligner):
    """Small heads on every stream, learned by contrast over all pairs of streams.

    Any number of positives: items of two streams that share a row belong together, so five captions of one photo are
    five positives, and a caption that was written for two photos is a negative of neither. Several processes share
    their items, with gradient, so that losses and gradients are those of one process with the whole batch.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        head: str = "mlp",
        hidden: int | None = None,
        dropout: float = 0.1,
        scale: float = 1.0,
        hard: float = 0.0,
        queue: int = 0,
        mixup: float = 0.0,
        structure: float = 0.0,
    ):
        super().__init__(widths, dim)
        check_range("[0, inf)", hard=hard, queue=queue, mixup=mixup, structure=structure)
        check_range(f"(0, {MOST_SCALE}]", scale=scale)
        self.head = head
        self.linear = head == "linear"
        self.hidden = hidden
        self.dropout = dropout
        self.scale = scale
        self.hard = hard
        self.queue = queue
        self.mixup = mixup
        self.structure = structure
        self.heads = Named(
            {n: Projection(w, dim, kind=head, hidden=hidden, dropout=dropout) for n, w in self.widths.items()}
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.queues = Named({n: Queue(queue, dim) for n in self.names} if queue else {})

    def project(self, name: str, vectors: Tensor) -> Tensor:
        return self.heads[name](vectors)

    @property
    def reads_stored(self) -> bool:
        return bool(self.mixup or self.structure)

    def objective(
        self, streams: Mapping[str, Tokens], rows: Mapping[str, Tensor], embed: Embed | None = None
    ) -> dict[str, Tensor]:
        """The contrast; with `mixup` also that of mixed items, with `structure` also how neighbourhoods changed."""
        embed = embed or self
        aligned = embed(streams)
        losses = self.loss(aligned, rows)
        if self.mixup and self.training:
            mixed, theirs = _mixed(streams, rows, self.mixup)
            losses |= {f"{name} mixed": value for name, value in self._contrasted(embed(mixed), theirs, 0).items()}
        if self.structure:
            for name, tokens in aligned.items():
                own, there = streams[name], tokens.present.nonzero().flatten()
                some = there[torch.randperm(len(there), device=there.device)[:NEIGHBOURHOOD]]
                changed = structure(own.pooled[some], tokens.pooled[some])
                losses[f"{name} structure"] = self.structure * changed
        return losses

    def loss(self, aligned: Mapping[str, Tokens], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._contrasted(aligned, rows, self.queue)

    def _contrasted(self, aligned: Mapping[str, Tokens], rows: Mapping[str, Tensor], queue: int) -> dict[str, Tensor]:
        """The loss of every pair of streams; `queue` 0 neither reads nor fills the queues."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MOST_SCALE))
        mine = {name: (aligned[name].pooled[t], rows[name][t]) for name, t in _present(aligned).items()}
        everyone = {name: (gathered(v), _gathered_rows(r)) for name, (v, r) in mine.items()}
        corpora = {
            name: lengthened(*items, self.queues[name] if queue else None)  # type: ignore[arg-type]
            for name, items in everyone.items()
        }
        losses = {f"{a}~{b}": self.contrast((a, b), mine, everyone, corpora) for a, b in combinations(sorted(mine), 2)}
        if queue and self.training:
            for name, items in everyone.items():
                self.queues[name].push(*items)  # type: ignore[operator]
        return {name: value / len(losses) for name, value in losses.items()}

    @abstractmethod
    def contrast(self, names: tuple[str, str], mine: Items, everyone: Items, corpora: Items) -> Tensor:
        """The loss of one pair of streams: this process's items against those of all processes (and of the queue)."""

    def links(self, query: str, corpus: str, queries: Tensor, items: Tensor) -> Links:
        """What belongs together, from the `rows` of the queries and of the corpus; softer truths may override it."""
        return Links.of(queries, items, self.log_scale.dtype)

    def boost(self, query: str, corpus: str, queries: Tensor, items: Tensor) -> Links | None:
        """Pairs to look at harder: log-weights that are added to the logits of chosen negatives. None by default."""
        return None


Items = Mapping[str, tuple[Tensor, Tensor]]  # vectors [n, dim] and rows [n, M], a stream each


class InfoNCE(Contrastive):
    """Each item picks what belongs to it among all others: softmax cross-entropy, both ways, of scale · cosine.

    Mean over items of -Σ_p w_p log softmax_p, for the streams a → b and b → a (van den Oord et al. 2018; CLIP, Radford
    et al. 2021; with several positives Khosla et al. 2020). The scale (one over the temperature) is learned, at most
    100.

    Options: `head` (linear, mlp, glu), its `hidden` units (None: 2 · dim) and `dropout`; `scale` at the start; `hard`,
    the concentration on hard negatives (Robinson et al. 2021); `queue`, how many past items each stream remembers.
    Behind frozen towers also `mixup`, the α of FuseMix, whose mixed pairs are contrasted as well, and `structure`, the
    weight of the regulariser that keeps each stream's neighbourhoods (see `align.mixup` and `align.structure`).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        head: str = "mlp",
        hidden: int | None = None,
        dropout: float = 0.1,
        scale: float = 1 / 0.07,
        hard: float = 0.0,
        queue: int = 0,
        mixup: float = 0.0,
        structure: float = 0.0,
    ):
        super().__init__(
            widths, dim, head=head, hidden=hidden, dropout=dropout, scale=scale, hard=hard, queue=queue, mixup=mixup,
            structure=structure,
        )  # fmt: skip

    def contrast(self, names: tuple[str, str], mine: Items, everyone: Items, corpora: Items) -> Tensor:
        first, second = names
        boosts = [self.boost(a, b, mine[a][1], corpora[b][1]) for a, b in (names, names[::-1])]
        links = [self.links(a, b, mine[a][1], corpora[b][1]) for a, b in (names, names[::-1])]
        alone = all(mine[name][0] is corpora[name][0] for name in names)  # one process, and no past
        if alone and not self.hard and boosts == [None, None]:
            return infonce_both(mine[first][0], mine[second][0], links[0], links[1], self.log_scale.exp())
        ways = []
        for query, corpus, linked, boost in (
            (first, second, links[0], boosts[0]),
            (second, first, links[1], boosts[1]),
        ):
            total, count = infonce(
                mine[query][0], corpora[corpus][0], linked, self.log_scale.exp(), hard=self.hard, boost=boost
            )
            ways.append(total * world() / summed(count).clamp(min=1))
        return (ways[0] + ways[1]) / 2


class SigLIP(Contrastive):
    """Each pair is judged on its own, together or not: cross-entropy of sigmoid(scale · cosine + bias).

    Sum over all pairs of -log σ(±(scale · cosine + bias)), divided by the number of positive pairs (Zhai et al. 2023,
    where that is the batch). Scale and bias are learned; the bias starts low, since most pairs are negatives.

    Options: as of `infonce`, and `bias` at the start.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        head: str = "mlp",
        hidden: int | None = None,
        dropout: float = 0.1,
        scale: float = 10.0,
        bias: float = -10.0,
        hard: float = 0.0,
        queue: int = 0,
        mixup: float = 0.0,
        structure: float = 0.0,
    ):
        super().__init__(
            widths, dim, head=head, hidden=hidden, dropout=dropout, scale=scale, hard=hard, queue=queue, mixup=mixup,
            structure=structure,
        )  # fmt: skip
        self.bias = bias
        self.shift = nn.Parameter(torch.tensor(float(bias)))

    def contrast(self, names: tuple[str, str], mine: Items, everyone: Items, corpora: Items) -> Tensor:
        first, second = names
        total = self._judged(first, second, mine[first], corpora[second])
        past = len(everyone[first][0])
        if len(corpora[first][0]) > past:  # the first stream's past against the second's present
            old = corpora[first][0][past:], corpora[first][1][past:]
            total = total + self._judged(second, first, mine[second], old)
        positives = len(self.links(first, second, mine[first][1], everyone[second][1]).weight)
        return total * world() / summed(torch.tensor(float(positives), device=total.device)).clamp(min=1)

    def _judged(self, query: str, corpus: str, queries: tuple[Tensor, Tensor], items: tuple[Tensor, Tensor]) -> Tensor:
        return sigmoid(
            queries[0],
            items[0],
            self.links(query, corpus, queries[1], items[1]),
            self.log_scale.exp(),
            self.shift,
            hard=self.hard,
            boost=self.boost(query, corpus, queries[1], items[1]),
        )


def _mixed(
    streams: Mapping[str, Tokens], rows: Mapping[str, Tensor], alpha: float
) -> tuple[dict[str, Tokens], dict[str, Tensor]]:
    """Mixed items of all streams: a tuple a row of the table, one item a stream drawn at random, mixed with another's.

    Two mixed items belong together if both their halves do: their rows are pairs of rows, numbered as one.
    """
    drawn = {name: _one_a_row(values) for name, values in rows.items()}
    common = _shared([row for row, _ in drawn.values()])
    chosen = {name: item[torch.searchsorted(row, common)] for name, (row, item) in drawn.items()}
    other = torch.randperm(len(common), device=common.device)
    vectors = {name: streams[name].pooled[numbers] for name, numbers in chosen.items()}
    mixed = fusemix(vectors, {name: v[other] for name, v in vectors.items()}, alpha=alpha)
    base = 1 + max(int(values.max()) for values in rows.values())
    theirs = {}
    for name, numbers in chosen.items():
        first, second = rows[name][numbers], rows[name][numbers[other]]
        both = (first[:, :, None] * base + second[:, None]).flatten(1)
        theirs[name] = both.masked_fill(((first[:, :, None] < 0) | (second[:, None] < 0)).flatten(1), -1)
    return {name: Tokens.from_vector(v) for name, v in mixed.items()}, theirs


def _one_a_row(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every row that has an item, ascending, and one of its items, drawn at random."""
    item, column = (rows >= 0).nonzero(as_tuple=True)
    order = torch.randperm(len(item), device=rows.device)
    item, row = item[order], rows[item, column][order]
    order = row.argsort(stable=True)
    distinct, counts = row[order].unique_consecutive(return_counts=True)
    return distinct, item[order][counts.cumsum(0) - counts]


def _shared(rows: list[Tensor]) -> Tensor:
    """The rows that all have, ascending."""
    distinct, counts = torch.cat(rows).unique(return_counts=True)
    return distinct[counts == len(rows)]


def _present(aligned: Mapping[str, Tokens]) -> dict[str, Tensor]:
    return {name: tokens.present for name, tokens in aligned.items()}


def _gathered_rows(rows: Tensor) -> Tensor:
    """`rows` [n, M] of every process; M may differ between them."""
    if world() == 1:
        return rows
    widest = torch.tensor(rows.shape[1], device=rows.device)
    torch.distributed.all_reduce(widest, torch.distributed.ReduceOp.MAX)
    return gathered(nn.functional.pad(rows, (0, int(widest) - rows.shape[1]), value=-1))
