"""Nothing is catalogued without a summary, a source, a row in the docs and a check of its family's laws."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement

import polymodal.testing
from polymodal.catalogues import FAMILIES, MODELS, WORDS, catalogue, show_all, show_part
from polymodal.config import Training
from polymodal.core.errors import BadArgument, MissingExtra, UnknownName
from polymodal.core.registry import options

ROOT = Path(__file__).parents[1]
EVERYTHING = [(family, name) for family in FAMILIES for name in catalogue(family)]
OPS = [(family, name) for family, name in EVERYTHING if family in ("clean", "annotate", "augment")]
# Packages whose metadata cannot be compared: yake's contradict its licence file, eSpeak NG's loader's say nothing
UNTOLD = ("yake", "espeakng-loader")
CHECKS = {
    "processor": "check_processor",
    "encoder": "check_encoder",
    "fusion": "check_fusion",
    "decision": "check_decision",
    "answer": "check_answer",
    "target": "check_target",
    "head": "check_head",
    "objective": "check_objective",
    "metric": "check_metric",
    "align": "check_aligner",
    "embedding": "check_embedding",
    "clean": "check_op",
    "annotate": "check_op",
    "augment": "check_op",
}
ONLY_HERE = {"learner", "generator"}  # fitted, or opened as they are: tests/learners and tests/generators try each


def test_the_catalogue_page_is_up_to_date():
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == show_all(None, "markdown") + "\n", "run: polymodal list --markdown > docs/catalogue.md"


@pytest.mark.parametrize(("family", "name"), EVERYTHING)
def test_every_part_has_a_row_a_summary_and_a_source(family, name):
    entry = catalogue(family).entry(name)
    assert entry.summary.strip()
    assert entry.source.strip()
    rows = [line for line in show_all(family, "markdown").splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert entry.source in rows[0]


@pytest.mark.parametrize(("family", "name"), EVERYTHING)
def test_every_part_can_be_shown_with_its_options(family, name):
    try:
        text = show_part(name)
    except MissingExtra as error:
        pytest.skip(f"{name} needs an extra: {error}")
    assert f"{name} ({family})" in text
    for option in options(catalogue(family).load(name)):
        assert f"    {option}: " in text
    assert "'str'" not in text


@pytest.mark.parametrize(("family", "name"), OPS)
def test_every_op_says_its_engines_with_licences(family, name):
    entry = catalogue(family).entry(name)
    assert entry.engines, "an op names what does its work: engines=(engines.OURS,) where polymodal itself does"
    texts = [show_all(family, "text"), show_all(family, "markdown"), show_part(name)]
    for engine in entry.engines:
        assert engine.package
        assert canonicalize_license_expression(engine.licence) == engine.licence
        assert engine.model in MODELS
        assert all(engine.package in text and f"({engine.licence}" in text for text in texts)
    assert not entry.extra or entry.extra in {engine.extra for engine in entry.engines}


@pytest.mark.parametrize(("family", "name"), OPS)
def test_an_engine_is_called_what_the_op_calls_it(family, name):
    named = {engine.name for engine in catalogue(family).entry(name).engines} - {""}
    if "engine" not in options(catalogue(family).load(name)):
        assert not named
        return
    given = {"model": "m"} if name in ("parse", "roles") else {}
    with pytest.raises(BadArgument) as refused:
        catalogue(family).build({"name": name, "engine": "0", **given})
    allowed = set(str(refused.value).partition("Allowed: ")[2].rstrip(".").split(", "))
    assert named | {"auto"} == allowed | {"auto"}


@pytest.mark.parametrize("engine", {e.package: e for f, n in OPS for e in catalogue(f).entry(n).engines}.values())
def test_what_is_said_of_an_engine_is_what_its_package_says(engine):
    if engine.package in ("polymodal", "WordNet"):  # WordNet: files of the system, no package
        assert not engine.extra
        return
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    group = wanted["optional-dependencies"][engine.extra] if engine.extra else wanted["dependencies"]
    assert engine.package in {Requirement(line).name for line in group}
    try:
        told = metadata(engine.package)
    except PackageNotFoundError:
        pytest.skip(f"{engine.package} is not installed: what it says of its licence cannot be compared")
    said = told["License-Expression"]
    if said:
        assert engine.licence == said
    elif engine.package not in UNTOLD:
        words = " ".join([told["License"] or "", *(told.get_all("Classifier") or [])])
        assert engine.licence.partition("-")[0] in words


def test_engines_are_listed_in_every_form():
    entry = json.loads(show_all("annotate", "json"))["annotate"]["transcribe"]
    whisper = {"package": "transformers", "licence": "Apache-2.0", "extra": "hf", "name": "whisper", "model": "named"}
    assert whisper in entry["engines"]
    assert "engines" not in json.loads(show_all("head", "json"))["head"]["classes"]
    for width in (60, 80, 120):
        lines = show_all("annotate", "text", width).splitlines()
        assert max(map(len, lines)) <= width
        assert any(line.strip().startswith("by transformers as whisper (Apache-2.0;") for line in lines)


def test_every_family_can_be_checked_by_third_parties():
    assert set(FAMILIES) == set(CHECKS) | ONLY_HERE == set(WORDS)
    for check in CHECKS.values():
        assert check in polymodal.testing.__all__


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_agree_in_every_form(family):
    names = list(catalogue(family))
    assert names == sorted(names)
    text, markdown = show_all(family, "text"), show_all(family, "markdown")
    assert list(json.loads(show_all(family, "json"))[family]) == names
    assert all(f"  {name} " in text and f"`{name}`" in markdown for name in names)
    assert show_all(f"{family}s", "text") == text


def test_a_part_that_needs_an_extra_says_which():
    listed = show_all("encoder", "text")
    assert "pretrained_text" in listed
    assert "(extra: hf)" in listed


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="No part is called 'gatd'. Did you mean 'gated'"):
        show_part("gatd")


def test_what_an_option_that_is_a_mapping_takes():
    assert "\n    top_p: float = 1.0" in show_part("writer_recurrent")
    assert "decoding" not in show_part("classes")
    with pytest.raises(UnknownName, match="No family is called 'encodr'. Did you mean 'encoder'"):
        show_all("encodr", "text")


def test_a_registered_part_is_listed_and_shown(monkeypatch):
    import polymodal as pm

    parts = catalogue("fusion")
    monkeypatch.setattr(parts, "_entries", dict(parts._entries))

    @parts.register("first_of_all", source="a test, 2026")
    class FirstOfAll(pm.Fusion):
        """The first stream."""

        def __init__(self, widths, dim, *, depth: int = 3):
            super().__init__(widths, dim)
            self.depth = depth

        def fuse(self, streams):
            return next(iter(streams.values()))

    assert "first_of_all  " in show_all("fusion", "text")
    assert "The first stream." in show_all("fusion", "text")
    assert "depth: int = 3" in show_part("first_of_all")


def test_listing_needs_no_torch():
    code = "from polymodal import cli; import sys; sys.argv = ['polymodal', 'list', '--markdown']\n"
    code += (
        "try: cli.main()\nexcept SystemExit: pass\nprint(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


def test_what_is_elsewhere_is_said_and_is_there():
    told = show_all("augment", "text")
    assert "`mixup` of the aligners infonce and siglip" in told
    assert "mixup" in options(catalogue("align").load("infonce"))
    assert "mixup" in options(catalogue("align").load("siglip"))
    assert "modality_dropout" in {option.name for option in fields(Training)}
    assert max(map(len, show_all("augment", "text", 80).splitlines())) <= 80


def test_a_step_says_what_columns_it_takes():
    told = show_part("silent")
    assert "columns: of kind audio" in told
    assert "keep_row: true" in told
    assert "keep_row" not in show_part("flip")
    assert "columns: of kind" not in show_part("gated")


def test_a_metric_says_what_it_reads_and_which_way_is_better():
    told = show_part("mae")
    assert "reads: values of number" in told
    assert "less is better, 0 to inf" in told
    assert "greater is better, -inf to 1; a constant answer gets 0" in show_part("r2")
