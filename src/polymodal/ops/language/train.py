"""From a CoNLL-U file to a folder with a segmenter, a tagger and a parser; and back from the folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.ops.language.conllu import Sentence, read_conllu
from polymodal.ops.language.labels import Labeller, Segmenter, Tagger
from polymodal.ops.language.parser import Parser

PARTS = ("segment", "tags", "parse")
FORM = 2  # of the folder


def train_language(
    corpus: str | Path | Sequence[Sentence],
    out: str | Path,
    *,
    what: Sequence[str] | str = PARTS,
    method: str = "crf",
    epochs: int = 8,
    seed: int = 0,
) -> Path:
    """Learn from a corpus (a CoNLL-U file, or its sentences) and write what was learnt to the folder `out`.

    `what`: any of segment, tags, parse. `method` of segmenter and tagger: `crf` (python-crfsuite, extra `language`)
    or `hmm`. `epochs` and `seed` are the parser's. The parser learns from tags that a tagger gives it, as it will
    get them later, each half of the corpus tagged by what was learnt from the other. Returns the folder.

    Raises `BadData` for a corpus that is not CoNLL-U or lacks what is to be learnt, `BadArgument` for other options.
    """
    wanted = [what] if isinstance(what, str) else list(what)
    for name in wanted:
        if name not in PARTS:
            raise BadArgument(f"Nothing called {name!r} can be learnt.{suggest(name, PARTS)}")
    sentences = read_conllu(corpus) if isinstance(corpus, str | Path) else list(corpus)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if "segment" in wanted:
        _save(folder, "segment", *Segmenter.train(sentences, method=method).state())
    if "tags" in wanted:
        _save(folder, "tags", *Tagger.train(sentences, method=method).state())
    if "parse" in wanted:
        if "tags" in wanted:
            sentences = retagged(sentences, method)
        _save(folder, "parse", *Parser.train(sentences, epochs=epochs, seed=seed).state())
    return folder


def retagged(corpus: Sequence[Sentence], method: str) -> list[Sentence]:
    """The corpus with each half's tags as a tagger learnt from the other half gives them. One sentence stays."""
    halves = [list(corpus[::2]), list(corpus[1::2])]
    if not halves[1]:
        return list(corpus)
    tagged: list[Sentence] = []
    for mine, other in (halves, halves[::-1]):
        tagger = Tagger.train(other, method=method)
        tagged += [
            Sentence(s.words, tagger.tag(s.words)[0], s.heads, s.relations, s.spaces, s.line, s.joined) for s in mine
        ]
    return tagged


def load_segmenter(folder: str | Path) -> Segmenter:
    """The segmenter of a folder that `train_language` wrote."""
    return _kept(str(folder), "segment")


def load_tagger(folder: str | Path) -> Tagger:
    """The tagger of such a folder."""
    return _kept(str(folder), "tags")


def load_parser(folder: str | Path) -> Parser:
    """The parser of such a folder."""
    return _kept(str(folder), "parse")


def learnt(folder: str | Path) -> list[str]:
    """Which of segment, tags and parse a folder holds; none where it is no such folder."""
    return [name for name in PARTS if (Path(folder) / f"{name}.json").is_file()]


@lru_cache(maxsize=8)
def _kept(folder: str, part: str) -> Any:
    if part not in learnt(folder):
        held = ", ".join(learnt(folder)) or "nothing that train_language wrote"
        raise BadData(f"{folder} has no {part}.json; it holds {held}. Learn it: train_language(..., what={part!r}).")
    told = json.loads((Path(folder) / f"{part}.json").read_text(encoding="utf-8"))
    if told.get("form") != FORM:
        raise BadData(f"{folder}/{part}.json is of form {told.get('form')}; this version reads {FORM}.")
    with np.load(Path(folder) / f"{part}.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    makers: dict[str, Callable[[], Any]] = {
        "segment": lambda: Segmenter(told["method"], Labeller.load(told, arrays)),
        "tags": lambda: Tagger(told["method"], Labeller.load(told, arrays)),
        "parse": lambda: Parser.load(told, arrays),
    }
    return makers[part]()


def _save(folder: Path, part: str, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    _kept.cache_clear()
    np.savez_compressed(folder / f"{part}.npz", allow_pickle=False, **arrays)  # type: ignore[arg-type]
    (folder / f"{part}.json").write_text(json.dumps({"form": FORM, **told}, ensure_ascii=False), encoding="utf-8")
