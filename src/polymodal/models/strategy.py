"""A strategy: one way to answer from some streams, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from polymodal.core.digest import safe_name
from polymodal.core.registry import Spec, label
from polymodal.models.specs import CATALOGUES, Part, listed, resolved

TRAINED = {"apart": "", "finetuned": " fine-tuned", "joint": " joint"}  # how encoders were, as names say it
ADAPTERS = "adapters"  # what the row without an objective is called: the same model, trained by its own loss


@dataclass(frozen=True)
class Strategy:
    """One row of the leaderboard: a way to answer from some streams.

    `family` is `single`, `fusion`, `decision`, `answer` or `learner`; `spec` names the part within it. `ensemble` and
    `chance`, of the leaderboard, are families of their own, which nothing is built for. `fusion` is what the part is
    called, by default its spec in words; it stays when options are settled by cross-validation. Single streams have
    none.

    `facts` size fitted learners, a target each, so that their weights find their place. `objective` is what it is
    trained by besides its own loss; `adapters` puts one a stream before it, and `align` an aligner, whose loss counts
    `align_weight`. `encoders` says how those of its streams were trained: `apart`, each alone before it; `finetuned`,
    with it at last; `joint`, with it from the start.
    """

    family: str
    spec: Spec
    streams: tuple[str, ...]
    fusion: str = ""
    facts: Mapping[str, Any] | None = None
    objective: Spec | Sequence[Spec] | None = None
    align: Spec | None = None
    align_weight: float = 0.1
    adapters: bool = False
    encoders: str = "apart"

    def __post_init__(self) -> None:
        if not self.fusion and self.family in CATALOGUES:
            object.__setattr__(self, "fusion", label(self.spec))

    def to_json(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": self.name, **values, "streams": list(self.streams)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Strategy:
        """What `to_json` wrote. The name is for readers only: it follows from the fields, older files' too."""
        known = {("adapters" if name == "towers" else name): value for name, value in values.items() if name != "name"}
        if known.pop("finetuned", False):
            known["encoders"] = "finetuned"
        if known.get("family") == "trees":
            known["family"] = "learner"
        return cls(**{**known, "streams": tuple(values["streams"])})

    @cached_property
    def part(self) -> Part:
        """What `spec` names."""
        return resolved(self.spec)

    @property
    def level(self) -> str:
        """The word for the leaderboard: where the streams meet."""
        return self.part.level if self.family in CATALOGUES else self.family

    @property
    def reads_tokens(self) -> bool:
        """Whether sequences are needed, or pooled vectors do."""
        return self.family in CATALOGUES and self.part.reads_tokens

    @property
    def joint(self) -> bool:
        """Whether all streams are trained together, so that one can starve another."""
        return self.family == "fusion" or (self.family == "answer" and self.part.cls.trains_together)

    @property
    def end_to_end(self) -> bool:
        """Whether its encoders are its own, trained with it; else it reads stored tokens."""
        return self.encoders != "apart"

    @property
    def specs(self) -> list[Spec]:
        """Of its part, its aligner and its objectives."""
        return [self.spec, *([] if self.align is None else [self.align]), *listed(self.objective or ())]

    @property
    def added(self) -> tuple[str, ...]:
        """What it has beside the fusion as it is: the aligner and the objectives, or else adapters alone."""
        return tuple(map(label, self.specs[1:])) or ((ADAPTERS,) if self.adapters else ())

    @property
    def variant(self) -> str:
        """How it is trained, in words: `adapters`, `infonce + ogm fine-tuned`; nothing for the fusion as it is."""
        return " + ".join(self.added) + TRAINED[self.encoders]

    @property
    def name(self) -> str:
        """What the leaderboard calls it: `photo alone`, `concat + adapters`, `gated fine-tuned`, `mlb joint`."""
        first = f"{self.streams[0]} alone" if self.family == "single" else self.fusion or self.family
        return f"{first} + {self.variant}" if self.added else first + self.variant

    def words(self) -> dict[str, Any]:
        """What the leaderboard says of it, a column each: `fusion`, `objective`, `aligner`, `encoders`."""
        return {
            "fusion": self.fusion,
            "objective": " + ".join(map(label, listed(self.objective or ()))),
            "aligner": "" if self.align is None else label(self.align),
            "encoders": self.encoders,
        }

    @property
    def key(self) -> str:
        """Where its jobs write in a working folder, but for the seed: `answers/concat`, `finetuned/concat`."""
        return f"{self.encoders if self.end_to_end else 'answers'}/{safe_name(replace(self, encoders='apart').name)}"
