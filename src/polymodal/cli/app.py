"""The application, and what its commands share: options, configuration, printing."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from polymodal.core.errors import BadArgument
from polymodal.core.files import finite, told_path
from polymodal.core.shown import many, tell
from polymodal.core.values import named_columns, read_yaml

ORDER = (
    "demo", "recipe", "inspect", "prepare", "plan", "pretrain", "fit", "tune", "evaluate", "predict", "generate",
    "explain", "align", "index", "search", "classify", "list", "show", "store",
)  # fmt: skip


class InOrder(typer.core.TyperGroup):
    """Commands in the order of work, whichever module brings them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class Once(typer.core.TyperCommand):
    """A command whose options take their value once: of two the parser would keep the last without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        order = [] if ctx.resilient_parsing else self.make_parser(ctx).parse_args(args=[*args])[2]
        for one in order:
            takes_one = one.param_type_name == "option" and not (one.multiple or one.is_flag or one.count)  # type: ignore[attr-defined]
            if takes_one and order.count(one) > 1:
                also = " Several targets are named in a schema, as in `target: [price, weight]`."
                also = also if one.name == "target" else ""
                raise BadArgument(f"{one.opts[0]} is given {order.count(one)} times; it takes one value.{also}")
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """An application of such commands."""

    def command(self, name: str | None = None, *, cls: Any = Once, **options: Any) -> Any:
        return super().command(name, cls=cls, **options)


app = App(
    name="polymodal",
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[
    str, typer.Argument(help="CSV, Parquet, JSONL, table.xlsx#sheet, shop.db#table, a folder per class, shards …")
]
TargetOption = Annotated[
    str | None,
    typer.Option("--target", "-t", help="Column to predict; NAME=COLUMN,… or NAME=caption_*: each an answer in words."),
]
Valid = Annotated[str | None, typer.Option(help="Rows to choose by; cut from DATA when absent.")]
Test = Annotated[str | None, typer.Option(help="Rows to measure on, once; cut from DATA when absent.")]
SchemaOption = Annotated[str | None, typer.Option("--schema", help="YAML that corrects what is inferred.")]
ConfigOption = Annotated[str | None, typer.Option("--config", help="YAML with any option of the configuration.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FusionOption = Annotated[
    list[str] | None,
    typer.Option("--fusion", "-f", help="'auto', 'all', or names (repeat it, or commas). See `polymodal list`."),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="What is judged by: NAME, module:function, or TARGET=NAME; repeat it (or commas) to show others beside.",
        show_default="that of the target's kind",
    ),
]
SeedsOption = Annotated[int | None, typer.Option(min=1, help="Seeds a strategy.")]
PresetOption = Annotated[
    str | None, typer.Option(help="auto, fast, good, best or edge: what is tried.", show_default="auto")
]
ModelsOption = Annotated[
    str | None,
    typer.Option(help="Folder of pretrained models, a folder each.", show_default="that of POLYMODAL_MODELS"),
]
StartOption = Annotated[
    str | None, typer.Option("--start", help="Folder of a `pretrain` run: where encoders from scratch start from.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any option of the configuration, as name=value; value is YAML.")
]
RankOption = Annotated[
    str | None, typer.Option("--rank-by", help="Put rows in order within each value of this column, as user_id.")
]
ItemOption = Annotated[
    str | None, typer.Option("--rank-item", help="Column that names what is put in order, as movie_id.")
]
DeviceChoice = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.", show_default="auto")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (an accelerator where there is one), cpu, cuda, cuda:1 or mps.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run to the same result.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress; what of the data could not be used is said.")
]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", help="Column of DATA to carry over, or 'all'; repeat it (or commas). Keys are kept anyway."),
]
Trust = Annotated[
    list[str] | None, typer.Option("--trust", help="Module of own parts that the run's files may use; repeat it.")
]


def _allow(ctx: typer.Context, allowed: bool) -> bool:
    """For as long as the command runs."""
    if allowed:
        from polymodal.data.remote.remote import allow_remote

        ctx.with_resource(allow_remote())
    return allowed


AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote", callback=_allow, help="Fetch tables and cells by address: s3://, gs://, hf://, https://."
    ),
]


def _version(asked: bool) -> None:
    if asked:
        import polymodal

        tell(polymodal.__version__)
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """One model from records that mix pictures, words, sound and measurements, and what each was worth."""


def read_config(
    path: str | None, sets: list[str] | None, *, fusion: list[str] | None, metric: list[str] | None, kind: Any = None,
    **values: Any,
) -> Any:  # fmt: skip
    """The configuration, a `Config` or of another `kind`: the file's, then what was given on the command line."""
    from polymodal.config import Config

    changes = {name: value for name, value in values.items() if value is not None}
    names = [read_spec(word, "--fusion") for one in fusion or [] for word in _words(one)]
    if len(names) > 1 and (whole := [name for name in names if name in ("all", "auto")]):
        raise BadArgument(f"--fusion {whole[0]} stands alone; got {', '.join(map(str, names))}.")
    if names:
        changes["fusion"] = names[0] if names[0] in ("all", "auto") else names
    if metric:
        changes["metric"] = read_metrics(metric)
    changes |= read_sets(sets)
    return (kind or Config).given(path, changes)


def read_rank(by: str | None, item: str | None) -> dict[str, str] | None:
    """The option `rank` of a fit. Raises `BadArgument` for an item without a column to rank by."""
    if by is None and item is not None:
        raise BadArgument(
            f"--rank-item {item} goes with --rank-by: name the column within which rows are put in order."
        )
    return None if by is None else {"by": by, **({} if item is None else {"item": item})}


def read_metrics(given: list[str] | None) -> list[Any] | dict[str, list[Any]] | None:
    """Metrics given as `NAME` for every target, or as `TARGET=NAME`; the first of each is judged by.

    A name with options is written as in `read_spec`.
    """
    metrics: dict[str, list[Any]] = {}
    for one in given or []:
        target = ""
        for word in _words(one):
            named, equals, name = re.split("[{(]", word, maxsplit=1)[0].rpartition("=")
            name = word.removeprefix(named + equals)
            if equals and not (named and name):
                raise BadArgument(f"--metric takes NAME or TARGET=NAME; got {word!r}.")
            target = named if equals else target  # price=mae,rmse: both are the price's
            metrics.setdefault(target, []).append(read_spec(name, "--metric"))
    if len(metrics) > 1 and "" in metrics:
        raise BadArgument(f"--metric names a target for every metric or for none; got {metrics[''][0]!r} without one.")
    return metrics.get("", metrics or None)


def _words(given: str) -> list[str]:
    """The words of a list by commas; those within brackets, braces or parentheses belong to one word."""
    words = re.findall(r"(?:[^,{\[(]|\{[^}]*\}?|\[[^\]]*\]?|\([^)]*\)?)+", given)
    return [word.strip() for word in words if word.strip()]


def read_spec(word: str, what: str) -> Any:
    """A part as a name, or with its options: as the board writes it, `top_k(k=2)`, or in YAML, `{name: top_k, k: 2}`.

    Raises `BadArgument` for what is neither.
    """
    if written := re.fullmatch(r"([\w.:]+)\((.+)\)", word):
        options = ", ".join(re.sub(r"^\s*(\w+)\s*=\s*", r"\1: ", one) for one in _words(written[2]))
        word = f"{{name: {written[1]}, {options}}}"
    return read_yaml(word, f"{what} {word}") if word.startswith("{") else word


def read_keep(given: list[str] | None, columns: Sequence[str]) -> str | list[str]:
    """The columns to keep: names, or `all`. What names a column as a whole is not parted by commas."""
    names = named_columns(given or [], columns)
    return "all" if "all" in names else names


def read_sets(sets: list[str] | None) -> dict[str, Any]:
    """Options given as `--set name=value`, where the value is YAML."""
    options = {}
    for item in sets or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadArgument(f"--set takes name=value; got {item!r}.")
        options[name] = read_yaml(value, f"--set {name}")
    return options


def read_rows(run: Any, data: str, *, last: bool = False) -> Any:
    """The rows of `data` for a finished run, of conversations the `last` turns alone; columns that the model reads and
    the data lack are said or refused."""
    from polymodal.data.tables.source import read_table

    table = run.read(read_table(data), last=last)
    lacking = run.lacking(table)
    say([f"not in {told_path(data)}: {', '.join(lacking)}; missing in every row"] if lacking else [])
    say(run.misnamed(table))
    return table


INSPECT = "what `polymodal inspect --json` says"  # of a table, where the command keeps no list itself


def say_counts(
    read: int,
    problems: Sequence[Any],
    done: str,
    count: int | None = None,
    *,
    others: str = "noted while reading",
    complete: str = "",
) -> None:
    """How many records were read, how many of them were `done`, and which were left out while reading, and why.

    `count` is how many were done where it is not all that gave a row; `others` is what other problems are called,
    `complete` where all reasons stand.
    """
    left = [problem for problem in problems if problem.record is not None]
    without = f", {len(left):,} left out" if left else ""
    say([f"{many(read, 'row')} read, {read - len(left) if count is None else count:,} {done}{without}"])
    say_problems(left, "left out", complete=complete)
    say_problems([problem for problem in problems if problem.record is None], others, complete=complete)


def say_problems(problems: Sequence[Any], what: str = "set aside", *, complete: str = "") -> None:
    """`problem_lines`."""
    from polymodal.data.tables.table import problem_lines

    say(problem_lines(problems, what, complete=complete))


def say_aside(folder: Path) -> None:
    """What a run that showed no progress could not use of its data."""
    from polymodal.runs.folder import aside_in

    say_problems(aside_in(folder), "noted", complete=str(folder / "set_aside.jsonl"))


def say_device(name: str) -> None:
    """On which accelerator the work will be done; nothing on the CPU."""
    from polymodal.core.runtime import device_of, told

    say(told(device_of(name)))


def forked(command: str) -> None:
    """Fork the workers of a fit ahead, where this process is the `command`'s alone; to be called before it computes."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # or its threads would be there when workers are forked
    from polymodal.experiment import jobs  # noqa: F401 - what workers need
    from polymodal.experiment.fit import RUNS
    from polymodal.runs.processes import fork_ahead

    if sys.argv[1:2] == [command]:
        fork_ahead(RUNS)


def spare(data: str, out: str | Path) -> None:
    if Path(data).resolve() == Path(out).resolve():
        raise BadArgument(f"--out {out} is the data itself, which would be overwritten. Give another file.")


def show_result(result: Any) -> None:
    """A result on standard output: words as they are, anything else as JSON."""
    tell(result if isinstance(result, str) else json.dumps(finite(result), ensure_ascii=False, indent=1))


def say(lines: Iterable[str]) -> None:
    """Remarks go to standard error, so that standard output can be piped."""
    for line in lines:
        tell(line, sys.stderr)
