"""Every catalogued part of every family has a source, a summary, a docstring, and keeps its family's laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polymodal.catalogues import FAMILIES, catalogue
from polymodal.core.registry import options
from polymodal.encoders import ENCODERS
from polymodal.heads import HEADS
from polymodal.process import PROCESSORS
from polymodal.targets import TARGETS
from polymodal.testing import (
    check_encoder,
    check_head,
    check_processor,
    example_cells,
    example_inputs,
    example_target,
)

TESTS = Path(__file__).parents[1]
# Families whose laws are tried part by part, and where. `learner` has a contract of their own.
TRIED = {
    "generator": "generators/test_opening.py",
    "fusion": "fusion/test_fusion_laws.py",
    "decision": "fusion/test_fusion_laws.py",
    "answer": "models/test_answer_laws.py",
    "learner": "learners/test_learners.py",
    "encoder": "testing/test_catalogued_parts.py",
    "processor": "testing/test_catalogued_parts.py",
    "target": "targets/test_target_laws.py",
    "head": "testing/test_catalogued_parts.py",
    "objective": "objectives/test_objective_laws.py",
    "metric": "metrics/test_metrics.py",
    "align": "aligners/test_aligner_laws.py",
    "embedding": "aligners/test_embedding.py",
    "clean": "ops/test_op_laws.py",
    "annotate": "ops/test_op_laws.py",
    "augment": "ops/test_op_laws.py",
}
# Options without which eight rows are too few to learn from.
SMALL: dict[str, dict[str, Any]] = {"text_tfidf": {"rare": 1}}
BROKEN: dict[str, list[Any]] = {
    "image": [b"no picture", "nowhere.png"], "audio": [b"no sound", "nowhere.wav"], "text": ["  "],
    "video": [b"no film", "nowhere.mp4", []], "volume": [b"no scan", "nowhere.nii", []],
    "points": [b"no points", "nowhere.ply", []], "entity": ["  "],
    "series": [[[1.0], [1.0, 2.0]], "nowhere.npy"], "vector": ["red", [1.0, 2.0]], "table": [],
    "links": ["a,b", {"ids": ["a"], "weights": [0.0]}, {"ids": ["a", "b"], "weights": [1.0]}],
}  # fmt: skip
EVERYTHING = [(family, name) for family in FAMILIES for name in catalogue(family)]


def _tried_here(name: str, parts: Any) -> bool:
    """Pretrained parts need a checkpoint: their own tests make one."""
    return not parts.entry(name).extra


@pytest.mark.parametrize(("family", "name"), EVERYTHING)
def test_source_summary_and_docstring(family: str, name: str):
    entry = catalogue(family).entry(name)
    assert entry.summary.strip(), "a summary is what `polymodal list` shows"
    assert entry.source.strip(), "name the authors and the year, or 'folklore'"
    assert any(c.isdigit() for c in entry.source) or entry.source in ("folklore", "polymodal"), entry.source
    if _tried_here(name, catalogue(family)):
        assert (catalogue(family).load(name).__doc__ or "").strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_tried(family: str):
    assert family in TRIED, f"write a check for {family} in polymodal.testing and try its catalogue in a test"
    assert (TESTS / TRIED[family]).exists()


@pytest.mark.parametrize(("family", "name"), [c for c in EVERYTHING if not _tried_here(c[1], catalogue(c[0]))])
def test_parts_with_extras_have_tests_of_their_own(family: str, name: str):
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    spelled = (f'"{name}"', catalogue(family).entry(name).path.rpartition(":")[2])
    assert any(word in text for text in texts for word in spelled), f"no test names {name!r}"


@pytest.mark.parametrize("name", [n for n in ENCODERS if _tried_here(n, ENCODERS)])
def test_encoder_keeps_the_laws(name: str):
    facts, inputs = example_inputs(ENCODERS.load(name).processor)  # type: ignore[attr-defined]
    check_encoder({"name": name, **SMALL.get(name, {})}, facts, inputs)


@pytest.mark.parametrize("name", [n for n in PROCESSORS if _tried_here(n, PROCESSORS)])
def test_processor_keeps_the_laws(name: str):
    kind = PROCESSORS.build(name).kind  # type: ignore[attr-defined]
    check_processor(name, example_cells(kind), broken=BROKEN[kind])


def answered_by(head: str) -> list[str]:
    """The kinds of target that a head answers."""
    return [kind for kind in TARGETS if issubclass(TARGETS.load(kind), HEADS.load(head).answers)]  # type: ignore[attr-defined]


SMALL = {"flow": {"channels": 8, "steps": 2}, "gan": {"channels": 8, "latent": 8}}  # of heads that would take long


@pytest.mark.parametrize("name", [name for name in HEADS if _tried_here(name, HEADS)])
def test_head_keeps_the_laws(name: str):
    for kind in answered_by(name):
        check_head({"name": name, **SMALL.get(name, {})}, example_target(kind))


@pytest.mark.parametrize("name", [name for name in HEADS if "hidden" in options(HEADS.load(name))])
def test_hidden_heads_keep_the_laws(name: str):
    for kind in answered_by(name):
        check_head({"name": name, "hidden": 8, "dropout": 0.1}, example_target(kind))
