"""Does a head keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.heads.base import Head, ScoringHead
from polymodal.nn.opponent import opponents_of
from polymodal.targets.base import CLASSES, MULTILABEL, Target, written
from polymodal.testing.devices import one_device
from polymodal.testing.laws import common, learns, not_overridden
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, random_streams, same
from polymodal.testing.target import CELLS

WRITTEN = ["a cat sleeps", "the cat sleeps", "a zebra"]  # texts, the last with a word that training has not


def check_head(spec: Spec, target: Target, *, width: int = 16, truth: Tensor | None = None) -> None:
    """Try a head on a target. Raises `NotConformant`.

    Besides the laws of every part: what is masked changes nothing; rows without a label do not count; decoded values
    are what the target's `prediction` and `columns` read; it learns eight rows, unless it learns by turns. Of a head
    that scores also: a row without tokens is finite, and scores have the target's width.

    `truth` are encoded labels of eight rows, the last four not the first, by default those of `example_truth`.
    """
    cls, given = HEADS.resolve(spec)
    truth = example_truth(target) if truth is None else truth
    scores = issubclass(cls, ScoringHead)
    subject = head_subject(spec, target, width, truth)
    whole = replace(subject, inputs={"tokens": random_streams({"only": width}, full=True)["only"]}, run=_tokens)
    laws = [
        *common(subject, HEADS, given), partial(_masked_tokens, subject), partial(_unlabelled, subject, target, truth),
        partial(_decoded, subject, target), partial(not_overridden, cls, Head),
        partial(_planned, subject, target, given),
        *([] if opponents_of(built(subject)) else [
            partial(learns, whole, lambda head, outs: head.loss(outs["tokens"], truth), steps=300, lr=0.02, goal=0.3)
        ]),
        *([partial(_scored_shape, subject, target)] if scores else []),
        *([partial(one_device, loss_subject(subject, truth))] if scores else []),
    ]  # fmt: skip
    judge(subject.label, laws)


def head_subject(spec: Spec, target: Target, width: int, truth: Tensor | None = None) -> Subject:
    """A head of a target on trial with random tokens of `width`: its scores, or the losses by `truth` if it writes."""
    cls = HEADS.resolve(spec)[0]
    label = f"The head {HEADS.name_of(cls)} ({target.kind})"
    inputs: dict[str, Any] = {"tokens": random_streams({"only": width})["only"]}
    build = partial(HEADS.build, spec, width, target)
    if issubclass(cls, ScoringHead):
        return Subject(label, build, _scores, inputs, "scores")
    return Subject(label, build, _loss, {**inputs, "truth": truth}, "loss")


def loss_subject(subject: Subject, truth: Tensor) -> Subject:
    """A head's subject with the loss of eight labelled rows as its outcome."""

    def lost(part: Head, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"loss": part.loss(inputs["tokens"], inputs["truth"])[None]}

    return replace(subject, run=lost, inputs={**subject.inputs, "truth": truth}, trained="loss")


def example_truth(target: Any) -> Tensor:
    """Encoded labels of eight rows: made up for a target with scores, else of the kind's example cells."""
    if written([target]):
        return torch.from_numpy(target.encode(["a dog", "a cat", "a dog runs", "the dog", "the cat", *WRITTEN]))
    draw = torch.Generator().manual_seed(9)
    if target.scores == CLASSES:
        return torch.arange(ROWS) % target.width
    if target.scores == MULTILABEL:
        return (torch.rand(ROWS, target.width, generator=draw) < 0.5).float()
    if not target.scores:
        known = torch.from_numpy(target.encode(CELLS[target.kind]))
        return known[torch.arange(ROWS) % len(known)]
    shape = target.encode([None]).shape[1:]
    return torch.randn(ROWS, *shape, generator=draw)


def _tokens(_: Head, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(inputs)


def _scores(part: Head, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    return {"scores": part(inputs["tokens"])}


def _loss(part: Head, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The loss of each row by itself: what is written in training has no gradient."""
    tokens, truth = inputs["tokens"].cleared(), inputs["truth"]
    rows = range(len(tokens))
    each = [part.loss(tokens.select(slice(i, i + 1)), truth[i : i + 1]) for i in rows]
    return {"loss": torch.stack(each)}


def _scored_shape(subject: Subject, target: Any) -> None:
    scores = built(subject)(subject.inputs["tokens"])
    if tuple(scores.shape) != (ROWS, target.width):
        raise Violation("gives scores", f"they are {tuple(scores.shape)}.", f"Return [B, {target.width}].")


def _planned(subject: Subject, target: Target, given: Mapping[str, Any]) -> None:
    head = built(subject)
    planned = type(head).planned(target, given)
    with torch.no_grad():
        answer = head.eval()(subject.inputs["tokens"])
    decoded = [one.decode(answer) for one in (planned, head)]
    alike = all(np.array_equal(decoded[0][name], value) for name, value in decoded[1].items())
    if not alike or (planned.recipe(), planned.reads_tokens) != (head.recipe(), head.reads_tokens):
        raise Violation(
            "is told by its options", "`recipe`, `reads_tokens` or `decode` differ once it is built.",
            "Let them look at the target and the options alone.",
        )  # fmt: skip


def _masked_tokens(subject: Subject) -> None:
    tokens = subject.inputs["tokens"]
    dirty = Tokens(
        tokens.x.masked_fill(~tokens.mask[..., None], torch.nan), tokens.mask,
        tokens.pooled.masked_fill(~tokens.present[:, None], torch.nan),
    )  # fmt: skip
    part = built(subject)
    same(
        "ignores masked values", {"answer": part(dirty)}, {"answer": part(tokens)},
        "NaN planted in masked places changes the answer", "Do not override forward, which clears them.",
    )  # fmt: skip


def _unlabelled(subject: Subject, target: Target, truth: Tensor) -> None:
    part = built(subject)
    tokens = subject.inputs["tokens"].cleared()
    hidden = truth.clone()
    hidden[4:] = torch.from_numpy(target.encode([None]))
    half = float(part.loss(tokens.select(slice(0, 4)), truth[:4]).detach())
    all_of = float(part.loss(tokens, hidden).detach())
    if abs(all_of - half) > 1e-4:
        raise Violation(
            "unlabelled rows do not count", f"the loss is {all_of:.5f} with them, {half:.5f} without.",
            "Average over the rows whose target is known (not -1, not NaN).",
        )  # fmt: skip
    none = part.loss(tokens, hidden[4:].repeat_interleave(2, 0))
    if not none.isfinite():
        raise Violation("unlabelled rows do not count", "a batch without labels has no finite loss.", "Clamp counts.")


def _decoded(subject: Subject, target: Target) -> None:
    part = built(subject)
    decoded = part.decode(part(subject.inputs["tokens"]))
    if not all(len(values) == ROWS for values in decoded.values()):
        raise Violation("decodes", f"decode gives {sorted(decoded)}.", "Return arrays, one value a row.")
    prediction, columns = target.prediction(decoded), target.columns(decoded)
    if len(prediction) != ROWS or any(len(values) != ROWS for values in columns.values()):
        raise Violation("decodes", "the target cannot read it row by row.", "Return what the target's `columns` read.")
    probability = torch.from_numpy(decoded["probability"]).float() if "probability" in decoded else torch.ones(ROWS, 1)
    fits = bool((probability >= 0).all() and (probability <= 1).all())
    if target.scores == CLASSES:
        fits = fits and torch.allclose(probability.sum(1), torch.ones(ROWS), atol=1e-4)
        fits = fits and set(decoded["label"]) <= set(target.labels)
    if not fits:
        raise Violation("decodes", "probabilities do not fit the classes.", "Softmax, or a sigmoid a label.")
