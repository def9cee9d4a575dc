"""Every aligner keeps the contract of its family, whatever its options; and breaking it is caught."""

from __future__ import annotations

import pytest
import torch

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner, on_sphere
from polymodal.core.registry import options
from polymodal.core.types import Tokens
from polymodal.testing import NotConformant, check_aligner

# Another value for each option: with it the part must still keep the laws.
OPTIONS = {
    "knowledge": {
        "graph": [("sparrow", "is a", "bird")],
        "columns": ["text"],
        "embedding": "rotate",
        "plurals": False,
        "soft": 1.0,
        "sharpness": 2.0,
        "near": 3,
        "harder": 1.0,
        "head": "glu",
        "dropout": 0.0,
    },  # told nothing here, it is a plain contrast; tests/aligners/test_knowledge.py tells it
    "infonce": {
        "head": "glu",
        "hidden": 20,
        "dropout": 0.0,
        "scale": 5.0,
        "hard": 0.5,
        "queue": 32,
        "mixup": 1.0,
        "structure": 2.0,
    },
    "siglip": {
        "head": "linear",
        "hidden": None,
        "dropout": 0.0,
        "scale": 5.0,
        "bias": -8.0,
        "hard": 0.2,
        "queue": 32,
        "mixup": 1.0,
        "structure": 2.0,
    },
}


@pytest.mark.parametrize("name", [n for n in ALIGNERS if n in OPTIONS])
def test_laws(name: str):
    check_aligner(name)


@pytest.mark.parametrize("name", OPTIONS)
def test_laws_with_other_options(name: str):
    assert set(OPTIONS[name]) == set(options(ALIGNERS.load(name)))
    check_aligner({"name": name, **OPTIONS[name]})


class Sound(Aligner):
    """A linear map a stream, which keeps all laws."""

    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.maps = torch.nn.ModuleDict({n: torch.nn.Linear(w, dim) for n, w in self.widths.items()})

    def project(self, name, vectors):
        return self.maps[name](vectors)

    def loss(self, aligned, rows):
        first, *others = aligned.values()
        return {
            "apart": sum(
                (first.pooled @ o.pooled.T - torch.eye(len(first), device=first.x.device)).square().mean()
                for o in others
            )
        }


class Long(Sound):
    def align(self, streams):
        return {n: Tokens(t.x @ self.maps[n].weight.T, t.mask, self.maps[n](t.pooled)) for n, t in streams.items()}


class Mixed(Sound):
    def align(self, streams):
        centre = sum(self.maps[n](t.pooled).mean() for n, t in streams.items())
        return {n: on_sphere(t, lambda x, n=n: self.maps[n](x) + centre) for n, t in streams.items()}


class Unordered(Sound):
    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.maps = torch.nn.ModuleDict({n: torch.nn.Linear(w, dim) for n, w in widths.items()})


class Forgetful(Sound):
    learns = "fit"

    def fit(self, sides, *, seed=0):
        self.shift = {n: s.vectors.mean(0) for n, s in sides.items()}

    def project(self, name, vectors):
        return self.maps[name](vectors - self.shift[name])


class Swapped(Sound):
    """Learns that each item belongs to the next one."""

    def loss(self, aligned, rows):
        return {
            "apart": sum(
                (a.pooled @ b.pooled.T - torch.eye(len(a)).roll(1, 0)).square().mean()
                for a, b in zip(list(aligned.values())[:-1], list(aligned.values())[1:])
            )
        }


class Idle(Sound):
    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.unused = torch.nn.Parameter(torch.zeros(3))


def test_a_sound_aligner_passes():
    check_aligner(Sound, recall=None)


@pytest.mark.parametrize(
    ("cls", "law"),
    [
        (Long, "length one"),
        (Mixed, "streams independent of one another"),
        (Unordered, "order of streams"),
        (Forgetful, "loads into a fresh part"),
        (Swapped, "finds planted pairs"),
        (Idle, "every parameter receives gradient"),
    ],
)
def test_what_is_broken_is_named(cls: type, law: str):
    with pytest.raises(NotConformant) as caught:
        check_aligner(cls)
    broken = [v.law for v in caught.value.violations]
    assert any(law in name or name.replace("loads fresh", "loads into a fresh part") == law for name in broken), broken
