"""Video: frames, sound, cuts, and films that are none."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from ops import applied, run

from polymodal.core.errors import BadArgument
from polymodal.data.media.cell import Media

av = pytest.importorskip("av")
RATE = 20


def film(colors: list[tuple[int, int, int]], seconds: float = 1.0, *, sound: bool = False, pan: bool = False) -> bytes:
    """A shot a colour, with some texture; optionally a tone and a moving picture."""
    rng = np.random.default_rng(0)
    texture = rng.integers(-20, 20, (64, 256, 3))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for color in colors:
            for i in range(int(seconds * RATE)):
                start = 3 * i % 160 if pan else 0
                pixels = np.clip(np.array(color) + texture[:, start : start + 96], 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        if voice is not None:
            tone = (0.5 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 16000
            for packet in voice.encode(frame):
                container.mux(packet)
            container.mux(voice.encode())
    return buffer.getvalue()


def uneven() -> bytes:
    """One second of red at 30 frames a second, then nine of blue at two."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for i in range(48):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), RED if i < 30 else BLUE, np.uint8), format="rgb24")
            frame.pts, frame.time_base = (i if i < 30 else 30 + 15 * (i - 30)), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def held(angle: int) -> bytes:
    """A film whose left half is red, to be turned counterclockwise by so many degrees when shown."""
    buffer = io.BytesIO()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48] = RED
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(angle)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def only_sound() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        voice = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(voice.encode(frame))
        container.mux(voice.encode())
    return buffer.getvalue()


RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)
FILM = film([RED, GREEN, BLUE], sound=True)


def cell(content: bytes) -> Media:
    return Media("video", content)


def test_films_that_are_none_are_named():
    aside = run("readable", [cell(FILM), cell(only_sound()), cell(b"no film"), cell(FILM[:200]), cell(b"")], "video")[1]
    assert set(aside) == {1, 2, 3, 4}
    assert aside[1].startswith("x: holds no video stream")
    assert aside[2].startswith("x: is no film of a known form, or is cut short")


def test_frames_and_sound_become_columns():
    rows, op = applied({"frames": {"count": 3}}, {"x": [cell(FILM), cell(film([RED])), None]}, {"x": "video"})
    assert op.adds() == {"x_frame1": "image", "x_frame2": "image", "x_frame3": "image", "x_sound": "audio"}
    row = rows.kept[0]
    means = [np.asarray(row.cells[f"x_frame{i}"]).reshape(-1, 3).mean(0).argmax() for i in (1, 2, 3)]
    assert means == [0, 1, 2], "red, green, blue"
    sound = row.cells["x_sound"]
    assert sound.rate == 16000
    spectrum = np.abs(np.fft.rfft(sound.samples[2000:10000]))
    assert np.argmax(spectrum) * 16000 / 8000 == pytest.approx(440, abs=4)
    assert rows.kept[1].cells["x_sound"] is None
    assert "x_frame1" not in rows.kept[2].cells
    assert "x_sound" not in applied({"frames": {"sound": False}}, {"x": [cell(FILM)]}, {"x": "video"})[0].kept[0].cells
    with pytest.raises(BadArgument, match="count must be between"):
        run({"frames": {"count": 0}}, [cell(FILM)], "video")


def test_frames_are_even_in_time_not_in_number():
    rows, _ = applied({"frames": {"count": 10, "sound": False}}, {"x": [cell(uneven())]}, {"x": "video"})
    means = [np.asarray(rows.kept[0].get(f"x_frame{i}")).reshape(-1, 3).mean(0).argmax() for i in range(1, 11)]
    assert means == [0] + [2] * 9


@pytest.mark.skipif(
    not hasattr(av.video.stream.VideoStream, "set_display_rotation"), reason="this PyAV cannot write how a film is held"
)
@pytest.mark.parametrize(
    ("angle", "place"),
    [(-90, np.s_[:40, :]), (90, np.s_[-40:, :]), (180, np.s_[:, -40:]), (0, np.s_[:, :40])],
)  # fmt: skip
def test_frames_are_turned_as_the_film_says(angle, place):
    rows, _ = applied({"frames": {"count": 1}}, {"x": [cell(held(angle))]}, {"x": "video"})
    picture = np.asarray(rows.kept[0].get("x_frame1"), int)
    assert picture.shape == ((96, 64, 3) if angle % 180 else (64, 96, 3))
    assert picture[place][..., 0].mean() > 150
    assert picture[..., 0].mean() < 130


def test_cuts_are_found_and_pans_are_none():
    rows, _ = applied("shots", {"x": [cell(FILM), cell(film([RED], 3, pan=True)), cell(film([GREEN]))]}, {"x": "video"})
    first, second, third = (row.cells for row in rows.kept)
    assert [float(t) for t in first["x_cuts"].split("|")] == pytest.approx([1.0, 2.0], abs=0.06)
    assert (first["x_shots"], second["x_shots"], third["x_shots"]) == (3, 1, 1)
    few = applied({"shots": {"shortest": 1.5}}, {"x": [cell(FILM)]}, {"x": "video"})[0].kept[0].cells
    assert few["x_shots"] == 2
    assert (
        applied({"shots": {"above": 0.999}}, {"x": [cell(film([RED, (200, 50, 50)]))]}, {"x": "video"})[0]
        .kept[0]
        .cells["x_shots"]
        == 1
    )
    with pytest.raises(BadArgument, match="above must be above 0"):
        run({"shots": {"above": 2}}, [cell(FILM)], "video")


def test_a_film_cut_short_gives_the_frames_that_it_has():
    whole = film([RED, GREEN])
    rows, _ = applied({"frames": {"count": 2, "sound": False}}, {"x": [cell(whole)]}, {"x": "video"})
    assert len(rows.kept) == 1
