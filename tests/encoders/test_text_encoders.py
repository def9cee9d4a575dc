"""Text encoders: hashed n-grams against plain Python, words as tokens, typing errors, padding."""

from itertools import pairwise

import pytest
import torch

from polymodal.encoders import ENCODERS
from polymodal.encoders.ngrams import tf_idf
from polymodal.encoders.segments import pool_segments, segment_spans, segments, typing_errors
from polymodal.encoders.text_tfidf import TextTfidf

NAMES = ("text_tfidf", "text_bilstm", "text_transformer")
TEXTS = ["it is four", "i", "no no no", "twwo two", "a bc def ghij klmno pqrstu"]
LENGTH = 32


def letters(texts=TEXTS, length=LENGTH):
    """Characters as the text processor gives them: a blank belongs to the word behind it; ids are code points."""
    ids, word = torch.zeros(len(texts), length, dtype=torch.int32), torch.zeros(len(texts), length, dtype=torch.int16)
    for row, text in enumerate(texts):
        for i, c in enumerate(text):
            ids[row, i], word[row, i] = ord(c), text[: i + 1].count(" ")
    place = torch.arange(length).expand(len(texts), -1)
    spans = torch.stack([place, place + 1], dim=2) * (ids != 0)[..., None]
    return {"ids": ids, "word": word, "spans": spans.int()}


def facts(level="characters"):
    return {"level": level, "vocabulary": 128, "length": LENGTH, "space": 32 if level == "characters" else None}


def grams(text, longest=5):
    """What the bag of a text of characters must hold, by plain Python."""
    padded, words, bag = f" {text} ", text.split(), []
    for i in range(len(padded)):
        for n in range(1, longest + 1):
            run = padded[i : i + n]
            if len(run) == n and run != " " and " " not in run[1:-1]:
                bag.append(("gram", run))
    bag += [("word", w) for w in words]
    bag += [("pair", *pair) for pair in pairwise(words)]
    bag += [("word", w[:i] + w[i + 1 :]) for w in words for i in range(len(w))]
    return bag


def test_hashes_are_the_n_grams_words_pairs_and_words_without_a_letter():
    encoder = TextTfidf(facts(), 4, features=2**20)
    slots, exists, _ = encoder._slots(letters())
    for row, text in enumerate(TEXTS):
        bag = grams(text)
        found = slots[row][exists[row]].tolist()
        assert len(found) == len(bag)
        kinds = {("pair", *g[1:]) if g[0] == "pair" else g for g in bag}
        assert len(set(found)) == len(kinds), "equal n-grams share a slot, different ones do not"
    of = {text: set(slots[row][exists[row]].tolist()) for row, text in enumerate(TEXTS)}
    shared = set(grams(TEXTS[0])) & set(grams(TEXTS[4]))
    assert len(of[TEXTS[0]] & of[TEXTS[4]]) == len(shared)


def test_a_misspelling_meets_its_word():
    encoder = TextTfidf(facts(), 4, features=2**20, longest=1)
    slots, exists, _ = encoder._slots(letters(["four", "fuor", "seven"]))
    four, fuor, seven = (set(slots[row][exists[row]].tolist()) for row in range(3))
    singles = set("four")
    assert len(four & fuor) > len(singles), "they share a form with one letter dropped"
    assert not four & seven


def test_subword_n_grams_run_on_and_words_are_found():
    inputs = letters(["abcd"])
    inputs["word"][0, :4] = torch.tensor([0, 0, 1, 1])
    encoder = TextTfidf(facts("subwords"), 4, longest=2, features=2**20)
    exists = encoder._slots(inputs)[1]
    assert int(exists.sum()) == 4 + 3 + 2 + 1  # tokens, pairs of tokens, words, pairs of words


def test_weights_are_sublinear_tf_idf_of_unit_length():
    encoder = TextTfidf(facts(), 4, features=8)
    encoder.idf.copy_(torch.arange(1.0, 9.0))
    slots = torch.tensor([[3, 3, 5, 0], [1, 1, 1, 1]])
    exists = torch.tensor([[True, True, True, False], [True, False, False, False]])
    weight = tf_idf(slots, exists, encoder.idf)
    three, five = (1 + torch.tensor(2.0).log()) * 4, torch.tensor(6.0)
    norm = (three**2 + five**2).sqrt()
    assert torch.allclose(weight[0], torch.stack([three / 2, three / 2, five, torch.tensor(0.0)]) / norm)
    assert weight[1].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_idf_counts_texts_and_drops_rare_slots():
    encoder = TextTfidf(facts(), 4, features=2**20, rare=2)
    encoder.fit_statistics(letters())
    slots, exists, _ = encoder._slots(letters())
    count = torch.zeros(2**20)
    for row in range(len(TEXTS)):
        count[slots[row][exists[row]].unique()] += 1
    assert (encoder.idf[count < 2] == 0).all()
    assert torch.allclose(encoder.idf[count >= 2], (6 / (1 + count[count >= 2])).log() + 1)


def test_parts_of_the_bag_add_up():
    encoder = TextTfidf(facts(), 6).eval()
    tokens = encoder(letters())
    assert torch.allclose(tokens.x.sum(1), tokens.pooled, atol=1e-5)
    assert tokens.mask.sum(1).tolist() == [3, 1, 3, 2, 6]


@pytest.mark.parametrize("name", NAMES)
def test_a_token_a_word_with_its_span(name):
    tokens = ENCODERS.build(name, facts(), 8).eval()(letters())
    spans = tokens.where[0, :3].long().tolist()
    assert [TEXTS[0][a:b].strip() for a, b in spans] == ["it", "is", "four"]
    assert tokens.mask.sum(1).tolist() == [3, 1, 3, 2, 6]


@pytest.mark.parametrize("name", NAMES)
def test_many_words_share_few_tokens(name):
    texts = ["a b c d e f g h i j k l m n o p"[:31]]
    encoder = ENCODERS.build({"name": name, "tokens": 4}, facts(), 8).eval()
    tokens = encoder(letters(texts))
    assert tokens.mask.tolist() == [[True] * 4]
    spans = tokens.where[0].long().tolist()
    assert "".join(texts[0][a:b] for a, b in spans) == texts[0]


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_neighbours_change_nothing(name):
    encoder = ENCODERS.build(name, facts(), 8).eval()
    alone = encoder({k: v[1:2] for k, v in letters().items()})
    together = encoder(letters())
    assert torch.allclose(alone.pooled[0], together.pooled[1], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_drawn_in_training_only(name):
    encoder = ENCODERS.build({"name": name, "noise": 0.5}, facts(), 8)
    assert torch.equal(encoder.eval()(letters()).pooled, encoder(letters()).pooled)
    quiet = ENCODERS.build({"name": name, "noise": 0.0}, facts(), 8)
    assert quiet.augment(letters())["ids"].equal(letters()["ids"])
    assert not encoder.augment(letters())["ids"].equal(letters()["ids"])


def test_typing_errors_are_of_four_kinds_and_keep_texts():
    texts = ["abcdefghijklmnopqrst"] * 400
    inputs = letters(texts)
    changed = typing_errors(inputs, 0.1)
    real = changed["ids"] != 0
    assert real.any(1).all()
    lengths = real.sum(1)
    assert (lengths < 20).any()
    assert (lengths > 20).any()
    assert lengths.float().mean().item() == pytest.approx(20, abs=0.3)
    assert (real[:, 1:] <= real[:, :-1]).all(), "no holes"
    pairs = changed["ids"][:, 1:] - changed["ids"][:, :-1]
    assert ((pairs == 0) & real[:, 1:]).any(), "doubled"
    assert (pairs == -1).any(), "swapped"
    same = (changed["spans"][..., 0] + ord("a") == changed["ids"]) | ~real
    assert 0.01 < (~same).float().sum() / real.sum() < 0.05, "replaced, and all else still points to its letter"


def test_texts_of_one_letter_survive_typing_errors():
    assert (typing_errors(letters(["a"] * 200), 0.99)["ids"] != 0).any(1).all()


def test_segments_pool_and_span():
    word = torch.tensor([[0, 0, 1, 2, 0]])
    real = torch.tensor([[True, True, True, True, False]])
    segment = segments(word, real, 2)
    assert segment.tolist() == [[0, 0, 0, 1, 1]]
    x = torch.tensor([[[1.0], [3.0], [5.0], [7.0], [99.0]]])
    pooled, mask = pool_segments(x, segment, real, 2)
    assert pooled.flatten().tolist() == [3.0, 7.0]
    assert mask.all()
    spans = torch.tensor([[[0, 2], [2, 3], [4, 6], [7, 9], [0, 0]]])
    assert segment_spans(spans, segment, real, 2).tolist() == [[[0.0, 6.0], [7.0, 9.0]]]
    assert segment_spans(spans, segment, torch.zeros_like(real), 2).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]
