"""The comparison chooses by validation, measures on test, and says the truth in words."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from polymodal.experiment.compare import COLUMNS, compare, ensemble, write_leaderboard
from polymodal.experiment.outcome import Outcome, Question, chance, valid_scores
from polymodal.models.strategy import Strategy
from polymodal.targets.classes import ClassesTarget

TARGET = ClassesTarget("label", ("a", "b"), frequencies=(0.5, 0.5))
RNG = np.random.default_rng(0)
TRUTH = {split: RNG.integers(0, 2, 400) for split in ("valid", "test")}
QUESTION = Question(TARGET, TRUTH["valid"], TRUTH["test"])


def answers(accuracy: float, truth: np.ndarray, seed: int, seeds: int = 3) -> np.ndarray:
    """Probabilities [S, N, 2] that are right in that share of the rows."""
    rng = np.random.default_rng(seed)
    right = rng.random((seeds, len(truth))) < accuracy
    label = np.where(right, truth, 1 - truth)
    return np.where(np.eye(2, dtype=bool)[label], 0.8, 0.2)


def outcome(name: str, accuracy: float, *, test: float | None = None, ms: float = 1.0, seed: int = 0) -> Outcome:
    single = name == "x alone"
    return Outcome(
        Strategy("single", "late_mean", ("x",)) if single else Strategy("fusion", "concat", ("x", "y"), name),
        {"label": answers(accuracy, TRUTH["valid"], seed)},
        {"label": answers(test or accuracy, TRUTH["test"], seed + 50)},
        predict_ms=ms,
    )


def judged(*outcomes: Outcome, **options):
    return compare([*outcomes, chance([QUESTION], 3)], [QUESTION], **options)


def test_a_better_fusion_is_chosen_and_said_to_help():
    found = judged(
        outcome("x alone", 0.7),
        outcome("concat", 0.85, seed=1),
        outcome("gated", 0.92, seed=2),
    )
    assert (found.chosen, found.fusion, found.single) == ("gated", "gated", "x alone")
    assert found.helped is True
    assert found.headline.startswith("Fusing helped: accuracy")
    assert found.verdict.single.pair.low > 0
    assert "better than plain concatenation" in found.sentences[1]


def test_a_fusion_that_does_not_help_is_said_not_to():
    found = judged(outcome("x alone", 0.8), outcome("concat", 0.8, seed=1))
    assert found.helped is None
    assert "no difference" in found.headline


def test_a_fusion_that_hurts_is_said_to_and_the_single_modality_is_deployed():
    found = judged(outcome("x alone", 0.9), outcome("concat", 0.7, seed=1))
    assert found.helped is False
    assert found.headline.startswith("Fusing hurt")
    assert found.chosen == "x alone"
    assert any("what this run deploys" in s for s in found.sentences)


def test_test_scores_never_decide():
    found = judged(
        outcome("x alone", 0.6),
        outcome("concat", 0.9, test=0.7, seed=1),
        outcome("gated", 0.7, test=0.99, seed=2),
    )
    assert found.chosen == "concat"


def test_validation_that_flatters_is_called_out():
    found = judged(outcome("x alone", 0.99, test=0.7), outcome("concat", 0.995, test=0.72, seed=1))
    assert any("Do not trust the choice" in s for s in found.sentences)


def test_the_budget_rules_out_slow_strategies():
    found = judged(
        outcome("x alone", 0.6),
        outcome("concat", 0.8, seed=1),
        outcome("gated", 0.95, ms=50.0, seed=2),
        budget_ms=10.0,
    )
    assert found.chosen == "concat"
    assert any("within 10 ms" in s for s in found.sentences)


def test_rows_of_one_group_do_not_find_the_weights_by_which_they_are_answered():
    """Members that know nothing, but answer the rows of a group alike: the best on some of them is so on the rest."""
    draw, by_rows, by_groups = np.random.default_rng(0), [], []
    for _ in range(5):
        groups, truth = np.repeat(np.arange(10), 10), np.repeat(draw.integers(0, 2, 10), 10)
        said = np.repeat(draw.random((12, 10)), 10, axis=1)
        members = [
            Outcome(Strategy("fusion", f"{i}", ("x",)), *[{"label": np.stack([1 - one, one], 1)[None]}] * 2)
            for i, one in enumerate(said)
        ]
        plain, tied = (Question(TARGET, truth, truth, valid_groups=one) for one in (None, groups))
        by_rows.append(valid_scores(ensemble(members, plain), [plain]))
        by_groups.append(valid_scores(ensemble(members, tied), [tied]))
    assert np.mean(by_rows) > 0.8
    assert np.mean(by_groups) < 0.7
    single = replace(tied, valid_groups=np.zeros(100, int))
    assert np.isfinite(valid_scores(ensemble(members, single), [single])).all()


def test_an_ensemble_of_different_errors_wins_and_is_scored_out_of_sample():
    members = [outcome(f"m{i}", 0.75, seed=10 * i + 1) for i in range(5)]
    blend = ensemble(members, QUESTION)
    noise = [replace(m, valid={"label": answers(0.5, TRUTH["valid"], 900 + i)}) for i, m in enumerate(members)]
    fitted = ensemble(noise, QUESTION)
    inside = [
        QUESTION.metric(TRUTH["valid"], sum(w.get(m.name, 0.0) * m.valid["label"][s] for m in noise))
        for s, w in enumerate(fitted.weights)
    ]
    assert valid_scores(fitted, [QUESTION]).mean() < np.mean(inside) - 0.01, "weights fitted on the rows would flatter"
    found = judged(outcome("x alone", 0.7), *members, blend)
    assert found.chosen == "ensemble"
    assert sum(blend.weights[0].values()) == pytest.approx(1)


def test_chance_predicts_the_training_frequencies():
    row = next(
        r for r in judged(outcome("x alone", 0.7), outcome("concat", 0.8, seed=1)).rows if r["strategy"] == "chance"
    )
    assert row["test_mean"] == pytest.approx((TRUTH["test"] == 0).mean())


def test_smaller_is_better_metrics_are_turned():
    from polymodal.evaluation.statistics import Paired
    from polymodal.experiment.outcome import oriented
    from polymodal.metrics import METRICS

    better = oriented(Paired(-2.0, -3.0, -1.0, 0.01), METRICS.build("rmse"))
    assert (better.difference, better.low, better.high) == (2.0, 1.0, 3.0)
    assert replace(better) == better


def test_a_row_tells_its_parts_in_columns_of_their_own():
    plain = outcome("gated", 0.8, seed=1)
    tuned = replace(plain.strategy, objective=["ogm", "unimodal"], align="infonce", adapters=True, encoders="finetuned")
    rows = {r["strategy"]: r for r in judged(outcome("x alone", 0.7), plain, replace(plain, strategy=tuned)).rows}
    words = ("level", "fusion", "objective", "aligner", "encoders")
    told = {name: tuple(row[word] for word in words) for name, row in rows.items()}
    assert told == {
        "gated": ("feature", "gated", "", "", "apart"),
        "gated + infonce + ogm + unimodal fine-tuned": ("feature", "gated", "ogm + unimodal", "infonce", "finetuned"),
        "x alone": ("single", "", "", "", "apart"),
        "chance": ("chance", "", "", "", "apart"),
    }


def test_the_leaderboard_has_the_promised_columns(tmp_path):
    found = judged(outcome("x alone", 0.7), outcome("concat", 0.8, seed=1))
    write_leaderboard(found.rows, tmp_path / "leaderboard.csv")
    with open(tmp_path / "leaderboard.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [r["strategy"] for r in rows] == ["concat", "x alone", "chance"]
    assert all(float(r["test_low"]) <= float(r["test_mean"]) <= float(r["test_high"]) for r in rows)
