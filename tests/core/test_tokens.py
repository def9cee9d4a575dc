"""Tokens: what they know of themselves, and what a change keeps of it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import torch
from torch import nn
from torch.utils._pytree import tree_map

from polymodal.aligners.base import on_sphere
from polymodal.core.types import Batch, Output, Tokens
from polymodal.models.adapted import Adapted
from polymodal.nn.mask_streams import mask_streams

VECTOR = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([True, False, True, True])


def test_one_token_a_row_says_that_it_is_the_pooled_vector():
    tokens = Tokens.from_vector(VECTOR, PRESENT)
    assert tokens.single
    assert torch.equal(tokens.x[:, 0], tokens.pooled)
    assert not tokens.pooled[1].any()
    bare = Tokens.of_pooled(VECTOR, PRESENT[:, None])
    assert bare.x.data_ptr() == bare.pooled.data_ptr() == VECTOR.data_ptr()


def test_what_changes_both_alike_keeps_it():
    tokens = Tokens.from_vector(VECTOR, PRESENT)
    kept = (
        tokens.keep(PRESENT), tokens.cleared(), tokens.select(torch.tensor([2, 0])), tokens.select(slice(2)),
        tokens.to(torch.float64), tokens.changed(where=torch.zeros(4, 1, 1)), pickle.loads(pickle.dumps(tokens)),
        mask_streams({"a": tokens}, PRESENT[:, None])["a"],
    )  # fmt: skip
    for one in kept:
        assert one.single
        assert torch.equal(one.x[:, 0], one.pooled)
    assert kept[4].pooled.dtype == torch.float64
    assert kept[4].mask.dtype == torch.bool


def test_what_may_change_one_alone_forgets_it():
    tokens = Tokens.from_vector(VECTOR, PRESENT)
    assert not replace(tokens, x=tokens.x + 1).single
    assert not tree_map(torch.clone, tokens).single
    assert not Tokens(VECTOR[:, None], PRESENT[:, None], VECTOR).single
    assert not Tokens(torch.randn(4, 2, 3), torch.ones(4, 2).bool(), VECTOR).select(slice(2)).single


class Counted(nn.Linear):
    """A linear map that counts its calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_a_single_vector_goes_through_a_map_once():
    single = Tokens.from_vector(VECTOR, PRESENT)
    own = replace(single, x=single.x * 2)  # a token of its own beside the pooled vector
    for tokens, calls in ((single, 1), (own, 2)):
        change = Counted(3, 3)
        placed = on_sphere(tokens, change)
        assert change.calls == calls
        assert placed.single == (tokens is single)
        whole = on_sphere(replace(tokens, where=None), change)  # told nothing, it gives the same
        assert torch.allclose(placed.x, whole.x, atol=1e-6)
        assert torch.equal(placed.pooled, whole.pooled)


def test_towers_adapt_a_single_vector_once():
    towers = Adapted(nn.Identity(), {"a": 3})
    towers.adapters["a"].up = Counted(*towers.adapters["a"].up.weight.shape[::-1])
    single = Tokens.from_vector(VECTOR, PRESENT)
    once = towers.prepare({"a": single})["a"]
    assert towers.adapters["a"].up.calls == 1
    twice = towers.prepare({"a": replace(single, where=None)})["a"]
    assert towers.adapters["a"].up.calls == 3
    assert once.single
    assert not twice.single
    assert torch.equal(once.pooled, twice.pooled)


def test_batches_and_outputs_are_trees():
    tokens = Tokens.from_vector(VECTOR, PRESENT)
    output = tree_map(torch.clone, Output({"a": tokens}, None, {"y": VECTOR}))
    assert output.fused is None
    assert torch.equal(output.streams["a"].pooled, tokens.pooled)
    assert torch.equal(output.predictions["y"], VECTOR)
    batch = tree_map(lambda leaf: leaf[:2], Batch({"a": {"vector": VECTOR}}, {"y": PRESENT}))
    assert batch.inputs["a"]["vector"].shape == (2, 3)
    assert batch.targets["y"].tolist() == [True, False]
