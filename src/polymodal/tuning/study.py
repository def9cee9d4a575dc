"""The Optuna study of a search: where it is stored, who works on it, and what becomes of trials whose worker died.

A trial is `running` in the storage from when it is asked for; who works on it holds a lock file, which the system lets
go of however the process ends. So `--resume` tells a trial that is under way elsewhere from one that nobody will
finish: that one is marked as failed, and its settings are tried again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, DiskFull, PolymodalError, require
from polymodal.core.lock import Lock
from polymodal.runs.events import Failed
from polymodal.runs.folder import Interrupted
from polymodal.runs.pool import Pool
from polymodal.tuning.config import TuneConfig
from polymodal.tuning.space import Space
from polymodal.tuning.trial import Judged, Trials, WorkerDied

WAKE = 0.2  # seconds after which a main thread that waits for others hears Ctrl-C
ALIKE = 30  # draws in a row that were tried before, after which little else can be drawn


class Search:
    """Trials of a study by this process: asks for them, has them carried out, and tells what they found.

    Raises `MissingExtra` without the extra `tune`, `BadArgument` for a storage that cannot be opened, or that holds
    this study where it is not to be resumed.
    """

    def __init__(self, trials: Trials, space: Space, mark: str, *, resume: bool):
        self.optuna = require("optuna", "tune")
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        self.trials, self.space, self.config = trials, space, trials.config
        self.owners = trials.folder / "work" / "owners"
        self.owner = secrets.token_hex(8)
        self.errors: list[BaseException] = []
        self.exhausted = False  # whether nearly all that can be drawn was
        storage = _storage(self.optuna, self.config, trials.folder)
        name = f"polymodal-{mark[:16]}"
        known = name in self.optuna.get_all_study_names(storage)
        if known and not resume:
            raise BadArgument(
                "The storage holds a search of these data with these options already. --resume takes part in it."
            )
        self.study = self.optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True, pruner=_pruner(self.optuna, self.config.pruner),
            direction="maximize" if trials.greater_is_better else "minimize",
        )  # fmt: skip

    def __enter__(self) -> Search:
        self._stack = ExitStack()
        self.owners.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(Lock(self.owners / self.owner, patience=0))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        (self.owners / self.owner).unlink(missing_ok=True)
        faults = (self.optuna.exceptions.OptunaError, require("sqlalchemy.exc", "tune").SQLAlchemyError)
        if isinstance(error := exception[1], faults):
            why = str(error.__cause__ or error).partition("\n")[0]  # what follows is for programmers
            raise PolymodalError(
                f"The search's storage no longer answers: {why}. What is finished is kept: mend it (a full disk?) and "
                "give the same command with --resume."
            ) from error

    def alone(self, doing: str) -> Lock:
        """Held by one thread at a time, of all the processes that search in this folder."""
        return Lock(self.owners / doing, patience=float("inf"))

    # --- the default settings, and trials whose worker died ---

    def begin(self, pool: Pool) -> None:
        """Try the default settings, as trial 0, unless they were tried before; others wait for who is at it."""
        with self.alone("default"):
            if self._all():
                return
            values: dict[int, float] = {}

            def report(part: int, score: float, cpu_seconds: float) -> None:
                values[part] = score

            judged = self.trials.run("0000", {}, lambda found: found, pool, report)
            drawn = self.space.start(judged.fusion)
            made = self.optuna.trial.create_trial(
                value=judged.score, params=drawn, intermediate_values=values,
                distributions={name: _distribution(self.optuna, self.space.settings[name]) for name in drawn},
                user_attrs={"owner": self.owner, "default": True, **_told(judged)},
            )  # fmt: skip
            self.study.add_trial(made)

    def mend(self) -> int:
        """Mark trials that nobody works on any more as failed, and have them tried again; how many there were."""
        states = self.optuna.trial.TrialState
        with self.alone("asking"):
            for trial in self._all(states.RUNNING):
                if self._is_dead(trial):
                    self.study.tell(trial.number, state=states.FAIL)
                    self.trials.clear(f"{trial.number:04}")
            again = {trial.user_attrs.get("again") for trial in self._all()}
            dead = [t for t in self._all(states.FAIL) if "why" not in t.user_attrs and t.number not in again]
            for trial in dead:
                self.study.enqueue_trial(trial.params, user_attrs={"owner": self.owner, "again": trial.number})
        return len(dead)

    def _is_dead(self, trial: Any) -> bool:
        if not (path := self.owners / str(trial.user_attrs.get("owner"))).exists():
            return False  # of another folder: who can see it must tell
        try:
            with Lock(path, patience=0):
                return True
        except PolymodalError:
            return False

    # --- trials ---

    @property
    def left(self) -> int:
        """How many trials are still to be begun; those that died do not count."""
        states = self.optuna.trial.TrialState
        lost = sum("why" not in t.user_attrs for t in self._all(states.FAIL))
        return self.config.trials - (len(self._all()) - lost - len(self._all(states.WAITING)))

    def run(self, pools: list[Pool], until: float | None, told: Callable[[Any], None]) -> None:
        """Carry out what is left, a pool a trial at a time; `told` hears of every finished trial.

        Raises `Interrupted` when the user stops it, and what is no fault of a trial.
        """

        def work(pool: Pool) -> None:
            try:
                while not (self.trials.stopping or self.errors or (until and time.perf_counter() > until)):
                    with self.alone("asking"):
                        trial = self._asked()
                    if trial is None:
                        return
                    told(self._carry_out(*trial, pool))
            except BaseException as error:  # noqa: BLE001 - of a thread; raised again by the one that waits for it
                self.errors.append(error)

        threads = [threading.Thread(target=work, args=(pool,), daemon=True) for pool in pools[1:]]
        try:
            if len(pools) == 1:
                work(pools[0])
            else:
                threads.append(threading.Thread(target=work, args=(pools[0],), daemon=True))
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    time.sleep(WAKE)
        finally:
            self.trials.stopping = True
            while True:
                for pool in pools:
                    pool.stop()
                if not any(thread.is_alive() for thread in threads):
                    break
                time.sleep(WAKE)  # a worker that was still on its way is stopped the next time
        for error in self.errors:
            raise error

    def _asked(self) -> tuple[Any, dict[str, Any]] | None:
        """The next trial and what it draws: what died with its worker first; None where none is left."""
        if self.left < 1:
            return None
        if not self._all(self.optuna.trial.TrialState.WAITING):
            if (drawn := self._new()) is None:
                return None
            self.study.enqueue_trial(drawn, user_attrs={"owner": self.owner})
        trial = self.study.ask()  # drawn as it comes, where a search of another folder has taken what was put there
        trial.set_user_attr("owner", self.owner)
        return trial, self.space.suggest(trial)

    def _new(self) -> dict[str, Any] | None:
        """What nobody tried so far; None where nearly all that can be drawn was.

        It is drawn beside the study, since who has found the best draws it again and again; at last by chance. Draws
        depend on the number of trials alone, and on what was found before, so that a search that was interrupted goes
        on as it would have.
        """
        trials, failed = self._all(), self.optuna.trial.TrialState.FAIL
        tried = [t.params for t in trials if t.state != failed or "why" in t.user_attrs]
        for kind in dict.fromkeys((self.config.sampler, "random")):
            sampler = _sampler(self.optuna, kind, self.config.seed, len(trials))
            beside = self.optuna.create_study(sampler=sampler, direction=self.study.direction)
            beside.add_trials([t for t in trials if t.state.is_finished()])
            for _ in range(ALIKE):
                if (drawn := self.space.suggest(beside.ask())) not in tried:
                    return drawn
        self.exhausted = True
        return None

    def _carry_out(self, trial: Any, drawn: Mapping[str, Any], pool: Pool) -> Any:
        states = self.optuna.trial.TrialState

        def report(part: int, score: float, cpu_seconds: float) -> None:
            trial.report(score, part)
            trial.set_user_attr("cpu_seconds", cpu_seconds)
            if trial.should_prune():
                trial.set_user_attr("why", f"behind after part {part}")
                raise self.optuna.TrialPruned

        try:
            changes = self.space.options(drawn)
            judged = self.trials.run(
                f"{trial.number:04}", changes, lambda found: self.space.trained(drawn, found), pool, report
            )
        except self.optuna.TrialPruned:
            return self.study.tell(trial, state=states.PRUNED)
        except DiskFull:  # its storage may lie there too
            raise
        except (KeyboardInterrupt, SystemExit, Interrupted):  # nobody will finish it
            self.study.tell(trial, state=states.FAIL)
            raise
        except WorkerDied as error:
            if "again" in trial.user_attrs:  # it may be the cause
                trial.set_user_attr("why", str(error))
            found = self.study.tell(trial, state=states.FAIL)
            self.mend()
            return found
        except Exception as error:  # noqa: BLE001 - the user's part may raise anything; its reason is reported, never lost
            trial.set_user_attr("why", Failed.by(error).reason)
            return self.study.tell(trial, state=states.FAIL)
        finally:
            self.trials.clear(f"{trial.number:04}")
        for name, value in _told(judged).items():
            trial.set_user_attr(name, value)
        return self.study.tell(trial, judged.score)

    def _all(self, *states: Any) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=states or None)


def _told(judged: Judged) -> dict[str, Any]:
    """What a trial is told by, beside its score."""
    return {"strategy": judged.strategy, "ms": judged.ms, "mb": judged.mb, "cpu_seconds": judged.cpu_seconds}


def _storage(optuna: Any, config: TuneConfig, folder: Path) -> Any:
    given = config.storage
    if given is None:
        path = (folder / "tune.db").resolve()
        if {*str(path)} & {*"?%"}:
            raise BadArgument(f"SQLite cannot be told of {path}: give an --out without ? and %, or another --storage.")
        given = f"sqlite:///{path}"
    if isinstance(given, optuna.storages.BaseStorage):
        return given
    try:
        if isinstance(given, str) and given.startswith("sqlite"):  # who writes holds it for a moment: others wait
            return optuna.storages.RDBStorage(given, engine_kwargs={"connect_args": {"timeout": 60}})
        return optuna.storages.get_storage(given)
    except Exception as error:
        why = str(error).partition("\n")[0]  # what follows is for programmers
        raise BadArgument(
            f"storage takes the URL of an Optuna storage, as sqlite:///tune.db; {given!r} cannot be opened: {why}"
        ) from error


def _sampler(optuna: Any, name: str, seed: int, number: int) -> Any:
    kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name]
    return kind(seed=(seed * 1_000_003 + number) % 2**32)


def _pruner(optuna: Any, name: str) -> Any:
    pruners = optuna.pruners
    return {
        "median": pruners.MedianPruner(n_startup_trials=5),
        "halving": pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        "none": pruners.NopPruner(),
    }[name]


def _distribution(optuna: Any, setting: Any) -> Any:
    kinds = optuna.distributions
    if setting.values:
        return kinds.CategoricalDistribution(list(setting.values))
    return (kinds.IntDistribution if setting.whole else kinds.FloatDistribution)(
        setting.low, setting.high, log=setting.log
    )
