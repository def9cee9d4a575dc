"""Reading medical scans: DICOM and NIfTI, from bytes."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from polymodal.core.errors import BadCell, require
from polymodal.data.media.array import read_array
from polymodal.data.media.files import AGAIN, DAMAGE, looks_like, said
from polymodal.data.media.remarks import remark

NIFTI = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # sizes of the header
MILLIMETRES = {"meter": 1e3, "micron": 1e-3}  # in a unit of length that a NIfTI file may name in their place
MOST_VOXELS = 1_000_000_000  # 4 GB as they are worked on


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


# What names or points to a person (DICOM PS3.15 Annex E, basic profile), beside all that is of a kind which does.
PERSONAL_KINDS = ("PN", "DA", "DT", "TM", "AS", "LT", "ST", "UT", "UN")  # names, dates, times, ages, free text, unknown
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
    AdmissionID AdmittingDiagnosesDescription AcquisitionProtocolDescription Allergies BranchOfService CassetteID
    CountryOfResidence CurrentPatientLocation CustodialOrganization DetectorID DeviceDescription
    DischargeDiagnosisDescription FillerOrderNumberImagingServiceRequest GantryID GeneratorID
    HumanPerformerOrganization InsurancePlanIdentification IssuerOfAdmissionID IssuerOfPatientID
    IssuerOfServiceEpisodeID LensSerialNumber MedicalAlerts MedicalRecordLocator MilitaryRank ModifiedImageDescription
    OrderCallbackPhoneNumber OrderEntererLocation PatientInstitutionResidence PatientReligiousPreference
    PatientSexNeutered PatientSize PatientState PatientTransportArrangements PatientWeight PerformedLocation
    PerformedProcedureStepDescription PerformedProcedureStepID PerformedStationAETitle PerformedStationName
    PlacerOrderNumberImagingServiceRequest PlateID PreMedication PregnancyStatus ProtocolName ReasonForStudy
    RegionOfResidence RequestedProcedureDescription RequestedProcedureID RequestedProcedureLocation RequestingService
    ResponsibleOrganization RetrieveAETitle ScheduledProcedureStepDescription ScheduledProcedureStepID
    ScheduledProcedureStepLocation ScheduledStationAETitle ScheduledStationName SeriesDescription
    ServiceEpisodeDescription ServiceEpisodeID SmokingStatus SpecialNeeds StudyDescription UniqueDeviceIdentifier
    VerifyingOrganization
    """.split()  # noqa: SIM905 - names are read more easily as words
)


def read_volume(content: bytes) -> Volume:
    """A scan from the bytes of a DICOM file (.dcm) or a NIfTI file (.nii, .nii.gz).

    Values are in the scanner's units (slope and intercept applied). Raises `BadCell` for anything else, and for a file
    without pixels; `MissingExtra` without pydicom or nibabel (extra `medical`).
    """
    if is_dicom(content):
        return _dicom(content)
    if content[:6] == b"\x93NUMPY":
        return _stored(content)
    if known(content):
        return _nifti(content)
    raise BadCell(f"is no scan of a known form (DICOM, NIfTI, MetaImage, NRRD, NumPy, TIFF){looks_like(content)}")


def check_voxels(shape: Iterable[int]) -> None:
    """Raises `BadCell` for more voxels than are opened."""
    voxels = math.prod(shape)
    if voxels > MOST_VOXELS:
        raise BadCell(
            f"says that it has {voxels / 1e6:,.0f} million voxels, more than the {MOST_VOXELS // 10**6} million that "
            "are opened: it is damaged, or to be made smaller first"
        )


def is_dicom(head: bytes) -> bool:
    """By the mark behind the first 128 bytes; old files without one begin with an element of group 2 or 8."""
    old = head[:2] in (b"\x02\0", b"\x08\0") and (head[4:6].isalpha() or head[6:8] == b"\0\0")
    return head[128:132] == b"DICM" or old


def known(content: bytes) -> bool:
    """Whether the bytes begin as those of a scan do."""
    return (
        is_dicom(content)
        or content[:6] == b"\x93NUMPY"
        or content[:2] == b"\x1f\x8b"  # NIfTI is often compressed
        or content[:4] in NIFTI
    )


def _dicom(content: bytes) -> Volume:
    return dicom_volume(dicom_file(io.BytesIO(content)))


def dicom_file(stream: BinaryIO, *, pixels: bool = True) -> Any:
    """One DICOM file as pydicom reads it, also without the mark that old ones lack; `pixels` False stops before them.

    Raises `BadCell`.
    """
    pydicom = require("pydicom", "medical")
    try:
        data = pydicom.dcmread(stream, force=True, stop_before_pixels=not pixels)
        data.file_meta = getattr(data, "file_meta", None) or pydicom.dataset.FileMetaDataset()
    except (pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, *DAMAGE) as error:
        raise BadCell(f"is a DICOM file that is cut short or damaged ({said(error)}): {AGAIN}") from error
    return data


def dicom_volume(data: Any) -> Volume:
    """The scan of one DICOM file, as pydicom reads it. Raises `BadCell`."""
    pydicom = require("pydicom", "medical")
    try:
        told = {
            e.keyword: str(e.value)[:200]
            for e in data
            if e.keyword and e.VR not in ("SQ", "OB", "OW", "UN") and e.keyword != "PixelData"
        }
        spacing = [float(x) for x in of_frames(data, "PixelMeasuresSequence", "PixelSpacing")[0] or (1, 1)]
        thick = float(of_frames(data, "PixelMeasuresSequence", "SliceThickness")[0] or 1)
        window = _window(data)
    except (pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, *DAMAGE) as error:
        raise BadCell(f"is a DICOM file that is cut short or damaged ({said(error)}): {AGAIN}") from error
    if "PixelData" not in data:
        kind = data.get("Modality") or "unknown"
        raise BadCell(
            f"is a DICOM file without pixels (modality {kind}): a report or a plan, which is no scan, or cut short"
        )
    try:
        check_voxels((int(data.get("NumberOfFrames") or 1), data.Rows, data.Columns))
    except (AttributeError, TypeError, ValueError) as error:
        raise BadCell(f"is a DICOM file that does not say how large its pictures are: {AGAIN}") from error
    return Volume(
        _pixels(data), (thick, spacing[0], spacing[1]), window, told,
        data.get("PhotometricInterpretation") == "MONOCHROME1",
    )  # fmt: skip


def _pixels(data: Any) -> np.ndarray:
    """float32 [slices, H, W] in the scanner's units. Raises `BadCell`."""
    pydicom = require("pydicom", "medical")
    if "TransferSyntaxUID" not in data.file_meta:  # old files, and those of machines, do not always say it
        implicit, little = data.original_encoding
        order = f"VR{'Little' if little else 'Big'}Endian"
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, f"{'Implicit' if implicit else 'Explicit'}{order}")
    try:
        if data.get("PhotometricInterpretation") == "PALETTE COLOR":
            pixels = pydicom.pixels.apply_color_lut(data.pixel_array, data).astype(np.float32)
            return pixels.mean(-1)[None] if pixels.ndim == 3 else pixels.mean(-1)
        pixels = pydicom.pixels.apply_rescale(data.pixel_array, data).astype(np.float32)
        if "RescaleSlope" not in data and "ModalityLUTSequence" not in data:  # files of many frames say it by frame
            slope, intercept = (
                [1 - i if value is None else float(value) for value in of_frames(data, _RESCALE, name)]
                for i, name in enumerate(("RescaleSlope", "RescaleIntercept"))
            )
            pixels = _by_frame(pixels, slope) * pixels + _by_frame(pixels, intercept)
    except DAMAGE as error:
        syntax = getattr(data.file_meta, "TransferSyntaxUID", None)
        if syntax is not None and "missing dependencies" in str(error):
            raise BadCell(
                f"holds pixels compressed as {syntax.name}, which pydicom cannot open by itself: install a decoder "
                "(pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg), or export the scan uncompressed"
            ) from error
        raise BadCell(f"holds pixels that cannot be decoded ({said(error)}): {AGAIN}") from error
    if pixels.ndim > 2 and data.get("SamplesPerPixel", 1) > 1:
        pixels = pixels.mean(-1)
    return pixels[None] if pixels.ndim == 2 else pixels


_RESCALE = "PixelValueTransformationSequence"


def of_frames(data: Any, sequence: str, name: str) -> list[Any]:
    """What the file says of itself, of all its frames or of each; [None] where it does not (DICOM PS3.3 C.7.6.16)."""
    if data.get(name) is not None:
        return [data.get(name)]
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        values = [(frame.get(sequence) or [{}])[0].get(name) for frame in data.get(groups) or ()]
        if any(value is not None for value in values):
            return values
    return [None]


def _by_frame(pixels: np.ndarray, values: list[float]) -> np.ndarray:
    """The values in the shape of the pixels: one for all, or one a frame."""
    numbers = np.array(values, np.float32)
    if len(numbers) not in (1, len(pixels)) or pixels.ndim < 3:
        return numbers[:1]
    return numbers.reshape(-1, *[1] * (pixels.ndim - 1))


def _window(data: Any) -> tuple[float, float] | None:
    centre, width = (of_frames(data, "FrameVOILUTSequence", name)[0] for name in ("WindowCenter", "WindowWidth"))
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
            with nibabel.imageglobals.LoggingOutputSuppressor():  # it would say on the screen what is raised anyway
                image = nibabel.load(path)
            if len(image.shape) not in (3, 4):
                raise BadCell(f"is a NIfTI file of {len(image.shape)} dimensions, where 3 were expected")
            if len(image.shape) == 4:
                if image.shape[3] > 1:
                    remark(f"holds {image.shape[3]:,} volumes (times or directions); the first is read")
                image = image.slicer[..., 0]
            check_voxels(image.shape)
            image = nibabel.as_closest_canonical(image)
            values = _numbers(np.asanyarray(image.dataobj))
        except BadCell:
            raise
        except (
            nibabel.filebasedimages.ImageFileError,
            nibabel.spatialimages.HeaderDataError,
            nibabel.orientations.OrientationError,
            *DAMAGE,
        ) as error:
            raise BadCell(
                f"is a NIfTI file that is cut short or damaged ({said(error).replace(str(path), 'the file')}): {AGAIN}"
            ) from error
    if not values.size:
        raise BadCell(f"is a NIfTI file without a voxel (its shape is {image.shape}): {AGAIN}")
    unit = image.header.get_xyzt_units()[0]
    zooms = [float(z) * MILLIMETRES.get(unit, 1.0) for z in image.header.get_zooms()[:3]]
    # canonical axes run right, forward, up: slices from the feet, rows from the front, columns from the left
    return Volume(values.transpose(2, 1, 0)[:, ::-1], (zooms[2], zooms[1], zooms[0]), None, {"Modality": "NIfTI"})


def _numbers(values: np.ndarray) -> np.ndarray:
    """float32; colours grey. Raises `BadCell`."""
    if values.dtype.names:
        return np.stack([values[name] for name in values.dtype.names[:3]]).mean(0, dtype=np.float32)
    if values.dtype.kind == "c":
        raise BadCell("holds complex numbers: save their magnitude, or their phase")
    return values.astype(np.float32)


def _stored(content: bytes) -> Volume:
    values = read_array(content)
    if values.ndim != 3:
        raise BadCell(f"is an array of {values.ndim} dimensions, where a volume has 3")
    return Volume(values.astype(np.float32), (1.0, 1.0, 1.0))
