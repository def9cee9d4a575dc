"""What a matching model adds to what the aligner finds: pairs told from near misses, and first hits put in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners.base import Aligner
from polymodal.aligners.pairs import matches
from polymodal.alignment.items import Chosen, Tower
from polymodal.alignment.train import linked_ways
from polymodal.core.types import Tokens
from polymodal.evaluation.matching import matching_auc, matching_gain, pairs_to_judge
from polymodal.evaluation.means import Mean
from polymodal.evaluation.statistics import bootstrap, paired
from polymodal.models.matching import Matcher, beside
from polymodal.nn.place import device_of_module, to_device

PIECE = 512  # pairs judged at a time
ASKED = 500  # queries a way that are judged, at most
TRUST = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)  # candidates of `Matcher.trust`


@dataclass(frozen=True, eq=False)
class Embedded:
    """The items of some rows, a stream each, and their aligned vectors float32 [N, dim]."""

    chosen: Mapping[str, Chosen]
    vectors: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Reader:
    """What a matcher reads of items: stored tokens, and beside them the same as the aligner, at rest, maps them."""

    aligner: Aligner
    towers: Mapping[str, Tower]

    @torch.no_grad()
    def __call__(self, name: str, cells: np.ndarray) -> Tokens:
        """Of the present cells numbered `cells` [n] of a stream, on the aligner's device."""
        tokens = to_device(_cut(self.towers[name].sequences(cells)), device_of_module(self.aligner))
        return beside(tokens, self.aligner({name: tokens})[name])


@dataclass(frozen=True, eq=False)
class Way:
    """Queries of one stream and what the aligner finds for them in another, nearest first.

    `query` [Q] and `found` [Q, K] are numbers of items; `cosine` and `right` (whether it belongs to the query) [Q, K];
    `first` [Q] is the rank of the first that belongs, among all.
    """

    names: tuple[str, str]
    query: np.ndarray
    found: np.ndarray
    cosine: np.ndarray
    right: np.ndarray
    first: np.ndarray

    def ranks(self, scores: np.ndarray) -> np.ndarray:
        """[Q] the rank of the first that belongs, once the found items are put in order of `scores` [Q, K].

        Among equal scores what does not belong goes first.
        """
        best = np.where(self.right, scores, -np.inf).max(1)
        before = ((scores >= best[:, None]) & ~self.right).sum(1)
        return np.where(self.right.any(1), before + 1, self.first)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a matcher is judged by in one part: every way's queries with their nearest items."""

    part: Embedded
    ways: Sequence[Way]

    @classmethod
    def of(cls, part: Embedded, name: str, candidates: int, seed: int) -> Judged:
        """At most 500 queries a way, drawn, of those to which something belongs, with their nearest `candidates`."""
        ways = []
        for a, b in linked_ways(part.chosen, name):
            query, corpus = part.chosen[a], part.chosen[b]
            asked = np.flatnonzero(np.isin(query.rows.numpy(), corpus.rows[corpus.rows >= 0].numpy()).any(1))
            asked = np.sort(np.random.default_rng(seed).permutation(asked)[:ASKED])
            ways.append(_nearest((a, b), part, asked, min(candidates, len(corpus))))
        return cls(part, ways)

    def log_odds(self, matcher: Matcher, read: Reader) -> list[np.ndarray]:
        """[Q, K] a way."""
        told = []
        for way in self.ways:
            query = np.repeat(way.query, way.found.shape[1])
            odds = pair_odds(matcher, read, self.part, way.names, query, way.found.ravel())
            told.append(odds.reshape(way.found.shape))
        return told

    def best(self, matcher: Matcher, read: Reader) -> tuple[float, float]:
        """The greatest mean reciprocal rank over the ways once found items are put in order, and the trust for it."""
        told = self.log_odds(matcher, read)
        scores = [
            float(np.mean([(1 / way.ranks(odds + trust * way.cosine)).mean() for way, odds in zip(self.ways, told)]))
            for trust in TRUST
        ]
        place = int(np.argmax(scores))
        return scores[place], TRUST[place]


def _nearest(names: tuple[str, str], part: Embedded, asked: np.ndarray, count: int) -> Way:
    a, b = names
    cosine = part.vectors[a][asked] @ part.vectors[b].T
    right = matches(part.chosen[a].rows[asked], part.chosen[b].rows).numpy()
    order = np.lexsort((right, -cosine.round(6)))  # what does not belong goes first among equals
    ranked = np.take_along_axis(right, order, 1)
    found = order[:, :count]
    return Way(
        names, asked, found, np.take_along_axis(cosine, found, 1), ranked[:, :count], ranked.argmax(1) + 1
    )  # fmt: skip


def log_odds(
    matcher: Matcher,
    read: Reader,
    chosen: Mapping[str, Chosen],
    left: tuple[str, Tensor],
    right: tuple[str, Tensor],
) -> Tensor:
    """[P] of pairs of items, each a stream and numbers [P] among its chosen ones. Every item is mapped once."""
    device, sides = device_of_module(matcher), []
    for name, items in (left, right):
        once, place = items.unique(return_inverse=True)
        tokens = to_device(read(name, chosen[name].cells[once.numpy()]), device)
        sides.append(matcher.mapped(name, tokens).select(place.to(device)))
    return matcher.judged(left[0], sides[0], right[0], sides[1])


@torch.no_grad()
def pair_odds(
    matcher: Matcher,
    read: Reader,
    part: Embedded,
    names: tuple[str, str],
    left: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """[P] log-odds of pairs of items `left` [P] and `right` [P] of two streams, a piece at a time."""
    told = []
    for start in range(0, len(left), PIECE):
        sides = [(n, torch.from_numpy(i[start : start + PIECE])) for n, i in zip(names, (left, right))]
        told.append(log_odds(matcher, read, part.chosen, sides[0], sides[1]).float().cpu().numpy())
    return np.concatenate(told) if told else np.zeros(0, np.float32)


def _cut(tokens: Tokens) -> Tokens:
    """Without the places that are padding in every row."""
    longest = max(1, int(tokens.mask.sum(1).max()))
    if not bool(tokens.mask[:, :longest].sum() == tokens.mask.sum()):
        return tokens
    return Tokens(tokens.x[:, :longest], tokens.mask[:, :longest], tokens.pooled)


def measure(matcher: Matcher, read: Reader, judged: Judged, seed: int) -> dict[str, dict[str, Any]]:
    """What the test says of each way: by the first item that belongs, before and after the found items are put in order
    (`recall@1`), and of pairs told apart (`auc`), by log-odds and by cosine, with intervals over rows of the table.

    Pairs are those that belong together, and beside them each query with its nearest stranger (`hard`), or with any
    (`random`). The cosine has itself chosen the nearest, so that it must do badly on them.
    """
    trust, told = float(matcher.trust), {}
    for way, odds in zip(judged.ways, judged.log_odds(matcher, read)):
        groups = judged.part.chosen[way.names[0]].rows[:, 0].numpy()[way.query]
        ranks = {"before": way.first, "after": way.ranks(odds + trust * way.cosine)}
        first = {name: (one == 1).astype(np.float64)[None] for name, one in ranks.items()}
        nothing = np.zeros(len(way.query))
        gain = paired(Mean(True), nothing, first["after"], first["before"], seed=seed, groups=groups)
        recall = {n: asdict(bootstrap(Mean(True), nothing, one, seed=seed, groups=groups)) for n, one in first.items()}
        told[f"{way.names[0]} to {way.names[1]}"] = {
            "streams": list(way.names),
            "queries": len(way.query),
            "corpus": len(judged.part.chosen[way.names[1]]),
            "candidates": way.found.shape[1],
            "reach": float(way.right.any(1).mean()),
            "recall@1": {**recall, "gain": asdict(gain)},
            "verdict": "helps" if gain.low > 0 else "harms" if gain.high < 0 else "open",
            "auc": {how: _told_apart(matcher, read, judged.part, way, how, seed) for how in ("hard", "random")},
        }
    return told


def _told_apart(
    matcher: Matcher, read: Reader, part: Embedded, way: Way, how: str, seed: int
) -> dict[str, dict[str, float]]:
    """AUC of the queries' pairs by log-odds and by cosine, and the difference."""
    a, b = way.names
    left, right = part.vectors[a][way.query], part.vectors[b]
    near: tuple[Any, Any] = (left, right)
    if how == "random":  # near one another by chance alone
        draw = np.random.default_rng(seed)
        near = draw.normal(size=(len(left), 8)), draw.normal(size=(len(right), 8))
    rows = part.chosen[a].rows[way.query].numpy(), part.chosen[b].rows.numpy()
    pairs = pairs_to_judge(*near, *rows)
    scores = {
        "matching": pair_odds(matcher, read, part, way.names, way.query[pairs.query], pairs.item),
        "cosine": (left[pairs.query] * right[pairs.item]).sum(1),
    }
    groups = rows[0][pairs.query, 0]
    auc = {n: asdict(matching_auc(one, pairs.belongs, groups=groups, seed=seed)) for n, one in scores.items()}
    gain = matching_gain(scores["matching"], scores["cosine"], pairs.belongs, groups=groups, seed=seed)
    return {**auc, "gain": asdict(gain)}
