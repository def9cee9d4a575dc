"""`write_report`: one self-contained HTML file from `evaluation.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadData
from polymodal.report.page import page
from polymodal.report.sections import base, modalities, model, run, summary
from polymodal.report.sections.balance import balance
from polymodal.report.sections.encodings import encodings
from polymodal.report.sections.order import order
from polymodal.report.wording import clean

_NEEDED = ("target", "kind", "primary")
_TASKS = {  # of evaluations that do not say it themselves: older ones, of the kinds that there were
    "classes": "one of {} classes",
    "multilabel": "any of {} labels",
    "number": "a number",
}


def write_report(evaluation: Mapping[str, Any], path: str | Path) -> Path:
    """Write the report of one evaluation to `path` and return the path.

    `evaluation` is the content of `evaluation.json`. Needed are `target`, `kind` and `primary`; every section whose
    input is absent is left out. The same input gives the same bytes. Raises `BadData` when a needed key is missing or a
    mistake's picture or sound is not a data URI.
    """
    path = Path(path)
    html = render(evaluation)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def render(evaluation: Mapping[str, Any]) -> str:
    """The report as one HTML string. Raises as `write_report`."""
    _check(evaluation)
    return page(
        "report.html.j2",
        title=clean(evaluation["target"]),
        task=_task(evaluation),
        metric=base.metric_name(evaluation),
        verdict=summary.verdict(evaluation),
        key_figures=summary.key_figures(evaluation),
        leaderboard=summary.leaderboard(evaluation),
        order=order(evaluation),
        worth=modalities.worth(evaluation),
        balance=balance(evaluation),
        subsets=modalities.subsets(evaluation),
        noise=modalities.noise(evaluation),
        calibration=model.calibration(evaluation),
        confusion=model.confusion(evaluation),
        residuals=model.residuals(evaluation),
        encodings=encodings(evaluation),
        training=model.training(evaluation),
        words=model.words(evaluation),
        drawings=model.drawings(evaluation),
        mistakes=model.mistakes(evaluation),
        data=run.data(evaluation),
        timings=run.timings(evaluation),
        environment=run.environment(evaluation),
        command=evaluation.get("command"),
    )


def _task(evaluation: Mapping[str, Any]) -> str:
    """What was asked."""
    if evaluation.get("task"):
        return clean(evaluation["task"])
    return _TASKS[evaluation["kind"]].format(len(evaluation.get("classes") or []))


def _check(evaluation: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if not evaluation.get(name)]
    if missing:
        raise BadData(
            f"A report needs {', '.join(_NEEDED)}; not given: {', '.join(missing)}. Run `polymodal evaluate` again."
        )
    if not evaluation.get("task") and evaluation["kind"] not in _TASKS:
        raise BadData(f"The kind of target {evaluation['kind']!r} is unknown. Allowed: {', '.join(_TASKS)}.")
