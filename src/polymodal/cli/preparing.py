"""The command that prepares data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.app import AsJson, Data, Resume, SchemaOption, app, show_result
from polymodal.core.errors import BadArgument


@app.command()
def prepare(
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write: the table, its media, a report.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", "-r", help="YAML list of steps.")] = None,
    schema: SchemaOption = None,
    engine: Annotated[str, typer.Option(help="'local', or 'ray' for Ray Data.")] = "local",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes [one a core]; 0 works in this one.")] = None,
    resume: Resume = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Clean, annotate, augment; nothing is lost: what is set aside is written with its reason."""
    from polymodal.preparation.run import prepare as run_prepare

    if recipe is None or out is None:
        raise BadArgument("prepare needs --recipe R.yaml and --out DIR.")
    done = run_prepare(
        data, recipe, out=out, schema=schema, engine=engine, workers=workers, resume=resume, quiet=quiet or as_json
    )
    if as_json:
        show_result(dict(done.report))
