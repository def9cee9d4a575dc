"""What answers share that choose, row by row, which streams are worth encoding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Tokens, presence
from polymodal.heads.base import ScoringHead
from polymodal.models.base import Answer, Labelled, TokenSource
from polymodal.models.build import Parts
from polymodal.models.row_score import mean_row_score
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.streams import Join
from polymodal.nn.mask_streams import fewer_streams, mask_streams
from polymodal.targets.base import ScoredTarget
from polymodal.targets.real import RealTarget

SMALLEST = 1e-6  # ms a row: a stream that costs nothing measurable still counts for something
NEAR = 2.0  # costs of which the larger is less than so many times the smaller are one: the clock cannot tell them apart
NOISE = 0.05  # ms a row, below which timings of the same work differ by more than that
WIDEST = 5.0  # of the logarithm of a number's spread


class Adaptive(Answer):
    """Answers trained on any subset of the streams, and a way to choose the subset row by row.

    The answers within (`inner`) learn from all streams and, with the same weight, from a random subset of each row's:
    whatever has been encoded, they can answer. Nothing here is trained by what the choice costs; that is settled
    afterwards, on stored tokens (`finalize`).

    An author writes `choose`. In use, `respond` asks for a cell only where the choice needs it.
    """

    cost: Tensor

    def __init__(self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, specs: Sequence[Spec]):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.targets = tuple(targets)
        widths = {name: widths[name] for name in self.names}
        within = parts.without_cost()
        if not specs:
            raise BadArgument("At least one answer is needed to choose streams for; got none.")
        self.inner = nn.ModuleList(within.answer(spec, widths, targets) for spec in specs)
        numbers = [t.name for t in targets if isinstance(t, RealTarget)]
        self.spread = Named({name: Join(list(widths.values()), 1) for name in numbers})
        cost = [max(SMALLEST, parts.cost.get(name, 1.0 if not parts.cost else 0.0)) for name in self.names]
        self.register_buffer("cost", torch.tensor(levelled(cost)))  # ms a row to process and encode a stream

    # --- training -----------------------------------------------------------------------------------------------------

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        if not self.training:
            return Output(streams, None, self.respond(TokenSource(streams), self.names))
        first: Output = self.inner[0](streams)
        return Output(streams, first.fused, first.predictions)

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        whole = {name: output.streams[name] for name in self.names}
        losses: dict[str, Tensor] = {}
        for word, streams in (("all", whole), ("some", fewer_streams(whole))):
            for i, answer in enumerate(self.inner):
                said: Output = answer(streams)
                each = answer.losses(said, targets)  # type: ignore[operator]
                losses |= {f"{name}/{word}/{i}": loss for name, loss in each.items()}
                for name in self.spread:
                    losses[f"{name}/{word}/{i}/spread"] = self._spread_loss(
                        streams, said.predictions[name], targets[name], name
                    )
        return losses

    def _spread_loss(self, streams: Mapping[str, Tokens], scores: Tensor, truth: Tensor, target: str) -> Tensor:
        """Laplace likelihood of the residuals, which do not learn from it: log σ + |y - μ| / σ."""
        real: RealTarget = next(t for t in self.targets if t.name == target)  # type: ignore[assignment]
        missed = real.residuals(scores.detach(), truth)
        known = ~missed.isnan()
        width = self._log_spread(streams, target)
        missed = torch.where(known, missed, 0.0)
        return ((width + missed * torch.exp(-width)) * known).sum() / known.sum().clamp(min=1)

    def _log_spread(self, streams: Mapping[str, Tokens], target: str) -> Tensor:
        clean = [streams[n].cleared() for n in self.names]
        log_spread = self.spread[target]([s.pooled for s in clean], presence(clean))[:, 0].float()  # type: ignore[operator]
        return log_spread.clamp(-WIDEST, WIDEST)

    def see(self, rows: Tensor) -> None:
        for answer in self.inner:
            answer.see(rows)  # type: ignore[operator]

    def head(self, target: str) -> ScoringHead:
        return self.inner[0].head(target)  # type: ignore[operator,return-value]

    # --- use ----------------------------------------------------------------------------------------------------------

    def respond(self, source: TokenSource, streams: Sequence[str]) -> dict[str, Tensor]:
        return self.choose(source)[0]

    @torch.no_grad()
    def used(self, streams: Mapping[str, Tokens]) -> Tensor:
        """[B, K] bool: the streams (by sorted name) that each row would have had encoded."""
        return self.choose(TokenSource(streams))[1]

    @abstractmethod
    def choose(self, source: TokenSource) -> tuple[dict[str, Tensor], Tensor]:
        """Scores of every target, and [B, K] bool: which cells were asked for."""

    def present(self, source: TokenSource) -> Tensor:
        """[B, K] bool: rows that have each stream, as far as is known without decoding it."""
        return torch.stack([source.present(name) for name in self.names], 1)

    def taken(self, source: TokenSource, keep: Tensor) -> dict[str, Tokens]:
        """Every stream's tokens, absent wherever `keep` [B, K] is False."""
        return {name: source.tokens(name, keep[:, k]) for k, name in enumerate(self.names)}

    def spoken(self, streams: Mapping[str, Tokens], by: Tensor) -> dict[str, Tensor]:
        """Every row's scores from the answer that `by` [B] names."""
        each = [answer(streams).predictions for answer in self.inner]
        rows = torch.arange(by.shape[0], device=by.device)
        return {t.name: torch.stack([e[t.name].float() for e in each])[by, rows] for t in self.targets}

    def doubt(self, target: ScoredTarget, scores: Tensor, streams: Mapping[str, Tokens]) -> Tensor:
        """[B] how unsure scores [B, width] are: by their own account, or a number's σ, in standard units."""
        own = target.uncertainty(scores)
        return self._log_spread(streams, target.name).exp() if own is None else own

    def settle(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Let the answers within choose what they choose, before anything is chosen about them."""
        for answer in self.inner:
            answer.finalize(train, valid, seed)  # type: ignore[operator]

    @torch.no_grad()
    def tried(
        self, rows: Labelled, keep: Tensor, answer: int = 0
    ) -> tuple[dict[str, Tokens], dict[str, Tensor], Tensor]:
        """Rows with the streams `keep` ([K] or [B, K] bool) alone: these, their scores, and [B] how right they are."""
        whole = {name: rows.streams[name] for name in self.names}
        streams = mask_streams(whole, keep.expand(whole[self.names[0]].x.shape[0], -1))
        scores = self.inner[answer](streams).predictions
        return streams, scores, mean_row_score(self.targets, scores, rows.targets)


def levelled(costs: Sequence[float]) -> list[float]:
    """Measured costs with near ones made equal, so that the same data choose the same streams whatever the clock said.

    From the smallest up, those less than `NEAR` times the first of their level, or all below `NOISE` ms, share its
    mean. Equal costs leave streams in the order of their names; what all cost together stays as it was.
    """
    levels: list[list[float]] = []
    for cost in sorted(costs):
        if levels and cost < max(NEAR * levels[-1][0], NOISE):
            levels[-1].append(cost)
        else:
            levels.append([cost])
    means = {cost: sum(level) / len(level) for level in levels for cost in level}
    return [means[cost] for cost in costs]
