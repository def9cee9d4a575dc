"""A pretrained language model that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.core.kept import Kept
from polymodal.heads.writing import WritingHead
from polymodal.nn.layers.language_model import LanguageModel
from polymodal.nn.layers.state import END, PAD, Decoder
from polymodal.targets.text import TextTarget

ROOM = 32  # symbols of an answer that there is room for at least
KEPT = 1 << 22  # letters of texts whose pieces are remembered
PIECES = 2  # of the model, at most, that a symbol of the target is given room for


class WriterPretrained(WritingHead):
    """A causal language model of Hugging Face transformers that reads the tokens, through a projector, before words.

    `model` is a hub name or a folder; `tune`, `projector`, `factor`, `latents` and `rank` are those of
    `nn.layers.language_model.LanguageModel`. It learns and writes pieces of its own tokenizer: texts as the target
    compares them, so that what is lower-cased there is lower-cased here. See `WritingHead` for the other options.
    """

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        model: str = "",
        tune: str = "frozen",
        projector: str = "shuffle",
        factor: int = 1,
        latents: int = 16,
        rank: int = 8,
        dropout: float = 0.1,
        smoothing: float = 0.1,
        decoding: Mapping[str, Any] | None = None,
    ):
        super().__init__(width, target, dropout=dropout, smoothing=smoothing, decoding=decoding)
        self.model, self.tune, self.rank = model, tune, rank
        self.projector, self.factor, self.latents = projector, factor, latents
        self.writes = LanguageModel(
            model, context_width=width, tune=tune, projector=projector, factor=factor, latents=latents, rank=rank,
            longest=self.most,
        )  # fmt: skip
        self._known: Kept[str, list[int]] = Kept(KEPT)
        self.settle()

    @property
    def decoder(self) -> Decoder:
        return self.writes

    @property
    def most(self) -> int:
        return PIECES * int(self.target.longest) + 1

    @property
    def room(self) -> int:
        return 2 * max(ROOM, 2 * self.most)

    def recipe(self) -> dict[str, Any]:
        lr = 1e-4 if self.tune == "full" else 1e-3
        # What it keeps for the way back is 60 MB a text, of a model of 135 million parameters: 2 GB here.
        batch = 8 if self.target.several else 32
        return {"epochs": 10, "batch": batch, "lr": lr, "weight_decay": 0.01, "patience": 3}

    def sought(self, truth: Tensor) -> Tensor:
        texts = [[self.target.coder.text(one) if one[0] > 0 else "" for one in row] for row in truth.tolist()]
        ids = [[[*self._pieces(text), END][: self.most] if text else [] for text in row] for row in texts]
        length = max((len(one) for row in ids for one in row), default=0) or 1
        padded = [[one + [PAD] * (length - len(one)) for one in row] for row in ids]
        return torch.tensor(padded, dtype=torch.int64, device=truth.device).view(*truth.shape[:2], length)

    def coded(self, answer: str) -> list[int] | None:
        text = self.target.coder.text(self.target.coder.codes(answer))
        return self._pieces(text) if text else None

    def _pieces(self, text: str) -> list[int]:
        found = self._known.get(text)
        return self._known.keep(text, self.writes.codes(text), len(text)) if found is None else found

    def codes(self, ids: Tensor) -> Tensor:
        coder = self.target.coder
        told = [[*coder.cut(coder.codes(self.writes.text(row)), self.room // 2)] for row in ids.tolist()]
        length = max(map(len, told), default=0)
        padded = [each + [PAD] * (length - len(each)) for each in told]
        return torch.tensor(padded, dtype=torch.int64, device=ids.device).view(len(ids), length)
