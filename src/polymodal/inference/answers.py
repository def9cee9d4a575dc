"""What `predict` returns: columns by name, a value a row."""

from __future__ import annotations

from typing import Any

from polymodal.core.errors import require
from polymodal.core.html import table_html
from polymodal.core.shown import many, plain, some

SHOWN = 10  # rows that a notebook shows
FEW = 3  # of each of the first columns, in a line


class Answers(dict[str, list[Any]]):
    """Columns by name, a dict of lists of one length."""

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return len(next(iter(self.values()), ()))

    def frame(self) -> Any:
        """The same as a pandas DataFrame. Raises `MissingExtra` without pandas."""
        return require("pandas", "pandas").DataFrame(dict(self))

    def __repr__(self) -> str:
        cells = [", ".join([*map(_shown, column[:FEW]), *["…"] * (len(column) > FEW)]) for column in self.values()]
        columns = [f"{plain(name)}=[{said}]" for name, said in zip(self, cells)]
        return f"Answers({many(self.rows, 'row')}" + (f": {some(columns)})" if columns else ")")

    def _repr_html_(self) -> str:
        shown = zip(*(column[:SHOWN] for column in self.values()))
        return table_html(list(self), shown, more=max(0, self.rows - SHOWN))


class Stopped(KeyboardInterrupt):
    """Stopped by the user while rows were answered: `answers` to those that were done, `table`, and how many are
    `missing`."""

    def __init__(self, answers: Answers, table: Any, missing: int):
        done = len(table)
        super().__init__(f"Stopped: {done:,} of {many(done + missing, 'row')} are answered, {missing:,} are missing.")
        self.answers, self.table, self.missing = answers, table, missing


def _shown(value: Any) -> str:
    said = plain(f"{value:.4g}" if isinstance(value, float) else repr(value))
    return said if len(said) <= 24 else f"{said[:23]}…"
