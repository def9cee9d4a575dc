"""The page of an `align` run: who finds whom, a few queries with what they find, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.report.doctor_chart import doctor
from polymodal.report.page import cards, page
from polymodal.report.sections import model, run
from polymodal.report.wording import clean, count, duration, joined, plain, share

COLUMNS = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "map": "mAP", "median_rank": "median rank"}


def render(metrics: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], curve: Mapping[str, list[float]]) -> str:
    """The page as one HTML string.

    `metrics` is the content of `metrics.json`; `curve` has `epoch`, `loss` and `valid`. `shown`: a dict a way, with
    `query` and `corpus` (streams) and `queries`: dicts of `id`, `rank` (of the first that belongs to it), `cells` and
    `found`, whose dicts have `id`, `right`, `score` and `cells` (see `evaluate.media.cell_card`). `doctor` in
    `metrics`, the alignment doctor's diagnosis, is shown where it is given.
    """
    items = metrics["items"]["test"]
    ways = [_way(way, values, items) for way, values in metrics["test"].items()]
    curves = [{"name": metrics["method"], "stage": "align", "train": curve["loss"], **curve}] if curve["epoch"] else []
    return page(
        "align.html.j2",
        title=" ↔ ".join(clean(name) for name in metrics["streams"]),
        method=clean(metrics["method"]),
        towers=metrics["towers"],
        headline=_headline(metrics),
        sentences=_sentences(metrics),
        columns=list(COLUMNS.values()),
        ways=ways,
        doctor=_doctor(metrics.get("doctor")),
        shown=[_shown(way) for way in shown],
        training=model.training({"curves": curves, "primary": "recall"}) if curves else None,
        notes=metrics["notes"],
        facts=_facts(metrics),
    )


def _doctor(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Verdict, reasons and advice."""
    if not given:
        return None
    words = {"go": "These streams can be aligned.", "doubtful": "Something connects these streams, but little.",
             "no-go": "As they are, these streams cannot be aligned."}  # fmt: skip
    verdict = words.get(given["verdict"], given["verdict"])
    return {"verdict": verdict, "reasons": given["reasons"], "advice": given["advice"], "chart": doctor(given)}


def _way(way: str, values: Mapping[str, Mapping[str, float]], items: Mapping[str, int]) -> dict[str, Any]:
    query, corpus = way.split(" to ", 1)
    cells = []
    for name in COLUMNS:
        interval = values[name]
        rank = name == "median_rank"
        ends = [plain(interval[end], 1) if rank else share(interval[end]) for end in ("low", "high")]
        text = plain(interval["mean"], 1) if rank else share(interval["mean"])
        cells.append({"text": text, "value": interval["mean"], "interval": f"{ends[0]} – {ends[1]}"})
    return {
        "query": clean(query), "corpus": clean(corpus), "queries": count(items[query]),
        "searched": count(items[corpus]), "cells": cells,
    }  # fmt: skip


def _headline(metrics: Mapping[str, Any]) -> str:
    way, values = next(iter(metrics["test"].items()))
    query, corpus = way.split(" to ", 1)
    among = metrics["items"]["test"][corpus]
    return (
        f"{share(values['recall@5']['mean'])} of {clean(query)} queries find what belongs to them among the first five "
        f"of {count(among)} in {clean(corpus)}."
    )


def _sentences(metrics: Mapping[str, Any]) -> list[str]:
    rows, items = metrics["rows"], metrics["items"]["test"]
    chance = [5 / max(items[way.split(" to ", 1)[1]], 1) for way in metrics["test"]]
    return [
        f"By chance it would be about {share(min(1.0, chance[0]))}, more where several belong to one query.",
        f"Learned from {count(rows['train'])} rows, chosen by {count(rows['valid'])}, and measured on "
        f"{count(rows['test'])}.",
    ]


def _shown(way: Mapping[str, Any]) -> dict[str, Any]:
    queries = []
    for query in way["queries"]:
        hits = [
            {
                "id": clean(f["id"]),
                "right": f["right"],
                "score": plain(f["score"], 3),
                "cells": cards(f["cells"], f["id"]),
            }
            for f in query["found"]
        ]
        rank = f"found at rank {count(query['rank'])}" if query["rank"] else ""
        cells = cards(query["cells"], query["id"])
        queries.append({"id": clean(query["id"]), "rank": rank, "cells": cells, "found": hits})
    return {"query": clean(way["query"]), "corpus": clean(way["corpus"]), "queries": queries}


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    learned = metrics["items"]["train"]
    facts = [
        ("Streams", ", ".join(f"{clean(name)} ({kind})" for name, kind in metrics["streams"].items())),
        ("Width of the space", count(metrics["dim"])),
        ("Parameters learned", count(metrics["parameters"])),
        ("Different items in training", ", ".join(f"{count(n)} {clean(s)}" for s, n in learned.items())),
        ("Cells set aside", count(metrics["set_aside"])),
        *((clean(t["what"]).capitalize(), duration(t["seconds"])) for t in metrics["timings"]),
    ]  # fmt: skip
    return facts + [(name, joined(value)) for name, value in run.environment(metrics) or []]
