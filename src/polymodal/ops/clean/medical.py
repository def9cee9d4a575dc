"""Medical scans: what a reader would see, without the person."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.data.media.files import AGAIN, DAMAGE, looks_like, said
from polymodal.data.media.volume import PERSONAL, PERSONAL_KINDS, Volume, known
from polymodal.ops.base import RowOp
from polymodal.ops.rows import Row, SetAside

# (centre, width) in Hounsfield units, as radiologists use them
WINDOWS = {
    "brain": (40, 80), "lung": (-600, 1500), "bone": (400, 1800), "abdomen": (50, 400), "mediastinum": (50, 350),
    "liver": (30, 150), "stroke": (32, 8),
}  # fmt: skip
VIEWS = ("middle", "grid", "projection")


class Scan(RowOp):
    """Reads DICOM and NIfTI scans and writes grey pictures, a column each, under a window and level.

    `window`: a name (`lung`, `bone`, …), `[centre, width]` in the scanner's units, `file` for the one that the file
    names, or `auto`: the file's, else the values between the 1st and the 99th percentile. `view`: the `middle` slice, a
    `grid` of nine, or the maximum-intensity `projection`. The picture goes to the column `NAME_image`; pixels are made
    square by the file's spacing. No tag goes along unless named in `tags`, and none that names a person can be.
    """

    kinds = ("volume",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        window: str | Sequence[float] = "auto",
        view: str = "middle",
        tags: Sequence[str] = ("Modality", "BodyPartExamined"),
    ):
        super().__init__(columns=columns)
        self.window = window
        self.view = view
        self.tags = tags
        if view not in VIEWS:
            raise BadArgument(f"Unknown view {view!r}.{suggest(view, VIEWS)}")
        if isinstance(window, str) and window not in (*WINDOWS, "auto", "file"):
            raise BadArgument(f"Unknown window {window!r}.{suggest(window, (*WINDOWS, 'auto', 'file'))}")
        if not isinstance(window, str) and (len(window) != 2 or window[1] <= 0):
            raise BadArgument(f"window is [centre, width] with a width above 0; got {window!r}.")
        datadict = require("pydicom.datadict", "medical")
        for tag in tags:
            number = datadict.tag_for_keyword(tag)
            if tag in PERSONAL or (number is not None and datadict.dictionary_VR(number) in PERSONAL_KINDS):
                raise BadArgument(f"The tag {tag} may name a person; it is never copied. Leave it out of tags.")

    def adds(self) -> dict[str, str]:
        images = {f"{column}_image": "image" for column in self.chosen}
        return images | {f"{column}_{tag}": "category" for column in self.chosen for tag in self.tags}

    def edit(self, row: Row) -> None:
        for column in self.chosen:
            scan = row.get(column)
            if scan is None:
                continue
            row.put(f"{column}_image", self._picture(scan, column))
            for tag in self.tags:
                row.put(f"{column}_{tag}", scan.tags.get(tag))
            row.put(column, None)  # the file itself carries the person's name in its tags

    def _picture(self, scan: Volume, column: str) -> Image.Image:
        values = scan.values
        middle = len(values) // 2
        if self.view == "projection":
            flat = values.max(0)
        elif self.view == "grid":
            chosen = values[np.linspace(0, len(values) - 1, 9).round().astype(int)]
            flat = np.concatenate([np.concatenate(list(chosen[i : i + 3]), axis=1) for i in (0, 3, 6)])
        else:
            flat = values[middle]
        low, high = self._bounds(scan, column)
        grey = np.clip((flat - low) / max(high - low, 1e-6), 0, 1)
        grey = 1 - grey if scan.inverted else grey
        picture = Image.fromarray((grey * 255).round().astype(np.uint8))
        ratio = scan.spacing[1] / scan.spacing[2]
        return (
            picture if abs(ratio - 1) < 0.01 else picture.resize((picture.width, max(1, round(picture.height * ratio))))
        )

    def _bounds(self, scan: Volume, column: str) -> tuple[float, float]:
        window = WINDOWS.get(self.window) if isinstance(self.window, str) else self.window
        if self.window in ("auto", "file"):
            window = scan.window
            if window is None and self.window == "file":
                raise SetAside(f"{column}: the file names no window; give one by name or as [centre, width]")
        if window is None:
            low, high = np.percentile(scan.values, (1, 99))
            return float(low), float(high)
        return window[0] - window[1] / 2, window[0] + window[1] / 2


class Anonymise(RowOp):
    """Takes what names a person out of DICOM files, after the basic profile (DICOM PS3.15, Annex E): every name, date,
    time, age and free text, whatever the tag and however deep in sequences, the other tags of the profile that scans
    carry, private tags, overlays, curves, enclosed documents and signatures. The scan stays a DICOM file; identifiers
    become others, the same for the same, so that slices of a scan stay together and references hold.

    Text burnt into the pixels cannot be seen from the tags: a file that says so (`BurnedInAnnotation`) is set aside;
    one that says nothing, as many an ultrasound does, is to be looked at.
    """

    kinds = ("volume",)

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)
        require("pydicom", "medical")

    def edit(self, row: Row) -> None:
        for column in self.chosen:
            cell = row.cells.get(column)
            if cell is None:
                continue
            content = cell.content()
            if content[128:132] == b"DICM":
                row.put(column, type(cell)(cell.kind, anonymous(content, column)))
            elif not known(content):
                raise SetAside(f"{column}: is of no known form, so that no name can be taken out{looks_like(content)}")


def anonymous(content: bytes, column: str = "scan") -> bytes:
    """The DICOM file without the person. Raises `SetAside` for text burnt into the pixels and for what is no DICOM."""
    pydicom = require("pydicom", "medical")
    try:
        return _nameless(pydicom.dcmread(io.BytesIO(content)), column)
    except (pydicom.errors.InvalidDicomError, *DAMAGE) as error:
        raise SetAside(f"{column}: is a DICOM file that is cut short or damaged ({said(error)}): {AGAIN}") from error


# what goes as a whole, and what of the file's own header stays
_WHOLE = ("OriginalAttributesSequence", "DigitalSignaturesSequence", "EncapsulatedDocument", "DataSetTrailingPadding")
_META = (
    "FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID", "TransferSyntaxUID",
    "MediaStorageSOPInstanceUID", "ImplementationClassUID",
)  # fmt: skip


def _other(uid: str) -> str:
    """Another identifier, the same for the same; those of the standard itself stay."""
    from pydicom.uid import generate_uid

    return uid if uid.startswith("1.2.840.10008.") else generate_uid(entropy_srcs=[str(uid)])


def _nameless(data: Any, column: str) -> bytes:
    from pydicom.multival import MultiValue

    if str(data.get("BurnedInAnnotation", "")).upper() == "YES":
        raise SetAside(f"{column}: says that text is burnt into its pixels, which no tag can take out")
    data.remove_private_tags()
    for element in [e for e in data if e.tag.group & 0xFF01 in (0x5000, 0x6000) or e.keyword in _WHOLE]:
        del data[element.tag]  # curves, and overlays, which may be drawn names

    def emptied(holder: Any, element: Any) -> None:
        if element.VR == "UI":
            if element.value and not element.keyword.endswith("ClassUID"):
                several = isinstance(element.value, MultiValue)
                element.value = [_other(u) for u in element.value] if several else _other(element.value)
        elif element.keyword in PERSONAL or element.VR in PERSONAL_KINDS:
            element.clear()

    data.walk(emptied)  # also what stands in sequences, as of earlier names of the person
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "polymodal anonymise, after PS3.15 Annex E, basic profile"
    for element in [e for e in data.file_meta if e.keyword not in _META]:  # who sent it
        del data.file_meta[element.tag]
    if "SOPInstanceUID" in data:
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.preamble = b"\0" * 128
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()
