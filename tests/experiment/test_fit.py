"""From a table to a finished run: planted answers, resuming, failing parts, and every file of the run."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, DiskFull, PolymodalError, UnknownName
from polymodal.core.files import write_json
from polymodal.data import synthetic

QUICK = {
    "seeds": 2,
    "crossfit": 2,
    "dim": 16,
    "workers": 0,
    "trackers": "none",
    "training": {"epochs": 12},
    "quiet": True,
}


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))

    def fit(planted, out="run", **options):
        columns, target = planted
        return pm.fit(columns, target, out=tmp_path / out, **{**QUICK, **options})

    return fit


def score(run, strategy):
    return float(next(r for r in run.leaderboard if r["strategy"] == strategy)["test_mean"])


def test_a_run_holds_every_promised_file(quick, tmp_path):
    run = quick(synthetic.missing(400), fusion=["gated"])
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {
        "config.yaml",
        "schema.json",
        "weights.safetensors",
        "metrics.json",
        "leaderboard.csv",
        "predictions_test.parquet",
        "report.html",
        "log.jsonl",
        "evaluation.json",
        "set_aside.jsonl",
    } <= names
    strategies = [r["strategy"] for r in run.leaderboard]
    assert {"concat", "late_mean", "gated", "chance"} <= set(strategies)
    assert sum(r["level"] == "single" for r in run.leaderboard) == 2
    assert run.metrics["chosen"] in strategies
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["config"]["seeds"] == 2
    assert "<html" in run.report.read_text(encoding="utf-8")[:300].lower()


def test_a_loaded_run_predicts_what_the_fitted_one_did(quick, tmp_path):
    import pyarrow.parquet as pq

    columns, _ = synthetic.missing(400)
    columns = {"id": [f"row{i}" for i in range(400)], **columns}
    quick((columns, "label"), fusion=["gated"])
    stored = pq.read_table(tmp_path / "run" / "predictions_test.parquet").to_pydict()
    answers = pm.load(tmp_path / "run").predict(columns)
    place = {name: i for i, name in enumerate(answers["id"])}
    rows = [place[name] for name in stored["id"]]
    assert [answers["label"][i] for i in rows] == stored["label"]
    assert np.allclose([answers["label_probability"][i] for i in rows], stored["label_probability"], atol=2e-3)


def test_any_subset_of_streams_gives_a_finite_answer(quick, tmp_path):
    columns, _ = synthetic.missing(400)
    run = quick((columns, "label"), fusion=["gated"])
    streams = [c for c in columns if c != "label"]
    with pytest.warns(UserWarning, match="none of the columns"):
        run.predict({"id": ["a", "b"]})
    for given in ([], streams[:1], streams[1:], streams):
        answers = run.predict(pm.read_table({"id": ["a", "b"], **{name: columns[name][:2] for name in given}}))
        assert np.isfinite(answers["label_probability"]).all()
    assert {len(s["streams"]) for s in json.loads((tmp_path / "run" / "evaluation.json").read_text())["subsets"]} == {
        1,
        2,
    }


def test_the_product_of_two_streams_needs_a_fusion_that_multiplies(quick):
    run = quick(
        synthetic.product(1500), fusion=["tensor", "late_mean", "product", "stacking"], dim=32, training={"epochs": 40}
    )
    assert score(run, "tensor") > 0.9
    for late in ("late_mean", "product", "stacking", "left alone", "right alone"):
        assert abs(score(run, late) - 0.5) < 0.1, late


def test_resuming_a_finished_stage_gives_the_same_leaderboard(quick, tmp_path):
    planted = synthetic.noise_stream(300)
    whole = quick(planted, "whole", fusion=["gated"])
    quick(planted, "broken", fusion=["gated"])
    for name in ("gated-0", "concat-1", "late_mean-0"):
        for path in (tmp_path / "broken" / "work" / "answers").glob(f"{name}*"):
            path.unlink()
    for path in (tmp_path / "broken" / "work" / "encoders").glob("noise-0*"):
        path.unlink()
    resumed = quick(planted, "broken", fusion=["gated"], resume=True)
    volatile = ("fit_seconds", "predict_ms")
    rows = [[{k: v for k, v in r.items() if k not in volatile} for r in run.leaderboard] for run in (whole, resumed)]
    assert rows[0] == rows[1]


def broken_off(folder: Path) -> None:
    """As a kill leaves it: encoders are done, one strategy is not, and nothing was concluded."""
    for path in [*folder.glob("*.*"), *(folder / "work" / "answers").glob("concat-0*")]:
        path.unlink()


@pytest.mark.parametrize("fault", ["cleared", "damaged", "another"])
def test_resuming_computes_again_what_the_store_lost(quick, tmp_path, caplog, fault):
    """Tokens of finished encoders too: to the leaderboard that an unbroken run would have had."""
    planted = synthetic.noise_stream(200)
    options = {"fusion": ["gated"], "deploy": "gated", "seeds": 1, "training": {"epochs": 2}}  # ties are by time
    whole = [(r["strategy"], r["test_mean"], r["valid"]) for r in quick(planted, **options).leaderboard]
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    broken_off(tmp_path / "run")
    for number, path in enumerate(sorted((tmp_path / "store").glob("*/*.safetensors"))):
        if fault == "cleared" and number % 2:
            path.unlink()
        elif fault == "damaged":
            content = bytearray(path.read_bytes())
            content[-1] ^= 4
            path.write_bytes(content)
    if fault == "another":
        options["store"] = tmp_path / "other"
    run = quick(planted, resume=True, **options)
    assert [(r["strategy"], r["test_mean"], r["valid"]) for r in run.leaderboard] == whole
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    assert ("damaged on the disk" in caplog.text) == (fault == "damaged")


def test_results_that_were_damaged_are_named(quick, tmp_path):
    """What finished jobs left is read by those that follow; a flipped bit in it is no number of theirs."""
    planted = synthetic.noise_stream(200)
    options = {"fusion": ["gated"], "seeds": 1, "training": {"epochs": 1}, "encodings": "trained"}
    quick(planted, **options)
    broken_off(tmp_path / "run")
    for name in ("encoders/noise-whole.safetensors", "answers/gated-0.scores.safetensors"):
        path = tmp_path / "run" / "work" / name
        content = path.read_bytes()
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        with pytest.raises(PolymodalError, match=f"{path.name} was damaged on the disk.*--resume"):
            quick(planted, resume=True, **options, **({"store": tmp_path / "new"} if "encoders" in name else {}))
        path.write_bytes(content)
    quick(planted, resume=True, **options)


def test_cells_that_changed_since_are_not_mixed_with_old_ones(quick, tmp_path):
    """Values in the table, files that it names, and links between rows; put back, the run goes on."""
    rng = np.random.default_rng(0)
    label = ["a", "b"] * 60
    for i in range(120):
        np.save(tmp_path / f"{i}.npy", rng.normal(size=8).astype(np.float32) + (label[i] == "a"))
    (tmp_path / "edges.csv").write_text("source,target\n" + "".join(f"r{i},r{(i + 2) % 120}\n" for i in range(120)))
    columns = {
        "id": [f"r{i}" for i in range(120)],
        "face": [str(tmp_path / f"{i}.npy") for i in range(120)],
        "size": rng.normal(size=120).tolist(),
        "label": label,
    }
    schema = {
        "fields": {
            "face": "vector",
            "size": {"kind": "table", "columns": ["size"]},
            "friends": {"kind": "links", "path": str(tmp_path / "edges.csv")},
        }
    }
    options = {"fusion": ["concat"], "schema": schema, "seeds": 1, "training": {"epochs": 1}}
    quick((columns, "label"), **options)
    broken_off(tmp_path / "run")
    before = {path: path.read_bytes() for path in (*tmp_path.glob("*.npy"), tmp_path / "edges.csv")}
    for i in range(7):
        os.replace(tmp_path / f"{i + 20}.npy", tmp_path / f"{i}.npy")
    with pytest.raises(
        BadArgument, match=r"Data have changed since .*run was begun: 14 cells of face \(rows 'r0', 'r1',"
    ):
        quick((columns, "label"), resume=True, **options)
    for path, content in before.items():
        path.write_bytes(content)
    other = {**columns, "size": [*columns["size"][:119], 4.5]}
    with pytest.raises(BadArgument, match=r"1 cell of size \(row 'r119'\)"):
        quick((other, "label"), resume=True, **options)
    (tmp_path / "edges.csv").write_text(before[tmp_path / "edges.csv"].decode().replace("r3,r5", "r3,r7"))
    with pytest.raises(BadArgument, match=r"3 cells of friends \(rows 'r3', 'r5', 'r7'\)"):
        quick((columns, "label"), resume=True, **options)
    for path, content in before.items():
        path.write_bytes(content)
    quick((columns, "label"), resume=True, **options)


def test_a_folder_that_holds_a_run_is_refused(quick, tmp_path):
    planted = synthetic.noise_stream(200)
    quick(planted, fusion=["mean"])
    with pytest.raises(BadArgument, match="holds a run already"):
        quick(planted, fusion=["mean"])
    with pytest.raises(BadArgument, match="started with other strategies"):
        quick(planted, fusion=["gated"], resume=True)
    (tmp_path / "killed" / "work").mkdir(parents=True)
    (tmp_path / "killed" / "work" / ".plan.json.x1y2z3.json").write_text("{")
    quick(planted, "killed", fusion=["mean"], resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadArgument, match="is not empty"):
        quick(planted, "full", fusion="concat", seeds=1)


def test_workers_give_the_same_result_as_one_process(quick):
    planted = synthetic.missing(300)
    here = quick(planted, "here", fusion=["gated"])
    away = quick(planted, "away", fusion=["gated"], workers=2)
    assert [(r["strategy"], r["test_mean"], r["valid"]) for r in here.leaderboard] == [
        (r["strategy"], r["test_mean"], r["valid"]) for r in away.leaderboard
    ]


KILLED = """
import polymodal as pm
from polymodal.data import synthetic
columns, target = synthetic.missing(600)
pm.fit(columns, target, out={out!r}, fusion=["gated", "attention"], seeds=2, crossfit=2, dim=16, workers=2,
       trackers="none", training={{"epochs": 40, "patience": 0}}, quiet=True, resume={resume})
"""


def test_kill_in_the_middle_then_resume_gives_the_unbroken_result(tmp_path):
    environment = dict(os.environ, POLYMODAL_STORE=str(tmp_path / "store"), OMP_NUM_THREADS="1")

    def run(out: str, resume: bool, *, kill: bool = False) -> None:
        code = KILLED.format(out=str(tmp_path / out), resume=resume)
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
        if kill:
            log = tmp_path / out / "log.jsonl"
            while process.poll() is None and not (log.exists() and log.read_text().count('"done"') >= 4):
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -9
        else:
            assert process.wait() == 0

    run("whole", False)
    run("killed", False, kill=True)
    assert not (tmp_path / "killed" / "leaderboard.csv").exists()
    run("killed", True)
    tables = []
    for out in ("whole", "killed"):
        with open(tmp_path / out / "leaderboard.csv", encoding="utf-8", newline="") as file:
            tables.append(
                [
                    (r["strategy"], r["valid"], r["test_mean"], r["test_low"], r["test_high"])
                    for r in csv.DictReader(file)
                ]
            )
    assert tables[0] == tables[1]


class Broken(pm.Fusion):
    """Raises when it fuses."""

    def fuse(self, streams):
        raise ValueError("this part is broken")


class First(pm.Fusion):
    """The first stream only: a user's own fusion in a few lines."""

    def __init__(self, widths, dim):
        import torch

        super().__init__(widths, dim)
        self.map = torch.nn.Linear(next(iter(self.widths.values())), dim)

    def fuse(self, streams):
        from polymodal.core.types import Tokens

        first = next(iter(streams.values()))
        return Tokens.from_vector(self.map(first.pooled), first.present)


class Stops(First):
    """Ctrl-C while it trains."""

    def fuse(self, streams):
        raise KeyboardInterrupt


class StopsLater(First):
    """Ctrl-C while it is fine-tuned."""

    def fuse(self, streams):
        if any(s.pooled.grad_fn is not None for s in streams.values()):
            raise KeyboardInterrupt
        return super().fuse(streams)


@pytest.mark.parametrize(
    ("part", "note"), [(Stops, "strategies that had not finished"), (StopsLater, "fine-tuning did not finish")]
)
def test_stopping_concludes_with_what_is_finished_and_starts_nothing_more(quick, tmp_path, part, note):
    columns, _ = synthetic.noise_stream(300)
    columns = {"noise": columns["signal"], "signal": columns["noise"], "label": columns["label"]}  # the first one tells
    run = quick((columns, "label"), fusion=[part], seeds=1, finetune=True, ensemble=False)
    assert {"noise alone", "signal alone", "chance"} <= {r["strategy"] for r in run.leaderboard}
    assert {r["encoders"] for r in run.leaderboard} == {"apart"}
    sentences = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]["sentences"]
    assert any(s.startswith("Interrupted") and note in s for s in sentences)


def test_a_users_own_fusion_is_compared_by_its_class(quick):
    run = quick(synthetic.noise_stream(300), fusion=[First])
    assert score(run, "First") > 0.45


def test_a_fusion_that_fails_is_set_aside_and_said(quick, tmp_path):
    run = quick(synthetic.noise_stream(300), fusion=[Broken, "gated"])
    assert "Broken" not in [r["strategy"] for r in run.leaderboard]
    sentences = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]["sentences"]
    assert any("Broken" in s and "this part is broken" in s for s in sentences)


def test_a_full_disk_ends_a_fit_which_goes_on_when_there_is_room(quick, tmp_path, monkeypatch):
    """Were jobs that cannot be written left out one after the other, the leaderboard would lack them for ever."""
    planted = synthetic.noise_stream(200)
    with monkeypatch.context() as full:

        def refuse(path, value):
            if "answers" in str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return write_json(path, value)

        full.setattr("polymodal.experiment.jobs.write_json", refuse)
        with pytest.raises(DiskFull, match=r"answers/.*: the disk is full.*kept for --resume"):
            quick(planted, "full", fusion="concat", seeds=1)
    assert len(quick(planted, "full", fusion="concat", seeds=1, resume=True).leaderboard) > 4


def test_numbers_have_intervals_and_a_verdict(quick):
    columns, _ = synthetic.missing(500)
    rng = np.random.default_rng(0)
    streams = [c for c in columns if c != "label"]
    price = [
        float(100 + 20 * sum(np.mean(columns[s][i]) for s in streams if columns[s][i] is not None) + rng.normal())
        for i in range(500)
    ]
    run = quick(({**{s: columns[s] for s in streams}, "price": price}, "price"), fusion=["gated"])
    answers = run.predict({s: columns[s][:50] for s in streams})
    assert all(
        low < value < high for low, value, high in zip(answers["price_low"], answers["price"], answers["price_high"])
    )
    assert run.metrics["primary"] == "r2"
    known = sorted(p for p, left, right in zip(price, *(columns[s] for s in streams)) if left or right)
    nothing = run.predict({s: [None, columns[s][0]] for s in streams})
    assert nothing["price"][0] == pytest.approx(np.mean(price), rel=0.05)  # the training mean
    width = nothing["price_high"][0] - nothing["price_low"][0]
    assert width > 0.7 * (known[int(0.95 * len(known))] - known[int(0.05 * len(known))])
    assert width > 1.5 * (nothing["price_high"][1] - nothing["price_low"][1])


def test_a_row_without_any_stream_is_answered_by_the_training_frequencies(quick, tmp_path):
    columns, _ = synthetic.missing(300)
    run = quick((columns, "label"), fusion=["late_mean"], deploy="late_mean", seeds=1, training={"epochs": 2})
    nothing = run.predict({name: [None] for name in columns if name != "label"})
    target = run.predictor.targets[0]
    assert run.predictor.temperature["label"] != 1
    said = [nothing[f"label={c}"][0] for c in target.classes]
    assert said == pytest.approx(list(target.frequencies), abs=1e-3)


def test_several_targets_at_once(quick):
    columns, _ = synthetic.missing(400)
    columns = {**columns, "size": [float(i % 7) for i in range(400)]}
    run = quick((columns, {"label": "classes", "size": "number"}), fusion=["gated"])
    answers = run.predict({k: v[:3] for k, v in columns.items()})
    assert {"label", "size", "size_low"} <= set(answers)
    assert {r["target"] for r in run.leaderboard} == {"label", "size"}


@pytest.mark.parametrize("names", [("a.b", "values", "type"), ("a", "a.b", "keys"), ("x/y %2E", "ü z", "of_x")])
def test_columns_may_have_any_name(quick, tmp_path, names):
    columns, _ = synthetic.missing(100)
    columns = dict(zip(names, (columns["left"], columns["right"], columns["label"])))
    run = quick((columns, names[2]), fusion=["gated", "lowrank", "stacking"], training={"epochs": 2}, finetune=True)
    answers = pm.load(tmp_path / "run").predict(columns)
    assert answers[names[2]] == run.predict(columns)[names[2]]
    assert {names[0], names[1]} >= set(run.predictor.streams)


def test_one_stream_has_no_fusion_to_judge(quick):
    columns, _ = synthetic.noise_stream(300)
    run = quick(({"signal": columns["signal"], "label": columns["label"]}, "label"))
    assert run.verdict.startswith("No fusion to judge")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fusion": ["gatd"]}, UnknownName, "Did you mean 'gated'"),
        ({"seed": 0, "sedes": 2}, BadArgument, "Unknown option 'sedes' of fit. Did you mean 'seeds'"),
        ({"fusion": ["gated", "gated"]}, BadArgument, "given twice"),
        ({"encoders": {"vectr": "vector_mlp"}}, UnknownName, "neither a stream nor a kind"),
        ({"training": {"epoch": 3}}, BadArgument, "Did you mean 'epochs'"),
        ({"crossfit": 1}, BadArgument, "crossfit must be 0"),
        ({"fractions": (0.5, 0.5, 0.5)}, BadArgument, "add up to 1"),
        ({"trackers": "tensorbord"}, BadArgument, "Did you mean 'tensorboard'"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(quick, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        quick(synthetic.noise_stream(100), **options)
    assert not (tmp_path / "run").exists()


def test_a_wrong_target_is_refused(quick):
    columns, _ = synthetic.noise_stream(100)
    with pytest.raises(UnknownName, match="Did you mean 'label'"):
        quick((columns, "lable"))
    with pytest.raises(BadData, match="No target"):
        quick((columns, None))


def test_loading_a_folder_without_a_model_says_how_to_make_one(tmp_path):
    with pytest.raises(BadData, match="holds no finished model"):
        pm.load(Path(tmp_path))


def test_a_time_limit_leaves_a_verdict_on_what_was_finished(quick, tmp_path):
    run = quick(synthetic.noise_stream(200), fusion="all", seeds=3, time_limit=0.001)
    assert {r["strategy"] for r in run.leaderboard} - {"ensemble"} == {
        "signal alone",
        "noise alone",
        "concat",
        "late_mean",
        "chance",
    }
    assert {r["seeds"] for r in run.leaderboard} == {1}
    sentences = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]["sentences"]
    assert any("The time limit left" in s for s in sentences)


def test_seeds_are_matched_where_most_fits_are_kept():
    from polymodal.experiment.results import _matched

    assert _matched([(0, 1, 2)] * 9 + [(0, 1)]) == (0, 1, 2)
    assert _matched([(0,)] * 6 + [(0, 1)] * 4) == (0,)


def test_fine_tuning_adds_rows_of_both_sides_of_the_verdict(quick, tmp_path):
    run = quick(
        synthetic.missing(300),
        fusion=["gated"],
        seeds=1,
        finetune=True,
        finetune_training={"epochs": 2, "lr": 1e-3},
        encodings="trained",
    )
    rows = {r["strategy"]: r for r in run.leaderboard if r["encoders"] == "finetuned"}
    assert "concat fine-tuned" in rows
    assert any(r["level"] == "single" for r in rows.values())
    assert all(r["note"] for r in rows.values())
    verdict = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]
    sides = {verdict[key]["name"] for key in ("against_single", "against_concat") if key in verdict}
    assert {name.endswith("fine-tuned") for name in sides} == {run.metrics["best_fusion"].endswith("fine-tuned")}
    assert any("fine-tuned" in s for s in verdict["sentences"])


def test_a_weight_found_by_cross_validation(quick):
    run = quick(synthetic.noise_stream(300), fusion=[{"name": "weighted", "alpha": "cv"}], training={"epochs": 6})
    chosen = next(r for r in run.leaderboard if r["strategy"] == "weighted(alpha=cv)")
    assert float(chosen["test_mean"]) > 0.7


@pytest.mark.parametrize(("kind", "found"), [("csv", "curves.csv"), ("tensorboard", "tensorboard")])
def test_training_curves_go_to_the_tracker(quick, tmp_path, kind, found):
    if kind == "tensorboard":
        pytest.importorskip("tensorboard")
    quick(synthetic.noise_stream(120), fusion=["mean"], trackers=kind, seeds=1)
    assert (tmp_path / "run" / found).exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "unified", "attention": 3.5}, "attention of unified takes"),
        ({"name": "hybrid", "rule": "boosted"}, "No decision is called 'boosted'"),
        ({"name": "dynamic", "order": ["nobody"]}, "order must name each of"),
    ],
)
def test_wrong_values_of_a_strategys_options_are_said_when_planning(spec, message):
    columns, target = synthetic.missing(60)
    with pytest.raises(PolymodalError, match=message):
        pm.plan(columns, target, fusion=[spec])
