"""What a random order finds, against orders drawn at random and cases counted by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from polymodal.metrics import random_order

RELEVANT, CORPUS = np.array([1, 1, 5, 5, 3, 30, 29]), 30


def drawn(orders: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """[orders, Q] ranks of the first relevant item and average precisions in random orders."""
    rng = np.random.default_rng(0)
    first, precision = np.empty((orders, len(RELEVANT))), np.empty((orders, len(RELEVANT)))
    for n in range(orders):
        for q, r in enumerate(RELEVANT):
            places = np.sort(rng.permutation(CORPUS)[:r]) + 1
            first[n, q], precision[n, q] = places[0], np.mean(np.arange(1, r + 1) / places)
    return first, precision


def test_expectations_are_those_of_random_orders():
    first, precision = drawn()
    for k in (1, 5, 10, 30, 50):
        assert random_order.recall(RELEVANT, CORPUS, k) == pytest.approx((first <= k).mean(0), abs=0.02)
    assert random_order.average_precision(RELEVANT, CORPUS) == pytest.approx(precision.mean(0), abs=0.015)
    assert random_order.reciprocal_rank(RELEVANT, CORPUS) == pytest.approx((1 / first).mean(0), abs=0.015)
    assert random_order.median_rank(RELEVANT, CORPUS) == pytest.approx(np.median(first), abs=0.5)
    low, high = random_order.recall_spread(RELEVANT, CORPUS, 5)
    assert (low, high) == pytest.approx(np.quantile((first <= 5).mean(1), [0.025, 0.975]))


@pytest.mark.parametrize("relevant", [1, 2, 3, 4])
def test_expectations_are_exact(relevant: int):
    """All 24 orders of four items."""
    firsts, precisions = [], []
    for order in permutations(range(4)):
        places = np.sort([order.index(i) + 1 for i in range(relevant)])
        firsts.append(places[0])
        precisions.append(np.mean(np.arange(1, relevant + 1) / places))
    asked = np.array([relevant])
    for k in (1, 2, 3, 4, 9):
        assert random_order.recall(asked, 4, k)[0] == pytest.approx(np.mean(np.array(firsts) <= k))
    assert random_order.average_precision(asked, 4)[0] == pytest.approx(np.mean(precisions))
    assert random_order.reciprocal_rank(asked, 4)[0] == pytest.approx(np.mean(1 / np.array(firsts)))
    assert random_order.median_rank(asked, 4) == np.median(firsts)


def test_five_captions_a_photo_are_found_by_chance_five_times_as_often():
    five = random_order.recall(np.full(20, 5), 100, 5)
    assert five == pytest.approx(1 - (95 * 94 * 93 * 92 * 91) / (100 * 99 * 98 * 97 * 96))
    assert five[0] == pytest.approx(0.23, abs=0.002)
    assert random_order.recall(np.ones(20), 100, 5)[0] == pytest.approx(0.05)


def test_ends():
    one = np.array([1])
    assert random_order.recall(one, 1, 5) == random_order.average_precision(one, 1) == 1
    assert random_order.reciprocal_rank(one, 1) == random_order.median_rank(one, 1) == 1
    assert random_order.recall_spread(one, 1, 5) == (1, 1)
    assert random_order.recall_spread(one, 10, 5) == (0, 1)


def test_against():
    assert random_order.against(0.2, 0.3, 0.4) == "above"
    assert random_order.against(0.2, 0.1, 0.15) == "below"
    assert random_order.against(0.2, 0.1, 0.3) == random_order.against(0.2, np.nan, np.nan) == "chance"
