"""What a user may set of `tune`: the options of a fit, and how they are searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from polymodal.config import Config
from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "halving", "none")
ELSEWHERE = (  # options of a fit that would change nothing here
    "joint", "joint_on", "joint_training", "finetune", "finetune_training", "objectives", "objectives_on", "deploy",
    "budget_ms", "start",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Config):
    """Options of `tune`: those of a fit, from which the search starts, and these.

    `trials`: how many settings are tried, the default ones first. `sampler`: `tpe` (tree-structured Parzen estimator;
    Bergstra et al. 2011) or `random`. `pruner`: what is given up after a part of the rows, `median` (what is behind the
    median of the others by then; Golovin et al. 2017), `halving` (successive halving; Li et al. 2020) or `none`.
    `storage`: the URL of an Optuna storage, or one (default: SQLite, `tune.db` of the folder).

    `space`: by dotted setting what is tried, `{low, high}` with `log: true` for a logarithmic scale, or `{values: []}`;
    `false` leaves a setting as it is. It wins over the space that is derived from the plan; with `derive: false` it is
    all that is searched. `workers`: trials at a time, a process each (default: one a core, or one a GPU; 0: this
    process). `time_limit`: seconds after which no further trial is started.
    """

    trials: int = 30
    sampler: str = "tpe"
    pruner: str = "median"
    storage: Any = None
    space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("[1, 1_000_000]", trials=self.trials)
        for name, value, known in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if value not in known:
                raise BadArgument(f"Unknown {name} {value!r}.{suggest(value, known)}")
        usual = Config()
        for name in ELSEWHERE:
            if getattr(self, name) not in (getattr(usual, name), False):
                raise BadArgument(f"{name} is no option of tune: give it to the fit of what tune found.")

    def fit_config(self, **changes: Any) -> Config:
        """The options of a fit with these `changes`; encoders and answer are trained apart."""
        plain = {f.name: getattr(self, f.name) for f in fields(Config)}
        return Config.from_options({**plain, "joint": False, "time_limit": None, **changes})
