"""Encoders that are fitted in one go, whose tokens carry what shallow learners make of the features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.learners import LEARNERS
from polymodal.learners.base import Learner
from polymodal.nn.layers.named import Named
from polymodal.targets.base import CLASSES, MULTILABEL, NUMBER

LEAST = 9.0  # log-probabilities below say no more than this
MOST_FOR_TREES = 120  # features: boosted trees on more cost more than they bring


@dataclass(frozen=True)
class Said:
    """Where a stream's tokens carry the scores of a target, and how: `pooled[:, start:stop] * spread + mean`."""

    start: int
    stop: int
    mean: tuple[float, ...]
    spread: float

    def read(self, pooled: Tensor) -> Tensor:
        """Scores [B, width] from pooled vectors [B, D]."""
        return pooled[:, self.start : self.stop].float() * self.spread + pooled.new_tensor(self.mean).float()


@dataclass(frozen=True)
class Member:
    """A fitted learner of a blend. `temperature` divides its logits."""

    spec: Spec
    learner: Learner
    weight: float
    temperature: float = 1.0


@dataclass(frozen=True)
class Answering:
    """What answers a target: its members, and the `mean` [width] and `spread` of what they say of rows not seen."""

    meaning: str
    members: Sequence[Member]
    mean: Sequence[float]
    spread: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the learners' weights."""
        members = [
            {"learner": m.spec, "facts": m.learner.facts(), "weight": m.weight, "temperature": m.temperature}
            for m in self.members
        ]
        return {"meaning": self.meaning, "members": members, "mean": list(self.mean), "spread": self.spread}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Answering:
        """As `to_json` wrote it; the learners have the right sizes and no weights yet."""
        members = [
            Member(m["learner"], LEARNERS.build(m["learner"], m["facts"]), m["weight"], m["temperature"])
            for m in values["members"]
        ]
        return cls(values["meaning"], members, values["mean"], values["spread"])


class ScoringEncoder(Encoder):
    """Abstract: no gradient reaches it; its features are fixed, and shallow learners are fitted to them.

    An author writes `design`, what learners read of a batch, `settled`, the same encoder with fitted learners, and
    `says`, where its tokens then carry their scores. `answers` is what was settled, as JSON has it.
    """

    learns: ClassVar[str] = "fit"

    @abstractmethod
    def design(self, inputs: dict[str, Tensor]) -> Any:
        """Features [B, F] of a batch: a float32 tensor, or a sparse array of SciPy."""

    def candidates(self, meaning: str, rows: int, features: int) -> list[Spec]:
        """Learners worth trying for scores of this meaning, on so many rows and features; the plainest first."""
        found: list[Spec] = ["ridge", {"name": "kernel", "width": 1.0}, {"name": "kernel", "width": 4.0}, "extra_trees"]
        if meaning != NUMBER:
            found += [{"name": "logistic", "strength": strength} for strength in (3.0, 30.0)]
        if features <= MOST_FOR_TREES:
            found.append("boosted")
        return found

    @abstractmethod
    def settled(self, answers: Mapping[str, Answering]) -> ScoringEncoder:
        """The same encoder, whose tokens carry the scores of `answers`, by target."""

    @property
    @abstractmethod
    def says(self) -> dict[str, Said]:
        """Where its tokens carry scores, by target; empty before it is settled."""


class Scored(ScoringEncoder):
    """The features of another encoder, which is not trained, and beside them the scores of learners fitted to these.

    Features count as 64 do at most, so that many of them do not drown the scores. Options: `of`, the other encoder;
    `answers`, what was fitted, which a fit writes.
    """

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, of: Spec, answers: Mapping[str, Mapping[str, Any]] | None = None
    ):
        super().__init__(facts, dim)
        self.of = of
        self.answers = answers
        self.inner: Encoder = ENCODERS.build(of, facts, dim)
        self.inner.requires_grad_(False)
        self._answering = {name: Answering.from_json(values) for name, values in (answers or {}).items()}
        self.learners = Named({n: nn.ModuleList(m.learner for m in a.members) for n, a in self._answering.items()})
        self.inner_dim = self.inner.dim
        self.dim = self.inner_dim + sum(len(a.mean) for a in self._answering.values())
        self.share = min(1.0, (64 / self.inner_dim) ** 0.5)

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        self.inner.fit_statistics(inputs)

    def design(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.inner.encode(inputs).pooled.float()

    def settled(self, answers: Mapping[str, Answering]) -> Scored:
        told = {name: answer.to_json() for name, answer in answers.items()}
        one = Scored(self.facts, self.inner.dim, of=self.of, answers=told)
        one.inner = self.inner
        for name, answer in answers.items():
            for mine, member in zip(one.learners[name], answer.members):  # type: ignore[arg-type]
                mine.load_state_dict(member.learner.state_dict())
        return one.eval()

    @property
    def says(self) -> dict[str, Said]:
        found, start = {}, self.inner_dim
        for name, answer in self._answering.items():
            stop = start + len(answer.mean)
            found[name] = Said(start, stop, tuple(answer.mean), answer.spread)
            start = stop
        return found

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return self.beside(self.inner.encode(inputs))

    def beside(self, tokens: Tokens) -> Tokens:
        """The other encoder's tokens with the scores beside them: every token of a row carries the row's."""
        scores = [self._said(name, answer, tokens.pooled) for name, answer in self._answering.items()]
        said = torch.cat([tokens.pooled.new_zeros(len(tokens.pooled), 0), *scores], 1).to(tokens.pooled.dtype)
        pooled = torch.cat([tokens.pooled * self.share, said], 1)
        if tokens.single:
            return Tokens.of_pooled(pooled, tokens.mask, tokens.where)
        each = said[:, None].expand(-1, tokens.x.shape[1], -1)
        return Tokens(torch.cat([tokens.x * self.share, each], 2), tokens.mask, pooled, tokens.where)

    def _said(self, name: str, answer: Answering, features: Tensor) -> Tensor:
        scores = blended(
            answer.meaning,
            [learner.scores(features.float()) for learner in self.learners[name]],  # type: ignore[operator,union-attr]
            [m.weight for m in answer.members],
            [m.temperature for m in answer.members],
        )
        return (scores - scores.new_tensor(answer.mean)) / answer.spread


def blended(meaning: str, scores: Sequence[Tensor], weights: Sequence[float], temperatures: Sequence[float]) -> Tensor:
    """One score [N, width] of several: the weighted mean of probabilities as logits, or of values; bounded."""
    if meaning == CLASSES:
        parts = [(s.float() / t).log_softmax(1) for s, t in zip(scores, temperatures)]
        joined = torch.stack([p + p.new_tensor(w).log() for p, w in zip(parts, weights)]).logsumexp(0)
        joined = joined.clamp(min=-LEAST)
        return joined - joined.mean(1, keepdim=True)
    if meaning == MULTILABEL:
        parts = [(s.float() / t).sigmoid() for s, t in zip(scores, temperatures)]
        return sum(w * p for w, p in zip(weights, parts)).clamp(1e-4, 1 - 1e-4).logit()  # type: ignore[union-attr]
    return sum(w * s.float() for w, s in zip(weights, scores))  # type: ignore[return-value]
