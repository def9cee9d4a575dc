"""The register of formulas: each is ours and an independent one, to be compared at float64, values and gradients."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

Arrays = Mapping[str, np.ndarray]
Tensors = Mapping[str, Tensor]
STEP = 1e-5  # of central differences: their error is near 1e-10 for values near one
TRIED = 24  # entries of an input whose derivative is taken, spread evenly over it: each costs two evaluations


@dataclass(frozen=True)
class Pair:
    """Ours and theirs at the same values.

    `ours` gets `at` as float64 tensors and `theirs` as arrays; both return one array of the same shape. Every entry of
    `at` is differentiated but those in `constant`. The reference's gradient is found by central differences, unless
    `gradient(values, upstream)` gives it, an array an input, where `upstream` is what flows back into the result.
    `smooth=False`: the values alone are compared (a closed form, an optimum, a count).
    """

    ours: Callable[[Tensors], Tensor]
    theirs: Callable[[Arrays], np.ndarray]
    at: Arrays
    constant: tuple[str, ...] = ()
    gradient: Callable[[Arrays, np.ndarray], Arrays] | None = None
    smooth: bool = True


@dataclass(frozen=True)
class Case:
    """A row of the parity table. `family` and `part` are a catalogue's, where there is one."""

    family: str
    part: str
    variant: str
    source: str
    against: str
    make: Callable[[], Pair]

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.family, self.part, self.variant)))


@dataclass(frozen=True)
class Errors:
    """The largest absolute differences; `gradient` is None where none was asked for."""

    forward: float
    gradient: float | None


CASES: list[Case] = []


def parity(
    family: str, part: str, variant: str = "", *, source: str, against: str = "NumPy"
) -> Callable[[Callable[[], Pair]], Callable[[], Pair]]:
    """Register a function that makes a `Pair`. It is called with torch seeded, once a comparison."""

    def add(make: Callable[[], Pair]) -> Callable[[], Pair]:
        case = Case(family, part, variant, source, against, make)
        if case.name in {c.name for c in CASES}:
            raise ValueError(f"two parity cases are called {case.name!r}")
        CASES.append(case)
        return make

    return add


def cases() -> list[Case]:
    """Every case of every module of this package."""
    package = importlib.import_module(__package__)
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{__package__}.{module}")
    return sorted(CASES, key=lambda c: c.name)


def compare(case: Case) -> Errors:
    """Values and gradients of a case. Raises `AssertionError` when shapes or types differ or a gradient is missing."""
    torch.manual_seed(3)
    pair = case.make()
    at = {name: np.array(value, dtype=np.float64) for name, value in pair.at.items()}
    tensors = {name: torch.from_numpy(v.copy()).requires_grad_(name not in pair.constant) for name, v in at.items()}
    ours, theirs = pair.ours(tensors), np.asarray(pair.theirs(at))
    assert ours.dtype == torch.float64, f"{case.name}: ours is {ours.dtype}"
    assert tuple(ours.shape) == theirs.shape, f"{case.name}: ours is {tuple(ours.shape)}, theirs {theirs.shape}"
    forward = _largest(ours.detach().numpy(), theirs)
    if not pair.smooth:
        return Errors(forward, None)
    upstream = np.random.default_rng(0).normal(size=theirs.shape)
    (ours * torch.from_numpy(upstream)).sum().backward()
    expected = pair.gradient(at, upstream) if pair.gradient else {}
    worst = 0.0
    for name, tensor in tensors.items():
        if name in pair.constant:
            continue
        assert tensor.grad is not None, f"{case.name}: {name} gets no gradient"
        found = tensor.grad.numpy()
        if name in expected:
            worst = max(worst, _largest(found, expected[name]))
        else:
            worst = max(worst, _against_differences(found, pair.theirs, at, name, upstream))
    return Errors(forward, worst)


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    difference = np.abs(a - b)
    return float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0))


def _against_differences(
    found: np.ndarray, formula: Callable[[Arrays], np.ndarray], at: Arrays, name: str, upstream: np.ndarray
) -> float:
    places = np.unique(np.linspace(0, found.size - 1, min(TRIED, found.size)).astype(int))
    worst = 0.0
    for place in places:
        values = []
        for step in (STEP, -STEP):
            moved = at[name].copy()
            moved.reshape(-1)[place] += step
            values.append(float((np.asarray(formula({**at, name: moved})) * upstream).sum()))
        worst = max(worst, _largest(found.reshape(-1)[place], np.array((values[0] - values[1]) / (2 * STEP))))
    return worst


def module_pair(
    module: nn.Module,
    theirs: Callable[[Arrays], np.ndarray],
    inputs: Arrays,
    run: Callable[[Callable[..., Tensor], Tensors], Tensor],
    *,
    spread: float | None = 0.5,
    constant: tuple[str, ...] = (),
) -> Pair:
    """A pair for a module: its parameters are differentiated as well as `inputs`.

    The parameters are drawn anew with a standard deviation of `spread` (None: kept), so that none is zero at the start.
    `run(call, values)` gives the module's result, where `call(*args)` is the module under the parameters in question;
    `theirs` finds parameters and buffers in `values` under their names in the state dict.
    """
    module = module.double().eval()
    if spread is not None:
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=spread)
    own = {name: p.detach().numpy().copy() for name, p in module.named_parameters() if p.requires_grad}
    fixed = {name: b.detach().numpy() for name, b in module.state_dict().items() if name not in own}

    def ours(values: Tensors) -> Tensor:
        state = {name: values[name] for name in own}
        return run(lambda *args: functional_call(module, state, args), values)

    return Pair(ours, lambda values: theirs({**fixed, **values}), {**own, **inputs}, constant)
