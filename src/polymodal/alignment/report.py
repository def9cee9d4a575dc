"""The report of an `align` run: cards of a few test queries and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.aligners.pairs import matches
from polymodal.alignment.items import Chosen, Tower
from polymodal.alignment.plan import AlignPlan
from polymodal.alignment.train import linked_ways
from polymodal.core.errors import BadCell
from polymodal.evaluation.retrieval import retrieval_ranks
from polymodal.inference.space import Space
from polymodal.report import align_page
from polymodal.report.cards import cell_card

TOP = 5


def write_align_report(
    path: Path,
    plan: AlignPlan,
    space: Space,
    towers: Mapping[str, Tower],
    test: Mapping[str, Chosen],
    vectors: Mapping[str, np.ndarray],
    metrics: Mapping[str, Any],
    curve: Mapping[str, list[float]],
) -> Path:
    """Write the page of a finished run; `vectors` are those of the `test` items, a stream each."""

    def card(stream: str, item: int) -> dict[str, Any]:
        processor = space.processors[stream]
        cell = towers[stream].items.cells[int(test[stream].cells[item])]
        try:
            return cell_card(stream, processor.show(processor.read(cell)))
        except BadCell as error:  # read once already; a file may have gone since
            return cell_card(stream, {"kind": "missing", "reason": error.reason})

    def name(stream: str, item: int) -> str:
        return plan.table.ids[int(test[stream].rows[item, 0])]

    shown = []
    draw = np.random.default_rng(plan.config.seed)
    for query, corpus in linked_ways(test, "test"):
        asked = np.sort(draw.permutation(len(test[query]))[: plan.config.queries])
        together = matches(test[query].rows[asked], test[corpus].rows).numpy()
        first = {}
        if together.any():
            ranks = retrieval_ranks(vectors[query][asked], vectors[corpus], together.__getitem__)
            first = dict(zip(asked[ranks.query].tolist(), ranks.first.tolist()))
        queries = []
        for item, right in zip(asked.tolist(), together):
            scores = vectors[corpus] @ vectors[query][item]
            order = np.lexsort((right, -scores.round(6)))  # what does not belong to it goes first among equals
            hits = [
                {"id": name(corpus, i), "right": bool(right[i]), "score": float(scores[i]), "cells": [card(corpus, i)]}
                for i in order[:TOP]
            ]
            queries.append(
                {"id": name(query, item), "rank": first.get(item, 0), "cells": [card(query, item)], "found": hits}
            )
        shown.append({"query": query, "corpus": corpus, "queries": queries})
    path.write_text(align_page.render(metrics, shown, curve), encoding="utf-8")
    return path
