"""Applications to start from. (Steps of `prepare` are called a recipe too: `prepare --recipe`.)"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.app import (
    App,
    AsJson,
    DeviceChoice,
    ModelsOption,
    PresetOption,
    Quiet,
    Resume,
    SeedsOption,
    SetOption,
    app,
    forked,
    read_sets,
    say,
    say_aside,
    show_result,
)
from polymodal.core.errors import BadArgument

recipe = App(
    no_args_is_help=True,
    help="Applications to start from, each with data to try, options and the figures to expect. "
    "(The list of steps that `prepare --recipe` carries out is another thing.)",
)
app.add_typer(recipe, name="recipe")

Named = Annotated[str, typer.Argument(help="A name of `polymodal recipe list`, or a folder that `recipe new` made.")]


@recipe.command("list")
def list_recipes(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
) -> None:
    """What is asked, of which streams, and how rows must be split."""
    from polymodal.recipes import recipe as recipes

    if as_json and markdown:
        raise BadArgument("--json and --markdown are two forms of the same list; give one of them.")
    rows = recipes.listed()
    show_result(recipes.markdown() if markdown else rows if as_json else "\n".join(_lines(rows)))


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    """A block a recipe, by area."""
    lines: list[str] = []
    for area in dict.fromkeys(row["area"] for row in rows):
        lines.append(area)
        for row in (row for row in rows if row["area"] == area):
            goes = "one space" if row["command"] == "align" else row["target"]
            lines.append(f"  {row['name']:<16} {row['question']}")
            lines.append(f"  {'':<16} {', '.join(row['streams'])} → {goes}; rows split {row['split']}")
    return [*lines, "", "polymodal recipe show NAME tells more, recipe run NAME tries it on data made up for it."]


@recipe.command("show")
def show_recipe(name: Named) -> None:
    """For the practitioner: question, data, streams, what the report says, what it would need in production."""
    from polymodal.recipes.recipe import Recipe

    show_result(Recipe.open(name).readme.rstrip("\n"))


@recipe.command("new")
def new_recipe(
    name: Named, folder: Annotated[Path, typer.Argument(help="Folder to write, as the start of your own.")]
) -> None:
    """Copy a recipe as the start of your own; what is yours to change is marked CHANGE."""
    from polymodal.recipes.recipe import Recipe, copied

    marks = copied(Recipe.open(name), folder)
    show_result("\n".join([
        f"{folder} holds the recipe. Yours to change:",
        *(f"  {file}, line {number}: {line}" for file, number, line in marks),
        f"Then: polymodal recipe run {folder} --data YOUR_FOLDER (without --data, on data made up for it)",
    ]))  # fmt: skip


@recipe.command("run")
def run_recipe(
    name: Named,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with train.csv, valid.csv, test.csv.", show_default="data made up for it"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/NAME, of made-up data NAME-sample"),
    ] = None,
    preset: PresetOption = None,
    models: ModelsOption = None,
    seeds: SeedsOption = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds; what is cut short is said.")] = None,
    device: DeviceChoice = None,
    resume: Resume = False,
    sets: SetOption = None,
    quiet: Quiet = False,
) -> None:
    """Carry a recipe out, on your folder or on data made up for it, and show its figures beside those to expect."""
    from polymodal.recipes.recipe import Recipe

    found = Recipe.open(name)
    given = {"preset": preset, "seeds": seeds, "time_limit": time_limit, "models": models, "device": device}
    if found.command == "align" and (strange := [key for key in list(given)[:3] if given[key] is not None]):
        raise BadArgument(f"{found.name} is an align, which has no --{strange[0].replace('_', '-')}.")
    forked("recipe")
    from polymodal.recipes.run import run_recipe as carry_out

    out = out or Path("runs") / (found.name if data else f"{found.name}-sample")
    if data is None:
        say([f"No --data: {out}-data is made up by the recipe, to try it. Nothing in it was measured."])
    options = {**{key: value for key, value in given.items() if value is not None}, **read_sets(sets)}
    done = carry_out(found, data, out=out, resume=resume, quiet=quiet, **options)
    if quiet:
        say_aside(done.run.folder)
    show_result(done.text())
