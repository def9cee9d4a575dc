"""Words and sentences by rules, and the engines that bring a dictionary along."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

from polymodal.core.errors import require

_CHINESE = re.compile(r"[\u3400-\u9fff]")
_PIECE = re.compile(
    r"https?://\S+|[\w.+-]+@\w[\w-]*(?:\.\w+)+|[\u3400-\u9fff]|\d+(?:[.,:]\d+)*|(?:[A-Z]\.){2,}"
    r"|(?:Mr|Mrs|Ms|Dr|Prof|St)\.|[^\W\d_]+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"
    r"|[^\W\u3400-\u9fff]+(?:-[^\W\u3400-\u9fff]+)*|\.{3}|\S"
)
_ENDS = frozenset(".!?。！？…") | {"..."}
_CLOSING = frozenset("\"'”’)」』")


def chinese(text: str) -> bool:
    """Whether a text has Chinese characters."""
    return bool(_CHINESE.search(text))


def words_by_rules(text: str) -> list[str]:
    """Words and signs of a text with spaces, as the Penn Treebank parts them ("do n't"); Chinese letter by letter."""
    return _PIECE.findall(text)


def words_of(text: str) -> list[str]:
    """Words by jieba where a text is Chinese, else by rules."""
    return cut_chinese(text)[0] if chinese(text) else words_by_rules(text)


def sentences(words: Sequence[str]) -> list[list[str]]:
    """Words in sentences, each up to its closing signs."""
    found: list[list[str]] = [[]]
    ended = False
    for word in words:
        closes = word in _ENDS or (ended and word in _CLOSING)
        if ended and not closes:
            found.append([])
        found[-1].append(word)
        ended = closes
    return [one for one in found if one]


@cache
def jieba_pair() -> tuple[Any, Any]:
    """jieba's tokenizer and tagger, each of our own: words that other code adds to jieba do not reach them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes and pkg_resources in a package of 2020
        jieba = require("jieba", "language")
        posseg = require("jieba.posseg", "language")
        jieba.setLogLevel(60)
        tokenizer = jieba.Tokenizer()
        tokenizer.initialize()
        return tokenizer, posseg.POSTokenizer(tokenizer)


def cut_chinese(text: str, hmm: bool = True) -> tuple[list[str], float]:
    """The words of a text by jieba, and the share of its Chinese letters in words that its dictionary has."""
    tokenizer, _ = jieba_pair()
    words = [word for word in tokenizer.lcut(text, HMM=hmm) if not word.isspace()]
    return words, known_share(words)


def tag_chinese(text: str) -> tuple[list[str], list[str], float]:
    """Words, their tags in the set of ICTCLAS, and the share of letters in known words, by jieba.posseg."""
    _, tagger = jieba_pair()
    pairs = [(p.word, p.flag) for p in tagger.lcut(text) if not p.word.isspace()]
    return [w for w, _ in pairs], [t for _, t in pairs], known_share([w for w, _ in pairs])


def known_share(words: Sequence[str]) -> float:
    """The share of Chinese letters that stand in words of jieba's dictionary; 1 where there is none."""
    tokenizer, _ = jieba_pair()
    letters = {word: len(word) for word in words if chinese(word)}
    total = sum(letters[w] for w in words if w in letters)
    return sum(letters[w] for w in words if w in letters and tokenizer.FREQ.get(w)) / total if total else 1.0


@cache
def _english() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # textblob leaves its lexicon's file to the collector
        found = require("textblob.en", "language").parser
        found.find_tags(["warm"])
        len(found.lexicon)
        return found


def tag_english(words: Sequence[str]) -> tuple[list[str], float]:
    """Penn tags by the lexicon and rules that textblob brings along (Brill 1992; De Smedt & Daelemans 2012), and the
    share of words that the lexicon has."""
    parser = _english()
    tags = [pair[1] for pair in parser.find_tags(list(words))]
    known = [word in parser.lexicon or word.lower() in parser.lexicon for word in words if word[0].isalpha()]
    return tags, sum(known) / len(known) if known else 1.0
