"""Clouds at a fixed number of points: the same whatever their order, in metres or not, turned, with what is known."""

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.data.media.calibration import Calibrated
from polymodal.data.media.remarks import remarks
from polymodal.process.points import PointsProcessor


def clouds(count=6, seed=0, width=4):
    draw = np.random.default_rng(seed)
    return [draw.normal(2, 3, (40 + 30 * row, width)).astype(np.float32) for row in range(count)]


def made(processor, cells):
    decoded = [processor.read(cell) for cell in cells]
    processor.fit(decoded)
    return processor.process(decoded)


@pytest.mark.parametrize("options", [{}, {"count": 32}, {"voxel": 1.0}, {"normalize": "unit", "count": 50}])
def test_order_of_points_and_of_rows_changes_nothing(options):
    cells, draw = clouds(), np.random.default_rng(1)
    processor = PointsProcessor(**options)
    first = made(processor, cells)
    other = processor.process([processor.read(cell[draw.permutation(len(cell))]) for cell in reversed(cells)])
    for name, values in first.items():
        assert np.array_equal(values, other[name][::-1]), name


def test_arrays():
    processor = PointsProcessor()
    arrays = made(processor, clouds())
    assert processor.facts() == {"points": 190, "features": ["intensity"]}
    assert arrays["points"].shape == (6, 190, 4)
    assert arrays["length"].tolist() == arrays["total"].tolist() == [40, 70, 100, 130, 160, 190]
    assert not arrays["points"][0, 40:].any()
    assert np.array_equal(np.sort(arrays["points"][0, :40, 0]), np.sort(clouds()[0][:, 0]))  # metres
    light = np.concatenate([row[:n, 3] for row, n in zip(arrays["points"], arrays["length"])])
    assert abs(light.mean()) < 0.2
    assert light.std() == pytest.approx(1, abs=0.2)
    assert made(PointsProcessor(), [np.zeros((5000, 3))])["points"].shape == (1, 1024, 3)


def test_middle_and_size():
    cells = clouds(width=3)
    centred, unit = (made(PointsProcessor(normalize=how), cells) for how in ("centre", "unit"))
    for arrays in (centred, unit):
        row, kept = arrays["points"][3], arrays["length"][3]
        assert np.abs(row[:kept].mean(0)).max() < 1e-5
        back = row[:kept] * arrays["frame"][3, 3] + arrays["frame"][3, :3]
        assert np.allclose(np.sort(back[:, 0]), np.sort(cells[3][:, 0]), atol=1e-4)
    assert np.linalg.norm(unit["points"][3], axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize(("up", "place"), [("z", [1, 2, 3]), ("y", [3, 1, 2]), ("-y", [3, -1, -2])])
def test_which_axis_points_upwards(up, place):
    assert PointsProcessor(up=up).read(np.array([[1.0, 2, 3]])).places.tolist() == [place]


def test_what_is_far_is_left_out():
    cell = np.array([[1.0, 0, 0], [0, 30, 0], [0, 0, 4]])
    cloud = PointsProcessor(within=5).read(cell)
    assert (len(cloud), cloud.total) == (2, 2)
    with pytest.raises(BadCell, match="no point within 0.5 m"):
        PointsProcessor(within=0.5).read(cell)


def test_features_that_only_some_clouds_have():
    radar = np.zeros(20, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("velocity", "f4"), ("rcs", "f4")])
    radar["velocity"] = np.arange(20)
    processor = PointsProcessor()
    arrays = made(processor, [radar, radar, np.ones((5, 3))])
    assert processor.facts()["features"] == ["velocity", "rcs"]
    assert not arrays["points"][2, :, 3:].any()
    assert made(PointsProcessor(features=["rcs"]), [radar])["points"].shape[2] == 4
    with pytest.raises(BadArgument, match="Did you mean 'velocity'"):
        made(PointsProcessor(features=["velocty"]), [radar])
    other = PointsProcessor()
    other.load_state(processor.state())
    assert np.array_equal(other.process([other.read(radar)])["points"], arrays["points"][:1])


def test_a_camera_beside_the_sensor():
    projection = (50.0, 0, 40, 0, 0, 50, 30, 0, 0, 0, 1, 0)
    picture = np.full((60, 80, 3), (200, 100, 0), np.uint8)
    cell = Calibrated(np.array([[0.5, 0, 5.0], [0, 1, 9]]), projection, picture)
    cloud = PointsProcessor(up="-y").read(cell)
    assert cloud.features.tolist() == [[200, 100, 0]] * 2
    shown = PointsProcessor(up="-y").show(cloud)
    assert shown["picture"].shape == (60, 80, 3)
    assert np.isfinite(shown["pixels"]).all()
    assert PointsProcessor(paint=False).read(cell).names == ()
    with remarks() as said:
        without = PointsProcessor().read(cell._replace(camera=b"no picture"))
    assert without.picture is None
    assert "lacks its camera's picture" in said[0]
    assert PointsProcessor().read(cell._replace(projection=None)).picture is None


def test_noise_grows_with_its_level():
    processor = PointsProcessor()
    inputs = {name: torch.from_numpy(values) for name, values in made(processor, clouds()).items()}
    off = []
    for level in (0.1, 1.0):
        noisy = processor.corrupt(inputs, level, torch.Generator().manual_seed(0))["points"]
        assert not noisy[0, 40:].any()
        off.append(float((noisy - inputs["points"]).abs().mean()))
    assert off[1] == pytest.approx(10 * off[0], rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"normalize": "sphere"}, {"up": "x"}, {"count": 0}, {"within": -1.0}, {"voxel": 0}, {"columns": ["x", "y"]}],
)
def test_bad_options(options):
    with pytest.raises(BadArgument):
        PointsProcessor(**options)
