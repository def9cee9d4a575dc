"""Words that may stand for one another: WordNet's files, or a list of the user's own."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from polymodal.core.errors import BadArgument

# Where systems and NLTK put WordNet's `index.noun`, `data.noun`, …
_PLACES = (
    "/usr/share/wordnet",
    "/usr/local/WordNet-3.0/dict",
    "/opt/homebrew/share/wordnet",
    "~/nltk_data/corpora/wordnet",
)
_PARTS = ("noun", "verb", "adj", "adv")


@cache
def synonyms(source: str) -> dict[str, tuple[str, ...]]:
    """Word to its synonyms, the commonest sense's first.

    `source` is `wordnet` (Miller 1995: its files where the system keeps them, or where WNSEARCHDIR says), a folder that
    holds them, or a text file with a group of synonyms a line, separated by spaces, tabs or commas; a first
    entry that ends in `=` or `#`, as in Cilin (Mei 1983), names the group, and groups marked `#` are related, not
    synonymous, and are left out.

    Raises `BadArgument` where there is no such thing.
    """
    if source != "wordnet" and not Path(source).expanduser().exists():
        raise BadArgument(
            f"The list of synonyms {source!r} does not exist. Give 'wordnet', its folder, or a text file."
        )
    if source != "wordnet" and Path(source).is_file():
        return _groups(Path(source))
    places = [os.environ.get("WNSEARCHDIR", ""), *_PLACES] if source == "wordnet" else [source]
    for place in places:
        folder = Path(place).expanduser()
        if place and (folder / "index.noun").is_file():
            return _wordnet(folder)
    raise BadArgument(
        "WordNet's files (index.noun, data.noun, …) were not found. Install them (Debian: wordnet-base; NLTK: "
        "nltk.download('wordnet'), unpacked), set WNSEARCHDIR, or give a text file with a group of synonyms a line."
    )


def _groups(path: Path) -> dict[str, tuple[str, ...]]:
    synonyms_of: dict[str, dict[str, None]] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        words = line.replace(",", " ").split()
        if words and words[0][-1] in "=#@":
            if words[0][-1] != "=":
                continue
            words = words[1:]
        for word in words:
            synonyms_of.setdefault(word, {}).update(dict.fromkeys(w for w in words if w != word))
    if not synonyms_of:
        raise BadArgument(
            f"{path.name} holds no group of synonyms: one a line was expected, words separated by spaces."
        )
    return {word: tuple(others) for word, others in synonyms_of.items() if others}


def _wordnet(folder: Path) -> dict[str, tuple[str, ...]]:
    """The words that share the first (commonest) sense, of single words; senses further down change the meaning."""
    synonyms_of: dict[str, tuple[str, ...]] = {}
    for part in _PARTS:
        data = (folder / f"data.{part}").read_bytes()
        with open(folder / f"index.{part}", encoding="latin-1") as lines:
            for line in lines:
                if line.startswith(" ") or "_" in line.split(" ", 1)[0]:
                    continue
                entry = line.split()
                word = entry[0]
                first = int(entry[-int(entry[2])])
                others = tuple(w for w in _members(data, first) if w.lower() != word and "_" not in w)
                if others and word not in synonyms_of:
                    synonyms_of[word] = others
    return synonyms_of


def _members(data: bytes, offset: int) -> list[str]:
    """Words of the synset at a byte offset: `offset file type count word id word id …`, the count in hexadecimal."""
    fields = data[offset : data.index(b"\n", offset)].decode("latin-1").split(" ")
    return [fields[4 + 2 * i].split("(")[0] for i in range(int(fields[3], 16))]
