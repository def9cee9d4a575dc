"""The mutation check: does the conformance suite notice when a working fusion is broken?

Every fusion and every rule of late fusion in the catalogue is broken in each of the ways below, one at a time, and put
before `polymodal.testing`. A mutant is caught when a law names it. One that the laws let through is held against its
formula (`tests/reference`), and told apart from one that changes nothing at all (equivalent, not counted).

    python benchmarks/mutation.py                    # all, several minutes
    python benchmarks/mutation.py gated product      # some parts
    python benchmarks/mutation.py --survivors        # show only mutants that no law caught
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools import parser, show
from torch import Tensor, nn
from torch.func import functional_call

from polymodal.core.registry import Catalogue, options
from polymodal.core.types import Tokens, presence
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.testing import NotConformant, Violation, check_decision, check_fusion
from polymodal.testing import decision as decision_laws
from polymodal.testing import fusion as fusion_laws
from polymodal.testing.decision import _answers as answers
from polymodal.testing.subject import Law, random_streams

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "fusion")]

WIDTHS = {"left": 6, "middle": 6, "right": 6}  # equal, so that swapped streams fit one another's weights
DIM = 16
CLASSES = 5


class Mutable(type):
    """A metaclass under which a class may change how it is built and called, its signature untouched."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        ignored = {name: kwargs.pop(name) for name in getattr(cls, "ignores", ()) if name in kwargs}
        part = super().__call__(*args, **kwargs)
        for name, value in ignored.items():
            setattr(part, name, value)
        return part


@dataclass(frozen=True)
class Mutant:
    """A broken part: the class, and the options that it is tried with."""

    part: str
    fault: str
    cls: type
    options: Mapping[str, Any]


def broken(cls: type, **members: Any) -> type:
    """A subclass of a fusion or rule with some members replaced."""
    return Mutable(cls.__name__, (cls,), {"__doc__": cls.__doc__, **members})


# --- faults of fusions ------------------------------------------------------------------------------------------------

Streams = dict[str, Tokens]


def around(
    cls: type, before: Callable[[nn.Module, Streams], Streams] | None = None,
    after: Callable[[nn.Module, Streams, Tokens], Tokens] | None = None,
) -> type:  # fmt: skip
    """A fusion whose streams are changed before, or whose result is changed after."""

    def fuse(self: Any, streams: Streams) -> Tokens:
        fused = cls.fuse(self, before(self, streams) if before else streams)
        return after(self, streams, fused) if after else fused

    return broken(cls, fuse=fuse)


def called(cls: type, change: Callable[[Any, Mapping[str, Tokens]], Tokens]) -> type:
    """A fusion whose call goes past what the base class does for it."""
    return broken(cls, __call__=change)


def _uncleared(self: Any, streams: Mapping[str, Tokens]) -> Tokens:
    return self.fuse({name: streams[name] for name in self.names})


def _given_order(self: Any, streams: Mapping[str, Tokens]) -> Tokens:
    return self.forward(dict(zip(self.names, streams.values())))


def _in_place(self: Any, streams: Mapping[str, Tokens]) -> Tokens:
    with torch.no_grad():
        for tokens in streams.values():
            tokens.x.add_(0.01)
            tokens.pooled.add_(0.01)
    return self.forward(streams)


def _all_there(_: nn.Module, streams: Streams) -> Streams:
    return {name: replace(t, mask=torch.ones_like(t.mask)) for name, t in streams.items()}


def _neighbours(_: nn.Module, streams: Streams) -> Streams:
    """The first two streams of a row change places in rows that have only the first."""
    (first, a), (second, b), *rest = streams.items()
    return dict([(first, replace(a, pooled=b.pooled)), (second, replace(b, pooled=a.pooled)), *rest])


def _changed(fused: Tokens, change: Callable[[Tensor], Tensor]) -> Tokens:
    return replace(fused, x=change(fused.x), pooled=change(fused.pooled))


def _kept(_: nn.Module, streams: Streams, fused: Tokens) -> Tokens:
    return fused.keep(presence(streams.values()).any(1))


def _shifted(self: Any, _: Streams, fused: Tokens) -> Tokens:
    if not hasattr(self, "_drawn"):
        self._drawn = torch.randn(fused.pooled.shape[-1])
    return _changed(fused, lambda v: v + self._drawn.to(v.dtype))


def _elsewhere(self: Any, _: Streams, fused: Tokens) -> Tokens:
    noise = float(np.random.default_rng().normal())
    return _changed(fused, lambda v: v + noise) if self.training else fused


def _empty_row(_: nn.Module, streams: Streams, fused: Tokens) -> Tokens:
    share = presence(streams.values()).sum(1).to(fused.pooled.dtype)
    return replace(fused, pooled=fused.pooled * (share / share)[:, None])


def _padded(_: nn.Module, streams: Streams, fused: Tokens) -> Tokens:
    length = sum(t.x.shape[1] for t in streams.values())
    return replace(fused, pooled=fused.pooled * (1 + 1 / length))


FUSION_FAULTS: dict[str, Callable[[type], type]] = {
    "masked values leak": lambda cls: called(cls, _uncleared),
    "absent streams count as there": lambda cls: around(cls, _all_there, _kept),
    "an empty row counts as there": lambda cls: around(cls, _all_there),
    "streams in the order given": lambda cls: called(cls, _given_order),
    "rows mixed": lambda cls: around(cls, None, lambda _, s, f: _changed(f, lambda v: v + 0.1 * v.mean(0))),
    "two streams swapped": lambda cls: around(cls, _neighbours),
    "chance from elsewhere": lambda cls: around(cls, None, _elsewhere),
    "not finite in an empty row": lambda cls: around(cls, None, _empty_row),
    "padding counts": lambda cls: around(cls, None, _padded),
    "state not saved": lambda cls: around(cls, None, _shifted),
    "input changed in place": lambda cls: called(cls, _in_place),
    "result cut off from its gradient": lambda cls: around(
        cls, None, lambda _, s, f: _changed(f, lambda v: v.detach() + 0 * v)
    ),
    "reads_tokens lies": lambda cls: broken(cls, reads_tokens=not cls.reads_tokens),  # type: ignore[attr-defined]
    "result of another width": lambda cls: around(cls, None, lambda _, s, f: _changed(f, lambda v: v[..., :-1])),
}


# --- faults of rules of late fusion -----------------------------------------------------------------------------------


def rule(cls: type, change: Callable[[Any, Callable[[Tensor, Tensor], Tensor], Tensor, Tensor], Tensor]) -> type:
    """A rule whose `combine` is wrapped: `change(self, combine, scores, present)`."""

    def combine(self: Any, scores: Tensor, present: Tensor) -> Tensor:
        return change(self, partial(cls.combine, self), scores, present)

    return broken(cls, combine=combine)


def _leaking(self: Any, scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    return self.combine(*(torch.stack([v[n] for n in self.names], 1) for v in (scores, present)))


def _by_order(self: Any, scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    return self.forward(dict(zip(self.names, scores.values())), dict(zip(self.names, present.values())))


def _noisy(self: Any, combine: Any, scores: Tensor, present: Tensor) -> Tensor:
    return combine(scores, present) + (float(np.random.default_rng().normal()) if self.training else 0.0)


def _drawn(self: Any, combine: Any, scores: Tensor, present: Tensor) -> Tensor:
    if not hasattr(self, "_state"):
        self._state = torch.randn(())
    return combine(scores, present) + self._state * torch.arange(1, scores.shape[2] + 1)


RULE_FAULTS: dict[str, Callable[[type], type]] = {
    "masked values leak": lambda cls: broken(cls, __call__=_leaking),
    "absent streams count as there": lambda cls: rule(cls, lambda _, c, s, p: c(s, torch.ones_like(p))),
    "streams in the order given": lambda cls: broken(cls, __call__=_by_order),
    "rows mixed": lambda cls: rule(cls, lambda _, c, s, p: c(s, p) + 0.1 * c(s, p).mean(0)),
    "two streams swapped": lambda cls: rule(cls, lambda _, c, s, p: c(s[:, [1, 0, 2]], p)),
    "chance from elsewhere": lambda cls: rule(cls, _noisy),
    "not finite in an empty row": lambda cls: rule(cls, lambda _, c, s, p: c(s, p) * (p.sum(1) / p.sum(1))[:, None]),
    "state not saved": lambda cls: rule(cls, _drawn),
    "divides by all streams": lambda cls: rule(cls, lambda _, c, s, p: c(s, p) * p.float().mean(1, keepdim=True)),
    "probabilities for logits": lambda cls: rule(cls, lambda _, c, s, p: c(s, p).sigmoid()),
    "result of another width": lambda cls: rule(cls, lambda _, c, s, p: c(s, p)[:, :-1]),
}


# --- faults of any part -----------------------------------------------------------------------------------------------


def weight_faults(cls: type, verb: str, names: Iterable[str]) -> Iterator[tuple[str, type]]:
    """For each named weight: cut off from its gradient, and without any effect."""

    def with_weight(name: str, change: Callable[[Tensor], Tensor]) -> type:
        def call(self: Any, *args: Any) -> Any:
            if getattr(self, "_inside", False):
                return getattr(cls, verb)(self, *args)
            self._inside = True
            changed = {name: change(dict(self.named_parameters())[name])}
            try:
                return functional_call(_Verb(self, verb), {f"part.{n}": v for n, v in changed.items()}, args)
            finally:
                self._inside = False

        return broken(cls, **{verb: call})

    for name in names:
        yield f"weight cut off: {name}", with_weight(name, Tensor.detach)
        yield f"weight ignored: {name}", with_weight(name, torch.zeros_like)


class _Verb(nn.Module):
    """A part called by one of its methods, so that `functional_call` can put other weights in."""

    def __init__(self, part: nn.Module, verb: str):
        super().__init__()
        self.part, self.verb = part, verb

    def forward(self, *args: Any) -> Any:
        return getattr(self.part, self.verb)(*args)


def ignoring(cls: type, option: str) -> type:
    """A part that is built, and works, with the option's default; the value given is kept only to be shown."""
    default = options(cls)[option].default

    def verb(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            shown = getattr(self, option)
            setattr(self, option, default)
            try:
                return getattr(cls, name)(self, *args)
            finally:
                setattr(self, option, shown)

        return call

    verbs = {name: verb(name) for name in ("fuse", "combine", "losses") if hasattr(cls, name)}
    return broken(cls, ignores=(option,), **verbs)


def mutants(catalogue: Catalogue, name: str, others: Mapping[str, Any], weights: int) -> Iterator[Mutant]:
    """Every mutant of a catalogued part; `others` are other values of its options, `weights` how many are broken."""
    cls = catalogue.load(name)
    fusion = catalogue is FUSIONS
    for fault, apply in (FUSION_FAULTS if fusion else RULE_FAULTS).items():
        yield Mutant(name, fault, apply(cls), {})
    part = catalogue.build(name, WIDTHS, DIM) if fusion else catalogue.build(name, tuple(WIDTHS), "classes", CLASSES)
    trained = [n for n, p in part.named_parameters() if p.requires_grad]
    chosen = [trained[i] for i in np.unique(np.linspace(0, len(trained) - 1, min(weights, len(trained))).astype(int))]
    for fault, mutant in weight_faults(cls, "fuse" if fusion else "combine", chosen):
        yield Mutant(name, fault, mutant, {})
    for option, value in others.items():
        yield Mutant(name, f"option ignored: {option}", ignoring(cls, option), {option: value})


# --- trial ------------------------------------------------------------------------------------------------------------


def caught(mutant: Mutant) -> str:
    """The first law that the mutant breaks, or ""."""
    spec = {"name": mutant.cls, **mutant.options}
    with stopping_at_the_first():
        try:
            if mutant.part in FUSIONS:
                check_fusion(spec, widths=WIDTHS, dim=DIM)
            else:
                check_decision(spec, width=CLASSES)
        except NotConformant as error:
            return error.violations[0].law
    return ""


@contextmanager
def stopping_at_the_first() -> Iterator[None]:
    """The checks stop at the first broken law: the slowest laws come last."""

    def judge(label: str, laws: Iterable[Law]) -> None:
        for law in laws:
            try:
                law()
            except Violation as violation:
                raise NotConformant(label, [violation]) from violation
            except Exception as error:
                found = Violation(law.func.__name__.strip("_").replace("_", " "), repr(error), "")
                raise NotConformant(label, [found]) from error

    modules: tuple[Any, ...] = (fusion_laws, decision_laws)
    before = [module.judge for module in modules]
    for module in modules:
        module.judge = judge
    try:
        yield
    finally:
        for module, old in zip(modules, before):
            module.judge = old


def equivalent(mutant: Mutant) -> bool:
    """Whether the mutant does what the whole part does, in training and in use, on inputs with gaps."""
    catalogue = FUSIONS if mutant.part in FUSIONS else DECISIONS

    def outcome(spec: Any, train: bool) -> list[Tensor]:
        torch.manual_seed(0)
        if catalogue is FUSIONS:
            part = FUSIONS.build(spec, WIDTHS, DIM).train(train)
            out = part(random_streams(WIDTHS)).pooled
        else:
            part = DECISIONS.build(spec, tuple(WIDTHS), "classes", CLASSES).train(train)
            out = part(*answers(tuple(WIDTHS), CLASSES).values())
        if out.requires_grad:
            out.square().sum().backward()
        return [out.detach(), *(p.new_zeros(0) if p.grad is None else p.grad for p in part.parameters())]

    for train in (True, False):
        whole = outcome({"name": mutant.part, **mutant.options}, train)
        other = outcome({"name": mutant.cls, **mutant.options}, train)
        if not all(
            a.shape == b.shape and torch.allclose(a, b, atol=1e-6, equal_nan=True) for a, b in zip(whole, other)
        ):
            return False
    return True


def off_formula(mutant: Mutant) -> bool:
    """Whether the formula in `tests/reference` tells the mutant from the whole part."""
    from reference.parity import cases, compare

    catalogue = FUSIONS if mutant.part in FUSIONS else DECISIONS
    whole = catalogue.load(mutant.part)
    catalogue._classes[mutant.part] = mutant.cls
    try:
        for case in cases():
            if case.part == mutant.part and case.family in ("fusion", "decision"):
                errors = compare(case)
                if not errors.forward < 1e-9 or not (errors.gradient or 0.0) < 1e-6:
                    return True
    except (AssertionError, RuntimeError, ValueError, TypeError):
        return True
    finally:
        catalogue._classes[mutant.part] = whole
    return False


def tried(mutant: Mutant) -> dict[str, str]:
    """A row of the table: who caught the mutant."""
    law = caught(mutant)
    if not law:
        law = "equivalent" if equivalent(mutant) else "its formula" if off_formula(mutant) else "SURVIVED"
    return {"part": mutant.part, "fault": mutant.fault, "caught_by": law}


def summary(rows: list[dict[str, str]]) -> str:
    """Caught of how many, and by what."""
    counted = [r["caught_by"] for r in rows if r["caught_by"] != "equivalent"]
    by_formula, survived = counted.count("its formula"), counted.count("SURVIVED")
    laws = len(counted) - by_formula - survived
    return (
        f"{len(counted)} mutants ({len(rows) - len(counted)} more changed nothing): {laws} caught by a law, "
        f"{by_formula} by their formula alone, {survived} survived."
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("parts", nargs="*", help="names of fusions and rules; default: all")
    arguments.add_argument("--weights", type=int, default=2, help="weights of each part that are broken")
    arguments.add_argument("--survivors", action="store_true", help="show only mutants that no law caught")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    from test_fusion_laws import OTHER

    rows = []
    for catalogue in (FUSIONS, DECISIONS):
        for name in (n for n in catalogue if not given.parts or n in given.parts):
            found = [tried(m) for m in mutants(catalogue, name, OTHER[name], given.weights)]
            rows += found
            if not given.json:
                print(f"{name}: {summary(found)}", flush=True)
    by_no_law = [r for r in rows if r["caught_by"] in ("its formula", "SURVIVED")]
    shown = by_no_law if given.survivors else rows
    if shown:
        show(shown, given.json)
    if not given.json:
        print(f"\nAll parts: {summary(rows)}")


if __name__ == "__main__":
    main()
