"""Does an encoder keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.testing.laws import Probe, common, learns, not_overridden
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, mapped, rows_of, same

SETTLED = 0.02  # of what tokens are at most: settled inputs may be kept less exactly


def check_encoder(
    spec: Spec, facts: Mapping[str, Any], inputs: Mapping[str, Tensor], *, dim: int = 16, steps: int = 300
) -> None:
    """Try an encoder on `facts` and `inputs` of its processor: 8 rows or more that differ. Raises `NotConformant`.

    Besides the laws of every part: it gives `Tokens` of its own width `dim` with at least one real token a row; what an
    absent row holds changes nothing; absent rows are masked; inputs that it has settled lead to the same tokens; it
    learns eight rows within `steps` steps at its own learning rate.
    """
    cls, given = ENCODERS.resolve(spec)
    subject = encoder_subject(spec, facts, inputs, dim)
    rows = {k: v for k, v in subject.inputs.items() if k != "present"}
    build = subject.build
    dim = built(subject).dim  # a frozen encoder's width is its own
    whole = replace(subject, inputs=rows, build=partial(Probe, build, dim), run=Probe.run)
    lr = float(built(subject).recipe().get("lr", 2e-3))
    laws = [
        *common(subject, ENCODERS, given), partial(_encoded_shape, subject, rows, dim), partial(_absent_rows, subject),
        partial(_settled_inputs, subject), partial(not_overridden, cls, Encoder),
        partial(learns, whole, Probe.loss, steps=steps, lr=lr, goal=0.5),
    ]  # fmt: skip
    judge(subject.label, laws)


def encoder_subject(spec: Spec, facts: Mapping[str, Any], inputs: Mapping[str, Tensor], dim: int) -> Subject:
    """An encoder on trial with its processor's facts and the first rows of its inputs, of which one is absent."""
    rows = mapped(lambda t: t[:ROWS], {k: v for k, v in inputs.items() if k != "present"})

    def build() -> Encoder:
        encoder: Encoder = ENCODERS.build(spec, facts, dim)
        encoder.fit_statistics(rows)
        return encoder

    present = torch.arange(rows_of(rows)) != 2
    label = f"The encoder {ENCODERS.name_of(ENCODERS.resolve(spec)[0])}"
    return Subject(label, build, _run_encoder, {**rows, "present": present}, "pooled")


def _run_encoder(part: Encoder, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tokens = part(inputs)
    return {"pooled": tokens.pooled, "x": tokens.x, "mask": tokens.mask}


def _encoded_shape(subject: Subject, rows: Mapping[str, Tensor], dim: int) -> None:
    tokens = built(subject)(rows)
    count, length = rows_of(rows), tokens.x.shape[1]
    shapes = {"x": (count, length, dim), "mask": (count, length), "pooled": (count, dim)}
    for name, shape in shapes.items():
        actual = tuple(getattr(tokens, name).shape)
        if actual != shape:
            raise Violation("gives Tokens", f"{name} is {actual}, not {shape}.", "See core.types.Tokens.")
    if not tokens.present.all():
        raise Violation("gives Tokens", "a row with a cell has no real token.", "Keep one token at least.")
    if tokens.where is not None and tuple(tokens.where.shape[:2]) != (count, length):
        actual = tuple(tokens.where.shape)
        raise Violation("gives Tokens", f"where is {actual}.", f"Its shape is ({count}, {length}, K).")


@torch.no_grad()
def _settled_inputs(subject: Subject) -> None:
    part, present = built(subject), subject.inputs["present"]
    settled = part.once(subject.inputs)
    if not settled:
        return
    made, wanted = part({**settled, "present": present}).pooled, part(subject.inputs).pooled
    if not torch.allclose(made, wanted, rtol=SETTLED, atol=SETTLED * float(wanted.abs().max())):
        off = float((made - wanted).abs().max())
        raise Violation("settles inputs", f"tokens of settled inputs are off by {off:.3g}.", "See Encoder.once.")


def _absent_rows(subject: Subject) -> None:
    def planted(t: Tensor) -> Tensor:
        t = t.clone()
        if t.is_floating_point():
            t[2] = torch.nan
        elif t.dtype != torch.bool:
            t[2] = t[3]
        return t

    part = built(subject)
    clean = subject.run(part, subject.inputs)
    dirty = subject.run(part, {**mapped(planted, subject.inputs), "present": subject.inputs["present"]})
    same(
        "ignores masked values", dirty, clean, "what an absent row holds changes the result",
        "Use no statistics over dimension 0; the base class clears absent rows.",
    )  # fmt: skip
    if clean["mask"][2].any() or clean["pooled"][2].any():
        raise Violation("absent rows", "an absent row is not masked and zero.", "Do not override forward.")
