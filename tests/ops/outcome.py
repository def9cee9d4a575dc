"""What a preparation left behind, to compare two of them."""

from __future__ import annotations

import json
from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that must be the same whoever did the work; times and the folder's name are left out."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    report = json.loads(found.pop("report.json"))
    found.pop("report.html")
    for op in report["ops"]:
        op.pop("seconds")
        op.pop("samples")
    return {**found, "report": json.dumps(report).encode()}
