"""Late fusion: each stream answers alone, and the answers are combined.

Answers are made of each stream's probabilities or value; scores come out with the meaning that they had: logits (the
logarithm of a probability is one), or a standardised value. Everything is computed in float32 and in log space.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.fusion.base import DecisionFusion
from polymodal.nn.precision import at_least_float32, autocast_type
from polymodal.nn.simplex import Alpha, Simplex, simplex_grid
from polymodal.targets.base import CLASSES, MULTILABEL, NUMBER

LEAST_LOG = -12.0  # of a stream's log-probability in stacking, so that no one answer swamps the rest


def _pool(scores: Tensor, weights: Tensor, meaning: str) -> Tensor:
    """The weighted mean of the streams' probabilities or values: [B, K, W] and weights [B, K] to scores [B, W].

    Where no weight is given, every stream counts equally: the scores there are zero, so the answer is the indifferent
    one.
    """
    scores = at_least_float32(scores)
    none = weights.sum(1, keepdim=True) == 0
    weights = torch.where(none, 1 / scores.shape[1], weights)[..., None]
    if meaning == NUMBER:
        return torch.sum(scores * weights, 1)
    logs = weights.clamp(min=torch.finfo(weights.dtype).tiny).log().masked_fill(weights == 0, -math.inf)
    if meaning == CLASSES:
        return torch.logsumexp(scores.log_softmax(-1) + logs, 1)
    return torch.logsumexp(F.logsigmoid(scores) + logs, 1) - torch.logsumexp(F.logsigmoid(-scores) + logs, 1)


class LateMean(DecisionFusion):
    """The mean of the probabilities (numbers: of the values) of the streams that are there."""

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        weights = present.to(at_least_float32(scores).dtype)
        return _pool(scores, weights / weights.sum(1, keepdim=True).clamp(min=1), self.meaning)


class LateWeighted(DecisionFusion):
    """The weighted mean of the probabilities (numbers: of the values): a linear opinion pool (Stone 1961).

    `alpha` gives the weights, on the simplex and renormalised over the streams present: "learned", "cv" (settled by
    cross-validation over `cv_grid` before the part is built), one number for two streams, a list in the order of the
    sorted names, or a dict by name. With `temperature` each stream's scores are first divided by a learned
    temperature of its own (Guo et al. 2017), which for numbers shrinks its values towards the training mean.
    """

    def __init__(
        self, names: Sequence[str], meaning: str, width: int, *, alpha: Alpha = "learned", temperature: bool = True
    ):
        super().__init__(names, meaning, width)
        self.alpha = alpha
        self.temperature = temperature
        self.weights = Simplex(self.names, alpha)
        self.log_temperature = nn.Parameter(torch.zeros(len(self.names))) if temperature else None

    @staticmethod
    def cv_grid(names: Collection[str]) -> list[dict[str, Any]]:
        """The options that a cross-validation should try for `alpha="cv"`."""
        return [{"alpha": dict(zip(sorted(names), weights))} for weights in simplex_grid(len(names))]

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        if self.log_temperature is not None:
            scores = at_least_float32(scores) * torch.exp(-self.log_temperature)[:, None]
        return _pool(scores, self.weights(present), self.meaning)


class Product(DecisionFusion):
    """The product of the streams' answers, divided by the prior where it was counted more than once.

    Classes: Σ_k log p(y | x_k) - (m - 1) log p(y) over the m streams present, which is Bayes' rule if the streams are
    independent given the class (Kittler et al. 1998; as a product of experts, Hinton 2002). Multilabel: the same with
    log-odds. Numbers: Gaussian experts of learned precision and a standard normal prior (Bayesian committee machine,
    Tresp 2000).

    `prior` is "learned", "uniform", or the classes' probabilities; for numbers it is always the standard normal. Raises
    `BadArgument` for anything else.
    """

    def __init__(self, names: Sequence[str], meaning: str, width: int, *, prior: str | Sequence[float] = "learned"):
        super().__init__(names, meaning, width)
        self.prior = prior
        start = _prior_scores(prior, meaning, width)
        self.surplus = nn.Parameter(torch.zeros(len(self.names))) if meaning == NUMBER else None
        self.log_prior = nn.Parameter(start, requires_grad=prior == "learned") if meaning != NUMBER else None

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        scores, count = at_least_float32(scores), present.sum(1, keepdim=True)
        if self.surplus is not None:  # an expert knows at least as much as the prior: its precision is 1 + a surplus
            surplus = F.softplus(self.surplus) * present
            precision = (surplus + present)[..., None]
            return torch.sum(precision * scores, 1) / (1 + surplus.sum(1, keepdim=True))
        assert self.log_prior is not None
        again = (count - 1).clamp(min=0)
        if self.meaning == MULTILABEL:
            return scores.sum(1) - again * self.log_prior
        each = scores.log_softmax(-1) * present[..., None]
        return (each.sum(1) - again * self.log_prior.log_softmax(-1)).log_softmax(-1)


def _prior_scores(prior: str | Sequence[float], meaning: str, width: int) -> Tensor:
    """Logits of the prior. Raises `BadArgument`."""
    if isinstance(prior, str):
        if prior not in ("learned", "uniform"):
            near = suggest(prior, ("learned", "uniform"))
            raise BadArgument(f"prior is 'learned', 'uniform' or probabilities; got {prior!r}.{near}")
        return torch.zeros(width)
    given = torch.tensor([float(p) for p in prior])
    if meaning == NUMBER:
        raise BadArgument("For a number the prior is the standard normal; leave prior out.")
    if len(given) != width or (given <= 0).any() or (given >= 1).any():
        raise BadArgument(f"prior needs {width} probabilities between 0 and 1, one a class; got {list(prior)}.")
    if meaning == CLASSES and abs(float(given.sum()) - 1) > 1e-3:
        raise BadArgument(f"The classes' prior probabilities must add up to 1; got {float(given.sum()):.4f}.")
    return given.log() if meaning == CLASSES else given.logit()


class Stacking(DecisionFusion):
    """A regression on what the streams said and on which were there (Wolpert 1992; Ting & Witten 1999).

    Classes: multinomial logistic regression on log-probabilities; multilabel: on log-odds; number: linear. Inputs of
    absent streams are zero and the others are scaled up by K / present; it starts at the mean of the inputs.
    """

    def __init__(self, names: Sequence[str], meaning: str, width: int):
        super().__init__(names, meaning, width)
        streams = len(self.names)
        self.map = nn.Linear(streams * width, width)
        self.presence = nn.Linear(streams, width, bias=False)
        with torch.no_grad():
            self.map.weight.copy_(torch.eye(width).repeat(1, streams) / streams)
            self.map.bias.zero_()
            self.presence.weight.zero_()

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        inputs = _inputs(at_least_float32(scores), self.meaning) * present[..., None]
        scale = present.shape[1] / present.sum(1, keepdim=True).clamp(min=1)
        with torch.autocast(autocast_type(scores), enabled=False):
            return self.map(inputs.flatten(1) * scale) + self.presence(present.to(inputs.dtype))


def _inputs(scores: Tensor, meaning: str) -> Tensor:
    """What stacking reads of scores [B, K, W]: bounded, so that no stream's over-confidence swamps the others."""
    if meaning == CLASSES:
        return scores.log_softmax(-1).clamp(min=LEAST_LOG) + math.log(scores.shape[-1])  # 0 = as likely as any other
    return scores.clamp(LEAST_LOG, -LEAST_LOG) if meaning == MULTILABEL else scores
