"""What a user may set of an `align` run, from keyword arguments or a YAML file alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from polymodal.config import Options, Training
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec
from polymodal.core.registry import options as known_options
from polymodal.core.values import check_range, check_types

TOWERS = ("auto", "frozen", "scratch", "finetune")


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Options of the matching model. `dropout`: see `models.matching.Matcher`.

    `negatives`: how many an item of a pair gets at a step, drawn by softmax of cosine over `temperature`; `candidates`:
    how many first hits it puts in order when it is judged; `training`: options of the training loop, `batch` in rows.
    """

    dropout: float = 0.2
    temperature: float = 0.2
    negatives: int = 1
    candidates: int = 20
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_range("[1, inf)", negatives=self.negatives)
        check_range("[2, inf)", candidates=self.candidates)
        check_range("(0, inf)", temperature=self.temperature)
        check_range("[0, 1)", dropout=self.dropout)
        Training().with_(self.training)

    @classmethod
    def given(cls, value: bool | Mapping[str, Any]) -> Matching | None:
        """From what `align` takes as `matching`: None for False. Raises `BadArgument` for what is no option."""
        if value is False:
            return None
        options = {} if value is True else dict(value)
        allowed = {f.name for f in fields(cls)}
        for name in options:
            if name not in allowed:
                raise BadArgument(f"Unknown option {name!r} of matching.{suggest(str(name), allowed)}")
        return cls(**options)


@dataclass(frozen=True, kw_only=True)
class AlignConfig(Options):
    """Options of `align`.

    `method`: an aligner's spec. `towers`: `frozen` encodes every cell once and trains small heads on the store,
    `scratch` trains an encoder a stream together with the heads, `finetune` does so from pretrained towers (LoRA unless
    their spec says how); `auto` is frozen where every stream has a pretrained tower or holds vectors, else scratch.
    Under `scratch` and `finetune` a stream whose encoder has nothing to learn stays frozen (one tower locked).
    `start`: the folder of a `pretrain` run whose weights scratch towers of the same spec start from.
    `models`: a folder of pretrained models (default: the one that POLYMODAL_MODELS names), from which streams whose
    encoder is not named get their towers. `encoders`, `processors`: specs by stream or kind. `dim`: width of the shared
    space; `width`: of the tokens of encoders trained from scratch.

    `training`: options of the training loop; `batch` counts rows, and a row brings all its items. `chunk`: items that
    go through towers and heads at a time; a larger batch is computed in such pieces with the gradient of the whole (0:
    4,096 behind frozen towers, else 256). `seed`; `fractions`: train, valid and test where the data bring no split;
    `queries`: how many test queries the report shows. `matching`: also train a model that judges pairs by the tokens of
    both, True or its options (see `Matching`). `trackers`, `store`: as of `fit`.
    """

    method: str | type | Mapping[str, Any] = "infonce"
    towers: str = "auto"
    models: str | None = None
    start: str | None = None
    encoders: Mapping[str, Spec] = field(default_factory=dict)
    processors: Mapping[str, Spec] = field(default_factory=dict)
    dim: int = 256
    width: int = 128
    training: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 0
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    queries: int = 6
    matching: bool | Mapping[str, Any] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.towers not in TOWERS:
            raise BadArgument(f"Unknown towers {self.towers!r}.{suggest(self.towers, TOWERS)}")
        check_range("[2, inf)", dim=self.dim)
        check_range("[4, inf)", width=self.width)
        check_range("[0, inf)", chunk=self.chunk, queries=self.queries)
        if "modality_dropout" in self.training:
            raise BadArgument("modality_dropout has no meaning in align: every stream is mapped by itself.")
        Training().with_(self.training)
        Matching.given(self.matching)

    @classmethod
    def _beside(cls, values: dict[str, Any], beside: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
        """Options of the method itself go into its spec (`graph=triples.csv`)."""
        return {**values, "method": _with_options(values.get("method", cls.method), beside, allowed)}


def _with_options(method: Any, given: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    """The method's spec with options of its own. Raises `BadArgument` for one that neither it nor `align` has."""
    from polymodal.aligners import ALIGNERS

    spec = dict(method) if isinstance(method, Mapping) else {"name": method}
    own = known_options(ALIGNERS.resolve(spec)[0])
    for name in given:
        if name not in own:
            raise BadArgument(f"Unknown option {name!r} of align.{suggest(name, {*allowed, *own})}")
    return {**spec, **given}
