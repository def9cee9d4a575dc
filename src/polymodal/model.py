"""Model: encode, fuse, answer. It knows the families' base classes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polymodal.core.types import Batch, Output, Tokens, presence
from polymodal.encoders.base import Encoder
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.heads.base import Head
from polymodal.nn.named import Named


class Answer(nn.Module):
    """Streams to scores: what is trained on stored tokens. Either `Joint` or `Decisions`."""

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        """Scores of every target, [B, width] each."""
        raise NotImplementedError

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named losses; their sum is what training lowers."""
        raise NotImplementedError

    def head(self, target: str) -> Head:
        """A head that can decode scores of `target`."""
        raise NotImplementedError


class Joint(Answer):
    """One fused stream and one head a target."""

    def __init__(self, fusion: Fusion, heads: Mapping[str, Head]):
        super().__init__()
        self.fusion = fusion
        self.heads = Named(heads)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        fused = self.fusion(streams)
        return Output(streams, fused, {name: head(fused) for name, head in self.heads.items()})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.head(name).loss(scores, targets[name]) for name, scores in output.predictions.items()}

    def head(self, target: str) -> Head:
        return self.heads[target]  # type: ignore[return-value]


class Decisions(Answer):
    """A head a stream and target, trained each on its own, and a rule that combines their scores.

    The rule's own parameters learn from scores cut off from the heads: late fusion in the strict sense. One stream with
    any rule is the single-modality baseline.
    """

    def __init__(self, heads: Mapping[str, Mapping[str, Head]], rules: Mapping[str, DecisionFusion]):
        super().__init__()
        self.heads = Named({target: Named(streams) for target, streams in heads.items()})
        self.rules = Named(rules)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        alone = self._alone(streams)
        return Output(streams, None, {t: self._combine(t, scores, streams) for t, scores in alone.items()})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for target, scores in self._alone(output.streams).items():
            for stream, value in scores.items():
                present = output.streams[stream].present  # no row at all is a loss of zero
                head: Head = self.heads[target][stream]  # type: ignore[index,assignment]
                found[f"{target}/{stream}"] = head.loss(value[present], targets[target][present])
            if any(p.requires_grad for p in self.rules[target].parameters()):
                detached = {stream: value.detach() for stream, value in scores.items()}
                found[target] = self.head(target).loss(self._combine(target, detached, output.streams), targets[target])
        return found

    def head(self, target: str) -> Head:
        return next(iter(self.heads[target].values()))  # type: ignore[operator,union-attr]

    def _alone(self, streams: Mapping[str, Tokens]) -> dict[str, dict[str, Tensor]]:
        return {
            target: {stream: head(streams[stream]) for stream, head in heads.items()}  # type: ignore[union-attr,operator]
            for target, heads in self.heads.items()
        }

    def _combine(self, target: str, scores: Mapping[str, Tensor], streams: Mapping[str, Tokens]) -> Tensor:
        return self.rules[target](scores, {stream: streams[stream].present for stream in scores})


class Blend(Answer):
    """A weighted mean of several answers' probabilities (numbers: of their values): an ensemble, deployed as one."""

    def __init__(self, members: Sequence[Answer], weights: Sequence[float]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = [w / sum(weights) for w in weights]

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        each = [member(streams).predictions for member in self.members]
        return Output(streams, None, {t: self.blend(t, [e[t] for e in each]) for t in each[0]})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.head(name).loss(scores, targets[name]) for name, scores in output.predictions.items()}

    def head(self, target: str) -> Head:
        return self.members[0].head(target)  # type: ignore[operator,return-value]

    def blend(self, target: str, scores: Sequence[Tensor]) -> Tensor:
        """One score from the members' scores of a target, [B, width] each."""
        asked = self.head(target).target
        logs = torch.tensor(self.weights).log()
        if asked.kind == "number":  # the mean in the user's units, so the logarithm is undone first
            values = torch.stack(list(scores)) * asked.scale + asked.location
            weights = logs.exp()[:, None, None]
            mean = (values + weights.log()).logsumexp(0) if asked.log else (values * weights).sum(0)
            return (mean - asked.location) / asked.scale
        if asked.kind == "classes":
            return torch.stack([s.log_softmax(-1) + w for s, w in zip(scores, logs)]).logsumexp(0)
        yes = torch.stack([nn.functional.logsigmoid(s) + w for s, w in zip(scores, logs)]).logsumexp(0)
        no = torch.stack([nn.functional.logsigmoid(-s) + w for s, w in zip(scores, logs)]).logsumexp(0)
        return yes - no


class Model(nn.Module):
    """Encoders and an answer: the whole way from a batch to scores."""

    def __init__(self, encoders: Mapping[str, Encoder], answer: Answer):
        super().__init__()
        self.encoders = Named(encoders)
        self.answer = answer

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Every stream of the batch as tokens."""
        return {name: encoder(batch.inputs[name]) for name, encoder in self.encoders.items()}

    def forward(self, batch: Batch) -> Output:
        """Encode, fuse and score; with targets in the batch, the losses too."""
        output = self.answer(self.encode(batch))
        if not batch.targets:
            return output
        return Output(output.streams, output.fused, output.predictions, self.answer.losses(output, batch.targets))


def drop_streams(streams: Mapping[str, Tokens], rate: float) -> dict[str, Tokens]:
    """Modality dropout (Neverova et al. 2016): clear each stream of each row with probability `rate`, never a
    row's last.

    Draws from torch's global generator.
    """
    if rate <= 0 or len(streams) < 2:
        return dict(streams)
    present = presence(streams.values())
    keep = present & (torch.rand(present.shape, device=present.device) >= rate)
    keep = torch.where(keep.any(1, keepdim=True), keep, present)
    return {name: _hidden(tokens, keep[:, i]) for i, (name, tokens) in enumerate(streams.items())}


def _hidden(tokens: Tokens, keep: Tensor) -> Tokens:
    """The mask alone changes: a fusion clears what it hides anyway."""
    return Tokens(tokens.x, tokens.mask & keep[:, None], tokens.pooled, tokens.where)
