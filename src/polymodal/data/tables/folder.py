"""A folder with one folder per class, as image and sound collections are often shipped."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from polymodal.core.errors import BadData
from polymodal.data.kinds import KINDS
from polymodal.data.split import SPLIT_NAMES
from polymodal.data.tables.table import Problem, Table


def read_classes(folder: Path, *, limit: int | None = None) -> Table:
    """Columns `file` (path relative to `folder`), `label` (the class folder's name) and, where there is one, `split`.

    The folders train/valid/test (or val, dev) above the classes become the column `split`. Files of no known kind of
    media are set aside and named; hidden files are passed over. Raises `BadData` when there is no class folder.
    """
    parts = _folders(folder)
    if not parts:
        raise BadData(f"{folder} holds no folders. Expected one folder per class, with the class's files in it.")
    split_folders = all(part.name.lower() in SPLIT_NAMES for part in parts)
    pairs = [(part, SPLIT_NAMES[part.name.lower()]) for part in parts] if split_folders else [(folder, None)]
    every = (
        (file, label.name, split)
        for part, split in pairs
        for label in _folders(part)
        for file in sorted(path for path in label.rglob("*") if not path.name.startswith("."))
        if not file.is_dir()
    )
    rows: list[tuple[str, str, str | None]] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    for number, (file, label, split) in enumerate(islice(every, limit)):
        name = file.relative_to(folder).as_posix()
        if not file.is_file():
            problems.append(Problem.of_record(name, "is a pipe, a device or a link to nothing", number))
        elif KINDS.of_file(file.name) is None:
            reason = f"is no known kind of media ({file.suffix or 'no suffix'})"
            problems.append(Problem.of_record(name, reason, number))
        else:
            rows.append((name, label, split))
            numbers.append(number)
    if not rows:
        raise BadData(f"{folder} has folders but no media files below them.")
    data = dict(zip(("file", "label", "split") if split_folders else ("file", "label"), zip(*rows)))
    ids = [name for name, *_ in rows]
    return Table.build(data, base=folder, name=folder.name, rows=numbers, ids=ids, problems=problems)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
