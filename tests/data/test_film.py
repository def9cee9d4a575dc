"""Films: forms, which frames are taken, shots, windows, long and broken ones."""

import io
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from films import film, turned
from PIL import Image

from polymodal.core.digest import digest_cells
from polymodal.core.errors import BadCell, NoCell
from polymodal.core.wav import wav_bytes
from polymodal.data.cells import cells
from polymodal.data.inspection.inspect import inspect_table
from polymodal.data.media import sound
from polymodal.data.media.film import CUT, read_film
from polymodal.data.media.remarks import all_the_same, remarks, summed
from polymodal.data.media.sound import read_sound
from polymodal.data.media.stretch import Stretch
from polymodal.data.schema import Schema
from polymodal.data.storage.dataset import process_table, read_cells
from polymodal.data.storage.store import Store
from polymodal.data.tables.table import Problem, Table, problem_lines
from polymodal.process.audio import AudioProcessor
from polymodal.process.video import VideoProcessor

pytest.importorskip("av")


def greens(read):
    return read.frames[:, 24, 32, 1].astype(int)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [("mp4", "libx264", 10), ("matroska", "libx264", 10), ("avi", "mpeg4", 10), ("webm", "libvpx-vp9", 10),
     ("mpegts", "mpeg2video", 25)],
)  # fmt: skip
def test_frames_are_those_shown_in_the_middle_of_equal_stretches(form, codec, rate):
    read = read_film(film(50, rate, form=form, codec=codec), 5, 48)
    assert read.frames.shape == (5, 48, 64, 3)
    assert read.times == pytest.approx(np.array([5, 15, 25, 35, 45]) / rate)
    assert read.seconds == pytest.approx(50 / rate, abs=0.05)
    assert greens(read) == pytest.approx([25, 76, 127, 178, 229], abs=5)
    assert (read.frames[:, 20, 32, 0] > 200).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animated_pictures(form):
    pictures = [Image.new("RGB", (40, 30), (20 * i, 0, 0)) for i in range(10)]
    stream = io.BytesIO()
    pictures[0].save(stream, form, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    read = read_film(stream.getvalue(), 5, 40)
    assert read.times == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9], abs=0.11)
    assert read.frames[:, 3, 3, 0] == pytest.approx(200 * read.times, abs=3)
    assert read.seconds == pytest.approx(1.0)
    assert len(read_film(stream.getvalue(), 40, 40).frames) == 10


def test_a_film_with_fewer_frames_gives_each_once():
    read = read_film(film(4), 16, 48)
    assert read.times == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_list_and_a_folder_of_pictures(tmp_path):
    paths = [tmp_path / f"{i:02}.png" for i in range(6)]
    for i, path in enumerate(paths):
        Image.new("RGB", (30 + i, 20), (40 * i, 0, 0)).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    for source in (paths, tmp_path):
        read = read_film(source, 3, 20)
        assert len({frame.shape for frame in read.frames}) == 1
        assert read.frames[:, 5, 5, 0].tolist() == [40, 120, 200]
    paths[3].write_bytes(b"broken")
    with pytest.raises(BadCell, match="03.png"):
        read_film(paths, 6, 20)
    for empty in ([], tmp_path / "none"):
        with pytest.raises(BadCell):
            read_film(empty, 3, 20)


def test_a_stream_without_times_begins_at_0():
    read = read_film(film(25, 25, form="h264", codec="libx264"), 5, 48)
    assert read.times == pytest.approx([0.08, 0.28, 0.48, 0.68, 0.88], abs=0.05)
    assert read.seconds == pytest.approx(1.0)


def test_pictures_of_a_folder_are_counted(tmp_path):
    for number in range(1, 13):
        Image.new("RGB", (20, 20), (20 * number, 0, 0)).save(tmp_path / f"frame{number}.png")
    assert read_film(tmp_path, 12, 20).frames[:, 0, 0, 0].tolist() == [20 * number for number in range(1, 13)]
    before = digest_cells([tmp_path])
    (tmp_path / "frame9.png").rename(tmp_path / "frame99.png")
    assert (digest_cells([tmp_path]) != before).any(), "other frames come first"


def test_the_window_of_an_animated_picture_ends_where_it_says():
    pictures = [Image.new("RGB", (20, 20), (60 * i, 0, 0)) for i in range(4)]
    stream = io.BytesIO()
    pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:], duration=1000)
    assert read_film(stream.getvalue(), 2, 20, seconds=3.9).times.tolist() == [0.0, 2.0]


def test_a_window():
    read = read_film(film(50), 4, 48, start=2.0, seconds=1.0)
    assert read.times == pytest.approx([2.1, 2.3, 2.6, 2.8], abs=0.06)
    with pytest.raises(BadCell, match="no frame in the 1 seconds after 9"):
        read_film(film(50), 4, 48, start=9.0, seconds=1.0)


def test_frames_at_the_middle_of_shots():
    """Two shots, of which the second is four times as long, and a fade, which is no cut."""
    noise = np.random.default_rng(0).integers(0, 60, (50, 32, 32))
    levels = [*np.linspace(0, 30, 10), *np.linspace(150, 195, 40)]
    frames = [Image.fromarray((level + one).astype(np.uint8)) for level, one in zip(levels, noise)]
    stream = io.BytesIO()
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:], duration=100)
    assert read_film(stream.getvalue(), 2, 32, cuts=True).times == pytest.approx([0.4, 3.0], abs=0.11)
    read = read_film(stream.getvalue(), 5, 32, cuts=True)
    assert (read.times < 1.0).sum() == 1
    assert len(read.times) == 5


def test_a_telephone_held_upright():
    plain, upright = read_film(film(4), 1, 48), read_film(turned(film(4), 48), 1, 48)
    assert plain.frames.shape[1:3] == (48, 64)
    assert upright.frames.shape[1:3] == (64, 48)
    assert upright.frames[0, 3, -4, 2] > 150  # the blue corner, once left, is right
    assert upright.frames[0, 3, 3, 2] < 60


def test_a_film_cut_short_gives_what_can_be_decoded():
    whole = film(100, form="matroska")
    with remarks() as said:
        read = read_film(whole[: len(whole) * 2 // 3], 5, 48)
    assert 0 < len(read.frames) <= 5
    assert said in ([], [CUT])
    assert read.times[-1] < 9


def test_a_long_film_is_sought_in_and_takes_no_more_memory():
    def peak(content):
        tracemalloc.start()
        read = read_film(content, 8, 48)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, read

    (few, _), (many, read) = peak(film(40, 1)), peak(film(4000, 1, gop=20))
    assert read.times == pytest.approx(250 + 500 * np.arange(8), abs=1.1)
    assert greens(read) == pytest.approx(255 * read.times / 4000, abs=5)
    assert many < 2 * few + 1e6


def test_a_frame_that_is_shown_for_long_comes_once():
    read = read_film(film(3, Fraction(1, 40)), 8, 48)
    assert read.times == pytest.approx([0.0, 40.0, 80.0])
    assert greens(read) == pytest.approx([0, 85, 170], abs=5)


@pytest.mark.parametrize(
    ("form", "codec", "rate", "sought"),
    [("mp4", "libx264", 10, True), ("matroska", "libx264", 10, True), ("mpegts", "mpeg2video", 25, False)],
)
def test_the_sound_of_a_stretch_far_into_a_film_is_sought(form, codec, rate, sought, monkeypatch):
    content = film(60 * rate, rate, form=form, codec=codec, sound=True)
    decoded = []
    monkeypatch.setattr(sound, "_values", lambda frame, values=sound._values: decoded.append(frame) or values(frame))
    whole = read_sound(content)
    assert (whole.rate, whole.seconds) == (16_000, pytest.approx(60, abs=0.1))
    for start in (30.25, 55.0):
        decoded.clear()
        part = read_sound(content, 2.0, start)
        assert len(decoded) < 64 or not sought, "frames of 64 ms: three seconds, and what lies before in a packet"
        want = whole.samples[round(start * 16_000) : round((start + 2) * 16_000)]
        assert part.samples == pytest.approx(want, abs=1e-3)
    with pytest.raises(BadCell, match="no sample after 90 seconds"):
        read_sound(content, 2.0, 90.0)


@pytest.mark.parametrize("content", [b"", b"hello", b"GIF89a....", b"\0\0\0\x18ftypisom" + bytes(200)])
def test_broken_files_are_refused_with_a_reason(content):
    with pytest.raises(BadCell) as error:
        read_film(content, 4, 32)
    assert error.value.reason


def test_sound_alone_is_no_film(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    with pytest.raises(BadCell, match="give its column the kind audio"):
        read_film(tmp_path / "a.wav", 4, 32)


def test_grey_films_have_one_channel():
    grey = [Image.new("L", (20, 20), 30 * i) for i in range(4)]
    stream = io.BytesIO()
    grey[0].save(stream, "PNG", save_all=True, append_images=grey[1:], duration=100)
    assert read_film(stream.getvalue(), 4, 20).frames.shape == (4, 20, 20, 1)


@pytest.mark.parametrize(("form", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")])
def test_a_silent_film_is_called_one_in_every_form(form, codec):
    with pytest.raises(NoCell, match="is missing: a film without sound"):
        read_sound(film(4, form=form, codec=codec))
    moving, still = io.BytesIO(), io.BytesIO()
    frames = [Image.new("L", (8, 8), 60 * i) for i in range(3)]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    frames[0].save(still, "GIF")
    with pytest.raises(NoCell):
        read_sound(moving.getvalue())
    with pytest.raises(BadCell, match="is no sound") as fault:
        read_sound(still.getvalue())
    assert not isinstance(fault.value, NoCell)


def test_the_sound_of_silent_films_is_missing_and_no_fault(tmp_path):
    for name, heard in (("a", True), ("b", False), ("c", False)):
        (tmp_path / f"{name}.mp4").write_bytes(film(10, sound=heard))
    (tmp_path / "d.mp4").write_bytes(b"<html>not found</html>")
    table = Table.build({"clip": [f"{name}.mp4" for name in "abcd"], "label": list("xyxy")}, base=tmp_path)
    schema = Schema.infer(table, "label", {"fields": {"voice": {"kind": "audio", "columns": "clip"}}})
    column, said = cells(table, schema.fields["voice"]), "voice: 2 cells missing: a film without sound (rows 1, 2)."
    for _ in range(2):  # the second time what the store remembers
        found = process_table(
            {"voice": column},
            {"voice": AudioProcessor()},
            Store(tmp_path / "store"),
            ids=table.ids,
            fit_rows=np.arange(4),
        )
        assert found.present["voice"].tolist() == [True, False, False, False]
        assert [problem.row for problem in found.bad] == ["3"]
        assert summed(found.noted) == [said]
    noted: dict[int, str] = {}
    _, present, bad = read_cells(AudioProcessor(), column, noted=noted)
    assert (present.sum(), [place for place, _ in bad], [*noted]) == (1, [3], [1, 2])
    assert all_the_same(noted)[0] == (1, "is missing: a film without sound")
    lines = problem_lines([Problem(table.ids[i], "voice", why) for i, why in [*bad, *all_the_same(noted)]])
    assert lines[1] == "1, 2 [voice]: is missing: a film without sound"
    looked = inspect_table(table, schema, readers={"voice": AudioProcessor().read})
    assert [problem.row for problem in looked.broken] == ["3"]
    assert said in looked.warnings
    assert looked.fields[0]["missing"] == 2


def test_what_is_heard_of_a_film_takes_no_other_columns_name(tmp_path):
    (tmp_path / "a.mp4").write_bytes(film(10, sound=True))
    (tmp_path / "b.wav").write_bytes(wav_bytes(np.zeros(800), 8000))
    cells = {"clip_audio": ["b.wav"] * 6, "clip": ["a.mp4"] * 6}
    for order in (cells, dict(reversed(cells.items()))):
        found = Schema.infer(Table.build({**order, "label": list("ababab")}, base=tmp_path), "label").fields
        assert {name: one.columns for name, one in found.items()} == {
            "clip": ("clip",), "clip_audio": ("clip_audio",), "clip_audio_2": ("clip",),
        }  # fmt: skip


def test_sound_is_found_in_films_of_data_sets_too(tmp_path):
    content = film(10, sound=True)
    (tmp_path / "a.mp4").write_bytes(content)
    cells = [{"bytes": content, "path": "a.mp4"}, {"bytes": None, "path": "a.mp4"}]
    found = Schema.infer(
        Table.build({"clip": [*cells, {"bytes": None, "path": None}], "label": list("aba")}, base=tmp_path)
    )
    assert {name: field.kind for name, field in found.fields.items() if "clip" in name} == {
        "clip": "video", "clip_audio": "audio",
    }  # fmt: skip


def test_an_array_of_frames_is_a_film():
    frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.full((1, 12, 16, 3), (20, 10, 5), np.uint8)
    for given, shape in ((frames, (12, 16, 3)), (frames[..., 0], (12, 16, 1)), (frames[..., :1], (12, 16, 1))):
        read = VideoProcessor(frames=3).read(given)
        assert read.frames.shape == (3, *shape)
        assert read.frames[:, 0, 0, 0].tolist() == [20, 60, 100]
    assert len(VideoProcessor().read(frames[0]).frames) == 1, "a picture is a film of one frame"
    assert VideoProcessor(frames=2).read(Stretch(frames, 2.0, 4.0)).frames[:, 0, 0, 0].tolist() == [40, 60]
    for wrong in (frames.astype(np.float32), frames[0, :, 0, 0], frames[..., :2], frames[None]):
        with pytest.raises(BadCell, match="where a film is uint8"):
            VideoProcessor().read(wrong)


def test_columns_of_frames_are_read_whatever_holds_them():
    array = np.zeros((5, 8, 8, 3), np.uint8)
    png = io.BytesIO()
    Image.fromarray(array[0]).save(png, "PNG")
    listed = [
        [Image.fromarray(frame) for frame in array],
        list(array),
        [{"bytes": png.getvalue(), "path": "a.png"}] * 5,
    ]
    given = Table.build({"clip": [array] * 3, "listed": listed, "label": list("aba")})
    found = Schema.infer(given, "label", {"kinds": {"listed": "video"}})
    assert {name: field.kind for name, field in found.fields.items()} == {"clip": "video", "listed": "video"}
    for name, field in found.fields.items():
        assert [VideoProcessor().read(cell).frames.shape for cell in cells(given, field)] == [(5, 8, 8, 1)] * 3, name
    with pytest.raises(BadCell, match="is numbers, not a file"):
        AudioProcessor().read(np.zeros(800, np.float32))
