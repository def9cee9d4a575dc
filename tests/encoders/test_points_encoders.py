"""Encoders of clouds: tokens in metres, the same for any order; shapes are learned; what is hidden is hidden."""

import numpy as np
import pytest
import torch
from two_kinds import told_apart

from polymodal.encoders import ENCODERS
from polymodal.nn.points import farthest, near
from polymodal.process.points import PointsProcessor

TRAINED = ("points_set", "points_pillars", {"name": "points_set", "mixing": "attention"})
FORMULA = ("points_plain", "points_shape")


def inputs_of(cells, **options):
    processor = PointsProcessor(**options)
    decoded = [processor.read(cell) for cell in cells]
    processor.fit(decoded)
    return {name: torch.from_numpy(v) for name, v in processor.process(decoded).items()}, processor.facts()


def clouds(count=5, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.normal((9, 0, 1, 0), (2, 3, 0.5, 1), (20 + 25 * row, 4)).astype(np.float32) for row in range(count)]


def turned(cells, degrees, up_only=True):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    if not up_only:
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return [np.c_[cell[:, :3] @ turn.T, cell[:, 3:]].astype(np.float32) for cell in cells]


@pytest.mark.parametrize("spec", TRAINED)
@pytest.mark.parametrize("options", [{}, {"normalize": "unit"}, {"normalize": "centre"}])
def test_tokens_are_few_and_lie_in_metres(spec, options):
    inputs, facts = inputs_of(clouds(), **options)
    encoder = ENCODERS.build(spec, facts, 12).eval()
    encoder.fit_statistics(inputs)
    tokens = encoder(inputs)
    assert tokens.x.shape[1] <= 16
    assert tokens.mask[:, 0].all()
    assert tokens.where.shape[2] == 3
    for row, cell in enumerate(clouds()):
        where = tokens.where[row][tokens.mask[row]].numpy()
        if spec != "points_pillars":  # centres are points of the cloud
            assert np.linalg.norm(where[:, None] - cell[None, :, :3], axis=2).min(1).max() < 1e-3
        elif not options:
            assert (np.abs(where - (9, 0, 1)) < (8, 10, 3)).all()


@pytest.mark.parametrize("spec", [*TRAINED, *FORMULA])
def test_order_of_points_and_batch_change_nothing(spec):
    inputs, facts = inputs_of(clouds())
    encoder = ENCODERS.build(spec, facts, 12).eval()
    encoder.fit_statistics(inputs)
    tokens = encoder(inputs)
    draw = np.random.default_rng(0)
    again, _ = inputs_of([cell[draw.permutation(len(cell))] for cell in clouds()])
    assert torch.equal(encoder(again).pooled, tokens.pooled)
    alone = encoder({name: value[3:4] for name, value in inputs.items()})
    assert torch.allclose(alone.pooled[0], tokens.pooled[3], atol=1e-5)
    more = {**inputs, "points": torch.nn.functional.pad(inputs["points"], (0, 0, 0, 30))}
    if spec not in FORMULA:  # which know their number of points
        assert torch.allclose(encoder(more).pooled, tokens.pooled, atol=1e-5)


@pytest.mark.parametrize("spec", FORMULA)
def test_turns_that_change_nothing(spec):
    cells = clouds()
    for rotation, other, same in (
        ("up", turned(cells, 70), True), ("any", turned(cells, 0, up_only=False), True),
        ("none", turned(cells, 70), False), ("up", turned(cells, 0, up_only=False), False),
    ):  # fmt: skip
        # of all points, so that the same pairs are drawn
        inputs, facts = inputs_of(cells)
        changed = {**inputs, "points": inputs["points"].clone()}
        turn = np.linalg.lstsq(cells[4][:, :3], other[4][:, :3], rcond=None)[0]
        changed["points"][..., :3] = inputs["points"][..., :3] @ torch.from_numpy(turn).float()
        encoder = ENCODERS.build({"name": spec, "rotation": rotation}, facts, 8)
        one, two = encoder.features(inputs), encoder.features(changed)
        off = (one - two).abs() / (1 + one.abs())
        assert (float(off.quantile(0.97)) < 1e-2) == same, rotation  # a distance may cross the edge of its bin


def test_the_roots_of_a_box_are_its_spreads():
    draw = np.random.default_rng(0)
    inputs, facts = inputs_of([draw.uniform(-1, 1, (1000, 3)) * (3, 2, 1) for _ in range(2)])
    encoder = ENCODERS.build("points_plain", facts, 8)
    made = encoder.features(inputs)[0, 11:14]  # behind count, sizes and quantiles of distance
    assert torch.allclose(made, torch.tensor([3.0, 2.0, 1.0]) / 3**0.5, rtol=0.05)


def test_farthest_points():
    line = torch.tensor([[0.0], [1], [2], [3], [10], [4]]).expand(-1, 3)[None]
    real = torch.tensor([[True] * 5 + [False]])
    at, new = farthest(line, real, 7)
    assert at[0, :3].tolist() == [4, 0, 3]
    assert sorted(at[0, :5].tolist()) == [0, 1, 2, 3, 4]
    assert new[0].tolist() == [True] * 5 + [False] * 2
    twice = torch.zeros(1, 6, 3)
    assert farthest(twice, real, 3)[1][0].tolist() == [True, False, False]
    assert near(line[:, :1], line, real, 3)[0, 0].tolist() == [0, 1, 2]


def shape(draw, row):
    """A ring lying flat (0) or a ball's surface (1), of any size."""
    towards = draw.normal(size=(80, 3)) * ((1, 1, 1) if row % 2 else (1, 1, 0.001))
    return (draw.uniform(1, 3) * towards / np.linalg.norm(towards, axis=1)[:, None]).astype(np.float32)


@pytest.mark.parametrize("spec", TRAINED)
def test_shapes_are_learned(spec):
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    inputs, facts = inputs_of([shape(draw, row) for row in range(160)], normalize="unit")
    label = torch.arange(160) % 2
    seen, held = ({name: value[rows] for name, value in inputs.items()} for rows in (slice(128), slice(128, None)))
    encoder = ENCODERS.build(spec, facts, 16)
    assert told_apart(encoder, seen, label[:128], held, label[128:], passes=16, lr=3e-3) > 0.9


@pytest.mark.parametrize("spec", ["points_set", "points_pillars"])
def test_what_hidden_boxes_hold_changes_nothing(spec):
    inputs, facts = inputs_of(clouds())
    encoder = ENCODERS.build(spec, facts, 12).eval()
    encoder.fit_statistics(inputs)
    can = encoder.hideable(inputs)
    assert can.any(1).all()
    hidden = can & (torch.rand(can.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    rest, held = encoder.hide({**inputs, **encoder.once(inputs)}, hidden)
    assert held[0].values.shape == (*can.shape, 1 + 4)
    assert torch.equal(held[0].values[..., 0] > 0, can)
    gone = encoder.hide(inputs, hidden)[0]["real"]
    moved = inputs["points"].clone()
    places = torch.arange(moved.shape[1]) < inputs["length"][:, None]
    moved[places & ~gone] += torch.tensor([1e-4, 0, 0, 5.0])  # within their boxes
    again, _ = encoder.hide({**inputs, "points": moved}, hidden)
    assert torch.equal(encoder(rest).pooled, encoder(again).pooled)
    everything, _ = encoder.hide(inputs, torch.ones_like(can))
    tokens = encoder(everything)
    assert tokens.x.isfinite().all()
    assert tokens.present.all()
