"""Words as the field's metrics count them, and answers without what does not matter.

`words` imitates what COCO's captions are cut by: Stanford's PTBTokenizer 3.4.1, small letters, and the signs left out
that `pycocoevalcap` leaves out; both agree on 17,499 of 17,500 captions of Flickr8k. What has no spaces is read by
characters, each a word (Chinese, Japanese, Thai, Lao, Burmese, Khmer); Chinese may be cut by jieba.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

from polymodal.core.errors import BadArgument, require
from polymodal.core.kept import Kept
from polymodal.core.scripts import CHARACTER, ENDS, HAN

SEGMENTS = ("characters", "jieba")
_SPACELESS = re.compile(CHARACTER)
_NOT_HAN = re.compile(f"(?![{HAN}]){CHARACTER}")
_RUN = re.compile(f"[{HAN}]+")
_SIGNS = str.maketrans({
    **dict.fromkeys("‘’‛′", "'"), **dict.fromkeys("“”„«»「」『』", '"'), **dict.fromkeys("–—", " -- "), "…": "...",
    **dict.fromkeys("。，、！？；：（）《》〈〉【】·～،؟؛।", " "), **dict.fromkeys(ENDS, " "),
})  # fmt: skip
_BRACKETS = {"(": " -lrb- ", ")": " -rrb- ", "[": " -lsb- ", "]": " -rsb- ", "{": " -lcb- ", "}": " -rcb- "}
_STEPS = tuple((re.compile(pattern), by) for pattern, by in (
    (r"(\.{2,}|--+|[!?]+|[\"#$%&*+=<>;`~^|\\]|,(?!\d)|(?<!\d),|:(?!\d)|(?<!\d):)", r" \1 "),  # signs apart
    (r"(?<!\S)-+(?!\d|[lr][rsc]b-)|(?<!-[lr][rsc]b)-+(?!\S)", " "),  # hyphens at an end
    (r"(?<!\s'n)'(?!\S)|(?<!\S)'(?!\d0s|n'(?!\S)|t\s|(?:tis|twas|s|re|ve|ll|d|m)\b)", " "),  # single quotes about words
    (r"(?<!\S)((?:[^\s.]\.)+|(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc)\.)(?!\S)", r"\1\\"),  # abbreviations keep their dot
    (r"(?<=[^\s.])\.(?!\S)|\\", " "),  # other dots at an end go, and what guarded those
    (r"(?<=\w)(n't)\b", r" \1"),
    (r"(?<=\w)('(?:s|re|ve|ll|d|m))\b-?", r" \1 "),
    (r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b|('t)(is|was)\b", r"\1\3\5\7\9 \2\4\6\8\10"),
    (r"[()\[\]{}]", lambda found: _BRACKETS[found[0]]),
))  # fmt: skip
_DROPPED = frozenset(('"', "'", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))

_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_MARKS = re.compile(r"[!\"#$%&()*+,/:;<=>?@\[\\\]^_`{|}~-]|(?<!\d)\.|\.(?!\d)")
NUMBERS = {
    w: str(i)
    for i, w in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
NUMBERS["none"] = "0"
ARTICLES = frozenset(("a", "an", "the"))

_CUT: Kept[tuple[str, str], tuple[str, ...]] = Kept(1 << 22)  # letters: some 80,000 captions, 50 MB
_WORDS: Kept[str, str] = Kept(1 << 20)  # that the same word is not held twice


def words(text: str, segment: str = "characters") -> tuple[str, ...]:
    """The words of a text, in small letters and without signs; brackets are `-lrb-` and the like, as in COCO's.

    `segment` says how Chinese is cut: `characters`, or `jieba` (extra `language`).
    """
    found = _CUT.get((text, segment))
    return _CUT.keep((text, segment), _cut(text, segment), len(text)) if found is None else found


def _cut(text: str, segment: str) -> tuple[str, ...]:
    text = text.lower().translate(_SIGNS)
    if _SPACELESS.search(text):
        if segment == "jieba":
            text = _RUN.sub(lambda run: f" {' '.join(jieba_tokenizer().cut(run[0]))} ", text)
        text = (_NOT_HAN if segment == "jieba" else _SPACELESS).sub(r" \g<0> ", text)
    for pattern, by in _STEPS:
        text = pattern.sub(by, text)
    said = (word for word in text.split() if word not in _DROPPED)
    return tuple(_WORDS.get(word) or _WORDS.keep(word, word, len(word)) for word in said)


def normal(text: str, *, numbers: bool = True) -> str:
    """An answer in small letters without signs and articles, as questions about pictures are judged (Antol et al.
    2015), and with `numbers` the words none to ten as figures. An answer of nothing but articles is kept.

    Apostrophes go on both sides, where the official script has a list of contractions: "dont" is "don't".
    """
    said = spoken(text.translate(_SIGNS).replace("'", ""))
    said = [NUMBERS.get(word, word) for word in said] if numbers else said
    return " ".join([word for word in said if word not in ARTICLES] or said)


def spoken(text: str) -> list[str]:
    """What spaces part, in small letters, without signs but for apostrophes within words."""
    text = _THOUSANDS.sub("", text.lower().translate(_SIGNS))
    parts = _SPACELESS.sub(r" \g<0> ", _MARKS.sub(" ", text)).split()
    return [word for part in parts if (word := part.strip("'"))]


@cache
def jieba_tokenizer() -> Any:
    """jieba's tokenizer, of our own: words that other code adds to jieba do not reach it. Raises `MissingExtra`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes and pkg_resources in a package of 2020
        jieba = require("jieba", "language")
        jieba.setLogLevel(60)
        tokenizer = jieba.Tokenizer()
        tokenizer.initialize()
        return tokenizer


def check_segment(segment: str, of: str) -> None:
    """Raise `BadArgument` unless `segment` is a way to cut Chinese; where jieba is missing, `MissingExtra`."""
    if segment not in SEGMENTS:
        raise BadArgument(f"{of} takes segment={' or '.join(map(repr, SEGMENTS))}; got {segment!r}.")
    if segment == "jieba":
        jieba_tokenizer()
