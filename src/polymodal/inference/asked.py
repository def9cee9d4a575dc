"""What is explained of a finished model's answers: how decidedly it answers, each word of a text, a drawing.

Each is values that a row's streams give, so that one mechanism explains all: gradients tell what tokens added to them,
hidden parts and cleared masks what they lose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.data.tables.source import Table
from polymodal.evaluation.robustness import subset_masks
from polymodal.explanation.hiding import WORD
from polymodal.explanation.modalities import row_worth
from polymodal.heads.drawn import DrawnHead
from polymodal.heads.writing import WritingHead
from polymodal.inference.predictor import Predictor
from polymodal.nn.layers.state import END, PAD
from polymodal.nn.place import CPU, at_rest, device_of_module, to_device
from polymodal.targets.drawn import WHITE
from polymodal.targets.words import padded

Streams = Mapping[str, Tokens]


class Asked(ABC):
    """Of the first target's answers to N rows, V values a row that are explained.

    `answers` are human values as `Predictor.decode` gives them; `words` [N] the words that the values belong to, none
    where an answer is one thing. `unit` is that of the values, `worth_unit` that of `worth`.
    """

    unit: str
    worth_unit: str
    meaning: str = ""  # what else is to be said of worths, in a sentence

    def __init__(self, predictor: Predictor, answers: Mapping[str, np.ndarray]):
        self.predictor = predictor
        self.target: Any = predictor.targets[0]
        self.answers = answers
        self.words: list[list[str]] = [[] for _ in next(iter(answers.values()))]

    def __len__(self) -> int:
        return len(self.words)

    @abstractmethod
    def values(self, streams: Streams, rows: Tensor) -> Tensor:
        """[b, V] of changed streams, each for the answer to the row at the place in `rows` [b]; with a gradient where
        the answer has one."""

    def worth(self, streams: Streams) -> np.ndarray:
        """[N, V, K] what each stream was worth to each value, by Shapley (see `row_worth`): over the streams they add
        up to the value less that of a row of which nothing is given."""
        every = torch.arange(len(self))
        with torch.no_grad():
            said = torch.stack([self.values(some, every) for some in self.subsets(streams)]).double().numpy()
        return row_worth(said.reshape(len(said), -1)).reshape(*said.shape[1:], -1)

    def subsets(self, streams: Streams) -> Iterator[dict[str, Tokens]]:
        """The streams with masks cleared, a subset each, in the order of `subset_masks`."""
        names = self.predictor.streams
        for subset in subset_masks(names):
            yield {n: streams[n].keep(torch.full((len(self),), n in subset)) for n in names}


class Decision(Asked):
    """How decidedly the model gives the answer that it gave: log-odds, a number, or else whether it is the same."""

    def __init__(self, predictor: Predictor, streams: Streams):
        with torch.no_grad():
            self.scores = _scores(predictor, streams)
        super().__init__(predictor, predictor.decode(predictor.targets[0], self.scores))
        self.unit, self.worth_unit = self.target.decided_unit, self.target.unit

    def values(self, streams: Streams, rows: Tensor) -> Tensor:
        return self.target.decided(_scores(self.predictor, streams), of=self.scores[rows])[:, None]

    @torch.no_grad()
    def worth(self, streams: Streams) -> np.ndarray:
        """In the unit that the target is told in: the log-probability of the answer, or the number."""
        each = (self.predictor.decode(self.target, _scores(self.predictor, some)) for some in self.subsets(streams))
        predictions = np.stack([self.target.prediction(decoded) for decoded in each])
        return row_worth(self.target.explained(predictions))[:, None]


class Written(Asked):
    """The log-probability of each word of the `texts`, the words before it as they stand (teacher forcing).

    That of a word is the sum over the symbols that it is written in; the end of a text is no word.
    """

    unit = worth_unit = "log-probability"

    def __init__(self, predictor: Predictor, head: WritingHead, answers: Mapping[str, np.ndarray]):
        super().__init__(predictor, answers)
        self.head = head
        codes = [self.target.coder.codes(str(text)) for text in answers["label"]]
        self.ids = head.sought(torch.from_numpy(padded([[one] if one else [] for one in codes])))[:, 0]
        self.owner = torch.zeros_like(self.ids)
        for row, ids in enumerate(self.ids):
            if not len(real := ids[(ids != PAD) & (ids != END)]):
                continue
            begun = real * torch.ones(len(real), len(real), dtype=torch.long).tril()
            owner, self.words[row] = parted(self.target.texts(head.codes(begun).numpy()).tolist())
            self.owner[row, : len(real)] = torch.tensor(owner, dtype=torch.long)

    def values(self, streams: Streams, rows: Tensor) -> Tensor:
        fused, ids = _fused(self.predictor, streams), self.ids[rows]
        logp = self.head.likelihood(fused, ids.to(fused.x.device)).to(CPU)
        said = torch.where((ids != PAD) & (ids != END), logp, 0.0)
        most = max(1, *map(len, self.words))
        return logp.new_zeros(len(ids), most).scatter_add(1, self.owner[rows], said)


class Drawn(Asked):
    """How much what is drawn from the same noise is like what was drawn: 1 less the mean difference of bytes. A drawing
    has no gradient."""

    meaning = (
        "A stream speaks for a drawing as far as the one drawn without it, from the same noise, is less like it. A "
        "drawing has no gradient, so within a cell parts are hidden one by one and it is drawn again."
    )

    def __init__(self, predictor: Predictor, head: DrawnHead, streams: Streams, numbers: Tensor):
        self.head, self.numbers = head, numbers
        with torch.no_grad():
            self.fields = head.draw(_fused(predictor, streams), numbers)
        super().__init__(predictor, head.decode(self.fields[:, None]))
        self.unit = self.worth_unit = self.target.unit

    @torch.no_grad()
    def values(self, streams: Streams, rows: Tensor) -> Tensor:
        drawn = self.head.draw(_fused(self.predictor, streams), self.numbers[rows])
        away = (drawn.float() - self.fields[rows].float()).abs()
        return 1 - away.flatten(1).mean(1, keepdim=True) / WHITE


def asked(
    predictor: Predictor, table: Table, rows: np.ndarray, streams: Streams, texts: Sequence[str] | None = None
) -> Asked:
    """What there is to explain of the first target in `rows` of `table`, whose tokens are `streams`.

    `texts` are the words to explain where words are written, by default those that the model writes. An answer that is
    copied, not written, is explained as a whole.
    """
    target = predictor.targets[0]
    head, numbers = predictor.answer.head(target.name), torch.from_numpy(table.rows[rows])
    if not isinstance(head, WritingHead | DrawnHead) or not _fuses(predictor, streams):
        return Decision(predictor, streams)
    if isinstance(head, DrawnHead):
        return Drawn(predictor, head, streams, numbers)
    if texts is not None:
        return Written(predictor, head, {"label": np.array(texts)})
    predictor.answer.number(numbers)
    return Written(predictor, head, predictor.decode(target, predictor.score(streams)[target.name]))


def parted(begun: Sequence[str]) -> tuple[list[int], list[str]]:
    """From a text's beginnings, each a symbol longer: the word that each symbol belongs to, and the words.

    A word ends where a blank or the next Chinese or Japanese sign begins.
    """
    owner: list[int] = []
    words: list[str] = []
    start = count = 0
    for place, text in enumerate(begun):
        found = max(len(WORD.findall(text)), 1)
        if found > count:
            start, count = len(begun[place - 1]) if place else 0, found
            words.append("")
        owner.append(len(words) - 1)
        words[-1] = text[start:].strip()
    return owner, words


def _scores(predictor: Predictor, streams: Streams) -> Tensor:
    """Scores of the first target."""
    answer, name = at_rest(predictor.answer), predictor.targets[0].name
    scores = answer(to_device(streams, device_of_module(answer))).predictions[name]
    return predictor.tempered(name, to_device(scores, CPU))


def _fused(predictor: Predictor, streams: Streams) -> Tokens:
    """The tokens that the heads answer from."""
    answer: Any = at_rest(predictor.answer)
    return answer.fused(to_device(streams, device_of_module(answer)))


def _fuses(predictor: Predictor, streams: Streams) -> bool:
    """Whether the heads answer from tokens that the model fuses, and not from rows that it remembers."""
    try:
        _fused(predictor, {name: tokens.select(slice(1)) for name, tokens in streams.items()})
    except BadArgument:
        return False
    return True
