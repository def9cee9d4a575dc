"""Optimisers: the steps of torch's, without its compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import polymodal
from polymodal.config import Training
from polymodal.train.optim import Adam, clip_gradients, make_optimizer


def trained(optimizer, module, steps, *, skip=()):
    """Steps on a loss of drawn rows; the bias has no gradient in the steps `skip`."""
    draw = torch.Generator().manual_seed(3)
    for i in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 5, generator=draw)).square().mean().backward()
        if i in skip:
            module[2].bias.grad = None
        optimizer.step()
    return [p.detach().clone() for p in module.parameters()]


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.99)])
@pytest.mark.parametrize("decoupled", [True, False])
def test_steps_are_those_of_torch_and_ours_goes_on_from_either(decoupled, betas):
    theirs = torch.optim.AdamW if decoupled else torch.optim.Adam
    found = {}
    for name in ("ours", "theirs"):
        made = module()
        ends = [[made[0].weight, made[2].weight], [made[0].bias, made[2].bias]]
        groups = [{"params": ends[0], "weight_decay": 0.1}, {"params": ends[1], "weight_decay": 0.0}]
        ours = Adam(groups, lr=0.01, decoupled=decoupled, betas=betas)
        both = {"ours": ours, "theirs": theirs(groups, lr=0.01, betas=betas, fused=True)}
        first = trained(both[name], made, 5, skip=(0, 3))
        more = Adam(groups, lr=0.01, decoupled=decoupled, betas=betas)
        more.load_state_dict(both[name].state_dict())
        found[name] = first + trained(more, made, 3)
    assert all(torch.equal(a, b) for a, b in zip(found["ours"], found["theirs"]))


def test_what_has_no_gradient_stays():
    made = module()
    before = [p.detach().clone() for p in made.parameters()]
    optimizer = make_optimizer(made, Training(optimizer="adamw", lr=0.1, weight_decay=0.5))
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, made.parameters()))


@pytest.mark.parametrize("most", [0.01, 1e6])
def test_gradients_are_clipped_as_by_torch(most):
    found = []
    for clip in (clip_gradients, nn.utils.clip_grad_norm_):
        made = module()
        made(torch.ones(3, 5)).square().sum().backward()
        made[2].bias.grad = None
        clip(list(made.parameters()), most)
        found.append([p.grad for p in made.parameters() if p.grad is not None])
    assert len(found[0]) == 3
    assert all(torch.equal(a, b) for a, b in zip(*found))
    clip_gradients([nn.Parameter(torch.ones(2))], 1.0)  # none has a gradient


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_training_imports_no_compiler(optimizer):
    code = (
        "import sys, torch\nfrom polymodal.config import Training\nfrom polymodal.train.loop import train\n"
        f"module = torch.nn.Linear(3, 1)\noptions = Training(epochs=2, clip=1.0, optimizer={optimizer!r})\n"
        "rows = torch.arange(40)\n"
        "list(train(module, lambda b: module(torch.ones(len(b), 3)).mean() ** 2, lambda: 0.0, rows, options))\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    source = str(Path(polymodal.__file__).parents[1])
    said = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert said.stdout == "False\n", said.stderr
