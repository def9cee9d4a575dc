"""Cross-domain similarity local scaling: cosine, less what a point is near to everything."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.nn.normalize import l2_normalize

CHUNK = 2048  # queries at a time


def nearness(points: Tensor, among: Tensor, *, k: int) -> Tensor:
    """[N, min(k, M)]: the cosines of each of `points` [N, D] to its `k` nearest `among` [M, D], the nearest first.

    Raises `BadArgument` when there is nothing to be near to.
    """
    if k < 1 or not len(among):
        raise BadArgument(f"Nearness needs k of at least 1 and a point to be near to; got k={k} and {len(among)}.")
    points, among = l2_normalize(points), l2_normalize(among)
    k = min(k, len(among))
    blocks = [(block @ among.T).topk(k, dim=1).values for block in points.split(CHUNK)]
    return torch.cat(blocks) if blocks else points.new_zeros(0, k)


def crowding(points: Tensor, among: Tensor, *, k: int = 10) -> Tensor:
    """[N]: the mean cosine of each of `points` [N, D] to its `k` nearest `among` [M, D] (all of them if fewer).

    High for hubs, which are near to everything. Raises `BadArgument` when there is nothing to be near to.
    """
    return nearness(points, among, k=k).mean(1)


def crowding_apart(near: Tensor, cosine: Tensor, counted: Tensor) -> Tensor:
    """[N]: the crowding of points apart from one of their neighbours each, from their k + 1 nearest `near` [N, k + 1].

    `cosine` [N] is how near that neighbour is, `counted` [N] whether it is among those looked at.
    """
    k = near.shape[1] - 1
    within = counted & (cosine >= near[:, -1])
    return torch.where(within, near.sum(1) - cosine, near[:, :k].sum(1)) / k


def csls(queries: Tensor, corpus: Tensor, *, k: int = 10, asked: Tensor | None = None) -> Tensor:
    """[Nq, Nc]: 2 cos(q, c) - r(q) - r(c), CSLS (Conneau, Lample, Ranzato, Denoyer & Jégou 2018).

    r(q) is the mean cosine of q to its `k` nearest of the corpus, r(c) that of c to its nearest of `asked`: a sample
    of queries, by default those given. With it an item is not found merely because it lies in the middle.
    """
    return scaled(
        l2_normalize(queries) @ l2_normalize(corpus).T,
        crowding(queries, corpus, k=k),
        crowding(corpus, queries if asked is None else asked, k=k),
    )


def scaled(cosine: Tensor, query: Tensor, item: Tensor) -> Tensor:
    """CSLS of cosines [Nq, Nc] from the crowding of each query [Nq] and of each item [Nc]."""
    return 2 * cosine - query[:, None] - item[None, :]


def csls_nearest(queries: Tensor, corpus: Tensor, *, k: int = 10) -> tuple[Tensor, Tensor]:
    """The best item of each query by CSLS: its number [Nq] and its cosine [Nq]. A block of queries at a time."""
    queries, corpus = l2_normalize(queries), l2_normalize(corpus)
    items = crowding(corpus, queries, k=k)
    numbers, cosines = [], []
    for block in queries.split(CHUNK):
        cosine = block @ corpus.T
        best = (2 * cosine - items).argmax(1)  # a query's own crowding changes no order
        numbers.append(best)
        cosines.append(cosine.gather(1, best[:, None])[:, 0])
    return torch.cat(numbers), torch.cat(cosines)


def mutual_nearest(a: Tensor, b: Tensor, *, k: int = 10) -> tuple[Tensor, Tensor]:
    """Numbers (i, j) of the items of a [Na, D] and b [Nb, D] that are each other's nearest by CSLS."""
    there, _ = csls_nearest(a, b, k=k)
    back, _ = csls_nearest(b, a, k=k)
    i = torch.arange(len(a), device=a.device)
    kept = back[there] == i
    return i[kept], there[kept]
