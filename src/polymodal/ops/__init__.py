"""The steps of recipes: a catalogue in each family's `__init__.py`; what they stand on in `engines.py`."""

from polymodal.ops.annotate import ANNOTATE
from polymodal.ops.augment import AUGMENT
from polymodal.ops.clean import CLEAN

__all__ = ["ANNOTATE", "AUGMENT", "CLEAN"]
