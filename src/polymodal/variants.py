"""Variants of a strategy: the same fusion trained by an objective, or behind an aligner, as rows of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from polymodal.align import ALIGNERS
from polymodal.assemble import Strategy, listed
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec, label
from polymodal.objectives import OBJECTIVES

JOINT = ("fusion", "answer")  # families whose streams are trained together, so that one can starve another
TOWERS = "towers"  # what the row without an objective is called: the same model, trained by its own loss


def with_objective(strategy: Strategy, objective: Spec | Sequence[Spec] | None) -> Strategy:
    """The strategy with towers, trained by `objective`, several of them, or (None) by its own loss only."""
    words = TOWERS if objective is None else named(objective)
    return replace(strategy, name=f"{strategy.name} + {words}", objective=objective, towers=True)


def with_aligner(strategy: Strategy, align: Spec, weight: float) -> Strategy:
    """The strategy behind towers and an aligner, whose loss counts `weight`."""
    name = f"{strategy.name} + {label(align)}"
    return replace(strategy, name=name, align=align, align_weight=weight, towers=True)


def named(objective: Spec | Sequence[Spec]) -> str:
    """The words for one objective, or for several together."""
    return " + ".join(label(spec) for spec in listed(objective))


def joint(strategies: Iterable[Strategy]) -> list[Strategy]:
    """Those strategies that train all streams together."""
    return [s for s in strategies if s.family in JOINT]


def varied(
    strategies: Sequence[Strategy], objective: Spec | Sequence[Spec] | None, align: Spec | None, weight: float
) -> tuple[Strategy, ...]:
    """One more row for each joint strategy where an objective or an aligner is asked for; the plain ones stay."""
    if objective is None and align is None:
        return tuple(strategies)
    more = joint(strategies)
    if not more:
        raise BadArgument("An objective or an aligner needs a fusion of several streams; there is none here.")
    if align is not None:
        more = [with_aligner(s, align, weight) for s in more]
    if objective is not None:
        more = [with_objective(s, objective) for s in more]
    return (*strategies, *more)


def compared(
    strategies: Sequence[Strategy], objectives: Sequence[Spec | Sequence[Spec]], fusions: Sequence[str]
) -> tuple[Strategy, ...]:
    """Rows that compare objectives: of each fusion named in `fusions` with towers and nothing else, then with each.

    `best` stands for the best joint fusion by validation, which is not known yet: then all are candidates.
    Raises `BadArgument` for a name that is no joint fusion of this fit.
    """
    if not objectives:
        return ()
    able = {s.name: s for s in joint(strategies) if s.objective is None and s.align is None}
    for name in fusions:
        if name not in (*able, "best"):
            raise BadArgument(f"objectives_on names {name!r}, which is no joint fusion here.{suggest(name, able)}")
    chosen = able.values() if "best" in fusions else [able[name] for name in fusions]
    return tuple(with_objective(s, o) for s in chosen for o in (None, *objectives))


def base_of(variant: str) -> str:
    """The name of the fusion that a row compares objectives on."""
    return variant.split(" + ", 1)[0]


def settled(objectives: str | Sequence[Spec] | None, kinds: Sequence[str], targets: int) -> list[Spec | Sequence[Spec]]:
    """The objectives to compare. `all` leaves out those that the targets' kinds do not allow.

    Raises `UnknownName` or `BadArgument` for what the catalogue does not hold.
    """
    if objectives is None:
        return []
    if isinstance(objectives, str) and objectives != "all":
        objectives = [objectives]
    if objectives != "all":
        for objective in objectives:
            check(objective)
        return list(objectives)
    found: list[Spec | Sequence[Spec]] = []
    for name in OBJECTIVES:
        served = OBJECTIVES.load(name).kinds  # type: ignore[attr-defined]
        if set(kinds) <= set(served) and (targets == 1 or name != "pmr"):
            found.append(name)
    return found


def check(objective: Spec | Sequence[Spec]) -> None:
    """Raise `UnknownName` or `BadArgument` unless every part is an objective with options that it has."""
    for spec in listed(objective):
        OBJECTIVES.resolve(spec)


def check_aligner(align: Spec) -> None:
    """The same for an aligner."""
    ALIGNERS.resolve(align)
