"""Commands that use a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.app import (
    AsJson,
    Data,
    DeviceOption,
    MetricOption,
    RunFolder,
    Trust,
    app,
    read_metrics,
    read_rows,
    say,
    say_device,
    show_result,
    spare,
)
from polymodal.core.errors import BadArgument


@app.command()
def evaluate(
    run: RunFolder,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report.", show_default="RUN/evaluation")
    ] = None,
    metric: MetricOption = None,
    trust: Trust = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Metrics with intervals, every subset of streams, noise curves, calibration, report."""
    from polymodal.inference.run import load

    folder = out or run / "evaluation"
    if folder.exists() and not folder.is_dir():
        raise BadArgument(f"{folder} is a file; --out names a folder.")
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    read_rows(finished, data)
    evaluation = finished.evaluate(data, out=folder, quiet=as_json, metric=read_metrics(metric))
    say(evaluation["data"]["warnings"])
    told = [evaluation["verdict"]["headline"], *evaluation["verdict"]["sentences"], f"Report: {folder / 'report.html'}"]
    show_result(evaluation if as_json else "\n".join(told))


@app.command()
def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV, TSV, JSONL or Parquet file to write.")],
    trust: Trust = None,
    device: DeviceOption = "auto",
) -> None:
    """Label and probability, or number and interval, of every row."""
    from polymodal.data.tables.write import check_writable, write_columns
    from polymodal.inference.run import load

    check_writable(out)
    spare(data, out)
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    problems: list[Any] = []
    columns = finished.predict(read_rows(finished, data), problems=problems)
    write_columns(columns, out)
    say([f"set aside: {problem}" for problem in problems[:20]])
    say([f"… and {len(problems) - 20} more cells set aside"] if len(problems) > 20 else [])
    print(f"{len(columns['id'])} rows written to {out}")


@app.command()
def explain(
    run: RunFolder,
    data: Data,
    row: Annotated[str | None, typer.Option(help="Id of one row.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML page with pictures to write.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to explain when no id is given.")] = 20,
    trust: Trust = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Worth of each stream to each answer, and with --out a page that shows where the model looked."""
    from polymodal.inference.evaluation import explanation_text
    from polymodal.inference.run import load

    if out is not None:
        spare(data, out)
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    table = read_rows(finished, data)
    explanations = finished.explain(table, row=row, limit=limit)
    if out is not None:
        from polymodal.inference.explanation import write_explanation

        write_explanation(finished, table, explanations, out)
        say([f"Page: {out}"])
    show_result(explanations if as_json else explanation_text(explanations))
