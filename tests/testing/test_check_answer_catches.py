"""check_answer names what is broken."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from polymodal.core.types import Output
from polymodal.models.base import Answer, Joint
from polymodal.testing import NotConformant, check_answer


class Plain(Answer):
    """A joint answer by concatenation, with whatever fault a test adds."""

    def __init__(self, widths, targets, parts, *, depth: int = 1):
        super().__init__()
        self.depth = depth
        fusion = parts.fusion("concat", {name: widths[name] for name in sorted(widths)})
        self.answer = Joint(fusion, {t.name: parts.head(fusion.dim, t) for t in targets})

    def forward(self, streams):
        return self.answer(streams)

    def losses(self, output, targets):
        return self.answer.losses(output, targets)

    def head(self, target):
        return self.answer.head(target)


class AsksInVain(Plain):
    def respond(self, source, streams):
        everywhere = torch.ones(len(source), dtype=torch.bool)
        return dict(self({n: source.tokens(n, everywhere) for n in streams}).predictions)


class SaysOtherwise(Plain):
    def respond(self, source, streams):
        return {name: scores + 1 for name, scores in super().respond(source, streams).items()}


class ReadsMasked(Plain):
    def forward(self, streams: Mapping) -> Output:
        output = self.answer(streams)
        peek = sum(t.pooled.sum(1, keepdim=True) for t in streams.values())
        return Output(streams, None, {name: scores + 0 * peek for name, scores in output.predictions.items()})


class SeesTheBatch(Plain):
    def forward(self, streams):
        output = self.answer(streams)
        return Output(streams, None, {n: s - s.mean(0) for n, s in output.predictions.items()})


class LosesItsOption(Plain):
    def __init__(self, widths, targets, parts, *, depth: int = 1):
        super().__init__(widths, targets, parts)
        self.depth = 7


class LosesItsWeights(Plain):
    def finalize(self, train, valid, seed):
        self.shift = torch.rand(1)

    def forward(self, streams):
        output = self.answer(streams)
        shift = getattr(self, "shift", torch.zeros(1))
        return Output(streams, None, {n: s + shift for n, s in output.predictions.items()})


class GuessesWithoutStreams(Plain):
    def forward(self, streams):
        output = self.answer(streams)
        there = torch.stack([t.present for t in streams.values()]).any(0)[:, None]
        return Output(streams, None, {n: torch.where(there, s, 0 * s) for n, s in output.predictions.items()})


def test_a_sound_answer_passes():
    check_answer(Plain)
    check_answer({"name": Plain, "depth": 2}, kinds=("number",))


@pytest.mark.parametrize(
    ("part", "law"),
    [
        (AsksInVain, "on demand: it asks for 'left' in rows that lack it"),
        (SaysOtherwise, "on demand: respond says something else"),
        (ReadsMasked, "ignores masked values"),
        (SeesTheBatch, "row independent of its batch"),
        (LosesItsOption, "options stored"),
        (GuessesWithoutStreams, "row without streams: it is answered by something else"),
        (LosesItsWeights, "save and load"),
    ],
)
def test_a_broken_answer_is_caught(part, law):
    with pytest.raises(NotConformant, match=law):
        check_answer(part, kinds=("classes",))
