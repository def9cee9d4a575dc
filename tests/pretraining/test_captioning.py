"""Encoders that learn by what words say of a row: captioning, and its mix with contrast."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.sealed import load_sealed
from polymodal.core.types import Tokens
from polymodal.experiment.plan import plan as make_plan
from polymodal.inference.start import Start
from polymodal.pretraining.captioning import Captioner
from polymodal.pretraining.learning import Learning
from polymodal.report.pretrain_page import sentences
from polymodal.runs.folder import Interrupted

QUICK = {"dim": 16, "trackers": "none", "quiet": True, "training": {"epochs": 2}}
SAID = {"kinds": {"said": "text"}}
BOTH = {"kinds": {"said": "text", "asked": "text"}}


def told_rows(rows=150):
    """A vector, and words that say two of its signs; the last rows are test rows."""
    draw = np.random.default_rng(0)
    seen = draw.normal(size=(rows, 6))
    words = [f"a {'big' if v[0] > 0 else 'small'} {'red' if v[1] > 0 else 'blue'} thing lies there" for v in seen]
    other = [f"note {i % 7} of the {('first', 'second')[i % 2]} kind" for i in range(rows)]
    split = ["train"] * (rows - 50) + ["valid"] * 25 + ["test"] * 25
    return {"seen": [v.tolist() for v in seen], "said": words, "asked": other, "split": split}


def two(rows=150):
    data = told_rows(rows)
    del data["asked"]
    return data


@pytest.fixture(autouse=True)
def _store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path_factory.getbasetemp() / "store"))


def weights(folder):
    return load_sealed(folder / "weights.safetensors", tensors=True)[0]


def test_words_are_written_from_what_is_seen(tmp_path):
    options = {**QUICK, "training": {"epochs": 40}}
    run = pm.pretrain(two(400), out=tmp_path / "run", objective="captioning", schema=SAID, **options)
    seeing, blind = run.metrics["valid"]["said"], run.metrics["blind"]["said"]
    assert seeing < 0.6 * blind  # the words before tell all but two of six words; the vector tells those
    assert run.metrics["valid"].keys() == {"said"}
    start = Start.load(run.folder)
    assert start.streams == ("seen",)
    assert any("said is written, which teaches its own encoder nothing" in note for note in run.metrics["notes"])
    assert f"{blind * 100:.0f} % where the row's other streams are not seen" in " ".join(sentences(run.metrics))
    assert run.metrics["left_behind"] > 0
    assert not any("captioner" in name for name in weights(run.folder))


def test_mix_sums_captioning_and_contrast_by_their_weights(tmp_path, monkeypatch):
    seen, plain = [], Learning.losses

    def losses(self, rows, *args, **kwargs):
        found = plain(self, rows, *args, **kwargs)
        seen.append((self, {name: float(value.detach()) for name, value in found.items()}))
        return found

    monkeypatch.setattr(Learning, "losses", losses)
    run = pm.pretrain(two(), out=tmp_path / "run", objective="mix", captioning_weight=3.0, schema=SAID, **QUICK)
    assert set(Start.load(run.folder).streams) == {"seen", "said"}
    learning, _ = seen[-1]
    with torch.no_grad():
        total = learning.eval().loss(torch.arange(20))
    _, found = seen[-1]
    assert found.keys() == {"said", "contrast"}
    assert float(total) == pytest.approx(3 * found["said"] + found["contrast"], rel=1e-5)
    score = learning.score(np.arange(20), 0)
    assert score == pytest.approx(-(3 * found["said"] + found["contrast"]), rel=1e-5)


def test_the_loss_reaches_the_encoders_that_are_read(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(Learning, "measure", lambda self, *_, **__: found.append(self) or {"said": 1.0})
    pm.pretrain(told_rows(), out=tmp_path / "run", objective="mix", captions="said", schema=BOTH, **QUICK)
    learning = found[-1].train()
    written = learning.losses(np.arange(30))["said"]
    learning.zero_grad()
    written.backward()
    moved = {n: any(p.grad is not None and p.grad.abs().sum() > 0 for p in e.parameters())
             for n, e in learning.encoders.items()}  # fmt: skip
    assert moved == {"seen": True, "asked": True, "said": False}  # the words are written from all but themselves


def test_a_word_may_not_be_told_by_what_comes_after_it():
    texts = ["one two three", "one two four", "five two three", "one six three"] * 3
    captioner = Captioner("said", 16, texts, np.arange(12)).eval()
    x, mask = torch.randn(12, 3, 16), torch.ones(12, 3, dtype=torch.bool)
    assert captioner(np.arange(12), x, mask) != captioner(np.arange(12), x.flip(0), mask)
    assert captioner(np.arange(12), x, mask, blind=True) == captioner(np.arange(12), x.flip(0), mask, blind=True)
    row, tokens = captioner.head.likelihood, Tokens(x, mask, x[:, 0])
    ids = captioner.head.sought(captioner.codes)[:, 0]
    other = ids.clone()
    other[:, 2] = ids.roll(1, 0)[:, 2]
    assert torch.allclose(row(tokens, ids)[:, :2], row(tokens, other)[:, :2], atol=1e-5)


def test_rows_of_text_alone_and_of_none_are_told_and_passed_over(tmp_path):
    data = two()
    for row in (3, 4, 5):
        data["seen"][row] = None
    data["said"][7] = None
    data["said"][8] = "  "
    run = pm.pretrain(data, out=tmp_path / "run", objective="captioning", schema=SAID, **QUICK)
    assert any("said is written in 95 rows; 3 more hold words and nothing to read" in n for n in run.metrics["notes"])
    assert all(v.isfinite().all() for v in weights(run.folder).values())
    captioner = Captioner("said", 16, ["a b", None, "", "c d"], np.array([0, 1, 3]))
    x, mask = torch.randn(4, 2, 16), torch.tensor([[True, True], [True, True], [True, True], [False, False]])
    alone = captioner(np.array([1, 2, 3]), x[1:], mask[1:])
    assert alone is None  # no row of these has words and something to read
    assert captioner(np.arange(4), x, mask).isfinite()


def test_long_texts_are_cut_with_a_word():
    texts = ["short text here"] * 2000 + [" ".join(["word"] * 300)]
    (line,) = Captioner("said", 16, texts, np.arange(2001)).remarks()
    assert line == "said: of 1 text only the first 3 symbols are written."


@pytest.mark.parametrize("objective", ["captioning", "mix"])
def test_what_cannot_be_written_is_refused(tmp_path, objective):
    def run(data, schema=SAID, **options):
        return pm.pretrain(data, out=tmp_path / "run", objective=objective, schema=schema, **{**QUICK, **options})

    with pytest.raises(BadData, match=f"objective={objective} writes text, and none of seen is of the kind text"):
        run(two(), streams="seen")
    with pytest.raises(BadData, match="writes said from other streams, and there is none"):
        run(two(), streams="said")
    with pytest.raises(BadArgument, match="captions names 'seen', which is of the kind 'vector'; text is written"):
        run(two(), captions="seen")
    with pytest.raises(BadArgument, match="captions names 'sad', which is no stream; text is written.*said"):
        run(two(), captions="sad")
    empty = two()
    empty["said"] = [text if i > 100 else None for i, text in enumerate(empty["said"])]
    with pytest.raises(BadData, match="No training row has a cell of 'said': all are missing"):
        run(empty)
    apart = two()
    apart["seen"] = [v if i % 2 or i > 100 else None for i, v in enumerate(apart["seen"])]
    apart["said"] = [v if not i % 2 or i > 100 else None for i, v in enumerate(apart["said"])]
    with pytest.raises(
        BadData, match=r"words in 'said' and a usable cell of seen|0 rows that are learned from have two"
    ):
        run(apart)
    with pytest.raises(BadData, match="writes said from other streams, and none of them has an encoder|contrasts"):
        run(two(), encoders={"seen": "vector_plain"})


def test_options_that_would_change_nothing_are_refused(tmp_path):
    with pytest.raises(BadArgument, match="captions are written by objective=captioning or mix, not by both"):
        pm.pretrain(two(), out=tmp_path / "run", objective="both", captions="said")
    with pytest.raises(BadArgument, match="captioning_weight is read by objective=mix"):
        pm.pretrain(two(), out=tmp_path / "run", objective="captioning", captioning_weight=1.0)
    with pytest.raises(BadArgument, match="captioning_weight"):
        pm.pretrain(two(), out=tmp_path / "run", objective="mix", captioning_weight=0.0)


def test_a_killed_mix_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    options = {"objective": "mix", "schema": SAID, **QUICK}
    whole = pm.pretrain(two(), out=tmp_path / "whole", **options)
    plain, done = Learning.measure, []

    def killed(self, *args, **kwargs):
        done.append(plain(self, *args, **kwargs))
        if len(done) == 2:
            raise KeyboardInterrupt
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Learning, "measure", killed)
        with pytest.raises(Interrupted):
            pm.pretrain(two(), out=tmp_path / "run", **options)
    again = pm.pretrain(two(), out=tmp_path / "run", resume=True, **options)
    one, other = weights(whole.folder), weights(again.folder)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert again.metrics["valid"] == whole.metrics["valid"]


def test_a_fit_starts_from_what_writing_taught(tmp_path):
    data = told_rows()
    made = pm.pretrain(data, out=tmp_path / "pre", objective="captioning", captions="said", schema=BOTH, **QUICK)
    assert set(Start.load(made.folder).streams) == {"seen", "asked"}
    data["label"] = [("no", "yes")[int(v[0] > 0)] for v in np.array(data["seen"])]
    plan = make_plan(data, "label", schema=BOTH, start=made.folder, dim=16, encodings="trained")
    assert plan.started == ("seen", "asked")
    assert "captioning learning without labels" in plan.text()
    assert "from scratch: said" in plan.text()
