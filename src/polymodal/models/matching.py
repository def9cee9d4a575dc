"""Matcher: whether an item of one stream and one of another belong together, judged from the tokens of both."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.part import Part
from polymodal.core.types import Tokens
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.pool import masked_mean, masked_softmax
from polymodal.nn.layers.projection import Projection
from polymodal.nn.normalize import l2_normalize

SHARPNESS = 9.0  # of attention at the start, as in the paper
SCALE = 10.0  # of likeness at the start
CORRECTED = 1e-3  # spread of the weights that correct aligned tokens, at the start: next to nothing


class Matcher(Part):
    """Cross-attention both ways over the tokens of two items (Lee et al. 2018, SCAN), from where an aligner ends.

    Every token attends to the other item's tokens and is compared, by cosine, with what it found there; the mean over
    an item's tokens is how much of it the other explains. Log-odds are the mean of both directions times a learned
    scale, plus a bias. So a word may find its patch, where an aligner compares one vector with one. Tokens are those of
    the aligner, corrected by a learned map of the encoder's: at the start it is the aligner, token by token, which few
    pairs suffice to improve. One matcher serves every pair of its streams.

    `widths` are those of the encoders' tokens, `dim` the aligner's. Options: `dropout` of the encoders' tokens.

    `trust` is what the cosine of the aligned vectors counts beside the log-odds where found items are put in order.
    """

    trust: Tensor

    def __init__(self, widths: Mapping[str, int], dim: int, *, dropout: float = 0.2):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.widths = {name: widths[name] for name in self.names}
        if len(self.names) < 2:
            raise BadArgument(f"A matcher judges items of two streams; got {', '.join(self.names) or 'none'}.")
        self.dim = check_count("dim", dim)
        self.dropout = check_dropout(dropout)
        self.maps = Named({name: _correction(width, dim, dropout) for name, width in self.widths.items()})
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("trust", torch.zeros(()))

    def forward(self, a: str, left: Tokens, b: str, right: Tokens) -> Tensor:
        """Log-odds [B] that row i of `left`, of the stream `a`, and row i of `right`, of `b`, belong together.

        Both are as `beside` makes them. Which is named first changes nothing. A row that lacks one of them has a number
        without meaning. Raises `BadData` for a stream that it does not know, and for two items of one stream: of such
        it has seen no pair.
        """
        return self.judged(a, self.mapped(a, left), b, self.mapped(b, right))

    def mapped(self, name: str, tokens: Tokens) -> Tokens:
        """Tokens [B, T, width + dim] of the stream `name` as [B, T, dim] of length one: all that an item needs."""
        if name not in self.names:
            raise BadData(f"This matcher was built without the stream {name!r}.{suggest(name, self.names)}")
        own, aligned = tokens.cleared().x.split([self.widths[name], self.dim], -1)
        x = l2_normalize(aligned + self.maps[name](own))
        return Tokens(x, tokens.mask, masked_mean(x, tokens.mask)).cleared()

    def judged(self, a: str, left: Tokens, b: str, right: Tokens) -> Tensor:
        """`forward`, of items that went through `mapped`."""
        if a == b:
            raise BadData(f"A matcher judges items of two streams; both are of {a!r}.")
        near = left.x @ right.x.transpose(1, 2)
        likeness = self._explained(left, right, near) + self._explained(right, left, near.transpose(1, 2))
        return self.log_scale.exp() * likeness / 2 + self.bias

    def _explained(self, tokens: Tokens, other: Tokens, near: Tensor) -> Tensor:
        """[B]: the mean cosine of an item's tokens and what each finds in the other; `near` [B, T, S] are cosines."""
        seen = masked_softmax(near * self.log_sharpness.exp(), other.mask[:, None].expand_as(near)).to(other.x.dtype)
        cosine = F.cosine_similarity(tokens.x, seen @ other.x, dim=-1)
        return masked_mean(cosine[..., None], tokens.mask)[:, 0]


def _correction(width: int, dim: int, dropout: float) -> Projection:
    """A linear map that begins with next to nothing."""
    found = Projection(width, dim, kind="linear", dropout=dropout)
    nn.init.normal_(found.linear.weight, std=CORRECTED)
    nn.init.zeros_(found.linear.bias)
    return found


def beside(tokens: Tokens, aligned: Tokens) -> Tokens:
    """Tokens of an encoder and the same of an aligner, side by side, [B, T, width + dim], as a matcher reads them."""
    return Tokens(torch.cat([tokens.x, aligned.x], -1), tokens.mask, aligned.pooled)
