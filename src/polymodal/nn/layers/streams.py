"""Streams of different widths brought to one width, side by side or one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.nn.layers.position import index_features, place_features


class Project(nn.Module):
    """A linear map of its own for each of K streams, all to width `dim`."""

    def __init__(self, widths: Iterable[int], dim: int):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, dim) for width in widths)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """K vectors [B, width_k] to [B, K, dim]."""
        return torch.stack([project(vector) for project, vector in zip(self.maps, vectors, strict=True)], 1)


class Join(nn.Module):
    """K vectors side by side through one linear map; an absent stream adds a learned vector instead of its values.

    Equal to concatenating the vectors with one bit of absence a stream.
    """

    def __init__(self, widths: Sequence[int], dim: int, *, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.map = nn.Linear(sum(widths), dim)
        self.absent = nn.Linear(len(widths), dim, bias=False)

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        """K vectors [B, width_k], zero where absent, and [B, K] bool to [B, dim]."""
        joined = self.map(self.dropout(torch.cat(list(vectors), 1)))
        return joined + self.absent((~present).to(joined.dtype))


class Line(NamedTuple):
    """All tokens of all streams in one row: `x` [B, N, D] and `mask` [B, N] bool.

    `owner` [N] is the number of a token's stream; stream k's pooled vector stands at `starts[k]`.
    """

    x: Tensor
    mask: Tensor
    owner: Tensor
    starts: list[int]

    def stacked(self) -> tuple[Tensor, Tensor]:
        """The K streams apart again, padded to one length: [K, B, L, D] and [K, B, L] bool."""
        ends = [*self.starts[1:], self.x.shape[1]]
        sizes = [end - start for start, end in zip(self.starts, ends)]
        longest = max(sizes)
        x = [F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in self.x.split(sizes, 1)]
        mask = [F.pad(part, (0, longest - part.shape[1])) for part in self.mask.split(sizes, 1)]
        return torch.stack(x), torch.stack(mask)

    def gathered(self) -> tuple[Tensor, Tensor]:
        """The K pooled vectors first, then each row's real tokens without gaps, then the rest: `x` and `mask`.

        In this order padding within a stream moves no real token.
        """
        starts = torch.tensor(self.starts, device=self.x.device)
        rest = torch.tensor(sorted({*range(self.x.shape[1])}.difference(self.starts)), device=self.x.device).long()
        tokens, mask = self.x[:, rest], self.mask[:, rest]
        order = torch.argsort(~mask, dim=1, stable=True)
        at = (order + torch.arange(mask.shape[0], device=mask.device)[:, None] * mask.shape[1]).flatten()
        tokens = tokens.flatten(0, 1).index_select(0, at).view_as(tokens)
        x = torch.cat([self.x[:, starts], tokens], 1)
        return x, torch.cat([self.mask[:, starts], mask.gather(1, order)], 1)


class LineUp(nn.Module):
    """Puts the streams' tokens into one sequence, each stream led by its pooled vector.

    A token is its stream's linear map of it, plus a learned vector of the stream, plus sinusoids of its place (its
    number where the stream gives none) times a learned gain. The pooled vector comes along because encoders were
    trained to put the answer there. A stream of more than `tokens` tokens is cut into that many stretches, each
    averaged.
    """

    def __init__(self, widths: Sequence[int], dim: int, *, tokens: int = 8):
        super().__init__()
        self.dim = dim
        self.tokens = tokens
        self.maps = nn.ModuleList(nn.Linear(width, dim) for width in widths)
        self.stream = nn.Parameter(torch.randn(len(widths), dim) * 0.1)
        self.whole = nn.Parameter(torch.randn(len(widths), dim) * 0.1)  # marks the pooled vector
        self.gain = nn.Parameter(torch.full((len(widths),), 0.1))

    def forward(self, streams: Sequence[Tokens]) -> Line:
        parts, masks = [], []
        owner: list[int] = []
        starts: list[int] = []
        for k, (project, stream) in enumerate(zip(self.maps, streams, strict=True)):
            x, mask, places = self._shortened(stream)
            starts.append(len(owner))
            owner += [k] * (1 + x.shape[1])
            parts += [
                (project(stream.pooled) + self.stream[k] + self.whole[k])[:, None],
                project(x) + (self.stream[k] + self.gain[k] * places.to(x.dtype)),
            ]
            masks += [mask.any(1, keepdim=True), mask]
        return Line(torch.cat(parts, 1), torch.cat(masks, 1), torch.tensor(owner, device=x.device), starts)

    def _shortened(self, stream: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """At most `tokens` tokens, their mask, and sinusoids of their places."""
        x, mask, where = stream.x, stream.mask, stream.where
        rank = mask.cumsum(1) - 1  # a token's number among the real ones, so that padding moves nothing
        if x.shape[1] > self.tokens:
            count = mask.sum(1, keepdim=True)
            stretch = torch.where(count > self.tokens, rank * self.tokens // count.clamp(min=1), rank).clamp(min=0)
            size = _sums(mask[..., None].to(x.dtype), stretch, self.tokens)
            if where is not None:
                where = torch.where(mask[..., None], where, 0.0)
                where = _sums(where, stretch, self.tokens) / size.clamp(min=1).to(where.dtype)
            x, mask = _sums(x, stretch, self.tokens) / size.clamp(min=1), size[..., 0] > 0
            rank = torch.arange(self.tokens, device=x.device)
        if where is None:
            return x, mask, index_features(x.shape[1], self.dim, x.device)[rank.clamp(min=0)]
        return x, mask, place_features(torch.where(mask[..., None], where, 0.0), self.dim)


def _sums(x: Tensor, stretch: Tensor, count: int) -> Tensor:
    """Sums of `x` [B, T, D] over the stretches that its places [B, T] belong to: [B, count, D], in linear memory."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None] * count
    total = x.new_zeros(x.shape[0] * count, x.shape[2])
    return total.index_add(0, (stretch + rows).flatten(), x.flatten(0, 1)).view(x.shape[0], count, -1)
