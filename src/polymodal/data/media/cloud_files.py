"""Files of points as columns by name: PLY, PCD, LAS and LAZ, STL, OBJ, rows of float32, arrays and lines of text.

What a header promises is compared with the bytes that are there before anything of that size is made.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, require
from polymodal.core.limits import check_size
from polymodal.data.media.array import load_array
from polymodal.data.media.files import AGAIN, looks_like, said
from polymodal.data.media.remarks import remark

Columns = Mapping[str, np.ndarray]  # [n] each, of any type of numbers
USUAL = ("x", "y", "z", "intensity")  # of files that name no columns, as KITTI's
FARTHEST = 1e7  # metres: what lies beyond is no place that was measured from where it is counted
_HEADER = 65_536  # bytes: the longest header
_CUT = f"is cut short: {AGAIN}"
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def columns_of(content: bytes, names: Sequence[str] | None, suffix: str = "") -> Columns:
    """The columns of a file's points. `names` are those of the columns of files that name none; `suffix` tells rows of
    float32 from bytes of an unknown form. Raises `BadCell`; `MissingExtra` for LAS without what reads it."""
    if content.startswith(b"ply"):
        return _ply(content)
    if re.match(rb"# ?\.PCD|VERSION [.\d]+\s+(FIELDS|COLUMNS)", content):
        return _pcd(content)
    if content.startswith(b"LASF"):
        return _las(content)
    if content.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        return of_array(load_array(io.BytesIO(content), None), names)
    if suffix == ".stl" or (len(content) >= 84 and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")):
        return _stl(content)
    if suffix != ".bin" or _is_text(content[:4096]):
        return _obj(content) if re.search(rb"(?m)^v[ \t]", content) else _lines(content, names)
    return _rows(content, names or USUAL)


def of_array(values: np.ndarray, names: Sequence[str] | None) -> Columns:
    """The columns of an array [n, 3 or more], or of one whose fields have names."""
    if values.dtype.names:
        return {name: values[name] for name in values.dtype.names if values[name].ndim == 1}
    if values.ndim != 2 or values.shape[1] < 3 or values.dtype.kind not in "biuf":
        shape = " x ".join(map(str, values.shape))
        raise BadCell(f"is an array [{shape}] of {values.dtype}, where points [n, 3 or more] were expected")
    return dict(zip(_named(values.shape[1], names), values.T))


def _named(width: int, names: Sequence[str] | None) -> Sequence[str]:
    if names is not None and len(names) != width:
        told = ", ".join(names)
        raise BadCell(f"has {width} columns, where `columns` names {len(names)} ({told}): correct the option")
    return names or [*USUAL[:width], *(f"feature_{number}" for number in range(len(USUAL) + 1, width + 1))]


def _ply(content: bytes) -> Columns:
    """Turk's polygon format (1994): a header of elements, of which `vertex` holds the points."""
    end = re.search(rb"end_header[^\S\n]*\r?\n|end_header\r", content[:_HEADER])
    if end is None:
        raise BadCell(f"is a PLY file whose header does not end: {AGAIN}")
    order = "?"
    elements: list[tuple[str, int, list[tuple[str, list[str]]]]] = []
    for line in content[: end.start()].decode("latin-1").splitlines():
        match line.split():
            case ["format", form, *_]:
                order = _PLY_ORDERS.get(form, "?")
            case ["element", name, count]:
                elements.append((name, _count(count), []))
            case ["property", *words] if elements and len(words) > 1:
                elements[-1][2].append((words[-1], words[:-1]))
    if order == "?" or not any(name == "vertex" for name, _, _ in elements):
        raise BadCell(f"is a PLY file without {'a known format' if order == '?' else 'an element vertex'}: {AGAIN}")
    body = content[end.end() :]
    for name, held, properties in elements:
        if name != "vertex":
            body = _behind(body, order, name, held, properties)
            continue
        if others := [f"{other}s" for other, number, _ in elements if other != "vertex" and number]:
            remark(f"holds {' and '.join(others)} too, which are not read")
        if order:
            return _records(body, [(n, order + _ply_type(t), 1) for n, t in properties], held)
        return _numbers(body, [(n, 1) for n, _ in properties], held)
    raise AssertionError("there is an element vertex")


def _ply_type(words: Sequence[str]) -> str:
    if len(words) != 1 or words[0] not in _PLY_TYPES:
        raise BadCell(f"is a PLY file whose points have a property of type {' '.join(words)!r}, which is not read")
    return _PLY_TYPES[words[0]]


def _behind(body: bytes, order: str, name: str, count: int, properties: Sequence[Any]) -> bytes:
    """What follows an element that precedes the points."""
    if not order:
        at = 0
        for _ in range(count):
            at = body.find(b"\n", at) + 1
            if not at:
                raise BadCell(_CUT)
        return body[at:]
    if any(words[0] == "list" for _, words in properties):
        raise BadCell(f"is a PLY file with lists ({name}) before its points, which are not read: export points alone")
    return body[count * sum(np.dtype(_ply_type(words)).itemsize for _, words in properties) :]


def _pcd(content: bytes) -> Columns:
    """Point Cloud Library's format (Rusu & Cousins 2011), version 0.7 and before; `binary_compressed` is LZF."""
    data = re.search(rb"(?m)^DATA[ \t]+(\w+)[^\S\n]*\n", content[:_HEADER])
    if data is None:
        raise BadCell(f"is a PCD file whose header does not end: {AGAIN}")
    head: dict[str, list[str]] = {}
    for line in content[: data.start()].decode("latin-1").splitlines():
        key, *values = line.split() or [""]
        head[key.upper()] = values
    names = head.get("FIELDS") or head.get("COLUMNS") or []
    sizes, types = (head.get(key, []) for key in ("SIZE", "TYPE"))
    counts = [_count(one) for one in head.get("COUNT", ["1"] * len(names))]
    if not names or not len(names) == len(sizes) == len(types) == len(counts):
        raise BadCell(f"is a PCD file whose header names {len(names)} fields and {len(sizes)} sizes: {AGAIN}")
    whole = [_count(one) for key in ("WIDTH", "HEIGHT") for one in head.get(key, [])[:1]]
    points = _count(head["POINTS"][0]) if head.get("POINTS") else int(np.prod(whole, dtype=object))
    form, body = data[1].lower(), content[data.end() :]
    if form == b"ascii":
        return _numbers(body, list(zip(names, counts)), points)
    kinds = {"F": "f", "I": "i", "U": "u"}
    fields = []
    for name, size, letter, count in zip(names, sizes, types, counts):
        if letter.upper() not in kinds or size not in ("1", "2", "4", "8") or (letter.upper() == "F" and size in "12"):
            raise BadCell(f"is a PCD file with a field {name!r} of type {letter}{size}, which is not read")
        fields.append((name, f"<{kinds[letter.upper()]}{size}", count))
    if form == b"binary":
        return _records(body, fields, points)
    if form != b"binary_compressed":
        raise BadCell(f"is a PCD file of the form {form.decode('latin-1')!r}, which is not read")
    if len(body) < 8:
        raise BadCell(_CUT)
    packed, size = struct.unpack("<II", body[:8])
    if size != points * sum(np.dtype(kind).itemsize * count for _, kind, count in fields) or len(body) < 8 + packed:
        raise BadCell(f"is a PCD file whose points do not have the length that its header says: {AGAIN}")
    unpacked, at, found = lzf(body[8 : 8 + packed], size), 0, {}
    for name, kind, count in fields:  # field by field, not point by point
        if count == 1:
            found[name] = np.frombuffer(unpacked, kind, points, at)
        at += points * count * np.dtype(kind).itemsize
    return found


def lzf(packed: bytes, size: int) -> bytes:
    """What `size` bytes were before LibLZF (Lehmann 2000) packed them: runs of bytes as they are, and references back.

    Raises `BadCell` where they are damaged or claim to be more than such bytes can become.
    """
    if size > 132 * len(packed):  # two bytes, and one of length, stand for 264 at most
        raise BadCell(_CUT)
    made, at, end = bytearray(), 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            at += 1
            if control < 32:
                made += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[at]
                at += 1
            start = len(made) - ((control & 31) << 8) - packed[at] - 1
            at += 1
            if start < 0 or len(made) > size:
                raise IndexError
            length += 2
            piece = made[start : start + length]
            made += (piece * (length // len(piece) + 1))[:length]  # it may run into what it makes
    except IndexError:
        raise BadCell(f"holds compressed points that are damaged: {AGAIN}") from None
    if len(made) != size:
        raise BadCell(f"holds compressed points that are damaged: {AGAIN}")
    return bytes(made)


def _las(content: bytes) -> Columns:
    """The format of airborne lidar (ASPRS LAS 1.0 to 1.4), LAZ when compressed (Isenburg 2013), by laspy."""
    laspy = require("laspy", "points")
    try:
        if len(content) > 104 and content[104] & 0x80:
            require("lazrs", "points")
        with laspy.open(io.BytesIO(content)) as file:
            header = file.header
            size = header.point_count * header.point_format.size
            if not header.are_points_compressed and header.offset_to_point_data + size > len(content):
                raise BadCell(_CUT)
            check_size(size, "cell")
            points = file.read()
        names = [name for name in points.point_format.dimension_names if name not in ("X", "Y", "Z")]
        found = {axis: np.asarray(getattr(points, axis), np.float64) for axis in "xyz"}
        return found | {name: np.asarray(points[name]) for name in names}
    except (BadCell, ImportError, MemoryError):
        raise
    except Exception as error:  # laspy's and lazrs' own errors, which share no base class
        raise BadCell(f"is a LAS file that is cut short or damaged ({said(error)}): {AGAIN}") from error


def _stl(content: bytes) -> Columns:
    """The corners of a mesh's triangles, each once."""
    count = int.from_bytes(content[80:84], "little")
    if len(content) == 84 + 50 * count:
        triangles = np.frombuffer(content, np.dtype([("normal", "<f4", 3), ("at", "<f4", 9), ("of", "<u2")]), count, 84)
        corners = triangles["at"].reshape(-1, 3)
    else:
        text = b" ".join(re.findall(rb"(?m)^\s*vertex([^\n]*)$", content))
        corners = _parsed(text).reshape(-1, 3) if text else np.zeros((0, 3))
        if not len(corners):
            raise BadCell(f"is an STL file without a corner that can be read, or cut short{looks_like(content)}")
    remark("is a mesh, of which the corners are read")
    return dict(zip("xyz", np.unique(corners, axis=0).T))


def _obj(content: bytes) -> Columns:
    """The corners of a mesh (Wavefront OBJ), with their colours where they have some."""
    lines = re.findall(rb"(?m)^v[ \t]([^\r\n#]*)", content)
    remark("is a mesh, of which the corners are read")
    names = {4: ("x", "y", "z", "_"), 6: ("x", "y", "z", "red", "green", "blue")}
    return _lines(b"\n".join(lines), names.get(len(lines[0].split()), ("x", "y", "z")))


def _lines(content: bytes, names: Sequence[str] | None) -> Columns:
    """A line a point, separated by spaces, tabs, commas or semicolons; a first line of words names the columns."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.translate(bytes.maketrans(b",;\t\r", b"    "))
    gaps = re.search(rb",[ \t]*[,\r\n]|;[ \t]*[;\r\n]", content)
    if gaps:
        lines = re.sub(rb"(?<=[,;])[ \t]*(?=[,;\r\n])", b"nan", content).translate(bytes.maketrans(b",;\t\r", b"    "))
    while lines:
        first, _, rest = lines.partition(b"\n")
        words = first.decode("utf-8", "replace").lstrip("#/ ").split()
        if words and not first.lstrip().startswith((b"#", b"//")) and all(map(_is_number, words)) and len(words) > 1:
            break
        if names is None and {"x", "y", "z"} <= {word.lower().strip('"') for word in words}:
            names = [word.strip('"') for word in words]
        elif words and not first.lstrip().startswith((b"#", b"//")) and not (len(words) == 1 and _is_number(words[0])):
            raise BadCell(f"is neither points in a known form nor lines of numbers{looks_like(content)}")
        lines = rest  # a remark, the names, an empty line, or how many points follow
    if not lines:
        raise BadCell("holds no line of numbers, so no point")
    width = len(words)
    values = _parsed(lines)
    rows = sum(1 for line in lines.split(b"\n") if line.strip())
    if len(values) != rows * width:
        raise BadCell(f"has lines that differ in their number of columns: the first has {width}: {AGAIN}")
    return of_array(values.reshape(rows, width), names)


def _rows(content: bytes, names: Sequence[str]) -> Columns:
    """Rows of little-endian float32, as KITTI's and nuScenes'."""
    step = 4 * len(names)
    if len(content) % step:
        told = ", ".join(names)
        raise BadCell(
            f"has {len(content):,} bytes, which are no rows of {len(names)} numbers of 4 bytes ({told}): name the "
            "columns that the file has by `columns`"
        )
    values = np.frombuffer(content, "<f4").reshape(-1, len(names))
    places = values[:, [names.index(axis) for axis in "xyz"]] if {*"xyz"} <= {*names} else values[:, :3]
    with np.errstate(invalid="ignore"):
        if (np.abs(places).max(1, initial=0) < FARTHEST).mean() < 0.5:
            raise BadCell(f"holds no places in metres, as rows of {len(names)} numbers of 4 bytes{looks_like(content)}")
    return dict(zip(names, values.T))


def _records(body: bytes, fields: Sequence[tuple[str, str, int]], count: int) -> Columns:
    """Columns of `count` records of fields (name, type, how many of them); fields of several values are left out."""
    seen = [f"{number}" for number in range(len(fields))]
    kind = np.dtype([(at, each, (many,)) if many != 1 else (at, each) for at, (_, each, many) in zip(seen, fields)])
    if count * kind.itemsize > len(body):
        raise BadCell(_CUT)
    records = np.frombuffer(body, kind, count)
    return {name: records[at] for at, (name, _, many) in zip(seen, fields) if many == 1}


def _numbers(body: bytes, fields: Sequence[tuple[str, int]], count: int) -> Columns:
    """Columns of `count` lines of numbers, of fields (name, how many of them)."""
    width = sum(each for _, each in fields)
    if 2 * width * count > len(body) + 1:  # a digit and a space each, at least
        raise BadCell(_CUT)
    values = _parsed(body, width * count).reshape(count, width)
    at, found = 0, {}
    for name, each in fields:
        if each == 1:
            found[name] = values[:, at]
        at += each
    return found


def _parsed(text: bytes, count: int = -1) -> np.ndarray:
    """float64 of numbers that white space separates; `count` of them, or all. Raises `BadCell`."""
    try:
        values = np.fromstring(text, sep=" ", count=count)  # type: ignore[call-overload]
    except (ValueError, DeprecationWarning):
        values = None
    if values is None or (count >= 0 and len(values) != count):
        raise BadCell(f"holds something that is no number, or ends too early: {AGAIN}")
    return values


def _count(word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        number = -1
    if number < 0:
        raise BadCell(f"says that it has {word[:40]!r} points or values, which cannot be: {AGAIN}")
    return number


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_text(content: bytes) -> bool:
    """Whether bytes are a text's, of which the last letter may be cut."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start > len(content) - 4 and _is_text(content[: error.start])
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)
