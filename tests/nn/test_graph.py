"""Messages over graphs: who hears whom, who hears nobody, and the weights of edges."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.errors import BadArgument
from polymodal.nn.layers import graph
from polymodal.nn.layers.graph import MESSAGES, GraphBlock


def _case(kind: str):
    nodes, edges = torch.randn(2, 5, 8), torch.rand(2, 5, 5) < 0.6
    edges[0, 2] = False
    edges[:, 0, 1], edges[:, 0, 3] = True, False
    return MESSAGES[kind](8, 2), nodes, edges


@pytest.mark.parametrize("kind", MESSAGES)
def test_only_neighbours_are_heard(kind: str):
    part, nodes, edges = _case(kind)
    before, changed = part(nodes, edges), nodes.clone()
    changed[:, 3] += 1.0
    after = part(changed, edges)
    unheard = ~edges[:, :, 3]
    unheard[:, 3] = False  # it listens differently itself
    torch.testing.assert_close(after[unheard], before[unheard])
    assert not torch.allclose(after[edges[:, :, 3]], before[edges[:, :, 3]])


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_node_without_neighbours_hears_zero(kind: str):
    part, nodes, edges = _case(kind)
    assert part(nodes, edges)[0, 2].abs().max() == 0
    block = GraphBlock(8, 2, messages=kind)
    alone = block(nodes, torch.zeros_like(edges))
    torch.testing.assert_close(alone, nodes + block.feed(block.feed_norm(nodes)))


@pytest.mark.parametrize("kind", MESSAGES)
def test_numbering_the_nodes_otherwise_changes_nothing(kind: str):
    part, nodes, edges = _case(kind)
    order = torch.randperm(5)
    found = part(nodes[:, order], edges[:, order][:, :, order])
    torch.testing.assert_close(found, part(nodes, edges)[:, order])


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_bias_is_the_logarithm_of_a_weight(kind: str):
    part, nodes, _ = _case(kind)
    edges = torch.zeros(2, 5, 5, dtype=torch.bool)
    edges[:, 0, 1:3] = True
    bias = torch.zeros(1, 5, 5)
    bias[:, 0, 1] = -30.0  # next to nothing
    edges_without = edges.clone()
    edges_without[:, 0, 1] = False
    found, expected = part(nodes, edges, bias)[:, 0], part(nodes, edges_without)[:, 0]
    torch.testing.assert_close(found, expected / 2 if kind == "gated" else expected)  # gates do not share out a whole


def test_pairs_formed_some_rows_at_a_time(monkeypatch):
    part, nodes, edges = _case("gatv2")
    whole = part(nodes, edges)
    monkeypatch.setattr(graph, "PAIRS", 1)
    torch.testing.assert_close(part(nodes, edges), whole)


def test_bad_options():
    with pytest.raises(BadArgument, match=r"8 cannot be cut into 3 heads. Allowed: \[1, 2, 4, 8\]"):
        GraphBlock(8, 3)
    with pytest.raises(BadArgument, match="Unknown messages 'gatv3'. Did you mean 'gatv2'"):
        GraphBlock(8, 2, messages="gatv3")
