"""Damaged input of every kind, from the command line: the run finishes, each reason is clear, nothing is lost."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from polymodal.cli import app
from polymodal.data.source import read_table
from polymodal.data.write import write_columns

GOOD = 4  # undamaged rows beside each damaged one


def run(folder: Path, data: Path, steps: list) -> tuple[dict[str, str], list[str]]:
    """Reasons of the rows set aside by id, and ids of those kept."""
    (folder / "recipe.yaml").write_text(json.dumps(steps))
    words = ["prepare", str(data), "-r", str(folder / "recipe.yaml"), "-o", str(folder / "out"), "--workers", "0", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    aside = [r for r in pq.read_table(folder / "out" / "set_aside.parquet").to_pylist() if not r["column"]]
    kept = read_table(next((folder / "out").glob("data.*"))).ids
    rows = json.loads((folder / "out" / "report.json").read_text())["rows"]
    assert rows["kept"] + rows["set_aside"] == rows["input"] == len(kept) + len(aside)
    return {row["id"]: row["reason"] for row in aside}, kept


def table(folder: Path, cells: list[str]) -> Path:
    write_columns({"id": [f"r{i}" for i in range(len(cells))], "file": cells}, folder / "data.csv")
    return folder / "data.csv"


def picture(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)).save(path)
    return path.read_bytes()


def bomb(path: Path) -> None:
    """A PNG that says it has 60,000 x 60,000 pixels, in a few hundred bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 4096)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


PICTURES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda p: p.write_bytes(picture(p)[:200]), "is no readable picture: "),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty (0 bytes)"),
    "absent": (lambda p: None, "the file 'bad.png' does not exist"),
    "another kind": (lambda p: p.write_text("<html>not found</html>"), "is no picture of a known form"),
    "a bomb": (bomb, "could be decompression bomb"),
    "a folder": (lambda p: p.mkdir(), "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("fault", PICTURES)
def test_damaged_pictures(fault, tmp_path):
    damage, reason = PICTURES[fault]
    for i in range(GOOD):
        picture(tmp_path / f"{i}.png")
    damage(tmp_path / "bad.png")
    aside, kept = run(tmp_path, table(tmp_path, [f"{i}.png" for i in range(GOOD)] + ["bad.png"]), ["readable"])
    assert list(aside) == [f"r{GOOD}"]
    assert reason in aside[f"r{GOOD}"]
    assert kept == [f"r{i}" for i in range(GOOD)]


def test_a_picture_of_8k_is_no_fault(tmp_path):
    Image.new("RGB", (7680, 4320), (10, 200, 30)).save(tmp_path / "large.png")
    steps = ["readable", "upright", {"normal": {"size": 64}}]
    aside, kept = run(tmp_path, table(tmp_path, ["large.png"] * 2), steps)
    assert aside == {}
    assert len(kept) == 2
    made = read_table(tmp_path / "out" / "data.csv").column("file")[0]
    with Image.open(tmp_path / "out" / made) as small:
        assert small.size == (64, 36)


@pytest.mark.parametrize("fault", ["empty", "header alone", "text", "no sample"])
def test_damaged_sounds(fault, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for i in range(GOOD):
        soundfile.write(tmp_path / f"{i}.wav", np.sin(np.arange(800) / 9), 8000)
    bad = tmp_path / "bad.wav"
    whole = (tmp_path / "0.wav").read_bytes()
    if fault == "no sample":
        soundfile.write(bad, np.zeros(0), 8000)
    else:
        bad.write_bytes({"empty": b"", "header alone": whole[:20], "text": b"no sound"}[fault])
    aside, kept = run(tmp_path, table(tmp_path, [f"{i}.wav" for i in range(GOOD)] + ["bad.wav"]), ["readable"])
    expected = {"empty": "the file is empty (0 bytes)", "no sample": "holds no sample"}
    assert aside == {f"r{GOOD}": f"file: {expected.get(fault, 'is no sound of a known form, or is cut short')}"}
    assert len(kept) == GOOD


def test_a_nul_byte_and_wrong_encodings_in_a_csv(tmp_path):
    lines = [b"id,words", b"r0,plain words here", b"r1,with a \x00 in it", "r2,café au lait".encode("latin-1")]
    (tmp_path / "data.csv").write_bytes(b"\n".join([*lines, *(b"r%d,more words %d" % (i, i) for i in range(3, 9))]))
    aside, kept = run(tmp_path, tmp_path / "data.csv", ["spaces"])
    assert aside == {}
    assert kept == [f"r{i}" for i in range(9)]
    words = read_table(tmp_path / "out" / "data.csv").column("words")
    assert words[1:3] == [None, "café au lait"]
    (cell,) = pq.read_table(tmp_path / "out" / "set_aside.parquet").to_pylist()
    assert (cell["id"], cell["column"], cell["reason"]) == ("r1", "words", "holds a NUL byte (line 3); cell set aside")
    (note,) = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert "is not UTF-8; read as Windows-1252" in note


def test_windows_paths(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(GOOD):
        picture(tmp_path / "photos" / f"{i}.png")
    aside, kept = run(tmp_path, table(tmp_path, [f"photos\\{i}.png" for i in range(GOOD)]), ["readable"])
    assert aside == {}
    assert len(kept) == GOOD


def test_a_scan_without_pixels(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    for i in range(3):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
        scan = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        scan.SOPClassUID, scan.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        scan.Modality, scan.PatientName = "CT", "Doe^Jane"
        if i:
            scan.Rows = scan.Columns = 4
            scan.BitsAllocated = scan.BitsStored = 16
            scan.HighBit, scan.PixelRepresentation, scan.SamplesPerPixel = 15, 0, 1
            scan.PhotometricInterpretation = "MONOCHROME2"
            scan.PixelData = np.arange(16, dtype=np.uint16).tobytes()
        pydicom.dcmwrite(tmp_path / f"{i}.dcm", scan, enforce_file_format=True)
    aside, kept = run(tmp_path, table(tmp_path, [f"{i}.dcm" for i in range(3)]), ["readable", "scan"])
    assert list(aside) == ["r0"]
    assert "pixel" in aside["r0"]
    assert kept == ["r1", "r2"]


def test_films_without_a_picture_and_cut_short(tmp_path):
    av = pytest.importorskip("av", reason="the extra video is not installed")
    for name, kind in (("good", "video"), ("mute", "audio"), ("cut", "video")):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as out:
            if kind == "video":
                stream = out.add_stream("mpeg4", rate=5)
                stream.width = stream.height = 32
                frames = [av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i, np.uint8)) for i in range(5)]
            else:
                stream = out.add_stream("aac", rate=16_000)
                frames = [av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")]
                frames[0].sample_rate = 16_000
            for frame in frames:
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "cut.mp4").read_bytes()[:60])
    aside, kept = run(tmp_path, table(tmp_path, ["good.mp4", "mute.mp4", "cut.mp4"]), ["readable"])
    assert kept == ["r0"]
    assert aside == {
        "r1": "file: holds no video stream",
        "r2": "file: is no video of a known form, or is cut short",
    }
