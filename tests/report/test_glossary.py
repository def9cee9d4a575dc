"""What the pages say of their own words, and notes that stand under their rows."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from fake_evaluation import fake

from polymodal.report import glossary
from polymodal.report.glossary import meaning
from polymodal.report.report import render


def test_a_note_has_a_line_of_its_own_under_its_row():
    rows = [{**row, "note": "greedy blend of a, b"} if row["strategy"] == "chance" else {**row, "note": ""}
            for row in fake()["leaderboard"]]  # fmt: skip
    html = render({**fake(), "leaderboard": rows})
    (note,) = re.findall(r'<tr class="note"><td colspan="(\d+)"><p>(.*?)</p>', html)
    assert note == ("10", "greedy blend of a, b")
    assert html.index("greedy blend") > html.index('title="chance"')


def test_terms_say_what_they_mean_and_are_listed_at_the_end():
    html = render({**fake(), "about": {"concat": 'Side by side, "one" <map>.'}})
    used = set(re.findall(r'<span class="tip"[^>]*>([^<]*)</span>', html))
    assert {"Validation", "95 % interval", "Own model", "Points apart"} <= used
    listed = set(re.findall(r"<dt>([^<]*)</dt><dd>", html[html.index('id="terms"') :]))
    assert {term for term in used if meaning(unescape(term))} == listed
    assert 'title="concat: Side by side, &#34;one&#34; &lt;map&gt;."' in html


def test_every_term_of_the_templates_has_a_meaning():
    templates = Path(glossary.__file__).parent / "templates"
    terms = {t for path in templates.glob("*.j2") for t in re.findall(r'\{\{ "([^"]+)" \| tip', path.read_text())}
    assert len(terms) > 20
    assert not [term for term in terms if not meaning(term)]


def test_metrics_and_recalls_have_a_meaning():
    for term in ("R² on test", "accuracy", "R@5", "log loss"):
        assert meaning(term), term
    assert not meaning("a column of the user's")
