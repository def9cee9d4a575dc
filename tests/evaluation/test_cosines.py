"""The mean cosine of pairs beside that of exchanged ones, against plain loops."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation.cosines import _Cosine, _units, cosine_score


def plain(a, b, group):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = a @ b.T
    return np.diag(cosine).mean(), cosine[group[:, None] != group[None]].mean()


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 6)) + 1
    return a, a + rng.normal(size=(40, 6)) * 1.5, np.arange(40) // 5


@pytest.mark.parametrize("grouped", [False, True])
def test_equals_the_plain_loop(pairs, grouped):
    a, b, group = pairs
    found = cosine_score(a, torch.from_numpy(b), groups=group if grouped else None)
    own, shuffled = plain(a, b, group if grouped else np.arange(40))
    assert found.pairs.mean == pytest.approx(own)
    assert found.shuffled.mean == pytest.approx(shuffled)
    assert found.difference.mean == pytest.approx(own - shuffled)
    for one in (found.pairs, found.shuffled, found.difference):
        assert one.low < one.mean < one.high
    assert found.difference.low > 0


def test_a_resample_equals_rows_repeated(pairs):
    a, b, group = pairs
    often = np.random.default_rng(1).multinomial(8, np.full(8, 1 / 8), size=5).T.astype(float)
    metric = _Cosine(_units(a, ""), _units(b, ""), group, "shuffled")
    rows = np.arange(40.0)
    for found, counts in zip(metric.weighted(rows, rows, often[group]), often[group].T.astype(int)):
        assert found == pytest.approx(plain(*(np.repeat(x, counts, axis=0) for x in (a, b, group)))[1])


def test_a_space_that_says_nothing_has_no_difference():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 8)) + 2  # all share a direction: high cosines
    found = cosine_score(a, b)
    assert found.pairs.mean > 0.7
    assert found.difference.low < 0 < found.difference.high
    covered = [cosine_score(*rng.normal(size=(2, 30, 4)), seed=seed).difference for seed in range(100)]
    assert 0.88 <= np.mean([one.low < 0 < one.high for one in covered]) <= 1


def test_bad_vectors_are_refused(pairs):
    a, b, group = pairs
    with pytest.raises(BadData, match=r"two arrays \[N, D\]; got \(40, 6\) and \(39, 6\)"):
        cosine_score(a, b[:-1])
    with pytest.raises(BadData, match=r"the first are \(6,\)"):
        cosine_score(a[0], b)
    with pytest.raises(BadData, match="Row 3 of the second vectors has no direction"):
        cosine_score(a, np.where(np.arange(40)[:, None] == 3, 0, b))
    with pytest.raises(BadData, match="Row 0 of the first vectors has no direction"):
        cosine_score(np.where(np.arange(40)[:, None] == 0, np.nan, a), b)
    with pytest.raises(BadData, match="give at least two"):
        cosine_score(a, b, groups=np.zeros(40))
    with pytest.raises(BadData, match="each of the 40 pairs; got 3"):
        cosine_score(a, b, groups=group[:3])


WORDS = (("small", "big"), ("dark", "bright"), ("cold", "hot"), ("slow", "fast"))


def said(rows: int = 60, *, wrong: bool = False) -> dict:
    """Rows whose four numbers are told by a word each; wrong answers say the opposite of all."""
    rng = np.random.default_rng(rows)
    size = rng.choice([-1, 1], (rows, 4)) + rng.normal(0, 0.2, (rows, 4))
    right = [" ".join(pair[int(x > 0)] for pair, x in zip(WORDS, row)) for row in size]
    other = [" ".join(pair[int(x <= 0)] for pair, x in zip(WORDS, row)) for row in size]
    return {"size": size.round(3).tolist(), "text": right, "answer": other if wrong else right}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    schema = {
        "fields": {"size": {"kind": "vector", "columns": ["size"]}, "text": {"kind": "text", "columns": ["text"]}}
    }
    table = {name: column for name, column in said(300).items() if name != "answer"}
    options = {"dim": 8, "width": 16, "training": {"epochs": 15}, "trackers": "none", "quiet": True}
    return pm.align(
        table, ["size", "text"], schema=schema, out=folder / "run", store=folder / "store", **options
    ).folder


def test_answers_beside_what_their_rows_show(space):
    opened = pm.load_space(space)
    judged = [
        pm.evaluate_captions(said(wrong=wrong), answer="answer", references="text", space=opened)["likeness"]
        for wrong in (False, True)
    ]
    assert [(one["seen"], one["said"], one["rows"]) for one in judged] == [("size", "text", 60)] * 2
    assert judged[0]["answers"] == judged[0]["references"] == judged[1]["references"]
    assert judged[0]["answers"]["difference"]["low"] > 0
    assert judged[1]["answers"]["pairs"]["mean"] < judged[0]["answers"]["pairs"]["mean"]
    assert judged[1]["answers"]["difference"]["mean"] < 0


def test_a_row_without_either_is_left_out(space):
    table = said()
    table["size"][3], table["size"][4] = None, "red"
    found = pm.evaluate_captions(table, answer="answer", references="text", space=pm.load_space(space), seen="size")
    assert found["likeness"]["rows"] == 58
    assert [(one["row"], one["column"]) for one in found["data"]["set_aside"]] == [("4", "size")]


def test_what_a_space_cannot_judge(space):
    opened = pm.load_space(space)
    with pytest.raises(BadArgument, match="`seen` names a stream of `space`"):
        pm.evaluate_captions(said(), answer="answer", references="text", seen="size")
    blind = {name: column for name, column in said().items() if name != "size"}
    with pytest.raises(BadArgument, match=r"0 streams of which table has a column.*`seen` names"):
        pm.evaluate_captions(blind, answer="answer", references="text", space=opened)
    with pytest.raises(BadData, match="give at least two"):
        pm.evaluate_captions({n: c[:1] for n, c in said().items()}, answer="answer", references="text", space=opened)


def test_the_command(space, tmp_path, capsys, monkeypatch):
    table = said()
    lines = [json.dumps({name: table[name][i] for name in table}) for i in range(60)]
    (tmp_path / "told.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked = ["evaluate", "--captions", str(tmp_path / "told.jsonl"), "--answer", "answer", "--references", "text"]
    monkeypatch.setattr(sys, "argv", ["polymodal", *asked, "--space", str(space)])
    with pytest.raises(SystemExit, match="^0$"):
        cli.main()
    assert "cosine of size and answer" in capsys.readouterr().out
