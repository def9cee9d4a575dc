"""Columns that are left out although they look like data: what is lost with them is said, never dropped in silence."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.core.addresses import is_link
from polymodal.data.kinds import KINDS
from polymodal.data.paths import resolve
from polymodal.data.tables.table import Table

SAID, UNLISTED = "the schema says ignore", "not among the fields of the schema"  # why a column is not used
LOOKED_AT, OPENED = 400, 8  # cells whose words are looked at; whose files are sought
_FILE = re.compile(r"[^\n?*<>|\"@]{0,1000}[^\s./\\](\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,6})")
_WORDS = re.compile(r"[^\W\d_]{2,}")


def dropped(table: Table, ignored: Mapping[str, str], told: Mapping[str, tuple[str, str]]) -> list[str]:
    """A warning for each column that is not used and whose cells look like files, web addresses, media or free text.

    `ignored` maps unused columns to the reason, `told` these and others to the kind and why as told from their cells.
    What the schema itself says to ignore is meant, and is not warned of.
    """
    warnings, listed = [], []
    for column, reason in ignored.items():
        kind, _ = told[column]
        if reason == UNLISTED:
            listed += [f"{column} ({kind})"] if KINDS[kind].trained else []
        elif reason != SAID and (what := _looks_like(table, column, kind)):
            warnings.append(f"{column} is not used although its cells look like {what}: {reason}.")
    for column, (kind, _) in told.items():
        if column not in ignored and KINDS[kind].words and (names := _names_of_files(table, column)):
            warnings.append(f"{column} is read as {kind}, but its cells look like {names}, whose content is not read.")
    if listed:
        warnings.append(
            f"The fields of the schema leave out {', '.join(listed)}. If that is meant, list them under `ignore`; else "
            "name them among the fields."
        )
    return warnings


def _looks_like(table: Table, column: str, kind: str) -> str:
    """What cells of an unused column of this kind are, in words; nothing for keys, constants and the like."""
    sample = _sample(table.column(column))
    if not sample or kind in ("constant", "empty"):
        return ""
    if KINDS[kind].stream:
        return f"{kind} files"
    if any(isinstance(value, bytes | bytearray) for value in sample):
        return "files in the table"
    texts = [value for value in sample if isinstance(value, str)]
    if 2 * len(texts) <= len(sample):
        return "" if kind == "id" else f"data (cells of type {type(sample[0]).__name__})"
    if 2 * sum(map(is_link, texts)) > len(texts):
        return f"web addresses (of files? then say of which kind, as `kinds: {{{column}: image}}`)"
    words = sum(len(_WORDS.findall(text)) for text in texts) / len(texts)
    return _names_of_files(table, column) or ("free text" if words >= 3 else "")


def _names_of_files(table: Table, column: str) -> str:
    """`names of files`, with their endings, where most cells end as such names do or name files that are there."""
    texts = [value.strip() for value in _sample(table.column(column)) if isinstance(value, str)]
    ends = Counter(found[1].lower() for text in texts if (found := _FILE.fullmatch(text)))
    if 2 * sum(ends.values()) > len(texts):
        return f"names of files ({', '.join(end for end, _ in ends.most_common(3))})"
    first, base = texts[:OPENED] if isinstance(table.base, Path) else [], Path(table.base)
    there = sum(os.path.isfile(resolve(base, text)) for text in first if "\n" not in text)
    return "names of files" if 2 * there > len(first) else ""


def _sample(values: Sequence[Any]) -> list[Any]:
    present = [value for value in values if value is not None]
    return present[:: max(1, len(present) // LOOKED_AT)]
