"""Pipelines of spaCy and of stanza: opened once, asked for what they can give."""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, require
from polymodal.ops.annotate.base import called
from polymodal.ops.language.conllu import Sentence
from polymodal.ops.language.tokens import sentences, words_of

SPACY = {"tags": ("token.pos", "token.tag"), "parse": ("token.dep",), "entities": ("doc.ents",)}
STANZA = {"tags": "tokenize,pos", "parse": "tokenize,pos,lemma,depparse", "entities": "tokenize,ner"}


@cache
def spacy_pipeline(model: str, what: str) -> Any:
    """A spaCy pipeline, by the name of an installed package or by its folder, that gives tags, parse or entities."""
    try:
        pipeline = require("spacy", "spacy").load(model)
    except OSError as error:
        raise BadArgument(
            f"spaCy has no pipeline {called(model)!r}: give a folder, or install the package of that name."
        ) from error
    given = set(chain.from_iterable(pipeline.get_pipe_meta(name).assigns for name in pipeline.pipe_names))
    if not given.intersection(SPACY[what]):
        held = ", ".join(pipeline.pipe_names) or "nothing but its words"
        raise BadArgument(f"The spaCy pipeline {called(model)!r} gives no {what}: it holds {held}.")
    return pipeline


@cache
def stanza_pipeline(model: str, what: str) -> Any:
    """A stanza pipeline for words that are cut already, on the CPU.

    `model` is a language ("en"), whose models stanza fetches where they are missing, or the folder of a language
    inside a folder of stanza's resources ("stanza_resources/en"), from which they are read and never fetched.
    """
    stanza = require("stanza", "stanza")
    folder = Path(model)
    local = folder.is_dir()
    where: dict[str, Any] = {"dir": str(folder.parent.absolute())} if local else {}
    try:
        return stanza.Pipeline(
            folder.name if local else model,
            processors=STANZA[what],
            download_method=None if local else stanza.DownloadMethod.REUSE_RESOURCES,
            tokenize_pretokenized=True,
            use_gpu=False,
            verbose=False,
            **where,
        )
    except (OSError, ValueError) as error:
        raise BadArgument(
            f"stanza has no {what} for {called(model)!r} at hand: give a language, or the folder of a language beside "
            f"stanza's resources.json ({type(error).__name__})."
        ) from error


def by_spacy(model: str, what: str, text: str) -> list[Sentence]:
    """Sentences with tags, and with `what` parse with trees, as spaCy cuts them."""
    doc = spacy_pipeline(model, what)(text)
    each = ([t for t in one if not t.is_space] for one in (doc.sents if what == "parse" else [doc]))
    return [_from_spacy(one, trees=what == "parse") for one in each if one]


def by_stanza(model: str, what: str, text: str) -> list[Sentence]:
    """Sentences with tags, and with `what` parse with trees, of words cut by jieba or rules."""
    given = sentences(words_of(text))
    annotated = stanza_pipeline(model, what)(given).sentences if given else []
    return [
        Sentence(
            words, [word.upos or word.xpos or "_" for word in one.words],
            [word.head for word in one.words] if what == "parse" else [],
            [word.deprel for word in one.words] if what == "parse" else [],
        )
        for words, one in zip(given, annotated, strict=True)
    ]  # fmt: skip


def entities_by_spacy(model: str, text: str) -> list[tuple[int, int, str]]:
    """Where each entity begins and ends in the text, and its type."""
    return [(one.start_char, one.end_char, one.label_) for one in spacy_pipeline(model, "entities")(text).ents]


def entities_by_stanza(model: str, text: str) -> list[tuple[int, int, str]]:
    """Where each entity begins and ends in the text, and its type."""
    given = sentences(words_of(text))
    entities: list[tuple[int, int, str]] = []
    at = 0
    for words, one in zip(given, stanza_pipeline(model, "entities")(given).sentences if given else [], strict=True):
        places = []
        for word in words:
            places.append(text.index(word, at))
            at = places[-1] + len(word)
        for entity in one.ents:
            first, last = entity.tokens[0].id[0] - 1, entity.tokens[-1].id[0] - 1
            entities.append((places[first], places[last] + len(words[last]), entity.type))
    return entities


def _from_spacy(tokens: list[Any], *, trees: bool) -> Sentence:
    place = {token.i: number for number, token in enumerate(tokens, 1)}
    one = Sentence(
        [token.text for token in tokens], [token.pos_ or token.tag_ or "_" for token in tokens],
        spaces=[bool(token.whitespace_) for token in tokens],
    )  # fmt: skip
    if trees:
        one.heads = [0 if token.head.i == token.i else place.get(token.head.i, 0) for token in tokens]
        one.relations = [token.dep_.lower() or "_" for token in tokens]
    return one
