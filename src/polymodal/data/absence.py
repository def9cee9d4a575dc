"""What stands for a missing value in each column: "NA" and "None" are values where the column shows that they are."""

from __future__ import annotations

from collections.abc import Collection

from polymodal.data.infer import tell, tell_target
from polymodal.data.overrides import Overrides
from polymodal.data.tables.table import Table

VALUES = frozenset(("None", "NA", "na", "N/A", "n/a"))  # words of absence that name a class or a country as well


def read_absence(
    table: Table, targets: Collection[str], said: Overrides, warnings: list[str]
) -> tuple[dict[str, tuple[str, ...]], Table]:
    """The marks by column, where they are not the usual ones, and the table read so.

    A column of words keeps "None" or "NA" as a value where all its missing cells are spelt so, none is empty, and no
    column of numbers or dates uses the word for what is missing. What was decided of a target goes into `warnings`.
    """
    missing = dict(said.missing)
    spelt = {c: set(map(str.strip, words.values())) for c, words in table.spelt.items() if c not in missing}
    told: dict[str, str] = {}
    for column in spelt:
        if any(value is not None for value in table.column(column)):
            guess = tell_target(table.column(column)) if column in targets else tell(table, column)
            told[column] = guess.kind
    marks = {word for column, kind in told.items() if kind in ("number", "date") for word in spelt[column]}
    for column, kind in told.items():
        words = table.spelt[column]
        empty = sum(value is None for value in table.column(column)) - len(words)
        word = min(spelt[column])
        shown = f"{column}: {len(words):,} cells say {' or '.join(map(repr, sorted(spelt[column])))}"
        wordy = kind == "category" or any(isinstance(value, str) for value in table.column(column))
        alone = len(spelt[column]) == 1 and word in VALUES and not empty and word not in marks
        if alone and wordy and kind in ("classes", "category"):
            missing[column] = ()
            if column in targets:
                warnings.append(
                    f"{shown}, which is taken for a class, since no cell is empty. If nothing is known of these rows, "
                    f"say in a schema `missing: {{{column}: [{word}]}}`."
                )
            continue
        if column in targets and kind == "classes":
            warnings.append(
                f"{shown} and count as missing. If it is a class, say in a schema `missing: {{{column}: []}}`."
            )
    return missing, table.read_as(missing)
