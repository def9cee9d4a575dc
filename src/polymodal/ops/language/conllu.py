"""CoNLL-U, the format of treebanks: ten fields a word, an empty line after each sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polymodal.core.errors import BadData
from polymodal.core.limits import open_file

FIELDS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")


@dataclass
class Sentence:
    """Words with their tags; `heads` are 1-based, 0 is the root, empty like `relations` where there is no tree.

    `joined` are the multiword tokens, first word (1-based), last word, and how they are written: French "du" is the
    words "de" and "le".
    """

    words: list[str]
    tags: list[str]
    heads: list[int] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    spaces: list[bool] = field(default_factory=list)  # whether a space follows each word
    line: int = 0  # where it begins in its file
    joined: list[tuple[int, int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    def text(self) -> str:
        """The sentence as it was written."""
        return "".join(w + " " * s for w, s in self.written()).strip()

    def written(self) -> list[tuple[str, bool]]:
        """The tokens as they are written, multiword ones whole, and whether a space follows each."""
        spaces = self.spaces or [True] * len(self)
        wide = {first: (last, form) for first, last, form in self.joined}
        tokens, i = [], 1
        while i <= len(self):
            last, form = wide.get(i, (i, self.words[i - 1]))
            tokens.append((form, spaces[last - 1]))
            i = last + 1
        return tokens


def read_conllu(path: str | Path) -> list[Sentence]:
    """The sentences of a file, in UTF-8. Multiword tokens are kept beside their words, empty nodes left out.

    Raises `BadData`, which names the line, for what is not CoNLL-U: fields, numbers, heads, loops.
    """
    try:
        with open_file(Path(path), "table") as file:
            text = file.read().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 (byte {error.start}); CoNLL-U is.") from error
    sentences: list[Sentence] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        line = line.rstrip("\r")
        if line.strip():
            if not line.startswith("#"):
                block.append((number, line))
        elif block:
            sentences.append(_sentence(block, str(path)))
            block = []
    if not sentences:
        raise BadData(f"{path} holds no sentence.")
    return sentences


def told(one: Sentence) -> str:
    """One sentence as CoNLL-U lines."""
    heads = [str(head) for head in one.heads] or ["_"] * len(one)
    relations = one.relations or ["_"] * len(one)
    spaces = one.spaces or [True] * len(one)
    tags = one.tags or ["_"] * len(one)
    wide = {first: (last, form) for first, last, form in one.joined}
    return "".join(
        _wide(i, wide, spaces)
        + f"{i}\t{word}\t_\t{tag}\t_\t_\t{head}\t{relation}\t_\t{'_' if space else 'SpaceAfter=No'}\n"
        for i, (word, tag, head, relation, space) in enumerate(zip(one.words, tags, heads, relations, spaces), 1)
    )


def _sentence(block: Sequence[tuple[int, str]], path: str) -> Sentence:
    one = Sentence([], [], line=block[0][0])
    heads: list[str] = []
    lines: list[int] = []
    after = True  # whether a space follows the newest multiword token
    for number, line in block:
        cells = line.split("\t")
        where = f"{path}, line {number}"
        if len(cells) != len(FIELDS):
            raise BadData(f"{where}: {len(cells)} fields; CoNLL-U has {len(FIELDS)}, parted by tabs.")
        if "-" in cells[0] or "." in cells[0]:
            if "-" in cells[0]:
                one.joined.append((*_range(cells[0], len(one) + 1, where), cells[1]))
                after = _spaced(cells[9])
            continue
        if cells[0] != str(len(one) + 1):
            raise BadData(f"{where}: the word's number is {cells[0]!r}; {len(one) + 1} was due.")
        if not cells[1] or not cells[3]:
            raise BadData(f"{where}: {'FORM' if not cells[1] else 'UPOS'} is empty; write _ where nothing is known.")
        one.words.append(cells[1])
        one.tags.append(cells[3])
        one.relations.append(cells[7])
        last = one.joined[-1][1] if one.joined else 0
        one.spaces.append(_spaced(cells[9]) and (len(one) > last or (len(one) == last and after)))
        heads.append(cells[6])
        lines.append(number)
    if one.joined and one.joined[-1][1] > len(one):
        raise BadData(f"{path}, line {block[0][0]}: a token ends at word {one.joined[-1][1]} of {len(one)}.")
    if not one.words:
        raise BadData(f"{path}, line {block[0][0]}: a sentence without a word.")
    if set(heads) == {"_"}:
        one.relations = []
        return one
    for head, number in zip(heads, lines):
        if not head.isdecimal() or int(head) > len(one):
            raise BadData(f"{path}, line {number}: HEAD is {head!r}; allowed are 0 to {len(one)}.")
    one.heads = [int(head) for head in heads]
    looped = _looped(one.heads)
    if looped:
        raise BadData(f"{path}, line {lines[looped - 1]}: word {looped} is its own ancestor; heads must form a tree.")
    return one


def _spaced(misc: str) -> bool:
    return "SpaceAfter=No" not in misc.split("|")


def _range(given: str, due: int, where: str) -> tuple[int, int]:
    """The first and last word of a multiword token, of which `due` must be the first."""
    first, _, last = given.partition("-")
    if first != str(due) or not last.isdecimal() or int(last) < due:
        raise BadData(f"{where}: the token's range is {given!r}; one that begins with {due} was due.")
    return due, int(last)


def _wide(i: int, wide: Mapping[int, tuple[int, str]], spaces: Sequence[bool]) -> str:
    """The line of the multiword token that begins at word `i`, or nothing."""
    if i not in wide:
        return ""
    last, form = wide[i]
    return f"{i}-{last}\t{form}" + 7 * "\t_" + ("\t_\n" if spaces[last - 1] else "\tSpaceAfter=No\n")


def _looped(heads: Sequence[int]) -> int:
    """The first word from which the root cannot be reached, or 0."""
    for start in range(1, len(heads) + 1):
        at, steps = start, 0
        while at and steps <= len(heads):
            at, steps = heads[at - 1], steps + 1
        if at:
            return start
    return 0
