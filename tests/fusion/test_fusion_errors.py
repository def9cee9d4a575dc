"""Options that cannot be: the messages say what was given, what is allowed and what to do."""

import pytest

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.fusion import DECISIONS, FUSIONS

WIDTHS = {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "concat", "dropout": 1.0}, "dropout .* at least 0 and below 1; got 1.0"),
        ({"name": "concat", "dropuot": 0.1}, "Unknown argument 'dropuot' of concat. Did you mean 'dropout'"),
        ({"name": "mlp", "layers": 0}, "layers must be a whole number of at least 1; got 0"),
        ({"name": "mlp", "hidden": 2.5}, "hidden .* a whole number.*; got 2.5"),
        ({"name": "gated", "gate": "softmx"}, "Did you mean 'softmax'"),
        ({"name": "gated", "temperature": 0}, "temperature must be above 0; got 0"),
        ({"name": "attention", "heads": 3}, r"width of 8 cannot be cut into 3 heads. Allowed: \[1, 2, 4, 8\]"),
        ({"name": "cross", "tokens": 0}, "tokens must be a whole number of at least 1"),
        ({"name": "unified", "layers": -1}, "layers must be"),
        ({"name": "unified", "attention": "windw"}, "auto, full, window, linear or the reach .* Did you mean 'window'"),
        ({"name": "unified", "attention": 0}, "the reach of a window; got 0"),
        ({"name": "kxk", "heads": 3}, "cannot be cut into 3 heads"),
        ({"name": "mult", "layers": 0}, "layers must be a whole number of at least 1; got 0"),
        ({"name": "mult", "heads": 3}, "cannot be cut into 3 heads"),
        ({"name": "mbt", "bottlenecks": 0}, "bottlenecks must be a whole number of at least 1; got 0"),
        ({"name": "perceiver", "latents": 1.5}, "latents .* a whole number.*; got 1.5"),
        ({"name": "deep", "depth": 0, "excite": False}, "depth must be a whole number of at least 1; got 0"),
        ({"name": "weighted", "alpha": "cv"}, "settled by cross-validation"),
        ({"name": "weighted", "alpha": {"a": 0.5, "d": 0.5}}, "the stream 'd', which is not here"),
        ({"name": "lowrank", "rank": 0}, "rank must be"),
        ({"name": "tensor", "width": 12}, "has 2197 entries; allowed are 2048. Use a width of at most 11"),
    ],
)
def test_fusion_options(spec: dict, message: str):
    with pytest.raises(BadArgument, match=message):
        FUSIONS.build(spec, WIDTHS, 8)


def test_tensor_takes_the_widest_that_fits():
    for streams, width in ((1, 16), (2, 16), (3, 11), (4, 5), (5, 3), (6, 2), (7, 1), (11, 1)):
        fusion = FUSIONS.build("tensor", {f"s{i}": 4 for i in range(streams)}, 8)
        assert fusion.out.in_features == (width + 1) ** streams <= 2048


def test_tensor_refuses_too_many_streams():
    with pytest.raises(BadArgument, match="12 streams is too large at any width; use the fusion 'lowrank'"):
        FUSIONS.build("tensor", {f"s{i}": 4 for i in range(12)}, 8)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ({"name": "product", "prior": "learnd"}, "classes", "Did you mean 'learned'"),
        ({"name": "product", "prior": [0.5, 0.5]}, "classes", "prior needs 3 probabilities"),
        ({"name": "product", "prior": [0.5, 0.4, 0.4]}, "classes", "must add up to 1; got 1.3"),
        ({"name": "product", "prior": [1.0, 0.0, 0.0]}, "multilabel", "between 0 and 1"),
        ({"name": "product", "prior": [0.5]}, "number", "prior is the standard normal; leave prior out"),
        ({"name": "late_weighted", "alpha": [0.5, 0.6]}, "classes", "add up to 1"),
    ],
)
def test_decision_options(spec: dict, kind: str, message: str):
    with pytest.raises(BadArgument, match=message):
        DECISIONS.build(spec, ("a", "b"), kind, 1 if kind == "number" else 3)


def test_streams_that_do_not_fit():
    import torch

    fusion = FUSIONS.build("concat", {"photo": 4, "title": 4}, 8)
    tokens = Tokens.from_vector(torch.randn(2, 4))
    with pytest.raises(BadData, match="without the stream 'foto'. Did you mean 'photo'"):
        fusion({"foto": tokens, "title": tokens})
    with pytest.raises(BadData, match=r"\['title'\] were not given"):
        fusion({"photo": tokens})
