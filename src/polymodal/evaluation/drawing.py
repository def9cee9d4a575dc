"""What drawn pictures or sounds are worth as a set: how like real ones, how varied, and whether they are copies.

Distances are in a space of features [N, F]: those of a classifier of such, or of `metrics.pictures` and `.sounds`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from polymodal.core.errors import BadData

LEAST = 1000  # pictures, and twice as many as there are features: a Fréchet distance of fewer is mostly its own bias
NEIGHBOURS = 3
COLLAPSED = 0.3  # of `distinct`: what is below is said
COPIED = 0.5  # of the distance of a real picture to the nearest training picture: what is nearer is a copy, or nearly
BLOCK = 1024  # rows whose distances are held at a time


def frechet_distance(a: np.ndarray, b: np.ndarray, *, least: int = LEAST) -> float:
    """|m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½) of features [N, F] (Fréchet 1957; Heusel et al. 2017).

    In float64, from eigenvalues clipped at 0. It falls with the number of pictures, so only distances of equally many
    compare; beside one belongs its floor, that of two sets of real pictures. Raises `BadData` where either has fewer
    than `least` pictures, or no more than features.
    """
    for x in (a, b):
        if len(x) < least or len(x) <= x.shape[1]:
            raise BadData(
                f"A Fréchet distance of {len(x):,} pictures by {x.shape[1]} features says little but how few they are: "
                f"give at least {max(least, x.shape[1] + 1):,}."
            )
    (m, c), (n, d) = ((x.mean(0), np.cov(x, rowvar=False).reshape(x.shape[1], -1)) for x in map(_exact, (a, b)))
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    mixed = np.sqrt(np.linalg.eigvalsh(root @ d @ root).clip(0)).sum()  # those of C_a C_b
    return float(((m - n) ** 2).sum() + np.trace(c) + np.trace(d) - 2 * mixed)


def precision_recall(real: np.ndarray, drawn: np.ndarray, *, k: int = NEIGHBOURS) -> tuple[float, float]:
    """The share of drawn pictures among real ones, and of real among drawn (Kynkäänniemi et al. 2019).

    A picture is among a set where it lies within the distance of one of its pictures to that one's `k`-th nearest.
    Only sets of equally many compare. Raises `BadData` for sets of no more than `k`.
    """
    if min(len(real), len(drawn)) <= k:
        raise BadData(f"Precision and recall need more than {k} pictures; got {len(real)} and {len(drawn)}.")
    return _among(drawn, real, k), _among(real, drawn, k)


@dataclass(frozen=True)
class Drawing:
    """How drawn pictures compare with as many real ones that nothing was learned from.

    `frechet` to these, and `floor`, that of training pictures to these (NaN of too few); `precision` and `recall`, and
    `precision_of_real`, `recall_of_real` of training pictures; `nearest`, the median distance of a drawn picture to the
    nearest training picture, over that of a real one: far below 1 says copies. `distinct` is the share of different
    training pictures that the drawn ones are nearest to, over that of real ones: near 0 says that few are drawn.
    """

    count: int
    frechet: float
    floor: float
    precision: float
    recall: float
    precision_of_real: float
    recall_of_real: float
    nearest: float
    distinct: float

    @classmethod
    def of(cls, drawn: np.ndarray, real: np.ndarray, train: np.ndarray, *, seed: int = 0) -> Drawing | None:
        """Of features [N, F] each; None where there are too few to say anything.

        Equally many of all are compared, chosen at random; copies are sought among all of `train`.
        """
        count = min(len(drawn), len(real), len(train))
        if count <= 10 * NEIGHBOURS:
            return None
        rng = np.random.default_rng(seed)
        a, b, c = (x[rng.permutation(len(x))[:count]] for x in (drawn, real, train))
        few = count < LEAST or count <= a.shape[1]
        precision, recall = precision_recall(b, a)
        of_real = precision_recall(b, c)
        of_drawn, beside = (nearest(x, train) for x in (a, b))
        return cls(
            count,
            float("nan") if few else frechet_distance(a, b), float("nan") if few else frechet_distance(c, b),
            precision, recall, *of_real,
            float(np.median(of_drawn[0]) / max(np.median(beside[0]), 1e-12)),
            len(np.unique(of_drawn[1])) / len(np.unique(beside[1])),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain values; without the distances of too few pictures."""
        return {name: value for name, value in asdict(self).items() if value == value}

    def sentences(self, noun: str = "picture") -> list[str]:
        """The same in words; `noun` is what is drawn."""
        said = [
            f"Of {self.count:,} {noun}s drawn for the test rows, {self.precision:.0%} lie among real ones and "
            f"{self.recall:.0%} of the real ones among them (of training {noun}s {self.precision_of_real:.0%} and "
            f"{self.recall_of_real:.0%})."
        ]
        if self.frechet == self.frechet:
            said.append(
                f"Their Fréchet distance to the test {noun}s, by hand-made features, is {self.frechet:.4g}; its "
                f"floor, that of as many training {noun}s, {self.floor:.4g}."
            )
        else:
            said.append(f"No Fréchet distance: {self.count:,} {noun}s are too few, {LEAST:,} are needed.")
        if self.distinct < COLLAPSED:
            said.append(
                f"They lie near {self.distinct:.0%} as many different training {noun}s as real ones do: few {noun}s "
                "are drawn again and again (a collapse), whatever the row says."
            )
        copies = f" They are copies of training {noun}s, or nearly." if self.nearest < COPIED else ""
        said.append(
            f"A drawn {noun} is {self.nearest:.2f} times as far from the nearest training {noun} as a real one of "
            f"the test rows.{copies}"
        )
        return said


def _exact(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64)


def _distances(x: np.ndarray, to: np.ndarray) -> Iterator[np.ndarray]:
    """Distances [b, M] of some rows of `x` after others to all of `to`."""
    squares = (to * to).sum(1)
    for start in range(0, len(x), BLOCK):
        some = x[start : start + BLOCK]
        yield np.sqrt(((some * some).sum(1)[:, None] + squares - 2 * some @ to.T).clip(0))


def nearest(x: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of features [N, F] and [M, F]: [N] the distance to the nearest of `to`, and its place."""
    blocks = [(block.min(1), block.argmin(1)) for block in _distances(_exact(x), _exact(to))]
    return np.concatenate([one for one, _ in blocks]), np.concatenate([one for _, one in blocks])


def _among(x: np.ndarray, of: np.ndarray, k: int) -> float:
    x, of = _exact(x), _exact(of)
    radius = np.concatenate([np.partition(block, k, axis=1)[:, k] for block in _distances(of, of)])  # itself is nearest
    return float(np.mean(np.concatenate([(block <= radius).any(1) for block in _distances(x, of)])))
