"""Cleaning across rows and modalities: planted leaks, wrong labels and mixed-up pairs are found."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ops import applied
from test_clean_audio import VOICES
from test_clean_image import PHOTOS, photo

from polymodal.core.errors import BadArgument, BadData
from polymodal.data.media.cell import Media
from polymodal.ops.across import pairs
from polymodal.ops.across.labels import out_of_sample, scores, shuffled
from polymodal.ops.across.uncertainty import in_words, told_apart
from polymodal.ops.rows import Row, Rows
from polymodal.preparation import recipe
from polymodal.preparation.recipe import Recipe

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
    op.finalize([op.partial_fit(rows)])
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
    strict, _ = applied({"label_errors": {"label": "label", "sure": 0.99}}, table, KINDS)
    assert len(strict.refused) < len(marked)
    _, other = applied({"label_errors": {"label": "label", "folds": 2, "then": "mark"}}, table, KINDS)
    assert other.state["doubt"].tolist() != op.state["doubt"].tolist()


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
        {"label": "label", "sure": 3},
    ):
        with pytest.raises(BadArgument):
            applied({"label_errors": options}, table, KINDS)


def test_the_probability_of_being_wrong_is_that_of_a_mixture_that_is_known():
    rng = np.random.default_rng(0)
    given = np.concatenate([rng.normal(0, 1, 1000), rng.normal(3, 0.8, 4000)])
    told = told_apart(given, rng.normal(0, 1, 20000))
    wrong = 0.2 * np.exp(-(given**2) / 2)
    right = 0.8 * np.exp(-(((given - 3) / 0.8) ** 2) / 2) / 0.8
    below = given < 3
    assert np.abs(told.probability - wrong / (wrong + right))[below].max() < 0.1
    assert told.probability.mean() == pytest.approx(0.2, abs=0.02)
    assert told.apart == pytest.approx(3 / np.sqrt((1 + 0.64) / 2), abs=0.15)
    order = np.argsort(given)
    assert (np.diff(told.probability[order]) < 1e-9).all(), "a better score is never doubted more"


def test_scores_that_tell_nothing():
    rng = np.random.default_rng(0)
    assert told_apart(rng.normal(0, 1, 2000), rng.normal(0, 1, 20000)).apart < 0.5
    same = told_apart(np.ones(50), np.ones(80))
    assert (same.apart, same.probability.max()) == (0, 0)
    clean = told_apart(rng.normal(6, 1, 2000), rng.normal(0, 1, 20000))
    assert clean.probability.mean() < 0.01
    assert [in_words(p) for p in (0.6, 0.987, 0.999)] == ["60%", "99%", "over 99%"]


def test_scores_of_labels_by_their_formula():
    probability = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.6, 0.4]])
    codes = np.array([0, 0, 0, 1])  # class 1 is a quarter of the labels: odds of 1 to 3
    found = scores(probability, codes)
    assert found[0] == pytest.approx(np.log([4 / 3, 1 / 4 * 3]))
    assert found[1] == pytest.approx(np.log([1 / 3, 3]))
    of_others = shuffled(found, codes, 0)
    allowed = [found[0, 1], found[1, 1], found[2, 1], found[3, 0]]
    assert set(of_others.tolist()) <= set(allowed)
    assert len(set(of_others.tolist())) == 4


def test_few_rows_and_labels_that_nothing_tells_are_left_alone(caplog):
    table, _ = planted(count=25)
    assert not applied({"label_errors": {"label": "label"}}, table, KINDS)[0].refused
    assert "25 labelled rows tell too little" in caplog.text
    table, _ = planted()
    table["label"] = np.random.default_rng(3).permutation(table["label"]).tolist()
    with caplog.at_level(logging.WARNING):
        assert not applied({"label_errors": {"label": "label"}}, table, KINDS)[0].refused
    assert "hardly tell 'label'" in caplog.text


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


PAIR = {"mismatched": {"space": "run", "columns": ["a", "b"], "streams": ["photo", "words"]}}


def mixed(count: int, spread: float = 0.01):
    """Pairs of numbers, a tenth of them mixed up."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 6, count)
    words = angle + rng.normal(0, spread, count)
    wrong = np.arange(0, count, 10)
    words[wrong] = np.roll(words[wrong], 1)
    return {"a": [str(x) for x in angle], "b": [str(x) for x in words]}, set(wrong.tolist())


def test_mixed_up_pairs_are_found(monkeypatch):
    monkeypatch.setattr(recipe, "open_space", lambda folder, trust: Space())
    table, wrong = mixed(200)
    table["a"][5] = None
    rows, op = applied(PAIR, table, {"a": "text", "b": "text"})
    found = {one.row.number for one in rows.refused}
    assert found <= wrong
    assert len(found) > 0.8 * len(wrong)
    assert rows.refused[0].reason.startswith("a and b do not belong together, with a probability of ")
    assert (op.state["probability"] > 0.6).all()
    again = applied(PAIR, table, {"a": "text", "b": "text"})[1]
    assert np.array_equal(again.state["probability"], op.state["probability"])


def test_the_surer_the_fewer(monkeypatch):
    monkeypatch.setattr(recipe, "open_space", lambda folder, trust: Space())
    table, _ = mixed(200, spread=0.5)
    kinds = {"a": "text", "b": "text"}
    found = [
        len(applied({"mismatched": {**PAIR["mismatched"], "sure": sure}}, table, kinds)[0].refused)
        for sure in (0.1, 0.6, 0.98)
    ]
    assert found[0] > found[1] > found[2]


def test_few_pairs_and_spaces_that_tell_nothing_are_left_alone(monkeypatch, caplog):
    monkeypatch.setattr(recipe, "open_space", lambda folder, trust: Space())
    table, _ = mixed(29)
    assert not applied(PAIR, table, {"a": "text", "b": "text"})[0].refused
    assert "29 rows with both a and b tell too little" in caplog.text
    table, _ = mixed(300)
    table["b"] = np.random.default_rng(1).permutation(table["b"]).tolist()
    assert not applied(PAIR, table, {"a": "text", "b": "text"})[0].refused
    assert "the space run hardly tells pairs of a and b from shuffled ones" in caplog.text


def test_scores_of_pairs_by_their_formula(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(40, 5)).astype(np.float32) for _ in range(2))
    given, wrong = pairs.scores(a, b, 0)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
    cosine = unit[0] @ unit[1].T
    for i in range(40):
        near = [np.sort(np.delete(line, i))[-10:].mean() for line in (cosine[i], cosine[:, i])]
        assert given[i] == pytest.approx(2 * cosine[i, i] - sum(near), abs=1e-5)
    assert len(wrong) == 20 * 40
    assert wrong.mean() == pytest.approx(given.mean(), abs=0.2), "these pairs are no better than shuffled ones"
    monkeypatch.setattr(pairs, "OTHERS", 25)
    assert not np.allclose(pairs.scores(a, b, 0)[0], given)


def test_bad_spaces_and_columns(monkeypatch):
    monkeypatch.setattr(recipe, "open_space", lambda folder, trust: Space())
    kinds = {"a": "text", "b": "text"}
    for options, message in (
        ({"columns": ["a"]}, "must name two columns"), ({"columns": "a"}, "mismatched takes a list of texts; got 'a'"),
        ({"columns": ["a", "b"]}, "has no stream 'a'"), ({"columns": ["a", "b"], "streams": ["photo"]}, "two streams"),
        ({"columns": ["a", "b"], "streams": ["photo", "words"], "sure": 2}, "sure must be above 0 and below 1"),
    ):  # fmt: skip
        with pytest.raises(BadArgument, match=message):
            applied({"mismatched": {"space": "run", **options}}, {"a": ["1"], "b": ["1"]}, kinds)
    with pytest.raises(BadArgument, match="must name two columns; got 'ab'"):
        pairs.Mismatched(space="run", columns="ab")
    monkeypatch.undo()
    with pytest.raises(BadData, match="nowhere"):
        applied({"mismatched": {"space": "nowhere", "columns": ["a", "b"]}}, {"a": ["1"], "b": ["1"]}, kinds)
