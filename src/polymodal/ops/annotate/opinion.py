"""What a text feels, and what it is about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import xxhash

from polymodal.core.errors import require
from polymodal.core.values import check_range
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.annotate.words import no_model
from polymodal.ops.base import Sketch
from polymodal.ops.language.tokens import chinese, jieba_pair, simplified, words_by_rules, words_of
from polymodal.ops.networks import longest, network
from polymodal.ops.rows import Rows

SENTIMENT_ENGINES = ("auto", "transformers")
KEYWORD_ENGINES = ("tfidf", "yake")
_CHINESE_RUN = re.compile(r"[^\x00-\x7f]+")  # with its signs, without English


class Sentiment(CellAnnotate):
    """`<column>_sentiment` positive, neutral or negative, and `<column>_sentiment_score` from -1 to 1.

    `engine`: `auto` is VADER for English (Hutto & Gilbert 2014), snownlp's naive Bayes for Chinese, which was trained
    on reviews of goods and often misses a denial; of a text in both it takes the mean of the two, weighted by words.
    `transformers` takes a Hugging Face text classifier as `model`,
    whose own labels are given, its score being the label's probability; of a text longer than the model reads it sees
    the beginning. Scores within `neutral` of 0 are neutral.
    Confidence: of snownlp and transformers the label's probability, of VADER and of both the score's size, of a
    neutral one 1 less that: not calibrated. Missing where VADER knows no word of the text, which is then neutral.
    """

    kinds = ("text",)
    gives: ClassVar = {
        "sentiment": "category", "sentiment_score": "number", "sentiment_confidence": "number",
        "sentiment_model": "category",
    }  # fmt: skip

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "auto", model: str = "",
        neutral: float = 0.05,
    ):  # fmt: skip
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, SENTIMENT_ENGINES)
        self.model = model
        self.neutral = neutral
        check_range("[0, 1)", neutral=neutral)
        if engine == "transformers":
            needs_model(engine, model)
            classifier(model)
        else:
            no_model(engine, model)
            _vader(), require("snownlp", "language")

    def told(self, value: str) -> Mapping[str, Any]:
        if not value.strip():
            return {}
        if self.engine == "transformers":
            label, chance = classify(self.model, value)
            return _sentiment(label, chance, chance, called(self.model))
        score, sure, name = feeling(value)
        label = "neutral" if abs(score) < self.neutral else "positive" if score > 0 else "negative"
        if sure is None:
            return _sentiment(label, score, None, name)
        return _sentiment(label, score, 1 - sure if label == "neutral" else sure, name)


class Keywords(CellAnnotate):
    """The `most` words or phrases that a text is about, parted by semicolons, in `<column>_keywords`.

    `engine`: `tfidf` weighs words by how rare they are in the whole table (Spärck Jones 1972), so the table is read
    first; `yake` weighs phrases of the one text (Campos et al. 2020), English or Chinese. Confidence: of `tfidf` the
    share of the text's weight that the keywords carry; of `yake` 1 / (1 + mean score): neither is a probability.
    """

    kinds = ("text",)
    gives: ClassVar = {"keywords": "text", "keywords_confidence": "number", "keywords_model": "category"}

    def __init__(self, *, columns: Sequence[str] | str | None = None, engine: str = "tfidf", most: int = 5):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, KEYWORD_ENGINES)
        self.most = most
        check_range("[1, inf)", most=most)
        jieba_pair()
        if engine == "yake":
            _yake(most, "en")

    @property
    def surveys(self) -> bool:
        return self.engine == "tfidf"

    def partial_fit(self, rows: Rows) -> Sketch:
        texts = [str(row.cells[c]) for row in rows for c in self.chosen if row.cells.get(c) is not None]
        keys = [_keys(set(_terms(text))) for text in texts]
        unique, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *keys]), return_counts=True)
        return {"word": unique, "count": counts.astype(np.int64), "texts": np.array([len(texts)])}

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        each = list(sketches)
        words = np.concatenate([np.zeros(0, np.uint64), *(s["word"] for s in each)])
        unique, place = np.unique(words, return_inverse=True)
        counts = np.concatenate([np.zeros(0, np.int64), *(s["count"] for s in each)])
        total = np.bincount(place, counts, minlength=len(unique)).astype(np.int64)
        self.state = {"word": unique, "count": total, "texts": np.array([sum(int(s["texts"][0]) for s in each)])}

    def told(self, value: str) -> Mapping[str, Any]:
        if self.engine == "yake":
            given = " ".join(words_of(value)) if chinese(value) else value
            finder = _yake(self.most, "zh" if chinese(value) else "en")
            scored = finder.extract_keywords(given) if given.strip() else []
            words, sure = [w for w, _ in scored], 1 / (1 + float(np.mean([s for _, s in scored]))) if scored else None
        else:
            words, sure = self._rarest(Counter(_terms(value)))
        return {"keywords": "; ".join(words), "keywords_confidence": sure, "keywords_model": self.engine}

    def _rarest(self, counts: Counter[str]) -> tuple[list[str], float | None]:
        if not counts:
            return [], None
        known = self.state["word"]
        keys = _keys(counts)
        seen = self.state["count"][np.searchsorted(known, keys).clip(max=len(known) - 1)]
        weights = np.array(list(counts.values())) * (np.log((1 + self.state["texts"][0]) / (1 + seen)) + 1)
        order = sorted(range(len(keys)), key=lambda i: (-weights[i], list(counts)[i]))[: self.most]
        words = list(counts)
        return [words[i] for i in order], float(weights[order].sum() / weights.sum())


def feeling(text: str) -> tuple[float, float | None, str]:
    """Score from -1 to 1, how sure (None where no word is known), and the engines: VADER for what is English and for
    emoji, snownlp for Chinese characters, both for a text that has both."""
    told = _vader().polarity_scores(text)
    score, known = float(told["compound"]), told["pos"] + told["neg"] > 0
    if not chinese(text):
        return score, abs(score) if known else None, "vaderSentiment"
    theirs = [word for word in words_by_rules(text) if not chinese(word) and (word.isalpha() or not word.isascii())]
    pieces = [word for word in words_of(text) if chinese(word)]
    good = float(require("snownlp", "language").SnowNLP(simplified("".join(_CHINESE_RUN.findall(text)))).sentiments)
    if not known:
        return 2 * good - 1, max(good, 1 - good), "snownlp"
    share = len(theirs) / (len(theirs) + len(pieces))
    both = share * score + (1 - share) * (2 * good - 1)
    return both, abs(both), "snownlp + vaderSentiment"


def _sentiment(label: str, score: float, sure: float | None, name: str) -> dict[str, Any]:
    return {
        "sentiment": label, "sentiment_score": score, "sentiment_confidence": sure, "sentiment_model": name,
    }  # fmt: skip


def _terms(text: str) -> list[str]:
    """Words that can say what a text is about: no signs, no numbers, no stop words."""
    stop = _stop_words()
    return [
        word for word in (w.lower() for w in words_of(text))
        if any(c.isalpha() for c in word) and len(word) > 1 and simplified(word) not in stop
    ]  # fmt: skip


def _keys(words: Iterable[str]) -> np.ndarray:
    return np.array([xxhash.xxh64_intdigest(word.encode("utf-8", "surrogatepass")) for word in words], np.uint64)


@cache
def _vader() -> Any:
    return require("vaderSentiment.vaderSentiment", "language").SentimentIntensityAnalyzer()


@cache
def _yake(most: int, language: str) -> Any:
    return require("yake", "language").KeywordExtractor(lan=language, n=2, top=most)


@cache
def _stop_words() -> frozenset[str]:
    """English ones of scikit-learn; Chinese ones of snownlp."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS | frozenset(require("snownlp.normal", "language").stop)


def classifier(model: str) -> tuple[Any, Any]:
    """A Hugging Face tokenizer and text classifier."""
    return network("AutoModelForSequenceClassification", "AutoTokenizer", model)


def classify(model: str, text: str) -> tuple[str, float]:
    """The likeliest label of a text, or of as much of its beginning as the model reads; and its probability."""
    import torch

    tokenizer, net = classifier(model)
    most = min(longest(tokenizer, net), 1 << 20)
    with torch.no_grad():
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=most)
        chances = net(**given).logits[0].float().softmax(-1)
    best = int(chances.argmax())
    return net.config.id2label[best], float(chances[best])
