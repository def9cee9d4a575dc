"""Canonical correlation: the directions in which streams agree most; with the similarity of CSA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from polymodal.aligners.linear import Choice, Found, Linear, whitener
from polymodal.aligners.moments import Moments
from polymodal.core.errors import BadArgument


class CCA(Linear):
    """Canonical correlation analysis (Hotelling 1936), regularised (Vinod 1976); the similarity is the cosine.

    Of two streams with covariances C_a, C_b of their pairs: C_a^-½ C_ab C_b^-½ = U diag(ρ) Vᵀ, the maps are C_a^-½ U
    and C_b^-½ V. Of more, generalised by the largest eigenvalues (MAXVAR, Kettenring 1971): the eigenvectors of all
    streams' whitened covariance, scaled so that with two streams it is the same.

    `shrinkage` γ takes (1 - γ) C + γ tr(C)/D for C; `keep` is how many dimensions are kept. "cv" chooses by
    cross-validation on the training pairs. Gives at most as many dimensions as the narrowest stream has.
    """

    correlations: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        shrinkage: float | str = "cv",
        keep: int | str = "cv",
    ):
        super().__init__(widths, dim, shrinkage=shrinkage, keep=keep)
        self.register_buffer("correlations", torch.zeros(dim))

    def solutions(
        self, moments: Moments, shrinkages: Sequence[float], keeps: Sequence[int]
    ) -> Iterator[tuple[Choice, Found]]:
        eigen = {name: torch.linalg.eigh(moments.covariance(name)) for name in self.names}
        for shrinkage in shrinkages:
            whiteners = {name: whitener(eigen[name], shrinkage, self.widths[name]) for name in self.names}
            directions, correlations = _canonical(moments, whiteners)
            maps = {name: whiteners[name] @ directions[name] for name in self.names}
            for keep in keeps:
                solution = Found({name: m[:, :keep] for name, m in maps.items()}, correlations[:keep])
                yield Choice(shrinkage, keep), solution

    @torch.no_grad()
    def remember(self, found: Found) -> None:
        self.correlations.zero_()
        self.correlations[: len(found.weights)] = found.weights.to(self.correlations)


class CSA(CCA):
    """Canonical similarity analysis (Li, Chinchali & Topcu 2025): canonical directions weighted by their correlations.

    sim(a, b) = Σ_i ρ_i â_i b̂_i over the `keep` first directions, where â and b̂ are the canonical vectors scaled to
    length one. Kept as vectors of length one whose inner product is just that: √ρ_i â_i, and in a place of its own for
    each stream what is lacking to length one. So `dim` holds as many directions as streams less. Options: as of `cca`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        shrinkage: float | str = "cv",
        keep: int | str = "cv",
    ):
        if dim <= len(widths):
            raise BadArgument(f"csa of {len(widths)} streams needs a dim above {len(widths)}; got {dim}.")
        super().__init__(widths, dim, shrinkage=shrinkage, keep=keep)

    @property
    def most(self) -> int:
        return min(self.dim - len(self.names), *self.widths.values())

    def project(self, name: str, vectors: Tensor) -> Tensor:
        room = self.dim - len(self.names)
        return self.finish(name, super().project(name, vectors)[..., :room], self.correlations[:room])

    def finish(self, name: str, vectors: Tensor, weights: Tensor) -> Tensor:
        direction = super().finish(name, vectors, weights)
        weighted = direction * weights.sqrt()
        own = (direction.square() * (1 - weights)).sum(-1).sqrt()
        rest = own.new_zeros(*own.shape, len(self.names))
        rest[..., self.names.index(name)] = own
        return torch.cat([weighted, rest], -1)


def _canonical(moments: Moments, whiteners: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Directions [r, n] in each stream's whitened space and their correlations [n], n the smallest r."""
    names = list(whiteners)
    most = min(w.shape[1] for w in whiteners.values())
    if len(names) == 2:
        a, b = names
        left, values, right = torch.linalg.svd(
            whiteners[a].T @ moments.between(a, b) @ whiteners[b], full_matrices=False
        )
        return {a: left, b: right.T}, values.clamp(0, 1)
    blocks = []
    for a in names:
        line = [torch.eye(whiteners[a].shape[1], dtype=torch.float64) if a == b else
                whiteners[a].T @ moments.between(a, b) @ whiteners[b] for b in names]  # fmt: skip
        blocks.append(torch.cat(line, 1))
    values, vectors = torch.linalg.eigh(torch.cat(blocks))
    top = vectors[:, -most:].flip(1) * len(names) ** 0.5
    parts = top.split([w.shape[1] for w in whiteners.values()])
    shared = (values[-most:].flip(0) - 1) / (len(names) - 1)  # the mean correlation, with two streams the correlation
    return dict(zip(names, parts)), shared.clamp(0, 1)
