"""Words of a text, and their parts of speech."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.annotate.pipelines import by_spacy, by_stanza, spacy_pipeline, stanza_pipeline
from polymodal.ops.language.tokens import (
    chinese,
    cut_chinese,
    jieba_pair,
    paragraphs,
    sentences,
    tag_chinese,
    tag_english,
    words_by_rules,
    words_of,
)  # fmt: skip
from polymodal.ops.language.train import load_segmenter, load_tagger
from polymodal.ops.networks import labelled, network

SEGMENT_ENGINES = ("auto", "jieba", "rules", "learnt")
TAG_ENGINES = ("auto", "learnt", "transformers", "spacy", "stanza")


def no_model(engine: str, model: str) -> None:
    """Raises `BadArgument` for a model that the engine would not use."""
    if model:
        raise BadArgument(f"The engine {engine} uses no model; got model={model!r}. Name the engine that is to use it.")


class Segment(CellAnnotate):
    """The words of a text, parted by spaces, in `<column>_words`.

    `engine`: `jieba` (dictionary and HMM; `hmm: false` leaves new words in pieces), `rules` for languages with spaces,
    `auto` takes jieba for texts with Chinese characters; `learnt` takes the folder `model` of `train_language`.
    Confidence: of learnt ones the least probability of a word's letters, averaged over words; of jieba the share of
    letters in words of its dictionary; rules have none.
    """

    kinds = ("text",)
    gives: ClassVar = {"words": "text", "words_confidence": "number", "words_model": "category"}

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "auto", model: str = "", hmm: bool = True
    ):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, SEGMENT_ENGINES)
        self.model = model
        self.hmm = hmm
        if engine == "learnt":
            needs_model(engine, model)
            load_segmenter(model)
            return
        no_model(engine, model)
        if engine != "rules":
            jieba_pair()

    def told(self, value: str) -> Mapping[str, Any]:
        sure: float | None = None
        if self.engine == "learnt":
            words, chances = load_segmenter(self.model).segment(value)
            sure, name = float(np.mean(chances)) if chances else None, called(self.model)
        elif self.engine == "jieba" or (self.engine == "auto" and chinese(value)):
            (words, sure), name = cut_chinese(value, self.hmm), "jieba"
        else:
            words, name = words_by_rules(value), "rules"
        return {"words": " ".join(words), "words_confidence": sure, "words_model": name}


class Tags(CellAnnotate):
    """Parts of speech in `<column>_pos`, one for each word of `<column>_pos_words`.

    `engine`: `auto` is jieba.posseg (tags of ICTCLAS) for texts with Chinese characters, else the lexicon and rules of
    textblob (Penn tags, English); `learnt` takes the folder `model` of `train_language`, `transformers` a Hugging Face
    token classifier, `spacy` a pipeline, by name or folder, which cuts words its own way, `stanza` a language or the
    folder of one (`stanza_resources/en`). Confidence: the mean probability of the tags; of the engines with a lexicon,
    the share of words that it has; of spaCy and stanza none.
    """

    kinds = ("text",)
    gives: ClassVar = {"pos": "text", "pos_words": "text", "pos_confidence": "number", "pos_model": "category"}

    def __init__(self, *, columns: Sequence[str] | str | None = None, engine: str = "auto", model: str = ""):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, TAG_ENGINES)
        self.model = model
        if engine == "auto":
            no_model(engine, model)
            jieba_pair()
            tag_english(["warm"])
            return
        needs_model(engine, model)
        loaders: dict[str, Callable[[str], object]] = {
            "learnt": load_tagger, "transformers": token_classifier,
            "spacy": lambda m: spacy_pipeline(m, "tags"), "stanza": lambda m: stanza_pipeline(m, "tags"),
        }  # fmt: skip
        loaders[engine](model)  # a model that cannot be read is said before any row is

    def told(self, value: str) -> Mapping[str, Any]:
        sure: float | None
        name = called(self.model)
        if self.engine == "auto" and chinese(value):
            words, tags, sure = tag_chinese(value)
            name = "jieba.posseg"
        elif self.engine == "auto":
            words = words_by_rules(value)
            tags, sure = tag_english(words)
            name = "textblob"
        elif self.engine in ("spacy", "stanza"):
            tagged = (by_spacy if self.engine == "spacy" else by_stanza)(self.model, "tags", value)
            words, tags, sure = [w for one in tagged for w in one.words], [t for one in tagged for t in one.tags], None
        else:
            pairs = [self._tagged(one) for one in sentences_for(value, self.model)]
            words = [w for one in pairs for w in one[0]]
            tags = [t for one in pairs for t in one[1]]
            chances = [c for one in pairs for c in one[2]]
            sure = float(np.mean(chances)) if chances else None
        return {"pos": " ".join(tags), "pos_words": " ".join(words), "pos_confidence": sure, "pos_model": name}

    def _tagged(self, words: list[str]) -> tuple[list[str], list[str], list[float]]:
        learnt = self.engine == "learnt"
        tags, chances = load_tagger(self.model).tag(words) if learnt else classify_words(self.model, words)
        return words, tags, chances


def words_for(text: str, model: str) -> list[str]:
    """Words as a folder's segmenter cuts them where it has one, else by jieba or rules."""
    from polymodal.ops.language.train import learnt

    return load_segmenter(model).segment(text)[0] if "segment" in learnt(model) else words_of(text)


def sentences_for(text: str, model: str) -> list[list[str]]:
    """Words in sentences, none of which goes across an empty line."""
    return [one for part in paragraphs(text) for one in sentences(words_for(part, model))]


def token_classifier(model: str) -> tuple[Any, Any]:
    """A Hugging Face tokenizer and token classifier."""
    return network("AutoModelForTokenClassification", "AutoTokenizer", model)


def classify_words(model: str, words: Sequence[str]) -> tuple[list[str], list[float]]:
    """For each word the label of its first piece, and that label's probability; words of which the tokenizer makes
    nothing get "_" and 0."""
    tags, sure = ["_"] * len(words), [0.0] * len(words)
    for word, _, label, chance in reversed(labelled(*token_classifier(model), words) if words else []):
        if word is not None:
            tags[word], sure[word] = label, chance
    return tags, sure
