"""The matching model: what it is given decides, not padding, order or company; and it learns what one vector hides."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.models.matching import Matcher

D = 8  # the aligner's width; tokens of an encoder stand before those of the aligner


def tokens(rows: int, places: int, width: int, seed: int = 0, lengths=None) -> Tokens:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, places, width, generator=draw)
    lengths = torch.full((rows,), places) if lengths is None else torch.tensor(lengths)
    return Tokens(x, torch.arange(places) < lengths[:, None], x.mean(1))


@pytest.fixture
def matcher():
    torch.manual_seed(0)
    return Matcher({"words": 5, "photo": 7}, D).eval()


def test_which_side_is_named_first_changes_nothing(matcher):
    words, photo = tokens(4, 3, 5 + D, lengths=[1, 3, 2, 3]), tokens(4, 6, 7 + D, 1)
    torch.testing.assert_close(matcher("words", words, "photo", photo), matcher("photo", photo, "words", words))


def test_one_by_one_is_as_in_a_batch_and_padding_is_not_read(matcher):
    words, photo = tokens(4, 3, 5 + D, lengths=[1, 3, 2, 3]), tokens(4, 6, 7 + D, 1, lengths=[6, 2, 5, 1])
    together = matcher("words", words, "photo", photo)
    for row in range(4):
        one = slice(row, row + 1)
        alone = matcher("words", words.select(one), "photo", photo.select(one))
        torch.testing.assert_close(alone[0], together[row])
    wide = Tokens(
        torch.cat([words.x, torch.full((4, 2, 5 + D), torch.nan)], 1),
        torch.cat([words.mask, torch.zeros(4, 2, dtype=torch.bool)], 1),
        words.pooled,
    )
    torch.testing.assert_close(matcher("words", wide, "photo", photo), together)


def test_a_missing_side_is_finite_in_use_and_in_training(matcher):
    words, photo = tokens(3, 3, 5 + D, lengths=[0, 3, 2]), tokens(3, 6, 7 + D, 1, lengths=[6, 0, 5])
    odds = matcher.train()("words", words, "photo", photo)
    odds.sum().backward()
    assert odds.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in matcher.parameters())


def test_every_parameter_learns(matcher):
    matcher.train()("words", tokens(6, 3, 5 + D), "photo", tokens(6, 4, 7 + D, 1)).square().sum().backward()
    still = [name for name, p in matcher.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_it_stays_on_the_device_of_its_inputs(matcher):
    words, photo = (one.to("meta") for one in (tokens(2, 3, 5 + D), tokens(2, 4, 7 + D)))
    odds = matcher.to("meta").train()("words", words, "photo", photo)
    odds.sum().backward()
    assert odds.device.type == "meta"


def test_formula(matcher):
    """Cross-attention both ways and cosines, written out with loops for one pair."""
    words, photo = tokens(1, 3, 5 + D), tokens(1, 4, 7 + D, 1)
    sides = []
    for name, one, width in (("words", words, 5), ("photo", photo, 7)):
        own, aligned = one.x[0, :, :width], one.x[0, :, width:]
        x = aligned + matcher.maps[name](own)
        sides.append(x / x.norm(dim=1, keepdim=True))
    told = []
    for mine, other in (sides, sides[::-1]):
        cosines = []
        for place in mine:
            found = (other @ place * 9.0).softmax(0) @ other
            cosines.append(place @ found / found.norm())
        told.append(torch.stack(cosines).mean())
    expected = 10.0 * (told[0] + told[1]) / 2 + matcher.bias
    torch.testing.assert_close(matcher("words", words, "photo", photo)[0], expected)


def test_at_the_start_it_is_the_aligner_token_by_token():
    """One token a side: the log-odds go up with the cosine of the aligned vectors."""
    matcher = Matcher({"words": 5, "photo": 7}, 8).eval()
    words, photo = tokens(50, 1, 5 + 8), tokens(50, 1, 7 + 8, 1)
    cosine = F.cosine_similarity(words.x[:, 0, 5:], photo.x[:, 0, 7:])
    torch.testing.assert_close(matcher("words", words, "photo", photo), 10 * cosine, atol=0.1, rtol=0)


def test_it_learns_what_the_mean_of_tokens_hides():
    """Which colour is on which thing: both sides hold the same parts, and only how they are joined tells."""
    torch.manual_seed(0)
    things, shown = torch.randn(4, 6), torch.randn(4, 6)
    model = Matcher({"a": 12, "b": 12}, 16, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def drawn(rows: int) -> tuple[Tokens, Tokens, torch.Tensor]:
        thing = torch.stack([torch.randperm(4)[:2] for _ in range(rows)])
        colour = torch.stack([torch.randperm(4)[:2] for _ in range(rows)])
        right = torch.rand(rows) < 0.5
        other = torch.where(right[:, None], colour, colour.flip(1))
        sides = torch.cat([things[thing], things[colour]], -1), torch.cat([shown[thing], shown[other]], -1)
        mask = torch.ones(rows, 2, dtype=torch.bool)
        left, two = (torch.cat([x, 0.1 * torch.ones(rows, 2, 16)], -1) for x in sides)
        return Tokens(left, mask, left.mean(1)), Tokens(two, mask, two.mean(1)), right.float()

    for _ in range(200):
        left, right, truth = drawn(64)
        loss = F.binary_cross_entropy_with_logits(model("a", left, "b", right), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    left, right, truth = drawn(400)
    assert ((model.eval()("a", left, "b", right) > 0).float() == truth).float().mean() > 0.9


def test_it_refuses_what_it_cannot_judge(matcher):
    words = tokens(2, 3, 5 + D)
    with pytest.raises(BadData, match="both are of 'words'"):
        matcher("words", words, "words", words)
    with pytest.raises(BadData, match="without the stream 'wrds'. Did you mean 'words'"):
        matcher("wrds", words, "photo", tokens(2, 3, 7 + D))
    with pytest.raises(BadArgument, match="items of two streams; got words"):
        Matcher({"words": 5}, 8)
    with pytest.raises(BadArgument, match="dropout"):
        Matcher({"a": 5, "b": 5}, 8, dropout=1.0)
