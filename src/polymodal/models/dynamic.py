"""Cheap streams first, further ones only where they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens, presence
from polymodal.core.values import check_range
from polymodal.models.adaptive import Adaptive
from polymodal.models.base import Labelled, TokenSource
from polymodal.models.build import Parts
from polymodal.nn.calibrate import conformal_radius
from polymodal.nn.graphs import observed
from polymodal.targets.base import ScoredTarget
from polymodal.targets.real import RealTarget

ORDERS = ("cost", "gain")
GRID = 200  # thresholds tried, by the share of early answers that they would let pass
COVERAGE = 0.9  # of a number's conformal interval, whose half width is its doubt


class Dynamic(Adaptive):
    """Streams are encoded one after another; a row stops as soon as its answer is sure enough (after DynMM, 2023).

    Xue & Marculescu train gates by Gumbel-softmax with a loss for the computation. Here tokens are stored and encoders
    trained already, so nothing but the decision is left: after each stage the answer to the streams so far has a
    calibrated doubt (classes: 1 - max p after a temperature of the stage; multilabel likewise; number: the half width
    of a normalised conformal interval, Lei et al. 2018), and the row stops when that is at or below a threshold.

    The threshold is raised from "never stop", through the quantiles of the doubts, as long as it is `confidence` sure
    on validation rows that answers stay within `tolerance` of what all streams give (share of rows right; R² of a
    number): a one-sided bound on the paired difference, normal approximation. The first failure ends the search, so
    that trying many thresholds cannot find a lucky one (fixed-sequence testing; Angelopoulos et al. 2021). At a
    confidence of 0.5 the mean alone counts. With several targets a row stops when it is sure of each; they share the
    quantile.

    `order`: "cost" (cheapest first), "gain" (largest gain for its cost on validation rows first), or names. `answer`:
    what answers; any fusion, rule or answer. Raises `BadArgument` for a value that cannot be.
    """

    level: ClassVar[str] = "dynamic"
    nested: ClassVar[tuple[str, ...]] = ("answer",)
    places: Tensor
    threshold: Tensor
    scale: Tensor

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        answer: Spec = "concat", order: str | Sequence[str] = "cost", tolerance: float = 0.01,
        confidence: float = 0.8,
    ):  # fmt: skip
        super().__init__(widths, targets, parts, [answer])
        self.answer = answer
        self.order = order
        self.tolerance = tolerance
        self.confidence = confidence
        check_range("[0.5, 1)", confidence=confidence)
        check_range("[0, inf)", tolerance=tolerance)
        self.register_buffer("places", self._start())
        self.register_buffer("threshold", torch.full((len(targets),), -1.0))  # no doubt is below 0: never stop
        self.register_buffer("scale", torch.ones(len(self.names), len(targets)))  # temperature, or conformal factor

    def _start(self) -> Tensor:
        """[K] the order of stages that is known before training."""
        if isinstance(self.order, str):
            if self.order not in ORDERS:
                near = suggest(self.order, ORDERS)
                raise BadArgument(f"order is 'cost', 'gain' or a list of streams; got {self.order!r}.{near}")
            return self.cost.argsort(stable=True)
        if sorted(self.order) != list(self.names):
            raise BadArgument(f"order must name each of {list(self.names)} once; got {list(self.order)}.")
        return torch.tensor([self.names.index(name) for name in self.order])

    def stages(self) -> list[Tensor]:
        """[K] bool each: the streams that are encoded after each stage."""
        keep = torch.zeros(len(self.names), dtype=torch.bool, device=self.places.device)
        stages = []
        for k in self.places.tolist():
            keep = keep.clone()
            keep[k] = True
            stages.append(keep)
        return stages

    def choose(self, source: TokenSource) -> tuple[dict[str, Tensor], Tensor]:
        present = self.present(source)
        keep = torch.zeros_like(present)
        live = torch.ones(present.shape[0], dtype=torch.bool, device=present.device)
        scores: dict[str, Tensor] = {}
        for stage, place in enumerate(self.places):
            if stage and observed(~live.any()):
                break
            keep = keep | (live[:, None] & present & (torch.arange(len(self.names), device=keep.device) == place))
            streams = self.taken(source, keep)
            there = presence(streams.values()).any(1)
            heat = [torch.where(there, self._temperature(stage, i), 1.0)[:, None] for i in range(len(self.targets))]
            now = {name: s / t for (name, s), t in zip(self._said(streams).items(), heat)}  # the prior stays as it is
            scores = {name: torch.where(live[:, None], s, scores[name]) if scores else s for name, s in now.items()}
            sure = self._doubts(stage, now, streams) <= self.threshold
            live = live & ~(sure.all(1) & there)
        return scores, keep

    def _said(self, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
        predictions = self.inner[0](streams).predictions
        return {t.name: predictions[t.name] for t in self.targets}

    def _temperature(self, stage: int, target: int) -> Tensor | float:
        return 1.0 if self.targets[target].name in self.spread else self.scale[stage, target]

    def _doubts(self, stage: int, scores: Mapping[str, Tensor], streams: Mapping[str, Tokens]) -> Tensor:
        """[B, targets] doubt of the scores of a stage, tempered already."""
        doubts = []
        for i, target in enumerate(self.targets):
            doubt = self.doubt(target, scores[target.name], streams)
            doubts.append(doubt * self.scale[stage, i] if target.name in self.spread else doubt)
        return torch.stack(doubts, 1)

    # --- what validation rows decide ----------------------------------------------------------------------------------

    @torch.no_grad()
    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Fix the order, calibrate every stage and choose the threshold, all on validation rows."""
        self.eval()
        self.settle(train, valid, seed)
        self.threshold.fill_(-1.0)
        if self.order == "gain":
            self.places.copy_(self._by_gain(valid))
        doubts, rights, seen = [], [], []
        for stage, keep in enumerate(self.stages()):
            streams, scores, right = self.tried(valid, keep)
            seen.append(presence(streams.values()))
            for i, target in enumerate(self.targets):
                self.scale[stage, i] = self._calibrated(target, scores[target.name], streams, valid.targets)
            tempered = {t.name: scores[t.name] / self._temperature(stage, i) for i, t in enumerate(self.targets)}
            doubts.append(self._doubts(stage, tempered, streams))
            rights.append(right)
        self._choose_threshold(torch.stack(doubts), torch.stack(rights), torch.stack(seen))

    def _calibrated(
        self, target: ScoredTarget, scores: Tensor, streams: Mapping[str, Tokens], truth: Mapping[str, Tensor]
    ) -> float:
        """A stage's temperature; for a number the factor of σ whose interval covers 90 % of rows."""
        rows = presence(streams.values()).any(1)
        said, known = scores[rows].double().numpy(), truth[target.name][rows].numpy()
        if not isinstance(target, RealTarget):
            return target.temperature(said, known) or 1.0
        width = self.doubt(target, scores, streams)[rows].double().numpy()
        missed = target.residuals(scores[rows].double(), truth[target.name][rows].double()).numpy() / width
        factor = conformal_radius(missed, np.zeros_like(missed), COVERAGE)
        return factor if np.isfinite(factor) else float(np.nanmax(missed, initial=1.0))

    def _by_gain(self, valid: Labelled) -> Tensor:
        """[K] greedily: next comes the stream that adds most rightness for its cost."""
        keep = torch.zeros(len(self.names), dtype=torch.bool)
        before = self._rate(valid, keep)
        order: list[int] = []
        while len(order) < len(self.names):
            rest = [k for k in range(len(self.names)) if not keep[k]]
            after = {k: self._rate(valid, keep | (torch.arange(len(keep)) == k)) for k in rest}
            best = max(rest, key=lambda k: _worth(after[k] - before, float(self.cost[k])))
            keep[best], before = True, after[best]
            order.append(best)
        return torch.tensor(order)

    def _rate(self, rows: Labelled, keep: Tensor) -> float:
        return float(self.tried(rows, keep)[2].nanmean())

    def _choose_threshold(self, doubts: Tensor, rights: Tensor, seen: Tensor) -> None:
        """From [S, B, targets] doubts, [S, B] rightness and [S, B, K] streams encoded after each stage."""
        there = seen.any(2)
        if len(doubts) < 2 or not there[:-1].any():
            return
        factor = float(torch.special.ndtri(torch.tensor(self.confidence, dtype=torch.float64)))
        early = doubts[:-1][there[:-1]].double()
        for share in np.linspace(0, 1, GRID + 1)[1:]:
            threshold = early.quantile(float(share), dim=0).float()
            stop = (doubts <= threshold).all(2) & there
            stop[-1] = True
            at = stop.int().argmax(0)
            lost = rights[-1] - rights.gather(0, at[None])[0]
            lost = lost[~lost.isnan()].double()
            if lost.mean() + factor * lost.std(correction=0) / len(lost) ** 0.5 > self.tolerance + 1e-9:
                return
            self.threshold.copy_(threshold)


def _worth(gain: float, cost: float) -> float:
    """Gain for its cost; a loss counts the more the less it costs to avoid."""
    return gain / cost if gain > 0 else gain * cost
