"""A folder with one folder per class, as image and sound collections are often shipped."""

from __future__ import annotations

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
    data: dict[str, list[str | None]] = {"file": [], "label": [], "split": []}
    problems: list[Problem] = []
    for part, split in pairs:
        for label in _folders(part):
            for file in sorted(path for path in label.rglob("*") if not path.name.startswith(".")):
                if file.is_dir():
                    continue
                relative = file.relative_to(folder).as_posix()
                if not file.is_file():
                    problems.append(Problem(relative, "", "is a pipe, a device or a link to nothing; set aside"))
                    continue
                if KINDS.of_file(file.name) is None:
                    reason = f"is no known kind of media ({file.suffix or 'no suffix'}); set aside"
                    problems.append(Problem(relative, "", reason))
                    continue
                data["file"].append(relative)
                data["label"].append(label.name)
                data["split"].append(split)
    if not data["file"]:
        raise BadData(f"{folder} has folders but no media files below them.")
    if not split_folders:
        del data["split"]
    columns = {name: values[:limit] for name, values in data.items()}
    return Table.build(columns, base=folder, name=folder.name, ids=columns["file"], problems=problems)  # type: ignore[arg-type]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
