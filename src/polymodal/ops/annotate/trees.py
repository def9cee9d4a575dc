"""Dependency trees, and who does what to whom by rules over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.annotate.pipelines import by_spacy, by_stanza, spacy_pipeline, stanza_pipeline
from polymodal.ops.annotate.words import sentences_for
from polymodal.ops.language.conllu import Sentence, told
from polymodal.ops.language.roles import roles
from polymodal.ops.language.train import load_parser, load_tagger

ENGINES = ("learnt", "spacy", "stanza")


class _Parsed(CellAnnotate):
    """What needs a tree of each sentence."""

    kinds = ("text",)

    def __init__(self, *, columns: Sequence[str] | str | None, model: str, engine: str):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ENGINES)
        self.model = model
        needs_model(engine, model)
        if engine == "learnt":
            load_tagger(model), load_parser(model)
        else:
            (spacy_pipeline if engine == "spacy" else stanza_pipeline)(model, "parse")

    def parsed(self, text: str) -> tuple[list[Sentence], float | None]:
        """The sentences with their trees, and the mean confidence of the arcs."""
        if self.engine != "learnt":
            return (by_spacy if self.engine == "spacy" else by_stanza)(self.model, "parse", text), None
        trees, sure = [], []
        for words in sentences_for(text, self.model):
            tags, _ = load_tagger(self.model).tag(words)
            heads, relations, chances = load_parser(self.model).parse(words, tags)
            trees.append(Sentence(words, tags, heads, relations))
            sure += chances
        return trees, float(np.mean(sure)) if sure else None


class Parse(_Parsed):
    """Dependency trees as CoNLL-U in `<column>_parse`.

    `engine`: `learnt` takes the folder `model` of `train_language`, which holds tags and parse; `spacy` a pipeline by
    name or folder, `stanza` a language or the folder of one (`stanza_resources/en`). Confidence: the mean share of the
    softmax that the parser's choices had, not calibrated; of spaCy and stanza none.
    """

    gives: ClassVar = {"parse": "text", "parse_confidence": "number", "parse_model": "category"}

    def __init__(self, *, model: str, columns: Sequence[str] | str | None = None, engine: str = "learnt"):
        super().__init__(columns=columns, model=model, engine=engine)

    def told(self, value: str) -> Mapping[str, Any]:
        trees, sure = self.parsed(value)
        text = "\n".join(told(one) for one in trees)
        return {"parse": text, "parse_confidence": sure, "parse_model": called(self.model)}


class Roles(_Parsed):
    """Who does what to whom, where, when and how, in `<column>_roles`: a JSON list, one object a predicate.

    Rules over a dependency parse in Universal Dependencies, see `polymodal.ops.language.roles`; `engine` and
    `model` are those of `parse`, and so is the confidence.
    """

    gives: ClassVar = {"roles": "text", "roles_confidence": "number", "roles_model": "category"}

    def __init__(self, *, model: str, columns: Sequence[str] | str | None = None, engine: str = "learnt"):
        super().__init__(columns=columns, model=model, engine=engine)

    def told(self, value: str) -> Mapping[str, Any]:
        trees, sure = self.parsed(value)
        frames = [one for tree in trees for one in roles(tree)]
        return {
            "roles": json.dumps(frames, ensure_ascii=False),
            "roles_confidence": sure,
            "roles_model": called(self.model),
        }
