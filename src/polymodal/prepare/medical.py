"""Reading medical scans: DICOM and NIfTI, from bytes."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, require


@dataclass(frozen=True, eq=False)
class Volume:
    """A medical scan: `values` [slices, H, W] in the scanner's units, `spacing` of the three axes in millimetres.

    `window` is (centre, width) of the values that its makers meant to be seen, where the file says so; `tags` what it
    says of itself. `inverted`: the smallest value is white.
    """

    values: np.ndarray
    spacing: tuple[float, float, float]
    window: tuple[float, float] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    inverted: bool = False


# What names or points to a person (DICOM PS3.15 Annex E, basic profile: the tags that scans carry in practice).
PERSONAL = tuple(
    """
    PatientName PatientID PatientBirthDate PatientBirthTime PatientSex PatientAge PatientAddress
    PatientTelephoneNumbers PatientMotherBirthName OtherPatientIDs OtherPatientNames EthnicGroup Occupation
    AdditionalPatientHistory PatientComments ReferringPhysicianName ReferringPhysicianAddress
    ReferringPhysicianTelephoneNumbers PhysiciansOfRecord PerformingPhysicianName OperatorsName
    NameOfPhysiciansReadingStudy RequestingPhysician InstitutionName InstitutionAddress
    InstitutionalDepartmentName StationName AccessionNumber StudyID StudyDate SeriesDate AcquisitionDate
    ContentDate StudyTime SeriesTime AcquisitionTime ContentTime DeviceSerialNumber StudyInstanceUID
    SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID
    """.split()  # noqa: SIM905 - forty names are read more easily as words
)


def read_volume(content: bytes) -> Volume:
    """A scan from the bytes of a DICOM file (.dcm) or a NIfTI file (.nii, .nii.gz).

    Values are in the scanner's units (slope and intercept applied). Raises `BadCell` for anything else, and for a file
    without pixels; `MissingExtra` without pydicom or nibabel (extra `medical`).
    """
    if content[128:132] == b"DICM":
        return _dicom(content)
    if content[:6] == b"\x93NUMPY":
        return _stored(content)
    if content[:2] == b"\x1f\x8b" or content[:4] in (
        b"\x5c\x01\x00\x00",
        b"\x00\x00\x01\x5c",
        b"\x1c\x02\x00\x00",
        b"\x00\x00\x02\x1c",
    ):
        return _nifti(content)
    raise BadCell("is neither DICOM nor NIfTI")


def _dicom(content: bytes) -> Volume:
    pydicom = require("pydicom", "medical")
    try:
        data = pydicom.dcmread(io.BytesIO(content))
    except (pydicom.errors.InvalidDicomError, EOFError, ValueError, KeyError) as error:
        raise BadCell("is no readable DICOM file") from error
    if "PixelData" not in data:
        raise BadCell("is a DICOM file without pixels")
    try:
        pixels = pydicom.pixels.apply_rescale(data.pixel_array, data).astype(np.float32)
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise BadCell("holds pixels that cannot be decoded") from error
    if pixels.ndim == 3 and data.get("SamplesPerPixel", 1) > 1:
        pixels = pixels.mean(-1)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    spacing = [float(x) for x in data.get("PixelSpacing", (1, 1))]
    return Volume(
        pixels,
        (float(data.get("SliceThickness") or 1), spacing[0], spacing[1]),
        _window(data),
        {
            e.keyword: str(e.value)[:200]
            for e in data
            if e.keyword and e.VR not in ("SQ", "OB", "OW", "UN") and e.keyword != "PixelData"
        },
        data.get("PhotometricInterpretation") == "MONOCHROME1",
    )


def _window(data: Any) -> tuple[float, float] | None:
    centre, width = data.get("WindowCenter"), data.get("WindowWidth")
    if centre is None or width is None:
        return None
    first = [float(x[0] if isinstance(x, list | tuple) or hasattr(x, "append") else x) for x in (centre, width)]
    return (first[0], first[1]) if first[1] > 0 else None


def _nifti(content: bytes) -> Volume:
    nibabel = require("nibabel", "medical")
    suffix = ".nii.gz" if content[:2] == b"\x1f\x8b" else ".nii"
    with tempfile.TemporaryDirectory() as folder:  # nibabel reads by file name
        path = Path(folder) / f"scan{suffix}"
        path.write_bytes(content)
        try:
            image = nibabel.as_closest_canonical(nibabel.load(path))
            values = np.asarray(image.dataobj, dtype=np.float32)
        except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
            raise BadCell("is no readable NIfTI file") from error
    if values.ndim == 4:
        values = values[..., 0]
    if values.ndim != 3 or not values.size:
        raise BadCell(f"is a NIfTI file of {values.ndim} dimensions, where 3 were expected")
    zooms = [float(z) for z in image.header.get_zooms()[:3]]
    # canonical axes run right, forward, up: slices from the feet, rows from the front, columns from the left
    return Volume(values.transpose(2, 1, 0)[:, ::-1], (zooms[2], zooms[1], zooms[0]), None, {"Modality": "NIfTI"})


def _stored(content: bytes) -> Volume:
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadCell("is no array in .npy form") from error
    if values.ndim != 3:
        raise BadCell(f"is an array of {values.ndim} dimensions, where a volume has 3")
    return Volume(values.astype(np.float32), (1.0, 1.0, 1.0))
