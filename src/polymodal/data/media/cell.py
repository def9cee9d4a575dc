"""Media under work: a picture or a sound as it lies on disk, decoded when asked for, written again only if changed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, require
from polymodal.core.files import writing
from polymodal.core.lines import numbers_in
from polymodal.data.kinds import BUILT_IN, KINDS
from polymodal.data.media.files import AGAIN, DAMAGE, looks_like, missing_bytes, read_whole, said, told
from polymodal.data.media.volume import Volume, read_volume

MEDIA_KINDS = tuple(kind.name for kind in BUILT_IN if kind.written)  # what recipes open
MOST_PIXELS = 178_956_970  # as Pillow: a picture beyond is refused before it is decoded, which would take gigabytes


@dataclass(frozen=True)
class Sound:
    """`samples` float32 [n] or [n, channels] in -1..1, at `rate` samples a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, eq=False)
class Media:
    """A cell of a media column. `source` is an absolute path or the bytes; `decoded` wins when it is there.

    `fault` says why the cell could not even be handed over (an archive cut short, a web address).
    """

    kind: str
    source: Path | bytes
    decoded: Any = None
    fault: str = ""
    _seen: list[Any] = field(default_factory=list, repr=False)  # the source decoded, until `forget`

    def value(self) -> Any:
        """A PIL image as it is stored, a `Sound`, an array [n] or [n, channels]; a `Volume`; of a video, its bytes.

        Raises `BadCell` when it is broken.
        """
        if self.decoded is not None:
            return self.decoded
        if not self._seen:
            content = self.content()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of tags that are not quite right: what matters is raised
                    self._seen.append(_READERS[self.kind](content))
            except BadCell as error:
                raise self._bad(error) from error
        return self._seen[0]

    def _bad(self, error: BadCell) -> BadCell:
        """The same error with the file's name."""
        return BadCell(f"{told(self.source)} {error.reason}") if isinstance(self.source, Path) else error

    def forget(self) -> None:
        """Free what `value` decoded."""
        self._seen.clear()

    def content(self) -> bytes:
        """The file's bytes. Raises `BadCell` when it is absent or empty."""
        if self.fault:
            raise BadCell(self.fault)
        try:
            found = self.source if isinstance(self.source, bytes) else read_whole(self.source)
            if not found:
                raise BadCell(f"is empty (0 bytes): {AGAIN}")
        except BadCell as error:
            raise self._bad(error) from error
        return found

    def with_value(self, value: Any) -> Media:
        """The same cell holding another decoded value."""
        return self if value is self.decoded else Media(self.kind, self.source, value)

    @property
    def suffix(self) -> str:
        """How the file that this becomes is to end."""
        if self.decoded is None and isinstance(self.source, Path):
            return self.source.suffix.lower()
        return KINDS[self.kind].written

    def write(self, path: Path) -> None:
        """Write the decoded value losslessly, or the source as it is."""
        with writing(path) as temporary:
            if self.decoded is None:
                temporary.write_bytes(self.content())
            else:
                _WRITERS[self.kind](temporary, self.decoded)


def _picture(content: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    if content.startswith(b"%!PS"):  # Pillow would start Ghostscript, which runs what the file says
        raise BadCell(f"has no pixels{looks_like(content)}")
    try:
        picture = Image.open(io.BytesIO(content))
        if picture.width * picture.height > MOST_PIXELS:
            raise BadCell(_too_large(picture.width * picture.height))
        picture.load()
    except BadCell:
        raise
    except UnidentifiedImageError as error:
        raise BadCell(f"is no picture of a known form{looks_like(content)}") from error
    except Image.DecompressionBombError as error:
        raise BadCell(_too_large(int(str(error).partition("(")[2].split()[0]))) from error
    except DAMAGE as error:
        raise BadCell(f"is a picture that is cut short or damaged ({said(error)}): {AGAIN}") from error
    return picture


def _too_large(pixels: int) -> str:
    return (
        f"says that it has {pixels / 1e6:,.0f} million pixels, more than the {MOST_PIXELS / 1e6:.0f} million that are "
        "opened: it is damaged, an attack (a decompression bomb), or to be made smaller first"
    )


def _sound(content: bytes) -> Sound:
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except DAMAGE as error:
        raise BadCell(f"is no sound of a known form, or is cut short{looks_like(content)}") from error
    if missing := missing_bytes(content):
        raise BadCell(f"is cut short: the last {missing:,} bytes that its header promises are missing; {AGAIN}")
    if not len(samples):
        raise BadCell(f"holds no sample: {AGAIN}")
    if not np.isfinite(samples).all():
        raise BadCell(f"holds samples that are no numbers (NaN or infinite): {AGAIN}")
    return Sound(samples, rate)


def _video(content: bytes) -> bytes:
    """The bytes, once a first frame was decoded from them."""
    av = require("av", "video")
    try:
        with av.open(io.BytesIO(content)) as container:
            seen = container.streams.video and next(container.decode(video=0), None)
    except (av.error.FFmpegError, *DAMAGE) as error:
        raise BadCell(f"is no video of a known form, or is cut short{looks_like(content)}") from error
    if seen is None:
        raise BadCell(f"is a video that holds no frame that can be decoded: {AGAIN}")
    if not seen:
        raise BadCell("holds no video stream, only sound or data: give its column the kind audio, or leave it out")
    return content


def _series(content: bytes) -> np.ndarray:
    """An array of numbers from a file of NumPy's, or from text with a line a step."""
    if content.startswith(b"\x93NUMPY"):
        try:
            values = np.load(io.BytesIO(content), allow_pickle=False)
        except DAMAGE as error:
            if "allow_pickle" in str(error):
                raise BadCell(
                    "holds Python objects (a pickle), which may run any code when opened and is never read: save "
                    "numbers, as by np.save(path, array.astype(float))"
                ) from error
            raise BadCell(f"is an array in .npy form that is cut short or damaged ({said(error)}): {AGAIN}") from error
    else:
        try:
            values = numbers_in(content.decode("utf-8-sig"))
        except ValueError as error:
            raise BadCell(
                f"is neither an array in .npy form nor lines of numbers ({said(error)}){looks_like(content)}"
            ) from error
    if values.dtype.kind not in "biuf":
        raise BadCell(f"holds {values.dtype.name} values, where a series has numbers: save them as float")
    if not values.size or not values.ndim:
        raise BadCell(
            f"holds no step (its shape is {values.shape}): a series has one value at least along its first axis"
        )
    if not np.isfinite(values).any():
        raise BadCell("holds no number, only NaN or infinite values: there is nothing to learn from")
    return values


def _write_sound(path: Path, sound: Sound) -> None:
    import soundfile

    soundfile.write(path, sound.samples, sound.rate, format="FLAC", subtype="PCM_16")


def _write_array(path: Path, values: np.ndarray | Volume) -> None:
    with open(path, "wb") as file:
        np.save(file, values.values if isinstance(values, Volume) else values, allow_pickle=False)


_WRITERS: dict[str, Callable[[Path, Any], object]] = {
    "image": lambda path, picture: picture.save(path, format="PNG", compress_level=3),
    "audio": _write_sound, "video": Path.write_bytes, "series": _write_array, "volume": _write_array,
}  # fmt: skip
_READERS = {"image": _picture, "audio": _sound, "series": _series, "video": _video, "volume": read_volume}
