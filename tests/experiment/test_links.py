"""Rows linked to rows, through the whole pipeline: a planted target that only the neighbours tell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, UnknownName

BLOCKS, ROWS, EDGES = 3, 240, 6
QUICK = {
    "encodings": "trained",
    "seeds": 1, "crossfit": 2, "workers": 0, "fusion": ["concat", "graph"], "dim": 16,
    "encoder_training": {"epochs": 12, "batch": 16}, "answer_training": {"epochs": 12},
    "deploy": "concat",
}  # fmt: skip
SCHEMA = {"fields": {"size": {"kind": "table", "columns": ["size", "weight"]}}, "id": "name", "target": "kind"}


def planted(folder: Path, *, shuffled: bool = False, seed: int = 0) -> tuple[Path, np.ndarray]:
    """A stochastic block model: `size` tells a row's own block, its target is the block of the rows it is linked to.

    The two are drawn apart, so a row's own features say nothing. Neighbours are training rows, as a new row's are.
    """
    draw = np.random.default_rng(seed)
    block, wanted = draw.integers(0, BLOCKS, (2, ROWS))
    rows = [
        {"name": f"n{i}", "size": f"{block[i] * 3 + draw.normal():.3f}", "weight": f"{draw.normal():.3f}",
         "kind": "abc"[wanted[i]], "split": ("train", "train", "train", "valid", "test")[i % 5]}
        for i in range(ROWS)
    ]  # fmt: skip
    known = np.flatnonzero(np.arange(ROWS) % 5 < 3)
    edges = [(i, j) for i in range(ROWS) for j in draw.choice(known[block[known] == wanted[i]], EDGES, replace=False)]
    ends = np.array([j for _, j in edges])
    if shuffled:
        draw.shuffle(ends)
    write(folder / "table.csv", rows)
    write(folder / "edges.csv", [{"source": f"n{i}", "target": f"n{j}"} for (i, _), j in zip(edges, ends) if i != j])
    return folder / "table.csv", wanted


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def linked(**options: object) -> dict[str, object]:
    friends = {"kind": "links", "path": "edges.csv", "directed": True, **options}
    return {**SCHEMA, "split": "split", "fields": {**SCHEMA["fields"], "friends": friends}}


def accuracy(run: pm.Run, strategy: str) -> float:
    return float(next(r for r in run.leaderboard if r["strategy"] == strategy)["test_mean"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_STORE", str(folder / "store"))
        table, wanted = planted(folder)
        run = pm.fit(table, "kind", schema=linked(), out=folder / "run", quiet=True, **QUICK)
    return folder, table, wanted, run


def test_links_tell_what_only_the_neighbours_know(fitted):
    _, _, _, run = fitted
    assert accuracy(run, "friends alone") > 0.85
    assert accuracy(run, "concat") > 0.85
    assert accuracy(run, "graph") > 0.85
    assert accuracy(run, "size alone") < 0.55


def test_shuffled_links_give_chance(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    table, _ = planted(tmp_path, shuffled=True)
    run = pm.fit(table, "kind", schema=linked(), out=tmp_path / "run", quiet=True, **QUICK)
    assert max(accuracy(run, name) for name in ("friends alone", "concat", "graph")) < 0.6


def new_rows(folder: Path, edges: list[tuple[str, str]], sizes: dict[str, float]) -> Path:
    """A table and an edge list of its own in a new folder."""
    folder.mkdir()
    write(folder / "new.csv", [{"name": n, "size": size, "weight": 0.0} for n, size in sizes.items()])
    write(folder / "edges.csv", [{"source": a, "target": b} for a, b in edges])
    return folder / "new.csv"


def test_new_rows_read_training_rows_and_one_another(fitted, tmp_path):
    _, table, _, run = fitted
    with table.open() as file:
        rows = list(csv.DictReader(file))
    train = {letter: [r["name"] for r in rows if r["split"] == "train" and near(r) == letter] for letter in "abc"}
    edges = [(f"to_{letter}", name) for letter in "abc" for name in train[letter][:6]]
    edges += [("to_new", f"new{i}") for i in range(4)]
    sizes = {
        **{f"to_{letter}": 3.0 for letter in "abc"},
        "to_new": 0.0,
        **{f"new{i}": 6.0 for i in range(4)},
        "lone": 3.0,
    }
    found = pm.load(run.folder).predict(new_rows(tmp_path / "new", edges, sizes))
    answers = dict(zip(found["name"], found["kind"]))
    assert [answers[f"to_{letter}"] for letter in "abc"] == ["a", "b", "c"]
    assert answers["to_new"] == "c"  # its neighbours are new rows themselves
    explained = {row["id"]: row for row in pm.load(run.folder).explain(tmp_path / "new" / "new.csv")}
    assert explained["lone"]["missing"] == ["friends"]
    assert explained["to_a"]["missing"] == []
    alone = pm.load(run.folder).explain(tmp_path / "new" / "new.csv", row="to_new")
    assert alone[0]["missing"] == []  # its neighbours are found although one row is explained
    assert alone[0]["answer"] == "c"


def near(row: dict[str, str]) -> str:
    """The block that a row's size tells."""
    return "abc"[min(2, max(0, round(float(row["size"]) / 3)))]


def test_a_new_table_without_an_edge_list_is_told_and_has_no_neighbours(fitted, tmp_path):
    _, _, _, run = fitted
    table = new_rows(tmp_path / "new", [("x", "n0")], {"x": 1.0})
    (tmp_path / "new" / "edges.csv").unlink()
    assert run.lacking(table) == [str(tmp_path / "new" / "edges.csv")]
    assert run.explain(table)[0]["missing"] == ["friends"]


def test_evaluate_agrees_with_the_fit(fitted, tmp_path):
    folder, table, _, run = fitted
    with table.open() as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "test"]
    (tmp_path / "edges.csv").write_text((folder / "edges.csv").read_text())
    write(tmp_path / "test.csv", rows)
    found = pm.load(run.folder).evaluate(tmp_path / "test.csv", out=tmp_path / "report", quiet=True)
    assert found["metrics"]["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"]["mean"], abs=0.03)
    assert (tmp_path / "report" / "report.html").exists()
    assert {s["name"] for s in found["worth"]["streams"]} == {"friends", "size"}


def test_resume_gives_the_same_run(fitted):
    folder, table, _, run = fitted
    before = (run.folder / "leaderboard.csv").read_text()
    for path in [*(run.folder / "work" / "encoders").glob("friends-whole.*"), *(run.folder / "work").glob("answers/*")]:
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_STORE", str(folder / "store"))
        again = pm.fit(table, "kind", schema=linked(), out=run.folder, resume=True, quiet=True, **QUICK)

    def figures(text: str) -> list[tuple[str, str]]:
        return [(r["strategy"], r["test_mean"]) for r in csv.DictReader(text.splitlines())]

    assert figures((again.folder / "leaderboard.csv").read_text()) == figures(before)


def test_no_label_reaches_a_neighbour(fitted):
    """What is kept of a row are the vectors of its own streams and nothing else."""
    from polymodal.data.neighbours import Memory

    _, _, _, run = fitted
    memory = Memory.load(run.folder / "neighbours.safetensors")
    assert memory.vectors.shape == (ROWS, QUICK["dim"] + 1)  # one other stream, and whether it is there
    assert set(memory.vectors[:, -1].tolist()) == {1.0}


# --- what is said -----------------------------------------------------------------------------------------------------


def test_the_plan_says_whose_features_are_read(tmp_path):
    table, _ = planted(tmp_path)
    said = pm.plan(table, "kind", schema=linked()).text()
    assert "friends: links, encoded by links_graph" in said
    assert "training rows read training rows alone, test rows read test rows too" in said
    assert "transductive" in pm.plan(table, "kind", schema=linked(across="all")).text()
    assert "links that cross the split are left out" in pm.plan(table, "kind", schema=linked(across="own")).text()


def test_inspect_tells_unknown_ids_self_loops_and_isolated_rows(tmp_path):
    table, _ = planted(tmp_path)
    edges = (tmp_path / "edges.csv").read_text().splitlines()
    kept = [line for line in edges if not line.startswith("n7,")]
    (tmp_path / "edges.csv").write_text("\n".join([*kept, "n1,n1", "n2,stranger", "n3,"]))
    found = pm.inspect(table, "kind", schema=linked())
    said = "\n".join(found.warnings)
    assert "1 edges join a row with itself (n1)" in said
    assert "name no row of the table (stranger)" in said
    assert "1 edges lack an id" in said
    assert "1 row has no neighbour (n7)" in said
    assert next(f for f in found.fields if f["name"] == "friends")["missing"] == 1


@pytest.mark.parametrize(
    ("text", "options", "error", "match"),
    [
        (None, {}, BadData, "the edge list .*edges.csv does not exist"),
        ("n0,n1\nn1,n2\n", {}, UnknownName, "has no column 'source'.* Its first line must name its columns"),
        ("source,target,w\nn0,n1,2\n", {"weight": "weigt"}, UnknownName, "has no column 'weigt'"),
        ("source,target\n", {"neighbors": 3}, BadArgument, "no option 'neighbors'. Did you mean 'neighbours'"),
        ("source,target\n", {"neighbours": 0}, BadArgument, "neighbours is a whole number of at least 1; got 0"),
        ("source,target\n", {"across": "never"}, BadArgument, "across is one of earlier, own, all; got 'never'"),
        ("source,target\n", {"directed": "yes"}, BadArgument, "directed is true or false; got 'yes'"),
    ],
)
def test_bad_edge_lists_and_options(tmp_path, text, options, error, match):
    table, _ = planted(tmp_path)
    (tmp_path / "edges.csv").unlink()
    if text is not None:
        (tmp_path / "edges.csv").write_text(text)
    with pytest.raises(error, match=match):
        pm.plan(table, "kind", schema=linked(**options))


def test_links_need_ids_another_field_and_no_fine_tuning(tmp_path):
    table, _ = planted(tmp_path)
    with pytest.raises(BadData, match="name the column that holds them: `id: COLUMN`"):
        pm.plan(table, "kind", schema={k: v for k, v in linked().items() if k != "id"})
    with pytest.raises(BadData, match="needs another field"):
        pm.plan(table, "kind", schema={**linked(), "fields": {"friends": linked()["fields"]["friends"]}})
    for option in ("finetune", "joint"):
        with pytest.raises(BadArgument, match=f"{option} does not go with links"):
            pm.plan(table, "kind", schema=linked(), **{option: True})
    assert pm.plan(table, "kind", schema=linked()).joint == ()  # `auto` leaves it out
    with pytest.raises(UnknownName, match="deploy names 'concat joint'"):
        pm.plan(table, "kind", schema=linked(), deploy="concat joint")
    with pytest.raises(BadArgument, match="needs `path`"):
        pm.plan(table, "kind", schema={**linked(), "fields": {**SCHEMA["fields"], "friends": "links"}})
