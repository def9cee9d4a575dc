"""What written words and drawn pictures came from: planted words get the credit, noise none, and all adds up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_towers import WORDS, save_language_model

import polymodal as pm
from polymodal.heads import HEADS
from polymodal.inference.asked import Drawn, Written, asked, parted
from polymodal.inference.explaining import explain_rows, explanation_text
from polymodal.inference.explanation import explained_cards, write_explanation
from polymodal.inference.looks import Looking
from polymodal.testing import example_target

QUICK = {
    "seeds": 1, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "joint": False, "pretrained": False,
    "ensemble": False, "encodings": "trained", "noise": False,
}  # fmt: skip
BEASTS = ("dog", "cat", "horse")


def rows_of(count: int, seed: int = 0) -> dict[str, list]:
    """A note that names a beast, a table one column of which says how big, chatter that tells nothing, and words."""
    rng = np.random.default_rng(seed)
    beast, amount = rng.choice(BEASTS, count), rng.normal(size=count).round(3)
    chatter = [" ".join(rng.permutation(["rain", "wind", "hail", "fog", "snow"])[:3]) for _ in range(count)]
    return {
        "id": [f"r{i}" for i in range(count)],
        "note": [f"we saw the {one} near the {rng.choice(['lake', 'hill', 'barn'])}" for one in beast],
        "chatter": chatter,
        "amount": amount.tolist(),
        "other": rng.normal(size=count).round(3).tolist(),
        "says": [f"a {'big' if size > 0 else 'small'} {one} stands here" for one, size in zip(beast, amount)],
    }


SCHEMA = {"fields": {"note": "text", "chatter": "text", "table": {"kind": "table", "columns": ["amount", "other"]}},
          "target": {"says": "text"}}  # fmt: skip


@pytest.fixture(scope="module")
def writes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writes")
    return pm.fit(
        rows_of(120), schema=SCHEMA, out=folder / "run", store=folder / "store", quiet=True, fusion=["concat"],
        heads={"says": {"name": "writer", "units": 32, "depth": 1, "decoding": {"beams": 1}}}, deploy="concat",
        training={"epochs": 16, "lr": 0.01, "batch": 32, "average": 0.5, "precision": "float32"}, **QUICK,
    )  # fmt: skip


def of_table(run, data):
    """What is asked of a table's rows, with the tokens and the rows read."""
    table = run.read(data)
    [(rows, streams)] = run.predictor.encode(table)
    return asked(run.predictor, table, rows, streams), streams, table, rows


def test_every_word_has_the_stream_and_the_part_that_it_came_from(writes):
    found = writes.explain(rows_of(30, seed=1))
    right, parts = [], []
    for row in found:
        words = {word["word"]: word for word in row["words"]}
        assert list(words) == row["answer"].split()
        [beast] = set(words) & set(BEASTS)
        [size] = set(words) & {"big", "small"}
        right += [
            (words[beast]["from"] or {}).get("stream") == "note",
            (words[size]["from"] or {}).get("stream") == "table",
        ]
        parts += [words[beast]["from"] and words[beast]["from"]["place"] == beast]
        assert words["a"]["from"] is None
    assert np.mean(right) > 0.9
    assert np.mean(parts) > 0.8
    for words, name in ((BEASTS, "note"), (("big", "small"), "table")):
        each = [word["worth"] for row in found for word in row["words"] if word["word"] in words]
        mean = {stream: np.mean([worth[stream] for worth in each]) for stream in each[0]}
        assert mean[name] > 3 * max(abs(value) for stream, value in mean.items() if stream != name)


def test_worths_add_up_to_what_clearing_all_streams_takes(writes):
    question, streams, *_ = of_table(writes, rows_of(12, seed=2))
    assert isinstance(question, Written)
    every = torch.arange(12)
    with torch.no_grad():
        full = question.values(streams, every)
        none = question.values({n: t.keep(torch.zeros(12, dtype=torch.bool)) for n, t in streams.items()}, every)
    worth = question.worth(streams)
    assert worth.shape == (12, 5, 3)
    np.testing.assert_allclose(worth.sum(2), (full - none).numpy(), atol=1e-5)
    told = explain_rows(writes.predictor, writes.read(rows_of(12, seed=2)))
    assert sum(told[0]["worth"].values()) == pytest.approx(float((full - none)[0].sum()), abs=1e-5)
    for name, value in told[0]["worth"].items():
        assert value == pytest.approx(sum(word["worth"][name] for word in told[0]["words"]), abs=1e-9)


def test_words_have_the_likelihood_that_they_were_written_with(writes):
    data = rows_of(8, seed=3)
    question, streams, *_ = of_table(writes, data)
    ids = question.ids
    with torch.no_grad():
        fused = writes.predictor.answer.fused(streams)
        logp = question.head.likelihood(fused, ids).double().sum(1) / (ids > 0).sum(1)
    np.testing.assert_allclose(logp, writes.predict(data)["says_logp"], atol=1e-5)


def test_other_rows_and_their_order_change_nothing(writes):
    data = rows_of(9, seed=4)
    together = {row["id"]: row["words"] for row in writes.explain(data)}
    order = np.random.default_rng(0).permutation(9)
    for row in writes.explain({name: [cells[i] for i in order] for name, cells in data.items()}):
        for one, other in zip(row["words"], together[row["id"]], strict=True):
            assert one["word"] == other["word"]
            assert one["worth"] == pytest.approx(other["worth"], abs=1e-4)


def test_a_missing_stream_is_worth_nothing_and_no_word_is_from_it(writes, tmp_path):
    data = rows_of(6, seed=5)
    data["note"][0], data["chatter"][1], data["amount"][2], data["other"][2] = None, None, None, None
    found = writes.explain(data)
    for row, name in zip(found, ("note", "chatter", "table")):
        assert row["missing"] == [name]
        assert row["worth"][name] == pytest.approx(0, abs=1e-9)
        assert all(not word["from"] or word["from"]["stream"] != name for word in row["words"])
    cards = explained_cards(writes.predictor, writes.read(data))
    assert [card["kind"] for card in cards[0] if card["stream"] == "note"] == ["missing"]


def test_the_page_shows_words_and_where_each_is_from(writes, tmp_path):
    data = rows_of(4, seed=6)
    found = writes.explain(data)
    html = write_explanation(writes, data, found, tmp_path / "why.html").read_text(encoding="utf-8")
    assert html.count('<ol class="chips"') == 4
    assert html.count("<small>note +") >= 3
    marked = next(word["word"] for word in found[0]["words"] if word["word"] in BEASTS)
    assert f'">{marked}</mark>' in html
    assert "http:" not in html
    text = explanation_text(found)
    assert "the others follow from words before" in text
    assert f"    {marked}: note +" in text


def test_given_words_are_explained_in_place_of_written_ones(writes):
    table = writes.read(rows_of(2, seed=7))
    [(rows, streams)] = writes.predictor.encode(table)
    question = asked(writes.predictor, table, rows, streams, ["a big dog", ""])
    assert question.words == [["a", "big", "dog"], []]
    assert (question.worth(streams)[1] == 0).all()


def test_answers_that_are_copied_are_explained_as_a_whole(tmp_path):
    run = pm.fit(
        rows_of(60), schema=SCHEMA, out=tmp_path / "run", store=tmp_path / "store", quiet=True, fusion=["concat"],
        deploy="consensus", training={"epochs": 1}, **QUICK,
    )  # fmt: skip
    [row] = run.explain(rows_of(1, seed=1))
    assert "words" not in row
    assert row["unit"] == run.predictor.targets[0].unit


def test_pieces_of_a_language_model_are_told_as_words(tmp_path):
    model = save_language_model(tmp_path, words=[*WORDS, "cat", "the", "sl", "##eeps"])  # "sleeps" is two pieces
    target = example_target("text")
    head = HEADS.build({"name": "writer_pretrained", "model": model}, 6, target).eval()
    predictor = SimpleNamespace(targets=[target], streams=())
    question = Written(predictor, head, {"label": np.array(["the cat sleeps", ""])})
    assert question.words == [["the", "cat", "sleeps"], []]
    assert question.owner[0].tolist() == [0, 1, 2, 2, 0], "END belongs to no word"


def test_of_a_tower_too_dear_to_run_again_tokens_are_taken_out(writes, monkeypatch):
    question, streams, table, rows = of_table(writes, rows_of(20, seed=8))
    monkeypatch.setattr(type(writes.predictor.encoders["note"]), "pretrained", True)
    monkeypatch.setattr("polymodal.inference.looks.of_text", None)  # no text, as far as it knows
    monkeypatch.setattr(Looking, "_hidden", lambda *_: pytest.fail("a cell was encoded again"))
    looking, right = Looking(question, table, rows, streams), []
    for row in range(20):
        cell = looking.cell(row, "note")
        looks = looking.looks(row, "note", cell)
        assert len(looks) == question.ids.shape[1] - 1 == 5
        assert len(looks[0].weights) == int(streams["note"].mask[row].sum())
        [beast] = [v for v, word in enumerate(question.words[row]) if word in BEASTS]
        start, end = looks[beast].where[int(looks[beast].weights.argmax())].astype(int)
        right.append(cell.shown["text"][start:end].strip() == question.words[row][beast])
    assert np.mean(right) > 0.6


def test_symbols_make_words():
    assert parted(["a", "a do", "a dog", "a dog runs"]) == ([0, 1, 1, 2], ["a", "dog", "runs"])
    assert parted(["一", "一只", "一只狗"]) == ([0, 1, 2], ["一", "只", "狗"])
    assert parted([]) == ([], [])


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def draws(tmp_path_factory):
    """Pictures of one grey or another, which a note tells; of its words some are noise."""
    folder, rng = tmp_path_factory.mktemp("draws"), np.random.default_rng(0)
    rows = []
    for i in range(72):
        bright = int(rng.integers(2))
        Image.fromarray(np.full((4, 4), 20 + 200 * bright, np.uint8)).save(folder / f"{i}.png")
        rows.append({"id": f"d{i}", "note": f"so it is {('dark', 'light')[bright]} now", "side": float(rng.normal()),
                     "drawn": str(folder / f"{i}.png")})  # fmt: skip
    schema = {"fields": {"note": "text", "side": "table"}, "target": {"drawn": {"kind": "picture", "size": 4}}}
    run = pm.fit(
        rows[:50], valid=rows[50:60], test=rows[60:], schema=schema, fusion=["concat"], deploy="concat", quiet=True,
        out=folder / "run", store=folder / "store",
        heads={"drawn": {"name": "flow", "channels": 8, "depth": 0, "steps": 3}},
        training={"epochs": 40, "lr": 0.01, "batch": 64}, **QUICK,
    )  # fmt: skip
    return run, rows


def test_a_picture_is_explained_by_what_is_drawn_without_a_stream(draws):
    run, rows = draws
    found = run.explain(rows[:8])
    assert found[0]["unit"] == "likeness of the picture"
    assert "from the same noise" in found[0]["meaning"]
    assert np.mean([row["worth"]["note"] > abs(row["worth"]["side"]) for row in found]) > 0.8
    said = explanation_text(found)
    assert "above 0, the stream speaks for the answer." in said
    assert found[0]["meaning"] in said


def test_a_drawing_has_no_gradient_so_its_words_are_hidden(draws):
    run, rows = draws
    question, streams, table, places = of_table(run, rows[:6])
    assert isinstance(question, Drawn)
    looking = Looking(question, table, places, streams)
    assert looking.weights == {}
    told = []
    for row in range(6):
        cell = looking.cell(row, "note")
        [look] = looking.looks(row, "note", cell)
        start, end = look.where[int(look.weights.argmax())].astype(int)
        told.append(cell.shown["text"][start:end] in ("dark", "light"))
    assert np.mean(told) > 0.8
    assert explained_cards(run.predictor, table)[0][0]["note"] == "drawn"


def test_a_row_is_drawn_alike_wherever_it_stands(draws):
    run, rows = draws
    table = run.read(rows[:6])
    [(places, streams)] = run.predictor.encode(table)
    first = asked(run.predictor, table, places, streams).fields
    turned = table.select(range(5, -1, -1))
    [(places, streams)] = run.predictor.encode(turned)
    assert (asked(run.predictor, turned, places, streams).fields.flip(0) == first).all()


def test_the_report_shows_pictures_and_the_verdict_what_they_are_worth(draws):
    run, _ = draws
    html = (run.folder / "report.html").read_text(encoding="utf-8")
    assert '<section id="drawings">' in html
    assert html.count('<div class="trio">') == 12
    said = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))["verdict"]["sentences"]
    assert sum(line.startswith("The drawn pictures (") for line in said) == 1
    assert any("the answers of the 2 most similar training rows: energy" in line for line in said)


def test_test_rows_are_drawn_in_the_fit_as_they_are_afterwards(draws):
    """By the numbers of the rows in their own file, not by their place in the fit's table."""
    run, rows = draws
    table = pm.read_table(run.folder / "predictions_test.parquet")
    files = [run.folder / cell for cell in table.column("drawn")]
    assert [file.read_bytes() for file in files] == run.predict(rows[60:])["drawn"]
