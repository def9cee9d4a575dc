"""A forest written by hand."""

import torch

from polymodal.nn.trees import Forest


def stump(
    feature: int, threshold: float, missing_left: bool, low: float, high: float, start: int
) -> dict[str, torch.Tensor]:
    leaf = [start + 1, start + 2]
    return {
        "feature": torch.tensor([feature, 0, 0]), "threshold": torch.tensor([threshold, 0.0, 0.0]),
        "missing_left": torch.tensor([missing_left, False, False]), "left": torch.tensor([leaf[0], *leaf]),
        "right": torch.tensor([leaf[1], *leaf]), "value": torch.tensor([0.0, low, high], dtype=torch.float64),
    }  # fmt: skip


def forest() -> Forest:
    parts = [stump(0, 0.5, True, -1.0, 1.0, 0), stump(1, 0.0, False, 10.0, 20.0, 3), stump(0, 2.0, False, 3.0, 4.0, 6)]
    trees = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
    trees |= {"root": torch.tensor([0, 3, 6]), "column": torch.tensor([0, 1, 0])}
    return Forest.of(torch.tensor([0.25, 0.0], dtype=torch.float64), trees, features=2, depth=1)


def test_rows_go_down_every_tree():
    x = torch.tensor([[0.5, 0.1], [0.6, -1.0], [float("nan"), float("nan")], [9.0, 0.0]])
    expected = torch.tensor([[2.25, 20.0], [4.25, 10.0], [3.25, 20.0], [5.25, 10.0]])
    assert torch.equal(forest()(x), expected)


def test_a_state_dict_of_any_size_is_loaded_by_its_sizes():
    first = forest()
    second = Forest(first.sizes())
    second.load_state_dict(first.state_dict())
    x = torch.randn(6, 2)
    assert torch.equal(first(x), second(x))


def test_no_trees_give_the_constant():
    empty = Forest({"features": 3, "width": 2, "trees": 0, "nodes": 0, "depth": 0})
    empty.base += 1.5
    assert empty(torch.randn(4, 3)).tolist() == [[1.5, 1.5]] * 4
