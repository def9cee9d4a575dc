"""tune: search the settings of a fit, and fit what was found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from polymodal.config import Config
from polymodal.core.errors import PolymodalError, require
from polymodal.core.files import read_json, write_json, writing
from polymodal.core.runtime import core_count, device_of, gpu_count, worker_devices
from polymodal.experiment.fit import RUNS, fit_plan
from polymodal.experiment.plan import plan as make_plan
from polymodal.inference.run import Run
from polymodal.metrics.build import target_metrics
from polymodal.report.tune_page import render
from polymodal.runs.folder import VOLATILE, begun, claimed, environment
from polymodal.runs.pool import Pool
from polymodal.runs.progress import Progress, Stage
from polymodal.tuning.conclusion import against, importance, told, words, write_trials
from polymodal.tuning.config import TuneConfig
from polymodal.tuning.space import Space
from polymodal.tuning.study import Search
from polymodal.tuning.trial import SharedSession, Trials


@dataclass(frozen=True)
class Tuned:
    """A finished search: its folder, the run of what it found, its trials, and whether the default was beaten.

    `trials` are dicts of `trial`, `state`, `score`, `ms`, `mb`, `settings` and more, as `trials.csv` has them; `helped`
    says whether the best one is ahead of the default settings by more than the standard error of the difference.
    """

    folder: Path
    run: Run
    trials: list[dict[str, Any]]
    helped: bool
    headline: str

    @property
    def settings(self) -> dict[str, Any]:
        """The options of the fit that was found, as `best.yaml` has them."""
        return yaml.safe_load((self.folder / "best.yaml").read_text(encoding="utf-8"))


def tune(
    data: Any,
    target: Any = None,
    *,
    out: str | Path,
    valid: Any = None,
    test: Any = None,
    schema: Any = None,
    config: Any = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Tuned:
    """Try settings of a fit, the default ones first, by rows that no model saw; fit the best, and say what it gained.

    Arguments as of `fit`, options as of `TuneConfig`. `out` gets `best/`, the run of the best settings, whose test rows
    are read once; `best.yaml`, its options; `trials.csv`, `report.html`, `space.yaml` and, unless `storage` says
    otherwise, `tune.db`. `resume` continues an interrupted search, or takes part in one that is under way.

    Raises `MissingExtra` without the extra `tune`, what `fit` raises, and `Interrupted` when stopped by the user.
    """
    require("optuna", "tune")
    settings = TuneConfig.given(config, options)
    folder = Path(out)
    trials = Trials(data, target, settings, folder, valid, test, schema)
    space = Space.of(trials.base, settings.space)
    about = {**trials.base.to_json(), "space": space.to_json(), "sampler": settings.sampler, "pruner": settings.pruner}
    rows = [list(trials.base.table.ids), dict(trials.base.truth), trials.base.split]
    with claimed(folder, about, rows, resume, shared=True):
        try:
            mark = read_json(folder / "work" / "plan.json")["mark"]
            given = {"valid": valid, "test": test, "schema": schema}
            return _Carried(trials, space, mark, Progress(quiet=quiet)).out(data, target, given, resume)
        except PolymodalError:
            if not begun(folder):  # the folder is free again, so that mended options can be tried
                for left in ("tune.db", "space.yaml"):
                    (folder / left).unlink(missing_ok=True)
            raise


class _Carried:
    """A search under way."""

    def __init__(self, trials: Trials, space: Space, mark: str, progress: Progress):
        self.trials, self.space, self.mark, self.progress = trials, space, mark, progress
        self.config, self.folder = trials.config, trials.folder

    def out(self, data: Any, target: Any, given: Mapping[str, Any], resume: bool) -> Tuned:
        """Carry it out, and fit what it found."""
        started = time.perf_counter()
        limit = self.config.time_limit
        with Search(self.trials, self.space, self.mark, resume=resume) as search:
            _write_yaml(self.folder / "space.yaml", {"space": self.space.to_json()})
            with self.progress:
                self._search(search, started + limit if limit else None)
            with search.alone("conclusion"):  # one by one, each by all there is
                best, default, found = self._best(search)
                config = self._config(best)
                self._settle(config)
                out = self.folder / "best"
                plan = make_plan(data, target, config=config, **given)
                known, quiet = (out / "work").exists(), self.progress.quiet
                session = partial(SharedSession, self.trials)
                run = fit_plan(plan, out=out, resume=known, quiet=quiet, session=session)
                return self._told(search, run, best, default, found)

    def _settle(self, config: Config) -> None:
        """Write `best.yaml`; a run of other settings, which were the best before, is no longer that of the best."""
        path, options = self.folder / "best.yaml", {k: v for k, v in config.to_dict().items() if v is not None}
        before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else options
        if any(before.get(name) != options.get(name) for name in {*before, *options} - {*VOLATILE}):
            shutil.rmtree(self.folder / "best", ignore_errors=True)
        _write_yaml(path, options)

    def _search(self, search: Search, until: float | None) -> None:
        """The default settings by all processes at once, then trials, a process each."""
        device = str(device_of(self.config.device))
        every = self.config.device in ("auto", "cuda")
        devices = worker_devices(device, self.config.workers, cores=core_count(), gpus=gpu_count(), every=every)
        if self.trials.note:
            self.progress.say(self.trials.note)
        if died := search.mend():
            self.progress.say(f"{died} trials whose process had died are tried again.")
        with Pool(runs=RUNS, devices=devices, here=device) as pool:
            stage = self.progress.stage("default settings", 1)
            search.begin(pool)
            stage.end()
        each = [[one] for one in devices][: max(1, search.left)] or [[]]
        stage = self.progress.stage("trials", max(1, search.left))
        with ExitStack() as stack:
            pools = [stack.enter_context(Pool(runs=RUNS, devices=one, here=device)) for one in each]
            search.run(pools, until, lambda trial: self._heard(stage, trial))
        stage.end(f"{stage.done} trials")
        if search.exhausted:
            self.progress.say("What is drawn was tried before: the space holds few other settings.")
        elif search.left > 0:
            self.progress.say(f"The time limit left {search.left} of {self.config.trials} trials undone.")

    def _heard(self, stage: Stage, trial: Any) -> None:
        """Show a finished trial."""
        state = trial.state.name.lower()
        if state == "complete" and self.trials.greater_is_better:
            stage.score(f"trial {trial.number}", trial.value)
        elif why := trial.user_attrs.get("why"):
            self.progress.say(f"trial {trial.number} {'pruned' if state == 'pruned' else 'failed'}: {why}")
        stage.advance(f"trial {trial.number}")

    def _best(self, search: Search) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        """The best trial, the default one, and all of them."""
        sign = 1 if self.trials.greater_is_better else -1
        found = told(search.study.get_trials(deepcopy=False), greater_is_better=self.trials.greater_is_better)
        done = [row for row in found if row["state"] == "complete"]
        best = max(done, key=lambda row: (sign * row["score"], -row["trial"]))
        return best, next(row for row in done if row["default"]), found

    def _config(self, best: Mapping[str, Any]) -> Config:
        """The options of a fit that makes the best trial's model and ships it."""
        if best["default"]:
            return self.trials.options({})
        return self.trials.options({**self.space.options(best["settings"]), "deploy": best["strategy"]})

    def _told(
        self, search: Search, run: Run, best: dict[str, Any], default: dict[str, Any], found: list[dict[str, Any]]
    ) -> Tuned:
        """Compare, and write the table, the figures and the report."""
        asked = self.trials.asked()
        pair = None
        if best is not default:
            mine, theirs = (self._answered(row) for row in (best, default))
            pair = against(mine, theirs, asked, self.config.seed)
        metric = target_metrics(self.trials.base.metrics.get(asked[0].target.name, ()), asked[0].target)[0]
        of = metric.name if len(asked) == 1 else "mean score"
        lines = words(best, default, pair, of, sum(row["state"] == "complete" for row in found))
        write_trials(found, self.folder / "trials.csv")
        notes = [self.trials.note] if self.trials.note else []
        result = {
            "headline": lines[0], "sentences": lines[1:], "metric": of, "notes": notes,
            "greater_is_better": self.trials.greater_is_better, "target": [q.target.name for q in asked],
            "best": best["trial"], "default": default["trial"], "against": pair, "trials": found,
            "importance": importance(search.optuna, search.study), "space": self.space.to_json(),
            "sampler": self.config.sampler, "pruner": self.config.pruner,
            "test": read_json(run.folder / "metrics.json")["targets"], "environment": environment(),
        }  # fmt: skip
        write_json(self.folder / "tune.json", result)
        with writing(self.folder / "report.html") as temporary:
            temporary.write_text(render(result), encoding="utf-8")
        self.progress.say("")
        for line in (*lines, f"Options: {self.folder / 'best.yaml'}", f"Report: {self.folder / 'report.html'}"):
            self.progress.say(line)
        return Tuned(self.folder, run, found, bool(pair and pair["beaten"]), lines[0])

    def _answered(self, row: Mapping[str, Any]) -> Any:
        """What a trial answered; computed again where it was carried out elsewhere."""
        name = f"{row['trial']:04}"
        if (known := self.trials.kept(name)) is not None:
            return known
        changes = {} if row["default"] else self.space.options(row["settings"])
        with Pool(workers=self.config.workers, runs=RUNS) as pool:
            self.trials.stopping = False
            kept = (lambda found: found) if row["default"] else lambda found: self.space.trained(row["settings"], found)
            self.trials.run(name, changes, kept, pool, lambda *_: None)
        return self.trials.kept(name)


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    with writing(path) as temporary:
        temporary.write_text(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True), encoding="utf-8")
