"""What heads have in common that write words, symbol by symbol."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.heads.base import Head
from polymodal.heads.choosing import NEIGHBOURS, Memory, Trial, told
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.decoding import Decoding, Written, decode, drafts, likelihood
from polymodal.nn.layers.state import END, PAD, UNKNOWN, Decoder
from polymodal.nn.layers.streams import LineUp
from polymodal.nn.precision import training_precision
from polymodal.nn.trie import Trie
from polymodal.targets.text import TextTarget

BEAMS = 3  # of longer answers in use
UNSEEN = 0.25  # of the rate of dropout: the share of rows that see nothing
AT_ONCE = 128  # rows that are written at a time
DRAFTS = 8  # of which one is chosen
JUDGED = 1000  # validation rows, at most, by which it is settled how one is chosen


class WritingHead(Head):
    """Abstract: writes a text about tokens, all of which the decoder may look at. An author builds `decoder`, calls
    `settle`, and where the decoder has symbols of its own writes `sought`, `coded` and `codes` too.

    Training predicts each symbol of each reference from those before it (teacher forcing), its probability smoothed by
    `smoothing` (Szegedy et al. 2016); what is computed of the tokens serves all of a row's references. With `dropout` a
    few rows see nothing, so that a row that lacks every stream is answered as most are. Between epochs it writes
    greedily, in use as `decoding` says: options of `nn.decoding.Decoding` by name, and `allowed`, a list of the answers
    that there are. Default: three beams, one for short answers.

    Of longer answers it may write several drafts and keep the one that is most like what was said of the training rows
    nearest to the pooled vector (`heads.choosing.Memory`), which the model then carries. How many rows these are is
    settled on validation rows by CIDEr-D, and so is whether it is done: only where the interval of what it adds there
    lies above 0. `decoding` of `drafts=1` says no, of more says yes, whatever it adds.

    The answer is [B, 1 + room]: the mean log-probability of a symbol, END included, then ids padded with zeros.
    """

    answers = (TextTarget,)
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        dropout: float = 0.2,
        smoothing: float = 0.1,
        decoding: Mapping[str, Any] | None = None,
    ):
        super().__init__(width, target)
        self.dropout = check_dropout(dropout)
        if not 0 <= smoothing < 1:
            raise BadArgument(f"smoothing must be at least 0 and below 1; got {smoothing}.")
        self.smoothing = smoothing
        self.decoding = decoding
        self.drop = nn.Dropout(dropout)
        self.memory = Memory(width)
        self.remark = ""  # what was found when it was settled how a draft is chosen

    def settle(self) -> None:
        """To be called by the constructor when `decoder` is there."""
        self.how = self.chosen(self.decoding or {})

    def solo(self) -> None:
        """To be called before it learns where one voice of several is enough."""

    @property
    @abstractmethod
    def decoder(self) -> Decoder:
        """What writes, at most `most` ids; of `target.words` ids where it has the target's symbols."""

    def sought(self, truth: Tensor) -> Tensor:
        """The ids [B, R, L] that the decoder is to write, from encoded truth [B, R, L']."""
        return sought(truth, self.target.words, self.most)

    def coded(self, answer: str) -> list[int] | None:
        """The decoder's ids of an answer, or None where it cannot write it."""
        codes = self.target.coder.codes(answer)
        return codes if codes and max(codes) < self.target.words else None

    def codes(self, ids: Tensor) -> Tensor:
        """The target's codes [B, L'] of ids [B, L] that were written."""
        return ids

    @property
    def samples(self) -> bool:  # type: ignore[override]
        return bool(self.how.temperature) and not self.quick

    @property
    def most(self) -> int:
        """The most ids of a text, its END included."""
        return int(self.target.longest) + 1

    @property
    def room(self) -> int:
        """The most codes of an answer, which a word that the target has not takes several of."""
        return self.most

    def chosen(self, options: Mapping[str, Any]) -> Decoding:
        """How to write where these options are given, and else as is usual. Raises `BadArgument` for a wrong one."""
        known = [one.name for one in fields(Decoding)]
        for name in options:
            if name not in known:
                raise BadArgument(f"Unknown option {name!r} of decoding.{suggest(name, known)}")
        sampled = bool(options.get("temperature"))
        plain = sampled or self.target.short or bool(options.get("rule"))
        usual = {"beams": 1 if plain else BEAMS, "most": self.most}
        given = {**usual, **options}
        if not isinstance(given["most"], int) or not 0 < given["most"] <= self.most:
            raise BadArgument(f"most is from 1 to {self.most}, the longest answer in training; got {given['most']!r}.")
        if (allowed := given.get("allowed")) is not None:
            if isinstance(allowed, str):
                raise BadArgument(f"allowed is a list of answers; got {allowed!r}.")
            codes = []
            for answer in allowed:
                codes.append(self.coded(str(answer)) or [])
                if not 0 < len(codes[-1]) < self.most:
                    raise BadArgument(
                        f"The allowed answer {answer!r} cannot be written: it holds what training did not have often "
                        f"enough, or more than {self.most - 1} symbols."
                    )
            given["allowed"] = Trie(codes)
        return Decoding(**given)

    def recipe(self) -> dict[str, Any]:
        # A pass over several references a row is as many texts, so fewer rows are a batch, and fewer passes enough.
        passes = (
            {"epochs": 16, "batch": 32, "patience": 5}
            if self.target.several
            else {"epochs": 60, "batch": 128, "patience": 10}
        )
        return {**passes, "lr": 1e-3, "weight_decay": 0.05, "average": 0.995, "precision": training_precision()}

    @final
    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        ids = self.sought(truth)
        smoothing = self.smoothing if self.training else 0.0
        lost = self.decoder.losses(ids, *self._shown(tokens), smoothing=smoothing)
        return lost.sum() / (ids != PAD).sum().clamp(min=1) + self._more()

    def _shown(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """The context; in training some rows see nothing of it, as rows will of which nothing is there."""
        context, mask = self._context(tokens)
        if self.training and self.dropout:
            mask = mask & (torch.rand(len(mask), 1, device=mask.device) >= UNSEEN * self.dropout)
        return context, mask

    def _more(self) -> Tensor | float:
        """What else training lowers."""
        return 0.0

    @final
    @torch.no_grad()
    def answer(self, tokens: Tokens) -> Tensor:
        context, mask = self._context(tokens)
        how = self.chosen({"beams": 1}) if self.quick else self.how
        answer = context.new_zeros(len(mask), 1 + self.room, dtype=torch.float32)
        numbers = self.numbered(len(mask))
        for rows in torch.arange(len(mask), device=mask.device).split(AT_ONCE) if len(mask) else ():
            some = context[rows], mask[rows], how
            if self.chooses(how):
                said = self._chosen(tokens.select(rows), *some)
            else:
                said = decode(self.decoder, *some, numbers[rows.cpu()].tolist())
            answer[rows, 0] = _mean(*said)
            codes = self.codes(said.ids)
            answer[rows, 1 : 1 + codes.shape[1]] = codes.float()
        return answer

    # --- drafts -------------------------------------------------------------------------------------------------------

    def chooses(self, how: Decoding) -> bool:
        """Whether an answer written so is chosen among drafts."""
        wanted = how.drafts > 1 or (how.drafts == 0 and how.beams > 1 and not how.temperature and self.memory.taken)
        return bool(wanted) and len(self.memory) > 0

    def _chosen(self, tokens: Tokens, context: Tensor, mask: Tensor, how: Decoding) -> Written:
        said = self._drafted(context, mask, how)
        best = self.memory.choose(tokens.pooled, self._compared(said.ids))
        best = torch.where(tokens.present, best, 0)  # who sees nothing has no neighbours
        row = torch.arange(len(best), device=best.device)
        return Written(said.ids[row, best], said.logp[row, best])

    def _drafted(self, context: Tensor, mask: Tensor, how: Decoding) -> Written:
        return drafts(self.decoder, context, mask, replace(how, drafts=how.drafts or DRAFTS))

    def _compared(self, ids: Tensor) -> Tensor:
        """Texts that were written, ids [B, K, L], as they are compared."""
        return self._plain(self.codes(ids.flatten(0, 1)).view(*ids.shape[:2], -1))

    def _plain(self, codes: Tensor) -> Tensor:
        """The target's codes [B, K, L] as texts are compared: a word that is not known is one symbol, END none."""
        ids = sought(codes.masked_fill(codes == END, PAD).clamp(min=0), self.target.words, codes.shape[-1] + 1)
        return ids.masked_fill(ids == END, PAD)

    @final
    @torch.no_grad()
    def conclude(self, seen: Iterable[tuple[Tokens, Tensor]], held: Iterable[tuple[Tokens, Tensor]]) -> None:
        """Remember training rows, and settle on validation rows whether and how answers are chosen among drafts."""
        how, memory = self.how, self.memory
        memory.forget()
        if self.target.short or how.drafts == 1 or how.temperature or (how.beams == 1 and not how.drafts):
            return
        each = [(tokens.pooled[tokens.present], truth[tokens.present]) for tokens, truth in seen]
        if each:
            vectors, texts = map(torch.cat, zip(*each))
            memory.remember(vectors, self._plain(texts))
        if not len(memory):
            return
        gain = self._tried(held).gain()
        if gain is not None:
            memory.neighbours.fill_(gain.neighbours)
            memory.taken.fill_(gain.low > 0)
        self.remark = told(self.target.name, gain, memory)
        if not (memory.taken or how.drafts):
            memory.forget()

    def _tried(self, held: Iterable[tuple[Tokens, Tensor]]) -> Trial:
        """Validation rows with drafts of theirs."""
        trial, rows = Trial(), 0
        for tokens, truth in held:
            known = (tokens.present & (truth > 0).flatten(1).any(1)).nonzero()[: JUDGED - rows, 0]
            for some in known.split(AT_ONCE) if len(known) else ():
                context, mask = self._context(tokens.select(some).cleared())
                codes = self._compared(self._drafted(context, mask, self.how).ids)
                worth = self.memory.worth(tokens.pooled[some], codes, NEIGHBOURS)
                plain = self.codes(decode(self.decoder, context, mask, self.how).ids)
                wanted = self.target.truth(truth[some].cpu().numpy())
                trial.add(worth, self._words(codes), self._words(plain), wanted.reshape(len(some), -1))
                rows += len(some)
        return trial

    def _words(self, codes: Tensor) -> np.ndarray:
        """Texts of codes [..., L]."""
        ids = codes.masked_fill(codes == END, PAD).flatten(0, -2).cpu().numpy()
        return self.target.texts(ids).reshape(codes.shape[:-1])

    @final
    def likelihood(self, tokens: Tokens, ids: Tensor) -> Tensor:
        """log p(id | ids before, tokens) of `ids` [B, L] as `sought` gives them, 0 at PAD; with gradient, in the mode
        that the head is in."""
        return likelihood(self.decoder, ids, *self._context(tokens.cleared()))

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        """{"label": texts [B], "logp": the mean log-probability of a symbol [B]}."""
        told = answer.detach().float().cpu().numpy()
        ids = np.where(told[:, 1:] == END, PAD, told[:, 1:])
        return {"label": self.target.texts(ids), "logp": told[:, 0].astype(np.float64)}

    def _context(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """What the decoder looks at, [B, S, width] and [B, S] bool."""
        return self.drop(tokens.x), tokens.mask


class LinedHead(WritingHead):
    """Abstract: a head whose decoder looks at the tokens led by their pooled vector, mapped to `units` and with their
    places; more than `tokens` are averaged in stretches. None: they are taken as they come."""

    def __init__(self, width: int, target: TextTarget, *, units: int = 256, tokens: int | None = 64, **options: Any):
        super().__init__(width, target, **options)
        self.units = check_count("units", units)
        self.tokens = tokens
        self.line = None if tokens is None else LineUp([width], units, tokens=check_count("tokens", tokens))

    def _context(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if self.line is None:
            return super()._context(tokens)
        line = self.line([replace(tokens, x=self.drop(tokens.x), pooled=self.drop(tokens.pooled))])
        return torch.where(line.mask[..., None], line.x, 0.0), line.mask


def _mean(ids: Tensor, logp: Tensor) -> Tensor:
    """[...] the mean log-probability of a symbol of texts [..., L]."""
    return logp.float().sum(-1) / (ids != PAD).sum(-1).clamp(min=1)


def sought(truth: Tensor, words: int, most: int) -> Tensor:
    """The ids [B, R, L] that a decoder of `words` ids is to write, from encoded truth [B, R, L'].

    A run of characters, which stands for a word that the vocabulary has not, is one UNKNOWN. END closes what has fewer
    than `most` symbols; what has more is cut. References that are missing are PAD throughout.
    """
    unknown, first = truth >= words, (truth - words) % 2 == 1
    kept = (truth > 0) & (~unknown | first)
    order = (~kept).to(torch.uint8).argsort(dim=-1, stable=True)
    ids = torch.where(unknown, UNKNOWN, truth).masked_fill(~kept, PAD).gather(-1, order)
    length = kept.sum(-1, keepdim=True)
    room = min(most, 1 + int(length.max())) if length.numel() else 1
    ids = F.pad(ids, (0, max(0, room - ids.shape[-1])))[..., :room]
    place = torch.arange(room, device=ids.device)
    return torch.where((place == length) & (length > 0), END, ids)
