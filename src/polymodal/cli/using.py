"""Commands that use a finished run."""

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
    MetricOption,
    RunFolder,
    Trust,
    app,
    read_keep,
    read_metrics,
    read_rows,
    read_sets,
    say,
    say_counts,
    say_device,
    say_problems,
    show_result,
    spare,
)
from polymodal.cli.generating import check_stopped, end_stopped, generate_by_model
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.shown import many

AnswerOption = Annotated[
    str | None, typer.Option("--target", "-t", help="Of several targets, the one to look at.", show_default="the first")
]


@app.command()
def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Folder of a finished run.", show_default=False)] = None,
    data: Annotated[str | None, typer.Argument(help="Rows with the truth, of any form.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report.", show_default="RUN/evaluation")
    ] = None,
    metric: MetricOption = None,
    target: AnswerOption = None,
    captions: Annotated[
        str | None, typer.Option(help="Without a run: a table that holds answers in words and references.")
    ] = None,
    answer: Annotated[str | None, typer.Option(help="Its column of answers.")] = None,
    references: Annotated[
        list[str] | None, typer.Option(help="Its columns of right answers, by name or pattern; repeat it (or commas).")
    ] = None,
    segment: Annotated[str, typer.Option(help="How Chinese is cut: characters or jieba.")] = "characters",
    documents: Annotated[
        str | None, typer.Option(help="Table whose references say how rare n-grams are.", show_default="TABLE itself")
    ] = None,
    training: Annotated[
        str | None, typer.Option(help="Table of training references: how many answers are copies, what objects are.")
    ] = None,
    objects: Annotated[
        Path | None, typer.Option(help="Names of objects, one a line, others for it behind commas.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Its column that says which rows are of one thing, as a photo.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="A run of align: how near answers lie to what their rows show.")
    ] = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Metrics with intervals, every subset of streams, noise curves, calibration, report; --captions: of any table."""
    if captions is not None:
        if run is not None or answer is None or not references:
            raise BadArgument("evaluate --captions TABLE takes no run, but --answer COLUMN and --references COLUMN,….")
        options: dict[str, Any] = {
            "segment": segment,
            "documents": documents,
            "training": training,
            "objects": objects,
            "group": group,
        }
        if target is not None:
            raise BadArgument("--target goes with a run; with --captions, --answer names the column.")
        if space is not None:
            from polymodal.inference.space import load_space

            options["space"] = load_space(space, trust=trust or (), device=device)
        _evaluate_captions(captions, metric, as_json, out, answer=answer, references=references, **options)
        return
    if run is None or data is None:
        raise BadArgument("evaluate takes RUN and DATA, or --captions TABLE --answer COLUMN --references COLUMN,….")
    if answer or references or documents or training or objects or group or space:
        raise BadArgument(
            "--answer, --references, --documents, --training, --objects, --group and --space go with "
            "--captions TABLE, without a run."
        )
    from polymodal.data.tables.source import Problem
    from polymodal.inference.judging import LEFT_OUT
    from polymodal.inference.run import load

    folder = out or (run if run.exists() else Path(run.name)) / "evaluation"  # of a hub's run, its name
    if folder.exists() and not folder.is_dir():
        raise BadArgument(f"{folder} is a file; --out names a folder.")
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    table = read_rows(finished, data)
    how: dict[str, Any] = {"source": data, "quiet": as_json, "metric": read_metrics(metric), "target": target}
    evaluation = finished.evaluate(table, out=folder, **how)
    found = evaluation["data"]
    whole = str(folder / "evaluation.json")
    say_counts(table.records, table.problems, "judged", found["judged"]["judged"], complete=whole)
    say_problems([Problem(**problem) for problem in found["set_aside"]], complete=whole)
    say([line for line in found["warnings"] if not line.startswith(LEFT_OUT)])
    told = [evaluation["verdict"]["headline"], *evaluation["verdict"]["sentences"], f"Report: {folder / 'report.html'}"]
    show_result(evaluation if as_json else "\n".join(told))


def _evaluate_captions(table: str, metric: list[str] | None, as_json: bool, out: Path | None, **given: Any) -> None:
    from polymodal.data.tables.source import Problem
    from polymodal.evaluation.captions import captions_text, evaluate_captions

    asked = read_metrics(metric)
    if isinstance(asked, dict):
        raise BadArgument("--metric names no target with --captions: give NAME alone.")
    found = evaluate_captions(table, metric=asked or (), out=out, **given)
    data = found["data"]
    complete = str(out / "evaluation.json") if out else ""
    say_counts(data["rows"], [], "judged", data["judged"])
    say_problems([Problem(**problem) for problem in data["set_aside"]], complete=complete)
    say(found["notes"])
    show_result(found if as_json else captions_text(found) + (f"\nWritten: {out}" if out else ""))


@app.command()
def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[
        str, typer.Option("--out", "-o", help="CSV, TSV, JSONL or Parquet file, or new table of a database.")
    ],
    keep: Keep = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        str, typer.Option(help="float32; bfloat16 encodes many rows faster, a hundredth off; auto: where in hardware.")
    ] = "float32",
    top: Annotated[
        int | None, typer.Option(min=1, help="Keep the first of each group, where the fit put rows in order.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label and probability, or number and interval, of every row, beside the keys of the data."""
    from polymodal.core.files import told_path, without_password
    from polymodal.data.tables.write import check_writable, write_columns
    from polymodal.inference.keyed import PROBLEM, ROW
    from polymodal.inference.run import load
    from polymodal.targets.columns import renamed

    check_writable(out)
    spare(data, out)
    say_device(device)
    finished = load(run, trust=trust or (), device=device, precision=precision)
    problems: list[Any] = []
    table = read_rows(finished, data, last=True)
    columns = finished.predict(table, keep=read_keep(keep, table.columns), problems=problems, top=top)
    write_columns(columns, out, files=True)
    out = without_password(out)
    row, problem = (next((c for c in names if c in columns and c not in table.data), "") for names in (ROW, PROBLEM))
    where = f"the column {problem!r} of {out}"
    say(renamed(finished.predictor.names))
    say_counts(table.records, table.problems, "answered", complete=where)
    say_problems(problems, complete=where)
    if row:
        unnamed = f"no column of {told_path(data)} is known to name its rows"
        say([f"{unnamed}: {row!r} is the row's number, from 0 (see --keep)"])
    if as_json:
        said = [vars(problem) for problem in (*table.problems, *problems)]
        counts = {"rows": table.records, "answered": len(table), "left_out": len(table.left_out)}
        show_result({"out": str(out), **counts, "columns": list(columns), "problems": said})
    else:
        show_result(
            f"{many(table.records if top is None else len(next(iter(columns.values()))), 'row')} written to {out}"
        )


@app.command()
def generate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run; or of a pretrained model, or its hub name.")],
    data: Annotated[str | None, typer.Argument(help="Rows to answer; or one example by the options below.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Words of the example: VALUE or COLUMN=VALUE.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Its picture.")] = None,
    audio: Annotated[list[str] | None, typer.Option(help="Its sound.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Table or folder; or one .png or .wav.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a pretrained model: columns to read, by name; repeat it (or commas).", show_default=False
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Answers a row; several are sampled.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of what is sampled.")] = 0,
    beams: Annotated[int | None, typer.Option(min=1, help="Texts kept in mind.", show_default="as in the fit")] = None,
    temperature: Annotated[float | None, typer.Option(help="Above 0 words are sampled.", show_default="0")] = None,
    top_p: Annotated[float | None, typer.Option(help="Of the likeliest with this share.", show_default="1")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of drawing.", show_default="the model's own")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Of drawing, towards the text.", show_default="the model's own")
    ] = None,
    keep: Keep = None,
    page: Annotated[Path | None, typer.Option(help="HTML page of what was read and answered to write.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="How else, as no_repeat=3; one that is unknown names all; of models `polymodal show assistant`.",
        ),
    ] = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
) -> None:
    """Words, pictures or speech for every row of DATA or one example, by a run or by a pretrained model."""
    from polymodal.data.tables.write import check_writable, write_columns
    from polymodal.generators.opening import is_model
    from polymodal.inference.answered import write_answers
    from polymodal.inference.answers import Stopped
    from polymodal.inference.examples import row_cards
    from polymodal.inference.generation import check_generates, example, generated_columns
    from polymodal.inference.keyed import of_rows
    from polymodal.inference.run import load

    given = {kind: values for kind, values in (("text", text), ("image", image), ("audio", audio)) if values}
    if (data is None) == (not given):
        raise BadArgument("Give a table of rows, or one example by --text, --image and --audio.")
    if out is not None:
        out = out if out.suffix else out / "generated.csv"
        if data is not None:
            spare(data, out)
    how: dict[str, Any] = {"n": n, "seed": seed, "beams": beams, "temperature": temperature, "top_p": top_p}
    how |= {"steps": steps, "guidance": guidance}
    how = {name: value for name, value in how.items() if value is not None} | read_sets(sets)
    own = {"columns", "data", "device", "given", "keep", "model", "out", "page", "problems"}
    if taken := sorted(own & set(how)):
        raise BadArgument(f"--set {taken[0]}: it has an option of its own, --{taken[0]}, or is none.")
    if is_model(str(run)):
        places: dict[str, Any] = {"out": out, "page": page, "keep": keep, "device": device}
        return generate_by_model(str(run), data, given, columns=columns or (), **places, **how)
    if columns:
        raise BadArgument("--columns goes with a pretrained model; a run reads the columns of its fit.")
    if out is not None:
        check_writable(out)
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    check_generates(finished.predictor)
    if out is None and (drawn := next((one for one in finished.predictor.targets if one.drawn), None)):
        raise BadArgument(f"{drawn.name} is a file a row, which needs a place: give --out FILE or a folder.")
    table = example(finished.predictor, given) if data is None else read_rows(finished, data, last=True)
    problems: list[Any] = []
    stopped: Stopped | None = None
    try:
        found = finished.generate(table, **how, keep=read_keep(keep, table.columns), problems=problems)
    except Stopped as early:
        stopped, table, found = check_stopped(early), early.table, early.answers
    if data is None and problems:
        said = ", ".join(f"--{kind} {value}" for kind, values in given.items() for value in values)
        raise BadData(f"{': '.join(filter(None, (problems[0].column, problems[0].reason)))}. Given: {said}.")
    say_counts(table.records, table.problems, "answered")
    say_problems(problems)
    names = [name for own in generated_columns(finished.predictor, how["n"]) for name in own.values()]
    if page is not None:
        told = {name: of_rows(table, found[name]) for name in names}
        write_answers(page, str(run), table.ids, told, lambda row: row_cards(finished.predictor, table, row), problems)
        say([f"Page: {page}"])
    if out is not None:
        write_columns(found, out, files=True)
        show_result(f"{many(table.records, 'row')} written to {out}")
    else:
        lines = ["\t".join(str(found[name][row]) for name in names) for row in range(len(table))]
        if len(finished.predictor.targets) > 1:
            lines.insert(0, "\t".join(names))
        show_result("\n".join(lines))
    end_stopped(stopped)


@app.command()
def explain(
    run: RunFolder,
    data: Data,
    row: Annotated[str | None, typer.Option(help="Id of one row.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML page with pictures to write.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to explain when no id is given.")] = 20,
    target: AnswerOption = None,
    allow_remote: AllowRemote = False,
    trust: Trust = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Worth of each stream to each answer, and with --out a page that shows where the model looked."""
    from polymodal.inference.explaining import explanation_text
    from polymodal.inference.run import load

    if out is not None:
        spare(data, out)
    say_device(device)
    finished = load(run, trust=trust or (), device=device)
    table = read_rows(finished, data)
    explanations = finished.explain(table, row=row, limit=limit, target=target)
    first, *others = [one.name for one in finished.predictor.targets]
    if others and target is None:
        say([f"explained are the answers to {first!r}; --target names another: {', '.join(others)}"])
    say_counts(table.records, table.problems, "explained", len(explanations), complete=INSPECT)
    if out is not None:
        from polymodal.inference.explanation import write_explanation

        write_explanation(finished, table, explanations, out)
        say([f"Page: {out}"])
    show_result(explanations if as_json else explanation_text(explanations))
