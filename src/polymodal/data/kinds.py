"""The kinds of columns and streams, one record each: what differs from kind to kind and is no code of a part.

A kind from outside is a `Kind` of one's own, made known by `register_kind`, by a schema (`kind: module:NAME`, or
`register: [module]`, so that it is told by its suffixes) or by an entry point of the group `polymodal.kind`. Names
of parts are catalogue names or `module:Class`; nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from polymodal.core.addresses import is_link, name_of
from polymodal.core.errors import BadArgument, PolymodalError, UnknownName, suggest
from polymodal.core.registry import import_path
from polymodal.core.trust import check_path

# What a cell may be, as `data.cells` hands it over.
CELLS = ("file", "files", "text", "numbers", "record", "links", "value", "")
COPIES = ("content", "picture", "text", "")  # by what cells are told to be copies of one another


@dataclass(frozen=True)
class Kind:
    """One kind.

    A `stream` may be of it, a single `column` may (in `kinds` of a schema), and it is `learnt` from, or known only;
    columns of a kind `within` another share one stream of that kind, which takes them as a cell of several columns.

    `cell` is what a processor reads: a `file` (path, bytes or uint8 pixels), `files` (one, or a list of them), `text`,
    `numbers` (an array, or the file of one), a `record` of columns, `links` to other rows; a `value` is part of a
    record; nothing: never read. A row may have a stretch of its own of a file that is `timed`,
    and a camera's picture beside one that is `calibrated`.
    `suffixes` end its files' names; `magic` maps patterns of their first bytes (regular expressions) to the suffix that
    such files usually have; `files` is the kind that those bytes tell, if it is another, and `also` names kinds whose
    files it reads too, as a film's sound. `path_options` go to a field whose cells were told to be paths. `beside`
    names kinds of which the same column gives a stream too, and the function of a cell and its folder that tells so.

    `processor` and `encoder` are its parts by default, `features` encoders that no gradient reaches, to which learners
    are fitted, `tower` opens pretrained checkpoints, and `learner` is a pretrained one, tried on the first `features`;
    `tried` says whether `encoder` is tried beside these, or trained together with the answer alone; `ready_encoder` one
    that needs no training; `cost` orders the encoders' jobs, dear ones first. `card` draws what `Processor.show` gives
    of it, `drawing` where a model looked in it: names of `report.cards` and `inference.explanation`, or
    `module:function`. `example` makes a raw cell from a generator and a number, to try parts on. `copies` says by what
    copies are found, `answer` which kind of target its cells can be. `written` is the suffix of a cell that a recipe
    changed; nothing: recipes do not open it. `noun` says with what a search was asked; `phrases` are sentences that
    name a class of such cells.
    """

    name: str
    _: KW_ONLY
    stream: bool = True
    column: bool = True
    learnt: bool = True
    within: str = ""
    cell: str = "file"
    timed: bool = False  # a row may have a stretch of its own of a file
    calibrated: bool = False  # a row may say where in a camera's picture its places lie
    words: bool = False  # cells are words: bytes are decoded, and a class can be named by one
    suffixes: tuple[str, ...] = ()
    magic: Mapping[bytes, str] = field(default_factory=dict, hash=False)
    files: str = ""
    also: tuple[str, ...] = ()
    path_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)
    processor: str = ""
    encoder: str = ""
    features: tuple[str, ...] = ()
    tower: str = ""
    learner: str = ""
    tried: bool = True
    ready_encoder: str = ""
    cost: int = 100
    card: str = ""
    drawing: str = ""
    example: str = ""
    copies: str = "content"
    answer: str = ""
    written: str = ""
    noun: str = ""
    phrases: tuple[str, ...] = ("{}",)

    @property
    def trained(self) -> bool:
        """A stream may be of it, and is learnt from."""
        return self.stream and self.learnt

    @property
    def many(self) -> bool:
        """A field may take several columns: a record of them, or a number each."""
        return self.cell in ("record", "numbers")

    @property
    def media(self) -> bool:
        """A cell is content of its own, equal only where it is the same: a file, or an array."""
        return self.cell in ("file", "files", "numbers")

    @property
    def asked(self) -> bool:
        """A search can be asked with a cell of it."""
        return self.learnt and self.cell in ("file", "files", "text")

    @property
    def takes_array(self) -> bool:
        """A field may read the rows of an array on disk."""
        return self.cell == "numbers"

    @property
    def is_record(self) -> bool:
        """A cell is a dict of several columns, each of a kind of its own."""
        return self.cell == "record"

    @property
    def reads_neighbours(self) -> bool:
        """A cell is the row's links, by which it reads the features of other rows."""
        return self.cell == "links"


class Kinds(Mapping[str, Kind]):
    """Kinds by name, in the order in which a page shows their cells; those from outside come last."""

    def __init__(self, known: Iterable[Kind]):
        self._kinds: dict[str, Kind] = {}
        self._ends: dict[str, str] = {}  # suffix -> kind
        self._modules: dict[str, str] = {}  # of kinds from outside: whose import makes them known
        self._plugins_read = False
        for kind in known:
            self._add(kind)

    def _table(self) -> dict[str, Kind]:
        if not self._plugins_read:
            from importlib.metadata import entry_points

            self._plugins_read = True
            for point in entry_points(group="polymodal.kind"):
                try:
                    self.find(point.value)
                except (PolymodalError, ImportError) as error:  # an installed package must not stop the others' work
                    warnings.warn(f"The kind {point.name} of an installed package is left out: {error}", stacklevel=3)
        return self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())

    def __contains__(self, name: object) -> bool:
        return name in self._table()

    def __getitem__(self, name: str) -> Kind:
        """Raises `UnknownName`."""
        table = self._table()
        if name not in table:
            raise _NoKind(f"No kind is called {name!r}.{suggest(str(name), table)}")
        return table[name]

    def of(self, **wanted: object) -> tuple[str, ...]:
        """Names of the kinds whose attributes are as `wanted`, in order: `KINDS.of(stream=True, learnt=True)`."""
        return tuple(n for n, k in self._table().items() if all(getattr(k, a) == v for a, v in wanted.items()))

    # --- kinds from outside ---

    def add(self, kind: Kind, module: str) -> None:
        """Make a kind of `module` known; the same again changes nothing. Raises `BadArgument` where it cannot be."""
        if kind.written:
            raise BadArgument(f"No recipe opens cells of the kind {kind.name!r}: leave written={kind.written!r} out.")
        if self._kinds.get(kind.name) != kind:
            self._add(kind)
            self._modules[kind.name] = module

    def find(self, name: Any) -> Any:
        """The kind's own name: of `module:NAME` that of the `Kind` there, which is known from then on.

        Any other name comes back as it is, known or not. Raises `UnknownName` where nothing is called so, `BadArgument`
        where it is no `Kind` or its name is taken.
        """
        if not isinstance(name, str) or ":" not in name:
            return name
        check_path(name)
        kind = import_path(name)
        if not isinstance(kind, Kind):
            raise BadArgument(f"{name} is no kind but a {type(kind).__name__}: let it be a polymodal.data.kinds.Kind.")
        self.add(kind, name.partition(":")[0])
        return kind.name

    def register(self, module: str) -> list[str]:
        """Import a module and make every `Kind` in it known; their names. Raises `UnknownName`, `BadArgument`."""
        try:
            kinds = [value for value in vars(importlib.import_module(module)).values() if isinstance(value, Kind)]
        except ModuleNotFoundError as error:
            if error.name and not module.startswith(error.name):
                raise
            raise UnknownName(f"No module {module!r}, in which kinds were to be found; is it on PYTHONPATH?") from error
        if not kinds:
            raise BadArgument(f"The module {module!r} holds no kind: let one be a polymodal.data.kinds.Kind.")
        for kind in kinds:
            self.add(kind, module)
        return [kind.name for kind in kinds]

    def modules(self, names: Iterable[str]) -> dict[str, str]:
        """The module of each of `names` that comes from outside: as JSON, what `know` needs in another process."""
        return {name: self._modules[name] for name in names if name in self._modules}

    def know(self, modules: Mapping[str, str]) -> None:
        """Make the kinds known that `modules` told elsewhere; what is known already is not imported.

        Raises `UnknownName` for a module that cannot be imported here, or that has the kind no longer; `BadData`
        for one that the bundle which is being opened may not name.
        """
        for name, module in modules.items():
            if name in self:
                continue
            check_path(module)
            if name not in self.register(module):
                raise UnknownName(f"The module {module!r} holds no kind {name!r} any more.")

    # --- files ---

    def of_file(self, name: str) -> str | None:
        """The kind that a file name's suffix tells (`array` for .npy and .npz), or None."""
        lower = (name_of(name) if is_link(name) else name).strip().lower()
        dot = lower.rfind(".")
        if dot <= 0:
            return None
        self._table()
        before = lower.rfind(".", 0, dot)
        return (self._ends.get(lower[before:]) if before >= 0 else None) or self._ends.get(lower[dot:])

    def of_bytes(self, content: bytes) -> str | None:
        """The kind that the first bytes tell, or None."""
        return self._told(content)[0]

    def suffix_of(self, content: bytes) -> str | None:
        """The usual suffix of files that begin with these bytes, or None."""
        return self._told(content)[1] or None

    def _told(self, content: bytes) -> tuple[str | None, str]:
        for kind in reversed(self._table().values()):  # those from outside first: theirs may be the longer patterns
            for pattern, suffix in kind.magic.items():
                if re.match(pattern, content, re.DOTALL):
                    return kind.name, suffix
        return None, ""

    def _add(self, kind: Kind) -> None:
        if kind.name in self._kinds:
            raise BadArgument(f"The kind {kind.name!r} exists already; choose another name.")
        if not kind.name.isidentifier():
            raise BadArgument(f"A kind is called by one word of letters, digits and _; got {kind.name!r}.")
        for what, given, allowed in (("cell", kind.cell, CELLS), ("copies", kind.copies, COPIES)):
            if given not in allowed:
                raise BadArgument(f"The kind {kind.name!r} cannot have {what}={given!r}.{suggest(given, allowed)}")
        for suffix in kind.suffixes:
            if not re.fullmatch(r"(\.[^.\s]+){1,2}", suffix) or suffix != suffix.lower():
                raise BadArgument(f"A suffix is written as '.png' or '.nii.gz', in small letters; got {suffix!r}.")
            if suffix in self._ends:
                raise BadArgument(f"Files that end in {suffix} are of the kind {self._ends[suffix]!r} already.")
        for pattern in kind.magic:
            try:
                re.match(pattern, b"")
            except (re.error, TypeError) as error:
                raise BadArgument(f"{pattern!r} in magic of {kind.name!r} is no pattern of bytes: {error}.") from None
        self._kinds[kind.name] = kind
        self._ends |= dict.fromkeys(kind.suffixes, kind.name)


class _NoKind(UnknownName, KeyError):
    """What a mapping raises for a key that it lacks, with the words of an `UnknownName`."""

    __str__ = Exception.__str__


BUILT_IN = (
    Kind(
        "image",
        suffixes=(
            ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm",
            ".pgm", ".pbm", ".pnm", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jp2", ".j2k",
            ".j2c", ".jpc", ".jpf", ".jpx", ".ico", ".icns", ".tga", ".psd", ".qoi", ".pcx", ".dds", ".xbm", ".xpm",
            ".svg", ".svgz", ".pdf", ".jxl",
        ),
        magic={
            rb"\x89PNG": ".png", rb"\xff\xd8\xff": ".jpg", rb"GIF8": ".gif", rb"BM": ".bmp", rb"II\*\0": ".tif",
            rb"MM\0\*": ".tif", rb"RIFF....WEBP": ".webp", rb"....ftypavi[fs]": ".avif",
            rb"....ftyp(?:he[iv][cmsx]|heif|mi[fa][12]|msf1)": ".heic", rb"\0\0\0\x0cjP  ": ".jp2",
            rb"\xff\x4f\xff\x51": ".j2k", rb"8BPS": ".psd", rb"qoif": ".qoi", rb"\0\0\x01\0[\x01-\x20]\0": ".ico",
            rb"\xff\x0a|\0\0\0\x0cJXL ": ".jxl", rb"%PDF-": ".pdf",
            rb"(?:\xef\xbb\xbf)?\s*(?:<(?:\?xml\s|!--|!DOCTYPE\s+svg)[^\0]{0,4096}?)?<(?:\w+:)?svg[\s>]": ".svg",
        },
        processor="image", encoder="image_resnet", features=("image_hog",), tower="pretrained_vision",
        cost=80, card="image", drawing="image", example="polymodal.data.examples:image", copies="picture",
        answer="picture", written=".png", noun="a picture",
        phrases=("{}", "a photo of {}", "a picture of {}", "an image that shows {}"),
    ),
    Kind(
        "audio", timed=True,
        suffixes=(
            ".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
            ".w64", ".m4a", ".m4b", ".aac", ".ac3", ".amr", ".awb", ".3ga", ".wma", ".weba", ".mka", ".wv", ".tta",
        ),
        magic={
            rb"OggS": ".ogg", rb"fLaC": ".flac", rb"ID3": ".mp3", rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]": ".mp3",
            rb"\xff[\xf0\xf1\xf8\xf9]": ".aac", rb"#!AMR": ".amr", rb"caff": ".caf", rb"\x0b\x77": ".ac3",
            rb"wvpk": ".wv", rb"FORM....AIF": ".aiff", rb"\.snd": ".au", rb"R(?:IFF|F64)....WAVE": ".wav",
            rb"....ftypM4[AB]": ".m4a",
        },
        also=("video",),
        processor="audio", encoder="audio_cnn", features=("audio_mfcc",), tower="pretrained_audio",
        cost=90, card="audio", drawing="audio", example="polymodal.data.examples:audio", answer="sound",
        written=".flac",
        noun="a sound",
        phrases=("{}", "the sound of {}", "a recording of {}", "one hears {}"),
    ),
    Kind(
        "video",
        suffixes=(
            ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".asf", ".flv", ".3gp", ".3g2",
            ".ogv", ".mts", ".m2ts",
        ),
        magic={
            rb"RIFF....AVI ": ".avi", rb"....ftyp(?!M4[AB]|avi[fs]|he[iv][cmsx]|heif|mi[fa][12]|msf1)": "",
            rb"\x1a\x45\xdf\xa3": ".mkv", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".asf", rb"FLV\x01": ".flv",
        },
        also=("image",), cell="files", timed=True, beside={"audio": "polymodal.data.media.film:has_sound"},
        processor="video", encoder="video_frames", features=("video_plain",), tower="pretrained_video",
        cost=95, card="video", drawing="video", example="polymodal.data.examples:video", written=".mp4", noun="a film",
        phrases=("{}", "a video of {}", "a film of {}", "one sees {}"),
    ),
    Kind(
        "volume", cell="files",
        suffixes=(".nii", ".nii.gz", ".dcm", ".mha", ".nrrd"),
        magic={rb".{128}DICM": ".dcm", rb"NRRD000": ".nrrd", rb"ObjectType *=": ".mha"},
        also=("image",),
        processor="volume", encoder="volume_resnet", features=("volume_plain",), tower="pretrained_volume",
        cost=96, card="volume", drawing="volume", example="polymodal.data.examples:volume", written=".npy",
        noun="a scan", phrases=("{}", "a scan of {}", "a scan that shows {}"),
    ),
    Kind(
        "points", cell="files", calibrated=True,
        suffixes=(".ply", ".pcd", ".las", ".laz", ".xyz", ".obj", ".stl"),
        magic={rb"ply\r?\n": ".ply", rb"# ?\.PCD": ".pcd", rb"LASF": ".las"},
        processor="points", encoder="points_set", features=("points_shape", "points_plain"),
        cost=94, card="points", drawing="points", example="polymodal.data.examples:points", written=".npy",
        noun="a cloud of points", phrases=("{}", "a scan of {}", "points that lie on {}"),
    ),
    Kind(
        "series", cell="numbers", suffixes=(".csv", ".tsv"), files="array",
        processor="series", encoder="series_tcn", features=("series_rocket", "series_plain"),
        tower="pretrained_series", cost=70,
        card="series", drawing="series", example="polymodal.data.examples:series", written=".npy",
    ),
    Kind(
        "vector", cell="numbers", files="array",
        processor="vector", encoder="vector_mlp", features=("vector_plain",), ready_encoder="vector_plain",
        learner="tabicl", cost=50, card="vector", example="polymodal.data.examples:vector", noun="a vector",
    ),
    Kind(
        "text", cell="text", words=True, suffixes=(".txt", ".md"), path_options={"files": True},
        processor="text", encoder="text_tfidf", features=("text_linear",), tower="pretrained_text",
        tried=False, cost=60, card="text", drawing="text", example="polymodal.data.examples:text", copies="text",
    ),
    Kind(
        "entity", cell="text", processor="entity", encoder="entity_embedding", features=("entity_plain",), tried=False,
        cost=20, card="text", example="polymodal.data.examples:entity", copies="",
    ),
    Kind(
        "table", column=False, cell="record",
        processor="table", encoder="table_mlp", features=("table_plain",), learner="tabicl", cost=40,
        card="table", example="polymodal.data.examples:table", copies="",
    ),
    Kind(
        "links", column=False, cell="links",
        processor="links", encoder="links_graph", cost=30, card="table", example="polymodal.data.examples:links",
        copies="",
    ),
    # --- kinds of single columns ---
    Kind("number", stream=False, within="table", cell="value", copies=""),
    Kind("category", stream=False, within="table", cell="value", words=True, copies=""),
    Kind("date", stream=False, within="table", cell="value", copies=""),
    Kind("ignore", stream=False, learnt=False, cell="value", copies=""),
    # --- what a column is told to be, and no user says ---
    Kind("id", stream=False, column=False, learnt=False, cell="value", copies=""),
    Kind("constant", stream=False, column=False, learnt=False, cell="", copies=""),
    Kind("empty", stream=False, column=False, learnt=False, cell="", copies=""),
    Kind("other", stream=False, column=False, learnt=False, cell="", copies=""),
    Kind(  # of a file: which kind of column it is, its shape tells
        "array", stream=False, column=False, learnt=False, cell="", copies="", suffixes=(".npy", ".npz"),
        magic={rb"\x93NUMPY": ".npy"},
    ),
)  # fmt: skip
KINDS = Kinds(BUILT_IN)


def register_kind(kind: Kind) -> Kind:
    """Make a kind known from the module that holds it, as in `MORSE = register_kind(Kind("morse", …))`.

    Workers and bundles import that module again. Raises `BadArgument` where the name or a suffix is taken.
    """
    KINDS.add(kind, sys._getframe(1).f_globals["__name__"])
    return kind
