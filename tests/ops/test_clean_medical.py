"""Medical scans: read, shown under a window, and without the person."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from ops import applied, run

from polymodal.core.errors import BadArgument
from polymodal.data.media.cell import Media
from polymodal.data.media.volume import read_volume
from polymodal.ops.clean.medical import anonymous

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")


def dicom(pixels: np.ndarray | None, **tags: object) -> bytes:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3.4"
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", "12345", "19700101"
    data.InstitutionName, data.Modality, data.BodyPartExamined = "General Hospital", "CT", "CHEST"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelSpacing = [1.0, 1.0]
        data.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.private_block(0x0011, "MAKER", create=True).add_new(0x01, "LO", "secret Doe")
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


PIXELS = np.tile(np.linspace(0, 2048, 64), (48, 1))  # -1024 to 1024 Hounsfield units, left to right
CT = dicom(PIXELS)


def cell(content: bytes) -> Media:
    return Media("volume", content)


def shown(options: dict[str, object], content: bytes = CT) -> np.ndarray:
    rows, _ = applied({"scan": options}, {"x": [cell(content)]}, {"x": "volume"})
    return np.asarray(rows.kept[0].get("x_image"))


def test_values_are_in_the_scanners_units():
    scan = read_volume(CT)
    assert scan.values.shape == (1, 48, 64)
    assert (scan.values.min(), scan.values.max()) == (-1024, 1024)


def test_window_and_level():
    lung = shown({"window": "lung"})
    hounsfield = np.linspace(-1024, 1024, 64)
    expected = np.clip((hounsfield + 1350) / 1500, 0, 1) * 255
    assert np.abs(lung[0] - expected).max() <= 1.5
    assert np.abs(shown({"window": [0, 100]})[0] - np.clip((hounsfield + 50) / 100, 0, 1) * 255).max() <= 4
    named = dicom(PIXELS, WindowCenter=0, WindowWidth=100)
    assert np.array_equal(shown({}, named), shown({"window": [0, 100]}))
    assert np.array_equal(shown({"window": "file"}, named), shown({"window": [0, 100]}))
    inverted = dicom(PIXELS, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(shown({"window": "lung"}, inverted), 255 - lung)
    assert shown({}, dicom(PIXELS, PixelSpacing=[2.0, 1.0])).shape == (96, 64)


def test_nothing_personal_goes_along():
    rows, op = applied("scan", {"x": [cell(CT)]}, {"x": "volume"})
    cells = rows.kept[0].cells
    assert op.adds() == {"x_image": "image", "x_Modality": "category", "x_BodyPartExamined": "category"}
    assert (cells["x"], cells["x_Modality"], cells["x_BodyPartExamined"]) == (None, "CT", "CHEST")
    with pytest.raises(BadArgument, match="PatientName may name a person"):
        run({"scan": {"tags": ["PatientName"]}}, [cell(CT)], "volume")
    for options in ({"window": "skull"}, {"window": [1, 0]}, {"view": "side"}):
        with pytest.raises(BadArgument):
            run({"scan": options}, [cell(CT)], "volume")


def test_broken_scans_are_named():
    cells = [
        cell(dicom(None)),
        cell(b"\0" * 128 + b"DICM"),
        cell(b"nothing of the kind"),
        cell(b"\x1f\x8b" + b"\0" * 20),
    ]
    cells += [cell(CT[:1200])]
    aside = run("readable", cells, "volume")[1]
    assert set(aside) == {0, 1, 2, 3, 4}
    assert aside[0].startswith("x: is a DICOM file without pixels (modality CT): a report or a plan")
    assert aside[2].startswith("x: is no scan of a known form (DICOM, NIfTI,")
    assert aside[3].startswith("x: is a NIfTI file that is cut short or damaged")
    assert "names no window" in run({"scan": {"window": "file"}}, [cell(CT)], "volume")[1][0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_in_every_view(tmp_path, suffix):
    values = np.zeros((20, 30, 10), np.float32)
    values[5, 20, 7] = 100
    path = tmp_path / f"scan{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    content = path.read_bytes()
    scan = read_volume(content)
    assert scan.values.shape == (10, 30, 20)
    assert scan.values[7, 29 - 20, 5] == 100
    assert scan.spacing == (5.0, 2.0, 2.0)
    assert shown({"view": "projection", "window": [50, 100]}, content).max() == 255
    assert shown({"view": "middle", "window": [50, 100]}, content).max() == 0
    assert shown({"view": "grid"}, content).shape == (90, 60)
    nibabel.save(nibabel.Nifti1Image(values[0], np.eye(4)), path)
    assert "dimensions, where 3 were expected" in run("readable", [cell(path.read_bytes())], "volume")[1][0]


def test_the_person_is_taken_out_of_the_file():
    named = dicom(PIXELS, ReferringPhysicianName="Who^Doctor", StudyDate="20200101")
    clean = anonymous(named)
    data = pydicom.dcmread(io.BytesIO(clean))
    assert np.array_equal(data.pixel_array, PIXELS.astype(np.uint16))
    for secret in (b"Doe", b"Jane", b"12345", b"General Hospital", b"Doctor", b"20200101", b"19700101", b"secret"):
        assert secret not in clean
    assert data.SOPInstanceUID != "1.2.3.4"
    assert anonymous(named) == clean, "the same file gives the same identifiers"
    assert data.Modality == "CT"
    burnt = dicom(PIXELS, BurnedInAnnotation="YES")
    after, aside = run("anonymise", [cell(named), cell(burnt)], "volume")
    assert after[0].values.shape == (1, 48, 64)
    assert "burnt into its pixels" in aside[1]


def test_every_name_date_and_free_text_goes_and_references_hold():
    data = pydicom.dcmread(io.BytesIO(dicom(PIXELS)))
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    data.ResponsiblePerson, data.ContentCreatorName = "Resp^Person", "Content^Creator"  # in no short list of tags
    data.AcquisitionDateTime, data.InstanceCreationDate = "20210304112233", "20210304"
    data.StudyDescription, data.ImageComments = "Head of J. Doe", "Doe, room 5"
    data.RequestedProcedureDescription, data.DeviceUID, data.IrradiationEventUID = (
        "for Doe",
        "1.2.9",
        ["1.2.7", "1.2.8"],
    )
    other, deep = pydicom.Dataset(), pydicom.Dataset()
    other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3.4"
    deep.PersonName, deep.TextValue = "Deep^Name", "Doe was here"
    other.ContentSequence = [deep]
    data.ReferencedImageSequence = [other]
    data.add_new(0x60000010, "US", 8)
    data.add_new(0x60023000, "OW", b"Doe drawn ")
    data.add_new(0x50003000, "OW", b"Doe curve ")
    data.file_meta.SourceApplicationEntityTitle = "DOE_CLINIC"
    data.preamble = b"Doe preamble".ljust(128, b" ")
    buffer = io.BytesIO()
    data.save_as(buffer)
    clean = anonymous(buffer.getvalue())
    for secret in (b"Doe", b"DOE", b"Resp^", b"Content^", b"Deep^", b"20210304", b"1.2.9", b"1.2.7", b"1.2.3.4\0"):
        assert secret not in clean, secret
    made = pydicom.dcmread(io.BytesIO(clean))
    assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == made.SOPInstanceUID
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.ReferencedImageSequence[0].ReferencedSOPClassUID == pydicom.uid.CTImageStorage
    assert len(set(made.IrradiationEventUID)) == 2
    assert np.array_equal(made.pixel_array, PIXELS.astype(np.uint16))
    with pytest.raises(BadArgument, match="ResponsiblePerson may name a person"):
        run({"scan": {"tags": ["ResponsiblePerson"]}}, [cell(CT)], "volume")


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm",
             "waveform_ecg.dcm", "examples_palette.dcm", "examples_overlay.dcm", "nested_priv_SQ.dcm"]
)  # fmt: skip
def test_real_files_stay_files(name):
    """Compressed, implicit, big-endian, without pixels: pydicom's own samples, where it brings them."""
    path = pydicom.data.get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom brings no {name}")
    before = pydicom.dcmread(path)
    after = pydicom.dcmread(io.BytesIO(anonymous(Path(path).read_bytes())))
    assert before.get("PixelData") == after.get("PixelData")
    found = [e for e in after.iterall() if (e.VR in ("PN", "DA", "TM", "LT") and e.value) or e.tag.is_private]
    assert not found


def test_frames_say_their_own_units_and_palettes_are_colours():
    frames = np.stack([PIXELS, PIXELS])
    data = pydicom.dcmread(io.BytesIO(dicom(PIXELS)))
    for name in ("RescaleSlope", "RescaleIntercept", "PixelSpacing"):
        delattr(data, name)
    data.NumberOfFrames, data.PixelData = 2, frames.astype(np.uint16).tobytes()
    shared, measures = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2.0, 1.0], 5.0
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    each = []
    for slope, intercept in ((1, -1024), (2, 0)):
        frame, rescale = pydicom.Dataset(), pydicom.Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, intercept
        frame.PixelValueTransformationSequence = [rescale]
        each.append(frame)
    data.PerFrameFunctionalGroupsSequence = each
    buffer = io.BytesIO()
    data.save_as(buffer)
    scan = read_volume(buffer.getvalue())
    assert scan.spacing == (5.0, 2.0, 1.0)
    assert (scan.values[0].min(), scan.values[0].max()) == (-1024, 1024)
    assert scan.values[1].max() == 4096

    pixels = np.zeros((4, 4), np.uint8)
    pixels[:, 2:] = 1
    data = pydicom.dcmread(io.BytesIO(dicom(PIXELS)))
    del data.RescaleSlope, data.RescaleIntercept
    data.Rows, data.Columns, data.PixelData = 4, 4, pixels.tobytes()
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PhotometricInterpretation = "PALETTE COLOR"
    for colour, values in (("Red", [60000, 0]), ("Green", [60000, 0]), ("Blue", [60000, 30000])):
        tag = pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTableDescriptor")
        data.add_new(tag, "US", [2, 0, 16])
        setattr(data, f"{colour}PaletteColorLookupTableData", np.array(values, np.uint16).tobytes())
    buffer = io.BytesIO()
    data.save_as(buffer)
    assert read_volume(buffer.getvalue()).values[0, 0].tolist() == [60000, 60000, 10000, 10000]


def test_names_in_sequences_go_too_and_what_is_no_scan_is_set_aside():
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    earlier = pydicom.Dataset()
    earlier.PatientName, earlier.PatientID = "Earlier^Name", "77-12"
    data.RequestAttributesSequence = [earlier]
    buffer = io.BytesIO()
    data.save_as(buffer)
    assert b"Earlier^Name" in buffer.getvalue()
    made = anonymous(buffer.getvalue())
    assert b"Earlier" not in made
    assert b"77-12" not in made
    aside = run("anonymise", [Media("volume", b"no scan at all"), Media("volume", buffer.getvalue())], "volume")[1]
    assert list(aside) == [0]
    assert "is of no known form, so that no name can be taken out" in aside[0]
