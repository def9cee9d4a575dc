"""The fusion on one clock: which streams have times, rows without any, and what is refused."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS

WIDTHS = {"photo": 3, "sound": 2, "words": 4}


def streams(rows: int = 2) -> dict[str, Tokens]:
    def some(width: int, tokens: int, where: torch.Tensor | None) -> Tokens:
        x = torch.randn(rows, tokens, width)
        return Tokens(x, torch.ones(rows, tokens, dtype=torch.bool), x.mean(1), where)

    moments = torch.arange(5.0)[None, :, None].expand(rows, -1, -1)
    spans = torch.tensor([[0.0, 1.0], [2.0, 4.0]]).expand(rows, -1, -1)
    return {"photo": some(3, 4, torch.rand(rows, 4, 2)), "sound": some(2, 5, moments), "words": some(4, 2, spans)}


def test_a_row_without_timed_streams_has_one_moment():
    given = streams()
    given["sound"] = given["sound"].keep(torch.tensor([True, False]))
    fused = FUSIONS.build({"name": "temporal", "ticks": 6}, WIDTHS, 8)(given)
    assert fused.mask.sum(1).tolist() == [6, 1]
    assert fused.where is not None
    assert fused.pooled.isfinite().all()


def test_subtitles_are_timed_when_named():
    fusion = FUSIONS.build({"name": "temporal", "timed": ["sound", "words"], "clock": "words"}, WIDTHS, 8)
    fused = fusion(streams())
    assert fused.where[0, :, 0].tolist() == [0.5, 3.0]


def test_it_nests_any_fusion_and_writes_itself_back():
    spec = {"name": "temporal", "fusion": {"name": "lowrank", "rank": 2}, "ticks": 3}
    fusion = FUSIONS.build(spec, WIDTHS, 8)
    assert FUSIONS.spec(fusion) == spec
    assert fusion(streams()).x.shape == (2, 3, 8)


def test_what_is_refused():
    with pytest.raises(UnknownName, match="temporal names no stream 'sond'. Did you mean 'sound'"):
        FUSIONS.build({"name": "temporal", "clock": "sond"}, WIDTHS, 8)
    with pytest.raises(BadArgument, match="Unknown word 'cubic' in temporal"):
        FUSIONS.build({"name": "temporal", "way": "cubic"}, WIDTHS, 8)
    with pytest.raises(BadArgument, match="The clock 'photo' is no stream with times. Timed here: "):
        FUSIONS.build({"name": "temporal", "clock": "photo"}, WIDTHS, 8)(streams())
    bare = {**streams(), "photo": Tokens.from_vector(torch.zeros(2, 3))}
    with pytest.raises(BadData, match="was told that 'photo' has times, but its encoder gives none"):
        FUSIONS.build({"name": "temporal", "timed": ["photo"]}, WIDTHS, 8)(bare)
    apart = FUSIONS.build({"name": "temporal", "lags": {"sound": 99.0}, "outside": "refuse",
                           "timed": ["sound", "words"]}, WIDTHS, 8)  # fmt: skip
    with pytest.raises(BadData, match="asked for .* of a stream that runs from"):
        apart(streams())
