"""An answer to rows that lack a stream, from guesses of what it would have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Tokens, presence
from polymodal.models.base import Around, Labelled
from polymodal.models.build import Parts
from polymodal.nn.check import check_count
from polymodal.nn.graphs import observed
from polymodal.nn.layers.imputer import Imputer, Vectors
from polymodal.targets.base import ScoredTarget

WAYS = ("mean", "flow")
DRAWS = 5


class Imputed(Around):
    """Fills in the vectors of absent streams before `answer` reads them: multiple imputation (Rubin 1987).

    `answer` is trained as it would be alone, to the bit, and with all streams says the same. Then, on the stored tokens
    of training rows, it is learned what each stream's pooled vector is like given the others: `by="mean"` fills in the
    expected vector; `by="flow"` draws from a rectified flow, `draws` of them (None: 5), and the answer is the mean over
    what `answer` says to each (of classes and labels, of probabilities). A stream of tokens gets the vector as its one
    token. A row without any stream keeps the prior.

    `hidden`: units of the networks; `steps`: of their training, at most, which validation rows end. Not for answers in
    words or pictures, of which there is no mean. Raises `BadArgument` for a value that cannot be.
    """

    level: ClassVar[str] = "imputed"

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        answer: Spec = "concat", by: str = "mean", draws: int | None = None, hidden: int = 128, steps: int = 500,
    ):  # fmt: skip
        super().__init__()
        self.answer = answer
        self.by = by
        self.draws = draws
        self.hidden = check_count("hidden", hidden)
        self.steps = check_count("steps", steps)
        if by not in WAYS:
            raise BadArgument(f"by is 'mean' or 'flow'; got {by!r}.{suggest(by, WAYS)}")
        if by == "mean" and draws is not None:
            raise BadArgument(f"by='mean' fills in one vector, so it takes no draws; got draws={draws!r}.")
        times = 0 if by == "mean" else DRAWS if draws is None else check_count("draws", draws)
        self.names = tuple(sorted(widths))
        self.inner = parts.answer(answer, widths, targets)
        with torch.random.fork_rng(devices=()):  # so that `answer` is trained as it would be alone
            self.imputer = Imputer(widths, draws=times, hidden=hidden)
        self._fills = False  # what the imputer knows, without a look at data in every forward
        self.register_load_state_dict_post_hook(Imputed._loaded)

    def _loaded(self, _: Any) -> None:
        self._fills = bool(self.imputer.able.any())

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        plain: Output = self.inner(streams)
        if self.training or not self._fills:
            return plain
        present = presence(streams[name] for name in self.names)
        lacking = present.any(1) & ~present.all(1)
        if observed(~lacking.any()):
            return plain
        if torch.compiler.is_compiling():
            said = self._filled(streams)
            mixed = {n: torch.where(lacking[:, None], said[n], s) for n, s in plain.predictions.items()}
        else:
            rows = torch.nonzero(lacking)[:, 0]
            said = self._filled({name: streams[name].select(rows) for name in self.names})
            mixed = {n: s.index_copy(0, rows, said[n].to(s.dtype)) for n, s in plain.predictions.items()}
        return Output(plain.streams, plain.fused, mixed)

    def _filled(self, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """Scores of every target, from the streams with what is absent filled in."""
        vectors, guessed = self.imputer(Vectors.of({name: streams[name] for name in self.names}))
        times = max(1, self.imputer.draws)
        whole = {
            name: _filled_in(streams[name], vector, guessed[:, k], times)
            for k, (name, vector) in enumerate(zip(self.names, vectors))
        }
        said = self.inner(whole).predictions
        if times == 1:
            return dict(said)
        each = {name: scores.unflatten(0, (times, -1)).unbind() for name, scores in said.items()}
        return {name: self.head(name).target.blend(parts, [1 / times] * times) for name, parts in each.items()}

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Learn from training rows what absent streams would have been; validation rows say when to stop."""
        self.eval()
        self.inner.finalize(train, valid, seed)
        if len(self.names) > 1:
            seen, held = (Vectors.of({name: rows.streams[name] for name in self.names}) for rows in (train, valid))
            self.imputer.fit(seen, held, steps=self.steps, seed=seed)
            self._loaded(None)


def _filled_in(tokens: Tokens, vector: Tensor, guessed: Tensor, times: int) -> Tokens:
    """The stream's rows, R `times` over, with `vector` [R B, D] as the one token where `guessed` [R B] says so."""
    clean = tokens.cleared()
    vector = vector.to(clean.pooled.dtype)
    pooled = torch.where(guessed[:, None], vector, clean.pooled.repeat(times, 1))
    first = torch.arange(clean.mask.shape[1], device=guessed.device) == 0
    here = guessed[:, None] & first
    mask = clean.mask.repeat(times, 1) | here
    where = clean.where
    if where is not None:
        where = torch.where(here[..., None], 0.0, where.repeat(times, 1, 1))
    if clean.single:
        return Tokens.of_pooled(pooled, mask, where)
    x = torch.where(here[..., None], vector[:, None], clean.x.repeat(times, 1, 1))
    return replace(clean, x=x, mask=mask, pooled=pooled, where=where)
