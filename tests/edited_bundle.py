"""A bundle whose settings are changed on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def rewrite(folder: Path, change: Callable[[Any, Any], object]) -> Path:
    """Let `change` alter the values of `config.yaml` and `schema.json` in place; returns the folder."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    change(config, schema)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return folder
