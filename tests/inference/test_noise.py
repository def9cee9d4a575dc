"""Noise curves: what is encoded for them, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import process_table
from polymodal.data.storage.store import Store
from polymodal.encoders.base import Encoder
from polymodal.inference.evaluation import _tokens, evaluate
from polymodal.inference.noise import Noisy
from polymodal.process import PROCESSORS
from polymodal.runs.progress import Progress
from polymodal.train.encode import store_tokens, tokens_from_arrays

WORDS = ["red shoe", "blue bag", None, "a red bag of our make", "old", "red shoe", "shoe", "fine blue boot"] * 3


class Bag(Encoder):
    """Sums of fixed vectors of the words; counts its rows."""

    def __init__(self, facts, dim, *, frozen=True):
        super().__init__(facts, dim)
        self.frozen = frozen
        table = torch.randn(2000, dim, generator=torch.Generator().manual_seed(0))
        self.table = torch.nn.Parameter(table, requires_grad=not frozen)
        self.rows = 0

    def encode(self, inputs):
        self.rows += len(inputs["ids"])
        known = (inputs["ids"] != 0)[..., None]
        return Tokens.from_vector((self.table[inputs["ids"].long()] * known).sum(1))


def noisy(folder, encoder):
    store, processor = Store(folder), PROCESSORS.build("text")
    every = np.arange(len(WORDS))
    dataset = process_table({"words": WORDS}, {"words": processor}, store, ids=[str(i) for i in every], fit_rows=every)
    group = store_tokens(encoder, dataset, "words", store, timed=False)["group"]
    rows = every
    there = np.flatnonzero(dataset.present["words"][rows])
    stored = tokens_from_arrays(store.view(group, dataset.digests["words"][rows[there]]).load())
    clean = Tokens.from_vector(torch.zeros(len(rows), encoder.dim), torch.zeros(len(rows), dtype=torch.bool))
    place = torch.zeros(len(rows), dtype=torch.int64)
    place[there] = torch.arange(len(there))
    clean = stored.select(place).keep(torch.from_numpy(dataset.present["words"][rows]))
    encoder.rows = 0
    return Noisy(processor, encoder, dataset, "words", rows), clean, processor, dataset, rows


@torch.no_grad()
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_the_tokens_are_those_of_every_row_encoded_anew(tmp_path, frozen, level):
    encoder = Bag({}, 4, frozen=frozen)
    one, clean, processor, dataset, rows = noisy(tmp_path, encoder)
    found = one.tokens(clean, level, 3)
    assert one.encoded == encoder.rows < len(rows)
    inputs = dataset.tensors("words", rows)
    present = inputs.pop("present")
    wanted = encoder({**processor.corrupt(inputs, level, torch.Generator().manual_seed(3)), "present": present})
    assert torch.equal(found.mask, wanted.mask)
    torch.testing.assert_close(found.pooled, wanted.pooled, atol=5e-3, rtol=2e-3)


@torch.no_grad()
def test_rows_that_noise_spared_and_rows_without_the_stream_are_not_encoded(tmp_path):
    encoder = Bag({}, 4)
    one, clean, *_ = noisy(tmp_path, encoder)
    found = one.tokens(clean, 0.0, 0)
    assert encoder.rows == one.encoded == 0
    assert torch.equal(found.pooled, clean.pooled)
    assert not found.present[2]


@torch.no_grad()
def test_what_a_frozen_tower_made_of_noise_is_met_again(tmp_path):
    first = Bag({}, 4)
    one, clean, *_ = noisy(tmp_path, first)
    found = one.tokens(clean, 0.5, 0)
    assert first.rows > 0
    second = Bag({}, 4)
    again, clean, *_ = noisy(tmp_path, second)
    assert torch.equal(again.tokens(clean, 0.5, 0).pooled, found.pooled)
    assert second.rows == 0
    again.tokens(clean, 0.5, 1)
    assert second.rows > 0, "other noise is other content"


@torch.no_grad()
def test_what_a_trained_encoder_made_of_noise_is_not_kept(tmp_path):
    first = Bag({}, 4, frozen=False)
    one, clean, _, dataset, _ = noisy(tmp_path, first)
    groups = dataset.store.groups()
    one.tokens(clean, 0.5, 0)
    assert dataset.store.groups() == groups


def test_only_the_rows_assessed_are_encoded_and_costly_curves_are_asked_for(shop, tmp_path):
    run = pm.load(shop.run)
    predictor, table = run.predictor, pm.read_table(shop.table)
    truth = {t.name: t.encode(table.column(t.name)) for t in predictor.targets}
    dataset = process_table(predictor.raw(table), predictor.processors, Store(tmp_path), ids=table.ids, targets=truth)
    rows, store = np.arange(40, 70), Store(tmp_path)
    before = set(store.groups())

    def assessed(**options):
        with Progress(quiet=True) as progress:
            return evaluate(predictor, dataset, table, truth, rows, progress, **options)

    drawn = assessed(noise=True)
    held = {g["stream"]: g["rows"] for g in store.report()["groups"] if g["group"] not in before}
    assert {c["stream"] for c in drawn.noise} == set(predictor.streams) == set(held)
    for name in predictor.streams:
        assert held[name] == len(np.unique(dataset.digests[name][rows][dataset.present[name][rows]], axis=0))
    assert assessed(noise=False).noise == []
    first = predictor.streams[0]
    type(predictor.encoders[first]).pretrained, was = True, type(predictor.encoders[first]).pretrained
    try:
        spared = assessed()
    finally:
        type(predictor.encoders[first]).pretrained = was
    alike = [n for n in predictor.streams if type(predictor.encoders[n]) is type(predictor.encoders[first])]
    assert spared.noise_spared == alike
    assert {c["stream"] for c in spared.noise} == set(predictor.streams) - {first}
    assert [c for c in drawn.noise if c["stream"] != first] == spared.noise


def test_a_stream_that_none_of_the_rows_has_is_missing(shop, tmp_path):
    run = pm.load(shop.run)
    predictor, table = run.predictor, pm.read_table(shop.table)
    truth = {t.name: t.encode(table.column(t.name)) for t in predictor.targets}
    raw = predictor.raw(table)
    first = predictor.streams[0]
    dataset = process_table({**raw, first: [None] * len(table)}, predictor.processors, Store(tmp_path), ids=table.ids)
    with Progress(quiet=True) as progress:
        found = evaluate(predictor, dataset, table, truth, np.arange(30), progress, noise=False)
    assert np.isfinite(found.score["mean"])
    assert not _tokens(predictor, dataset, np.arange(30))[first].present.any()


def test_a_second_prediction_walks_no_module(shop, monkeypatch):
    run = pm.load(shop.run)
    row = pm.read_table(shop.table).select([0])
    wanted = run.predict(row)
    walked = []
    for part in (run.predictor.answer, *run.predictor.encoders.values()):
        monkeypatch.setattr(type(part), "train", lambda self, mode=True: walked.append(self) or self)
    assert run.predict(row) == wanted
    assert walked == []
    monkeypatch.undo()
    next(iter(run.predictor.encoders.values())).train()
    run.predictor.answer.train()
    assert run.predict(row) == wanted, "what was left in training is put in use"


def test_lower_precision_is_for_many_rows_and_a_hundredth_off(shop):
    table = pm.read_table(shop.table)
    exact, swift = pm.load(shop.run), pm.load(shop.run, precision="bfloat16")
    wanted, found = exact.predict_proba(table), swift.predict_proba(table)
    assert 0 < np.abs(found - wanted).max() < 0.02
    few = table.select(range(20))
    np.testing.assert_array_equal(swift.predict_proba(few), exact.predict_proba(few))
    title = swift.predictor.raw(table)["title"]
    assert swift.predictor._encode("title", title, np.arange(100), table.ids, None).x.dtype == torch.float32
    with pytest.raises(BadArgument, match="Did you mean 'bfloat16'"):
        pm.load(shop.run, precision="bfloat")
