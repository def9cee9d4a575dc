"""The mean cosine of pairs beside that of exchanged ones, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadData
from polymodal.evaluation.cosines import _Cosine, _units, cosine_score


def plain(a, b, group):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = a @ b.T
    return np.diag(cosine).mean(), cosine[group[:, None] != group[None]].mean()


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 6)) + 1
    return a, a + rng.normal(size=(40, 6)) * 1.5, np.arange(40) // 5


@pytest.mark.parametrize("grouped", [False, True])
def test_equals_the_plain_loop(pairs, grouped):
    a, b, group = pairs
    found = cosine_score(a, torch.from_numpy(b), groups=group if grouped else None)
    own, shuffled = plain(a, b, group if grouped else np.arange(40))
    assert found.pairs.mean == pytest.approx(own)
    assert found.shuffled.mean == pytest.approx(shuffled)
    assert found.difference.mean == pytest.approx(own - shuffled)
    for one in (found.pairs, found.shuffled, found.difference):
        assert one.low < one.mean < one.high
    assert found.difference.low > 0


def test_a_resample_equals_rows_repeated(pairs):
    a, b, group = pairs
    often = np.random.default_rng(1).multinomial(8, np.full(8, 1 / 8), size=5).T.astype(float)
    metric = _Cosine(_units(a, ""), _units(b, ""), group, "shuffled")
    rows = np.arange(40.0)
    for found, counts in zip(metric.weighted(rows, rows, often[group]), often[group].T.astype(int)):
        assert found == pytest.approx(plain(*(np.repeat(x, counts, axis=0) for x in (a, b, group)))[1])


def test_a_space_that_says_nothing_has_no_difference():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 8)) + 2  # all share a direction: high cosines
    found = cosine_score(a, b)
    assert found.pairs.mean > 0.7
    assert found.difference.low < 0 < found.difference.high
    covered = [cosine_score(*rng.normal(size=(2, 30, 4)), seed=seed).difference for seed in range(100)]
    assert 0.88 <= np.mean([one.low < 0 < one.high for one in covered]) <= 1


def test_bad_vectors_are_refused(pairs):
    a, b, group = pairs
    with pytest.raises(BadData, match=r"two arrays \[N, D\]; got \(40, 6\) and \(39, 6\)"):
        cosine_score(a, b[:-1])
    with pytest.raises(BadData, match=r"the first are \(6,\)"):
        cosine_score(a[0], b)
    with pytest.raises(BadData, match="Row 3 of the second vectors has no direction"):
        cosine_score(a, np.where(np.arange(40)[:, None] == 3, 0, b))
    with pytest.raises(BadData, match="Row 0 of the first vectors has no direction"):
        cosine_score(np.where(np.arange(40)[:, None] == 0, np.nan, a), b)
    with pytest.raises(BadData, match="give at least two"):
        cosine_score(a, b, groups=np.zeros(40))
    with pytest.raises(BadData, match="each of the 40 pairs; got 3"):
        cosine_score(a, b, groups=group[:3])
