"""polymodal: one model from records that mix pictures, words, sound and measurements, and what each was worth.

Names are loaded when used: importing the package loads neither torch nor any other heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "read_table": "polymodal.data.source",
    "Schema": "polymodal.data.schema",
    "Config": "polymodal.config",
    "Training": "polymodal.config",
    "Store": "polymodal.data.store",
    "Tokens": "polymodal.core.types",
    "Batch": "polymodal.core.types",
    "Output": "polymodal.core.types",
    "Target": "polymodal.core.types",
    "Processor": "polymodal.process.base",
    "Encoder": "polymodal.encoders.base",
    "Fusion": "polymodal.fusion.base",
    "DecisionFusion": "polymodal.fusion.base",
    "Head": "polymodal.heads.base",
    "Model": "polymodal.model",
    "Predictor": "polymodal.predictor",
    "Run": "polymodal.train.run",
    "inspect": "polymodal.train.inspection",
    "plan": "polymodal.planning",
    "fit": "polymodal.train.fit",
    "load": "polymodal.train.run",
    "demo": "polymodal.train.demo",
    "prepare": "polymodal.prepare",
    "suggest": "polymodal.preparation.suggest",
    "train_language": "polymodal.prepare.language.train",
    "align": "polymodal.align",
    "index": "polymodal.search.build",
    "open_index": "polymodal.search.retrieve",
    "classify": "polymodal.search.classify",
    "Index": "polymodal.search.index",
    "retrieval_metrics": "polymodal.evaluate.retrieval",
    "Aligned": "polymodal.train.align",
    "AlignConfig": "polymodal.train.align_config",
    "Aligner": "polymodal.align.base",
    "Space": "polymodal.space",
    "load_space": "polymodal.space",
    "speak": "polymodal.prepare.speech.synthesis",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'polymodal' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from polymodal.align.base import Aligner as Aligner
    from polymodal.config import Config as Config
    from polymodal.config import Training as Training
    from polymodal.core.types import Batch as Batch
    from polymodal.core.types import Output as Output
    from polymodal.core.types import Target as Target
    from polymodal.core.types import Tokens as Tokens
    from polymodal.data.schema import Schema as Schema
    from polymodal.data.source import read_table as read_table
    from polymodal.data.store import Store as Store
    from polymodal.encoders.base import Encoder as Encoder
    from polymodal.evaluate.retrieval import retrieval_metrics as retrieval_metrics
    from polymodal.fusion.base import DecisionFusion as DecisionFusion
    from polymodal.fusion.base import Fusion as Fusion
    from polymodal.heads.base import Head as Head
    from polymodal.model import Model as Model
    from polymodal.planning import plan as plan
    from polymodal.predictor import Predictor as Predictor
    from polymodal.preparation.run import prepare as prepare
    from polymodal.preparation.suggest import suggest as suggest
    from polymodal.prepare.language.train import train_language as train_language
    from polymodal.prepare.speech.synthesis import speak as speak
    from polymodal.process.base import Processor as Processor
    from polymodal.search.build import index as index
    from polymodal.search.classify import classify as classify
    from polymodal.search.index import Index as Index
    from polymodal.search.retrieve import open_index as open_index
    from polymodal.space import Space as Space
    from polymodal.space import load_space as load_space
    from polymodal.train.align import Aligned as Aligned
    from polymodal.train.align import align as align
    from polymodal.train.align_config import AlignConfig as AlignConfig
    from polymodal.train.demo import demo as demo
    from polymodal.train.fit import fit as fit
    from polymodal.train.inspection import inspect as inspect
    from polymodal.train.run import Run as Run
    from polymodal.train.run import load as load
