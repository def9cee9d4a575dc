"""Does a fusion keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.fusion.base import Fusion
from polymodal.nn.layers.pool import masked_mean
from polymodal.testing.laws import (
    Probe,
    common,
    learns,
    masked,
    not_overridden,
    options_felt,
    plain_builds,
    stream_order,
)
from polymodal.testing.subject import (
    ROWS,
    TOLERANCE,
    Subject,
    Violation,
    built,
    judge,
    mapped_streams,
    random_streams,
    same,
)

WIDTHS = {"left": 6, "middle": 10, "right": 8}


def check_fusion(spec: Spec, *, widths: Mapping[str, int] | None = None, dim: int = 16) -> None:
    """Try a feature-level fusion: a name, a dict with `name`, a class or a dotted path. Raises `NotConformant`.

    Besides the laws of every part: it gives `Tokens` of width `dim`; what is masked changes nothing, nor does
    padding, nor the order of the streams; a row without any stream is finite and masked; `reads_tokens` tells the
    truth; a stream alone in its row is heard; each option given changes something; it learns eight rows.
    """
    widths = dict(widths or WIDTHS)
    cls, given = FUSIONS.resolve(spec)
    subject = fusion_subject(spec, widths, dim)
    whole = replace(subject, inputs=random_streams(widths, full=True))
    probe = partial(Probe, subject.build, dim)
    laws = [
        *common(subject, FUSIONS, given), partial(_fused_shape, subject, dim), partial(masked, subject),
        partial(options_felt, subject, partial(_outcome, subject), plain_builds(FUSIONS, cls, given, widths, dim)),
        partial(_padded, subject), partial(stream_order, subject, lambda some: FUSIONS.build(spec, some, dim), widths),
        partial(_heard_alone, subject), partial(_none_present, subject),
        partial(_reads_tokens, subject, cls), partial(not_overridden, cls, Fusion),
        partial(learns, replace(whole, build=probe, run=Probe.run), Probe.loss, steps=300, lr=5e-3, goal=0.1),
    ]  # fmt: skip
    judge(subject.label, laws)


def fusion_subject(spec: Spec, widths: Mapping[str, int], dim: int) -> Subject:
    """A fusion on trial with random streams of these widths."""
    label = f"The fusion {FUSIONS.name_of(FUSIONS.resolve(spec)[0])}"
    return Subject(label, partial(FUSIONS.build, spec, widths, dim), _run_fusion, random_streams(widths), "pooled")


def _run_fusion(part: Fusion, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    fused = part(streams)
    return {"pooled": fused.pooled, "x": fused.cleared().x, "mask": fused.mask}


def _outcome(subject: Subject, part: Fusion) -> Tensor:
    return subject.run(part, subject.inputs)["pooled"]


def _fused_shape(subject: Subject, dim: int) -> None:
    fused = built(subject)(subject.inputs)
    law, mend = "gives Tokens", "Return Tokens.from_vector(vector, present) or Tokens(x, mask, pooled)."
    if not isinstance(fused, Tokens):
        raise Violation(law, f"it returned {type(fused).__name__}.", mend)
    tokens = fused.x.shape[1] if fused.x.ndim == 3 else -1
    for name, shape in (("x", (ROWS, tokens, dim)), ("mask", (ROWS, tokens)), ("pooled", (ROWS, dim))):
        if tuple(getattr(fused, name).shape) != shape:
            raise Violation(law, f"{name} is {tuple(getattr(fused, name).shape)}, not {shape}.", mend)
    if fused.mask.dtype != torch.bool:
        raise Violation(law, f"the mask is {fused.mask.dtype}.", "It must be bool.")


def _padded(subject: Subject) -> None:
    def longer(t: Tokens) -> Tokens:
        def pad(v: Tensor) -> Tensor:
            return torch.cat([v, torch.zeros_like(v[:, :2])], 1)

        return Tokens(pad(t.x), pad(t.mask), t.pooled, None if t.where is None else pad(t.where))

    part = built(subject)
    clean, padded = subject.run(part, subject.inputs), subject.run(part, mapped_streams(longer, subject.inputs))
    same(
        "ignores padding", {"pooled": padded["pooled"]}, {"pooled": clean["pooled"]},
        "masked tokens put behind the real ones change the pooled vector",
        "Divide by the number of real tokens (nn.pool.masked_mean), and pass the mask to attention.",
    )  # fmt: skip


def _heard_alone(subject: Subject) -> None:
    """In a row that has one stream only, what that stream says is felt."""
    part = built(subject)
    for name, own in subject.inputs.items():
        alone = mapped_streams(lambda t: t.keep(torch.zeros(ROWS, dtype=torch.bool)), subject.inputs)
        other = replace(own, x=own.x.roll(1, -1) + 1.0, pooled=own.pooled.roll(1, -1) + 1.0)
        said, changed = (subject.run(part, {**alone, name: t})["pooled"] for t in (own, other))
        if torch.allclose(said[own.present], changed[own.present], atol=TOLERANCE):
            raise Violation(
                "every stream is heard", f"in a row that has {name!r} alone, its values change nothing.",
                "Join each stream's own values with its own presence; look for streams that are swapped or left out.",
            )  # fmt: skip


def _none_present(subject: Subject) -> None:
    part = built(subject)
    fused = part(mapped_streams(lambda t: t.keep(torch.zeros(ROWS, dtype=torch.bool)), subject.inputs))
    if not fused.pooled.isfinite().all():
        raise Violation("row without streams", "its pooled vector is not finite.", "Clamp counts to at least 1.")
    if fused.present.any():
        raise Violation(
            "row without streams", "its mask is not all False.", "Pass on who is present: presence(streams).any(1)."
        )
    some = part(subject.inputs).present
    there = torch.stack([t.present for t in subject.inputs.values()]).any(0)
    if not torch.equal(some, there):
        raise Violation("row without streams", "a row that has a stream comes out masked.", "Its mask holds a True.")


def _one_token(t: Tokens) -> Tokens:
    """The pooled vector as the only token, in the middle of where the tokens were."""
    where = None if t.where is None else masked_mean(t.where, t.mask)[:, None]
    return replace(Tokens.from_vector(t.pooled, t.present), where=where)


def _reads_tokens(subject: Subject, cls: type[Fusion]) -> None:
    part = built(subject)
    clean = subject.run(part, subject.inputs)["pooled"]
    vectors = mapped_streams(_one_token, subject.inputs)
    bare = subject.run(part, vectors)["pooled"]
    reads = not torch.allclose(clean, bare, atol=1e-5)
    if reads != cls.reads_tokens:
        effect = "the sequence changes the result" if reads else "the sequence changes nothing"
        raise Violation("reads_tokens", f"it says {cls.reads_tokens}, but {effect}.", f"Set reads_tokens = {reads}.")
