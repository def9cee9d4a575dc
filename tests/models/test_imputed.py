"""What is filled in where a stream is absent: it recovers what masks lose, and depends on the row alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_table import QUICK, write_shop

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.base import Labelled
from polymodal.models.build import Heads, Parts
from polymodal.models.imputed import Imputed
from polymodal.models.specs import resolved
from polymodal.models.strategy import Strategy
from polymodal.nn.layers.imputer import Imputer, Vectors
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.text import TextTarget

TARGET = ClassesTarget("y", ("no", "yes"), frequencies=(0.5, 0.5))
WIDTHS = {"a": 3, "b": 3}
ROWS = 400


def planted(rows: int, seed: int) -> Labelled:
    """b = 3 (a₀ + a₁, a₁, 0) + 5 + noise, and the answer is whether b₀ is above 5."""
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, 3, generator=draw)
    b = 3 * torch.stack([a[:, 0] + a[:, 1], a[:, 1], 0 * a[:, 2]], 1) + 5
    b[:, :2] += 0.3 * torch.randn(rows, 2, generator=draw)
    return Labelled({"a": Tokens.from_vector(a), "b": Tokens.from_vector(b)}, {"y": (b[:, 0] > 5).long()})


def without(streams: dict[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: t.keep(torch.full((len(t),), n not in names)) for n, t in streams.items()}


def built(**options: Any) -> Imputed:
    torch.manual_seed(0)
    spec = {"name": "imputed", "by": "flow", "hidden": 32, "steps": 150, **options}
    return ANSWERS.build(spec, WIDTHS, [TARGET], Parts(8, Heads()))  # type: ignore[return-value]


@cache
def trained(**options: Any) -> Imputed:
    """Trained on whole rows, so that it leans on b, and settled."""
    answer, rows = built(**options).train(), planted(ROWS, 0)
    optimizer = torch.optim.Adam([p for p in answer.parameters() if p.requires_grad], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        sum(answer.losses(answer(rows.streams), rows.targets).values()).backward()
        optimizer.step()
    answer.finalize(rows, planted(200, 1), 0)
    return answer.eval()


def right(answer: torch.nn.Module, streams: dict[str, Tokens], rows: Labelled) -> float:
    return float((answer(streams).predictions["y"].argmax(1) == rows.targets["y"]).float().mean())


@pytest.mark.parametrize("by", ["flow", "mean"])
def test_what_masks_lose_is_recovered(by: str):
    answer, rows = trained(by=by), planted(ROWS, 2)
    bare = without(rows.streams, "b")
    masks = right(answer.inner, bare, rows)
    assert right(answer, bare, rows) > max(0.9, masks + 0.05)
    assert torch.equal(answer(rows.streams).predictions["y"], answer.inner(rows.streams).predictions["y"])


def test_draws_have_the_spread_that_is_left_and_the_mean_has_none():
    answer, rows = trained(by="flow", draws=40), planted(100, 3)
    whole = rows.streams["b"].pooled
    with torch.no_grad():
        drawn, guessed = answer.imputer(Vectors.of(without(rows.streams, "b")))
        one, _ = trained(by="mean").imputer(Vectors.of(without(rows.streams, "b")))
    each = drawn[1].view(40, 100, 3)
    assert guessed.all(0).tolist() == [False, True]
    assert (each.mean(0) - whole)[:, :2].square().mean().sqrt() < 1.0  # of a standard deviation of 3 to 4.2
    assert 0.1 < float(each.std(0)[:, :2].mean()) < 1.0  # 0.3, and what the network does not know
    assert torch.allclose(each[..., 2], torch.tensor(5.0))  # constant in training: drawn so
    assert (one[1] - whole)[:, :2].square().mean().sqrt() < 1.0


def test_where_nothing_is_seen_vectors_come_from_what_rows_are_like():
    answer, rows = trained(by="flow", draws=40), planted(1, 4)
    with torch.no_grad():
        (a, b), _ = answer.imputer(Vectors.of(without(rows.streams, "a", "b")))
    assert 0.5 < float(a.std()) < 1.6
    assert abs(float(b[:, 0].mean()) - 5) < 3
    assert float(b[:, 0].std()) > 2  # 4.2
    together = np.corrcoef(b[:, 1].numpy(), a[:, 1].numpy())[0, 1]  # b is drawn given the a that was drawn
    assert together > 0.6
    prior = answer(without(rows.streams, "a", "b")).predictions["y"]
    assert torch.equal(prior, answer.inner(without(rows.streams, "a", "b")).predictions["y"])


def test_a_row_is_answered_alike_wherever_it_stands():
    answer, rows = trained(by="flow"), planted(20, 5)
    some = {"a": rows.streams["a"], "b": rows.streams["b"].keep(torch.arange(20) % 3 == 0)}
    whole = answer(some).predictions["y"]
    turned = torch.arange(20).flip(0)
    assert torch.allclose(
        answer({n: t.select(turned) for n, t in some.items()}).predictions["y"], whole[turned], atol=1e-5
    )
    for i in (0, 1, 19):
        alone = answer({n: t.select(torch.tensor([i])) for n, t in some.items()}).predictions["y"]
        assert torch.allclose(alone, whole[i : i + 1], atol=1e-5)


def test_the_answer_within_is_trained_as_it_would_be_alone():
    torch.manual_seed(0)
    alone = Parts(8, Heads()).answer("concat", WIDTHS, [TARGET])
    drawn = torch.rand(3)
    answer = built()
    assert torch.equal(torch.rand(3), drawn)  # dropout and batches go on alike
    mine = {n: v for n, v in answer.state_dict().items() if n.startswith("inner.")}
    assert mine.keys() == {f"inner.{n}" for n in alone.state_dict()}
    assert all(torch.equal(v, mine[f"inner.{n}"]) for n, v in alone.state_dict().items())
    assert {n for n, p in answer.named_parameters() if p.requires_grad} == {
        f"inner.{n}" for n, _ in alone.named_parameters()
    }


def test_a_stream_of_tokens_gets_the_vector_as_its_one_token():
    rows = planted(60, 6)
    b, there = rows.streams["b"].pooled, torch.arange(60) % 2 == 0
    many = Tokens(b[:, None].repeat(1, 4, 1), there[:, None].repeat(1, 4), b, torch.rand(60, 4, 1))
    torch.manual_seed(0)
    spec = {"name": "imputed", "by": "flow", "answer": "cross", "steps": 5, "hidden": 8, "draws": 2}
    answer = ANSWERS.build(spec, WIDTHS, [TARGET], Parts(8, Heads()))
    assert resolved(spec).reads_tokens
    streams = {"a": rows.streams["a"], "b": many}
    answer.finalize(Labelled(streams, rows.targets), Labelled(streams, rows.targets), 0)
    told = answer(streams).predictions["y"]
    assert told.isfinite().all()
    assert not torch.allclose(told[1::2], answer.inner(streams).predictions["y"][1::2])


def test_a_stream_that_few_rows_have_is_left_out():
    rows = planted(60, 7)
    few = {"a": rows.streams["a"], "b": rows.streams["b"].keep(torch.arange(60) < 5)}
    answer = built(steps=5)
    answer.finalize(Labelled(few, rows.targets), Labelled(few, rows.targets), 0)
    assert not answer.imputer.able.any()  # nor is a, which tells of nothing else
    assert torch.equal(answer(few).predictions["y"], answer.inner(few).predictions["y"])


def test_the_same_seed_learns_the_same_and_leaves_the_generator_alone():
    rows = Vectors.of(planted(60, 8).streams)
    learned = []
    for _ in range(2):
        torch.manual_seed(1)
        imputer = Imputer(WIDTHS, draws=2, hidden=8)
        before = torch.get_rng_state()
        imputer.fit(rows, rows, steps=5, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        learned.append(imputer.state_dict())
    assert all(torch.equal(v, learned[1][n]) for n, v in learned[0].items())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": "flowing"}, "by is 'mean' or 'flow'; got 'flowing'"),
        ({"by": "mean", "draws": 3}, "takes no draws"),
        ({"draws": 0}, "draws must be a whole number of at least 1"),
        ({"hidden": 0}, "hidden must be"),
        ({"steps": 0}, "steps must be"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str):
    with pytest.raises(BadArgument, match=says):
        built(**options)


def test_it_is_not_for_words_and_is_no_fusion_of_its_own():
    assert "text" not in resolved("imputed").needs
    assert TextTarget.scores is None or TextTarget.scores not in resolved("imputed").needs
    assert not Strategy("answer", "imputed", ("a", "b")).joint  # the fusion within is compared as it is
    assert Strategy("answer", "hybrid", ("a", "b")).joint


def test_a_fit_compares_it_with_masks_and_deploys_it(tmp_path: Path):
    shop = write_shop(tmp_path / "shop", rows=80)
    spec = {"name": "imputed", "answer": "gated", "by": "flow", "steps": 20, "hidden": 16}
    name = "imputed(answer=gated, by=flow, steps=20, hidden=16)"
    options = {**QUICK, "fusion": ["gated", spec], "deploy": name, "store": str(tmp_path / "store"), "quiet": True}
    run = pm.fit(shop, "category", out=tmp_path / "run", **options)
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert rows[name]["level"] == "imputed"
    assert run.metrics["chosen"] == name
    loaded = pm.load(tmp_path / "run")
    answer = loaded.predictor.answer
    assert answer.imputer.able.all()
    table = pm.read_table(shop)
    bare = {c: list(table.column(c)) for c in ("id", "title", "price", "weight")}  # no photo at all
    first = loaded.predict(bare)
    assert first == pm.load(tmp_path / "run").predict(bare)
    one = loaded.predict({c: [v[7]] for c, v in bare.items()})
    assert one["category"] == first["category"][7:8]
    assert one["category_probability"] == pytest.approx(first["category_probability"][7:8], abs=1e-4)
    answer._fills = False
    masked = loaded.predict(bare)
    assert masked["category_probability"] != pytest.approx(first["category_probability"], abs=1e-4)


def test_within_another_answer_it_fills_in_too():
    torch.manual_seed(0)
    spec = {"name": "dynamic", "answer": {"name": "imputed", "steps": 5, "hidden": 8}}
    answer, rows = ANSWERS.build(spec, WIDTHS, [TARGET], Parts(8, Heads())), planted(60, 9)
    answer.finalize(rows, rows, 0)
    assert answer.inner[0].imputer.able.all()


@pytest.mark.parametrize(
    ("empty", "fusion", "told"), [(30, "auto", True), (5, "auto", False), (30, ["imputed"], False)]
)
def test_a_plan_says_where_many_rows_lack_a_stream(empty: int, fusion: Any, told: bool):
    rng = np.random.default_rng(0)
    words = [None if i % 100 < empty else f"a {'red' if i % 2 else 'blue'} thing {rng.integers(9)}" for i in range(300)]
    table = {"words": words, "size": rng.normal(size=300).tolist(), "y": ["ab"[i % 2] for i in range(300)]}
    notes = [
        n
        for n in pm.plan(table, "y", fusion=fusion, schema={"kinds": {"words": "text"}}).notes
        if "training rows lack a stream" in n
    ]
    assert bool(notes) == told
    assert not told or "the fusion `imputed`" in notes[0]
