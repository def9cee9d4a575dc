"""What `predict` returns: columns by name, a value a row."""

from __future__ import annotations

from typing import Any

from polymodal.core.errors import require
from polymodal.core.html import table_html

SHOWN = 10  # rows that a notebook shows


class Answers(dict[str, list[Any]]):
    """Columns by name, a dict of lists of one length."""

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return len(next(iter(self.values()), ()))

    def frame(self) -> Any:
        """The same as a pandas DataFrame. Raises `MissingExtra` without pandas."""
        return require("pandas", "pandas").DataFrame(dict(self))

    def _repr_html_(self) -> str:
        shown = zip(*(column[:SHOWN] for column in self.values()))
        return table_html(list(self), shown, more=max(0, self.rows - SHOWN))
