"""What is seen of a fit of answers in words before it begins, and what its epochs are chosen by."""

from __future__ import annotations

from functools import partial, wraps
from types import SimpleNamespace

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData
from polymodal.data.tables.source import read_table
from polymodal.experiment.folds import split_by
from polymodal.experiment.ladder import Ladder
from polymodal.experiment.work import SCRATCH, TRIAL, Work
from polymodal.heads.writer import Writer
from polymodal.metrics.build import target_metrics
from polymodal.targets.base import fitted
from polymodal.targets.text import TextTarget

HEADS = {"says": {"name": "writer", "units": 32, "depth": 1}}
QUICK = {"workers": 0, "crossfit": 0, "dim": 16, "joint": False, "pretrained": False, "heads": HEADS}


def told(rows: int) -> dict[str, list]:
    """Two vectors, and two people's words for them."""
    left, right = np.random.default_rng(0).normal(size=(2, rows, 3)).astype(np.float32)
    who = [["dog", "cat", "girl"][i] for i in np.digitize(left[:, 0], [-0.4, 0.4])]
    return {
        "left": left.tolist(),
        "right": right.tolist(),
        "says_0": [f"A {a} {'running' if x > 0 else 'sleeping'} over there ." for a, x in zip(who, right[:, 0])],
        "says_1": [f"The {a} {'runs' if x > 0 else 'sleeps'} ." for a, x in zip(who, right[:, 0])],
    }


def test_columns_of_classes_are_gathered_by_a_name_of_their_own_alone():
    table = told(60) | {"tag_1": ["x", "y", "z"] * 20, "tag_2": ["p", "q"] * 30}
    with pytest.raises(BadData, match="'tag' gathers tag_1, tag_2 .* each holds a few values of its own, no word"):
        pm.plan(table, "tag_1,tag_2")
    assert pm.plan(table, "either=tag_1,tag_2").targets[0].several
    assert pm.plan(table | {"tag_2": ["y", "q"] * 30}, "tag_1,tag_2").targets[0].kind == "text"


def test_where_a_metric_is_not_defined_on_the_rows_the_loss_chooses_the_epoch():
    """CIDEr asks for 50 rows: NaN whatever is written would keep the weights of the first epoch."""
    target = fitted("says", "text", told(120)["says_0"])
    truth = target.truth(target.encode(told(120)["says_0"]))
    metrics = {"says": target_metrics(["cider"], target)[0]}
    work = SimpleNamespace(
        drawn=False, targets=[target], metrics=metrics, groups=None, truth=lambda _, rows: truth[rows]
    )
    work.score = partial(Work.score, work)
    assert Work.by_loss(work, np.arange(49))
    assert not Work.by_loss(work, np.arange(60))


def test_a_start_whose_scores_are_not_known_is_compared_all_the_same():
    ladder = Ladder.__new__(Ladder)
    ladder.folds, ladder.plan = [None], SimpleNamespace(targets=[])
    rungs = {TRIAL: SimpleNamespace(result={"valid": [None, None]}, scores={}),
             SCRATCH: SimpleNamespace(result={"valid": [None, -2.0]}, scores={})}  # fmt: skip
    ladder._trained = lambda results, folds: rungs[folds[0]]
    ladder._read = lambda *_: {}
    assert not ladder.start_pays({})
    assert "-2.0000 from scratch" in ladder.lost


def test_no_vocabulary_is_learned_of_all_rows_to_split_them(monkeypatch):
    monkeypatch.setattr(TextTarget, "fit", lambda *_: pytest.fail("the test rows' words are not learned from"))
    table = read_table({"x": list(range(60)), "says": told(60)["says_0"]})
    monkeypatch.setattr("polymodal.experiment.folds.held_together", lambda *_: None)
    assert split_by(table, SimpleNamespace(targets={"says": "text"})) == {"labels": None, "groups": None}
    assert split_by(table, SimpleNamespace(targets={"x": "number"}))["labels"].shape[0] == 60


def test_a_head_is_built_once_to_see_whether_its_options_are_right(monkeypatch):
    built, init = [], Writer.__init__

    @wraps(init)
    def counted(self, *given, **options):
        built.append(options)
        init(self, *given, **options)

    monkeypatch.setattr(Writer, "__init__", counted)
    data = told(60)
    pm.plan(data, "says=says_*", **QUICK)
    assert built == [{"units": 32, "depth": 1}]
    wrong = QUICK | {"heads": {"says": {"name": "writer", "smoothing": 1.5}}}
    with pytest.raises(BadArgument, match="smoothing must be at least 0 and below 1; got 1.5"):
        pm.plan({name: column for name, column in data.items() if name != "right"}, "says=says_*", **wrong)
