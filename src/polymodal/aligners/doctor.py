"""The alignment doctor: can these streams be aligned, and were they? Measured on the items, said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from polymodal.aligners.geometry import Gap, effective_rank, modality_gap, near_duplicates
from polymodal.aligners.neighbours import MutualNeighbours, mutual_neighbours, nearest
from polymodal.aligners.pairs import Side, pairs
from polymodal.aligners.probe import K, Probe, Recall, canonical, difference, linear_probe, mapped, recall_within
from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.metrics.random_order import NOT_ABOVE

LEAST = 20  # matched pairs, below which nothing is measured
FEW = 50  # matched pairs, below which nothing can be told
LIFT = 3.0  # times chance, from which a linear map's recall speaks for itself
MOST_CHANCE = 1 / (2 * LIFT)  # of the recall that is judged by: it can be twice as high as it must
SURE = 0.05
VERDICTS = ("no-go", "doubtful", "go")  # from bad to good

Ways = tuple[tuple[Recall, ...], tuple[Recall, ...]]  # both directions


@dataclass(frozen=True)
class Stream:
    """One stream's items: how many, in several rows, nearly the same as another, and the shape of their vectors.

    `neighbours` says of what share of items the nearest other one is of the same label or, without labels, has a
    partner in common; `neighbours_chance` is that of any two. Both None where nothing tells who belongs together.
    """

    items: int
    in_several_rows: int
    near_duplicates: int
    width: int
    effective_rank: float
    neighbours: float | None = None
    neighbours_chance: float | None = None


@dataclass(frozen=True)
class Pairing:
    """Two streams: matched pairs, collisions (items with several partners), and what connects them.

    `matched` pairs can be chosen so that no item is in two; statistics are of at most `sample` of them. `probe` is None
    after training, `recall` (found in the shared space, both directions) before; `gap` needs one space. `linear` is
    what the linear map, learned from all pairs of before, finds for the same queries as `recall`. All recalls of two
    streams are in galleries of one size, and judged by what is among the first `judged`.
    """

    streams: tuple[str, str]
    pairs: int
    matched: int
    several_partners: tuple[int, int]
    mutual: MutualNeighbours | None
    probe: Probe | None
    recall: Ways | None
    linear: Ways | None
    gap: Gap | None
    judged: int

    def at(self, way: tuple[Recall, ...]) -> Recall:
        """What is judged of a direction."""
        return next(r for r in way if r.k == self.judged)


@dataclass(frozen=True)
class Stage:
    """Streams and pairings, before or after training."""

    streams: Mapping[str, Stream]
    pairings: tuple[Pairing, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found: `verdict` is go, doubtful or no-go, `reasons` say why, `advice` what to do."""

    verdict: str
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    before: Stage
    after: Stage | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `metrics.json` and the report."""
        return asdict(self)

    def text(self) -> str:
        """The diagnosis in words, for a terminal."""
        from polymodal.aligners.wording import told

        return told(self)


def examine(
    before: Mapping[str, Side], after: Mapping[str, Side] | None = None, *, unseen: Mapping[str, Side] | None = None,
    linear: bool = False, labels: Mapping[str, Sequence[Any]] | None = None, k: int = 10, permutations: int = 200,
    folds: int = 5, sample: int = 1000, seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """Diagnose streams by their items' vectors `before` training and, in the shared space, `after` it.

    Give `after` the vectors of items that training did not see (recall among training items flatters), and `unseen` the
    same items' vectors as they were before training: then the linear map is tried on the same queries, otherwise on
    training pairs that it is not told. `linear` says that what was trained is a linear map itself. `labels[stream]`,
    one an item, are what neighbours should share. At most `sample` matched pairs are looked at, `k` neighbours,
    `permutations` of the null, `folds` of the probe. Raises `BadData` for fewer than two streams or vectors that are
    not finite, `BadArgument` for labels that fit no stream or unseen items that are not those of `after`.
    """
    for name, given in (labels or {}).items():
        if name not in before or len(given) != len(before[name]):
            raise BadArgument(f"labels[{name!r}] must give each item of a stream its label.{suggest(name, before)}")
    if after is not None and set(after) - set(before):
        raise BadArgument(f"Streams after training {sorted(after)} were not all given before: {sorted(before)}.")
    sizes = [None if sides is None else {name: len(side) for name, side in sides.items()} for sides in (unseen, after)]
    if unseen is not None and sizes[0] != sizes[1]:
        raise BadArgument("unseen must give the items of `after`, as they were before training.")
    had = _Group.of(before, seed, sample)
    has, asked = (None if sides is None else _Group.of(sides, seed, sample) for sides in (after, unseen))
    widths = {name: v.shape[1] for name, v in has.vectors.items()} if has is not None else {}
    if len(set(widths.values())) > 1:
        raise BadData(f"After training all streams share a space, so one width; got {widths}.")

    def examined(names: tuple[str, str], group: _Group) -> Pairing:
        here, learnt, trained = group.matched[names], had.matched[names], group is has
        held = [(learnt, folds), *([(has.matched[names], 1)] if has is not None and names in has.matched else [])]
        sizes = [len(one.x) // parts for one, parts in held if one.enough]
        gallery = max(2, min(sizes, default=2))  # before and after training alike, so as many as the smaller has
        found: dict[str, Any] = dict.fromkeys(("mutual", "probe", "recall", "linear", "gap"))
        if here.enough:
            found["mutual"] = mutual_neighbours(here.x, here.y, k=k, permutations=permutations, seed=seed)
        if here.enough and not trained:
            found["probe"] = linear_probe(here.x, here.y, folds=folds, gallery=gallery, seed=seed)
        if here.enough and trained:
            found["recall"] = recall_within(here.x, here.y, gallery=gallery)
            found["gap"] = modality_gap(here.x, here.y, seed=seed)
            if asked is not None and learnt.enough:
                there = asked.matched[names]
                maps, _ = canonical(learnt.x, learnt.y)
                found["linear"] = recall_within(*mapped(maps, there.x, there.y), gallery=gallery)
        judged = max((n for n in K if n <= MOST_CHANCE * gallery), default=1)
        return Pairing(names, here.pairs, here.count, here.several, judged=judged, **found)

    def staged(group: _Group, labels: Mapping[str, Sequence[Any]]) -> Stage:
        streams = {n: _stream(n, group.sides, v, labels.get(n), sample, seed) for n, v in group.vectors.items()}
        return Stage(streams, tuple(examined(names, group) for names in group.matched))

    first, second = staged(had, labels or {}), None if has is None else staged(has, {})
    verdict, reasons, advice = _judged(first, second, linear)
    return Diagnosis(verdict, tuple(reasons), tuple(advice), first, second)


@dataclass(frozen=True, eq=False)
class _Matched:
    """Two streams' `pairs`; of those that use no item twice the `count`, and at most a sample's vectors, row by row."""

    pairs: int
    several: tuple[int, int]
    count: int
    x: np.ndarray
    y: np.ndarray

    @property
    def enough(self) -> bool:
        return len(self.x) >= LEAST


@dataclass(frozen=True, eq=False)
class _Group:
    """Streams' items, their vectors in double precision, and what is matched of every two streams."""

    sides: Mapping[str, Side]
    vectors: Mapping[str, np.ndarray]
    matched: Mapping[tuple[str, str], _Matched]

    @classmethod
    def of(cls, sides: Mapping[str, Side], seed: int, sample: int) -> _Group:
        if len(sides) < 2:
            raise BadData(f"Alignment is between two or more streams; got {sorted(sides)}.")
        vectors = {name: sides[name].vectors.detach().cpu().double().numpy() for name in sorted(sides)}
        for name, values in vectors.items():
            if not np.isfinite(values).all():
                raise BadData(f"Vectors of {name!r} hold NaN or infinity; leave those items out.")
        matched = {}
        for a, b in combinations(vectors, 2):
            left, right = (x.cpu() for x in pairs(sides[a].rows, sides[b].rows))
            one, two = one_to_one(left.numpy(), right.numpy(), seed)
            several = _several(left, len(sides[a])), _several(right, len(sides[b]))
            x, y = vectors[a][one[:sample]], vectors[b][two[:sample]]
            matched[a, b] = _Matched(len(left), several, len(one), x, y)
        return cls(sides, vectors, matched)


def one_to_one(left: np.ndarray, right: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs (left[p], right[p]) as many as come, in random order, without using an item twice."""
    order = np.random.default_rng(seed).permutation(len(left))
    used_left: set[int] = set()
    used_right: set[int] = set()
    kept = []
    for p in order.tolist():
        i, j = int(left[p]), int(right[p])
        if i not in used_left and j not in used_right:
            used_left.add(i)
            used_right.add(j)
            kept.append(p)
    chosen = np.array(kept, dtype=np.int64)
    return left[chosen], right[chosen]


def _several(items: torch.Tensor, count: int) -> int:
    return int((torch.bincount(items, minlength=count) > 1).sum()) if len(items) else 0


def _stream(
    name: str, sides: Mapping[str, Side], vectors: np.ndarray, labels: Sequence[Any] | None, sample: int, seed: int
) -> Stream:
    side = sides[name]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(side))[: 2 * sample])
    some = vectors[chosen]
    quality: tuple[float | None, float | None] = (None, None)
    if len(some) > 2:
        near = nearest(some, 1)[:, 0]
        if labels is not None:
            known = np.unique(np.array([str(labels[i]) for i in chosen]), return_inverse=True)[1]
            sizes = np.bincount(known)
            quality = (
                float((known == known[near]).mean()),
                float((sizes * (sizes - 1)).sum() / len(known) / (len(known) - 1)),
            )
        else:
            quality = _siblings(name, sides, chosen, near)
    several = int(((side.rows >= 0).sum(1) > 1).sum())
    return Stream(len(side), several, near_duplicates(some), vectors.shape[1], effective_rank(some), *quality)


def _siblings(
    name: str, sides: Mapping[str, Side], chosen: np.ndarray, near: np.ndarray
) -> tuple[float | None, float | None]:
    """Of items that have a sibling (five captions of a photo), how many have one as their nearest neighbour."""
    place = {int(i): n for n, i in enumerate(chosen)}
    kin: list[set[int]] = [set() for _ in chosen]
    for other in sides:
        if other == name:
            continue
        mine, partner = (x.tolist() for x in pairs(sides[name].rows, sides[other].rows))
        groups: dict[int, list[int]] = {}
        for i, j in zip(mine, partner):
            if i in place:
                groups.setdefault(j, []).append(place[i])
        for members in groups.values():
            for n in members:
                kin[n].update(m for m in members if m != n)
    asked = [n for n, mine_kin in enumerate(kin) if mine_kin]
    if len(asked) < 20:
        return None, None
    share = float(np.mean([near[n] in kin[n] for n in asked]))
    return share, float(np.mean([len(kin[n]) for n in asked])) / (len(chosen) - 1)


def _judged(before: Stage, after: Stage | None, linear: bool) -> tuple[str, list[str], list[str]]:
    worst, reasons, advice = len(VERDICTS) - 1, [], []
    for pairing in before.pairings:
        level, reason = _pairing_verdict(pairing)
        worst = min(worst, level)
        reasons.append(f"{' and '.join(pairing.streams)}: {reason}")
        advice += _advice(pairing, before, level)
    if after is not None:
        reasons += [said for pairing in after.pairings if (said := _gained(pairing, before, linear))]
    return VERDICTS[worst], reasons, list(dict.fromkeys(advice))


def _both(pairing: Pairing, ways: Ways) -> Recall:
    """The mean of both directions; its interval is the mean of theirs, which share their pairs."""
    one, two = map(pairing.at, ways)
    low, high, mean = (float(np.mean([getattr(r, part) for r in (one, two)])) for part in ("low", "high", "mean"))
    return Recall(one.k, one.gallery, mean, low, high, one.chance)


def _place(recall: Recall) -> str:
    first = "first" if recall.k == 1 else f"among the first {recall.k}"
    return f"{first} of {recall.gallery}"


def _figures(recall: Recall) -> str:
    """`52.0% (46.1% to 58.0%; 4.9 times chance)`"""
    return f"{recall.mean:.1%} ({recall.low:.1%} to {recall.high:.1%}; {recall.lift:.1f} times chance)"


def _pairing_verdict(pairing: Pairing) -> tuple[int, str]:
    if pairing.probe is None or pairing.mutual is None or pairing.matched < FEW:
        return 0, f"{pairing.matched} matched pairs are too few to tell; {FEW} are the least."
    ways = (pairing.probe.forward, pairing.probe.backward)
    both, local = _both(pairing, ways), pairing.mutual.p <= SURE
    evidence = (
        f"a linear map finds {_figures(both)} of held-out partners {_place(both)} (chance {both.chance:.1%}); "
        f"neighbourhoods agree {'more than' if local else 'no more than'} by chance "
        f"(p = {pairing.mutual.p:.3f}, {pairing.mutual.items} items)."
    )
    above = [pairing.at(way).above_chance for way in ways]
    if all(above) and both.lift >= LIFT:
        return 2, evidence
    if any(above) or local:
        return 1, f"the connection is weak: {evidence}"
    return 0, f"nothing connects them: {evidence}"


def _advice(pairing: Pairing, stage: Stage, level: int) -> list[str]:
    advice = []
    if level == 0 and pairing.matched < FEW:
        advice.append("Collect more pairs, or align with a method that needs none (polymodal list align).")
    elif level == 0:
        advice.append(
            "Check that rows really pair what belongs together, then try better encoders before more training."
        )
    for name, several in zip(pairing.streams, pairing.several_partners):
        stream = stage.streams[name]
        if several > 0.01 * stream.items:
            advice.append(
                f"{several:,} of {stream.items:,} items of {name} have several partners: they must count as positives, "
                "and recall as found when any partner is."
            )
        if stream.near_duplicates > 0.05 * min(stream.items, 2000):
            advice.append(
                f"{stream.near_duplicates:,} items of {name} have a near twin: they compete as false negatives."
            )
        if stream.effective_rank < 0.1 * min(stream.width, stream.items):
            advice.append(
                f"{name} varies in about {stream.effective_rank:.0f} of {stream.width} directions; another layer or "
                "encoder may tell more apart."
            )
    return advice


def _gained(pairing: Pairing, before: Stage, linear: bool) -> str | None:
    """Trained recall, and beside it, in galleries of the same size, what the linear map found."""
    earlier = next((p for p in before.pairings if p.streams == pairing.streams), None)
    if pairing.recall is None:
        return None
    now, names = _both(pairing, pairing.recall), " and ".join(pairing.streams)
    said = f"{names}, trained: {_figures(now)} of partners are {_place(now)}"
    learnt = any(pairing.at(way).above_chance for way in pairing.recall)
    if not learnt:
        said += f". {NOT_ABOVE['below' if now.high < now.chance else 'chance']}"
    probe = None if earlier is None or earlier.probe is None else (earlier.probe.forward, earlier.probe.backward)
    if (ways := pairing.linear or probe) is None:
        return f"{said}."
    then, where = _both(pairing, ways), "of the same pairs" if pairing.linear else "of held-out training pairs"
    if linear:
        return f"{said}. That is a linear map too; the doctor's own, not tuned, finds {_figures(then)} {where}."
    low, high = difference(now, then)
    if high < 0:
        return f"{said}, less than the linear map's {_figures(then)} {where}: a closed-form method would do better."
    if not learnt:
        return f"{said}."
    word = "more than" if low > 0 else "no more and no less, as far as this test can tell, than"
    end = "." if low > 0 else ": a closed-form method would do."
    return f"{said}, {word} the linear map's {_figures(then)} {where}{end}"
