"""Damaged input of every kind, from the command line: the run finishes, each reason is clear, nothing is lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from polymodal.cli import app
from polymodal.core.errors import BadCell
from polymodal.data.media.cell import Media
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns

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
    assert rows["kept"] + rows["set_aside"] == rows["input"] == len(kept) - rows["added"] + len(aside)
    return {row["id"]: row["reason"] for row in aside}, kept


def table(folder: Path, cells: list[str]) -> Path:
    write_columns({"id": [f"r{i}" for i in range(len(cells))], "file": cells}, folder / "data.csv")
    return folder / "data.csv"


def set_aside_alone(folder: Path, damaged: str, good: Sequence[bytes], suffix: str) -> str:
    """The reason for which the file, beside good ones, is set aside. It names the file; nothing else is set aside."""
    for i in range(GOOD):
        (folder / f"{i}{suffix}").write_bytes(good[i % len(good)])
    aside, kept = run(folder, table(folder, [*(f"{i}{suffix}" for i in range(GOOD)), damaged]), ["readable"])
    assert list(aside) == [f"r{GOOD}"]
    assert kept == [f"r{i}" for i in range(GOOD)]
    reason = aside[f"r{GOOD}"]
    assert reason.startswith(f"file: the file {damaged!r} ")
    assert ": " in reason.removeprefix("file: "), "the reason says what to do"
    return reason.removeprefix(f"file: the file {damaged!r} ")


def pixels(form: str = "PNG", size: tuple[int, int] = (60, 40), **options) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return encoded(Image.fromarray(noise), form, **options)


def encoded(made: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    made.save(buffer, form, **options)
    return buffer.getvalue()


def picture(path: Path) -> bytes:
    path.write_bytes(pixels())
    return path.read_bytes()


def claimed(wide: int, high: int) -> bytes:
    """A PNG that says it has so many pixels, in a few hundred bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 4096)) + chunk(b"IEND", b"")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


CUT = "is a picture that is cut short or damaged"
NONE = "is no picture of a known form; it looks like "
PICTURES: dict[str, tuple[bytes, str]] = {
    "cut.png": (pixels()[:2000], CUT),
    "cut.jpg": (pixels("JPEG")[:1500], CUT),
    "cut.webp": (pixels("WEBP")[:1000], CUT),
    "cut.tif": (pixels("TIFF")[:2000], CUT),
    "cut.gif": (pixels("GIF")[:1500], CUT),
    "header.png": (pixels()[:20], CUT),
    "bits.png": (flipped(pixels()), CUT),
    "empty.png": (b"", "is empty (0 bytes): copy, download or export it again"),
    "zeros.png": (b"\0" * 900, NONE + "nothing but zero bytes"),
    "bomb.png": (claimed(50_000, 50_000), "says that it has 2,500 million pixels, more than the 179 million"),
    "small-bomb.png": (claimed(13_400, 13_400), "says that it has 180 million pixels, more than the 179 million"),
    "flat.png": (claimed(0, 5), NONE + "a PNG picture: correct the path, or copy the file again"),
    "no-frame.gif": (b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff;", NONE + "a GIF picture"),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, NONE + "a HEIC picture"),
    "drawing.png": (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'>", "is an SVG drawing that is cut"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", NONE + "a PostScript drawing"),
    "page.jpg": (b"<!DOCTYPE html><html>not found</html>", NONE + "a web page"),
    "answer.jpg": (b'{"error": 404}', NONE + "JSON"),
    "letter.png": (b"%PDF-1.7\n%\xff", "is a PDF document that cannot be drawn"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", NONE + "a Git LFS pointer"),
    "packed.png": (gzip.compress(pixels()), NONE + "compressed by gzip"),
    "words.png": (b"just words", NONE + "plain text: check that the path names the right file"),
    "two\nlines \N{CROSS MARK}.png": (pixels()[:2000], CUT),
}


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_pictures(name, tmp_path):
    content, reason = PICTURES[name]
    (tmp_path / name).write_bytes(content)
    assert set_aside_alone(tmp_path, name, [pixels()], ".png").startswith(reason)


def places(folder: Path) -> dict[str, str]:
    """Names that are no files, and the reason for each."""
    (folder / "a.png").mkdir()
    os.mkfifo(folder / "b.png")
    (folder / "c.png").symlink_to("c.png")
    (folder / "d.png").symlink_to("nothing.png")
    return {
        "a.png": "is a folder, where a file was expected: name the file in it",
        "b.png": "is a pipe, socket or device, where a file was expected: correct the path",
        "c.png": "cannot be read (too many levels of symbolic links): correct the path or the file",
        "d.png": "is a link to a file that does not exist: put the file there, or mend the link",
        "e.png": "does not exist: correct the path, or put the file there",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["a.png", "b.png", "c.png", "d.png", "e.png"])
def test_paths_that_lead_to_no_file(name, tmp_path):
    reasons = places(tmp_path)
    assert set_aside_alone(tmp_path, name, [pixels()], ".png") == reasons[name]


def test_names_that_no_file_can_have(tmp_path):
    with pytest.raises(BadCell, match="has a name that no file can have: correct the path"):
        Media("image", tmp_path / "a\0b.png").value()
    with pytest.raises(BadCell, match="cannot be read \\(file name too long\\)") as refused:
        Media("image", tmp_path / ("x" * 400)).value()
    assert len(str(refused.value)) < 200


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def locked(self, mode):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "locked.png").write_bytes(pixels())
    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(BadCell, match="the file 'locked.png' may not be read \\(permission denied\\): give yourself"):
        Media("image", tmp_path / "locked.png").value()


def test_unusual_pictures_are_no_fault(tmp_path):
    whole = Image.open(io.BytesIO(pixels()))
    many = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 90, 200)]
    deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    clear = whole.convert("RGBA")
    clear.putalpha(40)
    contents = {
        "cmyk.jpg": encoded(whole.convert("CMYK"), "JPEG"),
        "deep.png": encoded(deep, "PNG"),
        "palette.png": encoded(whole.quantize(16), "PNG"),
        "clear.png": encoded(clear, "PNG"),
        "grey-clear.png": encoded(whole.convert("LA"), "PNG"),
        "bits.png": encoded(whole.convert("1"), "PNG"),
        "trailing.jpg": pixels("JPEG") + b"more" * 99,
        "wrongly named.png": pixels("JPEG"),
        "two\nlines \N{CROSS MARK}.png": pixels(),
        **{
            f"moving.{form}": encoded(many[0], form, save_all=True, append_images=many[1:])
            for form in ("gif", "png", "webp")
        },
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    steps = ["readable", "upright", {"normal": {"size": 8}}, "color", "rotate", "noise", {"flip": {"texts": []}}]
    aside, kept = run(tmp_path, table(tmp_path, list(contents)), steps)
    assert aside == {}
    assert [name for name in kept if "~" not in name] == [f"r{i}" for i in range(len(contents))]
    done = read_table(tmp_path / "out" / "data.csv")
    made = [Image.open(io.BytesIO((tmp_path / "out" / cell).read_bytes())) for cell in done.column("file")]
    assert {(one.mode, max(one.size)) for one in made} == {("RGB", 8)}
    at = {name: np.asarray(made[done.ids.index(f"r{i}")], int) for i, name in enumerate(contents)}
    assert at["deep.png"][0].mean() < 60 < 200 < at["deep.png"][-1].mean(), "16 bits keep their whole range"
    assert at["clear.png"].mean() > 200, "what is transparent becomes white"


def test_a_picture_of_8k_is_no_fault(tmp_path):
    Image.new("RGB", (7680, 4320), (10, 200, 30)).save(tmp_path / "large.png")
    steps = ["readable", "upright", {"normal": {"size": 64}}]
    aside, kept = run(tmp_path, table(tmp_path, ["large.png"] * 2), steps)
    assert aside == {}
    assert len(kept) == 2
    made = read_table(tmp_path / "out" / "data.csv").column("file")[0]
    with Image.open(tmp_path / "out" / made) as small:
        assert small.size == (64, 36)


def wav(samples: np.ndarray, form: str = "WAV", kind: str | None = None) -> bytes:
    soundfile = pytest.importorskip("soundfile")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8000, format=form, subtype=kind)
    return buffer.getvalue()


TONE = np.sin(np.arange(8000) / 9) / 2
UNKNOWN_SOUND = "is no sound of a known form, or is cut short"


def promising(content: bytes, size: int) -> bytes:
    """The WAV file with another length of its samples in the header."""
    return content[:40] + struct.pack("<I", size) + content[44:]


SOUNDS = {
    "empty.wav": (lambda: b"", "is empty (0 bytes)"),
    "header.wav": (lambda: wav(TONE)[:20], UNKNOWN_SOUND + "; it looks like a WAV sound"),
    "none.wav": (lambda: wav(TONE[:0]), "holds no sample"),
    "half.wav": (lambda: wav(TONE)[:8044], "is cut short: the last 8,000 bytes that its header promises are missing"),
    "lie.wav": (lambda: promising(wav(TONE), 160_000), "is cut short: the last 144,000 bytes"),
    "nothing.wav": (lambda: promising(wav(TONE), 0), "holds no sample"),
    "nan.wav": (lambda: wav(np.full(800, np.nan), "WAV", "FLOAT"), "holds samples that are no numbers"),
    "half.flac": (lambda: wav(TONE, "FLAC")[:2000], UNKNOWN_SOUND + "; it looks like a FLAC sound"),
    "half.ogg": (lambda: wav(TONE, "OGG")[:3000], "holds no sample"),
    "noise.mp3": (lambda: random.Random(0).randbytes(3000), UNKNOWN_SOUND + ": copy"),
    "phone.m4a": (lambda: b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 99, UNKNOWN_SOUND + "; it looks like an M4A sound"),
    "picture.wav": (pixels, UNKNOWN_SOUND + "; it looks like a PNG picture"),
    "words.wav": (lambda: b"no sound", UNKNOWN_SOUND + "; it looks like plain text"),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_damaged_sounds(name, tmp_path):
    damage, reason = SOUNDS[name]
    (tmp_path / name).write_bytes(damage())
    assert set_aside_alone(tmp_path, name, [wav(TONE)], ".wav").startswith(reason)


def test_sounds_of_unknown_length_and_with_foreign_bytes_are_heard(tmp_path):
    song = wav(np.tile(TONE, 4), "MP3")
    third = len(song) // 3
    contents = {
        "piped.wav": promising(wav(TONE), 0xFFFFFFFF),
        "tail.mp3": song + random.Random(0).randbytes(500),
        "garbage.mp3": song[:third] + random.Random(1).randbytes(300) + song[third:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    aside, kept = run(tmp_path, table(tmp_path, list(contents)), ["readable"])
    assert aside == {}
    assert len(kept) == 3


def array(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


SERIES = {
    "empty.npy": (b"", "is empty (0 bytes)"),
    "pickle.npy": (
        array(np.array([{"a": 1}, None], object)),
        "holds Python objects (a pickle), which may run any code",
    ),
    "cut.npy": (array(np.arange(50.0))[:200], "is an array in .npy form that is cut short or damaged"),
    "header.npy": (array(np.arange(50.0))[:8], "is an array in .npy form that is cut short or damaged"),
    "nan.npy": (array(np.full(50, np.nan)), "holds no number, only NaN or infinite values: there is nothing to learn"),
    "names.npy": (array(np.array(["a", "b"])), "holds str32 values, where a series has numbers: save them as float"),
    "phases.npy": (array(np.arange(5) + 1j), "holds complex128 values, where a series has numbers"),
    "none.npy": (array(np.zeros((0, 3))), "holds no step (its shape is (0, 3))"),
    "words.npy": (b"no numbers", "is neither an array in .npy form nor lines of numbers"),
    "ragged.csv": (b"1,2\n3\n", "is neither an array in .npy form nor lines of numbers (its lines differ"),
}


@pytest.mark.parametrize("name", SERIES)
def test_damaged_series(name, tmp_path):
    content, reason = SERIES[name]
    (tmp_path / name).write_bytes(content)
    good = [array(np.append(np.arange(40.0 + i), np.nan)) for i in range(GOOD)]
    assert set_aside_alone(tmp_path, name, good, ".npy").startswith(reason)


def test_any_damage_is_a_reason_and_no_crash():
    """Files of every form with bytes changed, cut and put in at random."""
    whole = Image.open(io.BytesIO(pixels()))
    forms = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA", "PCX"]
    files = [("image", encoded(whole, form)) for form in forms]
    files += [("audio", wav(TONE, form)) for form in ("WAV", "FLAC", "OGG", "AIFF")]
    files += [("series", array(np.arange(60.0).reshape(20, 3))), ("series", b"a,b\n1,2\n3,4\n,5\n")]
    files += [("volume", scan) for scan in scans()]
    draw = random.Random(4)
    reasons = []
    for kind, content in files * 25:
        damaged = bytearray(content)
        if draw.random() < 0.25:
            del damaged[draw.randrange(len(damaged)) :]
        most = len(damaged) if draw.random() < 0.5 else min(len(damaged), 200)
        for _ in range(draw.choice((1, 2, 5, 20)) if damaged else 0):
            damaged[draw.randrange(most)] = draw.choice((0, 255, draw.randrange(256)))
        try:
            Media(kind, bytes(damaged)).value()
        except BadCell as error:
            reasons.append(error.reason)
    assert min(map(len, reasons)) > 20
    assert len(reasons) > 5 * len(files)


def scans() -> list[bytes]:
    """A DICOM and a NIfTI file, where their packages are there."""
    found = []
    try:
        import nibabel

        found.append(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)).to_bytes())
        found.append(dicom())
    except ImportError:
        pass
    return found


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


def test_a_csv_with_a_mark_torn_lines_and_an_open_quote(tmp_path):
    lines = [
        "\ufeffid,words",
        *(f"r{i},plain words {i}" for i in range(6)),
        "r6,too,many",
        "r7",
        'r8,"never closed',
        "r9,so",
    ]
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text('["spaces"]')
    words = ["prepare", str(tmp_path / "data.csv"), "-r", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--workers", "0", "-q"])
    assert done.exit_code == 0, done.output
    kept = read_table(tmp_path / "out" / "data.csv").ids  # the mark is no part of a name
    assert kept == [*(f"r{i}" for i in range(6)), "r9"], "an open quote swallows one line, not the rest"
    told = pq.read_table(tmp_path / "out" / "set_aside.parquet").to_pylist()
    reasons = " ".join(one["reason"] for one in told)
    assert "has 3 cells where the header has 2" in reasons
    assert "has 1 cell where the header has 2" in reasons
    assert "has a quote that does not close" in reasons
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert rows["kept"] + rows["set_aside"] == rows["input"]


def test_windows_paths(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(GOOD):
        picture(tmp_path / "photos" / f"{i}.png")
    aside, kept = run(tmp_path, table(tmp_path, [f"photos\\{i}.png" for i in range(GOOD)]), ["readable"])
    assert aside == {}
    assert len(kept) == GOOD


def dicom(**changes: object) -> bytes:
    """A scan of 4 x 4 pixels; `changes` are tags, None takes one out."""
    pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    scan = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    tags = {
        "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": "1.2.3", "Modality": "CT", "Rows": 4,
        "Columns": 4, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": np.arange(16, dtype=np.uint16).tobytes(), **changes,
    }  # fmt: skip
    for name, value in tags.items():
        if value is not None:
            setattr(scan, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, scan, enforce_file_format=True)
    return buffer.getvalue()


def compressed() -> bytes:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    return dicom(syntax=JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8\xff\xf7" + b"\0" * 60]))


SCANS = {
    "empty.dcm": (lambda: b"", "is empty (0 bytes)"),
    "report.dcm": (lambda: dicom(PixelData=None, Modality="SR"), "is a DICOM file without pixels (modality SR): "),
    "cut.dcm": (lambda: dicom()[:-20], "holds pixels that cannot be decoded ("),
    "header.dcm": (lambda: dicom()[:400], "is a DICOM file without pixels (modality CT): "),
    "short.dcm": (lambda: dicom(PixelData=b"\0" * 8), "holds pixels that cannot be decoded"),
    "squeezed.dcm": (compressed, "holds pixels compressed as JPEG-LS"),
    "words.dcm": (
        lambda: b"no scan",
        "is no scan of a known form (DICOM, NIfTI, MetaImage, NRRD, NumPy, TIFF); it looks like plain text",
    ),
}


@pytest.mark.parametrize("name", SCANS)
def test_damaged_scans(name, tmp_path):
    good = dicom()
    (tmp_path / name).write_bytes(SCANS[name][0]())
    assert set_aside_alone(tmp_path, name, [good], ".dcm").startswith(SCANS[name][1])


def test_a_scan_of_many_frames_is_no_fault(tmp_path):
    many = dicom(NumberOfFrames=3, PixelData=np.arange(48, dtype=np.uint16).tobytes())
    (tmp_path / "many.dcm").write_bytes(many)
    (tmp_path / "one.dcm").write_bytes(dicom())
    aside, kept = run(tmp_path, table(tmp_path, ["many.dcm", "one.dcm"]), ["readable", {"scan": {"view": "middle"}}])
    assert aside == {}
    assert len(kept) == 2


def test_damaged_nifti(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
    good = nibabel.Nifti1Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4)).to_bytes()
    huge = bytearray(good)
    huge[42:48] = struct.pack("<3h", 2000, 2000, 2000)
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(good)[:80])
    assert "is a NIfTI file that is cut short" in set_aside_alone(
        tmp_path, "cut.nii.gz", [gzip.compress(good)], ".nii.gz"
    )
    with pytest.raises(BadCell, match="8,000 million voxels, more than the 1000 million that are opened"):
        Media("volume", bytes(huge)).value()
    with pytest.raises(BadCell, match="is a NIfTI file that is cut short or damaged"):
        Media("volume", good[:400]).value()


def film(path: Path, kind: str = "video") -> bytes:
    av = pytest.importorskip("av", reason="the extra video is not installed")
    with av.open(str(path), "w") as out:
        if kind == "video":
            stream = out.add_stream("mpeg4", rate=5)
            stream.width = stream.height = 32
            made = [av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i, np.uint8)) for i in range(5)]
        else:
            stream = out.add_stream("aac", rate=16_000)
            made = [av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")]
            made[0].sample_rate = 16_000
        for frame in made:
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path.read_bytes()


FILMS = {
    "mute.mp4": "holds no video stream, only sound or data: give its column the kind audio, or leave it out",
    "frames.mp4": "is no video of a known form, or is cut short",
    "cut.mp4": "is no video of a known form, or is cut short; it looks like an MP4 or QuickTime file",
    "index.mp4": "is no video of a known form, or is cut short; it looks like an MP4 or QuickTime file",
    "empty.mp4": "is empty (0 bytes)",
    "words.mp4": "is no video of a known form, or is cut short; it looks like plain text",
}


@pytest.mark.parametrize("name", FILMS)
def test_damaged_films(name, tmp_path):
    good = film(tmp_path / "good.mp4")
    bad = tmp_path / name
    if name == "mute.mp4":
        film(bad, kind="audio")
    elif name == "frames.mp4":
        start = good.index(b"mdat") + 4
        bad.write_bytes(good[:start] + b"\xff" * 600 + good[start + 600 :])
    else:
        bad.write_bytes({"cut.mp4": good[:60], "index.mp4": good[:-300], "empty.mp4": b""}.get(name, b"no film"))
    assert set_aside_alone(tmp_path, name, [good], ".mp4").startswith(FILMS[name])


def test_what_is_used_all_the_same_is_a_note(tmp_path):
    cut = pixels("JPEG", (64, 64), quality=95)[:-300]
    for i, content in enumerate((pixels("JPEG"), cut, cut + b"\0")):
        (tmp_path / f"{i}.jpg").write_bytes(content)
    aside, kept = run(tmp_path, table(tmp_path, [f"{i}.jpg" for i in range(3)]), ["upright"])
    assert (aside, kept) == ({}, ["r0", "r1", "r2"])
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert [note for note in notes if note.startswith("file: 2 cells used all the same: it is cut short")], notes
