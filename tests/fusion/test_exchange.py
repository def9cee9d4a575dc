"""Who hears whom in the fusions by attention and in deep fusion; the formulas are in `tests/reference`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.fusion.base import Fusion
from polymodal.testing.subject import random_streams

WIDTHS = {"a": 4, "b": 5, "c": 6}
DIM = 8


def build(name: str, **options: Any) -> Fusion:
    torch.manual_seed(0)
    return FUSIONS.build({"name": name, "dropout": 0.0, **options}, WIDTHS, DIM).eval()


def streams(*, tokens: int = 3) -> dict[str, Tokens]:
    there = torch.ones(2, tokens, dtype=torch.bool)
    return {n: Tokens(torch.randn(2, tokens, w), there, torch.randn(2, w)) for n, w in WIDTHS.items()}


def joined(fusion: Fusion, given: dict[str, Tokens]) -> list[torch.Tensor]:
    """The streams' vectors just before `Join` puts them together."""
    seen: list[torch.Tensor] = []
    handle = fusion.join.register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    fusion(given)
    handle.remove()
    return seen


def heard(fusion: Fusion) -> list[list[bool]]:
    """For each stream's vector, whether the tokens of each stream change it."""
    given = streams()
    before = joined(fusion, given)
    table = []
    for name in WIDTHS:
        after = joined(fusion, {**given, name: streams()[name]})
        table.append([not torch.allclose(x, y) for x, y in zip(before, after)])
    return [list(row) for row in zip(*table)]


OWN = [[i == j for j in range(3)] for i in range(3)]
ALL = [[True] * 3] * 3


def test_bottlenecks_pass_on_a_layer_later():
    assert heard(build("mbt", layers=1)) == OWN
    assert heard(build("mbt", layers=2)) == ALL


def test_all_that_mbt_exchanges_goes_through_the_bottlenecks():
    fusion = build("mbt", layers=3)
    shared = fusion.blocks[0].attention
    assert fusion.start.shape == (4, DIM)
    torch.nn.init.zeros_(shared.out.weight)  # the first layer writes nothing into them
    torch.nn.init.zeros_(fusion.blocks[1].attention.out.weight)  # nor does the second
    assert heard(fusion) == OWN


def test_mult_hears_every_source():
    fusion = build("mult")
    assert heard(fusion) == ALL
    torch.nn.init.zeros_(fusion.crossing[0].attention.out.weight)
    assert heard(fusion) == OWN


def test_each_pair_of_mult_has_weights_of_its_own():
    fusion = build("mult")
    pair = list(zip(fusion.targets, fusion.sources)).index((1, 2))  # b hears c
    given = streams()
    before = joined(fusion, given)
    with torch.no_grad():
        fusion.crossing[0].attention.out.weight[pair] = 0.0
    after = joined(fusion, given)
    assert [not torch.allclose(x, y) for x, y in zip(before, after)] == [False, True, False]


def test_an_absent_source_is_not_heard_by_mult():
    fusion, given = build("mult"), streams()
    gone = {**given, "c": given["c"].keep(torch.zeros(2, dtype=torch.bool))}
    other = {**given, "c": streams()["c"].keep(torch.zeros(2, dtype=torch.bool))}
    torch.testing.assert_close(fusion(gone).pooled, fusion(other).pooled)
    assert not torch.allclose(fusion(gone).pooled, fusion(given).pooled)


def test_weights_of_kxk_add_up_over_the_streams_present():
    fusion = build("kxk", heads=2)
    given = random_streams(WIDTHS)
    present = torch.stack([s.present for s in given.values()], 1)
    weights = fusion.weights(given)
    assert weights.shape == (8, 2, 3, 3)
    torch.testing.assert_close(weights.sum(-1), present.any(1)[:, None, None].expand(8, 2, 3).float())
    assert not weights.masked_select(~present[:, None, None].expand_as(weights)).any()


def test_weights_of_kxk_are_those_it_uses():
    fusion, given = build("kxk", heads=1), streams()
    block = fusion.block
    tokens = fusion._tokens(given)
    value = block.attention.key_value(block.norm(tokens))[..., DIM:]
    told = block.attention.out(fusion.weights(given)[:, 0] @ value)
    torch.testing.assert_close(block.attention(block.norm(tokens)), told)


def test_perceiver_gives_as_many_tokens_whatever_comes():
    fusion = build("perceiver", latents=5)
    for tokens in (1, 3, 40):
        fused = fusion(streams(tokens=tokens))
        assert fused.x.shape == (2, 5, DIM)
        torch.testing.assert_close(fused.pooled, fused.x.mean(1))


@pytest.mark.parametrize("excite", [False, True])
def test_streams_of_deep_fusion_hear_one_another_by_excitation_alone(excite: bool):
    fusion, given = build("deep", excite=excite), streams()

    def branch(given: dict[str, Tokens]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        handle = fusion.feeds[-1].register_forward_hook(lambda *args: seen.append(args[2]))
        fusion(given)
        handle.remove()
        return seen[0][0]  # of the first stream, a

    moved = not torch.allclose(branch(given), branch({**given, "b": streams()["b"]}))
    assert moved == excite
    assert not torch.allclose(fusion(given).pooled, fusion({**given, "b": streams()["b"]}).pooled)


def test_the_centre_of_deep_fusion_listens_at_every_depth():
    fusion = build("deep", depth=3, excite=False)
    fusion(streams()).pooled.square().sum().backward()
    assert (fusion.heard.grad != 0).all()
    assert fusion.heard.shape == (4, 3)
    assert (fusion.kept.grad != 0).all()


def test_a_wide_window_is_full_attention():
    given = random_streams(WIDTHS)
    full, wide, narrow = (build("unified", attention=a, layers=3) for a in ("full", 100, 1))
    torch.testing.assert_close(wide(given).pooled, full(given).pooled)
    assert not torch.allclose(narrow(given).pooled, full(given).pooled)


def test_auto_takes_the_window_when_the_input_is_long():
    given = streams(tokens=600)
    auto, full, window, linear = (
        build("unified", attention=a, tokens=600)(given).pooled for a in ("auto", "full", "window", "linear")
    )
    torch.testing.assert_close(auto, window)
    assert not torch.allclose(window, full, atol=1e-6)
    assert not torch.allclose(linear, full, atol=1e-6)
    short = {name: tokens.select(slice(0, 1)) for name, tokens in streams(tokens=100).items()}
    torch.testing.assert_close(
        build("unified", tokens=600)(short).pooled, build("unified", tokens=600, attention="full")(short).pooled
    )
