"""Answers in words judged from a table alone."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from metrics.own_captions import captions

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData, PolymodalError, UnknownName
from polymodal.data.tables.source import read_table
from polymodal.evaluation.captions import captions_text, evaluate_captions
from polymodal.ops.language import tokens
from polymodal.targets.text import side_by_side

REFERENCES, SAID = captions()
TABLE = {"id": [f"s{i}" for i in range(60)], "said": SAID.tolist()} | {
    f"right_{k}": column.tolist() for k, column in enumerate(REFERENCES.T)
}


def judged(table=TABLE, answer="said", references="right_*", **options):
    return evaluate_captions(table, answer=answer, references=references, **options)


def test_every_metric_with_its_interval():
    found = judged()
    assert found["references"] == [f"right_{k}" for k in range(5)]
    for name, official in {"cider": 1.776550, "bleu": 0.489533, "rouge_l": 0.559221, "chrf": 55.170191}.items():
        one = found["metrics"][name]
        assert one["mean"] == pytest.approx(official, abs=1e-6)
        assert one["low"] < official < one["high"]
    assert list(found["metrics"])[:5] == ["cider", "bleu", "bleu(n=3)", "bleu(n=2)", "bleu(n=1)"]
    assert found["data"] == {"source": "table", "rows": 60, "judged": 60, "empty": 0, "set_aside": []}
    assert found["answers"]["distinct"] <= 60
    assert found["right"]["a_row"] == 5
    assert found["notes"] == []
    assert pm.evaluate_captions is evaluate_captions
    assert judged() == found
    assert "5.0 references a row" in captions_text(found)


def test_a_pattern_leaves_the_answers_out_and_one_person_is_judged_by_the_others():
    found = judged(answer="right_0")
    assert found["references"] == [f"right_{k}" for k in range(1, 5)]
    assert found["metrics"]["exact_match"]["mean"] < 1
    assert judged(answer="right_0", references=["right_1,right_2", "right_[3-4]"])["metrics"] == found["metrics"]
    assert (
        judged(answer="right_0", references="right_1, right_2,right_3,right_4,right_1")["metrics"] == found["metrics"]
    )
    with pytest.raises(BadArgument, match="The answers 'right_0' are no reference to themselves"):
        judged(answer="right_0", references="right_1,right_0")


def test_lists_of_references_in_one_cell():
    listed = {"said": TABLE["said"], "all": REFERENCES.tolist()}
    assert judged(listed, references="all")["metrics"] == judged()["metrics"]


def test_columns_that_are_not_there():
    with pytest.raises(UnknownName, match="table has no column 'sayd'. Did you mean 'said'"):
        judged(answer="sayd")
    with pytest.raises(UnknownName, match="no column 'rihgt_1' of references. Did you mean 'right_1'"):
        judged(references="right_0,rihgt_1")


def test_rows_without_references_are_set_aside_and_missing_answers_count():
    table = {name: list(values) for name, values in TABLE.items()}
    for i in (3, 7):
        for k in range(5):
            table[f"right_{k}"][i] = None
    table["right_4"][5] = " "
    table["said"][10] = None
    found = judged(table)
    assert found["data"]["judged"] == 58
    assert [(one["row"], one["reason"]) for one in found["data"]["set_aside"]] == [
        (row, "no reference in right_0, right_1, right_2, right_3, right_4; row set aside") for row in ("s3", "s7")
    ]
    assert found["notes"] == [
        "2 rows without a reference in right_0, right_1, right_2, right_3, right_4: not judged",
        "1 of 58 answers are missing or empty; they count as wrong",
    ]
    assert found["right"]["a_row"] == pytest.approx((57 * 5 + 4) / 58)
    with pytest.raises(BadData, match="No row of table has a reference in right_0"):
        judged({**table, "right_0": [None] * 60}, references="right_0")


def test_few_rows_and_documents():
    few = {name: values[:20] for name, values in TABLE.items()}
    found = judged(few)
    assert np.isnan(found["metrics"]["cider"]["mean"])
    assert found["notes"] == [
        "cider: which n-grams are rare cannot be told from 20 rows; 50 are needed, or `documents` that say it"
    ]
    assert np.isfinite(found["metrics"]["bleu"]["mean"])
    assert "cider" in captions_text(found)
    told = judged(few, documents=TABLE)
    assert told["metrics"]["cider(documents=60)"]["mean"] > 0
    assert told["notes"] == []
    with pytest.raises(BadArgument, match="at least 50 things; got 20"):
        judged(few, documents=few)
    with pytest.raises(UnknownName, match="'right_0'"):
        judged(few, documents={"x": ["a"]})


def test_metrics_that_are_asked_for():
    found = judged(metric=["rouge_l", {"name": "bleu", "n": 2}])
    assert list(found["metrics"]) == ["rouge_l", "bleu(n=2)"]
    assert list(judged(metric="em", segment="jieba")["metrics"]) == ["exact_match"]
    assert list(judged(metric="cider", segment="jieba")["metrics"]) == ["cider(segment=jieba)"]
    with pytest.raises(BadArgument, match="accuracy reads labels of class or labels; this target is text.*cider"):
        judged(metric="accuracy")
    with pytest.raises(BadArgument, match="segment='characters' or 'jieba'; got 'letters'"):
        judged(segment="letters")


def test_what_each_answer_got_is_written(tmp_path):
    found = judged(out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8")) == found
    each = read_table(tmp_path / "out" / "answers.csv")
    assert list(each.data) == ["row", "answer", "cider", "rouge_l", "token_f1", "exact_match", "vqa_accuracy"]
    assert np.mean([float(x) for x in each.data["cider"]]) == pytest.approx(1.776550, abs=1e-5)
    assert each.data["row"][:2] == ["s0", "s1"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadArgument, match="is a file; `out` names a folder"):
        judged(out=tmp_path / "file")


def test_copies_and_objects(tmp_path, monkeypatch):
    assert "copied" not in judged()
    assert judged()["answers"]["distinct_ngrams"]["1"] < 0.2
    training = {name: [SAID[0], *values[1:]] for name, values in TABLE.items()}
    found = judged(training=training)
    assert found["copied"]["mean"] >= 1 / 60
    assert 0 < found["hallucinated"]["answers"]["mean"] < 1
    assert "name an object that no reference names (0." in captions_text(found)
    assert " of 60 answers stand among the training answers" in captions_text(found)
    names = tmp_path / "objects.txt"
    names.write_text("dog\nballoon\n", encoding="utf-8")
    told = judged(objects=names)
    assert "copied" not in told
    assert set(told["hallucinated"]["most"]) <= {"dog", "balloon"}
    monkeypatch.setitem(sys.modules, "textblob", None)
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    tokens._english.cache_clear()
    without = judged(training=training)
    assert "hallucinated" not in without
    assert "polymodal[language]" in without["notes"][0]
    assert judged(training=training, objects=names)["hallucinated"] == told["hallucinated"]
    tokens._english.cache_clear()


def test_side_by_side():
    assert side_by_side([["a", "b"], ["c"]]).tolist() == [["a", "b"], ["c", ""]]
    assert side_by_side([]).shape == (0, 0)


def test_rows_of_one_thing_share_what_is_right_and_are_drawn_together():
    """Five rows a photo with a reference each are judged as one row with five, and no more sure."""
    long = {
        "said": np.repeat(SAID, 5).tolist(),
        "right": REFERENCES.ravel().tolist(),
        "photo": np.repeat(TABLE["id"], 5).tolist(),
    }
    wide, found, loose = judged(), judged(long, references="right", group="photo"), judged(long, references="right")
    assert found["groups"] == 60
    for name in ("cider", "rouge_l", "exact_match"):
        one, other = found["metrics"][name if name != "cider" else "cider(documents=60)"], wide["metrics"][name]
        assert one["mean"] == pytest.approx(other["mean"])
        assert one["high"] - one["low"] == pytest.approx(other["high"] - other["low"], rel=0.25)
    spread = {name: one["metrics"]["rouge_l"] for name, one in (("found", found), ("loose", loose))}
    assert spread["loose"]["high"] - spread["loose"]["low"] < 0.7 * (spread["found"]["high"] - spread["found"]["low"])
    twice = {name: [*values, *values] for name, values in TABLE.items()}
    assert judged(twice, group="id")["right"]["a_row"] == 5
    few = judged({name: values[:100] for name, values in long.items()}, references="right", group="photo")
    assert "cider" not in few["metrics"]
    assert "cannot be told from 20 rows" in few["notes"][0]
    with pytest.raises(UnknownName, match="'foto'"):
        judged(long, references="right", group="foto")


def test_the_folder_of_a_run_is_refused_and_lists_in_a_file_are_read(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(BadArgument, match="holds a run"):
        judged(out=tmp_path)
    assert not (tmp_path / "evaluation.json").exists()
    listed = {"said": TABLE["said"], "all": [json.dumps(row) for row in REFERENCES.tolist()]}
    assert judged(listed, references="all")["metrics"] == judged()["metrics"]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = ["\t".join(TABLE), *("\t".join(row) for row in zip(*TABLE.values()))]
    (tmp_path / "told.tsv").write_text("\n".join(line.replace('"', "") for line in lines), encoding="utf-8")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["polymodal", "evaluate", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return call


def test_the_command(command, tmp_path):
    code, out, err = command("--captions", "told.tsv", "--answer", "said", "--references", "right_*", "-o", "out")
    assert code == 0
    assert "60 rows read, 60 judged" in err
    assert "rouge_l" in out
    assert "different answers in 60 rows" in out
    assert (tmp_path / "out" / "answers.csv").exists()
    code, out, _ = command(
        "--captions", "told.tsv", "--answer", "said", "--references", "right_0,right_1", "--references", "right_2",
        "--metric", "chrf", "--json",
    )  # fmt: skip
    assert json.loads(out)["references"] == ["right_0", "right_1", "right_2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "evaluate takes RUN and DATA, or --captions TABLE"),
        (("run",), "evaluate takes RUN and DATA, or --captions TABLE"),
        (("run", "told.tsv", "--answer", "said"), "go with --captions TABLE"),
        (("--captions", "told.tsv", "--answer", "said"), "--references COLUMN"),
        (("run", "--captions", "told.tsv", "--answer", "said", "--references", "right_*"), "takes no run"),
        (
            ("--captions", "told.tsv", "--answer", "said", "--references", "right_*", "--metric", "a=bleu"),
            "names no target",
        ),
        (("--captions", "told.tsv", "--answer", "sayd", "--references", "right_*"), "Did you mean 'said'"),
        (("--captions", "tell.tsv", "--answer", "said", "--references", "right_*"), "Did you mean 'told.tsv'"),
    ],
)
def test_the_command_says_what_is_wrong(command, words, said):
    code, _, err = command(*words)
    assert code == PolymodalError.exit_code
    assert said in err
