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
from polymodal.data.kinds import BUILT_IN, KINDS
from polymodal.data.media.array import read_array
from polymodal.data.media.containers import container
from polymodal.data.media.files import AGAIN, DAMAGE, looks_like, opened
from polymodal.data.media.picture import open_picture
from polymodal.data.media.prints import small_grey
from polymodal.data.media.remarks import remarks
from polymodal.data.media.scan import read_scan
from polymodal.data.media.sound import Sound, read_sound
from polymodal.data.media.volume import Volume

MEDIA_KINDS = tuple(kind.name for kind in BUILT_IN if kind.written)  # what recipes open


@dataclass(frozen=True, eq=False)
class Media:
    """A cell of a media column. `source` is an absolute path or the bytes; `decoded` wins when it is there.

    `fault` says why the cell could not even be handed over (an archive cut short, a web address); `said` is what
    `value` had to remark on one that can be used all the same.
    """

    kind: str
    source: Path | bytes
    decoded: Any = None
    fault: str = ""
    said: list[str] = field(default_factory=list, repr=False)
    _seen: list[Any] = field(default_factory=list, repr=False)  # the source decoded, until `forget`

    def value(self) -> Any:
        """A PIL image as it is stored, a `Sound`, an array [n] or [n, channels]; a `Volume`; of a video, its bytes.

        Raises `BadCell` when it is broken.
        """
        if self.decoded is not None:
            return self.decoded
        if not self._seen:
            with remarks() as said:
                self._seen.append(self._read(_READERS[self.kind]))
            self.said[:] = said
        return self._seen[0]

    def small_grey(self) -> np.ndarray:
        """Of a picture what `data.media.prints` compares, without decoding it whole. Raises `BadCell`."""
        return small_grey(self.decoded) if self.decoded is not None else self._read(small_grey)

    def _read(self, reader: Callable[[Path | bytes], Any]) -> Any:
        if self.fault:
            raise BadCell(self.fault)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that are not quite right: what matters is raised
            return reader(self.source)

    def forget(self) -> None:
        """Free what `value` decoded."""
        self._seen.clear()

    def content(self) -> bytes:
        """The file's bytes. Raises `BadCell` when it is absent or empty."""
        if self.fault:
            raise BadCell(self.fault)
        with opened(self.source) as stream:
            return stream.read()

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


def _video(source: Path | bytes) -> bytes:
    """The bytes, once a first frame was decoded from them."""
    av = require("av", "video")
    with opened(source) as stream:
        content = stream.read()
        try:
            with container(io.BytesIO(content)) as held:
                first = held.streams.video and next(held.decode(video=0), None)
        except (av.error.FFmpegError, *DAMAGE) as error:
            raise BadCell(f"is no video of a known form, or is cut short{looks_like(content)}") from error
        if first is None:
            raise BadCell(f"is a video that holds no frame that can be decoded: {AGAIN}")
        if not first:
            raise BadCell("holds no video stream, only sound or data: give its column the kind audio, or leave it out")
    return content


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
_READERS: dict[str, Callable[[Path | bytes], Any]] = {
    "image": open_picture, "audio": read_sound, "series": read_array, "video": _video, "volume": read_scan,
}  # fmt: skip
