"""Which encodings a stream keeps: those fitted in one go, the one trained by gradients, or several.

All are judged by rows that they did not see. What adds nothing on one part of the cross-fitting is trained no further
(successive halving; Jamieson & Talwalkar 2016), so that a dear encoder is paid for only where it earns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.core.errors import PolymodalError
from polymodal.core.files import write_json
from polymodal.core.registry import Spec
from polymodal.data.storage.dataset import Dataset
from polymodal.data.storage.store import Store
from polymodal.encoders.beside import said_together
from polymodal.encoders.scoring import Said, blended
from polymodal.experiment.crossfit import join_parts
from polymodal.experiment.learned import ahead, mean_of, row_losses
from polymodal.experiment.plan import Plan
from polymodal.experiment.work import SCRATCH, TRAIN, TRIAL, VALID, encoder_out, scored_out, settled_out
from polymodal.models.specs import encoder_words
from polymodal.targets.base import ScoredTarget, Target
from polymodal.train.features import StreamFeatures, save_features

TRIED = 0.5  # standard errors by which an encoding, or a blend with it, must be ahead on one part to be trained on
WORTH = 0.02  # of the loss: what an encoding, or a blend with it, must take off it, however surely, to be trained on
SHARES = (0.75, 0.5, 0.25)  # of the better one in a blend of two
NOTHING = "added nothing on one part, so it was trained no further"
GAIN = 1.0  # standard errors by which a blend with one more encoding must be ahead for that to be kept too


@dataclass
class Rung:
    """One encoding of a stream: where its tokens lie, and the scores [N, W] of training rows that it did not see."""

    spec: Spec
    source: str  # its files in the working folder, without a suffix
    result: Mapping[str, Any]
    features: StreamFeatures
    says: Mapping[str, Said]
    fitted: bool
    reads: str = ""  # the dataset's stream whose arrays it reads
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    loss: float = float("nan")
    kept: bool = False
    why: str = ""
    origin: str = ""  # whose weights it started from

    @property
    def name(self) -> str:
        """What the encoder is called, and what it stands within."""
        about = self.spec if isinstance(self.spec, Mapping) else {}
        by = [str(learner["name"] if isinstance(learner, Mapping) else learner) for learner in about.get("by", ())]
        name = encoder_words(about.get("of") or self.spec) + (f" by {' and '.join(by)}" if by else "")
        return name + (f", started from {self.origin}" if self.origin else "")

    def to_json(self) -> dict[str, Any]:
        """What the report tells of it."""
        cost = self.result.get("cpu_seconds", 0.0)
        told = {"encoder": self.name, "fitted": self.fitted, "loss": self.loss, "kept": self.kept, "why": self.why}
        more = {key: self.result.get(key, {}) for key in ("ladder", "curves")}
        return {**told, "cpu_seconds": cost, **more}


def read_scores(rung: Rung, store: Store, rows: np.ndarray) -> None:
    """Read from the tokens what the encoding says of `rows`."""
    features = rung.features
    pooled = np.full((len(rows), rung.result["dim"]), np.nan, np.float32)
    for p, group in enumerate(features.groups):
        at = np.flatnonzero((features.part[rows] == p) & features.present[rows])
        if len(at):
            pooled[at] = store.view(group, features.digests[rows[at]], ("pooled",)).load()["pooled"]
    rung.scores = {name: said.read(torch.from_numpy(pooled)).numpy() for name, said in rung.says.items()}


def answered(rungs: Sequence[Rung], targets: Sequence[Target]) -> list[ScoredTarget]:
    """The targets by which encodings can be compared: those that all of them answer."""
    asked = [target for target in targets if isinstance(target, ScoredTarget)]
    return [target for target in asked if all(target.name in rung.scores for rung in rungs)]


def losses_of(
    rungs: Sequence[Rung], shares: Sequence[float], targets: Sequence[ScoredTarget], truth: Mapping[str, np.ndarray]
) -> np.ndarray:
    """[N] the loss of a blend of what encodings say: the mean over the targets that a row has; NaN where it has none"""
    each = []
    for target in targets:
        scores = [torch.from_numpy(rung.scores[target.name]) for rung in rungs]
        said = blended(target.scores, scores, shares) if len(scores) > 1 else scores[0]
        each.append(row_losses(target, said.numpy(), truth[target.name]))
    known = ~np.isnan(each)
    with np.errstate(invalid="ignore"):
        return np.where(known, each, 0.0).sum(0) / known.sum(0)


def chosen(
    rungs: Sequence[Rung], targets: Sequence[Target], truth: Mapping[str, np.ndarray]
) -> tuple[list[Rung], list[float]]:
    """The encodings to keep and how much the answer of each counts; `truth` is that of the scored rows.

    The best one, and with it, from the next best on, each whose part in the blend makes its losses clearly less.
    """
    if not (common := answered(rungs, targets)):
        return [rungs[-1]], [1.0]
    losses = [losses_of([rung], [1.0], common, truth) for rung in rungs]
    for rung, own in zip(rungs, losses):
        rung.loss = mean_of(own)
    first, *others = np.argsort([rung.loss for rung in rungs], kind="stable")
    kept, weights, current = [rungs[first]], [1.0], losses[first]
    for other in others if np.isfinite(current).any() else ():
        tries = []
        for share in SHARES:
            shares = [*(weight * share for weight in weights), 1 - share]
            tries.append((losses_of([*kept, rungs[other]], shares, common, truth), shares))
        both, shares = min(tries, key=lambda one: mean_of(one[0]))
        if ahead(both, current, GAIN):
            kept, weights, current = [*kept, rungs[other]], shares, both
    return kept, weights


class Ladder:
    """The encodings of one stream in a fit: what is worth training, and what is kept at last."""

    def __init__(
        self, plan: Plan, work: Path, store: Store, dataset: Dataset, stream: str, folds: Sequence[int | None]
    ):
        self.plan, self.work, self.store, self.dataset, self.stream = plan, work, store, dataset, stream
        self.folds = [*folds]
        self.digests, self.present = dataset.digests[stream], dataset.present[stream]
        self.trial, self.lost = TRIAL, ""  # what goes on; why the other one of `TRIAL` and `SCRATCH` does not
        self.behind: set[bool] = set()  # not worth training further: the network (False), the tuned tower (True)

    def start_pays(self, results: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether an encoder that starts from pretrained weights errs no more than one from scratch, both tried alike
        on one part: on its rows, which neither learned from, or, where encoders carry no answer, by validation."""
        fold = 0 if len(self.folds) > 1 else None
        started, scratch = (self._trained(results, [one]) for one in (TRIAL, SCRATCH))
        if started is None or scratch is None:  # one of them failed
            self.trial = SCRATCH if started is None else TRIAL
            return started is not None
        truth = self._read([started, scratch], fold)
        if common := answered([started, scratch], self.plan.targets):
            what, sign = "loss on unseen rows", -1
            found = [mean_of(losses_of([rung], [1.0], common, truth)) for rung in (started, scratch)]
        else:
            what, sign = "validation score", 1
            each = (rung.result["valid"] for rung in (started, scratch))
            found = [max((value for value in curve if value is not None), default=float("-inf")) for curve in each]
        pays = not sign * found[0] < sign * found[1]
        said = f"{what} {found[0]:.4f} started, {found[1]:.4f} from scratch"
        self.lost = f"after half the epochs on one part: {said}"
        self.trial = TRIAL if pays else SCRATCH
        return pays

    def worth_training(self, results: Mapping[str, Mapping[str, Any]], *, aware: bool = False) -> bool:
        """Whether the trained encoder adds to the best of those fitted in one go, on the part it was tried on.

        With `aware`, whether the pretrained tower does that is tuned to the target.

        It does where it, or a blend of both, errs less there by more than half a standard error of the paired
        difference, and by more than two hundredths: surely better by next to nothing is not worth its cost. Without
        cross-fitting the validation rows tell. What answers no target by itself is trained.
        """
        fold = 0 if len(self.folds) > 1 else None
        tried, others = self._trained(results, [fold if aware else self.trial], aware), self._fitted(results)
        if tried is None:  # it failed
            return not (aware or others)
        if not others:
            return True
        truth = self._read([tried, *others], fold)
        if not (common := answered([tried, *others], self.plan.targets)):
            return True
        own, *losses = [losses_of([rung], [1.0], common, truth) for rung in (tried, *others)]
        place = int(np.argsort([mean_of(each) for each in losses], kind="stable")[0])
        pair = [others[place], tried]
        blends = [losses_of(pair, [share, 1 - share], common, truth) for share in SHARES]
        if not (worth := any(ahead(each, losses[place], TRIED, WORTH) for each in (own, *blends))):
            self.behind.add(aware)
        return worth

    def settle(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Choose, and write where the stream's tokens lie and what its encoder is; what the log is told.

        Raises `PolymodalError` where no encoder of the stream finished.
        """
        rungs = self._fitted(results)
        tried = []  # on one part and no further
        for aware in (True, False):
            one_part = self.folds[1:2] if aware else [self.trial]
            if whole := self._trained(results, [*self.folds[1:], None], aware):
                rungs.append(whole)
            elif one_part and (first := self._trained(results, one_part, aware)):
                why = NOTHING if aware in self.behind else "its training did not finish"
                tried.append({**first.to_json(), "why": why})
        other = SCRATCH if self.trial == TRIAL else TRIAL
        if self.lost and (loser := self._trained(results, [other])):
            tried.append({**loser.to_json(), "why": self.lost})
        if not rungs:
            raise PolymodalError(f"No encoder of the stream {self.stream!r} finished; the log says why.")
        kept, weights = chosen(rungs, self.plan.targets, self._read(rungs, None))
        for rung in kept:
            rung.kept = True
        parts, reads = [rung.result["encoder"] for rung in kept], [rung.reads for rung in kept]
        spec = parts[0] if len(kept) == 1 else {"name": "beside", "parts": parts, "weights": weights}
        if len(read := list(dict.fromkeys(reads))) > 1:
            spec["reads"] = [read.index(one) for one in reads]
        each = [(rung.says, int(rung.result["dim"]), weight) for rung, weight in zip(kept, weights)]
        says = {name: asdict(said) for name, said in said_together(each).items()}
        save_features(self.work / "features", self.stream, [rung.features for rung in kept], says)
        told = [rung.to_json() for rung in rungs] + tried
        curve = next((rung.result for rung in kept if rung.result["trained"]), kept[0].result)
        settled = {
            **{key: curve[key] for key in ("epoch", "loss", "valid", "notes")},
            "stream": self.stream,
            "encoder": spec,
            "sources": [str(Path(rung.source).relative_to(self.work)) for rung in kept],
            "reads": read,
            "ms_per_row": sum(rung.result["ms_per_row"] for rung in kept),
            "parameters": sum(rung.result["parameters"] for rung in kept),
            "trained": any(rung.result["trained"] for rung in kept),
            "rungs": told,
        }
        write_json(settled_out(self.work, self.stream), settled)
        said = [] if len(told) == 1 else [_words(told)]
        return {"encoders": [rung.name for rung in kept], "rungs": told, "said": said}

    def _rows(self, fold: int | None) -> np.ndarray:
        """The rows that encodings are compared by: training rows that they did not see, or else validation rows."""
        if len(self.folds) == 1:
            rows = self.plan.rows("valid")
        else:
            rows = self.plan.rows("train")
            rows = rows if fold is None else rows[self.plan.fold[rows] == fold]
        return rows[self.present[rows]]

    def _read(self, rungs: Sequence[Rung], fold: int | None) -> dict[str, np.ndarray]:
        """Read what encodings say of the rows they are compared by; the truth of these rows."""
        rows = self._rows(fold)
        for rung in rungs:
            read_scores(rung, self.store, rows)
        return {target.name: self.plan.truth[target.name][rows] for target in self.plan.targets}

    def _out(self, fold: int | str | None, aware: bool = False) -> str:
        return str(encoder_out(self.work, self.stream, fold, aware))

    def _fitted(self, results: Mapping[str, Mapping[str, Any]]) -> list[Rung]:
        found = []
        train = self.plan.seen
        for i, spec in enumerate(self.plan.fitted.get(self.stream, ())):
            out = str(scored_out(self.work, self.stream, i))
            if (result := results.get(out)) is None:
                continue
            groups = result["groups"]
            part = np.full(len(train), len(groups) - 1)
            part[train & self.present] = np.unique(self.plan.part[train & self.present], return_inverse=True)[1]
            features = StreamFeatures.plain(groups, part, self.digests, self.present)
            says = {name: Said.from_json(one) for name, one in result["says"].items()}
            found.append(
                Rung(spec, out, result, features, says, fitted=True, reads=self.plan.towers.reads(self.stream, spec))
            )
        return found

    def _trained(
        self, results: Mapping[str, Mapping[str, Any]], folds: Sequence[int | str | None], aware: bool = False
    ) -> Rung | None:
        """The trained encoder, as far as `folds` were trained; None where one is missing."""
        if self.stream not in (self.plan.towers.aware if aware else self.plan.trained):
            return None
        whole = results.get(self._out(None, aware))
        if whole is not None and not whole["trained"]:
            folds = [None]  # frozen: every part is the whole one
        each = [results.get(self._out(fold, aware)) for fold in folds]
        if not each or any(one is None for one in each):
            return None
        groups = [one["group"] for one in each if one]
        result = each[-1] or {}
        part = np.where(self.plan.split == TRAIN, self.plan.fold, len(groups) - 1)
        if len(set(groups)) == 1:  # frozen, or one part alone: every part is the same encoder
            groups, part = groups[:1], np.zeros(len(part), np.int8)
        valid = np.flatnonzero(self.plan.split == VALID)
        says = {name: Said.from_json(one) for name, one in result.get("says", {}).items()}
        fixed = sum(stop - start for one in says.values() for start, stop, _ in one.pieces)
        features = join_parts(self.store, groups, self.digests, self.present, part, valid, fixed)
        out = self._out(folds[-1], aware)
        tries = () if {*folds} & {TRIAL, SCRATCH} else (self.trial,)
        every = {self._out(fold, aware): results.get(self._out(fold, aware), {}) for fold in (*tries, *folds)}
        total = sum(one.get("cpu_seconds", 0.0) for one in every.values())
        spec = self.plan.towers.aware[self.stream] if aware else self.plan.encoders[self.stream]
        reads = self.plan.towers.reads(self.stream, spec)
        last = folds[-1] if {*folds} & {TRIAL, SCRATCH} else self.trial
        start = self.plan.start if self.stream in self.plan.started and last == TRIAL and not aware else None
        origin = start.told if start else ""
        result = {**result, "cpu_seconds": total}
        return Rung(spec, out, result, features, says, fitted=False, reads=reads, origin=origin)


def _words(told: Sequence[Mapping[str, Any]]) -> str:
    """Which encodings were kept, in words."""
    kept = [one["encoder"] for one in told if one["kept"]]
    rest = [f"{one['encoder']}{' (' + one['why'] + ')' if one['why'] else ''}" for one in told if not one["kept"]]
    said = f"encoded by {' and '.join(kept)}, by rows that they had not seen"
    return f"{said}; not by {', '.join(rest)}." if rest else f"{said}."
