"""Preparing data. Each family's catalogue stands in its own `__init__.py`; what their ops stand on in `engines.py`.

The package is also the command: `polymodal.prepare(data, recipe, out=...)` is `polymodal.preparation.run.prepare`,
whichever was imported first, since a package's name and a function's cannot both be found in `polymodal`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from polymodal.prepare.annotate import ANNOTATE
from polymodal.prepare.augment import AUGMENT
from polymodal.prepare.clean import CLEAN

__all__ = ["ANNOTATE", "AUGMENT", "CLEAN"]


class _Command(ModuleType):
    def __call__(self, *given: Any, **options: Any) -> Any:
        return importlib.import_module("polymodal.preparation.run").prepare(*given, **options)


prepare = sys.modules[__name__]
prepare.__class__ = _Command
