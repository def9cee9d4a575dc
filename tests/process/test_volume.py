"""Scans on one grid: millimetres count, not voxels; windows; what is cut and what is added."""

import numpy as np
import pytest

from polymodal.core.errors import BadArgument, BadCell
from polymodal.data.media.volume import Volume
from polymodal.data.storage.decode import read_cells
from polymodal.process.volume import VolumeProcessor, resampled


def ball(spacing, size=40.0, radius=10.0, at=(0, 0, 0), light=100.0):
    """A bright ball of `radius` mm in the middle of a cube of `size` mm, sampled at `spacing`."""
    axes = [(np.arange(round(size / step)) + 0.5) * step - size / 2 - off for step, off in zip(spacing, at)]
    far = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")))
    return Volume((light * (far < radius)).astype(np.float32), spacing)


def test_scans_of_other_spacing_look_the_same():
    fine, coarse = ball((1.0, 0.5, 0.5)), ball((2.5, 1.0, 1.0))
    reader = VolumeProcessor(size=20)
    reader.fit([fine, coarse])
    assert reader.facts() == {"channels": 1, "size": 20, "slices": 20, "spacing": 2.0}
    one, two = reader.process([fine, coarse])["pixels"].astype(float)
    assert one.shape == (20, 1, 20, 20)
    assert np.abs(one - two).mean() < 8
    bright = (one > 127).sum() * 2.0**3
    assert bright == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.1)  # cubic millimetres


def test_a_larger_scan_is_cut_and_a_smaller_one_is_padded():
    reader = VolumeProcessor(size=20, slices=20, spacing=2.0)
    reader.fit([ball((1.0, 1.0, 1.0))])
    plain = reader.process([ball((1.0, 1.0, 1.0))])["pixels"]
    larger = reader.process([ball((1.0, 1.0, 1.0), size=90.0)])["pixels"]
    smaller = reader.process([ball((1.0, 1.0, 1.0), size=24.0)])["pixels"]
    assert np.abs(plain.astype(int) - larger).max() <= 128  # a voxel on the ball's rim
    assert (plain > 127).sum() == pytest.approx((smaller > 127).sum(), rel=0.1)
    assert not smaller[0, 0].any()


def test_windows():
    draw = np.random.default_rng(0)
    scans = [Volume(draw.normal(100 * k, 10, (4, 8, 8)).astype(np.float32), (1.0, 1.0, 1.0)) for k in (1, 2, 3)]
    own = VolumeProcessor()
    own.fit(scans)
    assert own.state()["ends"] is None
    middles = [own.seen(scan).mean() for scan in scans]
    assert np.ptp(middles) < 40  # each by its own percentiles
    same = VolumeProcessor(window="training")
    same.fit(scans)
    middles = [same.seen(scan).mean() for scan in scans]
    assert np.ptp(middles) > 200
    hounsfield = [Volume(scan.values - 1100, scan.spacing) for scan in scans]
    told = VolumeProcessor()
    told.fit(hounsfield)
    assert told.state()["ends"] is not None
    given = VolumeProcessor(window=[200, 100])
    given.fit(scans)
    assert given.seen(scans[1]).mean() == pytest.approx(127.5, abs=3)
    by_file = VolumeProcessor(window="file")
    by_file.fit(scans)
    wide = Volume(scans[0].values, (1.0, 1.0, 1.0), (100.0, 1000.0))
    assert by_file.seen(wide).std() < by_file.seen(scans[0]).std() / 5
    negative = Volume(scans[0].values, (1.0, 1.0, 1.0), None, {}, True)
    assert np.allclose(by_file.seen(negative), 255 - by_file.seen(scans[0]))


def test_one_slice_is_a_picture():
    flat = [
        Volume(np.random.default_rng(k).random((1, 120, 100)).astype(np.float32), (1.0, 0.2, 0.2)) for k in range(3)
    ]
    reader = VolumeProcessor()
    reader.fit(flat)
    assert reader.facts()["slices"] == 1
    assert reader.facts()["size"] == 96
    assert reader.process(flat)["pixels"].shape == (3, 1, 1, 96, 96)
    middle = VolumeProcessor(slices=1, size=20, spacing=2.0)
    middle.fit([ball((1.0, 1.0, 1.0))])
    shown = middle.process([ball((1.0, 1.0, 1.0))])["pixels"][0, 0, 0]
    assert (shown > 127).sum() * 4 == pytest.approx(np.pi * 100, rel=0.15)


def test_values_that_are_no_numbers():
    values = ball((2.0, 2.0, 2.0)).values
    values[0, 0] = np.nan
    assert np.isfinite(VolumeProcessor().read(values).values).all()
    with pytest.raises(BadCell, match="no value that is a number"):
        VolumeProcessor().read(np.full((2, 3, 3), np.nan))


def test_what_was_learned_is_kept():
    reader = VolumeProcessor(window="training")
    reader.fit([ball((1.0, 1.0, 1.0))])
    other = VolumeProcessor(window="training")
    other.load_state(reader.state())
    scan = ball((2.0, 1.0, 1.0), light=60.0)
    assert np.array_equal(reader.process([scan])["pixels"], other.process([scan])["pixels"])


def test_resampling_keeps_the_mean_and_what_is_linear():
    ramp = np.arange(32, dtype=np.float32)[None, None].repeat(4, 0).repeat(4, 1)
    assert resampled(ramp, (4, 4, 8)).mean() == pytest.approx(ramp.mean())
    assert np.allclose(np.diff(resampled(ramp, (8, 4, 16))[3, 1]), 2)


@pytest.mark.parametrize(
    "options",
    [{"window": "bright"}, {"window": [100, 0]}, {"window": [1]}, {"size": 2}, {"slices": 0}, {"spacing": 0.0}],
)
def test_bad_options(options):
    with pytest.raises(BadArgument):
        VolumeProcessor(**options)


def test_a_slice_of_metres_fills_no_more_than_the_grid():
    import time

    processor = VolumeProcessor(size=16, slices=8, spacing=0.001)
    began = time.perf_counter()
    scan = Volume(np.arange(75, dtype=np.float32).reshape(3, 5, 5), (2000.0, 1.0, 1.0))
    assert processor.process([scan])["pixels"].shape == (1, 8, 1, 16, 16)
    assert time.perf_counter() - began < 5  # else 2 million slices are made of one


def test_training_scans_are_held_one_at_a_time():
    import gc
    import weakref

    held, most = weakref.WeakSet(), 0

    def scans():
        nonlocal most
        for number in range(6):
            gc.collect()
            made = ball((1.0, 1.0, 1.0), light=100.0 + number)
            held.add(made)
            most = max(most, len(held))
            yield made

    for processor in (VolumeProcessor(), VolumeProcessor(window="training")):
        processor.fit(scans())
    assert most <= 2


def test_few_scans_are_held_together_and_all_are_made():
    class Watched(VolumeProcessor):
        most = 0

        def process(self, cells):
            self.most = max(self.most, len(cells))
            return super().process(cells)

    processor = Watched(size=4, slices=2)
    scans = [np.full((2, 4, 4), float(number)) for number in range(10)]
    scans[5] = None
    scans[7] = np.zeros((2, 2, 2, 2))
    processor.fit([processor.read(np.zeros((2, 4, 4)) + np.arange(4.0))])
    arrays, present, bad = read_cells(processor, scans)
    assert arrays["pixels"].shape == (10, 2, 1, 4, 4)
    assert np.flatnonzero(~present).tolist() == [5, 7]
    assert [place for place, _ in bad] == [7]
    assert processor.most == 4
