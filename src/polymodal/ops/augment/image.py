"""More pictures from the ones there are: geometry, colour, blur, noise, erasing, mixing."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from polymodal.core.errors import BadArgument, BadCell
from polymodal.core.values import check_range
from polymodal.data.media.picture import flat
from polymodal.ops.augment.base import MOST_COPIES, Augment, share
from polymodal.ops.augment.places import areas_of, follow, warp
from polymodal.ops.base import BatchOp
from polymodal.ops.rows import Row, Rows

_PAIRS = ("left", "right"), ("leftmost", "rightmost"), ("leftward", "rightward"), ("leftwards", "rightwards")
_SIDES = {a: b for pair in (*_PAIRS, ("left-hand", "right-hand"), ("左", "右")) for a, b in (pair, pair[::-1])}
_SIDE = re.compile(r"(?<!左)右|左(?!右)|\b(?:left|right)(?:most|wards?|-hand)?\b", re.IGNORECASE)  # 左右 is both
# "left" as the past of "leave", and "right" as in "right now": no sides, and never swapped
_LEAVE = r"\b(?:has|have|had|was|were|is|are|been|be|just|already|they|he|she|it|who|nothing) left\b"
_OF_A_SIDE = r"(?! (?:of|side|hand|foot|arm|leg|eye|corner))"
_AGREE = r"\b(?:all|that's|is) right\b(?=[,.!]| now)"
_JUST = (
    r"\bright (?:now|away|before|after|behind|beside|next|in front|there|here|up|down|alongside|towards?|through|above|"
    r"below|under|underneath|inside|outside|on top)\b"
)
_CORRECT = r"\bright (?:angle|answer|choice|moment|person|size|thing|time)s?\b|\bright-click"
_REMAINS = r"\bleft (?:over|alone|behind|out)\b|\b(?:what's|what is|what was|anything|something|much|many|time) left\b"
_NO_SIDE = re.compile(f"{_LEAVE}{_OF_A_SIDE}|{_AGREE}|{_JUST}|{_CORRECT}|{_REMAINS}{_OF_A_SIDE}", re.IGNORECASE)


class _Pictures(Augment):
    """What varies photos: by default all but the areas of one (`photo_segments`), which are no photos."""

    kinds = ("image",)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        kinds_after = super().bind(kinds)
        if self.columns is None:
            self.chosen = [column for column in self.chosen if column not in areas_of(kinds)]
        return kinds_after


class _Look(_Pictures):
    """Another look of pictures whose things stay where they are. An author writes `varied`."""

    @final
    def vary(self, row: Row, rng: np.random.Generator) -> None:
        for column in self.chosen:
            if (picture := row.get(column)) is not None:
                row.put(column, self.varied(flat(picture), rng))

    @abstractmethod
    def varied(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Another picture of the same size; `picture` is RGB or grey."""


class _Moved(_Pictures):
    """Pictures whose things move; boxes and areas that `objects` and `segments` wrote beside them move along, and
    boxes of which less than a quarter is left are dropped. An author writes `matrix`."""

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        for column in self.chosen:
            if (picture := row.get(column)) is not None:
                matrix = self.matrix(picture.size, rng)
                row.put(column, self.drawn(flat(picture), matrix))
                follow(row, column, matrix, picture.size)

    @abstractmethod
    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """[3, 3]: where in the old picture each place of the new one lies, in pixels."""

    def drawn(self, picture: Image.Image, matrix: np.ndarray) -> Image.Image:
        """The new picture."""
        return warp(picture, matrix)


class Flip(_Moved):
    """Mirrors pictures left to right, and says so: "left" and "right" in the row's texts change places, and boxes and
    areas that `objects` and `segments` wrote are mirrored too.

    `texts` are the text columns that speak of the picture (default: every text column; `[]`: none). Words that only
    look like a side ("has left", "right now") stay. Pictures with writing or digits should not be mirrored.
    """

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
        kinds_after = super().bind(kinds)
        for name in self.texts or ():
            if name not in kinds:
                raise BadArgument(f"There is no column {name!r} to change the sides in; there are {', '.join(kinds)}.")
        self._texts = [c for c, k in kinds.items() if k == "text"] if self.texts is None else list(self.texts)
        return kinds_after

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        return np.array([[-1, 0, size[0]], [0, 1, 0], [0, 0, 1.0]])

    def drawn(self, picture: Image.Image, matrix: np.ndarray) -> Image.Image:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        super().vary(row, rng)
        if row.changed:
            for column in self._texts:
                text = row.cells.get(column)
                if isinstance(text, str) and (other := swap_sides(text)) != text:
                    row.put(column, other)


class Rotate(_Moved):
    """Turns pictures by up to `degrees` either way and fills the corners with the nearest colours."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, degrees: float = 15.0):
        super().__init__(columns=columns, copies=copies)
        self.degrees = degrees
        check_range("(0, inf)", degrees=degrees)

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        return _about_middle(size, _turn(math.radians(rng.uniform(-self.degrees, self.degrees))))


class Crop(_Moved):
    """A window of at least `least` of the area, its shape up to 4:3 another, at the size of the whole (Szegedy et al.
    2015)."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, least: float = 0.6):
        super().__init__(columns=columns, copies=copies)
        self.least = share("least", least)

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        area, shape = rng.uniform(self.least, 1), math.sqrt(math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3))))
        wide, high = (min(1.0, math.sqrt(area) * f) for f in (shape, 1 / shape))
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
        return np.array([[wide, 0, left * size[0]], [0, high, top * size[1]], [0, 0, 1]])

    def drawn(self, picture: Image.Image, matrix: np.ndarray) -> Image.Image:
        (wide, _, left), (_, high, top), _ = matrix.tolist()
        box = (left, top, left + wide * picture.width, top + high * picture.height)
        return picture.resize(picture.size, Image.Resampling.BICUBIC, box=box)


class Affine(_Moved):
    """Shifts by up to `shift` of a side, scales by up to `scale` either way, and shears by up to `shear` degrees."""

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, shift: float = 0.1, scale: float = 0.1,
        shear: float = 8.0,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.shift = share("shift", shift)
        self.scale = share("scale", scale)
        self.shear = shear
        check_range("[0, 60]", "degrees", shear=shear)

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        factor = math.exp(rng.uniform(-1, 1) * math.log1p(self.scale))
        slant = math.tan(math.radians(rng.uniform(-self.shear, self.shear)))
        matrix = np.array([[1 / factor, slant, 0], [0, 1 / factor, 0], [0, 0, 1]])
        moved = _about_middle(size, matrix)
        moved[:2, 2] += rng.uniform(-self.shift, self.shift, 2) * size
        return moved


class Perspective(_Moved):
    """Sees the picture from another place: each corner moves by up to `most` of a side inwards or outwards."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 0.1):
        super().__init__(columns=columns, copies=copies)
        self.most = share("most", most)

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
        moved = corners + rng.uniform(-self.most, self.most, (4, 2)) * size
        rows = []
        for (x, y), (u, v) in zip(corners.tolist(), moved.tolist()):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        solved = np.linalg.solve(np.array(rows), moved.ravel())
        return np.append(solved, 1).reshape(3, 3)


class Color(_Look):
    """Another light: brightness, contrast and saturation by up to a share either way, hue by a share of the circle."""

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, brightness: float = 0.25,
        contrast: float = 0.25, saturation: float = 0.25, hue: float = 0.03,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.brightness = share("brightness", brightness)
        self.contrast = share("contrast", contrast)
        self.saturation = share("saturation", saturation)
        self.hue = share("hue", hue)

    def varied(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
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


class Blur(_Look):
    """Gaussian blur of up to `most` pixels."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 1.5):
        super().__init__(columns=columns, copies=copies)
        self.most = most
        check_range("(0, inf)", most=most)

    def varied(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, self.most)))


class Noise(_Look):
    """Gaussian noise of a standard deviation of up to `most` (0..255)."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 15.0):
        super().__init__(columns=columns, copies=copies)
        self.most = most
        check_range("(0, inf)", most=most)

    def varied(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(picture, np.float32)
        width = np.float32(rng.uniform(0, self.most))
        noisy = pixels + width * rng.standard_normal(pixels.shape, np.float32)
        return Image.fromarray(np.clip(noisy.round(), 0, 255).astype(np.uint8))


class Erase(_Look):
    """Random erasing (Zhong et al. 2020): a rectangle of up to `most` of the area becomes noise."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 0.2):
        super().__init__(columns=columns, copies=copies)
        self.most = share("most", most)

    def varied(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.array(picture)
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
        check_range(f"[1, {MOST_COPIES}]", copies=copies)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        if self.label not in kinds:
            raise BadArgument(f"There is no column {self.label!r} for the label; there are {', '.join(kinds)}.")
        kinds_after = super().bind(kinds)
        if self.columns is None:
            self.chosen = [column for column in self.chosen if column not in areas_of(kinds)]
        if len(self.chosen) != 1:
            there = ", ".join(self.chosen) or "none"
            raise BadArgument(
                f"{type(self).__name__} mixes one column of pictures; there are {there}. Name it: columns."
            )
        for beside in (f"{self.chosen[0]}_boxes", f"{self.chosen[0]}_segments"):
            if beside in kinds:
                raise BadArgument(
                    f"{type(self).__name__} puts another row's picture into {self.chosen[0]!r}, of which {beside!r} "
                    "would not know: annotate after it, or leave it out."
                )
        return kinds_after

    def work(self, rows: Rows) -> None:
        column = self.chosen[0]
        usable, broken = [], {}
        for i, row in enumerate(rows):
            if row.part in ("", "train") and row.cells.get(self.label) is not None and row.cells.get(column):
                try:
                    row.get(column)
                    usable.append(row)
                except BadCell as error:
                    broken[i] = f"{column}: {error.reason}"
        self.refuse(rows, broken)
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
        first = flat(row.get(column)).convert("RGB")
        second = flat(others[rng.integers(len(others))].get(column)).convert("RGB").resize(first.size)
        copy.put(column, self.mixed(first, second, rng))
        return copy

    @abstractmethod
    def mixed(self, a: Image.Image, b: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The third picture, of two of the same size."""


class MixUp(_Mix):
    """MixUp (Zhang et al. 2018) within a label: a weighted mean of two pictures, the weight from Beta(`alpha`,
    `alpha`)."""

    def __init__(self, *, label: str, columns: Sequence[str] | str | None = None, copies: int = 1, alpha: float = 0.4):
        super().__init__(columns=columns, label=label, copies=copies)
        self.alpha = alpha
        check_range("(0, inf)", alpha=alpha)

    def mixed(self, a: Image.Image, b: Image.Image, rng: np.random.Generator) -> Image.Image:
        weight = max(0.5, rng.beta(self.alpha, self.alpha))  # the first gives at least half: its other cells go along
        return Image.blend(b, a, weight)


class CutMix(_Mix):
    """CutMix (Yun et al. 2019) within a label: a rectangle of the second picture lies over the first, of up to half its
    area; its share from Beta(`alpha`, `alpha`)."""

    def __init__(self, *, label: str, columns: Sequence[str] | str | None = None, copies: int = 1, alpha: float = 1.0):
        super().__init__(columns=columns, label=label, copies=copies)
        self.alpha = alpha
        check_range("(0, inf)", alpha=alpha)

    def mixed(self, a: Image.Image, b: Image.Image, rng: np.random.Generator) -> Image.Image:
        part = min(0.5, rng.beta(self.alpha, self.alpha))
        top, left, high, wide = rectangle((a.height, a.width), part, rng)
        mixed = a.copy()
        mixed.paste(b.crop((left, top, left + wide, top + high)), (left, top))
        return mixed


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


def _turn(angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def _about_middle(size: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    middle = np.array([[1, 0, size[0] / 2], [0, 1, size[1] / 2], [0, 0, 1]])
    return middle @ matrix @ np.linalg.inv(middle)
