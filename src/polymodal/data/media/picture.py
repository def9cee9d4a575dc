"""The one way to open a picture: what is refused, how large it may be, and how every mode becomes eight bits."""

from __future__ import annotations

import importlib
import io
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.data.media.drawing import drawn, form_of
from polymodal.data.media.files import AGAIN, DAMAGE, brands, head_of, looks_like, opened, said
from polymodal.data.media.mending import mended
from polymodal.data.media.remarks import remark

# Pillow's own limit, beyond which it opens nothing: a frame of 8K (33 million) and the photo of a camera of 100
# megapixels pass, and the largest takes 0.7 GB (4 bytes a pixel). A JPEG counts as it is decoded, at a fraction.
MOST_PIXELS = 178_956_970
LARGE = 25_000_000  # pixels from which on `read_picture` decodes one picture at a time, however many threads ask
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = ("exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp")  # where a picture may say how it is turned
# Forms whose readers decode pixels and nothing else: others start programs (EPS), or give no pixels (HDF5).
FORMATS = (
    "AVIF", "BMP", "DDS", "DIB", "FITS", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "MSP", "PCX", "PNG", "PPM",
    "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)  # fmt: skip
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1", b"heif"}
_FRAMES = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
ANIMATED = "it holds several pictures, of which the first is read"
_HEADER, _LARGE = threading.Lock(), threading.Lock()


def open_picture(source: Path | bytes | np.ndarray, size: tuple[int, int] | None = None) -> Image.Image:
    """The picture as it is stored: its own mode, not turned. Raises `BadCell`, also for a decompression bomb.

    With `size` a JPEG is decoded grey and at the smallest fraction of its own size that is no smaller.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    with opened(source) as stream:
        image = _header(stream)
        if size is not None:
            image.draft("L", size)
        return _loaded(stream, image)


def read_picture(source: Path | bytes | np.ndarray, least: int) -> Image.Image:
    """The picture `flat`, its shorter side at most `least` pixels and its longer one 16 times as many.

    A JPEG is decoded at a fraction of its size where that is enough. Raises `BadCell`.
    """
    if isinstance(source, np.ndarray):
        image = _from_array(source)
        return flat(image, partial(_thumbnail, size=_size(image, least)))
    with opened(source) as stream:
        image = _header(stream)
        size = _size(image, least)
        image.draft(image.mode, size)
        with _LARGE if image.width * image.height > LARGE else nullcontext():
            return flat(_loaded(stream, image), partial(_thumbnail, size=size))


def is_animated(stream: BinaryIO) -> bool:
    """Whether a file is a picture that moves: a GIF, PNG or WebP of several frames."""
    try:
        with Image.open(stream, formats=("GIF", "PNG", "WEBP")) as image:
            return _is_animated(image)
    except DAMAGE:
        return False


def flat(image: Image.Image, smaller: Callable[[Image.Image], Image.Image] | None = None) -> Image.Image:
    """Eight bits, grey (L) or RGB, upright as EXIF says, and with what was transparent on white.

    Sixteen bits are scaled by the bits in use, since many pictures hold ten or twelve; deeper ones and floats by their
    own range. `smaller` makes the picture smaller where its pixels can be averaged. The very same object comes back
    where nothing is to do. Raises `BadCell` for floats of which none is finite.
    """
    low, high = _range(image) if image.mode.startswith("I") or image.mode == "F" else (0.0, 255.0)
    told: dict[str | tuple[int, int], Any] = {name: image.info[name] for name in _TURNS if name in image.info}
    image = _averageable(image)
    image = image if smaller is None else smaller(image)
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("L" if image.mode == "LA" else "RGB")
        image.info |= told
    elif image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float64), nan=low, posinf=high, neginf=low)
        eight = (values - low) * (255 / max(high - low, 1e-12))
        image = Image.fromarray(eight.round().clip(0, 255).astype(np.uint8))
        image.info |= told
    return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; itself where nothing is to turn. A picture whose EXIF is broken is still a picture."""
    try:
        return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION) in range(2, 9) else image
    except DAMAGE:
        return image


def _size(image: Image.Image, least: int) -> tuple[int, int]:
    width, height = image.size
    scale = min(1.0, least / max(1, min(width, height)), 16 * least / max(1, width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _thumbnail(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    image.thumbnail((max(size), max(size)), reducing_gap=2.0)
    return image


def _from_array(array: np.ndarray) -> Image.Image:
    """A picture of uint8 [H, W] or [H, W, 1|3|4]."""
    try:
        return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    except DAMAGE as error:
        shape = " x ".join(map(str, array.shape))
        raise BadCell(f"is an array of {shape} values of {array.dtype.name}, which is no picture") from error


def _header(stream: BinaryIO, mend: bool = True) -> Image.Image:
    """Pillow's `open`, which decodes no pixel yet, without its warning about large pictures; of a drawing, its picture.

    With `mend`, what Pillow refuses is mended where a browser would show it.
    """
    head = head_of(stream)
    if form := form_of(head):
        return drawn(stream.read(), form)
    formats = (
        _heif() if head[4:8] == b"ftyp" and _HEIF & (known := brands(head)) and b"avif" not in known else _formats()
    )
    try:
        with _HEADER, warnings.catch_warnings():  # not safe with threads
            warnings.simplefilter("ignore")
            image = Image.open(stream, formats=formats)
    except Image.DecompressionBombError as error:
        raise BadCell(_too_large(int(str(error).partition("(")[2].split()[0]))) from error
    except DAMAGE as error:
        if found := _mended(stream) if mend else None:
            return _header(found, mend=False)
        if isinstance(error, UnidentifiedImageError):
            raise BadCell(f"is no picture of a known form{looks_like(head)}") from error
        raise BadCell(_damaged(error)) from error
    if image.format in _FRAMES and _is_animated(image):
        remark(ANIMATED)
    return image


def _loaded(stream: BinaryIO, image: Image.Image, mend: bool = True) -> Image.Image:
    if image.width * image.height > MOST_PIXELS:
        raise BadCell(_too_large(image.width * image.height))
    try:
        image.load()
    except DAMAGE as error:
        if found := _mended(stream) if mend else None:
            return _loaded(found, _header(found, mend=False), mend=False)
        raise BadCell(_damaged(error)) from error
    return image


def _mended(stream: BinaryIO) -> BinaryIO | None:
    """The same picture as Pillow takes it; None where nothing is to mend."""
    stream.seek(0)
    found = mended(stream.read())
    if found and found[1]:
        remark(found[1])
    return io.BytesIO(found[0]) if found else None


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


@cache
def _heif() -> tuple[str, ...]:
    """HEIF, once its reader is there (libheif, LGPL): the one that only decodes, else the one that also writes."""
    for library in ("pi_heif", "pillow_heif"):
        try:
            importlib.import_module(library).register_heif_opener()
        except ImportError:
            continue
        return ("HEIF",)
    raise BadCell(
        "is a HEIC picture, as telephones write: pip install 'polymodal[image]', or export it as JPEG"
    ) from MissingExtra("pi_heif")


def _is_animated(image: Image.Image) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except DAMAGE:
        return False


def _damaged(error: BaseException) -> str:
    return f"is a picture that is cut short or damaged ({said(error).split(' <')[0]}): {AGAIN}"


def _too_large(pixels: int) -> str:
    return (
        f"says that it has {pixels / 1e6:,.0f} million pixels, more than the {MOST_PIXELS / 1e6:.0f} million that are "
        "opened: it is damaged, an attack (a decompression bomb), or to be made smaller first"
    )


def _range(image: Image.Image) -> tuple[float, float]:
    """What becomes black and what white."""
    # Pillow before 11 opened a PNG of 16 bits as "I", which holds 32
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return 0.0, 2.0 ** max(8, int(image.getextrema()[1]).bit_length()) - 1  # type: ignore[arg-type]
    values = np.asarray(image)
    known = values[np.isfinite(values)]
    if not known.size:
        raise BadCell("the picture holds no finite value")
    return float(known.min()), float(known.max())


def _averageable(image: Image.Image) -> Image.Image:
    """A mode whose pixels can be averaged: L, LA, RGB, RGBA, I or F."""
    if image.mode in ("L", "LA", "RGB", "RGBA", "I", "F") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")
