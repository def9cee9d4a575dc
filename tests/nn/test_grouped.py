"""Several sets of weights in one multiplication."""

import torch
from torch import nn

from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.grouped import GroupedLinear, linear, norm


def test_each_group_is_a_linear_map_of_its_own():
    grouped = GroupedLinear(3, 4, 5)
    x = torch.randn(6, 2, 4)
    for g, part in enumerate(x.chunk(3)):
        expected = part @ grouped.weight[g].T + grouped.bias.view(3, 5)[g]
        torch.testing.assert_close(grouped(x)[2 * g : 2 * g + 2], expected)
    plain = GroupedLinear(3, 4, 5, bias=False)
    torch.testing.assert_close(plain(x)[:2], x[:2] @ plain.weight[0].T)


def test_one_group_is_the_plain_module():
    assert type(linear(4, 5)) is nn.Linear
    assert linear(4, 5, bias=False).bias is None
    assert norm(4).weight is not None
    assert norm(4, groups=2).weight is None


def test_groups_start_as_linear_maps_do():
    torch.manual_seed(0)
    grouped, single = GroupedLinear(4, 100, 60), nn.Linear(100, 60)
    for ours, theirs in ((grouped.weight, single.weight), (grouped.bias, single.bias)):
        assert abs(float(ours.detach().std() / theirs.detach().std()) - 1) < 0.15
    assert grouped.bias.ndim == 1  # so that weight decay leaves it alone


def test_a_grouped_block_is_several_blocks():
    block = TransformerBlock(8, 2, groups=2).eval()
    x, context, mask = torch.randn(6, 3, 8), torch.randn(6, 4, 8), torch.rand(6, 4) < 0.6
    found = block(x, mask, context)
    for g, rows in enumerate((slice(0, 3), slice(3, 6))):
        one = TransformerBlock(8, 2).eval()
        state = {name: value[g] if value.ndim > 1 else value.chunk(2)[g] for name, value in block.state_dict().items()}
        one.load_state_dict(state, strict=False)  # its norms keep a gain of one and a shift of zero
        torch.testing.assert_close(found[rows], one(x[rows], mask[rows], context[rows]))
