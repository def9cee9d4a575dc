"""Rows in order within groups, from a table to a page: planted tastes, films that training lacks."""

import csv
from pathlib import Path

import numpy as np
import pytest
from planted_films import write_films

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.experiment.plan import plan

QUICK = {"preset": "fast", "workers": 0, "trackers": "none", "dim": 16, "noise": False}


def fitted(folder: Path, **options):
    paths = write_films(folder, shuffled=options.pop("shuffled", False))
    given = {**QUICK, "rank": "user_id", "store": str(folder / "store"), **options}
    others = {"valid": paths["valid"], "test": paths["test"]}
    return pm.fit(paths["train"], "liked", **others, out=folder / "run", quiet=True, **given), paths


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("films"))


def board(run):
    return {row["strategy"]: row for row in run.leaderboard}


def test_the_order_is_judged_and_each_users_taste_is_found(films):
    rows = board(films[0])
    taste = rows["taste(by=user_id)"]
    assert taste["metric"] == "group_auc"
    assert taste["test_mean"] > 0.8
    assert taste["test_mean"] > rows["concat"]["test_mean"] + 0.1
    assert rows["user_id alone"]["test_mean"] == 0.5  # who it is puts no film before another


def test_baselines_cannot_know_new_films(films):
    rows = board(films[0])
    for name in ("popularity", "factorised"):
        assert rows[name]["level"] == "baseline"
        assert rows[name]["test_mean"] == 0.5
        assert rows[name]["ndcg@10_test"] == pytest.approx(rows["chance"]["ndcg@10_test"])
    assert rows["factorised"]["auroc_test"] > rows["popularity"]["auroc_test"]


def test_the_report_says_what_is_judged(films):
    run, _ = films
    page = run.report.read_text(encoding="utf-8")
    assert "The order within user_id" in page
    assert "100% of the test rows have a film_id that training lacks" in page
    row = board(run)["popularity"]
    assert row["ndcg@10_test_low"] < row["ndcg@10_test"] < row["ndcg@10_test_high"]


def test_answers_have_a_rank_within_each_user(films):
    run, paths = films
    said = run.predict(paths["test"])
    users, score, rank = (np.array(said[name]) for name in ("user_id", "liked_score", "liked_rank"))
    for user in set(users):
        mine = np.flatnonzero(users == user)
        assert sorted(rank[mine]) == list(range(1, len(mine) + 1))
        assert np.all(np.diff(score[mine][np.argsort(rank[mine])]) <= 0)
    first = run.predict(paths["test"], top=2)
    assert first["liked_rank"][:2] == [1, 2]
    assert len(first["film_id"]) == sum(min(2, int((users == user).sum())) for user in set(users))
    assert first["user_id"] == sorted(first["user_id"], key=list(dict.fromkeys(said["user_id"])).index)


def test_the_order_of_the_rows_and_what_is_asked_beside_change_no_rank(films):
    run, paths = films
    with paths["test"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    there = {(r["user_id"], r["film_id"]): place for r, place in zip(rows, run.predict(rows)["liked_rank"])}
    back = rows[::-1]
    for row, place in zip(back, run.predict(back)["liked_rank"]):
        assert there[row["user_id"], row["film_id"]] == place


def test_ties_go_by_the_names_of_items_and_users_may_be_new_or_missing(films):
    run, _ = films
    rows = [{"user_id": "nobody", "film_id": name, "title": "a film of war"} for name in ("m9", "m10", "m8")]
    said = run.predict(rows)
    assert said["liked_rank"] == [3, 1, 2]
    alone = run.predict([{**rows[0], "user_id": None}])
    assert alone["liked_rank"] == [None]
    assert alone["liked_score"][0] == pytest.approx(said["liked_score"][0], abs=0.2)
    assert run.predict([rows[0]], top=5)["liked_rank"] == [1]


def test_the_bundle_says_the_same_when_it_is_opened(films):
    run, paths = films
    again = pm.load(run.folder)
    assert again.predict(paths["test"])["liked_rank"] == run.predict(paths["test"])["liked_rank"]
    assert again.score(paths["test"]) == pytest.approx(run.score(paths["test"]))
    assert again.score(paths["test"], metric="recall@3") < 1
    evaluation = again.evaluate(paths["test"], quiet=True)
    assert evaluation["score"]["low"] < evaluation["score"]["mean"] < evaluation["score"]["high"]


def test_a_table_without_users_is_refused_where_an_order_is_asked_for(films):
    run, _ = films
    with pytest.raises(BadData, match="no column 'user_id', within which rows are put in order"):
        run.predict([{"film_id": "m1", "title": "a film of war"}])


def test_shuffled_labels_are_answered_by_chance(tmp_path):
    """What the other rows of a user answered must not hold a row's own answer."""
    run, _ = fitted(tmp_path, shuffled=True)
    for name, row in board(run).items():
        assert abs(row["test_mean"] - 0.5) < 0.12, name
        assert abs(row["auroc_test"] - 0.5) < 0.12, name
    rows = board(run)
    assert abs(rows["taste(by=user_id)"]["valid"] - rows["chance"]["valid"]) < 0.1


# --- the plan -------------------------------------------------------------------------------------------------------


def made(folder: Path, **options):
    paths = write_films(folder)
    given = {"rank": "user_id", "pretrained": False, **options}
    return plan(paths["train"], "liked", valid=paths["valid"], test=paths["test"], **given)


def test_users_are_a_stream_and_new_films_stay_together(tmp_path):
    found = made(tmp_path)
    assert found.schema.fields["user_id"].kind == "entity"
    assert "film_id" not in found.schema.fields
    assert found.schema.rank.item == found.schema.group == "film_id"
    films = found.table.column("film_id")
    parts: dict[str, set[int]] = {}
    for row in np.flatnonzero(found.split == 0):
        parts.setdefault(films[row], set()).add(int(found.part[row]))
    assert all(len(each) == 1 for each in parts.values())
    assert "Put in order are values of film_id within user_id, by liked: 'yes' before 'no'" in found.text()
    assert len(set(found.groups())) == 40


def test_films_that_training_knows_are_a_stream(tmp_path):
    paths = write_films(tmp_path)
    found = plan(paths["train"], "liked", test=paths["train"].parent / "test.csv", rank="user_id", pretrained=False)
    assert found.schema.group == "film_id"
    with paths["train"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = plan(rows[::2], "liked", valid=rows[1::4], test=rows[3::4], rank={"by": "user_id", "item": "film_id"})
    assert known.schema.group is None
    assert known.schema.fields["film_id"].kind == "entity"


@pytest.mark.parametrize(
    ("rank", "error", "said"),
    [
        ("user", UnknownName, "Did you mean 'user_id'"),
        ({"by": "user_id", "item": "movie"}, UnknownName, "`item`"),
        ({"item": "film_id"}, BadArgument, "by: user_id"),
        ({"by": "user_id", "items": "film_id"}, BadArgument, "by: user_id"),
        ("liked", BadArgument, "which is the target"),
        ({"by": "user_id", "item": "user_id"}, BadArgument, "twice"),
    ],
)
def test_a_wrong_rank_is_named(tmp_path, rank, error, said):
    with pytest.raises(error, match=said):
        made(tmp_path, rank=rank)


def test_one_user_alone_gives_no_order_to_learn(tmp_path):
    rows = [{"user_id": 1, "film_id": i, "title": f"film {i} of war", "liked": "yn"[i % 2]} for i in range(60)]
    with pytest.raises(BadData, match="'1' in every training row"):
        plan(rows, "liked", rank="user_id")


def test_an_order_needs_what_is_worth_more_and_less():
    draw = np.random.default_rng(0)
    rows = [
        {"user_id": i % 9, "film_id": i % 13, "x": draw.random(), "mood": "abc"[draw.integers(3)], "stars": i % 7 / 2}
        for i in range(300)
    ]
    with pytest.raises(BadArgument, match=r"'mood' is 3 classes. Ask for two classes"):
        plan(rows, "mood", rank="user_id", schema={"ignore": ["stars"]})
    found = plan(rows, "stars", rank="user_id", schema={"ignore": ["mood"], "target": {"stars": "number"}})
    assert found.metrics["stars"][0] == "ndcg@10"
    graded = {"ignore": ["stars"], "target": {"mood": {"kind": "ordinal", "order": ["a", "b", "c"]}}}
    assert plan(rows, rank="user_id", schema=graded).metrics["mood"][0] == "group_auc"


def test_metrics_of_an_order_need_one(tmp_path):
    with pytest.raises(BadArgument, match="--rank-by"):
        made(tmp_path, rank=None, metric="ndcg@5")
    assert made(tmp_path, metric=["recall@5", "auroc"]).metrics["liked"] == ["recall@5", "auroc"]


def test_top_needs_an_order(tmp_path):
    from polymodal.inference.ordered import first_of

    with pytest.raises(BadArgument, match="1 at least"):
        first_of({"rank": [1], "user": ["a"]}, "rank", "user", 0)
