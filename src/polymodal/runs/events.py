"""What a job tells while it runs and when it is over; one line of JSON each between processes."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from polymodal.core.errors import DiskFull, PolymodalError, refused


@dataclass(frozen=True)
class Event:
    """News of a job. `over` says that it is the job's last."""

    over = False

    def to_json(self) -> dict[str, Any]:
        return {"event": _NAMES[type(self)], **vars(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Event:
        """The event that `to_json` wrote."""
        return _EVENTS[values["event"]](**{name: value for name, value in values.items() if name != "event"})


@dataclass(frozen=True)
class EpochEnd(Event):
    """Epoch `number` of `of` is over: its training loss and validation score, None where they are not finite."""

    number: int
    of: int
    loss: float | None
    valid: float | None


@dataclass(frozen=True)
class Done(Event):
    """The job is done, with what its result file says; `cached`: it was there already."""

    over = True
    result: dict[str, Any] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True)
class Failed(Event):
    """The job failed, for a reason in words; `trace` where it is the code's fault and not the data's, `died` where its
    process did, `full` where the disk takes no more, so that no other job can do better."""

    over = True
    reason: str
    trace: str = ""
    died: bool = False
    full: bool = False

    @classmethod
    def by(cls, error: Exception) -> Self:
        """An error being handled, as an event. Errors of ours say all there is to say."""
        if isinstance(error, OSError) and isinstance(told := refused(error), DiskFull):
            error = told
        if isinstance(error, PolymodalError):
            return cls(str(error), full=isinstance(error, DiskFull))
        return cls(f"{type(error).__name__}: {error}", traceback.format_exc())


@dataclass(frozen=True)
class Skipped(Event):
    """The job was not begun in time."""

    over = True


_NAMES: dict[type[Event], str] = {
    EpochEnd: "epoch", Done: "done", Failed: "failed", Skipped: "skipped",
}  # fmt: skip
_EVENTS = {name: event for event, name in _NAMES.items()}
