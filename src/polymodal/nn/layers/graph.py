"""Message passing over small dense graphs, a graph a row, with nodes and edges that may be missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.graphs import pieces
from polymodal.nn.layers.block import FeedForward, TokenDropout
from polymodal.nn.layers.pool import masked_softmax

LEAK = 0.2  # of the leaky rectifier in attention, as in both papers
PAIRS = 1 << 18  # numbers of pairs of nodes formed at a time: what stays in a core's cache


class Messages(nn.Module):
    """One round: what every node hears from its neighbours.

    `nodes` [B, N, dim]; `edges` [B, L, N] bool, [b, i, j] True where node i hears node j; only the first L nodes
    listen, which may be all. `bias` [H, L, N] or [B, H, L, N] (H heads, or 1) is added to the score of each edge: the
    logarithm of its weight. Returns [B, L, dim], zero for a node that hears nobody. `BadArgument` when `dim` is no
    multiple of `heads`.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = [h for h in range(1, dim + 1) if dim % h == 0]
            raise BadArgument(f"A width of {dim} cannot be cut into {heads} heads. Allowed: {fitting}.")
        self.heads = heads

    def forward(self, nodes: Tensor, edges: Tensor, bias: Tensor | None = None) -> Tensor:
        """Messages of one round."""
        raise NotImplementedError

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, dim] to [B, H, N, dim / H]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _gathered(self, scores: Tensor, values: Tensor, edges: Tensor, bias: Tensor | None) -> Tensor:
        """Scores [B, H, L, N] and values [B, H, N, d] to the weighted mean over each node's neighbours [B, L, dim]."""
        scores = scores if bias is None else scores + bias
        weights = masked_softmax(scores, edges[:, None].expand(scores.shape))
        return (weights @ values).transpose(1, 2).flatten(-2)


class GraphAttention(Messages):
    """Graph attention (Veličković et al. 2018): e_ij = LeakyReLU(s·W h_j + t·W h_i), m_i = Σ_j softmax_j(e_ij) W h_j.

    Cheap, but every node ranks its neighbours alike: t · W h_i only shifts the scores within the leaky rectifier.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.values = nn.Linear(dim, dim)
        self.source = nn.Parameter(torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)
        self.target = nn.Parameter(torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)

    def forward(self, nodes: Tensor, edges: Tensor, bias: Tensor | None = None) -> Tensor:
        values = self._split(self.values(nodes))
        source = (values * self.source[:, None]).sum(-1)
        target = (values[:, :, : edges.shape[1]] * self.target[:, None]).sum(-1)
        scores = F.leaky_relu(target[..., None] + source[..., None, :], LEAK)
        return self._gathered(scores, values, edges, bias)


class GraphAttention2(Messages):
    """GATv2 (Brody, Alon, Yahav 2022): e_ij = a · LeakyReLU(W_s h_j + W_t h_i), m_i = Σ_j softmax_j(e_ij) W_s h_j.

    Who is heard depends on who listens. All pairs are formed, some rows at a time, which on a CPU is quicker than
    `GATv2Conv` of PyTorch Geometric 2.8 over the same edges (forward and backward, 64 channels, one thread, graphs put
    together beforehand; `benchmarks/graph.py`): 8.3 ms against 9.0 for 128 graphs of 15 nodes, 16 against 27 for
    27 nodes, 29 against 49 for 512 graphs of 17; not for 4 nodes, 1.4 against 1.0.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.source = nn.Linear(dim, dim)
        self.target = nn.Linear(dim, dim)
        self.score = nn.Parameter(torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)

    def forward(self, nodes: Tensor, edges: Tensor, bias: Tensor | None = None) -> Tensor:
        source, target = self.source(nodes), self.target(nodes[:, : edges.shape[1]])
        weight = torch.block_diag(*self.score)  # [H, dim]: every head scores its own channels
        rows = max(1, PAIRS // (edges[0].numel() * nodes.shape[2]))
        scores = torch.cat(
            [
                F.linear(F.leaky_relu(t[:, :, None] + s[:, None], LEAK, inplace=True), weight)  # [b, L, N, H]
                for s, t in zip(pieces(source, rows), pieces(target, rows))
            ]
        )
        return self._gathered(scores.permute(0, 3, 1, 2), self._split(source), edges, bias)


class GatedMessages(Messages):
    """Gated messages: m_i = mean_j σ(q_i · k_j / √d + b_ij) W h_j over the neighbours, so that a node may hear nobody.

    The learned edges are gates and do not compete; in the manner of Bresson & Laurent (2017), with one gate a head.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.values = nn.Linear(dim, dim)

    def forward(self, nodes: Tensor, edges: Tensor, bias: Tensor | None = None) -> Tensor:
        query = self._split(self.query(nodes[:, : edges.shape[1]]))
        key, values = self._split(self.key(nodes)), self._split(self.values(nodes))
        scores = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5
        gates = (scores if bias is None else scores + bias).sigmoid() * edges[:, None]
        heard = edges.sum(-1).clamp(min=1)[:, None, :, None]
        return (gates.to(values.dtype) @ values / heard.to(values.dtype)).transpose(1, 2).flatten(-2)


MESSAGES: dict[str, type[Messages]] = {"gat": GraphAttention, "gatv2": GraphAttention2, "gated": GatedMessages}


class GraphBlock(nn.Module):
    """Two steps, pre-norm: a node adds what it hears, x + W m(norm(x)), then thinks, x + feed-forward(norm(x)).

    `messages` is one of `MESSAGES`; raises `BadArgument` for another. `dropout` acts on both branches.
    """

    def __init__(self, dim: int, heads: int, *, messages: str = "gatv2", expansion: float = 1.0, dropout: float = 0.0):
        super().__init__()
        if messages not in MESSAGES:
            raise BadArgument(f"Unknown messages {messages!r}.{suggest(messages, MESSAGES)}")
        self.norm = nn.LayerNorm(dim)
        self.messages = MESSAGES[messages](dim, heads)
        self.out = nn.Linear(dim, dim, bias=False)  # no bias: who hears nobody is not moved
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion)
        self.dropout = TokenDropout(dropout)

    def forward(self, nodes: Tensor, edges: Tensor, bias: Tensor | None = None) -> Tensor:
        """Arguments as in `Messages`; returns the nodes that listen, [B, L, dim], after one round."""
        heard = self.messages(self.norm(nodes), edges, bias)
        own = nodes[:, : edges.shape[1]] + self.dropout(self.out(heard))
        return own + self.dropout(self.feed(self.feed_norm(own)))
