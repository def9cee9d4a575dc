"""Dynamic on planted rows: what it saves, what it gives up, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from planted_streams import CLASSES, COST, NUMBER, WIDTHS, planted, trained

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.models import ANSWERS
from polymodal.models.adaptive import levelled
from polymodal.models.base import Blend, TokenSource
from polymodal.models.build import Heads, Parts
from polymodal.models.row_score import mean_row_score, scored_rows
from polymodal.targets.multilabel import MultilabelTarget


def test_the_costly_stream_is_encoded_only_where_it_is_needed():
    answer = trained("dynamic")
    rows, easy = planted(1000, 2)
    used = answer.used(rows.streams)
    assert used[:, 0].all()
    assert (used[:, 1] == ~easy).float().mean() > 0.93
    right = CLASSES.row_score(answer(rows.streams).predictions["y"], rows.targets["y"]).mean()
    everything = answer.tried(rows, torch.ones(2).bool())[2].mean()
    assert right > everything - 0.015
    assert everything > 0.97


def test_a_number_stops_by_the_width_of_its_interval():
    answer = trained({"name": "dynamic", "answer": "mlp", "tolerance": 0.05}, NUMBER, steps=600)
    rows, easy = planted(1000, 2, NUMBER)
    used = answer.used(rows.streams)[:, 1]
    assert used[~easy].float().mean() > 0.8
    assert used[easy].float().mean() < 0.5
    right = NUMBER.row_score(answer(rows.streams).predictions["y"], rows.targets["y"]).mean()
    assert right > answer.tried(rows, torch.ones(2).bool())[2].mean() - 0.1


def test_tolerance_buys_work():
    rows, _ = planted(1000, 2)
    strict, loose = (trained({"name": "dynamic", "tolerance": t}) for t in (0.0, 0.2))
    assert loose.used(rows.streams)[:, 1].sum() < strict.used(rows.streams)[:, 1].sum()


def test_orders():
    assert trained({"name": "dynamic", "order": "gain"}).places.tolist() == [0, 1]
    given = trained({"name": "dynamic", "order": ["costly", "cheap"]})
    assert given.places.tolist() == [1, 0]
    rows, _ = planted(300, 2)
    assert given.used(rows.streams)[:, 0].float().mean() < 0.1  # the costly stream says it all
    alike = ANSWERS.build("dynamic", WIDTHS, [CLASSES], Parts(8, Heads(), {"cheap": 2.0, "costly": 1.0}))
    assert alike.places.tolist() == [1, 0]


def test_costs_that_the_clock_cannot_tell_apart_keep_the_order_of_names():
    def built(spec, **cost):
        widths = dict.fromkeys(cost, 4)
        return ANSWERS.build(spec, widths, [CLASSES], Parts(8, Heads(), cost))

    for times in ((0.009, 0.017, 0.012), (0.017, 0.009, 0.016), (3.1, 4.9, 5.2), (5.2, 3.1, 4.9)):
        told = dict(zip("abc", times))
        assert built("dynamic", **told).places.tolist() == [0, 1, 2]
        assert built("bandit", **told).arms()[0][0].tolist() == [True, False, False]
        work = built("policy", **told).cost
        assert torch.allclose(work / work.sum(), torch.full((3,), 1 / 3))
        assert float(work.sum()) == pytest.approx(sum(times))
    assert built("dynamic", a=40.0, b=0.02, c=45.0, d=0.01).places.tolist() == [1, 3, 0, 2]
    assert levelled([1.0, 1.9, 3.7]) == pytest.approx([1.45, 1.45, 3.7])  # a chain of near ones is no level


def test_a_missing_stream_costs_nothing_and_a_row_that_has_only_the_other_is_answered():
    answer = trained("dynamic")
    rows, _ = planted(50, 3)
    gone = torch.zeros(50, dtype=torch.bool)
    without = {**rows.streams, "cheap": rows.streams["cheap"].keep(gone)}
    assert torch.equal(answer.used(without), torch.stack([gone, ~gone], 1))
    assert CLASSES.row_score(answer(without).predictions["y"], rows.targets["y"]).mean() > 0.9
    nothing = {name: t.keep(gone) for name, t in rows.streams.items()}
    assert answer(nothing).predictions["y"].isfinite().all()
    assert not answer.used(nothing).any()


def test_before_it_is_settled_everything_is_encoded():
    answer = ANSWERS.build("dynamic", WIDTHS, [CLASSES], Parts(8, Heads(), COST)).eval()
    assert answer.used(planted(20, 0)[0].streams).all()


def test_rows_do_not_see_one_another():
    answer = trained("dynamic")
    rows, _ = planted(40, 4)
    whole = answer(rows.streams).predictions["y"]
    one = TokenSource({n: t.select(slice(7, 8)) for n, t in rows.streams.items()})
    torch.testing.assert_close(answer.respond(one, answer.names)["y"], whole[7:8])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": "price"}, "order is 'cost', 'gain' or a list of streams; got 'price'"),
        ({"order": ["cheap"]}, "order must name each of"),
        ({"tolerance": -0.1}, "at least 0; got -0.1"),
        ({"confidence": 0.3}, "confidence must be at least 0.5 and below 1; got 0.3"),
        ({"answer": "boosted"}, "A learner cannot be part of another answer"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(BadArgument, match=said):
        ANSWERS.build({"name": "dynamic", **options}, WIDTHS, [CLASSES], Parts(8, Heads()))


def test_an_unknown_answer_within_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'concat'"):
        ANSWERS.build({"name": "dynamic", "answer": "concatt"}, WIDTHS, [CLASSES], Parts(8, Heads()))


def test_how_right_an_answer_is():
    labels = MultilabelTarget("tags", ("x", "y"))
    truth = {"y": torch.tensor([0, -1]), "tags": torch.tensor([[1.0, 0.0], [float("nan"), 0.0]])}
    scores = {"y": torch.tensor([[2.0, 1.0, 0.0, 0.0]] * 2), "tags": torch.tensor([[1.0, 1.0]] * 2)}
    found = mean_row_score([CLASSES, labels], scores, truth)
    assert found[0] == 0.75
    assert found[1].isnan()
    assert scored_rows([CLASSES, labels], truth).tolist() == [True, False]
    assert NUMBER.row_score(torch.tensor([[1.0], [9.0]]), torch.tensor([0.5, 0.0])).tolist() == [0.75, -3.0]


def test_a_blend_asks_only_for_what_a_member_asks_for():
    blend = Blend([trained("dynamic"), trained({"name": "dynamic", "tolerance": 0.2})], [0.5, 0.5]).eval()
    rows, easy = planted(200, 6)
    asked = {name: torch.zeros(200, dtype=torch.bool) for name in WIDTHS}

    class Counting(TokenSource):
        def tokens(self, stream, rows=None):
            asked[stream] |= self.present(stream) if rows is None else rows
            return super().tokens(stream, rows)

    found = blend.respond(Counting(rows.streams), sorted(WIDTHS))["y"]
    torch.testing.assert_close(found, blend(rows.streams).predictions["y"])
    assert asked["costly"][easy].float().mean() < 0.1
