"""`polymodal generate` by a pretrained model as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.cli.app import read_keep, say, say_counts, say_device, say_problems, show_result
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.shown import many
from polymodal.core.values import named_columns

if TYPE_CHECKING:
    from polymodal.inference.answers import Stopped


def generate_by_model(
    model: str,
    data: str | None,
    given: Mapping[str, Sequence[str]],
    *,
    out: Path | None,
    page: Path | None,
    columns: Sequence[str],
    keep: list[str] | None,
    device: str,
    n: int,
    seed: int,
    **options: Any,
) -> None:
    """Answer the rows of `data`, or one example that is `given` by kinds, and write or show the answers."""
    from polymodal.core.files import writing
    from polymodal.data.inputs import read_rows
    from polymodal.data.tables.write import check_writable, write_columns
    from polymodal.generators.answering import answered, opened
    from polymodal.generators.columns import read_columns, row_cards
    from polymodal.inference.answered import write_answers
    from polymodal.inference.answers import Stopped
    from polymodal.inference.keyed import of_rows

    say_device(device)
    generator = opened(model, device=device, **options)
    single = data is None and out is not None and out.suffix.lower() == generator.suffix != ""
    if generator.suffix and out is None and page is None:
        raise BadArgument(f"This model gives {generator.suffix} files: say where they go (--out).")
    if out is not None and not single:
        check_writable(out)
    table = example_of(given, generator.reads()) if data is None else read_rows(data)
    wanted = named_columns(columns, table.data)
    read = read_columns(table, wanted if data is not None else table.columns, type(generator), generator.about.name)
    problems: list[Any] = []
    kept = read_keep(keep, table.columns)
    stopped: Stopped | None = None
    try:
        found = answered(generator, table, read, n=n, seed=seed, keep=kept, problems=problems, quiet=data is None)
    except Stopped as early:
        stopped, table, found = check_stopped(early), early.table, early.answers
    names = [generator.column, *(f"{generator.column}_{k}" for k in range(2, n + 1))]
    if data is None and found[generator.column][0] is None:
        raise BadData(f"{': '.join(filter(None, (problems[0].column, problems[0].reason)))}.")
    say_counts(table.records, table.problems, "answered", sum(one is not None for one in found[generator.column]))
    say_problems(problems)
    if page is not None:
        told = {name: of_rows(table, found[name]) for name in names}
        write_answers(page, model, table.ids, told, lambda row: row_cards(table, read, row), problems)
        say([f"Page: {page}"])
    if single and out is not None:
        for k, name in enumerate(names, 1):
            file = out if k == 1 else out.with_stem(f"{out.stem}_{k}")
            with writing(file) as temporary:
                temporary.write_bytes(found[name][0])
        show_result(f"written to {out}" + (f" and {n - 1} beside it" if n > 1 else ""))
    elif out is not None:
        write_columns(found, out, files=True)
        show_result(f"{many(table.records, 'row')} written to {out}")
    elif not generator.suffix:
        show_result("\n".join("\t".join(found[name][row] or "" for name in names) for row in range(len(table))))
    end_stopped(stopped)


def check_stopped(stopped: Stopped) -> Stopped:
    """One that has answers. Raises `Interrupted` where there is none to be kept."""
    from polymodal.runs.folder import Interrupted

    if not len(stopped.table):
        raise Interrupted(f"{stopped} Nothing is written.") from None
    return stopped


def end_stopped(stopped: Stopped | None) -> None:
    """Raise `Interrupted` where answers are not all, now that those that are there were shown or written."""
    from polymodal.runs.folder import Interrupted

    if stopped is not None:
        raise Interrupted(f"{stopped} Give the others as a table of their own: `generate` has no --resume.")


def example_of(given: Mapping[str, Sequence[str]], reads: Sequence[str]) -> Any:
    """A table of one row: a column a kind, of several values a list. Raises `BadArgument` for a kind that is not
    read."""
    from polymodal.data.tables.table import Table

    if odd := [kind for kind in given if kind not in reads]:
        raise BadArgument(f"--{odd[0]} {given[odd[0]][0]}: this model reads {' and '.join(reads)}.")
    return Table.build({kind: [values[0] if len(values) == 1 else list(values)] for kind, values in given.items()},
                       name="the example")  # fmt: skip
