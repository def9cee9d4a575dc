"""Stored tokens come back row by row, whatever part they lie in, from memory and from the maps alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.data.storage.store import Store
from polymodal.train import features as module
from polymodal.train.features import Features, StreamFeatures, save_features

WIDTH, TOKENS = 6, 3
GROUPS = ("aaaaaaaa", "bbbbbbbb", "cccccccc")


def planted(folder, part, present, *, placed=True, seed=0):
    """A stream whose rows lie in groups as `part` says; groups hold different values for the same keys."""
    rng = np.random.default_rng(seed)
    store, rows = Store(folder), len(part)
    digests = rng.integers(0, 256, (rows, 16), dtype=np.uint8)
    values = {}
    for group in GROUPS:
        arrays = {
            "x": rng.normal(size=(rows, TOKENS, WIDTH)).astype(np.float16),
            "mask": rng.random((rows, TOKENS)) < 0.7,
            "pooled": rng.normal(size=(rows, WIDTH)).astype(np.float16),
        }
        arrays["mask"][:, 0] = True
        if placed:
            arrays["where"] = rng.random((rows, TOKENS, 2)).astype(np.float16)
        values[group] = arrays
        order = rng.permutation(rows)
        store.write(group, digests[order], {name: array[order] for name, array in arrays.items()})
    nothing = np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32)
    stream = StreamFeatures(GROUPS, np.asarray(part, np.int8), digests, np.asarray(present), *nothing)
    return store, stream, values


def expected(values, part, present, rows, name):
    """The rows' arrays, one by one; zero (False) where absent."""
    return np.stack([values[GROUPS[part[r]]][name][r] * bool(present[r]) for r in rows]).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_row_comes_from_its_own_part(tmp_path_factory, data):
    rows = data.draw(st.integers(1, 12))
    part = data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    present = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    asked = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=20))
    in_memory = data.draw(st.booleans())
    store, stream, values = planted(tmp_path_factory.mktemp("store"), part, present)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_MEMORY", 1 << 30 if in_memory else -1)
        whole = Features(store, {"a": stream}).read(torch.tensor(asked))["a"]
        brief = Features(store, {"a": stream}, pooled_only=True).read(torch.tensor(asked))["a"]
    assert np.array_equal(whole.mask.numpy(), expected(values, part, present, asked, "mask") > 0)
    assert np.array_equal(whole.pooled.numpy(), expected(values, part, present, asked, "pooled"))
    assert np.array_equal(whole.x.numpy(), expected(values, part, present, asked, "x"))
    if any(present[r] for r in (range(rows) if in_memory else asked)):
        assert whole.where is not None
        assert np.array_equal(whole.where.numpy(), expected(values, part, present, asked, "where"))
    assert torch.equal(brief.pooled, whole.pooled)
    assert torch.equal(brief.x[:, 0], whole.pooled)
    assert torch.equal(brief.present, whole.present)
    assert brief.x.shape == (len(asked), 1, WIDTH)


def test_a_batch_may_be_changed_without_harm(tmp_path):
    store, stream, _ = planted(tmp_path, [2] * 4, [True] * 4)
    for pooled_only in (False, True):
        features = Features(store, {"a": stream}, pooled_only=pooled_only)
        before = features.read(torch.arange(4))["a"]
        features.read(torch.arange(4))["a"].pooled.zero_()
        assert torch.equal(features.read(torch.arange(4))["a"].pooled, before.pooled)


def test_parts_are_turned_and_moved_into_the_last_ones_space(tmp_path):
    store, stream, values = planted(tmp_path, [0, 1, 2, 2], [True] * 4, placed=False)
    rng = np.random.default_rng(1)
    turns = rng.normal(size=(3, WIDTH, WIDTH)).astype(np.float32)
    moves = rng.normal(size=(3, WIDTH)).astype(np.float32)
    stream = StreamFeatures(GROUPS, stream.part, stream.digests, stream.present, turns, moves)
    found = Features(store, {"a": stream}).read(torch.arange(4))["a"]
    for row, p in enumerate([0, 1, 2, 2]):
        raw = values[GROUPS[p]]
        for name, value in (("pooled", found.pooled[row]), ("x", found.x[row])):
            np.testing.assert_allclose(value, raw[name][row].astype(np.float32) @ turns[p] + moves[p], atol=1e-5)


def test_they_are_opened_as_they_were_saved(tmp_path):
    store, stream, _ = planted(tmp_path / "store", [0, 1, 2], [True, False, True])
    save_features(tmp_path / "features", "a name", [stream], {})
    opened = Features.open(tmp_path / "features", store, ["a name"])
    assert opened.widths == {"a name": WIDTH}
    rows = torch.tensor([2, 0, 1])
    assert torch.equal(opened.read(rows)["a name"].x, Features(store, {"a": stream}).read(rows)["a"].x)


def test_one_group_for_all_rows_needs_no_turning(tmp_path):
    store, stream, values = planted(tmp_path, [0] * 3, [True] * 3)
    plain = StreamFeatures.plain(GROUPS[1], stream.part, stream.digests, stream.present)
    found = Features(store, {"a": plain}).read(torch.arange(3))["a"]
    assert np.array_equal(found.x.numpy(), values[GROUPS[1]]["x"].astype(np.float32))
