"""What is chosen by rows not seen: learners, encodings, and strategies by folds."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.encoders.scoring import Answering, Member
from polymodal.experiment import answer_job, encoder_job
from polymodal.experiment.finalize import question_of
from polymodal.experiment.folds import LEAST_PARTS
from polymodal.experiment.ladder import Rung, chosen
from polymodal.experiment.learned import Learned, learn
from polymodal.learners.ridge import Ridge
from polymodal.targets.base import fitted

DRAW = np.random.default_rng(0)
QUICK = {"trackers": "none", "workers": 0, "quiet": True, "training": {"epochs": 2}, "dim": 8}


def table(rows: int = 150) -> dict:
    """A vector that tells the label in most rows, and one that is noise, by which a tree can learn rows by heart."""
    label = DRAW.integers(0, 2, rows)
    telling = DRAW.normal(size=(rows, 6)) + 1.5 * label[:, None] * np.eye(6)[0]
    return {
        "telling": [[float(x) for x in row] for row in telling],
        "noise": [[float(x) for x in row] for row in DRAW.normal(size=(rows, 6))],
        "label": ["yes" if one else "no" for one in label],
    }


DATA = table()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same table fitted by folds and by validation rows alone."""
    folder = tmp_path_factory.mktemp("evidence")
    return {
        way: pm.fit(
            DATA, "label", out=folder / way, store=str(folder / "store"), fusion=["concat"], evidence=way, seeds=3,
            joint=False, deploy="concat", **QUICK,
        )
        for way in ("folds", "validation")
    }  # fmt: skip


def work(run) -> object:
    return run.folder / "work"


def settled(run, stream: str) -> dict:
    return json.loads((work(run) / "encoders" / f"{stream}.json").read_text())


def left_out(found: Learned, x: np.ndarray) -> np.ndarray:
    """Scores of every row by the learners that did not see its part, of five."""
    return np.stack([found.parts[i % 5].scores(torch.from_numpy(x[[i]]))[0].numpy() for i in range(len(x))])


def test_learners_are_chosen_by_rows_that_they_did_not_see():
    target, draw = fitted("label", "classes", ["a", "b"] * 150), np.random.default_rng(1)
    x = draw.normal(size=(300, 4)).astype(np.float32)
    y = draw.integers(0, 2, 300)
    found = learn(target, x, y, np.arange(300) % 5, ["extra_trees", "ridge"], 0)
    inside = (found.whole.scores(torch.from_numpy(x)).argmax(1).numpy() == y).mean()
    outside = (left_out(found, x).argmax(1) == y).mean()
    assert outside < 0.62  # the labels are noise
    assert len(found.parts) == 5
    assert inside >= outside
    assert {one["learner"] for one in found.ladder} == {"extra_trees", "ridge"}
    assert sum(one["weight"] for one in found.ladder) == pytest.approx(1)


def test_what_is_clearly_behind_on_the_first_part_goes_no_further():
    target = fitted("label", "classes", ["a", "b"] * 300)
    x = DRAW.normal(size=(600, 2)).astype(np.float32)
    y = (x.prod(1) > 0).astype(np.int64)  # nothing that a linear map can tell
    found = learn(target, x, y, np.arange(600) % 5, ["ridge", "kernel"], 0)
    told = {one["learner"]: one for one in found.ladder}
    assert told["ridge"]["dropped"]
    assert told["kernel"]["weight"] == 1
    assert (left_out(found, x).argmax(1) == y).mean() > 0.85


def test_a_learning_curve_tells_whether_more_rows_help():
    target, draw = fitted("label", "classes", ["a", "b"] * 200), np.random.default_rng(3)
    x = draw.normal(size=(400, 60)).astype(np.float32)
    y = (x @ draw.normal(size=60) > 0).astype(np.int64)
    part = np.arange(400) % 5
    curve = learn(target, x, y, part, ["ridge"], 0).curve
    assert curve["rows"] == [80, 160, 320]
    assert curve["loss"] == sorted(curve["loss"], reverse=True)
    assert curve["gain"] == pytest.approx(curve["loss"][1] - curve["loss"][2])
    assert curve["gain"] > 2 * curve["error"], "60 weights want more than 160 rows"
    x[:, 0] = np.where(y > 0, 1, -1) * 4
    flat = learn(target, x[:, :1], y, part, ["ridge"], 0).curve
    assert abs(flat["gain"]) < 0.1 * curve["gain"]
    assert learn(target, x[:60], y[:60], part[:60], ["ridge"], 0).curve is None


def test_training_rows_carry_answers_of_learners_that_did_not_see_them(runs):
    """Of noise a learner knows nothing but the rows that it saw; what their tokens say must not be that."""
    from polymodal.data.storage.store import Store
    from polymodal.train.features import Features

    run = runs["validation"]
    store = Store(run.folder.parent / "store")
    features = Features.open(work(run) / "features", store, ["noise", "telling"])
    rows = load_file(work(run) / "rows.safetensors")
    train = np.flatnonzero(rows["split"] == 0)
    truth = load_file(work(run) / "dataset" / "rows.safetensors")["targets/label"][train]
    right = {}
    for name, tokens in features.read(torch.from_numpy(train)).items():
        said = features.says[name]["label"].read(tokens.pooled)
        right[name] = (said.argmax(1).numpy() == truth).mean()
    assert right["noise"] < 0.68
    assert right["telling"] > 0.7


def test_the_encodings_tried_are_told(runs):
    for stream in ("telling", "noise"):
        told = settled(runs["validation"], stream)
        assert [rung["encoder"] for rung in told["rungs"]] == ["vector_plain", "vector_mlp"]
        assert any(rung["kept"] for rung in told["rungs"])
    page = (runs["validation"].folder / "report.html").read_text(encoding="utf-8")
    assert "How each modality is encoded" in page
    assert "vector_plain" in page


def test_by_folds_every_row_but_the_test_s_is_evidence(runs):
    plan = pm.plan(DATA, "label", fusion=["concat"], evidence="folds")
    assert plan.bagged == LEAST_PARTS
    assert set(plan.evidence()) == set(plan.rows("train")) | set(plan.rows("valid"))
    assert not plan.bag[plan.rows("test")].any()
    assert "training and validation rows by models that did not see them" in plan.text()
    board = list(csv.DictReader((runs["folds"].folder / "leaderboard.csv").read_text().splitlines()))
    assert {row["seeds"] for row in board if row["strategy"] == "concat"} == {str(LEAST_PARTS)}
    refitted = json.loads((runs["folds"].folder / "evaluation.json").read_text())["refitted"]
    assert refitted == {part: len(plan.rows(part)) for part in ("train", "valid")}
    held = [load_file(path) for path in sorted((work(runs["folds"]) / "answers").glob("concat-*.scores.safetensors"))]
    assert sum(len(one["valid/label"]) for one in held) == len(plan.evidence())


@pytest.mark.parametrize(("rows", "parts"), [(150, 5), (3000, 3)])
@pytest.mark.parametrize("evidence", ["folds", "validation"])
def test_learners_learn_by_fewer_parts_from_many_rows(rows, parts, evidence):
    draw = np.random.default_rng(0)
    many = {"x": draw.normal(size=rows).tolist(), "y": [f"{row % 2}" for row in range(rows)]}
    plan = pm.plan(many, "y", fusion=["concat"], evidence=evidence)
    learned = plan.bag > 0 if evidence == "folds" else plan.split == 0
    assert set(plan.part[learned]) == set(range(parts))
    assert not plan.part[~learned].any()
    assert f"in {parts} parts" in plan.text()


def test_a_strategy_by_folds_is_all_its_models(runs):
    """The bundle answers with their mean, and the leaderboard's figures are of that."""
    run = runs["folds"]
    model = pm.load(run.folder)
    stored = [load_file(p) for p in sorted((work(run) / "answers").glob("concat-*.scores.safetensors"))]
    mean = torch.stack([torch.from_numpy(s["test/label"]).softmax(1) for s in stored]).mean(0)
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["chosen"] == "concat"
    rows = load_file(work(run) / "rows.safetensors")["split"] == 2
    data = {name: [v for v, there in zip(values, rows) if there] for name, values in DATA.items()}
    found = model.predict_proba(data)
    assert np.asarray(found).argmax(1).tolist() == mean.argmax(1).tolist()


def test_folds_are_taken_where_validation_rows_are_few():
    data = table(120)
    assert pm.plan(data, "label").bagged
    assert not pm.plan(data, "label", seeds=1).bagged  # who asks for one training gets one
    assert not pm.plan(data, "label", evidence="validation").bagged
    assert not pm.plan(data, "label", finetune=True).bagged
    large = {**table(40), "label": ["yes", "no"] * 20}
    assert not pm.plan({n: v * 180 for n, v in large.items()}, "label").bagged


def test_a_row_without_a_group_is_a_group_of_its_own():
    data = {**table(200), "who": ["a" if i % 10 == 0 else None for i in range(200)]}
    plan = pm.plan(data, "label", schema={"group": "who"})
    assert plan.bagged == LEAST_PARTS
    assert plan.part.max() == LEAST_PARTS - 1
    question = question_of(plan, plan.targets[0])
    together = np.array([one is not None for one in data["who"]])
    for rows, groups in ((plan.rows("test"), question.groups), (plan.evidence(), question.valid_groups)):
        assert len(np.unique(groups)) == (~together[rows]).sum() + together[rows].any()


def test_copies_of_a_row_stay_in_one_part():
    signal = np.random.default_rng(0).normal(size=(100, 16))
    data = {"signal": [list(signal[i % 100]) for i in range(400)], "label": [str(i % 2) for i in range(400)]}
    plan = pm.plan(data, "label")
    assert plan.bagged == LEAST_PARTS
    for part in (plan.split, plan.bag, plan.part, plan.fold):
        assert all(len(set(part[i::100].tolist())) == 1 for i in range(100))
    assert any("300 rows are copies of others" in note for note in plan.notes)
    question = question_of(plan, plan.targets[0])
    assert len(np.unique(question.groups)) == len(plan.rows("test")) / 4
    alone = {"signal": list(signal), "label": [str(i % 2) for i in range(100)]}
    assert not any("copies" in note for note in pm.plan(alone, "label").notes)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"finetune": True}, "fine-tuning goes by validation rows"),
        ({"crossfit": 0}, "cross-fitting is off"),
        ({"augment": ["shuffle"]}, "copies of rows"),
    ],
)
def test_folds_that_do_not_go_are_refused(options: dict, why: str):
    with pytest.raises(BadArgument, match=f"evidence=folds does not go here: {why}"):
        pm.plan(table(), "label", evidence="folds", **options)
    with pytest.raises(BadArgument, match="Unknown evidence 'fold'.*folds"):
        pm.plan(table(), "label", evidence="fold")


def rungs_saying(*scores: np.ndarray) -> list[Rung]:
    """Encodings that say these scores of two classes."""
    return [
        Rung(str(i), str(i), {}, None, {}, fitted=True, scores={"label": one.astype(np.float32)})
        for i, one in enumerate(scores)
    ]


def test_as_many_encodings_are_kept_as_add_something():
    target, draw = fitted("label", "classes", ["a", "b"] * 300), np.random.default_rng(0)
    truth = np.tile([0, 1], 300)
    sides = np.where(truth == 1, 1, -1)[:, None] * np.array([[-1, 1]])
    third = np.arange(600)[:, None] % 3
    own = [np.where(third == i, 2.0, 0.1) * sides for i in range(3)]  # each knows a third of the rows
    copy, noise = own[0] + 1, draw.normal(size=(600, 2)) * 3
    known = {"label": truth}
    kept, weights = chosen(rungs_saying(*own), [target], known)
    assert len(kept) == 3
    assert sum(weights) == pytest.approx(1)
    kept, weights = chosen(rungs_saying(own[0], copy, noise), [target], known)
    assert len(kept) == 1
    assert weights == [1.0]
    rungs = rungs_saying(noise, own[0])
    assert chosen(rungs, [target], known)[0] == [rungs[1]]
    nobody = {"label": np.full(600, -1)}
    assert len(chosen(rungs_saying(*own), [target], nobody)[0]) == 1


def test_encodings_are_compared_by_the_targets_that_a_row_has():
    """No row has both targets; who answers but one of them is compared by that one."""
    draw = np.random.default_rng(2)
    numbers = [fitted(name, "number", ["1", "2", "3"]) for name in ("first", "second")]
    values = draw.normal(size=(200, 2)).astype(np.float32)
    truth = {"first": np.where(np.arange(200) % 2, values[:, 0], np.nan),
             "second": np.where(np.arange(200) % 2, np.nan, values[:, 1])}  # fmt: skip
    said = [values + spread * draw.normal(size=(200, 2)) for spread in (2.0, 0.1)]
    poor, good = [
        Rung("", "", {}, None, {}, fitted=True, scores={n: one[:, [i]] for i, n in enumerate(truth)}) for one in said
    ]
    assert chosen([poor, good], numbers, truth)[0] == [good]
    assert good.loss == pytest.approx(0.005, rel=0.3)  # half the square of a tenth
    del good.scores["second"]
    poor.scores["second"] = values[:, [1]]  # better than anything, of what the other does not say
    assert chosen([poor, good], numbers, truth)[0] == [good]


def test_quantiles_of_a_tuned_tower_s_vectors_are_as_many_as_were_asked(monkeypatch):
    draw = np.random.default_rng(4)
    target = fitted("price", "quantiles", [str(one) for one in draw.normal(size=50)])
    vectors = draw.normal(size=(200, 3)).astype(np.float32)
    truth = vectors[:, 0] + 0.1 * draw.normal(size=200).astype(np.float32)
    nothing = Ridge.of(torch.zeros(3, target.width), torch.zeros(target.width))
    own = {"price": Answering(target.scores, target.width, [Member("ridge", nothing)])}
    monkeypatch.setattr(encoder_job, "_own_answers", lambda *given: own)
    monkeypatch.setattr(encoder_job, "_pooled", lambda work, encoder, stream, rows: torch.from_numpy(vectors[rows]))
    dataset = SimpleNamespace(targets={"price": truth})
    work = SimpleNamespace(targets=[target], dataset=dataset, truth=lambda one, rows: truth[rows])
    model = SimpleNamespace(encoders={"words": SimpleNamespace(pretrained=True)})
    rows, valid = np.arange(150), np.arange(150, 200)
    answers, _ = encoder_job._answers(work, model, "words", rows, valid, 0)
    scores = answers["price"].scores(torch.from_numpy(vectors[valid])).numpy()
    assert scores.shape == (50, target.width)
    assert (np.diff(scores) >= 0).all()
    assert np.corrcoef(scores[:, 2], truth[valid])[0, 1] > 0.9


def test_encodings_by_name():
    both = pm.plan(table(60), "label")
    assert both.trained == ("telling", "noise")
    assert [spec["of"] for spec in both.fitted["noise"]] == ["vector_plain"]
    formula = pm.plan(table(60), "label", encodings="fitted")
    assert formula.trained == ()
    assert "vector_mlp" not in formula.text()
    scratch = pm.plan(table(60), "label", encodings="trained")
    assert scratch.fitted == {"telling": (), "noise": ()}
    named = pm.plan(table(60), "label", encoders={"noise": "vector_mlp"})
    assert named.fitted["noise"] == ()


def test_a_store_that_was_cleared_is_filled_again(runs):
    from polymodal.experiment.jobs import run_job
    from polymodal.experiment.scored_job import ScoredJob, stored
    from polymodal.experiment.work import open_work, scored_out

    run = runs["folds"]
    store = str(run.folder.parent / "store")
    job = ScoredJob(
        work=str(work(run)), store=store, out=str(scored_out(work(run), "telling", 0)), stream="telling",
        encoder={"name": "scored", "of": "vector_plain"}, seed=0, training={},
    )  # fmt: skip
    first = [*run_job(job.to_json())][-1]
    assert first.cached
    other = str(run.folder.parent / "another")
    opened = open_work(job.work, "cpu", store)
    again = ScoredJob(**{**vars(job), "store": other})
    assert stored(opened, job, first.result)
    from polymodal.data.storage.store import Store

    cells = opened.dataset.digests["telling"]
    source = Store(opened.store.root).view(opened.dataset.groups["telling"], cells)
    Store(type(opened.store.root)(other)).write(opened.dataset.groups["telling"], cells, source.load())
    done = [*run_job(again.to_json())][-1]
    assert not done.cached
    assert stored(open_work(job.work, "cpu", other), again, done.result)


def test_an_answer_that_chooses_what_to_encode_is_one_model(tmp_path):
    options = {"store": str(tmp_path / "store"), "seeds": 3, "joint": False, "evidence": "folds", **QUICK}
    run = pm.fit(
        DATA, "label", out=tmp_path / "run", fusion=["dynamic"], deploy="dynamic", encodings="fitted", **options
    )
    assert [member.weight for member in run.predictor.members] == [1.0]
    board = {row["strategy"]: row for row in run.leaderboard}
    assert int(board["dynamic"]["seeds"]) == LEAST_PARTS


def test_an_option_is_cross_validated_by_rows_that_do_not_judge_it(tmp_path, monkeypatch):
    """By folds, the part by which a strategy is judged is none by which its options are chosen."""
    chosen_by, bags = [], []

    def spied(work, strategy, features, options, seed, rows):
        chosen_by.append(rows)
        bags.append(work.bag)
        return strategy

    monkeypatch.setattr(answer_job, "cross_validated", spied)
    options = {"store": str(tmp_path / "store"), "seeds": 3, "joint": False, "evidence": "folds", **QUICK}
    pm.fit(DATA, "label", out=tmp_path / "run", fusion=["concat"], encodings="fitted", deploy="concat", **options)
    lacking = [set(range(1, 6)) - set(bag[rows]) for bag, rows in zip(bags, chosen_by)]
    assert {tuple(one) for one in lacking} == {(part,) for part in range(1, 6)}


def test_a_file_in_order_is_learned_from_as_any_other(tmp_path):
    """Each of 200 shops has its own answer; a file sorted by shop begins with few of them."""
    shops, draw = 200, np.random.default_rng(5)
    own = draw.random(shops)
    shop = np.repeat(np.arange(shops), 40)
    answer = np.where(draw.random(len(shop)) < own[shop], "yes", "no")
    data = {"shop": [f"s{i:03}" for i in shop], "noise": draw.normal(size=len(shop)).tolist(), "y": answer.tolist()}
    options = {"store": str(tmp_path / "store"), "seeds": 1, "encodings": "fitted", "joint": False, **QUICK}
    schema = {"fields": {"table": {"kind": "table", "columns": ["shop", "noise"]}}, "target": {"y": "classes"}}
    run = pm.fit(data, schema=schema, out=tmp_path / "run", metric="auroc", **options)
    known = np.maximum(own, 1 - own).mean()  # what accuracy the shops' own shares allow
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["accuracy"]["mean"] > known - 0.05
