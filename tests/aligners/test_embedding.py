"""Graph embeddings: their laws, and link prediction against a plain count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodal.aligners import EMBEDDINGS
from polymodal.aligners.embedding import link_prediction, train_embedding
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.registry import options
from polymodal.testing import check_embedding

OTHER: dict[str, dict[str, Any]] = {
    "transe": {"width": 24, "margin": 2.0, "norm": 1},
    "rotate": {"width": 12, "margin": 4.0, "sharpness": 0.5},
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_laws(name: str):
    check_embedding(name)
    check_embedding({"name": name, **OTHER[name]})


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OTHER for option in OTHER[name]])
def test_every_option_changes_the_training(name: str, option: str):
    assert set(OTHER[name]) == set(options(EMBEDDINGS.load(name)))
    found = []
    for spec in ({"name": name}, {"name": name, option: OTHER[name][option]}):
        torch.manual_seed(0)
        found.append(train_embedding(EMBEDDINGS.build(spec, 9, 2), _chain(), epochs=3)[-1])
    assert found[0] != found[1]


def _chain() -> torch.Tensor:
    start = torch.arange(8)
    return torch.stack([start, start % 2, start + 1], 1)


def _filtered(model: Any, triples: np.ndarray, known: np.ndarray) -> list[int]:
    """Ranks one by one: every other entity that is at least as near and makes no known triple stands before."""
    there = {tuple(t) for t in known.tolist()}
    ranks = []
    for side in (0, 2):
        for triple in triples.tolist():
            others = [[e if s == side else v for s, v in enumerate(triple)] for e in range(model.entities)]
            with torch.no_grad():
                distance = model.distance(*torch.tensor(others).T).tolist()
            mine = distance[triple[side]]
            before = [
                e for e, d in enumerate(distance) if d <= mine and e != triple[side] and tuple(others[e]) not in there
            ]
            ranks.append(1 + len(before))
    return ranks


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_link_prediction_against_a_plain_count(name: str):
    draw = np.random.default_rng(0)
    known = np.unique(draw.integers([0, 0, 0], [15, 3, 15], size=(60, 3)), axis=0)
    model = EMBEDDINGS.build(name, 15, 3)
    found = link_prediction(model, torch.from_numpy(known[::3]), torch.from_numpy(known))
    ranks = np.array(_filtered(model, known[::3], known))
    assert found["mrr"] == pytest.approx((1 / ranks).mean())
    assert found["hits@3"] == pytest.approx((ranks <= 3).mean())
    assert set(found) == {"mrr", "hits@1", "hits@3", "hits@10"}


def test_ties_count_against_us():
    model = EMBEDDINGS.build("transe", 5, 1)
    with torch.no_grad():
        model.entity.zero_()
    one = torch.tensor([[0, 0, 1]])
    assert link_prediction(model, one, one)["mrr"] == pytest.approx(1 / 5)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_siblings_end_up_nearer_than_strangers(name: str):
    """Twelve leaves under three parents: what the aligner `knowledge` builds on."""
    triples = torch.tensor([[leaf, 0, 12 + leaf // 4] for leaf in range(12)])
    torch.manual_seed(0)
    model = EMBEDDINGS.build(name, 15, 1)
    train_embedding(model, triples)
    vectors = model.vectors()[:12]
    near = vectors @ vectors.T
    same = torch.arange(12)[:, None] // 4 == torch.arange(12) // 4
    assert near[same & ~torch.eye(12, dtype=torch.bool)].mean() > near[~same].mean() + 0.3


def test_the_same_seed_trains_the_same_and_leaves_the_global_generator_alone():
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        model = EMBEDDINGS.build("rotate", 9, 2)
        train_embedding(model, _chain(), epochs=3, seed=5)
        found.append((model.vectors(), torch.rand(1)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_bad_input():
    with pytest.raises(BadArgument, match="norm must be 1 or 2; got 3"):
        EMBEDDINGS.build({"name": "transe", "norm": 3}, 4, 1)
    with pytest.raises(BadData, match=r"Triples are an array \[N, 3\]"):
        train_embedding(EMBEDDINGS.build("transe", 4, 1), torch.zeros(0, 3, dtype=torch.int64))
