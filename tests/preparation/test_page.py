"""The report of a preparation: what changed is marked, reasons alike count together, the page needs no other file."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from polymodal.preparation.compare import AROUND, LONGEST, marked
from polymodal.preparation.run import prepare
from polymodal.report.cards import span_of, trace


def plain(html: str, tag: str) -> str:
    """A side of a short comparison without its marks."""
    return re.sub(rf"</?{tag}( class=\"blank\")?>", "", html)


def test_what_went_and_what_came_is_marked():
    before, after = marked("The cafÃ© is <b>open", "The café is open")
    assert before == "The <del>cafÃ©</del> is <del>&lt;b&gt;</del>open"
    assert after == "The <ins>café</ins> is open"


def test_white_space_that_went_is_drawn():
    assert marked("a  b ", "a b") == ('a <del class="blank">·</del>b<del class="blank">·</del>', "a b")
    assert "↵" in marked("a b", "a\nb")[1]


WORDS = st.text(st.sampled_from("ab. "), max_size=30)


@given(WORDS, WORDS)
@settings(max_examples=200, deadline=None)
def test_without_its_marks_a_short_text_is_the_text(one, two):
    before, after = marked(one, two)
    assert plain(str(before), "del").replace("·", " ") == one
    assert plain(str(after), "ins").replace("·", " ") == two


def test_a_long_text_shows_its_differences_and_what_stands_beside_them():
    words = [f"word{i}" for i in range(1500)]
    changed = [*words[:700], "other", *words[701:]]
    before, after = marked(" ".join(words), " ".join(changed))
    assert "word699 <del>word700</del> word701" in before
    assert "word699 <ins>other</ins> word701" in after
    assert max(len(before), len(after)) < 4 * AROUND + 100
    assert "word100" not in re.findall(r"word\d+", before)


def test_a_very_long_text_of_which_nothing_agrees_is_soon_compared():
    started = time.perf_counter()
    before, after = marked("ab " * 400_000, "cd " * 400_000)
    assert time.perf_counter() - started < 5
    assert "more characters" in before
    assert len(before) + len(after) < LONGEST


def test_series_before_and_after_are_drawn_on_one_scale():
    steep, flat = np.linspace(0, 40, 50), np.full(50, 20.0)
    both = span_of([steep, flat, np.array([np.nan])])
    assert both == (0, 40)
    assert trace(steep, span=both) == trace(steep)
    assert trace(flat, span=both) != trace(flat)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[str, dict]:
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    lines = ["id,photo,speech,ecg,words,price\n"]
    for i in range(24):
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)).save(folder / f"{i}.png")
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.normal(size=16_000 * 10), 16_000)
        np.save(folder / f"{i}.npy", np.sin(np.arange(200) / 5) + np.linspace(0, 30, 200))
        price = -5 - i if i < 6 else 100 + i
        lines.append(f"r{i},{i}.png,{i}.wav,{i}.npy,a  text of <i>row</i> number {i},{price}\n")
    (folder / "shop.csv").write_text("".join(lines))
    recipe = [
        "spaces",
        "markup",
        {"range": {"columns": "price", "least": 0}},
        "drift",
        "flip",
        "volume",
    ]
    done = prepare(
        folder / "shop.csv", recipe, out=folder / "out", schema={"fields": {"ecg": "series"}}, workers=0, quiet=True
    )
    return (Path(done.folder) / "report.html").read_text(encoding="utf-8"), dict(done.report)


def test_reasons_that_differ_in_a_number_count_together(report):
    page, told = report
    assert told["reasons"] == [{"op": "range", "reason": "price: is -5, below 0", "row": "r0", "rows": 6}]
    assert "price: is -5, below 0" in page


def test_every_step_that_changed_something_shows_it(report):
    page, _ = report
    for number, name in ((1, "spaces"), (2, "markup"), (4, "drift"), (5, "flip"), (6, "volume")):
        assert f'id="step-{number}"' in page
        assert f'href="#step-{number}">{name}</a>' in page
    assert "30 × 40, RGB" in page
    assert "10.00 s at 16,000 Hz" in page
    assert "the first 8 s" in page
    assert "<del>&lt;i&gt;</del>row<del>&lt;/i&gt;</del>" in page
    assert "6 steps on <b>shop</b>, into <b>out</b>" in page


def test_the_page_needs_nothing_from_elsewhere(report):
    page, _ = report
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "://" not in re.sub(r"data:[^\"]*", "", page)
