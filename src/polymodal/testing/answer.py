"""Does an answer keep its contract?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.base import BASELINE, Answer, Labelled, TokenSource
from polymodal.models.build import Heads, Parts
from polymodal.models.specs import resolved, serves
from polymodal.targets.base import MEANINGS, ScoredTarget, Target
from polymodal.testing.devices import one_device
from polymodal.testing.head import example_truth
from polymodal.testing.laws import (
    bfloat16,
    finite,
    gradient,
    inputs_untouched,
    learns,
    masked,
    options_stored,
    row_alone,
    same_seed,
    saved_and_loaded,
    stream_order,
)  # fmt: skip
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, mapped_streams, random_streams, same
from polymodal.testing.target import example_target

WIDTHS = {"left": 6, "middle": 10, "right": 8}
COST = {"left": 1.0, "middle": 2.0, "right": 4.0}


def check_answer(spec: Spec, *, kinds: Iterable[str] = (*MEANINGS, "text"), dim: int = 16) -> None:
    """Try an answer under a target of every kind that it is defined for, one of each meaning of scores and one that is
    written. Raises `NotConformant`.

    Besides the laws of every part: scores have the target's width; what is masked changes nothing, nor does the order
    of the streams; a row without any stream gets the prior; handed its streams on demand it says the same, and asks
    only for what is there; after `finalize` all this still holds; it learns eight rows.
    """
    given = ANSWERS.resolve(spec)[1]
    for kind in kinds:
        target = example_target(kind)
        if not serves(resolved(spec).needs, [target]):
            continue
        subject, settled, lost = answer_subjects(spec, kind, dim)
        trained = subject if target.scores else lost  # what is written in training is nobody's concern
        blind = resolved(spec).level == BASELINE  # what it does not look at has no gradient
        whole = replace(lost, inputs=random_streams(WIDTHS, full=True))
        laws = [
            partial(finite, trained), partial(options_stored, subject, ANSWERS, given),
            *([] if blind else [partial(gradient, lost)]), partial(same_seed, subject), partial(bfloat16, trained),
            *(partial(check, each) for check in (row_alone, inputs_untouched, saved_and_loaded, masked, _on_demand)
              for each in (subject, settled)),
            *(partial(_shape, each, target) for each in (subject, settled)),
            partial(stream_order, subject, partial(_build, spec, target=target, dim=dim), WIDTHS),
            *(partial(one_device, each) for each in ([subject, settled, lost] if target.scores else [lost])),
            partial(learns, whole, lambda _, outs: outs["loss"].sum(), steps=300, lr=5e-3, goal=0.4),
        ]  # fmt: skip
        judge(subject.label, laws)


def answer_subjects(spec: Spec, kind: str, dim: int = 16) -> tuple[Subject, Subject, Subject]:
    """An answer as it is built; the same after `finalize`; and with what it is trained by as its outcome."""
    target = example_target(kind)
    build = partial(_build, spec, WIDTHS, target, dim)
    label = f"The answer {ANSWERS.name_of(ANSWERS.resolve(spec)[0])} ({kind})"
    run = _run if target.scores else _write
    subject = Subject(label, build, run, random_streams(WIDTHS), "scores")
    settled = replace(subject, label=f"{label}, finalized", build=partial(_settled, build, target))
    return subject, settled, replace(subject, run=partial(_lost, target), trained="loss")


def _build(spec: Spec, widths: Mapping[str, int], target: ScoredTarget, dim: int) -> Answer:
    return ANSWERS.build(spec, widths, [target], Parts(dim, Heads(), COST))


def _settled(build: partial[Answer], target: ScoredTarget) -> Answer:
    answer = build()
    rows = Labelled(random_streams(WIDTHS, full=True), {"y": example_truth(target)})
    answer.finalize(rows, rows, 0)
    return answer


def _run(part: Answer, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    return {"scores": part(streams).predictions["y"]}


def _write(part: Answer, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    """What is written in use: in training nobody asks for it."""
    learning = part.training
    said = _run(part.eval(), streams)
    part.train(learning)
    return said


def _lost(target: ScoredTarget, part: Answer, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
    truth = example_truth(target).to(next(iter(streams.values())).x.device)
    losses = part.losses(part(streams), {"y": truth})
    return {"loss": torch.stack(list(losses.values())).sum()[None]}


def _shape(subject: Subject, target: ScoredTarget) -> None:
    part = built(subject)
    none = mapped_streams(lambda t: t.keep(torch.zeros(ROWS, dtype=torch.bool)), subject.inputs)
    if not target.scores:
        _written(part, target, subject.inputs, none)
        return
    for streams in (subject.inputs, none):
        scores = subject.run(part, streams)["scores"]
        if tuple(scores.shape) != (ROWS, target.width):
            raise Violation("gives scores", f"they are {tuple(scores.shape)}.", f"Return [B, {target.width}] a target.")
        if not scores.isfinite().all():
            raise Violation("row without streams", "its scores are not finite.", "Clamp counts to at least 1.")
    head = part.head("y")
    said, prior = (head.decode(s) for s in (scores, head.prior()))  # the last scores are of rows without any
    if not np.allclose(target.prediction(said), target.prediction(prior), rtol=1e-3, atol=1e-4):
        raise Violation(
            "row without streams", "it is answered by something else than the prior.",
            "Leave the scores that heads give to no token as they are where no stream is there.",
        )  # fmt: skip
    if part.head("y").target != target:
        raise Violation("decodes", "head('y') answers another target.", "Return a head of the target asked for.")


def _written(part: Answer, target: Target, *each: Mapping[str, Tokens]) -> None:
    """What is written is finite, and read by the target's head; rows without any stream are answered alike."""
    for streams in each:
        told = part(streams).predictions["y"]
        said = target.prediction(part.head("y").decode(told))
        if len(said) != ROWS or not told.isfinite().all():
            raise Violation(
                "gives words", f"{len(said)} texts, {told}.", "Return [B, 1 + L], finite, as the head does."
            )
    if len(set(said.tolist())) > 1:
        raise Violation("row without streams", f"they are answered {said.tolist()}.", "Give the usual answer there.")


class _Watched(TokenSource):
    """Notes every cell that is asked for although it is not there."""

    def __init__(self, streams: Mapping[str, Tokens]):
        super().__init__(streams)
        self.in_vain: list[str] = []

    def tokens(self, stream: str, rows: Tensor | None = None) -> Tokens:
        if rows is not None and (rows & ~self.present(stream)).any():
            self.in_vain.append(stream)
        return super().tokens(stream, rows)


def _on_demand(subject: Subject) -> None:
    part, source = built(subject), _Watched(subject.inputs)
    with torch.no_grad():
        asked = part.respond(source, sorted(subject.inputs))
    same(
        "on demand", {"scores": asked["y"]}, subject.run(part, subject.inputs),
        "respond says something else than forward", "Let forward call respond(TokenSource(streams)).",
    )  # fmt: skip
    if source.in_vain:
        raise Violation(
            "on demand", f"it asks for {source.in_vain[0]!r} in rows that lack it.", "Ask with rows & source.present()."
        )
