"""From what a user names to metrics of a target: which fit, which is judged by, which are shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.registry import Spec, import_part, plain
from polymodal.metrics import ALIASES, AT, METRICS, Judged
from polymodal.metrics.base import Metric
from polymodal.metrics.function import Function
from polymodal.metrics.probabilities import TopK

OPTIONS = ("greater_is_better", "needs")  # of a function


class Asked(Protocol):
    """What metrics must know of a target."""

    @property
    def name(self) -> str:
        """The column that is asked for."""

    @property
    def kind(self) -> str:
        """Its kind, in words."""

    @property
    def form(self) -> str:
        """The form of its truth (see `metrics.base`)."""

    @property
    def gives(self) -> tuple[str, ...]:
        """What its answers hold."""

    @property
    def metrics(self) -> tuple[Spec, ...]:
        """What a report shows, the default one first."""

    @property
    def shown(self) -> int:
        """How many of them where none is named."""


def judged(target: Asked) -> Judged:
    """A target as metrics see it."""
    return Judged(target.kind, target.form, target.gives, target.metrics, target.shown)


def target_metrics(specs: Sequence[Spec], target: Asked) -> tuple[Metric, ...]:
    """What a target is judged by, the first, and shown with; without specs its own default. Raises as `metrics_of`."""
    return metrics_of(specs, judged(target), target=target.name)


def directed(specs: Sequence[Spec], target: Asked, truth: np.ndarray) -> list[Spec]:
    """The specs, a function that does not say which way is better with what right answers to `truth` say of it.

    Raises as `metrics_of` and `Function.direction`.
    """
    metrics = target_metrics(specs, target) if specs else ()
    return [
        {**(spec if isinstance(spec, Mapping) else {"name": spec}), "greater_is_better": metric.direction(truth)}
        if isinstance(metric, Function) and metric.guessed
        else spec
        for spec, metric in zip(specs, metrics)
    ]


def undefined(target: Asked, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Those of a target's usual metrics that are NaN on any of `parts`, truth and a prediction each: too few rows."""
    each = {metric.name: metric for spec in target.metrics for metric in target_metrics([spec], target)}
    return [name for name, metric in each.items() if any(np.isnan(metric(*part)) for part in parts)]


def build_metric(spec: Spec, form: Judged, *, target: str = "") -> Metric:
    """The metric that `spec` names, for a target of this form.

    A spec is a name of the catalogue or another name for it, `module:function`, `module:Class`, a dict of `name` and
    options, a class, an instance or a function. Raises `UnknownName` for a name that is nowhere, `BadArgument` for a
    metric that does not fit the form.
    """
    given, options = _named(spec)
    if isinstance(given, Metric):
        metric = given
    elif isinstance(given, str) or (isinstance(given, type) and issubclass(given, Metric)):
        metric = METRICS.build({"name": given, **options})
    else:
        metric = _function(given, options, form)
    if not fits(metric, form):
        of = f"the target {target!r}" if target else "this target"
        allowed = [name for name in METRICS if fits(METRICS.build(name), form)]
        raise BadArgument(
            f"The metric {metric.name} reads {metric.needs} of {' or '.join(metric.truths)}; {of} is {form.kind}, "
            f"whose answers give {' and '.join(form.gives)}. Allowed: {', '.join(allowed)}."
        )
    return metric


def fits(metric: Metric, form: Judged) -> bool:
    """Whether a metric can judge answers to a kind of target."""
    given = {*form.gives, *(["order"] if {"probabilities", "values"} & {*form.gives} else [])}
    return form.truth in metric.truths and metric.needs in given


def metrics_of(specs: Sequence[Spec], form: Judged, *, target: str = "") -> tuple[Metric, ...]:
    """The metrics that a target is judged by, the first of all, and shown with; without specs the form's default.

    Raises as `build_metric`, and `BadArgument` where two have one name.
    """
    metrics = [build_metric(spec, form, target=target) for spec in specs or form.metrics[: form.shown]]
    names = [metric.name for metric in metrics]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadArgument(f"The metric {twice[0]} is named twice{f' for {target!r}' if target else ''}; name it once.")
    return tuple(metrics)


def by_target(option: Any, targets: Collection[str]) -> dict[str, list[Spec]]:
    """What a user asked each target to be judged by, as JSON can carry it: one spec or several for all targets, or a
    mapping from target to such; empty where nothing was asked.

    Raises `UnknownName` for a target that is not there.
    """
    each = isinstance(option, Mapping) and ("name" not in option or set(option) <= set(targets))
    if not each:
        return {target: _listed(option) for target in targets}
    for target in option:
        if target not in targets:
            raise UnknownName(f"metric names {target!r}, which is no target.{suggest(target, targets)}")
    return {target: _listed(option.get(target)) for target in targets}


def _listed(option: Any) -> list[Spec]:
    return [] if option is None else [plain(one) for one in (option if isinstance(option, list | tuple) else [option])]


def measure(
    metrics: Iterable[Metric], form: Judged, truth: np.ndarray, prediction: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, float]:
    """The values of `metrics` and of all others of the form, in that order, of rows of the `groups` [N].

    Raises `BadData` as a metric does.

    Of three classes, one is always among the first three: such a metric is left out where nobody asked for it.
    """
    asked = {metric.name: metric for metric in metrics}
    others = [metric for metric in (build_metric(spec, form) for spec in form.metrics) if metric.name not in asked]
    shown = [m for m in others if not (isinstance(m, TopK) and np.shape(prediction)[-1] <= m.k)]
    return {metric.name: metric(truth, prediction, groups) for metric in (*asked.values(), *shown)}


def _named(spec: Spec) -> tuple[Any, dict[str, Any]]:
    """What a spec names (an instance, a class, a name of the catalogue or a function), and its options."""
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    if "name" not in options:
        raise BadArgument(f"A metric given as a dict needs the key 'name'; got {sorted(options)}.")
    given = options.pop("name")
    if isinstance(given, str) and ":" in given:
        given = import_part(given, (METRICS,))
    if isinstance(given, str):
        name, at, k = given.partition("@")
        if at and k.isdecimal():  # ndcg@10
            return _named({"name": AT.get(name, name), "k": int(k), **options})
        if given in ALIASES:
            further = ALIASES[given]
            return _named({**({"name": further} if isinstance(further, str) else further), **options})
        if given not in METRICS:
            raise UnknownName(
                f"No metric is called {given!r}.{suggest(given, [*METRICS, *ALIASES])} A function of your own is "
                "named 'module:function'."
            )
    elif not callable(given) or (isinstance(given, type) and not issubclass(given, Metric)):
        raise BadArgument(f"A metric is a name, 'module:function', a Metric or a dict with 'name'; got {spec!r}.")
    return given, options


def _function(function: Callable[..., Any], options: Mapping[str, Any], form: Judged) -> Function:
    for name in options:
        if name not in OPTIONS:
            raise BadArgument(f"Unknown argument {name!r} of {function.__name__}.{suggest(name, OPTIONS)}")
    needs = options.get("needs", getattr(function, "needs", form.gives[0]))
    return Function(function, form.truth, needs, greater_is_better=options.get("greater_is_better"))
