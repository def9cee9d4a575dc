"""Did fusing help? One fusion against fair opponents on the test rows, and what the figures say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polymodal.core.shown import many
from polymodal.evaluation.statistics import Draws, Interval, Paired, compare_draws, holm, resample
from polymodal.experiment.outcome import Outcome, Question, oriented, score_of
from polymodal.metrics.base import Metric, labelled
from polymodal.models.base import BASELINE, CONTENDER
from polymodal.models.strategy import TRAINED
from polymodal.report.wording import decimals, is_number, plain, signed

FEW = 100  # test rows, or groups of rows, below which no difference shown says more of the test than of the fusion
COARSE = 0.1  # of a score in 0..1, or of chance's error: a test that would miss this much cannot tell
ONE_ERROR = 0.6827  # level of an interval that reaches one standard error to either side
WAYS = {"finetuned": "fine-tuned", "joint": "trained jointly with the encoders"}
UNLIKE = 0.9999  # level at which scores on the rows of choice and on test have nothing in common
POWER = 1.43  # (1.96 + 0.84) / 1.96: from a half width of 95 % to the difference found with a probability of 80 %


@dataclass(frozen=True)
class Against:
    """A paired test of the fusion against `name`, on the test rows; above 0 the fusion is better."""

    name: str
    pair: Paired


@dataclass(frozen=True)
class Verdict:
    """What is said of one target. `fusion` is what was compared, by name; `single` the hardest of its opponents."""

    headline: str
    sentences: list[str]
    helped: bool | None
    fusion: str
    single: Against
    concat: Against | None
    chance: Against | None


def judge(
    q: Question, fusion: Outcome, outcomes: Sequence[Outcome], *, seed: int, scores: Mapping[str, float], of: str = ""
) -> Verdict:
    """Whether `fusion` beats every single modality that it must, and what a constant answer and concatenation reach.

    Opponents are all single modalities that the validation rows cannot tell from the best of them: to pick one of these
    by a row or two and win against it is no proof. `helped` is True where the interval of the difference lies above 0
    for each of them, and above chance too; False where one of them is better after Holm's correction. `scores` are the
    strategies' on test, `of` names the target where there are several.
    """
    fusion, rivals, concat, likeness = like_with_like(fusion, outcomes, q, seed)
    test = Tests(q, seed)
    tests = [Against(o.name, test(fusion, o)) for o in rivals]
    by_concat = None if concat is None else Against(concat.name, test(fusion, concat))
    constants = [Against(o.name, test(fusion, o)) for o in outcomes if o.level == "chance"]
    by_chance = next((c for c in constants if is_number(c.pair.difference)), None)  # no rank correlation, for one
    p = holm([t.pair.p if is_number(t.pair.p) else 1.0 for t in tests])
    lost = [t for t, value in zip(tests, p) if t.pair.high < 0 and value < 0.05]
    hardest = min(lost, key=lambda t: t.pair.high) if lost else min(tests, key=_least)
    beaten = all(t.pair.low > 0 for t in tests)
    proven = by_chance is None or by_chance.pair.low > 0
    helped = True if beaten and proven else False if lost else None
    found = Verdict("", [], helped, fusion.name, hardest, by_concat, by_chance)
    words = _Words(q, found, scores, min(fusion.seeds, *(o.seeds for o in rivals)))
    apart = [o for o in outcomes if o.level not in ("single", "chance", BASELINE) and not o.strategy.end_to_end]
    if fusion.strategy.end_to_end and apart:
        before = max(apart, key=lambda o: score_of(o, [q]))
        likeness = [*likeness, words.together(Against(before.name, test(fusion, before)))]
    single = next(o for o in rivals if o.name == hardest.name)
    likeness = [*likeness, *words.unlike(fusion, single, (Tests(q, seed, "valid"), test))]
    return replace(
        found,
        headline=words.headline(of, beaten=beaten),
        sentences=words.sentences(tests, likeness),
    )


class Tests:
    """Paired tests of strategies on the rows of one split, `test` or `valid`; each strategy is resampled once."""

    def __init__(self, q: Question, seed: int, split: str = "test"):
        self.q, self.seed, self.split = q, seed, split
        self.truth, self.groups = (q.test, q.groups) if split == "test" else (q.valid, q.valid_groups)
        self._draws: dict[tuple[str, int], Draws] = {}

    def __call__(self, a: Outcome, b: Outcome, level: float = 0.95) -> Paired:
        """By how much `a` is better than `b` at matched seeds; above 0 is better whatever the metric."""
        first, second = (self._drawn(o, min(a.seeds, b.seeds)) for o in (a, b))
        return oriented(compare_draws(first, second, level=level), self.q.metric)

    def interval(self, outcome: Outcome, level: float) -> Interval:
        """Between which ends its score lies, with that probability."""
        return self._drawn(outcome, outcome.seeds).interval(level)

    def _drawn(self, outcome: Outcome, seeds: int) -> Draws:
        key = (outcome.name, seeds)
        if key not in self._draws:
            said = getattr(outcome, self.split)[self.q.target.name][:seeds]
            self._draws[key] = resample(self.q.metric, self.truth, said, seed=self.seed, groups=self.groups)
        return self._draws[key]


def indistinct(outcomes: Sequence[Outcome], valid: Sequence[Tests], level: float = 0.95) -> list[Outcome]:
    """The best by validation, and all that its rows cannot tell from it on any target, best first.

    `valid` are the tests on validation rows, one a target; the interval of the paired difference, of `level`, decides.
    """
    questions = [test.q for test in valid]
    best, *others = sorted(outcomes, key=lambda o: -score_of(o, questions))
    return [best, *(o for o in others if not any(test(best, o, level).low > 0 for test in valid))]


def cheapest(alike: Sequence[Outcome]) -> Outcome:
    """Of what `indistinct` gives, the one to deploy: of those with the best's streams the best whose parameters are
    the fewest, or less than a tenth more.

    No stream is dropped: where rows are few a single modality nearly always lies within the error, and leaving out what
    may help costs more than it saves.
    """
    same = [o for o in alike if set(o.streams) == set(alike[0].streams)]
    return next(o for o in same if o.parameters <= 1.1 * min(one.parameters for one in same))


def trained_as(outcome: Outcome, encoders: str) -> str:
    """What the strategy is called whose encoders were trained so: `apart`, `finetuned` or `joint`."""
    return replace(outcome.strategy, encoders=encoders).name


def like_with_like(
    fusion: Outcome, outcomes: Sequence[Outcome], q: Question, seed: int
) -> tuple[Outcome, list[Outcome], Outcome | None, list[str]]:
    """The fusion, the single modalities and the concatenation to compare it with, and in words what makes them alike.

    Either the encoders of all were trained with the answer, in the same way, or those of none.
    """
    named = {o.name: o for o in outcomes}
    singles = [o for o in outcomes if o.level == "single"]
    rivals = indistinct([o for o in singles if not o.strategy.end_to_end] or singles, [Tests(q, seed, "valid")])
    concat, how = named.get("concat"), fusion.strategy.encoders
    if concat is not None and trained_as(fusion, "apart") == concat.name:
        concat = None
    others = [*rivals, *([] if concat is None else [concat])]
    if how == "apart":
        rest = any(o.strategy.end_to_end for o in outcomes)
        return fusion, rivals, concat, ["On both sides encoders were trained before the answer."] if rest else []
    missing = [o.name for o in others if trained_as(o, how) not in named]
    if not missing:
        after = None if concat is None else named[trained_as(concat, how)]
        return fusion, [named[trained_as(o, how)] for o in rivals], after, [
            f"Both sides of every comparison are {WAYS[how]}."
        ]  # fmt: skip
    before = named.get(trained_as(fusion, "apart"))
    if before is None:
        return fusion, rivals, concat, [
            f"{fusion.name} is {WAYS[how]} and {', '.join(missing)} not: a part of the difference may be that."
        ]  # fmt: skip
    return before, rivals, concat, [
        "Compared with encoders trained before the answer on either side, since "
        f"no {' or '.join(missing)} is {WAYS[how]}."
    ]  # fmt: skip


def seeing(q: Question, wrote: Outcome, outcomes: Sequence[Outcome], *, seed: int, of: str = "") -> list[str]:
    """Whether what `wrote` saw anything, and wrote better than can be copied; nothing where answers are not written.
    `of` names the target where there are several."""
    others = [o for o in outcomes if o.level in (BASELINE, CONTENDER)]
    if not others or q.target.form != "text":
        return []
    test, name, place = Tests(q, seed), q.metric.name, f" for {of}" if of else ""
    figures = {o.name: float(np.mean([q.on_test(p) for p in o.test[q.target.name]])) for o in (wrote, *others)}
    places = decimals([*figures.values()])
    said = []
    for other in sorted(others, key=lambda o: o.name != "blind"):
        pair = test(wrote, other)
        mine, its = (plain(figures[o.name], places) for o in (wrote, other))
        known = is_number(pair.low) and mine != its
        way = 0 if not known else 1 if pair.low > 0 else -1 if pair.high < 0 else 0
        gap = signed(pair.difference, places)
        if is_number(pair.low):
            gap += f" (95% interval {signed(pair.low, places)} to {signed(pair.high, places)})"
        if other.name == "blind":
            seen = ("It is not shown that seeing helped", "Seeing helped", "Seeing hurt")[way]
            said.append(
                f"{seen}{place}: {name} {mine} ({wrote.name}) against {its} (blind, the same words for every row) on "
                f"test, a difference of {gap}."
            )
        else:
            than = ("not told from", "better than", "worse than")[way]
            what = other.note if other.level == CONTENDER else "whose words are copied from training"
            said.append(f"{wrote.name} is {than} {other.name}{place}, {what}, {its}: {gap}.")
    return said


def drawing(q: Question, drew: Outcome, others: Sequence[Outcome], *, seed: int) -> list[str]:
    """Whether what `drew` beats what `others` take from training; nothing where nothing is drawn."""
    if not q.target.drawn:
        return []
    test, said = Tests(q, seed), []
    for other in others:
        pair = test(drew, other)
        figures = [float(np.mean([q.on_test(p) for p in o.test[q.target.name]])) for o in (drew, other)]
        places = decimals(figures)
        mine, its = (plain(figure, places) for figure in figures)
        word = "better than" if pair.low > 0 else "worse than" if pair.high < 0 else "not shown to be better than"
        ends = f", {signed(pair.low, places)} to {signed(pair.high, places)}" if is_number(pair.low) else ""
        what = usual(q) if other.level == "chance" else other.note or other.name
        better = "higher" if q.metric.greater_is_better else "lower"
        said.append(
            f"The drawn {q.target.noun}s ({drew.name}) are {word} {what}: {q.metric.name} {mine} against {its} on "
            f"test, {better} is better (by {signed(pair.difference, places)}{ends})."
        )
    return said


def counted(truth: np.ndarray, groups: np.ndarray | None, split: str) -> tuple[int, str]:
    """How many rows, or groups of them, an interval rests on, and the same in words."""
    known = labelled(truth)
    rows = int(known.sum())
    words = many(rows, f"{split} row")
    if groups is None:
        return rows, words
    units = len(np.unique(groups[known]))
    return units, words if units == rows else f"{words} in {many(units, 'group')}"


def scale_of(metric: Metric, chance: float | None) -> float:
    """What a difference is measured by: errors without a bound by those of chance."""
    bounded = metric.greater_is_better or np.isfinite(metric.bounds[1])
    return 1.0 if bounded or chance is None else chance


def usual(q: Question) -> str:
    """What chance says, in words."""
    return "guessing by the training frequencies" if q.metric.needs == "probabilities" else q.target.usual


@dataclass(frozen=True)
class _Words:
    """What is said of a comparison."""

    q: Question
    found: Verdict
    scores: Mapping[str, float]
    seeds: int

    def headline(self, of: str, *, beaten: bool) -> str:
        found, name = self.found, self.q.metric.name
        said = {n: self.score(n) for n in (found.fusion, found.single.name)}
        figures = (
            f"{name} {said[found.fusion]} ({found.fusion}) against {said[found.single.name]} ({found.single.name})"
        )
        place = f" for {of}" if of else ""
        if found.helped:
            return f"Fusing helped{place}: {figures} on test."
        if found.helped is False:
            return f"Fusing hurt{place}: {figures} on test."
        if beaten:
            return (
                f"Fusing beats every single modality{place}, but is not shown to beat {usual(self.q)}, which gives "
                f"{self.score('chance')}: {figures} on test."
            )
        units = counted(self.q.test, self.q.groups, "test")[0]
        missed = self.detectable()
        if units < FEW or missed is None or missed > COARSE * scale_of(self.q.metric, self.scores.get("chance")):
            return f"{self.basis()} cannot tell whether fusing helps{place}: {figures}."
        return f"Fusing made no difference that this test can show{place}: {figures}."

    def sentences(self, tests: Sequence[Against], likeness: Sequence[str]) -> list[str]:
        said = [*self.paired(), *self.against_concat(), *self.against_chance(), *self.others(tests)]
        return [*said, *likeness, *self.power()]

    def paired(self) -> list[str]:
        p = self.found.single.pair.p
        chance = f", p = {p:.2g}" if is_number(p) else ""
        pair = self.span(self.found.single.pair, "95% interval ", chance)
        by = "difference" if self.q.metric.greater_is_better else "lower by"
        return [f"Paired over the same test rows{' and seeds' if self.seeds > 1 else ''}: {by} {pair}."]

    def against_concat(self) -> list[str]:
        found = self.found
        if found.concat is None:
            return []
        pair = found.concat.pair
        word = "better than" if pair.low > 0 else "worse than" if pair.high < 0 else "not distinguishable from"
        step = "" if self.q.metric.greater_is_better else "lower by "
        way = next((way for way in WAYS if found.concat.name == f"concat{TRAINED[way]}"), None)
        alike = f", {WAYS[way]} too" if way else ""
        return [f"{found.fusion} is {word} plain concatenation{alike}: {step}{self.span(pair)}."]

    def together(self, before: Against) -> str:
        """What it added to train encoders with the answer."""
        pair = before.pair
        word = "better than" if pair.low > 0 else "worse than" if pair.high < 0 else "not distinguishable from"
        return (
            f"{self.found.fusion} is {word} {before.name}, on {self.q.held} rows the best fusion of encoders that were "
            f"trained before the answer: {self.span(pair)}."
        )

    def unlike(self, fusion: Outcome, single: Outcome, splits: tuple[Tests, Tests]) -> list[str]:
        """That the fusion and the single modality both do far worse on test than where they were chosen, if they do."""
        ends = [[split.interval(one, UNLIKE) for split in splits] for one in (fusion, single)]
        more = self.q.metric.greater_is_better
        if not all(chosen.low > test.high if more else chosen.high < test.low for chosen, test in ends):
            return []
        chosen, test = (self.number(interval.mean) for interval in ends[0])
        return [
            f"{fusion.name} has {chosen} on {self.q.held} rows and {test} on test, more than chance makes differ: the "
            "test rows are unlike the others (another time or place, other people), or what a modality holds was made "
            "with the others' labels. Then rows like the others tell little of what is best for rows like these."
        ]

    def others(self, tests: Sequence[Against]) -> list[str]:
        """The opponents that validation could as well have picked."""
        if len(tests) < 2:
            return []
        rows = counted(self.q.valid, self.q.valid_groups, self.q.held)[1]
        rest = [t for t in tests if t is not self.found.single]
        each = ", ".join(f"against {t.name} {self.span(t.pair)}" for t in rest)
        names = ", ".join(t.name for t in tests)
        return [
            f"{rows} cannot tell which single modality is best of {names}, so the fusion has to beat each of them: "
            f"above is the hardest, {self.found.single.name}; {each}."
        ]

    def against_chance(self) -> list[str]:
        found, q = self.found, self.q
        if found.chance is None:
            return []
        pair = found.chance.pair
        word = "is better" if pair.low > 0 else "is worse" if pair.high < 0 else "cannot be told from it"
        words = usual(q)
        told = f"{words[0].upper()}{words[1:]} gives {self.score('chance')}: {found.fusion} {word}, {self.span(pair)}."
        single, chance = (q.metric.turned(self.scores[n]) for n in (found.single.name, "chance"))
        if single <= chance:
            told += f" {found.single.name} is no better than that itself, so to beat it proves little."
        return [told]

    def power(self) -> list[str]:
        missed = self.detectable()
        if self.found.helped is not None or missed is None:
            return []
        return [f"With {self.basis()}, a difference of {self.number(missed)} would have been found four times in five."]

    def basis(self) -> str:
        """What the interval rests on: rows, and seeds, which are few too."""
        rows = counted(self.q.test, self.q.groups, "test")[1]
        return f"{rows} and {self.seeds} seeds" if self.seeds > 1 else rows

    def detectable(self) -> float | None:
        """The true difference that this test would have found with a probability of 80 %."""
        pair = self.found.single.pair
        width = pair.high - pair.low
        return POWER * width / 2 if math.isfinite(width) and width > 0 else None

    def score(self, name: str) -> str:
        return self.number(self.scores[name])

    def number(self, value: float) -> str:
        return plain(value, self.places())

    def span(self, pair: Paired, word: str = "", more: str = "") -> str:
        if not is_number(pair.low):
            return f"{signed(pair.difference, self.places())} (no interval: too few rows)"
        ends = f"{signed(pair.low, self.places())} to {signed(pair.high, self.places())}"
        return f"{signed(pair.difference, self.places())} ({word}{ends}{more})"

    def places(self) -> int:
        return decimals([self.scores[self.found.fusion], self.scores[self.found.single.name]])


def _least(test: Against) -> tuple[float, float]:
    low = test.pair.low
    return (low if math.isfinite(low) else -math.inf, test.pair.difference)
