"""Closed forms: many-to-many pairs, more than two streams, memory, cross-validation, options, errors."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from polymodal.aligners import ALIGNERS, linear
from polymodal.aligners.folds import pair_folds, reciprocal_rank
from polymodal.aligners.linear import whitener
from polymodal.aligners.moments import fold_moments
from polymodal.aligners.pairs import Side, pairs
from polymodal.aligners.procrustes import polar, rotations
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.registry import options
from polymodal.core.types import Tokens
from polymodal.testing import check_aligner
from polymodal.testing.aligner import planted_sides

CLOSED = ("cca", "csa", "procrustes", "ridge")
OPTIONS = {
    "cca": {"shrinkage": 0.5, "keep": 4},
    "csa": {"shrinkage": 0.5, "keep": 4},
    "procrustes": {"keep": 4, "length": False},
    "ridge": {"shrinkage": 0.5, "keep": 4, "onto": "left"},
}
WIDTHS = {"left": 12, "right": 9}


def noisy(count: int, seed: int = 0, noise: float = 0.3) -> dict[str, Side]:
    """Pairs that share six numbers, each stream with noise of its own."""
    sides = planted_sides(WIDTHS, count, torch.Generator().manual_seed(seed))
    draw = torch.Generator().manual_seed(seed + 1)
    return {n: Side(s.vectors + noise * torch.randn(s.vectors.shape, generator=draw), s.rows) for n, s in sides.items()}


def fitted(spec, sides, dim=16):
    part = ALIGNERS.build(spec, {name: side.vectors.shape[1] for name, side in sides.items()}, dim).double()
    part.fit(sides)
    return part


def embedded(part, sides):
    return {n: part({n: Tokens.from_vector(s.vectors.double())})[n].pooled for n, s in sides.items()}


def found_first(part, sides) -> float:
    a, b = embedded(part, sides).values()
    return float(((a @ b.T).argmax(1) == torch.arange(len(a))).double().mean())


@pytest.mark.parametrize("name", CLOSED)
def test_laws(name: str):
    check_aligner(name)


@pytest.mark.parametrize("name", CLOSED)
def test_laws_with_other_options(name: str):
    assert set(OPTIONS[name]) == set(options(ALIGNERS.load(name)))
    check_aligner({"name": name, **OPTIONS[name]}, recall=None)


@pytest.mark.parametrize(("name", "option"), [(n, o) for n in CLOSED for o in OPTIONS[n]])
def test_every_option_changes_something(name: str, option: str):
    sides = noisy(100)
    plain = {"name": name, **({"shrinkage": 0.01} if "shrinkage" in OPTIONS[name] else {}), "keep": 6}
    a = embedded(fitted(plain, sides), sides)
    b = embedded(fitted({**plain, option: OPTIONS[name][option]}, sides), sides)
    cosines = [x["left"] @ x["right"].T for x in (a, b)]
    assert not torch.allclose(*cosines, atol=1e-3)


def many_to_many():
    """Three photos; one has two captions, one caption stands at two photos; rows may be named twice."""
    draw = torch.Generator().manual_seed(3)
    photos = torch.randn(40, 5, generator=draw, dtype=torch.float64)
    captions = torch.randn(70, 4, generator=draw, dtype=torch.float64)
    owner = torch.randint(40, (70, 2), generator=draw)
    owner[::3, 1] = -1
    return {"photo": Side(photos, torch.arange(40)[:, None]), "text": Side(captions, owner)}


def test_moments_are_those_of_the_listed_pairs():
    sides = many_to_many()
    i, j = pairs(sides["photo"].rows, sides["text"].rows)
    folds = {n: np.arange(len(s)) * 0 for n, s in sides.items()}
    (found,) = fold_moments(sides, folds, 1, lambda x: x)
    x, y = sides["photo"].vectors[i], sides["text"].vectors[j]
    whole = torch.cov(torch.cat([x, y], 1).T, correction=0)
    torch.testing.assert_close(found.covariance("photo"), whole[:5, :5])
    torch.testing.assert_close(found.covariance("text"), whole[5:, 5:])
    torch.testing.assert_close(found.between("photo", "text"), whole[:5, 5:])
    torch.testing.assert_close(found.between("text", "photo"), whole[5:, :5])
    torch.testing.assert_close(found.mean("text"), y.mean(0))


@pytest.mark.parametrize("name", CLOSED)
def test_fewer_pairs_than_numbers(name: str):
    """60 pairs of 200 numbers: no covariance has full rank, and the space is found from what varies."""
    widths = {"left": 200, "right": 150}
    draw = torch.Generator().manual_seed(4)
    hidden, rows = torch.randn(90, 4, generator=draw), torch.arange(90)[:, None]
    sides = {
        n: Side(hidden @ torch.randn(4, w, generator=draw) + 0.5 * torch.randn(90, w, generator=draw), rows)
        for n, w in widths.items()
    }
    part = fitted(name, {n: Side(s.vectors[:60], s.rows[:60]) for n, s in sides.items()}, dim=64)
    assert "by chance 0.259" in part.told[0]  # the sum of 1/i up to 12, by 12
    assert found_first(part, {n: Side(s.vectors[60:], s.rows[60:]) for n, s in sides.items()}) > 0.5  # chance: 1/30


@pytest.mark.parametrize("name", ["cca", "csa", "ridge"])
def test_the_span_of_few_items_gives_the_same_space(name: str, monkeypatch):
    """Fitted within the 59 directions that 60 items span, or with covariances of all 200 numbers."""
    widths = {"left": 200, "right": 150, **({"third": 20} if name != "ridge" else {})}
    draw = torch.Generator().manual_seed(6)
    hidden, rows = torch.randn(90, 4, generator=draw), torch.arange(90)[:, None]
    sides = {
        n: Side(7 + hidden @ torch.randn(4, w, generator=draw) + torch.randn(90, w, generator=draw), rows)
        for n, w in widths.items()
    }
    few, unseen = ({n: Side(s.vectors[k], s.rows[k]) for n, s in sides.items()} for k in (slice(60), slice(60, None)))
    spec = {"name": name, "shrinkage": 0.2, "keep": 12}
    ours = embedded(fitted(spec, few, dim=16), unseen)
    monkeypatch.setattr(linear, "Span", type("Whole", (), {
        "of": classmethod(lambda cls, vectors: cls()), "within": lambda self, vectors: vectors.double(),
        "back": lambda self, mean, columns: (mean, columns),
    }))  # fmt: skip
    whole = embedded(fitted(spec, few, dim=16), unseen)
    for a in widths:
        for b in widths:
            torch.testing.assert_close(ours[a] @ ours[b].T, whole[a] @ whole[b].T, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("width", [64, 8])
def test_a_stream_that_never_varies_is_mapped_to_nothing_rather_than_refused(name: str, width: int):
    """Of more numbers than items too, so that no direction is left to work in."""
    rows = torch.arange(30)[:, None]
    varied = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
    sides = {"left": Side(torch.ones(30, width), rows), "right": Side(varied, rows)}
    part = fitted(name, sides, dim=8)
    assert all(torch.isfinite(v).all() for v in embedded(part, sides).values())


def test_directions_without_variance_carry_nothing():
    """With them or without, canonical directions that agree at all are the same."""
    x = torch.randn(20, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x / 20)
    white = whitener((values, vectors), 0.3, 40)
    assert white.shape == (40, 19)
    shrunk = 0.7 * x.T @ x / 20 + 0.3 * values.mean() * torch.eye(40, dtype=torch.float64)
    torch.testing.assert_close(white @ white.T @ x.T, torch.linalg.solve(shrunk, x.T))


def test_a_common_offset_costs_no_digits():
    sides = many_to_many()
    far = {n: Side(s.vectors + 1e6, s.rows) for n, s in sides.items()}
    folds = {n: np.arange(len(s)) * 0 for n, s in sides.items()}
    (near,), (moved,) = (fold_moments(s, folds, 1, lambda x: x) for s in (sides, far))
    torch.testing.assert_close(moved.between("photo", "text"), near.between("photo", "text"), atol=1e-8, rtol=0)


def test_folds_add_up_and_tear_nothing_apart():
    sides = noisy(50)
    folds = pair_folds(sides, 5, seed=0)
    assert np.array_equal(folds["left"], folds["right"])
    assert sorted(set(folds["left"])) == [0, 1, 2, 3, 4]
    parts = fold_moments(sides, folds, 5, lambda x: x)
    (whole,) = fold_moments(sides, {n: f * 0 for n, f in folds.items()}, 1, lambda x: x)
    rest = whole - parts[0]
    kept = torch.from_numpy(folds["left"] != 0)
    expected = torch.cov(sides["left"].vectors[kept].double().T, correction=0)
    torch.testing.assert_close(rest.covariance("left"), expected)
    chained = Side(torch.randn(3, 2), torch.tensor([[0, 1], [1, 2], [5, -1]]))
    assert len(set(pair_folds({"a": chained, "b": noisy(50)["left"]}, 2, 0)["a"][:2])) == 1


def test_memory_stays_that_of_the_covariances():
    count, width = 40_000, 64
    draw = torch.Generator().manual_seed(0)
    rows = torch.arange(count)[:, None]
    sides = {n: Side(torch.randn(count, width, generator=draw), rows) for n in "ab"}
    part = ALIGNERS.build({"name": "cca", "shrinkage": 0.1, "keep": 8}, {"a": width, "b": width}, 8)
    tracemalloc.start()
    read = []
    torch.Tensor.double_before = torch.Tensor.double  # type: ignore[attr-defined]
    try:
        torch.Tensor.double = lambda x: (read.append(x.numel()), x.double_before())[1]  # type: ignore
        part.fit(sides)
    finally:
        torch.Tensor.double = torch.Tensor.double_before  # type: ignore[method-assign, attr-defined]
        del torch.Tensor.double_before  # type: ignore[attr-defined]
        tracemalloc.stop()
    assert max(read) <= 2048 * width, "a copy of all vectors was made"


def test_correlations_and_similarity_of_csa():
    """The inner product is Σ ρ â b̂ over the kept directions, and the vectors have length one."""
    train, test = noisy(300), noisy(40, seed=5)
    csa = fitted({"name": "csa", "shrinkage": 0.1, "keep": 5}, train)
    cca = fitted({"name": "cca", "shrinkage": 0.1, "keep": 5}, train)
    a, b = embedded(cca, test).values()
    torch.testing.assert_close(csa.correlations, cca.correlations)
    expected = (a * cca.correlations) @ b.T
    left, right = embedded(csa, test).values()
    torch.testing.assert_close(left @ right.T, expected)
    torch.testing.assert_close(left.norm(dim=1), torch.ones(40, dtype=torch.float64))


def test_three_streams_whiten_and_correlate():
    """Of three complete streams, canonical vectors of MAXVAR maximise the first eigenvalue of their correlation."""
    sides = planted_sides({"a": 6, "b": 8, "c": 7}, 200, torch.Generator().manual_seed(0))
    part = fitted({"name": "cca", "shrinkage": 0.0, "keep": 1}, sides, dim=4)
    centred = {n: s.vectors.double() - s.vectors.double().mean(0) for n, s in sides.items()}

    def first(maps):
        z = torch.stack([centred[n] @ maps[n] for n in sides])
        return float(torch.linalg.eigvalsh(torch.corrcoef(z))[-1])

    maps = {n: part.maps[n].map[:, 0] for n in sides}
    best = first(maps)
    draw = torch.Generator().manual_seed(1)
    for _ in range(20):
        moved = {n: m + 0.05 * m.norm() * torch.randn(m.shape, generator=draw).double() for n, m in maps.items()}
        assert first(moved) <= best + 1e-9


def test_procrustes_finds_a_planted_rotation():
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(100, 6, generator=draw, dtype=torch.float64)
    turn = polar(torch.randn(6, 6, generator=draw, dtype=torch.float64))
    rows = torch.arange(100)[:, None]
    part = fitted({"name": "procrustes", "keep": 6}, {"a": Side(x, rows), "b": Side(x @ turn, rows)}, dim=6)
    torch.testing.assert_close(part.maps["b"].map, turn.T)


def test_generalised_procrustes_cannot_be_bettered_by_turning_one_stream():
    draw = torch.Generator().manual_seed(4)
    between = {}
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        between[a, b] = torch.randn(5, 5, generator=draw, dtype=torch.float64)
        between[b, a] = between[a, b].T
    found = rotations(between, ("a", "b", "c"), 5)
    for name in ("b", "c"):
        pull = sum(between[name, other] @ r for other, r in found.items() if other != name)
        torch.testing.assert_close(polar(pull), found[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", CLOSED)
def test_many_to_many_pairs_are_found_in_new_rows(name: str):
    """Each item stands in two rows with two partners; what is learned holds for new one-to-one pairs."""
    sides = noisy(200, noise=0.02)
    twice = {n: Side(s.vectors.repeat(2, 1), torch.cat([s.rows, s.rows])) for n, s in sides.items()}
    part = fitted(name, twice)
    assert found_first(part, noisy(50, seed=9, noise=0.02)) > 0.9


def test_cross_validation_chooses_and_says_so():
    few = noisy(40, noise=0.1)
    test = noisy(100, seed=7, noise=0.1)
    part = fitted("cca", few)
    assert "5-fold cross-validation" in part.told[0]
    assert "shrinkage" in part.told[0]
    assert found_first(part, test) > found_first(fitted({"name": "cca", "shrinkage": 0.0, "keep": 9}, few), test)
    assert part.fit(few) == part.told


def test_reciprocal_rank_counts_ties_against_and_both_ways():
    together = torch.eye(3, dtype=torch.bool)
    assert reciprocal_rank(torch.eye(3), together) == 1.0
    assert reciprocal_rank(torch.zeros(3, 3), together) == pytest.approx(1 / 3)
    scores = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    assert reciprocal_rank(scores, together) == pytest.approx(((1 / 3 + 1 + 1) / 3 + (1 / 3 + 1 + 1) / 3) / 2)


def test_what_is_wrong_is_said():
    sides = noisy(30)
    part = ALIGNERS.build("cca", WIDTHS, 8)
    with pytest.raises(BadData, match="has not been fitted"):
        part({"left": Tokens.from_vector(sides["left"].vectors)})
    with pytest.raises(BadData, match="No items of 'right'"):
        part.fit({"left": sides["left"]})
    with pytest.raises(BadData, match="are 9 wide; this aligner was built for 12"):
        part.fit({"left": sides["right"], "right": sides["right"]})
    broken = Side(sides["left"].vectors * float("nan"), sides["left"].rows)
    with pytest.raises(BadData, match="not finite"):
        part.fit({**sides, "left": broken})
    with pytest.raises(BadData, match="at least 10 groups"):
        part.fit(noisy(6))
    apart = Side(sides["left"].vectors, sides["left"].rows + 1000)
    with pytest.raises(BadData, match="shares a row"):
        part.fit({**sides, "left": apart})
    with pytest.raises(BadArgument, match="from 0 .* to 1, or 'cv'"):
        ALIGNERS.build({"name": "cca", "shrinkage": 2.0}, WIDTHS, 8)
    with pytest.raises(BadArgument, match="or 'cv'; got 0"):
        ALIGNERS.build({"name": "procrustes", "keep": 0}, WIDTHS, 8)
    with pytest.raises(BadArgument, match="Did you mean 'left'"):
        ALIGNERS.build({"name": "ridge", "onto": "lef"}, WIDTHS, 8)
    with pytest.raises(BadArgument, match="needs a dim above 2"):
        ALIGNERS.build("csa", WIDTHS, 2)
    with pytest.raises(BadArgument, match="two streams or more"):
        ALIGNERS.build("cca", {"left": 3}, 2)
