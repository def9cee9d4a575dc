"""One decoder: a picture, a sound and an array come out the same, whether a fit or a recipe asks."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from PIL import Image, PngImagePlugin, features

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.data.cells import cells
from polymodal.data.kinds import KINDS
from polymodal.data.media import picture, sound
from polymodal.data.media.array import map_array, read_array
from polymodal.data.media.cell import Media
from polymodal.data.media.picture import flat, open_picture, read_picture
from polymodal.data.media.prints import small_grey
from polymodal.data.media.sound import read_sound
from polymodal.data.schema import Field
from polymodal.data.tables.table import Table
from polymodal.process.audio import AudioProcessor
from polymodal.process.image import ImageProcessor
from polymodal.process.series import SeriesProcessor
from polymodal.process.vector import VectorProcessor


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def coloured(size: tuple[int, int] = (48, 32)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(pixels)


def turned(tag: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


DEEP = Image.fromarray((np.arange(48 * 32, dtype=np.uint16) * 2).reshape(32, 48))
PALETTE = coloured().convert("RGB").quantize(8)
PICTURES = {
    "RGB": encoded(coloured().convert("RGB")),
    "grey": encoded(coloured().convert("L")),
    "bits": encoded(coloured().convert("1")),
    "alpha": encoded(coloured()),
    "grey alpha": encoded(coloured().convert("LA")),
    "palette": encoded(PALETTE),
    "palette with a clear colour": encoded(PALETTE, transparency=3),
    "colour with a clear one": encoded(coloured().convert("RGB"), transparency=(1, 2, 3)),
    "sixteen bits": encoded(DEEP),
    "float": encoded(Image.fromarray(np.linspace(-1, 2, 1536, dtype=np.float32).reshape(32, 48)), "TIFF"),
    "CMYK": encoded(coloured().convert("CMYK"), "JPEG"),
    "JPEG": encoded(coloured().convert("RGB"), "JPEG"),
    "turned": encoded(coloured().convert("RGB"), "JPEG", exif=turned()),
    "turned alpha": encoded(coloured(), exif=turned()),
    "turned sixteen bits": encoded(DEEP, exif=turned(8)),
    "WebP": encoded(coloured(), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_fit_and_a_recipe_see_the_same_picture(name):
    fitted = ImageProcessor().read(PICTURES[name])
    seen = np.asarray(flat(Media("image", PICTURES[name]).value()))
    seen = seen[..., None] if seen.ndim == 2 else seen
    assert np.array_equal(np.broadcast_to(fitted, seen.shape), seen)
    assert seen.shape[:2] == ((48, 32) if "turned" in name else (32, 48))
    small = small_grey(PICTURES[name])
    assert np.abs(small.astype(int) - small_grey(fitted)).mean() < 2, "a JPEG's own grey differs a little"
    assert np.array_equal(small, Media("image", PICTURES[name]).small_grey())


def test_alpha_lies_on_white_and_sixteen_bits_use_those_that_are_there():
    clear = flat(open_picture(encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0)))))
    assert (np.asarray(clear) == 255).all()
    assert np.asarray(flat(DEEP)).max() == round(3070 * 255 / 4095), "twelve bits"
    plain = coloured().convert("RGB")
    assert flat(plain) is plain


def test_one_limit_of_pixels_for_all(monkeypatch):
    monkeypatch.setattr(picture, "MOST_PIXELS", 1500)
    for read in (ImageProcessor().read, open_picture, small_grey, lambda content: Media("image", content).value()):
        with pytest.raises(BadCell, match="million pixels, more than"):
            read(PICTURES["RGB"])
    large = encoded(coloured((320, 270)).convert("RGB"), "JPEG")
    assert read_picture(large, 20).size == (24, 20), "a JPEG counts as it is decoded"
    assert small_grey(large).shape == (32, 32)
    with pytest.raises(BadCell, match="million pixels"):
        read_picture(large, 300)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(picture, "LARGE", 1000)
    held = []

    class Lock:
        def __enter__(self):
            held.append(True)

        def __exit__(self, *given):
            held.append(False)

    monkeypatch.setattr(picture, "_LARGE", Lock())
    read_picture(PICTURES["RGB"], 16)
    read_picture(encoded(coloured((20, 20))), 16)
    assert held == [True, False]


def test_a_png_with_a_megabyte_of_text_is_read():
    told = PngImagePlugin.PngInfo()
    told.add_text("workflow", "x" * 3_000_000, zip=True)
    content = encoded(coloured().convert("RGB"), pnginfo=told)
    assert len(content) < 20_000
    for read in (ImageProcessor().read, lambda content: np.asarray(open_picture(content))):
        assert np.array_equal(read(content), np.asarray(coloured().convert("RGB")))
    late = content[:8] + content[8:33] + content[33:]
    text = late.index(b"zTXt") - 4
    size = struct.unpack(">I", late[text : text + 4])[0] + 12
    late = late[:text] + late[text + size : -12] + late[text : text + size] + late[-12:]
    assert ImageProcessor().read(late).shape == (32, 48, 3), "text behind the pixels"
    with pytest.raises(BadCell, match="cut short or damaged"):
        open_picture(content[: len(content) // 2])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot open AVIF")
def test_avif():
    smooth = coloured((3, 2)).convert("RGB").resize((48, 32))
    content = encoded(smooth, "AVIF", quality=95)
    assert np.abs(ImageProcessor().read(content).astype(int) - np.asarray(smooth)).mean() < 5
    with pytest.raises(BadCell, match="it looks like an AVIF picture"):
        open_picture(content[:60])


def test_a_postscript_drawing_is_never_run(monkeypatch):
    def run(*given, **options):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    for read in (open_picture, ImageProcessor().read):
        with pytest.raises(BadCell, match="PostScript drawing: export it as PNG"):
            read(drawing)


def test_arrays_are_pictures_too():
    pixels = np.asarray(coloured())
    assert ImageProcessor().read(pixels[..., :3]).shape == (32, 48, 3)
    assert ImageProcessor().read(pixels[..., :1]).shape == (32, 48, 1)
    with pytest.raises(BadCell, match="is an array of 4 x 4 x 7 values of float64, which is no picture"):
        ImageProcessor().read(np.zeros((4, 4, 7)))


TONE = np.sin(np.arange(8000) / 9) / 2


def wav(samples: np.ndarray, rate: int = 8000, form: str = "WAV") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_fit_and_a_recipe_hear_the_same_sound(form, channels, tmp_path):
    content = wav(np.stack([TONE, TONE / 2], 1)[:, :channels], form=form)
    (tmp_path / "a.sound").write_bytes(content)
    heard = Media("audio", tmp_path / "a.sound").value()
    fitted = AudioProcessor().read(content)
    assert fitted.rate == heard.rate == 8000
    assert np.array_equal(fitted.samples, heard.mono())
    assert heard.samples.shape[1:] == ((2,) if channels == 2 else ())
    again = AudioProcessor(rate=4000).read(content)
    assert np.array_equal(again.at(4000), heard.at(4000))
    assert len(read_sound(content, 0.25).samples) == 2000


def test_sounds_that_claim_too_much_are_refused(monkeypatch):
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 400_000_000, 400_000_000, 1, 8)
    bomb = b"RIFF" + struct.pack("<I", 4036) + head + b"data" + struct.pack("<I", 4000) + bytes(4000)
    for read in (AudioProcessor().read, lambda content: Media("audio", content).value()):
        with pytest.raises(BadCell, match="400,000,000 samples a second, above the 1,000,000"):
            read(bomb)
    monkeypatch.setattr(sound, "MOST_VALUES", 1000)
    with pytest.raises(BadCell, match="says that it has 1 seconds of 1 channels"):
        read_sound(wav(TONE))
    assert len(read_sound(wav(TONE), 0.1).samples) == 800


def test_a_sound_cut_short_is_refused_unless_what_is_asked_for_is_there():
    half = wav(TONE)[:8044]
    for seconds in (None, 0.9):
        with pytest.raises(BadCell, match="the last 8,000 bytes that its header promises are missing"):
            read_sound(half, seconds)
    assert len(read_sound(half, 0.4).samples) == 3200


def m4a() -> bytes:
    av = pytest.importorskip("av")
    stream = io.BytesIO()
    with av.open(stream, "w", format="ipod") as container:
        track = container.add_stream("aac", rate=16_000, layout="mono")
        tone = (np.sin(np.arange(32_000) * 0.2) / 2).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)
    return stream.getvalue()


def test_m4a_is_read_by_pyav_or_says_what_to_do(monkeypatch):
    content = m4a()
    heard = AudioProcessor().read(content)
    assert heard.rate == 16_000
    assert heard.seconds == pytest.approx(2, abs=0.2)
    assert np.array_equal(Media("audio", content).value().samples, read_sound(content).samples)
    assert len(read_sound(content, 0.5).samples) == 8000
    peak = np.abs(np.fft.rfft(heard.samples[4000:20_000])).argmax() * 16_000 / 16_000
    assert peak == pytest.approx(0.2 * 16_000 / (2 * np.pi), abs=3)

    def absent(*given):
        raise MissingExtra("no av")

    monkeypatch.setattr(sound, "require", absent)
    with pytest.raises(BadCell, match=r"an M4A sound .* convert it to FLAC, or pip install 'polymodal\[video\]'"):
        AudioProcessor().read(content)


def packed(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


VALUES = np.array([1.5, 2.0, 3.25])


@pytest.mark.parametrize(
    "content", [npy(VALUES), packed(a=VALUES), b"1.5\n2\n3.25\n", b"\xef\xbb\xbfname\n1.5\n2\n3.25\n"]
)
def test_one_array_whoever_asks(content, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert SeriesProcessor().read(path)[:, 0].tolist() == VALUES.tolist()
    assert VectorProcessor().read(path).tolist() == VALUES.tolist()
    assert Media("series", path).value().ravel().tolist() == VALUES.tolist()
    table = Table.build({"v": [content]}, base=tmp_path)
    assert np.ravel(cells(table, Field("v", "vector", ("v",)))[0]).tolist() == VALUES.tolist()


def test_pickles_are_never_read(tmp_path):
    objects = np.array([{"a": 1}, None], object)
    for name, content in (("a.npy", npy(objects)), ("a.npz", packed(a=objects))):
        (tmp_path / name).write_bytes(content)
        for read in (SeriesProcessor().read, VectorProcessor().read, read_array, map_array):
            with pytest.raises(BadCell, match=rf"{name}' holds Python objects \(a pickle\), which may run any code"):
                read(tmp_path / name)
    with pytest.raises(BadCell, match="holds several arrays \\(a, b\\)"):
        read_array(packed(a=VALUES, b=VALUES))
    with pytest.raises(BadCell, match="cut short or damaged"):
        read_array(packed(a=VALUES)[:90])


def test_avif_files_are_told_to_be_pictures():
    assert KINDS.of_file("a/b.avif") == KINDS.of_bytes(b"\0\0\0\x20ftypavif\0\0\0\0") == "image"
    assert KINDS.of_bytes(b"\0\0\0\x20ftypisom\0\0\0\0") == "video"
