"""`align --method knowledge --set graph=triples.csv`, end to end."""

from __future__ import annotations

import csv

import pytest
from planted_graph import Planted

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData


@pytest.fixture
def shop(tmp_path):
    """Two vectors a species and a text that names it; the taxonomy beside it as triples."""
    task = Planted(seed=0)
    graph = task.graph
    with (tmp_path / "triples.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["head", "relation", "tail"])
        writer.writerows((graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.triples)
    table = {name: [x.tolist() for x in values] for name, values in task.views.items()}
    return {**table, "text": task.texts}, tmp_path


def aligned(shop, **options):
    table, folder = shop
    return pm.align(
        table, "a,b", out=folder / "run", store=folder / "store", trackers="none", dim=8, training={"epochs": 3},
        quiet=True, **options,
    )  # fmt: skip


def test_the_graph_is_told_to_the_aligner(shop):
    run = aligned(shop, method="knowledge", graph=str(shop[1] / "triples.csv"), columns=["text"])
    told = "knowledge: 192 of 240 rows name 192 of the graph's 277 entities, found in text."  # training rows only
    assert told in run.metrics["notes"]
    assert 'aria-label="Recall of partners: a finds b' in run.report.read_text()
    (shop[1] / "triples.csv").unlink()
    space = pm.load_space(shop[1] / "run")  # needs no graph
    assert space.mark == run.metrics["mark"]


def test_options_of_the_method_and_of_nobody(shop):
    with pytest.raises(BadArgument, match="Unknown option 'graf' of align. Did you mean 'graph'"):
        aligned(shop, method="knowledge", graf="x.csv")
    with pytest.raises(BadArgument, match="Unknown option 'graph' of align"):
        aligned(shop, method="infonce", graph="x.csv")
    with pytest.raises(BadArgument, match="knowledge needs a graph"):
        aligned(shop, method="knowledge")
    with pytest.raises(BadData, match="There is no graph file"):
        aligned(shop, method="knowledge", graph="nowhere.csv")
