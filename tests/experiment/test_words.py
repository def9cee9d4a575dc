"""Answers in words through plan, fit, evaluate and predict, beside what they must beat."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.core.files import read_json
from polymodal.core.sealed import load_sealed
from polymodal.data.inspection.columns import columns_of
from polymodal.inference import generation
from polymodal.inference.answers import Stopped
from polymodal.inference.predictor import Predictor

ROWS = 240
QUICK = {
    "seeds": 1, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "joint": False, "pretrained": False,
    "heads": {"says": {"name": "writer", "units": 32, "depth": 1}},
    "training": {"epochs": 25, "lr": 0.01, "batch": 64},
}  # fmt: skip


def told(rows: int = ROWS, seed: int = 0) -> dict[str, list]:
    """Two vectors, one of which says who it is and the other what is done, and two people's words for it."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(2, rows, 3)).astype(np.float32)
    who = [["dog", "cat", "girl"][i] for i in np.digitize(left[:, 0], [-0.4, 0.4])]
    does = [("runs", "running") if value > 0 else ("sleeps", "sleeping") for value in right[:, 0]]
    return {
        "id": [f"row{i}" for i in range(rows)],
        "left": left.tolist(),
        "right": right.tolist(),
        "says_0": [f"A {a} {b} over there ." for a, (b, _) in zip(who, does)],
        "says_1": [None if i % 9 == 0 else f"The {a} is {b} ." for i, (a, (_, b)) in enumerate(zip(who, does))],
    }


@pytest.fixture
def polymodal(monkeypatch, capsys):
    """Runs the command line: code, output, errors."""

    def call(*arguments) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return SimpleNamespace(code=stopped.value.code or 0, **capsys.readouterr()._asdict())

    return call


def in_file(table: dict[str, list], folder: Path) -> Path:
    """A table as a file."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(dict(zip(table, row))) + "\n" for row in zip(*table.values())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    return pm.fit(told(), "says=says_*", out=folder / "run", store=folder / "store", quiet=True, **QUICK)


def test_the_plan_says_what_is_asked_and_who_is_compared():
    plan = pm.plan(told(), "says=says_*", **QUICK)
    assert plan.streams == ("left", "right"), "references are no streams"
    said = plan.text()
    assert "Target: says (text of 12 words, several references a row), judged by " in said
    assert "fusions: concat, unified(tokens=64), perceiver" in said
    assert "answers: consensus, consensus(neighbours=1), blind" in said
    assert "Left out, since it is not defined for text: late_mean." in said
    assert "not used: says_1. an answer that the target says gathers" in said


def test_words_are_learned_judged_and_beat_what_sees_nothing(run):
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert set(rows) == {
        "concat", "unified(tokens=64)", "perceiver", "left alone", "right alone", "consensus",
        "consensus(neighbours=1)", "blind", "chance",
    }  # fmt: skip
    best = max(float(rows[name]["test_mean"]) for name in ("concat", "unified(tokens=64)", "perceiver"))
    assert best > float(rows["blind"]["test_mean"]) + 0.1
    assert best > max(float(rows[f"{side} alone"]["test_mean"]) for side in ("left", "right"))
    assert rows["blind"]["level"] == rows["consensus"]["level"] == "baseline"
    assert run.metrics["chosen"] not in ("blind", "chance")
    said = (run.folder / "evaluation.json").read_text(encoding="utf-8")
    assert "Seeing helped: " in said
    assert "whose words are copied from training" in said


def test_who_sees_nothing_writes_the_same_for_all(tmp_path):
    blind = pm.fit(
        told(120), "says=says_*", out=tmp_path / "run", store=tmp_path / "store", quiet=True, deploy="blind",
        **{**QUICK, "fusion": ["concat"], "training": {"epochs": 6, "lr": 0.01}},
    )  # fmt: skip
    assert len(set(blind.predict(told(40, seed=2))["says"])) == 1


def test_a_bundle_of_copied_answers_copies_them(tmp_path, polymodal):
    run = pm.fit(
        told(120), "says=says_*", out=tmp_path / "run", store=tmp_path / "store", quiet=True, deploy="consensus",
        **{**QUICK, "fusion": ["concat"], "training": {"epochs": 2}},
    )  # fmt: skip
    new = told(40, seed=2)
    said = pm.load(tmp_path / "run").predict(new)["says"]
    assert said == run.predict(new)["says"]
    target = run.predictor.targets[0]
    known = {
        text for cells in zip(told(120)["says_0"], told(120)["says_1"]) for text in target.written([list(cells)])[0]
    }
    assert set(said) <= known
    assert len(set(said)) > 3
    none = {**new, "left": [None] * 40, "right": [None] * 40}
    assert set(run.predict(none)["says"]) == {target.medoid}
    assert run.generate(new)["says"] == said
    given = polymodal("generate", run.folder, in_file(new, tmp_path), "--page", tmp_path / "said.html")
    page = (tmp_path / "said.html").read_text(encoding="utf-8")
    assert page.count("<article") == len(said)
    assert all(one in page for one in said)
    assert (given.code, [line.split("\t")[0] for line in given.out.splitlines()]) == (0, said)
    for options, names in (
        (["--temperature", 0.7, "--n", 3], "temperature, n"),
        (["--set", "no_repeat=3"], "no_repeat"),
    ):
        refused = polymodal("generate", run.folder, in_file(new, tmp_path), *options)
        assert refused.code == 2
        assert (
            f"This run deploys consensus, which copies its answers and writes none of its own: leave out {names}, or"
            in (refused.err)
        )


def test_a_run_predicts_words_and_is_evaluated(run, tmp_path):
    again, new = pm.load(run.folder), told(60, seed=3)
    columns = again.predict({name: cells for name, cells in new.items() if not name.startswith("says")})
    assert list(columns) == ["id", "says", "says_logp"]
    assert all(logp <= 0 for logp in columns["says_logp"])
    right = [said in again.predictor.targets[0].written([[a, b]])[0] for said, a, b in
             zip(columns["says"], new["says_0"], new["says_1"])]  # fmt: skip
    assert np.mean(right) > 0.5
    evaluation = again.evaluate(new, out=tmp_path / "told")
    assert evaluation["data"]["judged"]["judged"] == 60
    assert evaluation["mistakes"][0]["truth"].count(" | ") <= 1
    assert (tmp_path / "told" / "report.html").exists()
    explained = again.explain(new, limit=2)
    assert set(explained[0]["worth"]) == {"left", "right"}
    order = np.random.default_rng(0).permutation(60)
    shuffled = {name: [cells[i] for i in order] for name, cells in new.items()}
    assert again.predict(shuffled)["says"] == [columns["says"][i] for i in order]


def test_few_rows_are_judged_by_what_is_defined_on_them():
    plan = pm.plan(told(100), "says=says_*", **QUICK)
    assert plan.metrics == {"says": ["bleu", "rouge_l"]}
    assert any("says is not judged by cider: " in note for note in plan.notes)


def test_encoders_and_words_are_trained_together(tmp_path):
    run = pm.fit(
        told(120), "says=says_*", out=tmp_path / "run", store=tmp_path / "store", quiet=True, finetune=True,
        **{**QUICK, "joint": True, "joint_on": ["concat"], "fusion": ["concat"], "training": {"epochs": 2},
           "joint_training": {"epochs": 2}, "finetune_training": {"epochs": 1}},
    )  # fmt: skip
    assert {"concat joint", "left alone joint", "concat fine-tuned"} <= {row["strategy"] for row in run.leaderboard}


def test_drafts_of_encoders_trained_with_the_answer_go_by_their_own_tokens(tmp_path):
    """What is remembered of training rows are the fused vectors of the encoders as they end, and drafts go by them."""
    data = told(400)
    data["split"] = ["train"] * 280 + ["valid"] * 60 + ["test"] * 60
    run = pm.fit(
        data, "says=says_*", out=tmp_path / "run", store=tmp_path / "store", quiet=True, deploy="concat joint",
        **{**QUICK, "joint": True, "joint_on": ["concat"], "fusion": ["concat"], "training": {"epochs": 3},
           "joint_training": {"epochs": 3}, "finetune": True, "finetune_training": {"epochs": 5, "lr": 0.004},
           "heads": {"says": {"name": "writer", "units": 32, "depth": 1, "decoding": {"drafts": 4}}}},
    )  # fmt: skip
    memory = run.predictor.answer.head("says").memory
    table = run.read(data).select(range(280))
    chunks = [run.predictor.answer.fused(streams).pooled for _, streams in run.predictor.encode(table)]
    assert len(memory) == 280
    torch.testing.assert_close(memory.vectors, memory._normal(torch.cat(chunks)), atol=1e-4, rtol=1e-4)
    assert len(set(run.predict(data)["says"])) > 1
    remembered, notes = {}, {}
    for kind in ("answers", "joint", "finetuned"):
        path = run.folder / "work" / kind / "concat-0.json"
        kept = load_sealed(path.with_suffix(".safetensors"), tensors=True)[0]
        (remembered[kind],) = (value for name, value in kept.items() if name.endswith("memory.vectors"))
        notes[kind] = " ".join(read_json(path)["notes"])
    assert all("drafts" in note and "CIDEr-D" in note for note in notes.values())
    assert not torch.allclose(remembered["finetuned"], remembered["answers"], atol=1e-3)  # taken anew


def several(rows: int = 72) -> dict[str, list]:
    """Three things to answer: a class, words of two people, and words of one, whose name begins as the others'."""
    table = told(rows)
    return {
        **table,
        "mood": ["up" if value[0] > 0 else "down" for value in table["left"]],
        "says_2": [f"one {says}" for says in table["says_0"]],
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    says = {"kind": "text", "columns": ["says_0", "says_1"]}
    return pm.fit(
        several(), schema={"target": {"mood": "classes", "says": says, "says_2": "text"}}, out=folder / "run",
        store=folder / "store", quiet=True, deploy="concat",
        **{**QUICK, "fusion": ["concat"], "training": {"epochs": 2}},
    )  # fmt: skip


def test_words_beside_a_target_of_classes_keep_what_they_must_beat(mixed):
    run = mixed
    rows = {(row["strategy"], row["target"]): row["test_mean"] for row in run.leaderboard}
    for name in ("consensus", "consensus(neighbours=1)", "blind"):
        assert (name, "says") in rows
        assert rows[name, "mood"] == pytest.approx(rows["chance", "mood"], abs=0.02), "frequencies, and no more"
    sentences = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))["verdict"]["sentences"]
    assert sum("the same words for every row" in line for line in sentences) == 2
    assert any("consensus for says, whose words are copied from training" in line for line in sentences)


def test_each_answer_has_columns_of_its_own(mixed, tmp_path, polymodal):
    few = {name: cells[:4] for name, cells in several().items()}
    one, two = mixed.generate(few), mixed.generate(few, n=2, temperature=2.0, seed=1)
    assert list(one) == list(mixed.predict(few))
    assert list(two) == [*one, "says_answer_2", "says_logp_2", "says_2_2", "says_2_logp_2"]
    assert two["says_2"] == mixed.generate(few, temperature=2.0, seed=1)["says_2"], "no answer of another target's"
    assert two["mood"] == one["mood"]
    said = polymodal("generate", mixed.folder, in_file(few, tmp_path))
    head, *lines = [line.split("\t") for line in said.out.splitlines()]
    assert len(head) == len(lines[0])
    assert head[0] == "mood"
    assert lines == [[str(one[name][row]) for name in one if name != "id"] for row in range(4)]


def test_one_target_is_looked_at_and_the_others_are_told(mixed, tmp_path, polymodal):
    new = {name: cells[:24] for name, cells in several(96).items()}
    first, says = mixed.evaluate(new, quiet=True), mixed.evaluate(new, target="says", quiet=True)
    assert (first["target"], says["target"]) == ("mood", "says")
    assert first["verdict"]["headline"].startswith("concat on 24 rows for mood: accuracy ")
    assert set(first["others"]) == {"says", "says_2"}
    assert first["others"]["says"]["metric"] == says["primary"]
    assert first["others"]["says"]["mean"] == pytest.approx(says["score"]["mean"])
    assert any(line.startswith("For says, on 24 rows: ") for line in first["verdict"]["sentences"])
    bare = {name: cells for name, cells in new.items() if name != "mood"}
    assert mixed.evaluate(bare, target="says", quiet=True)["others"].keys() == {"says_2"}
    assert mixed.score(new, target="says") == pytest.approx(says["score"]["mean"])
    with pytest.raises(UnknownName, match="This model has no target 'sais'. Did you mean 'says'"):
        mixed.evaluate(new, target="sais")
    few = in_file({name: cells[:2] for name, cells in new.items()}, tmp_path)
    said = polymodal("explain", mixed.folder, few)
    assert said.out.startswith("row0: mood = ")
    assert "explained are the answers to 'mood'; --target names another: says, says_2" in said.err
    said = polymodal("explain", mixed.folder, few, "--target", "says_2", "--out", tmp_path / "page.html")
    assert (said.code, said.out.count("says_2 = ")) == (0, 2)
    assert "says_2" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_cannot_be_used_to_write_is_told(mixed, tmp_path, polymodal):
    few = {name: cells[:3] for name, cells in several().items()}
    few["left"], few["right"] = ["what?", None, few["left"][2]], [few["right"][0], None, few["right"][2]]
    problems = []
    columns = mixed.generate(few, problems=problems)
    reasons = {(one.row, one.column): one.reason for one in problems}
    assert reasons.keys() == {("row0", "left"), ("row1", "")}
    assert "has nothing that the model reads" in reasons["row1", ""]
    assert columns["problem"][0].startswith("left: ")
    assert columns["problem"][2] is None
    said = polymodal("generate", mixed.folder, in_file(few, tmp_path))
    assert len(said.out.splitlines()) == 1 + 3, "names, since there are several targets, and a line a row"
    assert "row0" in said.err
    assert "has nothing that the model reads" in said.err


def test_a_plan_names_what_is_no_text_and_what_is_cut():
    table = told(60)
    table["says_0"][5], table["says_1"][5], table["says_0"][7] = {"a": 1}, None, "dog " * 900
    plan = pm.plan(table, "says=says_*", **QUICK)
    assert [(one.row, one.column) for one in plan.table.problems] == [("row5", "says")]
    assert plan.table.problems[0].reason.startswith("holds a mapping, \"{'a': 1}\", where the target is a text")
    assert "Left out for want of a usable target: 1 of 60 rows." in plan.notes
    [cut] = [note for note in plan.notes if "are learned from" in note]
    assert cut.startswith("says: of 1 answer only the first ")
    assert "(the longest has 900); metrics compare up to 10,000 letters." in cut


def test_cells_are_encoded_once_for_several_answers(mixed, monkeypatch):
    encoded = []
    encode = Predictor._encode
    monkeypatch.setattr(Predictor, "_encode", lambda *given: encoded.append(given[1]) or encode(*given))
    few = {name: cells[:4] for name, cells in several().items()}
    mixed.generate(few, n=5, temperature=2.0)
    assert sorted(encoded) == ["left", "right"]


def test_columns_are_told_in_words(mixed):
    schema = mixed.predictor.schema
    assert "says: target (text, references: says_0, says_1)" in schema.explain()
    [column] = [one for one in columns_of(mixed.read(several()), schema) if one.name == "says_0"]
    assert "(" not in column.kind


def test_what_needs_scores_or_several_columns_is_refused():
    with pytest.raises(BadArgument, match="The fusion late_mean is defined for scores of classes and multilabel"):
        pm.plan(told(60), "says=says_*", fusion="late_mean", **QUICK)
    with pytest.raises(UnknownName, match="no column 'said_\\*', named as the target 'says'"):
        pm.plan(told(60), "says=said_*", **QUICK)
    with pytest.raises(BadArgument, match="of kind classes is read from one column; only text gathers several"):
        pm.plan(told(60), schema={"target": {"says": {"kind": "classes", "columns": ["says_*"]}}}, **QUICK)
    with pytest.raises(BadArgument, match="The table has a column 'id' already"):
        pm.plan(told(60), "id=says_*", **QUICK)
    options = {name: value for name, value in QUICK.items() if name != "heads"}
    with pytest.raises(BadArgument, match="defined for answers in words only; the targets here are classes"):
        pm.plan(told(60), {"says_0": "classes"}, fusion=[{"name": "consensus", "neighbours": 2}], **options)


def test_words_are_written_as_asked(run, tmp_path):
    few = {name: cells[:6] for name, cells in told(seed=4).items()}
    wide, narrow = (run.generate(few, beams=beams) for beams in (4, 1))
    assert list(wide) == ["id", "says", "says_logp"]
    assert wide == run.generate(few, beams=4)
    assert run.generate(few)["says"] == run.predict(few)["says"]
    assert np.mean(wide["says_logp"]) >= np.mean(narrow["says_logp"]) - 1e-6
    drawn = run.generate(few, n=3, temperature=2.0, seed=5)
    assert {"says", "says_2", "says_logp_3"} <= set(drawn)
    assert drawn["says"] == run.generate(few, temperature=2.0, seed=5)["says"]
    assert drawn["says"] != drawn["says_2"]
    allowed = run.generate(few, allowed=["the dog is running", "a cat sleeps over there"])
    assert set(allowed["says"]) <= {"the dog is running", "a cat sleeps over there"}
    assert run.predict(few)["says"] == run.generate(few)["says"], "what was asked of one call is not kept"
    for options, match in (
        ({"beam": 2}, "Unknown option 'beam' of decoding"),
        ({"n": 2}, "would be 2 times the same: give a temperature above 0"),
        ({"beams": 2, "temperature": 1.0}, "beam search samples nothing"),
    ):
        with pytest.raises(BadArgument, match=match):
            run.generate(few, **options)


STACK = {"name": "prefix_lm", "units": 32, "depth": 2}
SHORT = {
    **{name: value for name, value in QUICK.items() if name not in ("heads", "joint")},
    "fusion": [STACK], "joint": True, "joint_on": ["prefix_lm(units=32, depth=2)"], "training": {"epochs": 3},
    "joint_training": {"epochs": 25, "lr": 0.005}, "heads": {"says": {"name": "writer", "units": 32, "depth": 1}},
}  # fmt: skip


def agreed(rows: int, seed: int = 0) -> dict[str, list]:
    """Two vectors, and in words whether they agree, which neither tells alone; mostly they do."""
    rng = np.random.default_rng(seed)
    left, right = vectors = rng.normal(size=(2, rows, 3)).astype(np.float32)
    says = rng.random((2, rows)) < 0.8
    vectors[..., 0] = np.where(says, 1.5, -1.5) + vectors[..., 0] / 4
    same = says[0] == says[1]
    return {"left": left.tolist(), "right": right.tolist(), "says": ["yes" if one else "not at all" for one in same]}


def test_of_short_answers_one_stack_is_proposed_and_its_size_told():
    plan = pm.plan(agreed(120), {"says": "text"}, **{**SHORT, "fusion": "auto", "joint": "auto", "joint_on": "auto"})
    said = plan.text()
    assert "fusions: concat, unified(tokens=64)\n" in said
    assert "answers: consensus, consensus(neighbours=1), blind, prefix_lm" in said
    assert "the best fusion by validation, mlb, prefix_lm, concat, every single modality" in said
    small, large = (pm.estimate(pm.plan(agreed(120), {"says": "text"}, **{**SHORT, "fusion": [one], "joint": False}))
                    for one in (STACK, {**STACK, "units": 64, "depth": 4}))  # fmt: skip
    sizes = [found.sizes[name] for found, name in
             ((small, "prefix_lm(units=32, depth=2)"), (large, "prefix_lm(units=64, depth=4)"))]  # fmt: skip
    assert 5 * sizes[0] < sizes[1]
    assert small.parts["strategies"][1] < large.parts["strategies"][1]
    assert f"prefix_lm(units=32, depth=2) {sizes[0]:,}" in small.text()


def test_one_stack_learns_with_its_encoders_and_knows_what_is_usual(tmp_path):
    run = pm.fit(
        agreed(360), {"says": "text"}, out=tmp_path / "run", store=tmp_path / "store", quiet=True,
        deploy="prefix_lm(units=32, depth=2) joint", **SHORT,
    )  # fmt: skip
    rows = {row["strategy"]: row for row in run.leaderboard}
    joint = rows["prefix_lm(units=32, depth=2) joint"]
    assert joint["metric"] == "exact_match"
    assert joint["level"] == "unified"
    assert joint["test_mean"] > 0.9
    assert joint["test_mean"] > max(rows[f"{one} alone joint"]["test_mean"] for one in ("left", "right")) + 0.1
    new = {name: cells for name, cells in agreed(200, seed=1).items() if name != "says"}
    none = [None] * 200
    assert set(run.predict({"left": none, "right": none})["says"]) == {"yes"}
    for part in ("left", "right"):
        said = run.predict({**new, part: none})
        assert set(said["says"]) <= {"yes", "not at all"}
        assert np.isfinite(said["says_logp"]).all()
        assert said["says"].count("yes") > 100


def test_generate_keeps_the_rows_that_were_done_where_it_is_stopped(run, tmp_path, monkeypatch, polymodal):
    whole, calls = told(600, seed=3), []
    answers = run.generate(whole)
    part = generation._generated

    def stopping(predictor, table, *args):
        calls.append(len(table))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return part(predictor, table, *args)

    monkeypatch.setattr(generation, "_generated", stopping)
    with pytest.raises(Stopped, match="512 of 600 rows are answered, 88 are missing") as caught:
        run.generate(whole)
    assert calls == [256, 256, 88]
    assert caught.value.answers == {name: column[:512] for name, column in answers.items()}
    calls.clear()
    done = polymodal("generate", run.folder, in_file(whole, tmp_path), "--out", tmp_path / "said.csv")
    assert done.code == 130
    assert "512 of 600 rows are answered, 88 are missing. Give the others as a table of their own" in done.err
    assert "512 rows written to" in done.out
    assert pm.read_table(tmp_path / "said.csv").column("says") == answers["says"][:512]
