"""Cleaning across rows and modalities: planted leaks, wrong labels and mixed-up pairs are found."""

from __future__ import annotations

import numpy as np
import pytest
from ops import applied
from test_clean_audio import VOICES
from test_clean_image import PHOTOS, photo

from polymodal.core.errors import BadArgument, BadData
from polymodal.preparation.across import pairs
from polymodal.preparation.across.labels import confident, out_of_sample
from polymodal.preparation.recipe import Recipe
from polymodal.prepare.media import Media
from polymodal.prepare.rows import Row, Rows

TEXTS = [
    f"this is the {w} text of them all, and it goes on for a while" for w in ("first", "second", "third", "fourth")
]


def leaking(spec, cells, kind, parts):
    (op,) = Recipe.read([spec]).ops({"x": kind})
    wrap = kind not in ("text",)
    rows = Rows(
        [
            Row(str(i), i, {"x": Media(kind, b"", c) if wrap and not isinstance(c, Media) else c}, {"x": kind}, p)
            for i, (c, p) in enumerate(zip(cells, parts))
        ]
    )
    op.settle([op.sketch(rows)])
    op.apply(rows)
    return {one.row.number: one.reason for one in rows.refused}


def test_the_row_that_is_measured_on_stays():
    texts = [TEXTS[0], TEXTS[1], TEXTS[0].upper() + "!", TEXTS[2], TEXTS[2], TEXTS[1], TEXTS[3], TEXTS[3]]
    parts = ["train", "train", "test", "valid", "test", "valid", "train", "train"]
    aside = leaking("leaks", texts, "text", parts)
    assert aside == {
        0: "its x stands in the test rows too (row 2)",
        1: "its x stands in the valid rows too (row 5)",
        3: "its x stands in the test rows too (row 4)",
    }
    assert not leaking("leaks", texts, "text", ["train"] * 8), "duplicates within a split are no leak"
    assert not leaking({"leaks": {"shortest": 500}}, texts, "text", parts)
    close = [TEXTS[0], TEXTS[0].replace("a while", "some time")]
    assert set(leaking({"leaks": {"threshold": 0.6}}, close, "text", ["train", "test"])) == {0}
    assert not leaking({"leaks": {"threshold": 1.0}}, close, "text", ["train", "test"])


def test_leaks_of_pictures_and_sounds():
    smaller = PHOTOS[0].resize((60, 50))
    assert set(leaking("leaks", [PHOTOS[0], photo(9), smaller], "image", ["train", "train", "test"])) == {0}
    cells = [Media("audio", b"same"), Media("audio", b"other"), Media("audio", b"same")]
    assert set(leaking("leaks", cells, "audio", ["train", "train", "test"])) == {0}
    for options in ({"threshold": 0.0}, {"radius": 50}):
        with pytest.raises(BadArgument):
            leaking({"leaks": options}, TEXTS, "text", ["train"] * 4)


def planted(seed: int = 0, count: int = 300, wrong: float = 0.1):
    """Rows whose words, picture and number tell the class; a share has another's label."""
    rng = np.random.default_rng(seed)
    words = {
        "cat": ("purrs", "meows", "whiskers", "milk"),
        "dog": ("barks", "bone", "leash", "fetch"),
        "cow": ("moos", "grass", "barn", "horns"),
    }
    truth = rng.choice(list(words), count)
    given = truth.copy()
    flipped = rng.choice(count, round(wrong * count), replace=False)
    for i in flipped:
        given[i] = rng.choice([w for w in words if w != truth[i]])
    text = [" ".join(rng.choice([*words[t], "the", "a", "animal", "here"], 8)) for t in truth]
    number = [float(rng.normal({"cat": 0, "dog": 1, "cow": 2}[t], 1)) for t in truth]
    return {"text": text, "size": number, "label": given.tolist()}, set(flipped.tolist())


KINDS = {"text": "text", "size": "number", "label": "category"}


def test_wrong_labels_are_found():
    table, flipped = planted()
    rows, _ = applied({"label_errors": {"label": "label"}}, table, KINDS)
    found = {one.row.number for one in rows.refused}
    assert len(found & flipped) / len(flipped) > 0.8
    assert len(found & flipped) / len(found) > 0.8
    reason = next(one.reason for one in rows.refused)
    assert reason.startswith("is labelled '")
    assert "but all the rest speaks for" in reason


def test_clean_labels_are_hardly_doubted_and_marks_keep_every_row():
    table, _ = planted(wrong=0.0)
    rows, _ = applied({"label_errors": {"label": "label"}}, table, KINDS)
    assert len(rows.refused) <= 6
    table, flipped = planted()
    rows, op = applied({"label_errors": {"label": "label", "then": "mark"}}, table, KINDS)
    assert len(rows) == 300
    assert op.adds() == {"label_doubt": "number", "label_instead": "category"}
    marked = {r.number for r in rows if r.cells["label_instead"] is not None}
    assert len(marked & flipped) / len(flipped) > 0.8
    strict, _ = applied({"label_errors": {"label": "label", "margin": 0.95}}, table, KINDS)
    assert len(strict.refused) < len(marked)
    other, _ = applied({"label_errors": {"label": "label", "folds": 2}}, table, KINDS)
    assert {o.row.number for o in other.refused} != marked


def test_pictures_and_sounds_tell_labels_too():
    rng = np.random.default_rng(0)
    kinds = {"image": "image", "audio": "audio", "label": "category"}
    truth = rng.integers(0, 2, 60)
    dark = [p.point(lambda v: v // 3) for p in PHOTOS]
    images = [dark[rng.integers(6)] if t else PHOTOS[rng.integers(6)] for t in truth]
    table = {"image": images, "audio": [VOICES[0]] * 60, "label": [["light", "dark"][t] for t in truth]}
    table["label"][7] = "light" if truth[7] else "dark"
    rows, _ = applied({"label_errors": {"label": "label"}}, table, kinds)
    assert [one.row.number for one in rows.refused] == [7]


def test_what_is_no_label_is_refused():
    table, _ = planted()
    table["label"] = [str(i) for i in range(300)]
    with pytest.raises(BadData, match="holds 300 different values"):
        applied({"label_errors": {"label": "label"}}, table, KINDS)
    for options in (
        {"label": "lable"},
        {"label": "label", "folds": 1},
        {"label": "label", "then": "drop"},
        {"label": "label", "margin": 3},
    ):
        with pytest.raises(BadArgument):
            applied({"label_errors": options}, table, KINDS)


def test_confident_learning_by_its_formula():
    probability = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.86, 0.14]])
    codes = np.array([0, 0, 1, 1, 1])  # thresholds: class 0 .85, class 1 (.9 + .7 + .14) / 3 = .58
    instead, doubt = confident(probability, codes, 0.0)
    assert instead.tolist() == [-1, -1, -1, -1, 0]
    assert doubt[4] == pytest.approx(0.72)
    assert confident(probability, codes, 0.75)[0].tolist() == [-1] * 5
    unsure = np.array([[0.9, 0.1], [0.3, 0.7], [0.45, 0.55], [0.65, 0.35]])
    codes = np.array([0, 1, 0, 1])  # row 2 is counted, row 3 gives its label the least
    assert confident(unsure, codes, 0.0)[0].tolist() == [-1, -1, -1, 0]


def test_probabilities_never_come_from_a_model_that_saw_the_row():
    from scipy import sparse

    features = sparse.identity(40, format="csr")  # each row has a feature of its own: nothing can be learned of it
    codes = np.arange(40) % 2
    probability = out_of_sample(features, codes, 4, 0)
    assert np.abs(probability - 0.5).max() < 0.2, "a model that saw the row would be sure of it"


class Space:
    """Cells are numbers on a circle; text and picture of the same number lie together."""

    def __init__(self):
        self.streams = {"photo": "series", "words": "text"}

    def embed(self, stream, cells):
        angle = np.array([np.nan if c is None else float(c) for c in cells])
        vectors = np.stack([np.cos(angle), np.sin(angle)], 1)
        there = np.isfinite(angle)
        return np.where(there[:, None], vectors, 0.0).astype(np.float32), there


def test_mixed_up_pairs_are_found(monkeypatch):
    monkeypatch.setattr(pairs, "_space", lambda folder: Space())
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 6, 200)
    words = angle + rng.normal(0, 0.01, 200)
    wrong = np.arange(0, 200, 10)
    words[wrong] = rng.permutation(angle)[: len(wrong)]
    table = {"a": [str(x) for x in angle], "b": [str(x) for x in words]}
    table["a"][5] = None
    spec = {"mismatched": {"space": "run", "columns": ["a", "b"], "streams": ["photo", "words"]}}
    rows, _ = applied(spec, table, {"a": "text", "b": "text"})
    found = {one.row.number for one in rows.refused}
    assert found <= set(wrong.tolist())
    assert len(found) > 0.5 * len(wrong)
    assert "do not belong together" in rows.refused[0].reason
    spec["mismatched"]["rank"] = 0.9
    assert len(applied(spec, table, {"a": "text", "b": "text"})[0].refused) < len(found)


def test_bad_spaces_and_columns(monkeypatch):
    monkeypatch.setattr(pairs, "_space", lambda folder: Space())
    kinds = {"a": "text", "b": "text"}
    for options, message in (
        ({"columns": ["a"]}, "must name two columns"), ({"columns": "a"}, "must name two columns"),
        ({"columns": ["a", "b"]}, "has no stream 'a'"), ({"columns": ["a", "b"], "streams": ["photo"]}, "two streams"),
        ({"columns": ["a", "b"], "streams": ["photo", "words"], "rank": 2}, "rank is a share"),
    ):  # fmt: skip
        with pytest.raises(BadArgument, match=message):
            applied({"mismatched": {"space": "run", **options}}, {"a": ["1"], "b": ["1"]}, kinds)
    monkeypatch.undo()
    with pytest.raises(BadData, match="nowhere"):
        applied({"mismatched": {"space": "nowhere", "columns": ["a", "b"]}}, {"a": ["1"], "b": ["1"]}, kinds)
