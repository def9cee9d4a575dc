"""Names of devices, and which worker gets which."""

from __future__ import annotations

import pytest
import torch

from polymodal.config import Config
from polymodal.core import runtime
from polymodal.core.errors import BadArgument
from polymodal.core.runtime import autocast, device_of, told, worker_devices


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many GPUs."""

    def pretend(count: int, *, mps: bool = False):
        monkeypatch.setattr(runtime, "gpu_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("count", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"), (0, True, "auto", "mps"), (2, False, "auto", "cuda:0"), (2, True, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"), (2, False, "cuda:1", "cuda:1"), (2, False, "cpu", "cpu"), (0, True, "mps", "mps"),
    ],
)  # fmt: skip
def test_device_of(gpus, count, mps, name, device):
    gpus(count, mps=mps)
    assert device_of(name) == torch.device(device)


@pytest.mark.parametrize(("count", "name"), [(0, "cuda"), (1, "cuda:1"), (2, "cuda:2"), (2, "mps")])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(gpus, count, name):
    gpus(count)
    with pytest.raises(BadArgument, match=f"no device '{name}'.*there is {', '.join(['cpu', 'cuda:0'][: count + 1])}"):
        device_of(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "", "CPU"])
def test_an_unknown_name_is_refused_before_anything_runs(name):
    with pytest.raises(BadArgument, match="Unknown device"):
        Config(device=name)


def test_nothing_is_said_of_the_cpu():
    assert told(torch.device("cpu")) == []
    assert told(torch.device("mps")) == ["device: mps"]


@pytest.mark.parametrize(
    ("device", "workers", "cores", "count", "every", "expected"),
    [
        ("cpu", None, 2, 0, False, ["cpu", "cpu"]),
        ("cpu", None, 64, 0, False, ["cpu"] * 8),
        ("cpu", 3, 2, 4, True, ["cpu"] * 3),
        ("cpu", 0, 2, 0, False, []),
        ("cuda:0", None, 16, 1, True, ["cuda:0"]),
        ("cuda:0", None, 2, 4, True, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("cuda:1", None, 16, 4, False, ["cuda:1"]),
        ("cuda:0", 3, 16, 1, True, ["cuda:0"] * 3),
        ("cuda:0", 3, 16, 2, True, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:0", 0, 16, 2, True, []),
        ("mps", None, 8, 0, True, ["mps"]),
        ("mps", 2, 8, 0, True, ["mps", "mps"]),
    ],
)
def test_worker_devices(device, workers, cores, count, every, expected):
    assert worker_devices(device, workers, cores=cores, gpus=count, every=every) == expected


def test_auto_is_float32_on_the_cpu_and_bfloat16_where_a_gpu_multiplies_it(monkeypatch):
    def inside(device: str) -> bool:
        with autocast(torch.device(device), "auto"):
            return torch.is_autocast_enabled(device)

    assert not inside("cpu")
    for fast in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, fast=fast: fast)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        assert inside("cuda") == fast
