"""Does a decision-level fusion keep its contract?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.registry import Spec
from polymodal.fusion import DECISIONS
from polymodal.fusion.base import DecisionFusion, Loss
from polymodal.targets.base import CLASSES, MEANINGS, MULTILABEL, NUMBER
from polymodal.testing.devices import one_device
from polymodal.testing.laws import common, not_overridden, options_felt, plain_builds
from polymodal.testing.subject import CLASSES as CLASS_COUNT
from polymodal.testing.subject import ROWS, Subject, Violation, built, judge, same

LOSSES: dict[str, Loss] = {
    CLASSES: F.cross_entropy,
    MULTILABEL: F.binary_cross_entropy_with_logits,
    NUMBER: F.mse_loss,
}

NAMES = ("left", "middle", "right")


def check_decision(spec: Spec, *, meanings: tuple[str, ...] = MEANINGS, width: int = 5) -> None:
    """Try a decision-level fusion under every meaning of scores that it is defined for. Raises `NotConformant`.

    Besides the laws of every part: scores of absent streams change nothing, nor does the order of the streams; a row
    without any stream is finite; scores keep their meaning: where all streams agree with confidence, so does the
    answer; each option given changes something, the losses included.
    """
    cls, given = DECISIONS.resolve(spec)
    names = NAMES
    for meaning in (meaning for meaning in meanings if meaning in cls.needs):  # type: ignore[attr-defined]
        scores = 1 if meaning == NUMBER else width
        subject = decision_subject(spec, names, meaning, scores)
        plain = plain_builds(DECISIONS, cls, given, names, meaning, scores)
        laws = [
            *common(subject, DECISIONS, given), partial(_combined_shape, subject, scores), partial(_absent, subject),
            partial(_answer_order, spec, meaning, subject), partial(_agreement, subject, meaning),
            partial(options_felt, subject, partial(_outcome, subject.inputs, meaning), plain),
            partial(not_overridden, cls, DecisionFusion), partial(one_device, losses_subject(subject, meaning)),
        ]  # fmt: skip
        judge(subject.label, laws)


def decision_subject(spec: Spec, names: tuple[str, ...], meaning: str, width: int) -> Subject:
    """A rule for a meaning of scores on trial with random scores of the streams `names`, [B, width] each."""
    label = f"The decision {DECISIONS.name_of(DECISIONS.resolve(spec)[0])} ({meaning})"
    build = partial(DECISIONS.build, spec, names, meaning, width)
    return Subject(label, build, _run_decision, _answers(names, width), "out")


def losses_subject(subject: Subject, meaning: str) -> Subject:
    """A rule's subject with what it is trained by as its outcome."""

    def lost(part: DecisionFusion, inputs: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {"loss": _outcome(inputs, meaning, part)}

    return replace(subject, run=lost, trained="loss")


def _run_decision(part: DecisionFusion, inputs: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {"out": part(inputs["scores"], inputs["present"])}


def _outcome(inputs: Mapping[str, Mapping[str, Tensor]], meaning: str, part: DecisionFusion) -> Tensor:
    """The answer and the losses, by which alone some options act."""
    scores, present = inputs["scores"], inputs["present"]
    first = next(iter(scores.values()))
    width, labels = first.shape[1], torch.arange(ROWS, device=first.device) % CLASS_COUNT
    truths = {MULTILABEL: F.one_hot(labels % width, width).float(), NUMBER: labels[:, None].float()}
    truth = truths.get(meaning, labels)
    losses = part.losses(scores, present, truth, dict.fromkeys(scores, LOSSES[meaning]))
    return torch.cat([part(scores, present).flatten(), torch.stack(list(losses.values()))])


def _answers(names: tuple[str, ...], width: int) -> dict[str, dict[str, Tensor]]:
    """Random scores of 8 rows; some streams are absent, and row 0 has none."""
    draw = torch.Generator().manual_seed(6)
    present = torch.rand(ROWS, len(names), generator=draw) < 0.7
    present[0], present[1:3] = False, True
    scores = torch.randn(ROWS, len(names), width, generator=draw) * 2
    return {
        "scores": {name: scores[:, k] for k, name in enumerate(names)},
        "present": {name: present[:, k] for k, name in enumerate(names)},
    }


def _combined_shape(subject: Subject, width: int) -> None:
    out = subject.run(built(subject), subject.inputs)["out"]
    if tuple(out.shape) != (ROWS, width) or not out.is_floating_point():
        raise Violation("gives scores", f"it returned {out.dtype} {tuple(out.shape)}.", f"Return floats [B, {width}].")


def _absent(subject: Subject) -> None:
    part = built(subject)
    clean = subject.run(part, subject.inputs)
    for value in (float("nan"), 1e4):
        scores = {
            name: given.masked_fill(~subject.inputs["present"][name][:, None], value)
            for name, given in subject.inputs["scores"].items()
        }
        same(
            "ignores masked values", subject.run(part, {**subject.inputs, "scores": scores}), clean,
            f"{value} as the score of an absent stream changes the result", "Read scores only where present is True.",
        )  # fmt: skip


def _answer_order(spec: Spec, meaning: str, subject: Subject) -> None:
    outs = []
    names = list(subject.inputs["scores"])
    width = next(iter(subject.inputs["scores"].values())).shape[1]
    for ordered in (names, names[::-1]):
        torch.manual_seed(0)
        part = DECISIONS.build(spec, tuple(ordered), meaning, width).eval()
        outs.append(subject.run(part, {key: {n: value[n] for n in ordered} for key, value in subject.inputs.items()}))
    same(
        "order of streams", outs[1], outs[0], "naming the same streams in another order changes the result",
        "Use self.names, which the parent class sorts, not the names that were given.",
    )  # fmt: skip


def _agreement(subject: Subject, meaning: str) -> None:
    """Streams that all say class 0 with probability 0.98 (or all the value 1.5) must not come out undecided.

    Whether all of them are there, all but one, or one alone, which must then be heard.
    """
    names = tuple(subject.inputs["scores"])
    width = next(iter(subject.inputs["scores"].values())).shape[1]
    one = torch.full((1, width), -4.0 if meaning == MULTILABEL else 0.0)
    one[:, 0] = 1.5 if meaning == NUMBER else 4.0 if meaning == MULTILABEL else 5.3
    # heads that a rule trains by losses of its own need not give log-probabilities: what they favour must win clearly
    enough = 0.6 if type(built(subject)).losses is DecisionFusion.losses else 2 / width
    for some in (names, *combinations(names, len(names) - 1), *combinations(names, 1)):
        present = {name: torch.tensor([name in some]) for name in names}
        out = built(subject)(dict.fromkeys(names, one), present)
        if meaning == CLASSES:
            kept = bool(out.softmax(1)[0, 0] > enough)
        elif meaning == MULTILABEL:
            kept = bool(((out > 0.5) == (one > 0)).all() and ((out < -0.5) == (one < 0)).all())
        else:
            kept = bool(0.3 < out[0, 0] < 3.0)
        if not kept:
            raise Violation(
                "scores keep their meaning",
                f"{len(some)} of {len(names)} streams say {one[0].tolist()}, the answer says {out[0].tolist()}.",
                "Return logits (log-probabilities are), not probabilities; divide by the streams present, not by all.",
            )  # fmt: skip
