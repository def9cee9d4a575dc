"""Scripts that put no spaces between words: Chinese and Japanese, Thai, Lao, Burmese and Khmer.

Insides of character classes of `re`. Digits and signs of these scripts are left out: a number is one word.
"""

from __future__ import annotations

import unicodedata

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
THAI_LAO = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf"
BURMESE_KHMER = "\u1000-\u103f\u104c-\u108f\u109a-\u109f\u1780-\u17d3\u17d7\u17dc\u17dd"
UNSPACED = HAN + KANA + THAI_LAO + BURMESE_KHMER
ENDS = "\u0e4f\u0e5a\u0e5b\u104a\u104b\u17d4\u17d5\u17d6\u17d8\u17d9\u17da"  # signs that end a sentence
_STACKS = "\u1039\u17d2"  # the letter after one stands below the letter before
_MARKS = "\u0e33\u0eb3\u3099\u309a" + "".join(
    chr(code) for code in (*range(0x0E00, 0x0F00), *range(0x1000, 0x10A0), *range(0x1780, 0x1800))
    if unicodedata.category(chr(code)) in ("Mn", "Mc")
)  # fmt: skip
CHARACTER = f"[{UNSPACED}](?:[{_STACKS}][{UNSPACED}]|[{_MARKS}])*"  # a letter with its marks, as readers see it
