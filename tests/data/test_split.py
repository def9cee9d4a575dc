"""Splits and folds: whole groups, fair shares, the same again for the same seed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData
from polymodal.data.split import (
    PARTS,
    fold_ids,
    moments_of,
    some_of,
    split_in_time,
    split_of_column,
    split_rows,
    strata,
)


@settings(max_examples=80, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=12, max_size=120),
    groups=st.one_of(st.none(), st.integers(3, 30)),
    seed=st.integers(0, 3),
)
def test_every_row_is_in_one_part_and_groups_stay_whole(labels, groups, seed):
    random = np.random.default_rng(seed)
    named = None if groups is None else [*range(3), *random.integers(0, groups, len(labels) - 3).tolist()]
    split = split_rows(len(labels), labels=labels, groups=named, seed=seed)
    assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(len(labels)))
    assert all(len(rows) for rows in split.values())
    again = split_rows(len(labels), labels=labels, groups=named, seed=seed)
    assert all((split[part] == again[part]).all() for part in PARTS)
    if named is not None:
        homes = [{named[row] for row in rows} for rows in split.values()]
        assert sum(map(len, homes)) == len(set(named))


def test_shares_and_strata_are_kept():
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    split = split_rows(1000, labels=labels, seed=1)
    assert {part: len(rows) for part, rows in split.items()} == {"train": 700, "valid": 100, "test": 200}
    for part, share in zip(PARTS, (0.7, 0.1, 0.2)):
        np.testing.assert_allclose(np.bincount(labels[split[part]]), np.array([700, 250, 50]) * share, atol=2)


def test_many_small_classes_still_fill_every_part():
    split = split_rows(300, labels=np.repeat(np.arange(100), 3))
    assert [len(split[part]) for part in PARTS] == pytest.approx([210, 30, 60], abs=25)
    assert len(set((split["train"] // 3).tolist())) == 100  # every class can be learned


def test_a_class_of_one_group_is_in_train():
    groups = np.repeat(np.arange(10), 10)
    labels = np.where(groups == 3, "rare", "common").tolist()
    for seed in range(8):
        split = split_rows(100, labels=labels, groups=groups.tolist(), seed=seed)
        assert 30 in split["train"]


def test_groups_of_many_sizes_come_near_their_shares():
    random = np.random.default_rng(0)
    groups = random.zipf(1.5, 3000) % 200
    labels = (groups % 2).astype(np.int64)
    split = split_rows(3000, labels=labels, groups=groups.tolist())
    assert len(split["test"]) == pytest.approx(600, rel=0.2)
    assert len(split["valid"]) == pytest.approx(300, rel=0.2)


def test_another_seed_is_another_split():
    assert (split_rows(100, seed=0)["test"] != split_rows(100, seed=1)["test"]).any()


def test_a_part_may_be_left_out():
    split = split_rows(50, valid=0.2, test=0)
    assert [len(split[part]) for part in PARTS] == [40, 10, 0]
    assert split_rows(10, valid=0, test=0.5, groups=[i // 2 for i in range(10)])["valid"].size == 0


def test_rows_without_a_group_stand_alone():
    split = split_rows(40, groups=[None] * 38 + ["a", "a"])
    assert any({38, 39} <= set(rows.tolist()) for rows in split.values())


def test_folds_are_even_in_size_and_class():
    labels = np.repeat([0, 1], [80, 20])
    fold = fold_ids(100, 5, labels=labels, seed=0)
    assert np.bincount(fold).tolist() == [20] * 5
    assert np.bincount(fold[labels == 1]).tolist() == [4] * 5
    grouped = fold_ids(100, 5, labels=labels, groups=[i // 4 for i in range(100)], seed=0)
    assert all(len(set(grouped[i : i + 4])) == 1 for i in range(0, 100, 4))
    assert (np.bincount(grouped) >= 16).all()


def test_the_first_of_unlike_folds_is_the_most_typical():
    labels = np.repeat([0, 0, 1, 0], 10)
    labels[10:20:2] = 1  # of the groups only the second has both labels
    for seed in range(5):
        fold = fold_ids(40, 4, labels=labels, groups=np.repeat(["a", "b", "c", "d"], 10).tolist(), seed=seed)
        assert sorted(np.bincount(fold)) == [10] * 4
        assert (fold[10:20] == 0).all()


def test_some_rows_are_drawn_from_all():
    rows = np.arange(100, 1100)
    some = some_of(rows, 100)
    assert len(some) == len(set(some.tolist())) == 100
    assert (np.diff(some) > 0).all()
    assert abs(some.mean() - rows.mean()) < 100
    assert np.array_equal(some, some_of(rows, 100))
    assert some_of(rows, 1000) is rows


def test_strata():
    assert strata(None, 3).tolist() == [0, 0, 0]
    assert strata(["b", "a", None], 3).tolist() == [2, 1, 0]
    assert strata(np.array([1, -1, 1]), 3).tolist() == [1, 0, 1]
    tenths = strata(np.array([*range(100), np.nan], dtype=np.float32), 101)
    assert np.bincount(tenths).tolist() == [10] * 10 + [1]
    hot = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0]], np.float32)
    assert strata(hot, 5).tolist() == [2, 1, 0, 1, 3]  # the rarest label decides; no label is a stratum too
    with pytest.raises(BadArgument, match=r"2 labels were given for 3 rows"):
        strata([1, 2], 3)


def test_the_split_column_is_obeyed():
    split = split_of_column(["train", "VAL", "dev", " test ", "Training"])
    assert split == ["train", "valid", "valid", "test", "train"]
    with pytest.raises(
        BadData, match=r"The split of row b is 'tset'; it must be train, valid or test\. Did you mean 'test'\?"
    ):
        split_of_column(["train", "tset"], ids=["a", "b"])
    with pytest.raises(BadData, match=r"The split of row 0 is missing; it must be"):
        split_of_column([None])
    with pytest.raises(BadData, match=r"no row to train on"):
        split_of_column(["test"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: split_rows(10, valid=0.6, test=0.4),
            BadArgument,
            r"valid=0\.6 and test=0\.4 must be 0 or more and leave a share",
        ),
        (lambda: split_rows(10, valid=-0.1), BadArgument, r"must be 0 or more"),
        (lambda: split_rows(2), BadData, r"2 rows cannot be shared among 3 parts: each needs at least one"),
        (
            lambda: split_rows(9, groups=["a", "b"] * 4 + ["a"]),
            BadData,
            r"2 groups cannot be shared among 3 parts: .* Choose another",
        ),
        (lambda: split_rows(3, groups=["a"]), BadArgument, r"1 groups were given for 3 rows"),
        (lambda: fold_ids(10, 1), BadArgument, r"k=1 folds: at least 2 are needed"),
        (lambda: fold_ids(3, 5), BadData, r"3 rows cannot be shared among 5 parts"),
    ],
)
def test_what_cannot_be_split_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(max_examples=60, deadline=None)
@given(
    moments=st.lists(st.one_of(st.integers(0, 30).map(float), st.just(float("nan"))), min_size=8, max_size=80),
    valid=st.sampled_from([0.0, 0.1, 0.3]),
    grouped=st.booleans(),
)
def test_a_split_in_time_looks_never_ahead(moments, valid, grouped):
    when = np.array(moments)
    groups = [row // 3 for row in range(len(when))] if grouped else None
    try:
        parts = split_in_time(when, valid=valid, test=0.2, groups=groups)
    except BadData:
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(when)))
    assert len(parts["train"])
    assert len(parts["test"])
    assert bool(len(parts["valid"])) == (valid > 0)
    latest = when if groups is None else np.array([np.fmax.reduce(when[np.array(groups) == g]) for g in groups])
    ends = [
        (np.nanmin(latest[rows]), np.nanmax(latest[rows])) for rows in parts.values() if np.isfinite(latest[rows]).any()
    ]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert np.isfinite(latest[parts["test"]]).all()


def test_a_split_in_time_meets_its_shares_where_moments_allow():
    when = np.random.default_rng(0).permutation(100).astype(float)
    parts = split_in_time(when, valid=0.15, test=0.15)
    assert [len(parts[name]) for name in PARTS] == [70, 15, 15]
    assert when[parts["test"]].min() == 85
    with pytest.raises(BadData, match=r"2 moments cannot be shared among 3 parts, one after the other"):
        split_in_time(np.array([1.0, 2.0, 2.0]), valid=0.1, test=0.1)
    with pytest.raises(BadArgument, match=r"leave a share for training"):
        split_in_time(when, valid=0.5, test=0.5)


def test_moments_are_read_as_their_column_writes_them():
    days = moments_of(["31/12/2019", "1/1/2020", None, "soon"])
    assert days[1] - days[0] == 86_400
    assert np.isnan(days[2:]).all()
    assert moments_of(["7", "8.5", "x"])[:2].tolist() == [7.0, 8.5]


def test_a_time_in_the_schema_cuts_a_fit(tmp_path):
    rows = 120
    table = {
        "day": [f"2020-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(rows)],
        "x": np.random.default_rng(0).normal(size=rows).tolist(),
        "label": ["a", "b"] * (rows // 2),
    }
    order = np.random.default_rng(1).permutation(rows)
    shuffled = {name: [values[i] for i in order] for name, values in table.items()}
    shuffled["day"][5] = None
    plan = pm.plan(shuffled, "label", schema={"time": "day"})
    assert list(plan.schema.fields["table"].columns) == ["x"]
    days = np.array([day or "" for day in plan.table.column("day")])
    assert (
        max(days[plan.split == 0])
        < min(days[plan.split == 1])
        <= max(days[plan.split == 1])
        < min(days[plan.split == 2])
    )
    assert not plan.bagged  # parts drawn from all rows would judge the past by the future
    assert any("the latest by 'day'" in note for note in plan.notes)
    assert any("Kept in train: 1 row whose 'day' tells no moment (row 5: None)." in note for note in plan.notes)
    early, late = ({n: v[a:b] for n, v in table.items()} for a, b in ((0, 60), (60, 120)))
    notes = pm.plan(late, "label", test=early, schema={"time": "day"}).notes
    assert any("that is a look ahead" in note for note in notes), notes
    with pytest.raises(BadData, match=r"'label' cannot be both the target and the time"):
        pm.plan(table, "label", schema={"time": "label"})
    with pytest.raises(BadData, match=r"'word', named as the time, holds neither dates nor numbers, as 'soon'"):
        pm.plan({**table, "word": ["soon"] * rows}, "label", schema={"time": "word"})
    with pytest.raises(BadArgument, match=r"the later validation rows decide"):
        pm.plan(table, "label", schema={"time": "day"}, config={"evidence": "folds"})
