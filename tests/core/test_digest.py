"""Digests and fingerprints: what must be told apart is, what is the same stays so in every process."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from polymodal.core.digest import digest_bytes, digest_cells, digest_file, digest_text, fingerprint
from polymodal.core.errors import BadArgument

DIFFERENT = [
    None, True, False, 0, 1, 1.0, -0.0, float("nan"), "", "1", b"1", b"", "\ud800",
    [], [[]], [1], [[1]], ["1"], ["1", ""], ["", "1"],
    {}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": {"b": 1}}, [{"a": 1}, {"b": 1}], [{"a": 1, "b": 1}],
    {1}, {1, 2}, dt.date(2020, 1, 1), dt.datetime(2020, 1, 1), Decimal("1.0"), Path("1"), np.dtype("f4"),
    np.zeros(2), np.zeros(2, np.float32), np.zeros((1, 2)), np.zeros((2, 0)), np.array(["a", "bc"]),
    np.array(["ab", "c"]), np.array([None, "a"], object), torch.zeros(2),
    torch.zeros(2, dtype=torch.bfloat16), torch.tensor(0.0),
]  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_different_values_have_different_fingerprints():
    marks = [fingerprint(value) for value in DIFFERENT]
    pairs = itertools.combinations(zip(marks, DIFFERENT), 2)
    same = [(one, other) for (mark, one), (mark2, other) in pairs if mark == mark2]
    assert not same
    assert all(len(mark) == 32 and int(mark, 16) >= 0 for mark in marks)


def test_equal_values_have_equal_fingerprints():
    assert fingerprint((1, "a")) == fingerprint([1, "a"])
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({1: "a"}) == fingerprint({"1": "a"})
    assert fingerprint(np.float64(0.5)) == fingerprint(0.5)
    assert fingerprint(np.int32(3)) == fingerprint(3)
    array = np.arange(12.0).reshape(3, 4)
    assert fingerprint(array.T) == fingerprint(np.ascontiguousarray(array.T))
    assert fingerprint(torch.ones(2, 3).T) == fingerprint(torch.ones(3, 2).contiguous())
    assert fingerprint(torch.nn.Parameter(torch.ones(2))) == fingerprint(torch.ones(2))


@given(plain)
def test_a_value_and_its_json_agree(value):
    import json

    assert fingerprint(json.loads(json.dumps(value))) == fingerprint(value)


def test_weights_count():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(torch.bfloat16)
    before = fingerprint(model.state_dict())
    assert before == fingerprint(model.state_dict())
    with torch.no_grad():
        model[0].bias[1] += 1
    assert fingerprint(model.state_dict()) != before


def test_the_same_in_another_process():
    code = (
        "from polymodal.core.digest import *; from pathlib import Path; import numpy as np\n"
        "class Local:\n def f(self): return {'a', 'b'} == x in {'c', 'd', 'e'}\n"
        "print(fingerprint([{'a': {'x', 'y', 'z'}, 'b': (1, 2.5)}, np.arange(3), Path, Local]),"
        " digest_cells(['a', {'k': 1.5}]).tobytes().hex())"
    )
    told = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told.add(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
    assert len(told) == 1


def test_a_class_is_told_by_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    marks = []
    for body in ("return 1", "return 2", "return 1"):
        (tmp_path / "somewhere_else.py").write_text(f"class Part:\n    def work(self):\n        {body}\n")
        sys.modules.pop("somewhere_else", None)
        import somewhere_else

        marks.append(fingerprint(somewhere_else.Part))
    assert marks[0] == marks[2] != marks[1]


def test_a_class_without_a_file_is_told_by_its_code():
    def build(body: str) -> type:
        scope: dict = {"__name__": "typed_in"}
        exec(f"class Part:\n    def work(self):\n        return {body}", scope)
        return scope["Part"]

    assert fingerprint(build("1")) == fingerprint(build("1"))
    assert fingerprint(build("1")) != fingerprint(build("2"))
    assert fingerprint(build("len(x)")) != fingerprint(build("sum(x)"))


def test_what_has_no_fingerprint_is_named_with_its_place():
    with pytest.raises(BadArgument, match=r"value\['a'\]\[1\] is a function"):
        fingerprint({"a": [1, lambda: 0]})


def test_plain_digests_are_xxh3(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"content" * 300_000)
    assert digest_file(file) == digest_bytes(b"content" * 300_000) == xxhash.xxh3_128_digest(b"content" * 300_000)
    assert digest_text("ä") == digest_bytes("ä".encode())


def test_cells(tmp_path):
    (tmp_path / "one.npy").write_bytes(b"same")
    (tmp_path / "two.npy").write_bytes(b"same")
    (tmp_path / "three.CSV").write_bytes(b"same")
    one, two, three, lost = (tmp_path / n for n in ("one.npy", "two.npy", "three.CSV", "lost.npy"))
    cells = [None, "same", b"same", one, three, lost, tmp_path, {"a": "same"}, {"a": None}, ["same"], np.zeros(2)]
    found = digest_cells(cells)
    assert found.shape == (len(cells), 16)
    assert found.dtype == np.uint8
    assert not found[0].any()
    assert len({row.tobytes() for row in found}) == len(cells)
    np.testing.assert_array_equal(digest_cells([one]), digest_cells([two]))
    assert (digest_cells(cells, "salt") == found).all(1).tolist() == [True] + [False] * (len(cells) - 1)
    lost.write_bytes(b"same")
    np.testing.assert_array_equal(digest_cells([lost]), digest_cells([one]))
    assert digest_cells([]).shape == (0, 16)


def test_record_cells_do_not_depend_on_the_order_of_columns():
    np.testing.assert_array_equal(digest_cells([{"a": 1, "b": "x"}]), digest_cells([{"b": "x", "a": 1}]))
    day = {"a": dt.date(2020, 1, 1), "b": 1}
    assert digest_cells([day]).tobytes() != digest_cells([{"a": dt.date(2020, 1, 2), "b": 1}]).tobytes()
