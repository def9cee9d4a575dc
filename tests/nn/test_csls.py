"""CSLS and mutual neighbours in blocks; their formulas are compared with loops in tests/reference/closed.py."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn import csls as module
from polymodal.nn import neighbours
from polymodal.nn.csls import crowding, crowding_apart, csls, csls_nearest, mutual_nearest, nearness
from polymodal.nn.neighbours import mutual_knn, nearest


def test_blocks_change_nothing(monkeypatch):
    a, b = torch.randn(37, 5), torch.randn(23, 5)
    whole = crowding(a, b), csls_nearest(a, b), nearest(a, 4)
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(neighbours, "CHUNK", 10)
    torch.testing.assert_close(crowding(a, b), whole[0])
    assert torch.equal(csls_nearest(a, b)[0], whole[1][0])
    assert torch.equal(nearest(a, 4), whole[2])


def test_the_nearest_are_those_of_the_whole_matrix():
    a, b = torch.randn(40, 6), torch.randn(30, 6)
    best, cosine = csls_nearest(a, b, k=3)
    assert torch.equal(best, csls(a, b, k=3).argmax(1))
    torch.testing.assert_close(cosine, torch.cosine_similarity(a, b[best]))
    i, j = mutual_nearest(a, b, k=3)
    back = csls(b, a, k=3).argmax(1)
    assert torch.equal(best[i], j)
    assert torch.equal(back[j], i)
    assert len(i) == sum(int(back[best[n]] == n) for n in range(40))


def test_crowding_apart_from_a_partner():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(30, 6, generator=draw), torch.randn(20, 6, generator=draw)
    partner = torch.randint(0, 25, (30,), generator=draw)  # those from 20 on are not looked at
    whole = torch.cat([b, a[:5]])
    cosine = torch.cosine_similarity(a, whole[partner])
    found = crowding_apart(nearness(a, b, k=5), cosine, partner < 20)
    for i in range(30):
        others = [j for j in range(20) if j != partner[i]]
        torch.testing.assert_close(found[i : i + 1], crowding(a[i : i + 1], b[others], k=4))


def test_a_hub_is_pushed_down():
    """An item in the middle of everything is the nearest of many by cosine, and of few by CSLS."""
    draw = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(60, 12, generator=draw) + 0.8, dim=1)
    corpus = torch.cat([points + 1.5 * torch.randn(60, 12, generator=draw) / 12**0.5, points.mean(0, keepdim=True)])
    cosine = torch.cosine_similarity(points[:, None], corpus[None], dim=2)
    by_cosine = int((cosine.argmax(1) == 60).sum())
    assert by_cosine > 10
    assert 2 * int((csls(points, corpus).argmax(1) == 60).sum()) < by_cosine


def test_the_asked_say_how_crowded_an_item_is():
    a, b, others = torch.randn(8, 4), torch.randn(6, 4), torch.randn(30, 4)
    found = csls(a, b, k=2, asked=others) - csls(a, b, k=2)
    torch.testing.assert_close(found, (crowding(b, a, k=2) - crowding(b, others, k=2)).expand(8, 6))


def test_agreement_of_two_spaces():
    a = torch.randn(50, 6)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    assert float(mutual_knn(a, a @ turn, k=5).mean()) == 1.0
    assert float(mutual_knn(a, torch.randn(50, 6), k=5).mean()) == pytest.approx(5 / 49, abs=0.06)
    assert not (nearest(a, 5) == torch.arange(50)[:, None]).any()


def test_what_cannot_be_asked():
    a = torch.randn(5, 3)
    with pytest.raises(BadArgument, match="k=0"):
        crowding(a, a, k=0)
    with pytest.raises(BadArgument, match="point to be near to"):
        crowding(a, a[:0])
    with pytest.raises(BadArgument, match="below the number of items, 5; got 5"):
        mutual_knn(a, a, k=5)
    with pytest.raises(BadArgument, match="same items"):
        mutual_knn(a, a[:4])
    assert crowding(a[:0], a).shape == (0,)
