"""What annotators of media share: for each column they read, further columns beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.ops.base import RowOp
from polymodal.ops.rows import Row, SetAside


class CellAnnotate(RowOp):
    """Annotates the cells of some columns, each by itself. An author writes `gives`, and `told` of a cell.

    The new columns are called `<column>_<suffix>`; a missing cell gets missing annotations. Without `columns` it takes
    those of its kinds, but for what another step wrote beside a column of the same kind: tags of tags say nothing.
    """

    gives: ClassVar[Mapping[str, str]] = {}  # suffix of a new column -> its kind

    @final
    def adds(self) -> dict[str, str]:
        return {f"{column}_{suffix}": kind for column in self.chosen for suffix, kind in self.gives.items()}

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        bound = super().bind(kinds if self.columns is not None else _given(kinds))
        bound = {**kinds, **bound}
        for column in self.adds():
            if column in kinds:
                raise BadArgument(
                    f"There is a column {column!r} already, which {type(self).__name__} would write. Rename it, or "
                    "leave the step out."
                )
        return bound

    @final
    def edit(self, row: Row) -> Sequence[Row] | None:
        for column in self.chosen:
            try:
                value = row.get(column)
                cells = {} if value is None else self.told(value)
            except (SetAside, BadCell) as error:
                raise SetAside(f"{column}: {error.reason}") from error
            for suffix in self.gives:
                row.put(f"{column}_{suffix}", cells.get(suffix))
        return None

    @abstractmethod
    def told(self, value: Any) -> Mapping[str, Any]:
        """What is to stand in the new columns, by suffix; what is left out stays missing."""


def _given(kinds: Mapping[str, str]) -> dict[str, str]:
    """The columns without annotations of another one of their kind: those whose `_model` column stands beside them."""
    return {
        name: kind for name, kind in kinds.items()
        if not any(
            kinds.get(name[:i]) == kind and f"{name[:i]}_{name[i + 1 :].split('_')[0]}_model" in kinds
            for i in range(1, len(name)) if name[i] == "_"
        )
    }  # fmt: skip


def one_of(name: str, given: str, allowed: Sequence[str]) -> str:
    """`given`, or `BadArgument` with the nearest allowed value."""
    if given not in allowed:
        raise BadArgument(f"Unknown {name} {given!r}.{suggest(given, allowed)}")
    return given


def needs_model(engine: str, model: str) -> None:
    """Raises `BadArgument` where an engine has no model of its own."""
    if not model:
        raise BadArgument(
            f"The engine {engine} needs `model`: the name of a model as {engine} knows it, or its folder."
            if engine != "learnt"
            else "The engine learnt needs `model`: the folder that train_language wrote."
        )


def called(model: str) -> str:
    """How a model is named in a column: a folder by its last part, a hub name whole."""
    from pathlib import Path

    return Path(model).name if Path(model).is_dir() else model
