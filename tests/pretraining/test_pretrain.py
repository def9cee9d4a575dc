"""Encoders that learn without labels, and what starts from them."""

import json

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.alignment.train import AlignTraining
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.core.files import read_json
from polymodal.core.sealed import load_sealed
from polymodal.experiment import encoder_job, end_to_end_job
from polymodal.experiment.plan import plan as make_plan
from polymodal.inference.start import Start
from polymodal.pretraining.learning import Learning
from polymodal.runs.folder import Interrupted
from polymodal.train.loop import Diverged

QUICK = {"dim": 16, "trackers": "none", "quiet": True, "training": {"epochs": 3}}
FIT = {
    "dim": 16, "trackers": "none", "quiet": True, "workers": 0, "seeds": 1, "crossfit": 2, "joint": False,
    "fusion": ["gated"], "encoder_training": {"epochs": 2}, "answer_training": {"epochs": 2}, "evidence": "validation",
}  # fmt: skip


def planted(rows=120, seed=0):
    """Two views of one hidden state, a table of numbers, and a label; the last rows are test rows."""
    draw = np.random.default_rng(seed)
    hidden = draw.normal(size=(rows, 3))
    views = {n: hidden @ draw.normal(size=(3, 8)) + 0.2 * draw.normal(size=(rows, 8)) for n in "ab"}
    return {
        "id": [f"r{i}" for i in range(rows)],
        **{name: [x.tolist() for x in view] for name, view in views.items()},
        "age": [f"{value:.3f}" for value in hidden[:, 0] * 10 + 50],
        "size": [f"{value:.3f}" for value in hidden[:, 1] - hidden[:, 2]],
        "label": [("no", "yes")[int(x > 0)] for x in hidden[:, 0]],
        "split": ["train"] * (rows - 50) + ["valid"] * 25 + ["test"] * 25,
    }


@pytest.fixture(autouse=True)
def _store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path_factory.getbasetemp() / "store"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_STORE", str(tmp_path_factory.getbasetemp() / "store"))
        return pm.pretrain(planted(), "label", out=folder / "run", **QUICK)


def weights(folder):
    return load_sealed(folder / "weights.safetensors", tensors=True)[0]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def recorded(monkeypatch, module, name, of):
    """What `of` says of the arguments of each call of a function."""
    calls, plain = [], getattr(module, name)

    def wrapper(*args, **kwargs):
        calls.append(of(*args, **kwargs))
        return plain(*args, **kwargs)

    monkeypatch.setattr(module, name, wrapper)
    return calls


def told(run):
    return run.report.read_text(encoding="utf-8")


def copied(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


# --- the run ---


def test_a_run_says_what_it_learned_from_which_rows(made):
    metrics = made.metrics
    assert metrics["objective"] == "both"
    assert metrics["rows"] == {"learned": 70, "judged": 25, "test": 0}
    assert metrics["valid"].keys() == {"a", "b", "table", "contrast"}
    assert "Learned without labels from 70 rows; no test row was read" in made.report.read_text(encoding="utf-8")
    start = Start.load(made.folder)
    assert set(start.streams) == {"a", "b", "table"}
    assert {len(seen) for seen in start.seen.values()} == {95}
    assert not list((made.folder / "work" / "encoders").glob("*.checkpoint"))
    assert "label" not in json.dumps(read_json(made.folder / "schema.json")["schema"]["fields"])


def test_it_learns_more_than_nothing(tmp_path):
    found = pm.pretrain(
        planted(400), "label", out=tmp_path / "run", **{**QUICK, "training": {"epochs": 30}}
    ).metrics["valid"]  # fmt: skip
    assert found["a"] < 0.75
    assert found["contrast"] < 0.8


def test_other_streams_help_to_rebuild(tmp_path):
    """The two numbers of the table say all of the hidden state that they can: `across` reads it from a and b."""
    found = {
        across: pm.pretrain(
            planted(400), "label", out=tmp_path / str(across), across=across, objective="masked", streams="a,b,table",
            **{**QUICK, "training": {"epochs": 30}},
        ).metrics["valid"]["table"]
        for across in (True, False)
    }  # fmt: skip
    assert found[True] < found[False] - 0.1


@pytest.mark.parametrize("objective", ["masked", "contrastive"])
def test_missing_cells_a_stream_of_one_row_and_rows_of_nothing(tmp_path, objective):
    data = planted(80)
    data["b"] = [cell if i % 3 else None for i, cell in enumerate(data["b"])]
    data["c"] = [[float(j + i) for j in range(5)] if i == 7 else None for i in range(80)]
    for name in ("a", "b", "age", "size", "label"):
        data[name][11] = None
    found = pm.pretrain(
        data, "label", out=tmp_path / "run", schema={"kinds": {"c": "vector"}}, objective=objective, **QUICK
    )
    values = found.metrics["valid"]
    assert np.isfinite([*values.values()]).all()
    assert found.metrics["rows"]["learned"] == 30  # row 11, without a label too, is one of them
    assert set(Start.load(found.folder).streams) == {"a", "b", "c", "table"}
    assert all(v.isfinite().all() for v in weights(found.folder).values())


def test_one_stream_is_masked_and_cannot_be_contrasted(tmp_path):
    found = pm.pretrain(planted(), "label", out=tmp_path / "run", streams="a", **QUICK)
    assert found.metrics["objective"] == "masked"
    with pytest.raises(BadData, match="0 rows that are learned from have two of a. Use objective=masked"):
        pm.pretrain(planted(), "label", out=tmp_path / "no", streams="a", objective="contrastive", **QUICK)
    assert not (tmp_path / "no").exists()


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(BadArgument, match="Unknown objective 'maskd'.*masked"):
        pm.pretrain(planted(), out=tmp_path / "run", objective="maskd")
    with pytest.raises(BadArgument, match="Unknown option 'objectve' of pretrain.*objective"):
        pm.pretrain(planted(), out=tmp_path / "run", objectve="masked")
    with pytest.raises(UnknownName, match="no stream 'aa'"):
        pm.pretrain(planted(), out=tmp_path / "run", streams="aa", **QUICK)
    with pytest.raises(BadData, match="a is left out: its encoder has nothing to learn|Nothing to learn by"):
        pm.pretrain(planted(), out=tmp_path / "run", streams="a", encoders={"a": "vector_plain"}, **QUICK)
    with pytest.raises(BadArgument, match="hidden"):
        pm.pretrain(planted(), out=tmp_path / "run", hidden=1.0)


def test_a_killed_run_goes_on_to_the_same_weights(made, tmp_path, monkeypatch):
    plain, done = Learning.measure, []

    def killed(self, *args):
        done.append(plain(self, *args))
        if len(done) == 2:
            raise KeyboardInterrupt
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Learning, "measure", killed)
        with pytest.raises(Interrupted):
            pm.pretrain(planted(), "label", out=tmp_path / "run", **QUICK)
    with pytest.raises(BadArgument, match="--resume"):
        pm.pretrain(planted(), "label", out=tmp_path / "run", **QUICK)
    found = pm.pretrain(planted(), "label", out=tmp_path / "run", resume=True, **QUICK)
    assert same(weights(found.folder), weights(made.folder))
    assert found.metrics["valid"] == made.metrics["valid"]


def test_test_rows_are_not_read(made, tmp_path):
    """Whatever they hold, nothing is different; where they were asked for, they count."""
    data = planted()
    for row in range(95, 120):
        data["a"][row] = [1e6] * 8
        data["age"][row] = "1e9"
        data["label"][row] = "yes"
    found = pm.pretrain(data, "label", out=tmp_path / "run", **QUICK)
    assert same(weights(found.folder), weights(made.folder))
    asked = pm.pretrain(planted(), "label", out=tmp_path / "asked", test_rows=True, **QUICK)
    assert asked.metrics["rows"] == {"learned": 95, "judged": 25, "test": 25}
    assert "25 of them test rows, as was asked" in asked.report.read_text(encoding="utf-8")


# --- what starts from it ---


def test_encoders_and_their_parts_start_bitwise_from_the_weights(made, tmp_path, monkeypatch):
    begun = recorded(
        monkeypatch, encoder_job, "fit_encoder",
        lambda work, model, stream, *_: (stream, copied(model.encoders[stream])),
    )  # fmt: skip
    run = pm.fit(planted(), "label", out=tmp_path / "run", start=made.folder, encodings="trained", **FIT)
    start = Start.load(made.folder)
    for stream in ("a", "b", "table"):
        equal = [same(one, start.of(stream)) for name, one in begun if name == stream]
        assert equal[:2] == [True, False]  # tried from there, and from scratch
        settled = read_json(run.folder / "work" / "encoders" / f"{stream}.json")["rungs"]
        assert len(settled) == 2
        kept = settled[0]["encoder"].endswith("started from run")
        assert equal[2:] == [False, kept, False]  # the first part goes on; the second; the whole goes on from the first
    assert "a, b, table start from run: both learning without labels from 70 rows" in told(run)
    for stream, processor in run.predictor.processors.items():
        assert processor.state() == start.processors[stream].state()


def test_joint_training_starts_there_too(made, tmp_path, monkeypatch):
    begun = []
    plain = end_to_end_job.begin

    def begin(encoder, work, stream, rows, pretrained):
        plain(encoder, work, stream, rows, pretrained)
        begun.append((stream, copied(encoder)))

    monkeypatch.setattr(end_to_end_job, "begin", begin)
    options = {**FIT, "joint": True, "joint_training": {"epochs": 1}}
    run = pm.fit(planted(), "label", out=tmp_path / "run", start=made.folder, encodings="trained", **options)
    start = Start.load(made.folder)
    rungs = {s: read_json(run.folder / "work" / "encoders" / f"{s}.json")["rungs"] for s in start.streams}
    kept = {s: rung[0]["encoder"].endswith("started from run") for s, rung in rungs.items()}
    assert begun
    assert [same(one, start.of(stream)) for stream, one in begun] == [kept[stream] for stream, _ in begun]


def test_evidence_turns_a_bad_start_down(made, tmp_path):
    start = Start.load(made.folder)
    (tmp_path / "bad").mkdir()
    start.folder = tmp_path / "bad"
    start.weights = {name: torch.zeros_like(value) for name, value in start.weights.items()}
    start.save({"config": {}})
    options = {**FIT, "encodings": "trained", "encoder_training": {"epochs": 10}}
    run = pm.fit(planted(), "label", out=tmp_path / "run", start=tmp_path / "bad", **options)
    folder = run.folder / "work" / "encoders"
    for stream in ("a", "b", "table"):
        started, scratch = (max(read_json(folder / f"{stream}-{name}.json")["valid"]) for name in ("tried", "scratch"))
        kept, tried = read_json(folder / f"{stream}.json")["rungs"]
        assert kept["encoder"].endswith("started from bad") == (started >= scratch)
        assert "after half the epochs on one part: validation score" in tried["why"]
    assert kept["encoder"] == "table_mlp"  # what starts from zeros learns nothing
    assert tried["encoder"] == "table_mlp, started from bad"
    assert "started from bad" in run.report.read_text(encoding="utf-8")


def test_towers_of_align_start_there(made, tmp_path, monkeypatch):
    begun = recorded(
        monkeypatch, AlignTraining, "run", lambda self, *_: {n: copied(t.encoder) for n, t in self.towers.items()}
    )
    options = {"dim": 8, "trackers": "none", "quiet": True, "training": {"epochs": 1}, "towers": "scratch"}
    encoders = {"vector": "vector_mlp"}
    run = pm.align(planted(), "a,b", out=tmp_path / "run", start=made.folder, width=16, encoders=encoders, **options)
    start = Start.load(made.folder)
    assert all(same(begun[0][name], start.of(name)) for name in "ab")
    assert any("a, b start from run" in note for note in run.metrics["notes"])
    with pytest.raises(BadArgument, match="width is 128 here and 16 there"):
        pm.align(planted(), "a,b", out=tmp_path / "wide", start=made.folder, encoders=encoders, **options)
    with pytest.raises(BadArgument, match="these are frozen"):
        pm.align(planted(), "a,b", out=tmp_path / "frozen", start=made.folder, trackers="none", quiet=True)


def test_where_encoders_answer_by_themselves_unseen_rows_tell(made, tmp_path):
    options = {**FIT, "encoder_training": {"epochs": 4}}
    run = pm.fit(planted(), "label", out=tmp_path / "run", start=made.folder, **options)
    rungs = read_json(run.folder / "work" / "encoders" / "table.json")["rungs"]
    assert any("loss on unseen rows" in rung["why"] for rung in rungs)
    assert {"table_mlp", "table_mlp, started from run"} <= {rung["encoder"] for rung in rungs}


def test_a_start_that_does_not_fit_names_what_differs(made, tmp_path):
    data = planted()
    with pytest.raises(BadArgument, match="dim is 64 here and 16 there"):
        make_plan(data, "label", start=made.folder)
    with pytest.raises(BadArgument, match="a: encoder .*hidden.* here and vector_mlp there"):
        make_plan(data, "label", start=made.folder, dim=16, encoders={"a": {"name": "vector_mlp", "hidden": 32}})
    with pytest.raises(BadArgument, match=r"table: columns \['age', 'size', 'more'\] here and \['age', 'size'\] there"):
        make_plan({**data, "more": data["age"][::-1]}, "label", start=made.folder, dim=16)
    worded = {**data, "a": [f"the word number {i} of these" for i in range(len(data["a"]))]}
    with pytest.raises(
        BadArgument, match=r"a: kind text here and vector there.* by --schema with `kinds: {a: vector}`"
    ):
        make_plan(worded, "label", start=made.folder, dim=16)
    with pytest.raises(BadArgument, match="No stream of x starts from .*which has a, b, table"):
        make_plan({"x": data["a"], "label": data["label"]}, "label", start=made.folder, dim=16)
    with pytest.raises(BadData, match="no finished pretrained start"):
        make_plan(data, "label", start=tmp_path, dim=16)
    with pytest.raises(BadArgument, match="start is no option of tune"):
        pm.TuneConfig.from_options({"start": str(made.folder)})


def test_a_plan_says_what_starts_where(made):
    said = make_plan({**planted(), "new": planted(seed=3)["a"]}, "label", start=made.folder, dim=16).text()
    assert "Start: a, b, table start from run: both learning without labels from 70 rows" in said
    assert "no test rows. Not in run, so from scratch: new." in said


def test_test_rows_that_were_learned_from_are_refused_unless_asked(made, tmp_path):
    data = planted()
    moved = {**data, "split": ["test"] * 25 + ["train"] * 70 + ["valid"] * 25}
    with pytest.raises(BadData, match="25 of 25 test rows hold cells that run learned from"):
        pm.fit(moved, "label", out=tmp_path / "run", start=made.folder, encodings="trained", **FIT)
    assert not (tmp_path / "run").exists()
    asked = pm.pretrain(data, "label", out=tmp_path / "asked", test_rows=True, **QUICK)
    run = pm.fit(data, "label", out=tmp_path / "run", start=asked.folder, encodings="trained", **FIT)
    assert "25 of 25 test rows hold cells that asked learned from" in told(run)


@pytest.mark.parametrize(
    ("targets", "advice"),
    [
        ({"label": "classes"}, "split: name the same --target, --schema, seed and fractions there, or"),
        ({"label": {"name": "text"}}, r"there classes \(label\); give it --schema with `target: {label: text}`, or"),
    ],
)
def test_rows_are_cut_alike_where_the_target_is_of_the_same_kind(made, targets, advice):
    start = Start.load(made.folder)
    with pytest.raises(BadData, match=advice):
        start.check_unseen(("a",), {"a": start.seen["a"][:5]}, np.full(5, 2), targets=targets)


def test_the_same_target_and_seed_cut_the_same_test_rows(tmp_path):
    data = planted()
    del data["split"]
    data["label"] = [label if i % 4 else None for i, label in enumerate(data["label"])]  # rows without a label count
    made = pm.pretrain(data, "label", out=tmp_path / "pre", **QUICK)
    assert made.metrics["rows"]["learned"] > 70
    pm.fit(data, "label", out=tmp_path / "run", start=made.folder, encodings="trained", **FIT)
    bare = pm.pretrain(data, out=tmp_path / "bare", streams="a,b", **QUICK)
    assert any("a fit may cut other test rows" in note for note in bare.metrics["notes"])


def digests(*cells):
    return np.array([list(f"{cell:>16}".encode()) if cell else [0] * 16 for cell in cells], np.uint8)


def test_a_cell_of_a_test_row_that_was_learned_from_is_found_whatever_is_beside_it(tmp_path):
    photos, said = [f"p{i}" for i in range(10)], [f"c{i}" for i in range(10)]
    start = Start(tmp_path, None, {}, {}, {}, {"test_rows": False}, {"photo": digests(*photos), "said": digests(*said)})
    here = {"photo": digests(*photos), "said": digests(*(f"other{i}" for i in range(10)))}
    split = np.array([0] * 8 + [2] * 2)
    with pytest.raises(BadData, match="2 of 2 test rows hold cells"):
        start.check_unseen(["photo", "said"], here, split)
    several = {"photo": digests(*(f"new{i}" for i in range(10))), "said": digests(*said, *said)}
    row = {"photo": np.arange(10), "said": np.repeat(np.arange(10), 2)}
    with pytest.raises(BadData, match="1 of 2 test rows hold cells"):  # a row has two cells of the stream `said`
        start.check_unseen(["photo", "said"], several | {"said": digests(*[""] * 18, "new", "c7")}, split, row)


def test_a_cell_that_many_rows_hold_proves_nothing(tmp_path):
    sizes = ["s", "m", "l", "xl"]
    start = Start(tmp_path, None, {}, {}, {}, {"test_rows": False}, {"size": digests(*sizes), "b": digests(*"wxyz")})
    here = {"size": digests(*["s", "m"] * 5, *["s", "m"] * 4, "l", ""), "b": digests(*map(str, range(100, 120)))}
    split = np.array([0] * 10 + [2] * 10)
    assert start.check_unseen(["size", "b"], here, split) == []
    here["size"][18], here["b"][18] = start.seen["size"][2], start.seen["b"][2]  # the whole row
    with pytest.raises(BadData, match="1 of 10 test rows"):
        start.check_unseen(["size", "b"], here, split)


def test_texts_that_few_rows_have_are_learned_and_start_a_fit_of_answers_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.pretraining.learning.SAMPLE", 2)
    data = planted(90)
    notes = [f"{('dog', 'cat')[i % 2]} number {i} was seen near the house" for i in range(90)]
    data["note"] = [None] * 34 + notes[34:]
    data["caption"] = [f"a {('red', 'blue', 'grey')[i % 3]} animal stands {i} feet away" for i in range(90)]
    schema = {"kinds": {"note": "text"}, "target": {"caption": "text"}, "ignore": ["label", "b", "age", "size"]}
    made = pm.pretrain(data, out=tmp_path / "pre", schema=schema, **{**QUICK, "training": {"epochs": 1}})
    plan = make_plan(data, schema=schema, start=made.folder, dim=16)
    assert plan.started == ("a", "note")
    assert plan.processors["note"] == Start.load(made.folder).specs["note"]
    with pytest.raises(BadArgument, match="note: processor "):
        make_plan(data, schema=schema, start=made.folder, dim=16, processors={"note": {"name": "text", "length": 9}})


def test_a_start_whose_trial_fails_leaves_the_training_from_scratch(made, tmp_path, monkeypatch):
    begin = encoder_job.begin

    def broken(encoder, work, stream, rows, pretrained):
        if stream == "a" and pretrained:
            raise Diverged("The loss was nan in epoch 1.")
        begin(encoder, work, stream, rows, pretrained)

    monkeypatch.setattr(encoder_job, "begin", broken)
    options = {**FIT, "encodings": "trained", "encoder_training": {"epochs": 1}, "answer_training": {"epochs": 1}}
    run = pm.fit(planted(), "label", out=tmp_path / "run", start=made.folder, **options)
    kept, *_ = read_json(run.folder / "work" / "encoders" / "a.json")["rungs"]
    assert kept["encoder"] == "vector_mlp"
    assert "a part 1, tried from pretrained failed and is left out" in told(run)
