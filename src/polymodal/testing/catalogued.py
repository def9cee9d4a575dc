"""Every registered part that is built from scratch, ready to be tried: what sweeps over all families need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from polymodal.aligners import ALIGNERS, EMBEDDINGS
from polymodal.core.registry import Catalogue
from polymodal.encoders import ENCODERS
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.heads import HEADS
from polymodal.learners import LEARNERS
from polymodal.models import ANSWERS
from polymodal.models.specs import resolved, serves
from polymodal.targets import TARGETS
from polymodal.targets.base import MEANINGS, NUMBER
from polymodal.testing.aligner import aligner_subject, example_widths, learning_subject
from polymodal.testing.answer import answer_subjects
from polymodal.testing.decision import NAMES, decision_subject, losses_subject
from polymodal.testing.embedding import embedding_subjects
from polymodal.testing.encoder import encoder_subject
from polymodal.testing.examples import example_inputs
from polymodal.testing.fusion import WIDTHS, fusion_subject
from polymodal.testing.head import example_truth, head_subject, loss_subject
from polymodal.testing.subject import ROWS, Subject
from polymodal.testing.target import example_target

DIM, CLASSES = 16, 5
QUICK = {"adversarial": {"restarts": 1, "epochs": 1, "rounds": 5}}  # options of what takes long to fit


def example_subjects(family: str, name: str) -> list[Subject]:
    """A catalogued part of a family with inputs, once for every kind of target that it serves."""
    return list(SUBJECTS[family](name))


def part_names() -> list[tuple[str, str]]:
    """(family, name) of every part that `example_subjects` builds: those that need no extra."""
    return [(family, name) for family, parts in PARTS.items() for name in parts if not parts.entry(name).extra]


def _encoders(name: str) -> Iterator[Subject]:
    yield encoder_subject(name, *example_inputs(ENCODERS.load(name).processor), DIM)  # type: ignore[attr-defined]


def _fusions(name: str) -> Iterator[Subject]:
    yield fusion_subject(name, WIDTHS, DIM)


def _decisions(name: str) -> Iterator[Subject]:
    for meaning in DECISIONS.load(name).needs:  # type: ignore[attr-defined]
        subject = decision_subject(name, NAMES, meaning, 1 if meaning == NUMBER else CLASSES)
        yield subject
        yield losses_subject(subject, meaning)


def _answers(name: str) -> Iterator[Subject]:
    for kind in (*MEANINGS, "text"):
        if serves(resolved(name).needs, [example_target(kind)]):
            yield from answer_subjects(name, kind)


def _heads(name: str) -> Iterator[Subject]:
    for kind in TARGETS:
        if issubclass(TARGETS.load(kind), HEADS.load(name).answers):  # type: ignore[attr-defined]
            target = example_target(kind)
            truth = example_truth(target)
            subject = head_subject(name, target, DIM, truth)
            yield subject
            yield loss_subject(subject, truth)


def _aligners(name: str) -> Iterator[Subject]:
    cls = ALIGNERS.load(name)
    widths = example_widths(cls)
    used = aligner_subject({"name": name, **QUICK.get(name, {})}, widths, DIM)
    yield used
    if cls.learns == "gradient":  # type: ignore[attr-defined]
        yield learning_subject(used, widths)


def _embeddings(name: str) -> Iterator[Subject]:
    yield from embedding_subjects(name)


def _learners(name: str) -> Iterator[Subject]:
    features = torch.randn(64, 5, generator=torch.Generator().manual_seed(2))

    def fitted() -> nn.Module:
        return LEARNERS.build(name, None).fit(features.numpy(), features[:, 0].numpy(), "number")

    def scores(part: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        return {"scores": part.scores(rows)}  # type: ignore[operator]

    yield Subject(f"The learner {name}", fitted, scores, features[:ROWS], "scores")


PARTS: dict[str, Catalogue] = {
    "encoder": ENCODERS, "fusion": FUSIONS, "decision": DECISIONS, "answer": ANSWERS, "head": HEADS, "align": ALIGNERS,
    "embedding": EMBEDDINGS, "learner": LEARNERS,
}  # fmt: skip
SUBJECTS: dict[str, Callable[[str], Iterator[Subject]]] = {
    "encoder": _encoders, "fusion": _fusions, "decision": _decisions, "answer": _answers, "head": _heads,
    "align": _aligners, "embedding": _embeddings, "learner": _learners,
}  # fmt: skip
