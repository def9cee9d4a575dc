"""What is learned by rebuilding: the hidden parts of a cell, from the tokens of what is left."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.encoders.base import Held
from polymodal.nn.layers.block import TransformerBlock

HEAD = 32  # channels of an attention head
MOST_PLACES = 64  # tokens, and words, whose places are told apart


def heads_of(dim: int) -> int:
    """How many heads attention over tokens of width `dim` has."""
    return max(1, dim // HEAD) if dim % HEAD == 0 else 1


class Rebuilder(nn.Module):
    """What the hidden parts of a stream held, from tokens (masked autoencoders; He et al. 2022).

    A query a part attends to the tokens, in one block: a larger decoder does the encoder's work on small data. `held`
    is what parts of sample cells hold, all hidden: the losses are in units of what knowing only each part's mean, or
    how frequent words are, would cost.
    """

    usual: Tensor

    def __init__(self, dim: int, held: Sequence[Held]):
        super().__init__()
        places = [max(MOST_PLACES if one.words else 0, one.values.shape[1]) for one in held]
        self.queries = nn.ParameterList(0.02 * torch.randn(count, dim) for count in places)
        self.block = TransformerBlock(dim, heads_of(dim))
        self.out = nn.ModuleList(nn.Linear(dim, one.words or one.values.shape[2]) for one in held)
        self.register_buffer("usual", torch.stack([usual_cost(one) for one in held]))

    def forward(self, tokens: Tensor, mask: Tensor, held: Sequence[Held]) -> Tensor | None:
        """The mean loss of the hidden parts by `tokens` [B, S, dim] with `mask` [B, S]; None where none is hidden."""
        losses = []
        for query, out, usual, one in zip(self.queries, self.out, self.usual, held):
            hidden = one.hidden if one.hidden.ndim == 2 else one.hidden.any(2)
            if not hidden.any():
                continue
            places = torch.arange(hidden.shape[1], device=query.device).clamp(max=len(query) - 1)
            states = self.block(query[places].expand(len(tokens), -1, -1), mask, tokens)[hidden]
            said, truth = out(states).float(), one.values[hidden]
            if one.words:
                value = F.cross_entropy(said, truth)
            else:
                known = one.hidden[hidden].view(len(truth), -1)
                value = ((said - truth).square() * known).sum() / known.expand_as(truth).sum()
            losses.append(value / usual)
        return torch.stack(losses).mean() if losses else None


def usual_cost(held: Held) -> Tensor:
    """What it costs to say always the same of each part: the variance, or the entropy of how frequent words are."""
    known = held.hidden.float()
    if held.words:
        share = held.values[held.hidden].bincount(minlength=held.words).float()
        share = share / share.sum().clamp(min=1)
        usual = -(share * share.clamp(min=1e-9).log()).sum()
    else:
        known = known if known.ndim == 3 else known[..., None].expand_as(held.values)
        mean = (held.values * known).sum(0) / known.sum(0).clamp(min=1)
        usual = ((held.values - mean).square() * known).sum() / known.sum().clamp(min=1)
    return usual if usual > 1e-3 else torch.ones_like(usual)


class Memory(nn.Module):
    """Tokens of a stream as decoders read them: of one width, with their places."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.map = nn.Linear(width, dim)
        self.places = nn.Parameter(0.02 * torch.randn(MOST_PLACES, dim))

    def forward(self, tokens: Tokens) -> Tensor:
        places = torch.arange(tokens.x.shape[1], device=tokens.x.device).clamp(max=MOST_PLACES - 1)
        return self.map(tokens.x) + self.places[places]
