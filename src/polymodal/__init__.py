"""polymodal: one model from records that mix pictures, words, sound and measurements, and what each was worth.

Names are loaded when used: importing the package loads neither torch nor any other heavy library.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and any(a.startswith("polymodal") for a in sys.orig_argv):
    # `python -m polymodal.cli` in a folder of data: a `secrets.py` that lies there must not be taken for Python's
    sys.path.append(sys.path.pop(0))

__version__ = "0.1.0"

_LAZY = {
    "read_table": "polymodal.data.tables.source",
    "allow_remote": "polymodal.data.remote.remote",
    "Schema": "polymodal.data.schema",
    "Config": "polymodal.config",
    "Training": "polymodal.config",
    "Store": "polymodal.data.storage.store",
    "Tokens": "polymodal.core.types",
    "Batch": "polymodal.core.types",
    "Output": "polymodal.core.types",
    "Target": "polymodal.targets.base",
    "Processor": "polymodal.process.base",
    "Encoder": "polymodal.encoders.base",
    "Fusion": "polymodal.fusion.base",
    "DecisionFusion": "polymodal.fusion.base",
    "Head": "polymodal.heads.base",
    "Metric": "polymodal.metrics.base",
    "Model": "polymodal.models.base",
    "Predictor": "polymodal.inference.predictor",
    "Run": "polymodal.inference.run",
    "inspect": "polymodal.experiment.inspection",
    "estimate": "polymodal.experiment.estimate",
    "plan": "polymodal.experiment.plan",
    "fit": "polymodal.experiment.fit",
    "tune": "polymodal.tuning.tune",
    "TuneConfig": "polymodal.tuning.config",
    "Tuned": "polymodal.tuning.tune",
    "load": "polymodal.inference.run",
    "demo": "polymodal.experiment.demo",
    "prepare": "polymodal.preparation.run",
    "suggest": "polymodal.preparation.suggest",
    "train_language": "polymodal.ops.language.train",
    "pretrain": "polymodal.pretraining.run",
    "PretrainConfig": "polymodal.pretraining.config",
    "Pretrained": "polymodal.pretraining.run",
    "align": "polymodal.alignment.run",
    "index": "polymodal.retrieval.build",
    "open_index": "polymodal.retrieval.retrieve",
    "classify": "polymodal.retrieval.classify",
    "Index": "polymodal.retrieval.index",
    "retrieval_metrics": "polymodal.evaluation.retrieval",
    "evaluate_captions": "polymodal.evaluation.captions",
    "Aligned": "polymodal.alignment.run",
    "AlignConfig": "polymodal.alignment.config",
    "Aligner": "polymodal.aligners.base",
    "Space": "polymodal.inference.space",
    "load_space": "polymodal.inference.space",
    "speak": "polymodal.ops.speech.synthesis",
    "generate": "polymodal.generators.answering",
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
    from polymodal.aligners.base import Aligner as Aligner
    from polymodal.alignment.config import AlignConfig as AlignConfig
    from polymodal.alignment.run import Aligned as Aligned
    from polymodal.alignment.run import align as align
    from polymodal.config import Config as Config
    from polymodal.config import Training as Training
    from polymodal.core.types import Batch as Batch
    from polymodal.core.types import Output as Output
    from polymodal.core.types import Tokens as Tokens
    from polymodal.data.remote.remote import allow_remote as allow_remote
    from polymodal.data.schema import Schema as Schema
    from polymodal.data.storage.store import Store as Store
    from polymodal.data.tables.source import read_table as read_table
    from polymodal.encoders.base import Encoder as Encoder
    from polymodal.evaluation.captions import evaluate_captions as evaluate_captions
    from polymodal.evaluation.retrieval import retrieval_metrics as retrieval_metrics
    from polymodal.experiment.demo import demo as demo
    from polymodal.experiment.estimate import estimate as estimate
    from polymodal.experiment.fit import fit as fit
    from polymodal.experiment.inspection import inspect as inspect
    from polymodal.experiment.plan import plan as plan
    from polymodal.fusion.base import DecisionFusion as DecisionFusion
    from polymodal.fusion.base import Fusion as Fusion
    from polymodal.generators.answering import generate as generate
    from polymodal.heads.base import Head as Head
    from polymodal.inference.predictor import Predictor as Predictor
    from polymodal.inference.run import Run as Run
    from polymodal.inference.run import load as load
    from polymodal.inference.space import Space as Space
    from polymodal.inference.space import load_space as load_space
    from polymodal.metrics.base import Metric as Metric
    from polymodal.models.base import Model as Model
    from polymodal.ops.language.train import train_language as train_language
    from polymodal.ops.speech.synthesis import speak as speak
    from polymodal.preparation.run import prepare as prepare
    from polymodal.preparation.suggest import suggest as suggest
    from polymodal.pretraining.config import PretrainConfig as PretrainConfig
    from polymodal.pretraining.run import Pretrained as Pretrained
    from polymodal.pretraining.run import pretrain as pretrain
    from polymodal.process.base import Processor as Processor
    from polymodal.retrieval.build import index as index
    from polymodal.retrieval.classify import classify as classify
    from polymodal.retrieval.index import Index as Index
    from polymodal.retrieval.retrieve import open_index as open_index
    from polymodal.targets.base import Target as Target
    from polymodal.tuning.config import TuneConfig as TuneConfig
    from polymodal.tuning.tune import Tuned as Tuned
    from polymodal.tuning.tune import tune as tune
