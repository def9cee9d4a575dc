"""A verdict rests on fair opponents, like with like, and says what its test could not have seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polymodal.experiment.compare import compare
from polymodal.experiment.finalize import deployed
from polymodal.experiment.outcome import Outcome, Question, chance
from polymodal.metrics import METRICS
from polymodal.metrics.base import Metric
from polymodal.models.strategy import Strategy
from polymodal.report.sections.summary import key_figures, leaderboard
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.number import NumberTarget
from polymodal.targets.picture import PictureTarget
from polymodal.targets.text import TextTarget

HALF = ClassesTarget("label", ("a", "b"), frequencies=(0.5, 0.5))
RARE = ClassesTarget("label", ("died", "lived"), frequencies=(0.15, 0.85))


def truth(rows: int, share: float = 0.5) -> np.ndarray:
    """Class numbers of which that share is 1, spread evenly."""
    return (np.arange(rows) * 0.6180339887 % 1 < share).astype(int)


def said(truth: np.ndarray, wrong: range | list[int], seeds: int = 1) -> np.ndarray:
    """Probabilities [S, N, 2] that are wrong in the rows named."""
    label = truth.copy()
    label[list(wrong)] = 1 - label[list(wrong)]
    return np.stack([np.where(np.eye(2, dtype=bool)[label], 0.8, 0.2)] * seeds)


def outcome(
    name: str, valid: np.ndarray, test: np.ndarray, *, encoders: str = "apart", target: str = "label"
) -> Outcome:
    stream = name.removesuffix(" alone")
    single = Strategy("single", "late_mean", (stream,), encoders=encoders)
    strategy = single if stream != name else Strategy("fusion", name, ("x", "y"), name, encoders=encoders)
    return Outcome(strategy, {target: valid}, {target: test})


def judged(q: Question, *outcomes: Outcome, **options):
    return compare([*outcomes, chance([q], outcomes[0].seeds)], [q], **options)


# --- fair opponents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "unlike"), [(150, True), (15, False)])
def test_test_rows_unlike_those_of_choice_are_pointed_at(wrong, unlike):
    """One modality's labels leaked into training and validation rows; by chance alone nothing is said."""
    valid, test = truth(400), truth(600)
    q = Question(HALF, valid, test, held="out-of-fold")
    single = outcome("text alone", said(valid, range(8)), said(test, range(wrong)))
    fusion = outcome("concat", said(valid, range(4)), said(test, range(wrong - 5)))
    sentences = judged(q, single, fusion).verdict.sentences
    told = [s for s in sentences if "unlike the others" in s]
    assert bool(told) == unlike
    assert not unlike or told[0].startswith("concat has 0.990 on out-of-fold rows and 0.758 on test")


def test_fusing_must_beat_every_single_modality_that_validation_cannot_tell_from_the_best():
    valid, test = truth(207), truth(690)
    q = Question(HALF, valid, test)
    picked = outcome("audio alone", said(valid, range(60)), said(test, range(300)))
    passed_over = outcome("text alone", said(valid, range(100, 161)), said(test, range(300, 480)))  # by one in 207
    fusion = outcome("concat", said(valid, range(40)), said(test, range(480, 645)))
    found = judged(q, picked, passed_over, fusion)
    assert found.single == "audio alone"
    assert found.verdict.single.name == "text alone"  # the hardest
    assert found.helped is None
    assert "text alone" in found.headline
    assert any("207 validation rows cannot tell which single modality is best" in s for s in found.sentences)
    far = outcome("text alone", said(valid, range(150)), said(test, range(300, 480)))
    alone = judged(q, picked, far, fusion)  # validation can tell, so it is out of the race
    assert alone.verdict.single.name == "audio alone"
    assert alone.helped is True
    assert not any("which single modality" in s for s in alone.sentences)


def test_validation_rows_of_one_group_count_as_one():
    valid, test = truth(200), truth(400)
    groups = np.arange(200) // 50
    picked = outcome("audio alone", said(valid, range(20)), said(test, range(100)))
    other = outcome("text alone", said(valid, range(50, 95)), said(test, range(100, 150)))
    fusion = outcome("concat", said(valid, range(10)), said(test, range(150, 180)))
    apart = judged(Question(HALF, valid, test), picked, other, fusion)
    assert not any("which single modality" in s for s in apart.sentences)
    tied = judged(Question(HALF, valid, test, valid_groups=groups), picked, other, fusion)
    assert any("200 validation rows in 4 groups cannot tell which single" in s for s in tied.sentences)


def test_beating_a_single_modality_below_the_majority_is_not_called_help():
    valid, test = truth(600, 0.85), truth(4000, 0.85)
    q = Question(RARE, valid, test)
    labs = outcome("labs alone", said(valid, range(110)), said(test, range(0, 1400, 2)))
    fusion = outcome("concat", said(valid, range(80)), said(test, range(0, 1180, 2)))
    found = judged(q, labs, fusion)
    assert found.helped is None
    assert found.headline.startswith("Fusing beats every single modality, but is not shown to beat the majority answer")
    assert any("no better than that itself" in s for s in found.sentences)
    better = judged(q, labs, outcome("concat", said(valid, range(40)), said(test, range(0, 800, 2))))
    assert better.helped is True
    told = next(s for s in better.sentences if s.startswith("The majority answer gives 0.85"))
    assert "is better" in told
    assert "proves little" in told


def test_hurting_survives_that_there_are_several_opponents():
    valid, test = truth(100), truth(1000)
    singles = [outcome(f"{n} alone", said(valid, range(20)), said(test, range(100 + i))) for i, n in enumerate("abc")]
    found = judged(
        Question(HALF, valid, test), *singles, outcome("concat", said(valid, range(19)), said(test, range(300)))
    )
    assert found.helped is False
    assert found.headline.startswith("Fusing hurt")


class Likeness(Metric):
    """A correlation, undefined where everything is the same."""

    needs, truths, name = "values", ("number",), "likeness"

    def weighted(self, truth, prediction, weights):
        share = weights / weights.sum(0)
        x, y = truth[:, None] - truth @ share, prediction[:, None] - prediction @ share
        spread = (share * x * x).sum(0) * (share * y * y).sum(0)
        return np.where(np.ptp(prediction) > 0, (share * x * y).sum(0), np.nan) / np.sqrt(
            np.where(spread > 0, spread, 1)
        )


def test_a_metric_that_a_constant_answer_has_not_needs_no_chance():
    y = np.linspace(0, 1, 300)
    q = Question(NumberTarget("price", location=0.5, scale=0.3), y, y, metrics=(Likeness(),))
    rng = np.random.default_rng(0)
    found = judged(q, *(outcome(n, y[None] + rng.normal(0, s, 300), y[None] + rng.normal(0, s, 300), target="price")
                        for n, s in (("x alone", 0.5), ("concat", 0.1))))  # fmt: skip
    assert found.helped is True
    assert found.verdict.chance is None
    assert "nan" not in " ".join(found.sentences)


# --- like with like ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tuning():
    valid, test = truth(500), truth(1000)
    rows = {"x alone": 250, "y alone": 400, "concat": 200, "gated": 190}
    plain = {n: outcome(n, said(valid, range(k // 2)), said(test, range(k))) for n, k in rows.items()}
    tuned = {
        n: outcome(n, said(valid, range(k // 4)), said(test, range(k // 2)), encoders="finetuned")
        for n, k in rows.items()
    }
    return Question(HALF, valid, test), plain, tuned


def test_a_fine_tuned_fusion_meets_fine_tuned_opponents(tuning):
    q, plain, tuned = tuning
    found = judged(q, *plain.values(), *(tuned[n] for n in ("x alone", "concat", "gated")))
    assert found.fusion == found.verdict.fusion == "gated fine-tuned"
    assert (found.verdict.single.name, found.verdict.concat.name) == ("x alone fine-tuned", "concat fine-tuned")
    assert any("plain concatenation, fine-tuned too" in s for s in found.sentences)
    assert "Both sides of every comparison are fine-tuned." in found.sentences


def test_where_an_opponent_was_not_fine_tuned_none_is(tuning):
    q, plain, tuned = tuning
    found = judged(q, *plain.values(), tuned["gated"])
    assert found.fusion == found.chosen == "gated fine-tuned"
    assert found.verdict.fusion == "gated"
    assert (found.verdict.single.name, found.verdict.concat.name) == ("x alone", "concat")
    assert any(s.endswith("since no x alone or concat is fine-tuned.") for s in found.sentences)
    assert found.verdict.concat.pair.difference == pytest.approx(0.01)


def test_concatenation_fine_tuned_is_not_compared_with_itself(tuning):
    q, plain, tuned = tuning
    found = judged(q, *(plain[n] for n in ("x alone", "concat")), tuned["x alone"], tuned["concat"])
    assert found.fusion == "concat fine-tuned"
    assert found.verdict.concat is None


def test_what_training_together_added_is_measured_by_the_best_other_fusion_answers_blended_too(tuning):
    q, plain, tuned = tuning
    blended = Strategy("decision", "product", ("x", "y"), "product")
    best = replace(plain["gated"], strategy=blended, valid={"label": said(q.valid, range(80))})
    found = judged(q, *plain.values(), best, *(tuned[n] for n in ("x alone", "concat", "gated")), deploy="best")
    assert any(
        s.startswith("gated fine-tuned is better than product, on validation rows the best fusion of encoders")
        for s in found.sentences
    )


def test_a_baseline_is_not_the_best_fusion_of_encoders_trained_before(tuning):
    q, plain, tuned = tuning
    copied = replace(plain["concat"], strategy=Strategy("answer", "consensus", ("x", "y")),
                     valid={"label": said(q.valid, [])})  # fmt: skip
    found = judged(q, *plain.values(), copied, *(tuned[n] for n in ("x alone", "concat", "gated")), deploy="best")
    told = [s for s in found.verdict.sentences if "best fusion of encoders" in s]
    assert told
    assert "gated, on validation rows the best fusion" in told[0]


@pytest.mark.parametrize(
    ("way", "words"), [("finetuned", "fine-tuned"), ("joint", "trained jointly with the encoders")]
)
def test_a_fusion_that_nothing_is_alike_to_says_so(tuning, way, words):
    q, plain, tuned = tuning
    alone = replace(tuned["gated"], strategy=replace(tuned["gated"].strategy, encoders=way))
    found = judged(q, plain["x alone"], plain["concat"], alone)
    assert f"{alone.name} is {words} and x alone, concat not: a part of the difference may be that." in found.sentences


def test_an_untuned_fusion_meets_untuned_opponents(tuning):
    q, plain, tuned = tuning
    weak = outcome("gated", plain["y alone"].valid["label"], plain["y alone"].test["label"], encoders="finetuned")
    found = judged(q, *plain.values(), weak, tuned["x alone"])
    assert found.verdict.fusion == "gated"
    assert found.verdict.single.name == "x alone"
    assert "On both sides encoders were trained before the answer." in found.sentences


# --- what a test cannot tell ------------------------------------------------------------------------------------------


def test_few_rows_cannot_tell_and_many_can():
    small, big = truth(13), truth(6000)
    few = judged(Question(HALF, big, small), outcome("x alone", said(big, range(1000)), said(small, range(4))),
                 outcome("concat", said(big, range(900)), said(small, range(3))))  # fmt: skip
    assert few.headline.startswith("13 test rows cannot tell whether fusing helps: accuracy 0.769 (concat)")
    told = next(s for s in few.sentences if s.startswith("With 13 test rows, a difference of "))
    assert 0.2 < float(told.split()[7]) < 0.6
    many = judged(Question(HALF, big, big), outcome("x alone", said(big, range(1000)), said(big, range(1000))),
                  outcome("concat", said(big, range(990)), said(big, range(500, 1495))))  # fmt: skip
    assert many.headline.startswith("Fusing made no difference that this test can show")
    assert any("four times in five" in s for s in many.sentences)


def test_rows_of_few_groups_are_few():
    rows = truth(400)
    q = Question(HALF, rows, rows, groups=np.arange(400) // 100)
    found = judged(q, outcome("x alone", said(rows, range(100)), said(rows, range(0, 400, 4))),
                   outcome("concat", said(rows, range(90)), said(rows, range(1, 380, 4))))  # fmt: skip
    assert found.headline.startswith("400 test rows in 4 groups cannot tell")


def test_a_single_test_row_gives_no_interval_and_no_dash_for_a_number():
    valid, one = truth(50), truth(1)
    found = judged(Question(HALF, valid, one), outcome("x alone", said(valid, range(9)), said(one, [0])),
                   outcome("concat", said(valid, range(3)), said(one, [])))  # fmt: skip
    assert found.helped is None
    assert found.headline.startswith("1 test row cannot tell")
    assert "no interval: too few rows" in found.sentences[0]
    assert "nan" not in " ".join([found.headline, *found.sentences]).lower()


# --- what few validation rows can choose ------------------------------------------------------------------------------


def sized(name: str, wrong: range, parameters: int, streams: tuple[str, ...] = ("x", "y"), rows: int = 54) -> Outcome:
    said_of = {"label": said(truth(rows), wrong)}
    single = Strategy("single", "late_mean", streams)
    strategy = single if len(streams) == 1 else Strategy("fusion", name, streams, name)
    return Outcome(strategy, said_of, said_of, parameters=parameters)


def few(*outcomes: Outcome, rows: int = 54, **options):
    return judged(Question(HALF, truth(rows), truth(rows)), *outcomes, **options)


def test_of_what_validation_cannot_tell_from_the_best_the_cheapest_is_deployed_and_said():
    big, small = sized("gated", range(5), 2000), sized("concat", range(10, 16), 1000)
    weak = sized("", range(20, 45), 10, ("x",))
    found = few(weak, big, small)
    assert found.chosen == found.fusion == "concat"
    told = next(s for s in found.sentences if "deploys" in s)
    assert told.startswith(
        "54 validation rows cannot tell concat from gated, the best on them, by more than one standard"
    )
    assert "deploys concat, on the same streams with the fewest parameters" in told
    assert "deploy=best" in told
    notes = {r["strategy"]: r["note"] for r in found.rows}
    assert [name for name, note in notes.items() if "within one standard error" in note] == ["gated", "concat"]
    assert few(weak, big, small, deploy="best").chosen == "gated"


def test_no_stream_is_dropped_because_few_rows_cannot_show_that_it_helps():
    one = sized("", range(8), 10, ("x",))
    found = few(one, sized("concat", range(20, 27), 1000))
    assert found.chosen == "concat"
    assert any(s.startswith("54 validation rows cannot tell x alone from concat") for s in found.sentences)
    assert few(one, sized("concat", range(20, 29), 1000)).chosen == "x alone", "the best score is its own"


def test_parameters_a_few_percent_apart_are_no_reason_and_the_score_decides():
    weak = sized("", range(20, 45), 10, ("x",))
    found = few(weak, sized("gated", range(5), 1090), sized("concat", range(10, 16), 1000))
    assert found.chosen == "gated"
    assert any(
        s.endswith("none of these on the same streams is cheaper, so this run deploys gated.") for s in found.sentences
    )


def copied(wrong: range, spec="consensus", rows: int = 54) -> Outcome:
    """A baseline's answers."""
    said_of = {"label": said(truth(rows), wrong)}
    return Outcome(Strategy("answer", spec, ("x", "y"), spec), said_of, said_of)


@pytest.mark.parametrize(
    ("wrong", "deployed", "told"),
    [
        (range(8), "consensus", "accuracy 0.852 against 0.833 of concat"),  # a row better: within the error
        (range(9), "consensus", "(accuracy 0.833 against 0.833 of concat), so it is what this run deploys"),
        (range(10), "concat", ""),
    ],
)
def test_a_copy_that_is_as_good_by_validation_is_deployed_and_said(wrong, deployed, told):
    weak, fusion = sized("", range(20, 45), 10, ("x",)), sized("concat", range(30, 39), 1000)
    found = few(weak, fusion, copied(wrong))
    assert found.chosen == deployed
    lines = [line for line in found.sentences if "nothing that is trained on the streams was better than" in line]
    assert len(lines) == (deployed == "consensus")
    assert told in "".join(lines)
    assert all("deploy=concat keeps that one instead." in line for line in lines)
    asked = few(weak, fusion, copied(wrong), deploy="concat")
    assert asked.chosen == "concat"
    assert any("as it was asked to, though on validation rows consensus was" in line for line in asked.sentences) == (
        deployed == "consensus"
    )


def test_economy_does_not_lead_below_a_copy():
    weak = sized("", range(20, 45), 10, ("x",))
    found = few(weak, sized("gated", range(5), 2000), sized("concat", range(10, 16), 1000), copied(range(6)))
    assert found.chosen == "gated"


def test_a_copy_must_be_as_good_on_every_target():
    weak, fusion, copy = sized("", range(20, 45), 10, ("x",)), sized("concat", range(9), 1000), copied(range(1))
    mood = ClassesTarget("mood", ("a", "b"), frequencies=(0.5, 0.5))
    questions = [Question(HALF, truth(54), truth(54)), Question(mood, truth(54), truth(54))]
    both = [
        replace(one, valid=answers, test=answers)
        for one, wrong in ((weak, range(20, 45)), (fusion, range(9)), (copy, range(20)))
        for answers in [{**one.valid, "mood": said(truth(54), wrong)}]
    ]
    assert compare([*both, chance(questions, 1)], questions).chosen == "concat"


def test_what_is_no_model_and_as_good_is_said():
    near = Outcome(Strategy("nearest", "nearest", ("x",)), *[{"label": said(truth(54), range(3))}] * 2, note="copies")
    weak, fusion = sized("", range(20, 45), 10, ("x",)), sized("concat", range(30, 39), 1000)
    found = few(weak, fusion, beside=[near])
    assert found.chosen == "concat"
    told = next(line for line in found.sentences if "nearest, copies" in line)
    assert "concat is not better than nearest, copies (accuracy 0.833 against 0.944 of nearest); that is no mo" in told


class Words(Metric):
    """The share of answers that are right, letter by letter."""

    needs, truths = "text", ("text",)

    def weighted(self, truth, prediction, weights):
        return ((prediction[:, None] == truth[:, None])[:, 0, None] * weights).sum(0) / weights.sum(0)


@pytest.mark.parametrize(
    ("right", "blind", "says"),
    [(0, 0, "It is not shown that seeing helped"), (40, 0, "Seeing helped"), (0, 40, "Seeing hurt")],
)
def test_seeing_helped_only_where_something_was_seen(right, blind, says):
    target = TextTarget("says", medoid="no")
    truths = np.array(["yes"] * 60)
    q = Question(target, truths, truths, metrics=(Words(),))

    def wrote(strategy: Strategy, count: int) -> Outcome:
        answers = {"says": np.array([["yes"] * count + ["no"] * (60 - count)])}
        return Outcome(strategy, answers, answers)

    found = compare(
        [
            wrote(Strategy("single", "late_mean", ("x",)), right),
            wrote(Strategy("answer", "blind", ("x",)), blind),
            wrote(Strategy("answer", "consensus", ("x",)), right),
            chance([q], 1),
        ],
        [q],
    )
    told = f"{right / 60:.3f} (x alone) against {blind / 60:.3f} (blind, the same words for every row) on test"
    assert found.headline.startswith(f"{says}: ")
    assert told in found.headline
    assert any(line.startswith("x alone is not told from consensus, whose words") for line in found.sentences)


def test_seeing_is_told_of_what_is_deployed():
    target = TextTarget("says", medoid="no")
    truths = np.array(["yes"] * 60)
    q = Question(target, truths, truths, metrics=(Words(),))

    def wrote(strategy: Strategy, count: int) -> Outcome:
        answers = {"says": np.array([["yes"] * count + ["no"] * (60 - count)])}
        return Outcome(strategy, answers, answers)

    outcomes = [
        wrote(Strategy("single", "late_mean", ("x",)), 50),
        wrote(Strategy("fusion", "concat", ("x", "y"), "concat"), 20),
        wrote(Strategy("answer", "blind", ("x",)), 0),
    ]
    for asked, words in (("concat", "0.333 (concat)"), ("blind", "0.833 (x alone)"), (None, "0.833 (x alone)")):
        found = compare([*outcomes, chance([q], 1)], [q], deploy=asked)
        assert any(f"{words} against 0.000 (blind" in line for line in (found.headline, *found.sentences))


def test_many_validation_rows_tell_what_few_cannot():
    def times(scale: int):
        made = [sized("gated", range(5 * scale), 2000, rows=54 * scale),
                sized("concat", range(6 * scale), 1000, rows=54 * scale)]  # fmt: skip
        return few(sized("", range(20 * scale), 10, ("x",), rows=54 * scale), *made, rows=54 * scale)

    assert [times(1).chosen, times(100).chosen] == ["concat", "gated"]
    assert not any("standard error" in s for s in times(100).sentences)


def test_a_worse_answer_to_one_of_several_targets_is_told_apart():
    rows = truth(400)
    questions = [Question(replace(HALF, name=n), rows, rows) for n in ("mood", "topic")]

    def both(name: str, mood: int, topic: int, parameters: int) -> Outcome:
        said_of = {"mood": said(rows, range(mood)), "topic": said(rows, range(topic))}
        family, streams = ("single", ("x",)) if name == "x alone" else ("fusion", ("x", "y"))
        return Outcome(Strategy(family, name, streams, name), said_of, said_of, parameters=parameters)

    big, weak = both("gated", 60, 60, 2000), both("x alone", 200, 200, 10)
    assert compare([weak, big, both("concat", 60, 61, 1000)], questions).chosen == "concat"
    assert compare([weak, big, both("concat", 20, 140, 1000)], questions).chosen == "gated"


# --- several targets, and one figure ----------------------------------------------------------------------------------


def test_with_several_targets_the_headline_names_its_own():
    rows = truth(1000)
    questions = [Question(replace(HALF, name=n), rows, rows) for n in ("mood", "topic")]

    def both(name: str, first: int, second: int) -> Outcome:
        one = outcome(name, said(rows, range(first)), said(rows, range(first)), target="mood")
        more = {"topic": said(rows, range(second))}
        return replace(one, valid={**one.valid, **more}, test={**one.test, **more})

    outcomes = [both("x alone", 300, 200), both("concat", 100, 210), chance(questions, 1)]
    found = compare(outcomes, questions)
    assert found.headline.startswith("Fusing helped for mood: accuracy 0.900")
    assert any("for topic: accuracy 0.790 (concat) against 0.800 (x alone)" in s for s in found.sentences)


def test_the_deployed_model_and_the_mean_of_seeds_are_told_apart():
    rows = truth(200)
    q = Question(HALF, rows, rows)
    p = np.concatenate([said(rows, range(k)) for k in (20, 30, 40)])
    found = judged(q, outcome("x alone", said(rows, range(90), 3), said(rows, range(90), 3)), outcome("concat", p, p))
    chosen = outcome("concat", p, p)
    told = deployed(q, chosen, 0, found.rows, {"mean": 0.9, "low": 0.85, "high": 0.94})
    assert told[0].startswith("The accuracy 0.850 of concat is the mean of 3 seeds. Deployed is the one of them")
    assert "seed 0, whose accuracy on test is 0.900 (0.850 to 0.940)" in told[0]
    once = replace(chosen, valid={"label": p[:1]}, test={"label": p[:1]})
    board = judged(q, outcome("x alone", said(rows, range(90)), said(rows, range(90))), once).rows
    assert deployed(q, once, 0, board, {"mean": 0.9, "low": 0.8, "high": 1.0}) == []
    assert "calibrated" in deployed(q, once, 0, board, {"mean": 0.88, "low": 0.8, "high": 1.0})[0]
    evaluation = {"target": "label", "kind": "classes", "primary": "accuracy", "chosen": "concat",
                  "leaderboard": found.rows, "score": {"mean": 0.9, "low": 0.85, "high": 0.94},
                  "usual": "the majority answer"}  # fmt: skip
    figures = {f["label"]: f for f in key_figures(evaluation)}
    assert figures["accuracy on test"]["detail"] == "concat, mean of 3 seeds"
    assert figures["accuracy by chance"]["detail"] == "the majority answer"
    assert figures["accuracy"]["value"] == "0.900"
    by_folds = {**evaluation, "refitted": {"train": 100, "valid": 20}}  # three models that answer together
    figures = {f["label"]: f for f in key_figures(by_folds)}
    assert figures["accuracy on test"]["detail"] == "concat, 3 models together"
    assert "accuracy" not in figures  # the row above is the deployed model's
    assert figures["strategies compared"]["interval"] == "3 models each"
    assert ("Models", True) in leaderboard(by_folds)["table"]["head"]
    assert ("Seeds", True) in leaderboard(evaluation)["table"]["head"]


def test_a_number_is_told_in_its_unit_beside_r2():
    rng = np.random.default_rng(0)
    target = NumberTarget("price", location=500.0, scale=100.0, unit_written="€")
    y = rng.normal(500, 100, 400)
    q = Question(target, y, y, metrics=tuple(METRICS.build(m) for m in target.metrics[: target.shown]))
    assert [m.name for m in q.metrics] == ["r2", "mae", "rmse"]
    found = judged(q, *(
        outcome(n, (y + rng.normal(0, s, 400))[None], (y + rng.normal(0, s, 400))[None], target="price")
        for n, s in (("x alone", 80), ("concat", 40))
    ))  # fmt: skip
    assert found.helped is True
    assert any(s.startswith("The training mean gives ") for s in found.sentences)
    assert found.rows[0]["mae_test"] == pytest.approx(32, rel=0.2)
    evaluation = {"target": "price", "kind": "number", "primary": "r2", "chosen": "concat", "leaderboard": found.rows,
                  "further": {"mae": {"mean": 31.9, "low": 29.0, "high": 35.0}}, "unit": "€"}  # fmt: skip
    assert next(f for f in key_figures(evaluation) if f["label"] == "MAE")["value"] == "31.90\u00a0€"


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "word"), [(60, "worse than"), (2, "better than")])
def test_whether_drawings_beat_what_training_holds_is_said(noise, word):
    rng = np.random.default_rng(0)
    target = PictureTarget("label", channels=1, mean=(90,) * 16, size=4)
    true = rng.integers(40, 160, (60, 4, 4, 1)).astype(np.uint8)
    q = Question(target, true, true, None, (METRICS.build("energy"),))

    def drawn(name: str, spread: float) -> Outcome:
        off = rng.normal(0, spread, (60, 2, 4, 4, 1))
        each = (true[:, None] + off).clip(0, 255).astype(np.uint8)[None]
        strategy = (
            Strategy("nearest", "nearest", ("x",)) if name == "nearest" else Strategy("single", "late_mean", ("x",))
        )
        return Outcome(strategy, {"label": each}, {"label": each}, note="what is alike")

    found = compare([drawn("x", noise), chance([q], 1)], [q], beside=[drawn("nearest", 20)])
    lines = [line for line in (found.headline, *found.sentences) if line.startswith("The drawn pictures (x alone)")]
    assert len(lines) == 2
    assert lines[0].startswith(f"The drawn pictures (x alone) are {word} what is alike: energy ")
    assert "the mean picture: energy" in lines[1]
