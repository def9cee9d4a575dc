"""Clouds of points: every form as a file written by hand, what is broken in each, and points that no order changes."""

import io
import struct
import time

import numpy as np
import pytest

from polymodal.core.errors import BadCell
from polymodal.data.cells import cells
from polymodal.data.media.calibration import Calibrated, projection_of
from polymodal.data.media.cloud import Cloud, evened, photographed, projected, read_cloud, thinned
from polymodal.data.media.cloud_files import lzf
from polymodal.data.media.remarks import remarks
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table

PLACES = np.round(np.random.default_rng(0).normal(0, 5, (50, 3)), 3).astype(np.float32)
LIGHT = np.arange(50, dtype=np.float32) / 50
VALUES = np.c_[PLACES, LIGHT].astype("<f4")
LINES = "\n".join(" ".join(f"{v:.4f}" for v in row) for row in VALUES) + "\n"


def ply(body: bytes, form="binary_little_endian", count: object = 50, kind="float", more="") -> bytes:
    names = "".join(f"property {kind} {name}\n" for name in ("x", "y", "z", "reflectance"))
    return f"ply\nformat {form} 1.0\ncomment made\nelement vertex {count}\n{names}{more}end_header\n".encode() + body


def pcd(body: bytes, form="binary", points: object = 50, fields="x y z intensity", sizes="4 4 4 4") -> bytes:
    types = " ".join("F" * len(sizes.split()))
    counts = " ".join("1" * len(sizes.split()))
    head = f"VERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\nCOUNT {counts}\nWIDTH {points}\nHEIGHT 1\n"
    return f"# .PCD v0.7\n{head}VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {form}\n".encode() + body


def packed(raw: bytes) -> bytes:
    """LZF of runs as they are and of one reference back."""
    runs = b"".join(bytes([len(raw[at : at + 32]) - 1]) + raw[at : at + 32] for at in range(0, len(raw), 32))
    return struct.pack("<II", len(runs), len(raw)) + runs


def npy(values) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def las(suffix: str, tmp_path) -> bytes:
    laspy = pytest.importorskip("laspy")
    if suffix == "laz":
        pytest.importorskip("lazrs")
    made = laspy.LasData(laspy.LasHeader(point_format=3, version="1.2"))
    made.header.scales = [0.001] * 3
    made.x, made.y, made.z = PLACES.T.astype(float)
    made.intensity = (LIGHT * 50).astype("u2")
    made.write(str(tmp_path / f"cloud.{suffix}"))
    return (tmp_path / f"cloud.{suffix}").read_bytes()


GOOD = {
    "ply": ply(VALUES.tobytes()),
    "ply, big": ply(VALUES.astype(">f4").tobytes(), "binary_big_endian"),
    "ply, double": ply(VALUES.astype("<f8").tobytes(), kind="double"),
    "ply, ascii": ply((LINES + "3 0 1 2\n").encode(), "ascii", more="element face 1\nproperty list uchar int i\n"),
    "pcd": pcd(VALUES.tobytes()),
    "pcd, ascii": pcd(LINES.encode(), "ascii"),
    "pcd, compressed": pcd(packed(VALUES.T.tobytes()), "binary_compressed"),
    "bin": VALUES.tobytes(),
    "npy": npy(VALUES),
    "text": LINES.encode(),
    "csv": b"x,y,z,intensity\n" + LINES.replace(" ", ",").encode(),
    "semicolons": ("\ufeff" + LINES.replace(" ", ";")).replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("form", GOOD)
def test_every_form_gives_the_same_points(form):
    cloud = read_cloud(GOOD[form])
    assert np.allclose(cloud.places, PLACES, atol=1e-4)
    assert cloud.names == ("intensity",)
    assert np.allclose(cloud.features[:, 0], LIGHT, atol=1e-4)
    assert cloud.total == 50


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_las(suffix, tmp_path):
    cloud = read_cloud(las(suffix, tmp_path))
    assert np.allclose(cloud.places, PLACES, atol=1e-3)
    assert np.allclose(cloud.features[:, cloud.names.index("intensity")], np.arange(50))
    content = (tmp_path / f"cloud.{suffix}").read_bytes()
    for cut in (50, 150, 230, len(content) // 2, len(content) - 3):
        with pytest.raises(BadCell, match="cut short"):
            read_cloud(content[:cut])
    absurd = bytearray(content)
    absurd[107:111] = struct.pack("<I", 4_000_000_000)
    with pytest.raises(BadCell, match="cut short|MB"):
        read_cloud(bytes(absurd))


def test_meshes_are_their_corners():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    obj = "".join(f"v {a} {b} {c}\n" for a, b, c in corners) + "vn 0 0 1\nf 1 2 3\n"
    triangles = np.zeros(2, np.dtype([("n", "<f4", 3), ("at", "<f4", 9), ("of", "<u2")]))
    triangles["at"] = corners[[0, 1, 2, 0, 1, 3]].reshape(2, 9)
    stl = bytes(80) + struct.pack("<I", 2) + triangles.tobytes()
    text = "solid x\n" + "".join(f"  vertex {a} {b} {c}\n" for a, b, c in corners[[0, 1, 2, 0, 1, 3]]) + "endsolid x\n"
    for mesh, suffix in ((obj.encode(), "obj"), (stl, "stl")):
        with remarks() as said:
            found = read_cloud(mesh)
        assert {tuple(one) for one in found.places.tolist()} == {tuple(one) for one in corners.tolist()}, suffix
        assert said == ["is a mesh, of which the corners are read"]
    assert len(read_cloud_at(text.encode(), ".stl")) == 4


def read_cloud_at(content: bytes, suffix: str, **options) -> Cloud:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cloud{suffix}"
        path.write_bytes(content)
        return read_cloud(path, **options)


BROKEN = {
    "nothing": (b"", "empty"),
    "ply, cut": (GOOD["ply"][:-1], "cut short"),
    "ply, no end": (b"ply\nformat ascii 1.0\nelement vertex 3\n", "header does not end"),
    "ply, no format": (b"ply\nelement vertex 1\nproperty float x\nend_header\n1 2 3", "known format"),
    "ply, no vertex": (b"ply\nformat ascii 1.0\nelement face 1\nend_header\n1", "element vertex"),
    "ply, none": (ply(b"", count=0), "holds no point"),
    "ply, negative": (ply(VALUES.tobytes(), count=-5), "cannot be"),
    "ply, absurd": (ply(VALUES.tobytes(), count=10**12), "cut short"),
    "ply, absurd ascii": (ply(LINES.encode(), "ascii", count=10**12), "cut short"),
    "ply, words": (ply(b"one two three four " * 60, "ascii"), "no number"),
    "ply, type": (ply(VALUES.tobytes(), kind="complex"), "type 'complex'"),
    "ply, without z": (GOOD["ply"].replace(b"float z", b"float w"), "no column 'z'"),
    "pcd, cut": (GOOD["pcd"][:-9], "cut short"),
    "pcd, no end": (b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\n", "header does not end"),
    "pcd, sizes": (pcd(b"", sizes="4 4"), "4 fields and 2 sizes"),
    "pcd, absurd": (pcd(VALUES.tobytes(), points=10**13), "cut short"),
    "pcd, negative": (pcd(VALUES.tobytes(), points=-1), "cannot be"),
    "pcd, none": (pcd(b"", points=0), "holds no point"),
    "pcd, form": (pcd(b"", "binary_folded"), "binary_folded"),
    "pcd, type": (GOOD["pcd"].replace(b"TYPE F", b"TYPE Q"), "of type Q4"),
    "pcd, compressed cut": (GOOD["pcd, compressed"][:-40], "length"),
    "pcd, compressed absurd": (
        pcd(struct.pack("<II", 8, 16 * 10**9 % 2**32) + bytes(8), "binary_compressed", points=10**9),
        "length|cut short",
    ),
    "pcd, compressed damaged": (
        GOOD["pcd, compressed"][:-825] + b"\xff\xff\xff" + GOOD["pcd, compressed"][-822:], "damaged",
    ),
    "bin, cut": (VALUES.tobytes()[:-3], "no rows of 4 numbers"),
    "npy, flat": (npy(LIGHT), "where points"),
    "npy, narrow": (npy(PLACES[:, :2]), "where points"),
    "npy, none": (npy(np.zeros((0, 3))), "no point"),
    "npy, cut": (GOOD["npy"][:-9], "cut short"),
    "npy, nan": (npy(np.full((4, 3), np.nan)), "place is a number"),
    "text, words": (b"this is a letter\nto you\n", "lines of numbers"),
    "text, ragged": ((LINES + "1 2\n").encode(), "differ in their number"),
    "text, two columns": (b"1 2\n3 4\n", "where points"),
    "text, none": (b"x y z\n", "no point"),
    "zeros": (bytes(3), "no rows"),
    "stl, none": (b"solid nothing\nendsolid\n", "lines of numbers"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_is_a_bad_cell_and_costs_nothing(fault):
    content, reason = BROKEN[fault]
    began = time.perf_counter()
    with pytest.raises(BadCell, match=reason):
        read_cloud(content)
    assert time.perf_counter() - began < 2


def test_thousands_of_damaged_files_are_bad_cells_or_clouds(tmp_path):
    draw = np.random.default_rng(0)
    for form, content in GOOD.items():
        for _ in range(60):
            damaged = bytearray(content)
            for at in draw.integers(0, len(content), 3):
                damaged[at] = draw.integers(0, 256)
            try:
                cloud = read_cloud(bytes(damaged[: draw.integers(1, len(content) + 1)]))
            except BadCell:
                continue
            assert np.isfinite(cloud.places).all(), form


def test_lzf_refers_back_into_what_it_makes():
    assert lzf(b"\x02abc\x20\x02", 6) == b"abcabc"
    assert lzf(b"\x00a\xe0\x05\x00", 15) == b"a" * 15
    with pytest.raises(BadCell):
        lzf(b"\x00a\x20\x05", 4)
    with pytest.raises(BadCell):
        lzf(b"\x00a", 10**9)


def test_points_that_are_no_places_are_left_out_and_said():
    values = VALUES.copy()
    values[3, 0], values[7, 2], values[9, 3] = np.nan, np.inf, np.nan
    with remarks() as said:
        cloud = read_cloud(values)
    assert len(cloud) == cloud.total == 48
    assert said == ["has points whose place is no number, which are left out"]
    assert np.isnan(cloud.features).sum() == 1


def test_columns_that_files_do_not_name():
    radar = np.c_[PLACES, LIGHT, -LIGHT].astype("<f4")
    names = ["x", "y", "z", "rcs", "velocity"]
    cloud = read_cloud_at(radar.tobytes(), ".bin", columns=names)
    assert cloud.names == ("rcs", "velocity")
    assert np.array_equal(cloud.features[:, 1], -LIGHT)
    assert read_cloud(radar).names == ("intensity", "feature_5")
    with pytest.raises(BadCell, match="5 columns, where `columns` names 4"):
        read_cloud(radar, ["x", "y", "z", "rcs"])
    rgb = np.array([0xFF8000], "<u4").view("<f4")[0]
    coloured = pcd(np.c_[PLACES, np.full(50, rgb)].astype("<f4").tobytes(), fields="x y z rgb")
    assert read_cloud(coloured).names == ("red", "green", "blue")
    assert read_cloud(coloured).features[0].tolist() == [255, 128, 0]


def test_coordinates_of_a_map_keep_their_centimetres():
    far = PLACES.astype(float) + np.array([412_345.67, 5_400_123.45, 30])
    with remarks() as said:
        cloud = read_cloud(npy(far))
    assert np.allclose(cloud.places + np.array(cloud.shift), far, atol=1e-3)
    assert "counted from a corner" in said[0]
    assert np.allclose(cloud.table()["y"], far[:, 1], atol=1e-3)


def test_sweeps_are_put_together():
    cloud = read_cloud([VALUES, npy(PLACES)])
    assert len(cloud) == 100
    assert cloud.names == ("intensity",) or cloud.names == ()
    with pytest.raises(BadCell, match="empty list"):
        read_cloud([])


# --- fewer points, whatever their order ---


def shuffled(cloud: Cloud, seed=0) -> Cloud:
    return cloud.keep(np.random.default_rng(seed).permutation(len(cloud)))


def test_the_same_points_are_kept_in_whatever_order_they_come():
    draw = np.random.default_rng(1)
    cloud = Cloud(draw.normal(0, 9, (5000, 3)).astype(np.float32), draw.random((5000, 1), np.float32), ("i",), 5000)
    few = thinned(cloud, 300)
    again = thinned(shuffled(cloud), 300)
    assert np.array_equal(few.places, again.places)
    assert np.array_equal(few.features, again.features)
    assert np.array_equal(thinned(few, 100).places, few.places[:100])  # its beginning is such a draw again
    assert np.abs(few.places.mean(0)).max() < 2  # drawn from everywhere
    apart, other = evened(cloud, 3.0), evened(shuffled(cloud, 5), 3.0)
    assert np.array_equal(thinned(apart, 9999).places, thinned(other, 9999).places)
    cubes = {tuple(one) for one in np.floor(cloud.places / 3).astype(int).tolist()}
    assert len(apart) == len(cubes)
    dense = np.r_[cloud.places[:, :3], np.tile(cloud.places[:1], (20000, 1)) + draw.normal(0, 0.01, (20000, 3))]
    assert len(evened(Cloud(dense.astype(np.float32), np.zeros((25000, 0)), (), 25000), 3.0)) < 1.1 * len(cubes)


def test_a_million_points_are_read_within_seconds():
    values = np.random.default_rng(0).normal(0, 20, (1_000_000, 4)).astype("<f4")
    began = time.perf_counter()
    cloud = thinned(read_cloud(values.tobytes()), 1024)
    assert time.perf_counter() - began < 10
    assert len(cloud) == 1024
    assert cloud.total == 1_000_000


# --- calibration ---

CAMERA = np.array([[50.0, 0, 40, 0], [0, 50, 30, 0], [0, 0, 1, 0]])


def test_points_take_the_colours_where_a_camera_sees_them():
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, 40:] = (255, 10, 20)
    places = np.array([[1, 0, 5], [-1, 0, 5], [0, 0, -5], [40, 0, 5]], np.float32)  # right, left, behind, outside
    cloud = photographed(Cloud(places, np.zeros((4, 0), np.float32), (), 4), CAMERA, picture)
    assert cloud.names == ("camera_red", "camera_green", "camera_blue")
    assert cloud.features[0].tolist() == [255, 10, 20]
    assert cloud.features[1].tolist() == [0, 0, 0]
    assert np.isnan(cloud.features[2:]).all()
    assert np.allclose(cloud.pixels[:2], [[50, 30], [30, 30]])
    assert np.isnan(cloud.pixels[2:]).all()
    assert projected(cloud, CAMERA)[1].tolist() == [5, 5, -5, 5]
    plain = photographed(Cloud(places, np.zeros((4, 0), np.float32), (), 4), CAMERA, picture, paint=False)
    assert plain.names == ()
    assert plain.picture.shape == (60, 80, 3)


@pytest.mark.parametrize("cell", [CAMERA.tolist(), CAMERA.ravel().tolist(), str(CAMERA.tolist()), CAMERA[:, :3]])
def test_projections(cell):
    assert projection_of(cell) == tuple(CAMERA.ravel())


@pytest.mark.parametrize("cell", [[1, 2, 3], "left", [float("nan")] * 12])
def test_what_is_no_projection(cell):
    with pytest.raises(BadCell, match="3 x 4"):
        projection_of(cell)


def test_a_field_reads_points_with_their_picture():
    table = Table.build({
        "scan": [VALUES] * 8, "photo": [np.zeros((60, 80, 3), np.uint8)] * 8, "p": [CAMERA.tolist()] * 7 + [None],
        "list": [[[1, 2, 3], [4, 5, 6]]] * 8, "y": ["a", "b"] * 4,
    })  # fmt: skip
    fields = {"scan": {"kind": "points", "projection": "p", "camera": "photo"}, "list": "points"}
    schema = Schema.infer(table, "y", {"fields": fields})
    assert schema.ignored["p"] == "says where the points of scan lie in a picture"
    assert schema.fields["scan"].needed == ("scan", "p", "photo")
    assert schema.fields["scan"].processor_options == {}
    read = cells(table, schema.fields["scan"])
    assert isinstance(read[0], Calibrated)
    assert read[0].projection == tuple(CAMERA.ravel())
    assert read[7].projection is None
    assert cells(table, schema.fields["list"])[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    both = {"scan": fields["scan"], "photo": "image"}
    assert "photo" not in Schema.infer(table, "y", {"fields": both}).ignored


def test_columns_of_points_are_told():
    def told(**columns) -> str:
        return Schema.infer(Table.build({**columns, "y": ["a", "b"] * 20}), "y").fields[next(iter(columns))].kind

    some = [VALUES[: 10 + k] for k in range(40)]
    assert told(lidar_points=some) == "points"
    assert told(measured=some) == "series"  # four channels over time, as far as anybody knows
    assert told(points=[row[:, :2] for row in some]) == "series"
    assert told(scan=[f"a{k}.pcd" for k in range(40)]) == "points"
    assert told(scan=[[f"a{k}.ply", f"b{k}.ply"] for k in range(40)]) == "points"
    assert told(scan=[GOOD["ply"]] * 40) == "points"
