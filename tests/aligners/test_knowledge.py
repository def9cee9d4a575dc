"""The aligner that knows a graph: what it links, what it makes of it, and whether a true graph helps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from planted_graph import Planted, aligned

from polymodal.aligners import ALIGNERS
from polymodal.aligners.graph import Graph
from polymodal.aligners.knowledge import embed_graph, link_rows, row_vectors
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.core.types import Tokens

TRIPLES = [
    (leaf, "is a", parent) for parent, leaves in {
        "bird": ("sparrow", "owl", "house finch"), "fish": ("trout", "pike", "carp"), "tool": ("saw", "axe", "file"),
    }.items() for leaf in leaves
]  # fmt: skip
TEXTS = ["two sparrows", "an owl", "a trout", "the pike", "an axe", "nothing known", None, "A House Finch and a carp"]
WIDTHS = {"photo": 6, "text": 5}


def told(**options: Any):
    torch.manual_seed(0)
    part = ALIGNERS.build({"name": "knowledge", "graph": TRIPLES, **options}, WIDTHS, 4)
    notes = part.inform({"file": [f"p{i}.jpg" for i in range(8)], "text": TEXTS, "price": list(range(8))})
    return part, notes


def loss(part) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    streams = {n: Tokens.from_vector(torch.randn(8, w, generator=draw)) for n, w in WIDTHS.items()}
    torch.manual_seed(2)
    return sum(part.objective(streams, {n: torch.arange(8)[:, None] for n in WIDTHS}).values())


def test_it_says_what_it_found():
    part, notes = told()
    assert notes == ["knowledge: 6 of 8 rows name 7 of the graph's 12 entities, found in text."]
    assert part.table.shape[0] == 8
    assert part.table[5].abs().sum() == part.table[6].abs().sum() == 0


def test_graph_neighbours_share_the_target():
    part, _ = told(near=2)
    rows = torch.arange(8)[:, None]
    links = part.links("photo", "text", rows, rows)
    assert (links.query.diff() >= 0).all()
    of_sparrow = {int(i): float(w) for q, i, w in zip(links.query, links.item, links.weight) if q == 0}
    assert of_sparrow[0] == 1.0
    assert 0.2 < of_sparrow[1] <= 0.25  # the owl: half of `soft`, nearly as near as can be
    unknown = [int(i) for q, i in zip(links.query, links.item) if q == 5]
    assert unknown == [5]


def test_hard_negatives_come_from_the_graph():
    part, _ = told(near=1, harder=2.0)
    rows = torch.arange(8)[:, None]
    boost = part.boost("photo", "text", rows, rows)
    assert dict(zip(boost.query.tolist(), boost.item.tolist()))[2] in (3, 7)  # trout: pike, or carp beside a finch
    assert (boost.weight <= 2.0 + 1e-5).all()
    assert told(harder=0.0)[0].boost("photo", "text", rows, rows) is None


def test_items_in_several_rows_and_rows_unknown():
    part, _ = told()
    rows = torch.tensor([[0, 1], [5, -1], [99, -1]])
    links = part.links("photo", "text", rows, rows)
    assert torch.isfinite(links.weight).all()
    assert {int(q) for q in links.query} == {0, 1, 2}


def test_nothing_of_the_graph_is_needed_afterwards():
    part, _ = told()
    plain = ALIGNERS.build("knowledge", WIDTHS, 4)
    plain.load_state_dict(part.state_dict())
    tokens = {"photo": Tokens.from_vector(torch.randn(3, 6))}
    assert torch.equal(plain.eval()(tokens)["photo"].pooled, part.eval()(tokens)["photo"].pooled)


OPTIONS = {
    "graph": TRIPLES[:6], "columns": ["other"], "embedding": "rotate", "plurals": False, "soft": 0.1, "sharpness": 1.0,
    "near": 1, "harder": 1.0, "head": "linear", "dropout": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_loss(option: str):
    found = []
    for given in ({}, {option: OPTIONS[option]}):
        torch.manual_seed(0)
        part = ALIGNERS.build({"name": "knowledge", "graph": TRIPLES, **given}, WIDTHS, 4)
        part.inform({"text": TEXTS, "other": ["owl"] * 4 + ["pike"] * 4})
        found.append(loss(part))
    assert not torch.equal(*found)


def test_rare_entities_count_more():
    graph = Graph.of(TRIPLES)
    found = link_rows(graph, [["owl trout", "owl", "owl", "owl", "owl pike"]])
    vectors = embed_graph(graph, "transe")
    row = row_vectors(found, vectors)[0]
    owl, trout = (vectors[graph.entities.index(name)] for name in ("owl", "trout"))
    assert row @ trout > row @ owl


def test_the_same_seed_gives_the_same_vectors():
    graph = Graph.of(TRIPLES)
    assert torch.equal(embed_graph(graph, "rotate", seed=3), embed_graph(graph, "rotate", seed=3))


def test_a_true_graph_helps_and_a_shuffled_one_does_not():
    """Few pairs of a taxonomy's species; other species are searched. Benchmarks: benchmarks/knowledge.py."""
    task = Planted(seed=0, pairs=100)
    plain, true, false = (
        aligned(spec, task, seed=0, steps=80)["r@10"]
        for spec in (
            "infonce",
            {"name": "knowledge", "graph": task.graph},
            {"name": "knowledge", "graph": task.graph.shuffled(1)},
        )
    )
    assert true > plain > false


def test_bad_input(tmp_path):
    with pytest.raises(BadArgument, match="knowledge needs a graph: graph=triples.csv"):
        told(graph=None)
    with pytest.raises(BadData, match="No cell of file names any of the graph's 12 entities, such as axe, bird, carp"):
        told(columns="file")
    with pytest.raises(BadArgument, match="read a column 'txt'. Did you mean 'text'"):
        told(columns=["txt"])
    with pytest.raises(UnknownName, match="'trans'. Did you mean 'transe'"):
        told(embedding="trans")
    with pytest.raises(BadData, match="There is no graph file"):
        told(graph=str(tmp_path / "no.csv"))
    for option, value in (("soft", -1.0), ("harder", -1.0), ("near", 0), ("sharpness", 0.0)):
        with pytest.raises(BadArgument, match=f"{option} must be|{option} positive|near must be"):
            told(**{option: value})
    part = ALIGNERS.build({"name": "knowledge", "graph": TRIPLES}, WIDTHS, 4)
    with pytest.raises(BadData, match=r"None of the columns \['a', 'b'\] holds text"):
        part.inform({"a": [1, 2], "b": ["x/y.png", "z.png"]})
