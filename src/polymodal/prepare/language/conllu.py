"""CoNLL-U, the format of treebanks: ten fields a word, an empty line after each sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polymodal.core.errors import BadData

FIELDS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")


@dataclass
class Sentence:
    """Words with their tags; `heads` are 1-based, 0 is the root, empty like `relations` where there is no tree."""

    words: list[str]
    tags: list[str]
    heads: list[int] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    spaces: list[bool] = field(default_factory=list)  # whether a space follows each word
    line: int = 0  # where it begins in its file

    def __len__(self) -> int:
        return len(self.words)

    def text(self) -> str:
        """The sentence as it was written."""
        spaces = self.spaces or [True] * len(self)
        return "".join(w + " " * s for w, s in zip(self.words, spaces)).strip()


def read_conllu(path: str | Path) -> list[Sentence]:
    """The sentences of a file, in UTF-8. Multiword tokens and empty nodes are left out, their words stay.

    Raises `BadData`, which names the line, for what is not CoNLL-U: fields, numbers, heads, loops.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 (byte {error.start}); CoNLL-U is.") from error
    found: list[Sentence] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        line = line.rstrip("\r")
        if line.strip():
            if not line.startswith("#"):
                block.append((number, line))
        elif block:
            found.append(_sentence(block, str(path)))
            block = []
    if not found:
        raise BadData(f"{path} holds no sentence.")
    return found


def write_conllu(path: str | Path, sentences: Iterable[Sentence]) -> None:
    """Write sentences as CoNLL-U."""
    Path(path).write_text("".join(told(one) + "\n" for one in sentences), encoding="utf-8")


def told(one: Sentence) -> str:
    """One sentence as CoNLL-U lines."""
    heads = [str(head) for head in one.heads] or ["_"] * len(one)
    relations = one.relations or ["_"] * len(one)
    spaces = one.spaces or [True] * len(one)
    tags = one.tags or ["_"] * len(one)
    return "".join(
        f"{i}\t{word}\t_\t{tag}\t_\t_\t{head}\t{relation}\t_\t{'_' if space else 'SpaceAfter=No'}\n"
        for i, (word, tag, head, relation, space) in enumerate(zip(one.words, tags, heads, relations, spaces), 1)
    )


def _sentence(block: Sequence[tuple[int, str]], path: str) -> Sentence:
    one = Sentence([], [], line=block[0][0])
    heads: list[str] = []
    lines: list[int] = []
    unspaced_to = 0  # the last word of a multiword token that no space parts
    for number, line in block:
        cells = line.split("\t")
        where = f"{path}, line {number}"
        if len(cells) != len(FIELDS):
            raise BadData(f"{where}: {len(cells)} fields; CoNLL-U has {len(FIELDS)}, parted by tabs.")
        if "-" in cells[0] or "." in cells[0]:
            last = cells[0].partition("-")[2]
            unspaced_to = int(last) if last.isdigit() else unspaced_to
            continue
        if cells[0] != str(len(one) + 1):
            raise BadData(f"{where}: the word's number is {cells[0]!r}; {len(one) + 1} was due.")
        if not cells[1] or not cells[3]:
            raise BadData(f"{where}: {'FORM' if not cells[1] else 'UPOS'} is empty; write _ where nothing is known.")
        one.words.append(cells[1])
        one.tags.append(cells[3])
        one.relations.append(cells[7])
        one.spaces.append("SpaceAfter=No" not in cells[9].split("|") and len(one) >= unspaced_to)
        heads.append(cells[6])
        lines.append(number)
    if not one.words:
        raise BadData(f"{path}, line {block[0][0]}: a sentence without a word.")
    if set(heads) == {"_"}:
        one.relations = []
        return one
    for head, number in zip(heads, lines):
        if not head.isdigit() or int(head) > len(one):
            raise BadData(f"{path}, line {number}: HEAD is {head!r}; allowed are 0 to {len(one)}.")
    one.heads = [int(head) for head in heads]
    looped = _looped(one.heads)
    if looped:
        raise BadData(f"{path}, line {lines[looped - 1]}: word {looped} is its own ancestor; heads must form a tree.")
    return one


def _looped(heads: Sequence[int]) -> int:
    """The first word from which the root cannot be reached, or 0."""
    for start in range(1, len(heads) + 1):
        at, steps = start, 0
        while at and steps <= len(heads):
            at, steps = heads[at - 1], steps + 1
        if at:
            return start
    return 0


def projective(heads: Sequence[int]) -> bool:
    """Whether no two arcs cross (the root stands before the first word)."""
    arcs = [(min(i, h), max(i, h)) for i, h in enumerate(heads, 1)]
    return not any(a < c < b < d for a, b in arcs for c, d in arcs)
