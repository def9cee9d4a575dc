"""Parts stay on the device of their inputs: told on `meta`, told by the law with values, and both put to the test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from polymodal.aligners import ALIGNERS
from polymodal.core.types import Tokens
from polymodal.objectives import OBJECTIVES
from polymodal.testing import NotConformant, Subject, check_devices
from polymodal.testing.catalogued import example_subjects, part_names
from polymodal.testing.devices import on_meta, one_device_only
from polymodal.testing.objective import train_elsewhere

# Parts that look at values somewhere, which `meta` has not: every family's check tries them with values instead.
SELECTS = "its losses select the rows in which a stream is there"
DRAWS = "draws again until a row has a stream"
WRITERS = (
    ("answer", "blind"),
    ("head", "writer"),
    ("head", "writer_recurrent"),
    ("head", "writer_unified"),
    ("answer", "prefix_lm"),
)
LOOKS = {
    ("fusion", "temporal"): "refuses times that are not finite",
    ("decision", "late_mean"): SELECTS,
    ("decision", "late_weighted"): SELECTS,
    ("decision", "product"): SELECTS,
    ("decision", "qmf"): SELECTS,
    ("decision", "stacking"): SELECTS,
    ("decision", "tmc"): "counts its steps in a buffer",
    ("answer", "bandit"): DRAWS,
    ("answer", "dynamic"): DRAWS,
    ("answer", "policy"): DRAWS,
    ("answer", "experts"): SELECTS,
    ("answer", "hybrid"): SELECTS,
    ("answer", "taste"): SELECTS,
    ("answer", "imputed"): "fills in the rows that lack a stream alone",
    ("answer", "consensus"): "looks its answers up among those of training, in NumPy",
    ("head", "classes"): "its loss is zero where no row is labelled",
    **dict.fromkeys(WRITERS, "leaves out what is padding in every text"),
    ("encoder", "text_bilstm"): "in training, puts tokens of other rows into a text",
    ("encoder", "text_linear"): "cuts off the padding that all texts of a batch share",
    ("encoder", "text_tfidf"): "in training, puts tokens of other rows into a text",
    ("encoder", "text_transformer"): "in training, puts tokens of other rows into a text",
    **{("learner", name): "leaves out rows that have arrived at a leaf" for name in ("boosted", "extra_trees")},
    **{("align", name): "asks whether it was fitted, and its losses take the rows that are there" for name in ALIGNERS},
}  # fmt: skip
WANTS_VALUES = ("item() cannot be called on meta", "nonzero", "aten::equal", "_local_scalar_dense", "no data!")


def looks_at_values(subject: Subject) -> bool:
    """Whether the part cannot run on `meta` for want of values; any other error is raised."""
    try:
        on_meta(subject)
    except (RuntimeError, NotImplementedError) as error:
        if not any(words in str(error) for words in WANTS_VALUES):
            raise
        return True
    return False


@pytest.mark.parametrize(("family", "name"), part_names())
def test_every_part_runs_forward_and_backward_on_meta(family: str, name: str):
    outcomes = [looks_at_values(subject) for subject in example_subjects(family, name)]
    assert outcomes
    assert not any(outcomes) or (family, name) in LOOKS, "say why it looks at values, or let it do without"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_elsewhere(name: str):
    for kind in OBJECTIVES.load(name).needs:  # type: ignore[attr-defined]
        with one_device_only() as device:
            train_elsewhere(name, kind, device)


class Backward(torch.autograd.Function):
    """Whose backward pass makes a tensor where it should not."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.ones(grad.shape)


PLANTED = {
    "sum": lambda part, x: x + torch.zeros(4),
    "cat": lambda part, x: torch.cat([x, torch.ones(x.shape[0], 1)], 1),
    "where": lambda part, x: torch.where(x > 0, x, torch.zeros(x.shape)),
    "matmul": lambda part, x: x @ torch.eye(4),
    "linear": lambda part, x: F.linear(x, torch.ones(4, 4)),
    "index_select": lambda part, x: x.index_select(0, torch.arange(x.shape[0])),
    "index": lambda part, x: x[torch.arange(x.shape[0])],
    "gather": lambda part, x: x.gather(1, torch.zeros(x.shape, dtype=torch.int64)),
    "mask": lambda part, x: x.masked_fill(torch.zeros(x.shape, dtype=torch.bool), 0.0),
    "positions": lambda part, x: x + F.embedding(torch.arange(x.shape[0]), part.table),
    "unregistered": lambda part, x: x * part.constant,
    "numpy": lambda part, x: x + torch.from_numpy(np.sign(x.detach().numpy())),
    "numpy by way of the CPU": lambda part, x: x + torch.from_numpy(np.sign(x.detach().cpu().numpy())),
    "random numbers": lambda part, x: x * (torch.rand(x.shape) < 0.9),
    "backward": lambda part, x: Backward.apply(x),
    "result": lambda part, x: x.detach().cpu(),
}
# `meta` lets products and places pass, and has no values that NumPy could read
UNSEEN_ON_META = {"matmul", "linear", "index", "gather", "positions"}


class Part(nn.Module):
    """A linear map with one fault."""

    def __init__(self, fault: str):
        super().__init__()
        self.fault = fault
        self.map = nn.Linear(4, 4)
        self.table = nn.Parameter(torch.randn(8, 4))
        self.constant = torch.ones(4)  # should be a buffer

    def forward(self, x):
        return PLANTED[self.fault](self, self.map(x))


def planted(fault: str) -> Subject:
    return Subject(fault, lambda: Part(fault), lambda part, x: {"out": part(x)}, torch.randn(8, 4), "out")


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_misplacements_are_caught(fault: str):
    with pytest.raises(NotConformant, match="one device"):
        check_devices(planted(fault))


@pytest.mark.parametrize("fault", PLANTED)
def test_what_meta_alone_would_catch(fault: str):
    if fault in UNSEEN_ON_META:
        on_meta(planted(fault))
    else:
        with pytest.raises((RuntimeError, NotImplementedError, TypeError, AssertionError)):
            on_meta(planted(fault))


class Careful(nn.Module):
    """Everything that is allowed: numbers, tensors of one number, what is made where the input is, values looked at."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 4)
        self.register_buffer("constant", torch.ones(4), persistent=False)

    def forward(self, x):
        y = self.map(x) * self.constant * 2.0 + torch.tensor(0.5)
        y = torch.where(y > 0, y, torch.tensor(0.0)) + torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device)
        y = y + x.new_tensor([1.0, 0.0, 0.0, 0.0]) + torch.rand(x.shape, device=x.device).round()
        if bool((y > 1e6).any()) or max(y.tolist()[0]) > 1e6:
            y = y / 2
        rows = torch.nonzero(y.sum(1) > -1e6)[:, 0]
        y[0, torch.arange(2, device=x.device)] = 0.0
        return y[rows] + torch.from_numpy(y.detach().cpu().numpy()).to(x.device)


def test_what_is_right_passes_with_the_values_and_gradients_that_it_has_anyway():
    subject = Subject("careful", Careful, lambda part, x: {"out": part(x)}, torch.randn(8, 4), "out")
    check_devices(subject)
    torch.manual_seed(0)
    here = Careful()
    there = Careful()
    there.load_state_dict(here.state_dict())
    torch.manual_seed(1)
    here(subject.inputs).sum().backward()
    with one_device_only() as device:
        there.to(device)
        torch.manual_seed(1)
        there(subject.inputs.to(device)).sum().backward()
        assert there.map.weight.grad.device == device
        moved = there.map.weight.grad.cpu()
    assert torch.allclose(moved, here.map.weight.grad, atol=1e-6)


def test_tokens_move_whole():
    with one_device_only() as device:
        tokens = Tokens(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool), torch.ones(2, 3)).to(device)
        assert {tokens.x.device, tokens.mask.device, tokens.pooled.device} == {device}
