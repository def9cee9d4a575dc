"""Stray points go, dense ones are thinned, empty clouds are set aside; copies keep their distances."""

import numpy as np
from ops import applied, run

from polymodal.data.media.cell import Media
from polymodal.data.media.cloud import read_cloud

BALL = np.random.default_rng(0).normal(0, 0.1, (200, 3)) + 5


def cell(values):
    return Media("points", b"", read_cloud(np.asarray(values, np.float32)))


def test_stray_points():
    stray = np.r_[BALL, [[50.0, 0, 0]], [[5, 5, -40]]]
    rows, _ = applied("stray_points", {"x": [cell(stray), cell(BALL[:5])]}, {"x": "points"})
    first, second = (row.get("x") for row in rows)
    assert 190 <= len(first) <= 200
    assert np.abs(first.places - 5).max() < 1
    assert len(second) == 5  # too few to tell


def test_what_is_dense_is_thinned():
    rows, _ = applied({"stray_points": {"voxel": 0.2, "spreads": 9.0}}, {"x": [cell(BALL)]}, {"x": "points"})
    cubes = {tuple(one) for one in np.floor(BALL.astype(np.float32) / 0.2).astype(int).tolist()}
    assert len(next(iter(rows)).get("x")) == len(cubes)
    assert "fewer than 500" in run({"stray_points": {"least": 500}}, [cell(BALL)], "points")[1][0]


def test_a_turn_keeps_heights_and_distances():
    options = {"degrees": 90.0, "jitter": 0.0, "drop": 0.0}
    rows, _ = applied({"turn_points": options}, {"x": [cell(BALL)]}, {"x": "points"})
    source, copy = (row.get("x").places for row in rows)
    assert np.allclose(source[:, 2], copy[:, 2])
    assert np.allclose(np.linalg.norm(source, axis=1), np.linalg.norm(copy, axis=1), atol=1e-4)
    assert np.abs(source - copy).max() > 0.1


def test_a_written_cloud_is_read_again(tmp_path):
    cloud = read_cloud(np.c_[BALL, BALL[:, :1]].astype(np.float32))
    Media("points", b"", cloud).write(tmp_path / "cloud.npy")
    again = read_cloud(tmp_path / "cloud.npy")
    assert again.names == cloud.names
    assert np.array_equal(again.places, cloud.places)
    assert np.array_equal(again.features, cloud.features)
