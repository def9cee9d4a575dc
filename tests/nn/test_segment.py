"""Stretches and grids."""

import numpy as np
import pytest
import torch

from polymodal.nn.layers.segment import grid_places, segment_mean


@pytest.mark.parametrize(("length", "count"), [(32, 16), (37, 16), (5, 16), (1, 16), (17, 4)])
def test_means_match_numpy_and_ignore_masked_nan(length, count):
    draw = np.random.default_rng(length)
    x = draw.standard_normal((3, length, 2)).astype(np.float32)
    mask = draw.random((3, length)) < 0.6
    mask[0] = False
    x[~mask] = np.nan
    means, kept, centres = segment_mean(torch.from_numpy(x), torch.from_numpy(mask), count)
    step = -(-length // count)
    assert means.shape[1] <= count
    for row in range(3):
        for t in range(means.shape[1]):
            part = slice(t * step, (t + 1) * step)
            real = x[row, part][mask[row, part]]
            assert bool(kept[row, t]) == (len(real) > 0)
            expected = real.mean(0) if len(real) else np.zeros(2)
            assert means[row, t].numpy() == pytest.approx(expected, abs=1e-5)
    assert (centres > 0).all()
    assert (centres <= 1).all()


def test_grid_places_go_row_by_row():
    places = grid_places(2, 2, 4, torch.zeros(1))
    assert places.shape == (2, 8, 2)
    assert places[0, 1].tolist() == [0.25, 0.375]
    assert places[1, 4].tolist() == [0.75, 0.125]
