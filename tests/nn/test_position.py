"""Sinusoids and Fourier features."""

import math

import numpy as np
import pytest
import torch

from polymodal.nn.layers.position import index_features, place_features, sinusoids


def test_defaults_are_the_transformers():
    found = index_features(7, 8).numpy()
    place = np.arange(7)[:, None]
    angle = place / 10_000 ** (np.arange(4) / 3)
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], 1), atol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 65])
def test_any_width(dim: int):
    assert sinusoids(torch.rand(2, 3), dim).shape == (2, 3, dim)
    assert place_features(torch.rand(2, 3, 2), dim).shape == (2, 3, dim)


def test_coordinates_do_not_mix():
    where = torch.rand(1, 4, 2)
    moved = where + torch.tensor([0.0, 0.3])
    a, b = place_features(where, 16), place_features(moved, 16)
    assert torch.equal(a[..., :8], b[..., :8])
    assert not torch.equal(a[..., 8:], b[..., 8:])


@pytest.mark.parametrize("step", [0.25, 1.0, 30.0], ids=["share of a picture", "second", "characters"])
def test_places_of_any_unit_are_told_apart(step: float):
    x = place_features((torch.arange(16) * step)[None, :, None], 64)[0]
    distance = torch.cdist(x, x) + torch.eye(16) * 9
    assert distance.min() > 0.2


def test_dot_products_depend_on_the_distance_only():
    x = sinusoids(torch.arange(50.0), 32, shortest=2.0, longest=100.0).double()
    gram = x @ x.T
    for shift in (1, 5):
        band = gram.diagonal(shift)
        assert float(band.max() - band.min()) < 1e-4
    assert math.isclose(float(gram[0, 0]), 16.0, rel_tol=1e-6)
