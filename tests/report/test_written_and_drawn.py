"""The report of answers in words and of pictures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_report import Page

from polymodal.core.errors import BadData
from polymodal.report.cards import cell_card, picture
from polymodal.report.report import render

BARE = {"target": "says", "kind": "text", "task": "an answer in words", "primary": "bleu"}
GREY = np.full((8, 8), 90, np.uint8)
PHOTO = cell_card("photo", {"kind": "image", "array": GREY})
FACTS = cell_card("table", {"kind": "table", "values": {"amount": 1.5}})
BEST = {"id": "r1", "truth": "a dog", "prediction": "a dog", "cells": [PHOTO, FACTS]}
WORDS = {
    "rows": 40, "distinct": 0.5, "length": 4.0, "symbols": "words", "copied": {"mean": 0.25, "low": 0.1, "high": 0.4},
    "invented": {"mean": 0.1, "low": 0.05, "high": 0.2, "most": {"dog": 3, "<cat>": 1}}, "best": [BEST],
}  # fmt: skip


def told(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html[html.index('id="words"') :]).split())


def test_a_model_as_it_is_and_what_is_copied_are_no_fusions():
    scores = {"test_mean": 0.5, "test_low": 0.4, "test_high": 0.6}
    board = [{"strategy": name, "level": level, "streams": ["photo"], **scores} for name, level in
             (("blip", "pretrained"), ("consensus", "baseline"), ("photo alone", "single"))]  # fmt: skip
    html = render({**BARE, "leaderboard": board})
    assert "dot fusion" not in html
    assert html.count('class="mark diamond chance"') == 3  # in the legend, and before each of the two
    assert "for comparison" in html


def test_words_are_told_with_novelty_inventions_and_best_rows_beside_their_pictures():
    html = render({**BARE, "words": WORDS, "mistakes": [{**BEST, "id": "r2", "prediction": "a cat"}]})
    page = Page(html)
    assert page.sections == ["words", "mistakes"]
    assert page.links == ["#words", "#mistakes"]
    said = told(html)
    assert "25 % (95% interval 10 % to 40 %) are answers of the training rows, word for word." in said
    assert "10 % (95% interval 5 % to 20 %) name an object that no reference names: dog (3), &lt;cat&gt; (1)." in said
    assert "Least like what was said" in said
    assert [one["alt"] for one in page.pictures] == ["photo of row r1", "photo of row r2"]
    best, worst = html.split('id="mistakes"')
    assert '<b class="plain">a dog</b>' in best
    assert "<b>a cat</b>" in worst


def test_the_table_of_a_row_is_not_set_as_the_glossary():
    html = render({**BARE, "words": WORDS})
    assert html.count('id="words"') == 1
    assert "#words dl" not in html


def test_why_nobody_looked_for_inventions_is_said():
    less = {name: value for name, value in WORDS.items() if name != "invented"}
    said = told(render({**BARE, "words": {**less, "not_looked": "install polymodal[language]"}}))
    assert "Objects that no reference names were not looked for: install polymodal[language]" in said


EACH = [{"stream": name, "kind": "image", "image": picture(GREY)} for name in ("drawn", "true", "nearest")]
DRAWN = {"id": "d1", "noun": "picture", "each": EACH[:2], "cells": [FACTS]}


@pytest.mark.parametrize(("near", "copies"), [(0.2, True), (1.3, False)])
def test_drawn_pictures_stand_beside_true_ones_and_the_nearest_of_training(near, copies):
    row = {**DRAWN, "each": EACH, "near": near, "copied": near < 0.5}
    html = render({**BARE, "drawings": [row]})
    page = Page(html)
    assert page.sections == ["drawings"]
    assert [one["alt"] for one in page.pictures] == ["drawn, row d1", "true, row d1", "nearest, row d1"]
    assert ("a copy" in html.split('class="trio"')[1]) == copies
    assert ('class="photo small copy"' in html) == copies
    assert f"{'1 of 1' if copies else 'none'} here." in html


def test_without_training_pictures_there_is_no_nearest():
    page = Page(render({**BARE, "drawings": [DRAWN]}))
    assert [one["alt"] for one in page.pictures] == ["drawn, row d1", "true, row d1"]


def test_a_picture_that_is_no_data_is_refused():
    with pytest.raises(BadData, match="begins with 'http://elsewhere'"):
        render({**BARE, "drawings": [{**DRAWN, "each": [{**EACH[0], "image": "http://elsewhere"}]}]})
