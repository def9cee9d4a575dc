"""Does an aligner keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.aligners.pairs import Side
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.testing import laws
from polymodal.testing.devices import one_device
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, random_streams, same

PLANTED = 400  # pairs
SHARED = 6  # numbers behind both sides of a planted pair


def check_aligner(
    spec: Spec,
    *,
    widths: Mapping[str, int] | None = None,
    dim: int = 16,
    steps: int = 150,
    lr: float = 1e-2,
    recall: float | None = 0.9,
) -> None:
    """Try an aligner: a name, a dict with `name`, a class or a dotted path. Raises `NotConformant`.

    Besides the laws of every part: it gives `Tokens` of width `dim` with the masks it was given; pooled vectors have
    length one, or are zero where the stream is missing; what is masked changes nothing, nor does the order of the
    streams, nor what other streams hold or whether they are there; a fitted or trained state loads into a fresh part.
    Pairs planted in new rows are found again: `recall` is the least share of first places (None: not tried), after
    `steps` of training at `lr` for those that learn by gradient. By default two streams for those that learn without
    pairs, else three.
    """
    cls, given = ALIGNERS.resolve(spec)
    widths = dict(widths or example_widths(cls))
    fresh = partial(ALIGNERS.build, spec, widths, dim)
    subject = aligner_subject(spec, widths, dim)
    label = subject.label

    def ready(some: Mapping[str, int]) -> Aligner:
        return _ready(partial(ALIGNERS.build, spec, some, dim), widths)

    learning = learning_subject(subject, widths)
    tried: list[laws.Law] = [
        partial(laws.finite, subject),
        partial(laws.options_stored, subject, ALIGNERS, given),
        *(partial(law, subject) for law in (laws.row_alone, laws.inputs_untouched, laws.saved_and_loaded)),
        *(partial(law, subject) for law in (laws.same_seed, laws.bfloat16)),
        partial(_shape, subject, dim),
        partial(_length_one, subject),
        partial(laws.masked, subject),
        partial(_alone, subject),
        partial(laws.stream_order, subject, ready, widths),
        partial(_loads_fresh, subject, fresh),
        partial(laws.not_overridden, cls, Aligner),
        partial(one_device, subject),
    ]
    if cls.learns == "gradient":  # type: ignore[attr-defined]
        tried += [partial(law, learning) for law in (laws.gradient, laws.bfloat16, one_device)]
    if recall is not None:
        tried.append(partial(_planted, fresh, widths, steps, lr, recall))
    judge(label, tried)


def example_widths(cls: type) -> dict[str, int]:
    """Streams that an aligner is tried on: two for those that learn without pairs, else three."""
    return {"left": 12, "middle": 10, "right": 14} if cls.paired else {"left": 12, "right": 12}  # type: ignore[attr-defined]


def aligner_subject(spec: Spec, widths: Mapping[str, int], dim: int) -> Subject:
    """An aligner, fitted if it learns by fit, on trial with random streams of these widths."""
    label = f"The aligner {ALIGNERS.name_of(ALIGNERS.resolve(spec)[0])}"
    build = partial(_ready, partial(ALIGNERS.build, spec, widths, dim), widths)
    return Subject(label, build, _run, random_streams(widths), next(iter(widths)))


def learning_subject(subject: Subject, widths: Mapping[str, int]) -> Subject:
    """An aligner's subject with what it is trained by as its outcome."""
    return replace(subject, run=_losses, inputs=random_streams(widths, full=True), trained="loss")


def planted_sides(widths: Mapping[str, int], count: int, draw: torch.Generator) -> dict[str, Side]:
    """`count` pairs: each stream an orthogonal mix, of its own, of the same few numbers, which are not Gaussian."""
    maps = torch.Generator().manual_seed(17)
    hidden = torch.rand(count, SHARED, generator=draw) ** torch.linspace(0.5, 3, SHARED) - 0.5
    rows = torch.arange(count)[:, None]
    return {
        name: Side(
            hidden @ torch.linalg.qr(torch.randn(width, SHARED, generator=maps))[0].T
            + 0.002 * torch.randn(count, width, generator=draw),
            rows,
        )
        for name, width in widths.items()
    }


def _ready(fresh: partial[Any], widths: Mapping[str, int]) -> Aligner:
    """A part as it is used: fitted, where it learns by fit, to pairs drawn from torch's global generator."""
    part: Aligner = fresh()
    if part.learns == "fit":
        seed = int(torch.randint(1 << 30, ()))
        part.fit(planted_sides(widths, PLANTED, torch.Generator().manual_seed(seed)), seed=seed)
    return part


def _run(part: Aligner, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    aligned = part(streams)
    outs = {name: tokens.pooled for name, tokens in aligned.items()}
    return {**outs, **{f"{name} tokens": tokens.cleared().x for name, tokens in aligned.items()}}


def _losses(part: Aligner, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    rows = {name: torch.arange(len(tokens), device=tokens.x.device)[:, None] for name, tokens in streams.items()}
    return {"loss": torch.stack(list(part.objective(streams, rows).values()))}


def _shape(subject: Subject, dim: int) -> None:
    law, mend = "gives Tokens", "Return on_sphere(tokens, map), or write `project` only."
    aligned = built(subject)(subject.inputs)
    if set(aligned) != set(subject.inputs):
        raise Violation(law, f"given {sorted(subject.inputs)}, it returned {sorted(aligned)}.", mend)
    for name, tokens in aligned.items():
        given = subject.inputs[name]
        expected = (*given.x.shape[:2], dim)
        if tuple(tokens.x.shape) != expected or tuple(tokens.pooled.shape) != (ROWS, dim):
            shapes = f"x is {tuple(tokens.x.shape)} and pooled {tuple(tokens.pooled.shape)}"
            raise Violation(law, f"{name}: {shapes}, not {expected} and {(ROWS, dim)}.", mend)
        if not torch.equal(tokens.mask, given.mask):
            raise Violation(law, f"the mask of {name} is not the one it was given.", mend)


def _length_one(subject: Subject) -> None:
    for name, tokens in built(subject)(subject.inputs).items():
        length = tokens.pooled.norm(dim=-1)
        if not torch.allclose(length, tokens.present.to(length), atol=1e-4):
            raise Violation(
                "length one", f"pooled vectors of {name} have lengths {length.min():.3g} to {length.max():.3g}.",
                "Divide by the norm, and clear the rows in which the stream is missing: base.on_sphere does both.",
            )  # fmt: skip


def _alone(subject: Subject) -> None:
    part = built(subject)
    together = subject.run(part, subject.inputs)
    for name in subject.inputs:
        alone = subject.run(part, {name: subject.inputs[name]})
        same(
            "streams independent of one another", alone, {name: together[name]},
            f"{name} comes out different when it is given alone", "Map each stream by its own parameters only.",
        )  # fmt: skip


def _loads_fresh(subject: Subject, fresh: partial[Any]) -> None:
    ready = built(subject)
    torch.manual_seed(1)
    other = fresh().eval()
    other.load_state_dict(ready.state_dict())
    same(
        "loads into a fresh part", subject.run(other, subject.inputs), subject.run(ready, subject.inputs),
        "a state loaded into a part that was not fitted gives something else",
        "Register what is fitted as buffers whose shapes follow from widths and dim.", tolerance=0.0,
    )  # fmt: skip


def _planted(fresh: partial[Any], widths: Mapping[str, int], steps: int, lr: float, recall: float) -> None:
    torch.manual_seed(0)
    part: Aligner = fresh()
    draw = torch.Generator().manual_seed(3)
    train, test = planted_sides(widths, PLANTED, draw), planted_sides(widths, 100, draw)
    if part.learns == "fit":
        part.fit(train, seed=0)
    else:
        _descend(part.train(), train, steps, lr)
    part.eval()
    with torch.no_grad():
        aligned = part({name: Tokens.from_vector(side.vectors) for name, side in test.items()})
    names = list(widths)
    for a, b in pairwise(names):
        first = (aligned[a].pooled @ aligned[b].pooled.T).argmax(1)
        share = float((first == torch.arange(len(first))).float().mean())
        if not share >= recall:
            raise Violation(
                "finds planted pairs", f"{a} finds its {b} first in {share:.0%} of new rows, not {recall:.0%}.",
                "Look at the loss, at what is centred, and at which items count as belonging together.",
            )  # fmt: skip


def _descend(part: Aligner, sides: Mapping[str, Side], steps: int, lr: float) -> None:
    streams = {name: Tokens.from_vector(side.vectors) for name, side in sides.items()}
    rows = {name: side.rows for name, side in sides.items()}
    optimizer = torch.optim.AdamW(part.parameters(), lr=lr)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10, 4 * (steps - step) / steps)
        optimizer.zero_grad()
        torch.stack(list(part.objective(streams, rows).values())).sum().backward()
        optimizer.step()
