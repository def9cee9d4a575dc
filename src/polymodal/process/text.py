"""Text to token ids, the word each token belongs to, and its span of characters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.core.values import check_range
from polymodal.process.base import Processor

LEVELS = ("auto", "characters", "subwords")
PAD = "<pad>"
LONGEST_WORD = 24  # tokens: a longer run without spaces (Chinese, a link) counts as several words
USUAL = 384  # tokens: texts up to so many are never cut for the sake of room
SPANS = {"int16": 2**15 - 1, "int32": 2**31 - 1}  # the last character that they can tell
SHORT_TEXT = 256  # characters: above it, characters cost more than they tell


class TextProcessor(Processor):
    """A tokeniser learned on the training split: characters, or byte-pair subwords (Sennrich 2016).

    Any text can be encoded: characters fall back to the bytes of UTF-8, subwords are built from them.

    `process` gives `ids` [N, L] (0 = padding), `word` [N, L] (index of the word of each token, from 0) and `spans`
    [N, L, 2] (first and last + 1 character in the cell; of short texts in int16, at most 32,767). L is the longest
    training text, at most `length`, and above 384 what 99 of 100 training texts need; longer texts are cut at the end.

    Options: `level` "characters", "subwords", or "auto" (characters for short noisy texts; see `choose_level`);
    `vocabulary` largest number of tokens; `length` most tokens a text; `lowercase`.
    """

    kind = "text"

    def __init__(self, *, level: str = "auto", vocabulary: int = 8000, length: int = USUAL, lowercase: bool = True):
        if level not in LEVELS:
            raise BadArgument(f"Unknown level {level!r} of text.{suggest(level, LEVELS)}")
        if vocabulary < 300:
            raise BadArgument(f"A vocabulary of {vocabulary} is too small: 257 tokens stand for bytes and padding.")
        check_range("[1, inf)", "tokens", length=length)
        self.level = level
        self.vocabulary = vocabulary
        self.length = length
        self.lowercase = lowercase
        self.tokenizer_: Tokenizer | None = None
        self.level_ = level
        self.length_ = length
        self.spans_ = "int32"

    def read(self, cell: Any) -> str:
        """The cell as a string. Raises `BadCell` when it holds no character or is not UTF-8."""
        if isinstance(cell, bytes):
            try:
                cell = cell.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadCell(f"the text is not UTF-8 (byte {error.start})") from error
        text = str(cell).encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair would stop the tokeniser
        if not text.strip() or not self._normalizer().normalize_str(text):
            raise BadCell("the text is empty")
        return text

    def fit(self, cells: Iterable[str]) -> None:
        """Choose the level, learn the vocabulary and the length."""
        texts = list(cells)
        if not texts:
            raise BadArgument("A text processor needs at least one training text.")
        self.level_ = choose_level(texts) if self.level == "auto" else self.level
        learn = self._characters if self.level_ == "characters" else self._subwords
        self.tokenizer_ = learn(texts)
        sizes = [len(self._encode(text).ids) for text in texts]
        wanted = min(max(sizes), max(USUAL, int(np.quantile(sizes, 0.99))))  # few long texts would make all rows long
        self.length_ = min(self.length, 8 * -(-wanted * 9 // 64))  # an eighth more than in training, in steps of 8
        self.spans_ = "int16" if 2 * max(map(len, texts)) < SPANS["int16"] else "int32"

    def process(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        """`ids`, `word` and `spans`; see the class."""
        shape = (len(cells), self.length_)
        narrow = self.facts()["vocabulary"] < 2**15
        ids = np.zeros(shape, np.int16 if narrow else np.int32)
        word = np.zeros(shape, np.int16)
        spans = np.zeros((*shape, 2), self.spans_)
        for row, text in enumerate(cells):
            encoding = self._encode(text)
            size = min(len(encoding.ids), self.length_)
            ids[row, :size] = encoding.ids[:size]
            word[row, :size] = _words(encoding.word_ids[:size])
            spans[row, :size] = np.minimum(encoding.offsets[:size], SPANS[self.spans_])
        return {"ids": ids, "word": word, "spans": spans}

    def facts(self) -> dict[str, Any]:
        """`level`, `vocabulary` (size), `length` (L) and `space`: the id of the blank among characters, else None."""
        tokenizer = self.fitted(self.tokenizer_)
        space = tokenizer.token_to_id(" ") if self.level_ == "characters" else None
        return {
            "level": self.level_,
            "vocabulary": tokenizer.get_vocab_size(),
            "length": self.length_,
            "space": space,
        }

    def state(self) -> dict[str, Any]:
        tokenizer = json.loads(self.fitted(self.tokenizer_).to_str())
        return {"level": self.level_, "length": self.length_, "spans": self.spans_, "tokenizer": tokenizer}

    def load_state(self, state: dict[str, Any]) -> None:
        self.level_, self.length_ = state["level"], state["length"]
        self.spans_ = state.get("spans", "int32")
        if self.spans_ not in SPANS:
            raise ValueError(f"spans are {self.spans_!r}, not one of {', '.join(SPANS)}")
        self.tokenizer_ = Tokenizer.from_str(json.dumps(state["tokenizer"]))
        if max(self.tokenizer_.get_vocab().values(), default=0) >= self.tokenizer_.get_vocab_size():
            raise ValueError("a token's number is beyond the vocabulary")

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """A share `level` of the tokens is replaced by tokens drawn from the batch: typing errors or wrong words."""
        ids = inputs["ids"]
        real = ids[ids != 0]
        if not len(real):
            return inputs
        drawn = real[torch.randint(len(real), ids.shape, generator=generator)]
        hit = (torch.rand(ids.shape, generator=generator) < level) & (ids != 0)
        return {**inputs, "ids": torch.where(hit, drawn, ids)}

    def strange(self, text: str) -> list[str]:
        """Words with a letter that is spelt in bytes; of subwords also those in several pieces: every word that stood
        twice in the training texts became one, as long as there was room."""
        text = f"a {text}"  # after a blank, words are spelt as within a sentence
        encoding = self._encode(text)
        found = strange_words(text, encoding.word_ids, encoding.offsets, whole=self.level_ == "subwords")
        return [word for word in found if len(self._encode(word).ids) > 1]  # nor whole at the beginning of one

    def show(self, cell: str) -> dict[str, Any]:
        return {"kind": "text", "text": cell}

    def _encode(self, text: str) -> Any:
        return self.fitted(self.tokenizer_).encode(text, add_special_tokens=False)

    def _normalizer(self) -> normalizers.Normalizer:
        steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
        if self.lowercase:
            steps.append(normalizers.Lowercase())
        return normalizers.Sequence([*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])

    def _characters(self, texts: Sequence[str]) -> Tokenizer:
        normalizer = self._normalizer()
        counts = Counter(character for text in texts for character in normalizer.normalize_str(text))
        counts[" "] += 1
        tokens = [PAD, *(f"<0x{byte:02X}>" for byte in range(256))]
        tokens += [character for character, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        tokens = tokens[: self.vocabulary]
        if " " not in tokens:
            tokens[-1] = " "
        vocabulary = {token: place for place, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
        tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        return tokenizer

    def _subwords(self, texts: Sequence[str]) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = self._normalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            min_frequency=2,
            special_tokens=[PAD],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


def choose_level(texts: Sequence[str]) -> str:
    """ "characters" for short texts that are noisy, of one or two words, or unspaced; "subwords" otherwise.

    Noisy: at least half of the rare words (seen at most twice) are one edit away from a frequent one (seen at least 10
    times), as misspellings are and other words seldom are.
    """
    sample = texts[:: max(1, len(texts) // 20_000)]
    if np.quantile([len(text) for text in sample], 0.95) > SHORT_TEXT:
        return "subwords"
    words = [text.lower().split() for text in sample]
    if np.mean([len(row) for row in words]) <= 2:
        return "characters"
    counts = Counter(word for row in words for word in row)
    rare = [word for word, count in counts.items() if count <= 2]
    frequent = {form for word, count in counts.items() if count >= 10 for form in _deletions(word)}
    near = sum(not frequent.isdisjoint(_deletions(word)) for word in rare)
    return "characters" if rare and near >= len(rare) / 2 else "subwords"


def _deletions(word: str) -> set[str]:
    """The word and what is left when one character is dropped: two words one edit apart share such a form."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


def strange_words(
    text: str, words: Sequence[int | None], spans: Sequence[tuple[int, int]], *, whole: bool = False,
    unknown: Sequence[bool] = (),
) -> list[str]:  # fmt: skip
    """Words of a text after its first, by the word and the span of each token, that have a letter of several tokens
    (its bytes) or a token that is `unknown`; if they should be `whole`, also those of several tokens."""
    by_word: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        if word is not None:
            by_word.setdefault(word, []).append(place)
    found = []
    for places in list(by_word.values())[1:]:
        ends = [tuple(spans[i]) for i in places]
        if len(set(ends)) < len(ends) or (whole and len(ends) > 1) or any(unknown[i] for i in places if unknown):
            found.append(text[ends[0][0] : ends[-1][1]].strip())
    return found


def _words(ids: Sequence[int | None]) -> list[int]:
    """Consecutive word numbers from 0; a run of more than `LONGEST_WORD` tokens is cut into several words."""
    numbers: list[int] = []
    number, run = 0, 0
    for place, word in enumerate(ids):
        if place and (word != ids[place - 1] or run == LONGEST_WORD):
            number, run = number + 1, 0
        run += 1
        numbers.append(number)
    return numbers
