"""Rotation of the streams onto each other, and regression of all onto one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from polymodal.aligners.linear import Choice, Found, Linear, principal, whitener
from polymodal.aligners.moments import Moments
from polymodal.core.errors import BadArgument, suggest

SWEEPS = 200  # of generalised Procrustes, at most; with two streams one is exact


class Procrustes(Linear):
    """Orthogonal Procrustes (Schönemann 1966): R = U Vᵀ of B'A = U Σ Vᵀ minimises |A - B R| over rotations.

    Vectors are scaled to length one (unless `length` is off) and centred; streams wider than `keep` are first reduced
    to their `keep` principal directions, narrower ones padded with zeros. More than two streams are rotated onto one
    another in turns until nothing changes (generalised Procrustes, Gower 1975; ten Berge 1977). Keeps each stream's own
    geometry, so that few pairs suffice. `keep="cv"` chooses by cross-validation on the training pairs.
    """

    shrinks = False

    def __init__(self, widths: Mapping[str, int], dim: int, *, keep: int | str = "cv", length: bool = True):
        super().__init__(widths, dim, keep=keep, length=length)

    @property
    def most(self) -> int:
        return min(self.dim, max(self.widths.values()))

    def solutions(
        self, moments: Moments, shrinkages: Sequence[float], keeps: Sequence[int]
    ) -> Iterator[tuple[Choice, Found]]:
        principals = {n: principal(moments.covariance(n), min(max(keeps), self.widths[n])) for n in self.names}
        for keep in keeps:
            bases = {n: p[:, :keep] if keep < len(p) else torch.eye(len(p), keep).to(p) for n, p in principals.items()}
            between = {
                (a, b): bases[a].T @ moments.between(a, b) @ bases[b] for a in self.names for b in self.names if a != b
            }
            turned = rotations(between, self.names, keep)
            maps = {name: bases[name] @ turned[name] for name in self.names}
            yield Choice(0.0, keep), Found(maps, torch.ones(keep, dtype=torch.float64))


class Ridge(Linear):
    """Ridge regression (Hoerl & Kennard 1970) of every other stream onto the stream `onto`; the similarity is cosine.

    W = C_a^-1 C_ab with the covariance shrunk: (1 - γ) C + γ tr(C)/D for C. The space is that of the `keep` principal
    directions of `onto`, by default the narrowest stream. "cv" chooses by cross-validation on the training pairs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        shrinkage: float | str = "cv",
        keep: int | str = "cv",
        onto: str = "",
    ):
        super().__init__(widths, dim, shrinkage=shrinkage, keep=keep)
        if onto and onto not in self.names:
            raise BadArgument(f"There is no stream {onto!r} to regress onto.{suggest(onto, self.names)}")
        self.onto = onto

    @property
    def anchor(self) -> str:
        """The stream whose space is shared."""
        return self.onto or min(self.names, key=lambda name: (self.widths[name], name))

    @property
    def most(self) -> int:
        return min(self.dim, self.widths[self.anchor])

    def solutions(
        self, moments: Moments, shrinkages: Sequence[float], keeps: Sequence[int]
    ) -> Iterator[tuple[Choice, Found]]:
        others = [name for name in self.names if name != self.anchor]
        basis = torch.linalg.eigh(moments.covariance(self.anchor))[1].flip(1)
        eigen = {name: torch.linalg.eigh(moments.covariance(name)) for name in others}
        for shrinkage in shrinkages:
            whiteners = {name: whitener(eigen[name], shrinkage, self.widths[name]) for name in others}
            maps = {name: w @ (w.T @ moments.between(name, self.anchor) @ basis) for name, w in whiteners.items()}
            maps[self.anchor] = basis
            for keep in keeps:
                solution = Found({n: m[:, :keep] for n, m in maps.items()}, torch.ones(keep, dtype=torch.float64))
                yield Choice(shrinkage, keep), solution


def polar(between: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a square one: U Vᵀ of U Σ Vᵀ."""
    left, _, right = torch.linalg.svd(between)
    return left @ right


def rotations(between: Mapping[tuple[str, str], Tensor], names: Sequence[str], keep: int) -> dict[str, Tensor]:
    """Rotations R_a [keep, keep] of the streams that maximise the sum of tr(R_aᵀ C_ab R_b) over pairs, by turns.

    The first stream stays where it is. `between` holds C_ab for every ordered pair of names.
    """
    first, *others = names
    placed = {first: torch.eye(keep, dtype=torch.float64)}

    def turned(name: str) -> Tensor:
        """The best rotation of one stream onto those that are placed."""
        return polar(torch.stack([between[name, b] @ r for b, r in placed.items() if b != name]).sum(0))

    for name in others:
        placed[name] = turned(name)
    for _ in range(SWEEPS if len(others) > 1 else 0):
        moved = 0.0
        for name in others:
            before, placed[name] = placed[name], turned(name)
            moved = max(moved, float((placed[name] - before).abs().max()))
        if moved < 1e-10:
            break
    return placed
