"""LoRA: what learns, what it equals, what it costs."""

import pytest
import torch
from torch import nn

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.adapt import LoRALinear, add_lora


def net():
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Sequential(nn.Linear(7, 7, bias=False), nn.Linear(7, 3)))


def trained(rank=2):
    module = net()
    add_lora(module, lambda name: name.startswith("2"), rank=rank)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, LoRALinear):
                layer.up.normal_()
    return module


def test_the_start_is_the_network_itself():
    module, x = net(), torch.randn(4, 5)
    before = module(x)
    assert add_lora(module, lambda name: True) == ["0", "2.0", "2.1"]
    assert torch.equal(module(x), before)


def test_only_adapters_learn():
    module = trained()
    module(torch.randn(4, 5)).sum().backward()
    learning = {name for name, p in module.named_parameters() if p.grad is not None}
    assert learning == {"2.0.down", "2.0.up", "2.1.down", "2.1.up"}
    assert all(p.requires_grad == (name in learning) for name, p in module.named_parameters())


def test_it_is_the_paper_s_formula():
    layer = LoRALinear(nn.Linear(6, 4), rank=3, alpha=5.0)
    nn.init.normal_(layer.up)
    x = torch.randn(2, 6)
    weight = layer.base.weight + 5.0 / 3 * layer.up @ layer.down
    assert torch.allclose(layer(x), x @ weight.T + layer.base.bias, atol=1e-5)


def test_errors():
    with pytest.raises(BadArgument, match="no linear layer"):
        add_lora(net(), lambda name: False)
    with pytest.raises(BadArgument, match="rank"):
        LoRALinear(nn.Linear(2, 2), rank=0)
