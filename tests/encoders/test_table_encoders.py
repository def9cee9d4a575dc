"""Table and vector encoders: columns as tokens, missing values, noise in training, options, real figures."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

from polymodal.encoders import ENCODERS
from polymodal.encoders.table import noisy

TABLES = ("table_mlp", "table_ft")
FACTS = {
    "numbers": ["a", "b"], "edges": [[-1.0, 0.0, 1.0], [-2.0, 2.0]], "categories": [4, 5],
    "category_names": ["c", "d"], "columns": ["a", "b", "c", "d"],
}  # fmt: skip


def table(rows=6):
    return {
        "numbers": torch.randn(rows, 2),
        "known": torch.ones(rows, 2, dtype=torch.bool),
        "categories": torch.stack([torch.randint(4, (rows,)), torch.randint(5, (rows,))], 1).int(),
    }


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("embedding", ["piecewise", "periodic", "linear"])
def test_every_column_matters(name, embedding):
    encoder = ENCODERS.build({"name": name, "embedding": embedding}, FACTS, 8).eval()
    inputs = table()
    before = encoder(inputs).pooled
    for column in range(2):
        moved = {**inputs, "numbers": inputs["numbers"].clone()}
        moved["numbers"][:, column] += 0.5
        assert not torch.allclose(encoder(moved).pooled, before)
        hidden = {**inputs, "known": inputs["known"].clone()}
        hidden["known"][:, column] = False
        assert not torch.allclose(encoder(hidden).pooled, before)
        other = {**inputs, "categories": inputs["categories"].clone()}
        other["categories"][:, column] = (other["categories"][:, column] + 1) % 4
        assert not torch.allclose(encoder(other).pooled, before)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_one_kind_of_column(name):
    numbers = {**FACTS, "categories": [], "category_names": []}
    words = {**FACTS, "numbers": [], "edges": []}
    inputs = table()
    for facts, keep in ((numbers, ("numbers", "known")), (words, ("categories",))):
        tokens = ENCODERS.build(name, facts, 8)({k: inputs[k] for k in keep})
        assert tokens.pooled.shape == (6, 8)
        assert tokens.pooled.isfinite().all()


def test_a_token_a_column_numbers_first():
    encoder = ENCODERS.build("table_ft", FACTS, 8).eval()
    tokens = encoder(table())
    assert tokens.x.shape == (6, 4, 8)
    assert tokens.where[0, :, 0].tolist() == pytest.approx([0, 1, 2, 3])


def test_wide_tables_get_few_tokens():
    wide = {**FACTS, "numbers": [str(i) for i in range(50)], "edges": [[0.0, 1.0]] * 50}
    inputs = {**table(), "numbers": torch.randn(6, 50), "known": torch.ones(6, 50, dtype=torch.bool)}
    tokens = ENCODERS.build("table_ft", wide, 8)(inputs)
    assert tokens.x.shape[1] <= 16
    assert 0 <= float(tokens.where.min()) < float(tokens.where.max()) <= 51


def test_noise_hides_and_shakes():
    torch.manual_seed(0)
    inputs = table(2000)
    changed = noisy(inputs, 0.1, 0.2)
    known = changed["known"]
    assert 0.75 < known.float().mean() < 0.85
    assert (changed["numbers"][~known] == 0).all()
    assert (changed["numbers"] - inputs["numbers"])[known].std().item() == pytest.approx(0.1, rel=0.1)
    assert (changed["categories"] == 0).float().mean() > (inputs["categories"] == 0).float().mean() + 0.1
    same = noisy(inputs, 0.0, 0.0)
    assert all(torch.equal(same[k], inputs[k]) for k in inputs)


def test_vector_options_act_in_training():
    vector = {"vector": torch.randn(5, 7)}
    for options in ({"noise": 0.5}, {"drop": 0.5}, {"dropout": 0.5}):
        quiet = {"name": "vector_mlp", "noise": 0.0, "drop": 0.0, "dropout": 0.0}
        encoder = ENCODERS.build({**quiet, **options}, {"width": 7}, 4)
        assert not torch.equal(encoder(vector).pooled, encoder(vector).pooled)
        assert torch.equal(encoder.eval()(vector).pooled, encoder(vector).pooled)
        still = ENCODERS.build(quiet, {"width": 7}, 4)
        assert torch.equal(still(vector).pooled, still(vector).pooled)


def test_houses_from_a_table_alone(real_data):
    """Price by table: forests reach r2 0.73 and boosted trees 0.78 on the numbers of these rows."""
    from polymodal.process import PROCESSORS

    def read(part):
        with (real_data("houses") / f"{part}.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    columns = ("bedrooms", "bathrooms", "area_sqft", "zipcode")
    train, test = read("train"), read("test")
    processor = PROCESSORS.build("table")
    processor.fit([processor.read({c: row[c] for c in columns}) for row in train])
    inputs, unseen = (
        {k: torch.from_numpy(v) for k, v in processor.process([{c: row[c] for c in columns} for row in part]).items()}
        for part in (train, test)
    )
    price, truth = (torch.tensor(np.log([float(row["price"]) for row in part])).float() for part in (train, test))
    encoder = ENCODERS.build("table_mlp", processor.facts(), 32)
    model = nn.ModuleList([encoder, nn.Linear(32, 1)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    for _ in range(25):
        for batch in torch.randperm(len(train)).split(64):
            guess = model[1](encoder({k: v[batch] for k, v in inputs.items()}).pooled)[:, 0]
            loss = (guess - (price[batch] - price.mean()) / price.std()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    guess = model[1](encoder(unseen).pooled)[:, 0].detach() * price.std() + price.mean()
    assert 1 - (guess - truth).square().sum() / (truth - truth.mean()).square().sum() > 0.8
