"""Does a target keep its contract?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from polymodal.core.registry import Spec, options, options_of
from polymodal.data.media.sound import Sound
from polymodal.targets import TARGETS
from polymodal.targets.base import MEANINGS, ScoredTarget, Target, fitted
from polymodal.testing.subject import Violation, judge

# Cells of ten training rows of each kind of the catalogue, which every check of heads and answers is tried on.
CELLS: dict[str, list[Any]] = {
    "classes": [*"aabbbccccc"],
    "multilabel": ["a|b", "a|c", "b|c", "b", "c", "c", "c", "", "", ""],
    "number": [1.0, 5.0] * 5,
    "numbers": [[1.0, 20.0], [5.0, 10.0], "[3, 20]", "3|10"] * 2 + [[1.0, None], "5|"],
    "ordinal": [*"1122233333"],
    "picture": [
        np.full((8, 10, 3), 20 * shade, np.uint8) + np.arange(30, dtype=np.uint8).reshape(10, 3) for shade in range(10)
    ],
    "sound": [
        Sound(np.sin(np.arange(2400 + 80 * row, dtype=np.float32) * (0.2 + 0.1 * row)) / (1 + row), 8000)
        for row in range(10)
    ],
    "quantiles": [1.0, 2.0, 3.0, 4.0, 5.0] * 2,
    "text": ["a dog", "a cat", ["a dog runs", "the dog"], "a cat sleeps", "the cat"] * 2,
}

SMALL: dict[str, dict[str, Any]] = {
    "picture": {"size": 8},
    "sound": {"mels": 8},
}  # options of those kinds that would be large without


def example_target(kind: str) -> Any:
    """A small target of a kind of the catalogue: three classes or labels, a number around 3. Raises `UnknownName`."""
    TARGETS.entry(kind)
    return fitted("y", {"name": kind, **SMALL.get(kind, {})}, CELLS[kind])


def check_target(spec: Spec, cells: Sequence[Any]) -> None:
    """Try a kind of target on raw cells of training rows, as a table holds them. Raises `NotConformant`.

    It is learned, written to JSON and read back the same; cells are encoded a row each, whatever is beside them, and
    a missing one is not known; metrics, chance and truth go together. With scores: they have its width, are decoded
    to what metrics and prediction tables need, are blended and judged.
    """
    cls, given = TARGETS.resolve(spec)
    laws = [
        partial(_learned, spec, cells), partial(_options, spec, given, cells), partial(_encoded, spec, cells),
        partial(_json, spec, cells), partial(_judged, spec, cells), partial(_survey, spec, cells),
        partial(_written, spec, cells),
    ]  # fmt: skip
    if issubclass(cls, ScoredTarget):
        laws += [partial(law, spec, cells) for law in (_decoded, _told, _blended, _row_scores, _calibrated)]
    judge(f"The target {TARGETS.name_of(cls)}", laws)


def _learned(spec: Spec, cells: Sequence[Any]) -> None:
    target = fitted("y", spec, [None, *cells])
    if target != fitted("y", spec, cells):
        raise Violation("learned from what is there", "a missing cell changes it.", "Pass over None.")
    if target.name != "y" or not target.metrics or not target.summary:
        raise Violation("says what it is", "name, metrics or summary are empty.", "Give all three.")
    if target.scores not in ("", *MEANINGS) or bool(target.scores) != isinstance(target, ScoredTarget):
        raise Violation("scores mean something", f"scores is {target.scores!r}.", f"One of {', '.join(MEANINGS)}.")


def _options(spec: Spec, given: dict[str, Any], cells: Sequence[Any]) -> None:
    target = fitted("y", spec, cells)
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in options_of(target).items()}
    allowed = options(type(target))
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items() if v != allowed[k].default}
    if kept != expected:
        raise Violation("options stored", f"built with {expected}, it keeps {kept}.", "`fit` leaves options alone.")


def _encoded(spec: Spec, cells: Sequence[Any]) -> None:
    target = fitted("y", spec, cells)
    encoded = target.encode([*cells, None])
    if len(encoded) != len(cells) + 1 or encoded.dtype not in (np.int64, np.float32, np.uint8):
        raise Violation("encodes", f"it gives {encoded.dtype} {encoded.shape}.", "int64, float32 or uint8, a row each.")
    known = np.asarray(target.known(encoded))
    if not known[:-1].any() or known[-1]:
        raise Violation("knows what is missing", f"known says {known.tolist()}.", "Mark missing rows by -1 or NaN.")
    if not np.array_equal(np.asarray(target.known(torch.from_numpy(encoded))), known):
        raise Violation("knows what is missing", "a tensor and an array differ.", "Use operators that both have.")
    each = [target.encode([cell])[0] for cell in [*cells, None]]
    alone = np.stack([_widened(row, whole) for row, whole in zip(each, encoded)])
    if not np.array_equal(alone, encoded, equal_nan=encoded.dtype.kind == "f"):
        raise Violation("encodes", "a row alone is encoded otherwise.", "Learn in `fit`, not in `encode`.")
    strata = target.strata(encoded[:-1])
    if strata is not None and len(strata) != len(cells):
        raise Violation("stratifies", f"strata gives {len(strata)} rows of {len(cells)}.", "One a row, or None.")
    if not isinstance(target.unseen([*cells, None]), dict):
        raise Violation("counts what it leaves out", "unseen gives no dict.", "Map what a cell says to its count.")


def _widened(row: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A row of a target that is written, which may be as long as the longest beside it, at their length."""
    missing = row.size > 0 and (row < 0).all()
    more = [(0, max(0, b - a)) for a, b in zip(row.shape, like.shape)]
    return np.pad(row, more, constant_values=-1 if missing else 0) if row.shape != like.shape else row


def _json(spec: Spec, cells: Sequence[Any]) -> None:
    target = fitted("y", spec, cells)
    read = Target.from_json(json.loads(json.dumps(target.to_json())))
    if read != target or type(read) is not type(target):
        raise Violation("JSON", f"{target} comes back as {read}.", "Keep strings, numbers and tuples of them.")


def _judged(spec: Spec, cells: Sequence[Any]) -> None:
    target = fitted("y", spec, cells)
    truth = target.truth(target.encode(cells))
    chance = np.asarray(target.chance())
    if len(truth) != len(cells):
        raise Violation("judged", f"truth has {len(truth)} rows of {len(cells)}.", "One a row.")
    if chance.dtype.kind == "f" and not np.isfinite(chance).all():
        raise Violation("judged", "chance is not finite.", "Give the prediction of one row.")


def _survey(spec: Spec, cells: Sequence[Any]) -> None:
    facts, odd = TARGETS.build(spec, "y").survey([*cells, None])
    if len(cells) in odd:
        raise Violation("surveys", "a missing cell is called unusable.", "Name rows whose cells say something else.")
    if facts and not {"classes", "median"} & set(facts):
        raise Violation("surveys", f"facts are {sorted(facts)}.", "Say classes, or least, median and most.")


def _scores(target: ScoredTarget, rows: int) -> torch.Tensor:
    return torch.randn(rows, target.width, generator=torch.Generator().manual_seed(3))


def _decoded(spec: Spec, cells: Sequence[Any]) -> None:
    target: Any = fitted("y", spec, cells)
    decoded = target.decode(_scores(target, len(cells)))
    if any(len(values) != len(cells) for values in decoded.values()):
        raise Violation("decodes", "not every value has a row a score.", "Return arrays of B rows.")
    prediction, chance = target.prediction(decoded), np.asarray(target.chance())
    if prediction.shape != (len(cells), *chance.shape):
        raise Violation(
            "judged", f"predictions are {prediction.shape}, chance {chance.shape}.", "Chance is one row's prediction."
        )
    columns = target.columns(decoded)
    if next(iter(columns)) != "y" or any(len(values) != len(cells) for values in columns.values()):
        raise Violation("gives columns", f"they are {sorted(columns)}.", "First the target's own, each N long.")
    json.dumps(columns)
    if set(columns) - set(target.column_names()):
        raise Violation("names its columns", f"{sorted(columns)} are more than `column_names` says.", "Say them all.")


def _written(spec: Spec, cells: Sequence[Any]) -> None:
    target = fitted("y", spec, cells)
    if next(iter(target.column_names())) != "y" or len(set(target.column_names())) < len(target.column_names()):
        raise Violation("names its columns", f"they are {target.column_names()}.", "First its own name, each once.")
    written = target.written([*cells, None])
    if len(written) != len(cells) + 1 or written[-1] is not None:
        raise Violation("writes truth", f"{len(written)} cells of {len(cells) + 1}, or one of None.", "One a row.")
    json.dumps(written)


def _told(spec: Spec, cells: Sequence[Any]) -> None:
    target: Any = fitted("y", spec, cells)
    scores, truth = _scores(target, len(cells)), target.truth(target.encode(cells))
    decoded = target.decode(scores)
    predictions = target.prediction(decoded)
    wanted = {"truth", "prediction", "probability"}
    labelled = np.ones(len(cells), dtype=bool)
    for row in target.mistakes(truth, predictions, labelled, 3):
        if set(told := target.told(truth[row], predictions[row])) != wanted:
            raise Violation("tells mistakes", f"told gives {sorted(told)}.", f"Give {', '.join(sorted(wanted))}.")
        json.dumps(told)
    json.dumps([target.answer(decoded, 0), target.errors(truth, predictions, decoded)])
    explained = target.explained(np.stack([predictions] * 4))
    if explained.shape[:2] != (4, len(cells)) or not target.unit:
        raise Violation(
            "explains", f"explained is {explained.shape}.", "Numbers [2^K, N] or probabilities [2^K, N, C]."
        )


def _blended(spec: Spec, cells: Sequence[Any]) -> None:
    target: Any = fitted("y", spec, cells)
    scores = _scores(target, len(cells))
    once = target.prediction(target.decode(target.blend([scores, scores], [0.25, 0.75])))
    if not np.allclose(once, target.prediction(target.decode(scores)), rtol=1e-4, atol=1e-5):
        raise Violation("blends", "two models that say the same become another answer.", "Blend by a weighted mean.")


def _row_scores(spec: Spec, cells: Sequence[Any]) -> None:
    target: Any = fitted("y", spec, cells)
    scores, truth = _scores(target, len(cells) + 1), torch.from_numpy(target.encode([*cells, None]))
    for name in ("row_score", "row_losses"):
        per_row = getattr(target, name)(scores, truth)
        if per_row.shape != (len(cells) + 1,) or not per_row[:-1].isfinite().all() or not per_row[-1].isnan():
            raise Violation(
                name, f"it gives {per_row.tolist()}.", "[B], finite where the truth is known, NaN elsewhere."
            )
    if (target.row_score(scores, truth)[:-1] > 1).any():
        raise Violation("row_score", "it exceeds 1.", "1 is right.")
    decided = target.decided(scores.requires_grad_())
    if decided.shape != (len(scores),) or not decided.requires_grad:
        raise Violation("decided", f"it is {tuple(decided.shape)}.", "[B], with a gradient.")


def _calibrated(spec: Spec, cells: Sequence[Any]) -> None:
    target: Any = fitted("y", spec, cells)
    scores, truth = _scores(target, len(cells)), target.encode(cells)
    temperature, radius = target.temperature(scores.numpy(), truth), target.radius(scores.numpy(), truth)
    if temperature is not None and not temperature > 0:
        raise Violation("calibrates", f"the temperature is {temperature}.", "It is above 0.")
    ends = {} if radius is None else target.interval(scores, 1.0)
    if radius is not None and (set(ends) != {"low", "high"} or (ends["low"] > ends["high"]).any()):
        raise Violation("calibrates", f"the interval is {ends}.", "Give low and high, low below high.")
