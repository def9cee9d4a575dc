"""What looks at data outside a graph, and does not within one."""

from __future__ import annotations

import pytest
import torch

from polymodal.nn.graphs import longest, observed, pieces

REAL = torch.tensor([[True, True, False, False], [True, False, False, False]])


def test_outside_a_graph_data_is_looked_at():
    assert observed(REAL.any())
    assert not observed(REAL.all())
    assert longest(REAL) == 2
    assert longest(torch.zeros(2, 4, dtype=torch.bool)) == 1
    assert [len(part) for part in pieces(torch.zeros(5, 1), 2)] == [2, 2, 1]


@pytest.mark.parametrize("made", ["exported", "compiled"])
def test_within_a_graph_it_is_not(made: str):
    class Look(torch.nn.Module):
        def forward(self, real):
            early = real * 0 if observed(~real.any()) else real
            return early[:, : longest(real)], torch.cat(list(pieces(real, 1)))

    none = torch.zeros(2, 4, dtype=torch.bool)
    if made == "exported":
        graph = torch.export.export(Look(), (none,)).module()
    else:
        graph = torch.compile(Look(), backend="eager", fullgraph=True)
    for real in (none, REAL):
        cut, whole = graph(real)
        assert torch.equal(cut, real)
        assert torch.equal(whole, real)
