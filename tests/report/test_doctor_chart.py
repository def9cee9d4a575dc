"""The doctor's picture shows every direction, and is sound where there is nothing to show."""

from __future__ import annotations

import json

import torch

from polymodal.aligners.doctor import examine
from polymodal.aligners.pairs import Side
from polymodal.report.doctor_chart import doctor


def sides(count: int, width: int = 6) -> dict[str, Side]:
    hidden = torch.randn(count, 4)
    rows = torch.arange(count)[:, None]
    return {n: Side(hidden @ torch.randn(4, width), rows) for n in ("photo", "<text>")}


def test_before_and_after_in_both_directions():
    given = sides(120)
    found = json.loads(json.dumps(examine(given, given).to_json()))
    picture = doctor(found)
    assert picture.startswith("<svg")
    for words in (
        "photo finds &lt;text&gt; in 1 of 24",
        "&lt;text&gt; finds photo in 1 of 24",
        "linear map",
        "chance 4",
        "×24.0",
    ):
        assert words in picture
        assert words in doctor(found, narrow=True)
    assert "<text>" not in picture.replace("<text ", "")
    assert "shared space 1" not in doctor({**found, "after": None})


def test_too_few_pairs_draw_an_empty_chart():
    assert doctor(examine(sides(10)).to_json()).startswith("<svg")
