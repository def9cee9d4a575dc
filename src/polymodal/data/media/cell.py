"""Media under work: a picture or a sound as it lies on disk, decoded when asked for, written again only if changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.files import writing
from polymodal.data.kinds import BUILT_IN, KINDS
from polymodal.data.media.array import read_array
from polymodal.data.media.cloud import Cloud, read_cloud
from polymodal.data.media.files import opened
from polymodal.data.media.film import SMALL, USUAL, Source, framed, read_film
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
        """A PIL image as it is stored, a `Sound`, an array [n] or [n, channels]; a `Volume`; a film as `read_film`
        takes it.

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
        if isinstance(self.decoded, list):
            return ""
        told = KINDS.suffix_of(self.source[:512]) if self.decoded is None and isinstance(self.source, bytes) else None
        return told or KINDS[self.kind].written

    def write(self, path: Path) -> None:
        """Write the decoded value losslessly, or the source as it is; of a film that is frames, a folder of them."""
        if isinstance(self.decoded, list):
            for place, frame in enumerate(self.decoded):
                one = media_of("image", frame)
                one.write(path / f"{place:06}{one.suffix}")
            return
        with writing(path) as temporary:
            if self.decoded is None:
                temporary.write_bytes(self.content())
            else:
                _WRITERS[self.kind](temporary, self.decoded)


def media_of(kind: str, value: Any) -> Media:
    """A cell of media as a table hands it over: a path, bytes, a list of frames, an array. Raises `BadCell`."""
    if isinstance(value, Path | bytes):
        return Media(kind, value)
    if kind not in _HELD:
        raise BadCell("is numbers, where a file was expected")
    return Media(kind, b"", _HELD[kind](value))


def _frames(value: np.ndarray | list[Any]) -> list[Any]:
    """A film's frames, each an array or the bytes of a file."""
    return [one if isinstance(one, np.ndarray) else Media("image", one).content() for one in framed(value)]


def _slices(value: np.ndarray | list[Any]) -> Any:
    """A scan as one array, or the slices that a list names, as of a film."""
    return value if isinstance(value, np.ndarray) else _frames(value)


def _film(source: Source) -> Source:
    """The film as it is, once a first frame was decoded from it."""
    read_film(source, 1, SMALL, seconds=USUAL)
    return source


def _write_sound(path: Path, sound: Sound) -> None:
    import soundfile

    soundfile.write(path, sound.samples, sound.rate, format="FLAC", subtype="PCM_16")


def _write_array(path: Path, values: np.ndarray | Volume | Cloud) -> None:
    if isinstance(values, Cloud):
        values = values.table()
    with open(path, "wb") as file:
        np.save(file, values.values if isinstance(values, Volume) else values, allow_pickle=False)


_WRITERS: dict[str, Callable[[Path, Any], object]] = {
    "image": lambda path, picture: picture.save(path, format="PNG", compress_level=3),
    "audio": _write_sound, "series": _write_array, "volume": _write_array,
    "points": _write_array,
}  # fmt: skip
_READERS: dict[str, Callable[[Path | bytes], Any]] = {
    "image": open_picture, "audio": read_sound, "series": read_array, "video": _film, "volume": read_scan,
    "points": read_cloud,
}  # fmt: skip
_HELD: dict[str, Callable[[Any], Any]] = {
    "image": open_picture,
    "video": _frames,
    "volume": _slices,
    "series": np.asarray,
    "points": read_cloud,
}
