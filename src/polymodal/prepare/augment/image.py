"""More pictures from the ones there are: geometry, colour, blur, noise, erasing, mixing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from polymodal.core.errors import BadArgument
from polymodal.prepare.augment.base import MOST_COPIES, Augment, CellAugment, positive, share
from polymodal.prepare.base import BatchOp
from polymodal.prepare.clean.image import opaque
from polymodal.prepare.rows import Row, Rows

_PAIRS = ("left", "right"), ("leftmost", "rightmost"), ("leftward", "rightward"), ("leftwards", "rightwards")
_SIDES = {a: b for pair in (*_PAIRS, ("left-hand", "right-hand"), ("左", "右")) for a, b in (pair, pair[::-1])}
_SIDE = re.compile(r"左|右|\b(?:left|right)(?:most|wards?|-hand)?\b", re.IGNORECASE)
# "left" as the past of "leave", and "right" as in "right now": no sides, and never swapped
_LEAVE = r"\b(?:has|have|had|was|were|is|are|been|be|just|already|they|he|she|it|who|nothing) left\b"
_OF_A_SIDE = r"(?! (?:of|side|hand|foot|arm|leg|eye|corner))"
_AGREE = r"\b(?:all|that's|is) right\b(?=[,.!]| now)"
_JUST = r"\bright (?:now|away|before|after|behind|beside|next|in front|there|here|up|down)\b"
_NO_SIDE = re.compile(f"{_LEAVE}{_OF_A_SIDE}|{_AGREE}|{_JUST}", re.IGNORECASE)


class Flip(Augment):
    """Mirrors pictures left to right, and says so: "left" and "right" in the row's texts change places.

    `texts` are the text columns that speak of the picture (default: every text column; `[]`: none). Words that only
    look like a side ("has left", "right now") stay. Pictures with writing or digits should not be mirrored.
    """

    kinds = ("image",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        copies: int = 1,
        texts: Sequence[str] | None = None,
    ):
        super().__init__(columns=columns, copies=copies)
        self.texts = texts
        if copies != 1:
            raise BadArgument("A picture has one mirror image: copies must be 1.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        found = super().bind(kinds)
        for name in self.texts or ():
            if name not in kinds:
                raise BadArgument(f"There is no column {name!r} to change the sides in; there are {', '.join(kinds)}.")
        self._texts = [c for c, k in kinds.items() if k == "text"] if self.texts is None else list(self.texts)
        return found

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        for column in self.chosen:
            if (picture := row.get(column)) is not None:
                row.put(column, opaque(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        if row.changed:
            for column in self._texts:
                text = row.cells.get(column)
                if isinstance(text, str) and (other := swap_sides(text)) != text:
                    row.put(column, other)


class Rotate(CellAugment):
    """Turns pictures by up to `degrees` either way and fills the corners with the nearest colours."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, degrees: float = 15.0):
        super().__init__(columns=columns, copies=copies)
        self.degrees = degrees
        positive(degrees=degrees)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        return warp(
            opaque(value), _about_middle(value.size, _turn(math.radians(rng.uniform(-self.degrees, self.degrees))))
        )


class Crop(CellAugment):
    """A window of at least `least` of the area, its shape up to 4:3 another, at the size of the whole (Szegedy et al.
    2015)."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, least: float = 0.6):
        super().__init__(columns=columns, copies=copies)
        self.least = share("least", least)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        area, shape = rng.uniform(self.least, 1), math.sqrt(math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3))))
        wide, high = (min(1.0, math.sqrt(area) * f) for f in (shape, 1 / shape))
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
        box = (left * value.width, top * value.height, (left + wide) * value.width, (top + high) * value.height)
        return opaque(value).resize(value.size, Image.Resampling.BICUBIC, box=box)


class Affine(CellAugment):
    """Shifts by up to `shift` of a side, scales by up to `scale` either way, and shears by up to `shear` degrees."""

    kinds = ("image",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, shift: float = 0.1, scale: float = 0.1,
        shear: float = 8.0,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.shift = share("shift", shift)
        self.scale = share("scale", scale)
        self.shear = shear
        if shear < 0 or shear > 60:
            raise BadArgument(f"shear must be between 0 and 60 degrees; got {shear}.")

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        factor = math.exp(rng.uniform(-1, 1) * math.log1p(self.scale))
        slant = math.tan(math.radians(rng.uniform(-self.shear, self.shear)))
        matrix = np.array([[1 / factor, slant, 0], [0, 1 / factor, 0], [0, 0, 1]])
        moved = _about_middle(value.size, matrix)
        moved[:2, 2] += rng.uniform(-self.shift, self.shift, 2) * value.size
        return warp(opaque(value), moved)


class Perspective(CellAugment):
    """Sees the picture from another place: each corner moves by up to `most` of a side inwards or outwards."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 0.1):
        super().__init__(columns=columns, copies=copies)
        self.most = share("most", most)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * value.size
        moved = corners + rng.uniform(-self.most, self.most, (4, 2)) * value.size
        rows = []
        for (x, y), (u, v) in zip(corners.tolist(), moved.tolist()):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        solved = np.linalg.solve(np.array(rows), moved.ravel())
        return warp(opaque(value), np.append(solved, 1).reshape(3, 3))


class Color(CellAugment):
    """Another light: brightness, contrast and saturation by up to a share either way, hue by a share of the circle."""

    kinds = ("image",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, brightness: float = 0.25,
        contrast: float = 0.25, saturation: float = 0.25, hue: float = 0.03,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.brightness = share("brightness", brightness)
        self.contrast = share("contrast", contrast)
        self.saturation = share("saturation", saturation)
        self.hue = share("hue", hue)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        picture = opaque(value)
        draws = rng.uniform(-1, 1, 4)
        for enhance, most, draw in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color),
            (self.brightness, self.contrast, self.saturation),
            draws.tolist(),
        ):
            if most:
                picture = enhance(picture).enhance(1 + most * draw)
        if self.hue and picture.mode == "RGB":
            hsv = np.array(picture.convert("HSV"))
            hsv[..., 0] = hsv[..., 0] + np.uint8(round(self.hue * draws[3] * 255) % 256)
            picture = Image.fromarray(hsv, "HSV").convert("RGB")
        return picture


class Blur(CellAugment):
    """Gaussian blur of up to `most` pixels."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 1.5):
        super().__init__(columns=columns, copies=copies)
        self.most = most
        positive(most=most)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        return opaque(value).filter(ImageFilter.GaussianBlur(rng.uniform(0.1, self.most)))


class Noise(CellAugment):
    """Gaussian noise of a standard deviation of up to `most` (0..255)."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 15.0):
        super().__init__(columns=columns, copies=copies)
        self.most = most
        positive(most=most)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(opaque(value), np.float32)
        noisy = pixels + rng.normal(0, rng.uniform(0, self.most), pixels.shape)
        return Image.fromarray(np.clip(noisy.round(), 0, 255).astype(np.uint8))


class Erase(CellAugment):
    """Random erasing (Zhong et al. 2020): a rectangle of up to `most` of the area becomes noise."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 0.2):
        super().__init__(columns=columns, copies=copies)
        self.most = share("most", most)

    def varied(self, value: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.array(opaque(value))
        top, left, high, wide = rectangle(pixels.shape[:2], rng.uniform(0.02, max(0.02, self.most)), rng)
        hole = pixels[top : top + high, left : left + wide]
        pixels[top : top + high, left : left + wide] = rng.integers(0, 256, hole.shape)
        return Image.fromarray(pixels)


class _Mix(BatchOp):
    """Two pictures of one label become a third. Partners come from the same batch; a label alone in it makes none.

    The label stays right because both have it, so that the table needs no soft labels; a row's other cells are those
    of the first.
    """

    kinds = ("image",)
    reads_batch = True

    def __init__(self, *, columns: Sequence[str] | str | None, label: str, copies: int):
        super().__init__(columns=columns)
        self.label = label
        self.copies = copies
        if not 1 <= copies <= MOST_COPIES:
            raise BadArgument(f"copies must be between 1 and {MOST_COPIES}; got {copies}.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        if self.label not in kinds:
            raise BadArgument(f"There is no column {self.label!r} for the label; there are {', '.join(kinds)}.")
        return super().bind(kinds)

    def work(self, rows: Rows) -> None:
        column = self.chosen[0]
        usable = [
            r for r in rows if r.part in ("", "train") and r.cells.get(self.label) is not None and r.cells.get(column)
        ]
        by_label: dict[str, list[Row]] = {}
        for row in usable:
            by_label.setdefault(str(row.cells[self.label]), []).append(row)
        kept: list[Row] = []
        for row in rows.kept:
            kept.append(row)
            others = [o for o in by_label.get(str(row.cells.get(self.label)), []) if o is not row]
            if row in usable and others:
                kept += [self._made(row, others, column, k) for k in range(self.copies)]
        rows.kept = kept

    def _made(self, row: Row, others: list[Row], column: str, k: int) -> Row:
        copy = row.copied(self.place, k)
        rng = self.random(copy)
        first = opaque(row.get(column)).convert("RGB")
        second = opaque(others[rng.integers(len(others))].get(column)).convert("RGB").resize(first.size)
        copy.put(column, Image.fromarray(self.mixed(np.asarray(first), np.asarray(second), rng)))
        return copy

    def mixed(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError


class MixUp(_Mix):
    """MixUp (Zhang et al. 2018) within a label: a weighted mean of two pictures, the weight from Beta(`alpha`,
    `alpha`)."""

    def __init__(self, *, label: str, columns: Sequence[str] | str | None = None, copies: int = 1, alpha: float = 0.4):
        super().__init__(columns=columns, label=label, copies=copies)
        self.alpha = alpha
        positive(alpha=alpha)

    def mixed(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        weight = max(0.5, rng.beta(self.alpha, self.alpha))  # the first gives at least half: its other cells go along
        return (weight * a + (1 - weight) * b).round().astype(np.uint8)


class CutMix(_Mix):
    """CutMix (Yun et al. 2019) within a label: a rectangle of the second picture lies over the first, of up to half its
    area; its share from Beta(`alpha`, `alpha`)."""

    def __init__(self, *, label: str, columns: Sequence[str] | str | None = None, copies: int = 1, alpha: float = 1.0):
        super().__init__(columns=columns, label=label, copies=copies)
        self.alpha = alpha
        positive(alpha=alpha)

    def mixed(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        top, left, high, wide = rectangle(a.shape[:2], min(0.5, rng.beta(self.alpha, self.alpha)), rng)
        found = a.copy()
        found[top : top + high, left : left + wide] = b[top : top + high, left : left + wide]
        return found


def swap_sides(text: str) -> str:
    """The text with left and right in each other's place, capitals kept."""
    kept = [m.span() for m in _NO_SIDE.finditer(text)]

    def other(match: re.Match[str]) -> str:
        if any(a <= match.start() < b for a, b in kept):
            return match[0]
        word = _SIDES[match[0].lower()]
        if match[0].isupper() and len(match[0]) > 1:
            return word.upper()
        return word.capitalize() if match[0][0].isupper() else word

    return _SIDE.sub(other, text)


def rectangle(shape: Sequence[int], area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a rectangle of a share of the area, of a shape between 1:2 and 2:1."""
    ratio = math.exp(rng.uniform(-math.log(2), math.log(2)))
    high = min(shape[0], max(1, round(math.sqrt(area * ratio) * shape[0])))
    wide = min(shape[1], max(1, round(math.sqrt(area / ratio) * shape[1])))
    return int(rng.integers(0, shape[0] - high + 1)), int(rng.integers(0, shape[1] - wide + 1)), high, wide


def warp(picture: Image.Image, matrix: np.ndarray) -> Image.Image:
    """The picture at the places where `matrix` [3, 3] sends each pixel; beyond its edge the nearest pixel."""
    margin = max(picture.size) // 2 + 1
    edges = ((margin, margin), (margin, margin), (0, 0))[: np.asarray(picture).ndim]
    padded = Image.fromarray(np.pad(np.asarray(picture), edges, "edge"))
    inside = np.array([[1, 0, margin], [0, 1, margin], [0, 0, 1]]) @ matrix
    inside = inside / inside[2, 2]
    places = inside.ravel()[:8].tolist()
    return padded.transform(picture.size, Image.Transform.PERSPECTIVE, places, Image.Resampling.BILINEAR)


def _turn(angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def _about_middle(size: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    middle = np.array([[1, 0, size[0] / 2], [0, 1, size[1] / 2], [0, 0, 1]])
    return middle @ matrix @ np.linalg.inv(middle)
