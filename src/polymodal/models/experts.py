"""Mixture of experts with one expert a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.types import Output, Tokens, presence
from polymodal.core.values import check_range
from polymodal.heads.base import ScoringHead
from polymodal.models.base import Answer
from polymodal.models.build import Parts
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.pool import masked_softmax
from polymodal.nn.layers.streams import Join
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import ScoredTarget


class Experts(Answer):
    """Dynamic mixture of modality experts (Li, Chen, Han 2025): y = Σ_k g_k y_k over the streams that are there.

    Each stream's expert answers alone with scores y_k; a gate reads the pooled vectors and which streams are there, and
    g = softmax of its outputs over the present streams, so that absent ones get exactly no weight. Scores are mixed as
    they are: logits, or a standardised number.

    The paper trains the experts first and the gate with them afterwards; here `own` weighs each expert's own loss
    beside that of the mixture, in one training. Its second loss, by which more streams must never hurt, is the
    objective `ranking`. `gate` are the gate's hidden units, `dropout` acts on what it reads.

    Raises `BadArgument` for a value out of range.
    """

    level: ClassVar[str] = "experts"

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        gate: int = 32, dropout: float = 0.1, own: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        self.gate = check_count("gate", gate)
        self.dropout = check_dropout(dropout)
        self.own = own
        check_range("[0, inf)", own=own)
        self.names = tuple(sorted(widths))
        self.experts = Named({t.name: Named({n: parts.head(widths[n], t) for n in self.names}) for t in targets})
        self.read = Join([widths[n] for n in self.names], gate, dropout=dropout)
        self.gates = Named({t.name: nn.Linear(gate, len(self.names)) for t in targets})

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        weights = self.weights(streams)
        each = {target: self._each(target, streams) for target in self.experts}
        mixed = {target: (weights[target][..., None] * scores).sum(1) for target, scores in each.items()}
        return Output(streams, None, mixed)

    def weights(self, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """[B, K] how much each expert counts for each target: zero where its stream is absent, adding up to 1.

        Where no stream is there, every expert's prior counts equally.
        """
        clean = [streams[n].cleared() for n in self.names]
        present = presence(clean)
        counted = present | ~present.any(1, keepdim=True)
        read = nn.functional.gelu(self.read([s.pooled for s in clean], present))
        return {target: masked_softmax(at_least_float32(gate(read)), counted) for target, gate in self.gates.items()}

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses = {t: self.head(t).loss_of_scores(scores, targets[t]) for t, scores in output.predictions.items()}
        if not self.own:
            return losses
        for target in self.experts:
            for name, scores in zip(self.names, self._each(target, output.streams).unbind(1)):
                present = output.streams[name].present
                expert: ScoringHead = self.experts[target][name]  # type: ignore[index,assignment]
                losses[f"{target}/{name}"] = self.own * expert.loss_of_scores(scores[present], targets[target][present])
        return losses

    def head(self, target: str) -> ScoringHead:
        return self.experts[target][self.names[0]]  # type: ignore[index,return-value]

    def _each(self, target: str, streams: Mapping[str, Tokens]) -> Tensor:
        """[B, K, width] every expert's scores."""
        return torch.stack([self.experts[target][n](streams[n]) for n in self.names], 1)  # type: ignore[index,operator]
