"""Encoders of scans: tokens in space, and what no slice tells alone is learned."""

import pytest
import tiny_towers
import torch
from two_kinds import told_apart

from polymodal.data.kinds import KINDS
from polymodal.encoders import ENCODERS
from polymodal.process import PROCESSORS
from polymodal.testing.examples import make_cells

NAMES = ("volume_resnet", "volume_slices", "volume_plain")


def scans(rows=3, slices=8, size=16, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {"pixels": torch.randint(0, 256, (rows, slices, 1, size, size), dtype=torch.uint8, generator=draw)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("slices", "size"), [(1, 48), (3, 16), (20, 40), (96, 32)])
def test_tokens_are_few_and_lie_in_space(name, slices, size):
    facts = {"channels": 1, "size": size, "slices": slices, "spacing": 2.0}
    encoder = ENCODERS.build(name, facts, 12).eval()
    inputs = scans(2, slices, size)
    encoder.fit_statistics(inputs)
    tokens = encoder(inputs)
    assert tokens.x.shape[1] <= 16
    assert tokens.x.isfinite().all()
    if name != "volume_plain":
        assert tokens.where.shape[2] == 3
        assert float(tokens.where.min()) > 0
        assert float(tokens.where.max()) < 1
        assert (tokens.where[0, :, 0].diff() >= 0).all()


def turning(rows, seed):
    """A dot that goes round from slice to slice, one way (1) or the other (0): no slice tells which."""
    draw = torch.Generator().manual_seed(seed)
    way = torch.randint(0, 2, (rows,), generator=draw)
    start = torch.rand(rows, 1, generator=draw) * 6.28
    angle = start + (2.0 * way[:, None] - 1) * torch.arange(10) * 0.6
    pixels = torch.randint(0, 40, (rows, 10, 1, 16, 16), dtype=torch.uint8, generator=draw)
    across, down = (8 + 4.5 * angle.cos()).round().long(), (8 + 4.5 * angle.sin()).round().long()
    for row in range(rows):
        for step in range(10):
            pixels[
                row, step, 0, down[row, step] - 1 : down[row, step] + 2, across[row, step] - 1 : across[row, step] + 2
            ] = 250
    return {"pixels": pixels}, way


def test_what_turns_from_slice_to_slice_is_learned_in_three_dimensions():
    torch.manual_seed(0)
    inputs, way = turning(256, 0)
    facts = {"channels": 1, "size": 16, "slices": 10, "spacing": 1.0}
    encoder = ENCODERS.build({"name": "volume_resnet", "width": 8}, facts, 16)
    assert told_apart(encoder, inputs, way, *turning(96, 1)) > 0.9


def test_hidden_patches_are_hidden_in_every_slice():
    encoder = ENCODERS.build("volume_resnet", {"channels": 1, "size": 24, "slices": 8, "spacing": 1.0}, 12).eval()
    inputs = scans(size=24)
    hidden = torch.zeros_like(encoder.hideable(inputs))
    hidden[:, 0] = True
    rest, held = encoder.hide(inputs, hidden)
    changed = (rest["pixels"] != inputs["pixels"].float()).flatten(0, 2).any(0)
    assert changed[:4, :4].all()
    assert not changed[4:].any()
    assert held[0].hidden.equal(hidden)


def test_a_picture_tower_reads_slices(tmp_path):
    model = tiny_towers.save_vit(tmp_path / "vit")
    processor = PROCESSORS.build({"name": "pretrained_volume", "model": str(model), "slices": 5})
    decoded = [processor.read(cell) for cell in make_cells(KINDS["volume"], 4)]
    processor.fit(decoded)
    arrays = processor.process(decoded)
    assert arrays["pixels"].shape[:3] == (4, 5, 3)
    encoder = ENCODERS.build({"name": "pretrained_volume", "model": str(model)}, processor.facts(), 12).eval()
    inputs = {name: torch.from_numpy(value) for name, value in arrays.items()}
    tokens = encoder(inputs)
    assert tokens.x.shape[:2] == (4, 5)
    assert torch.allclose(tokens.where[0, :, 0], torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), atol=1e-3)
    alone = encoder({"pixels": inputs["pixels"][1:2]})
    assert torch.allclose(alone.x[0], tokens.x[1], atol=1e-5)
