"""Commands that search a space that `align` made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.app import (
    INSPECT,
    AllowRemote,
    AsJson,
    Data,
    DeviceOption,
    Keep,
    Quiet,
    Trust,
    app,
    read_keep,
    say,
    say_counts,
    say_device,
    show_result,
    spare,
)
from polymodal.core.errors import BadArgument
from polymodal.core.limits import read_settings
from polymodal.core.shown import many

AlignRun = Annotated[Path, typer.Argument(help="Folder of a run of `align`.")]
By = Annotated[
    str | None, typer.Option("--by", help="The run's stream that reads the question.", show_default="by its kind")
]
Streams = Annotated[
    str | None, typer.Option("--streams", "--stream", "-s", help="Streams, with commas.", show_default="all")
]


@app.command()
def index(
    run: AlignRun,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the index.")],
    streams: Streams = None,
    approximate: Annotated[
        str, typer.Option(help="auto, on or off: a graph, quicker than exact search from millions of items on.")
    ] = "auto",
    calibrate: Annotated[
        str, typer.Option(help="auto, on or off: take out the gap between streams where several are searched.")
    ] = "auto",
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
    quiet: Quiet = False,
) -> None:
    """Make the rows of DATA findable. Given again, it goes on where it stopped and takes up what changed."""
    from polymodal.retrieval.build import index as run_index

    say_device(device)
    indexed = run_index(
        run, data, out=out, streams=_names(streams), approximate=approximate, calibrate=calibrate, trust=trust or (),
        device=device,
        quiet=quiet,
    )  # fmt: skip
    aside = str(out / "set_aside.jsonl")
    say_counts(indexed.read, indexed.problems, "indexed", others="set aside", complete=aside)
    counts = ", ".join(f"{count:,} {name}" for name, count in indexed.index.counts().items())
    show_result(f"{many(len(indexed), 'row')} in {out}: {counts}")


@app.command()
def search(
    folder: Annotated[Path, typer.Argument(metavar="IDX", help="Folder of an index.")],
    text: Annotated[str | None, typer.Option(help="Words that describe what is sought.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture.")] = None,
    audio: Annotated[Path | None, typer.Option(help="A sound.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A file of any kind of the run's streams, by its suffix; a folder of frames."),
    ] = None,
    row: Annotated[str | None, typer.Option(help="Id or key of a row, to find others like it.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many rows.")] = 10,
    where: Annotated[str | None, typer.Option(help="Filter, as: price < 30 and brand == 'x'.")] = None,
    streams: Streams = None,
    by: By = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every item, though there is a graph.")] = False,
    rerank: Annotated[
        int | None,
        typer.Option(help="How many first hits the run's matching model puts in order; 50 is a good number."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run, if it was moved since indexing.")] = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    salvage: Annotated[bool, typer.Option("--salvage", help="Leave damaged records out.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML page with pictures and players.")] = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Find rows by words, a picture, a sound, or another row."""
    from polymodal.retrieval.retrieve import kind_of, open_index

    found = open_index(folder, run, salvage=salvage, trust=trust or (), device=device)
    asked: dict[str, Any] = {"image": image, "audio": audio}
    if file is not None:
        kind = kind_of(file, found.space.streams, by)
        if kind is None or asked.get(kind) is not None:
            why = f"--{kind} is given too"
            if kind is None:
                why = "no stream of the run reads folders" if file.is_dir() else "its suffix tells no kind"
            raise BadArgument(f"--file {file} cannot be asked with: {why}.")
        asked[kind] = file
    hits = found.search(
        text,
        row=row,
        k=k,
        where=where,
        streams=_names(streams),
        by=by,
        approximate=False if exact else None,
        rerank=rerank,
        **asked,
    )
    say(hits.notes)
    show_result(hits.to_json() if as_json else hits.text())
    if out is not None:
        say([f"Page: {hits.page(out)}"])


@app.command()
def classify(
    run: AlignRun,
    data: Data,
    classes: Annotated[Path, typer.Option("--classes", "-c", help="A text file, a class name a line.")],
    stream: Annotated[str | None, typer.Option(help="The stream to classify.")] = None,
    by: By = None,
    template: Annotated[list[str] | None, typer.Option(help="A sentence with {} for the name; repeat it.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Column of labels, to tell accuracy.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Other rows with labels in --target, to decide which rows are answered.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV, TSV, JSONL or Parquet of the labels.")] = None,
    keep: Keep = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Name the class of rows from class names alone, without training; of those that can be told from the second."""
    from polymodal.data.tables.write import check_writable, write_columns
    from polymodal.retrieval.classify import classify as run_classify

    if out is not None:
        check_writable(out)
        spare(data, out)
    names = [line.strip() for line in _lines(classes) if line.strip()]
    say_device(device)
    classified = run_classify(
        run,
        data,
        names,
        stream=stream,
        by=by,
        templates=template or None,
        target=target,
        calibration=calibration,
        trust=trust or (),
        device=device,
    )
    say_counts(classified.table.records, classified.problems, "classified", others="set aside", complete=INSPECT)
    answered = int(classified.answered.sum())
    say([*classified.notes, f"{answered:,} of {many(classified.table.records, 'row')} answered. {classified.rule}"])
    columns = classified.columns(keep=read_keep(keep, classified.table.columns))
    if out is not None:
        write_columns(columns, out)
        say([f"{many(classified.table.records, 'row')} written to {out}"])
    if as_json:
        show_result(classified.to_json())
    elif classified.accuracy is not None:
        sure = "" if classified.sure is None else f"; of answered rows {_interval(classified.sure)}"
        show_result(
            f"accuracy {_interval(classified.accuracy)} of the nearest class{sure}; the commonest class alone "
            f"{classified.chance:.3f}"
        )
    elif out is None:
        for row in [list(columns), *zip(*columns.values())]:
            show_result("\t".join("" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))


def _interval(score: Any) -> str:
    ends = f"{score.low:.3f} to {score.high:.3f}" if score.low == score.low else "one row has no interval"
    return f"{score.mean:.3f} ({ends})"


def _names(streams: str | None) -> list[str] | None:
    return None if streams is None else [name.strip() for name in streams.split(",") if name.strip()]


def _lines(path: Path) -> list[str]:
    try:
        return read_settings(path).splitlines()
    except (FileNotFoundError, IsADirectoryError, BadArgument) as error:
        raise BadArgument(f"--classes {path} is no text file that can be read: {error}.") from error
