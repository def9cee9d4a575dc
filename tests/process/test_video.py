"""Films as arrays: sizes, channels, short films, options, noise."""

import io

import numpy as np
import pytest
import torch
from films import film
from PIL import Image

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process.video import SIDE, VideoProcessor

pytest.importorskip("av")


def test_arrays_have_one_shape_and_say_which_frames_are_real():
    processor = VideoProcessor(frames=6)
    cells = [processor.read(film(4)), processor.read(film(30, size=(64, 96)))]
    processor.fit(cells)
    made = processor.process(cells)
    assert processor.facts() == {"channels": 3, "size": 56, "frames": 6}  # the median of 48 and 64
    assert made["pixels"].shape == (2, 6, 3, 56, 56)
    assert made["pixels"].dtype == np.uint8
    assert made["length"].tolist() == [4, 6]
    assert not made["pixels"][0, 4:].any()
    assert made["times"][0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0, 0])
    assert made["times"][1].tolist() == pytest.approx([0.2, 0.7, 1.2, 1.7, 2.2, 2.7], abs=0.06)


def test_large_films_are_made_small_and_grey_ones_have_one_channel():
    pictures = [Image.new("L", (200, 120), 60 * i) for i in range(4)]
    stream = io.BytesIO()
    pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:], duration=100)
    processor = VideoProcessor()
    cell = processor.read(stream.getvalue())
    processor.fit([cell])
    assert processor.facts()["size"] == SIDE
    assert processor.process([cell])["pixels"].shape == (1, 16, 1, SIDE, SIDE)


def test_options_choose_the_stretch_and_how_it_is_sampled():
    content = film(50)
    late = VideoProcessor(frames=4, start=3.0, seconds=1.0).read(content)
    assert (late.times >= 2.9).all()
    assert (late.times < 4.0).all()
    cuts = VideoProcessor(frames=2, sampling="cuts").read(content)
    assert (cuts.frames[:, 20, 32, 0] > 200).tolist() == [False, True]
    for wrong in ({"sampling": "cut"}, {"frames": 0}, {"start": -1.0}, {"seconds": 0.0}, {"framing": "round"}):
        with pytest.raises(BadArgument):
            VideoProcessor(**wrong)


def test_a_broken_film_names_its_file(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(BadCell, match=r"broken\.mp4.*web page"):
        VideoProcessor().read(path)


def test_noise_leaves_times_alone():
    processor = VideoProcessor(frames=4)
    cell = processor.read(film(20))
    processor.fit([cell])
    clean = {name: torch.from_numpy(value) for name, value in processor.process([cell]).items()}
    noisy = processor.corrupt(clean, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(noisy["times"], clean["times"])
    assert not torch.equal(noisy["pixels"], clean["pixels"])
