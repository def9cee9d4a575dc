"""Bandit on planted rows: where it starts, what feedback changes, and what survives a kill."""

from __future__ import annotations

import pytest
import torch
from planted_streams import CLASSES, COST, WIDTHS, planted, trained

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.build import Heads, Parts
from polymodal.models.ledger import Ledger


def test_it_starts_with_the_choice_that_validation_rows_show():
    answer = trained({"name": "bandit", "price": 0.2})
    rows, easy = planted(1000, 2)
    used = answer.used(rows.streams)
    assert used[:, 0].all()
    assert (used[:, 1] == ~easy).float().mean() > 0.9
    assert CLASSES.row_score(answer(rows.streams).predictions["y"], rows.targets["y"]).mean() > 0.95


def _serve(answer, rounds: int, broken: bool, feedback: bool = True) -> float:
    """The mean reward of `rounds` chunks of 20 rows; `broken`: the costly stream shows the wrong class."""
    earned = []
    for seed in range(rounds):
        rows, _ = planted(20, 100 + seed)
        streams = dict(rows.streams)
        if broken:
            wrong = streams["costly"].pooled.roll(1, 1)  # shows the next class
            streams["costly"] = Tokens.from_vector(wrong)
        with answer.serving() as served:
            answer(streams)
        if feedback:
            earned += answer.learn(served[0], rows.targets).tolist()
        else:
            right = CLASSES.row_score(served[0].scores["y"], rows.targets["y"])
            earned += (right - answer.price * served[0].work).tolist()
    return sum(earned[len(earned) // 2 :]) / (len(earned) - len(earned) // 2)


def test_feedback_teaches_it_that_a_stream_has_gone_bad():
    learning, frozen = (trained({"name": "bandit", "price": 0.2, "discount": 0.99}) for _ in range(2))
    assert _serve(learning, 5, broken=False) > 0.75
    stuck = _serve(frozen, 40, broken=True, feedback=False)
    assert _serve(learning, 40, broken=True) > stuck + 0.05
    rows, easy = planted(300, 5)
    assert learning.used(rows.streams)[~easy, 1].float().mean() < 0.2  # no longer paid for


def test_truth_is_learned_once_and_by_name(tmp_path):
    answer = trained("bandit")
    ledger = Ledger(torch.nn.ModuleList([answer]))
    rows, _ = planted(30, 3)
    ids = [f"r{i}" for i in range(30)]
    with ledger.watching(ids):
        for start in (0, 16):
            some = slice(start, start + 16)
            answer({n: t.select(some) for n, t in rows.streams.items()})
    assert len(ledger) == 30
    before = answer.model.gram.clone()
    ledger.tell(["r3", "r20"], {"y": rows.targets["y"][[3, 20]]})
    assert not torch.equal(before, answer.model.gram)
    assert len(ledger) == 28
    with pytest.raises(UnknownName, match="'r3' waits for its truth"):
        ledger.tell(["r3"], {"y": rows.targets["y"][[3]]})
    with pytest.raises(BadArgument, match="given once"):
        ledger.tell(["r4", "r4"], {"y": rows.targets["y"][[4, 4]]})

    ledger.save(tmp_path / "state.safetensors")
    again = trained("bandit")
    other = Ledger(again)
    other.load(tmp_path / "state.safetensors")
    assert len(other) == 28
    for one in (ledger, other):
        one.tell(["r5", "r29"], {"y": rows.targets["y"][[5, 29]]})
    assert torch.equal(answer.model.gram, again.model.gram)
    assert torch.equal(answer.model.moment, again.model.moment)


def test_rows_without_truth_teach_nothing():
    answer = trained("bandit")
    rows, _ = planted(4, 3)
    with answer.serving() as served:
        answer(rows.streams)
    before = answer.model.gram.clone()
    assert answer.learn(served[0], {"y": torch.full((4,), -1)}).isnan().all()
    assert torch.equal(before, answer.model.gram)


def test_a_model_without_a_bandit_does_not_learn():
    with pytest.raises(BadArgument, match="does not learn from feedback"):
        Ledger(trained("dynamic", steps=2)).tell(["a"], {})


def test_many_streams_have_few_arms():
    widths = dict.fromkeys("abcdefg", 3)
    spec = {"name": "bandit", "answers": ["concat", "mean"]}
    answer = ANSWERS.build(spec, widths, [CLASSES], Parts(8, Heads()))
    keep, speaker = answer.arms()
    assert len(keep) == 2 * (1 + 6 + 6 + 1)
    assert keep[:, 0].all()
    assert set(speaker.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"price": -1.0}, "price must be at least 0"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"discount": 0.0}, "discount must be above 0 and at most 1"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(BadArgument, match=said):
        ANSWERS.build({"name": "bandit", **options}, WIDTHS, [CLASSES], Parts(8, Heads(), COST))
