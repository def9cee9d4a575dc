"""What a finished model is worth on labelled rows: every subset of streams, worth, noise, calibration, mistakes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from polymodal.core.shown import many
from polymodal.core.types import Tokens
from polymodal.data.media.remarks import summed
from polymodal.data.schema import Schema
from polymodal.data.split import units
from polymodal.data.storage.dataset import Dataset
from polymodal.data.tables.source import Table
from polymodal.evaluation.calibration import expected_calibration_error, reliability_bins
from polymodal.evaluation.drawing import Drawing
from polymodal.evaluation.robustness import (
    MOST_STREAMS,
    Subsets,
    evaluate_subsets,
    monotonicity_violations,
    noise_curves,
)
from polymodal.evaluation.statistics import bootstrap
from polymodal.explanation.modalities import sampled_worth, worth
from polymodal.inference.drawing import features
from polymodal.inference.examples import drawings, mistakes, words
from polymodal.inference.judging import Judged, strict_scores, strict_words, told
from polymodal.inference.noise import Noisy
from polymodal.inference.predictor import Predictor
from polymodal.metrics.base import Metric, labelled
from polymodal.metrics.build import judged, measure, target_metrics
from polymodal.runs.progress import Progress
from polymodal.targets.base import Target
from polymodal.train.encode import store_tokens
from polymodal.train.features import Features, StreamFeatures

NOISY_ROWS = 500  # rows that noise curves are drawn from: encoding them again is what they cost


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The parts of `evaluation.json` that come from the model alone; empty ones are left out."""

    subsets: list[dict[str, Any]]
    worth: dict[str, Any]
    violations: list[dict[str, Any]]
    noise: list[dict[str, Any]]
    noise_spared: list[str]  # streams whose curve was not asked for and would cost too much
    calibration: dict[str, Any]
    errors: dict[str, Any]  # confusion or residuals
    mistakes: list[dict[str, Any]]
    words: dict[str, Any]  # of answers in words
    metrics: dict[str, float]
    score: dict[str, float]
    further: dict[str, dict[str, float]]  # scores by the metrics that are shown beside the one judged by
    drawings: list[dict[str, Any]]  # of some rows: drawn, true, and the nearest of training
    drawing: dict[str, Any]  # all that was drawn as a set, beside what is real
    said: list[str]  # what the report says of these

    def to_json(self) -> dict[str, Any]:
        entries = {k: v for k, v in vars(self).items() if k not in ("errors", "said")} | self.errors
        return {k: v for k, v in entries.items() if v}


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    table: Table,
    truth: Mapping[str, np.ndarray],
    rows: np.ndarray,
    progress: Progress,
    *,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    metrics: tuple[Metric, ...] = (),
    noise: bool | None = None,
    training: Collection[str] = (),
    train: np.ndarray | None = None,
) -> Evaluation:
    """Assess the deployed answer to the first target on `rows` of a processed table.

    `truth` maps a target to its encoded values [N]. Tokens come from the store where they are there already. The
    target is judged by the first of `metrics`, by default that of its kind. `noise`: whether curves are drawn, of which
    each encodes up to 500 rows four times more; None leaves out pretrained towers, of which that may cost more than all
    else, and all where answers are drawn. `training` are the answers in words that training had, by which copies are
    known; with the numbers of the `train` rows what is drawn is compared with those.
    """
    judge = _Judge.of(predictor, table, truth, rows, groups, seed, metrics)
    stage = progress.stage("evaluating", 3)
    streams = _tokens(predictor, dataset, rows)
    subsets = judge.subsets(streams) if len(predictor.streams) <= MOST_STREAMS else None
    decoded = judge.decoded(streams)
    full = judge.target.prediction(decoded)
    stage.advance("subsets")
    dear = judge.target.drawn
    spared = [n for n in predictor.streams if noise is None and (dear or predictor.encoders[n].pretrained)]
    tried = [name for name in predictor.streams if noise is not False and name not in spared]
    curves = _noise(judge, dataset, streams, rows, tried)
    stage.advance("noise")
    seen = _fields_seen(judge, truth[judge.target.name], train)
    drawing = _drawing(judge, full, seen)
    evaluation = Evaluation(
        subsets=subsets.to_json() if subsets else [],
        worth=_worth(judge, streams, subsets),
        violations=[_violation(v) for v in monotonicity_violations(subsets)] if subsets else [],
        noise=curves,
        noise_spared=spared,
        calibration=_calibration(judge, streams),
        errors=_errors(judge, decoded, full),
        mistakes=mistakes(predictor, judge.truth, full, table, rows),
        words=words(predictor, judge.truth, full, table, rows, training),
        metrics=measure(judge.metrics, judged(judge.target), judge.truth, full, judge.groups),
        score=judge.score(judge.metric, full),
        further={m.name: judge.score(m, full) for m in judge.metrics[1:]},
        drawings=drawings(predictor, judge.truth, full, table, rows, seen) if dear else [],
        drawing=drawing.to_json() if drawing else {},
        said=drawing.sentences(judge.target.noun) if drawing else [],
    )
    stage.advance("mistakes")
    stage.end()
    return evaluation


def _tokens(predictor: Predictor, dataset: Dataset, rows: np.ndarray) -> dict[str, Tokens]:
    """The deployed encoders' tokens of `rows`, encoded now where the store lacks them."""
    sources, absent = {}, {}
    for name in predictor.streams:
        encoder, present = predictor.encoders[name], dataset.present[name][rows]
        if not present.any():
            empty = torch.zeros(len(rows), encoder.dim)
            absent[name] = Tokens.of_pooled(empty, torch.zeros(len(rows), 1, dtype=torch.bool))
            continue
        group = store_tokens(encoder, dataset, name, dataset.store, rows, timed=False)["group"]
        part = np.zeros(len(rows), np.int8)
        sources[name] = StreamFeatures.plain(group, part, dataset.digests[name][rows], present)
    found = Features(dataset.store, sources).read(torch.arange(len(rows)))
    return {name: absent[name] if name in absent else found[name] for name in predictor.streams}


@dataclass(frozen=True, eq=False)
class _Judge:
    """One target's truth on the rows assessed, and how answers to it are scored."""

    predictor: Predictor
    target: Target
    truth: np.ndarray
    groups: np.ndarray | None
    seed: int
    metrics: tuple[Metric, ...]
    numbers: np.ndarray | None = None  # of the rows in their source, by which what is drawn differs

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        table: Table,
        truth: Mapping[str, np.ndarray],
        rows: np.ndarray,
        groups: Sequence[Any] | None,
        seed: int,
        metrics: tuple[Metric, ...],
    ) -> _Judge:
        target = predictor.targets[0]
        wanted = target.wanted(table.column(target.name), truth[target.name], rows)
        codes = units([groups[i] for i in rows], len(rows)) if groups else None
        judges = metrics or target_metrics((), target)
        return cls(predictor, target, wanted, codes, seed, judges, table.rows[rows])

    @property
    def metric(self) -> Metric:
        """What the target is judged by."""
        return self.metrics[0]

    def score(self, metric: Metric, prediction: np.ndarray) -> dict[str, float]:
        """One prediction's score with its interval over the rows."""
        return vars(bootstrap(metric, self.truth, prediction[None], seed=self.seed, groups=self.groups))

    def answer(self, streams: Mapping[str, Tokens]) -> np.ndarray:
        """Predictions [N, …] as metrics read them."""
        return self.target.prediction(self.decoded(streams))

    def decoded(self, streams: Mapping[str, Tokens]) -> dict[str, np.ndarray]:
        """Human values, N each."""
        if self.numbers is not None:
            self.predictor.answer.number(torch.from_numpy(self.numbers))
        return self.predictor.decode(self.target, self.predictor.score(streams)[self.target.name])

    def kept(self, streams: Mapping[str, Tokens], keep: np.ndarray) -> np.ndarray:
        """Predictions [1, N, …] with the streams not in `keep` [K] bool cleared."""
        rows = len(next(iter(streams.values())))
        names = self.predictor.streams
        some = {n: streams[n].keep(torch.full((rows,), bool(k))) for n, k in zip(names, keep)}
        return self.answer(some)[None]

    def subsets(self, streams: Mapping[str, Tokens]) -> Subsets:
        """Every subset of the streams, scored."""
        return evaluate_subsets(
            self.metric,
            self.truth,
            self.predictor.streams,
            lambda keep: self.kept(streams, keep),
            seed=self.seed,
            groups=self.groups,
        )


def _worth(judge: _Judge, streams: Mapping[str, Tokens], subsets: Subsets | None) -> dict[str, Any]:
    """Shapley worth of each stream, exact where every subset was tried; nothing to share out for one stream."""
    if len(judge.predictor.streams) < 2:
        return {}
    if subsets is not None:
        return worth(subsets).to_json()
    return sampled_worth(
        judge.metric,
        judge.truth,
        judge.predictor.streams,
        lambda keep: judge.kept(streams, keep),
        seed=judge.seed,
        groups=judge.groups,
    ).to_json()


def _violation(found: Any) -> dict[str, Any]:
    return {"streams": list(found.streams), "added": found.added, **vars(found.difference)}


@torch.no_grad()
def _noise(
    judge: _Judge, dataset: Dataset, streams: Mapping[str, Tokens], rows: np.ndarray, tried: Sequence[str]
) -> list[dict[str, Any]]:
    """The score as one stream of `tried` after the other is corrupted, its cells encoded again at each level."""
    if not tried:
        return []
    chosen = np.sort(np.random.default_rng(judge.seed).permutation(len(rows))[:NOISY_ROWS])
    clean = {name: tokens.select(torch.from_numpy(chosen)) for name, tokens in streams.items()}
    predictor = judge.predictor
    noisy = {n: Noisy(predictor.processors[n], predictor.encoders[n], dataset, n, rows[chosen]) for n in tried}

    def predict(stream: str, level: float) -> np.ndarray:
        if level == 0:
            return judge.answer(clean)[None]
        return judge.answer({**clean, stream: noisy[stream].tokens(clean[stream], level, judge.seed)})[None]

    groups = None if judge.groups is None else judge.groups[chosen]
    curves = noise_curves(judge.metric, judge.truth[chosen], tried, predict, seed=judge.seed, groups=groups)
    return [c.to_json() for c in curves]


def _calibration(judge: _Judge, streams: Mapping[str, Tokens]) -> dict[str, Any]:
    """Calibration error before and after temperature scaling, and the reliability bins after it."""
    if judge.target.name not in judge.predictor.temperature:
        return {}
    temperature = judge.predictor.temperature[judge.target.name]
    scores = judge.predictor.score(streams)[judge.target.name]
    before = judge.predictor.decode(judge.target, scores * temperature)["probability"]
    after = judge.predictor.decode(judge.target, scores)["probability"]
    return {
        "ece_before": expected_calibration_error(before, judge.truth),
        "ece": expected_calibration_error(after, judge.truth),
        "temperature": temperature,
        "bins": reliability_bins(after, judge.truth),
        "bins_before": reliability_bins(before, judge.truth),
    }


def _fields_seen(judge: _Judge, truth: np.ndarray, train: np.ndarray | None) -> np.ndarray | None:
    """What the training rows hold of it, where these are known and the answer is drawn."""
    if not judge.target.drawn or train is None:
        return None
    return judge.target.truth(truth[train][np.asarray(judge.target.known(truth[train]))])


def _drawing(judge: _Judge, predictions: np.ndarray, seen: np.ndarray | None) -> Drawing | None:
    """What was drawn for each row, beside what is true and what training rows hold."""
    if seen is None:
        return None
    real = judge.truth[labelled(judge.truth)]
    return Drawing.of(*(features(judge.target, x) for x in (predictions[:, 0], real, seen)), seed=judge.seed)


def _errors(judge: _Judge, decoded: Mapping[str, np.ndarray], predictions: np.ndarray) -> dict[str, Any]:
    """The confusion matrix (rows: truth), or truth and prediction with the interval of a number."""
    keep = labelled(judge.truth)
    kept = {name: values[keep] for name, values in decoded.items()}
    return judge.target.errors(judge.truth[keep], predictions[keep], kept)


def strictly(
    predictor: Predictor, dataset: Dataset, table: Table, metrics: Sequence[Metric], *, groups: Sequence[Any] | None
) -> dict[str, dict[str, float]]:
    """Scores of the first target with labels that training did not have counted as wrong; see `strict_scores`."""
    target = predictor.targets[0]
    judge = _Judge(predictor, target, np.zeros(0), None, 0, ())

    def predicted(rows: np.ndarray) -> np.ndarray:
        return judge.answer(_tokens(predictor, dataset, rows))

    return strict_scores(target, table.column(target.name), predicted, metrics, groups=groups)


def others_of(
    predictor: Predictor, dataset: Dataset, table: Table, truth: Mapping[str, np.ndarray],
    judges: Mapping[str, tuple[np.ndarray, Metric]], *, groups: Sequence[Any] | None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The score with its interval of each target in `judges`, with the number of its rows and the metric."""
    found: dict[str, dict[str, Any]] = {}
    for name, (rows, metric) in judges.items():
        judge = _Judge.of(predictor.about(name), table, truth, rows, groups, 0, (metric,))
        score = judge.score(metric, judge.answer(_tokens(predictor, dataset, rows)))
        found[name] = {"metric": metric.name, "rows": len(rows), **score}
    return found


def standalone(
    predictor: Predictor,
    assessment: Evaluation,
    dataset: Dataset,
    chosen: str,
    metric: Metric,
    *,
    counts: Judged,
    strict: Mapping[str, Mapping[str, float]],
    others: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """`evaluation.json` of a finished model, `chosen` by its fit, on other rows, judged by `metric`: no leaderboard,
    since nothing is compared. `counts` and `strict` say which rows the figures rest on, and what they are without that;
    `others` are the scores of other targets.
    """
    target = predictor.targets[0]
    of = f" for {target.name}" if len(predictor.targets) > 1 else ""
    rows = f"{counts.judged:,} of " * (counts.judged < counts.read) + many(counts.read, "row")
    return {
        "target": target.name,
        "kind": target.kind,
        "task": target.task,
        "classes": list(target.labels),
        "primary": metric.name,
        "chosen": chosen,
        "greater_is_better": metric.greater_is_better,
        "chance": metric.chance,
        "verdict": {
            "headline": f"{chosen} on {rows}{of}: {told(metric.name, assessment.score)}",
            "sentences": [
                *strict_words(counts, metric, strict),
                *(told(*score) for score in assessment.further.items()),
                *(
                    f"For {name}, on {many(one['rows'], 'row')}: {told(one['metric'], one)} --target {name} tells more."
                    for name, one in (others or {}).items()
                ),
            ],
            "helped": None,
        },
        "data": {
            "rows": {"test": counts.judged} | ({"not judged": more} if (more := counts.read - counts.judged) else {}),
            "judged": counts.to_json(),
            "fields": [one for one in described(predictor.schema, dataset) if one["name"] in predictor.streams],
            "set_aside": [vars(problem) for problem in dataset.bad],
            "warnings": [*counts.sentences(), *summed(dataset.noted)],
        },
        **({"strict": dict(strict)} if strict else {}),
        **({"others": dict(others)} if others else {}),
        **assessment.to_json(),
    }


def described(schema: Schema, dataset: Dataset) -> list[dict[str, Any]]:
    """The fields of a schema that `dataset` has, for a report: name, kind, why, cells missing and set aside."""
    return [
        {
            "name": name,
            "kind": field.kind,
            "why": field.why,
            "missing": int((~dataset.present[name]).sum()),
            "bad": sum(problem.column == name for problem in dataset.bad),
        }
        for name, field in schema.fields.items()
        if name in dataset.present
    ]
