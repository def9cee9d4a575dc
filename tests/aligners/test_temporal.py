"""Lags found, streams bent onto each other, and a task that only streams on one clock can solve."""

from __future__ import annotations

import pytest
import torch

from polymodal.aligners.temporal import estimate_lag, warp
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS
from polymodal.nn.signal.clock import resample


def sensor(signal, times: torch.Tensor, real: torch.Tensor | None = None) -> Tokens:
    x = signal(times)[..., None]
    mask = torch.ones_like(times, dtype=torch.bool) if real is None else real
    return Tokens(x, mask, x.mean(1), times[..., None]).cleared()


def wave(rows: int):
    phase, speed = torch.rand(rows, 3, 1) * 6.28, 0.5 + torch.rand(rows, 3, 1)
    return lambda t: torch.sin(speed * t[:, None] + phase).sum(1)


@pytest.mark.parametrize("lag", [-0.7, 0.0, 0.43, 1.6])
def test_the_lag_between_two_sensors_is_found(lag: float):
    signal = wave(6)
    first = sensor(signal, torch.linspace(0, 20, 80).expand(6, -1))
    second = sensor(lambda t: 3 * signal(t - lag) + 2, torch.sort(torch.rand(6, 120) * 20).values)
    found = estimate_lag(first, second, most=2.0, step=0.1)
    assert found.seconds == pytest.approx(lag, abs=0.05)
    assert found.correlation > 0.9


def test_unrelated_sensors_have_a_low_correlation():
    first, second = (sensor(wave(20), torch.linspace(0, 20, 80).expand(20, -1)) for _ in range(2))
    assert estimate_lag(first, second, most=2.0, step=0.2).correlation < 0.5


def test_no_shared_clock_is_refused():
    signal = wave(1)
    early, late = (sensor(signal, torch.linspace(a, a + 5, 30)[None]) for a in (0.0, 100.0))
    with pytest.raises(BadData, match="No lag within 2 s leaves the two streams 50% of a shared clock"):
        estimate_lag(early, late, most=2.0, step=0.5)
    with pytest.raises(BadData, match="The second stream has no times"):
        estimate_lag(early, Tokens.from_vector(torch.zeros(1, 1)), most=2.0, step=0.5)
    with pytest.raises(BadArgument, match="0 < step <= most"):
        estimate_lag(early, late, most=1.0, step=2.0)
    with pytest.raises(BadData, match="missing in every row"):
        estimate_lag(early.keep(torch.tensor([False])), late, most=2.0, step=0.5)


def test_a_warped_stream_is_bent_back():
    torch.manual_seed(1)
    smooth = torch.randn(4, 12, 3).cumsum(1)
    source = torch.sort(torch.randint(0, 12, (4, 12))).values  # each row repeats and skips moments
    source[:, 0], source[:, -1] = 0, 11
    bent = smooth.gather(1, source[..., None].expand(-1, -1, 3))
    mask = torch.ones(4, 12, dtype=torch.bool)
    mask[1, 9:] = False
    a, b = (Tokens(x, mask, x.mean(1)).cleared() for x in (smooth, bent))
    onto, cost = warp(a, b)
    straight = ((a.x - b.x) ** 2).sum(2)[mask].mean()
    assert torch.equal(onto.mask, b.mask)
    assert ((onto.x - b.x) ** 2).sum(2)[mask].mean() < 0.2 * straight
    assert (cost >= 0).all()
    by_features, _ = warp(Tokens(a.x[..., :1], mask, a.pooled[:, :1]), b, features=(a.x, b.x))
    assert torch.allclose(by_features.x, onto.x[..., :1], atol=1e-6)


def test_a_missing_side_comes_out_missing():
    x = torch.randn(2, 3, 2)
    whole = Tokens(x, torch.ones(2, 3, dtype=torch.bool), x.mean(1))
    onto, cost = warp(whole.keep(torch.tensor([True, False])), whole)
    assert onto.present.tolist() == [True, False]
    assert cost[1] == 0


def test_bad_streams_to_warp():
    a, b = Tokens.from_vector(torch.zeros(1, 2)), Tokens.from_vector(torch.zeros(1, 3))
    with pytest.raises(BadArgument, match="widths 2 and 3 cannot be compared: give `features`"):
        warp(a, b)
    x = torch.zeros(1, 2, 2)
    behind = Tokens(x, torch.tensor([[False, True]]), x[:, 0])
    with pytest.raises(BadArgument, match="masked token|behind a masked one"):
        warp(behind, a)


def events(rows: int, lag: float, seed: int):
    """Two sensors whose product, moment by moment, is on average positive or negative: that is the label."""
    draw = torch.Generator().manual_seed(seed)
    moments = 12
    label = torch.randint(2, (rows,), generator=draw)
    a = (
        2.0 * (torch.rand(rows, moments, generator=draw).argsort(1) % 2) - 1
    )  # as many up as down: the mean tells nothing
    agree = torch.rand(rows, moments, generator=draw) < 0.9
    b = a * torch.where(agree, 1.0, -1.0) * (label[:, None] * 2 - 1)
    late = lag * torch.ones(rows, 1)
    when = torch.arange(moments).float().expand(rows, -1)
    mask = torch.ones(rows, moments, dtype=torch.bool)
    return {
        "gyro": Tokens(a[..., None], mask, a.mean(1, keepdim=True), when[..., None]),
        "sound": Tokens(b[..., None], mask, b.mean(1, keepdim=True), (when + late)[..., None]),
    }, label


def accuracy(spec, lag: float) -> float:
    torch.manual_seed(0)
    (train, y), (test, truth) = events(300, lag, 1), events(300, lag, 2)
    fusion = FUSIONS.build(spec, {"gyro": 1, "sound": 1}, 8)
    head = torch.nn.Linear(8, 2)
    optimizer = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(fusion(train).pooled), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((head(fusion.eval()(test).pooled).argmax(1) == truth).float().mean())


def test_fusing_works_once_the_streams_are_on_one_clock():
    """The label is in products of simultaneous moments only: at a lag of 3 s nothing else than alignment finds it."""
    inner = {"name": "tensor", "dropout": 0.0}
    spec = {"name": "temporal", "fusion": inner, "clock": "gyro", "way": "nearest"}
    found = estimate_lag(*events(600, 3.0, 1)[0].values(), most=5.0, step=1.0)
    assert accuracy(spec, 0.0) > 0.95
    assert accuracy(spec, 3.0) < 0.65  # on one clock, but three seconds late
    assert accuracy(inner, 0.0) < 0.65  # pooled vectors do not know when
    assert abs(found.correlation) < 0.5  # the sign differs from row to row, so that no lag stands out by itself
    assert accuracy({**spec, "lags": {"sound": 3.0}}, 3.0) > 0.95


def test_resampling_one_stream_onto_anothers_tokens():
    coarse = sensor(torch.sin, torch.linspace(0, 3, 40)[None])
    fine = torch.rand(1, 9) * 3
    assert torch.allclose(resample(coarse, fine).x[0, :, 0], torch.sin(fine[0]), atol=2e-3)
