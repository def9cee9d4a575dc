"""Relations: what the streams together look up among a stream's tokens, and how every token stands to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.position import place_features
from polymodal.nn.layers.streams import Join
from polymodal.nn.precision import at_least_float32, autocast_type

PLACE = 64  # channels that tell a token's place; fewer leave out wavelengths that a picture needs


class Relation(Fusion):
    """A relation network (Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap 2017) whose pairs are
    what was looked up and every token.

    The paper sums g(o_i, o_j, question) over all pairs of a picture's cells. Here i is looked up first, so that n
    tokens cost n pairs, not n². Each stream is asked c = batch norm(linear [pooled vectors of the others]), by `heads`
    products: f = Σ_i ⟨norm(Q c), norm(K (o_i - ō))⟩ V [o_i; place_i] / √(n · width), which is attention without softmax
    (Katharopoulos et al. 2020), ō being the tokens' mean. Then m = relu(M [f, c of all streams]), r = Σ_j g(m, o_j) /
    √n with g(m, o) = relu(W relu(A m + B [o; place])), and the fused vector is gelu of a linear map of r, c of all
    streams and m. An absent stream finds nothing, and c knows that it is absent. One stream alone is asked by itself.

    Why no softmax, and why batch norm: what only a token and a question together tell is a product of three, question ·
    key · value. A softmax begins as a plain mean, and questions that share most words begin as one vector; either way
    training rests for thousands of steps on what scenes are like on the whole (docs/measurements.md).
    """

    level: ClassVar[str] = "hybrid"
    reads_tokens: ClassVar[bool] = True

    def __init__(self, widths: Mapping[str, int], dim: int, *, heads: int = 4, width: int = 64, dropout: float = 0.0):
        super().__init__(widths, dim)
        self.heads = check_count("heads", heads)
        self.width = check_count("width", width)
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        count = len(self.names)
        self.given = nn.ModuleList(Join(list(_others(self.widths, name)), width) for name in self.names)
        self.even = nn.ModuleList(nn.BatchNorm1d(width, affine=False) for _ in self.names)
        self.ask = nn.ModuleList(nn.Linear(width, heads * width) for _ in self.names)
        self.key = nn.ModuleList(nn.Linear(w, heads * width) for w in self.widths.values())
        self.value = nn.ModuleList(nn.Linear(w + PLACE, heads * width) for w in self.widths.values())
        self.middle = nn.Linear(count * (heads + 1) * width, width)
        self.left = nn.Linear(width, width)
        self.right = nn.ModuleList(nn.Linear(w + PLACE, width, bias=False) for w in self.widths.values())
        self.pair = nn.Linear(width, width)
        self.out = nn.Linear((2 * count + 1) * width, dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        given = list(streams.values())
        with torch.autocast(autocast_type(given[0].x), enabled=False):  # in bfloat16 questions hardly differ
            return self._fused([replace(s, x=at_least_float32(s.x), pooled=at_least_float32(s.pooled)) for s in given])

    def _fused(self, given: list[Tokens]) -> Tokens:
        present = presence(given)
        asked = self._asked([self.drop(s.pooled) for s in given], present)
        placed = [_placed(s) for s in given]
        found = [self._found(k, asked[k], s, placed[k]) for k, s in enumerate(given)]
        middle = F.relu(self.middle(torch.cat([*found, *asked], 1)))
        related = [self._related(k, middle, s, placed[k]) for k, s in enumerate(given)]
        fused = F.gelu(self.out(self.drop(torch.cat([*related, middle, *asked], 1))))
        return Tokens.from_vector(fused, present.any(1))

    def _asked(self, pooled: list[Tensor], present: Tensor) -> list[Tensor]:
        """What each stream is asked by the others, K vectors [B, width]; a stream alone asks itself."""
        numbers = range(len(pooled))
        chosen = [[j for j in numbers if j != k] or [k] for k in numbers]
        there = present.unbind(1)
        joined = [
            join([pooled[j] for j in some], torch.stack([there[j] for j in some], 1))
            for join, some in zip(self.given, chosen)
        ]
        return [self._evened(even, c) for even, c in zip(self.even, joined)]

    @staticmethod
    def _evened(even: nn.Module, asked: Tensor) -> Tensor:
        """What distinguishes rows at the same scale as what all share; a single row has nothing to be told from."""
        if len(asked) > 1 or not even.training:
            return even(asked)
        return F.batch_norm(asked, even.running_mean, even.running_var, eps=even.eps)

    def _found(self, k: int, asked: Tensor, stream: Tokens, placed: Tensor) -> Tensor:
        """What is looked up in stream k, [B, heads · width]; zero where it is absent."""
        query = self._normed(self.ask[k](asked)[:, None])
        key, value = self._normed(self.key[k](_apart(stream))), self._split(self.value[k](placed))
        scores = (query * key).sum(-1) / self.width**0.5
        return torch.einsum("bth,bthw->bhw", scores * _share(stream.mask, scores), value).flatten(1)

    def _related(self, k: int, middle: Tensor, stream: Tokens, placed: Tensor) -> Tensor:
        """The sum over stream k's tokens of how each stands to what was found, [B, width]."""
        pairs = F.relu(self.pair(F.relu(self.left(middle)[:, None] + self.right[k](placed))))
        return (pairs * _share(stream.mask, pairs)).sum(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.width))

    def _normed(self, x: Tensor) -> Tensor:
        return F.layer_norm(self._split(x), (self.width,))


def _others(widths: Mapping[str, int], name: str) -> list[int]:
    """The widths of the other streams; its own where it has no other."""
    return [width for other, width in widths.items() if other != name] or [widths[name]]


def _apart(stream: Tokens) -> Tensor:
    """[B, T, width] tokens less their mean, since what all share tells none of them apart; a single one as it is."""
    several = stream.mask.sum(1, keepdim=True) > 1
    shared = masked_mean(stream.x, stream.mask)
    return stream.x - torch.where(several, shared, 0.0)[:, None]


def _placed(stream: Tokens) -> Tensor:
    """[B, T, width + PLACE]: tokens and their places; zeros where the stream tells none."""
    if stream.where is None:
        return F.pad(stream.x, (0, PLACE))
    where = torch.where(stream.mask[..., None], stream.where, 0.0)
    return torch.cat([stream.x, place_features(where, PLACE).to(stream.x.dtype)], -1)


def _share(mask: Tensor, like: Tensor) -> Tensor:
    """[B, T, 1]: 1 / √n for each of a row's n real tokens, else 0."""
    real = mask.to(like.dtype)[..., None]
    return real / real.sum(1, keepdim=True).clamp(min=1).sqrt()
