"""Factorised bilinear pooling: products between streams through small cores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import mul

import torch
from torch import nn
from torch.nn import functional as F

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.bilinear import low_rank_factors, low_rank_product, low_rank_terms, signed_root, with_one
from polymodal.nn.layers.streams import Project


class Mfb(Fusion):
    """Multi-modal factorised bilinear pooling (Yu, Yu, Fan, Tao 2017).

    z_o = Σ_{r ≤ rank} Π_k (U_k^{o,r} [x_k; 1]): products channel by channel in rank · dim channels, summed in groups of
    `rank`; then the signed square root of every z_o and division by their l2 norm. The paper's product of two streams
    becomes one of K; the 1 appended keeps the lower orders, and what a row without the stream multiplies by. `dropout`
    acts on the products before they are summed, as in the paper. The result is scaled by √dim, so that a channel
    and not the vector has unit size.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, rank: int = 5, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.rank = rank
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.factors = low_rank_factors(self.widths.values(), check_count("rank", rank), dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        products = low_rank_terms([with_one(s.pooled) for s in streams.values()], list(self.factors))
        pooled = signed_root(torch.sum(self.drop(products), 1))
        return Tokens.from_vector(F.normalize(pooled, dim=1) * self.dim**0.5, presence(streams.values()).any(1))


class Mlb(Fusion):
    """Multi-modal low-rank bilinear pooling (Kim, On, Lim, Kim, Ha, Zhang 2017), of K streams, normalised.

    y = gelu(P Π_k norm(W_k x_k + b_k)), products entry by entry in `width` channels. The paper's tanh is a layer
    normalisation (Ba, Kiros, Hinton 2016) here: trained together with encoders, streams soon saturate a tanh, and what
    comes through it teaches them no more. Its bias starts at 1, which keeps the lower orders; an absent stream
    multiplies by 1. `dropout` acts on the streams and on the product.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, width: int = 64, dropout: float = 0.0):
        super().__init__(widths, dim)
        self.width = width
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), check_count("width", width))
        norms = [nn.LayerNorm(width) for _ in self.names]
        for norm in norms:
            nn.init.ones_(norm.bias)
        self.norms = nn.ModuleList(norms)
        self.out = nn.Linear(width, dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        mapped = self.project([self.drop(s.pooled) for s in streams.values()]).unbind(1)
        factors = (norm(vector) for norm, vector in zip(self.norms, mapped, strict=True))
        product = reduce(mul, (torch.where(present[:, k, None], f, 1.0) for k, f in enumerate(factors)))
        return Tokens.from_vector(F.gelu(self.out(self.drop(product))), present.any(1))


class Mutan(Fusion):
    """MUTAN (Ben-younes, Cadene, Cord, Thome 2017): a Tucker decomposition whose core has a constrained rank.

    Mode products h_k = tanh(W_k x_k) bring each stream to `width` entries; a core of order K + 1 and rank `rank`
    contracts them, z = Σ_r Π_k (M_k^r [h_k; 1]) with `width` entries, and y = W_o z. The paper's core of order three
    (two streams) becomes one of order K + 1; the 1 appended keeps the lower orders, and stands for a stream that is
    absent. `dropout` acts on the streams and on z.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, width: int = 32, rank: int = 5, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.width = width
        self.rank = rank
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), check_count("width", width))
        self.core = low_rank_factors([width] * len(self.names), check_count("rank", rank), width)
        self.out = nn.Linear(width, dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        modes = self.project([self.drop(s.pooled) for s in streams.values()]).tanh() * present[..., None]
        core = low_rank_product([with_one(mode) for mode in modes.unbind(1)], list(self.core))
        return Tokens.from_vector(self.out(self.drop(core)), present.any(1))
