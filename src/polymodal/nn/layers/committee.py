"""Several decoders that write as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from polymodal.nn.layers.state import Decoder, State
from polymodal.nn.precision import at_least_float32


class Committee(Decoder):
    """Decoders of one kind over one vocabulary; the next word's probability is the mean of theirs.

    Each learns by itself: a loss is the mean of the members' own, so that they differ by their first weights and by
    what dropout hides (deep ensembles, Lakshminarayanan et al. 2017). Takes as many times as long as there are members.
    """

    def __init__(self, members: Sequence[Decoder]):
        first = members[0]
        super().__init__(first.words, context_width=first.context_width, longest=first.longest)
        self.members = nn.ModuleList(members)

    def losses(self, ids: Tensor, context: Tensor, mask: Tensor, *, smoothing: float = 0.0) -> Tensor:
        if not self.training:
            return super().losses(ids, context, mask, smoothing=smoothing)
        return self._mean([m.losses(ids, context, mask, smoothing=smoothing) for m in self.members])  # type: ignore[operator]

    def start(self, context: Tensor, mask: Tensor) -> State:
        return _joined([m.start(context, mask) for m in self.members])  # type: ignore[operator]

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        each = [m.absorb(ids, one) for m, one in zip(self.members, self._parted(state))]  # type: ignore[operator]
        return torch.cat([x for x, _ in each], -1), _joined([one for _, one in each])

    def scores(self, x: Tensor) -> Tensor:
        each = [m.scores(one) for m, one in zip(self.members, x.chunk(len(self.members), -1))]  # type: ignore[operator]
        told = torch.stack([at_least_float32(scores).log_softmax(-1) for scores in each])
        return told.logsumexp(0) - math.log(len(each))

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        return self._mean([m.weights(ids, context, mask) for m in self.members])  # type: ignore[operator]

    def penalty(self) -> Tensor:
        return self._mean([m.penalty() for m in self.members])  # type: ignore[operator]

    def _mean(self, each: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(each)).mean(0)

    def _parted(self, state: State) -> list[State]:
        count = len(self.members)
        past, seen = len(state.past) // count, len(state.seen) // count
        return [
            replace(state, past=state.past[i * past : (i + 1) * past], seen=state.seen[i * seen : (i + 1) * seen])
            for i in range(count)
        ]


def _joined(each: Sequence[State]) -> State:
    past, seen = (tuple(t for one in each for t in getattr(one, name)) for name in ("past", "seen"))
    return replace(each[0], past=past, seen=seen)
