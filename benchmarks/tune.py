"""Thirty trials of `tune` on houses and icu: TPE against random search at equal cost, and a search killed and resumed.

`python benchmarks/tune.py [houses icu] [--seeds 3] [--trials 30]`: encodings by formula, so that a trial trains answers
alone; both samplers start from the same default settings. A line a search: the score of the default settings and of the
best trial by folds, the score on test of the latter, and the CPU seconds of trials. Then, a seed: the difference of the
best scores by folds at the CPU seconds that the cheaper search had spent. The first search is killed (SIGKILL) after a
third of its trials and resumed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from by_hand import SETS
from realdata import folder_of

import polymodal as pm
from polymodal.core.files import read_json

FUSIONS = ["concat", "gated", "mlp", "lowrank", "weighted", "late_mean", "product"]


def search(name: str, sampler: str, seed: int, trials: int, out: Path) -> pm.Tuned:
    """One search; what is there of it already is not done again."""
    folder = folder_of(name)
    known = SETS[name]
    schema = {"fields": known.fields, "target": known.target, **({"group": known.group} if known.group else {})}
    return pm.tune(
        folder / "train.csv", valid=folder / "valid.csv", test=folder / "test.csv",
        schema=schema, metric=SETS[name].metric, out=out, trials=trials, sampler=sampler, seed=seed, fusion=FUSIONS,
        encodings="fitted", space={"dim": False}, seeds=1, answer_training={"epochs": 12}, noise=False, trackers="none",
        workers=0, quiet=True, resume=True, store=str(out.parent / "store"),
    )  # fmt: skip


def killed(words: list[str], out: Path, after: int) -> int:
    """Kill a search in another process once `after` trials are finished; how many were."""
    import optuna

    working = subprocess.Popen([sys.executable, __file__, *words])
    storage, done = f"sqlite:///{out / 'tune.db'}", 0
    while working.poll() is None and done < after:
        time.sleep(1)
        if (out / "space.yaml").exists():
            [study] = [optuna.load_study(study_name=n, storage=storage) for n in optuna.get_all_study_names(storage)]
            done = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    if working.poll() is not None:
        raise SystemExit(f"The search {' '.join(words)} ended with {working.returncode} before it could be killed.")
    working.send_signal(signal.SIGKILL)
    working.wait()
    return done


def best_by(found: dict[str, Any], seconds: float) -> float:
    """The best score of trials that were finished within so many CPU seconds, those of the default left out."""
    spent, best = 0.0, found["trials"][0]["score"]
    pick = max if found["greater_is_better"] else min
    for trial in found["trials"][1:]:
        spent += trial["cpu_seconds"] or 0.0
        if spent <= seconds and trial["state"] == "complete":
            best = pick(best, trial["score"])
    return best


def spent(found: dict[str, Any]) -> float:
    return sum(trial["cpu_seconds"] or 0.0 for trial in found["trials"][1:])


def compared(name: str, seeds: int, trials: int, root: Path, kill: bool) -> None:
    gaps = []
    for seed in range(seeds):
        made: dict[str, dict[str, Any]] = {}
        for sampler in ("tpe", "random"):
            out = root / f"{name}-{sampler}-{seed}"
            if kill:
                kill, words = False, ["--one", name, sampler, str(seed), str(trials), str(out)]
                print(
                    f"{name}: killed after {killed(words, out, trials // 3)} finished trials, and resumed", flush=True
                )
            search(name, sampler, seed, trials, out)
            found = made[sampler] = read_json(out / "tune.json")
            states = [trial["state"] for trial in found["trials"]]
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            first, best = (next(t for t in found["trials"] if t["trial"] == found[key]) for key in ("default", "best"))
            pair = found["against"]
            gain = "default is best" if pair is None else "{difference:+.4f} ± {error:.4f}".format(**pair["targets"][0])
            test = next(iter(found["test"].values()))["test"][SETS[name].metric]["mean"]
            print(
                f"{name} seed {seed} {sampler:6}: default {first['score']:.4f}, best {best['score']:.4f} (trial "
                f"{best['trial']}, {best['strategy']}; {gain}), on test {test:.4f}; {counts}; {spent(found):.0f} CPU s",
                flush=True,
            )
        least = min(map(spent, made.values()))
        gaps.append(best_by(made["tpe"], least) - best_by(made["random"], least))
        print(f"{name} seed {seed}: TPE - random at {least:.0f} CPU s of trials {gaps[-1]:+.4f}", flush=True)
    spread = f", standard deviation {stdev(gaps):.4f}" if len(gaps) > 1 else ""
    print(f"{name}: TPE - random {mean(gaps):+.4f} over {len(gaps)} seeds{spread}", flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", default=["houses", "icu"])
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--trials", type=int, default=30)
    words.add_argument("--one", nargs=5, help=argparse.SUPPRESS)  # a search alone, to be killed
    given = words.parse_args()
    if given.one:
        name, sampler, seed, trials, out = given.one
        search(name, sampler, int(seed), int(trials), Path(out))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for place, name in enumerate(given.names):
            compared(name, given.seeds, given.trials, Path(scratch), kill=not place)


if __name__ == "__main__":
    main()
