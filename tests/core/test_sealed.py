"""Files of arrays that notice when they were damaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from polymodal.core.errors import BadData
from polymodal.core.sealed import load_sealed, save_sealed

ARRAYS = {
    "x": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 2), np.int64),
    "on": np.array([True]),
}


@pytest.mark.parametrize("tensors", [False, True])
def test_round_trip(tmp_path, tensors):
    given = {name: torch.from_numpy(array) if tensors else array for name, array in ARRAYS.items()}
    save_sealed(tmp_path / "a.safetensors", given, {"ids": '["a", "b"]'})
    found, about = load_sealed(tmp_path / "a.safetensors", tensors=tensors)
    assert about == {"ids": '["a", "b"]'}
    assert all(isinstance(one, torch.Tensor if tensors else np.ndarray) for one in found.values())
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array)
    assert set(load_file(tmp_path / "a.safetensors")) == set(ARRAYS), "any reader of safetensors can read it"


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    save_sealed(path, ARRAYS)
    content, met = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found, _ = load_sealed(path)
        except BadData as error:
            met += str(path) in str(error)
        else:  # in the words "__metadata__" and "digest" of the header
            assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    assert met > 0.95 * 8 * len(content)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x08" + bytes(7) + b"[1,2,3] "])
def test_other_files_are_damaged(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadData, match="was damaged on the disk"):
        load_sealed(tmp_path / "a")


def test_files_of_before_are_read(tmp_path):
    save_file(ARRAYS, tmp_path / "a")
    np.testing.assert_array_equal(load_sealed(tmp_path / "a")[0]["x"], ARRAYS["x"])
