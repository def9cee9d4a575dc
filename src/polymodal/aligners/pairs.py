"""What belongs together: which items of one stream match which of another, one to one or many to many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Side:
    """The items of one stream: each different cell once.

    `vectors` [N, D]. `rows` [N, M] int64, padded with -1: the rows of the table in which each item stands, one for a
    photo, several for a caption that was written twice. Items of two streams belong together if they share a row.
    """

    vectors: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def matches(a: Tensor, b: Tensor) -> Tensor:
    """[Na, Nb] bool: which items share a row, from their `rows` [Na, Ma] and [Nb, Mb]."""
    together = torch.zeros(len(a), len(b), dtype=torch.bool, device=a.device)
    for i in range(a.shape[1]):  # one column at a time: memory stays that of the answer
        for j in range(b.shape[1]):
            together |= (a[:, i, None] == b[None, :, j]) & (a[:, i, None] >= 0)
    return together


def pairs(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the items (i of a, j of b), [P] each, of every pair that shares a row, each pair once, in order."""
    item_a, row_a = _flat(a)
    item_b, row_b = _flat(b)
    order = row_b.argsort(stable=True)
    item_b, row_b = item_b[order], row_b[order]
    first, last = torch.searchsorted(row_b, row_a), torch.searchsorted(row_b, row_a, right=True)
    counts = last - first
    left = item_a.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    right = item_b[torch.arange(len(left), device=left.device) - (start - first).repeat_interleave(counts)]
    both = (left * len(b) + right).unique()  # one number a pair sorts many times as fast as two
    return both // len(b), both % len(b)


def _flat(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Item and row number of every entry that is not padding."""
    item, column = (rows >= 0).nonzero(as_tuple=True)
    return item, rows[item, column]
