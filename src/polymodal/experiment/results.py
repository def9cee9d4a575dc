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
from polymodal.process.base import Processor
from polymodal.targets.base import Target


class Results:
    """Results of finished jobs, matched by seed.

    Raises `PolymodalError` when nothing can be compared: no strategy, or no single modality, is finished.
    """

    def __init__(self, plan: Plan, work: Path):
        self.plan, self.work = plan, work
        self.heads = Heads(plan.config.heads)
        self.encoders = {name: read_json(settled_out(work, name)) for name in plan.streams}
        settings = read_json(work / "work.json")
        self.cost = {s: settings["processing_ms"][s] + e["ms_per_row"] for s, e in self.encoders.items()}
        trained = (*plan.strategies, *plan.compared)
        tuned = (replace(s, encoders="finetuned") for s in trained)
        self.strategies = {s.name: s for s in (*trained, *plan.joint, *tuned)}
        read = {name: self._results(name) for name in self.strategies}
        self.seeds = _matched(
            [tuple(seeds) for n, seeds in read.items() if seeds and self.strategies[n].encoders != "joint"]
        )
        held = {n: [by_seed[s] for s in takewhile(by_seed.__contains__, self.seeds)] for n, by_seed in read.items()}
        self.answers = {n: results for n, results in held.items() if len(results) >= self._least(n)}
        if not any(self.strategies[name].family == "single" for name in self.answers):
            raise PolymodalError("No single modality finished, so fusing cannot be judged. Continue with --resume.")

    def _least(self, name: str) -> int:
        """With how many seeds a strategy must be finished; joint training is dear, so its first seeds will do."""
        return 1 if self.strategies[name].encoders == "joint" else len(self.seeds)

    def _results(self, name: str) -> dict[int, dict[str, Any]]:
        seeds = range(self.plan.config.seed, self.plan.config.seed + self.plan.config.seeds)
        paths = {s: self._path(name, s).with_suffix(".json") for s in seeds}
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
            scores = [self._scores(name, seed) for seed, _ in zip(self.seeds, results)]
            own = results[0]["parameters"]
            used = {s: float(np.mean([r["used"][s] for r in results])) for s in results[0].get("used", {})}
            encoder_ms = sum(e["ms_per_row"] * used.get(s, 1.0) for s, e in zip(strategy.streams, encoders))
            encoder_parameters = sum(e["parameters"] for e in encoders)
            outcomes.append(
                Outcome(
                    strategy,
                    self._predictions(scores, "valid"),
                    self._predictions(scores, "test"),
                    seconds=float(np.mean([r["seconds"] for r in results])),
                    predict_ms=encoder_ms + float(np.median([r.get("ms_per_row", 0.0) for r in results])),
                    parameters=own if strategy.end_to_end else own + encoder_parameters,
                    encoder_ms=encoder_ms,
                    encoder_parameters=encoder_parameters,
                    note=self._note(strategy, used),
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
        scores = [self._scores(name, seed) for seed in self.seeds]
        streams = [s for s in self.strategies[name].streams if f"alone/{s}/{self.plan.targets[0].name}" in scores[0]]
        return {stream: self._predictions(scores, f"alone/{stream}") for stream in streams}

    def _predictions(self, scores: Sequence[Mapping[str, np.ndarray]], split: str) -> dict[str, np.ndarray]:
        stacked = {}
        for target in self.plan.targets:
            head = self.heads.build(1, target)
            decoded = [head.decode(torch.from_numpy(s[f"{split}/{target.name}"])) for s in scores]
            stacked[target.name] = np.stack([target.prediction(d) for d in decoded])
        return stacked

    def _scores(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """The scores that a strategy's job stored, `split/target` each."""
        return load_sealed(self._path(name, seed).with_suffix(".scores.safetensors"))[0]

    def deploy(self, chosen: Outcome, position: int, processors: Mapping[str, Processor]) -> Predictor:
        """A predictor of the chosen strategy with the seed at `position`, calibrated on validation rows."""
        plan, config, seed = self.plan, self.plan.config, self.seeds[position]
        weights = chosen.weights[position] if chosen.weights else {chosen.name: 1.0}
        # As the job left it: options that were cross-validated and the sizes of trees included.
        members = {n: Strategy.from_json(self.answers[n][position]["strategy"]) for n in weights}
        streams = sorted({s for strategy in members.values() for s in strategy.streams})
        reads_links = not set(streams).isdisjoint(plan.linked)
        if reads_links:
            streams = sorted({*streams, *plan.unlinked})  # what neighbours are known by
        specs = {n: plan.encoders[n] if chosen.strategy.encoders == "joint" else self._encoder(n) for n in streams}
        encoders = {n: build_encoder(specs[n], processors[n].facts(), config.dim) for n in streams}
        deployed = tuple(Member(strategy, weights[name]) for name, strategy in members.items())
        answer = assemble_answer(deployed, encoders, plan.targets, config.dim, self.heads)
        stored = {n: load_trained(self._path(n, seed)) for n in members}
        if chosen.strategy.end_to_end:
            together = stored[chosen.name]
            states = {n: under(together, f"encoders.{module_name(n)}.") for n in streams}
            stored = {chosen.name: under(together, "answer.")}
        else:
            states = {n: load_settled(self.work, n) for n in streams}
        for name, encoder in encoders.items():
            encoder.load_state_dict(states[name])
        parts = [answer] if len(members) == 1 else list(answer.members)  # type: ignore[arg-type]
        for part, state in zip(parts, stored.values()):
            part.load_state_dict(state)
        predictor = Predictor(
            plan.schema, plan.targets,
            {n: plan.processors[n] for n in streams}, {n: processors[n] for n in streams},
            specs, encoders,
            deployed, answer.eval(), dict(config.heads), config.dim, {}, {}, {n: self.cost[n] for n in streams},
        )  # fmt: skip
        predictor.memory = Memory.load(memory_path(self.work)) if reads_links else None
        for target in plan.targets:
            truth = plan.truth[target.name][plan.rows("valid")]
            scores = self.scores(chosen, position, predictor, target, "valid").numpy()
            if (radius := target.radius(scores, truth)) is not None:
                predictor.radius[target.name] = radius
                prior: np.ndarray = predictor.answer.head(target.name).prior().numpy()  # type: ignore[operator]
                bare = target.radius(np.repeat(prior, len(scores), 0), truth)
                predictor.radius_of_prior[target.name] = radius if bare is None else bare
            if (temperature := target.temperature(scores, truth)) is not None:
                predictor.temperature[target.name] = temperature
        return predictor

    def scores(self, chosen: Outcome, position: int, predictor: Predictor, target: Target, split: str) -> Tensor:
        """The deployed answer's scores of a split's rows, [n, width], before calibration, as the jobs stored them."""
        names = list(chosen.weights[position]) if chosen.weights else [chosen.name]
        each = [self._scores(name, self.seeds[position])[f"{split}/{target.name}"] for name in names]
        tensors = [torch.from_numpy(scores) for scores in each]
        return tensors[0] if len(tensors) == 1 else predictor.answer.blend(target.name, tensors)  # type: ignore[operator]

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


def _matched(held: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The seeds to compare on: those that keep most fits. What lacks one of them is left out of the comparison."""
    if not held:
        raise PolymodalError("No strategy finished, so there is nothing to compare; the log says why.")

    def kept(seeds: tuple[int, ...]) -> tuple[int, int]:
        holders = sum(set(seeds) <= set(h) for h in held)
        return holders * len(seeds), holders

    return max(sorted(set(held)), key=kept)
