"""What late fusion does at its limits and with absent streams; its formulas are in `tests/reference/decisions.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from polymodal.fusion import DECISIONS
from polymodal.targets.base import MEANINGS

NAMES = ("audio", "image", "text")
CLASSES = 4
RULES = [(name, kind) for name in DECISIONS for kind in DECISIONS.load(name).needs]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def case(kind: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [6, 3, W] and presence [6, 3]; every row has a stream."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(6, 3, 1 if kind == "number" else CLASSES, generator=draw) * 3
    present = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]]).bool()
    return scores, present


def combine(rule: torch.nn.Module, scores: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return rule({n: scores[:, k] for k, n in enumerate(NAMES)}, {n: present[:, k] for k, n in enumerate(NAMES)})


def build(spec, kind: str) -> torch.nn.Module:
    return DECISIONS.build(spec, NAMES, kind, 1 if kind == "number" else CLASSES)


@pytest.mark.parametrize("prior", ["uniform", [0.1, 0.2, 0.3, 0.4]])
def test_product_of_classes(prior):
    scores, present = case("classes")
    logs = np.log(softmax(scores.double().numpy())) * present.numpy()[..., None]
    log_prior = np.log(np.full(CLASSES, 1 / CLASSES) if prior == "uniform" else np.array(prior))
    expected = logs.sum(1) - (present.sum(1, keepdim=True).numpy() - 1) * log_prior
    expected = np.log(softmax(expected))
    found = combine(build({"name": "product", "prior": prior}, "classes"), scores, present)
    np.testing.assert_allclose(found.numpy(), expected, atol=3e-5)


def test_product_is_bayes_rule_for_independent_streams():
    """Three discrete streams, independent given the class: the product of their posteriors is the joint posterior."""
    draw = np.random.default_rng(0)
    prior = draw.dirichlet(np.ones(CLASSES))
    likelihood = draw.dirichlet(np.ones(5), size=(3, CLASSES))  # p(x_k | class)
    seen = [1, 4, 2]
    joint = prior * np.prod([likelihood[k, :, seen[k]] for k in range(3)], axis=0)
    alone = np.stack([prior * likelihood[k, :, seen[k]] for k in range(3)])
    alone = np.log(alone / alone.sum(1, keepdims=True))
    rule = build({"name": "product", "prior": prior.tolist()}, "classes")
    found = combine(rule, torch.from_numpy(alone)[None].float(), torch.ones(1, 3).bool())
    np.testing.assert_allclose(found.softmax(1)[0].numpy(), joint / joint.sum(), atol=1e-5)


@pytest.mark.parametrize("kind", MEANINGS)
def test_stacking_starts_at_the_mean_of_what_it_reads(kind: str):
    scores, present = case(kind)
    found = combine(build("stacking", kind), scores, present).detach()
    inputs = scores.double()
    if kind == "classes":
        inputs = torch.from_numpy(np.log(softmax(scores.double().numpy()))).clamp(min=-12) + np.log(CLASSES)
    inputs = inputs * present[..., None]
    expected = inputs.sum(1) / present.sum(1, keepdim=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_stacking_is_logistic_regression():
    """Trained to the end, it finds what scikit-learn finds on the same inputs."""
    draw = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 3, (400,), generator=draw)
    scores = torch.randn(400, 2, 3, generator=draw) + 1.5 * torch.nn.functional.one_hot(truth, 3)[:, None]
    rule = DECISIONS.build("stacking", ("a", "b"), "classes", 3)
    there = torch.ones(400).bool()
    optimizer = torch.optim.LBFGS(rule.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        out = rule({"a": scores[:, 0], "b": scores[:, 1]}, {"a": there, "b": there})
        loss = torch.nn.functional.cross_entropy(out, truth)
        loss.backward()
        return loss

    optimizer.step(step)
    inputs = scores.log_softmax(-1).flatten(1).numpy()
    model = LogisticRegression(C=1e6, max_iter=2000).fit(inputs, truth.numpy())
    expected = -np.log(model.predict_proba(inputs)[np.arange(400), truth.numpy()]).mean()
    assert abs(float(step().detach()) - expected) < 1e-3


@pytest.mark.parametrize(("name", "kind"), [r for r in RULES if r[0] != "tmc"])  # it reads scores as evidence
def test_one_stream_alone_keeps_its_answer(name: str, kind: str):
    scores, _ = case(kind)
    only = torch.tensor([[False, True, False]]).expand(6, 3)
    found = combine(build(name, kind), scores, only).detach()
    alone = scores[:, 1]
    if kind == "classes":
        found, alone = found.softmax(1), alone.softmax(1)
    torch.testing.assert_close(found, alone, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(("name", "kind"), RULES)
def test_no_stream_gives_the_indifferent_answer(name: str, kind: str):
    scores, _ = case(kind)
    found = combine(build(name, kind), scores, torch.zeros(6, 3).bool()).detach()
    found = found.softmax(1) - 1 / CLASSES if kind == "classes" else found
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "kind"), RULES)
def test_extreme_scores_stay_finite(name: str, kind: str):
    rule = build(name, kind)
    scores, present = case(kind)
    scores = (scores * 1e4).requires_grad_()
    out = combine(rule, scores, present)
    assert out.isfinite().all()
    out.sum().backward()
    assert scores.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in rule.parameters() if p.grad is not None)


def test_cv_grid_builds():
    for catalogue_name in ("late_weighted",):
        cls = DECISIONS.load(catalogue_name)
        for options in cls.cv_grid(NAMES):
            cls(NAMES, "classes", 3, **options)
