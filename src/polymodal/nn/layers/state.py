"""What every decoder of words is: ids in, scores of the next word out, and a state that remembers what was read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.precision import at_least_float32

PAD, BEGIN, END, UNKNOWN = range(4)  # the first ids of every vocabulary


@dataclass(frozen=True, eq=False)
class State:
    """What a decoder has read: N rows of words over M contexts, N a multiple of M; a context's rows stand together.

    `past` are tensors [N, …] of the words, `seen` tensors [M, …] of the contexts, `written` how many words were read.
    """

    rows: int
    past: tuple[Tensor, ...]
    seen: tuple[Tensor, ...]
    written: int = 0

    @property
    def times(self) -> int:
        """How many rows a context has."""
        return self.rows // len(self.seen[0])

    def select(self, rows: Tensor) -> State:
        """The rows at `rows` [K] int64, in that order, each with a context of its own."""
        return replace(
            self,
            rows=len(rows),
            past=tuple(part.index_select(0, rows) for part in self.past),
            seen=tuple(part.index_select(0, rows // self.times) for part in self.seen),
        )

    def reorder(self, rows: Tensor) -> State:
        """As `select`, where as many `rows` of each context are taken, one's together: contexts are not copied."""
        return replace(self, rows=len(rows), past=tuple(part.index_select(0, rows) for part in self.past))

    def keep(self, contexts: Tensor) -> State:
        """The contexts at `contexts` [K] int64 with all their rows."""
        rows = (contexts[:, None] * self.times + torch.arange(self.times, device=contexts.device)).flatten()
        return replace(
            self,
            rows=len(rows),
            past=tuple(part.index_select(0, rows) for part in self.past),
            seen=tuple(part.index_select(0, contexts) for part in self.seen),
        )

    def spread(self, times: int) -> State:
        """Each row `times` times, one's copies together; contexts are not copied."""
        past = tuple(part.repeat_interleave(times, 0) for part in self.past)
        return replace(self, rows=self.rows * times, past=past)


class Decoder(nn.Module, ABC):
    """Writes words about a context: tokens [B, S, context_width] and which of them are real, [B, S] bool.

    `words` ids, PAD, BEGIN, END and UNKNOWN the first four. `longest`: the most ids that can be read, None where any
    number. Values at masked places must be finite. A row without a real token is written by the words before alone: the
    decoder is then a language model.
    """

    def __init__(self, words: int, *, context_width: int, longest: int | None = None):
        super().__init__()
        if check_count("words", words) <= UNKNOWN + 1:
            raise BadArgument(f"A vocabulary is PAD, BEGIN, END, UNKNOWN and at least one word; got words={words}.")
        self.words = words
        self.context_width = check_count("context_width", context_width)
        self.longest = longest

    def forward(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Scores of the next word at every place, teacher forcing: [B, L, words].

        `ids` [B, L] begin with BEGIN and are padded on the right with PAD; place i sees ids[:, : i + 1]. With `ids`
        [B, R, L] of R texts about one context, [B, R, L, words]: what is computed of the context is computed once.
        Raises `BadArgument` for more ids than `longest`.
        """
        return self.scores(self._behind(ids, context, mask)).view(*ids.shape, self.words)

    def losses(self, ids: Tensor, context: Tensor, mask: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """What each word of texts costs, -log p(word | words before, context), of the shape of `ids`, 0 at PAD.

        `ids` [B, L] or [B, R, L] as they are to be written: without BEGIN, with END, padded on the right with PAD.
        Scores are computed of real words alone. `smoothing`: the share of a word's probability that is to be spread
        over all (Szegedy et al. 2016).
        """
        read = torch.cat(
            [torch.full_like(ids[..., :1], BEGIN), ids[..., :-1].masked_fill(ids[..., :-1] == END, PAD)], -1
        )
        real = ids != PAD
        scores = self.scores(self._behind(read, context, mask)[real.flatten(0, -2)])
        costs = F.cross_entropy(at_least_float32(scores), ids[real], label_smoothing=smoothing, reduction="none")
        return costs.new_zeros(ids.shape).masked_scatter(real, costs)

    @abstractmethod
    def start(self, context: Tensor, mask: Tensor) -> State:
        """The state before the first word."""

    @abstractmethod
    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """What is known behind each of the next `ids` [N, L], as `scores` reads it; and the state behind the last."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Of what `absorb` told, [..., D], the next word's scores [..., words]."""

    def read(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores [N, L, words] of the word behind each of the next `ids` [N, L], and the state behind the last."""
        x, state = self.absorb(ids, state)
        return self.scores(x), state

    @abstractmethod
    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """How much each place of `ids` [B, L] or [B, R, L] attends to each token: [B, (R,) L, S]. At most 1 in sum."""

    def step(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """As `read`, of one id a row: [N] to [N, words]."""
        scores, state = self.read(ids[:, None], state)
        return scores[:, 0], state

    def penalty(self) -> Tensor:
        """What training may add to the loss, of the last `forward`; 0 where a decoder asks for nothing."""
        return torch.zeros(())

    def _behind(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """What is known behind each of `ids` [B, (R,) L] from the first on, [B · R, L, …]."""
        return self.absorb(ids.flatten(0, -2), self._begun(ids, context, mask))[0]

    def _begun(self, ids: Tensor, context: Tensor, mask: Tensor) -> State:
        state = self.start(context, mask)
        return state.spread(ids.shape[1]) if ids.ndim == 3 else state

    def _check_length(self, ids: int) -> None:
        if self.longest is not None and ids > self.longest:
            raise BadArgument(
                f"This decoder reads at most {self.longest} ids, BEGIN among them; got {ids}. "
                "Build it with a larger `longest`, or write less."
            )


class TiedDecoder(Decoder):
    """Abstract: a decoder whose embeddings, of `width`, serve input and output alike (Press & Wolf 2017)."""

    def __init__(self, words: int, width: int, *, context_width: int, dropout: float = 0.1, longest: int | None = None):
        super().__init__(words, context_width=context_width, longest=longest)
        self.width = check_count("width", width)
        self.dropout = check_dropout(dropout)
        self.embedding = nn.Embedding(words, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        # Between a word read and the same embedding as a word to say: else a new decoder says what it read again.
        self.tell = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(words))
        self.enter = nn.Sequential(nn.LayerNorm(context_width), nn.Linear(context_width, width))
        self.drop = nn.Dropout(dropout)

    def scores(self, x: Tensor) -> Tensor:
        return F.linear(self.tell(x), self.embedding.weight, self.bias)

    def embedded(self, ids: Tensor) -> Tensor:
        """Of the words themselves, [..., width]."""
        return self.embedding(ids) * self.width**0.5
