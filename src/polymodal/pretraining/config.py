"""What a user may set of a `pretrain` run, from keyword arguments or a YAML file alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polymodal.config import Options, Training
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec
from polymodal.core.values import check_range

OBJECTIVES = ("auto", "masked", "contrastive", "both", "captioning", "mix")
WRITING = ("captioning", "mix")  # those by which words are written


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Options):
    """Options of `pretrain`.

    `objective`: `masked` hides a share of every cell's parts (patches, stretches of time, columns, words) at the
    encoder's input, and a light decoder rebuilds them from the tokens of what is left; `contrastive` draws together the
    streams of a row and apart those of different rows; `both`; `captioning` writes the words of text from the tokens of
    the row's other streams, by a small decoder that is left behind; `mix` is that and contrast (CoCa; Yu et al. 2022);
    `auto` is both where streams share rows, else masked.
    `captions`: the text streams that are written, from the streams that are not among them (default: every stream of
    text); `captioning_weight`: what captioning counts for beside contrast in a mix (default: 2, as there).
    `hidden`: the share of parts that is hidden (default: each encoder's own). `across`: whether hidden parts are
    rebuilt from the tokens of the row's other streams too. `encoders`, `processors`: specs by stream or kind, as of
    the fit that shall start from here; `dim`: the width of its tokens (of `align`: its `width`).

    `training`: options of the training loop. `test_rows`: learn from the test rows too, without their labels, which
    what is measured on them later tells. `fractions`: train, valid and test where the data bring no split. `trackers`,
    `store`, `device`: as of `fit`.
    """

    objective: str = "auto"
    hidden: float | None = None
    across: bool = True
    captions: str | Sequence[str] = ()
    captioning_weight: float | None = None
    encoders: Mapping[str, Spec] = field(default_factory=dict)
    processors: Mapping[str, Spec] = field(default_factory=dict)
    dim: int = 64
    training: Mapping[str, Any] = field(default_factory=dict)
    test_rows: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise BadArgument(f"Unknown objective {self.objective!r}.{suggest(self.objective, OBJECTIVES)}")
        check_range("(0, 1)", hidden=self.hidden)
        check_range("[4, 65_536]", dim=self.dim)
        check_range("(0, 1000]", captioning_weight=self.captioning_weight)
        if self.captions and not self.writes:
            raise BadArgument(f"captions are written by objective=captioning or mix, not by {self.objective}.")
        if self.captioning_weight is not None and self.objective != "mix":
            raise BadArgument(f"captioning_weight is read by objective=mix, not by {self.objective}.")
        if "modality_dropout" in self.training:
            raise BadArgument("modality_dropout has no meaning in pretrain: every stream is encoded by itself.")
        Training().with_(self.training)

    @property
    def weight(self) -> float:
        """What captioning counts for beside contrast."""
        return 2.0 if self.captioning_weight is None else self.captioning_weight

    @property
    def writes(self) -> bool:
        """Whether words are written."""
        return self.objective in WRITING

    @property
    def captioned(self) -> list[str]:
        """The streams named by `captions`."""
        named = self.captions.split(",") if isinstance(self.captions, str) else self.captions
        return [name.strip() for name in named if name.strip()]

    @classmethod
    def _beside(cls, values: dict[str, Any], beside: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
        name = next(iter(beside))
        raise BadArgument(f"Unknown option {name!r} of pretrain.{suggest(name, allowed)}")
