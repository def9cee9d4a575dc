"""Film encoders: tokens in time, what is no frame counts for nothing, movement is learned; pretrained towers."""

import pytest
import tiny_towers
import torch
from two_kinds import told_apart

from polymodal.core.errors import BadArgument
from polymodal.data.kinds import KINDS
from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS
from polymodal.testing.examples import make_cells

NAMES = ("video_frames", "video_cnn", "video_plain")
FACTS = {"channels": 3, "size": 24, "frames": 8}


def films(rows=4, frames=8, channels=3, size=24, seed=0):
    draw = torch.Generator().manual_seed(seed)
    length = torch.full((rows,), frames, dtype=torch.int32)
    return {
        "pixels": torch.randint(0, 256, (rows, frames, channels, size, size), dtype=torch.uint8, generator=draw),
        "times": torch.arange(frames).float().expand(rows, -1) / 2,
        "length": length,
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size", "frames"), [(1, 16, 1), (3, 24, 8), (3, 40, 40)])
def test_tokens_are_few_and_lie_in_time(name, channels, size, frames):
    facts = {"channels": channels, "size": size, "frames": frames}
    encoder = ENCODERS.build(name, facts, 12).eval()
    inputs = films(2, frames, channels, size)
    encoder.fit_statistics(inputs)
    tokens = encoder(inputs)
    assert tokens.x.shape[1] <= 16
    assert tokens.x.isfinite().all()
    if tokens.where is not None and name != "video_plain":
        assert (tokens.where[0, :, 0].diff() > 0).all()
        assert float(tokens.where.max()) <= (frames - 1) / 2


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_frame_counts_for_nothing(name):
    encoder = ENCODERS.build(name, FACTS, 12).eval()
    inputs = films()
    encoder.fit_statistics(inputs)
    short = {**inputs, "length": torch.tensor([3, 8, 1, 5], dtype=torch.int32)}
    other = {**short, "pixels": short["pixels"].clone(), "times": short["times"].clone()}
    for row, length in enumerate(short["length"].tolist()):
        other["pixels"][row, length:] = 255
    one, two = encoder(short), encoder(other)
    assert torch.equal(one.mask, two.mask)
    assert torch.allclose(one.x[one.mask], two.x[two.mask], atol=1e-5)
    assert torch.allclose(one.pooled, two.pooled, atol=1e-5)


def moving(rows, seed):
    """A bright square that moves to the right (1) or to the left (0): no frame alone tells which."""
    draw = torch.Generator().manual_seed(seed)
    right = torch.randint(0, 2, (rows,), generator=draw)
    start = torch.randint(0, 9, (rows,), generator=draw)
    pixels = torch.randint(0, 60, (rows, 8, 1, 16, 16), dtype=torch.uint8, generator=draw)
    for row in range(rows):
        for step in range(8):
            left = (int(start[row]) + (step if right[row] else -step)) % 12
            pixels[row, step, 0, 6:10, left : left + 4] = 250
    inputs = {"pixels": pixels, "times": torch.arange(8).float().expand(rows, -1), "length": torch.full((rows,), 8)}
    return inputs, right


@pytest.mark.parametrize("name", ["video_frames", "video_cnn"])
def test_which_way_something_moves_is_learned(name):
    torch.manual_seed(0)
    inputs, right = moving(192, 0)
    facts = {"channels": 1, "size": 16, "frames": 8}
    encoder = ENCODERS.build({"name": name, "width": 8, "flip": False}, facts, 16)
    assert told_apart(encoder, inputs, right, *moving(96, 1)) > 0.9


def test_hidden_tubes_are_hidden_in_every_frame():
    encoder = ENCODERS.build("video_frames", FACTS, 12).eval()
    inputs = films()
    parts = encoder.hideable(inputs)
    hidden = torch.zeros_like(parts)
    hidden[:, 0] = True
    rest, held = encoder.hide(inputs, hidden)
    changed = (rest["pixels"] != inputs["pixels"].float()).flatten(0, 2).any(0)
    side = 24 // 6
    assert changed[:side, :side].all()
    assert not changed[side:].any()
    assert held[0].hidden.equal(hidden)


TOWERS = {"vit": None, "VideoMAE": {"tubelet_size": 2, "patch_size": 16},
          "Timesformer": {"patch_size": 16}, "Vivit": {"tubelet_size": [2, 16, 16]}}  # fmt: skip


def saved(folder, kind):
    import transformers

    if TOWERS[kind] is None:
        return tiny_towers.save_vit(folder)
    config = getattr(transformers, f"{kind}Config")(image_size=32, num_frames=4, **TOWERS[kind], **tiny_towers.SMALL)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    framing = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    own = {"offset": True} if kind == "Vivit" else {}
    tiny_towers.save_framing(folder, f"{'Vivit' if own else 'VideoMAE'}ImageProcessor", framing | own)
    return str(folder)


@pytest.mark.parametrize("kind", TOWERS)
@pytest.mark.parametrize("tune", ["frozen", "lora"])
def test_pretrained_towers_read_films(kind, tune, tmp_path):
    pytest.importorskip("transformers")
    model = saved(tmp_path, kind)
    processor = PROCESSORS.build({"name": "pretrained_video", "model": model})
    decoded = [processor.read(cell) for cell in make_cells(KINDS["video"], 4)]
    processor.fit(decoded)
    inputs = {name: torch.from_numpy(array) for name, array in processor.process(decoded).items()}
    encoder = ENCODERS.build({"name": "pretrained_video", "tune": tune}, processor.facts(), 16).eval()
    tokens = encoder(inputs)
    steps = {"vit": 16, "VideoMAE": 2, "Timesformer": 4, "Vivit": 2}[kind]
    assert tokens.x.shape == (4, steps, 32 if tune == "frozen" else 16)
    assert tokens.mask.sum(1).tolist() == ([4, 5, 6, 4] if kind == "vit" else [steps] * 4)
    alone = encoder({name: value[1:2] for name, value in inputs.items()})
    assert torch.allclose(alone.pooled[0], tokens.pooled[1], atol=1e-5)
    learns = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
    assert bool(learns) == (tune == "lora")


def test_a_film_checkpoint_says_how_many_frames_it_reads(tmp_path):
    pytest.importorskip("transformers")
    model = saved(tmp_path, "VideoMAE")
    processor = PROCESSORS.build({"name": "pretrained_video", "model": model, "frames": 6})
    with pytest.raises(BadArgument, match="reads 4 frames, not 6"):
        ENCODERS.build("pretrained_video", processor.facts(), 16)
