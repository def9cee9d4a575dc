"""Objectives against independent formulas in NumPy and SciPy, float64: coefficients, losses, weights, gradients."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import log_expit, logsumexp

from polymodal.core.types import Tokens
from polymodal.models.build import Heads, build_answer
from polymodal.models.strategy import Strategy
from polymodal.objectives import OBJECTIVES, agm, gblend, mmpareto, ogm, pmr
from polymodal.objectives.base import Setting, Step
from polymodal.objectives.contribution import confidence, scores_with, shapley
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import example_target

CLASSES = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.2, 0.3, 0.5))
WIDTHS = {"audio": 3, "image": 5, "text": 4}
ROWS = 12


def world(widths=WIDTHS, target=CLASSES, fusion="concat"):
    """A small fusion with towers in float64, a batch, and its step."""
    torch.manual_seed(0)
    answer = build_answer(Strategy("fusion", fusion, tuple(widths), adapters=True), widths, [target], 8, Heads())
    answer = answer.double()
    for parameter in answer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    present = torch.rand(ROWS, len(widths)) < 0.8
    present[:3] = True
    streams = {
        name: Tokens.from_vector(torch.randn(ROWS, w, dtype=torch.float64), present[:, k])
        for k, (name, w) in enumerate(widths.items())
    }
    truth = torch.randint(0, 3, (ROWS,))
    truth[5] = -1
    return answer, streams, {"y": truth}


def step_of(answer, streams, targets, progress=0.0) -> Step:
    prepared = answer.prepare(streams)
    output = answer.join(prepared)
    losses = answer.losses(output, targets)
    return Step(answer, prepared, output, targets, losses, answer.towers(), progress)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - logsumexp(x, axis=1, keepdims=True)


# --- contributions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["concat", "gated", "attention", "cross"])
def test_a_stream_alone_is_the_model_with_all_others_missing(fusion: str):
    answer, streams, targets = world(fusion=fusion)
    nobody = torch.zeros(ROWS, dtype=torch.bool)
    answer.eval()
    step = step_of(answer, streams, targets)
    answer.train()
    (found,) = scores_with(step, [["image"]])
    assert answer.training
    answer.eval()
    alone = {n: t if n == "image" else t.keep(nobody) for n, t in streams.items()}
    torch.testing.assert_close(found["y"], answer(alone).predictions["y"])


@pytest.mark.parametrize("kind", ["classes", "multilabel", "number"])
def test_row_losses(kind: str):
    rng = np.random.default_rng(0)
    target = example_target(kind)
    scores = rng.normal(size=(6, 1 if kind == "number" else 3))
    if kind == "classes":
        truth = np.array([0, 1, 2, -1, 1, 0])
        expected = -log_softmax(scores)[np.arange(6), truth]
        expected[3] = np.nan
    elif kind == "multilabel":
        truth = rng.integers(0, 2, (6, 3)).astype(float)
        expected = -(truth * log_expit(scores) + (1 - truth) * log_expit(-scores)).mean(1)
        truth[3] = expected[3] = np.nan
    else:
        truth = rng.normal(size=6)
        truth[3] = np.nan
        expected = 0.5 * (scores[:, 0] - truth) ** 2
    found = target.row_losses(torch.from_numpy(scores), torch.from_numpy(truth))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_shapley_is_the_mean_over_all_orders():
    rng = np.random.default_rng(1)
    names = ("a", "b", "c", "d")
    value = {}
    for j in range(1, 16):
        value[frozenset(n for k, n in enumerate(names) if j >> k & 1)] = torch.from_numpy(rng.normal(size=(2, 3)))
    found = shapley(value, names)
    nothing = torch.zeros(2, 3, dtype=torch.float64)
    for name in names:
        gains = []
        for order in permutations(names):
            before = frozenset(order[: order.index(name)])
            gains.append(value[before | {name}] - value.get(before, nothing))
        torch.testing.assert_close(found[name], torch.stack(gains).mean(0))
    torch.testing.assert_close(sum(found.values()), value[frozenset(names)])


# --- OGM-GE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.1, 0.8])
@pytest.mark.parametrize("sure", [(0.8, 0.2), (0.3, 0.3), (0.1, 0.9)])
def test_ogm_coefficients_of_two_streams_are_the_papers(sure: tuple[float, float], alpha: float):
    found = ogm.coefficients(dict(zip("av", sure)), alpha)
    ratio = {"a": sure[0] / sure[1], "v": sure[1] / sure[0]}
    for name in "av":
        assert found[name] == pytest.approx(1 - np.tanh(alpha * ratio[name]) if ratio[name] > 1 else 1.0)


def test_ogm_multiplies_each_towers_gradient_by_its_coefficient():
    answer, streams, targets = world()
    objective = OBJECTIVES.build(
        {"name": "ogm", "alpha": 0.5, "noise": False, "on": "gradient"}, Setting(WIDTHS, (CLASSES,), Heads().build)
    )
    step = step_of(answer, streams, targets)
    sum(step.losses.values()).backward()
    before = {n: p.grad.clone() for n, p in answer.named_parameters() if p.grad is not None}
    # From the scores of the model in eval mode, in NumPy.
    sure = {}
    for name in WIDTHS:
        (scores,) = scores_with(step, [[name]])
        rows = step.streams[name].present.numpy() & (targets["y"].numpy() >= 0)
        p = np.exp(log_softmax(scores["y"].numpy()))
        sure[name] = p[rows, targets["y"].numpy()[rows]].mean()
    assert confidence(step, [CLASSES], list(WIDTHS)) == pytest.approx(sure, abs=1e-6)
    objective.act(step)
    slowed = 0
    for name in WIDTHS:
        ratio = sure[name] / np.mean([v for n, v in sure.items() if n != name])
        k = 1 - np.tanh(0.5 * ratio) if ratio > 1 else 1.0
        slowed += ratio > 1
        for key in [n for n in before if f"adapters.of_{name}." in n]:
            torch.testing.assert_close(dict(answer.named_parameters())[key].grad, before[key] * k, rtol=1e-6, atol=1e-9)
    assert 0 < slowed < len(WIDTHS)


def test_ogm_noise_has_the_spread_of_the_gradient():
    answer, streams, targets = world({"a": 40, "b": 40})
    objective = OBJECTIVES.build(
        {"name": "ogm", "on": "gradient"}, Setting({"a": 40, "b": 40}, (CLASSES,), Heads().build)
    )
    step = step_of(answer, streams, targets)
    sum(step.losses.values()).backward()
    matrix = answer.adapters["a"].down.weight
    before = matrix.grad.clone()
    factor = ogm.coefficients(confidence(step, [CLASSES], ["a", "b"]), 0.3)["a"]
    objective.act(step)
    noise = matrix.grad - before * factor
    assert float(noise.std()) == pytest.approx(float(before.std()), rel=0.1)
    assert abs(float(noise.mean())) < 4 * float(before.std()) / noise.numel() ** 0.5


# --- AGM --------------------------------------------------------------------------------------------------------------


def test_agm_coefficients_of_two_streams_are_the_authors():
    losses, running, alpha = {"a": 0.4, "v": 1.1}, {"a": 0.9, "v": 1.0}, 0.7
    found = agm.coefficients(losses, running, alpha)
    for one, other in (("a", "v"), ("v", "a")):
        ratio, usual = np.exp(losses[other] - losses[one]), np.exp(running[other] - running[one])
        assert found[one] == pytest.approx(np.exp(alpha * min(usual - ratio, 10)))
    assert found["a"] < 1 < found["v"]  # a runs further ahead than it used to


def test_agm_acts_by_running_means_of_shapley_losses():
    two = {"a": 4, "v": 3}
    answer, streams, targets = world(two)
    objective = OBJECTIVES.build({"name": "agm", "on": "gradient"}, Setting(two, (CLASSES,), Heads().build))
    truth = targets["y"].numpy()
    history = []
    for number in range(3):
        with torch.no_grad():
            for parameter in answer.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        answer.zero_grad()
        step = step_of(answer, streams, targets)
        sum(step.losses.values()).backward()
        before = {n: [p.grad.clone() for p in step.towers[n]] for n in two}
        a, v, both = (s["y"].numpy() for s in scores_with(step, [["a"], ["v"], ["a", "v"]]))
        losses = {}
        for name, own, other in (("a", a, v), ("v", v, a)):
            rows = step.streams[name].present.numpy() & (truth >= 0)
            losses[name] = -log_softmax(0.5 * (both - other + own))[rows, truth[rows]].mean()
        objective.act(step)
        factors = {"a": 1.0, "v": 1.0}
        if history:
            usual = {n: np.mean([h[n] for h in history]) for n in two}
            factors = {
                n: np.exp(min(np.exp(usual[o] - usual[n]) - np.exp(losses[o] - losses[n]), 10))
                for n, o in (("a", "v"), ("v", "a"))
            }
        history.append(losses)
        for name in two:
            for parameter, old in zip(step.towers[name], before[name]):
                torch.testing.assert_close(parameter.grad, old * factors[name], rtol=1e-5, atol=1e-9)
        assert (factors["a"] != 1.0) == (number > 0)


# --- PMR --------------------------------------------------------------------------------------------------------------


def test_pmr_prototypes_and_losses():
    answer, streams, targets = world()
    answer.train()
    truth = targets["y"].numpy()
    spec = {"name": "pmr", "weight": 2.0, "entropy": 0.3, "momentum": 0.25}
    objective = OBJECTIVES.build(spec, Setting(WIDTHS, (CLASSES,), Heads().build)).double()
    assert objective(step_of(answer, streams, targets)) == {}  # the first epoch has no prototypes
    first = _means(step_of(answer, streams, targets), truth)
    objective.between_epochs(1, None)
    torch.testing.assert_close(objective.prototypes, torch.from_numpy(np.hstack(list(first.values()))))
    moved = {n: t.keep(torch.arange(ROWS) % 2 == 0) for n, t in streams.items()}
    objective(step_of(answer, moved, targets))
    second = _means(step_of(answer, moved, targets), truth)
    objective.between_epochs(2, None)
    prototypes = {n: np.where(np.isnan(second[n]), first[n], 0.25 * first[n] + 0.75 * second[n]) for n in WIDTHS}
    torch.testing.assert_close(objective.prototypes, torch.from_numpy(np.hstack(list(prototypes.values()))))

    step = step_of(answer, streams, targets)
    found = objective(step)
    logs, sure = {}, {}
    for name in WIDTHS:
        rows = step.streams[name].present.numpy() & (truth >= 0)
        z = step.streams[name].pooled.detach().numpy()[rows]
        logs[name] = log_softmax(-cdist(z, prototypes[name]))
        own = logs[name][np.arange(rows.sum()), truth[rows]]
        sure[name] = (np.exp(own).mean(), own.mean())
    expected = {}
    for name in WIDTHS:
        ratio = sure[name][0] / np.mean([v[0] for n, v in sure.items() if n != name])
        pull, calm = np.clip(1 / ratio - 1, 0, 1), np.clip(ratio - 1, 0, 1)
        if pull:
            expected[f"pmr/{name}"] = -2.0 * pull * sure[name][1]
        if calm:
            expected[f"pmr/{name} entropy"] = 0.3 * calm * (np.exp(logs[name]) * logs[name]).sum(1).mean()
    assert {n: float(v.detach()) for n, v in found.items()} == pytest.approx(expected, rel=1e-5)
    assert any("entropy" in n for n in found)
    assert len(found) >= 2


@pytest.mark.parametrize("ratio", [0.2, 0.8, 1.0, 1.4, 5.0])
def test_pmr_weights_of_two_streams_are_the_papers(ratio: float):
    beta, gamma = np.clip(1 / ratio - 1, 0, 1), np.clip(ratio - 1, 0, 1)
    assert pmr.weights(ratio * 0.1, 0.1) == pytest.approx((beta, gamma))
    assert pmr.weights(0.1, ratio * 0.1) == pytest.approx((gamma, beta))


def _means(step: Step, truth: np.ndarray) -> dict[str, np.ndarray]:
    found = {}
    for name in WIDTHS:
        z, there = step.streams[name].pooled.detach().numpy(), step.streams[name].present.numpy()
        rows = [there & (truth == c) for c in range(3)]
        found[name] = np.stack([z[r].mean(0) if r.any() else np.full(z.shape[1], np.nan) for r in rows])
    return found


# --- MMPareto ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_least_norm_against_scipy(seed: int):
    rng = np.random.default_rng(seed)
    g, u = rng.normal(size=(2, 7)) * np.array([[1.0], [3.0]])
    best = minimize_scalar(
        lambda a: np.sum((a * g + (1 - a) * u) ** 2), bounds=(0, 1), method="bounded", options={"xatol": 1e-12}
    )
    found = float(mmpareto.least_norm(torch.from_numpy(g), torch.from_numpy(u)))
    assert found == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_the_integrated_gradient_never_works_against_either(seed: int):
    rng = np.random.default_rng(seed)
    g, u = rng.normal(size=(2, 5))
    u = u if g @ u < 0 else -u
    found = mmpareto.integrated(torch.from_numpy(g), torch.from_numpy(u), 1.5).numpy()
    assert found @ g >= -1e-9
    assert found @ u >= -1e-9
    a = np.clip((u - g) @ u / ((u - g) @ (u - g)), 0, 1)
    h = 2 * (a * g + (1 - a) * u)
    length = 1.5 * max(np.linalg.norm(h), np.linalg.norm(g + u))
    np.testing.assert_allclose(found, h / np.linalg.norm(h) * length, atol=1e-12)
    agree = mmpareto.integrated(torch.from_numpy(g), torch.from_numpy(-u), 1.5).numpy()
    np.testing.assert_allclose(agree, 1.5 * (g - u))


def test_mmpareto_gives_towers_the_integrated_gradient_and_leaves_the_rest():
    answer, streams, targets = world()
    objective = OBJECTIVES.build("mmpareto", Setting(WIDTHS, (CLASSES,), Heads().build)).double()
    answer.eval()  # so that both passes below are the same
    step = step_of(answer, streams, targets)
    losses = {**step.losses, **objective(step)}
    separate = {}
    for name in WIDTHS:
        tower = step.towers[name]
        g = torch.autograd.grad(sum(step.losses.values()), tower, retain_graph=True)
        u = torch.autograd.grad(losses[f"mmpareto/{name}"], tower, retain_graph=True)
        separate[name] = [torch.cat([x.reshape(-1) for x in part]) for part in (g, u)]
    rest = [p for n, p in answer.named_parameters() if "adapters" not in n]
    expected = torch.autograd.grad(sum(losses.values()), rest, retain_graph=True, allow_unused=True)
    sum(losses.values()).backward()
    objective.act(step)
    for name in WIDTHS:
        found = torch.cat([p.grad.reshape(-1) for p in step.towers[name]])
        torch.testing.assert_close(found, mmpareto.integrated(*separate[name], 1.5))
    for parameter, wanted in zip(rest, expected):
        if wanted is not None:
            torch.testing.assert_close(parameter.grad, wanted)


# --- G-Blend ----------------------------------------------------------------------------------------------------------


def test_gblend_weights():
    rng = np.random.default_rng(4)
    train0, held0 = 1 + rng.random((2, 4))
    train1, held1 = train0 - rng.random(4), held0 - np.array([0.3, 0.1, -0.2, 0.2])
    gain = np.maximum(held0 - held1, 0)
    overfit = (held1 - train1) - (held0 - train0)
    raw = gain / overfit**2
    found = gblend.blending(*(torch.from_numpy(x) for x in (train0, held0, train1, held1)))
    np.testing.assert_allclose(found.numpy(), 4 * raw / raw.sum())
    assert found[2] == 0
    nothing = torch.from_numpy(train0)
    assert not gblend.blending(nothing, nothing, nothing, nothing).any()


def test_gblend_measures_held_out_rows_and_blends_by_them():
    answer, streams, targets = world()
    objective = OBJECTIVES.build(
        {"name": "gblend", "every": 1, "holdout": 0.25}, Setting(WIDTHS, (CLASSES,), Heads().build)
    ).double()
    kept = objective.hold(torch.arange(ROWS))
    held = [r for r in range(ROWS) if r not in kept.tolist()]
    assert len(held) == 3
    asked: list[int] = []

    def read(rows: torch.Tensor) -> Step:
        asked.extend(rows.tolist())
        with torch.no_grad():
            chosen = {n: t.select(rows) for n, t in streams.items()}
            return step_of(answer.eval(), chosen, {"y": targets["y"][rows]})

    objective.between_epochs(0, read)
    first = objective.before.clone()
    assert sorted(asked)[: len(asked)] == sorted([*held, *[r for r in asked if r in kept.tolist()]])
    step = read(torch.tensor(held))
    alone = objective.alone.losses(step.streams, step.targets)
    expected = [sum(float(v) for v in step.losses.values()), *(float(alone[n].detach()) for n in sorted(WIDTHS))]
    np.testing.assert_allclose(first[1].numpy(), expected, rtol=1e-6)
    with torch.no_grad():
        for parameter in [*answer.parameters(), *objective.parameters()]:
            parameter.mul_(0.5)
    objective.between_epochs(1, read)
    wanted = gblend.blending(*first, *objective.before)
    if wanted.sum() > 0:
        torch.testing.assert_close(objective.weights, wanted)
    step = step_of(answer, streams, targets)
    losses = objective(step)
    total = float(sum(step.losses.values()).detach())
    weights = objective.weights.tolist()
    assert float(losses["gblend/joint"].detach()) == pytest.approx((weights[0] - 1) * total)
    alone = objective.alone.losses(step.streams, step.targets)
    for weight, name in zip(weights[1:], sorted(WIDTHS)):
        assert float(losses[f"gblend/{name}"].detach()) == pytest.approx(weight * float(alone[name].detach()))


# --- ranking ----------------------------------------------------------------------------------------------------------


def test_ranking_loss():
    answer, streams, targets = world()
    answer.eval()
    spec = {"name": "ranking", "weight": 0.7, "fewer": 0.4, "margin": 0.1}
    objective = OBJECTIVES.build(spec, Setting(WIDTHS, (CLASSES,), Heads().build))
    step = step_of(answer, streams, targets)
    torch.manual_seed(3)
    found = objective(step)
    from polymodal.nn.mask_streams import fewer_streams

    torch.manual_seed(3)
    less = answer.join(fewer_streams(step.streams))
    truth = targets["y"].numpy()
    rows = truth >= 0
    more, fewer = (
        -log_softmax(o.predictions["y"].detach().numpy())[np.arange(ROWS), truth] for o in (step.output, less)
    )
    assert float(found["ranking/y"].detach()) == pytest.approx(
        0.7 * np.maximum(0, more - fewer + 0.1)[rows].mean(), rel=1e-6
    )
    assert float(found["ranking/y fewer"].detach()) == pytest.approx(0.4 * fewer[rows].mean(), rel=1e-6)
