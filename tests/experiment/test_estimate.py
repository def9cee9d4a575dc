"""What a fit will cost, by a probe: more rows and more encodings cost more, and nothing of it stops a plan."""

from __future__ import annotations

import numpy as np
import torch

import polymodal as pm
import polymodal.experiment.estimate as module

DRAW = np.random.default_rng(0)
WORDS = [
    "a",
    "the",
    "thing",
    "shop",
    "door",
    "red",
    "blue",
    "from",
    "with",
    "under",
    "over",
    "seen",
    "two",
    "three",
    "week",
    "plain",
    "round",
    "small",
]


def table(rows: int) -> dict:
    label = DRAW.integers(0, 2, rows)
    return {
        "vector": [[float(x) for x in row] for row in DRAW.normal(size=(rows, 6)) + label[:, None]],
        "words": [" ".join(["bad", "good"][one : one + 1] + DRAW.choice(WORDS, 6).tolist()) for one in label],
        "label": ["yes" if one else "no" for one in label],
    }


def test_every_stream_has_its_cost_and_more_rows_cost_more():
    small = pm.estimate(pm.plan(table(200), "label", workers=2))
    large = pm.estimate(pm.plan(table(6000), "label", workers=2))
    for one in (small, large):
        assert set(one.parts) == {"vector", "words", "strategies", "starting and reporting"}
        assert all(0 <= low <= high for low, high in one.parts.values())
        assert one.workers == 2
        assert one.memory > 1e8
    assert large.most > 1.5 * small.most
    assert large.parts["vector"][1] > large.parts["vector"][0], "the network may not be worth training on"
    formula = pm.estimate(pm.plan(table(200), "label", workers=0, encodings="fitted", fusion="late_mean"))
    assert formula.parts["vector"][0] == formula.parts["vector"][1]
    assert formula.parts["strategies"][1] < small.parts["strategies"][1]
    assert formula.workers == 1


def test_what_torch_does_stays_as_it_was():
    plan, threads = pm.plan(table(60), "label"), torch.get_num_threads()
    pm.estimate(plan)
    assert torch.get_num_threads() == threads


def test_a_target_that_no_probed_row_has_does_not_stop_it(monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS", 8)  # as where cells are slow to read
    data = {**table(300), "rare": [None] * 260 + ["x", "y"] * 20}
    for seed in range(3):
        plan = pm.plan(data, schema={"target": {"label": "classes", "rare": "classes"}}, seed=seed)
        assert pm.estimate(plan).parts["vector"][1] > 0


def test_broken_and_absent_cells_do_not_stop_it(tmp_path):
    rows = [{"photo": str(tmp_path / f"{i}.png"), "label": "ab"[i % 2], "x": i % 5} for i in range(60)]
    (tmp_path / "0.png").write_text("no picture")
    schema = {
        "fields": {"photo": {"kind": "image"}, "table": {"kind": "table", "columns": ["x"]}},
        "target": {"label": "classes"},
    }
    found = pm.estimate(pm.plan(rows, schema=schema))
    assert found.parts["photo"] == (0, 0)
    assert found.parts["table"][1] > 0


def test_what_is_written_costs_what_its_head_asks_for():
    data = table(120)
    data["says"] = [f"a {one} thing seen {i} times" for i, one in enumerate(data.pop("label"))]
    head = {"name": "writer", "units": 16, "heads": 2, "depth": 1, "tokens": 4}
    common = {"workers": 0, "crossfit": 0, "encoders": {"vector": "vector_mlp"}, "pretrained": False}
    schema = {"target": {"says": "text"}, "ignore": ["words"]}

    def cost(**training: int) -> float:
        plan = pm.plan(data, schema=schema, heads={"says": head}, training=training, **common)
        return pm.estimate(plan).parts["vector"][1]

    assert cost(steps=30) < 0.5 * cost(), "5 epochs instead of the 60 that the head asks for"


def test_filling_in_absent_streams_costs_what_its_networks_take_to_learn():
    def cost(**options) -> float:
        spec = {"name": "imputed", **options}
        return pm.estimate(pm.plan(table(80), "label", workers=0, fusion=spec, crossfit=0)).parts["strategies"][1]

    alone = pm.estimate(pm.plan(table(80), "label", workers=0, fusion="concat", crossfit=0)).parts["strategies"][1]
    short, long = cost(steps=25), cost(steps=2500)
    assert long > short + 1 > alone, "a hundred times the steps"
