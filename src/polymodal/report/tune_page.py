"""The page of a search: what it gained, what score costs, how it went, and every trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.page import page
from polymodal.report.sections import run
from polymodal.report.sections.base import Cell, Chart, metric_words
from polymodal.report.tune_charts import front, history, settings
from polymodal.report.wording import clean, count, decimals, duration, is_number, joined, plain

COSTS = (("ms", "milliseconds a row"), ("mb", "megabytes"))


def render(found: Mapping[str, Any]) -> str:
    """The page as one HTML string; `found` is the content of `tune.json`."""
    trials, score = found["trials"], metric_words(found["metric"])
    done = [t for t in trials if t["state"] == "complete"]
    shown = [t for t in trials if is_number(t["score"])]
    charts = [
        Chart(
            f"{score} against {unit}",
            "A filled mark is a trial that no other beats in score, time and size together; the square is the default "
            f"settings, the ring the best score. {unit.capitalize()}"
            + (" are measured by this machine." if name == "ms" else ": the weights of encoders and answer."),
            front(done, name, unit, score, found["best"]),
        )
        for name, unit in COSTS
    ]
    went = [
        Chart(
            "Trials in their order",
            "Dots are finished; a cross was given up, and stands where the rows so far had it. The line is the best.",
            history(shown, score, found["greater_is_better"]),
        )
    ]
    if found["importance"]:
        went.append(
            Chart(
                "Which settings mattered",
                "The share of each setting in what makes the best tenth of the trials (PED-ANOVA). Few trials tell "
                "little, and settings of parts that were seldom drawn less.",
                settings(found["importance"]),
            )
        )
    pair = found["against"]
    return page(
        "tune.html.j2",
        title=joined(found["target"]),
        metric=score,
        tone="good" if pair and pair["beaten"] else "unsure",
        headline=found["headline"],
        sentences=[*found["sentences"], *_test(found)],
        front=charts,
        went=went,
        columns=["Trial", "State", score, "ms", "MB", "CPU", "Settings"],
        rows=[_row(t, found, decimals([t["score"] for t in done])) for t in trials],
        notes=found["notes"],
        facts=_facts(found),
    )


def _row(trial: Mapping[str, Any], found: Mapping[str, Any], places: int) -> list[Cell]:
    marks = {found["best"]: " (best)", found["default"]: " (default)"}
    state = trial["state"] if trial["state"] != "complete" else "on the front" if trial["front"] else "finished"
    said = ", ".join(f"{name} = {_written(value)}" for name, value in trial["settings"].items())
    why = f"{clean(trial['why'])}; " if trial["why"] and trial["state"] != "complete" else ""
    return [
        Cell(f"{trial['trial']}{marks.get(trial['trial'], '')}"),
        Cell(state, words=True),
        Cell(plain(trial["score"], places), trial["score"] if is_number(trial["score"]) else None),
        Cell(plain(trial["ms"], 2), trial["ms"]),
        Cell(plain(trial["mb"], 2), trial["mb"]),
        Cell(duration(trial["cpu_seconds"]), trial["cpu_seconds"]),
        Cell(why + clean(said), words=True),
    ]


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _test(found: Mapping[str, Any]) -> list[str]:
    """What the model that was fitted at last scores on the test rows."""
    said = []
    for target, one in found["test"].items():
        value = one["test"][one["primary"]]
        places = decimals([value["mean"]])
        ends = f" ({plain(value['low'], places)} to {plain(value['high'], places)})" if is_number(value["low"]) else ""
        said.append(f"{clean(target)}, on test: {metric_words(one['primary'])} {plain(value['mean'], places)}{ends}.")
    return said


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    states = [t["state"] for t in found["trials"]]
    counted = ", ".join(f"{count(states.count(state))} {state}" for state in dict.fromkeys(states))
    spent = sum(t["cpu_seconds"] or 0.0 for t in found["trials"])
    facts = [
        ("Trials", counted),
        ("Sampler, pruner", f"{found['sampler']}, {found['pruner']}"),
        ("CPU time of trials", duration(spent)),
        *((clean(name), _range(one)) for name, one in found["space"].items()),
    ]
    return facts + [(name, joined(value)) for name, value in run.environment(found) or []]


def _range(one: Mapping[str, Any]) -> str:
    if "values" in one:
        return joined(", ".join(str(value) for value in one["values"]))
    return f"{_written(one['low'])} to {_written(one['high'])}{', by its logarithm' if one.get('log') else ''}"
