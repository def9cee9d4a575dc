"""inspect: what is in the data and what is wrong with it, before anything is trained."""

from __future__ import annotations

from typing import Any

from polymodal.data.inputs import Inputs
from polymodal.data.inspection.inspect import Inspection, inspect_table
from polymodal.process import PROCESSORS


def inspect(data: Any, target: Any = None, *, valid: Any = None, test: Any = None, schema: Any = None) -> Inspection:
    """Fields, kinds, missing cells, broken files, duplicates, leaks between splits and class balance.

    Arguments as in `polymodal.plan`. Every media cell is opened once. Raises as `plan` does, but not where no column
    can be used as a stream: then it says why.
    """
    given = Inputs.read(data, valid, test, target=target, schema=schema)
    resolved = given.schema(target, schema, bare=True)
    table = given.joined(resolved)
    readers = {
        name: PROCESSORS.build({"name": f.about.processor, **f.processor_options}).read
        for name, f in resolved.fields.items()
    }
    return inspect_table(table, resolved, readers=readers, split=given.parts(resolved))
