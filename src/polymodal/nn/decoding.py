"""From a decoder's scores to words: greedy, by beams, sampled, held to a set of answers, in several drafts; and how
likely words are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.nn.check import check_count
from polymodal.nn.layers.state import BEGIN, END, PAD, UNKNOWN, Decoder, State
from polymodal.nn.trie import Trie

NEVER = (PAD, BEGIN, UNKNOWN)  # are written by nobody
RULES = ("sum", "mean", "pmi")
SCORED = 1 << 24  # numbers that scores of answers take at once


@dataclass(frozen=True)
class Decoding:
    """How words are chosen.

    - `temperature` 0 takes the likeliest word, or with `beams` above 1 the text that a beam search finds; above 0 it
      samples from softmax(scores / temperature), of the `top_k` likeliest words (0: all) or of the fewest that hold
      `top_p` of the probability (nucleus sampling, Holtzman et al. 2020).
    - A beam search prefers the text with the highest log-probability / length^`length_penalty` (END counted). A text
      that was cut at `most` is taken only where none ended. Texts of a row are at an end when `beams` of them ended, or
      when no other can overtake the best.
    - `no_repeat` n: no n words in a row are written twice (Paulus et al. 2018); 0 lets them.
    - `least` words before END, at most `most` ids with END among them.
    - `allowed`: nothing is written but one of these answers.
    - `rule`: all `allowed` answers are scored, and the best is the answer, by the "sum" of its words'
      log-probabilities, their "mean", or "pmi", their sum less what it is without the context (Holtzman et al. 2021);
      "": word by word.
    - `drafts` above 1: whoever has something to choose by does so among that many texts of a beam search (`drafts`); 1:
      the first is what is written; 0: whoever has something to choose by knows what is best.
    - `seed`: of sampling; a row's words hang on it and on the row's number, not on what is decoded beside it.

    PAD, BEGIN and UNKNOWN are never written. Raises `BadArgument` for options that are out of range, that contradict
    one another, or that would change nothing.
    """

    beams: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 0.7
    no_repeat: int = 0
    least: int = 0
    most: int = 32
    allowed: Trie | None = None
    rule: str = ""
    drafts: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("beams", "most"):
            check_count(name, getattr(self, name))
        for name in ("top_k", "no_repeat", "least", "drafts", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise BadArgument(f"{name} must be a whole number of at least 0; got {value!r}.")
        check_range("[0, inf)", temperature=self.temperature, length_penalty=self.length_penalty)
        check_range("(0, 1]", top_p=self.top_p)
        if not self.temperature and (self.top_k or self.top_p < 1):
            raise BadArgument("top_k and top_p choose among sampled words: give a temperature above 0, such as 1.")
        if self.temperature and self.beams > 1:
            raise BadArgument(
                f"A beam search samples nothing: with beams={self.beams} leave temperature at 0, or sample by beams=1."
            )
        if self.temperature and self.drafts > 1:
            raise BadArgument(f"A sampled text is not chosen among drafts={self.drafts}: leave one of them out.")
        if self.least >= self.most:
            raise BadArgument(
                f"least={self.least} words and END are more than most={self.most} ids: lower least or raise most."
            )
        if self.rule:
            if self.rule not in RULES:
                raise BadArgument(f"Unknown rule {self.rule!r} of choosing by likelihood.{suggest(self.rule, RULES)}")
            if self.allowed is None or self.temperature or self.beams > 1 or self.drafts > 1:
                raise BadArgument(
                    f"rule={self.rule!r} scores every `allowed` answer: give these, and leave temperature, beams and "
                    "drafts out."
                )
        if self.allowed is not None:
            if self.no_repeat or self.least:
                raise BadArgument("`allowed` says what may be written: leave no_repeat and least at 0 beside it.")
            if self.allowed.longest > self.most:
                raise BadArgument(
                    f"The longest allowed answer has {self.allowed.longest} ids with END; most={self.most} cuts it. "
                    f"Give most={self.allowed.longest}."
                )


class Written(NamedTuple):
    """`ids` [B, L] int64: words, END unless cut, then PAD; `logp` [B, L]: their log-probabilities as `likelihood`
    tells them, of the decoder itself whatever was forbidden; 0 at PAD."""

    ids: Tensor
    logp: Tensor


@torch.no_grad()
def decode(
    decoder: Decoder, context: Tensor, mask: Tensor, how: Decoding | None = None, rows: Sequence[int] | None = None
) -> Written:
    """What `decoder` writes about each context [B, S, C] with its `mask` [B, S]. L is the longest text's length.

    `rows` are the numbers of the rows, by which sampling is seeded; None: 0 … B - 1. The decoder is in eval mode
    meanwhile. Raises `BadArgument` where `how` asks for more ids than the decoder reads, or for ids that it has not.
    """
    how = how or Decoding()
    _check_fits(decoder, how)
    if not len(mask):
        return Written(torch.empty(0, 1, dtype=torch.int64, device=mask.device), torch.empty(0, 1, device=mask.device))
    with _at_rest(decoder):
        if how.rule:
            return _likeliest(decoder, context, mask, how)
        state = decoder.start(context, mask)
        if how.beams > 1:
            return _first(_beams(decoder, state, how))
        return _one(decoder, state, how, range(len(mask)) if rows is None else rows)


@torch.no_grad()
def drafts(decoder: Decoder, context: Tensor, mask: Tensor, how: Decoding) -> Written:
    """The `how.drafts` best texts about each context that a beam search finds, with at least so many beams: ids and
    their log-probabilities [B, K, L], the best first. Where fewer ended, what is left is PAD throughout.

    The other arguments and errors are those of `decode`.
    """
    _check_fits(decoder, how)
    with _at_rest(decoder):
        search = replace(how, beams=max(how.beams, how.drafts))
        return _beams(decoder, decoder.start(context, mask), search, how.drafts)


def _check_fits(decoder: Decoder, how: Decoding) -> None:
    if decoder.longest is not None and how.most > decoder.longest:
        raise BadArgument(f"most={how.most} ids are asked for; this decoder writes at most {decoder.longest}.")
    if how.allowed is not None and how.allowed.words > decoder.words:
        raise BadArgument(
            f"An allowed answer has the id {how.allowed.words - 1}; this decoder's words end at {decoder.words - 1}."
        )


@contextmanager
def _at_rest(decoder: Decoder) -> Iterator[None]:
    """While the block runs, the decoder is in eval mode."""
    learning = decoder.training
    decoder.eval()
    try:
        yield
    finally:
        decoder.train(learning)


def _one(decoder: Decoder, state: State, how: Decoding, rows: Sequence[int]) -> Written:
    """One text a row, word by word."""
    device, count = state.seen[0].device, state.rows
    noise = row_draws(how, rows).to(device) if how.temperature else None
    ids = torch.full((count, how.most), PAD, device=device)
    logp = torch.zeros(count, how.most, device=device)
    last, open_ = torch.full((count,), BEGIN, device=device), torch.arange(count, device=device)
    nodes = torch.zeros_like(last)
    for t in range(how.most):
        scores, state = decoder.step(last, state)
        told = scores.float().log_softmax(-1)
        held = told.masked_fill(_forbidden(ids[open_, :t], nodes, told, how), -math.inf)
        last = held.argmax(-1) if noise is None else drawn(held, noise[open_, t], how)
        ids[open_, t], logp[open_, t] = last, told.gather(1, last[:, None])[:, 0]
        going = (last != END).nonzero()[:, 0]
        if not len(going):
            break
        if how.allowed is not None:
            nodes = how.allowed.follow(nodes, last)
        if len(going) < len(last):  # what has ended costs nothing any more
            last, nodes, open_, state = last[going], nodes[going], open_[going], state.keep(going)
    return _cut(ids, logp)


def _beams(decoder: Decoder, state: State, how: Decoding, count: int = 1) -> Written:
    """The best `count` texts a row that a beam search finds, [B, count, L], the best first."""
    device, rows, words = state.seen[0].device, state.rows, decoder.words
    best = Written(
        torch.full((rows, count, how.most), PAD, device=device), torch.zeros(rows, count, how.most, device=device)
    )
    open_, score = torch.arange(rows, device=device), torch.full((rows, count), -math.inf, device=device)
    ended = torch.zeros_like(open_)
    # Of the open rows and their beams, which are one at first: the sum, what was written, and where it led.
    total = torch.zeros(rows, 1, device=device)
    ids, logp = torch.empty(rows, 1, 0, dtype=torch.int64, device=device), torch.empty(rows, 1, 0, device=device)
    last, nodes = torch.full((rows,), BEGIN, device=device), torch.zeros_like(open_)
    for t in range(how.most):
        scores, state = decoder.step(last, state)
        told = scores.float().log_softmax(-1)
        held = told.masked_fill(_forbidden(ids.flatten(0, 1), nodes, told, how), -math.inf)
        sums = (total.flatten()[:, None] + held).view(len(open_), -1)
        # Twice as many as there are beams, so that as many go on where every beam offers its END too.
        value, place = sums.topk(min(2 * how.beams, sums.shape[1]))
        beam, word = place // words, place % words
        each = torch.cat([_of(ids, beam), word[..., None]], -1)
        told_each = torch.cat([_of(logp, beam), told.view(len(open_), -1).gather(1, place)[..., None]], -1)

        end = (word == END) & value.isfinite()
        end[:, how.beams :] = False
        worth = (value / (t + 1) ** how.length_penalty).masked_fill(~end, -math.inf)
        better = (worth.amax(1) > score[open_, -1]).nonzero()[:, 0]
        score[open_[better]] = _note(best, score, open_[better], worth[better], each[better], told_each[better])
        ended = ended + end.sum(1)

        total, order = value.masked_fill(word == END, -math.inf).topk(min(how.beams, value.shape[1]))
        ids, logp, last = _of(each, order), _of(told_each, order), word.gather(1, order).flatten()
        source = _flat(beam.gather(1, order), len(held) // len(open_))
        state = state.reorder(source)
        if how.allowed is not None:
            nodes = how.allowed.follow(nodes[source], last)
        else:
            nodes = nodes[source]
        # What goes on only loses: at best it ends as long as may be, without losing any more.
        done = (ended >= how.beams) | (score[open_, -1] >= total[:, 0] / how.most**how.length_penalty)
        if t + 1 == how.most:
            cut = (score[open_, 0] == -math.inf).nonzero()[:, 0]
            best.ids[open_[cut], 0], best.logp[open_[cut], 0] = ids[cut, 0], logp[cut, 0]
        going = (~done).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(open_):
            beams = total.shape[1]
            last, nodes = last.view(-1, beams)[going].flatten(), nodes.view(-1, beams)[going].flatten()
            open_, ended, total, ids, logp = open_[going], ended[going], total[going], ids[going], logp[going]
            state = state.keep(going)
    return _cut(*best)


def _of(values: Tensor, chosen: Tensor) -> Tensor:
    """[B, n, t] at `chosen` [B, k] of the n."""
    return values.gather(1, chosen[..., None].expand(-1, -1, values.shape[2]))


def _flat(beam: Tensor, beams: int) -> Tensor:
    """Numbers of rows [B · k] of what [B, k] counts from 0 in each of B, which had `beams` of them."""
    return (torch.arange(len(beam), device=beam.device)[:, None] * beams + beam).flatten()


def _note(best: Written, score: Tensor, rows: Tensor, worth: Tensor, ids: Tensor, logp: Tensor) -> Tensor:
    """Write those texts [K, n, t] down, worth [K, n] each, that are among the best of `rows` [K]; their scores."""
    count = score.shape[1]
    all_of = torch.cat([score[rows], worth], 1)
    order = all_of.argsort(dim=1, descending=True, stable=True)[:, :count]  # of two as good the earlier
    room = best.ids.shape[2] - ids.shape[2]
    for kept, new in ((best.ids, F.pad(ids, (0, room), value=PAD)), (best.logp, F.pad(logp, (0, room)))):
        kept[rows] = _of(torch.cat([kept[rows], new], 1), order)
    return all_of.gather(1, order)


def _first(written: Written) -> Written:
    return _cut(written.ids[:, 0], written.logp[:, 0])


def _cut(ids: Tensor, logp: Tensor) -> Written:
    length = int((ids != PAD).sum(-1).max())
    return Written(ids[..., :length], logp[..., :length])


def _forbidden(written: Tensor, nodes: Tensor, scores: Tensor, how: Decoding) -> Tensor:
    """[N, words] bool: what must not follow `written` [N, t], which in the trie leads to `nodes` [N]."""
    if how.allowed is not None:
        return ~how.allowed.mask(nodes, scores.shape[-1])
    out = torch.zeros_like(scores, dtype=torch.bool)
    for word in NEVER:  # one by one: a list would be a tensor of the CPU
        out[:, word] = True
    n, length = how.no_repeat, written.shape[1]
    if n and length >= n:
        seen = written.unfold(1, n, 1)  # [N, t - n + 1, n]
        again = (seen[..., :-1] == written[:, None, length - n + 1 :]).all(-1)
        out.scatter_(1, seen[..., -1].masked_fill(~again, PAD), True)  # PAD, which is forbidden already
    if length < how.least:  # END ends what has no other way on, even so
        out[:, END] = True
        out[:, END] = ~out.all(1)
    return out


def row_draws(how: Decoding, rows: Sequence[int]) -> Tensor:
    """[B, most] in [0, 1), each row from a generator of its own."""
    out = torch.empty(len(rows), how.most, dtype=torch.float64)
    for row, number in zip(out, rows, strict=True):
        digest = hashlib.blake2b(f"{how.seed} {int(number)}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
        row.uniform_(generator=generator)
    return out


def drawn(logp: Tensor, noise: Tensor, how: Decoding) -> Tensor:
    """One word a row, [N], from log-probabilities or logits [N, words] and a number in [0, 1) each."""
    scores = logp.double() / how.temperature
    order = scores.argsort(dim=-1, descending=True, stable=True)
    share = scores.gather(1, order).softmax(-1)
    if how.top_k:
        share[:, how.top_k :] = 0
        share /= share.sum(-1, keepdim=True)
    if how.top_p < 1:  # a word stays while those before it do not hold the share yet, so the first always does
        share = share.masked_fill(share.cumsum(-1) - share >= how.top_p, 0)
    heap = share.cumsum(-1)
    place = torch.searchsorted(heap, (noise * heap[:, -1])[:, None], right=True)[:, 0]
    return order.gather(1, place.minimum((share > 0).sum(-1) - 1)[:, None])[:, 0]


def likelihood(decoder: Decoder, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """log p(word | words before, context) of texts `ids` as `Written` has them, [B, L] or [B, R, L] of R texts about
    one context: of that shape, 0 at PAD. In the mode that the decoder is in."""
    return -decoder.losses(ids, context, mask)


def _likeliest(decoder: Decoder, context: Tensor, mask: Tensor, how: Decoding) -> Written:
    """Of the allowed answers the one with the highest score."""
    assert how.allowed is not None
    choices = how.allowed.answers.to(mask.device)
    few = max(1, SCORED // (len(mask) * choices.shape[1] * decoder.words))
    each = [choice_scores(decoder, part, context, mask, how.rule) for part in choices.split(few)]
    ids = choices[torch.cat(each, 1).argmax(1)]
    return _cut(ids, likelihood(decoder, ids, context, mask))


def choice_scores(decoder: Decoder, choices: Tensor, context: Tensor, mask: Tensor, rule: str = "mean") -> Tensor:
    """How well each of K answers fits each context, [B, K]: the greatest is the choice.

    `choices` ids as `Written` has them, [K, L] for all rows or [B, K, L]; a choice of nothing but PAD scores -inf.
    For `rule` see `Decoding`.
    """
    each = choices if choices.ndim == 3 else choices.expand(len(mask), *choices.shape)
    told = likelihood(decoder, each, context, mask).sum(-1)
    length = (each != PAD).sum(-1)
    if rule == "mean":
        told = told / length.clamp(min=1)
    if rule == "pmi":
        few = slice(None) if choices.ndim == 3 else slice(1)
        told = told - likelihood(decoder, each[few], context[few], torch.zeros_like(mask[few])).sum(-1)
    return told.masked_fill(length == 0, -math.inf)
