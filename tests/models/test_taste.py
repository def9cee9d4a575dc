"""A mixed model: slopes of users, against the plain formula, on planted tastes and for users that are new."""

import numpy as np
import pytest
import torch

from polymodal.core.errors import UnknownName
from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.base import Labelled
from polymodal.models.build import Heads, Parts
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.number import NumberTarget

WIDTHS = {"film": 6, "user": 8}
TARGET = ClassesTarget("liked", ("no", "yes"), frequencies=(0.5, 0.5))
CODES = torch.randint(0, 2, (40, 8), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
USERS = [u for u in range(40) if (CODES[:u] == CODES[u]).all(1).sum() == 0][:12]


def rows(count: int, seed: int):
    """Rows of 12 users who like the signs of film's first value, half of them the one, half the other."""
    draw = np.random.default_rng(seed)
    user, film = draw.integers(0, 12, count), draw.normal(size=(count, 6)).astype(np.float32)
    liked = (film[:, 0] * np.where(user % 2, 1, -1) > 0).astype(np.int64)
    codes = CODES[[USERS[u] for u in user]]
    streams = {"film": Tokens.from_vector(torch.from_numpy(film)), "user": Tokens.from_vector(codes)}
    return Labelled(streams, {"liked": torch.from_numpy(liked)})


def built(target=TARGET, **options):
    torch.manual_seed(0)
    return ANSWERS.build({"name": "taste", "by": "user", **options}, WIDTHS, [target], Parts(8, Heads()))


@pytest.fixture(scope="module")
def settled():
    answer = built()
    answer.finalize(rows(600, 0), rows(200, 1), 0)
    return answer


def right(answer, labelled) -> float:
    said = answer(labelled.streams).predictions["liked"].argmax(1)
    return float((said == labelled.targets["liked"]).float().mean())


def test_slopes_of_each_user_are_found(settled):
    assert right(built(), rows(300, 2)) < 0.65
    assert right(settled, rows(300, 2)) > 0.9


def test_it_equals_its_formula(settled):
    labelled = rows(20, 3)
    plain = settled.inner(labelled.streams).predictions["liked"].detach().numpy()
    z = (labelled.streams["film"].pooled - settled.middle).numpy() @ settled.turn.numpy()
    part = {name: getattr(settled, f"{name}_of_liked").detach().numpy() for name in ("share", "bias", "own", "slope")}
    codes = ((labelled.streams["user"].pooled > 0) * 2 ** torch.arange(8)).sum(1)
    for row, code in enumerate(codes):
        u = int(np.flatnonzero(settled.keys.numpy() == int(code))[0])
        expected = plain[row] @ part["share"] + part["bias"] + part["own"][u] + z[row] @ part["slope"][u]
        found = settled(labelled.streams).predictions["liked"][row].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_who_is_new_or_missing_gets_what_holds_for_all(settled):
    labelled = rows(50, 4)
    film = labelled.streams["film"]
    new = torch.zeros(50, 8)
    others = [
        Tokens.from_vector(new),  # whom training lacks, as `entity_plain` writes it
        Tokens.from_vector(new, torch.zeros(50, dtype=torch.bool)),
    ]
    share, bias = settled.share_of_liked, settled.bias_of_liked
    for user in others:
        streams = {"film": film, "user": user}
        plain = settled.inner(streams).predictions["liked"] @ share + bias
        assert torch.allclose(settled(streams).predictions["liked"], plain, atol=1e-5)


def test_what_was_found_is_kept(settled):
    again = built()
    again.load_state_dict(settled.state_dict())
    streams = rows(30, 5).streams
    found, expected = (one.eval()(streams).predictions["liked"] for one in (again, settled))
    assert torch.equal(found, expected)


def test_numbers_too():
    target = NumberTarget("liked").fit([0.0, 1.0, 2.0, 3.0])
    answer = built(target)
    train, valid = (
        Labelled(some.streams, {"liked": some.targets["liked"].float()}) for some in (rows(600, 0), rows(200, 1))
    )
    answer.requires_grad_(False)
    before = float(target.row_losses(answer(valid.streams).predictions["liked"], valid.targets["liked"]).mean())
    answer.finalize(train, valid, 0)
    after = float(target.row_losses(answer(valid.streams).predictions["liked"], valid.targets["liked"]).mean())
    assert after < 0.7 * before


def test_a_stream_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match=r"by 'usr', which is no stream. Did you mean 'user'"):
        built(by="usr")


def test_several_targets_each_have_their_own_slopes():
    torch.manual_seed(0)
    other = ClassesTarget("bought", ("no", "yes"), frequencies=(0.5, 0.5))
    answer = ANSWERS.build({"name": "taste", "by": "user"}, WIDTHS, [TARGET, other], Parts(8, Heads()))
    train, valid = (
        Labelled(some.streams, {**some.targets, "bought": 1 - some.targets["liked"]})
        for some in (rows(600, 0), rows(200, 1))
    )
    answer.finalize(train, valid, 0)
    said = answer(valid.streams).predictions
    assert float((said["liked"].argmax(1) == said["bought"].argmax(1)).float().mean()) < 0.2
