"""Pictures of explanations: what is strong is seen, what is the user's is escaped, what cannot be drawn is refused."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from polymodal.core.errors import BadArgument, BadData
from polymodal.explanation.draw import highlighted, saliency, waveform, worth_bars, write_explanation
from polymodal.report.cards import cell_card


def test_bars_are_ordered_by_strength_and_coloured_by_side():
    svg = worth_bars({"a": 0.1, "b": -2.0, "c": 0.5}, unit="log-probability", missing=["a"])
    assert re.findall(r"<text[^>]*>([abc][^<]*)</text>", svg) == ["b", "c", "a (not given)"]
    assert svg.count("fill: var(--against)") == 1
    assert svg.count("fill: var(--for)") == 2
    assert "b −2.000" in svg


def test_saliency_keeps_the_bright_part_and_dims_the_rest():
    image = np.full((40, 60, 3), (200, 40, 40), np.uint8)
    weights = np.zeros((4, 6))
    weights[:, :2] = 1.0
    uri = saliency(image, weights)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"), float)
    assert np.allclose(shown[20, 5], (200, 40, 40), atol=12)
    assert shown[20, 55].max() < 70
    assert np.ptp(shown[20, 55]) < 12
    assert saliency(image[..., 0], np.zeros((2, 2))).startswith("data:image/")
    with pytest.raises(BadArgument, match="0 or more"):
        saliency(image, -weights)


def test_spans_are_marked_by_strength_and_side_and_escaped():
    html = highlighted("<b>good</b> & bad", [(3, 7), (14, 17), (0, 3)], [1.0, -0.5, 0.001])
    assert '<mark class="for" style="--w:1.00">good</mark>' in html
    assert '<mark class="against" style="--w:0.50">bad</mark>' in html
    assert "&lt;b&gt;" in html
    assert re.sub(r"<[^>]*>", "", html) == "&lt;b&gt;good&lt;/b&gt; &amp; bad"
    assert highlighted("nothing marked", [], []) == '<blockquote dir="auto">nothing marked</blockquote>'


@pytest.mark.parametrize(
    ("spans", "weights", "words"),
    [([(0, 4), (3, 6)], [1, 1], "overlaps"), ([(0, 99)], [1], "leaves the text"), ([(0, 1)], [], "needs a weight")],
)
def test_impossible_spans_are_refused(spans, weights, words):
    with pytest.raises(BadArgument, match=words):
        highlighted("some text", spans, weights)


def test_waveform_shades_spans_by_weight():
    samples = np.sin(np.linspace(0, 60, 8000))
    svg = waveform(samples, 8000, np.array([[0.0, 0.5], [0.5, 1.0]]), np.array([0.5, -1.0]))
    assert re.search(r"fill: var\(--for\); opacity: 0.2", svg)
    assert re.search(r"fill: var\(--against\); opacity: 0.45", svg)
    assert "strongest from 0.50 to 1.00 s" in svg
    assert waveform(samples[:1], 1, np.zeros((0, 2)), np.zeros(0)).startswith("<svg")
    with pytest.raises(BadArgument, match=r"spans \[T, 2\]"):
        waveform(samples, 8000, np.zeros((3, 2)), np.zeros(2))


def test_page_holds_everything_and_escapes_it(tmp_path):
    review = cell_card("review", {"kind": "text", "text": "so good"})
    rows = [
        {"id": "<i>7</i>", "target": "label<script>", "answer": "<b>cat</b>", "probability": 0.9,
         "unit": "log-probability", "worth": {"photo<x>": 0.4, "review": -0.2}, "missing": ["photo<x>"],
         "cells": [{**review, "drawing": highlighted("so good", [(3, 7)], [1.0])}, cell_card("photo<x>", None)]}
    ]  # fmt: skip
    html = write_explanation(rows, tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert "http:" not in html
    assert html.count("<script>") == 1
    assert "&lt;b&gt;cat" in html
    assert "90 % sure" in html
    assert '<mark class="for" style="--w:1.00">good</mark>' in html
    assert "<x>" not in html
    assert "<i>7" not in html


def test_a_drawing_that_came_as_plain_text_is_not_trusted(tmp_path):
    row = {"id": "1", "target": "y", "answer": 1.5, "unit": "y", "worth": {"a": 1.0},
           "cells": [{"stream": "a", "kind": "text", "drawing": "<script>x</script>"}]}  # fmt: skip
    assert "&lt;script&gt;x" in write_explanation([row], tmp_path / "p.html").read_text(encoding="utf-8")


def test_without_rows_there_is_nothing_to_write(tmp_path):
    with pytest.raises(BadData, match="no row"):
        write_explanation([], tmp_path / "p.html")
