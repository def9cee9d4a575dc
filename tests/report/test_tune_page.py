"""The page of a search: words begin at the left, figures end at the right."""

from __future__ import annotations

from polymodal.report.tune_page import render

TRIAL = {
    "trial": 0, "state": "complete", "score": 0.9, "ms": 1.5, "mb": 0.2, "cpu_seconds": 3.0, "parts": 5,
    "strategy": "concat", "fusion": "concat", "front": True, "why": "", "settings": {"dim": 32}, "default": True,
}  # fmt: skip
FOUND = {
    "headline": "No trial of 1 beats the default settings.", "sentences": [], "metric": "accuracy", "notes": [],
    "greater_is_better": True, "target": ["mood"], "best": 0, "default": 0, "against": None, "importance": {},
    "trials": [TRIAL], "space": {"dim": {"values": [32, 64]}}, "sampler": "tpe", "pruner": "median", "environment": {},
    "test": {"mood": {"primary": "accuracy", "test": {"accuracy": {"mean": 0.9, "low": 0.8, "high": 1.0}}}},
}  # fmt: skip


def test_columns_of_words_are_not_set_as_figures():
    page = render(FOUND)
    table = page[page.index('<table class="sortable sticky">') :]
    head, row = table[: table.index("</thead>")], table[table.index("<tbody>") : table.index("</tbody>")]
    assert '<th scope="col">State</th>' in head
    assert '<th scope="col">Settings</th>' in head
    assert '<th scope="col" class="n">ms</th>' in head
    assert '<td class="n" data-value="1.5">1.50</td>' in row
    for words in ("on the front", "dim = 32"):
        assert f'class=" quiet">{words}</td>' in row
