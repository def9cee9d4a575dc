"""Heads that write: the laws, the loss on references, the words whatever stands beside a row."""

from __future__ import annotations

import pytest
import torch
from tiny_writers import SMALL, TARGET, built, learned, tokens
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.heads.writing import sought
from polymodal.nn.layers.state import BEGIN, END, PAD, UNKNOWN
from polymodal.targets.base import fitted
from polymodal.testing import check_head
from polymodal.testing.head import example_truth

WRITERS = ("writer", "writer_recurrent", "writer_unified")
# Other values of the options. A new one must be entered here: the test below fails without it.
STACK = {"units": 24, "depth": 1, "heads": 2, "voices": 2, "dropout": 0.0, "smoothing": 0.3}
OTHER = {
    "writer": {**STACK, "tokens": 3},
    "writer_unified": {**STACK, "tokens": None},
    "writer_recurrent": {"units": 24, "evenly": 1.0, "tokens": 3, "dropout": 0.0, "smoothing": 0.3},
}


@pytest.mark.parametrize("name", WRITERS)
def test_it_keeps_the_laws(name: str):
    check_head({"name": name, **SMALL}, TARGET, truth=example_truth(TARGET))


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OTHER for option in OTHER[name]])
def test_no_option_is_without_effect(name: str, option: str):
    assert {*OTHER[name], "decoding"} == set(HEADS.load(name).__init__.__kwdefaults__)
    losses = []
    for given in ({}, {option: OTHER[name][option]}):
        head = built({"name": name, **SMALL, **given}).train()
        torch.manual_seed(3)
        losses.append(float(head.loss(tokens(), example_truth(TARGET)).detach()))
    assert losses[0] != losses[1]


def test_what_is_sought():
    truth = torch.from_numpy(TARGET.encode(["a zebra zoo dog", ["a cat", "cat"], None]))
    a, cat, dog = (4 + TARGET.vocabulary.index(word) for word in ("a", "cat", "dog"))
    ids = sought(truth, TARGET.words, 9)
    assert ids[0, 0].tolist() == [a, UNKNOWN, UNKNOWN, dog, END], "each word that is not known is one symbol"
    assert ids[0, 1].tolist() == [PAD] * 5
    assert ids[1].tolist() == [[a, cat, END, PAD, PAD], [cat, END, PAD, PAD, PAD]]
    assert (ids[2] == PAD).all()
    assert sought(truth, TARGET.words, 3)[0, 0].tolist() == [a, UNKNOWN, UNKNOWN], "cut, so it does not end"


@pytest.mark.parametrize("name", WRITERS)
def test_the_loss_is_that_of_the_next_symbol(name: str):
    head, seen, truth = built({"name": name, **SMALL}), tokens(), example_truth(TARGET)
    ids = sought(truth, TARGET.words, head.most)[:, 0]
    context, mask = head._context(seen)
    given = torch.cat([torch.full_like(ids[:, :1], BEGIN), ids[:, :-1]], 1)
    summed = torch.zeros(())
    for row, length in enumerate((ids != PAD).sum(1).tolist()):
        some = slice(row, row + 1)
        scores = head.decoder(given[some, :length], context[some], mask[some])[0]
        summed = summed + F.cross_entropy(scores, ids[row, :length], reduction="sum")
    torch.testing.assert_close(head.loss(seen, truth), summed / (ids != PAD).sum(), rtol=1e-5, atol=1e-5)


def test_training_reads_every_reference_that_is_there():
    head, seen = built({"name": "writer", **SMALL, "dropout": 0.0, "smoothing": 0.0}), tokens(1)
    each = [float(head.loss(seen, torch.from_numpy(TARGET.encode([text]))).detach()) for text in ("a cat", "the dog")]
    both = torch.from_numpy(TARGET.encode([["a cat", "the dog"], ["a", "a", "a"]]))[:1]
    head.train()
    assert float(head.loss(seen, both).detach()) == pytest.approx(sum(each) / 2, abs=1e-5)


@pytest.mark.parametrize("decoding", [{"beams": 1}, {"beams": 3}])
@pytest.mark.parametrize("name", WRITERS)
def test_order_batch_and_padding_change_no_word(name: str, decoding: dict):
    head, seen = learned(name, decoding=decoding), tokens()
    words = head.decode(head(seen))["label"].tolist()
    assert len(set(words)) > 3
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    assert head.decode(head(seen.select(order)))["label"].tolist() == [words[i] for i in order]
    alone = [head.decode(head(seen.select(slice(i, i + 1))))["label"][0] for i in range(8)]
    assert alone == words
    wide = Tokens(F.pad(seen.x, (0, 0, 0, 9)), F.pad(seen.mask, (0, 9)), seen.pooled, F.pad(seen.where, (0, 0, 0, 9)))
    assert head.decode(head(wide))["label"].tolist() == words


@pytest.mark.parametrize("name", WRITERS)
def test_the_log_probability_is_that_of_what_was_written(name: str):
    head, seen = learned(name), tokens()
    told = head.decode(head(seen))
    for row, text in enumerate(told["label"].tolist()):
        lost = head.loss(seen.select(slice(row, row + 1)), torch.from_numpy(TARGET.encode([text or "a"])))
        if text:
            assert told["logp"][row] == pytest.approx(-float(lost.detach()), abs=1e-4)
            ids = head.sought(torch.from_numpy(TARGET.encode([text])))[:, 0]
            each = head.likelihood(seen.select(slice(row, row + 1)), ids)
            assert told["logp"][row] == pytest.approx(float(each.sum().detach()) / int((ids > 0).sum()), abs=1e-4)


def test_in_haste_it_writes_greedily():
    head, seen = learned("writer", decoding={"beams": 4, "length_penalty": 0.0}), tokens()
    greedy = learned("writer", decoding={"beams": 1})
    head.quick = True
    assert torch.equal(head(seen), greedy(seen))


def test_nothing_but_allowed_answers_is_written():
    head = built({"name": "writer", **SMALL, "decoding": {"allowed": ["the cat", "dog"]}})
    said = head.decode(head(tokens()))["label"].tolist()
    assert set(said) <= {"the cat", "dog"}


def test_sampling_goes_by_its_seed():
    def said(seed: int) -> list[str]:
        head = built({"name": "writer", **SMALL, "decoding": {"temperature": 1.5, "seed": seed}})
        return head.decode(head(tokens()))["label"].tolist()

    assert said(0) == said(0)
    assert said(0) != said(1)


def test_samples_go_by_the_row_s_number():
    head = built({"name": "writer", **SMALL, "decoding": {"temperature": 1.5}})

    def said(rows: list[int]) -> list[str]:
        head.number(torch.tensor(rows))
        return head.decode(head(tokens().select(torch.tensor(rows))))["label"].tolist()

    assert said([3, 0, 5]) == [said([row])[0] for row in (3, 0, 5)]
    alike = tokens().select(torch.zeros(8, dtype=torch.int64))
    head.number(torch.arange(8))
    assert len(set(head.decode(head(alike))["label"].tolist())) > 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"decoding": {"beam": 3}}, r"Unknown option 'beam' of decoding\. Did you mean 'beams'"),
        ({"decoding": {"most": 99}}, "most is from 1 to"),
        ({"decoding": {"beams": 0}}, "beams"),
        ({"decoding": {"allowed": ["a zebra"]}}, "The allowed answer 'a zebra' cannot be written"),
        ({"decoding": {"allowed": "dog"}}, "allowed is a list of answers"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_said(options: dict, match: str):
    with pytest.raises(BadArgument, match=match):
        built({"name": "writer", **SMALL, **options})


def test_only_texts_are_written():
    assert HEADS.load("writer").answers[0].__name__ == "TextTarget"
    assert fitted("y", "text", ["a"]).head == "writer"


def test_captions_of_several_references_are_written_by_two_voices():
    captions = fitted("y", "text", [["a black dog runs", "the dog runs on grass"]] * 3)
    assert captions.proposed == {"name": "writer", "voices": 2}
    short = {"name": "writer", "units": 128, "depth": 1, "dropout": 0.1, "smoothing": 0.0}
    assert fitted("y", "text", [["yes", "yes"]] * 3).proposed == short
    assert fitted("y", "text", ["a black dog runs over the grass"] * 3).proposed == "writer"
    head = built({"name": "writer", **SMALL, "voices": 2})
    head.solo()
    alone = built({"name": "writer", **SMALL})
    assert head.state_dict().keys() == alone.state_dict().keys()
