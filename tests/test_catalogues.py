"""Nothing is catalogued without a summary, a source, a row in the docs and a check of its family's laws."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import polymodal.testing
from polymodal.catalogues import FAMILIES, WORDS, catalogue, show_all, show_part
from polymodal.core.errors import MissingExtra, UnknownName
from polymodal.core.registry import options

ROOT = Path(__file__).parents[1]
EVERYTHING = [(family, name) for family in FAMILIES for name in catalogue(family)]
CHECKS = {
    "processor": "check_processor",
    "encoder": "check_encoder",
    "fusion": "check_fusion",
    "decision": "check_decision",
    "answer": "check_answer",
    "head": "check_head",
    "objective": "check_objective",
    "align": "check_aligner",
    "embedding": "check_embedding",
    "clean": "check_op",
    "annotate": "check_op",
    "augment": "check_op",
}
ONLY_HERE = {"trees"}  # fitted, not trained: no third party can add one, and tests/fusion/test_boosted.py is its check


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
