"""Decoders: one step after the other is all at once, what is not seen is not read, many texts about one context."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny_decoders import WIDTH, WORDS, Pair, built, every_decoder, example, members
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.decoding import Decoding, decode, likelihood
from polymodal.nn.layers.attention import attend, attend_back, prefix_mask
from polymodal.nn.layers.decoder import Decoder, PrefixLM, RecurrentDecoder, TransformerDecoder
from polymodal.nn.layers.state import END, PAD


def test_prefix_mask_is_the_written_rule():
    mask = torch.rand(3, 6) < 0.7
    found = prefix_mask(mask, 4)
    for b in range(3):
        for i in range(6):
            for j in range(6):
                assert found[b, i, j] == (mask[b, j] and (j <= i or j < 4))
    assert torch.equal(prefix_mask(mask, 4, 2), found[:, -2:])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("queries", [1, 3, 5])
def test_attention_back_is_attention_under_a_causal_mask(queries: int, masked: bool):
    query, key, value = (torch.randn(2, 2, n, 4) for n in (queries, 5, 5))
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 0] = not masked or queries == 5  # a place that asks is real
    wanted = attend(query, key, value, prefix_mask(mask, 0, queries))
    torch.testing.assert_close(attend_back(query, key, value, mask if masked else None), wanted)


@every_decoder
def test_step_by_step_is_all_at_once(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    whole = decoder(ids, context, mask)
    state = decoder.start(context, mask)
    first, state = decoder.read(ids[:, :2], state)
    steps = [first[:, 0], first[:, 1]]
    for t in range(2, ids.shape[1]):
        scores, state = decoder.step(ids[:, t], state)
        steps.append(scores)
    assert state.written == ids.shape[1]
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    rest, _ = decoder.read(ids[:, 2:], decoder.read(ids[:, :2], decoder.start(context, mask))[1])
    torch.testing.assert_close(rest, whole[:, 2:])


@every_decoder
def test_a_place_sees_itself_and_what_stands_before_it(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    before = decoder(ids, context, mask)
    for place in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = 4 + (ids[:, place] - 3) % (WORDS - 4)
        after = decoder(changed, context, mask)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert (after[:, place] - before[:, place]).abs().amax(1).min() > 1e-3


@every_decoder
def test_every_real_token_of_the_context_counts_and_no_other(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    before = decoder(ids, context, mask)
    torch.testing.assert_close(decoder(ids, torch.where(mask[..., None], context, 9.0), mask), before)
    for token in range(mask.shape[1]):
        moved = context.clone()
        moved[:, token] = torch.randn(len(ids), 6)
        apart = (decoder(ids, moved, mask) - before).abs().amax((1, 2))
        assert apart[mask[:, token]].min() > 1e-5
        assert not (apart[~mask[:, token]] > 1e-5).any()


@every_decoder
def test_a_row_that_sees_nothing_is_the_language_model_alone(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    alone = decoder(ids[-1:], context[-1:, :0], mask[-1:, :0])
    assert alone.isfinite().all()
    torch.testing.assert_close(decoder(ids, context, mask)[-1:], alone)
    assert decoder.weights(ids, context, mask)[-1].abs().sum() == 0
    decoder.train()
    decoder(ids, context, torch.zeros_like(mask)).square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())


@every_decoder
def test_padding_of_ids_and_context_changes_nothing(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    before = decoder(ids, context, mask)
    longer = F.pad(ids, (0, 3), value=PAD)
    wider, seen = F.pad(context, (0, 0, 0, 4)), F.pad(mask, (0, 4))
    torch.testing.assert_close(decoder(longer, wider, seen)[:, : ids.shape[1]], before)
    apart = [decoder(ids[i : i + 1], context[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
    torch.testing.assert_close(torch.cat(apart), before)


@every_decoder
def test_several_texts_about_one_context_are_each_as_if_alone(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example(rows=6)
    context, mask = context[:3], mask[:3].clone()
    mask[2] = False
    together = ids.view(3, 2, -1)
    repeated = context.repeat_interleave(2, 0), mask.repeat_interleave(2, 0)
    torch.testing.assert_close(decoder(together, context, mask).flatten(0, 1), decoder(ids, *repeated))
    torch.testing.assert_close(decoder.weights(together, context, mask).flatten(0, 1), decoder.weights(ids, *repeated))
    told = likelihood(decoder, together, context, mask)
    torch.testing.assert_close(told.flatten(0, 1), likelihood(decoder, ids, *repeated))


@every_decoder
def test_weights_are_of_real_tokens(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    weights = decoder.weights(ids, context, mask)
    assert weights.shape == (*ids.shape, mask.shape[1])
    assert not weights.masked_select(~mask[:, None].expand_as(weights)).any()
    total = weights[:-1].sum(-1)
    if kind is PrefixLM:  # whose words attend to words too
        assert ((total > 0) & (total < 1)).all()
    else:
        torch.testing.assert_close(total, torch.ones_like(total))


@every_decoder
def test_states_are_chosen_reordered_kept_and_spread(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example()
    _, state = decoder.read(ids[:, :3], decoder.start(context, mask))
    word = ids[:, 3]
    wanted = decoder.step(word, state)[0]
    rows = torch.tensor([2, 0, 2])
    torch.testing.assert_close(decoder.step(word[rows], state.select(rows))[0], wanted[rows])
    torch.testing.assert_close(decoder.step(word[rows], state.keep(rows))[0], wanted[rows])
    spread = state.spread(2)
    twice = decoder.step(word.repeat_interleave(2), spread)[0]
    torch.testing.assert_close(twice, wanted.repeat_interleave(2, 0))
    # Two texts a context that differ, the first of each left out.
    both = torch.stack([word, 4 + (word - 3) % (WORDS - 4)], 1).flatten()
    _, after = decoder.step(both, spread)
    second = torch.arange(1, 8, 2)
    nexts = ids[:, 4]
    wanted = decoder.step(nexts.repeat_interleave(2), after)[0][second]
    torch.testing.assert_close(decoder.step(nexts, after.reorder(second))[0], wanted)
    torch.testing.assert_close(decoder.step(nexts, after.select(second))[0], wanted)
    few = after.keep(torch.tensor([3, 1])).reorder(torch.tensor([1, 3]))
    torch.testing.assert_close(decoder.step(nexts[[3, 1]], few)[0], wanted[[3, 1]])


@every_decoder
def test_training_reaches_every_parameter(kind: type[Decoder]):
    decoder = built(kind, dropout=0.2).train()
    ids, context, mask = example(rows=8, length=6)
    loss = -likelihood(decoder, ids[:, 1:], context, mask).mean() + 0.1 * decoder.penalty()
    loss.backward()
    silent = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == [], silent
    places = getattr(decoder, "places", None)
    if places is not None:
        assert not places.grad[5:].any()
        assert places.grad[:5].any(1).all()


@every_decoder
def test_bfloat16_is_close(kind: type[Decoder]):
    decoder = built(kind)
    for one in members(decoder):
        torch.nn.init.normal_(one.embedding.weight, std=0.3)
    ids, context, mask = example()
    exact = likelihood(decoder, ids, context, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rough = likelihood(decoder, ids, context, mask)
    assert (exact - rough).abs().max() < 0.1


def test_the_prefix_lm_is_one_stack_under_one_mask():
    """Keys of the prefix held apart, and all places side by side, are the same network."""
    decoder = built(PrefixLM)
    ids, context, mask = example()
    x = torch.cat([decoder.enter(context), decoder.embedded(ids) + decoder.places[: ids.shape[1]]], 1)
    real = torch.cat([mask, torch.ones_like(ids, dtype=torch.bool)], 1)
    for block in decoder.blocks:
        x = block(x, prefix_mask(real, context.shape[1]))
    scores = decoder.scores(decoder.norm(x[:, context.shape[1] :]))
    torch.testing.assert_close(decoder(ids, context, mask), scores)


def test_the_penalty_is_the_written_formula_and_is_of_real_words_and_tokens():
    decoder = built(RecurrentDecoder, dropout=0.0)
    assert decoder.penalty() == 0
    ids, context, mask = example()
    ids[0, 3:] = PAD
    decoder.train()
    decoder(ids, context, mask)
    weights = decoder.weights(ids, context, mask).detach()
    wanted = []
    for b in range(len(ids)):
        length = int((ids[b] != PAD).sum())
        wanted.append(sum(float((1 - weights[b, :length, s].sum()) ** 2) for s in range(mask.shape[1]) if mask[b, s]))
    mean = sum(wanted) / len(wanted)
    assert decoder.penalty().item() == pytest.approx(mean, rel=1e-5)
    deepcopy(decoder)  # nothing of the last pass is held
    decoder(F.pad(ids, (0, 2), value=PAD), context, mask)
    assert decoder.penalty().item() == pytest.approx(mean, rel=1e-5)
    assert decoder.penalty() == 0, "it is told once"
    assert TransformerDecoder(WORDS, WIDTH, context_width=6).penalty() == 0


def test_the_context_has_a_norm_of_its_own():
    decoder = built(TransformerDecoder)
    block = decoder.blocks[0]
    x = torch.randn(2, 5, WIDTH)
    torch.testing.assert_close(block.hold(x).key, block.cross.hold(block.context_norm(x)).key)
    torch.nn.init.constant_(block.context_norm.bias, 1.0)  # moves the keys, and no query
    torch.testing.assert_close(block.hold(x).key, block.cross.hold(block.cross_norm(x) + 1).key)


@every_decoder
def test_a_few_steps_learn_to_tell_what_is_seen(kind: type[Decoder]):
    """Texts that say which of the tokens is marked: nothing but the context tells them apart."""
    torch.manual_seed(0)
    decoder = kind(WORDS, 32, context_width=6, dropout=0.0)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    mark = torch.randint(0, 6, (64,))
    context = torch.eye(6)[mark][:, None] * 3
    mask = torch.ones(64, 1, dtype=torch.bool)
    ids = torch.stack([4 + mark, 4 + mark, torch.full_like(mark, 2)], 1)
    for _ in range(60):
        optimizer.zero_grad()
        (-likelihood(decoder, ids, context, mask).mean()).backward()
        optimizer.step()
    assert torch.equal(decode(decoder, context, mask).ids, ids)


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="at least one word; got words=4"):
        TransformerDecoder(4, 8, context_width=6)
    with pytest.raises(BadArgument, match="width of 9 cannot be cut into 2 heads"):
        PrefixLM(9, 9, context_width=6, heads=2)
    with pytest.raises(BadArgument, match="dropout"):
        RecurrentDecoder(9, 8, context_width=6, dropout=1.0)
    decoder = built(TransformerDecoder, longest=4)
    ids, context, mask = example(length=5)
    with pytest.raises(BadArgument, match="at most 4 ids, BEGIN among them; got 5"):
        decoder(ids, context, mask)
    with pytest.raises(BadArgument, match="most=9 ids are asked for; this decoder writes at most 4"):
        decode(decoder, context, mask, Decoding(most=9))


@every_decoder
def test_losses_are_the_cross_entropy_of_real_words(kind: type[Decoder]):
    decoder = built(kind)
    ids, context, mask = example(rows=6)
    texts = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], END)], 1)
    texts[0, 2], texts[0, 3:], texts[1] = END, PAD, PAD
    told = decoder(torch.cat([ids[:, :1], texts[:, :-1]], 1), context, mask)
    for smoothing in (0.0, 0.2):
        wanted = F.cross_entropy(told.transpose(1, 2), texts, label_smoothing=smoothing, reduction="none")
        wanted = wanted.masked_fill(texts == PAD, 0.0)
        found = decoder.losses(texts, context, mask, smoothing=smoothing)
        torch.testing.assert_close(found, wanted)
        together = decoder.losses(texts.view(3, 2, -1), context[::2], mask[::2], smoothing=smoothing)
        again = decoder.losses(texts[::2], context[::2], mask[::2], smoothing=smoothing)
        torch.testing.assert_close(together[:, 0], again)
    assert not found[texts == PAD].any()
    assert not decoder.losses(torch.zeros_like(texts), context, mask).any()


def test_a_committee_says_the_mean_and_its_members_learn_apart():
    pair = built(Pair)
    ids, context, mask = example()
    each = torch.stack([one(ids, context, mask).softmax(-1) for one in pair.members])
    torch.testing.assert_close(pair(ids, context, mask).softmax(-1), each.mean(0))
    own = torch.stack([one.losses(ids, context, mask) for one in pair.members])
    assert (pair.losses(ids, context, mask) < own.mean(0) + 1e-5).all(), "the mean probability, in use"
    learning = built(Pair, dropout=0.0).train()
    own = torch.stack([one.losses(ids, context, mask, smoothing=0.1) for one in learning.members])
    torch.testing.assert_close(learning.losses(ids, context, mask, smoothing=0.1), own.mean(0))
