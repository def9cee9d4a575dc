"""Encode once: texts of unlike length by like length, each under its own cell."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_towers
import torch

from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import process_table
from polymodal.data.storage.store import Store
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.process import PROCESSORS
from polymodal.train import encode
from polymodal.train.encode import PROBE, encoded, store_tokens

pytest.importorskip("transformers")

LINES = ["a", "a red shoe", "Dog runs faster, a blue dog runs", "blue", "dog runs a red dog " * 3, "fast"]


def tower(folder, save=tiny_towers.save_bert, texts=LINES * 4, **options):
    torch.manual_seed(0)
    model = save(folder / "tower")
    processor = PROCESSORS.build({"name": "pretrained_text", "model": model})
    store, cells = Store(folder / "store"), {"words": [f"{text} {'a' * (i % 3)}" for i, text in enumerate(texts)]}
    rows = np.arange(len(texts))
    dataset = process_table(cells, {"words": processor}, store, ids=[str(i) for i in rows], fit_rows=rows)
    encoder = ENCODERS.build({"name": "pretrained_text", **options}, processor.facts(), 16).eval()
    return encoder, dataset, store


class Counted:
    """How many places of text went through a tower, by its embedding."""

    def __init__(self, encoder):
        self.places, self.rows = 0, 0
        encoder.tower.embeddings.register_forward_hook(self.see)

    def see(self, module, inputs, output):
        self.places += output.shape[0] * output.shape[1]
        self.rows += output.shape[0]


def test_texts_of_like_length_go_together_and_come_back_in_order(tmp_path, monkeypatch):
    encoder, dataset, _ = tower(tmp_path)
    inputs = dataset.tensors("words", np.arange(len(dataset)))
    inputs["present"][5] = False
    encoder._reads_padding = True  # all padding is encoded
    whole = encoder(inputs)
    encoder._reads_padding = None
    monkeypatch.setattr(encode, "PLACES", 32)
    encoder.lengths(inputs)
    counted = Counted(encoder)
    found = encoded(encoder, inputs)
    for name in ("x", "pooled", "where"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), atol=1e-5, rtol=1e-4)
    assert torch.equal(found.mask, whole.mask)
    assert found.present.tolist() == [row != 5 for row in range(len(dataset))]
    real = int(inputs["mask"].sum())
    assert counted.rows == len(dataset)
    assert real <= counted.places < 1.15 * real < inputs["mask"].numel()


def test_each_cell_lies_in_the_store_under_its_own_digest(tmp_path, monkeypatch):
    encoder, dataset, store = tower(tmp_path)
    monkeypatch.setattr(encode, "SEGMENT", 10)
    monkeypatch.setattr(encode, "PLACES", 24)
    result = store_tokens(encoder, dataset, "words", store)
    assert result["encoded"] == len({row.tobytes() for row in dataset.digests["words"]})
    held = store.view(result["group"], dataset.digests["words"]).load()
    for row in range(len(dataset)):
        alone = encoder(dataset.tensors("words", np.array([row])))
        np.testing.assert_allclose(held["pooled"][row], alone.pooled[0].numpy(), atol=2e-3)
        np.testing.assert_array_equal(held["mask"][row], alone.mask[0].numpy())
    assert store_tokens(encoder, dataset, "words", store)["encoded"] == 0


@pytest.mark.parametrize("pool", ["auto", "mean"])
def test_padding_that_the_model_reads_stays(tmp_path, pool):
    encoder, dataset, _ = tower(tmp_path, tiny_towers.save_siglip_text, pool=pool)
    inputs = dataset.tensors("words", np.arange(5))
    whole = encoder._pooled(encoder.tower(**encoder.arguments(inputs)), inputs)
    assert (encoder.lengths(inputs) is None) == (pool == "auto"), (
        "its own pooling reads the last place, the mean does not"
    )
    torch.testing.assert_close(encoder(inputs).pooled, whole.pooled, atol=1e-5, rtol=1e-4)


def test_trying_the_padding_leaves_a_tower_in_training_as_it_was(tmp_path):
    encoder, dataset, _ = tower(tmp_path, tune="full")
    encoder.train()
    before = torch.get_rng_state()
    assert encoder.lengths(dataset.tensors("words", np.arange(4))) is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training for part in encoder.tower.modules())


class Numbers(Encoder):
    """Counts its rows."""

    def __init__(self, facts, dim):
        super().__init__(facts, dim)
        self.rows = 0

    def encode(self, inputs):
        self.rows += len(inputs["vector"])
        return Tokens.from_vector(inputs["vector"].float()[:, : self.dim])


@pytest.mark.parametrize(("rows", "timed", "more"), [(40, True, 3 * 40), (40, False, 0), (PROBE + 6, True, 0)])
def test_what_was_encoded_just_now_is_not_encoded_again_to_time_it(tmp_path, rows, timed, more):
    cells = {"v": list(np.random.default_rng(0).normal(size=(rows, 3)))}
    store, processor = Store(tmp_path), PROCESSORS.build("vector")
    dataset = process_table(cells, {"v": processor}, store, ids=[str(i) for i in range(rows)], fit_rows=np.arange(rows))
    encoder = Numbers({}, 3)
    result = store_tokens(encoder, dataset, "v", store, timed=timed)
    assert encoder.rows == rows + more
    assert ("ms_per_row" in result) == timed
    encoder.rows = 0
    assert store_tokens(encoder, dataset, "v", store, timed=timed)["encoded"] == 0
    assert encoder.rows == (3 * min(rows, PROBE) if timed else 0), "what the store had already is timed apart"
