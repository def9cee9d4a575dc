"""The command line as a user meets it: every command, every fault as one message, and stopping half way."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import yaml
from small_table import ABSENT, BROKEN, EMPTY, QUICK, SHOP

from polymodal import cli
from polymodal.cli.app import read_metrics, read_spec
from polymodal.core.errors import BadArgument
from polymodal.core.registry import label
from polymodal.runs.progress import Stage

COMMANDS = ("demo", "inspect", "plan", "fit", "evaluate", "predict", "explain", "list", "show", "store")


def sets(settings: dict) -> list[str]:
    return [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]


SETS = sets(QUICK)


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def polymodal(shop, tmp_path, monkeypatch, capsys):
    """Runs the command line in a folder of its own, on the shop's store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLYMODAL_STORE", str(shop.store))

    def call(*arguments) -> Said:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return Said(stopped.value.code or 0, *capsys.readouterr())

    return call


def done(said: Said) -> str:
    """Standard output of a command that must have succeeded."""
    assert said.code == 0, said.err
    return said.out


def refused(said: Said) -> str:
    """The one message of a command that must have refused."""
    assert said.code == 2
    assert said.err.count("polymodal: ") == 1
    assert "Traceback" not in said.err
    assert said.out == ""
    return said.err.partition("polymodal: ")[2].strip()


# --- what each command does ---


def test_every_command_explains_itself(polymodal):
    for arguments in [["--help"], ["-h"], *([command, "--help"] for command in COMMANDS)]:
        assert "Usage:" in done(polymodal(*arguments))
    overview = done(polymodal("--help"))
    assert all(command in overview for command in COMMANDS)


@pytest.mark.parametrize("command", ["align", "classify", "evaluate", "index", "search", "store"])
def test_defaults_in_the_help_are_not_swallowed_as_markup(polymodal, command):
    said = done(polymodal(command, "--help"))
    assert " ." not in " ".join(said.replace("│", " ").split())


def test_version(polymodal):
    import polymodal as pm

    assert done(polymodal("--version")).strip() == pm.__version__


def test_inspect_names_every_faulty_cell(polymodal, shop):
    text = done(polymodal("inspect", shop.table, "--target", "category"))
    assert f"r{BROKEN}: the file '{BROKEN}.png' is no picture of a known form; it looks like plain text" in text
    assert f"r{ABSENT}: the file '{ABSENT}.png' does not exist" in text
    assert f"photo: 1 (r{EMPTY})" in text
    found = json.loads(done(polymodal("inspect", shop.table, "-t", "category", "--json")))
    assert {one["row"] for one in found["broken"]} == {f"r{BROKEN}", f"r{ABSENT}"}


def test_plan_computes_nothing_and_says_what_fit_would_do(polymodal, shop, tmp_path):
    text = done(polymodal("plan", shop.table, "-t", "category", "-f", "gated,tensor", "--seeds", 2))
    assert "6 classes" in text
    assert "fusions: gated, tensor, concat" in text
    assert "x 2 seeds" in text
    assert list(tmp_path.iterdir()) == []


def test_options_come_from_a_file_and_the_command_line_wins(polymodal, shop, tmp_path):
    (tmp_path / "options.yaml").write_text("seeds: 5\nfusion: [mean]\ntraining: {lr: 1e-3}\n")
    arguments = ["plan", shop.table, "-t", "category", "--json", "--config", "options.yaml"]
    found = json.loads(done(polymodal(*arguments, "--seeds", 2, "--set", "training={lr: 5e-4, epochs: 3}")))["config"]
    assert (found["seeds"], found["fusion"]) == (2, ["mean"])
    assert found["training"] == {"lr": 5e-4, "epochs": 3}


def test_ids_may_clash_between_files_and_repeat_within_one(polymodal, shop, tmp_path):
    """Every file counts its rows from 0, or the column called id names customers: neither is a fault."""
    text = shop.table.read_text(encoding="utf-8").replace("pictures/", f"{shop.folder}/pictures/")
    header, *rows = text.splitlines()
    for part, some in (("train", rows[:120]), ("valid", rows[120:160]), ("test", rows[160:])):
        lines = [f"{i},{row.partition(',')[2]}" for i, row in enumerate(some)]
        (tmp_path / f"{part}.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    said = done(polymodal("plan", "train.csv", "-t", "category", "--valid", "valid.csv", "--test", "test.csv"))
    assert "120 train, 40 valid, 40 test" in said
    (tmp_path / "twice.csv").write_text("\n".join([header, *rows, *rows]), encoding="utf-8")
    said = done(polymodal("plan", "twice.csv", "-t", "category"))
    assert "280 train, 61 valid, 59 test" in said
    assert "199 rows are copies of others" in said


def test_a_runs_own_configuration_can_be_used_again(polymodal, shop):
    again = json.loads(
        done(polymodal("plan", shop.table, "-t", "category", "--json", "--config", shop.run / "config.yaml"))
    )
    assert again["config"] == yaml.safe_load((shop.run / "config.yaml").read_text(encoding="utf-8"))["config"]


def test_quiet_hides_progress_and_not_what_could_not_be_used(polymodal, tmp_path):
    rows = [f"{i % 7},{'low' if i % 7 < 3 else 'high'} {i},{'ab'[i % 7 < 3]}" for i in range(60)]
    (tmp_path / "new.csv").write_text("\n".join(["size,word,label", *rows, "ragged", "1,\0,a"]))
    quick = ["--set", "workers=0", "--set", "trackers=none", "--set", "seeds=1", "--set", "crossfit=0"]
    quick += ["--set", "training={epochs: 1}", "--set", "store=store"]
    (tmp_path / "recipe.yaml").write_text("- spaces\n")
    said = {
        "fit": polymodal("fit", "new.csv", "-t", "label", "-o", "run", "-q", "--fusion", "concat", *quick),
        "align": polymodal("align", "new.csv", "-s", "size,word", "-o", "space", "-q", *quick[2:4],
                           "--set", "towers=scratch", "--set", "store=store", "--set", "training={epochs: 1}"),
    }  # fmt: skip
    for one in said.values():
        assert done(one) == ""
        assert "noted: new.csv:62: has 1 cell where the header has 3; row set aside" in one.err
        assert "word]: holds a NUL byte" in one.err
        assert "processing" not in one.err
    suggested = polymodal("prepare", "new.csv", "--suggest", "-r", "suggested.yaml", "-q")
    assert "noted while reading: new.csv:62: has 1 cell where the header has 3; row set aside" in suggested.err
    prepared = polymodal("prepare", "new.csv", "-r", "recipe.yaml", "-o", "made", "-q", "--workers", 0)
    assert prepared.err.splitlines()[0] == "1 row and 1 cell set aside; the reasons are in made/set_aside.parquet"


def test_fit_gives_what_python_gives(polymodal, shop, tmp_path):
    said = polymodal("fit", shop.table, "-t", "category", "-o", "run", "-q", *sets(SHOP))
    assert done(said) == ""
    assert [line.split(":")[1] for line in said.err.splitlines()] == [" r5 [photo]", " r9 [photo]"]  # no progress
    tables = []
    for folder in (tmp_path / "run", shop.run):
        with open(folder / "leaderboard.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        tables.append([(r["strategy"], r["valid"], r["test_mean"]) for r in rows])
    assert tables[0] == tables[1]


def test_plan_estimates_what_fit_will_cost_where_asked(polymodal, shop):
    text = done(polymodal("plan", shop.table, "-t", "category", "--estimate", *SETS))
    assert "Choice by" in text
    assert "Estimate: " in text
    assert "GB of memory" in text
    told = json.loads(done(polymodal("plan", shop.table, "-t", "category", "--estimate", "--json", *SETS)))
    assert set(told["estimate"]["cpu_seconds"]) == {"photo", "title", "table", "strategies", "starting and reporting"}


def test_evaluate_warns_of_rows_it_was_trained_on(polymodal, shop, tmp_path):
    said = polymodal("evaluate", shop.run, shop.table, "-o", "report")
    assert "accuracy" in done(said)
    assert "trained on these rows" in said.err
    assert (tmp_path / "report" / "report.html").exists()
    other = tmp_path / "other.csv"
    other.write_text(
        shop.table.read_text(encoding="utf-8").replace("pictures/", f"{shop.folder}/pictures/"), encoding="utf-8"
    )
    said = polymodal("evaluate", shop.run, other, "--json", "-o", "other")
    found = json.loads(done(said))
    assert found["data"]["warnings"] == []
    assert "200 rows read, 200 judged" in said.err
    assert found == json.loads((tmp_path / "other" / "evaluation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_predict_writes_every_form(polymodal, shop, tmp_path, suffix):
    from polymodal.data.tables.source import read_table

    said = polymodal("predict", shop.run, shop.table, "-o", f"answers{suffix}")
    assert "200 rows written" in done(said)
    assert f"set aside: r{BROKEN} [photo]" in said.err
    answers = read_table(tmp_path / f"answers{suffix}")
    assert answers.ids == [f"r{i}" for i in range(200)]
    sums = [sum(float(answers.data[c][i]) for c in answers.columns if "=" in c) for i in range(200)]
    assert all(abs(total - 1) < 1e-5 for total in sums)


def test_predict_says_which_columns_are_not_there(polymodal, tmp_path, shop):
    (tmp_path / "new.csv").write_text("id,title,weight\na,an old boot with a story,1.5\n")
    said = polymodal("predict", shop.run, "new.csv", "-o", "answers.csv")
    assert "1 row written" in done(said)
    assert "not in new.csv: photo, price; missing in every row" in said.err


def test_explain_as_text_json_and_page(polymodal, shop, tmp_path):
    assert "r3: category = " in done(polymodal("explain", shop.run, shop.table, "--row", "r3"))
    said = polymodal("explain", shop.run, shop.table, "--limit", 2, "--json", "-o", "page.html")
    found = json.loads(done(said))
    assert [row["id"] for row in found] == ["r0", "r1"]
    assert set(found[0]["worth"]) == {"photo", "title", "table"}
    assert "page.html" in said.err
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_demo_runs_on_what_pip_brings(polymodal, tmp_path, monkeypatch):
    pytest.importorskip("easy_vqa")
    from polymodal.config import Config

    plain = Config.from_options.__func__
    quick = {**{k: v for k, v in QUICK.items() if k != "fusion"}, "joint_training": {"epochs": 1}}
    monkeypatch.setattr(Config, "from_options", classmethod(lambda cls, options: plain(cls, {**options, **quick})))
    monkeypatch.setattr("polymodal.experiment.demo.ROWS", {"train": 120, "valid": 40, "test": 40})
    said = polymodal("demo", "-o", "run")
    assert "easy-VQA" in done(said)
    assert (tmp_path / "run" / "report.html").exists()
    with open(tmp_path / "run" / "leaderboard.csv", encoding="utf-8", newline="") as file:
        assert "mlb joint" in [row["strategy"] for row in csv.DictReader(file)]
    assert "holds a run already. Continue it with --resume" in polymodal("demo", "-o", "run").err
    done(polymodal("demo", "-o", "run", "--resume"))


def test_demo_without_its_extra_says_what_to_install(polymodal, monkeypatch):
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    assert "Install it with: pip install 'polymodal[demo]'" in refused(polymodal("demo"))


def test_list_and_show(polymodal):
    assert "Arevalo" in done(polymodal("list", "fusions"))
    assert "gated" not in done(polymodal("list", "heads"))
    assert json.loads(done(polymodal("list", "fusion", "--json")))["fusion"]["gated"]["source"].startswith("Arevalo")
    assert "temperature: float = 1.0" in done(polymodal("show", "gated"))


def test_store_lists_and_clears(polymodal, shop, tmp_path):
    found = json.loads(done(polymodal("store", "--json")))
    assert {"cells", "tokens"} <= {group.get("kind") for group in found["groups"]}
    assert str(shop.store) in done(polymodal("store"))
    assert "0 groups" in done(polymodal("store", "--store", tmp_path / "empty"))
    assert "0.0 MB freed" in done(polymodal("store", "--store", tmp_path / "empty", "--clear", "all"))


def test_a_terminal_without_a_letter_still_gets_an_answer(shop):
    code = "import sys; sys.argv = ['polymodal', 'list', 'fusion']; from polymodal.cli import main; main()"
    environment = dict(os.environ, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "Montes-y-G?mez" in said.stdout


# --- faults ---

TABLES = {
    "broken.csv": "a,b\n1,2,3\n4,5,6\n",
    "header.csv": "a,b\n",
    "empty.csv": "",
    "twice.csv": "a,a\n1,2\n",
    "one.csv": "x,y\n" + "".join(f"{i * i % 17},same\n" for i in range(30)),
    "bad.json": "[1,",
    "other.csv": "colour,size\nred,3\n",
    "unknown.csv": "title,category\na bag,yellow bag\n",
    "typo.yaml": "feilds:\n  photo: image\n",
    "kind.yaml": "fields:\n  photo: imge\n",
    "column.yaml": "fields:\n  foto: image\n",
    "broken.yaml": "fields: [\n",
    "list.yaml": "- 1\n",
    "kindless.yaml": "target: {category: {order: [bag, shoe]}}\n",
    "unset.yaml": "sedes: 3\n",
}
FAULTS = [
    ("inspect nope.csv", "nope.csv does not exist."),
    ("inspect brokn.csv", "brokn.csv does not exist. Did you mean 'broken.csv'?"),
    ("inspect broken.csv", "broken holds no row that can be used. broken.csv:2: has 3 cells where the header has 2"),
    ("inspect header.csv", "header holds no row that can be used."),
    ("inspect empty.csv", "empty.csv holds no header row; its first line must name the columns."),
    ("inspect twice.csv", "twice.csv has more than one column called 'a'. Rename one of them."),
    ("inspect bad.json", "bad.json is not valid JSON"),
    ("inspect .", "is a folder that holds"),
    ("inspect https://example.com/a.csv", "is a web address; only local files are read. Download it first."),
    ("inspect SHOP -t categry", "no column 'categry', named as the target. Did you mean 'category'?"),
    ("inspect SHOP --schema no.yaml", "The schema file 'no.yaml' does not exist."),
    ("inspect SHOP --schema typo.yaml", "Unknown key 'feilds' in the schema. Did you mean 'fields'?"),
    ("inspect SHOP --schema kind.yaml", "Field 'photo' cannot be of kind 'imge'. Did you mean 'image'?"),
    (
        "inspect SHOP --schema column.yaml",
        "no column 'foto', named as field 'foto' in the schema. Did you mean 'photo'?",
    ),
    ("inspect SHOP --schema broken.yaml", "broken.yaml is not valid YAML"),
    ("plan SHOP", "No target: name the column to predict"),
    ("plan SHOP -t id", "cannot be both the target and the id"),
    (
        "plan SHOP -t category --target price",
        "--target is given 2 times; it takes one value. Several",
    ),
    ("plan one.csv -t y", "is 'same' in every training row; two classes are needed"),
    ("plan SHOP -t category --valid nope.csv", "nope.csv does not exist."),
    ("plan SHOP -t category --test SHOP", "train and test are the same file"),
    ("plan SHOP -t category -f gatd", "No fusion is called 'gatd'. Did you mean 'gated'?"),
    ("plan SHOP -t category -f all,gated", "--fusion all stands alone; got all, gated."),
    ("plan SHOP -t category -f gated -f gated", "The fusion gated was given twice."),
    ("plan SHOP -t category -f my.mod:Fusion", "No module 'my.mod' for 'my.mod:Fusion'."),
    ("plan SHOP -t category --metric category=", "--metric takes NAME or TARGET=NAME; got 'category='."),
    ("plan SHOP -t category --metric =accuracy", "--metric takes NAME or TARGET=NAME; got '=accuracy'."),
    ("plan SHOP --schema kindless.yaml", "Target 'category': options come with a kind, as in {kind: ordinal"),
    ("plan SHOP -t category --config no.yaml", "The configuration file 'no.yaml' does not exist."),
    ("plan SHOP -t category --config list.yaml", "list.yaml must hold 'option: value' lines; got a list."),
    ("plan SHOP -t category --config unset.yaml", "Unknown option 'sedes' of fit. Did you mean 'seeds'?"),
    ("plan SHOP -t category --config broken.yaml", "broken.yaml is not valid YAML, line 2, column 1"),
    ("plan SHOP -t category --set seeds", "--set takes name=value; got 'seeds'."),
    ("plan SHOP -t category --set seeds=many", "seeds takes a whole number; got 'many'."),
    ("plan SHOP -t category --set seeds=0", "seeds must be between 1 and 10,000; got 0."),
    ("plan SHOP -t category --set seeds=100000000", "seeds must be between 1 and 10,000; got 100000000."),
    ("plan SHOP -t category --set workers=100000", "workers must be between 0 and 1,024; got 100000."),
    ("plan SHOP -t category --set time_limit=0", "time_limit must be above 0; got 0."),
    ("plan SHOP -t category --set workers=-1", "workers must be between 0 and 1,024; got -1."),
    ("plan SHOP -t category --set training=[", "--set training is not valid YAML, line 1, column 2"),
    ("plan SHOP -t category --set training=3", "training takes 'name: value' pairs; got 3."),
    ("plan SHOP -t category --set training={epoch:3}", "Unknown training option 'epoch:3'"),
    ("plan SHOP -t category --set fusion={nme:gated}", "A fusion given as a dict needs the key 'name'"),
    ("plan SHOP -t category --set fractions=[0.7,0.3]", "fractions takes a list of 3 numbers"),
    ("plan SHOP -t category --set encoders={'phto':'image_resnet'}", "which is neither a stream nor a kind."),
    ("plan SHOP -t category --set encoders={'photo':'image_rsnet'}", "Did you mean 'image_resnet'?"),
    (
        "plan SHOP -t category --set encoders={'photo':'text_tfidf'}",
        "text_tfidf reads text, but the stream 'photo' is image.",
    ),
    ("plan SHOP -t category --set heads={'catgory':'classes'}", "is no target. Did you mean 'category'?"),
    (
        "plan SHOP -t category --set heads={'category':'number'}",
        "answers number and numbers; the target 'category' is classes.",
    ),
    ("fit SHOP -t category -q -o new --set encoders={'title':'pretrained_text'}", "needs `model`: a Hugging Face hub"),
    ("fit SHOP -t category -o SHOP", "is a file; --out names a folder."),
    ("fit SHOP -t category -o .", "is not empty and holds no unfinished run. Give another --out."),
    ("fit SHOP -t category -o RUN", "holds a run already. Continue it with --resume, or give another --out."),
    ("fit SHOP -t category -o RUN --resume --seeds 2", "was started with other"),
    ("evaluate nope SHOP", "nope holds no finished model"),
    ("evaluate RUN other.csv", "has none of the columns that this model reads"),
    (
        "evaluate RUN unknown.csv",
        "No row of unknown can be judged. Not judged, 1: category holds what training did not have: yellow bag (1).",
    ),
    ("evaluate RUN SHOP -o SHOP", "is a file; --out names a folder."),
    ("predict RUN nope.csv -o a.csv", "nope.csv does not exist."),
    ("predict RUN header.csv -o a.csv", "header holds no row that can be used."),
    ("predict RUN other.csv -o a.csv", "other has none of the columns that this model reads: photo, "),
    (
        "predict RUN SHOP -o a.xls",
        "Cannot write a.xls: the suffix '.xls' is unknown. Use .csv, .tsv, .jsonl, .parquet.",
    ),
    ("predict RUN other.csv -o other.csv", "is the data itself, which would be overwritten. Give another file."),
    ("explain RUN SHOP --row r2000", "No row has the id 'r2000'. Did you mean 'r20"),
    ("explain RUN SHOP --row nothing", "No row has the id 'nothing'. Allowed: r0, r1, r10"),
    ("explain RUN other.csv -o other.csv", "is the data itself, which would be overwritten."),
    ("list fuson", "No family is called 'fuson'. Did you mean 'fusion'?"),
    ("list fusion --json --markdown", "two forms of the same list"),
    ("show gatd", "No part is called 'gatd'. Did you mean 'gated'?"),
    ("store --clear nope", "The store has no group 'nope'."),
]


@pytest.mark.parametrize(("command", "message"), FAULTS, ids=[command for command, _ in FAULTS])
def test_a_fault_is_one_message_that_says_what_to_do(polymodal, shop, tmp_path, command, message):
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    places = {"SHOP": shop.table, "RUN": shop.run}
    before = shop.table.read_bytes()
    found = refused(polymodal(*(places.get(word, word) for word in command.split())))
    assert message in found
    assert {path.name for path in tmp_path.iterdir()} == set(TABLES)
    assert shop.table.read_bytes() == before


@pytest.mark.parametrize(
    "command", ["nope", "plan", "plan --nope", "fit SHOP -t category", "explain RUN SHOP --limit 0"]
)
def test_wrong_usage_ends_with_code_2(polymodal, command):
    said = polymodal(*command.split())
    assert said.code == 2
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "p.csv: the disk is full. Free some space"),
        (errno.EROFS, "p.csv: Read-only file system. Choose a place that you may write to"),
        (errno.EACCES, "p.csv: Permission denied. Choose a place"),
        (errno.EIO, "p.csv: Input/output error."),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(polymodal, shop, monkeypatch, number, message):
    def refuse(columns, path, **options):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("polymodal.data.tables.write.write_columns", refuse)
    assert message in refused(polymodal("predict", shop.run, shop.table, "-o", "p.csv"))


def test_a_full_disk_seen_by_a_library_is_the_same_fault(polymodal, shop, tmp_path, monkeypatch):
    from polymodal.core.files import writing

    class Library(Exception):
        pass

    with pytest.raises(OSError, match="No space left") as error, writing(tmp_path / "weights"):
        raise Library("Error while serializing: I/O error: No space left on device (os error 28)")
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Library), writing(tmp_path / "weights"):
        raise Library("something else")


def test_a_damaged_bundle_is_told_from_a_bug(polymodal, shop, tmp_path):
    import shutil

    shutil.copytree(shop.run, tmp_path / "run", ignore=shutil.ignore_patterns("work"))
    weights = tmp_path / "run" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "is not the file that was saved" in refused(polymodal("predict", "run", shop.table, "-o", "p.csv"))
    (tmp_path / "run" / "manifest.json").unlink()
    assert "cannot be read: a file is damaged" in refused(polymodal("predict", "run", shop.table, "-o", "p.csv"))


def test_written_files_are_readable_as_others_are(shop, tmp_path):
    (tmp_path / "plain").touch()
    assert (shop.run / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- stopping half way ---


def stop_at(monkeypatch, stage: str, steps: int) -> None:
    """Ctrl-C once `stage` has made `steps` steps."""
    plain = Stage.advance

    def advance(self, text="", steps_made=1):
        plain(self, text, steps_made)
        if self.name == stage and self.done >= steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Stage, "advance", advance)


@pytest.fixture
def heeds_ctrl_c():
    """What a shell starts in the background ignores Ctrl-C, and so would all that it starts in turn."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_says_how_to_go_on_then_concludes_with_what_is_finished(polymodal, shop, tmp_path, monkeypatch):
    command = ["fit", shop.table, "-t", "category", "-o", "run", *SETS, "--set", 'fusion=["gated", "mean", "mlp"]']
    with monkeypatch.context() as patch:
        stop_at(patch, "encoders", 2)
        said = polymodal(*command)
    assert said.code == 130
    assert "The same command with --resume goes on where run stopped." in said.err
    assert "before it was done" not in said.err
    assert not (tmp_path / "run" / "metrics.json").exists()

    with monkeypatch.context() as patch:
        stop_at(patch, "strategies", 4)
        said = polymodal(*command, "--resume")
    assert said.code == 0
    assert "concluding with the strategies that are finished" in said.err
    sentences = json.loads((tmp_path / "run" / "evaluation.json").read_text(encoding="utf-8"))["verdict"]["sentences"]
    assert any("Interrupted" in sentence for sentence in sentences)
    assert "mlp" not in (tmp_path / "run" / "leaderboard.csv").read_text(encoding="utf-8")

    done(polymodal(*command, "--resume"))
    assert "mlp" in (tmp_path / "run" / "leaderboard.csv").read_text(encoding="utf-8")


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_where_a_command_has_nothing_of_its_own_to_say(polymodal, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "polymodal.inference.predictor.Predictor.load", lambda *a, **o: signal.raise_signal(signal.SIGINT)
    )
    said = polymodal("predict", shop.run, shop.table, "-o", "answers.csv")
    assert (said.code, said.out, said.err) == (130, "", "polymodal: stopped before it was done.\n")
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_in_a_terminal_stops_the_workers_too(shop, tmp_path):
    log = tmp_path / "run" / "log.jsonl"
    arguments = ["fit", shop.table, "-t", "category", "-o", tmp_path / "run", *SETS, "--set=workers=2"]
    code = f"import sys; sys.argv = {['polymodal', *map(str, arguments)]!r}; from polymodal.cli import main; main()"
    environment = dict(os.environ, POLYMODAL_STORE=str(tmp_path / "store"), OMP_NUM_THREADS="1")
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (log.exists() and '"epoch"' in log.read_text(encoding="utf-8")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "with --resume" in said
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_workers_write_to_a_full_disk_without_a_riddle(shop, tmp_path):
    """A limit on the size of files stands for the disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        f"sys.argv = {['polymodal', 'fit', str(shop.table), '-t', 'category', '-o', str(tmp_path / 'run'), *SETS]!r}; "
        "from polymodal.cli import main; main()"
    )
    environment = dict(os.environ, POLYMODAL_STORE=str(tmp_path / "store"), OMP_NUM_THREADS="1")
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    assert "File too large" in said.stderr


def test_metrics_are_named_on_the_command_line(polymodal, shop):
    plan = ("plan", shop.table, "--target", "category", *SETS)
    assert "judged by log_loss; beside it, accuracy, brier." in done(
        polymodal(*plan, "--metric", "log_loss", "--metric", "accuracy,brier")
    )
    told = done(polymodal(*plan, "--metric", "category=mcc,ece", "--metric", "category=brier"))
    assert "judged by mcc; beside it, ece, brier." in told
    assert "judged by f1_macro." in done(polymodal(*plan, "--metric", "category=macro_f1"))
    assert "judged by mcc." in done(polymodal(*plan, "--set", "metric={category: mcc}"))
    assert "Did you mean 'accuracy'" in refused(polymodal(*plan, "--metric", "acuracy"))
    assert "for every metric or for none" in refused(polymodal(*plan, "--metric", "category=mcc", "--metric", "ece"))
    assert "metric names 'categry', which is no target" in refused(polymodal(*plan, "--metric", "categry=mcc"))


def test_new_rows_are_judged_by_the_metric_that_is_asked_for(polymodal, shop, tmp_path):
    out = tmp_path / "check"
    said = done(polymodal("evaluate", shop.run, shop.table, "--metric", "log_loss,mcc", "--out", out))
    assert ": log_loss " in said.splitlines()[0]
    assert said.splitlines()[1].startswith("mcc ")
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["primary"], list(evaluation["further"])) == ("log_loss", ["mcc"])
    assert "MCC" in (out / "report.html").read_text(encoding="utf-8")
    assert "mae reads values" in refused(polymodal("evaluate", shop.run, shop.table, "--metric", "mae", "--out", out))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["top_k(k=2)"], [{"name": "top_k", "k": 2}]),
        (["y=top_k(k=2),accuracy"], {"y": [{"name": "top_k", "k": 2}, "accuracy"]}),
        (["{name: top_k, k: 2}", "brier"], [{"name": "top_k", "k": 2}, "brier"]),
    ],
)
def test_a_metric_may_be_written_as_the_board_writes_it(given, read):
    assert read_metrics(given) == read


def test_a_fusion_may_be_written_as_the_board_writes_it():
    for spec in ({"name": "unified", "tokens": 64, "layers": 0}, {"name": "weighted", "alpha": [0.1, 0.9]}, "concat"):
        assert read_spec(label(spec), "--fusion") == spec
    with pytest.raises(BadArgument, match=r"--fusion"):
        read_spec("{name: [}", "--fusion")
