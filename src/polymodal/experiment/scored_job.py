"""The job of stage 1 for encoders that are fitted in one go: features once, learners by parts, tokens to the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from polymodal.core.registry import Spec, options_of, plain
from polymodal.core.types import Tokens
from polymodal.data.split import some_of
from polymodal.encoders.scoring import Scored, ScoringEncoder
from polymodal.experiment.learned import Learned, learn
from polymodal.experiment.work import Epochs, FitJob, Work, curve_of, save_trained
from polymodal.models.build import build_encoder, parameters
from polymodal.targets.base import MEANINGS, ScoredTarget, written
from polymodal.train.encode import encoded, store_tokens

SAMPLE = 256  # cells whose tokens tell the principal components of all
BATCH = 256  # cells whose features are computed at a time


@dataclass(frozen=True, kw_only=True)
class ScoredJob(FitJob):
    """Fit the learners of `encoder`, a `ScoringEncoder`, to the features of `stream`; every part, then the whole."""

    kind: str = "scored"
    stream: str
    encoder: Spec
    reads: str = ""  # the dataset's stream whose arrays it reads, if it is not its own

    @property
    def name(self) -> str:
        return f"{self.reads or self.stream} features"


def scored_job(work: Work, job: ScoredJob, out: Path) -> Epochs:
    """Features of every row once, learners chosen by parts of the training rows, and tokens of all rows.

    A training row's tokens carry what learners that did not see it say; other rows', what those fitted to all training
    rows say. Where strategies are judged by folds, the validation rows are learned from like training rows. `groups`
    are the store's, a part each and last the whole.
    """
    yield from ()  # it tells nothing on the way
    stream, dataset = job.reads or job.stream, work.dataset
    torch.manual_seed(job.seed)
    encoder = build_encoder(job.encoder, work.facts[stream], work.dim).eval()
    assert isinstance(encoder, ScoringEncoder)
    there = np.flatnonzero(dataset.present[stream])
    train = work.having(job.stream, np.flatnonzero(work.seen))
    encoder.fit_statistics(dataset.tensors(stream, some_of(train, encoder.sample)))
    if isinstance(encoder, Scored) and written(work.targets):
        return _plain(work, job, encoder, stream, train)
    tokens, design, ms = _features(work, encoder, stream, there)
    place = np.full(len(dataset), -1)
    place[there] = np.arange(len(there))
    if isinstance(encoder, Scored):
        some = some_of(train, max(encoder.sample, ScoringEncoder.sample))  # their features are there already
        encoder.reduce(torch.from_numpy(design[place[some]]))
    *shares, rest = _shares(work, job.stream)
    part = np.unique(work.part[train], return_inverse=True)[1]
    found: dict[str, Learned] = {}
    held: dict[str, np.ndarray] = {}  # the parts that hold a known truth, by target
    for target in work.targets:
        truth = dataset.targets[target.name][train]
        known = np.asarray(target.known(truth))
        parts, own = np.unique(part[known], return_inverse=True)
        if target.scores in MEANINGS and isinstance(target, ScoredTarget) and len(parts) > 1:
            rows = place[train[known]]
            tried = encoder.candidates(target.scores, len(rows), design.shape[1])
            found[target.name] = learn(target, design[rows], truth[known], own, tried, job.seed)
            held[target.name] = parts
    groups = []
    for k, rows in enumerate(shares):
        # Who has no known truth in a part was fitted without it, whichever part was left out.
        at = {name: int(np.searchsorted(parts, k)) if k in parts else 0 for name, parts in held.items()}
        answers = {name: one.parts[at[name]] for name, one in found.items()}
        groups.append(_stored(work, encoder.answering(answers), stream, rows, tokens, place)["group"])
    settled = encoder.answering({name: one.whole for name, one in found.items()})
    result = _stored(work, settled, stream, rest, tokens, place, timed=ms is None)
    result |= {} if ms is None else {"ms_per_row": ms}  # what learners add to it is little
    save_trained(settled, out)
    return _told(job, settled, result, groups, found)


def _plain(work: Work, job: ScoredJob, encoder: Scored, stream: str, train: np.ndarray) -> dict[str, Any]:
    """Tokens alone, where no learner answers: their principal components are found from some training cells' tokens,
    and all others go to the store as narrow as they are kept."""
    if encoder.kept < encoder.inner.dim:
        inputs = work.dataset.tensors(stream, some_of(train, SAMPLE))
        with torch.no_grad():
            tokens = encoded(encoder.inner.to(work.device), inputs)
        encoder.cpu().reduce(tokens.x[tokens.mask].float())
    result = store_tokens(encoder.to(work.device), work.dataset, stream, work.store)
    save_trained(encoder.cpu(), Path(job.out))
    return _told(job, encoder, result, [result["group"]] * (len(_shares(work, job.stream)) - 1), {})


def _told(
    job: ScoredJob, settled: ScoringEncoder, result: dict[str, Any], groups: list[str], found: dict[str, Learned]
) -> dict[str, Any]:
    """The job's result."""
    return {
        **result,
        "stream": job.stream,
        "groups": [*groups, result["group"]],
        "encoder": plain({"name": _name(job.encoder), **options_of(settled)}),
        "says": {name: asdict(said) for name, said in settled.says.items()},
        "ladder": {name: one.ladder for name, one in found.items()},
        "curves": {name: one.curve for name, one in found.items() if one.curve},
        "parameters": parameters(settled),
        "trained": False,
        **curve_of([]),
    }


def stored(work: Work, job: ScoredJob, result: dict[str, Any]) -> bool:
    """Whether the store still has what the job put there; it may have been cleared since, or be another."""
    digests, shares = work.dataset.digests[job.stream], _shares(work, job.stream)
    return not any(len(work.store.missing(group, digests[some])) for group, some in zip(result["groups"], shares))


def _shares(work: Work, stream: str) -> list[np.ndarray]:
    """The rows that have a stream, by who answers them: those of each part, and last those that nobody learns from."""
    there, part = work.dataset.present[stream], work.part
    learned = there & work.seen
    shares = [np.flatnonzero(learned & (part == k)) for k in np.unique(part[learned])]
    return [*shares, np.flatnonzero(there & ~learned)]


def _features(
    work: Work, encoder: ScoringEncoder, stream: str, rows: np.ndarray
) -> tuple[dict[str, Any] | None, Any, float | None]:
    """What learners read of `rows`, in their order; the tokens of the encoder within, which go to the store, and what a
    row costs it, in milliseconds."""
    if isinstance(encoder, Scored):
        made = store_tokens(encoder.inner.to(work.device), work.dataset, stream, work.store, rows)
        encoder.cpu()
        tokens = work.store.view(made["group"], work.dataset.digests[stream][rows]).load()
        return tokens, tokens["pooled"].astype(np.float32), made["ms_per_row"]
    parts = []
    with torch.no_grad():
        for chunk in np.array_split(rows, max(1, -(-len(rows) // BATCH))):
            inputs = work.dataset.tensors(stream, chunk)
            inputs.pop("present")
            parts.append(encoder.design(inputs))
    if isinstance(parts[0], torch.Tensor):
        return None, torch.cat(parts).numpy(), None
    return None, sparse.vstack(parts, format="csr"), None


def _stored(
    work: Work, encoder: ScoringEncoder, stream: str, rows: np.ndarray, tokens: dict[str, Any] | None,
    place: np.ndarray, *, timed: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Tokens of `rows` by a settled encoder, in the store: from the `tokens` of the encoder within, if it has one."""
    if tokens is None:
        return store_tokens(encoder, work.dataset, stream, work.store, rows, timed=timed)

    single = tokens["x"].shape[1] == 1 and np.array_equal(tokens["x"][:, 0], tokens["pooled"])

    def beside(some: np.ndarray) -> Tokens:
        held = {name: torch.from_numpy(values[place[some]]) for name, values in tokens.items()}
        pooled, where = held["pooled"].float(), held.get("where")
        assert isinstance(encoder, Scored)
        if single:
            return encoder.beside(Tokens.of_pooled(pooled, held["mask"], where))
        return encoder.beside(Tokens(held["x"].float(), held["mask"], pooled, where))

    return store_tokens(encoder, work.dataset, stream, work.store, rows, timed=timed, tokens_of=beside)


def _name(spec: Spec) -> str:
    return str(spec["name"]) if isinstance(spec, dict) else str(spec)
