"""Texts as sequences of symbols, words, characters or pieces of words, and back; what a list of them lacks is kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from polymodal.core.kept import Kept
from polymodal.core.scripts import ENDS, UNSPACED
from polymodal.metrics.words import words
from polymodal.nn.layers.state import UNKNOWN

SPECIAL = UNKNOWN + 1  # ids before the first symbol
UNITS = ("auto", "words", "characters", "bpe")
MANY_WORDS = 16_000  # distinct words above which pieces of them cost less
PIECES = 8_000
START = "▁"  # of a piece that begins a word
STRETCH = 100  # letters of a word within which pieces are joined
KEPT = 1 << 20  # letters of words whose pieces are remembered
SPELT = 40  # letters of an unknown word that are kept where texts are cut
AT_ONCE = 32  # words that are joined one by one where joined all at once they are others

_UNSPACED = re.compile(f"[{UNSPACED}]")
_BESIDE = re.compile(rf"(?<={_UNSPACED.pattern})\s+|\s+(?={_UNSPACED.pattern})")
_MARKS = f"[。，！？；：、“”‘’（）《》…—·.,!?;:\"'(){ENDS}]"
_SIGNS = re.compile(rf"(?<=\d)([.,:，：·])(?=\d)|((?<=\d){_MARKS}+(?=\d))|{_MARKS}")  # in a number, between two, others

_BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
_OPENING, _CLOSING = frozenset(("-lrb-", "-lsb-", "-lcb-")), frozenset(("-rrb-", "-rsb-", "-rcb-", "%", "^"))
_ENDINGS = frozenset(("n't", "'s", "'re", "'ve", "'ll", "'d", "'m"))
_HALVES = {"can": "not", "gon": "na", "wan": "na", "got": "ta", "gim": "me", "lem": "me"}
_SECOND = frozenset((*_HALVES.values(), "is", "was"))
_SPELT: Kept[tuple[str, ...], str] = Kept(1 << 21)


def spoken(text: str) -> list[str]:
    """Words as metrics of captions count them; a text of nothing but signs keeps them."""
    return list(words(text)) or text.lower().split()


def letters(text: str) -> list[str]:
    """Lower-cased characters without punctuation, but for what stands in a number; spaces are kept between words that
    are written with them."""
    text = text.lower()
    said = _SIGNS.sub(lambda sign: sign[1] or " " * bool(sign[2]), text)
    return list(_BESIDE.sub("", " ".join((said if said.strip() else text).split())))


def unit_of(texts: Iterable[str]) -> str:
    """The symbols that suit texts: characters of scripts that part no words, else words, or pieces of too many."""
    texts = list(texts)
    seen = Counter(bool(_UNSPACED.match(letter)) for text in texts for letter in text if letter.isalpha())
    if seen[True] > seen[False]:
        return "characters"
    often = Counter(word for text in texts for word in spoken(text))
    return "bpe" if len(often) > MANY_WORDS else "words"


def symbols_of(text: str, unit: str) -> list[str]:
    """The symbols of a text; of pieces the words that they are parts of."""
    if unit == "words":
        return spoken(text)
    return letters(text) if unit == "characters" else [START + word for word in text.split()]


def joined(parts: Sequence[str], unit: str) -> str:
    """A text of its symbols; `symbols_of` gives these again."""
    if unit == "words":
        return spelt(tuple(parts))
    return "".join(parts).replace(START, " ").strip() if unit == "bpe" else "".join(parts)


def spelt(parts: tuple[str, ...]) -> str:
    """Words as people write them: `ca n't` as can't, `-lrb- 5 % -rrb-` as (5%), `c + +` as c++. Which spaces there were
    is not known; whatever is written is read as the same words again."""
    found = _SPELT.get(parts)
    return _SPELT.keep(parts, _written(parts), sum(map(len, parts))) if found is None else found


def _written(parts: tuple[str, ...]) -> str:
    if all(map(str.isalnum, parts)) and not any(_UNSPACED.match(part) or part in _SECOND for part in parts):
        return " ".join(parts)
    written = _glued(parts, lambda text, number: True)
    if spoken(written) != [*parts]:  # joined only where the words stay the same
        if len(parts) > AT_ONCE:
            written = " ".join(spelt(parts[at : at + AT_ONCE]) for at in range(0, len(parts), AT_ONCE))
        else:
            written = _glued(parts, lambda text, number: spoken(text) == [*parts[:number]])
    return written if spoken(written) == [*parts] else " ".join(parts)


def _glued(parts: Sequence[str], may: Callable[[str, int], bool]) -> str:
    """Words joined as far as `may` says of a text and the number of its words."""
    text = ""
    for place, (part, after) in enumerate(zip(parts, [*parts[1:], ""])):
        before, sign = parts[place - 1] if place else "", _BRACKETS.get(part, part)
        tried = [text + sign] if not place or _joins(text, before, part, after) else []
        tried += [f"{text} {sign}", f"{text} {part}"]
        text = next((one for one in tried[:-1] if may(one, place + 1)), tried[-1].strip())
    return text


def _joins(text: str, before: str, part: str, after: str) -> bool:
    """Whether a word is written to the `text` that ends in the word `before` without a space."""
    if before in _OPENING or part in _CLOSING or part in _ENDINGS or _HALVES.get(before) == part or part[0] in "!?":
        return True
    if before == "'t":
        return part in ("is", "was")
    if before in ("$", "#", "~", "^"):
        return part != before and (before == "^" or text[-2:-1] in ("", *" ([{"))
    if part == "#":
        return len(before) == 1 and before.isalpha()
    if part == "+":
        return "+" in (before, after) or (after[:1].isalpha() and before.isdigit()) or not after
    return bool(_UNSPACED.match(part) and _UNSPACED.match(before[-1:]))


class Coder:
    """Symbols to whole numbers and back, without loss.

    `vocabulary` are the symbols from id 4 on; the ids before are padding, beginning, end and unknown. A symbol that is
    not among them is written as its characters, ids from `size` on, the first of each with a mark.
    """

    def __init__(self, unit: str, vocabulary: Sequence[str], merges: Sequence[Sequence[str]] = ()):
        self.unit = unit
        self.symbols = [*[""] * SPECIAL, *vocabulary]
        self.size = len(self.symbols)
        self._known = {symbol: i for i, symbol in enumerate(self.symbols) if i >= SPECIAL}
        self._ranks = {(left, right): rank for rank, (left, right) in enumerate(merges)}
        self._pieces: Kept[str, list[int]] = Kept(KEPT)

    def codes(self, text: str) -> list[int]:
        """The codes of a text."""
        return [code for symbol in symbols_of(text, self.unit) for code in self._codes_of(symbol)]

    def count(self, codes: Sequence[int]) -> int:
        """How many symbols codes are, a word that is spelt as one."""
        return sum(code < self.size or (code - self.size) % 2 for code in codes)

    def cut(self, codes: Sequence[int], most: int) -> Sequence[int]:
        """The codes of the first `most` symbols, as far as they take no more than 2 `most`; none is cut in two but a
        word spelt with more than 40 letters, of which the first stay."""
        if len(codes) <= most:
            return codes
        starts = [at for at, code in enumerate(codes) if code < self.size or (code - self.size) % 2]
        kept: list[int] = []
        for start, end in zip(starts[:most], [*starts[1:], len(codes)]):
            symbol = codes[start : min(end, start + SPELT, start + 2 * most)]
            if len(kept) + len(symbol) > 2 * most:
                break
            kept += symbol
        return kept

    def text(self, codes: Iterable[int]) -> str:
        """The text of codes; those of padding, beginning and end are passed over."""
        parts: list[str] = []
        for code in codes:
            letter, first = divmod(int(code) - self.size, 2)
            if code < self.size:
                parts += [self.symbols[code]] if code > UNKNOWN else []
            elif first or not parts:
                parts.append(chr(letter))
            else:
                parts[-1] += chr(letter)
        return joined(parts, self.unit)

    def _codes_of(self, symbol: str) -> list[int]:
        if self.unit != "bpe":
            known = self._known.get(symbol)
            return self._spelt(symbol) if known is None else [known]
        found = self._pieces.get(symbol)
        return self._pieces.keep(symbol, self._cut(symbol), len(symbol)) if found is None else found

    def _cut(self, symbol: str) -> list[int]:
        if all(letter in self._known for letter in symbol):
            stretches = (symbol[at : at + STRETCH] for at in range(0, len(symbol), STRETCH))
            return [self._known[piece] for stretch in stretches for piece in _merged(stretch, self._ranks)]
        each = ([self._known[one]] if one in self._known else self._spelt(one) for one in symbol)
        return [code for codes in each for code in codes]

    def _spelt(self, symbol: str) -> list[int]:
        return [self.size + 2 * ord(letter) + (place == 0) for place, letter in enumerate(symbol)]


def _merged(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pieces of a word: of two neighbours those are joined first that were learned first (Sennrich 2016)."""
    parts = list(word)
    while len(parts) > 1:
        pairs = [(ranks.get(pair, len(ranks)), place) for place, pair in enumerate(pairwise(parts))]
        rank, place = min(pairs)
        if rank == len(ranks):
            break
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return parts


def learned_pieces(texts: Iterable[str], most: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Up to `most` pieces of words and the pairs that are joined to them, the most frequent first."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=most, show_progress=False)
    tokenizer.train_from_iterator((" ".join(symbols_of(text, "bpe")) for text in texts), trainer)
    model: Any = json.loads(tokenizer.to_str())["model"]
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), pairs


def padded(rows: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """[N, R, L] int64 of rows' sequences of codes: zeros where one is shorter or lacking, -1 throughout a row without.

    R and L are those of the largest.
    """
    most = max((len(row) for row in rows), default=0) or 1
    length = max((len(codes) for row in rows for codes in row), default=0) or 1
    table = np.zeros((len(rows), most, length), np.int64)
    for place, row in enumerate(rows):
        for reference, codes in enumerate(row):
            table[place, reference, : len(codes)] = codes
        if not row:
            table[place] = -1
    return table
