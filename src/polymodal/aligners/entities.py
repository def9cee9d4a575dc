"""Entities found in text: exact matching of names of any number of words, the longest first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

WORD = re.compile(r"[^\W_]+(?:'(?!s\b)[^\W_]+)*")  # letters and digits; an apostrophe within, but not before a last s
IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "wolves": "wolf", "knives": "knife", "leaves": "leaf", "shelves": "shelf",
    "wives": "wife", "lives": "life", "halves": "half", "loaves": "loaf", "scarves": "scarf", "calves": "calf",
    "oxen": "ox", "potatoes": "potato", "tomatoes": "tomato", "heroes": "hero", "shoes": "shoe", "canoes": "canoe",
    "movies": "movie", "cookies": "cookie", "horses": "horse", "houses": "house",
}  # fmt: skip


class Mention(NamedTuple):
    """Characters `start` to `stop` of a text name `entities`: several where they share the name."""

    start: int
    stop: int
    entities: tuple[int, ...]


def words(text: str, *, plurals: bool = True) -> list[tuple[str, int, int]]:
    """The text's words with their places: case and width folded; with `plurals`, English plurals as singulars."""
    if not text.isascii():
        text = "".join(folded if len(folded := unicodedata.normalize("NFKC", c)) == 1 else c for c in text)
    tokens = [(m.group().casefold(), m.start(), m.end()) for m in WORD.finditer(text)]
    return [(singular(w), a, b) for w, a, b in tokens] if plurals else tokens


def singular(word: str) -> str:
    """The singular of an English noun by its ending; a word that is no plural comes back as it is."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "ous")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "zes", "ches", "shes")) else word[:-1]


class Gazetteer:
    """Names of entities in a trie of words. `names[i]` are those of entity i; with `plurals`, number does not matter.

    A match begins and ends at words' ends ("cat" is not in "catalogue"); of those that begin at a place the longest
    counts ("hot dog", not "dog"), and matches do not overlap.
    """

    def __init__(self, names: Iterable[Iterable[str]], *, plurals: bool = True):
        self.plurals = plurals
        self._root: dict[Any, Any] = {}
        for entity, mine in enumerate(names):
            for name in mine:
                node = self._root
                path = [word for word, _, _ in words(name.replace("_", " "), plurals=plurals)]
                for word in path:
                    node = node.setdefault(word, {})
                if path:
                    known = node.setdefault(None, [])  # no word is None: who ends here
                    known += [entity] if entity not in known else []

    def find(self, text: str) -> list[Mention]:
        """Every mention in order; none in an empty text."""
        tokens = words(text, plurals=self.plurals)
        mentions, at = [], 0
        while at < len(tokens):
            last, who = self._longest(tokens, at)
            if who:
                mentions.append(Mention(tokens[at][1], tokens[last][2], tuple(who)))
            at = last + 1
        return mentions

    def _longest(self, tokens: list[tuple[str, int, int]], at: int) -> tuple[int, list[int]]:
        node: Mapping[Any, Any] = self._root
        last, who = at, []
        for i in range(at, len(tokens)):
            if tokens[i][0] not in node:
                break
            node = node[tokens[i][0]]
            if None in node:
                last, who = i, node[None]
        return last, who

    def entities(self, text: str) -> list[int]:
        """Who is named, each once, in order of first mention."""
        return list(dict.fromkeys(e for mention in self.find(text) for e in mention.entities))
