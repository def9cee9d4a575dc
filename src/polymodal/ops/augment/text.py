"""More texts from the ones there are: synonyms, words put in, left out, swapped, filled in; translated and back."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from polymodal.core.errors import BadArgument, require
from polymodal.core.values import check_range
from polymodal.ops.augment.base import MOST_COPIES, CellAugment, share
from polymodal.ops.augment.synonyms import synonyms
from polymodal.ops.base import BatchOp
from polymodal.ops.networks import in_parts, longest, network, quiet
from polymodal.ops.rows import Rows

_PIECE = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’-][^\W_]+)*|\s+|.", re.DOTALL)
_CHINESE = re.compile(r"[\u3400-\u9fff]")
TRANSLATOR = ("AutoModelForSeq2SeqLM", "AutoTokenizer")
FILLER = ("AutoModelForMaskedLM", "AutoTokenizer")
_STARTS = ("Ġ", "▁")  # what byte-pair and sentence pieces begin a word with
# Words that carry the grammar, or the very meaning: never replaced (Wei & Zou spare stop words too)
_SPARED = """
    a an the and or but if of at by for with to from in on is are was were be been am do does did has have had not no
    nor never none i you he she it we they me him her us them my your his its our their this that these those as than
    so too very can will would could should may might must what which who whom when where why how there here
"""
SPARED = frozenset(_SPARED.split())


class _Words(CellAugment):
    """Varies a share of a text's words. At least one word is varied, if any can be; the rest stays to the letter.

    Chinese words are found by jieba (extra `language`).
    """

    kinds = ("text",)

    def __init__(self, *, columns: Sequence[str] | str | None, copies: int, amount: float):
        super().__init__(columns=columns, copies=copies)
        self.amount = share("amount", amount)

    @final
    def varied(self, value: str, rng: np.random.Generator) -> str:
        pieces = self.cut(value)
        places = [i for i, piece in enumerate(pieces) if self.usable(piece)]
        if not places:
            return value
        count = min(len(places), max(1, round(self.amount * len(places))))
        chosen = sorted(rng.choice(places, count, replace=False).tolist())
        return "".join(self.change(pieces, chosen, rng)) or value

    def cut(self, value: str) -> list[str]:
        """The text in pieces that add up to it: words, spaces, signs."""
        if not _CHINESE.search(value):
            return _PIECE.findall(value)
        return list(require("jieba", "language").cut(value, HMM=False))

    def usable(self, piece: str) -> bool:
        """Whether a piece is a word that may be varied."""
        return piece[0].isalnum() and piece.lower() not in SPARED and not any(c.isdigit() for c in piece)

    @abstractmethod
    def change(self, pieces: list[str], chosen: list[int], rng: np.random.Generator) -> list[str]:
        """The pieces with those at `chosen` varied."""


class _WithSynonyms(_Words):
    def __init__(self, *, columns: Sequence[str] | str | None, copies: int, amount: float, source: str):
        super().__init__(columns=columns, copies=copies, amount=amount)
        self.source = source
        self._known = synonyms(source)

    @final
    def usable(self, piece: str) -> bool:
        return super().usable(piece) and bool(self.others(piece))

    def others(self, word: str) -> tuple[str, ...]:
        """Synonyms of a word as it stands, or of its small letters."""
        return self._known.get(word) or self._known.get(word.lower(), ())

    def another(self, word: str, rng: np.random.Generator) -> str:
        """A synonym, with the word's capitals."""
        others = self.others(word)
        chosen = others[rng.integers(len(others))]
        if word.isupper() and len(word) > 1:
            return chosen.upper()
        return chosen[0].upper() + chosen[1:] if word[0].isupper() else chosen


class Synonyms(_WithSynonyms):
    """Synonym replacement (EDA, Wei & Zou 2019): a share `amount` of the words that have synonyms gives way to one.

    `source`: `wordnet` or a list of one's own, see `synonyms`.
    """

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        copies: int = 1,
        amount: float = 0.15,
        source: str = "wordnet",
    ):
        super().__init__(columns=columns, copies=copies, amount=amount, source=source)

    def change(self, pieces: list[str], chosen: list[int], rng: np.random.Generator) -> list[str]:
        return [self.another(piece, rng) if i in chosen else piece for i, piece in enumerate(pieces)]


class InsertWords(_WithSynonyms):
    """Random insertion (EDA, Wei & Zou 2019): synonyms of a share `amount` of the words are put in at places drawn."""

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        copies: int = 1,
        amount: float = 0.1,
        source: str = "wordnet",
    ):
        super().__init__(columns=columns, copies=copies, amount=amount, source=source)

    def change(self, pieces: list[str], chosen: list[int], rng: np.random.Generator) -> list[str]:
        changed = list(pieces)
        for i in chosen:
            word = self.another(pieces[i], rng)
            gaps = [j for j, piece in enumerate(changed) if piece.isspace()]
            at = gaps[rng.integers(len(gaps))] if gaps else len(changed)
            changed[at:at] = [" ", word] if gaps or not _CHINESE.search(word) else [word]
        return changed


class DropWords(_Words):
    """Random deletion (EDA, Wei & Zou 2019): a share `amount` of the words is left out, never all of them."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.1):
        super().__init__(columns=columns, copies=copies, amount=amount)

    def change(self, pieces: list[str], chosen: list[int], rng: np.random.Generator) -> list[str]:
        words = sum(piece[0].isalnum() for piece in pieces)
        gone = set(chosen[: max(0, words - 1)])
        for i in tuple(gone):  # one of the spaces beside it goes along
            beside = next((j for j in (i - 1, i + 1) if 0 <= j < len(pieces) and set(pieces[j]) == {" "}), None)
            gone |= set() if beside is None else {beside}
        return [piece for i, piece in enumerate(pieces) if i not in gone]


class SwapWords(_Words):
    """Random swap (EDA, Wei & Zou 2019): a share `amount` of the words changes places with another word each."""

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.1):
        super().__init__(columns=columns, copies=copies, amount=amount)

    def change(self, pieces: list[str], chosen: list[int], rng: np.random.Generator) -> list[str]:
        changed = list(pieces)
        words = [i for i, piece in enumerate(pieces) if piece[0].isalnum()]
        for i in chosen:
            others = [j for j in words if changed[j] != changed[i]]
            if others:
                j = others[rng.integers(len(others))]
                changed[i], changed[j] = changed[j], changed[i]
        return changed


class BackTranslate(BatchOp):
    """Back-translation (Sennrich et al. 2016; Xie et al. 2020): there and back again by two MarianMT models.

    `there` and `back` name Hugging Face models, on the hub or in local folders, as in `Helsinki-NLP/opus-mt-en-de` and
    `Helsinki-NLP/opus-mt-de-en`. With `copies` above one, `beams` hypotheses are used in the order of their score.
    Texts that come back as they were make no copy; long ones go through the models in parts.
    """

    kinds = ("text",)

    def __init__(
        self, *, there: str, back: str, columns: Sequence[str] | str | None = None, copies: int = 1, beams: int = 4
    ):
        super().__init__(columns=columns)
        self.there = there
        self.back = back
        self.copies = copies
        self.beams = beams
        if not 1 <= copies <= min(beams, MOST_COPIES):
            raise BadArgument(f"copies must be between 1 and beams ({beams}); got {copies}.")
        for model in (there, back):
            network(*TRANSLATOR, model)  # a model that cannot be read is said before any row is

    def work(self, rows: Rows) -> None:
        made: dict[int, list[Any]] = {}
        for column in self.chosen:
            places = [i for i, row in enumerate(rows) if row.part in ("", "train") and row.cells.get(column)]
            texts = [str(rows.kept[i].cells[column]) for i in places]
            if not texts:
                continue
            away = translate(self.there, texts, 1, self.beams)
            home = translate(self.back, [a[0] for a in away], self.copies, self.beams)
            for i, text, versions in zip(places, texts, home):
                for k, version in enumerate(versions):
                    if version.strip() and version != text:
                        copies = made.setdefault(i, [None] * self.copies)
                        copies[k] = copies[k] or rows.kept[i].copied(self.place, k)
                        copies[k].put(column, version)
        rows.kept = [r for i, row in enumerate(rows.kept) for r in (row, *(c for c in made.get(i, ()) if c))]


class FillIn(CellAugment):
    """Contextual replacement (Kobayashi 2018): a share `amount` of the words is masked and filled in by a masked
    language model, each from its `top` likeliest words other than the one that stood there.

    `model` names a Hugging Face model, on the hub or in a local folder, as in `distilbert/distilbert-base-uncased`.
    """

    kinds = ("text",)

    def __init__(
        self, *, model: str, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.15,
        top: int = 5,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.model = model
        self.amount = share("amount", amount)
        self.top = top
        check_range("[1, inf)", top=top)
        if network(*FILLER, model)[0].mask_token is None:
            raise BadArgument(f"The tokenizer of {model!r} has no mask: give a masked language model, as BERT.")

    def varied(self, value: str, rng: np.random.Generator) -> str:
        pieces = _PIECE.findall(value)
        places = [i for i, piece in enumerate(pieces) if piece[0].isalpha() and piece.lower() not in SPARED]
        if not places:
            return value
        for i in sorted(rng.choice(places, max(1, round(self.amount * len(places))), replace=False).tolist()):
            words = likeliest(self.model, "".join(pieces[:i]), "".join(pieces[i + 1 :]), self.top + 1)
            others = [w for w in words if w.lower() != pieces[i].lower()][: self.top]
            if others:
                pieces[i] = others[rng.integers(len(others))]
        return "".join(pieces)


def translate(name: str, texts: Sequence[str], count: int, beams: int) -> list[list[str]]:
    """`count` translations of each text, the likeliest first. Texts longer than the model reads go through it in parts,
    cut between sentences."""
    import torch

    tokenizer, model = network(*TRANSLATOR, name)
    most = min(longest(tokenizer, model), 512)

    def size(text: str) -> int:
        return len(tokenizer(text, verbose=False)["input_ids"])

    cut = [in_parts(text, size, most) for text in texts]
    parts = [part.strip() for each in cut for part in each]
    translations: list[list[str]] = []
    for start in range(0, len(parts), 16):
        given = tokenizer(
            parts[start : start + 16], return_tensors="pt", padding=True, truncation=True, max_length=most
        )
        with torch.no_grad(), quiet():
            out = model.generate(
                **given, num_beams=beams, num_return_sequences=count, max_new_tokens=min(256, most - 1), do_sample=False
            )
        words = tokenizer.batch_decode(out, skip_special_tokens=True)
        translations += [words[i : i + count] for i in range(0, len(words), count)]
    ends = np.cumsum([len(each) for each in cut]).tolist()
    return [
        [
            " ".join(one.strip() for one in versions if one.strip())
            for versions in zip(*translations[end - len(each) : end])
        ]
        for end, each in zip(ends, cut)
    ]


def likeliest(name: str, before: str, after: str, count: int) -> list[str]:
    """The likeliest whole words between two pieces of text, of which the model sees what is nearest where it cannot
    read all."""
    import torch

    tokenizer, model = network(*FILLER, name)
    told = tokenizer(f"{before}{tokenizer.mask_token}{after}", return_special_tokens_mask=True, verbose=False)
    ids, special = told["input_ids"], told["special_tokens_mask"]
    masks = [i for i, token in enumerate(ids) if token == tokenizer.mask_token_id]
    at = masks[before.count(tokenizer.mask_token)]
    head, tail = (next((i for i, flag in enumerate(ends) if not flag), 0) for ends in (special, special[::-1]))
    room = min(longest(tokenizer, model), 512) - head - tail
    first = max(head, min(at - room // 2, len(ids) - tail - room))
    ids = [*ids[:head], *ids[first : min(first + room, len(ids) - tail)], *ids[len(ids) - tail :]]
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([ids])).logits[0, at - first + head]
    tokens = tokenizer.convert_ids_to_tokens(scores.topk(min(4 * count + 10, len(scores))).indices.tolist())
    if before[-1:].isspace() and any(token.startswith(_STARTS) for token in tokens):
        tokens = [token for token in tokens if token.startswith(_STARTS)]  # others go on with a word
    words = (token.lstrip("".join(_STARTS)) for token in tokens)
    return [word for word in words if word.isalpha()][:count]
