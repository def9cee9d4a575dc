"""Encoders of users, items and other entities that rows share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy import sparse
from torch import Tensor, nn

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.encoders.base import Encoder
from polymodal.encoders.features import present_rows
from polymodal.encoders.scoring import Answering, Said, ScoringEncoder, linear
from polymodal.nn.check import check_count

STRENGTHS = (0.04, 0.2, 1.0, 5.0)  # of learners that are tried: how little an entity's rows are drawn to the mean


class EntityPlain(ScoringEncoder):
    """Each entity's code of signs, how often it was there, and what its other rows answered, smoothed. One token a row.

    The answers are a linear model of which entity it is with an L2 penalty: the mean of its rows, drawn the more to
    that of all rows the fewer they are (Micci-Barreca 2001). Of a training row they come from rows of other parts, so
    that a row's own answer is not in them. The code, `signs` numbers of ±1 drawn once, tells entities apart for
    whoever reads the token; of an entity that training lacks it is 0, and its answer that of all.
    """

    processor = "entity"
    table: Tensor
    answer: Tensor
    usual: Tensor

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        signs: int = 32,
        answers: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        super().__init__(facts, dim)
        self.given = dim
        self.signs = check_count("signs", signs)
        self.answers = answers
        width = sum(answer["width"] for answer in (answers or {}).values())
        self.dim = signs + 1 + width
        codes = torch.randint(0, 2, (facts["entities"], signs), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
        codes[0] = 0
        self.register_buffer("table", codes)
        self.register_buffer("answer", torch.zeros(facts["entities"], width))
        self.register_buffer("usual", torch.tensor([0.0, 1.0]))  # mean and spread of `count`

    @torch.no_grad()
    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of how often the rows' entities are there."""
        count = present_rows(inputs)["count"].double()
        if len(count):
            spread = count.std(correction=0)
            self.usual.copy_(torch.stack([count.mean(), spread if spread > 1e-6 else torch.ones_like(spread)]))

    def design(self, inputs: dict[str, Tensor]) -> sparse.csr_array:
        """Which entity it is, 0/1 float32 [B, E]."""
        entity = inputs["entity"][:, 0].numpy()
        ones = torch.ones(len(entity)).numpy()
        return sparse.csr_array((ones, (range(len(entity)), entity)), shape=(len(entity), len(self.table)))

    def candidates(self, meaning: str, rows: int, features: int) -> list[Spec]:
        return [{"name": "sparse", "strength": strength} for strength in STRENGTHS]

    def answering(self, answers: Mapping[str, Answering]) -> EntityPlain:
        told = {name: answer.to_json() for name, answer in answers.items()}
        one = EntityPlain(self.facts, self.given, signs=self.signs, answers=told)
        one.usual.copy_(self.usual)
        parts = [weight + bias for weight, bias in (linear(self, each, len(self.table)) for each in answers.values())]
        if parts:
            one.answer.copy_(torch.cat(parts, 1))
        return one.eval()

    @property
    def says(self) -> dict[str, Said]:
        found, start = {}, self.signs + 1
        for name, answer in (self.answers or {}).items():
            found[name] = Said(answer["meaning"], ((start, start + answer["width"], 1.0),))
            start += answer["width"]
        return found

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        entity = inputs["entity"][:, 0].long()
        often = (inputs["count"] - self.usual[0]) / self.usual[1]
        return Tokens.from_vector(torch.cat([self.table[entity], often, self.answer[entity]], 1))


class EntityEmbedding(Encoder):
    """A learned vector for each entity (Koren, Bell & Volinsky 2009). One token a row.

    In training a share `drop` of the rows is of no entity that is known, so that there is a vector for those that come
    later. `spread` of the vectors at first.
    """

    processor = "entity"

    def __init__(self, facts: Mapping[str, Any], dim: int, *, drop: float = 0.1, spread: float = 0.1):
        super().__init__(facts, dim)
        check_range("[0, 1)", drop=drop)
        check_range("(0, inf)", spread=spread)
        self.drop = drop
        self.spread = spread
        self.table = nn.Embedding(facts["entities"], dim)
        nn.init.normal_(self.table.weight, std=spread)
        self.often = nn.Linear(1, dim)

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        new = torch.rand(inputs["entity"].shape, device=inputs["entity"].device) < self.drop
        return {"entity": inputs["entity"].masked_fill(new, 0), "count": inputs["count"].masked_fill(new, 0.0)}

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 20, "batch": 128, "lr": 5e-3, "weight_decay": 0.1}

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return Tokens.from_vector(self.table(inputs["entity"][:, 0].long()) + self.often(inputs["count"]))
