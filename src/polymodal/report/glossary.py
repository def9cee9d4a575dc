"""What the words of the pages mean, a sentence each: shown where a pointer or a finger rests, listed at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from polymodal.metrics import METRICS

TERMS: Mapping[str, str] = {
    # the leaderboard
    "Strategy": "One way to answer: a single modality, a fusion, a late rule, or an ensemble.",
    "Streams": "The modalities that it reads.",
    "Level": "Where the modalities meet: in their features, in their decisions, in both, or not at all.",
    "Metric": "What the answers are judged by.",
    "Validation": "The score on rows that it did not see, but the test rows; the choice looks at this one alone.",
    "On validation": "The score on rows that it did not see, but the test rows; the choice looks at this alone.",
    "Test": "The score on test rows, over seeds the mean. These rows are read once, after everything is chosen.",
    "95 % interval": "Where the score would lie in 95 of 100 such samples of rows; by resampling the test rows.",
    "Seeds": "How many times it was trained, each time from another random start.",
    "Models": "How many models it is: one a part of the rows, trained on all other rows; they answer together.",
    "Fit": "Seconds of training, its encoders not included.",
    "ms a row": "Milliseconds to answer a row once its cells are encoded and read.",
    "Parameters": "Numbers that were learned.",
    "gain on best single": "How much better the chosen answer is than the best single modality, on the same test rows.",
    "gain on concat": "How much better the chosen answer is than plain concatenation, on the same test rows.",
    "calibration error": "By how much confidence and being right differ, on average (expected calibration error).",
    "strategies compared": "Rows of the leaderboard: fusions, single modalities, and what chance gives.",
    "single": "One modality, with nothing beside it.",
    "ensemble": "A blend of fusions, chosen greedily by rows that they did not see (Caruana et al. 2004).",
    "baseline": "There to be beaten: answers copied from training rows, or given without a look at the row.",
    "pretrained": "A model from elsewhere as it is, asked for the same rows: it is neither trained nor deployed here.",
    "chance": "The answer of someone who knows how often each answer comes and sees nothing of the row.",
    # worth and balance
    "Worth of each modality": "The score's gain when it joins, averaged over all orders of joining (Shapley value).",
    "Pairs": "Two modalities that together give more than the sum (synergy) or less (redundancy).",
    "Interaction": "The gain of both together, less the gains of each, averaged over the others (Shapley interaction).",
    "Modality": "One stream of the table: a picture, a text, a sound, a record of numbers.",
    "Own model": "The score of the model that was trained on this modality alone.",
    "Inside": "The score of the fusion when this modality alone is given to it.",
    "Gap": "Inside less own model: below 0, the fusion learned less of the modality than there was to learn.",
    "Difference": "Against training without an objective, on the same test rows and seeds.",
    "p, Holm": "How often chance alone gives such a difference, corrected for the number of comparisons (Holm 1979).",
    "Trained by": "The objective that was added so that no modality is neglected.",
    "Given": "The modalities that were shown; the others were taken away.",
    "Size": "How many modalities were shown.",
    # encodings
    "Encoding": "How cells become numbers: by formula, by a network trained on these rows, or elsewhere.",
    "Fitted by": "The shallow learners that were chosen, with their shares, or gradients.",
    "Loss": "How wrong the encoding's own answers are on rows it had not seen; less is better.",
    "CPU": "Seconds of one core, every part of the cross-fitting included.",
    "Outcome": "Whether the modality keeps it, and why not.",
    # confidence and mistakes
    "Confidence": "The probability that the model gives its answer.",
    "Right": "The share of answers of such confidence that were right.",
    "Points apart": "Right less confidence, in percentage points.",
    "Of the class": "The share of the true class's rows that were taken for the other.",
    "Found": "The share of the class's rows that were recognised (recall).",
    "Residuals": "Answer less truth.",
    # data and preparing
    "Kind": "What the cells were taken for.",
    "Why": "What in the cells or in the column's name spoke for it.",
    "Missing": "Empty cells: they are masked, never filled with something else.",
    "Broken": "Cells that could not be used: masked too, and listed in set_aside.jsonl.",
    "step": "One step of the recipe.",
    "set aside": "Rows or cells kept apart with their reason; nothing is deleted.",
    "rows seen": "Rows that reached this step.",
    "cells set aside": "Cells taken out alone; their rows stay.",
    # alignment and search
    "MRR": "The mean of 1 / rank of the first right one (mean reciprocal rank).",
    "median rank": "In half of the queries the first right one is at this place or before.",
}  # fmt: skip
RECALL = re.compile(r"(R|recall|Recall)@(\d+)")


def meaning(term: str) -> str:
    """The sentence for a term, a metric's name among them; empty where there is none."""
    bare = term.removesuffix(" on test").removesuffix(", test")
    if bare in TERMS:
        return TERMS[bare]
    if asked := RECALL.fullmatch(bare):
        return f"The share of queries with something that belongs to them among the first {asked[2]}."
    return _metrics().get(bare, "")


def tip(term: str, said: str = "") -> Markup:
    """The term as HTML, with its meaning (or what is `said`) where a pointer or the focus is; plain if it has none."""
    if not (said := said or meaning(term)):
        return escape(term)
    return Markup('<span class="tip" tabindex="0" title="{}">{}</span>').format(said, term)


def words(html: str) -> list[tuple[str, str]]:
    """The terms that a page shows with their meanings, by the alphabet, for its last section."""
    used = {Markup(term).unescape() for term in re.findall(r'<span class="tip"[^>]*>([^<]*)</span>', html)}
    return sorted(((term, said) for term in used if (said := meaning(term))), key=lambda one: one[0].lower())


def _metrics() -> dict[str, str]:
    """Summaries of the catalogued metrics by the name that pages give them."""
    found = {}
    for name in METRICS:
        title = METRICS.load(name).title or name.replace("_", " ")  # type: ignore[attr-defined]
        found[title] = METRICS.entry(name).summary
    return found
