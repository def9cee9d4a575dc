"""Target: what is asked of a row, from raw cells to human values.

A kind of target is one class. What the rest of the package must know of an answer it asks the target: how cells are
read and checked, what truth and predictions metrics compare, what chance would say, which columns an answer has, how
words describe it, and, where its head gives scores, what these mean and how they are blended and calibrated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.registry import Spec, plain
from polymodal.targets import TARGETS

# What scores mean: logits of classes that exclude one another, log-odds of labels each by itself, standardised values.
# Late fusion, trees and objectives say which of these they are defined for, whatever the kind of target. Each bears the
# name of its plainest kind.
CLASSES, MULTILABEL, NUMBER = MEANINGS = ("classes", "multilabel", "number")


@dataclass(frozen=True)
class Target(ABC):
    """What is asked of a row: a column of the table, `name`, and all that was fitted on its training rows.

    The constructor's keyword-only arguments are what a user may set; other fields are found by `fit`. Answers come from
    the head that `head` names unless the user names another. `scores` says what its scores mean (see `MEANINGS`); it is
    empty for a head that writes its answer instead.

    An author writes `fit`, `encode` and `metrics`; `truth` and `prediction` where metrics read something else than
    what is encoded and the label.
    """

    name: str

    scores: ClassVar[str] = ""
    head: ClassVar[str] = ""
    opened: ClassVar[str] = ""  # the kind of the files that its cells are, opened before it sees them; "": as they are
    # Whether its head draws answers at random, by many passes through a network: it is then trained until the loss of
    # validation rows is least, and drawn from when all is trained.
    drawn: ClassVar[bool] = False
    noun: ClassVar[str] = ""  # what is drawn, in a word
    unseen_are: ClassVar[str] = "cells with no value known from training"

    # --- cells --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def fit(self, values: Sequence[Any]) -> Self:
        """The same target learned from the training rows' cells, none missing, at least one.

        Raises `BadData` where there is nothing to learn.
        """

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Raw cells (None = missing) as the array [N, …] that a head is trained on.

        Whole numbers of which the first is negative, or floats that are NaN, mark rows without a target; of another
        type, what `known` says.
        """

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        """Counts of what `encode` must leave out, by what the cells say; `unseen_are` says what that is."""
        return {}

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        """What `polymodal inspect` says of the column: facts by name, and the rows that cannot be used, with reasons.

        Facts are `classes` (counts by label) or `least`, `median` and `most`. Asked before anything is fitted.
        """
        return {}, {}

    def remarks(self, values: Sequence[Any]) -> list[str]:
        """What the plan says of the cells, of what is learned from and judged by, once it is fitted."""
        return []

    def known(self, encoded: Any) -> Any:
        """[N] bool of encoded rows, an array or a tensor: those that carry a target, or a part of one."""
        rows = encoded.reshape(len(encoded), -1)
        return (rows == rows).any(1) if "float" in str(encoded.dtype) else rows[:, 0] >= 0

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        """By what a split is stratified (see `data.split.strata`): classes, numbers, multi-hot rows; None: nothing."""
        return None

    # --- words --------------------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """The catalogue name, or the dotted path of a kind from elsewhere."""
        cls = type(self)
        return TARGETS.name_of(cls) if cls.__module__.startswith("polymodal.") else plain(cls)

    @property
    def summary(self) -> str:
        """What is asked, in a few words."""
        return self.kind.rpartition(":")[2]

    @property
    def task(self) -> str:
        """The same as the line under a report's title says it."""
        return self.summary

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes or labels that there are; none for numbers and for what is written."""
        return ()

    # --- metrics ------------------------------------------------------------------------------------------------------

    form: ClassVar[str] = "text"  # of the truth as metrics read it (see `metrics.base`)
    gives: ClassVar[tuple[str, ...]] = ("text",)  # what of an answer metrics can read (see `metrics.base`)
    narrows: ClassVar[bool] = False  # whether its radius may be below 0, which moves an interval's ends in
    shown: ClassVar[int] = 1  # how many of `metrics` are shown, with intervals, where the user names none

    @property
    @abstractmethod
    def metrics(self) -> tuple[Spec, ...]:
        """The metrics that fit it; by the first, models are chosen."""

    def truth(self, encoded: np.ndarray) -> np.ndarray:
        """Encoded rows [N, …] as metrics read them."""
        return encoded

    def wanted(self, cells: Sequence[Any], encoded: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The `truth` of some rows of a column that is at hand too; a kind whose encoding cuts reads it."""
        return self.truth(encoded[rows])

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """What a head decoded, as metrics read it."""
        return decoded["label"]

    def chance(self) -> np.ndarray:
        """The prediction for one row of someone who saw the training rows' targets and nothing else."""
        raise BadData(f"{type(self).__name__} says no chance: write `chance`, the prediction of one row.")

    @property
    def proposed(self) -> Spec:
        """The head that a fit takes unless the user names one, now that training rows are known."""
        return self.head

    @property
    def usual(self) -> str:
        """What `chance` says, in words."""
        return "one answer for every row"

    # --- answers ------------------------------------------------------------------------------------------------------

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """The columns of a prediction table, N rows each; the first bears the target's name."""
        return {self.name: [str(label) for label in decoded["label"]]}

    def column_names(self) -> list[str]:
        """The names that `columns` gives, known before anything is answered. Asked once it is fitted."""
        return list(self.columns({"label": np.array([""])}))

    def written(self, values: Sequence[Any]) -> list[Any]:
        """Raw cells (None = missing) as the answer's own column writes them, so that truth and answer compare."""
        return list(values)

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        """One row's answer as it is told, and its probability where it has one."""
        return str(decoded["label"][row]), None

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        """`truth`, `prediction` and `probability` of a row, as a report tells a mistake."""
        return {"truth": str(truth), "prediction": str(prediction), "probability": None}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Up to `most` row numbers, the worst first: those worth looking at, of the `labelled` [N] bool."""
        return np.flatnonzero(labelled & (truth != predictions))[:most]

    def errors(self, truth: np.ndarray, predictions: np.ndarray, decoded: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What a report draws of labelled rows: `confusion` [C, C] or `residuals` (truth, prediction, low, high)."""
        return {}

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        """Predictions [2^K, N, …] by subsets of streams, all last, as `explanation.modalities.row_worth` reads them:
        probabilities [2^K, N, C] or numbers [2^K, N]. Here: whether the answer is that from all streams, 1 or 0.
        """
        same = predictions == predictions[-1]
        return same.reshape(*same.shape[:2], -1).all(-1).astype(np.float64)

    @property
    def unit(self) -> str:
        """The unit of a stream's worth to a row's answer."""
        return "share of the answer"

    # --- scores and their calibration ---------------------------------------------------------------------------------

    def decided(self, scores: Tensor, *, of: Tensor | None = None) -> Tensor:
        """[B] how decidedly scores [B, …] say an answer, that of the scores `of` (default: their own)."""
        return (scores == (scores if of is None else of)).reshape(len(scores), -1).all(1).float()

    @property
    def decided_unit(self) -> str:
        """The unit of `decided`."""
        return "share of the answer"

    def temperature(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        """By what to divide scores so that probabilities mean what they say, from held-out rows; None: nothing."""
        return None

    def radius(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        """How wide an interval around an answer must be to hold the truth, from held-out rows; None: it has none.

        Infinite where the rows are too few to promise any width; below 0 only where the target `narrows`.
        """
        return None

    def interval(self, scores: Tensor, radius: float) -> dict[str, np.ndarray]:
        """`low` and `high`, in the user's units, of answers with scores [B, …]."""
        return {}

    # --- files --------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `from_json` restores it."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": self.name, "kind": self.kind, **plain({k: v for k, v in own.items() if k != "name"})}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Target:
        """The target that `to_json` wrote, or an older version: fields that its kind has not are passed over."""
        cls = TARGETS.load(values["kind"])
        own = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: _tuples(v) for k, v in values.items() if k in own})


@dataclass(frozen=True)
class ScoredTarget(Target):
    """A target whose head gives scores [B, width], which `decode` reads."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many scores a head gives for it."""

    @abstractmethod
    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """Human values of scores [B, width], B each. Inverts `encode`."""

    def column_names(self) -> list[str]:
        scores = torch.zeros(1, self.width)
        return list(self.columns(self.decode(scores) | self.interval(scores, 1.0)))

    @abstractmethod
    def blend(self, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """One score from several models' scores [B, width] each, with weights that add up to 1."""

    @abstractmethod
    def row_score(self, scores: Tensor, truth: Tensor) -> Tensor:
        """[B] how right scores [B, width] are, at most 1; NaN where the encoded truth is not known."""

    @abstractmethod
    def row_losses(self, scores: Tensor, truth: Tensor) -> Tensor:
        """[B] the loss of each row's scores [B, width], NaN where the encoded truth is not known."""

    def uncertainty(self, scores: Tensor) -> Tensor | None:
        """[B] how unsure scores [B, width] are by their own account, in 0..1; None where they do not say."""
        return None

    @property
    def tree_options(self) -> dict[str, Any]:
        """What `learners.base.Learner.fit` needs besides what the scores mean."""
        return {}


def written(targets: Iterable[Target]) -> bool:
    """Whether all answers are texts, which are neither scored nor drawn."""
    return not any(target.scores or target.drawn for target in targets)


def asked(name: str, spec: Spec) -> Target:
    """The target that a spec names, before it is fitted. Raises `BadArgument` for an unknown kind or option."""
    kind = spec.get("name") if isinstance(spec, Mapping) else spec
    if isinstance(kind, str) and ":" not in kind and kind not in TARGETS:
        raise BadArgument(f"Target {name!r} cannot be of kind {kind!r}.{suggest(kind, TARGETS)}")
    return TARGETS.build(spec, name)


def fitted(name: str, spec: Spec, values: Sequence[Any]) -> Target:
    """The target learned from the raw cells of the training rows; missing cells (None) are passed over.

    Raises `BadArgument` for an unknown kind or option, `BadData` when there is nothing to learn.
    """
    target = asked(name, spec)
    present = [value for value in values if value is not None]
    if not present:
        raise BadData(f"Target {name!r} is missing in every training row, so there is nothing to learn.")
    return target.fit(present)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
