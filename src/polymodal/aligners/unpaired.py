"""Rotating one cloud onto another without pairs: where to start, how good it is, and refinement."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.aligners.procrustes import polar
from polymodal.nn.csls import crowding, csls_nearest, mutual_nearest, scaled
from polymodal.nn.normalize import l2_normalize

JUDGED = 2000  # source points whose neighbours are looked at
SEARCHED = 5000  # target points among which they are looked for
SAMPLE = 1500  # points of each side in a round of stochastic refinement
PROFILE = 100  # quantiles of a point's similarities
PATIENCE = 2  # checks without gain, until more similarities are kept
EVERY = 4  # rounds between two checks


def criterion(source: Tensor, target: Tensor, w: Tensor, *, k: int = 10) -> float:
    """How good a map is, told without pairs: the mean cosine of mapped points to their nearest by CSLS.

    The validation criterion of Conneau et al. (2018); at most 2,000 points among 5,000.
    """
    return float(csls_nearest(source[:JUDGED] @ w, target[:SEARCHED], k=k)[1].mean())


def from_profiles(source: Tensor, target: Tensor, *, k: int = 10) -> Tensor:
    """A rotation [d, d] to start from: points are matched by how similar they are to the rest of their own cloud.

    The sorted similarities of a point do not change when the cloud is rotated (Artetxe, Labaka & Agirre 2018); their
    quantiles are standardised, so that clouds of different size and spread can be compared.
    """
    profiles = []
    for points in (source, target):
        similar = (points[:JUDGED] @ points[:SEARCHED].T).sort(1).values
        places = torch.linspace(0, similar.shape[1] - 1, min(PROFILE, similar.shape[1])).long()
        chosen = similar[:, places]
        profiles.append((chosen - chosen.mean(0)) / chosen.std(0).clamp(min=1e-12))
    i, j = mutual_nearest(*profiles, k=k)
    return polar(source[i].T @ target[j])


def refined(source: Tensor, target: Tensor, w: Tensor, *, rounds: int, k: int, draw: torch.Generator) -> Tensor:
    """The best map by the criterion among those that repeated matching and Procrustes lead to.

    First with dropout: in each round nearest points by CSLS are sought, both ways, among a random share of the pairs of
    points, which begins at a tenth and is doubled when nothing is gained any more (Artetxe et al. 2018); so it can
    leave a poor place. Then with each other's nearest only, as Conneau et al. (2018) refine.
    """
    best, kept = criterion(source, target, w, k=k), w
    share, idle = 0.1, 0
    for number in range(1, rounds + 1):
        w = _induced(_sample(source, draw), _sample(target, draw), w, share, k, draw)
        if number % EVERY:
            continue
        if (value := criterion(source, target, w, k=k)) > best + 1e-4:
            best, kept, idle = value, w, 0
        else:
            idle += 1
        if idle >= PATIENCE:
            if share >= 1:
                break
            share, idle = min(1.0, 2 * share), 0
    w = kept
    for _ in range(min(rounds, 5)):
        i, j = mutual_nearest(source[:SEARCHED] @ w, target[:SEARCHED], k=k)
        w = polar(source[i].T @ target[j])
        if (value := criterion(source, target, w, k=k)) <= best:
            break
        best, kept = value, w
    return kept


def agreement(source: Tensor, target: Tensor, a: Tensor, b: Tensor, *, k: int = 10) -> float:
    """The share of points to which two maps give the same nearest point of the target."""
    nearest = [csls_nearest(source[:JUDGED] @ w, target[:SEARCHED], k=k)[0] for w in (a, b)]
    return float((nearest[0] == nearest[1]).double().mean())


def _induced(x: Tensor, y: Tensor, w: Tensor, share: float, k: int, draw: torch.Generator) -> Tensor:
    mapped = l2_normalize(x @ w)
    score = scaled(mapped @ y.T, crowding(mapped, y, k=k), crowding(y, mapped, k=k))
    if share < 1:
        score = score.masked_fill(torch.rand(score.shape, generator=draw) >= share, -torch.inf)
    there, back = score.argmax(1), score.argmax(0)
    return polar(x.T @ y[there] + x[back].T @ y)


def _sample(points: Tensor, draw: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=draw)[:SAMPLE]]
