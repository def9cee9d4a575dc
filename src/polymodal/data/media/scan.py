"""The one way to open a scan of a body: a file, a folder of a series' slices, a list of them, or an array.

Whatever its form, slices run from the feet, rows from the front and columns from the left, as in `volume`.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, require
from polymodal.core.shown import many
from polymodal.data.kinds import KINDS
from polymodal.data.media.files import AGAIN, DAMAGE, opened, told
from polymodal.data.media.film import PICTURES, counted
from polymodal.data.media.picture import open_picture
from polymodal.data.media.remarks import remark
from polymodal.data.media.volume import Volume, check_voxels, dicom_file, dicom_volume, is_dicom, of_frames, read_volume

TOWARDS = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # slices, rows, columns; DICOM's axes run left, back, up
FARTHEST = 1e4  # millimetres between voxels of anything that is scanned
GAP = 1.5  # steps between slices from which on one is missing
ITK = {".mha": b"ObjectType", ".nrrd": b"NRRD"}  # forms that SimpleITK reads, and how they begin


def read_scan(source: Path | bytes | np.ndarray | Sequence[Any]) -> Volume:
    """A scan from a file (DICOM, NIfTI, NumPy, MetaImage, NRRD, pages of a TIFF, a picture), a folder or a list of
    slices (DICOM or pictures), or an array [slices, H, W] or [H, W].

    Of a folder's DICOM files the series with most slices is read, in the order in which they lie in the body; a
    `remark` says what else there was, and where slices are missing or broken. Pictures are taken in the order of their
    names. Colours become grey. Raises `BadCell`; `MissingExtra` without what reads a form (extra `medical`).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that are not quite right: what matters is raised
        return _spaced(_read(source))


def _spaced(scan: Volume) -> Volume:
    """The scan, voxels that cannot be of the size that they are said to have being 1 mm long there."""
    deep, high, wide = (abs(step) if 0 < abs(step) < FARTHEST else 1.0 for step in scan.spacing)
    if not all(0 < abs(step) < FARTHEST for step in scan.spacing):  # one that is no number is not either
        told = " x ".join(f"{step:g}" for step in scan.spacing)
        remark(f"says that its voxels are {told} mm; 1 mm is taken for what cannot be")
    return replace(scan, spacing=(deep, high, wide))


def _read(source: Path | bytes | np.ndarray | Sequence[Any]) -> Volume:
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Path) and source.is_dir():
        files = sorted((path for path in source.rglob("*") if path.is_file()), key=counted)
        return _of_slices([path for path in files if not path.name.startswith(".")], told(source))
    if not isinstance(source, Path | bytes):
        return _of_slices(list(source), "the list")
    with opened(source) as stream:
        content = stream.read()
        for suffix, start in ITK.items():
            if content.startswith(start):
                return _by_itk(content, suffix)
        if is_dicom(content):
            return _upright_frames(dicom_file(io.BytesIO(content)))
        return _of_pages(content) if KINDS.of_bytes(content[:512]) == "image" else read_volume(content)


def _of_array(values: np.ndarray) -> Volume:
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "buif":
        shape = " x ".join(map(str, values.shape))
        raise BadCell(f"is an array [{shape}] of {values.dtype}, where numbers [slices, height, width] were expected")
    check_voxels(values.shape)
    return Volume(np.asarray(values if values.ndim == 3 else values[None], np.float32), (1.0, 1.0, 1.0))


def _of_pages(content: bytes) -> Volume:
    """The pages of a TIFF or of another picture, grey; the values that were stored, so that 16 bits stay 16 bits."""
    picture = open_picture(content)
    pages = []
    for page in range(getattr(picture, "n_frames", 1)):
        picture.seek(page)
        pages.append(_grey(np.asarray(picture.convert("RGB") if picture.mode in ("P", "CMYK", "YCbCr") else picture)))
    return _stacked(pages)


def _grey(page: np.ndarray) -> np.ndarray:
    """The mean of its colours, without what it says of how much shines through."""
    return (page if page.ndim == 2 else page[..., : 3 if page.shape[2] > 2 else 1].mean(2)).astype(np.float32)


def _stacked(slices: Sequence[np.ndarray]) -> Volume:
    if len({one.shape for one in slices}) > 1:
        sizes = sorted({f"{one.shape[1]} × {one.shape[0]}" for one in slices})
        raise BadCell(f"holds slices of several sizes ({', '.join(sizes[:4])}), which make no volume")
    check_voxels((len(slices), *slices[0].shape))
    return Volume(np.stack(slices), (1.0, 1.0, 1.0))


def _by_itk(content: bytes, suffix: str) -> Volume:
    """By SimpleITK (Lowekamp et al. 2013), which reads by file name."""
    itk = require("SimpleITK", "medical")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scan{suffix}"
        path.write_bytes(content)
        try:
            reader = itk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            check_voxels(reader.GetSize())
            if len(reader.GetSize()) not in (2, 3):
                raise BadCell(f"has {len(reader.GetSize())} dimensions, where a volume has 3")
            image = reader.Execute()
        except DAMAGE as error:
            raise BadCell(f"is a {suffix[1:].upper()} file that is cut short or damaged: {AGAIN}") from error
    values = itk.GetArrayFromImage(image).astype(np.float32)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = values.mean(-1)
    if values.ndim == 2:
        return Volume(values[None], (1.0, *image.GetSpacing()[::-1]))
    axes = np.array(image.GetDirection()).reshape(3, 3).T[::-1]  # of slices, rows and columns
    return upright(Volume(values, tuple(image.GetSpacing()[::-1]), None, {"Modality": suffix[1:].upper()}), axes)


def _of_slices(sources: list[Any], where: str) -> Volume:
    if not sources:
        raise BadCell(f"{where} is empty, without a file in it")
    scans = [source for source in sources if _is_dicom(source)]
    if scans:
        return _series(scans, len(sources), where)
    for one in sources:
        if not isinstance(one, Path | bytes | np.ndarray):
            raise BadCell(f"{where} holds {str(one)[:40]!r}, where slices were expected: files or arrays")
    pictures = [one for one in sources if not isinstance(one, Path) or one.suffix.lower() in PICTURES]
    if not pictures:
        raise BadCell(f"{where} holds neither DICOM files nor pictures")
    return _stacked([page for one in pictures for page in _read(one).values])


def _is_dicom(source: Any) -> bool:
    if isinstance(source, Path) and source.is_file():
        with source.open("rb") as file:
            return is_dicom(file.read(132))
    return isinstance(source, bytes) and is_dicom(source)


def _series(sources: list[Any], held: int, where: str) -> Volume:
    """The series of DICOM files with most slices, in the order of their places along the line across them; a file of
    many frames is one by itself."""
    groups: dict[Any, list[tuple[Any, Any]]] = defaultdict(list)  # what each says of itself, and the file
    broken = 0
    for source in sources:
        try:
            head = _dicom(source, pixels=False)
            if "Rows" in head and "Columns" in head:  # else a report or a plan
                groups[_belongs(head)].append((head, source))
        except (BadCell, *DAMAGE):
            broken += 1
    if not groups:
        raise BadCell(f"{where} holds {many(held, 'file')}, but no DICOM picture that can be read")
    chosen = max(groups.values(), key=lambda found: sum(_frames(head) for head, _ in found))
    if len(groups) > 1:
        remark(f"holds {many(len(groups), 'series', 'series')}; that with most slices is read")
    if len(chosen) == 1:
        return _upright_frames(_dicom(chosen[0][1]))
    axes, places = _places([head for head, _ in chosen])
    order = np.argsort(places, kind="stable")
    once = [order[0], *(b for a, b in pairwise(order) if places[b] - places[a] > 1e-3)]
    if len(once) < len(order):
        remark("holds several slices of one place (times or echoes); the first of each is read")
    values, kept = [], []
    for at in once:
        try:
            values.append(dicom_volume(_dicom(chosen[at][1])))
            kept.append(places[at])
        except (BadCell, *DAMAGE):
            broken += 1
    if not values:
        raise BadCell(f"{where} holds no slice whose pixels can be decoded: {AGAIN}")
    steps = np.diff(kept)
    # The lower of two in the middle: of few slices one that lacks would else make the step itself longer.
    step = float(np.percentile(steps, 50, method="lower")) if len(steps) else values[0].spacing[0]
    if broken:
        remark(f"lacks {many(broken, 'slice')} that cannot be read")
    if (steps > GAP * step).any():
        remark("lacks slices between others; those around them are read as if they lay side by side")
    whole = _stacked([one.values[0] for one in values])
    first = values[0]
    spacing = (step if axes is not None else first.spacing[0], *first.spacing[1:])
    return upright(replace(first, values=whole.values, spacing=spacing), axes)


def _dicom(source: Any, *, pixels: bool = True) -> Any:
    with opened(source) as stream:
        return dicom_file(stream, pixels=pixels)


def _belongs(head: Any) -> tuple[Any, ...]:
    """What slices of one volume share: the series, the size, and how they lie (a scout lies across)."""
    if _frames(head) > 1:
        return (id(head),)
    lies = head.get("ImageOrientationPatient") or ()
    return str(head.get("SeriesInstanceUID")), head.Rows, head.Columns, tuple(round(float(x), 2) for x in lies)


def _frames(head: Any) -> int:
    return int(head.get("NumberOfFrames") or 1)


def _upright_frames(head: Any) -> Volume:
    """The scan of one DICOM file; the frames of one that says where each lies are put in order and upright."""
    scan = dicom_volume(head)
    lies = of_frames(head, "PlaneOrientationSequence", "ImageOrientationPatient")
    at = of_frames(head, "PlanePositionSequence", "ImagePositionPatient")
    if len(scan.values) == 1 or len(at) != len(scan.values) or not _known(lies, 6) or not _known(at, 3):
        return scan
    if np.ptp(np.array(lies, float), axis=0).max() > 0.01:
        return scan  # pictures that lie in several ways are no volume
    axes, places = _across(lies[0], at)
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if (steps < 1e-3).any():
        return scan  # of several times or echoes
    step = float(np.percentile(steps, 50, method="lower"))
    return upright(replace(scan, values=scan.values[order], spacing=(step, *scan.spacing[1:])), axes)


def _known(each: Sequence[Any], count: int) -> bool:
    """Whether all of them are so many numbers."""
    return all(one is not None and not isinstance(one, str | float) and len(one) == count for one in each)


def _across(lies: Any, at: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Directions of slices, rows and columns [3, 3], and each slice's place across them, in millimetres."""
    across, down = np.array(lies, float).reshape(2, 3)
    normal = np.cross(across, down)
    return np.stack([normal, down, across]), np.array(at, float) @ normal


def _places(slices: Sequence[Any]) -> tuple[np.ndarray | None, np.ndarray]:
    """Directions of slices, rows and columns [3, 3], where the files say them, and each slice's place across them, in
    millimetres; else the places, or at least the numbers, that the files give (DICOM PS3.3 C.7.6.2)."""
    lies = slices[0].get("ImageOrientationPatient")
    at = [one.get("ImagePositionPatient") for one in slices]
    if _known([lies], 6) and _known(at, 3):
        return _across(lies, at)
    for name in ("SliceLocation", "InstanceNumber"):
        found = [one.get(name) for one in slices]
        if all(value is not None for value in found):
            return None, np.array(found, float)
    return None, np.arange(len(slices), dtype=float)


def upright(scan: Volume, axes: np.ndarray | None) -> Volume:
    """The scan with its axes in the order and the directions of this module, by what lies nearest; `axes` [3, 3] are
    the directions of its slices, rows and columns in DICOM's coordinates. None: as it is."""
    if axes is None:
        return scan
    from scipy.optimize import linear_sum_assignment

    likeness = TOWARDS @ axes.T
    order = linear_sum_assignment(-np.abs(likeness))[1]
    values = scan.values.transpose(order)
    turned = tuple(slice(None, None, 1 if likeness[to, own] >= 0 else -1) for to, own in enumerate(order))
    spacing = tuple(scan.spacing[own] for own in order)
    return replace(scan, values=np.ascontiguousarray(values[turned]), spacing=(spacing[0], spacing[1], spacing[2]))
