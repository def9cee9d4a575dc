"""Pairs told from near misses: what may be a negative, and the area under the curve."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation import matching
from polymodal.evaluation.matching import hard_negatives, matching_auc, matching_gain, pairs_to_judge, strangers


@pytest.fixture
def photos():
    """Twelve photos with five captions each: vectors of both, captions near their photo."""
    rng = np.random.default_rng(0)
    photo, owner = rng.normal(size=(12, 8)), np.repeat(np.arange(12), 5)
    caption = photo[owner] + 0.3 * rng.normal(size=(60, 8))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (photo, caption)]
    return *unit, np.arange(12), owner


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize("k", [1, 7])
def test_no_caption_of_the_same_photo_is_a_negative(photos, k, block, monkeypatch):
    monkeypatch.setattr(matching, "BLOCK", block)
    photo, caption, group, owner = photos
    for a, b, ours, theirs in ((photo, caption, group, owner), (caption, photo, owner, group)):
        found = hard_negatives(a, b, ours, theirs, k=k)
        assert (theirs[found] != ours[:, None]).all()
        near = np.where(strangers(ours, theirs), a @ b.T, -np.inf)
        assert found.tolist() == np.argsort(-near, axis=1)[:, :k].tolist()
    nearest = np.argmax(photo @ caption.T, axis=1)
    assert (owner[nearest] == group).all(), "without the groups, the nearest would be right answers"


def test_fewer_than_asked_for_are_padded(photos):
    photo, caption, group, owner = photos
    found = hard_negatives(photo[:2], caption[:6], group[:2], owner[:6], k=8)
    assert (found[0] >= 0).sum() == 1
    assert (found[1] >= 0).sum() == 5
    assert (hard_negatives(photo[:1], caption[:5], group[:1], owner[:5]) == -1).all()
    assert hard_negatives(photo, caption[:0], group, owner[:0]).tolist() == [[-1]] * 12


def test_pairs_to_judge_are_all_that_belong_and_the_hard_ones(photos):
    photo, caption, group, owner = photos
    pairs = pairs_to_judge(photo, caption, group, owner, k=3)
    assert pairs.belongs.sum() == 60
    assert (~pairs.belongs).sum() == 36
    assert ((group[pairs.query] == owner[pairs.item]) == pairs.belongs).all()


def test_auc_and_gain(photos):
    photo, caption, group, owner = photos
    pairs = pairs_to_judge(photo, caption, group, owner, k=5)
    cosine = np.einsum("pd,pd->p", photo[pairs.query], caption[pairs.item])
    found = matching_auc(cosine, pairs.belongs, groups=pairs.query)
    assert found.mean == pytest.approx(roc_auc_score(pairs.belongs, cosine))
    assert found.low < found.mean < found.high
    chance = np.random.default_rng(0).normal(size=len(cosine))
    gain = matching_gain(cosine, chance, pairs.belongs, groups=pairs.query)
    assert gain.difference == pytest.approx(found.mean - roc_auc_score(pairs.belongs, chance))
    assert gain.difference > 0.3
    assert gain.low > 0
    whole = matching_auc(pairs.belongs, pairs.belongs)
    assert whole.mean == 1
    assert np.isnan(matching_auc(cosine[:5], np.ones(5)).mean)


def test_what_does_not_fit_is_refused(photos):
    photo, caption, group, owner = photos
    with pytest.raises(BadData, match=r"of one space; got \(12, 8\) and \(60, 7\)"):
        hard_negatives(photo, caption[:, 1:], group, owner)
    with pytest.raises(BadData, match="12 and 60 are needed; got 12 and 59"):
        hard_negatives(photo, caption, group, owner[1:])
    with pytest.raises(BadData, match="not finite"):
        hard_negatives(photo * np.nan, caption, group, owner)
    with pytest.raises(BadArgument, match="k must be at least 1"):
        hard_negatives(photo, caption, group, owner, k=0)
    with pytest.raises(BadData, match=r"There are 3 pairs, so scores must be as many; got \(2,\)"):
        matching_auc([0.1, 0.2], [1, 0, 1])
    with pytest.raises(BadArgument, match="true or false"):
        matching_auc([0.1, 0.2], [1, 2])


def test_an_item_may_be_of_several_groups():
    """A caption that was written of two photos is a stranger to neither."""
    photos, captions = np.array([[0], [1], [2]]), np.array([[0, 1], [2, -1], [-1, -1]])
    assert strangers(photos, captions).tolist() == [[False, True, True], [False, True, True], [True, False, True]]
    one = np.ones((3, 1))
    assert hard_negatives(one, one, photos, captions, k=3).tolist() == [[1, 2, -1], [1, 2, -1], [0, 2, -1]]
    found = pairs_to_judge(one, one, photos, captions)
    right = found.belongs
    assert list(zip(found.query[right].tolist(), found.item[right].tolist())) == [(0, 0), (1, 0), (2, 1)]
    with pytest.raises(BadData, match="Every vector has a group"):
        hard_negatives(one, one, photos, np.arange(3))
