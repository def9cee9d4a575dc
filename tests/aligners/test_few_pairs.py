"""STRUCTURE and latent mixup: properties of the formulas; their values are compared in tests/reference/closed.py."""

from __future__ import annotations

import math

import pytest
import torch

from polymodal.aligners.mixup import fusemix
from polymodal.aligners.structure import structure
from polymodal.core.errors import BadArgument


def test_a_rotation_keeps_the_structure_and_a_collapse_does_not():
    own = torch.randn(20, 8, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    assert float(structure(own, 3 * own @ turn, levels=3)) == pytest.approx(0, abs=1e-12)
    other = float(structure(own, torch.randn(20, 8, dtype=torch.float64), temperature=0.3))
    assert 0.05 < other < math.log(2)


def test_only_the_aligned_vectors_get_gradient():
    own, aligned = torch.randn(6, 4, requires_grad=True), torch.randn(6, 3, requires_grad=True)
    structure(own, aligned, levels=2).backward()
    assert own.grad is None
    assert aligned.grad.abs().sum() > 0


def test_sharp_neighbourhoods_stay_finite_and_bfloat16_changes_little():
    own, aligned = torch.randn(30, 6), torch.randn(30, 6, requires_grad=True)
    sharp = structure(own, aligned, temperature=1e-3)
    sharp.backward()
    assert sharp.isfinite()
    assert aligned.grad.isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = structure(own, aligned)
    torch.testing.assert_close(inside, structure(own, aligned))


def test_descending_it_restores_neighbourhoods():
    own = torch.randn(24, 4)
    aligned = torch.randn(24, 4, requires_grad=True)
    before = float(structure(own, aligned.detach(), temperature=0.3))
    optimizer = torch.optim.Adam([aligned], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        structure(own, aligned, temperature=0.3).backward()
        optimizer.step()
    assert float(structure(own, aligned.detach(), temperature=0.3)) < 0.1 * before


def test_structure_says_what_is_wrong():
    x = torch.randn(4, 2)
    with pytest.raises(BadArgument, match="levels"):
        structure(x, x, levels=0)
    with pytest.raises(BadArgument, match="temperature must be above 0"):
        structure(x, x, temperature=0.0)
    with pytest.raises(BadArgument, match="3 aligned ones"):
        structure(x, x[:3])


def test_mixup_takes_one_share_for_all_streams_and_rows():
    first = {n: torch.randn(5, w, dtype=torch.float64) for n, w in (("a", 3), ("b", 4))}
    second = {n: torch.randn(5, x.shape[1], dtype=torch.float64) for n, x in first.items()}
    mixed = fusemix(first, second, alpha=0.5)
    shares = torch.cat([((mixed[n] - second[n]) / (first[n] - second[n])).flatten() for n in first])
    assert float(shares.std()) < 1e-6
    assert 0 <= float(shares[0]) <= 1
    assert not torch.allclose(fusemix(first, second)["a"], fusemix(first, second)["a"])  # drawn anew each time
    torch.testing.assert_close(fusemix(first, second, share=torch.tensor(1.0))["b"], first["b"])


def test_alpha_shapes_the_share():
    one = {"a": torch.ones(1, 1)}
    none = {"a": torch.zeros(1, 1)}
    spread = {a: torch.tensor([float(fusemix(one, none, alpha=a)["a"]) for _ in range(300)]).std() for a in (0.1, 10.0)}
    assert spread[0.1] > 0.35 > 0.2 > spread[10.0]


def test_mixup_says_what_is_wrong():
    with pytest.raises(BadArgument, match="alpha"):
        fusemix({}, {}, alpha=0.0)
    with pytest.raises(BadArgument, match="same streams"):
        fusemix({"a": torch.ones(1, 1)}, {})
