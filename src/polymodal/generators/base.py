"""What a pretrained generator is: a model as it is, asked row by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from PIL import Image

from polymodal.core.errors import BadArgument, suggest
from polymodal.generators.opening import About
from polymodal.nn.check import check_count


@dataclass(frozen=True)
class Asked:
    """What a row asks: `texts` by turns, the user's first, and `pictures` in RGB. Draws go by the `number` of the
    record in its source."""

    number: int
    texts: tuple[str, ...] = ()
    pictures: tuple[Image.Image, ...] = ()


class Said(NamedTuple):
    """The answer to a row, a text or the bytes of a file, None where there is none; and what is to be said of it."""

    answer: str | bytes | None
    remark: str = ""


class Generator(ABC):
    """A pretrained model that answers. The constructor's keyword-only arguments are what a user may set.

    An author writes `can` and `answers`, says which kinds of columns the model `needs`, which it `takes` besides and
    how the `column` of its answers is called, and keeps its `networks`.

    Its networks lie on the device that `ops.networks.DEVICE` names while it is made (see `answering.opened`). Raises
    `BadArgument` where the model cannot be had or an option is not allowed.
    """

    needs: ClassVar[tuple[str, ...]]
    takes: ClassVar[tuple[str, ...]] = ()
    column: ClassVar[str]
    suffix: ClassVar[str] = ""  # of the files that it gives; none where it gives words
    samples: bool = True  # whether another seed gives another answer
    networks: Sequence[Any] = ()

    def __init__(self, about: About, *, batch: int = 8):
        self.about = about
        self.batch = check_count("batch", batch)

    @classmethod
    def reads(cls) -> tuple[str, ...]:
        """The kinds of columns that it reads."""
        return (*cls.needs, *cls.takes)

    @property
    def parameters(self) -> int:
        """How many its networks have."""
        return sum(parameter.numel() for network in self.networks for parameter in network.parameters())

    @classmethod
    @abstractmethod
    def can(cls, about: About) -> bool:
        """Whether a model, by its settings, is one of these."""

    @abstractmethod
    def answers(self, rows: Sequence[Asked], seed: int) -> Iterator[tuple[int, Said]]:
        """The place among `rows` and the answer of each, in any order. A row's answer hangs on the row, its number and
        `seed`, not on what is beside it; a row that cannot be answered has a `Said` without an answer."""

    def check_reads(self, kinds: Collection[str]) -> None:
        """Raise `BadArgument` where options ask for a kind of columns that is not read, or leave one no place. Default:
        any will do."""
        return None

    def check_times(self, n: int) -> None:
        """Raise `BadArgument` where `n` answers to a row would be the same one."""
        check_count("n", n)
        if n > 1 and not self.samples:
            raise BadArgument(f"n={n} answers would be {n} times the same: give a temperature above 0, such as 0.7.")


def dtype_of(precision: str) -> Any:
    """What weights are opened in. Raises `BadArgument` for an unknown precision."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": "auto"}
    if precision not in known:
        raise BadArgument(f"Unknown precision {precision!r}.{suggest(precision, known)}")
    return known[precision]


def batches(places: Sequence[int], size: int) -> Iterator[list[int]]:
    """Parts of at most `size`, in order."""
    for start in range(0, len(places), size):
        yield list(places[start : start + size])


def one_by_one(work: Any, group: list[int], failed: type) -> Iterator[tuple[int, Any]]:
    """`work` on a group, which gives a value each; where it gives what `failed` is, on each of the group alone."""
    found = work(group)
    if not isinstance(found, failed):
        yield from zip(group, found, strict=True)
        return
    for place in group:
        alone: Any = found if len(group) == 1 else work([place])
        yield place, alone if isinstance(alone, failed) else alone[0]
