"""Cleaning spelling: words that nobody writes become the likeliest word that somebody does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polymodal.core.errors import BadArgument, require
from polymodal.core.values import check_range
from polymodal.ops.base import CellOp, Sketch
from polymodal.ops.clean.hunspell import forms
from polymodal.ops.rows import Row, Rows

_TOKEN = re.compile(
    r"`[^`]*`|https?://\S+|www\.\S+|\S+@\S+|[@#]\w+|\w+(?:[./\\_:-]\w+)+|[^\W\d_]+(?:['’][^\W\d_]+)*|\w+|[.!?\n]"
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

_STEM = 4  # letters that a part of a word has at least
_BRITISH = tuple(  # American spellings, and what a British dictionary has in their place
    (re.compile(old), new)
    for old, new in (
        (r"or(?=s|ed|ful|ing|ite|y|$)", "our"),
        (r"l(?=ed$|ing$|ers?$)", "ll"),
        (r"er(s?)$", r"re\1"),
        (r"([iy])z(?=e|ing|ation)", r"\1s"),
        (r"ic(?=ed$|ing$)", "is"),
        (r"og(?=s?$)", "ogue"),
        (r"ense(?=s?$)", "ence"),
        (r"check(?=er)", "chequ"),
        (r"^pajama", "pyjama"),
        (r"^chili(?=s?$|es$)", "chilli"),
    )
)


class Spelling(CellOp):
    """Mends misspelt words: candidates by SymSpell (Garbe 2012; symspellpy, MIT), ranked by what stands beside them.

    A word is suspect when fewer than `usual` rows of the column write it and the dictionary has neither it nor what it
    is made of (an ending, a compound, an American spelling). Candidates, within `edits` insertions, deletions,
    replacements or swaps, begin with the same letter and stand in more rows than the word itself, or are the only one;
    they are ranked by their frequency and by a bigram model of the column. Names (a capital not at the start of a
    sentence), code, numbers, addresses, hashtags and words shorter than `shortest` are never touched. A specific swap
    of neighbours or a lost letter costs less than a specific wrong one, for a word has far fewer of them (noisy
    channel, Kernighan, Church & Gale 1990); the only swap that makes a word of the dictionary is trusted though no row
    writes it. `dictionary` names a file of `word count` lines or a Hunspell `.dic`, whose `.aff` lies beside it;
    without one, the English dictionary that symspellpy brings (82,765 words). Names in small letters are not told from
    slips.
    """

    kinds = ("text",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        dictionary: str | None = None,
        edits: int = 2,
        shortest: int = 4,
        usual: int = 5,
    ):
        super().__init__(columns=columns)
        self.dictionary = dictionary
        self.edits = edits
        self.shortest = shortest
        self.usual = usual
        check_range("[1, 3]", edits=edits)
        self._speller = speller(dictionary, edits, _changed(dictionary))
        self._mended: dict[tuple[str, str, str], str] = {}

    def partial_fit(self, rows: Rows) -> Sketch:
        rows_with: Counter[int] = Counter()
        beside: Counter[int] = Counter()
        for row in rows:
            for column in self.chosen:
                if row.cells.get(column) is not None:
                    words = [m[0].casefold() for m in _WORD.finditer(str(row.cells[column]))]
                    rows_with.update({_key(word) for word in words})
                    beside.update(_key(f"{a} {b}") for a, b in pairwise(words))
        return {**_arrays("word", rows_with), **_arrays("pair", beside)}

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        for name in ("word", "pair"):
            keys, inverse = np.unique(np.concatenate([p[name] for p in parts]), return_inverse=True)
            counts = np.bincount(inverse, np.concatenate([p[f"{name}_count"] for p in parts]), len(keys))
            self.state |= {name: keys, f"{name}_count": counts.astype(np.int64)}

    def mend(self, value: str, row: Row, column: str) -> str:
        tokens = list(_TOKEN.finditer(value))
        words = [t[0] if _WORD.fullmatch(t[0]) else "" for t in tokens]
        pieces, end, first = [], 0, True
        for i, token in enumerate(tokens):
            word = words[i]
            if word and self._suspect(word, first):
                before = words[i - 1].casefold() if i else ""
                after = words[i + 1].casefold() if i + 1 < len(words) else ""
                pieces += [value[end : token.start()], self._best(word, before, after)]
                end = token.end()
            if token[0].strip():
                first = token[0] in ".!?"
            else:
                first = True
        mended = "".join([*pieces, value[end:]])
        return value if mended == value else mended

    def _suspect(self, word: str, first: bool) -> bool:
        if len(word) < self.shortest or not (word.islower() or (first and word[1:].islower())):
            return False
        plain, words = word.casefold(), self._speller.words
        if plain in words or self._rows(plain) >= self.usual:
            return False
        if not is_word(plain, words):
            return True  # else made of words, as "palying" is of "paly", but a slip if a swap makes one whole word
        return not is_american(plain, words) and any(other in words for other in swaps(plain))

    def _best(self, word: str, before: str, after: str) -> str:
        key = (word, before, after)
        if key not in self._mended:
            plain = word.casefold()
            candidates = [c for c in self._candidates(plain) if _begin_alike(c.term, plain)]
            dropped = [c for c in candidates if c.term.replace("'", "") == plain]
            here = max(self._rows(plain), 1)  # a slip that is as frequent as what it should be is none
            swapped = [c for c in candidates if c.term in swaps(plain)]
            alone = candidates if len(candidates) == 1 else swapped if len(swapped) == 1 else []
            candidates = [c for c in candidates if self._rows(c.term) > here or (here == 1 and c in alone)]
            candidates = dropped or candidates
            best = max(candidates, key=lambda c: self._score(c, plain, before, after), default=None)
            chosen = word if best is None else best.term
            self._mended[key] = chosen.capitalize() if word[0].isupper() else chosen
        return self._mended[key]

    def _candidates(self, word: str) -> list[Any]:
        from symspellpy import Verbosity

        return self._speller.lookup(word, Verbosity.ALL, max_edit_distance=min(self.edits, max(1, len(word) // 4)))

    def _score(self, candidate: Any, word: str, before: str, after: str) -> tuple[float, str]:
        """Log frequency, here and in the dictionary, plus what its neighbours say, less what the edits cost."""
        here = np.log1p(self._rows(candidate.term))
        pairs = sum(self._pairs(f"{a} {b}") for a, b in ((before, candidate.term), (candidate.term, after)) if a and b)
        cost = 5.0 * candidate.distance - 2.5 * (_is_lost(word, candidate.term) or candidate.term in swaps(word))
        score = 0.5 * np.log(candidate.count + 1) + here + 2 * np.log1p(pairs) - cost
        return float(score), candidate.term

    def _rows(self, word: str) -> int:
        return _found(self.state, "word", word)

    def _pairs(self, pair: str) -> int:
        return _found(self.state, "pair", pair)


def _begin_alike(a: str, b: str) -> bool:
    """The first letter is seldom wrong (Pollock & Zamora 1984), unless it changed places with the second."""
    return a[0] == b[0] or a[:2] == b[1::-1]


def swaps(word: str) -> set[str]:
    """The words that two neighbouring letters in each other's place make of this one."""
    return {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)} - {word}


def _is_lost(word: str, other: str) -> bool:
    """Whether the word is the other one with a letter left out."""
    return len(other) == len(word) + 1 and any(other[:i] + other[i + 1 :] == word for i in range(len(other)))


def is_word(word: str, words: Container[str]) -> bool:
    """Whether a word is in the dictionary, or an ending, a compound or an American spelling of words that are."""
    if word in words or any(word.removesuffix(s) in words for s in ("'s", "’s")):
        return True
    for ending in ("s", "es", "ed", "er", "ers", "ing", "ly", "less"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _STEM and (stem in words or f"{stem}e" in words):
            return True
    if any(word[:i] in words and word[i:] in words for i in range(_STEM, len(word) - _STEM + 1)):
        return True
    return is_american(word, words)


def is_american(word: str, words: Container[str]) -> bool:
    """Whether a word is the American spelling of one in the dictionary, or its plural."""
    spellings = (new for old, british in _BRITISH if (new := old.sub(british, word)) != word)
    return any(new in words or (new.endswith("s") and new[:-1] in words) for new in spellings)


def _changed(dictionary: str | None) -> float:
    return Path(dictionary).stat().st_mtime if dictionary is not None and Path(dictionary).is_file() else 0.0


@cache
def speller(dictionary: str | None, edits: int, changed: float) -> Any:
    """A SymSpell with its dictionary as it was `changed` last; loaded once a process.

    Raises `BadArgument` for a file that is none.
    """
    symspell = require("symspellpy", "text").SymSpell(max_dictionary_edit_distance=edits)
    if dictionary is None:
        path = files("symspellpy") / "frequency_dictionary_en_82_765.txt"
        symspell.load_dictionary(str(path), term_index=0, count_index=1)
        return symspell
    file = Path(dictionary)
    if not file.is_file():
        raise BadArgument(f"The dictionary {dictionary!r} does not exist.")
    if file.suffix == ".dic":
        entries = [(word, 1) for word in forms(file)]
    else:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        entries = [_entry(line, number, dictionary) for number, line in enumerate(lines, 1) if line.strip()]
    for word, frequency in entries:
        symspell.create_dictionary_entry(word.casefold(), frequency)
    if not symspell.word_count:
        raise BadArgument(f"The dictionary {dictionary!r} holds no word.")
    return symspell


def _entry(line: str, number: int, name: str) -> tuple[str, int]:
    word, _, frequency = line.strip().partition(" ")
    if not frequency.strip().isdigit():
        raise BadArgument(
            f"Line {number} of {name} must be a word and a count, as in 'house 1200'; got {line.strip()!r}."
        )
    return word, int(frequency)


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def _arrays(name: str, counts: Counter[int]) -> Sketch:
    return {
        name: np.fromiter(counts.keys(), np.uint64, len(counts)),
        f"{name}_count": np.fromiter(counts.values(), np.int64, len(counts)),
    }


def _found(state: Sketch, name: str, text: str) -> int:
    keys = state.get(name)
    if keys is None or not len(keys):
        return 0
    key = np.uint64(_key(text))
    at = min(int(np.searchsorted(keys, key)), len(keys) - 1)
    return int(state[f"{name}_count"][at]) if keys[at] == key else 0
