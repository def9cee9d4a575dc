"""Who is compared: the ways to fuse that were asked for, and each trained by an objective or behind an aligner."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from polymodal.aligners import ALIGNERS
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec, label
from polymodal.models.build import CATALOGUES, Strategy, family_of, kinds_of, listed
from polymodal.models.specs import portable
from polymodal.objectives import OBJECTIVES

AUTO = ("concat", "gated", "attention", "late_mean", "product", "stacking")
ALWAYS = ("concat", "late_mean")
JOINT = ("fusion", "answer")  # families whose streams are trained together, so that one can starve another
NO_FUSION = "An objective or an aligner needs a fusion of several streams; there is none here."
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
        raise BadArgument(NO_FUSION)
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
        if list(fusions) != ["best"]:
            raise BadArgument("objectives_on says where objectives are compared; name them, as in objectives=all.")
        return ()
    able = {s.name: s for s in joint(strategies) if s.objective is None and s.align is None}
    if not able:
        raise BadArgument(NO_FUSION)
    for name in fusions:
        if name not in (*able, "best"):
            raise BadArgument(f"objectives_on names {name!r}, which is no joint fusion here.{suggest(name, able)}")
    chosen = able.values() if "best" in fusions else [able[name] for name in fusions]
    return tuple(with_objective(s, o) for s in chosen for o in (None, *objectives))


def base_of(variant: str) -> str:
    """The name of the fusion that a row compares objectives on."""
    return variant.split(" + ", 1)[0]


def settled(
    objectives: str | Sequence[Spec] | None, kinds: Sequence[str], notes: list[str]
) -> list[Spec | Sequence[Spec]]:
    """The objectives to compare. `all` leaves out those that the targets' kinds do not allow, and says so in `notes`.

    Raises `UnknownName` or `BadArgument` as `check`.
    """
    if objectives is None:
        return []
    if objectives != "all":
        found: list[Spec | Sequence[Spec]] = [objectives] if isinstance(objectives, str) else list(objectives)
        for objective in found:
            check(objective, kinds)
        return found
    left_out = [name for name in OBJECTIVES if not _serves(OBJECTIVES.load(name), kinds)]
    if left_out:
        notes.append(f"Objectives left out, since they do not serve these targets: {', '.join(left_out)}.")
    return [name for name in OBJECTIVES if name not in left_out]


def check(objective: Spec | Sequence[Spec], kinds: Sequence[str]) -> None:
    """Raise `UnknownName` or `BadArgument` unless every part is an objective for targets of these `kinds`."""
    for spec in listed(objective):
        cls, _ = OBJECTIVES.resolve(spec)
        if not _serves(cls, kinds):
            raise BadArgument(
                f"The objective {label(spec)} does not serve {len(kinds)} target{'s' * (len(kinds) > 1)} of the kind "
                f"{' and '.join(sorted(set(kinds)))}: it is for {' and '.join(cls.kinds)}"  # type: ignore[attr-defined]
                f"{', one target' if cls.single else ''}."  # type: ignore[attr-defined]
            )


def _serves(cls: type, kinds: Sequence[str]) -> bool:
    return set(kinds) <= set(cls.kinds) and not (cls.single and len(kinds) > 1)  # type: ignore[attr-defined]


def check_aligner(align: Spec) -> None:
    """The same for an aligner; one that reads the rows' cells is refused, since a fit trains on stored tokens."""
    cls, _ = ALIGNERS.resolve(align)
    if cls.reads_cells:  # type: ignore[attr-defined]
        raise BadArgument(
            f"The aligner {label(align)} reads the cells of rows, which a fit does not keep for its fusions. "
            "Use it in `polymodal align`, or name another (`polymodal list align`)."
        )


def strategies(
    streams: Sequence[str], fusion: Spec | Sequence[Spec], kinds: Collection[str] = (), notes: list[str] | None = None
) -> tuple[Strategy, ...]:
    """The strategies to compare: what was asked for, and always each stream alone, concat and late mean.

    `all` leaves out what is not defined for targets of these `kinds`, and says so in `notes`; asked for by name it is
    refused with `BadArgument`.
    """
    found = [Strategy(f"{name} alone", "single", "late_mean", (name,)) for name in streams]
    if len(streams) < 2:
        return tuple(found)
    if fusion == "all":
        specs: list[Spec] = [name for catalogue in CATALOGUES.values() for name in catalogue]
    elif fusion == "auto":
        specs = list(AUTO)
    else:
        specs = [fusion] if isinstance(fusion, str | Mapping | type) else list(fusion)
    specs += [name for name in ALWAYS if name not in specs]
    names: set[str] = set()
    left_out = []
    for spec in specs:
        family = family_of(spec)
        strategy = Strategy(label(spec), family, portable(spec), tuple(streams))
        if strategy.name in names:
            raise BadArgument(f"The fusion {strategy.name} was given twice.")
        names.add(strategy.name)
        allowed = kinds_of(strategy.spec)
        if allowed is None or set(kinds) <= allowed:
            found.append(strategy)
        elif fusion == "all":
            left_out.append(strategy.name)
        else:
            raise BadArgument(
                f"The fusion {strategy.name} is defined for {' and '.join(sorted(allowed))} only; the targets here are "
                f"{' and '.join(sorted(set(kinds)))}. Leave it out, or name the targets apart."
            )
    if left_out and notes is not None:
        notes.append(
            f"Left out, since it is not defined for {' and '.join(sorted(set(kinds)))}: {', '.join(left_out)}."
        )
    return tuple(found)
