"""Picture encoders: sizes, tokens, augmentation, options that change something."""

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS

NAMES = ("image_resnet", "image_vit")


def pixels(rows=4, channels=1, size=28):
    return {"pixels": torch.randint(0, 256, (rows, channels, size, size), dtype=torch.uint8)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 96), (3, 33), (1, 4), (1, 7), (3, 200)])
def test_any_size_gives_few_placed_tokens(name, channels, size):
    encoder = ENCODERS.build(name, {"channels": channels, "size": size}, 12).eval()
    tokens = encoder(pixels(2, channels, size))
    assert tokens.x.shape[1] <= 16
    assert tokens.x.isfinite().all()
    assert tokens.where.shape == (*tokens.x.shape[:2], 2)
    assert (tokens.where > 0).all()
    assert (tokens.where < 1).all()
    assert len({tuple(p) for p in tokens.where[0].tolist()}) == tokens.x.shape[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", [{"shift": 0.1}, {"rotate": 20.0}, {"scale": 0.3}, {"flip": True}, {"erase": 0.5}])
def test_every_augmentation_acts_in_training_only(name, option):
    still = {"shift": 0.0, "rotate": 0.0, "scale": 0.0, "flip": False, "erase": 0.0}
    facts, inputs = {"channels": 1, "size": 28}, pixels(8)
    encoder = ENCODERS.build({"name": name, **still, **option}, facts, 8)
    plain = ENCODERS.build({"name": name, **still}, facts, 8)
    assert not torch.equal(encoder.train().standardised(inputs["pixels"]), plain.train().standardised(inputs["pixels"]))
    assert torch.equal(encoder.eval().standardised(inputs["pixels"]), plain.eval().standardised(inputs["pixels"]))


def test_colour_is_mirrored_by_default_and_grey_is_not():
    options = {"name": "image_resnet", "shift": 0.0, "rotate": 0.0, "scale": 0.0}
    for channels, changes in ((1, False), (3, True)):
        encoder = ENCODERS.build(options, {"channels": channels, "size": 16}, 8).train()
        inputs = pixels(16, channels, 16)["pixels"]
        plain = (inputs.float() - encoder.mean) / encoder.spread
        assert torch.equal(encoder.standardised(inputs), plain) != changes


@pytest.mark.parametrize("name", NAMES)
def test_statistics_standardise(name):
    encoder = ENCODERS.build(name, {"channels": 1, "size": 28}, 8).eval()
    inputs = pixels(64)
    encoder.fit_statistics(inputs)
    x = encoder.standardised(inputs["pixels"])
    assert float(x.mean()) == pytest.approx(0, abs=1e-3)
    assert float(x.std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("image_resnet", {"width": 8}),
        ("image_resnet", {"stride": 4}),
        ("image_vit", {"width": 32}),
        ("image_vit", {"layers": 1}),
    ],
)
def test_size_options_change_the_size(name, option):
    facts = {"channels": 1, "size": 28}
    count = [sum(p.numel() for p in ENCODERS.build(s, facts, 8).parameters()) for s in (name, {"name": name, **option})]
    assert count[1] < count[0]


@pytest.mark.parametrize(("size", "stride", "side"), [(64, None, 32), (64, 4, 16), (28, None, 28), (28, 2, 14)])
def test_stride_is_how_far_a_picture_shrinks_before_the_blocks(size, stride, side):
    encoder = ENCODERS.build({"name": "image_resnet", "stride": stride}, {"channels": 3, "size": size}, 8).eval()
    seen = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    assert encoder(pixels(2, 3, size)).x.shape == (2, 16, 8)
    assert seen == [(side, side)]


@pytest.mark.parametrize(
    ("size", "grid", "side"), [(64, 4, 4), (64, 8, 8), (75, 6, 6), (75, 8, 8), (28, 12, 12), (28, 2, 2)]
)
def test_a_grid_says_how_many_tokens_a_picture_has(size, grid, side):
    encoder = ENCODERS.build({"name": "image_resnet", "grid": grid}, {"channels": 3, "size": size}, 8).eval()
    tokens = encoder(pixels(2, 3, size))
    assert tokens.x.shape == (2, side * side, 8)
    assert tokens.where.shape == (2, side * side, 2)


def test_a_stride_that_no_picture_shrinks_by_is_refused():
    with pytest.raises(BadArgument, match="stride must be one of 1, 2, 4, or null; got 3"):
        ENCODERS.build({"name": "image_resnet", "stride": 3}, {"channels": 3, "size": 64}, 8)
