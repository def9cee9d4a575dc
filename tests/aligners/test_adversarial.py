"""Alignment without pairs: finds a planted rotation, never reads rows, is seeded, and says when it fails."""

from __future__ import annotations

import pytest
import torch

from polymodal.aligners import ALIGNERS
from polymodal.aligners.game import Game, play
from polymodal.aligners.pairs import Side
from polymodal.aligners.unpaired import agreement, criterion, from_profiles, refined
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.registry import options
from polymodal.core.types import Tokens
from polymodal.nn.normalize import l2_normalize
from polymodal.testing import check_aligner

QUICK = {"restarts": 1, "epochs": 0, "rounds": 0, "hidden": 24}
WIDTH = 8
# Another value of every option: with it the part keeps the laws and gives another map.
OTHER = {
    "onto": "right", "restarts": 2, "epochs": 1, "hidden": 16, "smoothing": 0.3, "hide": 0.4, "orthogonality": 0.2,
    "rounds": 4, "whiten": True, "k": 3,
}  # fmt: skip


def clusters(count: int, seed: int) -> torch.Tensor:
    """Points of twelve clusters of unequal size and place: a shape that no rotation leaves as it is."""
    fixed, draw = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    centres = torch.randn(12, WIDTH, generator=fixed) * torch.linspace(1.5, 0.5, WIDTH)
    sizes = torch.rand(12, generator=fixed) ** 2 + 0.1
    own = torch.multinomial(sizes, count, replacement=True, generator=draw)
    return centres[own] + 0.3 * torch.randn(count, WIDTH, generator=draw)


TURN = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)))[0]


def sides() -> dict[str, Side]:
    """Two clouds without a common item; the second is turned. Rows are absent: whoever reads them fails."""
    absent: torch.Tensor = None  # type: ignore[assignment]
    return {"left": Side(clusters(600, 1), absent), "right": Side(clusters(600, 2) @ TURN, absent)}


def build(**given):
    return ALIGNERS.build({"name": "adversarial", **QUICK, **given}, {"left": WIDTH, "right": WIDTH}, WIDTH)


def cosines(part) -> torch.Tensor:
    new = clusters(50, 5)
    streams = {"left": Tokens.from_vector(new), "right": Tokens.from_vector(new @ TURN)}
    found = part(streams)
    return found["left"].pooled @ found["right"].pooled.T


def test_a_planted_rotation_is_found_without_rows():
    part = build(restarts=2, epochs=1, rounds=16)
    told = part.fit(sides())
    assert float(cosines(part).diagonal().mean()) > 0.95
    assert "mean CSLS cosine" in told[0]
    assert "Not converged" not in told[0]


def test_the_laws():
    check_aligner({"name": "adversarial", **QUICK}, recall=None)


def test_every_option_is_tried():
    assert set(OTHER) == set(options(ALIGNERS.load("adversarial")))


@pytest.mark.parametrize("option", OTHER)
def test_every_option_changes_something(option: str, monkeypatch):
    given = {}
    if option in ("epochs", "hidden", "smoothing", "hide", "orthogonality"):  # from a start that the game betters
        given = {} if option == "epochs" else {"epochs": 1}
        monkeypatch.setattr("polymodal.aligners.adversarial.from_profiles", lambda source, target, k: torch.eye(WIDTH))
    found = []
    for more in (given, {**given, option: OTHER[option]}):
        part = build(**more)
        told = part.fit(sides())
        found.append((told, cosines(part) if option != "onto" else part(  # turned alike, seen from the other side
            {"left": Tokens.from_vector(clusters(5, 5))})["left"].pooled))  # fmt: skip
    assert found[0][0] != found[1][0] or not torch.allclose(found[0][1], found[1][1], atol=1e-5)


def test_the_seed_determines_everything_and_the_global_generator_nothing():
    maps = []
    for before, seed in ((0, 1), (5, 1), (0, 2)):
        torch.manual_seed(before)
        part = build(epochs=1, rounds=2)
        part.fit(sides(), seed=seed)
        maps.append(part.maps["right"].map.clone())
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_a_gaussian_is_said_to_have_no_shape():
    draw = torch.Generator().manual_seed(0)
    round_ = {n: Side(torch.randn(400, WIDTH, generator=draw), None) for n in ("left", "right")}  # type: ignore
    told = build(restarts=2, epochs=1, rounds=12).fit(round_)
    assert "Not con" in told[0]


def test_more_streams_and_other_widths_are_mapped_onto_one():
    draw = torch.Generator().manual_seed(1)
    wide = torch.linalg.qr(torch.randn(14, WIDTH, generator=draw))[0]
    given = {**sides(), "third": Side(clusters(600, 4) @ wide.T, None)}  # type: ignore[arg-type]
    part = ALIGNERS.build(
        {"name": "adversarial", **QUICK, "onto": "right", "rounds": 20},
        {"left": WIDTH, "right": WIDTH, "third": 14},
        WIDTH,
    )
    told = part.fit(given)
    assert [sentence.split(":")[0] for sentence in told] == ["left onto right", "third onto right"]
    new = clusters(50, 5)
    found = part({"third": Tokens.from_vector(new @ wide.T), "right": Tokens.from_vector(new @ TURN)})
    assert float((found["third"].pooled * found["right"].pooled).sum(1).mean()) > 0.9


def test_the_criterion_is_highest_at_the_truth():
    left, right = l2_normalize(clusters(600, 1)), l2_normalize(clusters(600, 2) @ TURN)
    draw = torch.Generator().manual_seed(0)
    other = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draw))[0]
    assert criterion(left, right, TURN) > criterion(left, right, other) + 0.05
    assert agreement(left, right, TURN, TURN) == 1.0
    assert agreement(left, right, TURN, other) < 0.2


def test_profiles_do_not_change_when_a_cloud_is_turned():
    same = l2_normalize(clusters(300, 1))
    torch.testing.assert_close(from_profiles(same, same @ TURN), TURN, atol=1e-3, rtol=0)


def test_refinement_starts_near_and_ends_at_the_truth():
    left, right = l2_normalize(clusters(600, 1)), l2_normalize(clusters(600, 2) @ TURN)
    draw = torch.Generator().manual_seed(0)
    near = torch.linalg.qr(TURN + 0.15 * torch.randn(WIDTH, WIDTH, generator=draw))[0]
    near = near * torch.sign((near * TURN).sum(0))
    found = refined(left, right, near, rounds=20, k=10, draw=draw)
    assert (found - TURN).norm() < 0.3 * (near - TURN).norm()


def test_the_game_moves_a_cloud_towards_the_other():
    """One cloud is the other turned by a third of a right angle in a plane: the game alone turns it back."""
    draw = torch.Generator().manual_seed(0)
    cloud = l2_normalize(clusters(800, 1))
    angle = torch.tensor(0.5)
    turn = torch.eye(WIDTH)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[0, 1], turn[1, 0] = -angle.sin(), angle.sin()
    game = Game(epochs=3, hidden=64, smoothing=0.1, hide=0.1, orthogonality=0.01)

    def judge(w):
        return criterion(cloud, cloud @ turn, w)

    found = play(game, cloud, cloud @ turn, torch.eye(WIDTH), judge, draw)
    assert judge(found) > judge(torch.eye(WIDTH))
    assert (found - turn).norm() < 0.6 * (torch.eye(WIDTH) - turn).norm()
    torch.testing.assert_close(found @ found.T, torch.eye(WIDTH), atol=0.1, rtol=0)


def test_what_is_wrong_is_said():
    with pytest.raises(BadData, match="50 at least"):
        build().fit({n: Side(s.vectors[:20], s.rows) for n, s in sides().items()})
    with pytest.raises(BadData, match="No items of 'right'"):
        build().fit({"left": sides()["left"]})
    with pytest.raises(BadData, match="expected \\[items, 8\\]"):
        build().fit({**sides(), "left": Side(torch.randn(60, 5), None)})  # type: ignore[arg-type]
    with pytest.raises(BadData, match="not finite"):
        build().fit({**sides(), "left": Side(clusters(60, 1) * float("nan"), None)})  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="Did you mean 'left'"):
        build(onto="lefd")
    with pytest.raises(BadArgument, match="smoothing must be"):
        build(smoothing=0.7)
    with pytest.raises(BadArgument, match="epochs must be"):
        build(epochs=-1)
