"""Matcher: whether an item of one stream and one of another belong together, judged from the tokens of both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.attention import MultiHeadAttention
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.projection import Projection


class Matcher(Part):
    """Attend, compare, aggregate (Parikh et al. 2016; Chen et al. 2017, ESIM), over the tokens of two streams.

    Each token attends to all tokens of the other item, is compared with what it found there, and the comparisons of
    either item, their mean and their greatest, are judged together. Where an aligner gives each item one vector and
    compares these, here every word meets every patch. It is trained as BLIP's image–text matching (Li et al. 2022):
    a binary answer, against negatives that the aligner takes for near. One matcher serves every pair of its streams.

    `widths` are those of the streams' tokens. Options: `dim`, the width within, a multiple of `heads`; `dropout`.

    `trust` is what the cosine of the aligned vectors counts beside the log-odds where found items are put in order.
    """

    trust: Tensor

    def __init__(self, widths: Mapping[str, int], *, dim: int = 128, heads: int = 4, dropout: float = 0.2):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.widths = {name: widths[name] for name in self.names}
        if len(self.names) < 2:
            raise BadArgument(f"A matcher judges items of two streams; got {', '.join(self.names) or 'none'}.")
        self.dim = check_count("dim", dim)
        self.heads = check_count("heads", heads)
        self.dropout = check_dropout(dropout)
        self.maps = Named({n: Projection(w, dim, kind="linear", dropout=dropout) for n, w in self.widths.items()})
        self.attention = MultiHeadAttention(dim, heads)
        self.compare = nn.Sequential(nn.Linear(4 * dim, dim), nn.GELU(), nn.Dropout(dropout))
        self.judge = nn.Sequential(nn.LayerNorm(4 * dim), nn.Linear(4 * dim, dim), nn.GELU(), nn.Dropout(dropout),
                                   nn.Linear(dim, 1))  # fmt: skip
        self.register_buffer("trust", torch.zeros(()))

    def forward(self, a: str, left: Tokens, b: str, right: Tokens) -> Tensor:
        """Log-odds [B] that row i of `left`, tokens of the stream `a`, and row i of `right`, of `b`, belong together.

        Which of both is named first changes nothing. A row that lacks one of them has a number without meaning. Raises
        `BadData` for a stream that it does not know, and for two items of one stream: of such it has seen no pair.
        """
        return self.judged(a, self.mapped(a, left), b, self.mapped(b, right))

    def mapped(self, name: str, tokens: Tokens) -> Tokens:
        """Tokens [B, T, width] of the stream `name` as [B, T, dim], which all pairs that an item is in share."""
        if name not in self.names:
            raise BadData(f"This matcher was built without the stream {name!r}.{suggest(name, self.names)}")
        x = self.maps[name](tokens.cleared().x)
        return Tokens(x, tokens.mask, masked_mean(x, tokens.mask)).cleared()

    def judged(self, a: str, left: Tokens, b: str, right: Tokens) -> Tensor:
        """`forward`, of items that went through `mapped`."""
        if a == b:
            raise BadData(f"A matcher judges items of two streams; both are of {a!r}.")
        first, second = (left, right) if a < b else (right, left)
        told = torch.cat([self._told(first, second), self._told(second, first)], 1)
        return self.judge(told)[:, 0]

    def _told(self, tokens: Tokens, other: Tokens) -> Tensor:
        """[B, 2 dim]: the comparisons of the tokens of one item with what they find in the other, mean and greatest."""
        found = self.attention(tokens.x, other.mask, other.x)
        both = torch.cat([tokens.x, found, tokens.x * found, (tokens.x - found).abs()], -1)
        compared = self.compare(both)
        hidden = torch.where(tokens.mask[..., None], compared, torch.finfo(compared.dtype).min)
        greatest = torch.where(tokens.present[:, None], hidden.amax(1), 0.0)
        return torch.cat([masked_mean(compared, tokens.mask), greatest], 1)
