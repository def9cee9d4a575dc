"""The command line. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from polymodal.core.errors import BadArgument, PolymodalError

app = typer.Typer(
    name="polymodal",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One model from records that mix pictures, words, sound and measurements, and what each was worth.",
)

Data = Annotated[
    str, typer.Argument(help="CSV, TSV, Parquet, JSONL, a folder per class, Hugging Face dataset or shards.")
]
TargetOption = Annotated[Optional[str], typer.Option("--target", "-t", help="Column to predict.")]  # noqa: UP045 - typer reads it
Valid = Annotated[Optional[str], typer.Option(help="Rows to choose by; cut from DATA when absent.")]  # noqa: UP045
Test = Annotated[Optional[str], typer.Option(help="Rows to measure on, once; cut from DATA when absent.")]  # noqa: UP045
SchemaOption = Annotated[Optional[str], typer.Option("--schema", help="YAML that corrects what is inferred.")]  # noqa: UP045
ConfigOption = Annotated[Optional[str], typer.Option("--config", help="YAML with any option of fit.")]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FusionOption = Annotated[
    Optional[list[str]], typer.Option("--fusion", "-f", help="Name, several, 'auto' or 'all'. See `polymodal list`.")  # noqa: UP045
]
SetOption = Annotated[
    Optional[list[str]], typer.Option("--set", help="Any option of the configuration, as name=value; value is YAML.")  # noqa: UP045
]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo")) -> None:
    """The main job on built-in data, end to end, with a report."""
    from polymodal.train.demo import demo as run_demo

    run_demo(out)


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
    print(json.dumps(found.to_json(), ensure_ascii=False, indent=1) if as_json else found.text())


@app.command()
def plan(
    data: Data,
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    fusion: FusionOption = None,
    seeds: Annotated[Optional[int], typer.Option(min=1)] = None,  # noqa: UP045
    sets: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """What fit would do, and why; computes nothing."""
    from polymodal.plan import plan as make_plan

    found = make_plan(
        data, target, valid=valid, test=test, schema=schema, config=_config(config, sets, fusion=fusion, seeds=seeds)
    )
    print(json.dumps(found.to_json(), ensure_ascii=False, indent=1, default=str) if as_json else found.text())


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
    seeds: Annotated[Optional[int], typer.Option(min=1, help="Seeds a strategy.")] = None,  # noqa: UP045
    budget_ms: Annotated[Optional[float], typer.Option(help="Choose only what answers a row within it.")] = None,  # noqa: UP045
    time_limit: Annotated[Optional[float], typer.Option(help="Seconds after which no further strategy starts.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    sets: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
) -> None:
    """Train, compare every way to fuse, keep the best, and say whether fusing helped."""
    from polymodal.train.fit import fit as run_fit

    settings = _config(config, sets, fusion=fusion, seeds=seeds, budget_ms=budget_ms, time_limit=time_limit)
    run_fit(data, target, out=out, valid=valid, test=test, schema=schema, config=settings, resume=resume, quiet=quiet)


@app.command()
def evaluate(
    run: RunFolder,
    data: Data,
    out: Annotated[Optional[Path], typer.Option(help="Folder for the report.")] = None,  # noqa: UP045
    as_json: AsJson = False,
) -> None:
    """Metrics with intervals, every subset of streams, noise curves, calibration, report."""
    from polymodal.train.run import load

    folder = out or run / "evaluation"
    found = load(run).evaluate(data, out=folder, quiet=as_json)
    print(
        json.dumps(found, ensure_ascii=False)
        if as_json
        else f"{found['verdict']['headline']}\nReport: {folder / 'report.html'}"
    )


@app.command()
def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV, JSONL or Parquet file to write.")],
) -> None:
    """Label and probability, or number and interval, of every row."""
    from polymodal.data.write import write_columns
    from polymodal.train.run import load

    problems: list[Any] = []
    columns = load(run).predict(data, problems=problems)
    write_columns(columns, out)
    for problem in problems[:20]:
        print(f"set aside: {problem}", file=sys.stderr)
    if len(problems) > 20:
        print(f"… and {len(problems) - 20} more cells set aside", file=sys.stderr)
    print(f"{len(columns['id'])} rows written to {out}")


@app.command()
def explain(
    run: RunFolder,
    data: Data,
    row: Annotated[Optional[str], typer.Option(help="Id of one row.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="HTML file with pictures.")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option(min=1, help="Rows to explain when no id is given.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Worth of each stream to each answer."""
    from polymodal.train.assess import explanation_text
    from polymodal.train.run import load

    finished = load(run)
    found = finished.explain(data, row=row, limit=limit)
    if out is not None:
        from polymodal.train.explanation import write_explanation

        write_explanation(finished, data, found, out)
        print(f"Pictures: {out}")
    print(json.dumps(found, ensure_ascii=False) if as_json else explanation_text(found))


@app.command("list")
def list_parts(
    family: Annotated[Optional[str], typer.Argument(help="encoder, fusion, decision, head, processor …")] = None,  # noqa: UP045
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of the documentation.")] = False,
) -> None:
    """The catalogue, each part with its source."""
    from polymodal import catalogues

    print(catalogues.show_all(family, "json" if as_json else "markdown" if markdown else "text"))


@app.command()
def show(name: Annotated[str, typer.Argument(help="A part's name.")]) -> None:
    """One part: what it does, its options, its source."""
    from polymodal import catalogues

    print(catalogues.show_part(name))


@app.command()
def store(
    folder: Annotated[
        Path | None, typer.Option("--store", help="The store's folder; default: the user's cache.")
    ] = None,
    clear: Annotated[Optional[str], typer.Option(help="A group's name, or 'all'.")] = None,  # noqa: UP045
    as_json: AsJson = False,
) -> None:
    """What the encode-once store holds, and clearing it."""
    from polymodal.data.store import Store, default_store

    found = Store(folder or default_store())
    if clear is not None:
        freed = found.clear(None if clear == "all" else clear)
        print(f"{freed / 1e6:.1f} MB freed")
        return
    print(json.dumps(found.report(), ensure_ascii=False, indent=1) if as_json else found.text())


def _config(path: str | None, sets: list[str] | None, *, fusion: list[str] | None, **values: Any) -> Any:
    """The configuration: the file's, then what was given on the command line."""
    import yaml

    from polymodal.config import Config

    changes = {name: value for name, value in values.items() if value is not None}
    if fusion:
        changes["fusion"] = fusion[0] if fusion in (["all"], ["auto"]) else fusion
    for item in sets or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadArgument(f"--set takes name=value; got {item!r}.")
        changes[name] = yaml.safe_load(value)
    return Config.read(path, changes) if path else Config.from_options(changes)


def main() -> None:
    """Entry point: errors that the user can mend are one clear message, without a traceback."""
    try:
        app()
    except PolymodalError as error:
        print(f"polymodal: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("polymodal: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
