"""A pretrained language model as a head: the laws, its own pieces and the target's symbols, what is tuned."""

from __future__ import annotations

import pytest
import torch
from tiny_towers import WORDS, save_language_model

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.nn.layers.state import END, PAD
from polymodal.targets.base import fitted
from polymodal.testing import check_head, example_target
from polymodal.testing.head import example_truth

TARGET = example_target("text")
PIECES = [*WORDS, "cat", "the", "sl", "##eeps"]  # "sleeps" is two pieces, and "zebra" none
# Another value of each option. A new option must be entered here: the test below fails without it.
OTHER = {
    "tune": "full", "projector": "perceiver", "factor": 2, "latents": 3, "rank": 2, "dropout": 0.5, "smoothing": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.manual_seed(0)
    return save_language_model(tmp_path_factory.mktemp("model"), words=PIECES)


def tokens() -> Tokens:
    """Eight rows of a grid of 2 x 2, with holes; the second row has none."""
    draw = torch.Generator().manual_seed(1)
    x, mask = torch.randn(8, 4, 6, generator=draw), torch.rand(8, 4, generator=draw) < 0.8
    mask[:, 0], mask[1] = True, False
    return Tokens(x, mask, x.mean(1)).cleared()


def built(model: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return HEADS.build({"name": "writer_pretrained", "model": model, **options}, 6, TARGET).eval()


@pytest.mark.parametrize("tune", ["frozen", "lora", "full"])
def test_it_keeps_the_laws(model: str, tune: str):
    check_head({"name": "writer_pretrained", "model": model, "tune": tune}, TARGET, truth=example_truth(TARGET))


def test_no_option_is_without_effect(model: str):
    assert {*OTHER, "model", "decoding"} == set(HEADS.load("writer_pretrained").__init__.__kwdefaults__)
    plain = {"latents": {"projector": "perceiver"}, "rank": {"tune": "lora"}}
    for option, value in OTHER.items():
        found = []
        for given in (plain.get(option, {}), {**plain.get(option, {}), option: value}):
            head = built(model, **given).train()
            torch.manual_seed(3)
            loss = head.loss(tokens(), example_truth(TARGET))
            learns = sorted((name, tuple(p.shape)) for name, p in head.named_parameters() if p.requires_grad)
            found.append((float(loss.detach()), learns))
        assert found[0] != found[1], option


def test_it_learns_pieces_of_its_own_and_answers_in_the_targets_symbols(model: str):
    head = built(model)
    truth = torch.from_numpy(TARGET.encode([["The cat sleeps!", "a cat"], "a zebra", None]))
    ids = head.sought(truth)
    texts = [[head.writes.text(one) for one in row] for row in ids.tolist()]
    assert texts == [["the cat sleeps", "a cat"], ["a", ""], ["", ""]]
    assert ids[0, 0].tolist() == [*head.writes.codes("the cat sleeps"), END]
    assert (ids[0, 0] != PAD).sum() == 5, "four pieces and END"
    assert (ids[2] == PAD).all()
    written = torch.tensor([[*head.writes.codes("the red cat sleeps"), END], [END, PAD, PAD, PAD, PAD, PAD]])
    assert TARGET.texts(head.codes(written).numpy()).tolist() == ["the red cat sleeps", ""]


def test_words_that_the_target_has_not_are_written_whole(model: str, monkeypatch):
    target = fitted("y", "text", ["a dog runs on the green grass today"] * 10)
    head = HEADS.build({"name": "writer_pretrained", "model": model}, 6, target).eval()
    said = "a dog runs on the extraordinarily phosphorescent grass"
    assert len(target.coder.codes(said)) > head.most
    monkeypatch.setattr(head.writes, "text", lambda ids: said)
    answer = head(tokens())
    assert answer.shape == (8, 1 + head.room)
    assert head.decode(answer)["label"].tolist() == [said] * 8
    monkeypatch.setattr(head.writes, "text", lambda ids: "a dog " + " extraordinarily" * 90)
    cut = head.decode(head(tokens()))["label"][0].split()
    assert len(cut) < 20, "there is an end"
    assert set(cut[2:]) == {"extraordinarily"}, "but not within a word"


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_it_writes_what_it_has_learned_whatever_stands_beside_a_row(model: str, tune: str):
    head, seen, truth = built(model, tune=tune, dropout=0.0, smoothing=0.0), tokens(), example_truth(TARGET)
    optimizer = torch.optim.AdamW([p for p in head.train().parameters() if p.requires_grad], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(seen, truth).backward()
        optimizer.step()
    told = head.eval().decode(head(seen))
    assert len(set(told["label"].tolist())) > 3
    alone = [head.decode(head(seen.select(slice(i, i + 1))))["label"][0] for i in range(8)]
    assert alone == told["label"].tolist()
    assert (told["logp"] < 0).all()


def test_nothing_but_allowed_answers_is_written(model: str):
    head = built(model, decoding={"allowed": ["The cat", "dog"]})
    assert set(head.decode(head(tokens()))["label"].tolist()) <= {"the cat", "dog"}
    with pytest.raises(BadArgument, match="The allowed answer 'the the the the the the the' cannot be written"):
        built(model, decoding={"allowed": ["the the the the the the the"]})


def test_a_model_must_be_named():
    with pytest.raises(BadArgument, match="needs `model`"):
        built("")
