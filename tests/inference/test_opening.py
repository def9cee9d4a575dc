"""Opening a bundle runs no code but the catalogues', unless the caller trusts it by name."""

from __future__ import annotations

import json
import shutil
import sys
import threading

import numpy as np
import pytest
import yaml
from edited_bundle import rewrite

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData, PolymodalError
from polymodal.core.trust import dotted_paths, modules, reading
from polymodal.fusion import FUSIONS
from polymodal.models.specs import part_class, resolved
from polymodal.preparation import run as preparation
from polymodal.preparation.recipe import Recipe

OWN = '''
"""Parts of a stranger: importing them is the harm."""
from polymodal.aligners import ALIGNERS
from polymodal.encoders import ENCODERS
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.models import ANSWERS
from polymodal.ops import CLEAN
from polymodal.process import PROCESSORS

class Near(ALIGNERS.load("infonce")): pass
class Cells(PROCESSORS.load("table")): pass
class Numbers(ENCODERS.load("table_mlp")): pass
class Gate(FUSIONS.load("concat")): pass
class Both(ANSWERS.load("hybrid")): pass
class Labels(HEADS.load("classes")): pass
class Tidy(CLEAN.load("spaces")): pass
'''
EVIL = "planted_parts"
SCHEMA = {"fields": {name: {"kind": "table", "columns": [name, f"{name}2"]} for name in ("a", "b")}}
QUICK = {
    "encodings": "trained",
    "seeds": 1, "crossfit": 0, "dim": 4, "workers": 0, "trackers": "none", "encoder_training": {"epochs": 1},
    "answer_training": {"epochs": 1}, "quiet": True,
}  # fmt: skip


def table(rows: int = 60) -> dict[str, list]:
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=rows) for name in ("a", "a2", "b", "b2")}
    label = np.where(found["a"] + found["b"] > 0, "yes", "no")
    return {"id": [f"r{i}" for i in range(rows)], **{k: v.tolist() for k, v in found.items()}, "y": label.tolist()}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A module of a stranger's parts that could be imported, and is not."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"{EVIL}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, EVIL, raising=False)
    yield EVIL
    sys.modules.pop(EVIL, None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished fit of two streams, whose answer holds a fusion and a rule."""
    folder = tmp_path_factory.mktemp("run")
    options = {**QUICK, "store": folder / "store", "fusion": ["hybrid"], "deploy": "hybrid"}
    return pm.fit(table(), "y", out=folder / "run", schema=SCHEMA, **options)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    return pm.align(
        table(), ["a", "b"], out=folder / "run", schema=SCHEMA, towers="scratch", dim=4, width=8,
        training={"epochs": 1}, trackers="none", store=folder / "store", quiet=True,
    )  # fmt: skip


def changed(source, to, change):
    """A copy of a bundle whose files say what `change` makes of them, as someone means them to."""
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("work", "*.html", "manifest.json"))
    return rewrite(to, change)


def put(places, path):
    def change(config, schema):
        files = {"config": config, "schema": schema}
        for keys in places:
            within = files[keys[0]]
            for key in keys[1:-1]:
                within = within[key]
            within[keys[-1]] = path

    return change


MEMBER = ("config", "model", "members", 0, "strategy")
PLACES = {  # in a run's bundle, and the part that may stand there; those that change no weight also work with trust
    "processor": (("schema", "processors", "a", "spec"), "Cells", True),
    "processor with options": (("schema", "processors", "a", "spec", "name"), "Cells", True),
    "encoder": (("config", "model", "encoders", "b"), "Numbers", True),
    "member": ((*MEMBER, "spec"), "Both", True),
    "within a member": ((*MEMBER, "spec"), {"name": "hybrid", "fusion": f"{EVIL}:Gate"}, True),
    "head": (("config", "model", "heads"), {"y": f"{EVIL}:Labels"}, True),
    "aligner": ((*MEMBER, "align"), "Near", False),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_a_run_that_no_catalogue_has(run, parts, tmp_path, place):
    keys, part, works = PLACES[place]
    path = f"{EVIL}:{part}" if isinstance(part, str) else part
    edit = put([keys], path)
    if keys[-1] == "name":

        def edit(config, schema):
            schema["processors"]["a"]["spec"] = {"name": path}

    folder = changed(run.folder, tmp_path / "gift", edit)
    file = "schema.json" if keys[0] == "schema" else "config.yaml"
    with pytest.raises(BadData, match=rf"{file} names the part '{EVIL}:\w+'.*trust=\['{EVIL}'\].*--trust {EVIL}"):
        pm.load(folder)
    with pytest.raises(BadData, match="no catalogue has"):
        pm.Predictor.load(folder, trust=["planted", f"{EVIL}.inner", f"{EVIL}:Other"])
    assert EVIL not in sys.modules
    weights = folder / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:4])  # what else is wrong with such a folder is said after the part
    with pytest.raises(BadData, match=f"{EVIL}.*no catalogue has"):
        pm.load(folder)
    weights.write_bytes(kept)
    if works:
        assert pm.load(folder, trust=EVIL).predict(table(9)) == run.predict(table(9))
        assert EVIL in sys.modules
        with pytest.raises(BadData, match="no catalogue has"):
            pm.load(folder)  # imported by now, and still not allowed


def test_every_word_of_a_run_s_bundle(run, parts, tmp_path):
    """Wherever a dotted path is written, it is not imported: not by opening, predicting, explaining or evaluating."""
    config = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
    schema = json.loads((run.folder / "schema.json").read_text(encoding="utf-8"))
    places = [*words(("config", "model"), config["model"]), *words(("schema",), schema)]
    refused = 0
    for number, keys in enumerate(places):
        folder = changed(run.folder, tmp_path / str(number), put([keys], f"{EVIL}:Gate"))
        try:
            found = pm.load(folder)
            found.predict(table(5))
            found.explain(table(5))
            found.evaluate(table(30), quiet=True)
        except BadData as error:
            refused += "no catalogue has" in str(error)
        except (PolymodalError, KeyError, ValueError, TypeError):
            pass  # a damaged file may be met in many ways, none of which runs code
        assert EVIL not in sys.modules, keys
    assert len(places) > 20
    assert refused >= 5, "two processors, two encoders, a member"


def test_a_kind_of_data_from_outside(run, parts, tmp_path):
    def edit(config, schema):
        schema["schema"]["kinds"] = {"smell": EVIL}

    folder = changed(run.folder, tmp_path / "gift", edit)
    with pytest.raises(BadData, match=f"schema.json names the part '{EVIL}', which no catalogue has"):
        pm.load(folder)
    assert EVIL not in sys.modules
    with pytest.raises(BadArgument, match="holds no kind"):
        pm.load(folder, trust=[EVIL])


def words(keys, value):
    """Where a text stands in nested values."""
    if isinstance(value, str):
        return [keys]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inner for found in words((*keys, key), one)]


SPACES = {
    "processor": (("schema", "processors", "a", "spec"), "Cells"),
    "encoder": (("config", "space", "encoders", "b"), "Numbers"),
    "aligner": (("config", "space", "aligner"), "Near"),
}


@pytest.mark.parametrize("place", SPACES)
def test_a_part_of_a_space(space, parts, tmp_path, place):
    keys, part = SPACES[place]
    folder = changed(space.folder, tmp_path / "gift", put([keys], f"{EVIL}:{part}"))
    for opening in (pm.load_space, pm.Space.load, pm.Aligned):
        with pytest.raises(BadData, match=f"names the part '{EVIL}:{part}'"):
            opening(folder)
    with pytest.raises(BadData, match="no catalogue has"):
        pm.index(folder, table(20), out=tmp_path / "idx", quiet=True)
    recipe = [{"mismatched": {"space": str(folder), "columns": ["a", "b"]}}]
    kinds = {"a": "text", "b": "text"}
    with pytest.raises(BadData, match=f"Step 1, mismatched: .*names the part '{EVIL}:{part}'"):
        Recipe.read(recipe).ops(kinds)
    assert EVIL not in sys.modules
    cells = [{"a": 1.0, "a2": 2.0}]
    assert np.array_equal(pm.load_space(folder, trust=[EVIL]).embed("a", cells)[0], space.space.embed("a", cells)[0])
    made = pm.index(folder, table(20), out=tmp_path / "idx", trust=[EVIL], quiet=True)
    assert len(made) == 20
    assert Recipe.read(recipe).ops(kinds, trust=[EVIL])[0].chosen == ["a", "b"]
    sys.modules.pop(EVIL)
    with pytest.raises(BadData, match="no catalogue has"):
        pm.open_index(tmp_path / "idx")
    assert EVIL not in sys.modules
    assert len(pm.open_index(tmp_path / "idx", trust=[EVIL]).search(row="r1", k=3)) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os:system", "code of the module 'os'"),
        ("planted_parts:Gate.mro", "code of the module 'planted_parts'"),
        ("polymodal.fusion.gated:Hidden", "another version of polymodal"),
        ("polymodal.cli:main", "another version of polymodal"),
        ("polymodal.core.registry:import_path", "another version of polymodal"),
    ],
)
def test_paths_that_are_no_parts(run, parts, tmp_path, path, message):
    folder = changed(run.folder, tmp_path / "gift", put([(*MEMBER, "spec")], path))
    with pytest.raises(BadData, match=message):
        pm.load(folder)
    assert EVIL not in sys.modules


def test_trust_lets_no_part_be_what_it_is_not(run, tmp_path):
    folder = changed(run.folder, tmp_path / "gift", put([("config", "model", "encoders", "b")], "os:system"))
    with pytest.raises(BadArgument, match="os:system is not a encoder"):
        pm.load(folder, trust=["os"])
    folder = changed(run.folder, tmp_path / "gift 2", put([(*MEMBER, "spec")], "os:system"))
    with pytest.raises(BadArgument, match="neither a Fusion"):
        pm.load(folder, trust=["os"])


def test_catalogued_parts_need_no_trust_by_their_path_either(run, tmp_path):
    """Ours by the module they lay in before, too; so bundles of older versions open."""
    for number, path in enumerate(("polymodal.models.hybrid:Hybrid", "polymodal.answers.hybrid:Hybrid")):
        folder = changed(run.folder, tmp_path / str(number), put([(*MEMBER, "spec")], path))
        assert pm.load(folder).predict(table(9)) == run.predict(table(9))


def test_a_plugin_that_the_user_installed_needs_no_trust(run, parts, tmp_path, monkeypatch):
    class Point:
        name, value, dist = "gate_of_a_plugin", f"{EVIL}:Gate", "a_plugin 1.0"

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point] * (group == "polymodal.fusion"))
    monkeypatch.setattr(FUSIONS, "_plugins_read", False)
    monkeypatch.setattr(FUSIONS, "_entries", dict(FUSIONS._entries))
    monkeypatch.setattr(FUSIONS, "_classes", dict(FUSIONS._classes))
    for number, name in enumerate(("gate_of_a_plugin", f"{EVIL}:Gate")):
        spec = {"name": "hybrid", "fusion": name}
        folder = changed(run.folder, tmp_path / str(number), put([(*MEMBER, "spec")], spec))
        assert pm.load(folder).predict(table(9)) == run.predict(table(9))


def test_what_the_user_names_himself_needs_no_trust(parts, tmp_path):
    options = {**QUICK, "store": tmp_path / "store", "fusion": [f"{EVIL}:Gate"], "deploy": "Gate"}
    options |= {"encoders": {"a": f"{EVIL}:Numbers"}, "heads": {"y": f"{EVIL}:Labels"}}
    run = pm.fit(table(), "y", out=tmp_path / "run", schema=SCHEMA, **options)
    answers = run.predict(table(9))
    with pytest.raises(BadData, match="no catalogue has"):
        pm.load(run.folder)
    assert pm.load(run.folder, trust=[EVIL]).predict(table(9)) == answers
    again = pm.fit(table(), "y", out=run.folder, schema=SCHEMA, resume=True, **options)
    assert again.predict(table(9)) == answers


def test_a_run_to_resume_cannot_name_more_than_its_command(run, parts, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    for result in (folder / "work").rglob("*hybrid*.json"):
        told = json.loads(result.read_text(encoding="utf-8"))
        told["strategy"]["spec"] = {"name": "hybrid", "fusion": f"{EVIL}:Gate"}
        result.write_text(json.dumps(told), encoding="utf-8")
    options = {**QUICK, "store": run.folder.parent / "store", "fusion": ["hybrid"], "deploy": "hybrid"}
    with pytest.raises(BadData, match=f"names the part '{EVIL}:Gate', which this fit was not told of"):
        pm.fit(table(), "y", out=folder, schema=SCHEMA, resume=True, **options)
    assert EVIL not in sys.modules


def test_a_preparation_to_resume_cannot_name_more_than_its_command(parts, tmp_path, monkeypatch):
    data = {"id": ["1", "2"], "text": ["two   words", "one"]}
    with monkeypatch.context() as patch:
        patch.setattr(preparation._Session, "carry_out", lambda self, engine: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(preparation.Stopped):
            pm.prepare(data, ["spaces"], out=tmp_path / "out", workers=0, quiet=True)
    stamp = tmp_path / "out" / ".work" / "work.json"
    told = json.loads(stamp.read_text(encoding="utf-8"))
    told["recipe"]["steps"] = [f"{EVIL}:Tidy"]
    stamp.write_text(json.dumps(told), encoding="utf-8")
    done = pm.prepare(data, ["spaces"], out=tmp_path / "out", workers=0, resume=True, quiet=True)
    assert pm.read_table(done.table).column("text") == ["two words", "one"]
    assert EVIL not in sys.modules


def test_the_command_line_takes_it(run, space, parts, tmp_path, monkeypatch, capsys):
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps({k: v[i] for k, v in table(40).items()}) for i in range(40)), encoding="utf-8"
    )
    (tmp_path / "names.txt").write_text("yes\nno\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    changed(run.folder, tmp_path / "gift", put([("config", "model", "encoders", "b")], f"{EVIL}:Numbers"))
    changed(space.folder, tmp_path / "room", put([("config", "space", "aligner")], f"{EVIL}:Near"))
    for words in (
        "predict gift rows.jsonl --out answers.csv", "evaluate gift rows.jsonl --out evaluation --json",
        "explain gift rows.jsonl --limit 2", "index room rows.jsonl --out idx --quiet", "search idx --row r1",
    ):  # fmt: skip
        for trust, code in ((), 2), (("--trust", EVIL), 0):
            monkeypatch.setattr(sys, "argv", ["polymodal", *words.split(), *trust])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
            said = capsys.readouterr().err
            assert (stopped.value.code or 0) == code, said
            assert (f"--trust {EVIL}" in said) == (code == 2)
            assert (EVIL in sys.modules) == (code == 0)
        sys.modules.pop(EVIL)
    monkeypatch.setattr(
        sys, "argv", ["polymodal", *["classify", "room", "rows.jsonl", "--classes", "names.txt", "--trust"], EVIL]
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert "The run has no text stream" in capsys.readouterr().err, "opened, and then refused for what it is"


@pytest.mark.parametrize("trust", ["", "my parts", ["*"], [3], ["a/b"], "os;", None, 7])
def test_trust_names_modules(trust, run):
    with pytest.raises(BadArgument, match="trust names modules"):
        pm.load(run.folder, trust=trust)
    assert modules("my_parts") == modules(["my_parts"]) == ("my_parts",)


def test_trust_ends_with_the_opening_and_stays_in_its_thread(tmp_path, parts):
    seen = []
    with reading(tmp_path, ["other"]):
        with pytest.raises(BadData), reading(tmp_path):
            FUSIONS.load(f"{EVIL}:Gate")
        for look in (part_class, resolved, FUSIONS.load):
            with pytest.raises(BadData, match="no catalogue has"):
                look(f"{EVIL}:Gate")
        thread = threading.Thread(target=lambda: seen.append(resolved(f"{EVIL}:Gate").family))
        thread.start()
        thread.join()
    assert seen == ["fusion"]
    assert resolved(f"{EVIL}:Gate").family == "fusion"


def test_dotted_paths_are_told_from_other_words():
    spec = {"name": "a.b:C", "of": ["x:Y", {"z": "c:/data", "n": 3}], "title": "one: two", "at": "10:30"}
    assert dotted_paths(spec) == {"a.b:C", "x:Y"}


def test_a_name_that_is_no_text_is_a_damaged_file(run, tmp_path):
    folder = changed(run.folder, tmp_path / "odd", put([("schema", "targets", 0, "name")], ["y"]))
    with pytest.raises(BadData, match=r"is damaged"):
        pm.load(folder)
