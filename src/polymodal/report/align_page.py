"""The page of an `align` run: who finds whom, a few queries with what they find, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.core.shown import many
from polymodal.metrics.random_order import NOT_ABOVE
from polymodal.report.doctor_chart import doctor
from polymodal.report.page import cards, page
from polymodal.report.sections import model, run
from polymodal.report.wording import clean, count, duration, is_number, joined, plain, share, signed

COLUMNS = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "map": "mAP", "median_rank": "median rank"}


def render(metrics: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], curve: Mapping[str, list[float]]) -> str:
    """The page as one HTML string.

    `metrics` is the content of `metrics.json`; `curve` has `epoch`, `loss` and `valid`. `shown`: a dict a way, with
    `query` and `corpus` (streams) and `queries`: dicts of `id`, `rank` (of the first that belongs to it), `cells` and
    `found`, whose dicts have `id`, `right`, `score` and `cells` (see `evaluate.media.cell_card`). `doctor` in
    `metrics`, the alignment doctor's diagnosis, is shown where it is given.
    """
    ways = [_way(values, metrics["evidence"][way]) for way, values in metrics["test"].items()]
    curves = [{"name": metrics["method"], "stage": "align", "train": curve["loss"], **curve}] if curve["epoch"] else []
    return page(
        "align.html.j2",
        title=" ↔ ".join(clean(name) for name in metrics["streams"]),
        what="alignment",
        how=f", by {clean(metrics['method'])}, towers {metrics['towers']}",
        headline=_headline(metrics),
        sentences=_sentences(metrics),
        columns=list(COLUMNS.values()),
        ways=ways,
        doctor=_doctor(metrics.get("doctor")),
        matching=_matching(metrics.get("matching")),
        shown=[_shown(way) for way in shown],
        training=model.training({"curves": curves, "primary": "recall"}) if curves else None,
        notes=metrics["notes"],
        facts=_facts(metrics),
    )


def matching_words(ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the matching model is good for, a sentence a way; `ways` is that of `matching` in `metrics`."""
    said = {
        "helps": "It helps.",
        "harms": "It harms: search without it.",
        "open": "No difference from the order by cosine that this test can show.",
    }
    sentences = []
    for way in ways.values():
        query, corpus = map(clean, way["streams"])
        before, after = (share(way["recall@1"][part]["mean"]) for part in ("before", "after"))
        gain = way["recall@1"]["gain"]
        ends = f" ({_signed(gain['low'])} to {_signed(gain['high'])})" if is_number(gain["low"]) else ""
        sentences.append(
            f"{query} → {corpus}, the first {count(way['candidates'])} of {count(way['corpus'])} put in order by the "
            f"matching model: R@1 {before} to {after}, {_signed(gain['difference'])}{ends} points over "
            f"{_queries(way['queries'])}. {said[way['verdict']]}"
        )
    return sentences


def _matching(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A row a way and kind of wrong pair: AUC by the model and by cosine; and what was gained in search, in words."""
    if not given:
        return None
    kinds = {"hard": "the nearest stranger", "random": "any stranger"}
    rows = []
    for way in given["ways"].values():
        for kind, wrong in kinds.items():
            cells = []
            for name in ("matching", "cosine", "gain"):
                one = way["auc"][kind][name]
                told = signed if name == "gain" else plain
                mean = one["difference" if name == "gain" else "mean"]
                ends = f"{told(one['low'], 3)} – {told(one['high'], 3)}" if is_number(one["low"]) else "cannot be told"
                cells.append({"text": told(mean, 3), "interval": ends})
            query, corpus = map(clean, way["streams"])
            rows.append({"query": query, "corpus": corpus, "wrong": wrong, "cells": cells})
    return {"rows": rows, "sentences": matching_words(given["ways"])}


def _signed(value: float) -> str:
    return signed(100 * value, 1)


def _doctor(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Verdict, reasons and advice."""
    if not given:
        return None
    words = {"go": "These streams can be aligned.", "doubtful": "Something connects these streams, but little.",
             "no-go": "As they are, these streams cannot be aligned."}  # fmt: skip
    verdict = words.get(given["verdict"], given["verdict"])
    return {"verdict": verdict, "reasons": given["reasons"], "advice": given["advice"], "chart": doctor(given),
            "narrow": doctor(given, narrow=True)}  # fmt: skip


def _way(values: Mapping[str, Mapping[str, float]], evidence: Mapping[str, Any]) -> dict[str, Any]:
    query, corpus = map(clean, evidence["streams"])
    cells = []
    for name in COLUMNS:
        text, low, high, chance = (
            plain(values[name][part], 1) if name == "median_rank" else share(values[name][part])
            for part in ("mean", "low", "high", "chance")
        )
        cells.append(
            {"text": text, "value": values[name]["mean"], "interval": f"{low} – {high}", "chance": f"chance {chance}"}
        )
    asked = f"{_queries(evidence['queries'])} among {count(evidence['corpus'])}"
    return {"query": query, "corpus": corpus, "asked": asked, "cells": cells}


def _queries(number: int) -> str:
    return many(number, "query", "queries")


def _headline(metrics: Mapping[str, Any]) -> str:
    """What the first way found that found more than chance, or that none did."""
    for way, e in metrics["evidence"].items():
        if e["verdict"] == "above":
            query, corpus = map(clean, e["streams"])
            first = "first" if e["k"] == 1 else f"among the first {e['k']}"
            found = metrics["test"][way][f"recall@{e['k']}"]["mean"]
            return (
                f"{share(found)} of {query} queries find what belongs to them {first} of {count(e['corpus'])} in "
                f"{corpus}; by chance {share(e['chance'])} would."
            )
    below = any(e["verdict"] == "below" for e in metrics["evidence"].values())
    return f"{NOT_ABOVE['below' if below else 'chance']}."


def _sentences(metrics: Mapping[str, Any]) -> list[str]:
    rows, evidence = metrics["rows"], metrics["evidence"]
    mixed = len({e["verdict"] for e in evidence.values()}) > 1  # else the headline says it of all
    sentences, unjudged = [], []
    for way, e in evidence.items():
        unsaid = f" {NOT_ABOVE[e['verdict']]}." if mixed and e["verdict"] != "above" else ""
        sentences.append(_against_chance(metrics["test"][way][f"recall@{e['k']}"], e) + unsaid)
        if e["unjudged"]:
            query, corpus = map(clean, e["streams"])
            they = "it does" if e["unjudged"] == 1 else "they do"
            unjudged.append(f"To {_queries(e['unjudged'])} of {query} nothing in {corpus} belongs: {they} not count.")
    learned = f"Learned from {count(rows['train'])} rows, chosen by {count(rows['valid'])}"
    return [*sentences, *unjudged, f"{learned}, and measured on {count(rows['test'])}."]


def _against_chance(recall: Mapping[str, float], e: Mapping[str, Any]) -> str:
    """A way's recall with its interval beside that of random orders."""
    query, corpus = map(clean, e["streams"])
    known = is_number(recall["low"])
    ends = f" ({share(recall['low'])} to {share(recall['high'])})" if known else ""
    lift = f", {plain(recall['mean'] / e['chance'], 1)} times chance" if e["verdict"] == "above" else ""
    return (
        f"{query} → {corpus}: R@{e['k']} {share(recall['mean'])}{ends}{lift}; by chance {share(e['chance'])} "
        f"({share(e['spread'][0])} to {share(e['spread'][1])} for {_queries(e['queries'])} in random orders)."
        f"{'' if known else ' So few cannot tell.'}"
    )


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
