"""What an application recipe says, where they lie, and how one is copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.limits import read_settings
from polymodal.core.values import check_types, read_yaml

SHIPPED = Path(__file__).parent
FILES = ("README.md", "recipe.yaml", "schema.yaml", "config.yaml", "figures.yaml")
DOES = ("fit", "align")
HEAD = "# CHANGE: question, source, licence, split and why are yours to say; `sample` makes the table to try.\n"
OWN = """# What to expect of your own table. Of the recipe's figures none holds for it, so none was copied.
#
# metric: accuracy                  # CHANGE: as in metrics.json of a run
# real:
#   mean: 0.8                       # what you measured, between which ends, by which command and when
#   low: 0.75
#   high: 0.85
#   verdict: gain                   # what the report should say: gain, loss, unproven, or one stream
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One application. `folder` is where its files lie.

    `question` is what is asked, `area` where it comes up; `streams` tells each stream in words, `target` what is
    answered. `split` is how rows are cut into parts and `why`; `source` and `licence` of the real data; `needs` the
    extras without which the recipe does not run. `command` is `fit` or `align`, of which `over` are the streams to
    bring together; `sample` describes a table of the same form (see `polymodal.recipes.sample`).
    """

    folder: Path
    question: str
    area: str
    streams: Mapping[str, str]
    target: str
    split: str
    why: str
    source: str
    licence: str
    sample: Mapping[str, Any]
    needs: list[str] = field(default_factory=list)
    command: str = "fit"
    over: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.command not in DOES:
            raise BadArgument(f"{self.folder}: unknown command {self.command!r}.{suggest(self.command, DOES)}")
        if (self.command == "align") != (self.over is not None):
            raise BadArgument(f"{self.folder}: `over` names the streams of an align, and belongs to it alone.")

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def schema(self) -> Path:
        return self.folder / "schema.yaml"

    @property
    def config(self) -> Mapping[str, Any]:
        """The options of the command."""
        return _read(self.folder / "config.yaml")

    @property
    def figures(self) -> Mapping[str, Any]:
        """What to expect: `metric`, `real`, `sample`; nothing in a copy, until its owner has measured it."""
        return _read(self.folder / "figures.yaml")

    @property
    def readme(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf-8")

    @classmethod
    def open(cls, name: str | Path) -> Recipe:
        """The recipe of that name, or in that folder, as `copied` makes them.

        Raises `UnknownName` with the nearest name, `BadData` for a folder that lacks a file, `BadArgument` for what
        its files should not say.
        """
        folder = SHIPPED / str(name) if str(name) in names() else Path(name)
        if not (folder / "recipe.yaml").is_file():
            raise UnknownName(
                f"There is no application recipe {str(name)!r}, and no folder of that name that holds a recipe.yaml."
                f"{suggest(str(name), names())}"
            )
        lacking = [file for file in FILES if not (folder / file).is_file()]
        if lacking:
            raise BadData(
                f"{folder} lacks {', '.join(lacking)}, which a recipe has (`polymodal recipe new` makes one)."
            )
        values = _read(folder / "recipe.yaml")
        known = {one.name for one in fields(cls)} - {"folder"}
        for key in values:
            if key not in known:
                raise BadArgument(f"{folder / 'recipe.yaml'}: unknown key {key!r}.{suggest(str(key), known)}")
        needed = {one.name for one in fields(cls) if one.name not in ("folder", "needs", "command", "over")}
        if absent := sorted(needed - set(values)):
            raise BadArgument(f"{folder / 'recipe.yaml'} does not say {', '.join(absent)}.")
        return cls(folder=folder, **values)


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/recipe.yaml"))


def listed() -> list[dict[str, Any]]:
    """A row a recipe: what is asked, of what, and how rows are split."""
    recipes = (Recipe.open(name) for name in names())
    return [
        {
            "name": one.name, "area": one.area, "question": one.question, "streams": list(one.streams),
            "target": one.target, "split": one.split, "command": one.command, "needs": list(one.needs),
        }
        for one in recipes
    ]  # fmt: skip


def markdown() -> str:
    """The table of `docs/recipes.md`: every recipe with what was measured on real data."""
    heads = ["recipe", "question", "split", "metric", "here (95 %)", "by hand", "published", "verdict to expect"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in map(Recipe.open, names()):
        figures, real = one.figures, one.figures.get("real") or {}
        ours = "{mean:.3f} ({low:.3f} to {high:.3f})".format(**real) if real else "not measured"
        verdict = real.get("verdict", "")
        said = " or ".join(verdict) if isinstance(verdict, list) else verdict
        cells = [f"`{one.name}`", one.question, one.split, figures["metric"], ours]
        lines.append(f"| {' | '.join([*cells, real.get('by_hand', ''), real.get('published', ''), said])} |")
    return "\n".join(lines)


def copied(recipe: Recipe, folder: Path) -> list[tuple[str, int, str]]:
    """Write the recipe's files to `folder`, but for its figures, which hold for its data alone.

    Gives (file, line, text) of every line that its new owner must change, marked `CHANGE`. Raises `BadArgument` when
    the folder holds anything: nothing is written over.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadArgument(f"{folder} exists and is not empty; nothing is written over. Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        content = (recipe.folder / file).read_text(encoding="utf-8").removeprefix(HEAD)
        content = OWN if file == "figures.yaml" else HEAD + content if file == "recipe.yaml" else content
        (folder / file).write_text(content, encoding="utf-8")
    return [
        (file, number, line.strip())
        for file in FILES
        if file != "README.md"
        for number, line in enumerate((folder / file).read_text(encoding="utf-8").splitlines(), 1)
        if "CHANGE" in line
    ]


def _read(path: Path) -> Mapping[str, Any]:
    """The mapping in a YAML file, empty where it holds nothing but comments."""
    values = read_yaml(read_settings(path), str(path)) or {}
    if not isinstance(values, Mapping):
        raise BadArgument(f"{path} must hold 'name: value' lines; got a {type(values).__name__}.")
    return values
