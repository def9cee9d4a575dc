"""Graphs from every source, and entities found in text."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.aligners.entities import Gazetteer, singular
from polymodal.aligners.graph import Graph, read_graph
from polymodal.core.errors import BadData

TRIPLES = [("sparrow", "is a", "bird"), ("bird", "is a", "animal"), ("animal", "has", "bird")]


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.triples.tolist()}


@pytest.mark.parametrize(("name", "delimiter"), [("g.csv", ","), ("g.tsv", "\t")])
def test_tables(tmp_path, name: str, delimiter: str):
    lines = [("note", "head", "relation", "tail"), *(("x", *t) for t in TRIPLES), ("x", *TRIPLES[0])]
    (tmp_path / name).write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8")
    assert edges(read_graph(tmp_path / name)) == set(TRIPLES)


def test_names_and_cycles():
    graph = read_graph([*TRIPLES, ("sparrow", "alias", "house sparrow"), ("sparrow", "label", "sparrow")])
    assert graph.names["sparrow"] == ("house sparrow", "sparrow")
    assert graph.names["bird"] == ("bird",)
    assert graph.entities == ("animal", "bird", "sparrow")


def test_turtle_and_ntriples(tmp_path):
    pytest.importorskip("rdflib")
    turtle = tmp_path / "g.ttl"
    turtle.write_text(
        "@prefix e: <http://example.org/> . @prefix r: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        'e:HouseSparrow r:subClassOf e:Bird ; r:label "house sparrow" ; e:weight 30 .\n',
        encoding="utf-8",
    )
    graph = read_graph(turtle)
    assert len(graph.triples) == 1
    assert graph.names["http://example.org/HouseSparrow"] == ("house sparrow",)
    assert graph.names["http://example.org/Bird"] == ("Bird",)
    lines = tmp_path / "g.nt"
    lines.write_text("<http://a.b/SnowOwl> <http://a.b/isA> <http://a.b/Bird> .\n", encoding="utf-8")
    assert read_graph(lines).names["http://a.b/SnowOwl"] == ("Snow Owl",)
    turtle.write_text("this is no turtle", encoding="utf-8")
    with pytest.raises(BadData, match=r"g.ttl is not valid turtle"):
        read_graph(turtle)


def test_networkx():
    networkx = pytest.importorskip("networkx")
    given = networkx.DiGraph()
    given.add_edge("sparrow", "bird", relation="is a")
    given.add_edge("bird", "worm")
    given.add_node("worm", label="earth worm")
    graph = read_graph(given)
    assert edges(graph) == {("sparrow", "is a", "bird"), ("bird", "linked", "worm")}
    assert graph.names["worm"] == ("earth worm",)
    several = networkx.MultiDiGraph()
    several.add_edge("a", "b", key="eats")
    several.add_edge("a", "b")
    assert edges(read_graph(several)) == {("a", "eats", "b"), ("a", "linked", "b")}


def test_a_shuffled_graph_has_the_same_shape_and_no_truth():
    draw = np.random.default_rng(0)
    graph = Graph.of([(f"e{a}", "r", f"e{b}") for a, b in draw.integers(40, size=(60, 2))])
    shuffled = graph.shuffled(1)
    assert len(shuffled.triples) == len(graph.triples)
    assert shuffled.entities == graph.entities
    assert len(edges(graph) & edges(shuffled)) < 10
    degrees = [sorted(np.bincount(g.triples[:, 0], minlength=len(g.entities))) for g in (graph, shuffled)]
    assert degrees[0] == degrees[1]


def test_plain_triples_make_the_same_graph():
    graph = read_graph([*TRIPLES, ("sparrow", "label", "house sparrow")])
    again = Graph.of(graph.to_triples())
    assert np.array_equal(again.triples, graph.triples)
    assert again.names == graph.names


def test_bad_graphs(tmp_path):
    with pytest.raises(BadData, match=r"A graph is no mapping.*read_graph\(graph\).to_triples\(\)"):
        read_graph({"name": "networkx.classes.digraph:DiGraph"})
    bad = tmp_path / "g.csv"
    bad.write_text("head,relaton,tail\na,b,c\n", encoding="utf-8")
    with pytest.raises(BadData, match="g.csv has no column 'relation'. Did you mean 'relaton'"):
        read_graph(bad)
    bad.write_text("head,relation,tail\na,b,c\na,,c\n", encoding="utf-8")
    with pytest.raises(BadData, match="g.csv, line 3: a triple needs head, relation and tail"):
        read_graph(bad)
    bad.write_text("head,relation,tail\nsparrow,alias,bird\n", encoding="utf-8")
    with pytest.raises(BadData, match="no triple that joins two entities"):
        read_graph(bad)
    with pytest.raises(BadData, match="There is no graph file"):
        read_graph(tmp_path / "none.csv")
    (tmp_path / "g.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadData, match=r"read from .csv, .tsv, .nt or .ttl; got 'g.json'"):
        read_graph(tmp_path / "g.json")
    with pytest.raises(BadData, match=r"A triple is \(head, relation, tail\)"):
        read_graph([("a", "b")])


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    import sys

    from polymodal.core.errors import MissingExtra

    (tmp_path / "g.ttl").write_text("", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[graph\]'"):
        read_graph(tmp_path / "g.ttl")


NAMES = [["dog"], ["hot dog"], ["hot dog stand", "sausage stall"], ["cat"], ["St. Bernard", "saint-bernard"], ["猫"]]


def found(text: str, **options) -> list[tuple[str, tuple[int, ...]]]:
    gazetteer = Gazetteer(NAMES, **options)
    return [(text[m.start : m.stop], m.entities) for m in gazetteer.find(text)]


def test_the_longest_match_at_word_boundaries():
    assert found("A Hot Dog, a dog.") == [("Hot Dog", (1,)), ("dog", (0,))]
    assert found("the hot-dog stand by the hot dogs") == [("hot-dog stand", (2,)), ("hot dogs", (1,))]
    assert found("catalogue concatenated, bobcat") == []
    assert found("a sausage stall") == [("sausage stall", (2,))]
    assert found("hot dog stan") == [("hot dog", (1,))]


def test_case_width_and_punctuation():
    assert found("st bernard; SAINT BERNARD") == [("st bernard", (4,)), ("SAINT BERNARD", (4,))]
    assert found("ｃａｔ") == [("ｃａｔ", (3,))]
    assert found("the dog's cat") == [("dog", (0,)), ("cat", (3,))]
    assert found("一只 猫") == [("猫", (5,))]


def test_plurals():
    assert [e for _, e in found("two dogs and three cats")] == [(0,), (3,)]
    assert found("two dogs", plurals=False) == []
    pairs = (
        "men man, boxes box, ladies lady, dogs dog, glasses glass, bus bus, grass grass, children child, horses horse, "
        "churches church, is is, tennis tennis"
    )
    for plural, one in (pair.split() for pair in pairs.split(", ")):
        assert singular(plural) == one


def test_a_shared_name_names_all_who_have_it():
    gazetteer = Gazetteer([["jaguar"], ["jaguar"], ["big cat"]])
    assert gazetteer.find("a jaguar")[0].entities == (0, 1)
    assert gazetteer.entities("jaguar, big cats and a jaguar") == [0, 1, 2]


def test_empty_text_and_empty_names():
    assert Gazetteer([["", "  "], []]).find("anything") == []
    assert found("") == []
    assert found("  \n") == []
