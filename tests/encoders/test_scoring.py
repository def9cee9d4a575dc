"""Encoders whose tokens carry answers: alone, around another encoder, side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.core.registry import options_of, plain
from polymodal.core.types import Tokens
from polymodal.encoders import ENCODERS
from polymodal.encoders.beside import Beside, joined
from polymodal.encoders.scoring import Answering, Member, Said, Scored, blended
from polymodal.learners import LEARNERS

FACTS = {"width": 80}
ROWS = np.random.default_rng(1).normal(size=(60, 80)).astype(np.float32)
CLASS = (ROWS[:, 0] > 0).astype(np.int64)


def inputs(rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    vector = torch.from_numpy(ROWS[rows])
    return {"vector": vector, "present": torch.ones(len(vector), dtype=torch.bool)}


def answering(*specs) -> Answering:
    members = [
        Member(s, LEARNERS.build(s, None).fit(ROWS, CLASS, "classes"), weight, temperature)
        for s, weight, temperature in zip(specs, (0.75, 0.25), (2.0, 1.0))
    ]
    return Answering("classes", 2, members)


def settled(dim: int = 16) -> Scored:
    encoder = Scored(FACTS, dim)
    encoder.reduce(torch.from_numpy(ROWS))
    return encoder.answering({"label": answering("ridge", "kernel")})


def test_tokens_carry_the_blend_of_its_learners():
    encoder = settled()
    tokens = encoder(inputs())
    assert tokens.pooled.shape == (60, 18)
    assert encoder.dim == 18
    found = encoder.says["label"].read(tokens.pooled)
    torch.testing.assert_close(found, answering("ridge", "kernel").scores(torch.from_numpy(ROWS)), atol=1e-5, rtol=1e-4)
    mean = 0.75 * (answering("ridge").members[0].learner.scores(torch.from_numpy(ROWS)) / 2).softmax(
        1
    ) + 0.25 * answering("ridge", "kernel").members[1].learner.scores(torch.from_numpy(ROWS)).softmax(1)
    torch.testing.assert_close(found.softmax(1), mean, atol=1e-3, rtol=1e-2)


def test_many_features_become_their_principal_components():
    tokens = settled()(inputs()).pooled[:, :16].double()
    cross = (tokens - tokens.mean(0)).T @ (tokens - tokens.mean(0)) / 60
    assert (cross - cross.diag().diag()).abs().max() < 1e-4
    assert cross.diag().mean() == pytest.approx(1.0, rel=1e-3)
    few = Scored({"width": 8}, 16)
    vector = torch.randn(4, 8)
    torch.testing.assert_close(few({"vector": vector, "present": torch.ones(4, dtype=torch.bool)}).pooled, vector)


def test_its_spec_and_tensors_bring_it_back():
    one = settled()
    spec = json.loads(json.dumps(plain({"name": "scored", **options_of(one)})))
    again = ENCODERS.build(spec, FACTS, 16)
    again.load_state_dict(one.state_dict())
    assert torch.equal(again.eval()(inputs()).pooled, one(inputs()).pooled)
    assert again.says == one.says


def test_an_absent_row_says_nothing():
    given = {**inputs(slice(0, 4)), "present": torch.tensor([True, False, True, True])}
    tokens = settled()(given)
    assert tokens.present.tolist() == [True, False, True, True]
    assert torch.equal(tokens.pooled[1], torch.zeros(18))


def test_side_by_side_vectors_are_summed_and_answers_blended():
    left, right = settled(), settled(8)
    parts = [plain({"name": "scored", **options_of(one)}) for one in (left, right)]
    both = Beside(FACTS, 16, parts=parts, weights=[0.5, 0.5])
    both.each[0].load_state_dict(left.state_dict())
    assert both.dim == 18 + 18  # each was asked for tokens of width 16
    said = both.says["label"]
    assert said.pieces == ((16, 18, 0.5), (34, 36, 0.5))
    with pytest.raises(BadArgument, match="a weight each"):
        Beside(FACTS, 16, parts=parts, weights=[1.0])


def test_joined_tokens_keep_their_places_and_masks():
    a = Tokens(torch.randn(2, 3, 4), torch.tensor([[True] * 3, [False] * 3]), torch.randn(2, 4), torch.rand(2, 3, 1))
    b = Tokens.of_pooled(torch.randn(2, 5), torch.tensor([[True], [True]]))
    found = joined([a, b])
    assert found.x.shape == (2, 4, 9)
    assert found.pooled.shape == (2, 9)
    assert torch.equal(found.x[:, :3, :4], a.x)
    assert torch.equal(found.x[:, 3, 4:], b.pooled)
    assert not found.x[:, :3, 4:].any()
    assert not found.x[:, 3, :4].any()
    assert found.mask.tolist() == [[True] * 4, [False, False, False, True]]
    torch.testing.assert_close(found.where[:, 3, 0], a.where.mean(1)[:, 0])


@pytest.mark.parametrize(
    ("meaning", "scores"),
    [("classes", [[2.0, -1.0, 0.0]]), ("multilabel", [[3.0, -2.0]]), ("number", [[1.5]])],
)
def test_a_blend_of_one_says_the_same(meaning: str, scores: list[list[float]]):
    given = torch.tensor(scores)
    found = blended(meaning, [given, given], [1.0, 3.0])
    if meaning == "classes":
        given, found = given.softmax(1), found.softmax(1)
    torch.testing.assert_close(found, given, atol=1e-3, rtol=1e-3)


def test_where_it_is_said_survives_json():
    said = Said("classes", ((4, 6, 0.25), (8, 10, 0.75))).moved(10, 2.0)
    assert said.pieces == ((14, 16, 0.5), (18, 20, 1.5))
    assert Said.from_json(json.loads(json.dumps({"meaning": said.meaning, "pieces": said.pieces}))) == said
