"""inspect: what is in the data and what is wrong with it, before anything is trained."""

from __future__ import annotations

from typing import Any

from polymodal.data.inspect import Inspection, inspect_table
from polymodal.data.schema import Schema
from polymodal.data.source import Table
from polymodal.data.split import PARTS
from polymodal.planning import named, read_rows
from polymodal.process import PROCESSORS


def inspect(data: Any, target: Any = None, *, valid: Any = None, test: Any = None, schema: Any = None) -> Inspection:
    """Fields, kinds, missing cells, broken files, duplicates, leaks between splits and class balance.

    Arguments as in `polymodal.plan`. Every media cell is opened once. Raises as `plan` does.
    """
    tables = {n: read_rows(s) for n, s in zip(PARTS, (data, valid, test)) if s is not None}
    resolved = schema if isinstance(schema, Schema) else Schema.infer(tables["train"], target, schema)
    table = Table.concat([named(part, resolved.id) for part in tables.values()])
    readers = {
        name: PROCESSORS.build({"name": f.kind, **f.processor_options}).read for name, f in resolved.fields.items()
    }
    split = [name for name, part in tables.items() for _ in range(len(part))] if len(tables) > 1 else None
    return inspect_table(table, resolved, readers=readers, split=split)
