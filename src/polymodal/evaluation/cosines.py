"""How near vectors that belong together lie in a space, beside those that do not.

CLIPScore (Hessel et al. 2021) is 2.5 max(cosine, 0), a factor that belongs to CLIP's range. Here stands the cosine
itself beside the mean cosine of pairs exchanged, without which no value says anything: vectors of a space often share a
direction. A score from the very space that a generator was trained by praises it too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.shown import many, some
from polymodal.data.tables.table import Problem, Table
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.metrics.counts import ratio
from polymodal.metrics.values import Values

if TYPE_CHECKING:
    from polymodal.inference.space import Space


@dataclass(frozen=True)
class Cosines:
    """Mean cosine of `pairs`, of all exchanged ones (`shuffled`), and their `difference`, each with its interval."""

    pairs: Interval
    shuffled: Interval
    difference: Interval


def cosine_score(a: Any, b: Any, *, groups: Any = None, seed: int = 0, level: float = 0.95) -> Cosines:
    """The mean cosine of pairs a[i], b[i] of vectors [N, D], and of all pairs a[i], b[j] that do not belong together.

    `groups` [N] names what belongs together: a photo's five captions are no exchanged pairs of each other, and are
    drawn as one. Exchanged pairs are all that there are, not a sample of them. Intervals are over rows, or groups.

    Raises `BadData` for shapes that do not fit, vectors that are not finite or have no length, and fewer than two rows
    or groups.
    """
    left, right = _units(a, "the first"), _units(b, "the second")
    if left.shape != right.shape:
        raise BadData(f"Pairs are two arrays [N, D]; got {left.shape} and {right.shape}.")
    if groups is not None and len(groups) != len(left):
        raise BadData(f"groups names a group for each of the {len(left)} pairs; got {len(groups)}.")
    group = np.arange(len(left)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if not len(left) or group.max() < 1:
        raise BadData(f"Nothing can be exchanged in {len(left)} pairs of one group: give at least two.")
    rows = np.arange(len(left), dtype=np.float64)  # what `weighted` is handed: which pairs
    return Cosines(*(
        bootstrap(_Cosine(left, right, group, part), rows, rows[None], seed=seed, level=level, groups=group)
        for part in ("pairs", "shuffled", "difference")
    ))  # fmt: skip


def likeness(
    space: Space, table: Table, answers: Sequence[str], right: Sequence[str], *, seen: str | None = None,
    said: str | None = None, groups: Any = None, seed: int = 0, problems: list[Problem] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`cosine_score` of `answers` and what the rows of `table` show, in an aligned space, and of `right` ones beside.

    `seen` names the space's stream that tells what the answers are about, by default the one whose columns the table
    has; `said` the one that reads them, by default its stream of text. A row without either vector is left out of both
    scores; cells that cannot be used are appended to `problems`.

    Raises `UnknownName` for a stream that the space lacks, `BadArgument` where it has to be told which is meant,
    `BadData` for fewer than two rows, or things, with both.
    """
    words = [name for name, kind in space.streams.items() if kind == "text"]
    said = said or _only(words, "text that could read the answers", "said")
    there = [n for n in space.streams if n != said and set(space.field(n).columns) & set(table.data)]
    seen = seen or _only(there, f"which {table.name} has a column, beside {said!r}", "seen")
    if space.field(seen).options.get("many"):
        raise BadArgument(f"{seen!r} has several cells a row; a cosine is that of an answer and of one cell.")
    shown, has = space.embed(seen, table, problems=problems)
    vectors, written = zip(*(space.embed(said, list(texts)) for texts in (answers, right)))
    rows = np.flatnonzero(has & written[0] & written[1])
    kept = None if groups is None else np.asarray(groups)[rows]
    found = [cosine_score(shown[rows], one[rows], groups=kept, seed=seed) for one in vectors]
    names = ("answers", "references")
    scores = {name: {part: vars(one) for part, one in vars(score).items()} for name, score in zip(names, found)}
    return {"seen": seen, "said": said, "rows": len(rows), **scores}


def _only(names: Sequence[str], what: str, option: str) -> str:
    if len(names) != 1:
        have = some(names) if names else "none"
        raise BadArgument(
            f"The space has {many(len(names), 'stream')} of {what} ({have}); `{option}` names the one meant."
        )
    return names[0]


class _Cosine(Values):
    """A mean over pairs, or over pairs of different groups, of rows repeated as the weights say."""

    bounds = (-2.0, 2.0)

    def __init__(self, left: np.ndarray, right: np.ndarray, group: np.ndarray, part: str):
        self.left, self.right, self.group, self.part = left, right, group, part
        order = np.argsort(group, kind="stable")
        self.order, self.starts = order, np.searchsorted(group[order], np.arange(group.max() + 1))

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        own = np.einsum("nd,nd->n", self.left, self.right) @ weights / weights.sum(0)
        if self.part == "pairs":
            return own
        return self._shuffled(weights) if self.part == "shuffled" else own - self._shuffled(weights)

    def _shuffled(self, weights: np.ndarray) -> np.ndarray:
        """Of all pairs less those within a group: sums over rows, and over each group's, whose weights are one."""
        sums = [np.add.reduceat(side[self.order], self.starts, axis=0) for side in (self.left, self.right)]
        size = np.bincount(self.group).astype(np.float64)
        often = weights[self.order][self.starts]  # [G, R]: a group is drawn as a whole
        whole = np.einsum("rd,rd->r", *(often.T @ side for side in sums))
        within = np.einsum("gd,gd->g", *sums) @ often**2
        return ratio(whole - within, (size @ often) ** 2 - size**2 @ often**2)


def _units(vectors: Any, which: str) -> np.ndarray:
    array = vectors.detach().cpu().numpy() if hasattr(vectors, "detach") else np.asarray(vectors)
    if array.ndim != 2:
        raise BadData(f"Vectors are [N, D]; {which} are {array.shape}.")
    array = array.astype(np.float64)
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    if not np.isfinite(norm).all() or not (norm > 0).all():
        row = int(np.flatnonzero(~(np.isfinite(norm) & (norm > 0)))[0])
        raise BadData(f"Row {row} of {which} vectors has no direction: it is zero, or not finite.")
    return array / norm
