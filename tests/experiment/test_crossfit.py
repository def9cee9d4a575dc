"""Cross-fitting: spaces of encoders trained apart are matched, and no row is read from an encoder that saw it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import polymodal as pm
from polymodal.core.types import Tokens
from polymodal.data import synthetic
from polymodal.data.storage.store import Store
from polymodal.experiment.crossfit import join_parts, procrustes
from polymodal.train.features import Features

ROWS, WIDTH, COMMON = 500, 8, 300
GROUPS = ("aaaaaaaa", "bbbbbbbb", "cccccccc")


def r_squared(found: np.ndarray, goal: np.ndarray) -> float:
    return 1 - ((goal - found) ** 2).sum() / ((goal - goal.mean(0)) ** 2).sum()


def rotation(rng: np.random.Generator, width: int = WIDTH) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


@pytest.fixture
def parts(tmp_path):
    """Three encoders of the same rows: the last in its own space, the others in turned and moved ones."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(ROWS, WIDTH)) * np.linspace(0.5, 2, WIDTH)
    digests = rng.integers(0, 256, (ROWS, 16), dtype=np.uint8)
    store = Store(tmp_path)
    for group, turn, move in zip(GROUPS, (rotation(rng), rotation(rng), np.eye(WIDTH)), (3.0, -2.0, 0.0)):
        seen = ((truth - move) @ turn.T + 0.05 * rng.normal(size=truth.shape)).astype(np.float32)
        store.write(group, digests, {"x": seen[:, None], "mask": np.ones((ROWS, 1), bool), "pooled": seen})
    return store, digests, truth


def test_procrustes_finds_a_planted_rotation():
    rng = np.random.default_rng(0)
    source, turn = rng.normal(size=(50, WIDTH)), rotation(rng)
    np.testing.assert_allclose(procrustes(source, source @ turn), turn, atol=1e-10)
    found = procrustes(source, rng.normal(size=(50, WIDTH)), 5.0)
    np.testing.assert_allclose(found @ found.T, np.eye(WIDTH), atol=1e-10)


def test_the_prior_helps_where_few_rows_say_little_and_does_no_harm_where_many_do():
    rng = np.random.default_rng(0)
    wide = 32
    turn = procrustes(np.eye(wide), np.eye(wide) + 0.05 * rng.normal(size=(wide, wide)))  # near the identity
    space = rng.normal(size=(2000, wide))
    goal = space @ turn + 0.3 * rng.normal(size=space.shape)
    held = slice(1000, 2000)

    def score(rows: int, prior: float) -> float:
        return r_squared(space[held] @ procrustes(space[:rows], goal[:rows], prior), goal[held])

    assert score(10, 10) > score(10, 0) + 0.2
    assert score(1000, 10) == pytest.approx(score(1000, 0), abs=0.002)


def test_planted_turns_and_moves_are_undone_and_each_row_is_read_from_its_part(parts):
    store, digests, truth = parts
    part = np.where(np.arange(ROWS) < COMMON, 2, np.arange(ROWS) % 2)
    features = join_parts(store, GROUPS, digests, np.ones(ROWS, bool), part, np.arange(COMMON))
    found = Features(store, {"a": features}).read(torch.arange(ROWS))["a"]
    assert r_squared(found.pooled.numpy(), truth) > 0.98
    assert torch.equal(found.x[:, 0], found.pooled)
    for p, group in enumerate(GROUPS):
        rows = np.flatnonzero(part == p)
        raw = store.view(group, digests[rows]).load()["pooled"]
        turned = raw @ features.rotations[p] + features.shifts[p]
        np.testing.assert_allclose(found.pooled.numpy()[rows], turned, atol=1e-4)
    as_they_are = store.view(GROUPS[0], digests).load()["pooled"]
    assert r_squared(as_they_are, truth) < 0.5


def test_without_common_rows_parts_are_taken_as_they_are(parts):
    store, digests, _ = parts
    part = np.arange(ROWS) % 3
    present = np.arange(ROWS) >= 10
    features = join_parts(store, GROUPS, digests, present, part, np.arange(10))
    assert not len(features.rotations)
    found = Features(store, {"a": features}).read(torch.arange(ROWS))["a"]
    for p, group in enumerate(GROUPS):
        rows = np.flatnonzero((part == p) & present)
        assert np.array_equal(found.pooled.numpy()[rows], store.view(group, digests[rows]).load()["pooled"])
    assert not found.present[:10].any()


def test_one_encoder_is_one_group(parts):
    store, digests, _ = parts
    features = join_parts(store, GROUPS[2:], digests, np.ones(ROWS, bool), np.zeros(ROWS), np.arange(10))
    assert features.groups == GROUPS[2:]
    assert features.part.tolist() == [0] * ROWS
    assert not len(features.rotations)


class Frozen(pm.Encoder):
    """The vector itself: nothing to train."""

    processor = "vector"

    def encode(self, inputs):
        return Tokens.from_vector(inputs["vector"].float()[:, : self.dim])


def test_in_a_fit_trained_encoders_have_a_group_a_part_and_frozen_ones_a_single_group(tmp_path):
    columns, target = synthetic.noise_stream(120)
    pm.fit(
        columns,
        target,
        out=tmp_path / "run",
        store=str(tmp_path / "store"),
        encoders={"noise": Frozen, "signal": "vector_mlp"},
        fusion=["mean"],
        seeds=1,
        crossfit=2,
        dim=8,
        workers=0,
        trackers="none",
        training={"epochs": 2},
        quiet=True,
    )
    work = tmp_path / "run" / "work"
    rows = load_file(work / "rows.safetensors")
    found = {}
    for stream in ("signal", "noise"):
        found[stream] = json.loads((work / "features" / f"{stream}+0.json").read_text())["groups"]
        found[f"{stream} part"] = load_file(work / "features" / f"{stream}+0.safetensors")["part"]
    assert len(found["noise"]) == 1
    assert set(found["noise part"]) == {0}
    assert len(set(found["signal"])) == 3
    train = rows["split"] == 0
    assert np.array_equal(found["signal part"][train], rows["fold"][train])
    assert set(found["signal part"][~train]) == {2}
    encoders = [json.loads((work / "encoders" / f"signal-{name}.json").read_text()) for name in ("0", "1", "whole")]
    assert [e["group"] for e in encoders] == found["signal"]
