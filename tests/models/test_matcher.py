"""The matching model: what it is given decides, not padding, order or company; and it learns what one vector hides."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.models.matching import Matcher


def tokens(rows: int, places: int, width: int, seed: int = 0, lengths=None) -> Tokens:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, places, width, generator=draw)
    lengths = torch.full((rows,), places) if lengths is None else torch.tensor(lengths)
    return Tokens(x, torch.arange(places) < lengths[:, None], x.mean(1))


@pytest.fixture
def matcher():
    torch.manual_seed(0)
    return Matcher({"words": 5, "photo": 7}, dim=8, heads=2).eval()


def test_which_side_is_named_first_changes_nothing(matcher):
    words, photo = tokens(4, 3, 5, lengths=[1, 3, 2, 3]), tokens(4, 6, 7, 1)
    torch.testing.assert_close(matcher("words", words, "photo", photo), matcher("photo", photo, "words", words))


def test_one_by_one_is_as_in_a_batch_and_padding_is_not_read(matcher):
    words, photo = tokens(4, 3, 5, lengths=[1, 3, 2, 3]), tokens(4, 6, 7, 1, lengths=[6, 2, 5, 1])
    together = matcher("words", words, "photo", photo)
    for row in range(4):
        one = slice(row, row + 1)
        alone = matcher("words", words.select(one), "photo", photo.select(one))
        torch.testing.assert_close(alone[0], together[row])
    wide = Tokens(
        torch.cat([words.x, torch.full((4, 2, 5), torch.nan)], 1),
        torch.cat([words.mask, torch.zeros(4, 2, dtype=torch.bool)], 1),
        words.pooled,
    )
    torch.testing.assert_close(matcher("words", wide, "photo", photo), together)


def test_a_missing_side_is_finite_in_use_and_in_training(matcher):
    words, photo = tokens(3, 3, 5, lengths=[0, 3, 2]), tokens(3, 6, 7, 1, lengths=[6, 0, 5])
    odds = matcher.train()("words", words, "photo", photo)
    odds.sum().backward()
    assert odds.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in matcher.parameters())


def test_every_parameter_learns(matcher):
    matcher.train()("words", tokens(6, 3, 5), "photo", tokens(6, 4, 7, 1)).square().sum().backward()
    still = [name for name, p in matcher.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_it_stays_on_the_device_of_its_inputs(matcher):
    words, photo = (one.to("meta") for one in (tokens(2, 3, 5), tokens(2, 4, 7)))
    odds = matcher.to("meta").train()("words", words, "photo", photo)
    odds.sum().backward()
    assert odds.device.type == "meta"


def test_formula(matcher):
    """Attend, compare, aggregate, written out with loops for one pair."""
    words, photo = tokens(1, 3, 5), tokens(1, 4, 7, 1)
    sides = {name: matcher.maps[name](t.x)[0] for name, t in (("photo", photo), ("words", words))}
    told = []
    for mine, other in ((sides["photo"], sides["words"]), (sides["words"], sides["photo"])):
        key, value = matcher.attention.key_value(other).chunk(2, -1)
        rows = []
        for place in mine:
            query, heads = matcher.attention.query(place), []
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                weights = (key[:, part] @ query[part] / 4**0.5).softmax(0)
                heads.append(weights @ value[:, part])
            found = matcher.attention.out(torch.cat(heads))
            rows.append(matcher.compare(torch.cat([place, found, place * found, (place - found).abs()])))
        rows = torch.stack(rows)
        told += [rows.mean(0), rows.max(0).values]
    expected = matcher.judge(torch.cat(told)[None])[0, 0]
    torch.testing.assert_close(matcher("words", words, "photo", photo)[0], expected)


def test_it_learns_what_the_mean_of_tokens_hides():
    """Which colour is on which thing: both sides hold the same tokens' sums, and only pairs of parts tell."""
    torch.manual_seed(0)
    things = torch.randn(4, 6)
    model = Matcher({"a": 12, "b": 12}, dim=32, heads=4, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def drawn(rows: int) -> tuple[Tokens, Tokens, torch.Tensor]:
        thing = torch.stack([torch.randperm(4)[:2] for _ in range(rows)])
        colour = torch.stack([torch.randperm(4)[:2] for _ in range(rows)])
        right = torch.rand(rows) < 0.5
        other = torch.where(right[:, None], colour, colour.flip(1))
        left, two = (torch.cat([things[thing], things[c]], -1) for c in (colour, other))
        mask = torch.ones(rows, 2, dtype=torch.bool)
        return *(Tokens(x, mask, x.mean(1)) for x in (left, two)), right.float()

    for _ in range(250):
        left, right, truth = drawn(64)
        loss = F.binary_cross_entropy_with_logits(model("a", left, "b", right), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    left, right, truth = drawn(400)
    torch.testing.assert_close(left.pooled, right.pooled)
    assert ((model.eval()("a", left, "b", right) > 0).float() == truth).float().mean() > 0.9


def test_it_refuses_what_it_cannot_judge(matcher):
    words = tokens(2, 3, 5)
    with pytest.raises(BadData, match="both are of 'words'"):
        matcher("words", words, "words", words)
    with pytest.raises(BadData, match="without the stream 'wrds'. Did you mean 'words'"):
        matcher("wrds", words, "photo", tokens(2, 3, 7))
    with pytest.raises(BadArgument, match="items of two streams; got words"):
        Matcher({"words": 5})
    with pytest.raises(BadArgument, match="cannot be cut into 3 heads"):
        Matcher({"a": 5, "b": 5}, dim=8, heads=3)
