"""Messages over small dense graphs: `nn.graph` against PyTorch Geometric with the same weights.

A batch of rows, each a fully connected graph of its tokens, some of them missing; forward and backward, one thread. The
graphs of Geometric are put together beforehand, which favours it. Needs `pip install torch_geometric`.

    python benchmarks/graph.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from tools import parser, show
from torch import Tensor

from polymodal.nn.layers.graph import GraphAttention, GraphAttention2

SIZES = ((128, 4, 64), (128, 15, 64), (128, 27, 64), (32, 64, 64), (512, 17, 64))  # rows, nodes, width
HEADS = 4
ROUNDS = 15


def seconds(step: Callable[[], Tensor], inputs: Tensor) -> float:
    """The quickest of some forward and backward passes."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        step().square().sum().backward()
        took.append(time.perf_counter() - started)
        inputs.grad = None
    return min(took)


def row(rows: int, nodes: int, width: int, kind: str) -> dict[str, Any]:
    from torch_geometric.nn import GATConv, GATv2Conv

    torch.manual_seed(0)
    x = torch.randn(rows, nodes, width, requires_grad=True)
    mask = torch.rand(rows, nodes) < 0.8
    mask[:, 0] = True
    edges = mask[:, None] & mask[:, :, None]
    ours: Any
    if kind == "gat":
        ours = GraphAttention(width, HEADS)
        theirs = GATConv(width, width // HEADS, HEADS, add_self_loops=False)
        theirs.lin.weight.data = ours.values.weight.data
        ours.values.bias.data.zero_()
        theirs.att_src.data, theirs.att_dst.data = ours.source.data[None], ours.target.data[None]
    else:
        ours = GraphAttention2(width, HEADS)
        theirs = GATv2Conv(width, width // HEADS, HEADS, add_self_loops=False)
        theirs.lin_l.load_state_dict(ours.source.state_dict())
        theirs.lin_r.load_state_dict(ours.target.state_dict())
        theirs.att.data = ours.score.data[None]
    row_of, listener, speaker = edges.nonzero(as_tuple=True)
    links = torch.stack([row_of * nodes + speaker, row_of * nodes + listener])
    flat = x.detach().flatten(0, 1).requires_grad_()
    difference = ours(x, edges)[mask] - theirs(flat, links).view(rows, nodes, width)[mask]
    dense, sparse = seconds(lambda: ours(x, edges), x), seconds(lambda: theirs(flat, links), flat)
    return {
        "messages": kind,
        "rows": rows,
        "nodes": nodes,
        "ours_ms": 1000 * dense,
        "geometric_ms": 1000 * sparse,
        "times_as_fast": sparse / dense,
        "difference": f"{float(difference.detach().abs().max()):.0e}",
    }


def main() -> None:
    given = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    show([row(*size, kind) for kind in ("gat", "gatv2") for size in SIZES], given.json)


if __name__ == "__main__":
    main()
