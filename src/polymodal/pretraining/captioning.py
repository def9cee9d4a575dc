"""What is learned by writing: the words of a row, from the tokens of its other streams (CoCa; Yu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.errors import BadData
from polymodal.core.shown import many
from polymodal.core.types import Tokens
from polymodal.encoders.base import Held
from polymodal.heads.writer import Writer
from polymodal.nn.layers.state import PAD
from polymodal.pretraining.rebuilding import heads_of, usual_cost
from polymodal.targets.text import TextTarget, texts_of


class Captioner(nn.Module):
    """Writes a stream of text about tokens of width `dim`, by the decoder of a `Writer` of one block, which stays
    behind when the encoders are deployed: a larger one learns more of the language by itself, and looks less.

    `cells` [N] are the stream's, None where there is none; words are known from those of the rows `learned` [m]. The
    loss is in units of what knowing only how frequent words are would cost.

    Raises `BadData` where no cell that is learned from holds a word.
    """

    usual: Tensor

    def __init__(self, name: str, dim: int, cells: Sequence[Any], learned: np.ndarray):
        super().__init__()
        said = [cells[row] for row in learned if texts_of(cells[row])]
        if not said:
            raise BadData(f"No row that is learned from has a word in {name!r}: leave it out of captions.")
        target = TextTarget(name).fit(said)
        self.head = Writer(dim, target, units=dim, depth=1, heads=heads_of(dim), tokens=None)
        self.codes = torch.from_numpy(target.encode(cells))
        self.has_words = (self.codes > 0).flatten(1).any(1).numpy()
        ids = self.head.sought(self.codes[learned])
        self.register_buffer("usual", usual_cost(Held(ids, ids != PAD, target.words)))

    def forward(self, rows: np.ndarray, x: Tensor, mask: Tensor, *, blind: bool = False) -> Tensor | None:
        """The mean loss of a word of `rows` [B] by tokens `x` [B, S, dim] with `mask` [B, S], over the rows that have
        both; None where none has. `blind`: by the words before it alone."""
        truth = self.codes[rows].to(x.device)
        some = ((truth > 0).flatten(1).any(1) & mask.any(1)).nonzero()[:, 0]
        if not len(some):
            return None
        tokens = Tokens(x, mask & (not blind), x.new_zeros(len(x), x.shape[2])).select(some)
        return self.head.loss(tokens.cleared(), truth[some]) / self.usual

    def remarks(self) -> list[str]:
        """What the user should know of the texts."""
        target = self.head.target
        texts = (codes[codes > 0] for row in self.codes.numpy() for codes in row)
        long = sum(target.coder.count(codes) > target.longest for codes in texts)
        what = f"{target.name}: of {many(long, 'text')} only the first {target.longest} symbols are written."
        return [what] if long else []
