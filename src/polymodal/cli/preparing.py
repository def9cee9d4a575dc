"""The command that prepares data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.app import (
    AllowRemote,
    AsJson,
    Data,
    DeviceOption,
    Quiet,
    Resume,
    SchemaOption,
    TargetOption,
    Trust,
    app,
    say,
    show_result,
)
from polymodal.core.errors import BadArgument
from polymodal.core.shown import many


@app.command()
def prepare(
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write: the table, its media, a report.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", "-r", help="YAML list of steps.")] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Inspect DATA and write a recipe, to --recipe or the screen.")
    ] = False,
    target: TargetOption = None,
    schema: SchemaOption = None,
    engine: Annotated[str, typer.Option(help="'local', or 'ray' for Ray Data.")] = "local",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes, else one a core; 0 works in this one.")] = None,
    device: DeviceOption = "auto",
    resume: Resume = False,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Clean, annotate, augment; nothing is lost: what is set aside is written with its reason."""
    from polymodal.preparation.run import prepare as run_prepare

    if suggest:
        _suggest(data, target, schema, recipe, out, as_json, quiet)
        return
    if target is not None:
        raise BadArgument("--target belongs to --suggest: it names the labels to doubt.")
    if recipe is None or out is None:
        raise BadArgument("prepare needs --recipe R.yaml and --out DIR; --suggest writes a recipe.")
    done = run_prepare(
        data, recipe, out=out, schema=schema, engine=engine, workers=workers, device=device, resume=resume,
        trust=trust or (), quiet=quiet or as_json,
    )  # fmt: skip
    if as_json:
        show_result(dict(done.report))
    elif quiet:
        rows, cells = done.set_aside, done.report["rows"]["cells_set_aside"]
        aside = f"{many(rows, 'row')} and {many(cells, 'cell')} set aside"
        told = f"{aside}; the reasons are in {done.folder / 'set_aside.parquet'}"
        say([*([told] if rows or cells else []), *done.report["notes"]])


def _suggest(
    data: str,
    target: str | None,
    schema: str | None,
    recipe: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from polymodal.core.files import writing
    from polymodal.preparation.suggest import suggest

    if out is not None:
        raise BadArgument("--suggest prepares nothing: leave out --out, and use the recipe it writes.")
    if recipe is not None and recipe.exists():
        raise BadArgument(f"{recipe} exists; --suggest would write over it. Name another --recipe.")
    suggestion = suggest(data, target=target, schema=schema, quiet=quiet or as_json)
    if recipe is not None:
        with writing(recipe) as temporary:
            temporary.write_text(suggestion.to_yaml(), encoding="utf-8")
    if as_json:
        show_result({"notes": list(suggestion.notes), "steps": [vars(step) for step in suggestion.steps]})
    elif recipe is None:
        show_result(suggestion.to_yaml().rstrip("\n"))
    else:
        say(suggestion.notes)
        active = sum(step.active for step in suggestion.steps)
        told = f"{many(active, 'step')} suggested, {len(suggestion.steps) - active} for you to decide"
        show_result(f"{told}: {recipe}")


@app.command("train-language")
def train_language(
    corpus: Annotated[Path, typer.Argument(help="Treebank or tagged corpus, in CoNLL-U.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; steps name it as `model`.")],
    what: Annotated[str, typer.Option(help="Any of segment, tags, parse, parted by commas.")] = "segment,tags,parse",
    method: Annotated[str, typer.Option(help="Of segment and tags: 'crf' or 'hmm'.")] = "crf",
    epochs: Annotated[int, typer.Option(min=1, help="Of the parser.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the parser.")] = 0,
    test: Annotated[Path | None, typer.Option(help="Another corpus, to tell how well it does.")] = None,
) -> None:
    """Learn to cut, tag and parse a language from a corpus of one's own."""
    from polymodal.evaluation.language import language_scores
    from polymodal.ops.language import train

    parts = [name.strip() for name in what.split(",")]
    train.train_language(corpus, out, what=parts, method=method, epochs=epochs, seed=seed)
    show_result(f"{', '.join(parts)}: {out}")
    for name, score in (language_scores(out, test) if test is not None else {}).items():
        show_result(f"{name} {score.mean:.1%} ({score.low:.1%} to {score.high:.1%})")
