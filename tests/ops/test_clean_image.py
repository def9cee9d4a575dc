"""Cleaning pictures: planted faults are found, and good pictures are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ops import applied, run
from PIL import Image, ImageFilter, ImageOps

from polymodal.core.errors import BadArgument
from polymodal.data.media.cell import Media
from polymodal.data.media.hamming import distance, keepers, within
from polymodal.data.media.picture import flat
from polymodal.data.media.prints import perceptual_hash, small_grey
from polymodal.ops.clean.image import noise, sharpness


def photo(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Shapes with hard edges and a shaded ground."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    pixels = np.stack([(x * a + y * b) * 120 + c for a, b, c in rng.uniform(0.1, 0.9, (3, 3)) * [1, 1, 60]], -1)
    for _ in range(7):
        left, top = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        wide, high = rng.integers(8, 40, 2)
        pixels[top : top + high, left : left + wide] = rng.integers(0, 255, 3)
    return Image.fromarray(pixels.astype(np.uint8))


def hash_of(picture: Image.Image) -> int:
    return int(perceptual_hash(small_grey(picture)[None])[0])


PHOTOS = [photo(seed) for seed in range(6)]


def broken(content: bytes) -> Media:
    return Media("image", content)


def test_readable_names_the_fault():
    buffer = io.BytesIO()
    PHOTOS[0].save(buffer, "PNG")
    cells = [broken(buffer.getvalue()[:300]), broken(b""), broken(b"no picture"), broken(buffer.getvalue()), None]
    kept, aside = run("readable", cells, "image")
    assert set(aside) == {0, 1, 2}
    assert aside[1] == "x: is empty (0 bytes): copy, download or export it again"
    assert aside[2].startswith("x: is no picture of a known form; it looks like plain text")
    assert kept[3].size == PHOTOS[0].size


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr("polymodal.data.media.picture.MOST_PIXELS", 1000)
    buffer = io.BytesIO()
    PHOTOS[0].save(buffer, "PNG")
    assert "million pixels, more than" in run("readable", [broken(buffer.getvalue())], "image")[1][0]


def test_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PHOTOS[0].save(buffer, "JPEG", exif=exif, quality=95)
    turned = run("upright", [broken(buffer.getvalue()), PHOTOS[1]], "image")[0]
    assert turned[0].size == (80, 96)
    assert turned[1] is PHOTOS[1]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_what_changes_a_picture_turns_it_upright_first(form):
    """What is written has no EXIF tag: whoever read it before turned it, and would see it lying now."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PHOTOS[0].save(buffer, form, exif=exif, quality=95)
    lying = broken(buffer.getvalue())
    stands = ImageOps.exif_transpose(Image.open(buffer)).convert("RGB")
    seen = run({"normal": {"mode": "L"}}, [lying], "image")[0][0]
    assert np.array_equal(np.asarray(seen), np.asarray(stands.convert("L")))
    assert run({"normal": {"size": 40}}, [lying], "image")[0][0].size == (33, 40)
    assert np.array_equal(np.asarray(run("upright", [lying], "image")[0][0].convert("RGB")), np.asarray(stands))
    rows, _ = applied("flip", {"x": [lying]}, {"x": "image"})
    assert np.array_equal(np.asarray(rows.kept[1].get("x")), np.asarray(stands)[:, ::-1])
    assert hash_of(Image.open(buffer)) == hash_of(stands), "a turned copy is a copy"


def test_grass_is_no_grain():
    rng = np.random.default_rng(0)
    grass = np.asarray(PHOTOS[0].resize((192, 160)), np.float32).copy()
    grass[30:] += rng.normal(0, 30, grass[30:].shape)  # all but the sky is texture
    assert noise(grass) < 2
    for size in ((16, 16, 3), (144, 144, 3), (28, 28)):
        flat = [noise((128 + rng.normal(0, 20, size)).astype(np.float32)) for _ in range(20)]
        assert np.mean(flat) == pytest.approx(20, rel=0.08)


def test_a_picture_with_holes_in_its_values_is_read():
    deep = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    deep[0, 1], deep[1, 1] = np.nan, np.inf
    seen = np.asarray(flat(Image.fromarray(deep)))
    assert (seen[0, 1], seen[1, 1], seen.min(), seen.max()) == (0, 255, 0, 255)


def test_uniform_and_blurred():
    flat = Image.new("RGB", (40, 40), (90, 91, 92))
    soft = PHOTOS[0].filter(ImageFilter.GaussianBlur(5))
    assert set(run("uniform", [flat, *PHOTOS], "image")[1]) == {0}
    assert set(run("blurred", [soft, *PHOTOS], "image")[1]) == {0}
    assert not run({"blurred": {"below": 0.01}}, [soft], "image")[1]
    assert set(run({"uniform": {"below": 500}}, PHOTOS, "image")[1]) == set(range(6))
    for op in ("uniform", "blurred"):
        with pytest.raises(BadArgument, match="below must be above 0"):
            run({op: {"below": 0}}, PHOTOS, "image")


def test_sharpness_means_the_same_at_any_size():
    large = photo(3, (1600, 1200))
    assert sharpness(large) == pytest.approx(
        sharpness(ImageOps.contain(large, (800, 800), Image.Resampling.BOX)), rel=0.3
    )
    assert sharpness(Image.new("L", (2, 2))) == 0


def test_normal_size_and_colours():
    seen = run({"normal": {"size": 48, "mode": "L"}}, [PHOTOS[0], Image.new("RGB", (20, 10))], "image")[0]
    assert [(p.size, p.mode) for p in seen] == [((48, 40), "L"), ((20, 10), "L")]
    for fit in ("pad", "crop", "stretch"):
        assert run({"normal": {"size": [30, 30], "fit": fit}}, PHOTOS[:1], "image")[0][0].size == (30, 30)
    padded, cropped = (
        np.asarray(run({"normal": {"size": [30, 30], "fit": f}}, PHOTOS[:1], "image")[0][0]) for f in ("pad", "crop")
    )
    assert (padded[0] == 0).all()
    assert not (cropped[0] == 0).all()
    assert run("normal", PHOTOS[:1], "image")[0][0] is PHOTOS[0]
    for options in ({"mode": "CMYK"}, {"fit": "squeeze"}, {"size": [3, 4, 5]}, {"size": 0}):
        with pytest.raises(BadArgument):
            run({"normal": options}, PHOTOS[:1], "image")


def test_every_mode_becomes_plain_colours():
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    deep = Image.fromarray(np.linspace(0, 60000, 16).reshape(4, 4).astype(np.uint16))
    assert np.asarray(flat(half)).min() == 255
    assert np.asarray(flat(deep)).max() == round(60000 * 255 / 65535), "by the bits in use, as a fit sees it"
    for mode in ("1", "P", "CMYK", "YCbCr", "LAB", "F", "I"):
        assert flat(Image.new(mode, (4, 4))).mode in ("RGB", "L")


def test_denoise_brings_noise_down_and_leaves_clean_pictures_alone():
    pytest.importorskip("skimage")
    rng = np.random.default_rng(0)
    clean = np.asarray(PHOTOS[0], np.float32)
    dirty = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    assert noise(dirty / 255.0) * 255 == pytest.approx(20, rel=0.15)
    mended, same = run("denoise", [Image.fromarray(dirty), PHOTOS[0]], "image")[0]
    assert same is PHOTOS[0]
    error = [np.mean((np.asarray(p, np.float32) - clean) ** 2) for p in (dirty, mended)]
    assert error[1] < error[0] / 4, "at least 6 dB"
    assert run({"denoise": {"above": 99}}, [Image.fromarray(dirty)], "image")[0][0].tobytes() == dirty.tobytes()
    weak = run({"denoise": {"strength": 0.1}}, [Image.fromarray(dirty)], "image")[0][0]
    assert np.mean((np.asarray(weak, np.float32) - clean) ** 2) > error[1]


def test_near_pictures_within_a_radius():
    first = PHOTOS[0]
    small = first.resize((60, 50))
    bright = first.point(lambda v: min(255, int(v * 1.1)))
    buffer = io.BytesIO()
    first.save(buffer, "JPEG", quality=40)
    copies = [small, bright, broken(buffer.getvalue())]
    aside = run("near_pictures", [*PHOTOS, *copies, None], "image")[1]
    assert set(aside) == {6, 7, 8}
    assert aside[6].startswith("x: nearly the same picture as row 0 (")
    assert set(run({"near_pictures": {"radius": 0}}, [*PHOTOS, first.copy(), first.rotate(90)], "image")[1]) == {6}
    with pytest.raises(BadArgument, match="radius must be between"):
        run({"near_pictures": {"radius": 40}}, PHOTOS, "image")


def test_codes_within_a_radius_are_those_of_the_double_loop():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << 63, 300, dtype=np.uint64)
    flips = [np.uint64(sum(1 << int(b) for b in rng.choice(64, n, replace=False))) for n in rng.integers(0, 9, 300)]
    codes = np.concatenate([codes, codes ^ np.array(flips, np.uint64)])
    for radius in (0, 3, 6):
        near = np.array([[bin(int(a) ^ int(b)).count("1") <= radius for b in codes] for a in codes])
        label = np.arange(len(codes))
        for _ in range(20):
            label = np.where(near, label[None], len(codes)).min(1)
        assert np.array_equal(within(codes, radius), label)
    assert within(codes[:0], 3).shape == (0,)
    chain = np.array([(1 << (3 * i)) - 1 for i in range(8)], np.uint64)  # each 3 bits from the next
    assert within(chain, 4).tolist() == [0] * 8
    assert keepers(chain, 4).tolist() == [0, 0, 2, 2, 4, 4, 6, 6]
    assert distance(np.uint64(0b1011), np.uint64(0b0001)) == 2


def test_pictures_of_one_colour_are_not_compared():
    flat = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "white", "white")]
    assert not run("near_pictures", [*flat, *PHOTOS], "image")[1]


def test_hashes_of_different_pictures_are_far_apart():
    codes = [hash_of(p) for p in PHOTOS]
    assert min((a ^ b).bit_count() for i, a in enumerate(codes) for b in codes[:i]) > 10
