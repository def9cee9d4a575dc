"""Application recipes: every one is whole, makes its sample, fits its schema; figures, copies, commands and faults."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from small_table import QUICK

import polymodal as pm
from polymodal import cli
from polymodal.alignment.plan import plan_align
from polymodal.core.errors import BadArgument, BadData, MissingExtra, UnknownName
from polymodal.data.tables.source import read_table
from polymodal.metrics.build import target_metrics
from polymodal.recipes.makers import MAKERS
from polymodal.recipes.recipe import DOES, FILES, SHIPPED, Recipe, copied, listed, markdown, names
from polymodal.recipes.run import ONE, VERDICTS, Done, check_folder, run_recipe
from polymodal.recipes.sample import STAMP, write_sample

NAMES = names()
SETS = {"flickr_captions": "flickr", "flickr_search": "flickr"}  # recipes whose real data bear another name
FITTED = ("home_sensors", "banking", "skin")  # kinds, streams and verdicts that differ; the others are planned
WORDS = {*VERDICTS.values(), ONE}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The sample of a recipe by name, written once."""
    root = tmp_path_factory.mktemp("samples")

    def write(name: str) -> tuple[Recipe, Path]:
        recipe = Recipe.open(name)
        for extra in recipe.needs:
            pytest.importorskip({"video": "av"}[extra])
        return recipe, write_sample(recipe.sample, root / name)

    return write


# --- every recipe ---------------------------------------------------------------------------------------------------


def test_the_applications_of_the_plan_are_there():
    assert {
        "home_sensors", "home_commands", "voice_commands", "icu", "skin", "radiology", "banking", "airline", "dialogue",
        "touch", "gold", "movies", "pages", "voice_emotion", "mosi", "avspeech", "flickr_captions", "flickr_search",
        "flickr_zh", "waimai",
    } <= set(NAMES)  # fmt: skip
    assert [row["name"] for row in listed()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_fits_its_recipe_and_is_planned(name, sample):
    recipe, folder = sample(name)
    tables = check_folder(recipe, folder)
    ours = {**recipe.config, **(recipe.sample.get("config") or {})}
    given = {"valid": tables["valid"], "test": tables["test"], "schema": str(recipe.schema)}
    if recipe.command == "align":
        plan = plan_align(tables["train"], recipe.over, config=ours, **given)
    else:
        plan = pm.plan(tables["train"], config={"preset": "fast", **ours}, **given)
        target = plan.targets[0]
        judged = [metric.name for metric in target_metrics(plan.metrics.get(target.name, ()), target)]
        metric = recipe.figures["sample"].get("metric", recipe.figures["metric"])
        assert metric in judged
        assert ours.get("metric", metric) == metric
    assert not [note for note in plan.notes if "look ahead" in note or "no column" in note]
    for part in ("train", "valid", "test"):
        assert len(read_table(tables[part])) == recipe.sample["rows"][part]


@pytest.mark.parametrize("name", ["icu", "movies", "pages", "radiology"])  # arrays, pictures, edges, volumes
def test_a_sample_is_the_same_bytes_again(name, sample, tmp_path):
    recipe, folder = sample(name)
    again = write_sample(recipe.sample, tmp_path / "again")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((folder / file).read_bytes() == (again / file).read_bytes() for file in files)


@pytest.mark.parametrize("name", NAMES)
def test_no_group_of_a_sample_is_in_two_parts(name, sample):
    recipe, folder = sample(name)
    group = next(
        (line.split()[1] for line in recipe.schema.read_text().splitlines() if line.startswith("group:")), None
    )
    if group is not None:
        parts = [set(read_table(folder / f"{part}.csv").column(group)) for part in ("train", "valid", "test")]
        assert all(parts)
        assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]


@pytest.mark.parametrize("name", NAMES)
def test_figures_say_where_they_come_from(name):
    figures = Recipe.open(name).figures
    assert figures["sample"]["low"] < figures["sample"]["high"]
    real = figures.get("real")
    if real is None:
        assert re.search(r"not measured|Nothing real was measured", Recipe.open(name).readme)
        return
    assert real["low"] <= real["mean"] <= real["high"]
    assert {"command", "date", "by_hand"} <= set(real)
    verdicts = real["verdict"] if isinstance(real.get("verdict"), list) else [real.get("verdict")]
    assert set(verdicts) <= (WORDS if Recipe.open(name).command == "fit" else {None})


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_tells_a_practitioner_what_to_know_and_its_commands_exist(name):
    recipe = Recipe.open(name)
    for part in (
        "**Question.**",
        "**Data.**",
        "**Split",
        "**What the report says.**",
        "**In production**",
        "**Make it",
    ):
        assert part in recipe.readme, part
    assert "CHANGE" in recipe.schema.read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", recipe.readme, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    assert ["polymodal", "recipe", "run", name] in lines
    for words in lines:
        assert words[0] == "polymodal"
        command, context = typer.main.get_command(cli.app), None
        while hasattr(command, "commands"):
            context = typer.Context(command, parent=context)
            words = words[1:]
            assert words[0] in command.commands, f"{name}: no command {words[0]!r}"
            command = command.commands[words[0]]
        command.make_parser(typer.Context(command)).parse_args(args=words[1:])  # raises for an option that is not there
        assert words[1] == name


@pytest.mark.parametrize("name", [name for name in NAMES if Recipe.open(name).figures.get("real")])
def test_the_real_data_are_laid_out_as_the_recipe_says(name, real_data):
    check_folder(Recipe.open(name), real_data(SETS.get(name, name)))


def test_the_page_shows_the_figures_of_the_recipes():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert markdown() in page, "polymodal recipe list --markdown"


# --- run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A recipe that ran on its sample, by name."""
    root, done = tmp_path_factory.mktemp("runs"), {}

    def run(name: str) -> Done:
        if name not in done:
            done[name] = run_recipe(
                Recipe.open(name), out=root / name, quiet=True, workers=0, trackers="none", store=str(root / "store")
            )
        return done[name]

    return run


@pytest.mark.parametrize("name", FITTED)
def test_a_sample_gives_the_figure_that_is_expected(name, fitted):
    done = fitted(name)
    assert done.made_up
    assert done.as_expected, done.text()
    assert "made-up data" in done.text()
    assert "as expected" in done.text()
    assert done.run.report.is_file()


def test_what_is_planted_is_found(fitted):
    assert fitted("home_sensors").verdict in ("loss", "unproven")  # light alone knows it, the others are unsure
    assert fitted("banking").verdict == "one stream"
    skin = fitted("skin").run
    board = {row["strategy"]: row["test_mean"] for row in skin.leaderboard}
    assert board[skin.metrics["chosen"]] > board["image alone"] - 0.02
    assert min(board["image alone"], board["record alone"]) > 2 * board["chance"]


def test_a_figure_that_is_not_as_expected_is_said(fitted):
    done = fitted("banking")
    far = Done(done.run, done.recipe, True, done.metric, 0.1, 0.05, 0.2, "gain")
    assert far.as_expected is False
    assert "NOT as expected" in far.text()
    assert "expected: one stream" not in far.text()  # that is said of the real data alone
    real = Done(done.run, done.recipe, False, done.metric, 0.91, 0.90, 0.92, "gain")
    assert real.as_expected is True
    assert "by hand    .915" in real.text()
    assert "; expected: one stream" in real.text()


def test_a_copy_runs_as_its_owner_changed_it(shop, tmp_path, monkeypatch):
    """Pictures, words and numbers of the shop, by the recipe for skin."""
    mine = tmp_path / "mine"
    marks = copied(Recipe.open("skin"), mine)
    assert {file for file, _, _ in marks} == {"recipe.yaml", "schema.yaml", "figures.yaml"}
    (mine / "schema.yaml").write_text("fields: {photo: image, title: text}\ntarget: {category: classes}\n")
    (mine / "config.yaml").write_text("")
    lines = shop.table.read_text(encoding="utf-8").splitlines()
    data = tmp_path / "data"
    data.mkdir()
    (data / "pictures").symlink_to(shop.folder / "pictures")
    for part, (first, last) in {"train": (1, 121), "valid": (121, 161), "test": (161, 201)}.items():
        (data / f"{part}.csv").write_text("\n".join([lines[0], *lines[first:last]]), encoding="utf-8")
    quick = {**QUICK, "encoders": {"photo": "image_hog"}, "store": str(shop.store)}
    done = run_recipe(Recipe.open(mine), data, out=tmp_path / "run", quiet=True, **quick)
    assert done.expected is None
    assert done.as_expected is None
    assert done.metric == "accuracy"
    assert "nothing yet: write what you measured" in done.text()
    with pytest.raises(BadArgument, match=r"mine exists and is not empty; nothing is written over"):
        copied(Recipe.open("skin"), mine)


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def polymodal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return call


def test_list_show_and_new(polymodal, tmp_path):
    code, out, _ = polymodal("recipe", "list")
    assert code == 0
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in NAMES)
    assert "rows split by day" in out
    code, out, _ = polymodal("recipe", "show", "gold")
    assert (code, out.strip()) == (0, Recipe.open("gold").readme.strip())
    code, out, _ = polymodal("recipe", "new", "gold", "mine")
    assert code == 0
    assert "schema.yaml, line 2: headlines: text" in out
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(FILES)
    assert Recipe.open(tmp_path / "mine").question == Recipe.open("gold").question
    assert not Recipe.open(tmp_path / "mine").figures
    code, _, err = polymodal("recipe", "new", "icu", "mine")
    assert code == 2
    assert "nothing is written over" in err


def test_faults_are_one_message(polymodal, tmp_path):
    code, _, err = polymodal("recipe", "run", "home_sensor")
    assert code == 2
    assert "no application recipe 'home_sensor'" in err
    assert "Did you mean 'home_sensors'?" in err
    code, _, err = polymodal("recipe", "run", "banking", "--data", "nowhere")
    assert code == 2
    assert "--data nowhere is no folder" in err
    code, _, err = polymodal("recipe", "run", "flickr_search", "--seeds", "2")
    assert code == 2
    assert "no --seeds" in err


# --- folders and files that are not as they should be ---------------------------------------------------------------


@pytest.fixture
def broken(sample, tmp_path):
    """A copy of a sample, to be broken."""

    def copy(name: str) -> tuple[Recipe, Path]:
        recipe, folder = sample(name)
        shutil.copytree(folder, tmp_path / name)
        return recipe, tmp_path / name

    return copy


def test_a_folder_without_a_part_is_refused(broken):
    recipe, folder = broken("banking")
    (folder / "valid.csv").unlink()
    with pytest.raises(BadData, match=r"has no valid\.csv .*It holds sample\.json, test\.csv, train\.csv"):
        check_folder(recipe, folder)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_column_that_is_missing_is_named_with_its_part(broken, part):
    recipe, folder = broken("skin")
    table = folder / f"{part}.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("site", "Site", 1), encoding="utf-8")
    with pytest.raises(
        BadData, match=rf"{part}\.csv: The table has no column 'site'.*Did you mean 'Site'\?.*recipe show"
    ):
        check_folder(recipe, folder)


def test_an_array_an_edge_list_and_files_that_are_missing_are_named(broken):
    for name, gone, said in (
        ("icu", "arrays/labs.npy", r"there is no .*labs\.npy, which the stream 'labs' reads"),
        ("pages", "edges.csv", r"there is no .*edges\.csv, which the stream 'links' reads"),
        ("skin", "photos", r"column 'image' names files, and none of the first 50 is there, as .*0\.png"),
    ):
        recipe, folder = broken(name)
        shutil.rmtree(folder / gone) if (folder / gone).is_dir() else (folder / gone).unlink()
        with pytest.raises(BadData, match=said):
            check_folder(recipe, folder)


def test_one_broken_file_stops_nothing(broken):
    recipe, folder = broken("skin")
    (folder / "photos" / "3.png").unlink()
    assert set(check_folder(recipe, folder)) == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"recipe.yaml": "question: what\n"}, BadArgument, r"does not say area, licence"),
        ({"recipe.yaml": "questoin: what\n"}, BadArgument, r"unknown key 'questoin'.*Did you mean 'question'"),
        ({"config.yaml": "- a\n"}, BadArgument, r"config\.yaml must hold 'name: value' lines; got a list"),
        ({"schema.yaml": None}, BadData, r"lacks schema\.yaml"),
    ],
)
def test_a_recipe_of_one_s_own_is_checked(tmp_path, change, error, said):
    mine = tmp_path / "mine"
    copied(Recipe.open("banking"), mine)
    for file, content in change.items():
        (mine / file).unlink() if content is None else (mine / file).write_text(content)
    with pytest.raises(error, match=said):
        assert Recipe.open(mine).config


def test_commands_and_streams_belong_together():
    fit, align = Recipe.open("banking"), Recipe.open("flickr_search")
    assert (fit.command, align.command) == DOES
    for command, over in (("fit", "a,b"), ("align", None), ("fitt", None)):
        with pytest.raises(BadArgument, match=r"belongs to it alone|Did you mean 'fit'"):
            Recipe(**{**vars(fit), "command": command, "over": over})


def test_an_extra_that_is_not_installed_is_named(tmp_path):
    recipe = Recipe(**{**vars(Recipe.open("banking")), "needs": ["no_such_extra"]})
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[no_such_extra\]'"):
        run_recipe(recipe, out=tmp_path / "run")


def test_nothing_of_a_folder_is_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadArgument, match=r"is not empty, and not the sample of this recipe"):
        write_sample(Recipe.open("banking").sample, tmp_path)
    first = write_sample(Recipe.open("banking").sample, tmp_path / "a")
    before = (first / "train.csv").stat().st_mtime_ns
    write_sample(Recipe.open("banking").sample, first)
    assert (first / "train.csv").stat().st_mtime_ns == before
    assert "made" in (first / STAMP).read_text(encoding="utf-8")
    with pytest.raises(BadArgument, match=r"is not empty"):
        write_sample(Recipe.open("waimai").sample, first)


# --- how a sample is said -------------------------------------------------------------------------------------------


def made(tmp_path: Path, columns: dict, rows: int = 300, hidden=None) -> dict[str, list]:
    hidden = {"kind": ["a", "b"]} if hidden is None else hidden
    write_sample({"rows": {"train": rows, "valid": 3, "test": 3}, "hidden": hidden, "columns": columns}, tmp_path / "s")
    table = read_table(tmp_path / "s" / "train.csv")
    return {name: table.column(name) for name in table.columns}


def test_a_column_shows_what_it_is_sure_of(tmp_path):
    cells = made(tmp_path, {
        "truth": {"make": "value", "shows": "kind"},
        "half": {"make": "value", "shows": "kind", "sure": 0.5},
        "blind": {"make": "value", "shows": "kind", "sure": 0.0},
        "gone": {"make": "number", "shows": "kind", "gaps": 0.5, "apart": 20.0},
    }, rows=4000)  # fmt: skip
    truth = np.array(cells["truth"])
    assert np.mean(truth == np.array(cells["half"])) == pytest.approx(0.75, abs=0.03)  # half right, half by chance
    assert np.mean(truth == np.array(cells["blind"])) == pytest.approx(0.5, abs=0.03)
    here = np.array([cell is not None for cell in cells["gone"]])
    assert here.mean() == pytest.approx(0.5, abs=0.03)
    numbers = np.array([float(cell) for cell in cells["gone"] if cell is not None])
    assert np.array_equal(numbers > 0, truth[here] == "b")


def test_shares_names_dates_and_words(tmp_path):
    cells = made(tmp_path, {
        "id": {"make": "name", "of": "row {}"},
        "day": {"make": "date", "start": "2020-02-28"},
        "who": {"make": "group", "each": 4},
        "said": {"make": "text", "shows": "kind", "templates": ["{kind} {end}"], "words": {"end": ["!"]}},
        "kind": {"make": "value", "shows": "kind", "called": {"a": "A", "b": "B"}},
    }, hidden={"kind": {"a": 3, "b": 1}})  # fmt: skip
    assert cells["id"][:2] == ["row 0", "row 1"]
    assert cells["day"][:3] == ["2020-02-28", "2020-02-29", "2020-03-01"]
    assert cells["who"][:5] == ["g0"] * 4 + ["g1"]
    assert cells["said"][0] == f"{cells['kind'][0].lower()} !"
    assert np.mean(np.array(cells["kind"]) == "A") == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"make": "pictures"}, r"Column 'x' of a sample cannot be made as 'pictures'\. Did you mean 'picture'"),
        ({"make": "value", "shows": "kin"}, r"shows 'kin', which is not hidden\. Did you mean 'kind'"),
        ({"make": "number", "shows": "kind", "aparts": 1}, r"number has no option 'aparts'\. Did you mean 'apart'"),
        ({"make": "number", "sure": 2}, r"sure must be between 0 and 1"),
        ({"make": "text", "templates": ["{tone}"]}, r"no words and no factor for \{tone\}"),
    ],
)
def test_what_a_sample_cannot_say_is_refused(tmp_path, column, said):
    with pytest.raises(BadArgument, match=said):
        made(tmp_path, {"x": column})


def test_every_maker_is_used_by_a_recipe():
    used = {spec["make"] for name in NAMES for spec in Recipe.open(name).sample["columns"].values()}
    assert used == set(MAKERS)


def test_an_unknown_name_tells_the_nearest():
    with pytest.raises(UnknownName, match=r"Did you mean 'touch'"):
        Recipe.open("tuch")
    assert SHIPPED.is_dir()
