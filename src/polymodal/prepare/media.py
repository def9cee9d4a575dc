"""Media under work: a picture or a sound as it lies on disk, decoded when asked for, written again only if changed."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, require
from polymodal.core.files import writing
from polymodal.prepare.medical import Volume, read_volume

SUFFIXES = {"image": ".png", "audio": ".flac", "series": ".npy", "video": ".mp4", "volume": ".npy"}
MEDIA_KINDS = tuple(SUFFIXES)
MOST_PIXELS = 200_000_000  # a picture beyond is refused before it is decoded: it would take gigabytes


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
            self._seen.append(_READERS[self.kind](self.content()))
        return self._seen[0]

    def forget(self) -> None:
        """Free what `value` decoded."""
        self._seen.clear()

    def content(self) -> bytes:
        """The file's bytes. Raises `BadCell` when it is absent or empty."""
        if self.fault:
            raise BadCell(self.fault)
        if isinstance(self.source, bytes):
            found = self.source
        else:
            try:
                found = self.source.read_bytes()
            except FileNotFoundError as error:
                raise BadCell(f"the file {self.source.name!r} does not exist") from error
            except OSError as error:
                raise BadCell(f"the file {self.source.name!r} cannot be read: {error.strerror}") from error
        if not found:
            raise BadCell("the file is empty (0 bytes)")
        return found

    def with_value(self, value: Any) -> Media:
        """The same cell holding another decoded value."""
        return self if value is self.decoded else Media(self.kind, self.source, value)

    @property
    def suffix(self) -> str:
        """How the file that this becomes is to end."""
        if self.decoded is None and isinstance(self.source, Path):
            return self.source.suffix.lower()
        return SUFFIXES[self.kind]

    def write(self, path: Path) -> None:
        """Write the decoded value losslessly, or the source as it is."""
        with writing(path) as temporary:
            if self.decoded is None:
                temporary.write_bytes(self.content())
            elif self.kind == "image":
                self.decoded.save(temporary, format="PNG", compress_level=3)
            elif self.kind == "audio":
                import soundfile

                soundfile.write(temporary, self.decoded.samples, self.decoded.rate, format="FLAC", subtype="PCM_16")
            elif self.kind == "video":
                temporary.write_bytes(self.decoded)
            else:
                array = self.decoded.values if isinstance(self.decoded, Volume) else self.decoded
                with open(temporary, "wb") as file:
                    np.save(file, array, allow_pickle=False)


def _picture(content: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content))
            if picture.width * picture.height > MOST_PIXELS:
                raise BadCell(f"has {picture.width} x {picture.height} pixels, which would take gigabytes to open")
            picture.load()
    except UnidentifiedImageError as error:
        raise BadCell("is no picture of a known form") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadCell(f"is no readable picture: {str(error).split(chr(10))[0]}") from error
    return picture


def _sound(content: bytes) -> Sound:
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadCell("is no sound of a known form, or is cut short") from error
    if not len(samples):
        raise BadCell("holds no sample")
    return Sound(samples, rate)


def _video(content: bytes) -> bytes:
    """The bytes, once a first frame was decoded from them."""
    av = require("av", "video")
    try:
        with av.open(io.BytesIO(content)) as container:
            seen = container.streams.video and next(container.decode(video=0), None)
    except (av.error.FFmpegError, ValueError) as error:
        raise BadCell("is no video of a known form, or is cut short") from error
    if not seen:
        raise BadCell("holds no frame" if seen is None else "holds no video stream")
    return content


def _array(content: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadCell(f"is no array in .npy form: {error}") from error


_READERS = {"image": _picture, "audio": _sound, "series": _array, "video": _video, "volume": read_volume}
