"""What one stream contributes to a joint answer, for any fusion.

Peng et al. and Li et al. split a linear layer over concatenated features into one part a stream, which exists for
`concat` only. Here a stream's contribution is what the whole model answers with the masks of the other streams
cleared: the mechanism by which this library treats anything missing, so it is defined for every fusion, and modality
dropout in training keeps such rows within what the fusion knows. Heads a stream of their own would say what its tower
knows, not what the fusion makes of it, which is what goes wrong under greedy learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from polymodal.objectives.base import Step
from polymodal.targets.base import ScoredTarget


@torch.no_grad()
def scores_with(step: Step, kept: Sequence[Sequence[str]]) -> list[dict[str, Tensor]]:
    """Scores a target of the model in eval mode, once for each set of streams kept, all others' masks cleared.

    Eval mode draws no random number, so that training with an objective hides the same rows as training without.
    """
    answer, mode = step.answer, step.answer.training
    nothing = {name: torch.zeros_like(tokens.present) for name, tokens in step.streams.items()}
    answer.train(False)
    scores = []
    for names in kept:
        some = {n: t if n in names else t.keep(nothing[n]) for n, t in step.streams.items()}
        scores.append(dict(answer.join(some).predictions))
    answer.train(mode)
    return scores


def confidence(step: Step, targets: Sequence[ScoredTarget], names: Sequence[str]) -> dict[str, float]:
    """How sure the model is of the truth with one stream alone: exp(-loss) in (0, 1], the mean over rows and targets.

    For classes it is the probability of the true one. Only rows that have the stream count; NaN where none has.
    """
    confidences = {}
    for name, scores in zip(names, scores_with(step, [[name] for name in names])):
        present = step.streams[name].present
        each = [torch.exp(-t.row_losses(scores[t.name], step.targets[t.name]))[present] for t in targets]
        confidences[name] = float(torch.cat(each).nanmean())
    return confidences


def shapley(full: Mapping[frozenset[str], Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Each stream's Shapley share of the scores, which add up to those of all streams; no stream at all is zero.

    `full` maps every non-empty subset of `names` to scores.
    """
    count = len(names)
    shares = {name: torch.zeros_like(next(iter(full.values()))) for name in names}
    for name in names:
        others = [n for n in names if n != name]
        for size in range(count):
            weight = 1 / (count * _choose(count - 1, size))
            for subset in combinations(others, size):
                more = full[frozenset((*subset, name))]
                shares[name] += weight * (more - full[frozenset(subset)] if subset else more)
    return shares


def _choose(n: int, k: int) -> int:
    binomial = 1
    for i in range(k):
        binomial = binomial * (n - i) // (i + 1)
    return binomial


def beside_others(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of the other streams' values, a stream each; NaN values do not count."""
    means = {}
    for name in values:
        others = [v for n, v in values.items() if n != name and v == v]
        means[name] = sum(others) / len(others) if others else float("nan")
    return means
