"""Columns to a file, by its suffix."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument
from polymodal.core.files import writing


def write_columns(columns: Mapping[str, Sequence[Any]], path: str | Path) -> None:
    """Write columns of equal length as CSV, TSV, JSONL or Parquet. Raises `BadArgument` for another suffix."""
    path = Path(path)
    rows = zip(*columns.values())
    match path.suffix.lower():
        case ".csv" | ".tsv" as suffix:
            with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
                writer.writerow(columns)
                writer.writerows(rows)
        case ".jsonl":
            with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(dict(zip(columns, row)), ensure_ascii=False) + "\n" for row in rows)
        case ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            with writing(path) as temporary:
                pq.write_table(pa.table(dict(columns)), temporary)
        case suffix:
            raise BadArgument(
                f"Cannot write {path.name}: the suffix {suffix!r} is unknown. Use .csv, .tsv, .jsonl or .parquet."
            )
