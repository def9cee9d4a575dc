"""What a search found: its trials in a table, those that nothing beats, and whether it beat the default settings."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.core.files import writing
from polymodal.experiment.outcome import Outcome, Question
from polymodal.experiment.verdict import ONE_ERROR, Tests
from polymodal.report.wording import decimals, plain, signed

COLUMNS = ("trial", "state", "score", "ms", "mb", "cpu_seconds", "seconds", "parts", "strategy", "front", "why")
LEAST = 4  # finished trials from which it can be said which settings mattered


def told(trials: Sequence[Any], *, greater_is_better: bool) -> list[dict[str, Any]]:
    """The trials of an Optuna study in plain values, those on the Pareto front marked."""
    rows = []
    for trial in trials:
        about, state = trial.user_attrs, trial.state.name.lower()
        parts = trial.intermediate_values
        rows.append(
            {
                "trial": trial.number,
                "state": {"fail": "failed" if "why" in about else "died"}.get(state, state),
                "score": trial.value if state == "complete" else parts[max(parts)] if parts else None,
                **{name: about.get(name) for name in ("ms", "mb", "cpu_seconds")},
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "parts": len(parts),
                "strategy": about.get("strategy", ""),
                "front": False,
                "why": about.get("why", ""),
                "default": bool(about.get("default")),
                "settings": dict(trial.params),
            }
        )
    done = [row for row in rows if row["state"] == "complete"]
    for row in done:
        row["front"] = not any(_beats(other, row, 1 if greater_is_better else -1) for other in done)
    return rows


def _beats(a: Mapping[str, Any], b: Mapping[str, Any], sign: int) -> bool:
    """Whether `a` is nowhere behind `b` in score, milliseconds and megabytes, and somewhere ahead (Pareto 1896)."""
    pairs = [(sign * a["score"], sign * b["score"]), *((-_brief(a[cost]), -_brief(b[cost])) for cost in ("ms", "mb"))]
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def _brief(cost: float) -> float:
    """Two digits of a cost: the third of a time that was measured is chance."""
    return float(f"{cost:.2g}")


def write_trials(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`trials.csv`: a row a trial, a column a setting."""
    settings = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, *settings])
        for row in rows:
            values = [*(row[name] for name in COLUMNS), *(row["settings"].get(name, "") for name in settings)]
            table.writerow([f"{v:.6g}" if isinstance(v, float) else "" if v is None else v for v in values])


def importance(optuna: Any, study: Any) -> dict[str, float]:
    """How much each setting mattered for the score (PED-ANOVA; Watanabe, Bansal & Hutter 2023); empty where the
    finished trials cannot tell."""
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(done) < LEAST or len({trial.value for trial in done}) < 2:
        return {}
    judge = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that were drawn too seldom; the report says so of all
        return dict(optuna.importance.get_param_importances(study, evaluator=judge))


def against(best: Outcome, default: Outcome, questions: Sequence[Question], seed: int) -> dict[str, Any]:
    """The best trial against the default settings on the same rows: `beaten` where it is ahead by more than the
    standard error of the paired difference on a target, and behind by that on none."""
    found = []
    for q in questions:
        test = Tests(q, seed, "valid")
        error, ends = test(best, default, ONE_ERROR), test(best, default)
        found.append(
            {
                "target": q.target.name, "metric": q.metric.name, "difference": error.difference,
                "error": (error.high - error.low) / 2, "low": ends.low, "high": ends.high,
                "ahead": error.low > 0, "behind": error.high < 0, "rows": len(q.valid), "held": q.held,
            }
        )  # fmt: skip
    return {"targets": found, "beaten": any(f["ahead"] for f in found) and not any(f["behind"] for f in found)}


def words(
    best: Mapping[str, Any], default: Mapping[str, Any], pair: Mapping[str, Any] | None, of: str, tried: int
) -> list[str]:
    """The headline, and what else there is to say of the best trial and the default settings."""
    places = decimals([default["score"], best["score"]])
    scores = [plain(row["score"], places) for row in (best, default)]
    if pair is None:
        return [f"No trial of {tried} beats the default settings, whose {of} is {scores[1]}."]
    first = pair["targets"][0]
    by = f"{signed(first['difference'], places)} ± {plain(first['error'], places)}"
    by += f" on {first['rows']} {first['held']} rows"
    names = f"trial {best['trial']} ({of} {scores[0]}) and the default settings ({scores[1]})"
    if pair["beaten"]:
        headline = f"Tuning helped: {of} {scores[0]} against {scores[1]} of the default settings."
        said = f"The difference of {names}, better {by}, is more than its standard error."
    else:
        headline = "Tuning did not beat the default settings by more than a standard error."
        said = f"{names[0].upper()}{names[1:]} differ by {by}; the default settings may serve as well."
    return [
        headline,
        said,
        f"It is the best of {tried} scores by the same rows, so the choice flatters it; the test rows were read once, "
        "for it alone.",
    ]
