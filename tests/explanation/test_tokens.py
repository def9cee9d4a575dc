"""Weights of tokens: exact where the answer is linear, on the planted token where it was learned, none for trees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.core.types import Tokens
from polymodal.explanation.tokens import shares, taken_out, token_weights
from polymodal.fusion.cross import Cross
from polymodal.fusion.simple import Concat
from polymodal.heads.classes import Classes
from polymodal.models.base import Joint
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import example_target

B, T, D = 5, 4, 8


def stream(pool="mean", rows=B, tokens=T, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, tokens, D, generator=draw)
    mask = torch.rand(rows, tokens, generator=draw) < 0.7
    mask[:, 0], mask[0], mask[1, 1:] = True, False, False
    real = mask[..., None].float()
    pooled = {
        "mean": (x * real).sum(1) / real.sum(1).clamp(min=1),
        "sum": (x * real).sum(1),
        "weighted": (x * real * torch.rand(rows, tokens, 1, generator=draw)).sum(1),
    }[pool]
    return Tokens(x, mask, pooled).cleared()


@pytest.mark.parametrize("pool", ["mean", "sum", "weighted"])
def test_a_linear_answer_is_shared_out_without_rest(pool):
    given, w = stream(pool), torch.randn(D)
    weights = token_weights({"a": given}, lambda s: s["a"].pooled @ w)["a"]
    assert torch.allclose(weights.sum(1), given.pooled @ w, atol=2e-3)
    assert (weights[~given.mask] == 0).all()
    assert (weights[0] == 0).all()
    if pool == "mean":
        part = (given.x @ w) / given.mask.sum(1, keepdim=True).clamp(min=1)
        assert torch.allclose(weights, torch.where(given.mask, part, 0.0), atol=2e-3)


def test_tokens_that_are_read_themselves_get_their_own_part():
    given, w = stream(), torch.randn(T, D)
    weights = token_weights({"a": given, "b": stream(seed=1)}, lambda s: (s["a"].x * w).sum((1, 2)))
    assert torch.allclose(weights["a"], (given.x * w).sum(-1), atol=1e-5)
    assert (weights["b"] == 0).all()


def test_shares_are_found_even_among_equal_tokens():
    x = torch.ones(1, 4, D)
    found = shares(Tokens(x, torch.tensor([[True, True, True, False]]), x[:, 0]))
    assert torch.allclose(found, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0]]), atol=1e-3)


@pytest.mark.parametrize("fusion", [Concat, Cross])
def test_the_planted_token_is_found(fusion):
    """One token of six says the class; the other stream is noise. The model has to learn which is which."""
    torch.manual_seed(0)
    rows, marks = 400, 8 * torch.eye(D)[:2]
    label, place = torch.randint(2, (rows,)), torch.randint(6, (rows,))
    x = torch.randn(rows, 6, D)
    x[torch.arange(rows), place] += marks[label]
    mask = torch.ones(rows, 6, dtype=torch.bool)
    noise = Tokens.from_vector(torch.randn(rows, D))
    streams = {"telling": Tokens(x, mask, x.mean(1)), "noise": noise}
    joined = fusion({"telling": D, "noise": D}, 16)
    answer = Joint(joined, {"y": Classes(joined.dim, ClassesTarget("y", ("a", "b"), frequencies=(0.5, 0.5)))})
    optimizer = torch.optim.AdamW(answer.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(answer.losses(answer(streams), {"y": label}).values())).sum().backward()
        optimizer.step()
    answer.eval()
    weights = token_weights(streams, lambda s: example_target("classes").decided(answer(s).predictions["y"]))
    assert (weights["telling"].argmax(1) == place).float().mean() > 0.9
    right = answer(streams).predictions["y"].argmax(1) == label
    assert (weights["telling"][torch.arange(rows), place][right] > 0).float().mean() > 0.95


def test_an_answer_without_gradient_says_nothing():
    assert token_weights({"a": stream()}, lambda s: s["a"].pooled.detach().sign().sum(1)) == {}


def test_the_models_own_gradients_are_left_alone():
    layer = nn.Linear(D, 1)
    token_weights({"a": stream()}, lambda s: layer(s["a"].pooled)[:, 0])
    assert layer.weight.grad is None


def test_a_sure_answer_still_has_a_gradient():
    scores = torch.tensor([[80.0, 0.0, -3.0], [0.1, 0.3, 0.2]], requires_grad=True)
    example_target("classes").decided(scores).sum().backward()
    assert torch.allclose(scores.grad[0], torch.tensor([1.0, -0.9526, -0.0474]), atol=1e-4)
    assert example_target("multilabel").decided(torch.tensor([[3.0, -2.0]])).item() == 3.0
    assert example_target("number").decided(torch.tensor([[1.5]])).item() == 1.5


def test_what_changed_is_judged_by_the_answer_given_first():
    first, changed = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert example_target("classes").decided(changed, of=first).item() == -2.0
    assert example_target("multilabel").decided(changed, of=first).item() == 0.0


@pytest.mark.parametrize("pool", ["mean", "sum", "weighted"])
def test_a_token_taken_out_is_gone_from_the_sequence_and_the_pooled_vector(pool):
    given = stream(pool)
    for row in range(1, B):
        own = given.select(slice(row, row + 1))
        real = own.mask[0].nonzero()[:, 0].tolist()
        out = taken_out(own)
        assert len(out) == len(real)
        for copy, token in enumerate(real):
            assert out.mask[copy].nonzero()[:, 0].tolist() == [t for t in real if t != token]
            assert (out.x[copy, token] == 0).all()
            if pool == "sum":
                left = own.x[0, out.mask[copy]].sum(0)
                assert torch.allclose(out.pooled[copy], left, atol=2e-3)
    assert len(taken_out(given.select(slice(0, 1)))) == 0


def test_behind_a_layer_norm_gradients_add_up_to_nothing_and_taking_out_does_not():
    """Why written words are explained by taking parts away: their decoders normalise what they look at."""
    given, w = stream(), torch.randn(D)
    norm = nn.LayerNorm(D, elementwise_affine=False, eps=1e-9)

    def score(s):
        return ((norm(s["a"].x) @ w) * s["a"].mask).sum(1)

    assert token_weights({"a": given}, score)["a"].abs().max() < 1e-3
    own = given.select(slice(2, 3))
    lost = score({"a": own}) - score({"a": taken_out(own)})
    assert torch.allclose(lost.sum(), score({"a": own})[0], atol=1e-4)
    assert lost.abs().max() > 0.1
