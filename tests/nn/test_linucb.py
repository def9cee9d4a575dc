"""LinUCB against its formula, and its regret where the best arm changes."""

from __future__ import annotations

import numpy as np
import torch

from polymodal.nn.linucb import LinUCB


def test_bounds_are_those_of_ridge_regression_arm_by_arm():
    draw = np.random.default_rng(0)
    x, arms, rewards = draw.normal(size=(60, 3)), draw.integers(0, 2, 60), draw.normal(size=60)
    model = LinUCB(2, 3, alpha=0.7, ridge=0.5)
    model.update(torch.from_numpy(x), torch.from_numpy(arms), torch.from_numpy(rewards))
    asked = draw.normal(size=(5, 3))
    mean, off = model.bounds(torch.from_numpy(asked))
    for arm in range(2):
        mine = arms == arm
        a = 0.5 * np.eye(3) + x[mine].T @ x[mine]
        theta = np.linalg.solve(a, x[mine].T @ rewards[mine])
        np.testing.assert_allclose(mean[:, arm], asked @ theta, atol=1e-12)
        np.testing.assert_allclose(off[:, arm], np.sqrt(np.einsum("bi,ij,bj->b", asked, np.linalg.inv(a), asked)))
    assert torch.equal(model.choose(torch.from_numpy(asked)), (mean + 0.7 * off).argmax(1))


def test_a_start_from_known_rewards_is_the_same_as_learning_them():
    x, rewards = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    start, learned = LinUCB(2, 3), LinUCB(2, 3)
    start.learn_all(x, rewards, 0.5)
    for arm in range(2):
        learned.update(x, torch.full((20,), arm), rewards[:, arm], weight=0.5)
    torch.testing.assert_close(start.gram, learned.gram)
    torch.testing.assert_close(start.moment, learned.moment)


def regret(discount: float, seed: int, rounds: int = 3000) -> tuple[float, float]:
    """Of LinUCB and of the best fixed arm, a round, against the best arm of each context; the arms swap half way."""
    draw = np.random.default_rng(seed)
    model = LinUCB(3, 3, alpha=0.3, discount=discount)
    theta = np.array([[0.2, 0.6, 0.0], [0.2, 0.0, 0.6], [0.45, 0.0, 0.0]])
    lost, fixed = 0.0, np.zeros(3)
    for t in range(rounds):
        if t == rounds // 2:
            theta = theta[[1, 0, 2]]
        x = np.array([1.0, *draw.uniform(0, 1, 2)])
        expected = theta @ x
        context = torch.from_numpy(x)[None]
        arm = model.choose(context)
        model.update(context, arm, torch.tensor([float(draw.random() < expected[int(arm)])]))
        lost += expected.max() - expected[int(arm)]
        fixed += expected.max() - expected
    return lost / rounds, fixed.min() / rounds


def test_it_follows_a_change_of_the_best_arm():
    found = [[regret(discount, seed) for seed in range(3)] for discount in (0.995, 1.0)]
    forgetting, never = (float(np.mean([lost for lost, _ in each])) for each in found)
    fixed = float(np.mean([best for _, best in found[0]]))
    assert forgetting < 0.7 * fixed
    assert forgetting < never


def test_the_same_feedback_leaves_the_same_state():
    states = []
    for _ in range(2):
        model = LinUCB(2, 3, discount=0.9)
        x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
        model.update(x, model.choose(x), x[:, 0])
        states.append(model.gram)
    assert torch.equal(*states)
