"""What a user may set: options of the training loop, of a whole fit, and what runs of other kinds share with it; from
keyword arguments or a YAML file alike."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.files import told_path
from polymodal.core.limits import read_settings
from polymodal.core.registry import Spec, plain
from polymodal.core.runtime import PRECISIONS, check_device
from polymodal.core.values import check_range, check_types, read_yaml
from polymodal.data.remote.remote import allow_remote, check_options
from polymodal.presets import preset

TRACKERS = ("auto", "tensorboard", "csv", "wandb", "none")

EVIDENCE = ("auto", "folds", "validation")
ENCODINGS = ("auto", "fitted", "trained")

OPTIMIZERS = ("adamw", "adam", "sgd", "adagrad")
SCHEDULES = ("cosine", "step", "plateau", "constant")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of the training loop.

    There are at most `epochs`, and of these as many as `steps` steps allow (0: all), one at least; `batch` is the
    most rows of a step (few rows make smaller batches); `lr` is the peak learning rate; `betas` the decays of Adam's
    averages of gradients and of their squares; `warmup` the share of steps in which the rate rises; `weight_decay` is
    L2 (decoupled under adamw) on matrices only; `l1` the weight of the sum of absolute weights; `clip` the largest
    gradient norm (0: none); `patience` the epochs without a better validation score before stopping (0: never stop
    early); `average` the decay of an exponential moving average of the weights that is validated and kept instead (0:
    none); `modality_dropout` the chance that a stream of a row is hidden in training.
    """

    epochs: int = 30
    steps: int = 0
    batch: int = 256
    optimizer: str = "adamw"
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    l1: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.1
    clip: float = 1.0
    patience: int = 8
    average: float = 0.0
    precision: str = "auto"
    modality_dropout: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        for name, value, allowed in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise BadArgument(f"Unknown {name} {value!r}.{suggest(value, allowed)}")
        check_range("[1, inf)", epochs=self.epochs, batch=self.batch)
        check_range("[0, inf)", steps=self.steps)
        check_range("[0, inf)", weight_decay=self.weight_decay, l1=self.l1, clip=self.clip, patience=self.patience)
        check_range("[0, 1)", warmup=self.warmup, average=self.average, modality_dropout=self.modality_dropout)
        check_range("(0, inf)", lr=self.lr)
        for beta in self.betas:
            check_range("[0, 1)", betas=beta)

    def part(self, share: float, *, least: int = 1) -> Training:
        """The same for a `share` of the training: of its epochs, but `least` of them, and of the bound on its steps."""
        epochs, steps = (math.ceil(share * most) for most in (self.epochs, self.steps))
        return replace(self, epochs=max(least, epochs), steps=steps)

    def within(self, an_epoch: int) -> Training:
        """The same with the epochs that the bound on steps leaves, of so many steps each."""
        return replace(self, epochs=min(self.epochs, max(1, self.steps // an_epoch))) if self.steps else self

    def with_(self, changes: Mapping[str, Any]) -> Training:
        """A copy with `changes`. Raises `BadArgument` for an unknown option or a value that is not allowed."""
        if not isinstance(changes, Mapping):
            raise BadArgument(f"Training options are 'name: value' pairs, as in {{epochs: 5}}; got {changes!r}.")
        allowed = {f.name for f in fields(self)}
        for name in changes:
            if name not in allowed:
                raise BadArgument(f"Unknown training option {name!r}.{suggest(name, allowed)}")
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every kind of run has; all are read, checked and written alike.

    `device`: `auto` (the accelerator there is, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`. `allow_remote`: let
    tables and what their cells name be fetched by address; `storage_options`: how, by scheme, as in
    `{s3: {endpoint_url: "http://…"}}` (see `polymodal.allow_remote`).
    """

    seed: int = 0
    device: str = "auto"
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    trackers: str = "auto"
    store: str | None = None
    allow_remote: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_device(self.device)
        check_options(self.storage_options)
        check_range("[0, 4294967295]", seed=self.seed)
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise BadArgument(f"fractions must be three positive shares that add up to 1; got {self.fractions}.")
        if self.trackers not in TRACKERS:
            raise BadArgument(f"Unknown trackers {self.trackers!r}.{suggest(self.trackers, TRACKERS)}")

    def fetching(self) -> AbstractContextManager[None]:
        """While tables are read: what may be fetched."""
        return allow_remote(self.allow_remote, self.storage_options)

    @classmethod
    def given(cls, config: Any, options: Mapping[str, Any]) -> Self:
        """What `config=` and further keyword arguments say together.

        `config` is None, an instance, a mapping of options, or the path of a YAML file, which is read as the command
        line reads it; options beside the latter two win. Raises `BadArgument` for anything else, and for options
        beside an instance, of which all are set.
        """
        if config is None:
            return cls.from_options(options)
        if isinstance(config, str | os.PathLike):
            return cls.read(os.fspath(config), options)
        if isinstance(config, Mapping):
            return cls.from_options({**config, **options})
        if not isinstance(config, cls):
            raise BadArgument(
                f"config takes a {cls.__name__}, the path of a YAML file or a dict of options; "
                f"got {type(config).__name__}."
            )
        if options:
            raise BadArgument(f"Give options either in config or one by one; got both ({sorted(options)}).")
        return config

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """From keyword arguments. Raises `BadArgument` naming the nearest option for an unknown one."""
        values = dict(options)
        allowed = {f.name for f in fields(cls)}
        if beside := {name: values.pop(name) for name in options if name not in allowed}:
            values = cls._beside(values, beside, allowed)
        if isinstance(values.get("fractions"), list):
            values["fractions"] = tuple(values["fractions"])
        values |= {n: os.fspath(v) for n in ("store", "models", "start") if isinstance(v := values.get(n), os.PathLike)}
        return cls(**values)

    @classmethod
    def _beside(cls, values: dict[str, Any], beside: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
        """The options with what is no field of theirs taken in. Raises `BadArgument` for what cannot be."""
        name = next(iter(beside))
        raise BadArgument(f"Unknown option {name!r} of fit.{suggest(name, allowed)}")

    @classmethod
    def read(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """From a YAML file of the same names, or a run's `config.yaml`; `changes` (the command line's) win."""
        if not Path(path).is_file():
            raise BadArgument(f"The configuration file {str(path)!r} does not exist.")
        values = read_yaml(read_settings(Path(path)), str(path)) or {}
        if not isinstance(values, dict):
            raise BadArgument(f"{path} must hold 'option: value' lines; got a {type(values).__name__}.")
        values = values.get("config", values)  # a run's own file keeps its model beside its options
        return cls.from_options({**values, **(changes or {})})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML writes them: a store that lies elsewhere on this machine is nobody else's, but without
        its `models` or its `start` a run is another one."""
        values = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        for name in ("store", "models", "start"):
            if folder := values.get(name):
                inside = Path(folder).absolute().is_relative_to(Path.cwd())
                values[name] = told_path(folder) if inside else None if name == "store" else folder
        return values


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Options of a fit.

    Beside these, `preset` (`fast`, `good`, `best`, `edge`; see `polymodal.presets`) stands for several of them, which
    any given one by one wins over.

    `fusion`: `auto` (a few cheap, different ones), `all`, or specs. `encodings`: which are tried for a stream whose
    encoder is not named: those `fitted` in one go to features by formula, those `trained` from scratch, or `auto`, both
    by evidence. `pretrained`: whether frozen pretrained towers are tried beside them: `auto`, where a
    checkpoint lies in the folder `models` (default: the one that POLYMODAL_MODELS names) or in the local cache; true,
    from the hub too; false. `target_aware`: also with adapters on their last blocks, trained on the target.
    `encoders`, `processors`: specs by stream or kind.
    `heads`: specs by target. `metric`: what the answer is chosen and judged by (a name, `module:function`, a spec, or a
    list whose further ones are shown beside the first), or that by target; None is the default of the target's kind.
    `rank`: the column within whose values rows are put in order, as items for a user, or with the one that names what
    is put in order `{by: user_id, item: movie_id}`; the answer is then judged by its order (`group_auc`, `ndcg@10` …).
    `training`: options of every training; `encoder_training` and `answer_training` win over
    it, `finetune_training` is for `finetune` alone. `seeds`: with how many each strategy is trained, `seed` the first.

    `objective`: by what the joint fusions are trained besides their own loss, each as a row beside the plain one; a
    list is used together. `objectives`: `all`, or those to compare, on the fusions in `objectives_on` (`best`: the best
    by validation). `align`: an aligner before the joint fusions, as rows of their own; its loss counts `align_weight`.

    `augment`: steps of a recipe that make copies of the training rows, as in `[flip, {synonyms: {amount: 0.2}}]`.
    `crossfit`: into how many parts the training rows are cut, so that a fusion learns from tokens of encoders that did
    not see the row (0: of the very encoder that learned from it). `evidence`: what strategies are chosen by, the
    `validation` rows alone, or `folds`: training and validation rows are cut into parts, a strategy is trained once for
    each without it and answers it, and all of these models together are the strategy; `auto` takes folds where
    validation rows are few. `dim`: width of the tokens. `fractions`: train, valid
    and test, where the data bring no split. `budget_ms`: choose only strategies that answer a row within it.
    `deploy`: the row of the leaderboard to keep, whatever validation says, or `best`, the best by validation (default:
    of those within one standard error of it, on the same streams, the one with the fewest parameters).
    `time_limit`: seconds in which encoders end their training, and after which no further strategy is started.
    `ensemble`: offer a greedy ensemble as one more row. `noise`: draw the score under noise in each modality (default:
    not of pretrained towers, which would encode rows again for it).

    `finetune`: train the best fusion and its encoders together at last, and what it is compared with; each is one more
    row. `joint`: train fusions and their encoders together from the start, and alike the concatenation and every single
    modality; each is one more row, with the first seed. `auto` does so where encoders that were trained apart leave
    something to be learned together. `joint_on`: which fusions (`auto`: the best by validation, and a product);
    `joint_training` is for it alone.

    `contenders`: pretrained models that write, draw or speak, by folder or hub, each a row of the leaderboard: as it
    is, it answers the rows of choice and of the test; or mappings, as in `{model: FOLDER, columns: [photo], called:
    blip, most: 20}`, of the columns that it reads, what it is called and the options of its generator. None is
    deployed: `generate MODEL` answers by one.

    `start`: the folder of a `pretrain` run, whose weights encoders from scratch of the same spec start from, parts of
    cross-fitting too; where evidence says that from scratch is better, they do not.

    `trackers`: where training curves go besides `log.jsonl` (auto: TensorBoard, or CSV where it is not installed).
    `store`: folder of the encode-once store. `device`: see `Options`. `workers`: processes (default: one a core, or one
    a GPU, where more of them share it; 0: this one).
    """

    fusion: str | type | Mapping[str, Any] | Sequence[Spec] = "auto"
    encodings: str = "auto"
    pretrained: bool | str = "auto"
    target_aware: bool = False
    models: str | None = None
    encoders: Mapping[str, Spec] = field(default_factory=dict)
    processors: Mapping[str, Spec] = field(default_factory=dict)
    heads: Mapping[str, Spec] = field(default_factory=dict)
    metric: str | type | Callable[..., Any] | Mapping[str, Any] | Sequence[Any] | None = None
    rank: str | Mapping[str, str] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    encoder_training: Mapping[str, Any] = field(default_factory=dict)
    answer_training: Mapping[str, Any] = field(default_factory=dict)
    finetune_training: Mapping[str, Any] = field(default_factory=dict)
    joint_training: Mapping[str, Any] = field(default_factory=dict)
    objective: str | type | Mapping[str, Any] | Sequence[Spec] | None = None
    objectives: str | Sequence[Any] | None = None
    objectives_on: str | Sequence[str] = "best"
    augment: Sequence[Any] = ()
    align: str | type | Mapping[str, Any] | None = None
    align_weight: float = 0.1
    seeds: int = 3
    crossfit: int = 2
    evidence: str = "auto"
    dim: int = 64
    budget_ms: float | None = None
    deploy: str | None = None
    time_limit: float | None = None
    ensemble: bool = True
    noise: bool | None = None
    finetune: bool = False
    joint: bool | str = "auto"
    joint_on: str | Sequence[str] = "auto"
    contenders: str | Mapping[str, Any] | Sequence[Any] = ()
    start: str | None = None
    workers: int | None = None

    @classmethod
    def _beside(cls, values: dict[str, Any], beside: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
        if list(beside) == ["preset"]:
            return {**preset(beside["preset"]), **values}
        return super()._beside(values, {k: v for k, v in beside.items() if k != "preset"}, (*allowed, "preset"))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("[1, 10_000]", seeds=self.seeds)
        for name, value, known in (("encodings", self.encodings, ENCODINGS), ("evidence", self.evidence, EVIDENCE)):
            if value not in known:
                raise BadArgument(f"Unknown {name} {value!r}.{suggest(value, known)}")
        check_range("[4, 65_536]", dim=self.dim)
        check_range("[0, 1_000]", crossfit=self.crossfit)
        check_range("[0, 1_024]", workers=self.workers)
        check_range("[0, inf)", align_weight=self.align_weight)
        check_range("(0, inf)", budget_ms=self.budget_ms, time_limit=self.time_limit)
        for name in ("joint", "pretrained"):
            if (given := getattr(self, name)) not in ("auto", True, False):
                raise BadArgument(f"{name} is true, false or auto; got {given!r}.")
        if isinstance(self.rank, Mapping) and "by" not in self.rank:
            raise BadArgument(f"rank is a column, as user_id, or {{by: user_id, item: movie_id}}; got {self.rank!r}.")
        if self.crossfit == 1:
            raise BadArgument("crossfit must be 0 (off) or at least 2 parts; got 1.")
        for options in (
            self.training,
            self.encoder_training,
            self.answer_training,
            self.finetune_training,
            self.joint_training,
        ):
            Training().with_(options)
