"""Knowledge graphs: triples (head, relation, tail) from a file, from networkx or from memory."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadData, require, suggest

COLUMNS = ("head", "relation", "tail")
NAMING = {"label", "preflabel", "altlabel", "alias", "name"}  # relations whose tail is a name, not an entity
RDF = {".nt": "nt", ".ttl": "turtle"}


@dataclass(frozen=True, eq=False)
class Graph:
    """Entities, relations and `triples` [N, 3] int64 (head, relation, tail), each triple once; cycles are welcome.

    `names[entity]` are the words by which it is found in text: its labels and aliases, or its own name.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    triples: np.ndarray
    names: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, triples: Iterable[tuple[str, str, str]]) -> Graph:
        """From names. Triples whose relation is label, altLabel, alias or name give their head another name.

        Raises `BadData` when no triple joins two entities.
        """
        edges: list[tuple[str, str, str]] = []
        named: dict[str, list[str]] = {}
        for head, relation, tail in triples:
            if _local(relation).lower() in NAMING:
                named.setdefault(head, []).append(tail)
            else:
                edges.append((head, relation, tail))
        if not edges:
            raise BadData(
                "The graph has no triple that joins two entities. Give rows such as 'sparrow, is_a, bird'; relations "
                f"called {', '.join(sorted(NAMING))} only name their head."
            )
        entities = tuple(sorted({e for head, _, tail in edges for e in (head, tail)}))
        relations = tuple(sorted({relation for _, relation, _ in edges}))
        entity, kind = ({n: i for i, n in enumerate(names)} for names in (entities, relations))
        numbers = np.array([(entity[h], kind[r], entity[t]) for h, r, t in edges], dtype=np.int64)
        names = {e: tuple(named.get(e, ())) or (_local(e),) for e in entities}
        return cls(entities, relations, np.unique(numbers, axis=0), names)

    def to_triples(self) -> list[tuple[str, str, str]]:
        """Plain names, those of the entities as aliases; `Graph.of` makes the same graph of them."""
        edges = [(self.entities[h], self.relations[r], self.entities[t]) for h, r, t in self.triples.tolist()]
        return edges + [(entity, "alias", name) for entity, names in self.names.items() for name in names]

    def shuffled(self, seed: int = 0) -> Graph:
        """The same triples with the entities' names exchanged at random: as many edges, the same shape, no truth."""
        order = np.random.default_rng(seed).permutation(len(self.entities))
        return Graph(self.entities, self.relations, _exchange(self.triples, order), self.names)


def _exchange(triples: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.unique(np.stack([order[triples[:, 0]], triples[:, 1], order[triples[:, 2]]], 1), axis=0)


def read_graph(source: Any) -> Graph:
    """A graph from a path (.csv or .tsv with the columns head, relation, tail; .nt or .ttl), a networkx graph, a list
    of triples, or a `Graph`.

    Raises `BadData` for a file that is missing, of another kind, or without these columns, and `MissingExtra` where
    RDF is read without rdflib.
    """
    if isinstance(source, Graph):
        return source
    if hasattr(source, "edges") and hasattr(source, "nodes"):
        return Graph.of(_networkx(source))
    if isinstance(source, Mapping):
        raise BadData(
            f"A graph is no mapping; got one of {sorted(map(str, source))[:3]}. A run keeps its options as "
            "plain values: give it a graph in memory as triples, read_graph(graph).to_triples(), or the path of a file."
        )
    if not isinstance(source, str | Path):
        return Graph.of(_checked(source))
    path = Path(source)
    if not path.is_file():
        raise BadData(f"There is no graph file {str(path)!r}. Give a .csv or .tsv of triples, or RDF as .nt or .ttl.")
    suffix = path.suffix.lower()
    if suffix in RDF:
        return Graph.of(_rdf(path, RDF[suffix]))
    if suffix not in (".csv", ".tsv"):
        raise BadData(f"A graph is read from .csv, .tsv, .nt or .ttl; got {path.name!r}.")
    return Graph.of(_delimited(path, "," if suffix == ".csv" else "\t"))


def _delimited(path: Path, delimiter: str) -> list[tuple[str, str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        for name in COLUMNS:
            if name not in header:
                raise BadData(
                    f"{path.name} has no column {name!r}.{suggest(name, header)} A graph's table has the columns "
                    f"{', '.join(COLUMNS)}."
                )
        rows = []
        for row in reader:
            cells = tuple((row[name] or "").strip() for name in COLUMNS)
            if not all(cells):
                raise BadData(
                    f"{path.name}, line {reader.line_num}: a triple needs head, relation and tail; got {cells}."
                )
            rows.append(cells)
    return rows  # type: ignore[return-value]


def _rdf(path: Path, form: str) -> list[tuple[str, str, str]]:
    rdflib = require("rdflib", "graph")
    graph = rdflib.Graph()
    try:
        graph.parse(path, format=form)
    except Exception as error:  # rdflib's parsers raise errors of many unrelated classes
        raise BadData(f"{path.name} is not valid {form}: {error}") from error
    naming = [t for t in graph if _local(str(t[1])).lower() in NAMING]
    edges = [t for t in graph if not isinstance(t[2], rdflib.Literal)]  # other literals join no two entities
    return [(str(h), str(r), str(t)) for h, r, t in naming + edges]


def _networkx(graph: Any) -> list[tuple[str, str, str]]:
    """Edges by their attribute `relation` (else a multigraph's key, else "linked"); nodes' `label` names them."""
    multi = graph.is_multigraph()
    edges = [
        (str(e[0]), str(e[-1].get("relation", e[2] if multi and isinstance(e[2], str) else "linked")), str(e[1]))
        for e in (graph.edges(keys=True, data=True) if multi else graph.edges(data=True))
    ]
    return edges + [(str(n), "label", str(data["label"])) for n, data in graph.nodes(data=True) if "label" in data]


def _checked(triples: Iterable[Any]) -> list[tuple[str, str, str]]:
    plain = [tuple(map(str, triple)) for triple in triples]
    for triple in plain:
        if len(triple) != 3:
            raise BadData(f"A triple is (head, relation, tail); got {triple}.")
    return plain  # type: ignore[return-value]


def _local(name: str) -> str:
    """The last part of an address; any other name as it is."""
    if "://" not in name:
        return name
    local = re.split(r"[#/]", name.rstrip("#/"))[-1]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", local) if local.lower() not in NAMING else local
