"""What the sections of a report share: the shapes that the template shows, and what they all ask of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from polymodal.metrics import METRICS
from polymodal.report.wording import clean, is_number

Evaluation = Mapping[str, Any]
PANELS = 24  # small charts a section; more would make it a wall


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a CSS class for its mark and what the mark means."""

    mark: str
    meaning: str


@dataclass(frozen=True)
class Chart:
    """A titled picture with a sentence on how to read it; `narrow` replaces it on a phone."""

    title: str
    caption: str
    svg: Markup
    narrow: Markup | None = None
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One table cell: what is shown and what it is sorted by (the text itself when None); `words` begin at the left."""

    text: str
    value: float | None = None
    words: bool = False


def metric_name(evaluation: Evaluation) -> str:
    """The primary metric as words: `f1_macro` is `macro F1`."""
    return metric_words(evaluation["primary"])


def metric_words(name: str) -> str:
    """A metric's name as words, where it is of the catalogue those that it gives itself."""
    title = METRICS.load(name).title if name in METRICS else ""  # type: ignore[attr-defined]
    return title or clean(name).replace("_", " ")


def ranked(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    """The leaderboard's rows, best test score first, rows without one last."""
    sign = -1 if evaluation.get("greater_is_better", True) else 1
    rows = list(evaluation.get("leaderboard") or [])
    return sorted(rows, key=lambda r: sign * r["test_mean"] if is_number(r.get("test_mean")) else float("inf"))


def chosen_row(evaluation: Evaluation) -> Mapping[str, Any] | None:
    """The row of the chosen strategy, if the input names one."""
    name = evaluation.get("chosen")
    return next((r for r in evaluation.get("leaderboard") or [] if r["strategy"] == name), None)
