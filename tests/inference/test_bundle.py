"""A bundle answers only if its files are those that were written, and only with what an answer can be."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from edited_bundle import rewrite
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadData
from polymodal.data.tables.source import Problem
from polymodal.inference.predictor import _check_model
from polymodal.targets.number import NumberTarget
from polymodal.targets.quantiles import QuantilesTarget

SCHEMA = {"fields": {"text": "text", "size": {"kind": "table", "columns": ["a", "b"]}}}
QUICK = {
    "seeds": 1, "crossfit": 0, "dim": 4, "workers": 0, "trackers": "none", "training": {"epochs": 1}, "quiet": True,
}  # fmt: skip
FILES = ("config.yaml", "schema.json", "weights.safetensors")


def table(rows: int = 60) -> dict[str, list]:
    rng = np.random.default_rng(0)
    word, label = ["purrs softly", "barks loud"], ["cat", "dog"]
    return {
        "id": [f"r{i}" for i in range(rows)],
        "text": [f"{word[i % 2]} in garden {rng.integers(99)}" for i in range(rows)],
        "a": (rng.normal(size=rows) + np.arange(rows) % 2).tolist(),
        "b": rng.normal(size=rows).tolist(),
        "label": [label[i % 2] for i in range(rows)],
        "price": (np.arange(rows) % 7 + rng.normal(size=rows) + 9).tolist(),
    }


ROWS = {name: column[:5] for name, column in table().items() if name not in ("label", "price")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished fits of classes and of a number, and a space."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {}
    for name, other in (("label", "price"), ("price", "label")):
        columns = {n: c for n, c in table().items() if n != other}
        options = {**QUICK, "schema": SCHEMA, "fusion": ["concat"], "deploy": "concat", "store": folder / "store"}
        made[name] = pm.fit(columns, name, out=folder / name, **options).folder
    made["space"] = pm.align(
        {n: c for n, c in table().items() if n not in ("label", "price")}, ["text", "size"], out=folder / "space",
        schema=SCHEMA, towers="scratch", dim=4, width=8, training={"epochs": 1}, trackers="none", quiet=True,
        store=folder / "store",
    ).folder  # fmt: skip
    return made


def copied(source: Path, to: Path, *, manifest: bool = True) -> Path:
    to.mkdir()
    for name in (*FILES, "manifest.json"):
        if name != "manifest.json" or manifest:
            shutil.copy(source / name, to / name)
    return to


def edited(source: Path, to: Path, change) -> Path:
    """A copy whose values are changed on purpose, so that no manifest stands for them."""
    return rewrite(copied(source, to, manifest=False), change)


def opening(name: str):
    return pm.load_space if name == "space" else pm.load


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["label", "price", "space"])
def test_every_file_is_in_the_manifest(runs, name):
    told = json.loads((runs[name] / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert set(told) == set(FILES)


@pytest.mark.parametrize("name", ["label", "space"])
@pytest.mark.parametrize("file", FILES)
def test_flipped_bits_are_noticed(runs, tmp_path, name, file):
    folder = copied(runs[name], tmp_path / "copy")
    content = (folder / file).read_bytes()
    rng = random.Random(0)
    for bit in rng.sample(range(8 * len(content)), 25):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / file).write_bytes(flipped)
        with pytest.raises(BadData, match=f"{folder}"):
            opening(name)(folder)


@pytest.mark.parametrize("name", ["label", "space"])
def test_a_damaged_manifest_is_noticed_or_says_the_same(runs, tmp_path, name):
    folder = copied(runs[name], tmp_path / "copy")
    content, met = (folder / "manifest.json").read_bytes(), 0
    for bit in range(0, 8 * len(content), 11):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / "manifest.json").write_bytes(flipped)
        try:
            opening(name)(folder)
        except BadData as error:
            met += "manifest.json" in str(error)
        else:
            assert bytes(flipped).lower().replace(b"\n", b" ") == content.lower().replace(b"\n", b" ")  # of digits
    assert met > len(content) // 4
    for text in ("{}", '{"files": {}}', "[]", ""):
        (folder / "manifest.json").write_text(text, encoding="utf-8")
        with pytest.raises(BadData, match="manifest.json is damaged"):
            opening(name)(folder)


@pytest.mark.parametrize("file", ["config.yaml", "schema.json"])
def test_a_file_that_is_missing_or_changed_is_named(runs, tmp_path, file):
    folder = copied(runs["label"], tmp_path / "copy")
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(text.replace("label", "labels"), encoding="utf-8")
    with pytest.raises(BadData, match=rf"{file} is not the file that was saved.*delete .*manifest.json"):
        pm.load(folder)
    (folder / file).unlink()
    with pytest.raises(BadData, match=rf"{file} is missing"):
        pm.load(folder)


def test_an_edit_on_purpose_has_a_way(runs, tmp_path, caplog):
    folder = copied(runs["label"], tmp_path / "copy")
    before = pm.load(folder).predict(ROWS)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["temperature"]["label"] *= 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(BadData, match="not the file that was saved"):
        pm.load(folder)
    (folder / "manifest.json").unlink()
    after = pm.load(folder).predict(ROWS)
    assert after["label"] == before["label"]
    assert after["label_probability"] != before["label_probability"]
    assert "its files are not checked" in caplog.text


def test_a_bundle_of_before_has_no_manifest_and_needs_none(runs, tmp_path, caplog):
    folder = copied(runs["label"], tmp_path / "copy", manifest=False)
    save_file(load_file(folder / "weights.safetensors"), folder / "weights.safetensors")  # without metadata
    assert pm.load(folder).predict(ROWS) == pm.load(runs["label"]).predict(ROWS)
    assert not caplog.text


# --- values -----------------------------------------------------------------------------------------------------------


def put(file: str, *keys, value):
    def change(config, schema):
        place = {"config": config, "schema": schema}[file]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def swapped(config, schema):
    schema["targets"][0]["classes"].reverse()


def taken(config, schema):
    schema["targets"][0]["classes"].pop()


def deleted_token(config, schema):
    del schema["processors"]["text"]["state"]["tokenizer"]["model"]["vocab"]


TEMPERATURE = ("config", "model", "temperature", "label")
SCALER = ("schema", "processors", "size", "state", "scaler")
TOKENIZER = ("schema", "processors", "text", "state", "tokenizer")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("label", put(*TEMPERATURE, value=0.0), "the temperature of 'label' is 0.0, which is not above 0"),
        ("label", put(*TEMPERATURE, value=-1), "the temperature of 'label' is -1"),
        ("label", put(*TEMPERATURE, value=math.nan), "temperature.label is nan"),
        ("label", put(*TEMPERATURE, value="warm"), "the temperature of 'label' is warm"),
        ("price", put("config", "model", "radius", "price", value=-0.1), "the half width of intervals"),
        ("price", put("config", "model", "radius", "price", value=-math.inf), "radius.price is -inf"),
        ("price", put("config", "model", "radius", "price", value=math.nan), "radius.price is nan"),
        ("label", put("config", "model", "members", 0, "weight", value=-1.0), "the weight of 'concat' is -1.0"),
        ("label", put("config", "model", "members", 0, "weight", value=0), "the weight of all"),
        ("label", put("config", "model", "facts", "text", "length", value=-3), "the facts of 'text' \\(length\\)"),
        ("space", put("config", "space", "facts", "text", "vocabulary", value=7), "the facts of 'text'"),
        ("label", put("config", "model", "dim", value=0), "cannot be read"),
        ("price", put("schema", "targets", 0, "scale", value=0.0), "the scale of 'price' is 0.0"),
        ("price", put("schema", "targets", 0, "location", value=math.inf), "targets.0.location is inf"),
        ("label", put(*SCALER, "spread", value=[1.0, 0.0]), "spread not above 0"),
        ("space", put(*SCALER, "mean", value=[math.nan, 0.0]), "mean.0 is nan"),
        ("label", swapped, "another order"),
        ("label", taken, "not as many as were trained"),
        ("label", put("schema", "targets", 0, "frequencies", value=[0.5, -0.5]), "the share of a class"),
        ("label", put(*TOKENIZER, "model", "merges", value=[["never", "seen"]]), "cannot be read"),
        ("space", put(*TOKENIZER, "model", "vocab", value={"a": 5000}), "schema.json|cannot be read"),
        ("label", put(*TOKENIZER, "normalizer", value={"type": "Replace"}), "cannot be read"),
        ("label", deleted_token, "cannot be read"),
        ("label", put("schema", "schema", "id", value=["id"]), "schema.json is damaged: id takes text or nothing; got"),
        ("space", put("schema", "schema", "keys", value=[{}]), "schema.json is damaged: keys takes a list of texts"),
        ("price", put("schema", "schema", "fields", "text", "columns", value=[1]), "columns takes a list of texts"),
    ],
)  # fmt: skip
def test_values_that_no_bundle_can_hold(runs, tmp_path, name, change, message):
    folder = edited(runs[name], tmp_path / "odd", change)
    with pytest.raises(BadData, match=message):
        opening(name)(folder)


def test_few_validation_rows_promise_no_interval_and_the_model_answers(tmp_path):
    random = np.random.default_rng(0)
    rows = [{"size": float(s), "weight": float(w), "price": float(s)} for s, w in random.normal(size=(40, 2))]
    assert any("too few for an interval" in note for note in pm.plan(rows, "price").notes)
    assert not any("too few for an interval" in note for note in pm.plan(rows * 4, "price").notes)
    pm.fit(rows, "price", out=tmp_path / "run", fusion="concat", **QUICK)
    answers = pm.load(tmp_path / "run").predict(rows)
    assert np.isfinite(answers["price"]).all()
    assert answers["price_low"] == [-math.inf] * 40
    assert answers["price_high"] == [math.inf] * 40


def test_an_interval_of_quantiles_may_be_moved_in(tmp_path):
    targets = [QuantilesTarget(name="price"), NumberTarget(name="size")]
    model = {"temperature": {}, "members": [{"strategy": {"name": "concat"}, "weight": 1.0}]}
    _check_model(tmp_path, model | {"radius": {"price": -0.2, "size": math.inf}}, targets)
    for radius in ({"size": -0.2}, {"price": -math.inf, "size": -0.2}, {"price": "wide"}):
        with pytest.raises(BadData, match="the half width of intervals"):
            _check_model(tmp_path, model | {"radius": radius}, targets)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["label", "space"])
def test_weights_that_are_not_finite(runs, tmp_path, name, value):
    folder = copied(runs[name], tmp_path / "odd", manifest=False)
    weights = load_file(folder / "weights.safetensors")
    with safe_open(folder / "weights.safetensors", "pt") as file:
        about = file.metadata()
    broken = next(n for n, v in weights.items() if v.is_floating_point() and v.numel())
    weights[broken].view(-1)[0] = value
    save_file(weights, folder / "weights.safetensors", about)
    with pytest.raises(BadData, match=rf"weights '{broken}' are no finite numbers"):
        opening(name)(folder)


def test_a_panic_of_a_library_is_said_in_words(runs, tmp_path, monkeypatch):
    class PanicException(BaseException):
        """As code in Rust raises it: no Exception."""

    def panic(*_):
        raise PanicException("index out of bounds")

    monkeypatch.setattr("polymodal.process.text.TextProcessor.load_state", panic)
    with pytest.raises(BadData, match=r"cannot be read.*index out of bounds"):
        pm.load(copied(runs["label"], tmp_path / "copy"))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["label", "price"])
def test_an_answer_that_is_not_finite_is_set_aside(runs, monkeypatch, name):
    run = pm.load(runs[name])
    told = run.predictor.respond
    monkeypatch.setattr(
        run.predictor, "respond", lambda source: {n: broken(s, [1, 3]) for n, s in told(source).items()}
    )
    problems: list[Problem] = []
    answers = run.predict(ROWS, problems=problems)
    for column in (c for c in answers if c.startswith(name)):
        assert [value is None for value in answers[column]] == [False, True, False, True, False]
    assert [(p.row, p.column) for p in problems] == [("r1", name), ("r3", name)]
    assert "not a finite number" in problems[0].reason
    monkeypatch.setattr(run.predictor, "respond", lambda source: {n: s * math.nan for n, s in told(source).items()})
    with pytest.raises(BadData, match=f"No answer to '?{name}'? is a finite number"):
        run.predict(ROWS)


def broken(scores: torch.Tensor, rows: list[int]) -> torch.Tensor:
    scores = scores.clone()
    scores[rows] = math.nan
    return scores


def test_the_command_line_says_it_with_code_2(runs, tmp_path, monkeypatch, capsys):
    folder = copied(runs["label"], tmp_path / "odd", manifest=False)
    weights = load_file(folder / "weights.safetensors").items()
    nothing = {n: torch.full_like(v, math.nan) if v.is_floating_point() else v for n, v in weights}
    save_file(nothing, folder / "weights.safetensors")
    data = tmp_path / "rows.csv"
    data.write_text("id,text,a,b\nr1,barks loud,1,2\n")
    words = ["polymodal", "predict", str(folder), str(data), "--out", str(tmp_path / "out.csv")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert "are no finite numbers" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


# --- what is handed on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_no_file_tells_of_the_machine(tmp_path, monkeypatch, beside):
    """Whatever the paths that were given, no file of a run, its report or a prepared table holds an absolute one."""
    home = tmp_path / "home" / "maria"
    work = home / "study"
    data = (work if beside else home / "private") / "rows.csv"
    work.mkdir(parents=True)
    data.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    columns = {**table(), "face": [f"{i}.npy" for i in range(60)]}
    for i in range(58):  # two are not there
        np.save(data.parent / f"{i}.npy", np.arange(4.0) + i)
    lines = [",".join(map(str, row)) for row in zip(*columns.values())]
    data.write_text("\n".join([",".join(columns), *lines]), encoding="utf-8")
    schema = {"fields": {**SCHEMA["fields"], "face": "vector"}, "ignore": ["price"]}
    options = {**QUICK, "workers": 1, "fusion": ["concat"], "store": home / "store", "schema": schema}
    run = pm.fit(str(data), "label", out=work / "run", **options)
    assert "trained on these rows" in str(run.evaluate(str(data), out=work / "seen", quiet=True)["data"]["warnings"])
    shutil.copy(data, data.with_name("copy.csv"))  # known again by what it holds
    warnings = run.evaluate(str(data.with_name("copy.csv")), quiet=True)["data"]["warnings"]
    assert any("trained on these rows" in one for one in warnings)
    pm.align(
        data, ["text", "face"], out=work / "space", schema=schema, towers="scratch", dim=4, width=8,
        training={"epochs": 1}, trackers="none", quiet=True, store=home / "store",
    )  # fmt: skip
    pm.prepare(data, ["spaces"], out=work / "prepared", workers=0, quiet=True)
    files = [path for name in ("run", "seen", "space", "prepared") for path in (work / name).rglob("*")]
    assert len(files) > 40
    for path in files:
        if path.is_file():
            content = path.read_bytes()
            assert not any(word.encode() in content for word in (str(tmp_path), "maria")), path
