"""What a user may set of an `align` run, from keyword arguments or a YAML file alike."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from polymodal.config import TRACKERS, Training
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec, plain
from polymodal.core.registry import options as known_options
from polymodal.core.values import check_types, read_yaml

TOWERS = ("auto", "frozen", "scratch", "finetune")


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Options of `align`.

    `method`: an aligner's spec. `towers`: `frozen` encodes every cell once and trains small heads on the store,
    `scratch` trains an encoder a stream together with the heads, `finetune` does so from pretrained towers (LoRA unless
    their spec says how); `auto` is frozen where every stream has a pretrained tower or holds vectors, else scratch.
    Under `scratch` and `finetune` a stream whose encoder has nothing to learn stays frozen (one tower locked).
    `encoders`, `processors`: specs by stream or kind. `dim`: width of the shared space; `width`: of the tokens of
    encoders trained from scratch.

    `training`: options of the training loop; `batch` counts rows, and a row brings all its items. `chunk`: items that
    go through towers and heads at a time; a larger batch is computed in such pieces with the gradient of the whole (0:
    4,096 behind frozen towers, else 256). `seed`; `fractions`: train, valid and test where the data bring no split;
    `queries`: how many test queries the report shows. `trackers`, `store`: as of `fit`.
    """

    method: str | type | Mapping[str, Any] = "infonce"
    towers: str = "auto"
    encoders: Mapping[str, Spec] = field(default_factory=dict)
    processors: Mapping[str, Spec] = field(default_factory=dict)
    dim: int = 256
    width: int = 128
    training: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 0
    seed: int = 0
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    queries: int = 6
    trackers: str = "auto"
    store: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name, value, allowed in (("towers", self.towers, TOWERS), ("trackers", self.trackers, TRACKERS)):
            if value not in allowed:
                raise BadArgument(f"Unknown {name} {value!r}.{suggest(value, allowed)}")
        for name, least in {"dim": 2, "width": 4, "chunk": 0, "seed": 0, "queries": 0}.items():
            if getattr(self, name) < least:
                raise BadArgument(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise BadArgument(f"fractions must be three positive shares that add up to 1; got {self.fractions}.")
        if "modality_dropout" in self.training:
            raise BadArgument("modality_dropout has no meaning in align: every stream is mapped by itself.")
        Training().with_(self.training)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> AlignConfig:
        """From keyword arguments; options of the method itself go into its spec (`graph=triples.csv`).

        Raises `BadArgument` naming the nearest option for an unknown one.
        """
        allowed = {f.name for f in fields(cls)}
        values = {name: value for name, value in options.items() if name in allowed}
        if beside := {name: value for name, value in options.items() if name not in allowed}:
            values["method"] = _with_options(values.get("method", cls.method), beside, allowed)
        if isinstance(values.get("fractions"), list):
            values["fractions"] = tuple(values["fractions"])
        if isinstance(values.get("store"), os.PathLike):
            values["store"] = os.fspath(values["store"])
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> AlignConfig:
        """From a YAML file of the same names, or an align run's `config.yaml`; `changes` win."""
        if not Path(path).is_file():
            raise BadArgument(f"The configuration file {str(path)!r} does not exist.")
        values = read_yaml(Path(path).read_text(encoding="utf-8"), str(path)) or {}
        if not isinstance(values, dict):
            raise BadArgument(f"{path} must hold 'option: value' lines; got a {type(values).__name__}.")
        return cls.from_options({**values.get("config", values), **(changes or {})})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML writes them."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def _with_options(method: Any, given: Mapping[str, Any], allowed: Iterable[str]) -> dict[str, Any]:
    """The method's spec with options of its own. Raises `BadArgument` for one that neither it nor `align` has."""
    from polymodal.align import ALIGNERS

    spec = dict(method) if isinstance(method, Mapping) else {"name": method}
    own = known_options(ALIGNERS.resolve(spec)[0])
    for name in given:
        if name not in own:
            raise BadArgument(f"Unknown option {name!r} of align.{suggest(name, {*allowed, *own})}")
    return {**spec, **given}
