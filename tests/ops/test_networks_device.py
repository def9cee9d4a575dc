"""Networks of ops on an accelerator: asked with tensors of the CPU, they answer with such."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from polymodal.core.errors import BadArgument
from polymodal.ops import networks
from polymodal.ops.networks import DEVICE, Placed, network
from polymodal.testing.devices import one_device_only


class Network(nn.Module):
    """As much of a network of the library as ops use."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 2)
        self.config = SimpleNamespace(id2label={0: "no", 1: "yes"})
        self.speaking_rate = 1.0

    def forward(self, *, values):
        return {"logits": self.map(values) * self.speaking_rate}

    def generate(self, values, *, most):
        return self.map(values)[:, :most]


def test_tensors_go_to_the_device_and_come_back():
    values = torch.randn(4, 3)
    torch.manual_seed(0)
    plain = Network()
    expected = plain(values=values)["logits"] * 2
    with one_device_only() as device, torch.no_grad():
        torch.manual_seed(0)
        placed = Placed(Network(), device)
        placed.speaking_rate = 2.0
        assert placed.map.weight.device == device
        assert placed.config.id2label[1] == "yes"
        found, written = placed(values=values)["logits"], placed.generate(values, most=1)
    assert torch.allclose(found, expected)
    assert written.shape == (4, 1)


def test_on_the_cpu_a_network_is_itself_and_elsewhere_it_is_loaded_for_there(monkeypatch):
    loaded = []

    def load(loader, name, **options):
        loaded.append(loader)
        return (Network(), {"missing_keys": []}) if options else "processor"

    monkeypatch.setattr(networks, "load_pretrained", load)
    monkeypatch.setattr(networks, "device_of", torch.device)
    assert isinstance(network("Model", "Processor", "planted")[1], Network)
    assert isinstance(network("Model", "Processor", "planted")[1], Network)
    assert loaded == ["Processor", "Model"], "loaded once"
    token = DEVICE.set("meta")
    try:
        assert isinstance(network("Model", "Processor", "planted")[1], Placed)
    finally:
        DEVICE.reset(token)


def test_prepare_refuses_a_device_before_it_reads_anything(tmp_path):
    import polymodal as pm

    with pytest.raises(BadArgument, match="Unknown device 'tpu'"):
        pm.prepare("nowhere.csv", [], out=tmp_path / "out", device="tpu")
