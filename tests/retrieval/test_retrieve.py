"""Indexing a table, searching it and reading class names, in a space whose answers are known."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colour_space import COLOURS, ColourSpace, write_things

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.data.schema import Field
from polymodal.data.tables.source import Table
from polymodal.inference.space import Space
from polymodal.retrieval import build
from polymodal.retrieval.retrieve import kind_of


@pytest.fixture
def things(tmp_path):
    return write_things(tmp_path)


@pytest.fixture
def found(things, tmp_path):
    return pm.index(ColourSpace(), things, out=tmp_path / "idx", quiet=True)


def colours(results):
    return [hit.columns["colour"] for hit in results]


def test_words_find_pictures_and_pictures_find_words(found, things):
    results = found.search("something blue", k=9, streams=["photo"])
    assert colours(results) == ["blue"] * 9
    assert {hit.stream for hit in results} == {"photo"}
    scores = [hit.score for hit in results]
    assert scores == sorted(scores, reverse=True)
    results = found.search(image=things.parent / "photos" / "4.png", k=5, streams=["title"])
    assert colours(results) == ["red"] * 5
    assert results.query.stream == "photo"
    assert [hit.rank for hit in results] == [1, 2, 3, 4, 5]


def test_a_row_finds_others_like_it_and_not_itself(found):
    results = found.search(row="t8", k=4)
    assert colours(results) == ["red"] * 4
    assert "t8" not in [hit.id for hit in results]
    with pytest.raises(BadArgument, match="Row 't3' has no 'photo' in the index; it has title"):
        found.search(row="t3", by="photo")
    assert colours(found.search(row="t3", k=3)) == ["yellow"] * 3  # by its title
    with pytest.raises(UnknownName, match="No row has the id 't999'"):
        found.search(row="t999")


def test_a_row_counts_once_though_it_has_several_items(tmp_path):
    path = write_things(tmp_path, rows=12, captions=3)
    space = ColourSpace(columns=("title_0", "title_1", "title_2"))
    found = pm.index(space, path, out=tmp_path / "idx", quiet=True)
    assert found.index.counts() == {"photo": 10, "title": 33}
    results = found.search("green", k=8)
    assert len({hit.id for hit in results}) == 8
    assert colours(results)[:3] == ["green"] * 3
    assert {hit.part for hit in results} <= {"photo", "title_0", "title_1", "title_2"}
    assert len(found.search("green", k=100)) == 12


def test_filters_by_columns_of_the_table(found):
    results = found.search("red", k=40, where="price < 20 and brand == 'x'")
    assert {hit.id for hit in results} == {"t0", "t3", "t6", "t9"}
    with pytest.raises(UnknownName, match="no column 'brnd'. Did you mean 'brand'"):
        found.search("red", where="brnd == 'x'")
    with pytest.raises(UnknownName, match="Allowed: brand, colour, id, photo, price, title"):
        found.search("red", where="zzz == 'x'")  # and none of the index's own


def test_cells_that_cannot_be_used_are_missing_and_told(found, tmp_path):
    assert found.index.counts() == {"photo": 38, "title": 39}
    assert [(p.row, p.column) for p in found.problems] == [("t3", "photo")]
    written = [json.loads(line) for line in (tmp_path / "idx" / "set_aside.jsonl").read_text().splitlines()]
    assert written[0]["row"] == "t3"


def test_the_same_call_goes_on_where_it_stopped(things, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PIECE", 10)
    space, calls = ColourSpace(), []
    real = build._put

    def dies(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build, "_put", dies)
        with pytest.raises(KeyboardInterrupt):
            pm.index(space, things, out=tmp_path / "i", quiet=True)
    assert len(pm.Index(tmp_path / "i")) == 20
    before = space.embedded
    found = pm.index(space, things, out=tmp_path / "i", quiet=True)
    assert len(found) == 40
    assert space.embedded - before == 40  # the other twenty rows' two cells, and no other
    assert [p.row for p in found.problems] == ["t3"]  # told again, though it was met the first time


def test_changed_rows_are_brought_up_to_date(things, tmp_path, found):
    space = ColourSpace()
    shutil.copy(things.parent / "photos" / "1.png", things.parent / "photos" / "0.png")  # red becomes green
    lines = things.read_text().splitlines()
    lines[3] = lines[3].replace("blue thing", "yellow thing")
    lines.append("t40,photos/2.png,a blue latecomer,3,x,blue")
    things.write_text("\n".join(lines) + "\n")
    again = pm.index(space, things, out=tmp_path / "idx", quiet=True)
    assert space.embedded == 6
    assert len(again) == 41
    assert again.search("green", k=40, streams=["photo"])[0].columns["colour"] in ("green", "red")
    assert "t0" in [hit.id for hit in again.search("green", k=11, streams=["photo"])]
    assert "t2" in [hit.id for hit in again.search("yellow", k=11, streams=["title"])]


def test_an_index_of_another_space_or_streams_is_not_written_to(things, tmp_path, found):
    with pytest.raises(BadData, match="index of another space"):
        pm.index(ColourSpace(mark="other"), things, out=tmp_path / "idx", quiet=True)
    with pytest.raises(BadData, match="index of the streams photo, title"):
        pm.index(ColourSpace(), things, out=tmp_path / "idx", streams=["photo"], quiet=True)
    with pytest.raises(BadData, match="calibrate='auto'"):
        pm.index(ColourSpace(), things, out=tmp_path / "idx", calibrate="off", quiet=True)
    with pytest.raises(BadData, match="the run was trained again"):
        pm.open_index(tmp_path / "idx", ColourSpace(mark="other"))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, BadArgument, "Ask one thing: image, audio, video, volume, points, text, entity, row, vector; got nothing"),
        ({"text": "red", "row": "t1"}, BadArgument, "got text, row"),
        ({"audio": "x.wav"}, BadArgument, r"no stream of kind audio.*photo \(image\), title \(text\)"),
        ({"pictures": "x.png"}, BadArgument, "no option 'pictures' and is not asked with one. Allowed: "),
        ({"text": "red", "wher": "price < 3"}, BadArgument, "Did you mean 'where'"),
        ({"text": "red", "by": "tittle"}, UnknownName, "Did you mean 'title'"),
        ({"image": "nowhere.png"}, BadData, r"The image 'nowhere.png' cannot be asked: .*does not exist"),
        ({"text": " "}, BadData, "cannot be asked: is empty"),
        ({"vector": np.ones(3)}, BadData, "4 numbers"),
        ({"text": "red", "streams": ["foto"]}, UnknownName, "Did you mean 'photo'"),
        ({"text": "red", "k": 0}, BadArgument, "at least 1"),
    ],
)
def test_questions_that_cannot_be_asked(found, options, error, words):
    with pytest.raises(error, match=words):
        found.search(**options)


def test_streams_that_cannot_be_indexed(things, tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'photo'"):
        pm.index(ColourSpace(), things, out=tmp_path / "i", streams=["foto"], quiet=True)
    with pytest.raises(BadArgument, match="each stream once"):
        pm.index(ColourSpace(), things, out=tmp_path / "i", streams=["photo", "photo"], quiet=True)
    with pytest.raises(BadData, match=r"\[photo\]: has no column 'photo'.*\[title\]: has no column 'title'"):
        pm.index(ColourSpace(), {"x": [1, 2]}, out=tmp_path / "i", quiet=True)
    only = pm.index(ColourSpace(), {"title": ["a red thing", None]}, out=tmp_path / "i", quiet=True)
    assert only.index.counts() == {"title": 1}


def test_the_page_shows_pictures_and_needs_nothing_else(found, things, tmp_path):
    page = found.search("red", k=5, where="price > 15").page(tmp_path / "page.html").read_text()
    assert page.count('class="card hit"') == 5
    assert page.count('src="data:image/') == 5
    for outside in ("http://", "https://", "//cdn", 'src="photos'):
        assert outside not in page
    assert "<dt>brand</dt>" in page
    assert ":digest" not in page
    asked = found.search(image=things.parent / "photos" / "2.png", k=1).page(tmp_path / "p2.html").read_text()
    assert asked.count('src="data:image/') == 2
    assert "where price &gt; 15" in page
    assert (
        "where "
        not in found.search("red", k=2).page(tmp_path / "p4.html").read_text().split("<main>")[1].split("</h1>")[1][:99]
    )
    told = found.search("red", where={"brand": "x"}).page(tmp_path / "p5.html").read_text()
    assert "where brand is &#39;x&#39;" in told
    empty = found.search("red", where="price > 1000").page(tmp_path / "p3.html").read_text()
    assert "Nothing was found" in empty
    strange = found.search("<script>alert(1)</script> red", k=1).page(tmp_path / "p4.html").read_text()
    assert "<script>alert" not in strange


def test_a_value_that_equals_the_row_is_shown(tmp_path):
    data = {"title": ["a red thing", "a blue thing"], "price": [0, 1]}
    found = pm.index(ColourSpace(), data, out=tmp_path / "i", streams=["title"], quiet=True)
    page = found.search("blue", k=2).page(tmp_path / "page.html").read_text()
    assert page.count("<dt>price</dt>") == 2


def test_pictures_in_bytes_are_read_again_from_their_source(things, tmp_path):
    photos = [(things.parent / "photos" / f"{i}.png").read_bytes() for i in range(3)]
    path = tmp_path / "bytes.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "photo": photos, "title": ["red", "green", "blue"]}), path)
    found = pm.index(ColourSpace(), path, out=tmp_path / "i", quiet=True)
    page = found.search("green", k=2).page(tmp_path / "page.html").read_text()
    assert page.count('src="data:image/') == 2
    assert (tmp_path / "i" / "items.journal").stat().st_size < 4000  # the pictures stay where they are


def test_classes_by_their_names(things):
    done = pm.classify(ColourSpace(), things, list(COLOURS), target="colour")
    assert (done.stream, done.by) == ("photo", "title")
    assert done.accuracy.mean == 1.0
    assert 0.85 < done.accuracy.low < 1
    assert done.chance == pytest.approx(10 / 38)
    assert done.labels[3] is None
    assert done.labels[:3] == ["red", "green", "blue"]
    columns = done.columns()
    assert columns["label"][5] is None
    assert columns["score"][5] is None
    assert all(m > 0 for m in columns["margin"] if m is not None)
    said = done.to_json()
    assert (said["missing"], said["answered"], len(said["answers"])) == (2, 38, 40)
    assert said["answers"][0].items() >= {"id": "t0", "label": "red", "nearest": "red"}.items()
    assert done.sure.mean == 1.0
    assert not done.notes


def lead_over(scores: np.ndarray) -> float:
    """Half the 95 % interval of the mean of a row's lead [T], by SciPy."""
    from scipy.stats import t

    return float(t.interval(0.95, len(scores) - 1, scale=scores.std(ddof=1) / len(scores) ** 0.5)[1])


def test_a_row_is_answered_if_its_lead_holds_whatever_the_sentence(things):
    """Sentences that pull the classes about: the lead over the second must be more than they make it vary."""
    space = ColourSpace()
    sentences = ["{}", "{} and yellow", "{}, blue and yellow", "{} and green"]
    done = pm.classify(space, things, list(COLOURS), templates=sentences)
    assert 0 < done.answered.sum() < 38
    row = int(np.flatnonzero(~done.answered & np.isfinite(done.scores).all(1))[0])
    assert done.labels[row] is None
    assert done.nearest[row] in COLOURS
    assert done.columns()["score"][row] == pytest.approx(done.scores[row].max())
    photo = space.embed("photo", [things.parent / "photos" / f"{row}.png"])[0][0]
    first, second = np.argsort(-done.scores[row])[:2]
    by_sentence = []
    for place in (first, second):
        vectors = space.embed("title", [s.replace("{}", list(COLOURS)[place]) for s in sentences])[0]
        by_sentence.append(vectors @ photo / np.linalg.norm(vectors.mean(0)))
    assert done.lead[row] == pytest.approx(lead_over(by_sentence[0] - by_sentence[1]), rel=1e-3)
    assert done.scores[row, first] - done.scores[row, second] < done.lead[row]
    assert "95% interval of its lead over 4 sentences" in done.rule


def test_calibration_rows_decide_who_is_answered(things, tmp_path):
    """Labels of which a third are another colour: the true class often lies far behind, so that few rows are sure."""
    rows = things.read_text().splitlines()
    wrong = tmp_path / "wrong.csv"
    colours = list(COLOURS)
    wrong.write_text("\n".join([rows[0], *(
        row if i % 3 else ",".join([*row.split(",")[:-1], colours[(colours.index(row.split(",")[-1]) + 1) % 4]])
        for i, row in enumerate(rows[1:])
    )]))  # fmt: skip
    right = pm.classify(ColourSpace(), things, colours, target="colour", calibration=things)
    assert (right.answered.sum(), right.lead[0]) == (38, 0)
    doubtful = pm.classify(ColourSpace(), things, colours, target="colour", calibration=wrong)
    assert doubtful.lead[0] > 0.1
    assert doubtful.answered.sum() < 38
    assert "90% of 38 labelled rows" in doubtful.rule
    wrong.write_text("\n".join([*rows, "ragged"]))
    notes = pm.classify(ColourSpace(), things, colours, target="colour", calibration=wrong).notes
    assert any(note.startswith("calibration, set aside: wrong.csv:42: has 1 cell") for note in notes)
    few = tmp_path / "few.csv"
    few.write_text("\n".join(rows[:4]))
    with pytest.raises(BadData, match=r"calibration rows .* promise nothing of 90% of rows; give 9 or more"):
        pm.classify(ColourSpace(), things, colours, target="colour", calibration=few)
    with pytest.raises(BadArgument, match="name their column with `target`"):
        pm.classify(ColourSpace(), things, colours, calibration=things)


@pytest.mark.parametrize(
    ("classes", "words", "answered"),
    [
        (["red"], "One class, 'red', can be told from nothing", 0),
        (["red", "green", "blue", "yellow", "dark red"], "'red' and 'dark red' read the same to 'title'", 28),
        (["red", "green", "blue", "yellow", "猫"], "'猫' is answered in no row: 'title' knows no word of it", 38),
        (["красный", "зелёный"], "rare words, or another language or script", 0),
        (["rot", "gelbgrün"], "'gelbgrün' is answered in no row", 0),
    ],
)
def test_names_that_cannot_be_told_get_words(things, classes, words, answered):
    done = pm.classify(ColourSpace(), things, classes)
    assert any(words in note for note in done.notes)
    assert done.answered.sum() == answered


def test_a_column_under_a_similar_name_is_pointed_at(things, monkeypatch):
    text = things.read_text(encoding="utf-8")
    words = r"\[photo\]: has no column 'photo'. Did you mean 'Photo'"
    things.write_text(text.replace("photo", "Photo", 1), encoding="utf-8")
    with pytest.raises(BadData, match=f"things has nothing to classify. things {words}"):
        pm.classify(ColourSpace(), things, list(COLOURS))
    things.write_text(text.replace("photo,title", "Photo,Title", 1), encoding="utf-8")
    with pytest.raises(BadData, match=f"no column of the run's streams. things {words}.*'title'. Did you mean 'Title'"):
        pm.index(ColourSpace(), things, out=things.parent / "idx")
    things.write_text(text.replace("brand", "Photo 2", 1), encoding="utf-8")
    space = ColourSpace()
    space.fields["photo"] = Field("photo", "image", ("photo", "photo 2"), {"many": True})
    monkeypatch.setattr(ColourSpace, "items", Space.items)
    reasons = [str(problem) for problem in pm.classify(space, things, list(COLOURS)).problems]
    assert "things [photo]: has no column 'photo 2'. Did you mean 'Photo 2'?" in reasons


def test_of_several_items_of_a_row_each_class_takes_the_nearest(things):
    photos = [str(things.parent / "photos" / f"{i}.png") for i in (0, 1, 2, 6)]
    single = pm.classify(ColourSpace(), {"photo": photos}, list(COLOURS), templates=["{}", "{} and green"])
    space = ColourSpace()
    space.fields["photo"] = Field("photo", "image", ("photo", "other"), {"many": True})
    pairs = {"photo": photos, "other": [photos[1], None, photos[3], photos[0]]}
    both = pm.classify(space, pairs, list(COLOURS), templates=["{}", "{} and green"])
    s = single.scores
    nearest = [np.maximum(s[0], s[1]), s[1], np.maximum(s[2], s[3]), np.maximum(s[3], s[0])]
    np.testing.assert_allclose(both.scores, nearest, atol=1e-6)
    assert both.lead[1] == pytest.approx(single.lead[1])


@pytest.mark.parametrize("two", [("Red", "red"), ("red ", " red"), ("ｒｅｄ", "red"), ("dark  red", "dark red")])
def test_names_that_are_one_are_refused(things, two):
    with pytest.raises(BadArgument, match="different names"):
        pm.classify(ColourSpace(), things, [*two, "blue"])


def test_a_space_at_chance_answers_nothing_and_a_search_says_so(things, tmp_path):
    space = ColourSpace()
    space.folder = tmp_path / "run"
    space.folder.mkdir()
    for verdict, answered in (("above", 38), ("chance", 0), ("below", 0)):
        said = {"verdict": verdict, "k": 5}
        written = {"evidence": {"photo to title": said, "title to photo": said}}
        (space.folder / "metrics.json").write_text(json.dumps(written))
        done = pm.classify(space, things, list(COLOURS))
        assert done.answered.sum() == answered
        assert any("in the run's own test" in note for note in done.notes) == (verdict != "above")
        found = pm.index(space, things, out=tmp_path / verdict, quiet=True)
        for search in (found, pm.open_index(tmp_path / verdict, space)):
            results = search.search("blue", k=2)
            assert any("The run's own test, title to photo" in note for note in results.notes) == (verdict != "above")
    for written in (
        {},
        [],
        {"evidence": []},
        {"evidence": {"photo to title": "no"}},
        {"evidence": {"photo to title": {}}},
    ):
        (space.folder / "metrics.json").write_text(json.dumps(written))  # as a run of before, or damaged
        assert pm.classify(space, things, list(COLOURS)).answered.sum() == 38


def test_accuracy_at_chance_says_so(things, tmp_path):
    rows = things.read_text().splitlines()
    colours = [row.split(",")[-1] for row in rows[1:]]
    turned = tmp_path / "turned.csv"
    moved = np.random.default_rng(0).permutation(colours)
    turned.write_text("\n".join([rows[0], *(",".join([*r.split(",")[:-1], c]) for r, c in zip(rows[1:], moved))]))
    done = pm.classify(ColourSpace(), turned, list(COLOURS), target="colour")
    assert done.accuracy.low < done.chance
    assert any("the commonest class alone" in note for note in done.notes)


def test_rows_are_told_apart_where_ids_repeat_and_every_record_is_counted(things, tmp_path):
    lines = things.read_text(encoding="utf-8").splitlines()
    twice = lines[2].replace(lines[2].split(",")[0], "t0", 1)
    things.write_text("\n".join([lines[0].replace("title", "Title"), lines[1], twice, "ragged", *lines[3:6]]))
    found = pm.index(ColourSpace(), things, out=tmp_path / "again", quiet=True)
    assert found.read == 6
    assert found.index.corpus.names == ["t0 (row 0)", "t0 (row 1)", "t2", "t3", "t4"]
    reasons = [str(problem) for problem in found.problems]
    assert any("ids are not unique" in reason for reason in reasons)
    assert any(reason.endswith("has no column 'title'. Did you mean 'Title'?") for reason in reasons)
    things.write_text("\n".join([lines[0], lines[1], twice, "ragged", *lines[3:6]]))
    done = pm.classify(ColourSpace(), things, list(COLOURS))
    columns = done.columns(keep="brand")
    assert columns["id"] == ["t0", "t0", None, "t2", "t3", "t4"]
    assert columns["row"] == [0, 1, 2, 3, 4, 5]
    assert columns["label"][2] is None
    assert columns["problem"][2].startswith("things.csv:4: has 1 cell")
    assert columns["brand"][:3] == ["x", "y", None]
    assert done.to_json()["read"] == 6


def test_templates_are_averaged(things):
    space = ColourSpace()
    plain = pm.classify(space, things, list(COLOURS), templates=["{}"])
    mixed = pm.classify(space, things, list(COLOURS), templates=["{}", "{} and yellow"])
    assert not np.allclose(plain.scores[0], mixed.scores[0])
    centres = [space.embed("title", ["red", "red and yellow"])[0].mean(0)]
    centres /= np.linalg.norm(centres)
    photo = space.embed("photo", [things.parent / "photos" / "0.png"])[0]
    assert mixed.scores[0, 0] == pytest.approx(float((photo @ np.array(centres).T)[0, 0]), abs=1e-6)


@pytest.mark.parametrize(
    ("classes", "options", "error", "words"),
    [
        ([], {}, BadArgument, "at least one; got none"),
        (["a", "a"], {}, BadArgument, "different names"),
        (["red"], {"templates": ["a photo"]}, BadArgument, r"holds \{\} once"),
        (["red"], {"templates": []}, BadArgument, "at least one template"),
        (["red"], {"target": "colour"}, BadData, "3 labels that are no class given, among them 'blue'"),
        (["red"], {"stream": "foto"}, UnknownName, "Did you mean 'photo'"),
        (["red"], {"target": "color"}, UnknownName, "Did you mean 'colour'"),
    ],
)
def test_classes_that_cannot_be_told(things, classes, options, error, words):
    with pytest.raises(error, match=words):
        pm.classify(ColourSpace(), things, classes, **options)


def test_the_command_line(things, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Space, "load", classmethod(lambda cls, folder, **options: ColourSpace()))

    def polymodal(*arguments):
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for command in ("index", "search", "classify"):
        assert polymodal(command, "--help")[0] == 0
    idx = tmp_path / "i"
    code, out, err = polymodal("index", "run", things, "--out", idx, "-q")
    assert (code, out.strip()) == (0, f"40 rows in {idx}: 38 photo, 39 title")
    assert "set aside: t3 [photo]" in err
    code, out, err = polymodal("index", "run", things, "--out", idx)
    assert "40 unchanged" in err
    code, out, _ = polymodal("search", idx, "--text", "blue", "-k", 2, "--stream", "photo", "--json")
    said = json.loads(out)
    assert [hit["columns"]["colour"] for hit in said["hits"]] == ["blue", "blue"]
    code, out, err = polymodal(
        "search", idx, "--row", "t1", "-k", 3, "--where", "price < 30", "--out", tmp_path / "p.html"
    )
    assert code == 0
    assert len(out.splitlines()) == 3
    assert (tmp_path / "p.html").exists()
    assert polymodal("search", idx, "--text", "blue", "--where", "prise < 3")[0] == 2
    photo = things.parent / "photos" / "4.png"
    asked = polymodal("search", idx, "--file", photo, "--out", tmp_path / "f.html")
    assert asked[1] == polymodal("search", idx, "--image", photo)[1]
    assert "Asked with a picture" in (tmp_path / "f.html").read_text()
    assert "its suffix tells no kind" in polymodal("search", idx, "--file", "a.what")[2]
    assert "--image is given too" in polymodal("search", idx, "--file", photo, "--image", photo)[2]
    assert "is not asked with one" in polymodal("search", idx, "--file", "a.csv")[2]  # a series has no one file a cell
    assert "holds no index" in polymodal("search", tmp_path / "none", "--text", "blue")[2]
    names = tmp_path / "names.txt"
    names.write_text("\n".join([*COLOURS, ""]))
    code, out, _ = polymodal("classify", "run", things, "--classes", names, "--target", "colour")
    assert out.startswith("accuracy 1.000")
    code, out, err = polymodal("classify", "run", things, "--classes", names)
    assert out.splitlines()[0].split("\t")[:6] == ["id", "label", "nearest", "score", "margin", "lead"]
    assert out.splitlines()[1].startswith("t0\tred\tred\t")
    assert "38 of 40 rows answered. A row is answered if the nearest class leads" in err
    code, out, _ = polymodal("classify", "run", things, "--classes", names, "--json")
    assert json.loads(out)["answers"][0]["label"] == "red"
    calibrated = polymodal("classify", "run", things, "--classes", names, "-t", "colour", "--calibration", things)
    assert "labelled rows" in calibrated[2]
    code, out, _ = polymodal("classify", "run", things, "--classes", names, "--out", tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text().splitlines()[1].startswith("t0,red,")
    assert "no text file" in polymodal("classify", "run", things, "--classes", tmp_path / "zz.txt")[2]


def test_a_row_is_named_by_its_key_too(things, tmp_path):
    """The table names rows by `id`; a column that evidently is a key of its own, or that the fit took for one, too."""
    rows = list(csv.DictReader(things.read_text(encoding="utf-8").splitlines()))
    for i, row in enumerate(rows):
        row |= {"sku": f"A-{i:04}", "shelf": str(i // 20)}
    space = ColourSpace()
    found = pm.index(space, rows_of(rows, things), out=tmp_path / "idx", quiet=True)
    by_key, by_id = found.search(row="A-0002", k=5), found.search(row="t2", k=5)
    assert [hit.id for hit in by_key] == [hit.id for hit in by_id]
    assert by_key.query.value == "t2"
    assert "t2" not in [hit.id for hit in by_key], "the row itself is none that is like it"
    with pytest.raises(UnknownName, match="No row has the id or sku 'a-0002'. Did you mean 'A-0002'"):
        found.search(row="a-0002")
    space.schema = replace(space.schema, keys=("shelf",))
    with pytest.raises(UnknownName, match="20 rows have the shelf '1'; name one by its id, as 't20'"):
        found.search(row="1")
    without = [{name: cell for name, cell in row.items() if name != "id"} for row in rows]
    plain = pm.index(ColourSpace(), rows_of(without, things), out=tmp_path / "plain", quiet=True)
    assert plain.search(row="A-0002", k=1).query.value == "2"


def rows_of(rows: list[dict], things: Path) -> Table:
    return Table.build({name: [row[name] or None for row in rows] for name in rows[0]}, base=things.parent)


def test_an_index_is_moved_with_its_data_and_run(things, tmp_path, monkeypatch):
    monkeypatch.setattr(Space, "load", classmethod(lambda cls, folder, **options: ColourSpace()))
    old = tmp_path / "old"
    (old / "run").mkdir(parents=True)
    data = write_things(old / "data")
    pm.index(old / "run", data, out=old / "idx", quiet=True)
    for file in (old / "idx").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file
    old.rename(tmp_path / "new")
    found = pm.open_index(tmp_path / "new" / "idx")
    assert Path(found.folder) == tmp_path / "new" / "run"
    page = found.search("red", k=2, streams=["photo"]).page(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') == 2
    (tmp_path / "new" / "run").rmdir()
    with pytest.raises(BadArgument, match=r"was made of the run .*new/run, which is not there. Name the run's folder"):
        pm.open_index(tmp_path / "new" / "idx")


def test_an_index_of_before_tells_whole_paths(things, tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.retrieval.build.told_from", lambda folder, path: str(Path(path).absolute()))
    (tmp_path / "run").mkdir()
    found = pm.index(ColourSpace(), things, out=tmp_path / "idx", quiet=True)
    page = found.search("red", k=2, streams=["photo"]).page(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') == 2


def test_in_a_space_that_align_made(tmp_path, monkeypatch):
    """Two views of the same things, aligned by ridge regression: each finds the other's row first."""
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    rng = np.random.default_rng(0)
    things = rng.normal(size=(200, 6))
    views = {"left": things @ rng.normal(size=(6, 12)), "right": things @ rng.normal(size=(6, 9))}
    data = {name: [list(map(float, v)) for v in x] for name, x in views.items()}
    table = tmp_path / "views.jsonl"
    lines = [json.dumps({"id": f"v{i}", **{name: x[i] for name, x in data.items()}, "n": i}) for i in range(200)]
    table.write_text("\n".join(lines))
    run = pm.align(str(table), ["left", "right"], out=tmp_path / "run", method="ridge", quiet=True)
    pm.index(tmp_path / "run", table, out=tmp_path / "i", streams=["right"], calibrate="off", quiet=True)
    found = pm.open_index(tmp_path / "i")
    assert found.space.mark == run.space.mark
    queries, _ = found.space.embed("left", data["left"][:50])
    first = [found.search(vector=q, by="left", k=1)[0].id for q in queries]
    assert np.mean([a == f"v{i}" for i, a in enumerate(first)]) > 0.9


@pytest.mark.parametrize(
    ("name", "streams", "by", "kind"),
    [
        ("a.gif", {"clip": "video", "note": "text"}, None, "video"),
        ("a.gif", {"clip": "video", "photo": "image"}, None, "image"),
        ("a.gif", {"clip": "video", "photo": "image"}, "clip", "video"),
        ("a.mp4", {"voice": "audio"}, None, "audio"),
        ("a.png", {"note": "text"}, None, "image"),
        ("frames", {"note": "text", "clip": "video"}, None, "video"),
        ("frames", {"photo": "image"}, None, None),
        ("a.what", {"photo": "image"}, None, None),
    ],
)
def test_a_file_is_asked_as_what_a_stream_of_the_run_reads(tmp_path, name, streams, by, kind):
    (tmp_path / "frames").mkdir()
    assert kind_of(tmp_path / name, streams, by) == kind
