"""Contrastive losses of many items at flat memory: the matrix of all pairs is never held, nor kept for the gradient.

Queries go in chunks. Each chunk's logits, its share of the loss and of the gradient with respect to queries, corpus,
scale and bias are computed together, so one pass costs three matrix products, as one backward pass would. Both
directions of a softmax share them (`infonce_both`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.aligners.pairs import pairs
from polymodal.nn.precision import autocast_type

CELLS = 1 << 20  # logits held at a time
KEPT = 8  # … times as many cosines are kept for a second look


@dataclass(frozen=True, eq=False)
class Links:
    """Which corpus items belong to which queries: `query` [P] ascending, `item` [P] and `weight` [P], positive."""

    query: Tensor
    item: Tensor
    weight: Tensor

    @classmethod
    def of(cls, queries: Tensor, corpus: Tensor, dtype: torch.dtype = torch.float32) -> Links:
        """Every pair that shares a row, with weight one; `queries` [Nq, M], `corpus` [Nc, M] are `rows` of `Side`."""
        query, item = pairs(queries, corpus)
        return cls(query, item, torch.ones(len(query), dtype=dtype, device=query.device))

    def shared(self, count: int) -> tuple[Links, Tensor]:
        """The same with each query's weights summing to one, and [count] bool: which queries have any."""
        total = self.weight.new_zeros(count).index_add(0, self.query, self.weight)
        return Links(self.query, self.item, self.weight / total[self.query]), total > 0

    def between(self, start: int, stop: int) -> Links:
        """Those of the queries `start` to `stop`, counted from `start`."""
        first, last = torch.searchsorted(self.query, torch.tensor([start, stop], device=self.query.device)).tolist()
        return Links(self.query[first:last] - start, self.item[first:last], self.weight[first:last])


def infonce(
    queries: Tensor, corpus: Tensor, links: Links, scale: Tensor, *, hard: float = 0.0, boost: Links | None = None
) -> tuple[Tensor, Tensor]:
    """Sum over queries i that have positives of -Σ_p w_ip log softmax_p(scale · cos_i), and how many they are.

    One direction of InfoNCE (van den Oord et al. 2018); with several positives, weights w shared among them, it is the
    supervised contrastive loss (Khosla et al. 2020). `queries` [Nq, D] and `corpus` [Nc, D] have length one.

    `hard` β > 0 weighs each negative by exp(β · logit), with mean one over the query's negatives (Robinson et al.
    2021). `boost` adds its weights to the logits of the pairs that it names: a log-weight of chosen negatives.
    """
    links, known = links.shared(len(queries))
    kernel = partial(_softmax, share=known.to(queries.dtype), hard=hard)
    zero = queries.new_zeros(())
    return _Chunked.apply(queries, corpus, scale, zero, links, boost, kernel), known.sum()  # type: ignore[no-any-return]


def infonce_both(first: Tensor, second: Tensor, there: Links, back: Links, scale: Tensor) -> Tensor:
    """The mean of both directions of `infonce`, each over its queries that have positives, from one matrix of cosines.

    `there` links `first` [N, D] to `second` [M, D], `back` the other way.
    """
    sides = []
    for links, count in ((there, len(first)), (back, len(second))):
        links, known = links.shared(count)
        share = known.to(first.dtype) / (2 * known.sum().clamp(min=1))
        sides.append((Links(links.query, links.item, links.weight.to(first.dtype) * share[links.query]), share))
    return _BothWays.apply(first, second, scale, *sides[0], *sides[1])  # type: ignore[no-any-return]


def sigmoid(
    queries: Tensor,
    corpus: Tensor,
    links: Links,
    scale: Tensor,
    bias: Tensor,
    *,
    hard: float = 0.0,
    boost: Links | None = None,
) -> Tensor:
    """Sum over all pairs of the cross-entropy of σ(scale · cos + bias) against whether they belong together.

    SigLIP (Zhai et al. 2023); `links.weight` in 0..1 are soft truths. `hard` and `boost` as in `infonce`.
    """
    return _Chunked.apply(queries, corpus, scale, bias, links, boost, partial(_sigmoid, hard=hard))  # type: ignore[no-any-return]


Kernel = Callable[[Tensor, Links, slice], tuple[Tensor, Tensor]]  # logits to their loss and its gradient


def _softmax(logits: Tensor, links: Links, rows: slice, *, share: Tensor, hard: float) -> tuple[Tensor, Tensor]:
    here = (links.query, links.item)
    if hard:
        logits = logits + _log_weights(logits, links, hard)
    normaliser = logits.logsumexp(1)
    weight = links.weight * share[rows][links.query]
    value = normaliser @ share[rows] - weight @ logits[here]
    gradient = (logits - normaliser[:, None]).exp_().mul_(share[rows, None])
    return value, gradient.index_put_(here, -weight, accumulate=True)


def _sigmoid(logits: Tensor, links: Links, rows: slice, *, hard: float) -> tuple[Tensor, Tensor]:
    here = (links.query, links.item)
    each, gradient = F.softplus(logits), logits.sigmoid()
    if hard:
        weights = _log_weights(logits, links, hard).exp_()
        each, gradient = each * weights, gradient * weights
    value = each.sum() - links.weight @ logits[here]
    return value, gradient.index_put_(here, -links.weight, accumulate=True)


def _log_weights(logits: Tensor, links: Links, hard: float) -> Tensor:
    """log of exp(β logit) over its mean, of each query's negatives; zero at positives."""
    here = (links.query, links.item)
    tilted = (logits * hard).index_put_(here, logits.new_tensor(-torch.inf))
    negatives = logits.shape[1] - torch.bincount(links.query, minlength=len(logits))
    mean = tilted.logsumexp(1) - negatives.clamp(min=1).to(logits.dtype).log()
    return (tilted - mean[:, None]).index_put_(here, logits.new_zeros(()))


class _Chunked(torch.autograd.Function):
    """The sum of a kernel over all logits = scale · queries · corpusᵀ + bias (+ boost), some queries at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        corpus: Tensor,
        scale: Tensor,
        bias: Tensor,
        links: Links,
        boost: Links | None,
        kernel: Kernel,
    ) -> Tensor:
        with torch.autocast(autocast_type(queries), enabled=False):
            total, factor = queries.new_zeros(()), scale.to(queries.dtype)
            gradients = (
                torch.empty_like(queries),
                torch.zeros_like(corpus),
                torch.zeros_like(total),
                torch.zeros_like(total),
            )
            step = max(1, CELLS // max(1, len(corpus)))
            for start in range(0, len(queries), step):
                rows = slice(start, min(start + step, len(queries)))
                cosine = queries[rows] @ corpus.T
                logits = cosine * factor + bias
                if boost is not None:
                    some = boost.between(rows.start, rows.stop)
                    logits.index_put_((some.query, some.item), some.weight.to(logits.dtype), accumulate=True)
                value, gradient = kernel(logits, links.between(rows.start, rows.stop), rows)
                total += value
                gradients[2].add_((gradient * cosine).sum())
                gradients[3].add_(gradient.sum())
                gradient *= factor
                torch.mm(gradient, corpus, out=gradients[0][rows])
                gradients[1].addmm_(gradient.T, queries[rows])
            ctx.save_for_backward(*gradients)
            ctx.types = scale.dtype, bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, corpus, scale, bias = (gradients[0] * saved for saved in ctx.saved_tensors)
        return queries, corpus, scale.to(ctx.types[0]), bias.to(ctx.types[1]), None, None, None


class _BothWays(torch.autograd.Function):
    """The sum over rows and over columns of `share` · logsumexp, less the linked logits by their weights.

    Some rows at a time, twice: first what each row and each column is normalised by, then the gradients. Cosines serve
    both where they are few enough to be kept.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, scale: Tensor, there: Links, rows: Tensor, back: Links, columns: Tensor
    ) -> Tensor:
        with torch.autocast(autocast_type(first), enabled=False):
            factor = scale.to(first.dtype)
            step = max(1, CELLS // max(1, len(second)))
            chunks = [slice(start, min(start + step, len(first))) for start in range(0, len(first), step)]
            by_row = first.new_empty(len(first))
            by_column = first.new_full((len(second),), -torch.inf)
            kept = len(first) * len(second) <= KEPT * CELLS
            cosines = []
            for chunk in chunks:
                cosine = first[chunk] @ second.T
                cosines += [cosine] if kept else []
                logits = cosine * factor
                by_row[chunk] = logits.logsumexp(1)
                by_column = torch.logaddexp(by_column, logits.logsumexp(0))
            order = back.item.argsort(stable=True)
            back = Links(back.item[order], back.query[order], back.weight[order])  # by rows, as the chunks go
            known = (torch.where(share > 0, norm, 0.0) for norm, share in ((by_row, rows), (by_column, columns)))
            total = torch.stack([norm @ share for norm, share in zip(known, (rows, columns))]).sum()
            gradients = torch.empty_like(first), torch.zeros_like(second), torch.zeros_like(total)
            for i, chunk in enumerate(chunks):
                cosine = cosines[i] if kept else first[chunk] @ second.T
                logits = cosine * factor
                gradient = (logits - by_row[chunk, None]).exp_().mul_(rows[chunk, None])
                gradient.add_((logits - by_column).exp_().mul_(columns))
                for links in (there, back):
                    some = links.between(chunk.start, chunk.stop)
                    total -= some.weight @ logits[some.query, some.item]
                    gradient.index_put_((some.query, some.item), -some.weight, accumulate=True)
                gradients[2].add_(torch.dot(gradient.view(-1), cosine.view(-1)))
                gradient *= factor
                torch.mm(gradient, second, out=gradients[0][chunk])
                gradients[1].addmm_(gradient.T, first[chunk])
            ctx.save_for_backward(*gradients)
            ctx.type = scale.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, second, scale = (gradients[0] * saved for saved in ctx.saved_tensors)
        return first, second, scale.to(ctx.type), None, None, None, None
