"""The doctor says go where there is a connection, no-go where there is none, and is right about chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import kstest

from polymodal.aligners import ALIGNERS
from polymodal.aligners.doctor import examine, one_to_one
from polymodal.aligners.geometry import effective_rank, modality_gap, near_duplicates
from polymodal.aligners.neighbours import mutual_neighbours, nearest
from polymodal.aligners.pairs import Side
from polymodal.aligners.probe import canonical, difference, linear_probe, mapped, recall_within
from polymodal.core.errors import BadArgument, BadData


def planted(count: int, noise: float, seed: int = 0, shared: int = 6) -> dict[str, Side]:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, shared, generator=draw)
    rows = torch.arange(count)[:, None]
    sides = {}
    for name, width in (("photo", 24), ("text", 16)):
        mixed = hidden @ torch.randn(shared, width, generator=draw) / shared**0.5
        sides[name] = Side(mixed + noise * torch.randn(count, width, generator=draw), rows)
    return sides


def unrelated(count: int = 300) -> dict[str, Side]:
    sides = planted(count, 0.3)
    return {"photo": sides["photo"], "text": Side(sides["text"].vectors[torch.randperm(count)], sides["text"].rows)}


def test_go():
    found = examine(planted(300, 0.3))
    assert found.verdict == "go"
    probe = found.before.pairings[0].probe
    assert probe is not None
    assert probe.forward[-1].mean > 0.8
    assert probe.forward[-1].chance == pytest.approx(10 / 60)
    assert found.text().startswith("Go: these streams can be aligned.")


def test_no_go():
    found = examine(unrelated())
    assert found.verdict == "no-go"
    assert "nothing connects them" in found.reasons[0]
    assert "Check that rows really pair what belongs together" in found.text()


def test_doubtful():
    found = examine(planted(400, 2.0, seed=3))
    assert found.verdict == "doubtful"
    assert "the connection is weak" in found.reasons[0]


def test_too_few_pairs():
    found = examine(planted(10, 0.1))
    assert found.verdict == "no-go"
    assert "10 matched pairs are too few to tell; 50 are the least" in found.reasons[0]
    assert "Collect more pairs" in found.advice[0]


def test_the_worst_pair_of_streams_decides():
    sides = {**planted(300, 0.3), "noise": Side(torch.randn(300, 8), torch.arange(300)[:, None])}
    found = examine(sides)
    assert found.verdict == "no-go"
    assert len(found.before.pairings) == 3


@pytest.mark.parametrize("cloud", ["round", "flat", "clustered"])
def test_p_values_are_uniform_when_streams_are_independent(cloud: str):
    draw = np.random.default_rng(0)

    def some(width: int) -> np.ndarray:
        x = draw.normal(size=(60, width))
        if cloud == "flat":
            x = x * 0.5 ** np.arange(width)
        if cloud == "clustered":
            x = x + 6 * draw.normal(size=(4, width))[draw.integers(4, size=60)]
        return x

    found = [mutual_neighbours(some(12), some(5), k=5, permutations=99, seed=i).p for i in range(150)]
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.12


def test_raw_agreement_grows_with_k_though_there_is_none():
    """Why it is never told without its null."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=(100, 8)), draw.normal(size=(100, 8))
    few, many = (mutual_neighbours(a, b, k=k, seed=0) for k in (5, 40))
    assert many.share > 0.3 > few.share
    assert min(few.p, many.p) > 0.05
    assert many.null == pytest.approx(40 / 99, abs=0.01)
    assert abs(many.excess) < 0.05


def test_mutual_neighbours_by_sets():
    draw = np.random.default_rng(2)
    a = draw.normal(size=(40, 6))
    b = a[:, :4] + 0.5 * draw.normal(size=(40, 4))
    pairs = zip(nearest(a, 7), nearest(b, 7))
    expected = np.mean([len(set(x) & set(y)) / 7 for x, y in pairs])
    assert mutual_neighbours(a, b, k=7).share == pytest.approx(expected)


def test_the_gap_against_scipy():
    draw = np.random.default_rng(3)
    for count in (200, 5):
        a = draw.normal(size=(count, 8)) @ draw.normal(size=(8, 8)) + 1
        b = draw.normal(size=(count, 8))
        one, two = (np.cov(x.T, bias=True) for x in (a, b))
        root = np.real(sqrtm(one))
        spread = np.trace(one + two - 2 * np.real(sqrtm(root @ two @ root)))
        gap = modality_gap(a, b)
        assert gap.centroid == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum())
        assert gap.spread == pytest.approx(spread, rel=1e-5)
        assert gap.total == pytest.approx(gap.centroid + gap.spread)


def test_the_gap_tells_a_moved_cloud_from_one_of_another_shape():
    cloud = np.random.default_rng(4).normal(size=(500, 6))
    moved, other = modality_gap(cloud, cloud + 2), modality_gap(cloud, cloud * np.array([3, 1, 1, 1, 1, 1]))
    assert moved.centroid > 20
    assert moved.spread < 1e-9
    assert other.spread > 3.5
    assert other.centroid < 0.2
    assert modality_gap(cloud[:250], cloud[250:]).total < 0.3


def test_canonical_correlations_against_scikit_learn():
    from sklearn.cross_decomposition import CCA

    sides = planted(3000, 0.3)
    a, b = (sides[n].vectors.double().numpy() for n in ("photo", "text"))
    x, y = CCA(n_components=3, max_iter=5000, tol=1e-9).fit_transform(a, b)
    expected = [np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(3)]
    assert canonical(a, b)[1][:3] == pytest.approx(expected, abs=5e-3)


def primal(a: np.ndarray, b: np.ndarray):
    """As `canonical`, by eigenvectors of the whole covariances, shrunk by scikit-learn."""
    from sklearn.covariance import ledoit_wolf

    means, whites = [], []
    for x in (a, b):
        values, vectors = np.linalg.eigh(ledoit_wolf(x)[0])
        means.append(x.mean(0))
        whites.append(vectors / np.sqrt(values))
    cross = ((a - means[0]) @ whites[0]).T @ ((b - means[1]) @ whites[1]) / len(a)
    left, strength, right = np.linalg.svd(cross, full_matrices=False)
    root = np.sqrt(strength)
    return ((whites[0] @ left * root, means[0]), (whites[1] @ right.T * root, means[1])), strength


@pytest.mark.parametrize("sizes", [(40, 90, 70), (40, 90, 12), (200, 12, 30), (60, 60, 60)])
def test_the_smaller_side_gives_the_same(sizes: tuple[int, int, int]):
    count, one, two = sizes
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(count + 30, 5))
    a, b = (hidden @ draw.normal(size=(5, w)) + draw.normal(size=(count + 30, w)) for w in (one, two))
    (ours, found), (theirs, expected) = canonical(a[:count], b[:count]), primal(a[:count], b[:count])
    assert found[:5] == pytest.approx(expected[:5])
    (x, y), (other_x, other_y) = mapped(ours, a[count:], b[count:]), mapped(theirs, a[count:], b[count:])
    np.testing.assert_allclose(x @ y.T, other_x @ other_y.T, atol=1e-9)


def test_effective_rank_of_known_shapes():
    draw = np.random.default_rng(5)
    assert effective_rank(np.linalg.qr(draw.normal(size=(200, 7)))[0]) == pytest.approx(7, abs=0.1)
    assert effective_rank(draw.normal(size=(100, 1)) * np.ones((1, 9))) == pytest.approx(1)
    assert effective_rank(np.ones((5, 3))) == 0


def test_collisions_are_counted_and_said():
    photo = Side(torch.randn(100, 6), torch.arange(200).view(100, 2))  # every photo in two rows
    text = torch.randn(150, 5)
    text[1] = text[0] * 2
    rows = torch.full((150, 2), -1)
    rows[:, 0] = torch.arange(150)
    rows[:50, 1] = torch.arange(150, 200)  # fifty captions were written twice
    found = examine({"photo": photo, "text": Side(text, rows)})
    pairing = found.before.pairings[0]
    assert pairing.pairs == 200
    assert pairing.matched <= 100
    assert pairing.several_partners == (100, 50)
    assert found.before.streams["text"].in_several_rows == 50
    assert near_duplicates(np.concatenate([text.numpy(), text.numpy()[:1]])) >= 2
    assert any("50 of 150 items of text have several partners" in word for word in found.advice)


def test_no_item_is_used_twice():
    left, right = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
    one, two = one_to_one(left, right, 0)
    assert len(set(one)) == len(one) == len(set(two)) == 2


def test_neighbours_that_share_a_partner_or_a_label():
    photos, captions = torch.randn(60, 8), 3
    text = photos.repeat_interleave(captions, 0) + 0.05 * torch.randn(180, 8)
    sides = {
        "photo": Side(photos, torch.arange(180).view(60, 3)),
        "text": Side(text, torch.arange(180)[:, None]),
    }
    found = examine(sides).before.streams["text"]
    assert found.neighbours is not None
    assert found.neighbours > 0.95
    assert found.neighbours_chance == pytest.approx(2 / 179)
    labels = [i % 2 for i in range(60)]
    assert examine(sides, labels={"photo": labels}).before.streams["photo"].neighbours == pytest.approx(0.5, abs=0.2)


def spaces(sides: dict[str, Side]) -> dict[str, dict[str, Side]]:
    """A space that finds all, one that finds nothing."""
    good = torch.nn.functional.normalize(sides["photo"].vectors @ torch.randn(24, 12))
    rows = sides["photo"].rows
    return {
        "good": {"photo": Side(good, rows), "text": Side(good + 0.001, rows)},
        "spoilt": {"photo": Side(good, rows), "text": Side(good.flip(0), rows)},
    }


def test_training_is_compared_with_the_linear_map():
    sides = planted(300, 0.3)
    assert "more than the linear map's" in examine(sides, spaces(sides)["good"]).reasons[-1]
    found = examine(sides, spaces(sides)["spoilt"])
    assert "Nothing learned that this test can show" in found.reasons[-1]
    assert "less than the linear map's" in found.reasons[-1]
    assert "gap" in found.text().split("After training:")[1]
    assert found.after is not None
    assert found.after.pairings[0].probe is None


@pytest.mark.parametrize("held_out", [True, False])
def test_recalls_that_are_compared_are_of_one_gallery(held_out: bool):
    """400 pairs to learn from, 28 to judge by: both in galleries of 28, and the same pairs where they are given."""
    learnt, judged = planted(400, 0.6), planted(428, 0.6)
    judged = {n: Side(s.vectors[400:], s.rows[:28]) for n, s in judged.items()}
    found = examine(learnt, spaces(judged)["good"], unseen=judged if held_out else None)
    before, after = found.before.pairings[0], found.after.pairings[0]
    ways = [*before.probe.forward, *before.probe.backward, *after.recall[0], *after.recall[1]]
    assert (after.linear is not None) == held_out
    ways += [r for way in after.linear or () for r in way]
    assert {r.gallery for r in ways} == {28}
    assert all(r.chance == pytest.approx(r.k / 28) for r in ways)
    assert all(r.lift == pytest.approx(r.mean / r.chance) for r in ways)
    assert before.judged == after.judged == 1  # of ten among 28, chance finds a third
    assert "of 28" in found.reasons[0]
    assert ("of the same pairs" if held_out else "of held-out training pairs") in found.reasons[-1]
    assert "times chance" in found.reasons[-1]


def test_a_linear_aligner_never_beats_the_linear_map():
    sides = planted(300, 0.3)
    for space in spaces(sides).values():
        said = examine(sides, space, linear=True).reasons[-1]
        assert "a linear map too" in said
        assert not any(word in said for word in ("more than", "less than", "would do"))
    widths = {"a": 4, "b": 3}
    linear = {n for n in ALIGNERS if n != "knowledge" and ALIGNERS.build(n, widths, 4).linear}
    assert linear == {"cca", "csa", "procrustes", "ridge", "adversarial"}
    assert ALIGNERS.build({"name": "infonce", "head": "linear"}, widths, 4).linear


def test_recall_in_smaller_galleries_is_the_mean_over_them():
    draw = np.random.default_rng(0)
    a = draw.normal(size=(100, 6))
    b = a + 1.5 * draw.normal(size=(100, 6))
    expected = [r.mean for r in recall_within(a, b, gallery=28)[0]]
    some = [draw.permutation(100)[:28] for _ in range(400)]
    drawn = [[r.mean for r in recall_within(a[rows], b[rows], gallery=28)[0]] for rows in some]
    assert expected == pytest.approx(np.mean(drawn, axis=0), abs=0.02)
    probe = linear_probe(a, b, gallery=10)
    assert {r.gallery for r in (*probe.forward, *probe.backward)} == {10}
    assert linear_probe(a, b).gallery == 20
    with pytest.raises(BadArgument, match="from 2 to 20, as many as there are; got 21"):
        linear_probe(a, b, gallery=21)


def test_a_difference_of_shares_by_newcombe():
    """56/70 less 48/80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10)."""
    one, two = (
        recall_of(np.arange(n) < found) for found, n in ((56, 70), (48, 80))
    )  # fmt: skip
    assert difference(one, two) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def recall_of(found: np.ndarray):
    from polymodal.aligners.probe import _recall

    return _recall(found.astype(float), 1, 10)


def test_a_collapsed_space_finds_nothing():
    one = np.ones((40, 3))
    assert recall_within(one, one, gallery=20)[0][0].mean == 0


def test_json_goes_to_a_file():
    found = examine(planted(120, 0.3), {n: Side(s.vectors[:, :12], s.rows) for n, s in planted(120, 0.3).items()})
    assert json.loads(json.dumps(found.to_json()))["verdict"] == found.verdict


@pytest.mark.parametrize("option", [{"k": 3}, {"permutations": 19}, {"folds": 3}, {"sample": 60}, {"seed": 5}])
def test_every_option_changes_something(option):
    sides = planted(150, 0.5)
    assert examine(sides, **option).to_json() != examine(sides).to_json()


def test_bad_input():
    sides = planted(60, 0.3)
    with pytest.raises(BadData, match="two or more streams; got \\['photo'\\]"):
        examine({"photo": sides["photo"]})
    broken = {**sides, "text": Side(sides["text"].vectors.clone().fill_(torch.nan), sides["text"].rows)}
    with pytest.raises(BadData, match="'text' hold NaN"):
        examine(broken)
    with pytest.raises(BadArgument, match="labels\\['txt'\\].*Did you mean 'text'"):
        examine(sides, labels={"txt": [0]})
    with pytest.raises(BadData, match="After training all streams share a space, so one width; got {'photo': 24"):
        examine(sides, sides)
    with pytest.raises(BadArgument, match="were not all given before"):
        examine(sides, {"other": sides["photo"], "text": sides["text"]})
    with pytest.raises(BadArgument, match="unseen must give the items of `after`"):
        examine(sides, unseen=sides)
    with pytest.raises(BadData, match="twenty or more pairs; got 3 and 3"):
        linear_probe(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(BadData, match="same four or more items; got 3 and 2"):
        mutual_neighbours(np.zeros((3, 2)), np.zeros((2, 2)))


def test_streams_that_never_vary_are_told_not_crashed():
    rows = torch.arange(60)[:, None]
    found = examine({"a": Side(torch.ones(60, 4), rows), "b": Side(torch.randn(60, 4), rows)})
    assert found.verdict == "no-go"
