"""Pictures: every mode, orientation, broken files, size limits."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process import PROCESSORS
from polymodal.process.image import ImageProcessor


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def gradient(mode="RGB", size=(40, 30)):
    ramp = np.linspace(0, 255, size[0], dtype=np.uint8)[None].repeat(size[1], 0)
    return Image.fromarray(np.stack([ramp, ramp[::-1, ::-1], ramp // 2], -1)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "form", "channels"),
    [
        ("RGB", "PNG", 3),
        ("L", "PNG", 1),
        ("1", "PNG", 1),
        ("P", "PNG", 3),
        ("RGBA", "PNG", 3),
        ("LA", "PNG", 1),
        ("CMYK", "TIFF", 3),
        ("YCbCr", "JPEG", 3),
        ("L", "JPEG", 1),
        ("RGB", "WEBP", 3),
        ("RGB", "BMP", 3),
        ("P", "GIF", 3),
    ],
)
def test_every_mode_becomes_grey_or_rgb(mode, form, channels):
    array = ImageProcessor().read(encoded(gradient(mode), form))
    assert array.shape == (30, 40, channels)
    assert array.dtype == np.uint8
    assert array.max() > 140


def test_grey_stored_as_colour_stays_grey():
    assert ImageProcessor().read(encoded(gradient("L").convert("RGB"))).shape == (30, 40, 1)


@pytest.mark.parametrize(("peak", "bits"), [(65535, 16), (4095, 12), (1023, 10), (200, 8)])
def test_sixteen_bit_is_scaled_by_the_bits_in_use(peak, bits):
    values = np.full((8, 8), peak, np.uint16)
    values[0, 0] = 0
    array = ImageProcessor().read(encoded(Image.fromarray(values)))
    assert array[4, 4, 0] == round(peak * 255 / (2**bits - 1))
    assert array[0, 0, 0] == 0


def test_float_tiff_uses_its_own_range_and_survives_nan():
    values = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    values[0, 1] = np.nan
    array = ImageProcessor().read(encoded(Image.fromarray(values), "TIFF"))
    assert array.min() == 0
    assert array.max() == 255
    with pytest.raises(BadCell, match="no finite"):
        ImageProcessor().read(encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"))


def test_transparency_lies_on_white():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (ImageProcessor().read(encoded(image)) == 255).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert (ImageProcessor().read(encoded(palette, transparency=0)) == 255).all()


def test_exif_turns_the_picture_upright():
    image = gradient()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = ImageProcessor().read(encoded(image, "JPEG", exif=exif, quality=95))
    assert turned.shape == (40, 30, 3)
    straight = np.asarray(image.transpose(Image.Transpose.ROTATE_270), np.int16)
    assert np.abs(turned - straight).mean() < 5


def png_that_claims(width, height, colour=2):
    """A PNG whose header claims a size and whose data is a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("side", [13_400, 30_000, 2**31 - 1])
def test_a_huge_png_is_refused_before_it_is_decoded(side):
    with pytest.raises(BadCell, match="pixels"):
        ImageProcessor().read(png_that_claims(side, side))


def test_a_large_jpeg_is_decoded_at_a_fraction():
    data = encoded(Image.new("RGB", (9000, 6000), (10, 200, 30)), "JPEG")
    array = ImageProcessor().read(data)
    assert array.shape == (256, 384, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        encoded(gradient())[:70],
        encoded(gradient(), "JPEG")[:400],
        png_that_claims(50, 50),
        encoded(gradient(), "GIF")[:60],
    ],
)
def test_broken_files_are_bad_cells(data, tmp_path):
    with pytest.raises(BadCell) as caught:
        ImageProcessor().read(data)
    path = tmp_path / "broken.png"
    path.write_bytes(data)
    with pytest.raises(BadCell):
        ImageProcessor().read(path)
    assert "0x" not in caught.value.reason
    assert str(tmp_path) not in caught.value.reason


def test_a_missing_file_and_a_folder_are_bad_cells(tmp_path):
    with pytest.raises(BadCell, match=r"'no\.png' does not exist"):
        ImageProcessor().read(tmp_path / "no.png")
    with pytest.raises(BadCell):
        ImageProcessor().read(tmp_path)


def test_size_is_chosen_from_training_pictures():
    processor = ImageProcessor()
    processor.fit([np.zeros((28, 28, 1), np.uint8)] * 3)
    assert processor.facts() == {"channels": 1, "size": 28}
    processor.fit([np.zeros((160, 240, 3), np.uint8), np.zeros((160, 240, 1), np.uint8)])
    assert processor.facts() == {"channels": 3, "size": 96}
    again = ImageProcessor()
    again.load_state(processor.state())
    assert again.facts() == processor.facts()


def test_pictures_of_the_fitted_size_are_untouched():
    processor = ImageProcessor()
    cells = [np.random.default_rng(i).integers(0, 255, (28, 28, 1), dtype=np.uint8) for i in range(3)]
    processor.fit(cells)
    pixels = processor.process(cells)["pixels"]
    assert pixels.shape == (3, 1, 28, 28)
    assert (pixels == np.stack(cells).transpose(0, 3, 1, 2)).all()


def test_framing_keeps_all_crops_or_pads():
    cell = np.full((40, 80, 1), 100, np.uint8)
    cell[:, :10] = 250
    for framing, left, top in (("squash", 250, 250), ("crop", 100, 100), ("pad", 0, 0)):
        processor = ImageProcessor(size=16, framing=framing)
        processor.fit([cell])
        pixels = processor.process([cell])["pixels"][0, 0]
        assert pixels[8, 0] == (left if framing != "pad" else 250)
        assert pixels[0, 0] == top


def test_colour_turns_grey_when_training_was_grey():
    processor = ImageProcessor(size=8)
    processor.fit([np.zeros((8, 8, 1), np.uint8)])
    assert processor.process([np.full((8, 8, 3), (255, 0, 0), np.uint8)])["pixels"].shape == (1, 1, 8, 8)


def test_noise_grows_with_level_and_is_seeded():
    pixels = torch.randint(90, 160, (16, 1, 12, 12), dtype=torch.uint8)
    noisy = [
        ImageProcessor().corrupt({"pixels": pixels}, level, torch.Generator().manual_seed(3))["pixels"]
        for level in (0.0, 0.25, 0.5, 0.5)
    ]
    assert torch.equal(noisy[0], pixels)
    assert torch.equal(noisy[2], noisy[3])
    error = [(n.float() - pixels.float()).std() / pixels.float().std() for n in noisy]
    assert error[1] == pytest.approx(0.5, rel=0.1)
    assert error[2] == pytest.approx(1.0, rel=0.1)


def test_options_are_checked():
    with pytest.raises(BadArgument, match="Did you mean 'crop'"):
        PROCESSORS.build({"name": "image", "framing": "corp"})
    with pytest.raises(BadArgument, match="size"):
        ImageProcessor(size=1)


def test_real_photos(real_data):
    folder = real_data("houses") / "photos"
    processor = ImageProcessor()
    cells = [processor.read(path) for path in sorted(folder.iterdir())[:8]]
    processor.fit(cells)
    assert processor.process(cells)["pixels"].shape == (8, 3, 96, 96)
