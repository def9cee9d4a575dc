"""Does a metric keep its contract?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec, options_of
from polymodal.metrics import METRICS, Judged
from polymodal.metrics.base import Metric, check
from polymodal.metrics.build import build_metric, judged
from polymodal.metrics.function import Function
from polymodal.targets import TARGETS
from polymodal.testing.laws import written_back
from polymodal.testing.subject import Violation, judge
from polymodal.testing.target import example_target

Answers = tuple[np.ndarray, np.ndarray]  # truth and prediction
SIZE, CLASSES, RESAMPLES = 60, 4, 12
GROUPS = np.arange(SIZE) // 6  # of rows, within which an order is judged
NEAR = {"rtol": 1e-9, "atol": 1e-12}
REFERENCES = "references"  # texts of which several are right
TEXT = ("cider", "bleu", "rouge_l", "chrf", "exact_match", "token_f1", "vqa_accuracy", "wer")


def check_metric(
    spec: Spec, *, kinds: Iterable[str] | None = None, direct: Callable[[np.ndarray, np.ndarray], float] | None = None
) -> None:
    """Try a metric on answers to every kind of target that it fits. Raises `NotConformant`.

    A weighted row counts as a row repeated; the order of rows changes nothing; values lie within its bounds; a perfect
    answer is best, and the best bound where that is finite; a constant answer gets its `chance`; inputs are untouched;
    options are stored. One of the order within groups is tried on groups of six rows, which are repeated as a whole. Of
    several references to a text, as a metric of ours takes them, the order changes nothing. With
    `direct`, a plain formula of truth and prediction as the metric reads them, both agree.
    """
    forms = example_forms()
    for kind in kinds or _fitting(spec, forms):
        metric, form = build_metric(spec, forms[kind]), forms[kind].truth
        laws = [_repeated, _shuffled, _bounded, _perfect, _constant, _untouched, _stored]
        tried = [partial(law, metric, form) for law in laws]
        if form == "text" and not isinstance(metric, Function):
            tried += [partial(law, metric, REFERENCES) for law in (*laws[:-1], _exchanged)]
        judge(f"{metric.name} of {kind}", [*tried, *([partial(_direct, metric, form, direct)] if direct else [])])


def example_forms() -> dict[str, Judged]:
    """Targets as metrics see them: one of every kind in the catalogue, and one that is written."""
    forms = {kind: judged(example_target(kind)) for kind in TARGETS}
    return {**forms, "text": Judged("text", "text", ("text",), TEXT)}


def _fitting(spec: Spec, forms: Mapping[str, Judged]) -> list[str]:
    """The kinds of target that take the metric. Raises what was said of the last one where none does."""
    kinds, refused = [], None
    for kind, form in forms.items():
        try:
            build_metric(spec, form)
            kinds.append(kind)
        except BadArgument as error:
            refused = error
    if refused is not None and not kinds:
        raise refused
    return kinds


@dataclass(frozen=True)
class _Example:
    """Truth of a form, the answer that meets it, and one that says the same of every row."""

    truth: np.ndarray
    perfect: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, form: str) -> _Example:
        draw = np.random.default_rng(0)
        match form:
            case "text" | "references":
                vocabulary = np.array(["red", "dog", "on", "grass", "two", "men", "run", "Big", "ball,", "it's"])
                drawn = [" ".join(vocabulary[draw.integers(0, 10, draw.integers(4, 8))]) for _ in range(3 * SIZE)]
                texts = np.array(drawn).reshape(SIZE, 3)
                constant = np.full(SIZE, texts[0, 0])
                if form == "text":
                    return cls(texts[:, 0], texts[:, 0].copy(), constant)
                perfect = texts[:, 0].copy()
                texts[::4, 2], texts[::7, 1:] = "", ""  # fewer in some rows
                return cls(texts, perfect, constant)
            case "class":
                truth = draw.integers(0, CLASSES, SIZE)
                often = np.bincount(truth, minlength=CLASSES) / SIZE
                return cls(truth, np.eye(CLASSES)[truth], np.tile(often, (SIZE, 1)))
            case "labels":
                held = (draw.random((SIZE, CLASSES)) < 0.4).astype(float)
                return cls(held, held.copy(), np.tile(held.mean(0), (SIZE, 1)))
            case "picture" | "sound":
                pictures = draw.integers(0, 256, (SIZE, 6, 6, 1)).astype(np.float32)
                return cls(pictures, pictures[:, None].copy(), np.repeat(pictures.mean(0)[None, None], SIZE, 0))
            case _:
                values = draw.normal(3, 2, SIZE)
                return cls(values, values.copy(), np.full(SIZE, values.mean()))

    def answers(self) -> Iterator[np.ndarray]:
        """Answers that are better and worse, with and without ties."""
        draw = np.random.default_rng(1)
        for share in (0.2, 0.5, 0.9):
            if self.perfect.dtype.kind == "U":
                yield np.where(draw.random(SIZE) < share, self.perfect, draw.permutation(self.perfect))
                yield np.where(draw.random(SIZE) < share, self.perfect, "")
                continue
            noise = draw.random(self.truth.shape if self.perfect.ndim == 1 else self.perfect.shape)
            mixed = share * self.perfect + (1 - share) * noise
            for answer in (mixed, mixed.round(1)):
                if self.truth.ndim == 1 < self.perfect.ndim:
                    answer = (answer + 1e-3) / (answer + 1e-3).sum(1, keepdims=True)
                yield answer


def _repeated(metric: Metric, form: str) -> None:
    example = _Example.of(form)
    if metric.grouped:
        return _repeated_groups(metric, example)
    settled = metric.settled(example.truth)
    counts = np.random.default_rng(2).multinomial(SIZE, np.full(SIZE, 1 / SIZE), size=RESAMPLES)
    for answer in example.answers():
        weighted = metric.weighted(*metric.read(example.truth, answer), counts.T.astype(float))
        if np.shape(weighted) != (RESAMPLES,):
            raise Violation(
                "a value a resample", f"weights [{SIZE}, {RESAMPLES}] give {np.shape(weighted)}.", "Give [R]."
            )
        expected = [settled(np.repeat(example.truth, c, axis=0), np.repeat(answer, c, axis=0)) for c in counts]
        if not np.allclose(weighted, expected, equal_nan=True, **NEAR):
            raise Violation(
                "a weighted row counts as a row repeated", f"weighted gives {weighted[:3]}, repeated {expected[:3]}.",
                "Multiply each row's part by its weight, and divide by the sum of the weights, not by the rows.",
            )  # fmt: skip


def _repeated_groups(metric: Metric, example: _Example) -> None:
    bound, count = metric.within(GROUPS), int(GROUPS.max()) + 1
    often = np.random.default_rng(2).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    for answer in example.answers():
        weighted = bound.weighted(*bound.read(example.truth, answer), often.T[GROUPS].astype(float))
        expected = []
        for each in often:
            drawn = np.repeat(np.arange(count), each)
            rows = np.concatenate([np.flatnonzero(group == GROUPS) for group in drawn])
            names = np.repeat(np.arange(len(drawn)), SIZE // count)  # a group that is drawn twice is two groups
            expected.append(metric(example.truth[rows], answer[rows], names))
        if not np.allclose(weighted, expected, equal_nan=True, **NEAR):
            raise Violation(
                "a weighted group counts as a group repeated",
                f"weighted gives {weighted[:3]}, repeated {expected[:3]}.",
                "Weigh each group's figure by its weight, and divide by the sum of the weights.",
            )  # fmt: skip


def _value(metric: Metric, truth: np.ndarray, answer: np.ndarray, order: np.ndarray | None = None) -> float:
    """The metric of the rows in `order`, in groups where it is of these."""
    groups = GROUPS if metric.grouped else None
    if order is not None:
        truth, answer, groups = truth[order], answer[order], None if groups is None else groups[order]
    return metric(truth, answer, groups)


def _shuffled(metric: Metric, form: str) -> None:
    example, order = _Example.of(form), np.random.default_rng(3).permutation(SIZE)
    for answer in example.answers():
        shuffled, expected = _value(metric, example.truth, answer, order), _value(metric, example.truth, answer)
        if not np.allclose(shuffled, expected, equal_nan=True, **NEAR):
            mend = "Read no row by its place; break ties by the class, not by the row."
            raise Violation(
                "the order of rows changes nothing", f"{shuffled} after shuffling, {expected} before.", mend
            )


def _bounded(metric: Metric, form: str) -> None:
    example, (low, high) = _Example.of(form), metric.bounds
    for answer in (*example.answers(), example.perfect, example.constant):
        value = _value(metric, example.truth, answer)
        if not low - 1e-9 <= value <= high + 1e-9:
            raise Violation("within its bounds", f"{value} lies outside {low} to {high}.", "Correct `bounds`.")


def _perfect(metric: Metric, form: str) -> None:
    example = _Example.of(form)
    best = _value(metric, example.truth, example.perfect)
    for answer in (*example.answers(), example.constant):
        if metric.turned(_value(metric, example.truth, answer)) > metric.turned(best) + 1e-9:
            mend = "Set `greater_is_better` to what the formula says."
            raise Violation("a perfect answer is best", f"it gets {best}, and another is better.", mend)
    bound = metric.bounds[1 if metric.greater_is_better else 0]
    if form != REFERENCES and np.isfinite(bound) and abs(best - bound) > 1e-6:
        raise Violation("a perfect answer is best", f"it gets {best}, not {bound}.", "Correct `bounds`.")


def _constant(metric: Metric, form: str) -> None:
    example = _Example.of(form)
    value = _value(metric, example.truth, example.constant)
    if metric.chance is not None and not np.isclose(value, metric.chance, atol=1e-9):
        raise Violation("chance", f"a constant answer gets {value}, not {metric.chance}.", "Correct `chance`.")


def _untouched(metric: Metric, form: str) -> None:
    example = _Example.of(form)
    for answer in example.answers():
        truth, kept = example.truth.copy(), answer.copy()
        _value(metric, truth, answer)
        if not (np.array_equal(truth, example.truth) and np.array_equal(kept, answer)):
            raise Violation("inputs untouched", "truth or prediction was changed in place.", "Work on a copy.")


def _stored(metric: Metric, form: str) -> None:
    if not isinstance(metric, Function) and type(metric).__init__ is not object.__init__:
        written_back(metric, options_of(metric))
        METRICS.resolve({"name": type(metric), **options_of(metric)})


def _exchanged(metric: Metric, form: str) -> None:
    example = _Example.of(form)
    truth = example.truth
    for answer in example.answers():
        expected = metric(truth, answer)
        for other in (truth[:, ::-1], np.hstack([np.full((SIZE, 1), ""), truth])):
            if not np.allclose(metric(other, answer), expected, equal_nan=True, **NEAR):
                mend = "Read no reference by its place, and leave out those that are empty."
                found = f"{metric(other, answer)} in another order or with an empty one, {expected} before."
                raise Violation("the order of references changes nothing", found, mend)
        single = metric(truth[:, :1], answer), metric(truth[:, 0], answer)
        if not np.allclose(*single, equal_nan=True, **NEAR):
            said = f"{single[0]} of [N, 1] and {single[1]} of [N]."
            raise Violation("one reference a row is a text a row", said, "Read [N] as [N, 1].")


def _direct(metric: Metric, form: str, formula: Callable[[np.ndarray, np.ndarray], float]) -> None:
    example = _Example.of(form)
    for answer in example.answers():
        read = check(example.truth, answer) if form == "text" else metric.read(example.truth, answer)
        value, expected = metric(example.truth, answer), formula(*read)
        if not np.allclose(value, expected, equal_nan=True, **NEAR):
            raise Violation(
                "equals its formula", f"{value}, and the plain formula {expected}.", "Compare both by hand."
            )
