"""Streams joined side by side and lined up one after the other."""

import torch

from polymodal.core.types import Tokens
from polymodal.nn.layers.position import index_features, place_features
from polymodal.nn.layers.streams import Join, LineUp, Project


def test_join_equals_concatenation_with_bits_of_absence():
    join = Join([2, 3], 4)
    a, b = torch.randn(5, 2), torch.randn(5, 3)
    present = torch.tensor([[True, True], [True, False], [False, True], [False, False], [True, True]])
    a, b = a * present[:, :1], b * present[:, 1:]
    whole = torch.cat([a, b, (~present).float()], 1)
    expected = whole @ torch.cat([join.map.weight, join.absent.weight], 1).T + join.map.bias
    torch.testing.assert_close(join([a, b], present), expected)


def test_project_keeps_the_order():
    project = Project([2, 3], 4)
    a, b = torch.randn(5, 2), torch.randn(5, 3)
    torch.testing.assert_close(project([a, b])[:, 1], project.maps[1](b))


def test_line_holds_pooled_vectors_then_tokens():
    line = LineUp([3, 5], 8)
    where = torch.rand(2, 4, 1)
    a = Tokens(torch.randn(2, 2, 3), torch.tensor([[True, False], [False, False]]), torch.randn(2, 3)).cleared()
    b = Tokens(torch.randn(2, 4, 5), torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 5), where)
    x, mask, owner, starts = line([a, b])
    assert x.shape == (2, 8, 8)
    assert owner.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert starts == [0, 3]
    assert mask.tolist() == [[True, True, False] + [True] * 5, [False] * 3 + [True] * 5]
    torch.testing.assert_close(x[:, 3], line.maps[1](b.pooled) + line.stream[1] + line.whole[1])
    torch.testing.assert_close(x[:, 1:3], line.maps[0](a.x) + line.stream[0] + line.gain[0] * index_features(1, 8))
    torch.testing.assert_close(x[:, 4:], line.maps[1](b.x) + line.stream[1] + line.gain[1] * place_features(where, 8))


def test_long_streams_are_averaged_in_stretches():
    line = LineUp([3], 8, tokens=2)
    mask = torch.tensor([[True, True, False, True, True, True], [False, True, False, False, False, False]])
    s = Tokens(torch.randn(2, 6, 3), mask, torch.randn(2, 3), torch.arange(12.0).view(2, 6, 1)).cleared()
    x, found, _, _ = line([s])
    assert found.tolist() == [[True, True, True], [True, True, False]]
    a, b = s.x
    shortened = torch.stack([torch.stack([a[[0, 1, 3]].mean(0), a[4:].mean(0)]), torch.stack([b[1], torch.zeros(3)])])
    places = place_features(torch.tensor([[[4 / 3], [4.5]], [[7.0], [0.0]]]), 8)
    torch.testing.assert_close(x[:, 1:], line.maps[0](shortened) + line.stream[0] + line.gain[0] * places)


def test_padding_moves_no_token():
    line = LineUp([3], 8, tokens=4)
    s = Tokens(torch.randn(1, 3, 3), torch.tensor([[True, False, True]]), torch.randn(1, 3)).cleared()
    pad = torch.zeros(1, 2, 3)
    longer = Tokens(torch.cat([s.x, pad], 1), torch.cat([s.mask, pad[..., 0].bool()], 1), s.pooled)
    torch.testing.assert_close(line([longer]).x[line([longer]).mask], line([s]).x[line([s]).mask])


def _ragged() -> tuple[LineUp, list[Tokens]]:
    a = Tokens(torch.randn(2, 2, 3), torch.tensor([[False, True], [False, False]]), torch.randn(2, 3)).cleared()
    b = Tokens(torch.randn(2, 3, 5), torch.tensor([[True] * 3, [True, False, True]]), torch.randn(2, 5)).cleared()
    return LineUp([3, 5], 8), [a, b]


def test_stacked_streams_are_padded_to_one_length():
    line_up, streams = _ragged()
    line = line_up(streams)
    x, mask = line.stacked()
    assert x.shape == (2, 2, 4, 8)
    torch.testing.assert_close(x[0, :, :3], line.x[:, :3])
    torch.testing.assert_close(x[1], line.x[:, 3:])
    assert mask.tolist() == [
        [[True, False, True, False], [False] * 4],
        [[True, True, True, True], [True, True, False, True]],
    ]


def test_gathered_tokens_have_no_gaps():
    line_up, streams = _ragged()
    line = line_up(streams)
    x, mask = line.gathered()
    assert mask.tolist() == [[True] * 6 + [False], [False, True, True, True, False, False, False]]
    torch.testing.assert_close(x[0, :6], line.x[0, [0, 3, 2, 4, 5, 6]])  # pooled vectors, then the real tokens
    torch.testing.assert_close(x[1, :4], line.x[1, [0, 3, 4, 6]])
