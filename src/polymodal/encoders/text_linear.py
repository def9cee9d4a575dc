"""N-grams weighted by tf-idf with linear models on them, fitted in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.registry import Spec
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.encoders.ngrams import Ngrams, tf_idf
from polymodal.encoders.scoring import Answering, Said, ScoringEncoder, linear
from polymodal.encoders.segments import segment_mask, segment_spans, segments, trimmed
from polymodal.nn.check import check_count
from polymodal.nn.graphs import pieces

PLACES = 2**17  # of texts whose n-grams are looked at together
HELD = 2**22  # n-grams that are counted before equal ones are merged
SEEN = 4096  # texts by which components are found
MARGIN = 10  # random directions more than components
STRENGTHS = (0.04, 0.2, 1.0, 5.0, 25.0, 125.0)  # of learners that are tried
SIZED = ("grams", "idf", "table", "bias")  # buffers that fitting gives their sizes


class TextLinear(ScoringEncoder):
    """N-grams of characters within words, words and pairs of words, weighted by tf-idf (Salton & Buckley 1988): linear
    models of them, and their latent semantic components (Deerwester et al. 1990).

    The weights w = (1 + ln tf) (1 + ln((1 + n) / (1 + df))) of characters and those of words have unit length each; an
    n-gram is known by 64 bits of its own, so different ones do not meet. A linear model's score is a sum over n-grams:
    pooled vectors are the w-weighted sum of what each n-gram adds, the models' constants with it. One token for each
    word, up to `tokens`: the part of the sum that starts there.

    Options: `longest` n-gram (None: 5 characters or 2 subwords); `rare`, least number of training texts that hold an
    n-gram; `most` n-grams, those in most texts; `words`, the length of the words' weights, where the characters' is 1;
    `components`; `tokens`; `answers`, what was fitted, which a fit writes.
    """

    processor = "text"
    processor_options: ClassVar[Mapping[str, Any]] = {"level": "characters", "length": 3000}
    sample = 20_000

    grams: Tensor
    idf: Tensor
    table: Tensor
    bias: Tensor

    imports = ()

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        longest: int | None = None,
        rare: int = 2,
        most: int = 2**17,
        words: float = 1.0,
        components: int = 64,
        tokens: int = 16,
        answers: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        super().__init__(facts, dim)
        check_range("[0, inf)", words=words)
        self.longest = longest
        self.rare = check_count("rare", rare)
        self.most = check_count("most", most)
        self.words = words
        self.components = check_count("components", components)
        self.tokens = check_count("tokens", tokens)
        self.answers = answers
        self.span = longest or (5 if facts["level"] == "characters" else 2)
        self.ngrams = Ngrams(facts, self.span)
        self.dim = components + sum(answer["width"] for answer in (answers or {}).values())
        self.register_buffer("grams", torch.full((1,), 2**63 - 1))  # in rising order
        self.register_buffer("idf", torch.zeros(1))
        self.register_buffer("table", torch.zeros(1, self.dim, dtype=torch.float16))
        self.register_buffer("bias", torch.zeros(self.dim))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in SIZED:  # what was fitted says how many n-grams there are
            if (held := state_dict.get(prefix + name)) is not None and held.shape[1:] == getattr(self, name).shape[1:]:
                self.register_buffer(name, getattr(self, name).new_zeros(held.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Learn which n-grams there are, their inverse document frequency, and the components."""
        inputs = dict(inputs)
        if (present := inputs.pop("present", None)) is not None:
            inputs = {name: value[present] for name, value in inputs.items()}
        grams, counts = self._counted(inputs)
        kept = np.flatnonzero(counts >= self.rare)
        if len(kept) > self.most:
            kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[: self.most]])
        if not len(kept):
            return
        texts = len(inputs["ids"])
        self.register_buffer("grams", torch.from_numpy(grams[kept]))
        self.register_buffer("idf", torch.from_numpy(np.log((1 + texts) / (1 + counts[kept])) + 1).float())
        self.register_buffer("table", torch.zeros(len(kept), self.dim, dtype=torch.float16))
        components, middle = _components(self.design(inputs), self.components)
        self.table[:, : components.shape[1]] = torch.from_numpy(components)
        self.bias[: len(middle)] = torch.from_numpy(-middle)

    def design(self, inputs: dict[str, Tensor]) -> sparse.csr_array:
        """The weights of known n-grams, float32 [B, F]."""
        parts, order = [], []
        for rows, some in self._alike(inputs):
            slots, weight, _ = self._weighed(some)
            row = torch.arange(len(rows))[:, None, None].expand_as(slots)
            there = weight > 0
            cells = (row[there].numpy(), slots[there].numpy())
            parts.append(sparse.csr_array((weight[there].numpy(), cells), shape=(len(rows), len(self.idf))))
            order.append(rows)
        if not parts:
            return sparse.csr_array((0, len(self.idf)), dtype=np.float32)
        return sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(order))]

    def candidates(self, meaning: str, rows: int, features: int) -> list[Spec]:
        return [{"name": "sparse", "strength": strength} for strength in STRENGTHS]

    def answering(self, answers: Mapping[str, Answering]) -> TextLinear:
        told = {name: answer.to_json() for name, answer in answers.items()}
        one = TextLinear(
            self.facts, self.dim, longest=self.longest, rare=self.rare, most=self.most, words=self.words,
            components=self.components, tokens=self.tokens, answers=told,
        )  # fmt: skip
        pairs = [linear(self, answer, len(self.idf)) for answer in answers.values()]
        own = self.components
        one.register_buffer("grams", self.grams)
        one.register_buffer("idf", self.idf)
        table = [self.table[:, :own], *(weight.to(self.table) for weight, _ in pairs)]
        one.register_buffer("table", torch.cat(table, 1))
        one.register_buffer("bias", torch.cat([self.bias[:own], *(bias for _, bias in pairs)]))
        return one.eval()

    @property
    def says(self) -> dict[str, Said]:
        found, start = {}, self.components
        for name, answer in (self.answers or {}).items():
            found[name] = Said(answer["meaning"], ((start, start + answer["width"], 1.0),))
            start += answer["width"]
        return found

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        inputs = trimmed(inputs)
        rows = max(1, PLACES // inputs["ids"].shape[1])
        chunks = zip(*(pieces(value, rows) for value in inputs.values()))
        parts = torch.cat([self._parts(dict(zip(inputs, chunk))) for chunk in chunks])
        real = inputs["ids"] != 0
        segment = segments(inputs["word"], real, self.tokens)
        mask = segment_mask(segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        return Tokens(parts, mask, parts.sum(1) + self.bias, where)

    def _parts(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What the n-grams that start in each token add up to: [B, tokens, dim]."""
        slots, weight, owner = self._weighed(inputs)
        segment = segments(inputs["word"], inputs["ids"] != 0, self.tokens)
        rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
        bag = (rows * self.tokens + segment.gather(1, owner)).flatten()  # in rising order, as places are
        sizes = bag.new_zeros(slots.shape[0] * self.tokens).index_add(0, bag, torch.ones_like(bag))
        starts = F.pad(sizes.cumsum(0), (1, 0))[:-1] * slots.shape[2]
        parts = F.embedding_bag(
            slots.flatten(), self.table, starts, mode="sum", per_sample_weights=weight.flatten().to(self.table.dtype)
        )
        return parts.float().view(slots.shape[0], self.tokens, self.dim)

    def _weighed(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Slot and weight [B, P, W] of the n-grams that start at each place, and the token [B, P] it belongs to."""
        hashes, exists, owner = self.ngrams(inputs)
        wide = self.span + 2  # without words that lack a letter
        hashes, exists = hashes[..., :wide].contiguous(), exists[..., :wide]
        slots = torch.searchsorted(self.grams, hashes).clamp(max=self.grams.shape[0] - 1)
        known = exists & (self.grams[slots] == hashes)
        blocks = []
        for some, length in ((slice(0, self.span), 1.0), (slice(self.span, wide), self.words)):
            shape = slots[..., some].shape
            weight = tf_idf(slots[..., some].flatten(1), known[..., some].flatten(1), self.idf)
            blocks.append(length * weight.view(shape))
        return slots, torch.cat(blocks, 2), owner

    def _alike(self, inputs: Mapping[str, Tensor]) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Rows of about one length at a time, and their numbers."""
        sizes, order = (inputs["ids"] != 0).sum(1).sort(stable=True)
        start = 0
        while start < len(order):
            rest = sizes[start:]
            fits = int((rest * torch.arange(1, len(rest) + 1) <= PLACES).sum())  # the last is the longest of them
            rows = order[start : start + max(1, fits)]
            yield rows.numpy(), trimmed({name: value[rows] for name, value in inputs.items()})
            start += len(rows)

    def _counted(self, inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """All n-grams of the texts, in rising order, and how many texts hold each."""
        grams, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        waiting: list[np.ndarray] = []
        for _, some in self._alike(inputs):
            hashes, exists, _ = self.ngrams(some)
            wide = self.span + 2
            ordered = torch.where(exists, hashes, 2**63 - 1)[..., :wide].flatten(1).sort(1).values
            first = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True) & (ordered != 2**63 - 1)
            waiting.append(ordered[first].numpy())
            if sum(map(len, waiting)) > HELD:
                grams, counts = _merged(grams, counts, waiting)
                waiting = []
        return _merged(grams, counts, waiting)


def _merged(grams: np.ndarray, counts: np.ndarray, more: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    found, first = np.unique(np.concatenate([np.zeros(0, np.int64), *more]), return_counts=True)
    both, place = np.unique(np.concatenate([grams, found]), return_inverse=True)
    return both, np.bincount(place, np.concatenate([counts, first]), len(both)).astype(np.int64)


def _components(design: sparse.csr_array, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps [F, K] to the `wanted` largest components or as many as there are, of unit variance, and their means [K].

    By random projections and two rounds of powers (Halko, Martinsson & Tropp 2011).
    """
    some = design[:: max(1, -(-design.shape[0] // SEEN))]
    count = min(wanted, *(side - 1 for side in some.shape))
    if count < 1:
        return np.zeros((design.shape[1], 0), np.float32), np.zeros(0, np.float32)
    turned = sparse.csr_array(some.T)
    drawn = np.random.default_rng(0).standard_normal((some.shape[1], min(count + MARGIN, some.shape[0])), np.float32)
    span = np.linalg.qr(some @ drawn)[0]
    for _ in range(2):
        span = np.linalg.qr(some @ (turned @ span))[0]
    seen = turned @ span
    values, vectors = np.linalg.eigh(seen.T @ seen)
    found = seen @ (vectors[:, : -count - 1 : -1] / np.sqrt(np.maximum(values[: -count - 1 : -1], 1e-12)))
    told = design @ found
    spread = told.std(0)
    scale = np.where(spread > 1e-4, 1 / np.maximum(spread, 1e-4), 0.0)  # less is rounding
    return (found * scale).astype(np.float32), (told.mean(0) * scale).astype(np.float32)
