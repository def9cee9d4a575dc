"""Words of one's own: captions, answers, reports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.registry import Spec
from polymodal.core.shown import many
from polymodal.core.words import label_of
from polymodal.metrics.consensus import Likeness, medoid
from polymodal.targets.base import Target
from polymodal.targets.labels import listed
from polymodal.targets.words import PIECES, UNITS, Coder, learned_pieces, padded, spoken, symbols_of, unit_of

SHORT = 3.0  # words of a mean answer up to which answers are short: right or wrong
LETTERS_A_WORD = 1.5  # of scripts without spaces
LONGEST = 256  # symbols that are written at most
SPARED = 0.001  # share of answers that may be longer than what is written
ROOM = 64  # symbols of a reference that are kept at least; above, twice the longest that is written
MANY = 32  # references of a row that are learned from
WHOLE = 10_000  # letters of a reference that metrics compare
COMPARED = 2000  # training answers among which the usual one is looked for
THOUSANDS, HUNDREDS = 2000, 200  # references from which words seen fewer than 4 times, and once, are unknown


@dataclass(frozen=True)
class TextTarget(Target):
    """Words that are written, not chosen: a caption, an answer, a report.

    A cell is a text, or a list of several that are all right (references), as JSON too; `references` names columns
    that each hold one. What is no text, as a mapping or a list within a list, is set aside. `symbols` says of what
    they are written: "words", lower-cased and without punctuation, as captions are compared; "characters"; "bpe",
    pieces of words as they stand (Sennrich 2016), `pieces` at most; or "auto": characters for scripts that part no
    words, words, or pieces where there are more than 16,000 words. Symbols that occur fewer than `least` times are
    unknown: they are learned as one and never written (default: 4 of 2,000 references on, 2 of 200 on).

    Encoded as int64 [N, R, L]: R references of L codes (see `words.Coder`), zeros behind them, -1 in rows without any.
    Nothing is lost but what the symbols pass over, so a word that is not in the vocabulary counts against the answer;
    of what is far longer than others only the beginning is learned from, that one cell may not widen all rows. Metrics
    compare what `wanted` gives, whole.
    """

    symbols: str = field(default="auto", kw_only=True)
    least: int | None = field(default=None, kw_only=True)
    pieces: int = field(default=PIECES, kw_only=True)
    references: tuple[str, ...] = field(default=(), kw_only=True)
    written_in: str = ""  # the symbols that were settled
    vocabulary: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()
    longest: int = 0
    several: bool = False
    short: bool = False
    medoid: str = ""

    head: ClassVar[str] = "writer"
    form: ClassVar[str] = "text"
    shown: ClassVar[int] = 2
    unseen_are: ClassVar[str] = "cells that hold no text"

    def __post_init__(self) -> None:
        if self.symbols not in UNITS:
            raise BadArgument(
                f"Target {self.name!r}: unknown symbols {self.symbols!r} of text.{suggest(self.symbols, UNITS)}"
            )
        if self.least is not None and self.least < 1:
            raise BadArgument(f"Target {self.name!r}: least is at least 1; got {self.least}.")
        if self.pieces < 1:
            raise BadArgument(f"Target {self.name!r}: pieces is at least 1; got {self.pieces}.")

    # --- cells --------------------------------------------------------------------------------------------------------

    def fit(self, values: Sequence[Any]) -> Self:
        rows = [texts for value in values if (texts := texts_of(value))]
        every = [text for row in rows for text in row]
        if not every:
            raise BadData(f"Target {self.name!r} holds no text in any training row (first value: {values[0]!r}).")
        unit = unit_of(every) if self.symbols == "auto" else self.symbols
        count = len(every)
        least = self.least or (4 if count >= THOUSANDS else 2 if count >= HUNDREDS else 1)
        if unit == "bpe":
            vocabulary, merges = learned_pieces(every, self.pieces)
        else:
            often = Counter(symbol for text in every for symbol in symbols_of(text, unit))
            kept = [(-times, symbol) for symbol, times in often.items() if times >= least]
            vocabulary, merges = [symbol for _, symbol in sorted(kept)], []
        if not vocabulary:
            raise BadData(
                f"Target {self.name!r}: no symbol occurs {least} times in the training rows. Lower `least` of the text."
            )
        found = replace(self, written_in=unit, vocabulary=tuple(vocabulary), merges=tuple(merges))
        codes = found._coded(rows)
        lengths = np.concatenate([[found.coder.count(one) for one in row] for row in codes])
        said = np.mean([len(spoken(text)) for text in every])  # characters, pieces: as the metrics count words
        mean = said / (LETTERS_A_WORD if unit == "characters" else 1.0)
        return replace(
            found,
            longest=int(min(LONGEST, np.quantile(lengths, 1 - SPARED, method="higher"))),
            several=max(map(len, rows)) > 1,
            short=bool(mean <= SHORT),
            medoid=found._usual(codes, short=bool(mean <= SHORT)),
        )

    def _usual(self, rows: Sequence[Sequence[list[int]]], *, short: bool) -> str:
        """The answer that is most like all training answers; of short ones the most frequent."""
        texts = [self.coder.text(codes) for row in rows for codes in row]
        if short:
            return max(sorted(set(texts)), key=Counter(texts).__getitem__)
        place = np.unique(np.linspace(0, len(texts) - 1, COMPARED).astype(int))
        owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])[place]
        flat = [codes for row in rows for codes in row]
        some = [flat[i] for i in place]
        return texts[place[medoid(Likeness(some, owner).vectors(some))]]

    @cached_property
    def coder(self) -> Coder:
        """What turns texts into codes and back."""
        return Coder(self.written_in, self.vocabulary, self.merges)

    def _coded(self, rows: Iterable[Sequence[str]]) -> list[list[list[int]]]:
        return [[codes for text in row if (codes := self.coder.codes(text))] for row in rows]

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        rows = self._coded(texts_of(value)[:MANY] for value in values)
        return padded([[self.coder.cut(codes, self.room) for codes in row] for row in rows])

    @property
    def room(self) -> int:
        """How many symbols of a reference are kept to learn from."""
        return max(ROOM, 2 * self.longest)

    def remarks(self, values: Sequence[Any]) -> list[str]:
        rows = self._coded(texts_of(value) for value in values)
        long = [count for row in rows for codes in row if (count := self.coder.count(codes)) > self.room]
        said = []
        if long:
            said.append(
                f"{self.name}: of {many(len(long), 'answer')} only the first {self.room} symbols are learned from (the "
                f"longest has {max(long):,}); metrics compare up to {WHOLE:,} letters."
            )
        if several := sum(len(row) > MANY for row in rows):
            said.append(f"{self.name}: in {many(several, 'row')} only the first {MANY} references are learned from.")
        return said

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        odd = {}
        for row, value in enumerate(values):
            strange = [one for one in _items(value) if _no_text(one)][:1]
            if strange:
                what, written = _no_text(strange[0]), str(strange[0])[:40]
                odd[row] = f"holds {what}, {written!r}, where the target is a text or a list of them"
            elif value is not None and not texts_of(value):
                odd[row] = f"is {str(value)[:40]!r}, but the target is a text"
        return {}, odd

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        odd = self.survey(values)[1]
        return dict(Counter(str(values[row])[:40] for row in odd if not texts_of(values[row])))

    # --- words --------------------------------------------------------------------------------------------------------

    @property
    def words(self) -> int:
        """How many ids a head writes: the vocabulary, and padding, beginning, end and unknown."""
        return self.coder.size

    @property
    def summary(self) -> str:
        units = {"words": "words", "characters": "characters", "bpe": "pieces of words"}
        held = f" of {len(self.vocabulary):,} {units[self.written_in]}" if self.written_in else ""
        return f"text{held}{', several references a row' if self.several else ''}"

    @property
    def task(self) -> str:
        return f"an answer in {'characters' if self.written_in == 'characters' else 'words'}"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        if not self.short:
            return ("cider", "bleu", "rouge_l", "chrf")
        return ("vqa_accuracy", "exact_match", "token_f1") if self.several else ("exact_match", "token_f1")

    def truth(self, encoded: np.ndarray) -> np.ndarray:
        """Texts [N], or [N, R] of several references, "" where there is none; as objects, that none widens all."""
        rows = np.asarray(encoded)
        texts = np.array([[self.coder.text(codes[codes > 0]) for codes in row] for row in rows], dtype=object)
        texts = texts.reshape(rows.shape[:2])
        return texts[:, 0] if rows.shape[1] == 1 else texts

    def wanted(self, cells: Sequence[Any], encoded: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """As `truth`, of the cells: nothing is cut but letters beyond the 10,000th."""
        coded = self._coded(texts_of(cells[row]) for row in rows)
        texts = [[self.coder.text(codes)[:WHOLE] for codes in row] for row in coded]
        if encoded.shape[1] == 1:
            return np.array([row[0] if row else "" for row in texts], dtype=object)
        return side_by_side(texts)

    def chance(self) -> np.ndarray:
        return np.array(self.medoid)

    @property
    def proposed(self) -> Spec:
        # A few answers in a word or two are learned as classes are, which smoothing and much dropout hinder: easy-VQA,
        # .92 right with them, .986 without (validation rows, encoders trained with the answer).
        if self.short:
            return {"name": self.head, "units": 128, "depth": 1, "dropout": 0.1, "smoothing": 0.0}
        # Of captions with several references two decoders' mean won some two points of CIDEr, for twice the cost.
        return {"name": self.head, "voices": 2} if self.several else self.head

    @property
    def usual(self) -> str:
        return "always the most frequent answer" if self.short else "one training answer for every row"

    # --- answers ------------------------------------------------------------------------------------------------------

    def texts(self, codes: np.ndarray) -> np.ndarray:
        """[B] texts of codes [B, L]."""
        return np.array([self.coder.text(row) for row in codes.astype(np.int64)], dtype=str)

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        words = super().columns(decoded)
        return words | {f"{self.name}_logp": [float(value) for value in decoded["logp"]]}

    def column_names(self) -> list[str]:
        return [self.name, f"{self.name}_logp"]

    def written(self, values: Sequence[Any]) -> list[Any]:
        rows = [[self.coder.text(codes) for codes in row] for row in self._coded(texts_of(value) for value in values)]
        return [None if not row else row[0] if len(row) == 1 else row for row in rows]

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return str(decoded["label"][row]), float(np.exp(decoded["logp"][row]))

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        said = " | ".join(text for text in np.atleast_1d(truth) if text)
        return {"truth": said, "prediction": str(prediction), "probability": None}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Those least like any of their references first."""
        rows = np.flatnonzero(labelled)
        near = np.array([self.likeness(predictions[row], truth[row]) for row in rows])
        return rows[np.argsort(near, kind="stable")][: int(min(most, (near < 1).sum()))]

    def likeness(self, said: str, wanted: Any) -> float:
        """How alike two texts are, or a text and the nearest of several: the F1 score of the symbols they share."""
        own = Counter(symbols_of(str(said), self.written_in))
        each = (Counter(symbols_of(str(text), self.written_in)) for text in np.atleast_1d(wanted) if text)
        return max((2 * (own & other).total() / max(1, own.total() + other.total()) for other in each), default=0.0)

    def decided(self, scores: Tensor, *, of: Tensor | None = None) -> Tensor:
        """Whether the words are the same, however likely."""
        return super().decided(scores[:, 1:], of=None if of is None else of[:, 1:])

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        """How alike each is to the answer from all streams."""
        if self.short:
            return super().explained(predictions)
        return np.array(
            [[self.likeness(said, last) for said, last in zip(row, predictions[-1])] for row in predictions]
        )


def texts_of(value: Any) -> list[str]:
    """The texts of a cell: one, or the items of a list, without what is missing, blank or no text."""
    return [text for item in _items(value) if not _no_text(item) and (text := label_of(item))]


def side_by_side(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """References as metrics read them: [N, R], "" where a row has fewer."""
    most = max((len(row) for row in rows), default=0)
    return np.array([[*row, *[""] * (most - len(row))] for row in rows], dtype=object).reshape(len(rows), most)


def _items(value: Any) -> list[Any]:
    """What a cell holds, without what is missing: itself, or the items of a list."""
    items = listed(value)
    given = [value] if items is None else items
    return [one for one in given if one is not None and not (isinstance(one, float) and math.isnan(one))]


def _no_text(item: Any) -> str:
    """What an item is where it is no text; numbers, dates and the like are what they say."""
    if isinstance(item, Mapping):
        return "a mapping"
    if isinstance(item, list | tuple | set | frozenset | np.ndarray):
        return "a list within a list"
    return "bytes" if isinstance(item, bytes | bytearray) else ""
