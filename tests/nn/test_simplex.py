"""Weights on the simplex."""

import itertools

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.simplex import Simplex, simplex_grid

NAMES = ("audio", "image", "text")


def test_learned_weights_start_equal_and_are_renormalised():
    weights = Simplex(NAMES, "learned")
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    expected = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5], [0, 0, 0]])
    torch.testing.assert_close(weights(present), expected)


@pytest.mark.parametrize("alpha", [[0.2, 0.3, 0.5], {"text": 0.5, "image": 0.3, "audio": 0.2}])
def test_fixed_weights(alpha):
    weights = Simplex(NAMES, alpha)
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    torch.testing.assert_close(weights(present), torch.tensor([[0.2, 0.3, 0.5], [2 / 7, 0, 5 / 7], [0, 0, 0]]))
    assert not list(weights.parameters())


def test_one_number_is_the_seed_formula():
    torch.testing.assert_close(Simplex(("a", "b"), 0.3)(torch.ones(1, 2).bool()), torch.tensor([[0.3, 0.7]]))


def test_streams_without_weight_count_equally_when_alone():
    weights = Simplex(NAMES, [1.0, 0.0, 0.0])
    assert weights(torch.tensor([[False, True, True]])).tolist() == [[0.0, 0.5, 0.5]]


@pytest.mark.parametrize("streams", [1, 2, 3, 4, 5, 8])
def test_grid_is_on_the_simplex_without_repeats(streams: int):
    grid = simplex_grid(streams)
    assert all(abs(sum(point) - 1) < 1e-9 and min(point) >= 0 for point in grid)
    assert len({tuple(round(p, 6) for p in point) for point in grid}) == len(grid)
    corners = [[float(i == k) for i in range(streams)] for k in range(streams)]
    assert all(corner in grid for corner in corners)
    assert [1 / streams] * streams in grid
    assert len(grid) <= 40


def test_grid_of_two_is_every_tenth():
    assert sorted(point[0] for point in simplex_grid(2)) == pytest.approx([i / 10 for i in range(11)])


def test_grid_of_three_is_the_whole_lattice():
    lattice = {p for p in itertools.product(range(5), repeat=3) if sum(p) == 4}
    assert {tuple(round(4 * w) for w in point) for point in simplex_grid(3)[:-1]} == lattice


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        ("learnt", "Did you mean 'learned'"),
        ("cv", "settled by cross-validation"),
        (0.4, "one number is for two streams, not 3"),
        ([0.5, 0.5], "2 weights for 3 streams"),
        ([0.5, 0.6, 0.1], "add up to 1"),
        ([-0.5, 1.0, 0.5], "at least 0"),
        ({"audio": 1.0, "imag": 0.0, "text": 0.0}, "Did you mean 'image'"),
        ({"audio": 1.0}, r"lacks the streams \['image', 'text'\]"),
    ],
)
def test_errors(alpha, message: str):
    with pytest.raises(BadArgument, match=message):
        Simplex(NAMES, alpha)
