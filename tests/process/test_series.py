"""Series: sources, gaps, lengths, broken cells."""

import numpy as np
import pytest
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process.series import SeriesProcessor


def test_sources_agree(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{a},{b}" for a, b in values), encoding="utf-8-sig")
    (tmp_path / "b.csv").write_text("\n".join(f"{a};{b}" for a, b in values))
    for cell in (values, values.tolist(), tmp_path / "a.npy", tmp_path / "a.csv", str(tmp_path / "b.csv")):
        assert np.array_equal(SeriesProcessor().read(cell), values)
    assert SeriesProcessor().read([1, 2, 3]).shape == (3, 1)


def test_gaps_are_filled_and_marked(tmp_path):
    (tmp_path / "gap.csv").write_text("1,\n,5\n3,\n4,nan\n")
    processor = SeriesProcessor(length=6)
    cell = processor.read(tmp_path / "gap.csv")
    processor.fit([cell])
    arrays = processor.process([cell])
    assert arrays["values"][0].T.tolist() == [[1, 2, 3, 4, 0, 0], [5, 5, 5, 5, 0, 0]]
    assert arrays["valid"][0].T.tolist() == [[1, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert arrays["length"].tolist() == [4]


def test_a_channel_without_any_value_is_zero():
    processor = SeriesProcessor(length=2)
    cell = processor.read([[1.0, np.nan], [2.0, np.nan]])
    processor.fit([cell])
    arrays = processor.process([cell])
    assert arrays["values"][0].tolist() == [[1, 0], [2, 0]]
    assert not arrays["valid"][0, :, 1].any()


def test_length_follows_training_and_resampling_keeps_the_ends():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    processor = SeriesProcessor(framing="resample", length=11)
    processor.fit([ramp])
    arrays = processor.process([ramp, ramp[:3]])
    assert arrays["values"][0, :, 0] == pytest.approx(np.linspace(0, 1, 11), abs=1e-6)
    assert arrays["values"][1, -1, 0] == pytest.approx(0.02)
    assert arrays["length"].tolist() == [11, 11]
    chosen = SeriesProcessor()
    chosen.fit([ramp] * 20)
    assert chosen.facts() == {"channels": 1, "length": 101, "rate": 1.0}
    again = SeriesProcessor()
    again.load_state(chosen.state())
    assert again.facts() == chosen.facts()


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ([np.nan, np.inf], "no finite"),
        ([[1, 2], [3]], "not a series"),
        (["a", "b"], "not a series"),
        ([], "no finite"),
        (np.zeros((2, 2, 2)), "this has 3"),
        (5.0, "this has 0"),
    ],
)
def test_bad_cells(cell, word):
    with pytest.raises(BadCell, match=word):
        SeriesProcessor().read(cell)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.npy", b"", "is empty"),
        ("a.npy", b"\x93NUMPY", "cut short or damaged"),
        ("a.csv", b"names", "no line"),
        ("a.csv", b"1,2\n3\n", "differ"),
        ("a.csv", b"1,2\n3,x\n", "could not convert"),
        ("a.csv", b"\xff\xfe\x00", "is neither an array"),
        ("a.xlsx", b"PK\x03\x04", "cut short or damaged"),
    ],
)
def test_broken_files_are_bad_cells(name, content, word, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadCell, match=word):
        SeriesProcessor().read(tmp_path / name)


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadCell):
        SeriesProcessor().read(tmp_path / "p.npy")


def test_other_channels_than_in_training():
    processor = SeriesProcessor()
    processor.fit([np.zeros((5, 2), np.float32)])
    with pytest.raises(BadCell, match="3 channels where training has 2"):
        processor.read(np.zeros((5, 3)))
    with pytest.raises(BadCell, match="3 channels"):
        processor.process([np.zeros((5, 3), np.float32)])


def test_noise_has_the_stated_ratio():
    values = torch.randn(8, 200, 2) * torch.tensor([1.0, 50.0])
    valid = torch.ones(8, 200, 2, dtype=torch.bool)
    valid[:, 150:] = False
    inputs = {"values": values, "valid": valid, "length": torch.full((8,), 200)}
    noisy = SeriesProcessor().corrupt(inputs, 0.25, torch.Generator().manual_seed(1))["values"]
    ratio = (noisy - values)[:, :150].std((0, 1)) / values.std((0, 1))
    assert ratio.tolist() == pytest.approx([0.5, 0.5], rel=0.1)
    assert torch.equal(noisy[:, 150:], values[:, 150:])


def test_options_are_checked():
    for wrong in ({"framing": "stretch"}, {"length": 1}, {"rate": 0}):
        with pytest.raises(BadArgument):
            SeriesProcessor(**wrong)
