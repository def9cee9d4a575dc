"""Late fusion that knows how sure each stream is: QMF and TMC, with their losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy.special import digamma, gammaln
from torch import Tensor

from polymodal.fusion.qmf import ranking_loss
from polymodal.nn.dirichlet import evidential_loss, joined_evidence, log_joined
from reference.arithmetic import softplus
from reference.decisions import CLASSES, PRESENT, decision_pair
from reference.parity import Arrays, Pair, Tensors, parity

TEMPERATURE = 2.0
TRUTH = np.array([0, 3, 1, 2, 1, 0])


def energy_weights(scores: np.ndarray, present: np.ndarray) -> np.ndarray:
    confidence = TEMPERATURE * np.log(np.exp(scores / TEMPERATURE).sum(-1))
    confidence = np.maximum(confidence, 0) * present
    return confidence / confidence.sum(1, keepdims=True)


@parity("decision", "qmf", source="Zhang, Wu, Zhang, Hu, Fu, Zhou, Peng 2023")
def qmf() -> Pair:
    def formula(scores: np.ndarray, present: np.ndarray, _: Arrays) -> np.ndarray:
        return (energy_weights(scores, present)[..., None] * scores).sum(1)

    def gradient(at: Arrays, upstream: np.ndarray) -> Arrays:  # the weights are constants
        weights = energy_weights(at["scores"] * PRESENT[..., None], PRESENT)
        return {"scores": weights[..., None] * upstream[:, None]}

    return dataclasses.replace(decision_pair("qmf", "classes", formula, temperature=TEMPERATURE), gradient=gradient)


@parity("decision", "qmf", "ranking", source="Zhang et al. 2023; Moon, Kim, Shin, Hwang 2020")
def ranking() -> Pair:
    draw = np.random.default_rng(1)
    past, counted = draw.uniform(size=PRESENT.shape), PRESENT

    def theirs(values: Arrays) -> np.ndarray:
        total, pairs = 0.0, 0
        for k in range(past.shape[1]):
            for i in range(len(past)):
                j = i - 1
                if counted[i, k] and counted[j, k]:
                    gap = past[i, k] - past[j, k]
                    total += max(0.0, np.sign(gap) * (values["sure"][i, k] - values["sure"][j, k]) + abs(gap))
                    pairs += 1
        return np.array(total / pairs)

    def ours(values: Tensors) -> Tensor:
        return ranking_loss(values["sure"], torch.from_numpy(past), torch.from_numpy(counted))

    return Pair(ours, theirs, {"sure": draw.normal(size=PRESENT.shape)})


def opinions(evidence: np.ndarray) -> tuple[np.ndarray, float]:
    """Belief masses [C] and the uncertainty of a source with evidence [C]."""
    strength = (evidence + 1).sum()
    return evidence / strength, CLASSES / strength


def dempster(sources: list[np.ndarray]) -> np.ndarray:
    """Combined evidence [C]: the reduced rule, two sources at a time, as in Definition 4 of the paper."""
    belief, doubt = np.zeros(CLASSES), 1.0
    for evidence in sources:
        other, unsure = opinions(evidence)
        conflict = sum(belief[i] * other[j] for i in range(CLASSES) for j in range(CLASSES) if i != j)
        joined = (belief * other + belief * unsure + other * doubt) / (1 - conflict)
        belief, doubt = joined, doubt * unsure / (1 - conflict)
    return belief * CLASSES / doubt


def combined(scores: np.ndarray, present: np.ndarray) -> np.ndarray:
    rows = [[softplus(s) for s, there in zip(row, here) if there] for row, here in zip(scores, present)]
    return np.stack([dempster(row) for row in rows])


@parity("decision", "tmc", source="Han, Zhang, Fu, Zhou 2021")
def tmc() -> Pair:
    def formula(scores: np.ndarray, present: np.ndarray, _: Arrays) -> np.ndarray:
        alpha = combined(scores, present) + 1
        return np.log(alpha / alpha.sum(1, keepdims=True))

    return decision_pair("tmc", "classes", formula)


@parity("decision", "tmc", "combined evidence", source="Han, Zhang, Fu, Zhou 2021")
def tmc_evidence() -> Pair:
    def ours(values: Tensors) -> Tensor:
        evidence = torch.nn.functional.softplus(values["scores"])
        return joined_evidence(log_joined(evidence, torch.from_numpy(PRESENT)))

    scores = np.random.default_rng(2).normal(size=(*PRESENT.shape, CLASSES)) * 2
    return Pair(ours, lambda values: combined(values["scores"], PRESENT), {"scores": scores})


@parity("decision", "tmc", "loss", source="Sensoy, Kaplan, Kandemir 2018; Han et al. 2021", against="SciPy")
def tmc_loss() -> Pair:
    annealed = 0.3

    def theirs(values: Arrays) -> np.ndarray:
        rows = []
        for evidence, label in zip(values["evidence"], TRUTH):
            alpha, hot = evidence + 1, np.eye(CLASSES)[label]
            likely = (hot * (digamma(alpha.sum()) - digamma(alpha))).sum()
            wrong = hot + (1 - hot) * alpha
            spread = gammaln(wrong.sum()) - gammaln(CLASSES) - gammaln(wrong).sum()
            spread += ((wrong - 1) * (digamma(wrong) - digamma(wrong.sum()))).sum()
            rows.append(likely + annealed * spread)
        return np.array(np.mean(rows))

    evidence = np.random.default_rng(3).uniform(0.1, 5, size=(len(TRUTH), CLASSES))
    truth = torch.from_numpy(TRUTH)
    return Pair(lambda v: evidential_loss(v["evidence"], truth, annealed), theirs, {"evidence": evidence})
