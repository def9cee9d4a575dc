"""Words and sentences by rules, and the engines that bring a dictionary along."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from polymodal.core.errors import require
from polymodal.core.scripts import HAN
from polymodal.metrics.words import jieba_tokenizer

_CHINESE = re.compile(f"[{HAN}]")
_KANA = re.compile(r"[\u3041-\u30fa\u31f0-\u31ff]")
_WHOLE = re.compile(  # what no engine may cut: addresses, numbers with signs inside, words of Latin letters and digits
    r"https?://[!-~]*[\w/#=&%-]|[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9][\w-]*(?:\.[A-Za-z0-9]\w*)+"
    r"|(?<![A-Za-z0-9])[0-9０-９]+(?:[.,:．，：][0-9０-９]+)*(?![A-Za-z0-9])[%％]?|[A-Za-z][A-Za-z0-9_]*(?:[.+#-]+[A-Za-z0-9]+)*[+#]*",
    re.ASCII,
)
_ENDS = frozenset(".!?。！？…") | {"..."}
_CLOSING = frozenset("\"'”’)」』")


def chinese(text: str) -> bool:
    """Whether a text has Chinese characters, and no kana, which would make it Japanese."""
    return bool(_CHINESE.search(text)) and not _KANA.search(text)


@cache
def _pieces() -> re.Pattern[str]:
    """The pattern of `words_by_rules`."""
    marks = _ranges(c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
    word = rf"[^\W{HAN}](?:[^\W{HAN}]|[{marks}\u200c\u200d])*"  # marks and joiners are no \\w, but parts of words
    letters = rf"[^\W\d_{HAN}]"
    sign = "[\u2600-\u27bf\U0001f300-\U0001faff]"
    emoji = f"{sign}[\ufe0f\U0001f3fb-\U0001f3ff]*(?:\u200d{sign}[\ufe0f\U0001f3fb-\U0001f3ff]*)*"
    return re.compile(
        rf"https?://[!-~]*[\w/#=&%-]|[\w.+-]{{1,64}}@\w[\w-]*(?:\.\w+)+|[{HAN}]|\d+(?:[.,:]\d+)+|\d+(?!\w)"
        rf"|(?:[A-Z]\.){{2,}}|(?:Mr|Mrs|Ms|Dr|Prof|St)\.|{letters}+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"
        rf"|{word}(?:-{word})*|[\U0001f1e6-\U0001f1ff]{{2}}|{emoji}|\.{{3}}|[^\s\u200b-\u200f\u2060\ufeff]"
    )


def _ranges(codes: Iterable[int]) -> str:
    """Code points as the inside of a character class."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in runs)


def words_by_rules(text: str) -> list[str]:
    """Words and signs of a text with spaces, as the Penn Treebank parts them ("do n't"); Chinese letter by letter."""
    return _pieces().findall(text)


def words_of(text: str) -> list[str]:
    """Words by jieba where a text is Chinese, else by rules."""
    return cut_chinese(text)[0] if chinese(text) else words_by_rules(text)


def sentences(words: Sequence[str]) -> list[list[str]]:
    """Words in sentences, each up to its closing signs."""
    by_sentence: list[list[str]] = [[]]
    ended = False
    for word in words:
        closes = word in _ENDS or (ended and word in _CLOSING)
        if ended and not closes:
            by_sentence.append([])
        by_sentence[-1].append(word)
        ended = closes
    return [one for one in by_sentence if one]


def paragraphs(text: str) -> list[str]:
    """What empty lines part: no sentence goes across one."""
    return [one for one in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n")) if one.strip()]


@cache
def _simple() -> dict[int, str]:
    """Traditional to simplified characters, one for one, by the table that snownlp brings along."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = require("snownlp.normal.zh", "language").zh2hans
    return {ord(a): b for a, b in table.items() if len(a) == 1 and len(b) == 1}


def simplified(text: str) -> str:
    """Traditional characters as simplified ones, letter for letter, so that places stay."""
    return text.translate(_simple())


@cache
def jieba_pair() -> tuple[Any, Any]:
    """jieba's tokenizer and tagger, each of our own: words that other code adds to jieba do not reach them."""
    tokenizer = jieba_tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as old as jieba itself
        return tokenizer, require("jieba.posseg", "language").POSTokenizer(tokenizer)


def cut_chinese(text: str, hmm: bool = True) -> tuple[list[str], float]:
    """The words of a text by jieba, and the share of its Chinese letters in words that its dictionary has.

    jieba reads traditional characters as the simplified ones, and never cuts a number, an address or a Latin word.
    """
    tokenizer, _ = jieba_pair()
    words = [word for word, _ in _cut(text, lambda part: [(w, "") for w in tokenizer.cut(part, HMM=hmm)])]
    return words, known_share(words)


def tag_chinese(text: str) -> tuple[list[str], list[str], float]:
    """Words, their tags in the set of ICTCLAS, and the share of letters in known words, by jieba.posseg."""
    _, tagger = jieba_pair()
    pairs = _cut(text, lambda part: [(p.word, p.flag) for p in tagger.cut(part)])
    return [w for w, _ in pairs], [t for _, t in pairs], known_share([w for w, _ in pairs])


def _cut(text: str, way: Callable[[str], Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Words as they stand in the text, with their tags, each stretch of Chinese cut by `way`."""
    tagged: list[tuple[str, str]] = []
    at = 0
    for whole in [*_WHOLE.finditer(text), None]:
        part = text[at : whole.start()] if whole else text[at:]
        for word, tag in way(simplified(part)):
            as_is, at = text[at : at + len(word)], at + len(word)
            if as_is.strip("\u200b\u200e\u200f\u2060\ufeff") and not as_is.isspace():
                tagged.append((as_is, tag))
        if whole:
            tagged.append((whole.group(), "m" if whole.group()[0].isdigit() else "eng"))
            at = whole.end()
    return tagged


def known_share(words: Sequence[str]) -> float:
    """The share of Chinese letters that stand in words of jieba's dictionary; 1 where there is none."""
    tokenizer, _ = jieba_pair()
    han = [word for word in words if chinese(word)]
    total = sum(map(len, han))
    return sum(len(word) for word in han if tokenizer.FREQ.get(simplified(word))) / total if total else 1.0


_SIGNS = {**dict.fromkeys(".!?。…", "."), **dict.fromkeys(",、", ","), **dict.fromkeys(":;—–-", ":"),
          **dict.fromkeys("([{「『《【", "("), **dict.fromkeys(")]}」』》】", ")"), **dict.fromkeys("“‘", "``"),
          **dict.fromkeys("”’\"'", "''")}  # fmt: skip
_SUBJECTS = frozenset(["it", "he", "she", "that", "there", "here", "what", "who", "where", "how", "when", "this"])


@cache
def _english() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # textblob leaves its lexicon's file to the collector
        parser = require("textblob.en", "language").parser
        parser.find_tags(["warm"])
        len(parser.lexicon)
        return parser


def tag_english(words: Sequence[str]) -> tuple[list[str], float]:
    """Penn tags by the lexicon and rules that textblob brings along (Brill 1992; De Smedt & Daelemans 2012), and the
    share of words that the lexicon has."""
    parser = _english()
    tags = [pair[1] for pair in parser.find_tags(list(words))]
    for i, word in enumerate(words):
        if not any(c.isalnum() for c in word) and word not in parser.lexicon:
            tags[i] = _SIGNS.get(unicodedata.normalize("NFKC", word)[:1], "SYM")
        elif tags[i] == "POS" and i and words[i - 1].lower() in _SUBJECTS:
            tags[i] = "VBZ"  # it's, that's: is or has
    known = [word in parser.lexicon or word.lower() in parser.lexicon for word in words if word[0].isalpha()]
    return tags, sum(known) / len(known) if known else 1.0
