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
from polymodal.aligners.probe import Probe, Recall, linear_probe, recall_within
from polymodal.core.errors import BadArgument, BadData, suggest

FEW = 50  # matched pairs, below which nothing can be told
LIFT = 3.0  # times chance, from which a linear map's recall speaks for itself
SURE = 0.05
VERDICTS = ("no-go", "doubtful", "go")  # from bad to good


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
    after training, `recall` (found in the shared space, both directions) before; `gap` needs one space.
    """

    streams: tuple[str, str]
    pairs: int
    matched: int
    several_partners: tuple[int, int]
    mutual: MutualNeighbours | None
    probe: Probe | None
    recall: tuple[tuple[Recall, ...], tuple[Recall, ...]] | None
    gap: Gap | None


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
    before: Mapping[str, Side], after: Mapping[str, Side] | None = None, *,
    labels: Mapping[str, Sequence[Any]] | None = None, k: int = 10, permutations: int = 200, folds: int = 5,
    sample: int = 1000, seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """Diagnose streams by their items' vectors `before` training and, in the shared space, `after` it.

    Give `after` the vectors of items that training did not see: recall among training items flatters. `labels[stream]`,
    one an item, are what neighbours should share. At most `sample` matched pairs are looked at, `k` neighbours,
    `permutations` of the null, `folds` of the probe. Raises `BadData` for fewer than two streams or vectors that are
    not finite, `BadArgument` for labels that fit no stream.
    """
    for name, given in (labels or {}).items():
        if name not in before or len(given) != len(before[name]):
            raise BadArgument(f"labels[{name!r}] must give each item of a stream its label.{suggest(name, before)}")
    first = _stage(before, labels or {}, k, permutations, folds, sample, seed, trained=False)
    second = None
    if after is not None:
        if set(after) - set(before):
            raise BadArgument(f"Streams after training {sorted(after)} were not all given before: {sorted(before)}.")
        widths = {name: side.vectors.shape[1] for name, side in after.items()}
        if len(set(widths.values())) > 1:
            raise BadData(f"After training all streams share a space, so one width; got {widths}.")
        second = _stage(after, {}, k, permutations, folds, sample, seed, trained=True)
    verdict, reasons, advice = _judged(first, second)
    return Diagnosis(verdict, tuple(reasons), tuple(advice), first, second)


def _stage(
    sides: Mapping[str, Side], labels: Mapping[str, Sequence[Any]], k: int, permutations: int, folds: int, sample: int,
    seed: int, *, trained: bool,
) -> Stage:  # fmt: skip
    if len(sides) < 2:
        raise BadData(f"Alignment is between two or more streams; got {sorted(sides)}.")
    names = sorted(sides)
    vectors = {name: sides[name].vectors.detach().cpu().double().numpy() for name in names}
    for name, values in vectors.items():
        if not np.isfinite(values).all():
            raise BadData(f"Vectors of {name!r} hold NaN or infinity; leave those items out.")
    pairings = []
    for a, b in combinations(names, 2):
        left, right = (x.cpu() for x in pairs(sides[a].rows, sides[b].rows))
        one, two = one_to_one(left.numpy(), right.numpy(), seed)
        x, y = vectors[a][one[:sample]], vectors[b][two[:sample]]
        enough = len(x) >= 20
        probe = linear_probe(x, y, folds=folds, seed=seed) if enough and not trained else None
        recall = recall_within(x, y, gallery=max(2, len(x) // folds), seed=seed) if enough and trained else None
        pairings.append(Pairing(
            (a, b), len(left), len(one), (_several(left, len(sides[a])), _several(right, len(sides[b]))),
            mutual_neighbours(x, y, k=k, permutations=permutations, seed=seed) if enough else None, probe, recall,
            modality_gap(x, y, seed=seed) if enough and x.shape[1] == y.shape[1] and trained else None,
        ))  # fmt: skip
    streams = {name: _stream(name, sides, vectors[name], labels.get(name), sample, seed) for name in names}
    return Stage(streams, tuple(pairings))


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


def _judged(before: Stage, after: Stage | None) -> tuple[str, list[str], list[str]]:
    worst, reasons, advice = len(VERDICTS) - 1, [], []
    for pairing in before.pairings:
        level, reason = _pairing_verdict(pairing)
        worst = min(worst, level)
        reasons.append(f"{' and '.join(pairing.streams)}: {reason}")
        advice += _advice(pairing, before, level)
    if after is not None:
        reasons += [said for pairing in after.pairings if (said := _gained(pairing, before))]
    return VERDICTS[worst], reasons, list(dict.fromkeys(advice))


def _pairing_verdict(pairing: Pairing) -> tuple[int, str]:
    if pairing.probe is None or pairing.mutual is None or pairing.matched < FEW:
        return 0, f"{pairing.matched} matched pairs are too few to tell; {FEW} are the least."
    ways = [way[-1] for way in (pairing.probe.forward, pairing.probe.backward)]
    mean, chance = float(np.mean([r.mean for r in ways])), ways[0].chance
    lift, local = mean / chance, pairing.mutual.p <= SURE
    evidence = (
        f"a linear map finds {mean:.1%} of held-out partners among the first {ways[0].k} of {pairing.probe.gallery} "
        f"(chance {chance:.1%}); neighbourhoods agree {'more than' if local else 'no more than'} by chance "
        f"(p = {pairing.mutual.p:.3f}, {pairing.mutual.items} items)."
    )
    above = [r.above_chance for r in ways]
    if all(above) and lift >= LIFT:
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


def _gained(pairing: Pairing, before: Stage) -> str | None:
    """Trained recall beside what the linear map had, on galleries of like size."""
    earlier = next((p for p in before.pairings if p.streams == pairing.streams), None)
    if pairing.recall is None or earlier is None or earlier.probe is None:
        return None
    now, then = (
        float(np.mean([way[-1].mean for way in ways]))
        for ways in (pairing.recall, (earlier.probe.forward, earlier.probe.backward))
    )
    last = pairing.recall[0][-1]
    low = float(np.mean([way[-1].low for way in pairing.recall]))
    high = float(np.mean([way[-1].high for way in pairing.recall]))
    if low > then:
        word, end = "more than", "."
    elif high < then:
        word, end = "less than", ": a closed-form method would do better."
    else:
        word, end = "about as much as", ": a closed-form method would do."
    return (
        f"{' and '.join(pairing.streams)}, trained: {now:.1%} of partners among the first {last.k}, {word} the linear "
        f"map's {then:.1%}{end}"
    )
