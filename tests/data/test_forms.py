"""Files of telephones and offices: what is read, what is mended and said so, and what costs an error and no more."""

from __future__ import annotations

import gzip
import importlib.util
import io
import struct
import time

import numpy as np
import pytest
import soundfile
from PIL import Image, features

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.data.inspection.inspect import inspect_table
from polymodal.data.kinds import KINDS
from polymodal.data.media import drawing, mending, picture, sound
from polymodal.data.media.cell import Media
from polymodal.data.media.picture import open_picture
from polymodal.data.media.remarks import remarks, summed
from polymodal.data.media.sound import Sound, read_sound, soundtrack
from polymodal.data.schema import Schema
from polymodal.data.storage.dataset import Dataset, process_table, read_cells
from polymodal.data.storage.store import Store
from polymodal.data.tables.table import Problem, Table
from polymodal.ops.clean.image import Readable
from polymodal.ops.rows import Row, Rows
from polymodal.process.audio import AudioProcessor
from polymodal.process.image import ImageProcessor

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)).resize((160, 120))


def encoded(form: str, image: Image.Image = PHOTO, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def seen(content: bytes) -> tuple[np.ndarray, list[str]]:
    """What a fit reads, and what was said of it."""
    with remarks() as said:
        return ImageProcessor().read(content), said


def close(picture: np.ndarray, to: Image.Image = PHOTO) -> bool:
    return picture.shape[:2] == to.size[::-1] and np.abs(picture.astype(int) - np.asarray(to)).mean() < 8


# --- pictures ---


def heic(image: Image.Image = PHOTO, **options) -> bytes:
    stream = io.BytesIO()
    pytest.importorskip("pillow_heif").from_pillow(image).save(stream, quality=95, **options)
    return stream.getvalue()


def test_heic_of_telephones_is_read_upright_or_says_what_to_install(monkeypatch):
    content = heic()
    assert KINDS.of_bytes(content) == KINDS.of_file("IMG_1.HEIC") == KINDS.of_file("a.heif") == "image"
    assert close(seen(content)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    assert seen(heic(exif=exif.tobytes()))[0].shape == (160, 120, 3)
    with pytest.raises(BadCell, match="cut short or damaged"):
        open_picture(content[: len(content) // 2])

    def absent(name):
        raise ImportError(name)

    picture._heif.cache_clear()
    monkeypatch.setattr(picture.importlib, "import_module", absent)
    with pytest.raises(
        BadCell, match=r"HEIC picture, .* pip install 'polymodal\[image\]', or export it as JPEG"
    ) as error:
        open_picture(content)
    assert isinstance(error.value.__cause__, MissingExtra)
    monkeypatch.undo()
    assert close(seen(content)[0]), "once it is installed"


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000", "TIFF", "TGA", "ICO", "PPM", "QOI"])
def test_other_forms_of_pictures(form):
    if (form == "AVIF" and not features.check("avif")) or (form == "JPEG2000" and not features.check("jpg_2000")):
        pytest.skip("this Pillow lacks the form")
    if form == "QOI" and form not in Image.SAVE:
        pytest.skip("this Pillow cannot write the form")
    small = PHOTO.resize((64, 64))
    assert seen(encoded(form, small))[0].shape == (64, 64, 3)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 40 20">{}</svg>'
ENTITY = f'<!DOCTYPE svg [<!ENTITY c "{"a" * 600}">]>'
RED = '<rect width="20" height="20" fill="#f00"/>'


def svg(inside: str, before: str = "") -> bytes:
    return f"{before}{SVG.format(inside)}".encode()


@pytest.mark.parametrize(
    "content",
    [
        svg(RED),
        svg(RED, '<?xml version="1.0"?>\n<!-- made by hand -->\n'),
        svg(f"<script>stop()</script>{RED}", "\ufeff"),
        gzip.compress(svg(RED)),
        svg("<g fill='&c;'><rect width='20' height='20'/></g>", '<!DOCTYPE svg [<!ENTITY c "#f00">]>'),
    ],
)
def test_svg_is_drawn(content):
    pytest.importorskip("resvg_py")
    drawn, said = seen(content)
    assert drawn.shape == (256, 512, 3), "scaled down from 1,024 pixels"
    assert drawn[128, 100].tolist() == [255, 0, 0]
    assert drawn[128, 400].tolist() == [255, 255, 255], "what is clear lies on white"
    assert said == []


def test_svg_loads_nothing_and_grows_no_bomb(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    monkeypatch.setenv("POLYMODAL_MAX_DRAWING_SECONDS", "2")
    (tmp_path / "secret.png").write_bytes(encoded("PNG", Image.new("RGB", (9, 9), "green")))
    for link in (f"{tmp_path}/secret.png", f"file://{tmp_path}/secret.png", "https://example.org/a.png", "secret.png"):
        for name in ("href", "xlink:href"):
            drawn, said = seen(svg(f'{RED}<image {name}="{link}" width="40" height="20"/>'))
            assert drawn[128, 400].tolist() == [255, 255, 255]
            assert said == [drawing.OUTSIDE]
    xxe = svg(f"{RED}<text>&e;</text>", f'<!DOCTYPE svg [<!ENTITY e SYSTEM "file://{tmp_path}/secret.png">]>')
    assert seen(xxe)[0][128, 100].tolist() == [255, 0, 0]
    laughs = '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(BadCell, match="entity 'b' grows"):
        open_picture(svg("<text>&b;</text>", laughs))
    uses = "".join(f'<g id="g{i}">' + f'<use href="#g{i - 1}"/>' * 10 + "</g>" for i in range(1, 12))
    noise = '<filter id="f"><feTurbulence numOctaves="900000000"/></filter>'
    noise += '<rect width="9" height="9" filter="url(#f)"/>'
    told = "it takes more than 2 s or 1,000 MB, which POLYMODAL_MAX_DRAWING_SECONDS or POLYMODAL_MAX_DRAWING_MB raise"
    for bomb in (f'<g id="g0">{RED}</g>{uses}', "<g>" * 90_000 + "</g>" * 90_000, noise):
        started = time.monotonic()
        with pytest.raises(BadCell, match=rf"an SVG drawing that cannot be drawn \((?:ValueError|{told})"):
            open_picture(svg(bomb))
        assert time.monotonic() - started < 15
    with pytest.raises(BadCell, match="SVG drawing that is cut short or damaged"):
        open_picture(svg(RED)[:90])
    monkeypatch.setenv("POLYMODAL_MAX_TEXT_MB", "1")
    for large in (svg(RED + " " * 1_100_000), gzip.compress(svg(RED + " " * 1_100_000)), svg("&c;" * 2_000, ENTITY)):
        with pytest.raises(BadCell, match="an SVG drawing that has 1 MB, above the 1 MB .*raise POLYMODAL_MAX_TEXT_MB"):
            open_picture(large)


def test_the_first_page_of_a_pdf_is_read():
    pytest.importorskip("pypdfium2")
    content = encoded("PDF", save_all=True, append_images=[Image.new("RGB", (50, 50))])
    page, said = seen(content)
    assert page.shape == (256, 341, 3)
    assert said == [drawing.PAGES]
    assert seen(encoded("PDF"))[1] == []
    with pytest.raises(BadCell, match="a PDF document that cannot be drawn"):
        open_picture(content[:200])


def test_drawings_say_which_extra_they_need(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for content, what in ((svg(RED), "an SVG drawing"), (b"%PDF-1.7\n", "a PDF document")):
        with pytest.raises(BadCell, match=rf"is {what}: pip install 'polymodal\[image\]'"):
            open_picture(content)


@pytest.mark.parametrize("name", ["EPS", "WMF", "HDF5"])
def test_readers_that_do_more_than_decode_are_never_asked(name, monkeypatch):
    def ask(*given):
        raise AssertionError(f"{name} was asked")

    Image.init()
    monkeypatch.setitem(Image.OPEN, name, (ask, None))
    for content in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xd7\xcd\xc6\x9a" + bytes(90),
        b"\x89HDF\r\n",
    ):
        with pytest.raises(BadCell, match="no picture of a known form"):
            open_picture(content)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"icc_profile": bytes(500_000)}])
def test_jpeg_cut_short_is_read_as_far_as_it_goes_and_said(options):
    content = encoded("JPEG", quality=95, **options)
    assert seen(content[:-2]) == (pytest.approx(seen(content)[0]), [mending.NO_END])
    assert seen(content[:-40])[1] != [mending.NO_END], "what the last block lacks counts"
    scan = content.index(b"\xff\xda")
    most = content[: scan + (len(content) - scan) * 9 // 10]
    cut, said = seen(most)
    if "progressive" in options:
        assert said == [mending.COARSE]
    else:
        assert said == [mending.CUT]
        assert close(cut[:60], PHOTO.crop((0, 0, 160, 60)))
        with pytest.raises(BadCell, match="cut short or damaged"):
            open_picture(content[: scan + (len(content) - scan) // 4])
    assert np.abs(np.asarray(open_picture(most)).astype(int) - cut).mean() < 1, "a recipe sees the same"


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "I;16"])
def test_png_cut_short_is_read_as_far_as_it_goes_and_said(mode):
    image = PHOTO.quantize(9) if mode == "P" else PHOTO.convert("L").convert(mode) if mode != "RGB" else PHOTO
    content = encoded("PNG", image)
    assert np.array_equal(seen(content[:-12])[0], seen(content)[0])
    begin = content.index(b"IDAT")
    cut, said = seen(content[: begin + (len(content) - begin) * 9 // 10])
    assert said == [mending.CUT]
    assert np.array_equal(cut[:40], seen(content)[0][:40])
    with pytest.raises(BadCell, match="cut short or damaged"):
        open_picture(content[: begin + 20])


def chunk(name: bytes, body: bytes, fault: int = 0) -> bytes:
    import zlib

    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ fault)


def test_a_png_is_read_whatever_its_metadata_are():
    content = encoded("PNG")
    for metadata in (chunk(b"tEXt", b"a\0b", fault=1), chunk(b"iCCP", b"x\0\0words"), chunk(b"zTXt", b"a\0\0words")):
        assert np.array_equal(seen(content[:33] + metadata + content[33:])[0], np.asarray(PHOTO))
    assert np.array_equal(seen(encoded("PNG", icc_profile=bytes(3_000_000)))[0], np.asarray(PHOTO))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded("PNG", exif=exif)
    turned = turned[:33] + chunk(b"tEXt", b"a\0b", fault=1) + turned[33:]
    assert seen(turned)[0].shape == (160, 120, 3)
    spoilt = bytearray(content)
    spoilt[content.index(b"IDAT") + 9] ^= 1
    with pytest.raises(BadCell, match="cut short or damaged"):
        open_picture(bytes(spoilt))


def test_of_several_pictures_the_first_is_read_and_said():
    others = [Image.new("RGB", PHOTO.size, c) for c in ("red", "blue")]
    for form in ("GIF", "WEBP", "TIFF", "PNG"):
        first, said = seen(encoded(form, save_all=True, append_images=others))
        assert said == [picture.ANIMATED]
        assert first.shape == (120, 160, 3)
        assert seen(encoded(form))[1] == []


# --- sound ---


def film(form: str, codec: str, rate: int = 16_000, channels: int = 1, sign: int = 1) -> bytes:
    av = pytest.importorskip("av")
    stream, layout = io.BytesIO(), ("mono", "stereo")[channels - 1]
    tone = (np.sin(np.arange(2 * rate) * 0.2) / 2).astype(np.float32)
    try:
        with av.open(stream, "w", format=form) as container:
            track = container.add_stream(codec, rate=rate, layout=layout)
            track.bit_rate = 64_000
            frame = av.AudioFrame.from_ndarray(np.stack([tone, sign * tone][:channels]), format="fltp", layout=layout)
            frame.sample_rate = rate
            size = track.codec_context.frame_size or 1024
            turn = av.AudioResampler(format=track.codec_context.format, layout=layout, rate=rate, frame_size=size)
            for part in (*turn.resample(frame), *turn.resample(None)):
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg cannot write it: {error}")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        ("ipod", "aac", 44_100), ("adts", "aac", 16_000), ("amr", "libopencore_amrnb", 8_000), ("3gp", "aac", 16_000),
        ("asf", "wmav2", 44_100), ("webm", "libopus", 48_000), ("mp4", "aac", 16_000), ("mov", "pcm_s16le", 16_000),
        ("ogg", "libopus", 48_000), ("matroska", "aac", 16_000), ("ac3", "ac3", 48_000),
    ],
)  # fmt: skip
def test_sound_of_telephones_and_films_is_read_by_pyav(form, codec, rate):
    content = film(form, codec, rate)
    heard = AudioProcessor().read(content)
    assert heard.rate == rate
    assert heard.seconds == pytest.approx(2, abs=0.25)
    assert heard.samples.std() == pytest.approx(0.35, abs=0.09)
    assert read_sound(content, 0.5).seconds == pytest.approx(0.5, abs=0.01)
    spectrum = np.abs(np.fft.rfft(heard.samples[rate // 2 : rate // 2 + rate]))
    assert spectrum.argmax() == pytest.approx(0.2 * rate / (2 * np.pi), abs=3)
    told = KINDS.of_bytes(content)
    assert told in ("audio", "video"), "a film's column may be told to be sound"
    assert told in (*KINDS["audio"].also, "audio")


def test_without_pyav_the_extra_is_named(monkeypatch):
    content = film("adts", "aac")

    def absent(*given):
        raise MissingExtra("no av")

    monkeypatch.setattr(sound, "require", absent)
    with pytest.raises(BadCell, match=r"pip install 'polymodal\[video\]' for AAC, AMR, WMA and films") as error:
        read_sound(content)
    assert isinstance(error.value.__cause__, MissingExtra)


def test_a_film_names_no_other_file(tmp_path):
    av = pytest.importorskip("av")
    soundfile.write(tmp_path / "secret.wav", np.zeros(800), 8000)
    listed = f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n".encode()
    with av.open(io.BytesIO(listed), options={"safe": "0", "protocol_whitelist": "file"}) as container:
        assert container.streams.audio, "FFmpeg would follow it"
    for content in (listed, b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n/etc/hostname\n#EXT-X-ENDLIST\n"):
        with pytest.raises(BadCell, match="no sound of a known form"):
            read_sound(content)


def wav(samples: np.ndarray, form: str = "WAV", rate: int = 8000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form)
    return stream.getvalue()


TONE = np.sin(np.arange(8000) / 9) / 2


@pytest.mark.parametrize("content", [wav(np.stack([TONE, -TONE], 1)), wav(np.stack([TONE, -0.9 * TONE], 1), "FLAC")])
def test_channels_of_opposite_phase_do_not_cancel(content):
    with remarks() as said:
        heard = AudioProcessor().read(content)
    assert said == [sound.OPPOSITE]
    assert np.abs(heard.samples).max() == pytest.approx(0.5, abs=0.01)
    assert np.abs(Media("audio", content).value().at(4000)).max() > 0.4, "a recipe hears it too"


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("peak", "said"), [(2.0, []), (32_000.0, [sound.LOUD]), (1e30, [sound.LOUD]), (3e38, [sound.LOUD])]
)
def test_a_sound_far_beyond_full_scale_is_scaled_and_said(peak, said, channels):
    wave = np.tile(np.sin(np.arange(800, dtype=np.float32) / 9)[:, None] * np.float32(peak), (1, channels))
    stream = io.BytesIO()
    soundfile.write(stream, wave, 8000, format="WAV", subtype="FLOAT")
    with remarks() as heard:
        mono = read_sound(stream.getvalue()).mono()
    assert heard == said
    np.testing.assert_allclose(mono.max(), 1.0 if said else peak, rtol=1e-3)


def test_opposite_phase_in_an_m4a_too_and_in_no_other_sound():
    with remarks() as said:
        heard = AudioProcessor().read(film("ipod", "aac", channels=2, sign=-1))
    assert said == [sound.OPPOSITE]
    assert np.abs(heard.samples).max() > 0.3
    noise = np.random.default_rng(0).normal(size=(8000, 16)) / 9
    for samples in (np.stack([TONE, TONE], 1), np.stack([TONE, 0 * TONE], 1), noise[:, :2], noise, np.zeros((99, 2))):
        with remarks() as said:
            AudioProcessor().read(wav(samples))
        assert said == []


def test_decoding_is_bounded(monkeypatch):
    monkeypatch.setattr(sound, "MOST_VALUES", 4000)
    for content in (film("adts", "aac"), wav(TONE, "FLAC"), wav(TONE, "OGG")):
        with pytest.raises(BadCell, match="values that are opened: cut it into pieces"):
            read_sound(content)
    assert len(read_sound(wav(TONE, "FLAC"), 0.25).samples) == 2000
    monkeypatch.setattr(sound, "FASTEST", 8000)
    with pytest.raises(BadCell, match="16,000 samples a second, above the 8,000"):
        soundtrack(io.BytesIO(film("adts", "aac")))


# --- what is said, and where ---


def rows(tmp_path) -> Table:
    good, cut = encoded("JPEG", quality=95), encoded("JPEG", quality=95)[:-200]
    cells = [good, cut, cut[:-1], b"words", None]
    return Table.build({"photo": cells, "n": [1, 2, 3, 4, 5], "y": list("ababa")}, base=tmp_path, ids=list("vwxyz"))


def test_remarks_are_counted_with_their_rows_whether_decoded_now_or_before(tmp_path):
    table = rows(tmp_path)
    cells = table.column("photo")

    def processed(**options) -> Dataset:
        store = Store(tmp_path / "store")
        return process_table({"photo": cells}, {"photo": ImageProcessor(size=8)}, store, ids=table.ids, **options)

    expected = [Problem("w", "photo", mending.CUT), Problem("x", "photo", mending.CUT)]
    first = processed(fit_rows=np.arange(5))
    assert first.noted == expected
    assert [problem.row for problem in first.bad] == ["y"]
    assert first.present["photo"].tolist() == [True, True, True, False, False]
    assert processed().noted == processed(fit_rows=np.arange(5)).noted == expected, "recalled from the store"
    assert summed(first.noted) == [f"photo: 2 cells used all the same: {mending.CUT} (rows w, x)."]
    noted: dict[int, str] = {}
    read_cells(ImageProcessor(size=8), cells, [4, 1], noted)
    assert noted == {1: mending.CUT}


def test_inspect_says_what_was_mended(tmp_path):
    table = rows(tmp_path)
    found = inspect_table(table, Schema.infer(table, "y", {"kinds": {"photo": "image"}}))
    assert f"photo: 2 cells used all the same: {mending.CUT} (rows w, x)." in found.warnings
    assert [problem.row for problem in found.broken] == ["y"]


def test_a_cell_that_only_lacks_an_extra_is_tried_again(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "resvg_py" else find(name))

    def processed() -> Dataset:
        store = Store(tmp_path / "store")
        return process_table({"a": [svg(RED)]}, {"a": ImageProcessor(size=8)}, store, ids=["0"])

    assert "pip install" in processed().bad[0].reason
    monkeypatch.undo()
    assert processed().bad == []


def test_readable_sets_aside_what_is_cut_short():
    content = encoded("JPEG", quality=95)
    kinds = {"photo": "image"}
    some = [Row(str(i), i, {"photo": Media("image", c)}, kinds) for i, c in enumerate((content, content[:-200]))]
    op = Readable(columns="photo")
    op.chosen = ["photo"]
    batch = Rows(some)
    op.apply(batch)
    assert [row.id for row in batch.kept] == ["0"]
    assert "cut short" in batch.refused[0].reason


def test_sound_is_one_channel_by_the_mean_where_nothing_cancels():
    assert np.allclose(Sound(np.stack([TONE, TONE / 2], 1).astype(np.float32), 8000).mono(), TONE * 0.75, atol=1e-6)
