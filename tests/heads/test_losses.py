"""Limits of the losses, and decoding; the losses' formulas are in `tests/reference/heads.py`."""

import numpy as np
import pytest
import torch

from polymodal.heads import HEADS
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.multilabel import MultilabelTarget
from polymodal.targets.number import NumberTarget

FREQUENCIES = (0.5, 0.3, 0.2)


def classes(**given):
    return HEADS.build({"name": "classes", **given}, 4, ClassesTarget("t", ("a", "b", "c"), frequencies=FREQUENCIES))


def batch(rows=7):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(rows, 3, generator=generator, requires_grad=True)
    return scores, torch.randint(0, 3, (rows,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_focal_tends_to_cross_entropy_as_gamma_tends_to_zero(smoothing, weight):
    scores, truth = batch()
    plain = classes(label_smoothing=smoothing, class_weight=weight).loss_of_scores(scores, truth)
    focal = classes(label_smoothing=smoothing, class_weight=weight, focal=1e-7).loss_of_scores(scores, truth)
    assert focal.item() == pytest.approx(plain.item(), rel=1e-4)
    (a,), (b,) = torch.autograd.grad(plain, scores), torch.autograd.grad(focal, scores)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradient_is_finite_where_the_answer_is_certain(gamma):
    scores = torch.tensor([[60.0, 0.0, 0.0], [-60.0, 0.0, 0.0]], requires_grad=True)
    classes(focal=gamma).loss_of_scores(scores, torch.tensor([0, 0])).backward()
    assert torch.isfinite(scores.grad).all()


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    truth = np.repeat([0, 1, 2], [50, 30, 20])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=truth)
    np.testing.assert_allclose(classes(class_weight="balanced").weight.numpy(), expected, rtol=1e-5)


def test_a_class_unseen_in_training_stays_finite():
    target = ClassesTarget("t", ("a", "b", "c"), frequencies=(0.6, 0.4, 0.0))
    head = HEADS.build({"name": "classes", "class_weight": "balanced", "label_smoothing": 0.1}, 4, target)
    assert torch.isfinite(head.scorer.out.bias).all()
    assert head.weight[2] == 1
    assert torch.isfinite(head.loss_of_scores(*batch()))


def test_multilabel_is_weighted_binary_cross_entropy_over_known_entries():
    target = MultilabelTarget("t", ("a", "b"), frequencies=(0.25, 0.001))
    head = HEADS.build({"name": "multilabel", "positive_weight": "balanced"}, 4, target)
    scores = torch.tensor([[0.3, -1.0], [2.0, 0.5]])
    truth = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    p = 1 / (1 + np.exp(-scores.numpy()))
    expected = (-3 * np.log(p[0, 0]) - np.log(1 - p[1, 0]) - 100 * np.log(p[1, 1])) / 3  # 0.999 / 0.001, cut at 100
    assert head.loss_of_scores(scores, truth).item() == pytest.approx(expected, rel=1e-5)


def test_number_decodes_to_the_users_units():
    plain = HEADS.build("number", 4, NumberTarget("t", location=10.0, scale=2.0))
    np.testing.assert_allclose(plain.decode(torch.tensor([[0.0], [1.5]]))["value"], [10.0, 13.0])
    log = HEADS.build("number", 4, NumberTarget("t", location=1.0, scale=0.5, log=True))
    np.testing.assert_allclose(log.decode(torch.tensor([[2.0]]))["value"], [np.exp(2.0)])
    assert np.isfinite(log.decode(torch.tensor([[1e9]]))["value"]).all()


def test_decode_gives_labels_and_probabilities():
    decoded = classes().decode(torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]]))
    assert decoded["label"].tolist() == ["b", "a"]
    np.testing.assert_allclose(decoded["probability"].sum(1), 1, rtol=1e-6)
    head = HEADS.build("multilabel", 4, MultilabelTarget("t", ("a", "b"), frequencies=(0.5, 0.5)))
    decoded = head.decode(torch.tensor([[5.0, 5.0], [-5.0, 5.0], [-5.0, -5.0]]))
    assert decoded["label"].tolist() == [("a", "b"), ("b",), ()]
    assert head.decode(torch.tensor([[5.0, 5.0], [5.0, 5.0]]))["label"].shape == (2,)
