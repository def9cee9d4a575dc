"""Policy on planted rows: it learns what to encode, keeps a budget, and is the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from planted_streams import CLASSES, COST, WIDTHS, planted, trained

from polymodal.core.errors import BadArgument
from polymodal.models import ANSWERS
from polymodal.models.build import Heads, Parts


def _right(answer, rows) -> float:
    return float(CLASSES.row_score(answer(rows.streams).predictions["y"], rows.targets["y"]).mean())


def test_it_learns_to_encode_the_costly_stream_only_where_it_pays():
    answer = trained({"name": "policy", "steps": 120, "price": 0.2})
    rows, easy = planted(1000, 2)
    used = answer.used(rows.streams)
    assert used[~easy, 1].float().mean() > 0.9
    assert used[easy, 1].float().mean() < 0.15
    assert _right(answer, rows) > 0.95


def test_a_high_price_stops_early_and_none_does_not():
    rows, _ = planted(500, 2)
    dear, free = (trained({"name": "policy", "steps": 120, "price": p}).used(rows.streams)[:, 1] for p in (3.0, 0.0))
    assert dear.float().mean() < 0.05
    assert free.float().mean() > 0.4


def test_a_budget_is_kept():
    rows, _ = planted(1000, 2)
    for budget in (3.0, 6.5):
        answer = trained({"name": "policy", "steps": 120, "price": 0.0}, budget_ms=budget)
        spent = float((answer.used(rows.streams) * answer.cost).sum(1).mean())
        assert spent < budget * 1.1


def test_one_choice_for_all_rows():
    rows, _ = planted(500, 2)
    for price, subset in ((0.0, [False, True]), (3.0, [True, False])):
        answer = trained({"name": "policy", "per": "data", "price": price})
        assert answer.subset.tolist() == subset  # the costly stream alone says everything
        assert torch.equal(answer.used(rows.streams), torch.tensor(subset).expand(500, 2))
    limited = trained({"name": "policy", "per": "data", "price": 0.0}, budget_ms=2.0)
    assert limited.subset.tolist() == [True, False]
    gone = {**rows.streams, "cheap": rows.streams["cheap"].keep(torch.zeros(500).bool())}
    assert limited.used(gone)[:, 1].all()  # better than no answer


def test_the_same_seed_learns_the_same():
    first, second = (trained({"name": "policy", "steps": 20}, steps=30).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per": "rows"}, "per is 'row' or 'data'; got 'rows'. Did you mean 'row'"),
        ({"price": -1.0}, "at least 0; got -1.0"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"answers": []}, "At least one answer is needed"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(BadArgument, match=said):
        ANSWERS.build({"name": "policy", **options}, WIDTHS, [CLASSES], Parts(8, Heads(), COST))
