"""Planted bad parts: each breaks one law, and the check must name it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polymodal.core.errors import BadCell
from polymodal.core.types import Tokens, presence
from polymodal.encoders.base import Encoder
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.fusion.simple import Concat
from polymodal.heads.classes import Classes
from polymodal.process.base import Processor
from polymodal.process.vector import VectorProcessor
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import (
    NotConformant,
    check_decision,
    check_encoder,
    check_fusion,
    check_head,
    check_processor,
    example_cells,
    example_inputs,
)

TARGET = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.2, 0.3, 0.5))


# --- fusions ----------------------------------------------------------------------------------------------------------


class Good(Fusion):
    """The fusion that the bad ones below spoil."""

    reads_tokens = True

    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float = 1.0):
        super().__init__(widths, dim)
        self.scale = scale
        self.maps = nn.ModuleList(nn.Linear(w, dim) for w in self.widths.values())

    def vector(self, tokens: Tokens) -> Tensor:
        count = tokens.mask.sum(1, keepdim=True).clamp(min=1)
        return self.scale * (tokens.x.sum(1) / count)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        mapped = [m(self.vector(t)) for m, t in zip(self.maps, streams.values())]
        return Tokens.from_vector(torch.stack(mapped, 1).sum(1), present.any(1))


class IgnoresPadding(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        return tokens.x.mean(1)


class ReadsMaskedPlaces(Good):
    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        return self.fuse({name: streams[name] for name in self.names})


class MixesRows(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        return super().vector(tokens) - tokens.x.mean((0, 1))


class UsesStreamOrder(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float = 1.0):
        super().__init__(widths, dim, scale=scale)
        self.first = next(iter(widths))

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return replace(fused, pooled=fused.pooled * (1 + streams[self.first].present[:, None].float()))


class DeadParameter(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float = 1.0):
        super().__init__(widths, dim, scale=scale)
        self.unused = nn.Parameter(torch.ones(3))


class DetachesAStream(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        return super().vector(tokens)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return replace(fused, x=fused.x.detach(), pooled=fused.pooled.detach())


class DividesByNothing(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        return tokens.x.sum(1) / tokens.mask.sum(1, keepdim=True)


class NaNGradient(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        length = self.maps[0].weight.new_zeros(()) * self.maps[0].weight.sum()
        return super().vector(tokens) + torch.where(length > 0, length.sqrt(), 0.0)


class ForgetsTheMask(Good):
    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return Tokens(fused.x, torch.ones_like(fused.mask), fused.pooled)


class WrongWidth(Good):
    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return Tokens(fused.x, fused.mask, fused.pooled[:, 1:])


class ReturnsATensor(Good):
    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        return super().fuse(streams).pooled


class DropsItsOption(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float = 1.0, power: float = 1.0):
        super().__init__(widths, dim, scale=scale)


class ChangesItsOption(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float | None = None):
        super().__init__(widths, dim, scale=scale or 2.0)


class TakesAnything(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, **options: float):
        super().__init__(widths, dim, **options)


class DrawsElsewhere(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        return super().vector(tokens) * (1 + random.random() * self.training)


class KeepsStateOutside(Good):
    def __init__(self, widths: Mapping[str, int], dim: int, *, scale: float = 1.0):
        super().__init__(widths, dim, scale=scale)
        self.hidden = torch.randn(dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return replace(fused, pooled=fused.pooled + self.hidden).cleared()


class WritesIntoItsInput(Good):
    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        for tokens in streams.values():
            tokens.x.mul_(1.01)
        return super().forward(streams)


class Float32Only(Good):
    def vector(self, tokens: Tokens) -> Tensor:
        size = self.maps[0](self.maps[0].weight).detach().numpy()  # NumPy knows no bfloat16
        return super().vector(tokens) / float(np.abs(size).max())


class DeniesThatItReadsTokens(Good):
    reads_tokens = False


class ClaimsToReadTokens(Concat):
    reads_tokens = True


class CannotLearn(Good):
    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        fused = super().fuse(streams)
        return replace(fused, pooled=fused.pooled * 1e-6)


def test_the_good_one_passes():
    check_fusion(Good)
    check_fusion({"name": Good, "scale": 2.0})


@pytest.mark.parametrize(
    ("bad", "law"),
    [
        (IgnoresPadding, "ignores padding"),
        (ReadsMaskedPlaces, "ignores masked values"),
        (ReadsMaskedPlaces, "forward is final"),
        (MixesRows, "row independent of its batch"),
        (UsesStreamOrder, "order of streams"),
        (DeadParameter, "every parameter receives gradient"),
        (DetachesAStream, "every parameter receives gradient"),
        (DividesByNothing, "finite"),
        (NaNGradient, "finite gradient"),
        (ForgetsTheMask, "row without streams"),
        (WrongWidth, "gives Tokens"),
        (ReturnsATensor, "it raised AttributeError"),
        (DropsItsOption, "options stored"),
        (ChangesItsOption, "options stored"),
        (TakesAnything, "options stored"),
        (DrawsElsewhere, "same seed, same result"),
        (KeepsStateOutside, "save and load"),
        (WritesIntoItsInput, "inputs untouched"),
        (Float32Only, "bfloat16"),
        (DeniesThatItReadsTokens, "reads_tokens"),
        (ClaimsToReadTokens, "reads_tokens"),
        (CannotLearn, "learns eight rows"),
    ],
)
def test_bad_fusions_are_caught(bad: type, law: str):
    with pytest.raises(NotConformant, match=law) as caught:
        check_fusion(bad)
    assert all(
        str(v).rstrip().endswith((".", "]", "!", "?")) for v in caught.value.violations
    )  # found, and how to mend


# --- decisions --------------------------------------------------------------------------------------------------------


class Sum(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.sum(1)


class Probabilities(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.softmax(-1).mean(1) if self.meaning == "classes" else scores.mean(1)


class MeanOverAll(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.sum(1) / scores.shape[1] / 4


class FirstNamed(DecisionFusion):
    def __init__(self, names, kind: str, width: int):
        super().__init__(names, kind, width)
        self.first = self.names.index(names[0])

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.sum(1) + scores[:, self.first]


class OverPresent(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.sum(1) / present.sum(1, keepdim=True)


class Votes(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.argmax(-1)


class MeanOfBatch(DecisionFusion):
    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return scores.sum(1) - scores.mean((0, 1))


@pytest.mark.parametrize(
    ("bad", "law"),
    [
        (Probabilities, "scores keep their meaning"),
        (MeanOverAll, "scores keep their meaning"),
        (FirstNamed, "order of streams"),
        (OverPresent, "finite"),
        (Votes, "gives scores"),
        (MeanOfBatch, "row independent of its batch"),
    ],
)
def test_bad_decisions_are_caught(bad: type, law: str):
    with pytest.raises(NotConformant, match=law):
        check_decision(bad)


def test_a_good_decision_passes():
    check_decision(Sum, meanings=("classes", "multilabel"))


# --- encoders ---------------------------------------------------------------------------------------------------------


class Plain(Encoder):
    processor = "vector"

    def __init__(self, facts, dim: int):
        super().__init__(facts, dim)
        self.map = nn.Sequential(nn.Linear(facts["width"], 32), nn.ReLU(), nn.Linear(32, dim))

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return Tokens.from_vector(self.map(inputs["vector"]))


class CentresByTheBatch(Plain):
    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return Tokens.from_vector(self.map(inputs["vector"] - inputs["vector"].mean(0)))


class UntrainedTokens(Plain):
    def __init__(self, facts, dim: int):
        super().__init__(facts, dim)
        self.other = nn.Linear(facts["width"], dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        tokens = super().encode(inputs)
        return replace(tokens, x=self.other(inputs["vector"])[:, None])


class MasksEverything(Plain):
    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        tokens = super().encode(inputs)
        return replace(tokens, mask=torch.zeros_like(tokens.mask))


@pytest.mark.parametrize(
    ("bad", "law"),
    [
        (CentresByTheBatch, "row independent of its batch"),
        (CentresByTheBatch, "ignores masked values"),
        (UntrainedTokens, "every parameter receives gradient"),
        (MasksEverything, "gives Tokens"),
    ],
)
def test_bad_encoders_are_caught(bad: type, law: str):
    with pytest.raises(NotConformant, match=law):
        check_encoder(bad, *example_inputs("vector"))


def test_a_good_encoder_passes():
    check_encoder(Plain, *example_inputs("vector"))


# --- heads ------------------------------------------------------------------------------------------------------------


class CountsUnlabelled(Classes):
    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.cross_entropy(scores.float(), truth.clamp(min=0))


class DecodesLogits(Classes):
    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        return {**super().decode(scores), "probability": scores.detach().numpy()}


class ScoresFewer(Classes):
    def score(self, tokens: Tokens) -> Tensor:
        return super().score(tokens)[:, 1:]


@pytest.mark.parametrize(
    ("bad", "law"),
    [
        (CountsUnlabelled, "unlabelled rows do not count"),
        (DecodesLogits, "decodes"),
        (ScoresFewer, "gives scores"),
    ],
)
def test_bad_heads_are_caught(bad: type, law: str):
    with pytest.raises(NotConformant, match=law):
        check_head(bad, TARGET)


# --- processors -------------------------------------------------------------------------------------------------------


class PadsToTheBatch(Processor):
    kind = "text"

    def read(self, cell: str) -> str:
        return cell

    def process(self, cells) -> dict[str, np.ndarray]:
        longest = max(map(len, cells))
        return {"codes": np.stack([np.pad([ord(c) for c in cell], (0, longest - len(cell))) for cell in cells])}

    def facts(self) -> dict:
        return {}


class ForgetsItsState(VectorProcessor):
    def state(self) -> dict:
        return {name: value for name, value in super().state().items() if name == "width"}

    def load_state(self, state: dict) -> None:
        super().fit([np.zeros(state["width"], np.float32), np.ones(state["width"], np.float32)])


class FitsByChance(VectorProcessor):
    def fit(self, cells) -> None:
        super().fit(random.sample(list(cells), 4))


class CannotBeLoud(VectorProcessor):
    def corrupt(self, inputs, level: float, generator: torch.Generator):
        return inputs


class ChangesWhenClean(VectorProcessor):
    def corrupt(self, inputs, level: float, generator: torch.Generator):
        return super().corrupt(inputs, max(level, 0.1), generator)


class SwallowsAnything(VectorProcessor):
    def read(self, cell) -> np.ndarray:
        return np.zeros(12, np.float32) if isinstance(cell, str) else super().read(cell)


class RefusesWithoutReason(VectorProcessor):
    def read(self, cell) -> np.ndarray:
        if isinstance(cell, str):
            raise BadCell("")
        return super().read(cell)


class ShowsNothing(VectorProcessor):
    def show(self, cell) -> dict:
        return {}


@pytest.mark.parametrize(
    ("bad", "law"),
    [
        (PadsToTheBatch, "cell independent of the others"),
        (ForgetsItsState, "save and load"),
        (FitsByChance, "fit is repeatable"),
        (CannotBeLoud, "level 1 changes nothing"),
        (ChangesWhenClean, "level 0 changes the input"),
        (SwallowsAnything, "broken cells: 'nonsense' was read"),
        (RefusesWithoutReason, "refused without a reason"),
        (ShowsNothing, "can be shown"),
    ],
)
def test_bad_processors_are_caught(bad: type[Processor], law: str):
    with pytest.raises(NotConformant, match=law):
        check_processor(bad, example_cells(bad.kind), broken=["nonsense"] if bad.kind == "vector" else [])


def test_the_report_says_which_law_and_how_to_mend_it():
    with pytest.raises(NotConformant) as caught:
        check_fusion(ForgetsTheMask)
    report = str(caught.value)
    assert "ForgetsTheMask breaks 1 law:" in report
    assert "row without streams: its mask is not all False. Pass on who is present: presence(streams).any(1)." in report
