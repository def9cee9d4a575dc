"""`align` end to end: items, splits, towers, resume, files; and the space that it leaves."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import polymodal as pm
from polymodal.alignment.items import Chosen
from polymodal.alignment.plan import plan_align
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.data.cells import cells
from polymodal.data.items import items
from polymodal.data.schema import Field, Schema
from polymodal.data.tables.source import read_table
from polymodal.retrieval.retrieve import Search
from polymodal.runs.folder import Interrupted

COLORS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230), "white": (240, 240, 240)}
SHADES = ("dark", "bright")


def planted(rows: int = 240, seed: int = 0) -> dict[str, list]:
    """Vectors that share four numbers, the second stream three times a row; some missing, one broken, one repeated."""
    rng, maps = np.random.default_rng(seed), np.random.default_rng(5)
    hidden = rng.random((rows, 4)) ** 2
    a, b = maps.normal(size=(4, 9)), maps.normal(size=(4, 7))
    data = {"id": [f"r{i}" for i in range(rows)], "a": [x.tolist() for x in hidden @ a]}
    for k in range(3):
        data[f"b_{k}"] = [x.tolist() for x in hidden @ b + 0.02 * rng.normal(size=(rows, 7))]
    data["a"][3] = None
    data["b_1"][4] = None
    data["b_2"][6] = "nonsense"
    data["b_0"][8] = data["b_0"][9]
    return data


QUICK = {"trackers": "none", "dim": 8, "training": {"epochs": 15, "lr": 5e-3}, "quiet": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align")
    return pm.align(planted(), "a,b_*", out=folder / "run", store=folder / "store", **QUICK)


def test_finds_what_was_planted(run):
    for way, found in run.metrics["test"].items():
        assert found["recall@5"]["mean"] > 0.6, way
        assert found["recall@5"]["low"] <= found["recall@5"]["mean"] <= found["recall@5"]["high"]
    assert set(run.metrics["test"]) == {"a to b", "b to a"}
    assert "R@1 66.7% (chance 4.2%)" in repr(run)


def test_chance_is_that_of_what_was_measured(run):
    """Three items of b to one of a, so that a finds one of them by chance three times as often."""
    for way, found in run.metrics["test"].items():
        said = run.metrics["evidence"][way]
        assert said["verdict"] == "above"
        assert found["recall@5"]["chance"] == pytest.approx(said["chance"])
        assert found["recall@5"]["chance"] > 0.19
    items = run.metrics["items"]["test"]
    assert run.metrics["test"]["a to b"]["recall@1"]["chance"] == pytest.approx(3 / items["b"], abs=0.002)
    assert run.metrics["test"]["b to a"]["recall@1"]["chance"] == pytest.approx(1 / items["a"])
    page = run.report.read_text(encoding="utf-8")
    assert "by chance 20 % would" in page
    assert "chance 15.0" in page  # the median rank


def test_a_space_that_learned_nothing_says_so(tmp_path, capsys):
    data = planted()
    a = data.pop("a")
    data["a to z"] = [a[i] for i in np.random.default_rng(1).permutation(240)]
    found = pm.align(data, "a to z,b_*", out=tmp_path / "run", store=tmp_path / "store", **{**QUICK, "quiet": False})
    assert {e["verdict"] for e in found.metrics["evidence"].values()} == {"chance"}
    page = found.report.read_text(encoding="utf-8")
    assert "<h1>Nothing learned that this test can show: chance lies inside the interval.</h1>" in page
    assert "a to z → b: R@5" in page
    lines = capsys.readouterr().err.splitlines()
    assert any("Nothing learned that this test can show" in line for line in lines)
    told = [line for line in lines if line.startswith("aligning by")]
    assert told[0].endswith(": 15 to do")
    assert len(told) > 3
    assert any("/15 epochs, loss " in line and "best so far: epoch " in line for line in told[1:-1]), told
    assert "Nothing learned that this test can show" in found.metrics["doctor"]["reasons"][-1]


def test_streams_that_meet_in_no_test_row_are_left_out(tmp_path):
    """Of three streams, c stands in no test row with a: the other ways are judged all the same."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 3))
    data = {n: [x.tolist() for x in hidden @ rng.normal(size=(3, 5))] for n in "abc"}
    data["split"] = ["train"] * 120 + ["valid"] * 40 + ["test"] * 40
    for row in range(160, 200):
        data["c" if row % 2 else "a"][row] = None
    options = {"method": "cca", "dim": 8, "trackers": "none", "quiet": True}
    found = pm.align(data, "a,b,c", out=tmp_path / "run", store=tmp_path / "store", **options)
    assert set(found.metrics["test"]) == {"a to b", "b to a", "b to c", "c to b"}
    assert found.metrics["evidence"]["b to a"]["unjudged"] == 20
    assert "To 20 queries of b nothing in a belongs" in found.report.read_text(encoding="utf-8")


def test_items_are_counted_once_and_faults_listed(run):
    metrics = run.metrics
    assert sum(metrics["rows"].values()) == 240
    assert sum(part["a"] for part in metrics["items"].values()) == 239
    assert sum(part["b"] for part in metrics["items"].values()) >= 720 - 3
    lines = [json.loads(line) for line in (run.folder / "set_aside.jsonl").read_text().splitlines()]
    assert [(line["row"], line["column"]) for line in lines] == [("r6", "b_2")]


def test_files_of_a_run(run):
    for name in ("config.yaml", "schema.json", "weights.safetensors", "metrics.json", "report.html", "log.jsonl"):
        assert (run.folder / name).stat().st_size, name
    page = run.report.read_text(encoding="utf-8")
    assert "Who finds whom" in page
    assert "belongs to it" in page
    assert not (run.folder / "work" / "encoders" / "aligner.checkpoint").exists()


def test_space_embeds_what_the_run_measured(run):
    space = pm.load_space(run.folder)
    assert space.streams == {"a": "vector", "b": "vector"}
    assert space.mark == run.space.mark == run.metrics["mark"]
    data, problems = planted(), []
    vectors, present = space.embed("a", [*data["a"][:5], "red"], problems=problems)
    assert present.tolist() == [True, True, True, False, True, False]
    assert vectors.dtype == np.float32
    assert not vectors[3].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[present], axis=1), 1, atol=1e-5)
    assert len(problems) == 1
    assert problems[0].row == "5"
    table = read_table(data).select([0, 1, 4])
    several, there = space.embed("b", table)
    assert there.tolist() == [True] * 7 + [False, True]
    assert space.items("b", table).row.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(several[:1], space.embed("b", [data["b_0"][0]])[0], atol=1e-6)


def test_space_refuses_what_it_cannot_read(run, shop, tmp_path):
    with pytest.raises(UnknownName, match="no stream 'c'"):
        run.space.embed("c", [])
    with pytest.raises(BadArgument, match="Put it in a list"):
        run.space.embed("a", "one")
    with pytest.raises(BadData, match="no column a"):
        run.space.embed("a", read_table({"z": [1, 2]}))
    with pytest.raises(BadArgument, match="a run of `fit`"):
        pm.load_space(shop.run)
    with pytest.raises(BadData, match="holds no finished space"):
        pm.load_space(tmp_path)
    shutil.copytree(run.folder, tmp_path / "bad")
    (tmp_path / "bad" / "weights.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(BadData, match="is not the file that was saved"):
        pm.load_space(tmp_path / "bad")


def test_a_killed_run_goes_on_to_the_same_space(run, tmp_path, monkeypatch):
    from polymodal.train import loop

    saved = loop._State.save

    def killed(self, path, epoch):
        saved(self, path, epoch)
        if epoch == 6:
            raise KeyboardInterrupt

    given = {"out": tmp_path / "run", "store": tmp_path / "store", **QUICK}
    with monkeypatch.context() as patch:
        patch.setattr(loop._State, "save", killed)
        with pytest.raises(Interrupted, match="--resume"):
            pm.align(planted(), "a,b_*", **given)
    with pytest.raises(BadArgument, match="other training"):
        pm.align(planted(), "a,b_*", resume=True, **{**given, "training": {"epochs": 3}})
    with pytest.raises(BadArgument, match="holds a run already"):
        pm.align(planted(), "a,b_*", **given)
    other = planted()
    other["b_1"][7], other["b_2"][7] = other["b_2"][7], other["b_1"][7]
    with pytest.raises(BadArgument, match=r"Data have changed since .*: 2 cells of b \(row 'r7'\)"):
        pm.align(other, "a,b_*", resume=True, **given)
    again = pm.align(planted(), "a,b_*", resume=True, **given)
    assert again.space.mark == run.space.mark
    assert again.metrics["test"] == run.metrics["test"]
    assert pm.align(planted(), "a,b_*", resume=True, **given).space.mark == run.space.mark  # finished: at once


def test_the_same_seed_gives_the_same_space(run, tmp_path):
    given = {"out": tmp_path / "run", "store": tmp_path / "store", **QUICK}
    assert pm.align(planted(), "a,b_*", **given).space.mark == run.space.mark


def test_cut_into_chunks_it_is_nearly_the_same(run, tmp_path):
    given = {"out": tmp_path / "run", "store": tmp_path / "store", **QUICK}
    found = pm.align(planted(), "a,b_*", method={"name": "infonce", "dropout": 0.0}, chunk=16, **given)
    other = pm.align(
        planted(), "a,b_*", method={"name": "infonce", "dropout": 0.0}, **{**given, "out": tmp_path / "whole"}
    )
    for name, value in found.space.aligner.state_dict().items():
        torch.testing.assert_close(value, other.space.aligner.state_dict()[name], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("method", ["siglip", "cca"])
def test_other_methods(method, tmp_path):
    given = {**QUICK, "out": tmp_path / "run", "store": tmp_path / "store", "method": method}
    if method == "cca":  # solved, not trained
        with pytest.raises(BadArgument, match="not trained: leave out training"):
            pm.align(planted(), "a,b_*", **given)
        given.pop("training")
    found = pm.align(planted(), "a,b_*", **given)
    assert found.metrics["test"]["a to b"]["recall@10"]["mean"] > 0.6
    assert pm.load_space(tmp_path / "run").mark == found.space.mark


def test_three_streams(tmp_path):
    found = pm.align(planted(), "a,b_0,last=b_2", out=tmp_path / "run", store=tmp_path / "store", **QUICK)
    assert len(found.metrics["test"]) == 6
    assert set(found.space.streams) == {"a", "b_0", "last"}


def pictures(folder, rows: int = 96) -> dict[str, list]:
    rng, data = np.random.default_rng(0), {"photo": [], "words": []}
    for i in range(rows):
        color, shade = list(COLORS)[rng.integers(4)], SHADES[rng.integers(2)]
        level = np.array(COLORS[color]) * (0.4 if shade == "dark" else 1.0)
        pixels = np.clip(level + rng.normal(0, 12, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        data["photo"].append(str(folder / f"{i}.png"))
        data["words"].append(f"a {shade} {color} square, number {i}")
    return data


def test_towers_from_scratch_and_a_locked_one(tmp_path):
    given = {"store": tmp_path / "store", "trackers": "none", "dim": 8, "width": 16, "quiet": True}
    data = pictures(tmp_path)
    found = pm.align(data, "photo,words", out=tmp_path / "run", training={"epochs": 3}, **given)
    assert found.metrics["towers"] == "scratch"
    assert found.metrics["parameters"] > sum(p.numel() for p in found.space.aligner.parameters())
    space = pm.load_space(tmp_path / "run")
    vectors, present = space.embed("photo", data["photo"][:2])
    np.testing.assert_allclose(vectors, found.space.embed("photo", data["photo"][:2])[0], atol=1e-6)
    assert present.all()
    with pytest.raises(BadArgument, match="stored vectors, so towers are frozen"):
        pm.align(data, "photo,words", out=tmp_path / "no", method="cca", **given)
    locked = {**data, "seen": [np.random.default_rng(i % 8).normal(size=5).tolist() for i in range(len(data["photo"]))]}
    half = pm.align(locked, "seen,words", out=tmp_path / "half", towers="scratch", training={"epochs": 2}, **given)
    assert set(half.space.streams) == {"seen", "words"}


def test_items_of_a_stream_with_several_a_row():
    table = read_table({"c_0": ["x", "y"], "c_1": ["z", None]})
    found = items(table, Field("c", "text", ("c_0", "c_1"), {"many": True}))
    assert found.cells[:] == ["x", "z", "y", None]
    assert found.row.tolist() == [0, 0, 1, 1]
    assert list(found.column) == ["c_0", "c_1", "c_0", "c_1"]
    with pytest.raises(BadData, match="several items a row"):
        cells(table, Field("c", "text", ("c_0", "c_1"), {"many": True}))


def test_equal_cells_are_one_item_in_several_rows():
    table = read_table({"c_0": ["x", "y", "q"], "c_1": ["z", "x", "x"]})
    some = items(table, Field("c", "text", ("c_0", "c_1"), {"many": True}))
    digests = np.zeros((6, 16), np.uint8)
    digests[:, 0] = [ord(c) for c in some.cells[:]]
    chosen = Chosen.of(some, digests, np.ones(6, bool), np.array([0, 1]), 3)
    assert chosen.cells.tolist() == [0, 1, 2]  # x, z, y
    assert chosen.rows.tolist() == [[0, 1], [0, -1], [1, -1]]
    assert chosen.standing_in(torch.tensor([1])).tolist() == [0, 2]
    assert chosen.standing_in(torch.tensor([0, 1])).tolist() == [0, 1, 2]
    assert chosen.standing_in(torch.tensor([2])).tolist() == []


def test_schema_says_many(tmp_path):
    schema = {"fields": {"a": "vector", "b": {"kind": "vector", "columns": ["b_*"], "many": True}}}
    assert plan_align(planted(), schema=schema).schema.fields["b"].options == {"many": True}
    with pytest.raises(BadArgument, match="many: true"):
        Schema.infer(
            read_table({"p_0": ["x y"], "p_1": ["z"]}), None, {"fields": {"p": {"kind": "text", "columns": "p_*"}}}
        )
    with pytest.raises(BadArgument, match="true .* or false"):
        plan_align(
            planted(), schema={"fields": {"a": "vector", "b": {"kind": "vector", "columns": ["b_0"], "many": 2}}}
        )


@pytest.mark.parametrize(
    ("streams", "options", "error", "message"),
    [
        ("a", {}, BadArgument, "two streams or more"),
        ("a,c_*", {}, UnknownName, "No field and no column is called 'c_.'"),
        ("a,b=a", {}, BadArgument, None),
        ("a,b_*", {"method": "infonse"}, UnknownName, "Did you mean 'infonce'"),
        ("a,b_*", {"towers": "warm"}, BadArgument, "Unknown towers 'warm'"),
        ("a,b_*", {"epochs": 3}, BadArgument, "Unknown option 'epochs' of align"),
        ("a,b_*", {"encoders": {"c": "vector_mlp"}}, UnknownName, "neither a stream nor a kind"),
        ("a,b_*", {"encoders": {"a": "vector_mlp"}, "towers": "frozen"}, BadArgument, "a would have none"),
        ("a,a", {}, BadArgument, "given twice"),
        ("a,id", {}, BadArgument, "is no stream"),
    ],
)
def test_wrong_requests_say_what_to_do(streams, options, error, message):
    if message is None:
        assert set(plan_align(planted(), streams, **options).streams) == {"a", "b"}
        return
    with pytest.raises(error, match=message):
        plan_align(planted(), streams, **options)


def test_words_that_were_read_as_a_category_are_told(tmp_path):
    data = {**planted(), "note": [("red", "green", "blue")[i % 3] for i in range(240)]}
    plan = plan_align(data, "a,note")
    (told,) = (note for note in plan.notes if note.startswith("note was read as a category (few values: 3 different"))
    assert told.endswith("read it as text: say in a schema `kinds: {note: text}`.")
    assert not any("category" in note for note in plan_align(data, "a,note", schema={"kinds": {"note": "text"}}).notes)
    assert not any("category" in note for note in plan_align(data, "a,b_*").notes)
    with pytest.raises(BadArgument, match=r"'note' is table\. .* as in `kinds: \{note: text\}`"):
        plan_align(data, "a,note", encoders={"note": "text_tfidf"})
    space = SimpleNamespace(schema=plan.schema, streams={"a": "vector", "note": "table"}, field=plan.schema.fields.get)
    asked = SimpleNamespace(space=space, _fitting=lambda kind: [])
    with pytest.raises(BadArgument, match="no stream of kind text.* note was read as a category"):
        Search.stream_for(asked, "text")


def test_rows_of_one_photo_stay_in_one_part(tmp_path):
    data = {"photo": [f"{i // 3}.png" for i in range(300)], "words": [f"words {i} of it" for i in range(300)]}
    plan = plan_align(data, "photo,words", schema={"kinds": {"photo": "image", "words": "text"}})
    parts = plan.split.reshape(100, 3)
    assert (parts == parts[:, :1]).all()
    assert {len(plan.rows(p)) > 10 for p in ("train", "valid", "test")} == {True}


@pytest.mark.parametrize("towers", ["frozen", "finetune"])
def test_pretrained_towers(towers, tmp_path):
    pytest.importorskip("transformers")
    from tiny_towers import save_bert, save_vit

    encoders = {
        "photo": {"name": "pretrained_vision", "model": save_vit(tmp_path / "vit"), "tokens": 1},
        "words": {"name": "pretrained_text", "model": save_bert(tmp_path / "bert"), "tokens": 1},
    }
    given = {"store": tmp_path / "store", "trackers": "none", "dim": 8, "width": 16, "quiet": True}
    data = pictures(tmp_path, 40)
    found = pm.align(
        data, "photo,words", towers=towers, encoders=encoders, training={"epochs": 1}, out=tmp_path / "run", **given
    )
    heads = sum(p.numel() for p in found.space.aligner.parameters())
    assert found.metrics["towers"] == towers
    assert (found.metrics["parameters"] > heads) == (towers == "finetune")
    assert (found.metrics["speed"] is None) == (towers == "finetune")
    vectors, _ = found.space.embed("words", data["words"][:3])
    np.testing.assert_allclose(pm.load_space(tmp_path / "run").embed("words", data["words"][:3])[0], vectors, atol=1e-6)


def test_the_command(tmp_path, capsys, monkeypatch):
    from polymodal import cli

    path = tmp_path / "data.jsonl"
    rows = planted(120)
    path.write_text("\n".join(json.dumps({c: rows[c][i] for c in rows}) for i in range(120)), encoding="utf-8")
    settings = ["--set", "training={epochs: 2}", "--set", "trackers=none", "--set", f"store={tmp_path / 'store'}"]
    command = ["polymodal", "align", str(path), "--streams", "a,b_*", "--out", str(tmp_path / "run"), *settings]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert "a to b: R@1" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*command, "--method", "infonse"])
    with pytest.raises(SystemExit) as refused:
        cli.main()
    assert refused.value.code == 2
    assert "Did you mean 'infonce'" in capsys.readouterr().err
