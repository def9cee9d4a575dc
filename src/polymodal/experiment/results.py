"""The jobs of a run that are done, read back: what they predicted, and a predictor made of the chosen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadData, PolymodalError
from polymodal.core.files import read_json
from polymodal.core.registry import Spec
from polymodal.core.sealed import load_sealed
from polymodal.core.trust import dotted_paths
from polymodal.data.neighbours import Memory
from polymodal.data.storage.dataset import Dataset
from polymodal.experiment.neighbours import memory_path
from polymodal.experiment.outcome import Outcome
from polymodal.experiment.plan import Plan
from polymodal.experiment.work import answer_out, load_settled, load_trained, settled_out
from polymodal.inference.bundle import under
from polymodal.inference.predictor import Member, Predictor, assemble_answer
from polymodal.models.build import Heads, build_encoder
from polymodal.models.specs import portable
from polymodal.models.strategy import Strategy
from polymodal.nn.layers.named import module_name
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.targets.base import Target


class Results:
    """Results of finished jobs, matched by seed.

    Raises `PolymodalError` when nothing can be compared: no strategy, or, where fusing is judged (`judged`), no single
    modality is finished.
    """

    def __init__(self, plan: Plan, work: Path, *, judged: bool = True):
        self.plan, self.work = plan, work
        self.heads = Heads(plan.config.heads)
        self.encoders = {name: read_json(settled_out(work, name)) for name in plan.streams}
        settings = read_json(work / "work.json")
        took = settings["processing_ms"]
        self.reads = {s: e.get("reads", [s]) for s, e in self.encoders.items()}
        self.cost = {s: sum(took[n] for n in self.reads[s]) + e["ms_per_row"] for s, e in self.encoders.items()}
        trained = (*plan.strategies, *plan.compared)
        tuned = (replace(s, encoders="finetuned") for s in trained)
        self.strategies = {s.name: s for s in (*trained, *plan.joint, *tuned)}
        read = {name: self._results(name) for name in self.strategies}
        self.seeds = _matched(
            [tuple(seeds) for n, seeds in read.items() if seeds and self.strategies[n].encoders != "joint"]
        )
        held = {n: [by_seed[s] for s in takewhile(by_seed.__contains__, self.seeds)] for n, by_seed in read.items()}
        self.answers = {n: results for n, results in held.items() if len(results) >= self._least(n)}
        self.bagged = bool(plan.bagged)
        self.evidence = self._evidence()
        if judged and not any(self.strategies[name].family == "single" for name in self.answers):
            raise PolymodalError("No single modality finished, so fusing cannot be judged. Continue with --resume.")

    def _evidence(self) -> np.ndarray:
        """The rows that every finished strategy answered without having seen them, in rising order."""
        if not self.bagged or any(self.strategies[name].end_to_end for name in self.answers):
            return self.plan.rows("valid")
        return np.concatenate([self._held(seed) for seed in self.seeds]) if self.seeds else self.plan.evidence()

    def _held(self, seed: int) -> np.ndarray:
        """The rows of the part that a strategy's model with this seed did not see."""
        return np.flatnonzero(self.plan.bag == 1 + seed - self.plan.config.seed)

    def _least(self, name: str) -> int:
        """With how many seeds a strategy must be finished; joint training is dear, so its first seeds will do."""
        return 1 if self.strategies[name].encoders == "joint" else len(self.seeds)

    def _results(self, name: str) -> dict[int, dict[str, Any]]:
        paths = {s: self._path(name, s).with_suffix(".json") for s in self.plan.trainings}
        by_seed = {s: read_json(p) for s, p in paths.items() if p.exists()}
        for seed, result in by_seed.items():
            self._check_parts(name, result["strategy"], paths[seed])
        return by_seed

    def _check_parts(self, name: str, recorded: Mapping[str, Any], path: Path) -> None:
        """Raise `BadData` where a file names code that the plan does not: it was written by someone else."""
        asked = dotted_paths([portable(spec) for spec in self.strategies[name].specs])
        if foreign := dotted_paths([recorded.get(key) for key in ("spec", "align", "objective")]) - asked:
            raise BadData(
                f"{path} names the part {min(foreign)!r}, which this fit was not told of: the file was changed. Delete "
                "it, and --resume trains that strategy again."
            )

    def _path(self, name: str, seed: int) -> Path:
        return answer_out(self.work, self.strategies[name], seed)

    def outcomes(self) -> list[Outcome]:
        """What every finished strategy predicted, in the plan's order."""
        outcomes = []
        for name, results in self.answers.items():
            strategy = self.strategies[name]
            encoders = [self.encoders[s] for s in strategy.streams]
            parts = len(self._models(name, 0))
            own = parts * results[0]["parameters"]
            used = {s: float(np.mean([r["used"][s] for r in results])) for s in results[0].get("used", {})}
            encoder_ms = sum(e["ms_per_row"] * used.get(s, 1.0) for s, e in zip(strategy.streams, encoders))
            if strategy.encoders == "joint" and "ms_per_row" in results[0]:
                encoder_ms = 0.0  # it has encoders of its own, and was timed with them
            encoder_parameters = sum(e["parameters"] for e in encoders)
            outcomes.append(
                Outcome(
                    strategy,
                    self._predictions(name, "valid"),
                    self._predictions(name, "test"),
                    seconds=float(np.mean([r["seconds"] for r in results])),
                    predict_ms=encoder_ms + parts * float(np.median([r.get("ms_per_row", 0.0) for r in results])),
                    parameters=own if strategy.end_to_end else own + encoder_parameters,
                    encoder_ms=encoder_ms,
                    encoder_parameters=encoder_parameters,
                    note=self._note(strategy, used),
                    trained=len(results) if self._in_parts(name) else 0,
                )
            )
        return outcomes

    def _encoder(self, stream: str) -> Spec:
        """The spec of a stream's settled encoder. Raises `BadData` where it names code that the plan does not."""
        spec = self.encoders[stream]["encoder"]
        asked = dotted_paths([portable(one) for one in (self.plan.encoders[stream], *self.plan.fitted.get(stream, ()))])
        if foreign := dotted_paths([spec]) - asked:
            raise BadData(
                f"The working folder names the encoder {min(foreign)!r} of {stream}, which this fit was not told of: "
                "the file was changed. Delete the folder and fit again."
            )
        return spec

    def _note(self, strategy: Strategy, used: Mapping[str, float]) -> str:
        """What the leaderboard says beside a strategy's figures."""
        if strategy.end_to_end:
            when = "from the start" if strategy.encoders == "joint" else "at last"
            return f"encoders and answer trained together {when}"
        if not used:
            return ""
        total = sum(self.cost.values())
        saved = sum(self.cost[s] * (1 - share) for s, share in used.items()) / total if total else 0.0
        return f"{100 * saved:.0f} % of the work on streams saved; encodes " + ", ".join(
            f"{s} in {100 * share:.0f} %" for s, share in used.items()
        )

    def alone(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """What a joint strategy predicts on test rows from one stream, all others missing: stream, then target."""
        first = self._stored(name, self.seeds[0])
        streams = [s for s in self.strategies[name].streams if f"alone/{s}/{self.plan.targets[0].name}" in first]
        return {stream: self._predictions(name, f"alone/{stream}") for stream in streams}

    def _predictions(self, name: str, split: str) -> dict[str, np.ndarray]:
        """What a strategy predicted, by target: [S, N, …]."""
        stacked = {}
        for target in self.plan.targets:
            head = self.heads.planned(target)
            decoded = [head.decode(scores) for scores in self._scores(name, split, target)]
            stacked[target.name] = np.stack([target.prediction(d) for d in decoded])
        return stacked

    def _in_parts(self, name: str) -> bool:
        """Whether the models of a strategy, one a part, are one model together."""
        return self.bagged and not self.strategies[name].end_to_end

    def _models(self, name: str, position: int) -> list[int]:
        """The positions of the seeds whose models a strategy is.

        By folds all are; the first alone, where nothing was learned in any part, or where an answer chooses row by row
        what to encode: several would ask for more than one does.
        """
        if not self._in_parts(name):
            return [position]
        first = self.answers[name][0]
        return list(range(len(self.answers[name]))) if first["parameters"] and not first.get("used") else [0]

    def _scores(self, name: str, split: str, target: Target) -> list[Tensor]:
        """A strategy's scores [n, W] of the rows of evidence (`valid`), the test rows or `alone/stream`: one a seed.

        By folds there is one: of each row of evidence by the model that did not see it, of others by all together.
        """
        seeds = self.seeds[: len(self.answers[name])]
        each = [torch.from_numpy(self._stored(name, seed)[f"{split}/{target.name}"]) for seed in seeds]
        if not self._in_parts(name):
            return each
        if split != "valid":
            each = [each[place] for place in self._models(name, 0)]
            return [target.blend(each, [1 / len(each)] * len(each))]  # type: ignore[attr-defined]
        place = np.full(len(self.plan.split), -1)
        rows = np.concatenate([self._held(seed) for seed in seeds])
        place[rows] = np.arange(len(rows))
        return [torch.cat(each)[torch.from_numpy(place[self.evidence])]]

    def _stored(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """The scores that a strategy's job stored, `split/target` each."""
        return load_sealed(self._path(name, seed).with_suffix(".scores.safetensors"))[0]

    def deploy(self, chosen: Outcome, position: int, processors: Mapping[str, Processor]) -> Predictor:
        """A predictor of the chosen strategy with the seed at `position`, or by folds of all its models.

        Calibrated on the rows of evidence.
        """
        plan, config = self.plan, self.plan.config
        weights = chosen.weights[position] if chosen.weights else {chosen.name: 1.0}
        places = {n: self._models(n, position) for n in weights}
        models = [(n, place) for n in weights for place in places[n]]
        # As the job left it: options that were cross-validated and the sizes of learners included.
        members = [Strategy.from_json(self.answers[n][place]["strategy"]) for n, place in models]
        streams = sorted({s for strategy in members for s in strategy.streams})
        reads_links = not set(streams).isdisjoint(plan.linked)
        if reads_links:
            streams = sorted({*streams, *plan.unlinked})  # what neighbours are known by
        joint = chosen.strategy.encoders == "joint"
        specs = {n: plan.encoders[n] if joint else self._encoder(n) for n in streams}
        reads = {n: [n] if joint else self.reads[n] for n in streams}
        read_by = {n: side_by_side([(plan.processors[r], processors[r]) for r in reads[n]]) for n in streams}
        encoders = {n: build_encoder(specs[n], read_by[n][1].facts(), config.dim) for n in streams}
        shares = [weights[n] / len(places[n]) for n, _ in models]
        deployed = tuple(Member(strategy, share) for strategy, share in zip(members, shares))
        answer = assemble_answer(deployed, encoders, plan.targets, config.dim, self.heads)
        stored = [load_trained(self._path(n, self.seeds[place])) for n, place in models]
        if chosen.strategy.end_to_end:
            states = {n: under(stored[0], f"encoders.{module_name(n)}.") for n in streams}
            stored = [under(stored[0], "answer.")]
        else:
            states = {n: load_settled(self.work, n) for n in streams}
        for name, encoder in encoders.items():
            encoder.load_state_dict(states[name])
        parts = [answer] if len(members) == 1 else list(answer.members)  # type: ignore[arg-type]
        for part, state in zip(parts, stored):
            part.load_state_dict(state)
        predictor = Predictor(
            plan.schema, plan.targets,
            {n: spec for n, (spec, _) in read_by.items()}, {n: one for n, (_, one) in read_by.items()},
            specs, encoders,
            deployed, answer.eval(), dict(config.heads), config.dim, {}, {}, {n: self.cost[n] for n in streams},
        )  # fmt: skip
        predictor.memory = Memory.load(memory_path(self.work)) if reads_links else None
        for target in plan.targets:
            truth = plan.truth[target.name][self.evidence]
            scores = self.scores(chosen, position, predictor, target, "valid").numpy()
            if (radius := target.radius(scores, truth)) is not None:
                predictor.radius[target.name] = radius
                prior: np.ndarray = predictor.answer.head(target.name).prior().numpy()  # type: ignore[operator]
                bare = target.radius(np.repeat(prior, len(scores), 0), truth)
                predictor.radius_of_prior[target.name] = radius if bare is None else bare
            if (temperature := target.temperature(scores, truth)) is not None:
                predictor.temperature[target.name] = temperature
        return predictor

    def as_deployed(self, dataset: Dataset, chosen: Outcome) -> Dataset:
        """The dataset as the deployed encoders read it."""
        return dataset if chosen.strategy.encoders == "joint" else dataset.read_as(self.reads)

    def scores(self, chosen: Outcome, position: int, predictor: Predictor, target: Target, split: str) -> Tensor:
        """The deployed answer's scores of a split's rows, [n, width], before calibration, as the jobs stored them."""
        weights = chosen.weights[position] if chosen.weights else {chosen.name: 1.0}
        each = [self._scores(name, split, target) for name in weights]
        tensors = [scores[min(position, len(scores) - 1)] for scores in each]
        if len(tensors) == 1:
            return tensors[0]
        return target.blend(tensors, [w / sum(weights.values()) for w in weights.values()])  # type: ignore[attr-defined]

    def curves(self, chosen: str) -> dict[str, dict[str, Any]]:
        """Training curves: every whole encoder, then every strategy's first seed, the chosen one first."""
        strategies = sorted(self.answers, key=lambda name: name != chosen)
        each = [("encoder", name, result) for name, result in self.encoders.items()]
        each += [("strategy", name, self.answers[name][0]) for name in strategies]
        return {
            f"encoder {name}" if stage == "encoder" else name: {
                "name": name, "stage": stage, **{key: result[key] for key in ("epoch", "loss", "valid")}
            }
            for stage, name, result in each
            if result["epoch"]
        }  # fmt: skip


def side_by_side(each: Sequence[tuple[Spec, Processor]]) -> tuple[Spec, Processor]:
    """One processor of several, each its spec and what it is now; of one it is that one."""
    if len(each) == 1:
        return each[0]
    spec = {"name": "several", "parts": [one for one, _ in each]}
    processor = PROCESSORS.build(spec)
    processor.load_state({"parts": [one.state() for _, one in each]})
    return spec, processor


def _matched(held: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The seeds to compare on: those that keep most fits. What lacks one of them is left out of the comparison."""
    if not held:
        raise PolymodalError("No strategy finished, so there is nothing to compare; the log says why.")

    def kept(seeds: tuple[int, ...]) -> tuple[int, int]:
        holders = sum(set(seeds) <= set(h) for h in held)
        return holders * len(seeds), holders

    return max(sorted(set(held)), key=kept)
