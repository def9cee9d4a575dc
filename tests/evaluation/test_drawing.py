"""Drawn pictures as a set, and the energy score of each."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from polymodal.core.errors import BadData
from polymodal.evaluation.drawing import Drawing, frechet_distance, nearest, precision_recall
from polymodal.metrics import METRICS
from polymodal.metrics.base import labelled
from polymodal.metrics.pictures import Energy, features


def cloud(count: int = 200, width: int = 3, seed: int = 0, move: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)) * np.arange(1, width + 1) + move


def pictures(count: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def test_frechet_is_the_textbook_formula():
    a, b = cloud(), cloud(seed=1, move=0.5)
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert frechet_distance(a, b, least=2) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a, least=2) == pytest.approx(0, abs=1e-9)
    flat = np.column_stack([a, np.zeros(len(a))])  # whose covariance has no inverse
    assert frechet_distance(flat, np.column_stack([b, np.zeros(len(b))]), least=2) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_few_pictures_is_refused():
    with pytest.raises(
        BadData, match="of 200 pictures by 3 features says little but how few they are: give at least 1,000"
    ):
        frechet_distance(cloud(), cloud())
    with pytest.raises(BadData, match="give at least 31"):
        frechet_distance(cloud(30, 30), cloud(30, 30), least=2)


def test_precision_and_recall_tell_what_is_wrong():
    real = np.concatenate([cloud(100), cloud(100, seed=1, move=50)])
    assert precision_recall(real, real) == (1, 1)
    half = np.concatenate([cloud(100, seed=2), cloud(100, seed=3)])  # one of the two heaps alone
    precision, recall = precision_recall(real, half)
    assert precision > 0.8
    assert 0.35 < recall < 0.55
    spread = cloud(200, seed=4) * 30
    precision, recall = precision_recall(real, spread)
    assert precision < 0.3
    assert precision_recall(real, cloud(200, move=1000)) == (0, 0)
    with pytest.raises(BadData, match="need more than 3 pictures"):
        precision_recall(real, real[:3])


def test_distances_to_the_nearest():
    a, b = cloud(30), cloud(1500, seed=1)
    expected = np.sqrt(((a[:, None] - b) ** 2).sum(2)).min(1)
    np.testing.assert_allclose(nearest(a, b)[0], expected, atol=1e-9)


def test_a_drawing_tells_copies_and_collapse():
    train, real = cloud(400), cloud(100, seed=1)
    honest = Drawing.of(cloud(100, seed=2), real, train)
    assert 0.7 < honest.nearest < 1.4
    assert honest.distinct > 0.7
    assert honest.recall > 0.6
    assert "copies" not in " ".join(honest.sentences())
    assert "100 pictures are too few" in " ".join(honest.sentences())
    assert not {"frechet", "floor"} & set(honest.to_json())
    copies = Drawing.of(train[:100] + 1e-3, real, train)
    assert copies.nearest < 0.1
    assert "copies of training pictures" in copies.sentences()[-1]
    one = Drawing.of(cloud(100, seed=3) * 1e-3, real, train)
    assert one.distinct < 0.2
    assert one.recall < 0.3
    assert "a collapse" in " ".join(one.sentences())
    assert "a collapse" not in " ".join(honest.sentences())
    assert Drawing.of(cloud(20), real, train) is None
    many = Drawing.of(cloud(1200, seed=2), cloud(1200, seed=1), cloud(1500))
    assert many.frechet == pytest.approx(many.floor, abs=0.2)
    assert "its floor" in " ".join(many.sentences())


def test_energy_is_least_for_what_the_truth_is_drawn_from():
    truth = pictures(300)
    score = METRICS.build("energy")
    drawn = pictures(600, seed=1).reshape(300, 2, 8, 8, 1)  # of the same kind, and of no row in particular
    blurred = np.broadcast_to(truth.mean(0).astype(np.uint8), (300, 1, 8, 8, 1))
    again = np.repeat(drawn[:1, :1], 300, 0)  # one picture for all rows
    values = [score(truth, x) for x in (drawn, blurred, again)]
    assert values[0] < 0.7 * min(values[1:])
    assert score(truth, truth[:, None]) == 0
    assert score(truth, np.repeat(truth[:, None], 3, 1)) == 0


def test_energy_is_its_formula():
    truth, drawn = pictures(5, channels=3), pictures(15, 1, channels=3).reshape(5, 3, 8, 8, 3)
    y, x = features(truth), [features(drawn[:, i]) for i in range(3)]
    near = np.mean([np.linalg.norm(a - y, axis=1) for a in x], 0)
    apart = np.mean([np.linalg.norm(x[i] - x[j], axis=1) for i, j in ((0, 1), (0, 2), (1, 2))], 0)
    np.testing.assert_allclose(Energy().view(truth, drawn), near - apart / 2, atol=1e-9)


def test_features_tell_blur_and_take_any_side():
    sharp = (np.indices((8, 8)).sum(0) // 2 % 2 * 255).astype(np.uint8)[None, ..., None]
    edges = slice(0, 64)
    assert features(sharp)[0, edges].sum() > 3 * features(sharp // 8 + 100)[0, edges].sum()
    assert features(np.zeros((2, 4, 5, 3), np.uint8)).shape[0] == 2
    assert features(np.zeros((0, 4, 4, 1), np.uint8)).shape[0] == 0
    assert np.array_equal(features(sharp), features(sharp.astype(np.float32)))


def test_rows_without_a_picture_do_not_count_and_shapes_are_checked():
    truth, drawn = pictures(4).astype(np.float32), pictures(4, 1)[:, None]
    truth[2] = np.nan
    assert labelled(truth).tolist() == [True, True, False, True]
    score = METRICS.build("energy")
    assert score(truth, drawn) == pytest.approx(score(truth[[0, 1, 3]], drawn[[0, 1, 3]]))
    with pytest.raises(BadData, match="drawings are \\[rows, several"):
        score(truth, drawn[:, 0])
