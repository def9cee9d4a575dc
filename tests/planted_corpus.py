"""A small grammar with trees: ambiguous words, words never seen in training, and sentences with two readings.

"saw" and "light" are noun or verb by their place, "old" adjective or noun; a phrase with "with" belongs to the verb
after "saw" and to the noun otherwise. A share of nouns, verbs and names is made up of syllables, each used about once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from polymodal.ops.language.conllu import Sentence, told

NOUNS = ["dog", "man", "house", "ship", "saw", "light", "old", "park", "tree", "letter"]
VERBS = ["saw", "light", "follow", "find", "paint", "lift"]
SYLLABLES = ["ba", "ke", "li", "mo", "nu", "ra", "so", "ti", "vu", "za"]


def planted(count: int, *, seed: int = 0, unknown: float = 0.15) -> list[Sentence]:
    """`count` sentences; `unknown` is the share of nouns and verbs that are made up."""
    rng = random.Random(seed)
    return [_Writer(rng, unknown).sentence() for _ in range(count)]


class _Writer:
    def __init__(self, rng: random.Random, unknown: float):
        self.rng, self.unknown = rng, unknown
        self.one = Sentence([], [])

    def sentence(self) -> Sentence:
        subject = self.noun_phrase()
        adverb = self.word("often", "ADV") if self.rng.random() < 0.3 else None
        form = self.made("ed") if self.rng.random() < self.unknown else self.rng.choice(VERBS)
        verb = self.word(form, "VERB")
        self.tie(subject, verb, "nsubj")
        if adverb is not None:
            self.tie(adverb, verb, "advmod")
        thing = self.noun_phrase()
        self.tie(thing, verb, "obj")
        if self.rng.random() < 0.5:
            case = self.word("with", "ADP")
            other = self.noun_phrase()
            self.tie(case, other, "case")
            self.tie(other, verb if form == "saw" else thing, "obl" if form == "saw" else "nmod")
        self.one.spaces[-1] = False
        self.tie(self.word(".", "PUNCT"), verb, "punct")
        self.one.heads[verb] = 0
        self.one.relations[verb] = "root"
        return self.one

    def noun_phrase(self) -> int:
        if self.rng.random() < 0.2:
            return self.word(self.made("").capitalize(), "PROPN")
        article = self.word(self.rng.choice(["the", "a"]), "DET")
        adjective = self.word(self.rng.choice(["old", "red", "tall"]), "ADJ") if self.rng.random() < 0.4 else None
        noun = self.word(self.made("ness") if self.rng.random() < self.unknown else self.rng.choice(NOUNS), "NOUN")
        self.tie(article, noun, "det")
        if adjective is not None:
            self.tie(adjective, noun, "amod")
        return noun

    def made(self, ending: str) -> str:
        return "".join(self.rng.choice(SYLLABLES) for _ in range(3)) + ending

    def word(self, form: str, tag: str) -> int:
        self.one.words.append(form)
        self.one.tags.append(tag)
        self.one.heads.append(-1)
        self.one.relations.append("_")
        self.one.spaces.append(True)
        return len(self.one) - 1

    def tie(self, word: int, head: int, relation: str) -> None:
        self.one.heads[word] = head + 1
        self.one.relations[word] = relation


def projective(heads: Sequence[int]) -> bool:
    """Whether no two arcs cross (the root stands before the first word)."""
    arcs = sorted((min(i, h), -max(i, h)) for i, h in enumerate(heads, 1))
    open_: list[int] = []  # right ends of the arcs that span this place, the innermost last
    for left, right in arcs:
        while open_ and open_[-1] <= left:
            open_.pop()
        if open_ and open_[-1] < -right:
            return False
        open_.append(-right)
    return True


def write_conllu(path: str | Path, sentences: Iterable[Sentence]) -> None:
    """Write sentences as CoNLL-U."""
    Path(path).write_text("".join(told(one) + "\n" for one in sentences), encoding="utf-8")
