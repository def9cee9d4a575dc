"""Commands that bring streams into one space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.app import (
    AllowRemote,
    ConfigOption,
    Data,
    DeviceChoice,
    ModelsOption,
    Quiet,
    Resume,
    SchemaOption,
    SetOption,
    StartOption,
    Test,
    Valid,
    app,
    read_sets,
    read_spec,
    say_aside,
)


@app.command()
def align(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    streams: Annotated[
        str | None,
        typer.Option("--streams", "-s", help="Two or more, with commas: fields, columns, name=column; 'caption_*'."),
    ] = None,
    method: Annotated[str | None, typer.Option("--method", "-m", help="See `polymodal list align`.")] = None,
    towers: Annotated[str | None, typer.Option(help="frozen, scratch or finetune.", show_default="auto")] = None,
    models: ModelsOption = None,
    start: StartOption = None,
    matching: Annotated[
        bool, typer.Option("--matching", help="Also train a model that judges pairs by the tokens of both.")
    ] = False,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of heads, towers, batches and splits.")] = None,
    device: DeviceChoice = None,
    resume: Resume = False,
    allow_remote: AllowRemote = False,
    quiet: Quiet = False,
) -> None:
    """Bring two streams or more into one space, in which each finds the other."""
    from polymodal.alignment.config import AlignConfig
    from polymodal.alignment.run import align as run_align

    spec = method and read_spec(method, "--method")
    given = {"method": spec, "towers": towers, "models": models, "start": start, "seed": seed, "device": device}
    given |= {"matching": matching or None, "allow_remote": allow_remote or None}
    changes = {**{name: value for name, value in given.items() if value is not None}, **read_sets(sets)}
    settings = AlignConfig.given(config, changes)
    run_align(
        data, streams, out=out, valid=valid, test=test, schema=schema, config=settings, resume=resume, quiet=quiet
    )
    if quiet:
        say_aside(out)
