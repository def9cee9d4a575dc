"""An application recipe carried out: on its sample, or on a folder of real data, beside the figures to expect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.alignment.config import AlignConfig
from polymodal.alignment.run import align
from polymodal.config import Config
from polymodal.core.errors import BadArgument, BadData, PolymodalError, require, suggest
from polymodal.core.files import read_json
from polymodal.core.shown import some
from polymodal.data.cells import cells
from polymodal.data.inputs import Inputs
from polymodal.data.overrides import read_overrides
from polymodal.data.schema import Schema
from polymodal.data.split import PARTS
from polymodal.data.tables.source import Table, read_table
from polymodal.experiment.fit import fit
from polymodal.recipes.recipe import Recipe
from polymodal.recipes.sample import write_sample

SUFFIXES = (".csv", ".parquet", ".jsonl", ".tsv", ".feather")
MODULES = {"video": "av", "hf": "transformers"}  # of the extras that recipes need
LOOKED = 50  # rows whose files are looked for before anything is computed
QUICK: Mapping[str, Any] = {"preset": "fast"}  # of a fit on a sample, unless the recipe or the user says otherwise
VERDICTS = {True: "gain", False: "loss", None: "unproven"}
ONE = "one stream"


@dataclass(frozen=True)
class Done:
    """A recipe that ran: `run` is what `fit` or `align` gave; `score` and its ends `low` and `high` are of `metric` on
    the test rows; `verdict` is gain, loss, unproven or one stream, None of an align."""

    run: Any
    recipe: Recipe
    made_up: bool
    metric: str
    score: float
    low: float
    high: float
    verdict: str | None

    @property
    def expected(self) -> Mapping[str, Any] | None:
        return self.recipe.figures.get("sample" if self.made_up else "real")

    @property
    def as_expected(self) -> bool | None:
        """Whether the score, or its interval on real data, meets what is expected; None where nothing is."""
        ours = self.expected
        if not ours:
            return None
        least, most = (self.score, self.score) if self.made_up else (self.low, self.high)
        return bool(most >= ours["low"] and least <= ours["high"])

    def text(self) -> str:
        """The figures side by side, and what the report says, line by line."""
        where = "made-up data: they show how it works, and nothing of the world" if self.made_up else "real data"
        lines = [f"{self.recipe.name}, {self.metric} on test rows ({where})"]
        by = f", by {self.run.metrics['chosen']}" if self.verdict is not None else ""
        lines.append(f"  here       {_figure(self.score, self.low, self.high)}{by}")
        ours = self.expected
        if ours is None:
            lines.append("  expected   nothing yet: write what you measured into figures.yaml")
        else:
            fits = "as expected" if self.as_expected else "NOT as expected"
            said = f"between {ours['low']:.3f} and {ours['high']:.3f}" if self.made_up else _figure(**_ends(ours))
            how = f"  [{ours['command']}, {ours['date']}]" if "command" in ours else ""
            lines.append(f"  expected   {said}: {fits}{how}")
            if "by_hand" in ours:
                lines.append(f"  by hand    {ours['by_hand']}")
            if "published" in ours:
                lines.append(f"  published  {ours['published']}")
        if self.verdict is not None:
            wanted = ours.get("verdict") if ours else None
            beside = "" if wanted is None else ", as expected" if wanted == self.verdict else f"; expected: {wanted}"
            lines.append(f"  verdict    {self.verdict}{beside}")
            lines.append(self.run.verdict)
        lines.append(f"Report: {self.run.report}")
        return "\n".join(lines)


def run_recipe(
    recipe: Recipe,
    data: str | Path | None = None,
    *,
    out: str | Path,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Done:
    """Carry a recipe out on the tables in the folder `data`, or on its sample, which is written to `OUT-data`.

    `options` are those of the recipe's command and win over its `config.yaml`. Raises `MissingExtra` where an extra is
    not installed, `BadData` for a folder that is not laid out as the recipe needs, and as `fit` and `align` do.
    """
    for extra in recipe.needs:
        require(MODULES.get(extra, extra), extra)
    out = Path(out)
    made_up = data is None
    folder = write_sample(recipe.sample, out.with_name(f"{out.name}-data")) if data is None else Path(data)
    tables = check_folder(recipe, folder)
    config = {**recipe.config, **((recipe.sample.get("config") or {}) if made_up else {}), **options}
    given: dict[str, Any] = {
        "valid": tables["valid"], "test": tables["test"], "schema": recipe.schema, "out": out, "resume": resume,
        "quiet": quiet,
    }  # fmt: skip
    run: Any
    if recipe.command == "align":
        settings = AlignConfig.from_options(config)
        run = align(tables["train"], recipe.over, config=settings, **given)
    else:
        fitted = Config.from_options({**QUICK, **config} if made_up else config)
        run = fit(tables["train"], config=fitted, **given)
    metric, found = _score(recipe, run, made_up)
    return Done(run, recipe, made_up, metric, **_ends(found, "score"), verdict=_verdict(recipe, run))


def check_folder(recipe: Recipe, folder: Path) -> dict[str, str]:
    """The files of the parts in `folder`, after a look whether all is there that the recipe reads.

    Raises `BadData` that names the part, the column, the array or the files that are missing, and where the recipe
    tells how they are laid out.
    """
    about = f"`polymodal recipe show {recipe.name}` tells how the folder is laid out."
    if not folder.is_dir():
        raise BadData(f"--data {folder} is no folder. {about}")
    found = {part: path for part in PARTS if (path := _table(folder, part)) is not None}
    if lacking := [part for part in PARTS if part not in found]:
        there = sorted(path.name for path in folder.iterdir())
        raise BadData(
            f"{folder} has no {', no '.join(f'{part}.csv' for part in lacking)} (or one of {', '.join(SUFFIXES[1:])}). "
            f"It holds {some(there) or 'nothing'}. {about}"
        )
    for part, path in found.items():
        try:
            read_overrides(recipe.schema, (table := read_table(path)).columns)
            if part == "train":
                given = Inputs.read(path, schema=recipe.schema)
                table, schema = given.tables[part], given.schema(None, recipe.schema)
        except PolymodalError as error:
            raise BadData(f"{path}: {error} {about}") from error
        _check_files(path, table, schema, about)
    return {part: str(path) for part, path in found.items()}


def _table(folder: Path, part: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / f"{part}{suffix}").is_file()), None)


def _check_files(path: Path, table: Table, schema: Schema, about: str) -> None:
    """Raise `BadData` when an array or an edge list is not there, or none of the first files that a column names."""
    for field in schema.fields.values():
        held = field.options.get("array") or (field.options.get("path") if field.about.reads_neighbours else None)
        if held is not None:
            if not (table.base / held).is_file():
                raise BadData(
                    f"{path}: there is no {table.base / held}, which the stream {field.name!r} reads. {about}"
                )
            continue
        if not field.about.media:
            continue
        named = [cell for cell in islice(cells(table, field), LOOKED) if isinstance(cell, Path)]
        if named and not any(cell.exists() for cell in named):
            raise BadData(
                f"{path}: column {field.columns[0]!r} names files, and none of the first {len(named)} is there, as "
                f"{named[0]}. {about}"
            )


def _score(recipe: Recipe, run: Any, made_up: bool) -> tuple[str, Mapping[str, Any]]:
    """What is judged by, in words, and its score on the test rows with its ends; a sample may say another metric, as
    some want many rows."""
    metrics, figures = run.metrics, recipe.figures
    own = (figures.get("sample") or {}).get("metric") if made_up else None
    metric = own or figures.get("metric") or metrics.get("primary")
    if recipe.command == "align":
        way, _, measure = (metric or f"{next(iter(metrics['test']))}, recall@1").rpartition(", ")
        return f"{way}, {measure}", metrics["test"][way][measure]
    if metric not in metrics["test"]:
        raise BadArgument(f"figures.yaml asks for {metric!r}.{suggest(str(metric), metrics['test'])}")
    return metric, metrics["test"][metric]


def _verdict(recipe: Recipe, run: Any) -> str | None:
    """Whether fusing helped, in a word."""
    if recipe.command == "align":
        return None
    if len(run.predictor.schema.fields) < 2:
        return ONE
    return VERDICTS[read_json(run.folder / "evaluation.json")["verdict"]["helped"]]


def _ends(figure: Mapping[str, Any], mean: str = "mean") -> dict[str, float]:
    with suppress(KeyError):
        return {mean: figure["mean"], "low": figure["low"], "high": figure["high"]}
    raise BadArgument(f"A figure has mean, low and high; got {sorted(figure)}.")


def _figure(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"
