"""Recipe: the ops to carry out, in order, from YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from polymodal.core.errors import BadArgument, PolymodalError, UnknownName, suggest
from polymodal.core.limits import read_settings
from polymodal.core.registry import Catalogue, label
from polymodal.core.trust import modules
from polymodal.core.values import read_yaml
from polymodal.ops import ANNOTATE, AUGMENT, CLEAN
from polymodal.ops.augment.base import Augment
from polymodal.ops.base import CellOp, Op

if TYPE_CHECKING:
    from polymodal.inference.space import Space

MOST_ROWS = 4096  # that may become of one
OF_A_RECIPE = ("steps", "seed", "batch")


@dataclass(frozen=True)
class Recipe:
    """Steps as specs (`"blur"` or `{"name": "blur", "columns": "photo"}`), the seed of every draw, rows a batch."""

    steps: tuple[Any, ...]
    seed: int = 0
    batch: int = 256

    def __post_init__(self) -> None:
        if not self.steps:
            raise BadArgument("The recipe has no step. List ops, one a line; `polymodal list clean` shows them.")
        for name, value, least in (("seed", self.seed, 0), ("batch", self.batch, 1)):
            if not isinstance(value, int) or value < least:
                raise BadArgument(f"{name} of a recipe must be a whole number of at least {least}; got {value!r}.")

    @classmethod
    def read(cls, source: str | Path | Sequence[Any] | Mapping[str, Any] | Recipe) -> Recipe:
        """From a YAML file, or from what such a file holds: a list of steps, or `steps:` with `seed:` and `batch:`.

        Raises `BadArgument` for a file that is absent or holds neither.
        """
        if isinstance(source, Recipe):
            return source
        where = "the recipe"
        if isinstance(source, str | Path):
            where = str(source)
            if not Path(source).is_file():
                raise BadArgument(
                    f"The recipe {where!r} does not exist. `polymodal prepare DATA --suggest` writes one."
                )
            source = read_yaml(read_settings(Path(source)), where) or []
        if isinstance(source, Mapping):
            for key in source:
                if key not in OF_A_RECIPE:
                    raise BadArgument(f"Unknown entry {key!r} of {where}.{suggest(key, OF_A_RECIPE)}")
            options = {k: v for k, v in source.items() if k != "steps"}
            return cls(tuple(_step(s, where) for s in _listed(source.get("steps"), where)), **options)
        if isinstance(source, Sequence):
            return cls(tuple(_step(s, where) for s in source))
        raise BadArgument(f"{where} must hold a list of steps; got a {type(source).__name__}.")

    def ops(self, kinds: Mapping[str, str], *, trust: str | Sequence[str] = ()) -> list[Op]:
        """The ops, each bound to its columns of a table of these kinds; `trust` is for the spaces that they open.

        Raises `UnknownName` for an unknown op, `BadArgument` for an option or a column that does not fit,
        and for steps that would make rows beyond all measure of one.
        """
        ops, rows = [], 1
        for place, step in enumerate(self.steps):
            options = dict(step) if isinstance(step, Mapping) else {"name": step}
            with _named(place, options["name"]):
                op = _built(options)
                op.seed, op.place = self.seed, place
                op.open_space = partial(open_space, trust=modules(trust))  # type: ignore[method-assign]
                kinds = op.bind(kinds)
                rows *= 1 + op.copies if isinstance(op, Augment) else 1
                if rows > MOST_ROWS:
                    raise BadArgument(
                        f"each row would become {rows:,}, since a step that makes copies varies those of the steps "
                        f"before it too; at most {MOST_ROWS:,} are allowed. Take out steps, or lower their copies."
                    )
            ops.append(op)
        return ops

    def to_yaml(self) -> str:
        """As a file holds it."""
        return yaml.safe_dump(self.to_json(), sort_keys=False, allow_unicode=True)

    def to_json(self) -> dict[str, Any]:
        return {"seed": self.seed, "batch": self.batch, "steps": list(self.steps)}


@cache
def open_space(folder: str, *, trust: tuple[str, ...] = ()) -> Space:
    """The space that an `align` run left in a folder, opened once. Raises as `load_space`."""
    from polymodal.inference.space import load_space
    from polymodal.ops.networks import DEVICE

    return load_space(Path(folder), trust=trust, device=DEVICE.get())


def catalogue_of(name: Any) -> Catalogue:
    """The catalogue that has this op. Raises `UnknownName` with the nearest name of all three."""
    for parts in (CLEAN, ANNOTATE, AUGMENT):
        if not isinstance(name, str) or name in parts:
            return parts
    if ":" in name:
        return CLEAN
    everything = [*CLEAN, *ANNOTATE, *AUGMENT]
    raise UnknownName(f"No op is called {name!r}.{suggest(name, everything)}")


@contextmanager
def _named(place: int, name: Any) -> Iterator[None]:
    """Errors within say which step they are of: a recipe may hold the same op five times."""
    try:
        yield
    except PolymodalError as error:
        error.args = (f"Step {place + 1}, {label(name)}: {error}",)
        raise


def _built(spec: Mapping[str, Any]) -> Op:
    """The op of a step."""
    options = dict(spec)
    name = options["name"]
    keep_row = options.pop("keep_row", False)
    if not isinstance(keep_row, bool):
        raise BadArgument(f"keep_row takes true or false; got {keep_row!r}.")
    family = catalogue_of(name)
    kind, _ = family.resolve(options if len(options) > 1 else name)
    if keep_row and not issubclass(kind, CellOp):
        raise BadArgument(
            "keep_row belongs to steps that look at one cell at a time. This one looks at whole rows: leave it out."
        )
    op: Op = family.build(options if len(options) > 1 else name)
    op.name, op.keep_row = str(name), keep_row
    return op


def _listed(steps: Any, where: str) -> Sequence[Any]:
    if steps is None or (isinstance(steps, Sequence) and not isinstance(steps, str)):
        return steps or ()
    raise BadArgument(f"steps of {where} must be a list, one step a line that begins with '- '; got {steps!r}.")


def _step(given: Any, where: str) -> Any:
    """`blur`, `{name: blur, …}` and `{blur: {…}}` all mean one step."""
    if isinstance(given, str | type):
        return given
    if isinstance(given, Mapping):
        if "name" in given:
            return dict(given)
        if len(given) == 1:
            name, options = next(iter(given.items()))
            if options is None:
                return name
            if isinstance(options, Mapping):
                return {"name": name, **options}
    raise BadArgument(
        f"A step of {where} must be a name, or a name with options as in 'blur: {{below: 50}}'; got {given!r}."
    )
