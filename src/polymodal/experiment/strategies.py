"""Who is compared: the ways to fuse that were asked for, and each trained by an objective or behind an aligner."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from polymodal.aligners import ALIGNERS
from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.registry import Spec, label
from polymodal.core.shown import many
from polymodal.models.base import Joint
from polymodal.models.specs import CATALOGUES, listed, portable, resolved, serves
from polymodal.models.strategy import Strategy
from polymodal.objectives import OBJECTIVES
from polymodal.presets import PRESETS
from polymodal.targets.base import Target
from polymodal.targets.text import TextTarget

STACK = "prefix_lm"  # of all streams' tokens and the answer's words
AUTO = ("concat", "gated", "attention", "late_mean", "product", "stacking")
WORDS: tuple[Spec, ...] = ("concat", {"name": "unified", "tokens": 64}, "perceiver")  # where answers are written
SHORT_ANSWERS: tuple[Spec, ...] = ("concat", {"name": "unified", "tokens": 64}, STACK)  # and those are a few words
BASELINES: tuple[Spec, ...] = ("consensus", {"name": "consensus", "neighbours": 1}, "blind")
ALWAYS = ("concat", "late_mean")
TASTE = "taste"  # slopes of each user
PRODUCT = "mlb"  # of streams: what none tells alone lies in products
NO_FUSION = "An objective or an aligner needs a fusion of several streams; there is none here."


def varied(
    strategies: Sequence[Strategy], objective: Spec | Sequence[Spec] | None, align: Spec | None, weight: float
) -> tuple[Strategy, ...]:
    """One more row for each joint strategy where an objective or an aligner is asked for; the plain ones stay."""
    if objective is None and align is None:
        return tuple(strategies)
    more = [
        replace(s, objective=objective, align=align, align_weight=weight, adapters=True) for s in strategies if s.joint
    ]
    if not more:
        raise BadArgument(NO_FUSION)
    return (*strategies, *more)


def compared(
    strategies: Sequence[Strategy], objectives: Sequence[Spec | Sequence[Spec]], fusions: Sequence[str]
) -> tuple[Strategy, ...]:
    """Rows that compare objectives: of each fusion named in `fusions` with adapters and nothing else, then with each.

    `best` stands for the best joint fusion by validation, which is not known yet: then all are candidates.
    Raises `BadArgument` for a name that is no joint fusion of this fit.
    """
    if not objectives:
        if list(fusions) != ["best"]:
            raise BadArgument("objectives_on says where objectives are compared; name them, as in objectives=all.")
        return ()
    able = {s.fusion: s for s in strategies if s.joint and not s.adapters}
    if not able:
        raise BadArgument(NO_FUSION)
    for name in fusions:
        if name not in (*able, "best"):
            raise BadArgument(f"objectives_on names {name!r}, which is no joint fusion here.{suggest(name, able)}")
    chosen = able.values() if "best" in fusions else [able[name] for name in fusions]
    return tuple(replace(s, objective=o, adapters=True) for s in chosen for o in (None, *objectives))


def settled(
    objectives: str | Sequence[Spec] | None, targets: Sequence[Target], notes: list[str]
) -> list[Spec | Sequence[Spec]]:
    """The objectives to compare. `all` leaves out those that do not serve the targets, and says so in `notes`.

    Raises `UnknownName` or `BadArgument` as `check`.
    """
    if objectives is None:
        return []
    if objectives != "all":
        named: list[Spec | Sequence[Spec]] = [objectives] if isinstance(objectives, str) else list(objectives)
        for objective in named:
            check(objective, targets)
        return named
    left_out = [name for name in OBJECTIVES if not _serves(OBJECTIVES.load(name), targets)]
    if left_out:
        notes.append(f"Objectives left out, since they do not serve these targets: {', '.join(left_out)}.")
    return [name for name in OBJECTIVES if name not in left_out]


def check(objective: Spec | Sequence[Spec], targets: Sequence[Target]) -> None:
    """Raise `UnknownName` or `BadArgument` unless every part is an objective for these targets."""
    for spec in listed(objective):
        cls, _ = OBJECTIVES.resolve(spec)
        if not _serves(cls, targets):
            raise BadArgument(
                f"The objective {label(spec)} does not serve {many(len(targets), 'target')} of the "
                f"kind {_kinds(targets)}: it needs scores of {' or '.join(cls.needs)}"  # type: ignore[attr-defined]
                f"{', one target' if cls.single else ''}."  # type: ignore[attr-defined]
            )


def _serves(cls: type, targets: Sequence[Target]) -> bool:
    return serves(cls.needs, targets) and not (cls.single and len(targets) > 1)  # type: ignore[attr-defined]


def _kinds(targets: Iterable[Target]) -> str:
    return " and ".join(sorted({t.kind for t in targets}))


def check_aligner(align: Spec) -> None:
    """The same for an aligner; one that reads the rows' cells is refused, since a fit trains on stored tokens."""
    cls, _ = ALIGNERS.resolve(align)
    if cls.reads_cells:  # type: ignore[attr-defined]
        raise BadArgument(
            f"The aligner {label(align)} reads the cells of rows, which a fit does not keep for its fusions. "
            "Use it in `polymodal align`, or name another (`polymodal list align`)."
        )


def strategies(
    streams: Sequence[str],
    fusion: Spec | Sequence[Spec],
    targets: Collection[Target] = (),
    notes: list[str] | None = None,
    *,
    entities: Sequence[str] = (),
) -> tuple[Strategy, ...]:
    """The strategies to compare: what was asked for, and always each stream alone, concat and late mean, and, where
    words are written, what these must beat.

    Where rows are of `entities`, as of users, the answer `taste` joins those that are tried by themselves.

    What is not defined for these `targets` is left out, and `notes` say so; asked for by name it is refused with
    `BadArgument`.
    """
    kept = [Strategy("single", "late_mean", (name,)) for name in streams]
    texts = [isinstance(target, TextTarget) for target in targets]
    words = any(texts) and all(texts)
    if any(texts):
        kept += [Strategy("answer", spec, tuple(streams)) for spec in BASELINES]
    if len(streams) < 2:
        return tuple(kept)
    if fusion == "all":
        specs: list[Spec] = [name for parts in CATALOGUES.values() for name in parts if not parts.entry(name).extra]
        specs = [spec for spec in specs if spec not in (*BASELINES, TASTE)]
    elif fusion == "auto":
        short = words and all(target.short for target in targets if isinstance(target, TextTarget))
        specs = list(SHORT_ANSWERS if short else WORDS if words else AUTO)
    else:
        specs = listed(fusion)
    by_preset = any(specs == one.get("fusion") for one in PRESETS.values())  # nobody has named each of these
    named = [] if fusion in ("all", "auto") or by_preset else list(specs)
    specs += [name for name in ALWAYS if name not in specs]
    if entities and not named and not any(texts):
        specs.append({"name": TASTE, "by": entities[0]})
    names: set[str] = set()
    there = {strategy.name for strategy in kept}
    left_out = []
    for spec in specs:
        part, name = resolved(spec), label(spec)
        if name in names:
            raise BadArgument(f"The fusion {name} was given twice.")
        names.add(name)
        if name in there:
            continue
        needs = part.needs
        if serves(needs, targets) and (needs != {"text"} or any(texts)):  # words of the target text, of no other
            kept.append(Strategy(part.family, portable(spec), tuple(streams), name))
        elif spec not in named:
            left_out.append(name)
        else:
            told = set(needs or ())
            what = "answers in words" if told == {"text"} else f"scores of {' and '.join(sorted(told))}"
            raise BadArgument(
                f"The fusion {name} is defined for {what} only; the targets here are {_kinds(targets)}. Leave it out, "
                "or name the targets apart."
            )
    if left_out and notes is not None:
        notes.append(f"Left out, since it is not defined for {_kinds(targets)}: {', '.join(left_out)}.")
    return tuple(kept)


def fused(strategy: Strategy) -> bool:
    """Whether an answer that is no fusion by name is one with a head of its own, and nothing beside."""
    return strategy.family == "answer" and issubclass(strategy.part.cls, Joint)


def together(candidates: Sequence[Strategy], fusions: str | Sequence[str]) -> tuple[Strategy, ...]:
    """Who may be trained with their encoders from the start: `fusions`, concat, and every single modality alike.

    `auto` stands for all fusions of the fit and a product, which the usual ones lack. Empty where nothing is fused.
    Raises `UnknownName` for a name that is no fusion of the fit.
    """
    able = {s.name: s for s in candidates if s.joint and not s.adapters}
    if not able:
        return ()
    able.setdefault(PRODUCT, Strategy("fusion", PRODUCT, able["concat"].streams))
    chosen = list(able) if fusions == "auto" else dict.fromkeys([*listed(fusions), "concat"])
    for name in chosen:
        if name not in able:
            raise UnknownName(f"joint_on names {name!r}, which is no fusion of tokens here.{suggest(name, able)}")
    trained = [*(able[name] for name in chosen), *(s for s in candidates if s.family == "single")]
    return tuple(replace(s, encoders="joint") for s in trained)
