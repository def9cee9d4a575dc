"""Alignment without pairs: an adversarial game finds a rotation, which is refined and told by criterion alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.aligners.base import Aligner
from polymodal.aligners.game import Game, play
from polymodal.aligners.linear import Affine
from polymodal.aligners.pairs import Side
from polymodal.aligners.procrustes import polar
from polymodal.aligners.unpaired import SEARCHED, agreement, criterion, from_profiles, refined
from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.values import check_range
from polymodal.nn.check import check_count
from polymodal.nn.csls import mutual_nearest
from polymodal.nn.layers.named import Named
from polymodal.nn.normalize import l2_normalize

FEWEST = 50  # items of a stream
MOST = 20_000  # items of a stream that are looked at
CHANCE = 2  # random rotations, refined alike, that the criterion is compared with
CLEAR = 0.01  # above the best of them
SAME = 0.5  # share of equal nearest points from which two maps count as one


class Adversarial(Aligner):
    """Rotates every stream's space onto that of the stream `onto` without pairs; rows are never read.

    In the manner of MUSE (Conneau, Lample, Ranzato, Denoyer & Jégou 2018): vectors of length one, centred, in their
    principal directions (`whiten`: scaled to equal variance), as many as fit all streams; a linear map that a
    discriminator of `hidden` units cannot tell from the target, with labels smoothed by `smoothing`, a share `hide` of
    its input hidden, and a pull of strength `orthogonality` towards rotations, for `epochs`; then up to `rounds` of
    refinement by CSLS nearest points and Procrustes. Of `restarts` (the first from similarity profiles, the second from
    the principal directions as they are, the rest from random rotations) the one with the largest mean CSLS cosine is
    kept: a criterion that needs no pairs. `k` neighbours for CSLS.

    It can only work where the clouds have the same uneven shape: a Gaussian looks the same from every side. `fit` says
    in words when it found nothing better than a random rotation refined alike, or when no second restart agrees.
    """

    learns = "fit"
    paired = False
    linear = True

    def __init__(
        self,
        widths: Mapping[str, int],
        dim: int,
        *,
        onto: str = "",
        restarts: int = 4,
        epochs: int = 10,
        hidden: int = 256,
        smoothing: float = 0.1,
        hide: float = 0.1,
        orthogonality: float = 0.01,
        rounds: int = 100,
        whiten: bool = False,
        k: int = 10,
    ):
        super().__init__(widths, dim)
        if onto and onto not in self.names:
            raise BadArgument(f"There is no stream {onto!r} to map onto.{suggest(onto, self.names)}")
        if len(self.names) < 2:
            raise BadArgument(f"An aligner needs two streams or more; got {list(self.names)}.")
        check_range("[0, 0.5)", smoothing=smoothing, hide=hide, orthogonality=orthogonality)
        check_range("[0, inf)", epochs=epochs, rounds=rounds)
        self.onto = onto
        self.restarts = check_count("restarts", restarts)
        self.epochs = epochs
        self.hidden = check_count("hidden", hidden)
        self.smoothing = smoothing
        self.hide = hide
        self.orthogonality = orthogonality
        self.rounds = rounds
        self.whiten = whiten
        self.k = check_count("k", k)
        self.told: list[str] = []
        self.maps = Named({name: Affine(width, dim, length=True) for name, width in self.widths.items()})

    @property
    def anchor(self) -> str:
        """The stream whose space is shared."""
        return self.onto or self.names[0]

    def project(self, name: str, vectors: Tensor) -> Tensor:
        return self.maps[name](vectors)

    @torch.no_grad()
    def fit(self, sides: Mapping[str, Side], *, seed: int = 0) -> list[str]:
        """Find the maps; only `vectors` are read. Returns in words how it went; see `told`."""
        draw = torch.Generator().manual_seed(seed)
        width = min(self.dim, *self.widths.values())
        spaces = {name: self._space(name, sides, width, draw) for name in self.names}
        target = spaces[self.anchor]
        self.maps[self.anchor].set(target.mean, target.basis)  # type: ignore[operator]
        self.told = []
        for name in self.names:
            if name != self.anchor:
                w = self._rotation(name, spaces[name].points, target.points, draw)
                self.maps[name].set(spaces[name].mean, spaces[name].basis @ w)  # type: ignore[operator]
        return self.told

    def _rotation(self, name: str, exact: Tensor, onto: Tensor, draw: torch.Generator) -> Tensor:
        source, target = exact.float(), onto.float()  # the search needs no more

        def judge(w: Tensor) -> float:
            return criterion(source, target, polar(w), k=self.k)

        game = Game(self.epochs, self.hidden, self.smoothing, self.hide, self.orthogonality)
        maps, values = [], []
        for number in range(self.restarts):
            start = self._start(number, source, target, draw)
            with torch.enable_grad():
                w = play(game, source, target, start, judge, draw)
            maps.append(refined(source, target, polar(w), rounds=self.rounds, k=self.k, draw=draw))
            values.append(judge(maps[-1]))
        best = max(range(self.restarts), key=values.__getitem__)
        alike = [agreement(source, target, maps[best], w, k=self.k) for n, w in enumerate(maps) if n != best]
        chance = []
        for _ in range(CHANCE):
            start = _random(source.shape[1], draw)
            chance.append(judge(refined(source, target, start, rounds=self.rounds, k=self.k, draw=draw)))
        self.told.append(self._words(name, values[best], max(chance), sum(a > SAME for a in alike)))
        i, j = mutual_nearest(source[:SEARCHED] @ maps[best], target[:SEARCHED], k=self.k)
        again = polar(exact[i].T @ onto[j])  # the last step once more, in double precision
        return again if judge(again.float()) > values[best] - 1e-5 else maps[best].double()

    def _start(self, number: int, source: Tensor, target: Tensor, draw: torch.Generator) -> Tensor:
        if number == 0:
            return from_profiles(source, target, k=self.k)
        return torch.eye(source.shape[1]) if number == 1 else _random(source.shape[1], draw)

    def _words(self, name: str, value: float, chance: float, alike: int) -> str:
        score = f"{name} onto {self.anchor}: mean CSLS cosine {value:.3f}, {chance:.3f} from random rotations"
        if value < chance + CLEAR:
            return (
                f"{score}. Not converged: nothing better than chance was found, do not use this alignment. More items "
                "or restarts may help; a few hundred pairs with `procrustes` surely do."
            )
        if not alike:
            return f"{score}. Not confirmed: no other restart leads to the same map; check it on pairs before use."
        return f"{score}; {alike + 1} of {self.restarts} restarts lead to the same map."

    def _space(self, name: str, sides: Mapping[str, Side], width: int, draw: torch.Generator) -> _Space:
        if name not in sides:
            raise BadData(f"No items of {name!r} were given; this aligner was built for {list(self.names)}.")
        vectors = sides[name].vectors
        if vectors.ndim != 2 or vectors.shape[1] != self.widths[name]:
            raise BadData(f"Vectors of {name!r} are {list(vectors.shape)}; expected [items, {self.widths[name]}].")
        if len(vectors) < FEWEST:
            raise BadData(f"{len(vectors)} items of {name!r}; {FEWEST} at least show a shape, thousands show it well.")
        vectors = l2_normalize(vectors[torch.randperm(len(vectors), generator=draw)[:MOST]].double())
        if not vectors.isfinite().all():
            raise BadData(f"Some vectors of {name!r} are not finite: what made them read a broken value.")
        mean = vectors.mean(0)
        values, directions = torch.linalg.eigh((vectors - mean).T @ (vectors - mean) / len(vectors))
        basis = directions[:, -width:].flip(1)
        if self.whiten:
            basis = basis * values[-width:].flip(0).clamp(min=1e-6 * float(values[-1])).rsqrt()
        return _Space(mean, basis, l2_normalize((vectors - mean) @ basis))


@dataclass(frozen=True)
class _Space:
    """A stream's mean [D], basis [D, d], and its points [N, d] in it, of length one."""

    mean: Tensor
    basis: Tensor
    points: Tensor


def _random(width: int, draw: torch.Generator) -> Tensor:
    return polar(torch.randn(width, width, generator=draw))
