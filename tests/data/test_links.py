"""Edge lists and whose features a row reads over them."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.data.links import LinkOptions, link_cells, read_links
from polymodal.data.neighbours import NEW, Memory, features_of, resolved
from polymodal.data.tables.table import Table

IDS = ["a", "b", "c", "d"]
EDGES = "source,target,weight\na,b,2\nb,a,5\na,c,1\nc,d,0\nd,d,3\nd,a,nan\n"


@pytest.fixture
def table(tmp_path):
    (tmp_path / "edges.csv").write_text(EDGES)
    return Table.build({"id": IDS}, base=tmp_path)


def options(**given):
    return {"path": "edges.csv", **given}


def test_undirected_edges_join_both_ways_and_the_stronger_of_two_counts(table):
    found = link_cells(table, "f", options(weight="weight"))
    assert found[0] == {"ids": ["b", "c"], "weights": [5.0, 1.0]}
    assert found[1] == {"ids": ["a"], "weights": [5.0]}
    assert found[2] == {"ids": ["a"], "weights": [1.0]}
    assert found[3] is None


def test_directed_edges_are_read_by_their_source(table):
    found = link_cells(table, "f", options(weight="weight", directed=True))
    assert found[0] == {"ids": ["b", "c"], "weights": [2.0, 1.0]}
    assert found[1] == {"ids": ["a"], "weights": [5.0]}
    assert found[2] is None


def test_without_weights_all_edges_are_alike(table):
    assert link_cells(table, "f", options())[0]["weights"] == [1.0, 1.0, 1.0]


def test_faults_are_counted(table):
    said = " ".join(read_links(table, "f", LinkOptions.of("f", options(weight="weight"))).faults)
    assert "1 edges join a row with itself (d)" in said
    assert "2 edges have no weight above 0 (c-d (0), d-a (nan))" in said or "(c-d (0), d-a (None))" in said


def memory(part=(0, 0, 1, 2)):
    return Memory(tuple(IDS), np.arange(8, dtype=np.float16).reshape(4, 2), np.array(part, np.int8))


def read(across, links, part=(0, 0, 1, 2), **given):
    settings = LinkOptions.of("f", options(across=across, **given))
    cells = [None if one is None else {"ids": list(one), "weights": [1.0] * len(one)} for one in links]
    return resolved(cells, IDS, np.array(part), memory(part), settings)


@pytest.mark.parametrize(("across", "expected"), [("earlier", ["b", "a", "ab", "abc"]), ("own", ["b", "a", "", ""]),
                                                  ("all", ["bcd", "acd", "abd", "abc"])])  # fmt: skip
def test_whose_features_are_read(across, expected):
    found = read(across, ["bcd", "acd", "abd", "abc"])
    assert ["".join(cell["ids"]) if cell else "" for cell in found] == expected


def test_no_training_row_reads_a_later_row_unless_told():
    assert all(set(cell["ids"]) <= {"a", "b"} for cell in read("earlier", ["bcd", "acd", "abd", "abc"])[:2])


def test_unknown_neighbours_are_passed_over():
    assert read("all", ["xb", "x", None, "a"])[0]["ids"] == ["b"]
    assert read("all", ["xb", "x", None, "a"])[1] is None


def test_the_strongest_are_kept_and_equals_drawn_alike_in_any_order():
    settings = LinkOptions.of("f", options(across="all", neighbours=2))
    ids = [f"n{i}" for i in range(30)]
    known = Memory(tuple(ids), np.zeros((30, 1), np.float16), np.zeros(30, np.int8))
    weights = {n: 2.0 if n == "n7" else 1.0 for n in ids}

    def kept(reader, order):
        cell = {"ids": order, "weights": [weights[n] for n in order]}
        return resolved([cell], [reader], np.array([0]), known, settings)[0]["ids"]

    assert kept("r", ids) == kept("r", ids[::-1])
    assert kept("r", ids)[0] == "n7"
    assert len({tuple(kept(f"r{i}", ids)) for i in range(10)}) > 1  # not the first of the list for every row


def test_new_rows_go_before_what_was_known(tmp_path):
    joined = memory().with_new(["b", "e"], np.full((2, 2), 9.0))
    assert joined.ids == ("a", "c", "d", "b", "e")
    assert joined.part.tolist() == [0, 1, 2, NEW, NEW]
    assert joined.vectors[3].tolist() == [9.0, 9.0]
    joined.save(tmp_path / "memory.safetensors")
    again = Memory.load(tmp_path / "memory.safetensors")
    assert again.ids == joined.ids
    np.testing.assert_array_equal(again.vectors, joined.vectors)


def test_features_are_zero_where_a_stream_is_missing():
    there = np.array([True, False])
    found = features_of({"b": np.ones((2, 2)), "a": np.full((2, 1), 5.0)}, {"a": there, "b": ~there})
    assert found.tolist() == [[5, 0, 0, 1, 0], [0, 1, 1, 0, 1]]
