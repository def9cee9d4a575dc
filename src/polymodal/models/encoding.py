"""Cells decoded and encoded when an answer asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.models.base import TokenSource


class Encoding(TokenSource):
    """Decodes and encodes cells of a chunk of rows when they are asked for, each once.

    `filled[stream]` [B] bool are the rows whose cell is given at all; `encode(stream, rows)` gives the tokens of some
    of them. `encoded` counts the cells that were asked for.
    """

    def __init__(self, filled: Mapping[str, np.ndarray], encode: Callable[[str, np.ndarray], Tokens]):
        super().__init__({})
        self.filled = {name: torch.from_numpy(rows) for name, rows in filled.items()}
        self.encode = encode
        self.encoded = dict.fromkeys(filled, 0)
        self._asked = {name: torch.zeros(len(rows), dtype=torch.bool) for name, rows in self.filled.items()}

    def __len__(self) -> int:
        return len(next(iter(self.filled.values())))

    def present(self, stream: str) -> Tensor:
        return self.filled[stream]

    def tokens(self, stream: str, rows: Tensor | None = None) -> Tokens:
        wanted = self.filled[stream] if rows is None else rows & self.filled[stream]
        new = torch.nonzero(wanted & ~self._asked[stream])[:, 0]
        if len(new) or stream not in self.streams:
            tokens = self.encode(stream, new.numpy())
            self.encoded[stream] += len(new)
            self._asked[stream] = self._asked[stream] | wanted
            self.streams[stream] = _placed(self.streams.get(stream), tokens, new, len(self))
        return self.streams[stream].keep(wanted)


def _placed(before: Tokens | None, found: Tokens, rows: Tensor, count: int) -> Tokens:
    """Tokens of `count` rows: those of `before`, with `found` at `rows`; the longer of both says how many a row."""
    if before is None and len(rows) == count:
        return found
    length = max(found.x.shape[1], 0 if before is None else before.x.shape[1])
    parts: dict[str, Tensor | None] = {}
    for name in ("x", "mask", "pooled", "where"):
        old, new = None if before is None else getattr(before, name), getattr(found, name)
        like = new if new is not None else old
        if like is None:
            parts[name] = None
            continue
        whole = like.new_zeros(count, *((length, *like.shape[2:]) if name != "pooled" else like.shape[1:]))
        if old is not None:
            whole[(slice(None), slice(old.shape[1])) if name != "pooled" else slice(None)] = old
        if new is not None:
            whole[(rows, slice(new.shape[1])) if name != "pooled" else rows] = new
        parts[name] = whole
    return Tokens(**parts)  # type: ignore[arg-type]
