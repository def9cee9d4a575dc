"""The values that pass between parts: `Tokens`, `Batch`, `Output`.

`Tokens` is a frozen dataclass registered as a pytree, so it goes through `torch.compile`, `torch.export`, `vmap`
and DDP
as it is. A NamedTuple was tried too: it cannot be saved by `torch.export` without registration either, and it adds,
unpacks and compares as a tuple, which hides mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tokens:
    """One stream of a batch: a sequence, its mask and its pooled vector.

    A missing modality is a row whose mask is all False; nothing else marks it.

    Shapes: `x` [B, T, D]; `mask` [B, T] bool, True = real; `pooled` [B, D], pooled as the encoder knows it should be;
    `where` [B, T, K] place in the source (seconds; row and column in 0..1; character span), or None.

    `single` says that `x` is `pooled` and nothing else, so that what goes through a map of vectors need go through it
    once. It is known from how the tokens were made (`of_pooled`, `from_vector`), not from what they hold, so that no
    branch depends on data; `replace` and the pytree forget it, which costs time and changes nothing.
    """

    x: Tensor
    mask: Tensor
    pooled: Tensor
    where: Tensor | None = None
    single: bool = field(default=False, init=False)

    @property
    def present(self) -> Tensor:
        """[B] bool: rows in which the modality is there."""
        return self.mask.any(1)

    @property
    def width(self) -> int:
        """D, the width of a token."""
        return self.x.shape[-1]

    def __len__(self) -> int:
        return self.x.shape[0]

    @classmethod
    def from_vector(cls, vector: Tensor, present: Tensor | None = None) -> Tokens:
        """One token a row, from [B, D] and optionally [B] bool."""
        if present is None:
            present = torch.ones(vector.shape[0], dtype=torch.bool, device=vector.device)
        return cls.of_pooled(vector, present[:, None]).cleared()

    @classmethod
    def of_pooled(cls, pooled: Tensor, mask: Tensor, where: Tensor | None = None) -> Tokens:
        """One token a row, which is `pooled` [B, D] itself and no copy of it; `mask` [B, 1], `where` [B, 1, K]."""
        return cls(pooled[:, None], mask, pooled, where)._marked(True)

    def _marked(self, single: bool) -> Tokens:
        object.__setattr__(self, "single", single)
        return self

    def changed(self, **parts: Any) -> Tokens:
        """As `dataclasses.replace`, where `x` and `pooled` change alike or not at all: `single` stays what it was."""
        return replace(self, **parts)._marked(self.single)

    def keep(self, rows: Tensor) -> Tokens:
        """The same tokens with the modality missing wherever `rows` [B] bool is False."""
        return self.changed(mask=self.mask & rows[:, None]).cleared()

    def cleared(self) -> Tokens:
        """The same tokens with every masked value zero, even where it was NaN."""
        zero = self.x.new_zeros(())
        if self.single:
            pooled = torch.where(self.mask, self.pooled, zero)
            return self.changed(x=pooled[:, None], pooled=pooled)
        return self.changed(
            x=torch.where(self.mask[..., None], self.x, zero),
            pooled=torch.where(self.present[:, None], self.pooled, zero),
        )

    def select(self, rows: Tensor | slice) -> Tokens:
        """The rows at `rows` (indices, a bool mask or a slice)."""
        parts = (self.x, self.mask, self.pooled, self.where)
        if isinstance(rows, Tensor) and rows.dtype == torch.int64:  # several times as fast as indexing, on the CPU
            chosen = [None if p is None else p.index_select(0, rows) for p in parts]
        else:
            chosen = [None if p is None else p[rows] for p in parts]
        return Tokens(*chosen)._marked(self.single)  # type: ignore[arg-type]

    def to(self, *args: Any, **kwargs: Any) -> Tokens:
        """`Tensor.to` on every tensor; the mask keeps its dtype."""
        mask = self.mask.to(
            *(a for a in args if not isinstance(a, torch.dtype)), **{k: v for k, v in kwargs.items() if k != "dtype"}
        )
        where = None if self.where is None else self.where.to(*args, **kwargs)
        return self.changed(
            x=self.x.to(*args, **kwargs), mask=mask, pooled=self.pooled.to(*args, **kwargs), where=where
        )


torch.export.register_dataclass(Tokens, serialized_type_name="polymodal.core.types.Tokens")
torch.serialization.add_safe_globals([Tokens])


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows ready for a model.

    `inputs[stream][name]` are tensors of B rows, `present` among them: [B] bool, False where the cell is missing or set
    aside. `targets[name]` are [B, ...] encoded by the target. `ids` are the rows' identifiers.
    """

    inputs: Mapping[str, Mapping[str, Tensor]]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    ids: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Output:
    """What a model returns: encoded `streams`, `fused` tokens (None under decision fusion), scores a target, losses."""

    streams: Mapping[str, Tokens]
    fused: Tokens | None
    predictions: Mapping[str, Tensor]
    losses: Mapping[str, Tensor] = field(default_factory=dict)


for _part in (Batch, Output):
    torch.export.register_dataclass(_part, serialized_type_name=f"polymodal.core.types.{_part.__name__}")


def presence(streams: Iterable[Tokens]) -> Tensor:
    """[B, K] bool: which of K streams each row has."""
    return torch.stack([s.present for s in streams], dim=1)


def part_of(inputs: Mapping[str, Tensor], i: int) -> dict[str, Tensor]:
    """Of inputs that hold several readings of the same cells, as `0.ids`, `1.ids`, …, those of the one at `i`."""
    mark = f"{i}."
    return {name.removeprefix(mark): value for name, value in inputs.items() if name.startswith(mark)}


def numbered(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several readings of the same cells under one roof, as `part_of` takes them apart."""
    return {f"{i}.{name}": value for i, inputs in enumerate(each) for name, value in inputs.items()}
