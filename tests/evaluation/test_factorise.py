import numpy as np
import pytest

from polymodal.evaluation.factorise import Factorised


def test_biases_alone_are_shrunken_means():
    items, values = np.array([0, 0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    one = Factorised._solved(np.full(5, -1), items, values, 0, 3.0)
    assert one.values(np.array([-1, -1, -1]), np.array([0, 1, 7])) == pytest.approx(
        [0.8 + 4 * 0.2 / (4 + 3), 0.8 - 0.8 / (1 + 3), 0.8]
    )


def test_factors_tell_who_likes_what_of_known_items_only():
    draw = np.random.default_rng(0)
    taste, kind = draw.choice([-1, 1], 40), draw.choice([-1, 1], 30)
    users, items = (a.ravel() for a in np.meshgrid(np.arange(40), np.arange(30), indexing="ij"))
    likes = (taste[users] * kind[items] > 0).astype(float)
    seen = draw.random(len(users)) < 0.5
    one = Factorised.of(users[seen], items[seen], likes[seen], factors=2)
    said = one.values(users[~seen], items[~seen])
    assert said[likes[~seen] == 1].mean() > said[likes[~seen] == 0].mean() + 0.5
    new = one.values(np.array([3, 3]), np.array([99, 30]))
    assert new[0] == new[1]
    assert Factorised._solved(users[seen], items[seen], likes[seen], 0, 3.0).users.shape == (40, 1)
