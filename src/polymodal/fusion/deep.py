"""Deep fusion: the streams' networks exchange at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.block import FeedForward
from polymodal.nn.layers.grouped import norm
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.streams import Join, Project


class Excite(nn.Module):
    """Multimodal transfer (Joze et al. 2020): all streams together say how much each channel of each stream counts.

    z = relu(W [h_1; …; h_K]) with `squeeze` units, and h_k ← 2 σ(V_k z) ⊙ h_k. Absent streams, zero in `h`, are told
    apart from zeros.
    """

    def __init__(self, count: int, dim: int, squeeze: int):
        super().__init__()
        self.squeeze = Join([dim] * count, squeeze)
        self.excite = nn.Linear(squeeze, count * dim)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        """[K, B, dim] and [B, K] bool to [K, B, dim]."""
        gates = self.excite(self.squeeze(h.unbind(0), present).relu()).sigmoid()
        return h * 2 * gates.unflatten(1, (h.shape[0], -1)).transpose(0, 1)


class Deep(Fusion):
    """A network for each stream and a central one beside them, which listens at every depth (CentralNet, Vielzeuf et
    al. 2018); before each layer the streams re-weight each other's channels (MMTM, Joze et al. 2020).

    h_k⁰ = W_k x_k, and at depth l, after `Excite`, the centre takes cˡ = aˡ cˡ⁻¹ + mean_k bˡ_k hˡ_k over the streams
    that are there, with learned scalars a and b; then every h_k and c pass a residual feed-forward layer of their own,
    v + feed(norm(v)). After `depth` layers the centre listens once more and is the result. `excite=False` leaves
    plain CentralNet, where the streams' networks do not hear one another.
    """

    level: ClassVar[str] = "deep"

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, depth: int = 2, excite: bool = True, expansion: float = 1.0,
        dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.depth = depth
        self.excite = excite
        self.expansion = expansion
        self.dropout = dropout
        count = len(self.names)
        check_count("depth", depth)
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)
        self.exchanges = nn.ModuleList(
            Excite(count, dim, max(1, count * dim // 4)) for _ in range(depth if excite else 0)
        )
        self.norm = norm(dim, groups=count + 1)
        self.feeds = nn.ModuleList(
            FeedForward(dim, expansion=expansion, dropout=dropout, groups=count + 1) for _ in range(depth)
        )
        self.heard = nn.Parameter(torch.ones(depth + 1, count))  # b
        self.kept = nn.Parameter(torch.ones(depth))  # a; at the first depth there is nothing to keep
        self.out_norm = nn.LayerNorm(dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        h = self.project([self.drop(s.pooled) for s in streams.values()]).transpose(0, 1)
        centre = h.new_zeros(())
        for level, feed in enumerate(self.feeds):
            if self.excite:
                h = self.exchanges[level](torch.where(present.T[..., None], h, 0.0), present)
            centre = self._listen(level, centre, h, present)
            every = torch.cat([h, centre[None]])
            every = every + feed(self.norm(every))
            h, centre = every[:-1], every[-1]
        centre = self._listen(self.depth, centre, h, present)
        return Tokens.from_vector(self.out_norm(centre), present.any(1))

    def _listen(self, level: int, centre: Tensor, h: Tensor, present: Tensor) -> Tensor:
        """The centre [B, dim] at a depth, of what it was and of the streams [K, B, dim]."""
        heard = masked_mean((h * self.heard[level][:, None, None]).transpose(0, 1), present)
        return heard if level == 0 else self.kept[level - 1] * centre + heard
