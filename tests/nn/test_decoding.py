"""Decoding: beams against every text there is, the same words whatever stands beside a row, closed answers, noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from tiny_decoders import FOUR, WORDS, Chain, Fixed, built, every_decoder, example, lively
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn import decoding
from polymodal.nn.decoding import Decoding, Written, choice_scores, decode, drafts, likelihood
from polymodal.nn.layers.decoder import PrefixLM, TransformerDecoder
from polymodal.nn.layers.state import BEGIN, END, PAD, UNKNOWN, Decoder
from polymodal.nn.trie import Trie

WAYS = {
    "greedy": Decoding(most=9),
    "beams": Decoding(beams=3, most=9),
    "sampled": Decoding(temperature=1.0, most=9),
    "nucleus": Decoding(temperature=1.5, top_p=0.8, top_k=5, most=9),
    "no repeat": Decoding(beams=2, no_repeat=1, most=6),
}
every_way = pytest.mark.parametrize("how", WAYS.values(), ids=list(WAYS))


NOTHING = torch.zeros(1, 1, FOUR), torch.ones(1, 1, dtype=torch.bool)


def padded(written: Written, length: int) -> Tensor:
    return F.pad(written.ids, (0, length - written.ids.shape[1]), value=PAD)


def texts(written: Written) -> list[list[int]]:
    return [[word for word in row if word != PAD] for row in written.ids.tolist()]


@every_decoder
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.5])
def test_a_wide_beam_search_finds_the_best_of_all_texts(kind: type[Decoder], penalty: float):
    every = [[*words, END] for n in range(4) for words in product(range(4, FOUR), repeat=n)]
    texts = torch.tensor([text + [PAD] * (4 - len(text)) for text in every])
    length = (texts != PAD).sum(1)
    for seed in range(3):
        torch.manual_seed(seed)
        decoder = built(kind, FOUR, spread=0.5)
        _, context, mask = example(rows=3)
        score = likelihood(decoder, texts.expand(3, -1, -1), context, mask).sum(-1) / length**penalty
        found = decode(decoder, context, mask, Decoding(beams=400, most=4, length_penalty=penalty))
        assert torch.equal(padded(found, 4), texts[score.argmax(1)])


@every_decoder
def test_one_beam_is_greedy(kind: type[Decoder]):
    for seed in range(5):
        torch.manual_seed(seed)
        decoder = built(kind, spread=0.4)
        _, context, mask = example(rows=6)
        how = Decoding(most=8, no_repeat=2)
        one = decode(decoder, context, mask, how)
        with torch.no_grad():
            beam = decoding._first(decoding._beams(decoder, decoder.start(context, mask), how))
        assert torch.equal(one.ids, beam.ids)
        torch.testing.assert_close(one.logp, beam.logp)


@every_decoder
@every_way
def test_words_do_not_hang_on_what_stands_beside_a_row(kind: type[Decoder], how: Decoding):
    decoder = lively(kind)
    _, context, mask = example(rows=8)
    whole = padded(decode(decoder, context, mask, how), 9)
    assert len(set(map(tuple, whole.tolist()))) > 2
    assert (whole == END).any()
    for row in range(8):
        alone = decode(decoder, context[row : row + 1], mask[row : row + 1], how, [row])
        assert torch.equal(padded(alone, 9)[0], whole[row])
    order = torch.tensor([5, 2, 7, 0])
    some = decode(decoder, context[order], mask[order], how, order.tolist())
    assert torch.equal(padded(some, 9), whole[order])
    wide = decode(decoder, F.pad(context, (0, 0, 0, 5)), F.pad(mask, (0, 5)), how)
    assert torch.equal(padded(wide, 9), whole)


@every_decoder
@every_way
def test_what_is_told_of_words_is_their_likelihood(kind: type[Decoder], how: Decoding):
    decoder = built(kind)
    _, context, mask = example(rows=6)
    written = decode(decoder, context, mask, how)
    torch.testing.assert_close(written.logp, likelihood(decoder, written.ids, context, mask), atol=1e-5, rtol=1e-4)
    assert not written.ids[written.ids == PAD].any()
    assert written.logp[written.ids == PAD].eq(0).all()
    longer = F.pad(written.ids, (0, 3), value=PAD)
    torch.testing.assert_close(likelihood(decoder, longer, context, mask).sum(1), written.logp.sum(1))


def test_words_stop_at_end_and_nothing_but_words_is_written():
    context, mask = torch.randn(200, 1, WORDS), torch.ones(200, 1, dtype=torch.bool)
    context[..., [PAD, BEGIN, UNKNOWN]] += 9  # by far the likeliest
    written = decode(Fixed(WORDS), context, mask, Decoding(temperature=1.0, most=12))
    ended = written.ids.eq(END).cumsum(1)
    assert ended.max() == 1
    assert written.ids[(ended - written.ids.eq(END).long()) > 0].eq(PAD).all()
    assert not ((written.ids == BEGIN) | (written.ids == UNKNOWN)).any()
    assert written.ids[~ended.bool()].ne(PAD).all()
    for how in (Decoding(most=3), Decoding(beams=4, most=3)):
        written = decode(Fixed(WORDS), context, mask, how)
        assert {word for text in texts(written) for word in text} <= {END, *range(4, WORDS)}


def test_beams_find_what_greedy_walks_past():
    # 4 is likelier at first, but what follows 5 is certain.
    decoder = Chain(
        {BEGIN: {4: 0.55, 5: 0.45}, 4: {6: 0.4, 7: 0.35, END: 0.25}, 5: {END: 1}, 6: {END: 0.5}, 7: {END: 1}}
    )
    assert texts(decode(decoder, *NOTHING, Decoding(length_penalty=0.0)))[0][:2] == [4, 6]
    assert texts(decode(decoder, *NOTHING, Decoding(beams=2, length_penalty=0.0))) == [[5, END]]


def test_a_length_penalty_prefers_longer_texts_as_it_says():
    decoder = Chain({BEGIN: {4: 0.4, END: 0.35}, 4: {5: 0.8}, 5: {6: 0.8}, 6: {END: 0.9}})
    short, long = torch.tensor(0.35).log(), torch.tensor([0.4, 0.8, 0.8, 0.9]).log().sum()
    for penalty in (0.0, 0.3, 1.0):
        wanted = [END] if short > long / 4**penalty else [4, 5, 6, END]
        assert texts(decode(decoder, *NOTHING, Decoding(beams=2, length_penalty=penalty))) == [wanted]
    assert short > long
    assert short < long / 4


def test_a_beam_that_ended_keeps_its_score_while_others_go_on():
    # [END] is found first and stays the best, though the search goes on for two words.
    decoder = Chain({BEGIN: {END: 0.6, 4: 0.4}, 4: {5: 1.0}, 5: {END: 1.0}})
    written = decode(decoder, *NOTHING, Decoding(beams=3, length_penalty=0.1))
    assert texts(written) == [[END]]
    assert written.logp.item() == pytest.approx(torch.tensor(0.6).log().item(), abs=1e-5)


def test_a_cut_text_is_taken_only_where_none_ended():
    endless = {BEGIN: {4: 0.9, 5: 0.01}, 4: {4: 0.99, END: 1e-3}, 5: {END: 0.5}}
    assert texts(decode(Chain(endless), *NOTHING, Decoding(most=3)))[0] == [4, 4, 4]
    assert texts(decode(Chain(endless), *NOTHING, Decoding(beams=3, most=3)))[0][-1] == END
    never = {BEGIN: {4: 1.0}, 4: {4: 0.5, 5: 0.4}, 5: {4: 0.9}}
    found = decode(Chain(never), *NOTHING, Decoding(beams=2, most=4, least=3))
    assert len(texts(found)[0]) == 4
    assert END not in texts(found)[0]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_words_in_a_row_come_twice(n: int, beams: int):
    decoder = built(TransformerDecoder)
    _, context, mask = example(rows=6)
    ways = (Decoding(beams=beams, most=20, least=12, no_repeat=no_repeat) for no_repeat in (0, n))
    plain, held = (decode(decoder, context, mask, how) for how in ways)

    def repeats(text: list[int]) -> bool:
        words = [word for word in text if word != END]
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        return len(set(grams)) < len(grams)

    assert any(map(repeats, texts(plain)))
    assert not any(map(repeats, texts(held)))


def test_least_and_most_bound_the_length_and_end_comes_where_nothing_else_may():
    decoder = Fixed(FOUR)
    context = torch.zeros(3, 1, FOUR)
    context[..., END] = 9
    mask = torch.ones(3, 1, dtype=torch.bool)
    for beams in (1, 2):
        for least in (0, 2, 4):
            found = texts(decode(decoder, context, mask, Decoding(beams=beams, least=least, most=5)))
            assert all(len(text) == least + 1 for text in found)
        # Four words, none twice: before the sixth word nothing but END is left.
        found = texts(decode(decoder, context, mask, Decoding(beams=beams, no_repeat=1, least=6, most=9)))
        assert all(sorted(t) == [END, 4, 5, 6, 7] and t[-1] == END for t in found)


@every_decoder
def test_allowed_answers_are_all_that_is_written(kind: type[Decoder]):
    answers = [[5, 6], [5, 7, 8], [9], [5]]
    decoder = built(kind)
    _, context, mask = example(rows=40)
    rows = list(range(40))
    for how in (
        Decoding(most=4, allowed=Trie(answers)),
        *(Decoding(temperature=t, most=4, allowed=Trie(answers)) for t in (0.1, 1.0, 100.0)),
        *(Decoding(beams=b, most=6, allowed=Trie(answers)) for b in (2, 9)),
    ):
        found = texts(decode(decoder, context, mask, how, rows))
        assert all(text[-1] == END and text[:-1] in answers for text in found)
    hot = Decoding(temperature=100.0, most=4, allowed=Trie(answers))
    assert set(map(tuple, texts(decode(decoder, context, mask, hot)))) == {(*a, END) for a in answers}
    for way in ({}, {"beams": 3}, {"temperature": 1.0}):
        forced = decode(decoder, context, mask, Decoding(most=5, allowed=Trie([[9, 4, 9]]), **way))
        assert texts(forced) == [[9, 4, 9, END]] * 40
    # As many beams as answers: the likeliest of them, by the decoder's own likelihood.
    choices = torch.tensor([[*a, END] + [PAD] * (3 - len(a)) for a in answers])
    best = choice_scores(decoder, choices, context, mask, "sum").argmax(1).tolist()
    found = texts(decode(decoder, context, mask, Decoding(beams=4, most=4, length_penalty=0.0, allowed=Trie(answers))))
    assert found == [[*answers[i], END] for i in best]
    # Or each of them scored: the sum agrees with the search, the gain over not seeing need not.
    for rule in ("sum", "mean", "pmi"):
        best = choice_scores(decoder, choices, context, mask, rule).argmax(1).tolist()
        written = decode(decoder, context, mask, Decoding(most=4, allowed=Trie(answers), rule=rule))
        assert texts(written) == [[*answers[i], END] for i in best]
        torch.testing.assert_close(written.logp, likelihood(decoder, written.ids, context, mask))


def test_words_are_sampled_as_often_as_they_are_likely():
    p = torch.tensor([0.0, 0.0, 0.1, 0.0, 0.4, 0.3, 0.15, 0.05])
    context = p.clamp(min=1e-9).log().expand(4000, 1, -1)
    mask = torch.ones(4000, 1, dtype=torch.bool)

    def shares(**options) -> Tensor:
        written = decode(Fixed(FOUR), context, mask, Decoding(most=1, **options))
        return torch.bincount(written.ids[:, 0], minlength=FOUR) / 4000

    def close(found: Tensor, wanted: Tensor) -> None:
        wanted = wanted / wanted.sum()
        assert ((found - wanted).abs() <= 4 * (wanted * (1 - wanted) / 4000).sqrt()).all()

    close(shares(temperature=1.0), p)
    close(shares(temperature=1.0, seed=3), p)
    close(shares(temperature=2.0), p.sqrt())
    close(shares(temperature=0.5), p.square())
    close(shares(temperature=1.0, top_k=2), p * (p > 0.2))
    close(shares(temperature=1.0, top_p=0.69), p * (p > 0.2))
    close(shares(temperature=1.0, top_p=0.71), p * (p > 0.12))
    close(shares(temperature=1.0, top_p=0.01), p * (p > 0.35))


def test_rows_and_seeds_have_noise_of_their_own():
    context, mask = torch.zeros(6, 1, WORDS), torch.ones(6, 1, dtype=torch.bool)
    context[..., END] = -9
    drawn = [decode(Fixed(WORDS), context, mask, Decoding(temperature=1.0, most=8, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0].ids, drawn[1].ids)
    every = [tuple(t) for written in drawn[1:] for t in texts(written)]
    assert len(set(every)) == 12
    same = decode(Fixed(WORDS), context, mask, Decoding(temperature=1.0, most=8), [4, 4, 4, 2, 2, 2])
    assert len(set(map(tuple, texts(same)))) == 2
    assert texts(same)[0] == texts(drawn[0])[4]


@pytest.mark.parametrize("kind", [TransformerDecoder, PrefixLM], ids=lambda kind: kind.__name__)
def test_choices_are_scored_by_sum_mean_and_gain(kind: type[Decoder]):
    decoder = built(kind)
    _, context, mask = example(rows=3)
    choices = torch.tensor([[5, END, PAD], [6, 7, END], [PAD, PAD, PAD]])
    told = torch.stack([likelihood(decoder, choices[k].expand(3, -1), context, mask).sum(1) for k in range(2)], 1)
    none = torch.zeros_like(mask)
    alone = torch.stack([likelihood(decoder, choices[k].expand(3, -1), context, none).sum(1) for k in range(2)], 1)
    wanted = {"sum": told, "mean": told / torch.tensor([2, 3]), "pmi": told - alone}
    for rule, scores in wanted.items():
        found = choice_scores(decoder, choices, context, mask, rule)
        torch.testing.assert_close(found[:, :2], scores)
        assert (found[:, 2] == -torch.inf).all()
        torch.testing.assert_close(choice_scores(decoder, choices.expand(3, -1, -1), context, mask, rule), found)
    assert choice_scores(decoder, choices[:2], context, mask, "pmi")[-1].abs().max() < 1e-5  # it saw nothing
    with pytest.raises(BadArgument, match="Unknown rule 'pim'.*Did you mean 'pmi'"):
        Decoding(allowed=Trie([[9]]), rule="pim")
    for options in ({}, {"allowed": Trie([[9]]), "beams": 3}, {"allowed": Trie([[9]]), "temperature": 1.0}):
        with pytest.raises(BadArgument, match="scores every `allowed` answer"):
            Decoding(rule="pmi", **options)


def test_no_row_gives_no_words_and_the_mode_is_given_back():
    decoder = built(TransformerDecoder, dropout=0.5).train()
    assert decode(decoder, torch.zeros(0, 3, 6), torch.zeros(0, 3, dtype=torch.bool)).ids.shape == (0, 1)
    _, context, mask = example()
    written = decode(decoder, context, mask)
    assert decoder.training
    assert torch.equal(written.ids, decode(decoder.eval(), context, mask).ids)
    assert not decoder.training
    assert not written.logp.requires_grad


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 0}, "beams must be a whole number of at least 1; got 0"),
        ({"most": 2.5}, "most must be a whole number of at least 1; got 2.5"),
        ({"no_repeat": -1}, "no_repeat must be a whole number of at least 0; got -1"),
        ({"seed": True}, "seed must be a whole number"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"temperature": float("nan")}, "temperature must be at least 0"),
        ({"top_p": 0.0, "temperature": 1.0}, "top_p must be above 0 and at most 1"),
        ({"top_k": 5}, "give a temperature above 0"),
        ({"top_p": 0.9}, "give a temperature above 0"),
        ({"beams": 3, "temperature": 1.0}, "A beam search samples nothing"),
        ({"least": 5, "most": 5}, "least=5 words and END are more than most=5"),
        ({"length_penalty": -0.5}, "length_penalty must be at least 0"),
        ({"allowed": Trie([[5, 6, 7]]), "most": 3}, "has 4 ids with END; most=3 cuts it. Give most=4"),
        ({"allowed": Trie([[5]]), "no_repeat": 2}, "leave no_repeat and least at 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict, says: str):
    with pytest.raises(BadArgument, match=says):
        Decoding(**options)


def test_an_answer_of_unknown_words_is_refused():
    _, context, mask = example()
    with pytest.raises(BadArgument, match="An allowed answer has the id 40; this decoder's words end at 10"):
        decode(built(TransformerDecoder), context, mask, Decoding(allowed=Trie([[5, 40]])))


@every_decoder
def test_drafts_are_the_best_texts_that_there_are(kind: type[Decoder]):
    every = [[*words, END] for n in range(3) for words in product(range(4, FOUR), repeat=n)]
    texts = torch.tensor([text + [PAD] * (3 - len(text)) for text in every])
    torch.manual_seed(0)
    decoder = built(kind, FOUR, spread=0.5)
    _, context, mask = example(rows=3)
    told = likelihood(decoder, texts.expand(3, -1, -1), context, mask)
    best = (told.sum(-1) / (texts != PAD).sum(1)).topk(4, dim=1).indices
    how = Decoding(beams=400, drafts=4, most=3, length_penalty=1.0)
    found = drafts(decoder, context, mask, how)
    assert torch.equal(found.ids, texts[best])
    torch.testing.assert_close(found.logp, told.gather(1, best[..., None].expand(-1, -1, 3)))
    assert torch.equal(found.ids[:, 0], padded(decode(decoder, context, mask, how), 3))
    closed = drafts(decoder, context, mask, replace(how, allowed=Trie([[4], [5]])))
    assert (closed.ids[:, 2:] == PAD).all(), "only two answers are allowed"
    assert (closed.ids[:, :2] != PAD).any(-1).all()
