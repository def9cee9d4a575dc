"""Streams of linked rows: made of what the encoders of the other streams gave, once those are trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from polymodal.core.files import read_json, write_json
from polymodal.data.links import LinkOptions
from polymodal.data.neighbours import Memory, features_of, resolved
from polymodal.data.storage.dataset import Dataset, process_table
from polymodal.data.storage.store import Store
from polymodal.data.tables.source import cells
from polymodal.experiment.plan import Plan
from polymodal.process.base import Processor
from polymodal.train.encode import processing_ms
from polymodal.train.features import Features


def memory_path(work: Path) -> Path:
    """Where a run keeps the features that linked rows read."""
    return work / "neighbours.safetensors"


def add_neighbours(
    plan: Plan, dataset: Dataset, processors: Mapping[str, Processor], work: Path, store: Store
) -> Dataset:
    """The dataset with the streams of linked rows beside the others; writes what the jobs read of it.

    A neighbour's features are its pooled vectors of all other streams; a training row's come from encoders that did not
    see it (cross-fitting), so not even its label's trace is read. Needs the other streams' tokens stored.
    """
    features = Features.open(work / "features", store, plan.unlinked, pooled_only=True)
    pooled = {name: t.pooled.numpy() for name, t in features.read(torch.arange(len(plan.table))).items()}
    present = {name: dataset.present[name] for name in plan.unlinked}
    memory = Memory(tuple(plan.table.ids), features_of(pooled, present), plan.split.astype(np.int8))
    memory.save(memory_path(work))
    raw = {}
    for name in plan.linked:
        field = plan.schema.fields[name]
        options = LinkOptions.of(name, field.options)
        raw[name] = resolved(cells(plan.table, field), plan.table.ids, plan.split, memory, options)
    train = plan.rows("train")
    made = process_table(raw, processors, store, fit_rows=train, ids=plan.table.ids)
    joined = dataset.beside(made)
    joined.save(work / "dataset")
    settings = read_json(work / "work.json")
    settings["facts"] |= {name: processors[name].facts() for name in raw}
    took = settings["processing_ms"]  # measured once a run, so that a resumed one orders streams by the same
    took |= {n: processing_ms(processors[n], raw[n], train[made.present[n][train]]) for n in raw if n not in took}
    write_json(work / "work.json", settings)
    return joined
