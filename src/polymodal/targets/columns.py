"""Names of the columns that answers to several targets have in one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from polymodal.targets.base import Target

Names = Mapping[str, Mapping[str, str]]  # by target: what `Target.columns` calls a column, and what the table calls it


def answer_columns(targets: Sequence[Target], taken: Collection[str] = ()) -> Names:
    """The name of every column of every target's answer, no two of them alike.

    A target's own name always stands, and so do the names `taken`, such as the user's keys. What else comes with an
    answer is called `…_of_TARGET` where its usual name is one of those or was given before: with targets `temp` and
    `temp_low`, the lower end of the former's interval is `temp_low_of_temp`. The names depend on nothing else.
    """
    used = {*taken, *(target.name for target in targets)}
    names: dict[str, dict[str, str]] = {}
    for target in targets:
        own = names[target.name] = {target.name: target.name}
        for column in target.column_names():
            if column != target.name:
                own[column] = free(used, column, f"{column}_of_{target.name}")
                used.add(own[column])
    return names


def free(used: Collection[str], *wanted: str) -> str:
    """The first name wanted that is not used, else the last of them with a number behind it."""
    numbered = (f"{wanted[-1]}_{number}" for number in range(2, len(used) + 3))
    return next(name for name in (*wanted, *numbered) if name not in used)


def renamed(names: Names) -> list[str]:
    """What to tell the user of columns that do not bear their usual name."""
    return [
        f"Of the answers, {usual!r} of the target {target!r} is called {name!r}: another column bears that name."
        for target, own in names.items()
        for usual, name in own.items()
        if name != usual
    ]
