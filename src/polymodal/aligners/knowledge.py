"""Alignment that knows a graph: what two items speak of may be near, though no row holds both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners import EMBEDDINGS
from polymodal.aligners.contrast import Links
from polymodal.aligners.contrastive import Contrastive, InfoNCE
from polymodal.aligners.embedding import Embedding, train_embedding
from polymodal.aligners.entities import Gazetteer
from polymodal.aligners.graph import Graph, read_graph
from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.registry import Spec
from polymodal.core.values import check_range
from polymodal.nn.normalize import l2_normalize

CELLS = 1 << 22  # nearnesses held at a time
FILE = re.compile(r"\S+\.[A-Za-z0-9]{2,5}$")  # a cell that names a file is not text


class Knowledge(Contrastive):
    """InfoNCE whose targets and negatives know a knowledge graph.

    Entities of the `graph` are found in the cells of `columns` (None: every column of text), their vectors are learned
    (`embedding`: transe or rotate), and a row's vector is the mean of its entities', rare ones first (weights
    log(1 + rows / rows that name it)). Two items are as near as the cosine s of their rows' vectors. For each query the
    `near` nearest items that do not belong to it get, beside the weight 1 of those that do, the target weight
    `soft` / `near` · max(0, s)^`sharpness`; and `harder` · max(0, s) is added to their logits, so that they count as
    hard negatives. Embedding new items needs no graph.

    `graph` is what `align.graph.read_graph` reads: a path (.csv, .tsv, .nt, .ttl) or, in Python, triples (those of a
    networkx graph: `read_graph(g).to_triples()`). `plurals`: "dogs" is found as "dog". Soft targets by likeness:
    Andonian et al. 2022.
    """

    reads_cells: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, graph: Any = None, columns: Sequence[str] | str | None = None,
        embedding: Spec = "transe", plurals: bool = True, soft: float = 0.5, sharpness: float = 4.0, near: int = 8,
        harder: float = 0.0, head: str = "mlp", dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim, head=head, dropout=dropout, scale=1 / 0.07)
        check_range("[0, inf)", soft=soft, harder=harder)
        check_range("[1, inf)", near=near)
        check_range("(0, inf)", sharpness=sharpness)
        self.graph = graph
        self.columns = columns
        self.embedding = embedding
        self.plurals = plurals
        self.soft = soft
        self.sharpness = sharpness
        self.near = near
        self.harder = harder
        EMBEDDINGS.resolve(embedding)
        self.table: Tensor | None = None  # [R, E]: each row's vector, zero where it names nothing; training only

    contrast = InfoNCE.contrast  # type: ignore[assignment]

    def inform(self, columns: Mapping[str, Sequence[Any]], *, seed: int = 0) -> list[str]:
        """Read the graph, learn its vectors and find each row's entities. Raises `BadData` when no row names one."""
        if self.graph is None:
            raise BadArgument(
                "knowledge needs a graph: graph=triples.csv (head, relation, tail), or .ttl, .nt, .tsv; on the command "
                "line --set graph=triples.csv."
            )
        graph = read_graph(self.graph)
        chosen = self._columns(columns)
        by_row = link_rows(graph, [columns[name] for name in chosen], plurals=self.plurals)
        linked = sum(bool(entities) for entities in by_row)
        if not linked:
            raise BadData(
                f"No cell of {', '.join(chosen)} names any of the graph's {len(graph.entities):,} entities, such as "
                f"{', '.join(graph.names[e][0] for e in graph.entities[:3])}. Name the columns (columns=...) or give "
                "the entities aliases: triples (entity, alias, other name)."
            )
        self.table = row_vectors(by_row, embed_graph(graph, self.embedding, seed=seed))
        named = len({e for entities in by_row for e in entities})
        return [
            f"knowledge: {linked:,} of {len(by_row):,} rows name {named:,} of the graph's {len(graph.entities):,} "
            f"entities, found in {', '.join(chosen)}."
        ]

    def links(self, query: str, corpus: str, queries: Tensor, items: Tensor) -> Links:
        true = super().links(query, corpus, queries, items)
        if self.table is None or not self.soft:
            return true
        near = self._nearby(true, queries, items)
        soft = Links(near.query, near.item, self.soft / self.near * near.weight.to(true.weight) ** self.sharpness)
        known = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
        known[true.query] = True  # nearness adds to what belongs together, and stands for nothing by itself
        keep = known[soft.query]
        parts = ((true.query, soft.query), (true.item, soft.item), (true.weight, soft.weight))
        both = [torch.cat([ours, more[keep]]) for ours, more in parts]
        order = both[0].argsort(stable=True)
        return Links(*(x[order] for x in both))

    def boost(self, query: str, corpus: str, queries: Tensor, items: Tensor) -> Links | None:
        if self.table is None or not self.harder:
            return None
        near = self._nearby(super().links(query, corpus, queries, items), queries, items)
        return Links(near.query, near.item, self.harder * near.weight)

    def _columns(self, columns: Mapping[str, Sequence[Any]]) -> list[str]:
        wanted = [self.columns] if isinstance(self.columns, str) else list(self.columns or ())
        for name in wanted:
            if name not in columns:
                raise BadArgument(f"knowledge was told to read a column {name!r}.{suggest(name, columns)}")
        chosen = wanted or [name for name, cells in columns.items() if _is_text(cells)]
        if not chosen:
            raise BadData(
                f"None of the columns {sorted(columns)} holds text to find entities in; name some: columns=..."
            )
        return chosen

    @torch.no_grad()
    def _nearby(self, true: Links, queries: Tensor, items: Tensor) -> Links:
        """For each query the `near` nearest items that do not belong to it, weighed by their nearness above zero."""
        assert self.table is not None
        a, b = (l2_normalize(self._of_items(rows)) for rows in (queries, items))
        nearby = []
        step = max(1, CELLS // max(1, len(b)))
        for start in range(0, len(a), step):
            cosine = a[start : start + step] @ b.T
            mine = true.between(start, start + len(cosine))
            cosine[mine.query, mine.item] = -1.0
            weight, item = cosine.topk(min(self.near, len(b)), 1)
            query, place = (weight > 1e-6).nonzero(as_tuple=True)
            nearby.append((query + start, item[query, place], weight[query, place]))
        return Links(*(torch.cat(x) for x in zip(*nearby)))

    def _of_items(self, rows: Tensor) -> Tensor:
        """[n, E] sums of the vectors of each item's rows [n, M]."""
        assert self.table is not None
        self.table = self.table.to(rows.device)
        known = (rows >= 0) & (rows < len(self.table))
        return (self.table[torch.where(known, rows, 0)] * known[..., None]).sum(1)


def link_rows(graph: Graph, columns: Sequence[Sequence[Any]], *, plurals: bool = True) -> list[list[int]]:
    """The entities that each row's cells name, each once; cells that are missing or no text name none."""
    gazetteer = Gazetteer((graph.names[e] for e in graph.entities), plurals=plurals)
    known: dict[str, list[int]] = {}
    rows = []
    for cells in zip(*columns):
        entities: dict[int, None] = {}
        for cell in cells:
            if isinstance(cell, str):
                if cell not in known:
                    known[cell] = gazetteer.entities(cell)
                entities.update(dict.fromkeys(known[cell]))
        rows.append(list(entities))
    return rows


def row_vectors(rows: Sequence[Sequence[int]], vectors: Tensor) -> Tensor:
    """[R, E] of length one: each row's entities' mean, by log(1 + rows / rows that name it); zero where it has none."""
    row = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    entity = np.array([e for r in rows for e in r], dtype=np.int64)
    count = np.bincount(entity, minlength=len(vectors))
    weight = torch.from_numpy(np.log1p(len(rows) / np.maximum(count, 1))[entity]).to(vectors)
    total = vectors.new_zeros(len(rows), vectors.shape[1])
    return l2_normalize(total.index_add_(0, torch.from_numpy(row), vectors[torch.from_numpy(entity)] * weight[:, None]))


def embed_graph(graph: Graph, spec: Spec, *, seed: int = 0) -> Tensor:
    """[entities, E] vectors of length one, learned from the graph's triples; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Embedding = EMBEDDINGS.build(spec, len(graph.entities), len(graph.relations))
    train_embedding(model, torch.from_numpy(graph.triples), seed=seed)
    return model.vectors()


def _is_text(cells: Sequence[Any]) -> bool:
    """Words, not numbers, vectors or names of files, in the first hundred cells that are not missing."""
    some = [cell for cell in cells if cell is not None][:100]
    texts = [cell for cell in some if isinstance(cell, str) and re.search(r"[^\W\d_]", cell)]
    return len(texts) * 2 > len(some) and sum(bool(FILE.fullmatch(t.strip())) for t in texts) * 2 < len(texts)
