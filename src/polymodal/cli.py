"""The command line. Nothing heavy is imported before a command runs.

Exit codes: 0 when done, 2 for what the user can mend (one message says what), 130 when stopped too early to be of use.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.core.errors import BadArgument, PolymodalError
from polymodal.core.files import finite

app = typer.Typer(
    name="polymodal",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[
    str, typer.Argument(help="CSV, TSV, Parquet, JSONL, a folder per class, Hugging Face dataset or shards.")
]
TargetOption = Annotated[str | None, typer.Option("--target", "-t", help="Column to predict.")]
Valid = Annotated[str | None, typer.Option(help="Rows to choose by; cut from DATA when absent.")]
Test = Annotated[str | None, typer.Option(help="Rows to measure on, once; cut from DATA when absent.")]
SchemaOption = Annotated[str | None, typer.Option("--schema", help="YAML that corrects what is inferred.")]
ConfigOption = Annotated[str | None, typer.Option("--config", help="YAML with any option of fit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FusionOption = Annotated[
    list[str] | None,
    typer.Option("--fusion", "-f", help="'auto', 'all', or names (repeat it, or commas). See `polymodal list`."),
]
SeedsOption = Annotated[int | None, typer.Option(min=1, help="Seeds a strategy.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any option of the configuration, as name=value; value is YAML.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run to the same result.")]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def _version(asked: bool) -> None:
    if asked:
        import polymodal

        print(polymodal.__version__)
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """One model from records that mix pictures, words, sound and measurements, and what each was worth."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("runs/demo"),
    resume: Resume = False,
) -> None:
    """The main job on built-in data, end to end, with a report."""
    from polymodal.train.demo import demo as run_demo

    run_demo(out, resume=resume)


@app.command()
def inspect(
    data: Data,
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    as_json: AsJson = False,
) -> None:
    """Fields, kinds, missing cells, broken files, duplicates, leaks between splits."""
    from polymodal.train.inspection import inspect as run_inspect

    found = run_inspect(data, target, valid=valid, test=test, schema=schema)
    _print(found.to_json() if as_json else found.text())


@app.command()
def plan(
    data: Data,
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    fusion: FusionOption = None,
    seeds: SeedsOption = None,
    sets: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """What fit would do, and why; computes nothing."""
    from polymodal.planning import plan as make_plan

    found = make_plan(
        data, target, valid=valid, test=test, schema=schema, config=_config(config, sets, fusion=fusion, seeds=seeds)
    )
    _print(found.to_json() if as_json else found.text())


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    fusion: FusionOption = None,
    seeds: SeedsOption = None,
    budget_ms: Annotated[float | None, typer.Option(help="Choose only what answers a row within it.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which no further strategy starts.")] = None,
    resume: Resume = False,
    sets: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing; the run's files say it all.")] = False,
) -> None:
    """Train, compare every way to fuse, keep the best, and say whether fusing helped."""
    from polymodal.train.fit import fit as run_fit

    settings = _config(config, sets, fusion=fusion, seeds=seeds, budget_ms=budget_ms, time_limit=time_limit)
    run_fit(data, target, out=out, valid=valid, test=test, schema=schema, config=settings, resume=resume, quiet=quiet)


@app.command()
def evaluate(
    run: RunFolder,
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the report [RUN/evaluation].")] = None,
    as_json: AsJson = False,
) -> None:
    """Metrics with intervals, every subset of streams, noise curves, calibration, report."""
    from polymodal.train.run import load

    folder = out or run / "evaluation"
    if folder.exists() and not folder.is_dir():
        raise BadArgument(f"{folder} is a file; --out names a folder.")
    finished = load(run)
    _rows(finished, data)
    found = finished.evaluate(data, out=folder, quiet=as_json)
    _say(found["data"]["warnings"])
    _print(found if as_json else f"{found['verdict']['headline']}\nReport: {folder / 'report.html'}")


@app.command()
def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV, TSV, JSONL or Parquet file to write.")],
) -> None:
    """Label and probability, or number and interval, of every row."""
    from polymodal.data.write import check_writable, write_columns
    from polymodal.train.run import load

    check_writable(out)
    _spare(data, out)
    finished = load(run)
    problems: list[Any] = []
    columns = finished.predict(_rows(finished, data), problems=problems)
    write_columns(columns, out)
    _say([f"set aside: {problem}" for problem in problems[:20]])
    _say([f"… and {len(problems) - 20} more cells set aside"] if len(problems) > 20 else [])
    print(f"{len(columns['id'])} rows written to {out}")


@app.command()
def explain(
    run: RunFolder,
    data: Data,
    row: Annotated[str | None, typer.Option(help="Id of one row.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML page with pictures to write.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to explain when no id is given.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Worth of each stream to each answer, and with --out a page that shows where the model looked."""
    from polymodal.train.assess import explanation_text
    from polymodal.train.run import load

    if out is not None:
        _spare(data, out)
    finished = load(run)
    table = _rows(finished, data)
    found = finished.explain(table, row=row, limit=limit)
    if out is not None:
        from polymodal.train.explanation import write_explanation

        write_explanation(finished, table, found, out)
        _say([f"Page: {out}"])
    _print(found if as_json else explanation_text(found))


@app.command("list")
def list_parts(
    family: Annotated[str | None, typer.Argument(help="processor, encoder, fusion, decision, trees or head.")] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of the documentation.")] = False,
) -> None:
    """The catalogue, each part with its source."""
    from polymodal import catalogues

    if as_json and markdown:
        raise BadArgument("--json and --markdown are two forms of the same list; give one of them.")
    print(catalogues.show_all(family, "json" if as_json else "markdown" if markdown else "text"))


@app.command()
def show(name: Annotated[str, typer.Argument(help="A part's name.")]) -> None:
    """One part: what it does, its options, its source."""
    from polymodal import catalogues

    print(catalogues.show_part(name))


@app.command()
def store(
    folder: Annotated[Path | None, typer.Option("--store", help="The store's folder [the user's cache].")] = None,
    clear: Annotated[str | None, typer.Option(help="A group's name, its first letters, or 'all'.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the encode-once store holds, and clearing it. POLYMODAL_STORE names another folder."""
    from polymodal.data.store import Store, default_store

    found = Store(folder or default_store())
    if clear is not None:
        freed = found.clear(None if clear == "all" else clear)
        _print({"freed": freed} if as_json else f"{freed / 1e6:.1f} MB freed")
        return
    _print(found.report() if as_json else found.text())


def _config(path: str | None, sets: list[str] | None, *, fusion: list[str] | None, **values: Any) -> Any:
    """The configuration: the file's, then what was given on the command line."""
    from polymodal.config import Config
    from polymodal.core.values import read_yaml

    changes = {name: value for name, value in values.items() if value is not None}
    names = [name.strip() for given in fusion or [] for name in given.split(",") if name.strip()]
    if len(names) > 1 and (whole := {"all", "auto"} & set(names)):
        raise BadArgument(f"--fusion {whole.pop()} stands alone; got {', '.join(names)}.")
    if names:
        changes["fusion"] = names[0] if names[0] in ("all", "auto") else names
    for item in sets or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadArgument(f"--set takes name=value; got {item!r}.")
        changes[name] = read_yaml(value, f"--set {name}")
    return Config.read(path, changes) if path else Config.from_options(changes)


def _rows(run: Any, data: str) -> Any:
    """The rows of `data` for a finished run; columns that the model reads and the data lack are said or refused."""
    table = run.read(data)
    lacking = run.lacking(table)
    _say([f"not in {data}: {', '.join(lacking)}; missing in every row"] if lacking else [])
    return table


def _spare(data: str, out: Path) -> None:
    if Path(data).resolve() == out.resolve():
        raise BadArgument(f"--out {out} is the data itself, which would be overwritten. Give another file.")


def _print(result: Any) -> None:
    """A result on standard output: words as they are, anything else as JSON."""
    print(result if isinstance(result, str) else json.dumps(finite(result), ensure_ascii=False, indent=1))


def _say(lines: Iterable[str]) -> None:
    """Remarks go to standard error, so that standard output can be piped."""
    for line in lines:
        print(line, file=sys.stderr)


def _explained(error: OSError) -> str:
    """What the system refused, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return (
            f"{where}the disk is full. Free some space (`polymodal store --clear all` empties the store), then give "
            "the same command again; with --resume fit goes on where it stopped."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{error.strerror}. Choose a place that you may write to (--out; POLYMODAL_STORE for the store)."
    return f"{where}{error.strerror or error}."


def main() -> None:
    """Entry point: what the user can mend is one clear message, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without some letter must not cost the answer
    try:
        app()
    except PolymodalError as error:
        _say([f"polymodal: {error}"])
        sys.exit(error.exit_code)
    except OSError as error:
        _say([f"polymodal: {_explained(error)}"])
        sys.exit(2)


if __name__ == "__main__":
    main()
