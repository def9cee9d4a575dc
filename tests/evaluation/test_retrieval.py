"""Retrieval metrics against a plain loop, scikit-learn, and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from polymodal.aligners.pairs import matches
from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation import retrieval
from polymodal.evaluation.retrieval import evidence, retrieval_metrics, retrieval_ranks
from polymodal.metrics.counts import medians


def plain(queries, corpus, relevant, k=(1, 5, 10)):
    """One query after the other, one item after the other; irrelevant items go first among equals."""
    firsts, precisions = [], []
    for query, wanted in zip(queries, relevant):
        scores = [float(query @ item) for item in corpus]
        order = sorted(range(len(corpus)), key=lambda i: (-scores[i], wanted[i]))
        ranks = [rank for rank, i in enumerate(order, start=1) if wanted[i]]
        if ranks:
            firsts.append(ranks[0])
            precisions.append(np.mean([n / rank for n, rank in enumerate(ranks, start=1)]))
    found = {f"recall@{n}": np.mean([first <= n for first in firsts]) for n in k}
    return {**found, "map": np.mean(precisions), "median_rank": np.median(firsts)}


def sides(seed, queries=23, items=57, rows=40, most=3, width=5, dtype=np.float64):
    """Random vectors, and rows of which some are padding, some shared by several."""
    rng = np.random.default_rng(seed)
    pair = []
    for count in (queries, items):
        named = rng.integers(-1, rows, (count, most))
        pair.append((rng.normal(size=(count, width)).astype(dtype), named))
    (a, ra), (b, rb) = pair
    return a, b, ra, rb, matches(torch.tensor(ra), torch.tensor(rb)).numpy()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), most=st.integers(1, 4), chunk=st.integers(1, 30))
def test_many_to_many_agrees_with_a_plain_loop(seed, most, chunk):
    a, b, ra, rb, relevant = sides(seed, most=most)
    if not relevant.any():
        return
    expected = plain(a, b, relevant)
    for given_as in ((ra, rb), lambda numbers: relevant[numbers], (torch.tensor(ra), torch.tensor(rb))):
        found = retrieval_metrics(a, b, given_as, chunk=chunk)
        assert list(found) == list(expected)
        assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_ties_agree_with_a_plain_loop_that_puts_the_irrelevant_first(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-1, 2, (12, 3)).astype(float), rng.integers(-1, 2, (30, 3)).astype(float)
    relevant = rng.random((12, 30)) < 0.15
    relevant[0, 0] = True
    found = retrieval_metrics(a, b, lambda numbers: relevant[numbers], k=(1, 2, 3, 30))
    assert found == pytest.approx(plain(a, b, relevant, (1, 2, 3, 30)), abs=1e-12)


def test_average_precision_is_that_of_scikit_learn():
    a, b, ra, rb, relevant = sides(3)
    ranks = retrieval_ranks(a, b, (ra, rb))
    expected = [average_precision_score(relevant[i], a[i] @ b.T) for i in ranks.query]
    np.testing.assert_allclose(ranks.precision, expected, atol=1e-12)
    assert set(ranks.query) == set(np.flatnonzero(relevant.any(1)))


def test_single_precision_agrees_with_double():
    a, b, ra, rb, _ = sides(4, queries=100, items=300, width=64)
    single = retrieval_metrics(a.astype(np.float32), torch.tensor(b, dtype=torch.float32), (ra, rb))
    assert single == pytest.approx(retrieval_metrics(a, b, (ra, rb)), rel=1e-4)


def test_both_directions_of_captioned_photos():
    """Two photos, five captions each: the first caption of photo 1 lies nearest photo 0."""
    photos = np.eye(2)
    captions = np.repeat(photos, 5, axis=0)
    captions[5] = [2.0, 0.1]
    photo_rows, caption_rows = np.arange(2)[:, None], np.repeat(np.arange(2), 5)[:, None]
    to_photo = retrieval_metrics(captions, photos, (caption_rows, photo_rows), k=(1, 2))
    assert to_photo == pytest.approx({"recall@1": 0.9, "recall@2": 1.0, "map": 0.95, "median_rank": 1.0})
    to_caption = retrieval_metrics(photos, captions, (photo_rows, caption_rows), k=(1, 2))
    late = np.mean([n / (n + 1) for n in range(1, 6)])  # photo 0 meets its own five from rank 2 on
    assert to_caption == pytest.approx({"recall@1": 0.5, "recall@2": 1.0, "map": (late + 1) / 2, "median_rank": 1.5})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_collapsed_space_finds_nothing(dtype):
    vector = np.random.default_rng(0).normal(size=96).astype(dtype)
    vectors = np.tile(vector / np.linalg.norm(vector), (333, 1))
    rows = np.arange(333)[:, None]
    assert retrieval_metrics(vectors, vectors, (rows, rows)) == pytest.approx(
        {"recall@1": 0, "recall@5": 0, "recall@10": 0, "map": 1 / 333, "median_rank": 333}
    )


def test_perfect_and_k_beyond_the_corpus():
    vectors, rows = np.eye(4), np.arange(4)[:, None]
    found = retrieval_metrics(vectors, vectors, (rows, rows), k=(1, 100))
    assert found == {"recall@1": 1.0, "recall@100": 1.0, "map": 1.0, "median_rank": 1.0}


def test_no_more_scores_than_a_block_are_held(monkeypatch):
    a, b, ra, rb, _ = sides(5, queries=64, items=100)
    whole = retrieval_metrics(a, b, (ra, rb))
    monkeypatch.setattr(retrieval, "BLOCK", 300)
    sizes = []
    judged = retrieval._judged

    def noting(scores, chosen, slack):
        sizes.append(scores.base.size if scores.base is not None else scores.size)
        return judged(scores, chosen, slack)

    monkeypatch.setattr(retrieval, "_judged", noting)
    assert retrieval_metrics(a, b, (ra, rb)) == pytest.approx(whole, abs=1e-12)
    assert max(sizes) <= 300


def test_intervals_hold_the_value_and_widen_with_groups():
    rng = np.random.default_rng(6)
    photos = rng.normal(size=(60, 8))
    captions = np.repeat(photos + 0.9 * rng.normal(size=photos.shape), 5, axis=0) + 0.1 * rng.normal(size=(300, 8))
    group = np.repeat(np.arange(60), 5)
    ranks = retrieval_ranks(captions, photos, (group[:, None], np.arange(60)[:, None]))
    alone, grouped = ranks.intervals(), ranks.intervals(groups=group)
    for name, value in ranks.metrics().items():
        for interval in (alone[name], grouped[name]):
            assert interval.mean == pytest.approx(value)
            assert interval.low <= value <= interval.high
    width = {n: (i.high - i.low, grouped[n].high - grouped[n].low) for n, i in alone.items()}
    assert width["recall@1"][1] > 1.5 * width["recall@1"][0]
    assert width["map"][1] > 1.5 * width["map"][0]
    assert ranks.intervals(seed=1)["map"] != alone["map"]
    assert ranks.intervals(level=0.5)["map"].low > alone["map"].low


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_weighted_median_is_that_of_repeated_rows(rows):
    values, counts = np.array(rows, dtype=float).T
    if not counts.any():
        return
    found = medians(counts[:, None], values)
    assert found[0] == np.median(np.repeat(values, counts.astype(int)))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"corpus": np.zeros((4, 3))}, BadData, "2 numbers and the corpus 3"),
        ({"queries": np.zeros(3)}, BadData, r"\[N, D\]"),
        ({"queries": np.full((3, 2), np.nan)}, BadData, "not finite"),
        ({"relevant": (np.zeros((2, 1), int), np.zeros((4, 1), int))}, BadData, "Rows of the 3 queries"),
        ({"relevant": (np.zeros((3, 1)), np.zeros((4, 1), int))}, BadData, "whole numbers"),
        ({"relevant": (np.zeros((3, 1), int), np.ones((4, 1), int))}, BadData, "None of 3 queries"),
        ({"relevant": lambda n: np.zeros((len(n), 5), bool)}, BadData, r"expected bool \(3, 4\)"),
        ({"k": (0, 1)}, BadArgument, r"1 or more; got \(0, 1\)"),
        ({"chunk": 0}, BadArgument, "at least 1 queries; got 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    given_all = {
        "queries": np.zeros((3, 2)), "corpus": np.zeros((4, 2)),
        "relevant": (np.zeros((3, 1), int), np.zeros((4, 1), int)), **change,
    }  # fmt: skip
    with pytest.raises(error, match=words):
        retrieval_metrics(given_all.pop("queries"), given_all.pop("corpus"), given_all.pop("relevant"), **given_all)


def shuffled(count: int, captions: int, seed: int = 0):
    """Photos, `captions` of each, that have nothing to do with one another; their rows."""
    rng = np.random.default_rng(seed)
    photos, texts = rng.normal(size=(count, 8)), rng.normal(size=(count * captions, 8))
    owner = np.repeat(np.arange(count), captions)[:, None]
    return photos, texts, np.arange(count)[:, None], owner


@pytest.mark.parametrize("captions", [1, 5])
def test_random_vectors_find_what_chance_says(captions):
    found, chance = [], []
    for seed in range(60):
        photos, texts, rows, owner = shuffled(40, captions, seed)
        ranks = retrieval_ranks(photos, texts, (rows, owner))
        assert list(ranks.chance()) == list(ranks.metrics())
        found.append(list(ranks.metrics().values()))
        chance.append(list(ranks.chance().values()))
    found, chance = np.mean(found, 0), np.mean(chance, 0)
    assert found[:4] == pytest.approx(chance[:4], abs=0.025)
    assert found[4] == pytest.approx(chance[4], rel=0.1)


def test_the_number_that_belong_to_each_query_counts():
    """One query has three of four items, one has one, one none: the last is not judged."""
    relevant = np.array([[True, True, True, False], [False, False, False, True], [False] * 4])
    ranks = retrieval_ranks(np.eye(3, 4), np.eye(4), lambda n: relevant[n])
    assert ranks.relevant.tolist() == [3, 1]
    assert ranks.chance((1, 2, 4)) == pytest.approx(
        {"recall@1": 0.5, "recall@2": (1 + 0.5) / 2, "recall@4": 1, "map": ranks.chance()["map"], "median_rank": 1.5}
    )
    said = evidence(ranks, ranks.intervals(), 3)
    assert (said.queries, said.unjudged, said.corpus) == (2, 1, 4)


def test_evidence_says_above_below_or_nothing():
    photos, texts, rows, owner = shuffled(60, 5)
    nothing = retrieval_ranks(photos, texts, (rows, owner))
    said = evidence(nothing, nothing.intervals(), 60)
    assert (said.verdict, said.k) == ("chance", 5)
    assert said.spread[0] < said.chance < said.spread[1]
    found = retrieval_ranks(photos, np.repeat(photos, 5, axis=0), (rows, owner))
    assert evidence(found, found.intervals(), 60).verdict == "above"
    collapsed = retrieval_ranks(np.ones((60, 3)), np.ones((60, 3)), (rows, rows))
    assert evidence(collapsed, collapsed.intervals(), 60).verdict == "below"  # ties are no hits, in whatever order


def test_evidence_of_few_items_and_of_one_query():
    """All of three items are among the first five: recall@5 says nothing, so recall@1 is asked."""
    rows = np.arange(3)[:, None]
    perfect = retrieval_ranks(np.eye(3), np.eye(3), (rows, rows))
    assert perfect.chance()["recall@5"] == perfect.metrics()["recall@5"] == 1
    assert evidence(perfect, perfect.intervals(), 3).k == 1
    alone = retrieval_ranks(np.eye(1, 3), np.eye(3), (rows[:1], rows))
    assert evidence(alone, alone.intervals(), 1).verdict == "chance"  # one query has no interval
