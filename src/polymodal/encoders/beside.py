"""Two encodings of one stream, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens, part_of
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.encoders.scoring import Said


class Beside(Encoder):
    """The direct sum of several encoders that read the same cells: vectors side by side, tokens one after another.

    A token has zeros where the other encoders' components are. Options: `parts`, the encoders; `weights`, how much each
    one's answer counts where their tokens carry scores (None: alike); `reads`, which part of the processor `several`
    each one reads (None: all read the same arrays). Raises `BadArgument` without a part, or for another number of
    weights or readings.
    """

    within = "parts"
    processor = "vector"
    traced = False  # a part may know no places

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, parts: Sequence[Spec] = ("vector_plain",),
        weights: Sequence[float] | None = None, reads: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(facts, dim)
        if not parts or (weights is not None and len(weights) != len(parts)):
            raise BadArgument(f"beside takes encoders and a weight each; got {len(parts)} and {weights}.")
        self.parts = parts
        self.weights = weights
        self.reads = reads
        own = [facts] * len(parts)
        if reads is not None:
            known = facts.get("parts", ())
            if len(reads) != len(parts) or not all(0 <= place < len(known) for place in reads):
                raise BadArgument(f"beside has {len(parts)} encoders that read {reads} of {len(known)} processors.")
            own = [known[place] for place in reads]
        self.each = nn.ModuleList(ENCODERS.build(spec, known, dim) for spec, known in zip(parts, own))
        self.widths = [int(one.dim) for one in self.each]  # type: ignore[arg-type]
        self.dim = sum(self.widths)

    @property
    def says(self) -> dict[str, Said]:
        """Where its tokens carry scores, by target."""
        each = [getattr(one, "says", {}) for one in self.each]
        return said_together(zip(each, self.widths, self.weights or [1.0] * len(each)))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        for i, one in enumerate(self.each):
            one.fit_statistics(self._own(inputs, i))  # type: ignore[operator]

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return joined([one(self._own(inputs, i)) for i, one in enumerate(self.each)])

    def _own(self, inputs: Mapping[str, Tensor], i: int) -> Mapping[str, Tensor]:
        return inputs if self.reads is None else part_of(inputs, self.reads[i])


def said_together(each: Iterable[tuple[Mapping[str, Said], int, float]]) -> dict[str, Said]:
    """Where the direct sum of encodings carries scores, by target: of what each says, its width and its weight."""
    found: dict[str, Said] = {}
    start = 0
    for says, width, weight in each:
        for name, said in says.items():
            before = found[name].pieces if name in found else ()
            found[name] = Said(said.meaning, (*before, *(p for p in said.moved(start, weight).pieces if p[2] > 0)))
        start += width
    return found


def joined(each: Sequence[Tokens]) -> Tokens:
    """The direct sum of tokens of the same rows."""
    pooled = torch.cat([tokens.pooled for tokens in each], 1)
    if len(each) == 1:
        return each[0]
    if all(tokens.single for tokens in each):
        return Tokens.of_pooled(pooled, torch.stack([tokens.mask for tokens in each]).any(0))
    width, start, parts = pooled.shape[1], 0, []
    for tokens in each:
        own = tokens.x.shape[2]
        parts.append(torch.nn.functional.pad(tokens.x, (start, width - start - own)))
        start += own
    return Tokens(torch.cat(parts, 1), torch.cat([tokens.mask for tokens in each], 1), pooled, _where(each))


def _where(each: Sequence[Tokens]) -> Tensor | None:
    """Places of all tokens; those of an encoder that knows none lie in the middle of the others'."""
    known = [tokens.where for tokens in each if tokens.where is not None]
    if not known:
        return None
    kinds = {where.shape[2] for where in known}
    if len(kinds) > 1:
        return None
    middle = known[0].mean(1, keepdim=True)
    places = [t.where if t.where is not None else middle.expand(-1, t.x.shape[1], -1) for t in each]
    return torch.cat([place.to(middle.dtype) for place in places], 1)
