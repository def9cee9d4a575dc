"""Head: `Tokens` to an answer, its loss, and human values."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.part import Part
from polymodal.core.types import Tokens
from polymodal.targets.base import ScoredTarget, Target


class Head(Part):
    """Answers one `Target` from tokens of width `width`.

    A head that scores subclasses `ScoringHead`. One that writes its answer, symbol by symbol, subclasses `Head`: `loss`
    sees the truth, on which each symbol may build (teacher forcing), and `answer` writes without it.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (Target,)  # the classes of targets that it can answer
    reads_tokens: ClassVar[bool] = False  # False: only `pooled` is read, so sequences need not be loaded
    samples: bool = False  # True: answers to the same tokens differ by the row's number
    remark: str = ""  # what the user should know of what `conclude` found
    quick: bool = False  # between epochs of a training, where a head that writes need not do its best

    def __init__(self, width: int, target: Target):
        super().__init__()
        self.width = width
        self.target: Any = target
        self._numbers: Tensor | None = None

    @classmethod
    def planned(cls, target: Target, options: Mapping[str, Any]) -> Self:
        """The head with its options and nothing built, for what needs no weights: `recipe`, `reads_tokens` and
        `decode`, which look at the target and the options alone."""
        head = cls.__new__(cls)
        nn.Module.__init__(head)
        head.target = target
        defaults = {
            name: p.default for name, p in inspect.signature(cls).parameters.items() if p.kind is p.KEYWORD_ONLY
        }
        for name, value in {**defaults, **options}.items():
            setattr(head, name, value)
        return head

    @final  # type: ignore[misc]
    def forward(self, tokens: Tokens) -> Tensor:
        """The answer [B, …] that `decode` reads: scores, or what was written."""
        return self.answer(tokens.cleared())

    @abstractmethod
    def answer(self, tokens: Tokens) -> Tensor:
        """Tokens [B, T, width] to the answer. A row with no token gives the head's prior, finite."""

    @abstractmethod
    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        """Mean loss over the rows whose encoded truth is known; others (-1, or NaN for numbers) do not count."""

    def loss_of(self, answer: Tensor | None, tokens: Tokens, truth: Tensor) -> Tensor:
        """`loss` where the answer to the same tokens is there already; a head that writes has no use for it."""
        return self.loss(tokens.cleared(), truth)

    def recipe(self) -> dict[str, Any]:
        """The options of the training loop (`config.Training`) that suit it, where they are not the usual ones."""
        return {}

    @abstractmethod
    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        """Human values of an answer, B each, as the target's `prediction` and `columns` read them."""

    def conclude(self, seen: Iterable[tuple[Tokens, Tensor]], held: Iterable[tuple[Tokens, Tensor]]) -> None:
        """Choose, once the weights are trained, what is not chosen by gradients: from tokens and encoded truth of the
        training rows, `seen`, and of validation rows, both in parts that are made when asked for. Default: nothing."""

    def number(self, rows: Tensor) -> None:
        """Hear the numbers [B] of rows that are answered or judged next, by which what is drawn at random differs."""
        self._numbers = rows

    @final
    def numbered(self, count: int) -> Tensor:
        """The numbers [count] of the rows that are answered now, on the CPU: those last heard, once, or their places
        where others were."""
        heard, self._numbers = self._numbers, None
        return torch.arange(count) if heard is None or len(heard) != count else heard.cpu()


class ScoringHead(Head):
    """A head whose answer is scores [B, target.width], with the meaning that its target says.

    An author writes `score` and `loss_of_scores`. Late fusion, blends and calibration change scores on the way, so the
    loss is one of scores alone.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (ScoredTarget,)

    @final
    def answer(self, tokens: Tokens) -> Tensor:
        return self.score(tokens)

    @final
    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        return self.loss_of_scores(self(tokens), truth)

    @final
    def loss_of(self, answer: Tensor | None, tokens: Tokens, truth: Tensor) -> Tensor:
        return self.loss(tokens, truth) if answer is None else self.loss_of_scores(answer, truth)

    @abstractmethod
    def score(self, tokens: Tokens) -> Tensor:
        """Tokens [B, T, width] to scores [B, target.width]. A row with no token gives the prior, finite."""

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Weights [width, C] and biases [C], where scores are no more than a linear map of the pooled vector."""
        return None

    @torch.no_grad()
    def prior(self) -> Tensor:
        """Scores [1, target.width] of a row with no token: what the training rows' targets alone say."""
        nothing = next(self.parameters(), torch.zeros(())).new_zeros(1, self.width)
        return self(Tokens.of_pooled(nothing, torch.zeros(1, 1, dtype=torch.bool, device=nothing.device)))

    @abstractmethod
    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Mean loss over the rows whose encoded truth is known; a batch without any gives zero, in the graph."""

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        return self.target.decode(answer)


@contextmanager
def meanwhile(heads: Sequence[Head], name: str, values: Iterable[Any]) -> Iterator[None]:
    """While the block runs, the attribute `name` of each of the heads is the one of `values` in its place."""
    before = [getattr(head, name) for head in heads]
    try:
        for head, value in zip(heads, values):
            setattr(head, name, value)
        yield
    finally:
        for head, value in zip(heads, before):
            setattr(head, name, value)
