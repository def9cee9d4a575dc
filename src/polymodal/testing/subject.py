"""A part on trial: how violations are told, and what every check needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens

ROWS = 8
CLASSES = 4
TOLERANCE = 1e-4  # of float32 sums taken in another order

Law = partial[None]  # a check with everything given that it needs


class Violation(AssertionError):
    """A law is broken. The message says which, what was found and how to mend it."""

    def __init__(self, law: str, found: str, mend: str):
        super().__init__(f"{law}: {found} {mend}")
        self.law = law


class NotConformant(AssertionError):
    """A part breaks laws; `violations` holds all of them."""

    def __init__(self, label: str, violations: list[Violation]):
        lines = "\n".join(f"  - {v}" for v in violations)
        super().__init__(f"{label} breaks {len(violations)} law{'s' * (len(violations) > 1)}:\n{lines}")
        self.violations = violations


@dataclass(frozen=True)
class Subject:
    """A part on trial.

    `build()` makes a fresh one from torch's global generator; `run(part, inputs)` gives named outputs [B, …];
    `inputs` is a tensor, `Tokens` or nested dict of them, rows first. `trained` is the output that a loss reads.
    """

    label: str
    build: Callable[[], nn.Module]
    run: Callable[[Any, Any], dict[str, Tensor]]
    inputs: Any
    trained: str


def judge(label: str, laws: Iterable[Law]) -> None:
    """Try every law. Raises `NotConformant` with all violations; an error inside a law counts as one.

    If the first law raises an error the part does not run at all, and the others are not tried.
    """
    broken: list[Violation] = []
    for number, law in enumerate(laws):
        try:
            law()
        except Violation as violation:
            broken.append(violation)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's part raises is what the report is about
            name = law.func.__name__.strip("_").replace("_", " ")
            broken.append(Violation(name, f"it raised {type(error).__name__}: {error}", "Nothing here may raise."))
            if number == 0:
                break
    if broken:
        raise NotConformant(label, broken)


# --- nested inputs ----------------------------------------------------------------------------------------------------


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nest of dicts and `Tokens` with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Tokens):
        where = None if value.where is None else change(value.where)
        return Tokens(change(value.x), change(value.mask), change(value.pooled), where)
    return {name: mapped(change, inner) for name, inner in value.items()}


def mapped_streams(change: Callable[[Tokens], Tokens], streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """The streams with every `Tokens` changed."""
    return {name: change(tokens) for name, tokens in streams.items()}


def planted(t: Tokens, value: float) -> Tokens:
    """Tokens with `value` in every place that is masked."""
    x, where = (None if v is None else v.masked_fill(~t.mask[..., None], value) for v in (t.x, t.where))
    return Tokens(x, t.mask, t.pooled.masked_fill(~t.present[:, None], value), where)  # type: ignore[arg-type]


def tensors(value: Any) -> list[Tensor]:
    """All tensors of a nest."""
    leaves: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        leaves.append(tensor)
        return tensor

    mapped(note, value)
    return leaves


def rows_of(value: Any) -> int:
    """How many rows a nest has."""
    return len(tensors(value)[0])


def built(subject: Subject, seed: int = 0) -> Any:
    """A part built from `seed`, in eval mode."""
    torch.manual_seed(seed)
    return subject.build().eval()


def far(a: Tensor, b: Tensor) -> float:
    """The largest difference relative to the size of the values; infinite where only one is finite."""
    a, b = a.detach().double(), b.detach().double()
    if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    scale = b[b.isfinite()].abs().max().clamp(min=1.0) if b.isfinite().any() else torch.ones(())
    return float(((a - b).nan_to_num().abs().max() / scale) if a.numel() else 0.0)


def same(
    law: str, a: Mapping[str, Tensor], b: Mapping[str, Tensor], found: str, mend: str, tolerance: float = TOLERANCE
) -> None:
    """Raise a `Violation` of `law` unless all outputs of `a` and `b` agree."""
    for name in b:
        if not far(a[name], b[name]) <= tolerance:
            raise Violation(law, f"{found} ({name} differs by {far(a[name], b[name]):.2g}).", mend)


def random_streams(widths: Mapping[str, int], *, full: bool = False) -> dict[str, Tokens]:
    """Random streams of 8 rows and 1, 2, … tokens; unless `full`, with gaps, and row 0 has nothing."""
    draw = torch.Generator().manual_seed(5)
    streams = {}
    for number, (name, width) in enumerate(widths.items()):
        tokens = 1 + 2 * number
        mask = torch.rand(ROWS, tokens, generator=draw) < 0.7
        mask[:, 0] = True
        if not full:
            mask[torch.rand(ROWS, generator=draw) < 0.3] = False
            mask[0] = False
            mask[1:3] = True
        x = torch.randn(ROWS, tokens, width, generator=draw)
        places = torch.rand(ROWS, tokens, 2, generator=draw) if number in (1, 2) else None
        where = None if places is None else places[..., :1] if number == 1 else places.sort(-1).values  # moments; spans
        streams[name] = Tokens(x, mask | full, torch.randn(ROWS, width, generator=draw), where).cleared()
    return streams
