"""Encoders that are fitted in one go, whose tokens carry what shallow learners make of the features."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.learners import LEARNERS
from polymodal.learners.base import Learner
from polymodal.learners.sparse import Sparse
from polymodal.nn.check import check_count
from polymodal.nn.layers.named import Named
from polymodal.targets.base import CLASSES, MULTILABEL, NUMBER

LEAST = 9.0  # log-probabilities below say no more than this
SPREAD = {CLASSES: 3.0, MULTILABEL: 3.0, NUMBER: 1.0}  # by which scores are divided, to be of the size of features
MOST_FOR_TREES = 120  # features: boosted trees on more cost more than they bring


@dataclass(frozen=True)
class Said:
    """Where a stream's tokens carry scores of a target: in `pieces` (start, stop, weight) of the pooled vector."""

    meaning: str
    pieces: tuple[tuple[int, int, float], ...]

    def read(self, pooled: Tensor) -> Tensor:
        """Scores [B, width] from pooled vectors [B, D]."""
        each = [pooled[:, start:stop].float() * SPREAD[self.meaning] for start, stop, _ in self.pieces]
        return each[0] if len(each) == 1 else blended(self.meaning, each, [w for *_, w in self.pieces])

    def moved(self, by: int, weight: float = 1.0) -> Said:
        """The same in a vector where it starts `by` later, with its weights times `weight`."""
        return Said(self.meaning, tuple((start + by, stop + by, w * weight) for start, stop, w in self.pieces))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Said:
        return cls(values["meaning"], tuple((int(a), int(b), float(w)) for a, b, w in values["pieces"]))


@dataclass(frozen=True)
class Member:
    """A fitted learner of a blend. `temperature` divides its logits."""

    spec: Spec
    learner: Learner
    weight: float = 1.0
    temperature: float = 1.0


@dataclass(frozen=True)
class Answering:
    """What answers a target with `width` scores of a `meaning`: the members of a blend."""

    meaning: str
    width: int
    members: Sequence[Member]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the learners' weights."""
        members = [
            {"learner": m.spec, "facts": m.learner.facts(), "weight": m.weight, "temperature": m.temperature}
            for m in self.members
        ]
        return {"meaning": self.meaning, "width": self.width, "members": members}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Answering:
        """As `to_json` wrote it; the learners have the right sizes and no weights yet."""
        members = [
            Member(m["learner"], LEARNERS.build(m["learner"], m["facts"]), m["weight"], m["temperature"])
            for m in values["members"]
        ]
        return cls(values["meaning"], values["width"], members)

    def scores(self, features: Tensor) -> Tensor:
        """[B, width] what the blend says of features [B, F]."""
        each = [member.learner.scores(features) / member.temperature for member in self.members]
        return blended(self.meaning, each, [member.weight for member in self.members])


def blended(meaning: str, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """One score [N, width] of several: the weighted mean of probabilities as logits, or of values; bounded."""
    shares = [weight / sum(weights) for weight in weights]
    if meaning == CLASSES:
        parts = [score.float().log_softmax(1) + math.log(share) for score, share in zip(scores, shares)]
        joined = torch.stack(parts).logsumexp(0).clamp(min=-LEAST)
        return joined - joined.mean(1, keepdim=True)
    if meaning == MULTILABEL:
        mean = torch.stack([score.float().sigmoid() * share for score, share in zip(scores, shares)]).sum(0)
        return mean.logit(math.exp(-LEAST))
    return torch.stack([score.float() * share for score, share in zip(scores, shares)]).sum(0)


class ScoringEncoder(Encoder):
    """Abstract: no gradient reaches it; its features are fixed, and shallow learners are fitted to them.

    An author writes `design`, what learners read of a batch, `answering`, the same encoder with fitted learners, and
    `says`, where its tokens then carry their scores. `answers` is what was settled, as JSON has it.
    """

    sample: int = 4096  # training cells by which statistics are found
    imports: ClassVar[tuple[str, ...]] = ("sklearn.ensemble", "sklearn.linear_model")  # by its candidates, when fitted

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
    def answering(self, answers: Mapping[str, Answering]) -> ScoringEncoder:
        """The same encoder, whose tokens carry the scores of `answers`, by target."""

    @property
    @abstractmethod
    def says(self) -> dict[str, Said]:
        """Where its tokens carry scores, by target; empty before it is settled."""


def linear(encoder: Encoder, answer: Answering, features: int) -> tuple[Tensor, Tensor]:
    """Weights [F, width] and constants [width] of a blend of linear learners: the weighted mean of its members' scores,
    as tokens of `encoder` carry it. Raises `BadArgument` for other learners."""
    weight, bias = torch.zeros(features, answer.width), torch.zeros(answer.width)
    total = sum(member.weight for member in answer.members)
    for member in answer.members:
        if not isinstance(member.learner, Sparse):
            name = ENCODERS.name_of(type(encoder))
            raise BadArgument(f"{name} takes the learner sparse; got {type(member.learner).__name__}.")
        share = member.weight / total / member.temperature / SPREAD[answer.meaning]
        weight += share * member.learner.weight
        bias += share * member.learner.bias
    if answer.meaning == CLASSES:  # what all classes share says nothing
        weight, bias = weight - weight.mean(1, keepdim=True), bias - bias.mean()
    return weight, bias


class Scored(ScoringEncoder):
    """The features of another encoder, which is not trained, and beside them the scores of learners fitted to these.

    Of more than `keep` features (default: `dim`) the tokens carry the first principal components (Pearson 1901).
    Options: `of`, the other encoder; `by`, the learners to try in place of those for its kind; `answers`, what was
    fitted, which a fit writes.
    """

    within = "of"
    processor = "vector"
    traced = False  # every token carries the row's scores
    turn: Tensor
    middle: Tensor

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        of: Spec = "vector_plain",
        by: Sequence[Spec] = (),
        answers: Mapping[str, Mapping[str, Any]] | None = None,
        keep: int | None = None,
    ):
        super().__init__(facts, dim)
        self.of = of
        self.by = by
        self.keep = keep if keep is None else check_count("keep", keep)
        self.answers = answers
        self.given = dim
        self.inner: Encoder = ENCODERS.build(of, facts, dim)
        self.sample = getattr(self.inner, "sample", type(self).sample)
        self._answering = {name: Answering.from_json(values) for name, values in (answers or {}).items()}
        self.learners = Named({n: nn.ModuleList(m.learner for m in a.members) for n, a in self._answering.items()})
        self.pretrained = self.inner.pretrained  # type: ignore[misc]
        self.kept = min(keep or dim, self.inner.dim)
        self.dim = self.kept + sum(answer.width for answer in self._answering.values())
        if self.kept < self.inner.dim:
            self.register_buffer("turn", torch.eye(self.inner.dim, self.kept))
            self.register_buffer("middle", torch.zeros(self.inner.dim))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        self.inner.fit_statistics(inputs)

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.inner.augment(inputs)

    def lengths(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        return self.inner.lengths(inputs)

    def design(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.inner.encode(inputs).pooled.float()

    def candidates(self, meaning: str, rows: int, features: int) -> list[Spec]:
        if self.by:
            return [*self.by]
        found = super().candidates(meaning, rows, features)
        many = features > MOST_FOR_TREES and self.inner.processor == "table"  # one-hot: trees read the telling ones
        return [*found, "boosted"] if many else found

    def reduce(self, features: Tensor) -> None:
        """Find the principal components of features [N, F] of training rows, or of their tokens, where there are more
        than are kept."""
        if self.kept == self.inner.dim:
            return
        self.middle.copy_(features.mean(0))
        spread = (features - self.middle).double()
        values, vectors = torch.linalg.eigh(spread.T @ spread / max(1, len(features)))
        turn = vectors[:, -self.kept :].flip(1)
        turn = turn * turn.gather(0, turn.abs().argmax(0)[None]).sign()  # so that the same rows give the same signs
        self.turn.copy_(turn / values[-self.kept :].clamp(min=0).mean().sqrt().clamp(min=1e-6))

    def answering(self, answers: Mapping[str, Answering]) -> Scored:
        one = Scored.around(self.inner, self.of, answers, self.given, self.keep)
        if self.kept < self.inner.dim:
            one.turn, one.middle = self.turn, self.middle
        return one

    @classmethod
    def around(
        cls, inner: Encoder, of: Spec, answers: Mapping[str, Answering], dim: int, keep: int | None = None
    ) -> Scored:
        """`inner`, whose spec is `of`, built for tokens of width `dim`, with what `answers` say beside its tokens."""
        told = {name: answer.to_json() for name, answer in answers.items()}
        one = cls(inner.facts, dim, of=of, answers=told, keep=keep)
        one.inner = inner
        for name, answer in answers.items():
            for mine, member in zip(one.learners[name], answer.members):  # type: ignore[call-overload]
                mine.load_state_dict(member.learner.state_dict())
        return one.eval()

    @property
    def says(self) -> dict[str, Said]:
        found, start = {}, self.kept
        for name, answer in self._answering.items():
            found[name] = Said(answer.meaning, ((start, start + answer.width, 1.0),))
            start += answer.width
        return found

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return self.beside(self.inner.encode(inputs))

    def beside(self, tokens: Tokens) -> Tokens:
        """The other encoder's tokens with the scores beside them: every token of a row carries the row's."""
        features = tokens.pooled.float()
        scores = [answer.scores(features) / SPREAD[answer.meaning] for answer in self._answering.values()]
        said = torch.cat([features[:, :0], *scores], 1).to(tokens.pooled.dtype)
        pooled = torch.cat([self._brief(tokens.pooled), said], 1)
        if tokens.single:
            return Tokens.of_pooled(pooled, tokens.mask, tokens.where)
        each = said[:, None].expand(-1, tokens.x.shape[1], -1)
        return Tokens(torch.cat([self._brief(tokens.x), each], 2), tokens.mask, pooled, tokens.where)

    def _brief(self, x: Tensor) -> Tensor:
        return x if self.kept == self.inner.dim else ((x.float() - self.middle) @ self.turn).to(x.dtype)
