"""Scans of every form: in one order and direction, with their spacing, and what is broken or beside said."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from polymodal.core.errors import BadCell
from polymodal.data.media import volume
from polymodal.data.media.remarks import remarks
from polymodal.data.media.scan import read_scan, upright
from polymodal.data.media.volume import Volume

SERIES = Path(get_testdata_file("DICOMDIR", read=False)).parent  # of several makers, small

# A body: brighter by 1 a slice from the feet, by 10 a row from the front, by 100 a column from the left.
SHAPE = (4, 5, 6)
BODY = np.add.outer(np.add.outer(np.arange(4.0), 10 * np.arange(5.0)), 100 * np.arange(6.0)).astype(np.float32)


def write_slice(path, pixels, *, place, lies=(1, 0, 0, 0, 1, 0), series="1.2.3", number=1, **tags):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID, data.InstanceNumber = "CT", series, number
    data.ImagePositionPatient, data.ImageOrientationPatient = list(map(float, place)), list(map(float, lies))
    data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 9.0
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)


def axial(folder, values=BODY, step=2.0, **tags):
    """Slices from the head down, in names that sort otherwise; DICOM's columns run to the left of the body."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, at in enumerate(reversed(range(len(values)))):
        write_slice(
            folder / f"{number * 7 % 5}{number}", values[at][:, ::-1], place=(0, 0, step * at), number=number, **tags
        )
    return folder


def test_a_series_lies_in_the_body_as_a_nifti_file_does(tmp_path):
    import nibabel

    scan = read_scan(axial(tmp_path / "series"))
    assert np.array_equal(scan.values, BODY)
    assert scan.spacing == (2.0, 0.5, 0.5)  # by where the slices lie, not by how thick they are
    assert scan.tags["Modality"] == "CT"
    body = BODY[:, ::-1].transpose(2, 1, 0)  # NIfTI's canonical axes: right, forward, up
    nibabel.Nifti1Image(body, np.diag([0.5, 0.5, 2.0, 1.0])).to_filename(tmp_path / "scan.nii.gz")
    stored = read_scan(tmp_path / "scan.nii.gz")
    assert np.array_equal(stored.values, BODY)
    assert stored.spacing == (2.0, 0.5, 0.5)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e3), ("mm", 1.0), ("micron", 1e-3), ("unknown", 1.0)])
def test_a_nifti_file_may_measure_in_other_units(tmp_path, unit, factor):
    import nibabel

    image = nibabel.Nifti1Image(BODY, np.diag([0.5, 0.5, 2.0, 1.0]))
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "scan.nii")
    assert read_scan(tmp_path / "scan.nii").spacing == pytest.approx((2.0 * factor, 0.5 * factor, 0.5 * factor))


def test_pixels_are_read_of_the_chosen_series_alone(tmp_path, monkeypatch):
    axial(tmp_path / "all")
    for number in range(3):
        write_slice(tmp_path / "all" / f"z{number}", BODY[0], place=(0, 0, number), series="9.9")
    whole, plain = [], volume.dicom_file

    def noted(stream, *, pixels=True):
        whole.append(pixels)
        return plain(stream, pixels=pixels)

    monkeypatch.setattr("polymodal.data.media.scan.dicom_file", noted)
    assert np.array_equal(read_scan(tmp_path / "all").values, BODY)
    assert whole == [False] * 7 + [True] * 4


def test_slices_taken_from_the_side_are_turned(tmp_path):
    folder = tmp_path / "side"
    folder.mkdir()
    for column in range(6):  # sagittal: rows go down the body, columns to the back; slices to its left
        pixels = BODY[::-1, :, column]
        write_slice(
            folder / f"{column}.dcm", pixels, place=(-3.0 * column, 0, 0), lies=(0, 1, 0, 0, 0, -1), number=column
        )
    scan = read_scan(folder)
    assert np.array_equal(scan.values, BODY)
    assert scan.spacing == (0.5, 0.5, 3.0)


def test_itk_forms_are_turned_too(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(BODY[:, :, ::-1])
    image.SetSpacing((0.5, 0.5, 2.0))
    for suffix in (".mha", ".nrrd"):
        itk.WriteImage(image, str(tmp_path / f"a{suffix}"))
        scan = read_scan(tmp_path / f"a{suffix}")
        assert np.array_equal(scan.values, BODY)
        assert scan.spacing == (2.0, 0.5, 0.5)
        cut = (tmp_path / f"a{suffix}").read_bytes()[:150]
        with pytest.raises(BadCell, match="cut short or damaged"):
            read_scan(cut)


def test_pages_pictures_and_arrays(tmp_path):
    from PIL import Image

    pages = [Image.fromarray(one.astype(np.uint16)) for one in BODY]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_scan(tmp_path / "stack.tif").values, BODY)
    folder = tmp_path / "slices"
    folder.mkdir()
    for number, page in enumerate(BODY):  # 2 before 10
        Image.fromarray(np.repeat((page / 4)[..., None], 3, 2).astype(np.uint8)).save(folder / f"s{9 + number}.png")
    assert np.array_equal(read_scan(folder).values, (BODY / 4).astype(np.uint8))
    assert np.array_equal(read_scan(BODY).values, BODY)
    assert read_scan(BODY[0]).values.shape == (1, 5, 6)
    np.save(tmp_path / "a.npy", BODY)
    assert np.array_equal(read_scan(tmp_path / "a.npy").values, BODY)
    assert np.array_equal(read_scan([folder / f"s{9 + n}.png" for n in range(4)]).values, read_scan(folder).values)


def test_what_lies_beside_the_series_is_said(tmp_path):
    folder = axial(tmp_path / "mixed")
    write_slice(folder / "scout", BODY[0], place=(0, 0, 0), lies=(1, 0, 0, 0, 0, -1), number=9)
    write_slice(folder / "echo", BODY[0] * 0, place=(0, 0, 2.0), number=99)
    (folder / "notes.txt").write_text("a phantom")
    with remarks() as said:
        scan = read_scan(folder)
    assert np.array_equal(scan.values, BODY)
    assert any("2 series" in one for one in said)
    assert any("several slices of one place" in one for one in said)


def test_missing_and_broken_slices_are_said(tmp_path):
    folder = axial(tmp_path / "gap", np.concatenate([BODY, BODY + 500]))
    files = {float(pydicom.dcmread(file).ImagePositionPatient[2]): file for file in folder.iterdir()}
    files[4.0].unlink()
    files[10.0].write_bytes(files[10.0].read_bytes()[:-30])
    with remarks() as said:
        scan = read_scan(folder)
    assert len(scan.values) == 6
    assert any("1 slice that cannot be read" in one for one in said)
    assert any("slices between others" in one for one in said)


@pytest.mark.parametrize(
    ("name", "slices", "kind"), [("98892001/CT5N", 5, "CT"), ("77654033/CT2", 4, "CT"), ("98892003/MR2", 1, "MR"), (
        "77654033/CR1", 1, "CR")])  # fmt: skip
def test_series_of_scanners(name, slices, kind):
    scan = read_scan(SERIES / name)
    assert scan.values.shape[0] == slices
    assert scan.tags["Modality"] == kind
    assert min(scan.spacing) > 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((2, 2, 2, 2)), "slices, height, width"),
        (np.array(["a"]), "numbers"),
        (b"\0" * 200, "nothing but zero bytes"),
        ([], "without a file"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], "several sizes"),
        (Path("no/such/scan.nii"), "does not exist"),
    ],
)
def test_what_is_no_scan_is_refused(source, words):
    with pytest.raises(BadCell, match=words):
        read_scan(source)


def test_folders_without_a_scan(tmp_path):
    with pytest.raises(BadCell, match="without a file"):
        read_scan(tmp_path)
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(BadCell, match="neither DICOM files nor pictures"):
        read_scan(tmp_path)
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    with pytest.raises(BadCell, match="no DICOM picture"):
        read_scan(tmp_path)


def test_a_slanted_scan_is_turned_to_what_lies_nearest():
    tilt = np.deg2rad(20)
    axes = np.array([[0, -np.sin(tilt), np.cos(tilt)], [0, np.cos(tilt), np.sin(tilt)], [1, 0, 0]])
    turned = upright(Volume(BODY[:, :, ::-1], (2.0, 0.5, 0.25)), axes)
    assert np.array_equal(turned.values, BODY)
    assert turned.spacing == (2.0, 0.5, 0.25)


def write_frames(path, frames, places, lies, *, series="1.2.3"):
    """One file of many frames that says where each lies (an enhanced CT's)."""
    each = []
    for place in places:
        where = Dataset()
        where.ImagePositionPatient = list(map(float, place))
        one = Dataset()
        one.PlanePositionSequence = [where]
        each.append(one)
    turn, shared = Dataset(), Dataset()
    turn.ImageOrientationPatient = list(map(float, lies))
    shared.PlaneOrientationSequence = [turn]
    write_slice(
        path, frames[0], place=(0, 0, 0), series=series, NumberOfFrames=len(frames), ImagePositionPatient=None,
        ImageOrientationPatient=None, PerFrameFunctionalGroupsSequence=each, SharedFunctionalGroupsSequence=[shared],
        PixelData=np.stack(frames).astype("<u2").tobytes(),
    )  # fmt: skip


def test_frames_of_one_file_lie_in_the_body_as_slices_do(tmp_path):
    order = [2, 0, 1, 5, 3, 4]
    frames = [BODY[::-1, :, column] for column in order]
    write_frames(tmp_path / "a.dcm", frames, [(-3.0 * column, 0, 0) for column in order], (0, 1, 0, 0, 0, -1))
    for source in (tmp_path / "a.dcm", tmp_path):
        scan = read_scan(source)
        assert np.array_equal(scan.values, BODY)
        assert scan.spacing == (0.5, 0.5, 3.0)


def test_files_of_many_frames_lose_none_to_scouts_or_to_each_other(tmp_path):
    places, lies = [(0, 0, 2.0 * at) for at in range(4)], (1, 0, 0, 0, 1, 0)
    write_frames(tmp_path / "many", [page[:, ::-1] for page in BODY], places, lies)
    write_frames(tmp_path / "fewer", [page[:, ::-1] for page in BODY[:2]], places[:2], lies)
    for number in range(3):
        write_slice(tmp_path / f"scout{number}", BODY[0], place=(0, 0, number), series="1.9")
    with remarks() as said:
        assert np.array_equal(read_scan(tmp_path).values, BODY)
    assert said == ["holds 3 series; that with most slices is read"]


def test_of_few_slices_one_that_lacks_is_noticed(tmp_path):
    folder = axial(tmp_path / "few")
    head = next(path for path in folder.iterdir() if pydicom.dcmread(path).ImagePositionPatient[2] == 4.0)
    head.write_bytes(b"")
    with remarks() as said:
        scan = read_scan(folder)
    assert scan.spacing[0] == 2.0
    assert any("lacks slices between others" in line for line in said)


def test_the_first_of_several_volumes_is_read_and_said_to_be(tmp_path):
    import nibabel

    values = np.random.default_rng(0).random((4, 5, 6, 3), np.float32)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "times.nii.gz")
    with remarks() as said:
        scan = read_scan(tmp_path / "times.nii.gz")
    assert np.array_equal(scan.values, values[..., 0].transpose(2, 1, 0)[:, ::-1])
    assert said == ["holds 3 volumes (times or directions); the first is read"]


def test_colours_become_grey_and_complex_numbers_are_refused(tmp_path):
    import nibabel
    from PIL import Image

    coloured = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    coloured["R"] = 90
    nibabel.Nifti1Image(coloured, np.eye(4)).to_filename(tmp_path / "coloured.nii")
    assert np.array_equal(read_scan(tmp_path / "coloured.nii").values, np.full((4, 4, 4), 30, np.float32))
    nibabel.Nifti1Image(np.ones((4, 4, 4), np.complex64), np.eye(4)).to_filename(tmp_path / "complex.nii")
    with pytest.raises(BadCell, match="complex numbers"):
        read_scan(tmp_path / "complex.nii")
    Image.fromarray(np.full((8, 8, 2), [100, 255], np.uint8), "LA").save(tmp_path / "through.png")
    assert read_scan(tmp_path / "through.png").values.max() == 100


def test_sizes_of_voxels_that_cannot_be_are_said(tmp_path):
    write_slice(tmp_path / "flat.dcm", BODY[0], place=(0, 0, 0), PixelSpacing=[0.0, 0.5])
    with remarks() as said:
        assert read_scan(tmp_path / "flat.dcm").spacing == (9.0, 1.0, 0.5)
    assert said == ["says that its voxels are 9 x 0 x 0.5 mm; 1 mm is taken for what cannot be"]


def test_a_list_of_what_is_no_slice_is_refused():
    for wrong in ([1, 2], ["a.dcm"], [None, np.zeros((3, 3))]):
        with pytest.raises(BadCell, match="where slices were expected"):
            read_scan(wrong)


def test_how_a_slice_lies_is_not_told_by_five_numbers(tmp_path):
    for number in range(3):
        write_slice(tmp_path / f"{number}", BODY[number], place=(0, 0, number), lies=(1, 0, 0, 0, 1), number=number)
    assert np.array_equal(read_scan(tmp_path).values, BODY[:3])
