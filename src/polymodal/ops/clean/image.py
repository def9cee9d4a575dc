"""Cleaning pictures: broken, turned, empty, blurred, noisy, of other sizes, and nearly the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.core.values import check_range
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.media.hamming import BITS, distance, keepers
from polymodal.data.media.picture import flat, upright
from polymodal.data.media.prints import RADIUS, SIDE, comparable, perceptual_hash
from polymodal.ops.base import BatchOp, CellOp, Sketch
from polymodal.ops.rows import Row, Rows, SetAside

MODES = ("RGB", "L")
FITS = ("pad", "crop", "stretch")
_SMOOTHEST = 0.05  # of a picture's patches: what is left there is noise


class Readable(CellOp):
    """Sets aside what cannot be opened: absent, empty, cut short, of another kind, or too large to decode (beyond 179
    megapixels: a decompression bomb)."""

    kinds = MEDIA_KINDS

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: Any, row: Row, column: str) -> Any:
        cell = row.cells[column]
        for said in cell.said if isinstance(cell, Media) else ():
            if "cut short" in said:  # a fit makes do with what is there; who cleans asks for whole ones
                raise SetAside(said.removeprefix("it "))
        return value


class Upright(CellOp):
    """Turns a picture as its EXIF tag says, so that readers that ignore the tag see it upright."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: Image.Image, row: Row, column: str) -> Image.Image:
        return upright(value)


class Uniform(CellOp):
    """Sets aside pictures of nearly one colour: grey values whose standard deviation (0..255) is below `below`."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, below: float = 4.0):
        super().__init__(columns=columns)
        self.below = below
        check_range("(0, inf)", below=below)

    def mend(self, value: Image.Image, row: Row, column: str) -> Image.Image:
        spread = float(np.asarray(flat(value).convert("L"), np.float32).std())
        if spread < self.below:
            raise SetAside(f"is of nearly one colour (grey values spread by {spread:.1f}, below {self.below:g})")
        return value


class Blurred(CellOp):
    """Sets aside blurred pictures: the variance of the Laplacian of the grey values (Pech-Pacheco et al. 2000) is below
    `below`.

    Measured at a longest side of 512 pixels at most, so that the figure means the same for small and large photos.
    """

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, below: float = 50.0):
        super().__init__(columns=columns)
        self.below = below
        check_range("(0, inf)", below=below)

    def mend(self, value: Image.Image, row: Row, column: str) -> Image.Image:
        sharp = sharpness(value)
        if sharp < self.below:
            raise SetAside(f"is blurred (variance of the Laplacian {sharp:.1f}, below {self.below:g})")
        return value


class Normal(CellOp):
    """One size and colour space: `mode` RGB or L (grey); `size` [width, height] or one number for the longest side.

    With both sides given, `fit` says what to do with another shape: `pad` with black, `crop` the middle, or `stretch`.
    Transparent parts become white. Pictures are never enlarged when one number is given.
    """

    kinds = ("image",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        mode: str = "RGB",
        size: int | Sequence[int] | None = None,
        fit: str = "pad",
    ):
        super().__init__(columns=columns)
        self.mode = mode
        self.size = size
        self.fit = fit
        for name, given, allowed in (("mode", mode, MODES), ("fit", fit, FITS)):
            if given not in allowed:
                raise BadArgument(f"Unknown {name} {given!r}.{suggest(given, allowed)}")
        sides = [size] if isinstance(size, int) else list(size or [])
        if len(sides) > 2 or any(not isinstance(s, int) or s < 1 for s in sides):
            raise BadArgument(f"size must be one number of pixels or [width, height]; got {size!r}.")

    def mend(self, value: Image.Image, row: Row, column: str) -> Image.Image:
        mended = flat(value)
        mended = mended if mended.mode == self.mode else mended.convert(self.mode)
        if isinstance(self.size, int):
            if max(mended.size) > self.size:
                mended = ImageOps.contain(mended, (self.size, self.size), Image.Resampling.LANCZOS)
        elif self.size and mended.size != tuple(self.size):
            whole = (self.size[0], self.size[1])
            way = {"pad": ImageOps.pad, "crop": ImageOps.fit}.get(self.fit)
            mended = way(mended, whole, Image.Resampling.LANCZOS) if way else mended.resize(whole)
        return mended


class Denoise(CellOp):
    """Non-local means (Buades, Coll & Morel 2005; scikit-image, BSD): each pixel the mean of those whose surroundings
    look alike.

    The noise is estimated from the picture itself (Donoho & Johnstone 1994, on wavelet coefficients' median); pictures
    whose noise is below `above` (standard deviation, 0..255) stay as they are. `strength` times the noise is the width
    of the filter.
    """

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, above: float = 8.0, strength: float = 0.8):
        super().__init__(columns=columns)
        self.above = above
        self.strength = strength
        check_range("(0, inf)", strength=strength)
        require("skimage", "image")

    def mend(self, value: Image.Image, row: Row, column: str) -> Image.Image:
        from skimage.restoration import denoise_nl_means

        pixels = np.asarray(flat(value), np.float32) / 255
        sigma = noise(pixels)
        if sigma * 255 < self.above:
            return value
        last = -1 if pixels.ndim == 3 else None
        cleaned = denoise_nl_means(
            pixels, 5, 6, h=self.strength * sigma, sigma=sigma, fast_mode=True, channel_axis=last
        )
        return Image.fromarray((np.clip(cleaned, 0, 1) * 255).round().astype(np.uint8))


class NearPictures(BatchOp):
    """Keeps the first of rows whose pictures nearly agree: perceptual hashes (Zauner 2010, pHash) at most `radius` of
    64 bits apart.

    Survives other sizes, compression, small changes of brightness and colour; not crops or turned pictures. What is
    set aside is within the radius of the picture that is kept for it. Pictures of nearly one colour have nothing to
    compare and are left alone (`uniform`, `exact_duplicates`).
    """

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, radius: int = RADIUS):
        super().__init__(columns=columns)
        self.radius = radius
        check_range("[0, 16]", f"bits of {BITS}", radius=radius)

    def partial_fit(self, rows: Rows) -> Sketch:
        places, codes, columns = [], [], []
        for number, column in enumerate(self.chosen):
            there, small = small_pictures(self, rows, column)
            places += [row.number for row in there]
            codes.append(perceptual_hash(small))
            columns += [number] * len(there)
        return {"row": np.array(places, np.int64), "code": np.concatenate(codes), "column": np.array(columns)}

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        row, code, column = (np.concatenate([p[name] for p in parts]) for name in ("row", "code", "column"))
        copies: dict[int, tuple[int, int, int]] = {}
        for number in range(len(self.chosen)):
            of = np.flatnonzero(column == number)
            first = of[keepers(code[of], self.radius)]
            for i, j in zip(of.tolist(), first.tolist()):
                if i != j:
                    copies.setdefault(int(row[i]), (int(row[j]), int(distance(code[i], code[j])), number))
        table = np.array([(r, *told) for r, told in copies.items()], np.int64).reshape(-1, 4)
        self.state = {"copy": table}

    def work(self, rows: Rows) -> None:
        copies = {r: told for r, *told in self.state["copy"].tolist()}
        reasons = {}
        for i, row in enumerate(rows):
            if row.number in copies:
                of, bits, column = copies[row.number]
                reasons[i] = (
                    f"{self.chosen[column]}: nearly the same picture as row {of} ({bits} of {BITS} bits differ)"
                )
        self.refuse(rows, reasons)


def small_pictures(op: BatchOp, rows: Rows, column: str) -> tuple[list[Row], np.ndarray]:
    """Rows whose picture is of more than one shade, and uint8 [n, SIDE, SIDE]; broken ones are set aside first."""

    def small(row: Row, column: str) -> np.ndarray | None:
        cell = row.cells.get(column)
        return None if cell is None else cell.small_grey()

    pictures = op.values(rows, column, small)
    there = [(row, picture) for row, picture in zip(rows, pictures) if picture is not None]
    stacked = np.array([picture for _, picture in there], np.uint8).reshape(-1, SIDE, SIDE)
    usable = comparable(stacked)
    return [row for (row, _), use in zip(there, usable.tolist()) if use], stacked[usable]


def sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of the grey values, at a longest side of 512 pixels at most."""
    small = flat(picture).convert("L")
    if max(small.size) > 512:
        small = ImageOps.contain(small, (512, 512), Image.Resampling.BOX)
    if min(small.size) < 3:
        return 0.0
    g = np.asarray(small, np.float32)
    return float((g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]).var())


def noise(pixels: np.ndarray) -> float:
    """Standard deviation of the noise, mean over the colours: the median of the finest diagonal Haar coefficients of
    each patch of 16 pixels a side, at the smoothest twentieth of the patches, for grass and gravel are no noise."""
    even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
    if not even.size:
        return 0.0
    diagonal = np.abs(even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    side = min(8, *diagonal.shape[:2])
    high, wide = diagonal.shape[0] // side, diagonal.shape[1] // side
    patches = diagonal[: high * side, : wide * side].reshape(high, side, wide, side, -1)
    each = np.median(patches.transpose(0, 2, 4, 1, 3).reshape(high * wide, -1, side * side), axis=2)
    # of noise alone too some patches are smoother than others: a median of side² values spreads by 1.03 / side
    place = (1 + _SMOOTHEST * (high * wide - 1) - 0.375) / (high * wide + 0.25)  # Blom 1958
    expected = 1 + NormalDist().inv_cdf(place) * 1.03 / side
    return float(np.mean(np.quantile(each, _SMOOTHEST, axis=0)) / 0.6745 / max(expected, 0.5))
