"""Every block of the documentation runs, in order, on the small shop; what is said of options and files is true.

A `console` block is run line by line through the command line, a `python` block as it stands, unless its first line
names a file (`# my_parts.py`), which is then written for the blocks after it; so are `yaml` blocks with a name. Other
`yaml` blocks are read as a schema or as options. `<!-- not run: reason -->` before a block leaves it out.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml
from tiny_towers import save_bert

from polymodal import cli
from polymodal.config import Config, Training
from polymodal.core.errors import BadArgument
from polymodal.core.values import read_yaml
from polymodal.data.kinds import KINDS
from polymodal.data.overrides import read_overrides
from polymodal.encoders import ENCODERS
from polymodal.heads import HEADS
from polymodal.metrics.build import build_metric, by_target
from polymodal.testing.metric import example_forms

FORMS = example_forms()

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(
    r"(?P<mark><!-- not run: [^>]+ -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
QUICK = {
    "seeds": 1, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "finetune": False,
    "training": {"epochs": 1}, "encoder_training": {}, "answer_training": {},
}  # fmt: skip


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, code) of every block of a page that is to be run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(m["language"], m["code"]) for m in BLOCK.finditer(text) if not m["mark"]]


@pytest.fixture
def reader(shop, tmp_path, monkeypatch):
    """A reader's folder: the shop, a few new rows, a model; fits are made quick whatever the page asks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    for name in ("shop.csv", "pictures"):
        (tmp_path / name).symlink_to(shop.folder / name)
    lines = shop.table.read_text(encoding="utf-8").splitlines()
    rows = [lines[0], lines[3].replace("r2,", "1042,", 1), *lines[20:24]]
    (tmp_path / "new.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows), encoding="utf-8")
    (tmp_path / "things.csv").write_text(
        "head,relation,tail\nboot,is a,shoe\nsandal,is a,shoe\npurse,is a,bag\nsatchel,is a,bag\n"
    )
    (tmp_path / "names.txt").write_text("red shoe\nred bag\ngreen shoe\ngreen bag\nblue shoe\nblue bag\n")
    plain = Config.from_options.__func__
    for table in ("_kinds", "_ends", "_modules"):  # a page's own kinds are forgotten with it
        monkeypatch.setattr(KINDS, table, dict(getattr(KINDS, table)))
    monkeypatch.setattr(Config, "from_options", classmethod(lambda cls, options: plain(cls, {**options, **QUICK})))
    return tmp_path


def prepare(folder: Path, code: str, shop) -> None:
    """What a block takes for granted: a run that it does not make itself, a model."""
    run = folder / "runs" / "shop"
    if re.search(r"out[ =]+\W?runs/shop", code):
        if run.is_symlink():
            run.unlink()
        elif run.exists():  # an earlier block made it
            shutil.rmtree(run)
    elif not run.exists():
        run.parent.mkdir(exist_ok=True)
        run.symlink_to(shop.run)
    if re.search(r"models/minilm|--models models", code):
        (folder / "models").mkdir(exist_ok=True)
        save_bert(folder / "models" / "minilm")


def run_console(code: str, monkeypatch, capsys) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)  # the reader's folder is importable already
        if not words:
            continue
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), line
            continue
        assert words[0] == "polymodal", f"cannot run {line!r}; mark its block with <!-- not run: reason -->"
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code, f"{line}\n{capsys.readouterr().err}"


def fits(spec: object, kind: str) -> bool:
    """Whether a metric is there and fits a kind of target."""
    try:
        return bool(build_metric(spec, FORMS[kind]))
    except BadArgument:
        return False


def read_options(code: str) -> None:
    """A `yaml` block without a name: options of a fit, or a schema of a table that has all its columns."""
    given = read_yaml(code, "a block")
    if set(given) <= {f.name for f in fields(Config)}:
        config = Config.from_options(given)
        for spec in config.encoders.values():
            ENCODERS.resolve(spec)
        for spec in config.heads.values():
            HEADS.resolve(spec)
        for specs in by_target(config.metric, list(config.metric or ())).values():
            assert all(any(fits(spec, kind) for kind in FORMS) for spec in specs)
        return
    words = set(re.findall(r"\w+", code)) | {"dim_1"}
    assert read_overrides(given, words).fields


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, reader, shop, monkeypatch, capsys):
    names: dict[str, object] = {}
    for language, code in blocks(page):
        first = re.match(r"# ([\w.]+\.(?:py|yaml))\n", code)
        if first and language in ("python", "yaml"):
            (reader / first[1]).write_text(code, encoding="utf-8")
        elif language == "yaml":
            read_options(code)
        elif language == "python":
            prepare(reader, code, shop)
            exec(compile(code, f"{page}:{code.splitlines()[0]}", "exec"), names)
        elif language == "console":
            prepare(reader, code, shop)
            run_console(code, monkeypatch, capsys)
    for module in [m for m in sys.modules if m.startswith("my_")]:
        del sys.modules[module]


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_console_blocks(page):
    for language, code in blocks(page):
        if language == "":
            assert not re.search(r"^(\$ )?(\w+=\S+ )?(polymodal|make|pip) ", code, re.MULTILINE), (
                f"{page}: mark as console\n{code}"
            )
        if language == "python":
            ast.parse(code)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_commands_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", line.strip("# ")).lower().replace(" ", "-")
        for line in re.findall(r"^#+ .*$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if not target.startswith(("http:", "https:")):
            assert not path or (ROOT / page).parent.joinpath(path).exists(), target
            assert path or anchor in anchors, target
    known = {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    known |= {group.name for group in cli.app.registered_groups}
    for command in re.findall(r"`polymodal (\w+)", text):
        assert command in known, f"{page} names `polymodal {command}`"


@pytest.mark.parametrize("options", [Config, Training])
def test_the_guide_lists_every_option_with_its_default(options):
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    title = "option" if options is Config else "option of the loop"
    table = re.search(rf"^\| {title} \| default .*?\n\n", text, re.DOTALL | re.MULTILINE)
    assert table is not None
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table[0], re.MULTILINE)
    told = {name: yaml.safe_load(value) for name, value in rows}
    true = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(options)}
    assert told == {name: list(value) if isinstance(value, tuple) else value for name, value in true.items()}


def test_the_guide_lists_every_file_of_a_run(shop):
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = re.search(r"^## Files of a run\n.*?\n\n(?=They)", text, re.DOTALL | re.MULTILINE)
    assert table is not None
    named = {name.rstrip("/") for name in re.findall(r"`([\w.]+/?)`", table[0])}
    assert set(os.listdir(shop.run)) <= named
    assert named - set(os.listdir(shop.run)) == {"tensorboard", "curves.csv", "trackers", "remarks.jsonl"}


def test_the_readme_points_at_pictures_that_are_there():
    for page in PAGES:
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / page).parent.joinpath(picture).exists()
