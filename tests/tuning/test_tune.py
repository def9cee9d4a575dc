"""A search finds what was planted, gives up what is behind, goes on after a kill, and compares with the default."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from typer.testing import CliRunner

import polymodal as pm
from polymodal.cli.app import app
from polymodal.core.errors import BadArgument, BadData, MissingExtra, PolymodalError, UnknownName
from polymodal.experiment import encoder_job, scored_job
from polymodal.fusion.simple import Concat
from polymodal.tuning import study as studies
from polymodal.tuning import trial as trials

from .conftest import LR, TINY, write_tiny

optuna = pytest.importorskip("optuna")


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def study_of(folder: Path):
    storage = f"sqlite:///{folder / 'tune.db'}"
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_finds_a_planted_setting_and_fits_it(tiny, tmp_path):
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=4, space=LR, quiet=True, **TINY)
    assert tuned.helped
    assert tuned.headline.startswith("Tuning helped: accuracy")
    first, *others = tuned.trials
    best = max(tuned.trials, key=lambda one: one["score"] or 0)
    assert first["default"]
    assert first["settings"] == {"answer_training.lr": 1e-6}
    assert best["settings"] == {"answer_training.lr": 0.05}
    assert best["score"] > first["score"] + 0.2
    assert tuned.settings["answer_training"]["lr"] == 0.05
    assert tuned.settings["deploy"] == best["strategy"]
    assert [one["parts"] for one in tuned.trials if one["state"] == "complete"] == [5] * len([*others, first])
    metrics = json.loads((tuned.folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["chosen"] == best["strategy"]
    assert tuned.run.predict(tiny)


def test_its_options_are_those_of_a_fit(tiny, tmp_path):
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **TINY)
    again = pm.fit(
        tiny, "label", out=tmp_path / "again", schema=TINY["schema"], config=tuned.folder / "best.yaml", quiet=True
    )
    said, same = ((run.folder / "leaderboard.csv").read_text(encoding="utf-8") for run in (tuned.run, again))
    picked = [[(row["strategy"], row["valid"]) for row in csv.DictReader(text.splitlines())] for text in (said, same)]
    assert picked[0] == picked[1]
    space = yaml.safe_load((tuned.folder / "space.yaml").read_text(encoding="utf-8"))["space"]
    assert space == {"answer_training.lr": {"values": [1e-6, 0.05]}}


def test_nothing_is_encoded_twice(tiny, tmp_path, monkeypatch):
    """Of all trials and the run of the best one only the first fits encoders."""
    counted = []
    plain = scored_job.learn
    monkeypatch.setattr(scored_job, "learn", lambda *given, **more: counted.append(1) or plain(*given, **more))
    given = {**TINY, "encoders": {}, "encodings": "fitted"}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=4, space=LR, quiet=True, **given)
    assert len(tuned.trials) > 1
    assert len(counted) == 2  # a stream each


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_what_is_behind_is_given_up(tiny, tmp_path, pruner):
    space = {"derive": False, "answer_training.lr": {"low": 1e-3, "high": 0.05, "log": True}}
    start = {**TINY, "answer_training": {**TINY["answer_training"], "lr": 0.05}}
    options = {**start, "space": space, "sampler": "random", "pruner": pruner}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=9, quiet=True, **options)
    pruned = [one for one in tuned.trials if one["state"] == "pruned"]
    assert pruned
    assert all(one["parts"] < 5 and one["why"] == f"behind after part {one['parts']}" for one in pruned)
    assert all(one["score"] <= tuned.trials[0]["score"] for one in pruned)
    page = (tuned.folder / "report.html").read_text(encoding="utf-8")
    assert "behind after part" in page
    assert "What score costs" in page
    assert "Trials in their order" in page


def test_a_default_that_is_best_is_said_to_be(tiny, tmp_path):
    start = {**TINY, "answer_training": {**TINY["answer_training"], "lr": 0.05}}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **start)
    assert not tuned.helped
    assert tuned.headline.startswith("No trial of 2 beats the default settings")
    assert "deploy" not in tuned.settings


def test_a_gain_within_its_error_is_no_gain(tiny, tmp_path):
    space = {"derive": False, "answer_training.weight_decay": {"values": [0.01, 0.0100001]}}
    start = {**TINY, "answer_training": {**TINY["answer_training"], "lr": 0.05}}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=space, quiet=True, **start)
    assert not tuned.helped


def test_a_time_limit_leaves_trials_undone(tiny, tmp_path):
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", space=LR, time_limit=1e-6, quiet=True, **TINY)
    assert [one["default"] for one in tuned.trials] == [True]
    assert tuned.headline.startswith("No trial of 1 beats the default settings")


def test_an_error_is_better_the_less_it_is(tiny, tmp_path):
    schema = {"fields": TINY["schema"]["fields"], "target": {"x": "number"}}
    options = {
        **TINY,
        "schema": {**schema, "fields": {**schema["fields"], "a": {"kind": "text", "columns": ["label"]}}},
    }
    options |= {"encoders": {"b": "table_plain"}, "encodings": "fitted", "metric": "mae", "space": LR}
    tuned = pm.tune(tiny, out=tmp_path / "out", trials=2, quiet=True, **options)
    assert study_of(tuned.folder).direction.name == "MINIMIZE"
    found = json.loads((tuned.folder / "tune.json").read_text(encoding="utf-8"))
    least = min(one["score"] for one in tuned.trials if one["state"] == "complete")
    assert found["trials"][found["best"]]["score"] == least
    assert found["against"] is None or found["against"]["targets"][0]["difference"] > 0


def test_a_row_of_broken_cells_survives(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    table = write_tiny(tmp_path / "tiny.csv", broken=7)
    tuned = pm.tune(table, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **TINY)
    assert "what?" in (tuned.folder / "best" / "set_aside.jsonl").read_text(encoding="utf-8")
    assert [one["state"] for one in tuned.trials] == ["complete"] * 2


def test_two_workers_on_one_study(tiny, tmp_path):
    """Each trial is a process's; those of both are one study."""
    space = {"derive": False, "answer_training.lr": {"low": 1e-4, "high": 3e-2, "log": True}}
    tuned = pm.tune(
        tiny, "label", out=tmp_path / "out", trials=6, space=space, quiet=True, pruner="none", **{**TINY, "workers": 2}
    )
    found = study_of(tuned.folder).trials
    assert [one.state.name for one in found] == ["COMPLETE"] * 6
    spans = sorted((one.datetime_start, one.datetime_complete) for one in found[1:])
    assert any(begun < ended for (_, ended), (begun, _) in itertools.pairwise(spans))


SCRIPT = """
import sys
import polymodal as pm
sys.path.insert(0, {tests!r})
from tuning.conftest import TINY
space = {{"derive": False, "answer_training.lr": {{"low": 1e-4, "high": 3e-2, "log": True}}}}
pm.tune({table!r}, "label", out={out!r}, trials=5, space=space, quiet=True, resume=True, **TINY)
"""


def script(tiny: Path, out: Path) -> subprocess.Popen:
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]), table=str(tiny), out=str(out))
    return started([sys.executable, "-c", code], out)


def started(words: list[str], out: Path) -> subprocess.Popen:
    """A search in a process of its own, whose second trial is under way."""
    working = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while working.poll() is None and time.monotonic() < until:
        if any((out / "work" / "trials").glob("000[1-9]/*/answers/*.json")):
            break
        time.sleep(0.01)
    return working


def test_goes_on_after_a_kill(tiny, tmp_path):
    """The trial that was under way is marked as failed and tried again; the others are not."""
    out = tmp_path / "out"
    working = script(tiny, out)
    working.send_signal(signal.SIGKILL)
    working.communicate()
    assert working.returncode == -signal.SIGKILL
    [name] = [trial.number for trial in study_of(out).trials if trial.state.name == "RUNNING"]
    space = {"derive": False, "answer_training.lr": {"low": 1e-4, "high": 3e-2, "log": True}}
    with pytest.raises(BadArgument, match="--resume"):
        pm.tune(tiny, "label", out=out, trials=5, space=space, quiet=True, **TINY)
    tuned = pm.tune(tiny, "label", out=out, trials=5, space=space, quiet=True, resume=True, **TINY)
    states = [one["state"] for one in tuned.trials]
    assert sum(state in ("complete", "pruned") for state in states) == 5
    assert tuned.trials[name]["state"] == "died"
    again = [t for t in study_of(out).trials if t.user_attrs.get("again") == name]
    assert [t.params for t in again] == [study_of(out).trials[name].params]
    assert not list((out / "work" / "trials").iterdir())


def test_a_live_owner_s_trial_is_left_alone(tiny, tmp_path):
    out = tmp_path / "out"
    tuned = pm.tune(tiny, "label", out=out, trials=2, space=LR, quiet=True, **TINY)
    study = study_of(out)
    trial = study.ask()
    trial.set_user_attr("owner", "alive")
    with studies.Lock(out / "work" / "owners" / "alive", patience=0):
        pm.tune(tiny, "label", out=out, trials=2, space=LR, quiet=True, resume=True, **TINY)
        assert study_of(out).trials[trial.number].state.name == "RUNNING"
    pm.tune(tiny, "label", out=out, trials=2, space=LR, quiet=True, resume=True, **TINY)
    assert study_of(out).trials[trial.number].state.name == "FAIL"
    assert tuned.folder == out


def test_a_worker_that_dies_is_replaced_and_its_trial_tried_again(tiny, tmp_path, monkeypatch):
    plain, killed = studies.Trials.run, []

    def run(self, name, changes, kept, pool, report):
        if name == "0001" and not killed:
            killed.append(name)
            raise studies.WorkerDied("its worker process ended with code -9")
        return plain(self, name, changes, kept, pool, report)

    monkeypatch.setattr(studies.Trials, "run", run)
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **TINY)
    assert [one["state"] for one in tuned.trials] == ["complete", "died", "complete"]
    assert tuned.trials[1]["settings"] == tuned.trials[2]["settings"]


def test_a_trial_that_fails_says_why_and_the_others_go_on(tiny, tmp_path, monkeypatch):
    plain = studies.Trials.run

    def run(self, name, changes, kept, pool, report):
        if name == "0001":
            raise RuntimeError("no such luck")
        return plain(self, name, changes, kept, pool, report)

    monkeypatch.setattr(studies.Trials, "run", run)
    space = {"derive": False, "answer_training.lr": {"low": 1e-3, "high": 0.05}}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=3, space=space, quiet=True, pruner="none", **TINY)
    assert [one["state"] for one in tuned.trials] == ["complete", "failed", "complete"]
    assert trials_of(tuned.folder)[1]["why"] == "RuntimeError: no such luck"


def test_any_storage_and_a_search_that_is_there_already(tiny, tmp_path):
    storage = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    pm.tune(tiny, "label", out=tmp_path / "a", trials=2, space=LR, storage=storage, quiet=True, **TINY)
    assert not (tmp_path / "a" / "tune.db").exists()
    assert storage not in "".join(p.read_text() for p in (tmp_path / "a").glob("*.*") if p.suffix in (".yaml", ".json"))
    with pytest.raises(BadArgument, match="--resume takes part"):
        pm.tune(tiny, "label", out=tmp_path / "b", trials=2, space=LR, storage=storage, quiet=True, **TINY)
    assert not (tmp_path / "b").exists()
    joined = pm.tune(
        tiny, "label", out=tmp_path / "b", trials=2, space=LR, storage=storage, quiet=True, resume=True, **TINY
    )
    assert joined.helped  # answers of trials that were carried out elsewhere are computed again
    with pytest.raises(BadArgument, match="storage takes the URL"):
        pm.tune(tiny, "label", out=tmp_path / "c", space=LR, storage="nosuch://x", quiet=True, **TINY)
    (tmp_path / "notes.txt").write_text("no database")
    wrong = f"sqlite:///{tmp_path / 'notes.txt'}"
    with pytest.raises(BadArgument, match="storage takes the URL.*file is not a database$"):
        pm.tune(tiny, "label", out=tmp_path / "c", space=LR, storage=wrong, quiet=True, **TINY)


def test_what_is_wrong_is_said_before_anything_is_computed(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_job, "encoder_job", None)
    for error, words, given in (
        (UnknownName, "No column|no column|label", {"target": "labl"}),
        (BadData, "target", {"target": None}),
        (UnknownName, "Did you mean 'answer_training.lr'", {"space": {"answer_training.lrr": {"low": 1, "high": 2}}}),
        (UnknownName, "Did you mean 'fusion.concat.dropout'", {"space": {"fusion.concat.dropot": {"values": [0.1]}}}),
        (BadArgument, "low must be below high", {"space": {"answer_training.lr": {"low": 0.1, "high": 0.01}}}),
        (BadArgument, "above 0 with log", {"space": {"answer_training.lr": {"low": 0.0, "high": 1.0, "log": True}}}),
        (BadArgument, "at least one value", {"space": {"dim": {"values": []}}}),
        (BadArgument, "takes a whole number", {"space": {"dim": {"values": ["wide"]}}}),
        (BadArgument, "dim must be between", {"space": {"dim": {"values": [1, 8]}}}),
        (BadArgument, "two numbers", {"space": {"dim": {"low": 4}}}),
        (BadArgument, "low, high, log", {"space": {"dim": [4, 8]}}),
        (UnknownName, "Did you mean 'gated'", {"space": {"fusion": {"values": ["gatd"]}}}),
        (BadArgument, "reads text", {"space": {"encoders.a": {"values": ["text_tfidf"]}}}),
        (BadArgument, "dropout", {"space": {"fusion.concat.dropout": {"low": 0.0, "high": 3.0}}}),
        (BadArgument, "Nothing is left", {"space": {"derive": False}}),
        (BadArgument, "Unknown sampler 'tp'", {"sampler": "tp"}),
        (BadArgument, "trials must be", {"trials": 0}),
        (BadArgument, "finetune is no option of tune", {"finetune": True}),
        (BadArgument, "joint is no option of tune", {"joint": True}),
        (BadArgument, "joint_training is no option of tune", {"joint_training": {"epochs": 3}}),
    ):
        with pytest.raises(error, match=words):
            pm.tune(tiny, **{"target": "label", **TINY, "out": tmp_path / "out", "quiet": True, **given})
        assert not (tmp_path / "out").exists(), given


def test_ctrl_c_ends_a_worker_that_was_still_on_its_way(tmp_path, monkeypatch):
    """It is hired after all others were stopped."""
    ended, stops, slept = threading.Event(), [], []

    class Late:
        def stop(self):
            stops.append(len(slept))
            if len(stops) > 2:
                ended.set()

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 1:
            raise KeyboardInterrupt

    search = object.__new__(studies.Search)
    search.trials, search.errors, search.owners = SimpleNamespace(stopping=False), [], tmp_path
    monkeypatch.setattr(search, "_asked", lambda: (None, {}), raising=False)
    monkeypatch.setattr(search, "_carry_out", lambda *given: ended.wait(20), raising=False)
    monkeypatch.setattr(studies, "time", SimpleNamespace(sleep=sleep, perf_counter=time.perf_counter))
    with pytest.raises(KeyboardInterrupt):
        search.run([Late(), Late()], None, lambda trial: None)
    assert ended.is_set()


def test_without_optuna_it_says_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[tune\]'"):
        pm.tune(tiny, "label", out=tmp_path / "out", quiet=True, **TINY)


def test_test_rows_are_not_read_before_the_end(tiny, tmp_path, monkeypatch):
    """Trials score the same whatever the labels of the test rows are."""
    lines = tiny.read_text(encoding="utf-8").splitlines()
    head, rows = lines[0], lines[1:]
    parts = [",train"] * 70 + [",valid"] * 25 + [",test"] * 25
    scores = []
    for turned in (False, True):
        out = [
            row.replace("same", "x").replace("other", "same").replace("x", "other")
            if turned and part == ",test"
            else row
            for row, part in zip(rows, parts)
        ]
        table = tmp_path / f"split-{turned}.csv"
        table.write_text("\n".join([f"{head},split", *map("".join, zip(out, parts))]) + "\n", encoding="utf-8")
        found = pm.tune(table, "label", out=tmp_path / f"{turned}", trials=2, space=LR, quiet=True,
                        **{**TINY, "schema": {**TINY["schema"], "split": "split"}})  # fmt: skip
        scores.append([(one["score"], one["settings"]) for one in found.trials])
    assert scores[0] == scores[1]


def test_the_command(tiny, tmp_path):
    """Ctrl-C ends it with 130 and says how to go on; so it does, with the options of a file."""
    out = tmp_path / "out"
    (tmp_path / "space.yaml").write_text(
        yaml.safe_dump(
            {**{k: v for k, v in TINY.items() if k != "schema"}, "space": LR | {"dim": {"low": 4, "high": 64}}}
        )
    )
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump({**TINY["schema"], "target": {"label": "classes"}}))
    words = [sys.executable, "-m", "polymodal.cli", "tune", str(tiny), "-o", str(out), "--trials", "4", "--quiet"]
    words += ["--config", str(tmp_path / "space.yaml"), "--schema", str(tmp_path / "schema.yaml"), "--workers", "2"]
    working = started(words, out)
    working.send_signal(signal.SIGINT)
    _, said = working.communicate()
    assert working.returncode == 130, said
    assert "--resume" in said
    assert "Traceback" not in said
    assert not [t for t in study_of(out).trials if t.state.name == "RUNNING"]
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = [row["state"] for row in trials_of(out)]
    assert sum(state in ("complete", "pruned") for state in states) == 4
    assert "died" in states
    wrong = subprocess.run([*words[:6], str(tmp_path / "b"), "--sampler", "best"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "Unknown sampler 'best'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_command_takes_a_folder_of_models(tiny, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr("polymodal.tuning.tune.tune", lambda *given, config, **more: heard.append(config))
    said = CliRunner().invoke(app, ["tune", str(tiny), "-o", str(tmp_path / "out"), "--models", "weights"])
    assert said.exit_code == 0, said.output
    assert heard[0].models == "weights"


def test_what_was_tried_is_not_tried_again(tiny, tmp_path):
    """The best part has no options to draw: the other one gets the trials, and few settings end the search."""
    space = {
        "derive": False,
        "fusion": {"values": ["late_mean", "concat"]},
        "answer_training.epochs": {"low": 1, "high": 9},
    }
    options = {**TINY, "encoders": {}, "encodings": "fitted"}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=8, space=space, quiet=True, pruner="none", **options)
    drawn = [tuple(sorted(one["settings"].items())) for one in tuned.trials]
    assert len(drawn) == len(set(drawn)) == 8
    assert sum(one["settings"].get("fusion") == "late_mean" for one in tuned.trials) <= 1
    found = study_of(tuned.folder).trials  # what was drawn again has left no trace
    assert [(one.number, one.state.name) for one in found] == [(n, "COMPLETE") for n in range(8)]


def test_a_space_of_few_settings_is_searched_to_its_end(tiny, tmp_path, capsys):
    space = {"derive": False, "answer_training.epochs": {"values": [1, 2, 3]}}
    options = {**TINY, "answer_training": {**TINY["answer_training"], "epochs": 2}}
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=9, space=space, pruner="none", **options)
    assert sorted(one["settings"]["answer_training.epochs"] for one in tuned.trials) == [1, 2, 3]
    assert "the space holds few other settings" in capsys.readouterr().err


def test_another_search_of_the_folder_is_refused_and_harms_nothing(tiny, tmp_path, monkeypatch):
    """Also where nothing was encoded so far."""
    out, plain, said = tmp_path / "out", studies.Search.begin, []

    def begin(self, pool):
        with pytest.raises(BadArgument, match="holds a run already"):
            pm.tune(tiny, "label", out=out, trials=2, space=LR, quiet=True, **TINY)
        said.append((out / "tune.db").exists())
        return plain(self, pool)

    monkeypatch.setattr(studies.Search, "begin", begin)
    assert pm.tune(tiny, "label", out=out, trials=2, space=LR, quiet=True, **TINY).helped
    assert said == [True]


def test_further_trials_may_find_another_best(tiny, tmp_path):
    first = pm.tune(tiny, "label", out=tmp_path / "out", trials=1, space=LR, quiet=True, **TINY)
    assert "deploy" not in first.settings
    more = pm.tune(tiny, "label", out=tmp_path / "out", trials=3, space=LR, quiet=True, resume=True, **TINY)
    assert more.helped
    metrics = json.loads((more.folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["chosen"] == more.settings["deploy"]


def test_who_takes_part_early_waits_for_the_default_settings(tiny, tmp_path, monkeypatch):
    """Two searches of one folder: each thing that is done once is done by one of them at a time."""
    plain, out, names, others, found = studies.Trials.run, tmp_path / "out", [], [], []
    given = {"out": out, "trials": 3, "space": LR, "quiet": True, **TINY}

    def run(self, name, *more):
        names.append(name)
        if len(names) == 1:
            others.append(threading.Thread(target=lambda: found.append(pm.tune(tiny, "label", resume=True, **given))))
            others[0].start()
            time.sleep(2)  # the other is as far by now
        return plain(self, name, *more)

    monkeypatch.setattr(studies.Trials, "run", run)
    found.append(pm.tune(tiny, "label", **given))
    others[0].join()
    assert names.count("0000") == 1
    assert found[-1].helped  # who ends last concludes from the trials of both
    assert [one["default"] for one in found[-1].trials] == [True, False]


def test_a_score_that_is_no_number_fails_its_trial(tiny, tmp_path, monkeypatch):
    plain = trials.score_of
    counted = itertools.count()
    monkeypatch.setattr(trials, "score_of", lambda *given: plain(*given) if next(counted) < 20 else float("nan"))
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **TINY)
    assert [one["state"] for one in tuned.trials] == ["complete", "failed"]
    assert tuned.trials[1]["why"] == "accuracy of what a alone answers is no number."
    monkeypatch.setattr(trials, "score_of", lambda *given: float("nan"))
    with pytest.raises(PolymodalError, match="is no number"):
        pm.tune(tiny, "label", out=tmp_path / "none", trials=2, space=LR, quiet=True, **TINY)


def test_a_folder_that_an_address_cannot_name(tiny, tmp_path):
    with pytest.raises(BadArgument, match="give an --out without . and %"):
        pm.tune(tiny, "label", out=tmp_path / "what?", trials=2, space=LR, quiet=True, **TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.csv"]


def test_a_result_that_is_shared_is_whole_or_absent(tmp_path, monkeypatch):
    source, goal = tmp_path / "one" / "a-whole", tmp_path / "two" / "a-whole"
    source.parent.mkdir()
    for suffix in (".json", ".safetensors"):
        source.with_suffix(suffix).write_text("{}" * 50)

    def half(source, goal):
        Path(goal).write_text(Path(source).read_text()[:7])
        if Path(source).suffix == ".json":
            raise OSError("No space left on device")

    monkeypatch.setattr(trials.shutil, "copyfile", half)
    with pytest.raises(OSError, match="No space"):
        trials._copy(source, goal)
    assert [path.name for path in goal.parent.iterdir()] == ["a-whole.safetensors"]


class FailsOnce(Concat):
    """Cannot learn from the rows outside one part."""

    def fuse(self, streams):
        if torch.initial_seed() == 3:
            raise ValueError("not these rows")
        return super().fuse(streams)


def test_what_fails_on_one_part_is_left_out_and_the_others_are_judged_by_all_rows(tiny, tmp_path):
    fusions = ["concat", f"{__name__}:FailsOnce"]
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **{**TINY, "fusion": fusions})
    assert [one["parts"] for one in tuned.trials] == [5, 5]
    assert tuned.helped
    found = json.loads((tuned.folder / "tune.json").read_text(encoding="utf-8"))
    assert found["against"]["targets"][0]["rows"] == 102  # of training and validation


def test_a_storage_that_fails_midway_is_told_and_the_search_goes_on(tiny, tmp_path, monkeypatch):
    def full(*_, **__):
        try:
            raise OSError("database or disk is full\n[SQL: …]")
        except OSError as error:
            raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from error

    with monkeypatch.context() as patch:
        patch.setattr(optuna.study.Study, "ask", full)
        with pytest.raises(PolymodalError, match=r"no longer answers: database or disk is full\. .*--resume"):
            pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, **TINY)
    tuned = pm.tune(tiny, "label", out=tmp_path / "out", trials=2, space=LR, quiet=True, resume=True, **TINY)
    assert [one["state"] for one in tuned.trials] == ["complete", "complete"]
