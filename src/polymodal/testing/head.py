"""Does a head keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Target, Tokens
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.testing.laws import common, learns, not_overridden
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, random_streams, same


def check_head(spec: Spec, target: Target, *, width: int = 16) -> None:
    """Try a head on a target. Raises `NotConformant`.

    Besides the laws of every part: what is masked changes nothing; a row without tokens is finite; rows without a
    label do not count; decoded values are of the target's kind; it learns eight rows.
    """
    cls, given = HEADS.resolve(spec)
    subject = head_subject(spec, target, width)
    truth = example_truth(target)
    whole = replace(subject, inputs={"tokens": random_streams({"only": width}, full=True)["only"]})
    laws = [
        *common(subject, HEADS, given), partial(_scored_shape, subject, target), partial(_masked_tokens, subject),
        partial(_unlabelled, subject, truth), partial(_decoded, subject, target), partial(not_overridden, cls, Head),
        partial(learns, whole, lambda head, outs: head.loss(outs["scores"], truth), steps=300, lr=0.02, goal=0.3),
    ]  # fmt: skip
    judge(subject.label, laws)


def head_subject(spec: Spec, target: Target, width: int) -> Subject:
    """A head of a target on trial with random tokens of `width`."""
    label = f"The head {HEADS.name_of(HEADS.resolve(spec)[0])} ({target.kind})"
    tokens = random_streams({"only": width})["only"]
    return Subject(label, partial(HEADS.build, spec, width, target), _run_head, {"tokens": tokens}, "scores")


def example_truth(target: Target) -> Tensor:
    """Encoded labels of eight rows."""
    draw = torch.Generator().manual_seed(9)
    if target.kind == "classes":
        return torch.arange(ROWS) % target.width
    if target.kind == "multilabel":
        return (torch.rand(ROWS, target.width, generator=draw) < 0.5).float()
    return torch.randn(ROWS, generator=draw)


def _run_head(part: Head, inputs: Mapping[str, Tokens]) -> dict[str, Tensor]:
    return {"scores": part(inputs["tokens"])}


def _scored_shape(subject: Subject, target: Target) -> None:
    scores = built(subject)(subject.inputs["tokens"])
    if tuple(scores.shape) != (ROWS, target.width):
        raise Violation("gives scores", f"they are {tuple(scores.shape)}.", f"Return [B, {target.width}].")


def _masked_tokens(subject: Subject) -> None:
    tokens = subject.inputs["tokens"]
    dirty = Tokens(
        tokens.x.masked_fill(~tokens.mask[..., None], torch.nan), tokens.mask,
        tokens.pooled.masked_fill(~tokens.present[:, None], torch.nan),
    )  # fmt: skip
    part = built(subject)
    same(
        "ignores masked values", _run_head(part, {"tokens": dirty}), _run_head(part, {"tokens": tokens}),
        "NaN planted in masked places changes the scores", "Do not override forward, which clears them.",
    )  # fmt: skip


def _unlabelled(subject: Subject, truth: Tensor) -> None:
    part = built(subject)
    scores = part(subject.inputs["tokens"])
    hidden = truth.clone()
    hidden[4:] = -1 if not truth.is_floating_point() else torch.nan
    part.train()
    all_of, half = float(part.loss(scores, hidden).detach()), float(part.loss(scores[:4], truth[:4]).detach())
    if abs(all_of - half) > 1e-4:
        raise Violation(
            "unlabelled rows do not count", f"the loss is {all_of:.5f} with them, {half:.5f} without.",
            "Average over the rows whose target is known (not -1, not NaN).",
        )  # fmt: skip
    none = part.loss(scores, hidden[4:].repeat_interleave(2, 0))
    if not none.isfinite():
        raise Violation("unlabelled rows do not count", "a batch without labels has no finite loss.", "Clamp counts.")


def _decoded(subject: Subject, target: Target) -> None:
    part = built(subject)
    found = part.decode(part(subject.inputs["tokens"]))
    key = "value" if target.kind == "number" else "probability"
    if key not in found or len(found[key]) != ROWS:
        raise Violation("decodes", f"decode gives {sorted(found)}.", f"Return {key!r}, one a row.")
    if target.kind != "number":
        probability = torch.from_numpy(found["probability"]).float()
        fits = (probability >= 0).all() and (probability <= 1).all() and probability.shape == (ROWS, target.width)
        if target.kind == "classes":
            fits = fits and torch.allclose(probability.sum(1), torch.ones(ROWS), atol=1e-4)
            fits = fits and set(found["label"]) <= set(target.classes)
        if not fits:
            raise Violation("decodes", "probabilities do not fit the classes.", "Softmax, or a sigmoid a label.")
