"""Encoders of tables: a multilayer perceptron and a Transformer over embedded columns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder, Held
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.numeric import CategoryEmbedding, NumberEmbedding
from polymodal.nn.layers.segment import segment_mean


class ColumnEmbedding(nn.Module):
    """Numbers and categories of a row to one vector a column: [B, C + K, width], numbers first."""

    def __init__(self, facts: Mapping[str, Any], width: int, *, embedding: str, spread: float):
        super().__init__()
        self.count = len(facts["edges"]) + len(facts["categories"])
        if facts["edges"]:
            self.numbers = NumberEmbedding(facts["edges"], width, kind=embedding, spread=spread)
        if facts["categories"]:
            self.categories = CategoryEmbedding(facts["categories"], width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        parts = []
        if "numbers" in inputs:
            parts.append(self.numbers(inputs["numbers"], inputs["known"]))
        if "categories" in inputs:
            parts.append(self.categories(inputs["categories"]))
        return torch.cat([part.to(parts[0].dtype) for part in parts], dim=1)


def noisy(inputs: dict[str, Tensor], noise: float, drop: float) -> dict[str, Tensor]:
    """Gaussian noise of spread `noise` on the known numbers, and a share `drop` of all values made missing."""
    changed = dict(inputs)
    if "numbers" in inputs:
        known = inputs["known"] & (torch.rand(inputs["known"].shape, device=inputs["known"].device) >= drop)
        changed["numbers"] = (inputs["numbers"] + noise * torch.randn(known.shape, device=known.device)) * known
        changed["known"] = known
    if "categories" in inputs:
        words = inputs["categories"]
        missing = torch.rand(words.shape, device=words.device) < drop
        changed["categories"] = torch.where(missing, torch.zeros_like(words), words)
    return changed


class _Table(Encoder):
    """What encoders of columns share: their options, and the noise in training."""

    processor = "table"
    hidden_share = 0.3

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, embedding: str, spread: float, dropout: float, noise: float,
        drop: float,
    ):  # fmt: skip
        super().__init__(facts, dim)
        self.embedding = embedding
        self.spread = spread
        self.dropout = dropout
        self.noise = noise
        self.drop = drop

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return noisy(inputs, self.noise, self.drop)

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The columns. What one column gives, as the parts of a date or a number and its category, is one part."""
        known = [inputs["known"]] if "known" in inputs else []
        known += [inputs["categories"] != 0] if "categories" in inputs else []
        owner = torch.tensor(self._owners(), device=known[0].device)
        found = torch.cat(known, 1).long()
        columns = found.new_zeros(len(found), len(self.facts["columns"])).index_add(1, owner, found)
        return columns > 0

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Hidden columns are missing."""
        changed, held = dict(inputs), []
        each = hidden[:, self._owners()]
        count = len(self.facts["edges"])
        if "numbers" in inputs:
            known = inputs["known"]
            held.append(Held(inputs["numbers"].clamp(-10, 10)[..., None], each[:, :count] & known))
            changed["known"] = known & ~each[:, :count]
            changed["numbers"] = inputs["numbers"] * changed["known"]
        if "categories" in inputs:
            words, sizes = inputs["categories"].long(), self.facts["categories"]
            first = torch.tensor([0, *sizes[:-1]], device=words.device).cumsum(0)
            held.append(Held(words + first, each[:, count:] & (words != 0), sum(sizes)))
            changed["categories"] = inputs["categories"].masked_fill(each[:, count:], 0)
        return changed, held

    def _owners(self) -> list[int]:
        """The column of every number, then of every category."""
        columns = self.facts["columns"]
        numbers = [n if n in columns else n.rpartition(" (")[0] for n in self.facts["numbers"]]
        return [columns.index(name) for name in (*numbers, *self.facts["category_names"])]


class TableMLP(_Table):
    """Embedded columns side by side, then a perceptron (Gorishniy, Rubachev & Babenko 2022). One token a row.

    Options: `embedding` of numbers, "piecewise", "periodic" (with the `spread` of its first frequencies) or "linear";
    `width` of a column's embedding; `hidden` units of each of `layers` layers; `dropout`; in training, `noise` on
    numbers and `drop`, the share of values hidden.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        embedding: str = "periodic",
        spread: float = 0.1,
        width: int = 16,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        noise: float = 0.05,
        drop: float = 0.05,
    ):
        super().__init__(facts, dim, embedding=embedding, spread=spread, dropout=dropout, noise=noise, drop=drop)
        self.width = width
        self.hidden = hidden
        self.layers = layers
        self.columns = ColumnEmbedding(facts, width, embedding=embedding, spread=spread)
        sizes = [self.columns.count * width, *[hidden] * layers]
        steps: list[nn.Module] = []
        for i, o in pairwise(sizes):
            steps += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(dropout)]
        self.deep = nn.Sequential(*steps, nn.Linear(sizes[-1], dim))
        self.norm = nn.LayerNorm(dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 30, "batch": 128, "lr": 2e-3, "weight_decay": 0.02}

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return Tokens.from_vector(self.norm(self.deep(self.columns(inputs).flatten(1))))


class TableFT(_Table):
    """FT-Transformer (Gorishniy et al. 2021): every column is a token, a class token reads them all.

    Up to `tokens` tokens, the columns' (numbers first, then categories; neighbours averaged where there are more);
    `where` is the column's number. Options: `embedding` and `spread` as in `table_mlp`; `layers`; `heads`; `dropout`;
    in training, `noise` on numbers and `drop`, the share of values hidden; `tokens`.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        embedding: str = "periodic",
        spread: float = 0.1,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        noise: float = 0.05,
        drop: float = 0.05,
        tokens: int = 16,
    ):
        super().__init__(facts, dim, embedding=embedding, spread=spread, dropout=dropout, noise=noise, drop=drop)
        self.layers = layers
        self.heads = heads
        self.tokens = tokens
        self.columns = ColumnEmbedding(facts, dim, embedding=embedding, spread=spread)
        self.name = nn.Parameter(torch.randn(self.columns.count, dim) * dim**-0.5)
        self.reader = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 25, "batch": 128, "lr": 1e-3, "weight_decay": 0.02}

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        columns = self.columns(inputs)
        x = torch.cat([self.reader.to(columns.dtype).expand(columns.shape[0], 1, -1), columns + self.name], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        full = torch.ones(x.shape[0], self.columns.count, dtype=torch.bool, device=x.device)
        tokens, mask, centres = segment_mean(x[:, 1:], full, self.tokens)
        where = (centres * self.columns.count - 0.5)[None, :, None].expand(x.shape[0], -1, -1)
        return Tokens(tokens, mask, x[:, 0], where)
