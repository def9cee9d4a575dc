"""The report: complete, self-contained, escaped, deterministic, and sound at the edges."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_evaluation import fake, shown
from PIL import Image

from polymodal.core.errors import BadArgument, BadData
from polymodal.report import cards as media
from polymodal.report import charts, diagnostics
from polymodal.report.report import render, write_report
from polymodal.report.wording import compact, duration, plain, share, shorten, shorten_all, signed, text_width

VOID = {"meta", "img", "br", "hr", "input", "link"}
NASTY = "<script>alert('x')</script> & \"quoted\" $5 $x^2$"


class Page(HTMLParser):
    """Collects what the tests ask of a page, and fails on tags that do not close in order."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.pictures: list[dict[str, str | None]] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs), f"an attribute twice on <{tag}>"
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, given)

    def handle_startendtag(self, tag, attrs):
        self._note(tag, dict(attrs))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of order"

    def _note(self, tag, given):
        self.addresses += [given[k] for k in ("src", "href", "xlink:href", "action", "poster") if given.get(k)]
        self.scripts += tag == "script"
        if given.get("id"):
            self.ids.append(given["id"])
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag in ("svg", "img", "audio"):
            self.pictures.append({"tag": tag, **given})


def without_media(html: str) -> str:
    return re.sub(r"data:[a-z]+/[^\"]*", "", html)


@pytest.fixture(scope="module")
def pages():
    """Every edge that the report must survive, rendered once: name -> html."""
    long = tuple(f"a rather long class name number {i} of the catalogue" for i in range(12))
    wide = ("product_photograph_front_view", "customer_voice_message", "心電圖", "weitere_Produkteigenschaften")
    cases = {
        "usual": fake(),
        "long": fake(labels=long, names=wide, helped=None, mistakes=2),
        "many": fake(classes=100, strategies=30, streams=10, helped=False, mistakes=1),
        "one": fake(streams=1, strategies=2, classes=2, helped=None, mistakes=1),
        "number": fake("number", streams=3, mistakes=2),
        "multilabel": fake("multilabel", streams=2, classes=6, mistakes=2),
    }
    return {name: render(json.loads(json.dumps(case))) for name, case in cases.items()}


@pytest.fixture(scope="module")
def parsed(pages):
    """The same pages, parsed."""
    return {name: Page(html) for name, html in pages.items()}


def test_sections_come_in_the_promised_order(parsed):
    assert parsed["usual"].sections == [
        "verdict", "leaderboard", "worth", "balance", "subsets", "noise", "calibration", "confusion", "encodings",
        "training", "mistakes", "data", "run", "terms",
    ]  # fmt: skip
    assert "residuals" in parsed["number"].sections
    assert "confusion" not in parsed["number"].sections


@pytest.mark.parametrize("name", ["usual", "long", "many", "one", "number", "multilabel"])
def test_page_is_self_contained_sound_and_small(pages, parsed, name):
    html = pages[name]
    page = parsed[name]
    assert all(a.startswith(("data:image/", "data:audio/", "#")) for a in page.addresses)
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert len(without_media(html)) < 600_000
    assert [link[1:] for link in page.links if link[1:] not in page.sections] == []
    assert page.scripts == 1
    assert "nan" not in re.sub(r"<[^>]*>", " ", html).lower().split()


@pytest.mark.parametrize("name", ["usual", "many", "number"])
def test_ids_are_unique_and_references_lead_somewhere(pages, parsed, name):
    ids = parsed[name].ids
    assert sorted(set(ids)) == sorted(ids)
    used = set(re.findall(r"url\(#([^)]+)\)", pages[name])) | set(re.findall(r'<use href="#([^"]+)"', pages[name]))
    assert used
    assert used <= set(ids)


def test_every_picture_has_words(parsed):
    for page in parsed.values():
        for picture in page.pictures:
            assert picture.get("aria-label") or picture.get("alt"), picture["tag"]


def test_every_figure_has_a_caption(pages):
    for html in pages.values():
        assert html.count("<figure") == html.count("<figcaption>") > 0


def test_colours_come_from_the_page_so_that_dark_works(pages):
    charts_only = "".join(re.findall(r"<svg.*?</svg>", pages["usual"], flags=re.DOTALL))
    assert not re.search(r"(fill|stroke): #", charts_only)
    defined = set(re.findall(r"(--[a-z]+):", pages["usual"]))
    assert set(re.findall(r"var\((--[a-z]+)\)", charts_only)) <= defined
    assert "prefers-color-scheme: dark" in pages["usual"]


BARE = {"target": "label", "kind": "classes", "primary": "accuracy"}


def only(*keys: str, **options) -> dict:
    """A made-up evaluation with nothing but `keys` and what every report needs."""
    whole = fake(mistakes=1, **options)
    return {**BARE, **{key: whole[key] for key in keys}}


def test_same_input_same_bytes(tmp_path):
    first = write_report(only("leaderboard", "worth", "mistakes"), tmp_path / "a" / "report.html")
    second = write_report(only("leaderboard", "worth", "mistakes"), tmp_path / "b.html")
    assert first == tmp_path / "a" / "report.html"
    assert first.read_bytes() == second.read_bytes()


def test_a_users_matplotlib_settings_change_nothing():
    import matplotlib

    before = render(only("leaderboard", "calibration"))
    with matplotlib.rc_context({"axes.grid": True, "savefig.bbox": "tight", "text.color": "red", "font.size": 20}):
        assert render(only("leaderboard", "calibration")) == before


@pytest.mark.parametrize(
    ("key", "section"),
    [("verdict", "verdict"), ("leaderboard", "leaderboard"), ("worth", "worth"), ("balance", "balance"),
     ("subsets", "subsets"), ("noise", "noise"), ("calibration", "calibration"), ("confusion", "confusion"),
     ("encodings", "encodings"), ("curves", "training"), ("mistakes", "mistakes"), ("data", "data"),
     ("timings", "run"), ("environment", "run"), ("command", "run")],
)  # fmt: skip
def test_a_section_needs_its_input_and_nothing_else(key, section):
    page = Page(render(only(key)))
    assert [name for name in page.sections if name != "terms"] == [section]
    assert page.links == [f"#{section}"] * (section != "verdict")


def test_without_input_there_is_no_section():
    page = Page(render(BARE))
    assert page.sections == []
    assert page.links == []


@pytest.mark.parametrize(("helped", "tone"), [(True, "good"), (None, "unsure"), (False, "bad")])
def test_verdict_has_its_tone(helped, tone):
    html = render(only("verdict", helped=helped))
    assert f'class="verdict {tone}"' in html
    assert fake(helped=helped)["verdict"]["headline"] in html


def test_without_a_comparison_nothing_is_said_of_fusion():
    html = render({**BARE, "verdict": {"headline": "Nothing was compared.", "helped": None}})
    assert 'class="verdict plain"' in html
    assert "Too close to tell" not in html


def test_a_run_given_twice_is_drawn_once():
    run = {"name": "a", "stage": "strategy", "epoch": [1, 2], "train": [0.5, 0.4], "valid": [0.7, 0.8]}
    assert render({**BARE, "curves": [run, dict(run)]}) == render({**BARE, "curves": [run]})


def test_learning_curves_say_who_would_gain_from_more_rows():
    evaluation = fake(streams=3)
    page = render(evaluation)
    first, *others = evaluation["encodings"]
    assert "Would more rows help?" in page
    assert f"{first} 0.080 ± 0.024" in page
    assert f"More rows would likely help, {first} most. Of {', '.join(others)} no gain shows." in page
    assert "validation rows beside" not in page
    page = render({**evaluation, "refitted": {"train": 3000, "valid": 600}})
    assert (
        f"the 600 validation rows beside the 3,000 training rows is, by this slope, worth {0.08 * np.log2(1.2):.3f}"
        in page
    )
    for rungs in evaluation["encodings"].values():
        rungs[0]["curves"]["label"]["gain"] = 0.001
    assert "more rows of this kind promise little" in render(evaluation)
    for rungs in evaluation["encodings"].values():
        rungs[0]["curves"] = {}
    page = render(evaluation)
    assert "Would more rows help?" not in page
    assert "How each modality is encoded" in page


def test_chosen_strategy_is_marked_and_the_table_has_all_columns(pages):
    assert pages["usual"].count('<tr class="chosen">') == 1
    for title in ("Strategy", "Streams", "Level", "Validation", "Test", "95 % interval", "Seeds", "Fit", "ms a row",
                  "Parameters"):  # fmt: skip
        assert f">{title}</span></th>" in pages["usual"]


def test_user_content_is_escaped_everywhere():
    evil = fake(names=(NASTY, "speech"), labels=(NASTY, "b", "c"), mistakes=1)
    evil["target"] = evil["command"] = NASTY
    evil["verdict"] |= {"headline": NASTY, "sentences": [NASTY]}
    evil["verdict"]["against_single"]["name"] = NASTY
    evil["leaderboard"][0] |= {"strategy": NASTY, "note": NASTY}
    evil["chosen"] = NASTY
    evil["data"]["warnings"] = [NASTY]
    evil["data"]["fields"][0] |= {"why": NASTY, "kind": NASTY}
    evil["environment"] = {NASTY: NASTY}
    evil["timings"][0]["what"] = NASTY
    evil["curves"][0]["stage"] = NASTY
    evil["mistakes"][0] |= {"id": f'{NASTY}".png', "truth": NASTY}
    evil["mistakes"][0]["cells"] += [
        media.cell_card(NASTY, {"kind": "text", "text": NASTY}),
        media.cell_card("facts", {"kind": "table", "values": {NASTY: NASTY}}),
        media.cell_card("gone", {"kind": "missing", "reason": NASTY}),
    ]
    html = render(evil)
    assert Page(html).scripts == 1
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert") > 20
    assert 'onerror="' not in html


def test_only_our_script_may_run(pages):
    import hashlib

    script = re.search(r"<script>(.*?)</script>", pages["usual"], flags=re.DOTALL).group(1)
    allowed = re.search(r"script-src 'sha256-([^']+)'", pages["usual"]).group(1)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed


def test_media_that_is_not_held_by_the_page_is_refused():
    one = fake(mistakes=1)
    one["mistakes"][0]["cells"][0]["image"] = "https://example.org/x.png"
    with pytest.raises(BadData, match=r"image of stream 'photo' in row 'test-1000'"):
        render(one)


def test_what_is_missing_or_unknown_is_named():
    with pytest.raises(BadData, match="not given: primary"):
        render({"target": "label", "kind": "classes"})
    with pytest.raises(BadData, match="'ranking' is unknown"):
        render({"target": "label", "kind": "ranking", "primary": "ndcg"})


def test_unknown_numbers_are_dashes_not_nan():
    one = fake(mistakes=0)
    for row in one["leaderboard"]:
        row |= {"test_low": None, "test_high": float("nan"), "predict_ms": None}
    one["leaderboard"][3]["test_mean"] = float("nan")
    one["subsets"][0] |= {"low": None, "high": None}
    one["noise"][0] |= {"low": [None] * 5, "high": [None] * 5}
    one["calibration"]["bins"][0] |= {"accuracy": float("nan"), "count": 0}
    one["curves"][0]["valid"][0] = None
    html = render(one)
    assert "nan" not in re.sub(r"<[^>]*>", " ", html).lower().split()
    assert "nan" not in "".join(re.findall(r'(?: d| x| y)="([^"]*)"', html))


def test_sizes_of_the_confusion_section(pages):
    assert "What is taken for what" in pages["usual"]
    assert "What is taken for what" not in pages["many"]
    assert "Most often missed" in pages["many"]
    assert "28 of 1023" in pages["many"]


def test_a_single_stream_has_no_subsets_and_no_pairs(pages, parsed):
    assert "subsets" not in parsed["one"].sections
    assert "How pairs interact" not in pages["one"]
    assert "Alone and without" not in pages["one"]


def test_intervals_that_held_the_truth_are_counted():
    residuals = {"truth": [1.0, 2.0, 3.0, 4.0], "prediction": [1.1, 2.1, 2.9, 9.0],
                 "low": [0.5, 1.5, 2.5, 8.0], "high": [1.5, 2.5, 3.5, 10.0]}  # fmt: skip
    html = render({"target": "y", "kind": "number", "primary": "r2", "residuals": residuals})
    assert "held the true value in 75 % of all rows" in html


def test_smaller_is_better_turns_the_leaderboard_round():
    rows = [{"strategy": n, "level": lv, "test_mean": m, "test_low": m - 1, "test_high": m + 1}
            for n, lv, m in [("a", "feature", 30.0), ("b", "feature", 20.0), ("c", "single", 25.0)]]  # fmt: skip
    html = render({"target": "y", "kind": "number", "primary": "mae", "greater_is_better": False, "leaderboard": rows})
    assert re.findall(r'<th scope=row><i class="mark [^"]*"></i><span[^>]*>(\w)<', html) == ["b", "c", "a"]
    assert "further left is better" in html


def test_a_hopeless_score_does_not_squeeze_the_others():
    rows = [{"strategy": str(i), "level": "feature", "test_mean": 0.8 + i / 100} for i in range(5)]
    assert not charts.beyond(rows, True)
    assert charts.beyond([*rows, {"strategy": "bad", "level": "chance", "test_mean": -12.0}], True)
    low = [{**r, "test_mean": -r["test_mean"]} for r in rows]
    assert charts.beyond([*low, {"strategy": "bad", "level": "chance", "test_mean": 12.0}], False)


def test_telling_subsets_keeps_singles_all_but_one_and_the_best_of_each_size():
    every = sorted(fake(streams=6, mistakes=0)["subsets"], key=lambda s: -s["mean"])
    kept = charts.telling_subsets(every, 6)
    sizes = [len(s["streams"]) for s in kept]
    assert [sizes.count(n) for n in range(1, 7)] == [6, 1, 1, 1, 6, 1]
    assert next(s for s in kept if len(s["streams"]) == 3) == next(s for s in every if len(s["streams"]) == 3)


def test_labels_of_charts_stay_text_whatever_they_hold():
    svg = diagnostics.confusion([[3, 1], [0, 4]], ["$a$ <b>", "心電圖\x00\n"])
    assert "$a$ &lt;b&gt;" in svg
    assert "心電圖" in svg
    assert "\x00" not in svg


def test_curves_of_one_epoch_are_visible():
    svg = diagnostics.training([{"name": "a", "stage": "encoder", "epoch": [1], "train": [0.5], "valid": [0.7]}])
    assert svg.count("<use ") >= 2


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_picture_is_scaled_and_takes_the_shorter_encoding():
    rng = np.random.default_rng(0)
    flat = media.picture(np.zeros((600, 900, 3), np.uint8))
    assert flat.startswith("data:image/png")
    assert Image.open(io.BytesIO(decoded(flat))).size == (320, 213)
    assert media.picture(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).startswith("data:image/jpeg")
    pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(decoded(media.picture(pixels[..., None]))))) == pixels).all()
    with pytest.raises(BadArgument, match=r"float64 \[4, 4\]"):
        media.picture(np.zeros((4, 4)))


def test_sound_is_16_bit_mono_clipped_cut_and_at_most_16_khz():
    uri = media.sound(np.array([[0.0, 0.0], [0.5, 0.5], [4.0, 4.0], [-1.0, -1.0]]), 8000)
    with wave.open(io.BytesIO(decoded(uri))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16384, 32767, -32767]
    with wave.open(io.BytesIO(decoded(media.sound(np.zeros(44100 * 20), 44100)))) as file:
        assert file.getframerate() == 16000
        assert file.getnframes() == pytest.approx(8 * 16000, abs=2)
    with pytest.raises(BadArgument, match="n > 0"):
        media.sound(np.zeros(0), 8000)


def test_spectrogram_shows_a_high_tone_above_a_low_one():
    t = np.arange(8000) / 8000
    rows = []
    for hertz in (300, 2500):
        image = Image.open(io.BytesIO(decoded(media.spectrogram(np.sin(2 * np.pi * hertz * t), 8000)))).convert("L")
        rows.append(int(np.asarray(image, float).mean(1).argmax()))
    assert rows[1] < rows[0] - 10
    assert media.spectrogram(np.zeros(5), 8000).startswith("data:image/png")


@pytest.mark.parametrize("kind", ["image", "audio", "text", "table", "series", "vector"])
def test_cell_card_of_every_kind_is_json_and_is_shown(kind):
    card = json.loads(json.dumps(media.cell_card("a stream", shown(np.random.default_rng(0), kind))))
    assert (card["stream"], card["kind"]) == ("a stream", kind)
    one = {**BARE, "mistakes": [{"id": "1", "cells": [card]}]}
    pictures = [p["tag"] for p in Page(render(one)).pictures]
    assert pictures == {"image": ["img"], "audio": ["img", "audio"], "series": ["img"], "vector": ["img"]}.get(kind, [])


def test_cell_card_says_what_it_left_out():
    assert media.cell_card("a", None) == {"stream": "a", "kind": "missing", "note": "not given"}
    long = media.cell_card("a", {"kind": "text", "text": "word " * 400})
    assert len(long["text"]) < 710
    assert long["note"] == "the first 700 of 2,000 characters"
    assert media.cell_card("a", {"kind": "audio", "array": np.zeros(90_000), "rate": 9000})["note"].endswith(
        "first 8 s"
    )
    with pytest.raises(BadArgument, match="Did you mean 'image'"):
        media.cell_card("a", {"kind": "imag"})


def test_numbers_read_well():
    assert plain(-0.12345) == "−0.123"
    assert plain(-0.0001) == "0.000"
    assert plain(1234567.8, 0) == "1,234,568"
    assert plain(None) == plain(float("inf")) == "–"
    assert signed(0.02) == "+0.020"
    assert signed(0.0) == "0.000"
    assert (share(0.9991), share(0.5), share(1.0)) == ("99.9 %", "50 %", "100 %")
    assert [duration(s) for s in (0.0123, 3.21, 45.4, 3599.9, 7260)] == [
        "12 ms", "3.2 s", "45 s", "1 h 00 min", "2 h 01 min",
    ]  # fmt: skip
    assert (compact(250_000, 0), compact(-1_500_000, 0), compact(0.5, 1)) == ("250 k", "−1.5 M", "0.5")


def test_names_are_shortened_but_stay_different():
    names = [f"a rather long class name number {i} of the catalogue" for i in range(12)]
    short = shorten_all(names, 110, 11)
    assert len(set(short)) == 12
    assert all(text_width(s, 11) <= 110 for s in short)
    assert shorten("short", 110, 11) == "short"
    assert shorten("one\n two\x07", 110, 11) == "one two"
    assert shorten_all(["same", "same"], 5, 11)[0] == shorten_all(["same", "same"], 5, 11)[1]


def test_further_metrics_stand_beside_the_one_judged_by():
    given = fake("classes")
    for place, row in enumerate(given["leaderboard"]):
        row |= {"log_loss_test": 0.4 + place / 100, "log_loss_test_low": 0.3, "log_loss_test_high": 0.6}
    given["further"] = {"log_loss": {"mean": 0.4321, "low": 0.4, "high": 0.5}}
    html = render(given)
    assert "0.400 (0.300 to 0.600)" in html
    assert "0.432" in html
    assert ">log loss" in html
    assert "0.400 (0.300 to 0.600)" not in render(fake("classes"))


def test_without_a_leaderboard_the_scores_stand_at_the_top():
    given = {"target": "y", "kind": "number", "primary": "mae", "greater_is_better": False,
             "score": {"mean": 12.5, "low": 11.0, "high": 14.0}, "further": {"cost": {"mean": 3.25}}}  # fmt: skip
    html = render(given)
    assert "MAE" in html
    assert "12.50" in html
    assert "3.250" in html


def test_an_error_is_told_as_one_where_less_is_better():
    given = {**fake("number"), "primary": "mae", "greater_is_better": False}
    given["worth"] = {**given["worth"], "unit": "mae"}
    html = render(given)
    assert "a line that stays low means" in html
    assert "How much MAE each modality takes off on average" in html
    assert "The score is minus the MAE, so that higher is better." in html
    plain_page = render(fake("number"))
    assert "a line that stays high means" in plain_page
    assert "each modality adds on average" in plain_page
