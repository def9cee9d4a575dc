"""Cells with a part hidden: every part once, nothing else changed, and where each lies."""

import numpy as np

from polymodal.data.media.cloud import Cloud
from polymodal.data.media.sound import Sound
from polymodal.data.media.volume import Volume
from polymodal.explanation.hiding import (
    BLOCKS,
    SIDE,
    STRETCHES,
    WORDS,
    of_cloud,
    of_picture,
    of_scan,
    of_series,
    of_sound,
    of_text,
)


def test_each_cell_of_a_picture_is_hidden_once():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    colour = picture.reshape(-1, 3).mean(0).round()
    parts, where = of_picture(picture)
    assert len(parts) == len(where) == SIDE * SIDE
    changed = np.stack([(part != picture).any(2) for part in parts])
    assert changed.sum(0).max() == 1, "no pixel belongs to two cells"
    assert all((part[some] == colour).all() for part, some in zip(parts, changed))
    for some, (row, column) in zip(changed, where):
        assert abs(np.argwhere(some).mean(0) / (20, 30) + 0.5 / np.array([20, 30]) - (row, column)).max() < 0.05


def test_pictures_smaller_than_the_grid_have_a_cell_a_pixel():
    parts, where = of_picture(np.zeros((2, 3, 1), np.uint8))
    assert len(parts) == 6
    np.testing.assert_allclose(where[0], [0.25, 1 / 6])


def test_each_block_of_a_scan_is_hidden_once():
    scan = Volume(np.random.default_rng(0).normal(50, 9, (3, 9, 10)).astype(np.float32), (2.0, 1.0, 1.0))
    parts, where = of_scan(scan)
    assert len(parts) == len(where) == 3 * BLOCKS[1] * BLOCKS[2]
    changed = np.stack([part.values != scan.values for part in parts])
    assert changed.sum(0).max() == 1, "no voxel belongs to two blocks"
    assert changed.any(0).sum() >= scan.values.size - 1, "all but the lowest are hidden once"
    assert all((part.values[some] == scan.values.min()).all() for part, some in zip(parts, changed))
    for some, place in zip(changed, where):
        assert np.abs((np.argwhere(some).mean(0) + 0.5) / scan.values.shape - place).max() < 0.1


def test_stretches_of_sound_are_silenced():
    sound = Sound(np.ones(160, np.float32), 100)
    parts, where = of_sound(sound)
    assert len(parts) == STRETCHES
    assert sum(part.samples == 0 for part in parts).tolist() == [1] * 160
    assert where[0, 0] == 0.05
    assert (sound.samples == 1).all()


def test_stretches_of_series_are_not_measured():
    series = np.ones((5, 2), np.float32)
    parts, where = of_series(series)
    assert [np.isnan(part).all(1).nonzero()[0].tolist() for part in parts] == [[0], [1], [2], [3], [4]]
    assert where[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_words_are_taken_out():
    parts, where = of_text("a red hat")
    assert parts == [" red hat", "a  hat", "a red "]
    assert where.tolist() == [[0, 1], [2, 5], [6, 9]]
    assert of_text("好吃。")[0] == ["吃。", "好。", "好吃"]
    assert of_text("hat")[0] == []
    many, where = of_text("word " * 500)
    assert len(many) == WORDS
    assert (where[1:, 0] > where[:-1, 1]).all()


def test_each_point_of_a_cloud_is_hidden_once():
    draw = np.random.default_rng(0)
    cloud = Cloud(draw.normal(size=(300, 3)).astype(np.float32), draw.random((300, 1), np.float32), ("i",), 300)
    parts, where = of_cloud(cloud)
    assert len(parts) == len(where)
    assert 8 < len(parts) <= np.prod(BLOCKS)
    assert sum(300 - len(part) for part in parts) == 300
    kept = {tuple(place) for place in parts[0].places.tolist()}
    gone = np.array([place for place in cloud.places.tolist() if tuple(place) not in kept])
    assert np.allclose(gone.mean(0), where[0], atol=1e-5)
    assert of_cloud(cloud.keep(np.array([0])))[0] == []
