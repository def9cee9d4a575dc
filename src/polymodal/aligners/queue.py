"""Embeddings of past batches, as further items to tell the right ones from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ROWS = 16  # rows that are remembered an item; what stands in more (a caption such as "a dog") is not queued


class Queue(nn.Module):
    """The last `size` embeddings [size, dim] of one stream and their rows [size, 16], first in, first out.

    The queue of MoCo (He et al. 2020), filled by the network itself, whose small heads drift slowly (Wang et al. 2020).
    """

    vectors: Tensor
    rows: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("rows", torch.full((size, ROWS), -1))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def read(self) -> tuple[Tensor, Tensor]:
        """Vectors [n, dim] without gradient, and rows [n, 16], of what is in it; latest first."""
        n = int(self.filled)
        return self.vectors[:n], self.rows[:n]

    @torch.no_grad()
    def push(self, vectors: Tensor, rows: Tensor) -> None:
        """Put items [n, dim] with rows [n, M] before the others; the oldest drop out."""
        few = (rows >= 0).sum(1) <= ROWS
        vectors, rows = vectors.detach()[few][: self.size], rows[few][: self.size]
        packed = rows.sort(1, descending=True).values[:, :ROWS]  # padding, which is negative, goes last
        packed = nn.functional.pad(packed, (0, ROWS - packed.shape[1]), value=-1)
        kept = self.size - len(vectors)
        self.vectors.copy_(torch.cat([vectors.to(self.vectors), self.vectors[:kept]]))
        self.rows.copy_(torch.cat([packed, self.rows[:kept]]))
        self.filled.copy_((self.filled + len(vectors)).clamp(max=self.size))


def lengthened(vectors: Tensor, rows: Tensor, queue: Queue | None) -> tuple[Tensor, Tensor]:
    """Items [n, dim] and their rows, with those of the queue behind them."""
    if queue is None:
        return vectors, rows
    old, old_rows = queue.read()
    width = max(rows.shape[1], old_rows.shape[1])
    both = [nn.functional.pad(r, (0, width - r.shape[1]), value=-1) for r in (rows, old_rows)]
    return torch.cat([vectors, old.to(vectors)]), torch.cat(both)
