"""What the closed forms share: an affine map a stream, found from covariances, its strength by cross-validation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.aligners.base import Aligner
from polymodal.aligners.folds import judged_items, pair_folds, random_reciprocal_rank, reciprocal_rank
from polymodal.aligners.moments import Moments, fold_moments
from polymodal.aligners.pairs import Side, matches
from polymodal.core.errors import BadArgument, BadData
from polymodal.nn.graphs import observed
from polymodal.nn.layers.named import Named
from polymodal.nn.normalize import l2_normalize

FOLDS = 5
SHRINKAGES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)  # tried by cross-validation
FEWEST = 8  # dimensions tried by cross-validation: this, twice this, … and as many as there are


class Affine(nn.Module):
    """x -> (x - mean) @ map, [..., width] to [..., dim]; buffers, not learned by gradient. `length`: of x / |x|."""

    mean: Tensor
    map: Tensor
    fitted: Tensor

    def __init__(self, width: int, dim: int, *, length: bool = False):
        super().__init__()
        self.length = length
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("map", torch.zeros(width, dim))
        self.register_buffer("fitted", torch.tensor(False))

    def prepare(self, x: Tensor) -> Tensor:
        """What the map is applied to, before the mean is taken off."""
        return l2_normalize(x) if self.length else x

    def forward(self, x: Tensor) -> Tensor:
        if observed(~self.fitted):
            raise BadData("This aligner has not been fitted: call fit(sides), or load a state that was.")
        return (self.prepare(x) - self.mean) @ self.map

    @torch.no_grad()
    def set(self, mean: Tensor, columns: Tensor) -> None:
        """Keep what was found; columns beyond those given are zero."""
        self.mean.copy_(mean)
        self.map.zero_()
        self.map[:, : columns.shape[1]] = columns.to(self.map)
        self.fitted.fill_(True)


class Choice(NamedTuple):
    """How much a covariance is shrunk and how many dimensions are kept."""

    shrinkage: float
    keep: int


class Found(NamedTuple):
    """A solution: each stream's `maps` [D, keep], and how much each dimension is worth, `weights` [keep] in 0..1."""

    maps: dict[str, Tensor]
    weights: Tensor


class Span(NamedTuple):
    """Where fewer items than numbers lie: their `mean` [D] and the directions in which they vary, `basis` [D, r].

    A map found from covariances needs no other: in the rest of the space they are zero, and so is the map. `Linear`
    therefore works in r dimensions, fewer than there are items.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Span:
        mean = vectors.double().mean(0)
        _, sizes, directions = torch.linalg.svd(vectors.double() - mean, full_matrices=False)
        kept = sizes > sizes.max() * vectors.shape[1] * torch.finfo(sizes.dtype).eps
        return cls(mean, directions[kept].T)

    def within(self, vectors: Tensor) -> Tensor:
        """[N, r]"""
        return (vectors.double() - self.mean) @ self.basis

    def back(self, mean: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """A mean [r] and a map [r, keep] of the span as those of the whole space, [D] and [D, keep]."""
        return self.mean + self.basis @ mean, self.basis @ columns


class Linear(Aligner):
    """An affine map a stream. An author writes `solutions`, and `most`: how many dimensions the method can give.

    `shrinkage` and `keep` are numbers or "cv": the best mean reciprocal rank of held-out training pairs in five folds,
    found from the same covariances, so that it costs little more than one fit. `told` says what was chosen.
    """

    learns: ClassVar[str] = "fit"
    linear = True
    shrinks: ClassVar[bool] = True  # False: the method has no covariance to shrink

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        shrinkage: float | str = 0.0,
        keep: int | str = "cv",
        length: bool = False,
    ):
        super().__init__(widths, dim)
        if shrinkage != "cv" and not (isinstance(shrinkage, float | int) and 0 <= shrinkage <= 1):
            raise BadArgument(f"shrinkage is a share from 0 (none) to 1, or 'cv'; got {shrinkage!r}.")
        if keep != "cv" and not (isinstance(keep, int) and keep >= 1):
            raise BadArgument(f"keep is a number of dimensions, at least 1, or 'cv'; got {keep!r}.")
        if len(self.names) < 2:
            raise BadArgument(f"An aligner needs two streams or more; got {list(self.names)}.")
        self.shrinkage = shrinkage
        self.keep = keep
        self.length = length
        self.told: list[str] = []
        self.maps = Named({name: Affine(width, dim, length=length) for name, width in self.widths.items()})

    @property
    def most(self) -> int:
        """The most dimensions that the method gives within `dim`."""
        return min(self.dim, *self.widths.values())

    @abstractmethod
    def solutions(
        self, moments: Moments, shrinkages: Sequence[float], keeps: Sequence[int]
    ) -> Iterator[tuple[Choice, Found]]:
        """The solution for each combination, with what they have in common computed once."""

    def project(self, name: str, vectors: Tensor) -> Tensor:
        return self.maps[name](vectors)

    def fit(self, sides: Mapping[str, Side], *, seed: int = 0) -> list[str]:
        """Find the maps. Returns what was chosen, in words. Raises `BadData` for too few pairs or broken vectors."""
        sides = self._checked(sides)
        spans = {n: Span.of(s.vectors) for n, s in sides.items() if self.shrinks and len(s) < self.widths[n]}
        sides = {n: Side(spans[n].within(s.vectors), s.rows) if n in spans else s for n, s in sides.items()}
        searched = self.keep == "cv" or (self.shrinks and self.shrinkage == "cv")
        count = FOLDS if searched else 1
        folds = pair_folds(sides, count, seed)
        moments = fold_moments(sides, folds, count, self._prepare)
        whole = moments[0]
        for other in moments[1:]:
            whole = whole + other
        shrinkages, keeps = self._grid()
        self.told = []
        choice = Choice(shrinkages[0], keeps[0])
        if searched:
            scores: dict[Choice, float] = {}
            chance = 0.0
            for number, held_out in enumerate(moments):
                rest, held = whole - held_out, _held_out(sides, moments[number].linked, folds, number)
                chance += sum(random_reciprocal_rank(together) for *_, together in held) / max(len(held), 1) / count
                for tried, solution in self.solutions(rest, shrinkages, keeps):
                    scores[tried] = scores.get(tried, 0.0) + self._judged(solution, rest, sides, held) / count
            choice = max(scores, key=lambda tried: (round(scores[tried], 6), tried.shrinkage, -tried.keep))
            self.told.append(self._chosen(choice, scores[choice], chance))
        ((_, solution),) = self.solutions(whole, choice[:1], choice[1:])
        for name in self.names:
            mean, columns = whole.mean(name), self.embedded(name, solution)
            if name in spans:
                mean, columns = spans[name].back(mean, columns)
            self.maps[name].set(mean, columns)  # type: ignore[operator]
        self.remember(solution)
        if self.most < self.dim:
            self.told.append(
                f"{self.most} of {self.dim} dimensions hold something: {type(self).__name__} gives no more from "
                f"streams of widths {', '.join(f'{n} {w}' for n, w in self.widths.items())}."
            )
        return self.told

    def embedded(self, name: str, found: Found) -> Tensor:
        """The map of a stream as it is kept. Default: as found."""
        return found.maps[name]

    def remember(self, found: Found) -> None:
        """Keep what else was found. Default: nothing."""
        return

    def finish(self, name: str, vectors: Tensor, weights: Tensor) -> Tensor:
        """Mapped vectors [N, keep] to those whose inner product is the similarity. Default: to length one."""
        return l2_normalize(vectors)

    def _prepare(self, x: Tensor) -> Tensor:
        return l2_normalize(x) if self.length else x

    def _grid(self) -> tuple[list[float], list[int]]:
        doubled = [FEWEST * 2**n for n in range(max(0, math.ceil(math.log2(self.most / FEWEST))))]
        keeps = [*doubled, self.most] if self.keep == "cv" else [min(int(self.keep), self.most)]
        if not self.shrinks:
            return [0.0], keeps
        return (list(SHRINKAGES) if self.shrinkage == "cv" else [float(self.shrinkage)]), keeps

    def _judged(self, solution: Found, moments: Moments, sides: Mapping[str, Side], held: Sequence[HeldOut]) -> float:
        """How well held-out pairs find each other, a mean over the pairs of streams."""
        scores = []
        for a, i, b, j, together in held:
            left, right = (self._embed(n, sides[n].vectors[rows], solution, moments) for n, rows in ((a, i), (b, j)))
            scores.append(reciprocal_rank(left @ right.T, together))
        return sum(scores) / len(scores) if scores else 0.0

    def _embed(self, name: str, vectors: Tensor, solution: Found, moments: Moments) -> Tensor:
        mapped = (self._prepare(vectors.double()) - moments.mean(name)) @ solution.maps[name]
        return self.finish(name, mapped, solution.weights)

    def _checked(self, sides: Mapping[str, Side]) -> dict[str, Side]:
        for name, width in self.widths.items():
            if name not in sides:
                raise BadData(f"No items of {name!r} were given; this aligner was built for {list(self.names)}.")
            vectors = sides[name].vectors
            if vectors.shape[1] != width:
                raise BadData(f"Vectors of {name!r} are {vectors.shape[1]} wide; this aligner was built for {width}.")
            if not all(block.isfinite().all() for block in vectors.split(1 << 12)):
                raise BadData(f"Some vectors of {name!r} are not finite: what made them read a broken value.")
        return {name: sides[name] for name in self.names}

    def _chosen(self, choice: Choice, score: float, chance: float) -> str:
        parts = [f"shrinkage {choice.shrinkage:g}"] if self.shrinks else []
        parts.append(f"{choice.keep} dimensions")
        return (
            f"{' and '.join(parts)}: the best of {FOLDS}-fold cross-validation, mean reciprocal rank {score:.3f}, "
            f"by chance {chance:.3f}."
        )


HeldOut = tuple[str, Tensor, str, Tensor, Tensor]  # a stream and numbers of its items, another; who belong together


def _held_out(
    sides: Mapping[str, Side], linked: Sequence[tuple[str, str]], folds: Mapping[str, np.ndarray], number: int
) -> list[HeldOut]:
    """The items of a fold by which the others' solution is judged, for every pair of streams that has some."""
    held = []
    for a, b in linked:
        i, j = judged_items(sides[a], sides[b], folds[a] == number)
        if len(i):
            held.append((a, i, b, j, matches(sides[a].rows[i], sides[b].rows[j])))
    return held


def whitener(eigen: tuple[Tensor, Tensor], shrinkage: float, width: int) -> Tensor:
    """S [D, r] with Sᵀ C S = 1, from the eigenvalues and eigenvectors of a covariance; C is shrunk towards its mean
    variance: (1 - γ) C + γ tr(C)/width. Directions without variance are left out, so r can be below D; nothing is lost,
    for they have no covariance with anything. `width` is that of the stream, which may vary in D directions only."""
    values, vectors = eigen
    shrunk = (1 - shrinkage) * values.clamp(min=0) + shrinkage * values.sum() / width
    kept = values > values[-1:] * len(values) * torch.finfo(values.dtype).eps  # they rise; a constant stream has none
    return vectors[:, kept] * shrunk[kept].rsqrt()


def principal(covariance: Tensor, keep: int) -> Tensor:
    """[D, keep]: the directions of most variance."""
    return torch.linalg.eigh(covariance)[1][:, -keep:].flip(1)
