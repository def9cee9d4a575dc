"""Model: encode, fuse, answer. It knows the families' base classes only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.types import Batch, Output, Tokens
from polymodal.encoders.base import Encoder
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.heads.base import Head, ScoringHead
from polymodal.nn.layers.named import Named
from polymodal.targets.base import MEANINGS
from polymodal.targets.text import TextTarget

AT_ONCE = 256  # rows that are fused at a time once trained
BASELINE = "baseline"  # the level of answers that are there to be beaten
CONTENDER = "pretrained"  # that of models as they are, which were trained elsewhere


class TokenSource:
    """Tokens of some rows, stream by stream, handed out when they are asked for: these are there already.

    An answer that can do without a stream in some rows does not ask for it there; `answers.encoding.Encoding` then
    neither decodes nor encodes those cells.
    """

    def __init__(self, streams: Mapping[str, Tokens]):
        self.streams = dict(streams)

    def __len__(self) -> int:
        return len(next(iter(self.streams.values())))

    def present(self, stream: str) -> Tensor:
        """[B] bool: rows that have the stream, as far as is known without decoding it."""
        return self.streams[stream].present

    def tokens(self, stream: str, rows: Tensor | None = None) -> Tokens:
        """Tokens of all rows, absent wherever `rows` [B] bool is False; they may turn out absent elsewhere too."""
        return self.streams[stream] if rows is None else self.streams[stream].keep(rows)


@dataclass(frozen=True)
class Labelled:
    """Tokens of some rows with their encoded targets."""

    streams: Mapping[str, Tokens]
    targets: Mapping[str, Tensor]

    def parts(self) -> Iterator[Labelled]:
        """Some rows at a time."""
        for rows in torch.arange(len(next(iter(self.targets.values())))).split(AT_ONCE):
            streams = {name: tokens.select(rows) for name, tokens in self.streams.items()}
            yield Labelled(streams, {name: values[rows] for name, values in self.targets.items()})


Parts = Callable[[], Iterable[Labelled]]  # rows, some at a time, that are made when they are asked for


class Answer(nn.Module):
    """Streams to scores: what is trained on stored tokens. `Joint`, `Decisions`, or a part of the family `answer`.

    A row that lacks every stream gets the prior that a head gives to no token: the training frequencies, mean or
    quantiles. Whoever combines or divides scores keeps it.
    """

    level: ClassVar[str] = "answer"  # a word for the leaderboard
    nested: ClassVar[tuple[str, ...]] = ()  # options that are specs of fusions, rules or answers within
    trains_together: ClassVar[bool] = True  # whether streams are trained together here, so that one can starve another
    reads_tokens: ClassVar[bool] = False  # itself, apart from what `nested` says
    needs: ClassVar[tuple[str, ...]] = MEANINGS  # what targets' scores may mean, as far as those within allow

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        """Scores of every target, [B, width] each."""
        raise NotImplementedError

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named losses; their sum is what training lowers."""
        raise NotImplementedError

    def head(self, target: str) -> Head:
        """A head that can decode scores of `target`."""
        raise NotImplementedError

    def prepare(self, streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The streams as they meet: what becomes of each on its own first. Nothing, unless towers stand there."""
        return dict(streams)

    def join(self, prepared: Mapping[str, Tokens]) -> Output:
        """`forward` from streams that `prepare` gave."""
        return self(prepared)

    def towers(self) -> dict[str, list[nn.Parameter]]:
        """The answer's parameters that belong to one stream alone, by stream."""
        return {}

    def respond(self, source: TokenSource, streams: Sequence[str]) -> dict[str, Tensor]:
        """Scores of every target, in use; unless overridden, every one of `streams` is asked for in every row."""
        return dict(self({name: source.tokens(name) for name in streams}).predictions)

    def see(self, rows: Tensor) -> None:
        """The numbers [b] of the training rows of the batch that comes next, for parts that remember rows."""

    def judged(self, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses as `losses` names them, of rows in use, without writing an answer that no loss needs."""
        return self.losses(self(streams), targets)

    def number(self, rows: Tensor) -> None:
        """Hear the numbers [B] of the rows that are answered or judged next (see `Head.number`)."""

    def fused(self, streams: Mapping[str, Tokens]) -> Tokens:
        """The tokens that heads answer from. Raises `BadArgument` for an answer whose heads read no fused tokens."""
        raise BadArgument(f"{type(self).__name__} fuses no tokens: its heads answer from one stream each.")

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Choose, once the weights are trained, what is not chosen by gradients; by default nothing."""

    def remarks(self) -> list[str]:
        """What the user should know of what `finalize` found."""
        return [remark for part in self.modules() if isinstance(part, Head) and (remark := part.remark)]


class Around(Answer):
    """Abstract: an answer around another one, `inner`, which is trained as it would be alone and decodes for both."""

    inner: Answer
    nested: ClassVar[tuple[str, ...]] = ("answer",)
    trains_together: ClassVar[bool] = False

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.inner.losses(output, targets)

    def head(self, target: str) -> Head:
        return self.inner.head(target)

    def see(self, rows: Tensor) -> None:
        self.inner.see(rows)


class Joint(Answer):
    """One fused stream and one head a target."""

    def __init__(self, fusion: Fusion, heads: Mapping[str, Head]):
        super().__init__()
        self.fusion = fusion
        self.heads = Named(heads)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        fused = self.fusion(streams)
        # In training nobody reads what a head writes: its loss builds on the truth.
        asked = {n: h for n, h in self.heads.items() if isinstance(h, ScoringHead) or not self.training}
        return Output(streams, fused, {name: head(fused) for name, head in asked.items()})

    def judged(self, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.losses(Output(streams, self.fusion(streams), {}), targets)

    def fused(self, streams: Mapping[str, Tokens]) -> Tokens:
        return self.fusion(streams)

    def number(self, rows: Tensor) -> None:
        for head in self.heads.values():
            head.number(rows)  # type: ignore[operator]

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert output.fused is not None
        said, fused = output.predictions, output.fused
        return {name: self.head(name).loss_of(said.get(name), fused, targets[name]) for name in self.heads}

    def head(self, target: str) -> Head:
        return self.heads[target]  # type: ignore[return-value]

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        self.conclude(train.parts, valid.parts)

    def conclude(self, train: Parts, valid: Parts) -> None:
        """What heads choose once the weights are trained (`Head.conclude`)."""
        self.eval()
        for name, head in self.heads.items():
            head.conclude(self._fused(train, name), self._fused(valid, name))  # type: ignore[operator]

    @torch.no_grad()
    def _fused(self, rows: Parts, target: str) -> Iterator[tuple[Tokens, Tensor]]:
        """Fused tokens and truth."""
        for some in rows():
            yield self.fusion(some.streams).cleared(), some.targets[target]


class Decisions(Answer):
    """A head a stream and target, trained each on its own, and a rule that combines their scores.

    The rule says what they learn (`DecisionFusion.losses`): by default its own parameters learn from scores cut off
    from the heads, which is late fusion in the strict sense. One stream with any rule is the single-modality baseline.
    """

    def __init__(self, heads: Mapping[str, Mapping[str, Head]], rules: Mapping[str, DecisionFusion]):
        super().__init__()
        self.heads = Named({target: Named(streams) for target, streams in heads.items()})
        self.rules = Named(rules)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        alone = self._alone(streams)
        return Output(streams, None, {t: self._combine(t, scores, streams) for t, scores in alone.items()})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for target, scores in self._alone(output.streams).items():
            present = {stream: output.streams[stream].present for stream in scores}
            own = {stream: head.loss_of_scores for stream, head in self.heads[target].items()}  # type: ignore[operator,union-attr]
            each = self.rules[target].losses(scores, present, targets[target], own)  # type: ignore[operator]
            losses |= {f"{target}/{name}" if name else target: value for name, value in each.items()}
        return losses

    def see(self, rows: Tensor) -> None:
        for rule in self.rules.values():
            rule.see(rows)  # type: ignore[operator]

    def head(self, target: str) -> ScoringHead:
        return next(iter(self.heads[target].values()))  # type: ignore[operator,union-attr]

    def _alone(self, streams: Mapping[str, Tokens]) -> dict[str, dict[str, Tensor]]:
        return {
            target: {stream: head(streams[stream]) for stream, head in heads.items()}  # type: ignore[union-attr,operator]
            for target, heads in self.heads.items()
        }

    def _combine(self, target: str, scores: Mapping[str, Tensor], streams: Mapping[str, Tokens]) -> Tensor:
        """The rule's scores; where no stream is there, the prior that every head answers then.

        A rule sees zeros there, which would be the first class by name, or quantiles without width.
        """
        present = {stream: streams[stream].present for stream in scores}
        joined: Tensor = self.rules[target](scores, present)  # type: ignore[operator]
        known = torch.stack(list(present.values())).any(0)
        return torch.where(known[:, None], joined, next(iter(scores.values())).to(joined.dtype))


class Blend(Answer):
    """A weighted mean of several answers' probabilities (of numbers: of their values): an ensemble, deployed as one."""

    def __init__(self, members: Sequence[Answer], weights: Sequence[float]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = [w / sum(weights) for w in weights]

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        return Output(streams, None, self._blended([member(streams).predictions for member in self.members]))

    def respond(self, source: TokenSource, streams: Sequence[str]) -> dict[str, Tensor]:
        return self._blended([m.respond(source, streams) for m in self.members])  # type: ignore[operator]

    def _blended(self, each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {t: self.blend(t, [e[t] for e in each]) for t in each[0]}

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: self.head(n).loss_of_scores(scores, targets[n]) for n, scores in output.predictions.items()}

    def head(self, target: str) -> ScoringHead:
        return self.members[0].head(target)  # type: ignore[operator,return-value]

    def blend(self, target: str, scores: Sequence[Tensor]) -> Tensor:
        """One score from the members' scores of a target, [B, width] each."""
        return self.head(target).target.blend(scores, self.weights)


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


def texts_among(what: str, targets: Sequence[Any]) -> dict[str, TextTarget]:
    """The targets that are texts, by name. Raises `BadArgument` where none is."""
    if found := {target.name: target for target in targets if isinstance(target, TextTarget)}:
        return found
    raise BadArgument(f"{what} answers in words; the target {targets[0].name!r} is of the kind {targets[0].kind}.")
