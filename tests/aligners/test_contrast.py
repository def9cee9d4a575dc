"""Chunked losses, links, the queue, and negatives over processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from polymodal.aligners import ALIGNERS, contrast, contrastive
from polymodal.aligners.contrast import Links, infonce, infonce_both, sigmoid
from polymodal.aligners.pairs import matches, pairs
from polymodal.aligners.queue import ROWS, Queue
from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.nn.normalize import l2_normalize

IMAGES = torch.arange(6)[:, None]
TEXTS = torch.tensor([[0, -1], [0, -1], [1, 2], [2, -1], [3, -1], [4, -1], [9, -1], [5, 0]])


def _vectors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(
        l2_normalize(torch.randn(n, 5, generator=draw, dtype=torch.float64)) for n in (len(IMAGES), len(TEXTS))
    )


def _gradients(kind: str, cells: int, monkeypatch, **options) -> list[torch.Tensor]:
    monkeypatch.setattr(contrast, "CELLS", cells)
    leaves = [v.requires_grad_() for v in _vectors()]
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    links = Links.of(IMAGES, TEXTS, torch.float64)
    if kind == "infonce":
        value, _ = infonce(*leaves, links, scale, **options)
    else:
        value = sigmoid(*leaves, links, scale, bias, **options)
    value.backward()
    return [value.detach(), *(x.grad for x in (*leaves, scale, bias) if x.grad is not None)]


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
@pytest.mark.parametrize("hard", [0.0, 0.7])
def test_pieces_give_what_the_whole_gives(kind, hard, monkeypatch):
    whole = _gradients(kind, 1 << 22, monkeypatch, hard=hard)
    for cells in (1, 8, 24):
        for a, b in zip(_gradients(kind, cells, monkeypatch, hard=hard), whole):
            torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_gradient_by_differences(kind):
    images, texts = (v.requires_grad_() for v in _vectors(1))
    links = Links.of(IMAGES, TEXTS, torch.float64)
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (3.0, -1.0))
    if kind == "infonce":
        assert torch.autograd.gradcheck(lambda a, b, s: infonce(a, b, links, s)[0], (images, texts, scale))
    else:
        assert torch.autograd.gradcheck(lambda a, b, s, t: sigmoid(a, b, links, s, t), (images, texts, scale, bias))


def test_equal_captions_are_never_negatives():
    """One caption of two photos: with it as positive of both, moving it to either lowers both their losses."""
    images, texts = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    shared = torch.tensor([[0, 1], [2, -1], [-1, -1]])
    own = torch.tensor([[0, -1], [2, -1], [-1, -1]])
    scale = torch.tensor(5.0, dtype=torch.float64)
    texts.requires_grad_()
    rows = torch.arange(3)[:, None]
    for caption, pulled in ((shared, True), (own, False)):
        texts.grad = None
        infonce(images, texts, Links.of(rows, caption, torch.float64), scale)[0].backward()
        assert (texts.grad[0, 1] < 0) == pulled


def test_soft_links_share_by_weight_and_boost_moves_one_logit():
    images, texts = _vectors()
    scale = torch.tensor(4.0, dtype=torch.float64)
    soft = Links(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 2]), torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64))
    logits = 4 * images @ texts.T
    expected = -(0.75 * logits.log_softmax(1)[0, 1] + 0.25 * logits.log_softmax(1)[0, 3] + logits.log_softmax(1)[2, 2])
    value, known = infonce(images, texts, soft, scale)
    assert known == 2
    torch.testing.assert_close(value, expected)
    boost = Links(torch.tensor([0]), torch.tensor([5]), torch.tensor([1.5], dtype=torch.float64))
    logits[0, 5] += 1.5
    expected = -(0.75 * logits.log_softmax(1)[0, 1] + 0.25 * logits.log_softmax(1)[0, 3] + logits.log_softmax(1)[2, 2])
    torch.testing.assert_close(infonce(images, texts, soft, scale, boost=boost)[0], expected)


def test_pairs_are_those_that_match():
    first, second = pairs(IMAGES, TEXTS)
    found = torch.zeros(len(IMAGES), len(TEXTS), dtype=torch.bool)
    found[first, second] = True
    assert torch.equal(found, matches(IMAGES, TEXTS))
    assert torch.equal(first, first.sort().values)


def test_queue_keeps_the_latest_and_leaves_out_what_stands_everywhere():
    queue = Queue(4, 2)
    queue.push(torch.ones(3, 2), torch.tensor([[0], [1], [2]]))
    queue.push(torch.full((2, 2), 2.0), torch.tensor([[3, 4], [5, -1]]))
    vectors, rows = queue.read()
    assert vectors[:, 0].tolist() == [2, 2, 1, 1]
    assert rows[:, :2].tolist() == [[4, 3], [5, -1], [0, -1], [1, -1]]
    queue.push(torch.full((1, 2), 3.0), torch.arange(ROWS + 1)[None])
    assert queue.read()[0].max() == 2


def _batch(seed: int = 0) -> tuple[dict[str, Tokens], dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    streams = {
        "image": Tokens.from_vector(torch.randn(len(IMAGES), 6, generator=draw)),
        "text": Tokens.from_vector(torch.randn(len(TEXTS), 4, generator=draw)),
    }
    return streams, {"image": IMAGES, "text": TEXTS}


@pytest.mark.parametrize("name", ["infonce", "siglip"])
def test_queue_adds_negatives_and_no_gradient(name):
    part = ALIGNERS.build({"name": name, "queue": 16, "dropout": 0.0}, {"image": 6, "text": 4}, 5)
    streams, rows = _batch()
    first = part.objective(streams, rows)["image~text"].item()
    again = part.objective(streams, {n: torch.where(r >= 0, r + 100, r) for n, r in rows.items()})["image~text"]
    assert again.item() > first + 1e-3  # the same vectors under other rows are hard negatives of themselves
    again.backward()
    assert all(p.grad.isfinite().all() for p in part.parameters())


@pytest.mark.parametrize("name", ["infonce", "siglip"])
def test_missing_items_are_no_negatives(name):
    part = ALIGNERS.build({"name": name, "dropout": 0.0}, {"image": 6, "text": 4}, 5).eval()
    streams, rows = _batch()
    few = {n: t.select(slice(0, 4)) for n, t in streams.items()}
    some = {n: t.keep(torch.arange(len(t)) < 4) for n, t in streams.items()}
    a, b = part.objective(few, {n: r[:4] for n, r in rows.items()}), part.objective(some, rows)
    torch.testing.assert_close(a["image~text"], b["image~text"])


def test_the_scale_never_exceeds_a_hundred_and_can_come_back():
    part = ALIGNERS.build("infonce", {"image": 6, "text": 4}, 5)
    with torch.no_grad():
        part.log_scale.fill_(9.0)
    part.objective(*_batch())["image~text"].backward()
    assert part.log_scale.exp().item() == pytest.approx(100)
    assert part.log_scale.grad != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "deep"}, "Unknown head 'deep'"),
        ({"scale": 101.0}, "at most 100"),
        ({"hard": -1.0}, "hard must be at least 0"),
        ({"dropout": 1.0}, "below 1"),
        ({"temperature": 0.1}, "Unknown argument 'temperature'"),
    ],
)
def test_wrong_options_say_what_is_allowed(options, message):
    with pytest.raises(BadArgument, match=message):
        ALIGNERS.build({"name": "infonce", **options}, {"image": 6, "text": 4}, 5)


PROCESS = """
import sys, torch
from torch import distributed as dist
from polymodal.aligners import ALIGNERS
from polymodal.core.types import Tokens
rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
given = torch.load(f"{out}/given.pt", weights_only=True)
found = {}
for name in ("infonce", "siglip"):
    torch.manual_seed(0)
    part = ALIGNERS.build({"name": name, "dropout": 0.0, "queue": 4}, {"image": 6, "text": 4}, 5)
    image, text = (slice(0, 2), slice(0, 5)) if rank == 0 else (slice(2, 6), slice(5, 8))
    streams = {"image": Tokens.from_vector(given["image"][image]), "text": Tokens.from_vector(given["text"][text])}
    rows = {"image": given["image rows"][image], "text": given["text rows"][text]}
    for step in range(2):  # the second step sees the queue
        part.zero_grad()
        loss = part.objective(streams, rows)["image~text"]
        loss.backward()
        for parameter in part.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
        dist.all_reduce(loss.detach())
    found[name] = [loss.detach() / 2, *(p.grad for p in part.parameters())]
if rank == 0:
    torch.save(found, f"{out}/found.pt")
dist.destroy_process_group()
"""


def test_two_processes_are_one(tmp_path):
    streams, rows = _batch()
    torch.save({**{n: t.pooled for n, t in streams.items()}, **{f"{n} rows": r for n, r in rows.items()}},
               tmp_path / "given.pt")  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", textwrap.dedent(PROCESS)]
    workers = [subprocess.Popen([*command, str(rank), port, str(tmp_path)]) for rank in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    for name, theirs in found.items():
        torch.manual_seed(0)
        part = ALIGNERS.build({"name": name, "dropout": 0.0, "queue": 4}, {"image": 6, "text": 4}, 5)
        for _ in range(2):
            part.zero_grad()
            loss = part.objective(streams, rows)["image~text"]
            loss.backward()
        for a, b in zip(theirs, [loss.detach(), *(p.grad for p in part.parameters())]):
            np.testing.assert_allclose(a, b, atol=2e-6, rtol=2e-5)


def test_mixed_items_belong_together_if_both_halves_do():
    streams, rows = _batch()
    torch.manual_seed(1)
    mixed, theirs = contrastive._mixed(streams, rows, 1.0)
    assert len(mixed["image"]) == len(mixed["text"]) == 6  # rows 0 to 5 have both
    together = matches(theirs["image"], theirs["text"])
    assert together.diagonal().all()
    torch.manual_seed(1)
    same, _ = contrastive._mixed(streams, rows, 1.0)
    assert torch.equal(same["text"].pooled, mixed["text"].pooled)


@pytest.mark.parametrize(("option", "loss"), [("mixup", "image~text mixed"), ("structure", "text structure")])
def test_options_of_stored_vectors_add_losses(option, loss):
    part = ALIGNERS.build({"name": "infonce", "dropout": 0.0, option: 1.5}, {"image": 6, "text": 4}, 5)
    streams, rows = _batch()
    found = part.objective(streams, rows)
    assert part.reads_stored
    assert loss in found
    assert found[loss].item() > 0
    found[loss].backward()
    assert part.heads["text"].linear.weight.grad.any()
    assert option == "structure" or loss not in part.eval().objective(streams, rows)


@pytest.mark.parametrize(("cells", "kept"), [(1, 0), (8, 100), (24, 0), (1 << 22, 8)])
def test_both_ways_from_one_matrix_are_the_mean_of_the_two(cells, kept, monkeypatch):
    monkeypatch.setattr(contrast, "CELLS", cells)
    monkeypatch.setattr(contrast, "KEPT", kept)
    some = torch.cat([TEXTS, torch.full((2, TEXTS.shape[1]), -1)])  # two captions belong to nothing
    draw = torch.Generator().manual_seed(3)
    images, texts = (
        l2_normalize(torch.randn(n, 5, dtype=torch.float64, generator=draw)) for n in (len(IMAGES), len(some))
    )
    there, back = Links.of(IMAGES, some, torch.float64), Links.of(some, IMAGES, torch.float64)
    found = []
    for both in (True, False):
        leaves = [v.clone().requires_grad_() for v in (images, texts, torch.tensor(6.0, dtype=torch.float64))]
        if both:
            value = infonce_both(leaves[0], leaves[1], there, back, leaves[2])
        else:
            (one, n), (two, m) = infonce(*leaves[:2], there, leaves[2]), infonce(leaves[1], leaves[0], back, leaves[2])
            value = (one / n + two / m) / 2
        value.backward()
        found.append([value.detach(), *(leaf.grad for leaf in leaves)])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-12)


def test_nothing_that_belongs_together_costs_nothing():
    vectors, none = torch.eye(3).requires_grad_(), torch.full((3, 1), -1)
    value = infonce_both(vectors, torch.eye(3), *(Links.of(none, none),) * 2, torch.tensor(2.0))
    value.backward()
    assert value == 0
    assert not vectors.grad.any()


@pytest.mark.parametrize(("options", "once"), [({}, True), ({"hard": 0.5}, False), ({"queue": 8}, False)])
def test_the_matrix_is_shared_where_neither_way_reads_more(options, once, monkeypatch):
    called = []
    monkeypatch.setattr(contrastive, "infonce_both", lambda *a: called.append("both") or infonce_both(*a))
    monkeypatch.setattr(contrastive, "infonce", lambda *a, **k: called.append("one") or infonce(*a, **k))
    streams, rows = _batch()
    aligner = ALIGNERS.build({"name": "infonce", **options}, {"image": 6, "text": 4}, 8)
    aligner.loss(aligner(streams), rows)
    assert called == (["both"] if once else ["one", "one"])
