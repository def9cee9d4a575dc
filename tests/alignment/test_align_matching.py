"""`align --matching` and `search --rerank`: what a run learns of pairs, keeps, says, and puts in order."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import cli
from polymodal.aligners.pairs import matches
from polymodal.alignment.config import Matching
from polymodal.alignment.items import Chosen
from polymodal.alignment.matching import MatchTraining
from polymodal.alignment.reranking import Embedded, Judged, Way
from polymodal.core.errors import BadArgument, BadData
from polymodal.data.storage.store import Store
from polymodal.models.matching import Matcher
from polymodal.runs.folder import Interrupted

OLDER = Path(__file__).parents[1] / "inference" / "older"
ROWS = 48


def table(rows: int = ROWS) -> dict[str, list]:
    """Vectors that share three numbers, the second stream twice a row."""
    rng, maps = np.random.default_rng(0), np.random.default_rng(5)
    hidden = rng.random((rows, 3)) ** 2
    a, b = maps.normal(size=(3, 6)), maps.normal(size=(3, 5))
    data = {"id": [f"r{i}" for i in range(rows)], "a": [x.tolist() for x in hidden @ a]}
    for k in range(2):
        data[f"b_{k}"] = [x.tolist() for x in hidden @ b + 0.02 * rng.normal(size=(rows, 5))]
    data["a"][3] = None
    return data


def options(folder: Path) -> dict:
    matching = {"candidates": 4, "training": {"epochs": 3, "patience": 0}}
    return {
        "store": folder / "store", "trackers": "none", "dim": 6, "training": {"epochs": 4}, "quiet": True,
        "matching": matching, "queries": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    return pm.align(table(), "a,b_*", out=folder / "run", **options(folder))


@pytest.fixture
def search(run, tmp_path):
    found = pm.index(run, table(), out=tmp_path / "idx", calibrate="off", quiet=True)
    found.space.matcher.trust.zero_()
    return found


def part(rows: int, captions: int) -> Embedded:
    """Photos, one a row, and captions, several a row; the first caption of row 0 stands in row 1 too."""
    photo = torch.arange(rows)[:, None]
    caption = torch.stack([torch.arange(rows).repeat_interleave(captions), torch.full((rows * captions,), -1)], 1)
    caption[0, 1] = 1
    sides = {"photo": photo, "caption": caption}
    draw = np.random.default_rng(0)
    vectors = {name: draw.normal(size=(len(one), 4)).astype(np.float32) for name, one in sides.items()}
    empty = torch.zeros(rows + 1, dtype=torch.int64)
    chosen = {name: Chosen(np.arange(len(one)), one, empty, empty[:0]) for name, one in sides.items()}
    return Embedded(chosen, vectors)


def training(given: Embedded, **changes) -> MatchTraining:
    return MatchTraining(Matcher({"photo": 4, "caption": 4}, 4), None, given, Matching(**changes))


def test_negatives_never_share_a_row():
    given = part(6, 5)
    torch.manual_seed(0)
    learning = training(given, negatives=40, temperature=1.0)
    for query, corpus in (("photo", "caption"), ("caption", "photo")):
        items = torch.arange(len(given.vectors[query]))
        drawn = learning.negatives(query, items, corpus)
        rows = {name: chosen.rows for name, chosen in given.chosen.items()}
        together = matches(rows[query], rows[corpus])
        assert not together.gather(1, drawn).any()
        strangers = {(i, j) for i, j in (~together).nonzero().tolist()}
        assert {(i, j) for i, row in enumerate(drawn.tolist()) for j in row} <= strangers
    assert (learning.negatives("photo", torch.tensor([1]), "caption") != 0).all()  # it was written of row 1 as well


def test_near_strangers_are_drawn_more_often():
    given = part(12, 1)
    torch.manual_seed(0)
    cosine = given.vectors["photo"] @ given.vectors["caption"].T
    cosine[matches(given.chosen["photo"].rows, given.chosen["caption"].rows).numpy()] = -np.inf
    nearest = torch.from_numpy(cosine.argmax(1))
    drawn = training(given, temperature=1e-3).negatives("photo", torch.arange(12), "caption")
    assert (drawn[:, 0] == nearest).all()
    wide = training(given, temperature=1e6, negatives=400).negatives("photo", torch.arange(12), "caption")
    assert 0.05 < float((wide == nearest[:, None]).float().mean()) < 0.13  # one of 10 or 11 strangers


def test_where_everything_belongs_there_is_no_negative():
    given = part(1, 3)
    assert training(given).negatives("photo", torch.tensor([0]), "caption").tolist() == [[-1]]


def test_ranks_after_found_items_are_put_in_order():
    right = np.array([[False, True, False], [False, False, False]])
    way = Way(("a", "b"), np.arange(2), np.zeros((2, 3), int), np.zeros((2, 3)), right, np.array([2, 9]))
    assert way.ranks(np.array([[0.0, 1.0, 0.0], [3.0, 2.0, 1.0]])).tolist() == [1, 9]
    assert way.ranks(np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])).tolist() == [3, 9]  # ties count against us
    judged = Judged.of(part(6, 2), "test", 3, 0)
    for one in judged.ways:
        np.testing.assert_array_equal(one.ranks(one.cosine), one.first)


def test_a_run_says_what_matching_is_worth(run):
    said = run.metrics["matching"]
    assert set(said["ways"]) == {"a to b", "b to a"}
    for way in said["ways"].values():
        found = way["recall@1"]
        difference = found["after"]["mean"] - found["before"]["mean"]
        assert found["gain"]["difference"] == pytest.approx(difference)
        assert way["candidates"] == 4
        for how in ("hard", "random"):
            auc = way["auc"][how]
            difference = auc["matching"]["mean"] - auc["cosine"]["mean"]
            assert auc["gain"]["difference"] == pytest.approx(difference)
        assert way["auc"]["hard"]["cosine"]["mean"] <= way["auc"]["random"]["cosine"]["mean"]
        assert (way["verdict"] == "helps") == (found["gain"]["low"] > 0)
    page = run.report.read_text(encoding="utf-8")
    assert "Do the two belong together?" in page
    assert "put in order by the matching model" in page


def test_the_space_keeps_it_and_its_vectors_are_those_without(run, tmp_path):
    space = pm.load_space(run.folder)
    assert space.mark == replace(space, matcher=None).mark
    data = table()
    odds = space.match("a", data["a"][:5], "b", data["b_0"][:5])
    np.testing.assert_array_equal(odds, run.space.match("a", data["a"][:5], "b", data["b_0"][:5]))
    np.testing.assert_allclose(odds, space.match("b", data["b_0"][:5], "a", data["a"][:5]), atol=1e-6)
    assert np.isfinite(odds).tolist() == [True, True, True, False, True]
    one = space.match("a", data["a"][:1], "b", data["b_0"][:3])
    assert one[0] == pytest.approx(odds[0], abs=1e-6)
    assert len(one) == 3
    store = Store(tmp_path / "store")
    for _ in range(2):  # first encoded, then read
        np.testing.assert_array_equal(space.match("a", data["a"][:5], "b", data["b_0"][:5], store=store), odds)
    problems: list = []
    assert np.isnan(space.match("a", ["nonsense"], "b", data["b_0"][:1], problems=problems)).all()
    assert len(problems) == 1
    with pytest.raises(BadArgument, match=r"or one; got \[2, 3\]"):
        space.match("a", data["a"][:2], "b", data["b_0"][:3])
    with pytest.raises(BadArgument, match="Two items of 'a' cannot be judged"):
        space.match("a", data["a"][:1], "a", data["a"][1:2])


def test_a_killed_training_goes_on_to_the_same_model(run, tmp_path, monkeypatch):
    from polymodal.train import loop

    saved = loop._State.save

    def killed(self, path, epoch):
        saved(self, path, epoch)
        if path.stem == "matcher" and epoch == 2:
            raise KeyboardInterrupt

    given = {"out": tmp_path / "run", **options(tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr(loop._State, "save", killed)
        with pytest.raises(Interrupted, match="--resume"):
            pm.align(table(), "a,b_*", **given)
    again = pm.align(table(), "a,b_*", resume=True, **given)
    for name, value in run.space.matcher.state_dict().items():
        torch.testing.assert_close(again.space.matcher.state_dict()[name], value)
    assert again.metrics["matching"]["ways"] == run.metrics["matching"]["ways"]


def test_a_space_from_before_opens_and_says_that_it_cannot(tmp_path):
    space = pm.load_space(OLDER / "space")
    assert space.matcher is None
    with pytest.raises(BadArgument, match=r"no matching model. Train one with it: polymodal align … --matching"):
        space.match("a", [{"a": 0.5, "a2": -1.0}], "b", [{"b": 1.0}])
    with pytest.raises(BadArgument, match="no matching model"):
        pm.open_index(OLDER / "index", OLDER / "space").search(row="r3", rerank=5)


def test_options_are_checked_before_anything_is_computed(tmp_path):
    for value, message in (
        ({"dropuot": 0.1}, "Unknown option 'dropuot' of matching. Did you mean 'dropout'"),
        ({"candidates": 1}, "candidates"),
        ({"temperature": 0.0}, "temperature"),
        ({"training": {"epoch": 2}}, "Unknown training option 'epoch'"),
        (3, "matching"),
    ):
        with pytest.raises(BadArgument, match=message):
            pm.align(table(), "a,b_*", out=tmp_path / "run", matching=value)


def turned(search, monkeypatch) -> None:
    """What the cosine found last is judged best."""
    monkeypatch.setattr(search.space, "odds", lambda a, left, b, right: np.arange(len(right), dtype=np.float32))


def test_only_the_first_are_put_in_order(search, monkeypatch):
    turned(search, monkeypatch)
    before = search.search(row="r5", by="a", k=10, streams=["b"])
    after = search.search(row="r5", by="a", k=10, streams=["b"], rerank=4)
    names = [hit.id for hit in before]
    assert [hit.id for hit in after] == [*names[3::-1], *names[4:]]
    assert [hit.rank for hit in after] == list(range(1, 11))
    assert [hit.match is not None for hit in after] == [True] * 4 + [False] * 6
    assert {hit.id: hit.score for hit in after} == {hit.id: hit.score for hit in before}
    assert not [note for note in after.notes if "keep their places" in note]
    fewer = search.search(row="r5", by="a", k=2, streams=["b"], rerank=4)  # more are judged than shown
    assert [hit.id for hit in fewer] == names[3:1:-1]
    assert "match 0." in fewer.text()
    assert "match" not in before.to_json()["hits"][0]
    assert after.page(search.index.folder / "found.html").exists()


def test_trust_in_the_cosine_counts(search, monkeypatch):
    turned(search, monkeypatch)
    search.space.matcher.trust.fill_(1e6)
    before = search.search(row="r5", by="a", k=6, streams=["b"])
    after = search.search(row="r5", by="a", k=6, streams=["b"], rerank=6)
    assert [hit.id for hit in after] == [hit.id for hit in before]


def test_the_cosine_that_is_trusted_is_the_space_s_own(search, monkeypatch, tmp_path):
    """Scores of an index from which the gap is taken out are others than those for which trust was found."""
    turned(search, monkeypatch)
    other = pm.index(search.space, table(), out=tmp_path / "gap", calibrate="on", quiet=True)
    search.space.matcher.trust.fill_(1e6)
    found = other.search(row="r5", by="a", k=12, streams=["b"], rerank=12)
    question = other.index.vectors_of("r5")["a"][0]
    cosines = [float(other.index.vectors_of(hit.id)["b"][int(hit.part[-1])] @ question) for hit in found]
    assert cosines == sorted(cosines, reverse=True)
    scores = [hit.score for hit in found]
    assert np.abs(np.array(scores) - cosines).max() > 0.01


def test_the_model_itself_judges_the_very_items(search):
    data, found = table(), search.search(row="r5", by="a", k=5, streams=["b"], rerank=5)
    for hit in found:
        cell = data[hit.part][int(hit.id[1:])]
        odds = search.space.match("a", [data["a"][5]], "b", [cell])[0]
        assert hit.match == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)
    assert [hit.match for hit in found] == sorted((hit.match for hit in found), reverse=True)


def test_what_cannot_be_judged_keeps_its_place_and_is_counted(search, monkeypatch):
    turned(search, monkeypatch)
    before = [hit.id for hit in search.search(row="r5", by="a", k=5, streams=["b"])]
    gone = before[1]
    search.index.update([gone], columns={"b_0": [None], "b_1": [None]})
    after = search.search(row="r5", by="a", k=5, streams=["b"], rerank=5)
    assert [hit.id for hit in after] == [before[4], gone, before[3], before[2], before[0]]
    told = [note for note in after.notes if "keep their places" in note]
    assert len(told) == 1
    assert told[0].startswith("1 of the first 5 hits keep their places: their cells cannot be read again")
    assert gone in told[0]
    alike = search.search(row="r5", by="a", k=5, streams=["a"], rerank=5)
    assert any(note.startswith("5 of the first 5 hits keep their places: they are of 'a'") for note in alike.notes)


def test_a_question_that_cannot_be_judged_is_refused(search):
    with pytest.raises(BadArgument, match="A vector has no tokens"):
        search.search(vector=np.ones(6), rerank=5)
    with pytest.raises(BadArgument, match="rerank"):
        search.search(row="r5", rerank=1)
    search.index.update(["r5"], columns={"a": [None]})
    with pytest.raises(BadData, match="What is asked cannot be read again"):
        search.search(row="r5", by="a", streams=["b"], rerank=5)


def test_from_the_command_line(search, run, capsys, monkeypatch):
    asked = ["--row", "r5", "--by", "a", "--streams", "b", "-k", "3", "--rerank", "4", "--run", str(run.folder)]
    monkeypatch.setattr(sys, "argv", ["polymodal", "search", str(search.index.folder), *asked])
    with contextlib.suppress(SystemExit):
        cli.main()
    assert capsys.readouterr().out.count("match ") == 3


def test_towers_that_learned_are_stored_at_rest(tmp_path):
    """Tokens of encoders that were trained with the aligner: what the run judged by is what the space judges by."""
    colours, things = ("red", "green", "blue", "white"), ("shoe", "bag", "hat")
    said = [(colours[i % 4], things[i % 3]) for i in range(ROWS)]
    data = {
        "title": [f"a {colour} {thing}, number {i}" for i, (colour, thing) in enumerate(said)],
        "note": [f"{thing} of the colour {colour}, piece {i}" for i, (colour, thing) in enumerate(said)],
    }
    given = {**options(tmp_path), "towers": "scratch", "width": 8, "training": {"epochs": 2}}
    found = pm.align(data, "title,note", out=tmp_path / "run", **given)
    assert found.metrics["towers"] == "scratch"
    space = pm.load_space(tmp_path / "run")
    cells = data["title"][:3], data["note"][:3]
    odds = space.match("title", cells[0], "note", cells[1], store=Store(given["store"]))
    np.testing.assert_allclose(odds, found.space.match("title", cells[0], "note", cells[1]), atol=1e-5)
    assert np.isfinite(odds).all()
    groups = [group for group in Store(given["store"]).report()["groups"] if group["kind"] == "tokens"]
    assert len(groups) == 2  # one a tower: the space reads what the run has stored
