"""Commands that look at data and train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.app import (
    AllowRemote,
    AsJson,
    ConfigOption,
    Data,
    DeviceChoice,
    FusionOption,
    ItemOption,
    MetricOption,
    ModelsOption,
    PresetOption,
    Quiet,
    RankOption,
    Resume,
    SchemaOption,
    SeedsOption,
    SetOption,
    StartOption,
    TargetOption,
    Test,
    Valid,
    app,
    forked,
    read_config,
    read_rank,
    read_sets,
    say_aside,
    show_result,
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("runs/demo"),
    resume: Resume = False,
) -> None:
    """The main job on built-in data, end to end, with a report."""
    from polymodal.experiment.demo import demo as run_demo

    run_demo(out, resume=resume)


@app.command()
def inspect(
    data: Data,
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    allow_remote: AllowRemote = False,
    as_json: AsJson = False,
) -> None:
    """Fields, kinds, missing cells, broken files, duplicates, leaks between splits."""
    from polymodal.experiment.inspection import inspect as run_inspect

    inspection = run_inspect(data, target, valid=valid, test=test, schema=schema)
    show_result(inspection.to_json() if as_json else inspection.text())


@app.command()
def plan(
    data: Data,
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    allow_remote: AllowRemote = False,
    config: ConfigOption = None,
    preset: PresetOption = None,
    models: ModelsOption = None,
    start: StartOption = None,
    fusion: FusionOption = None,
    metric: MetricOption = None,
    rank_by: RankOption = None,
    rank_item: ItemOption = None,
    seeds: SeedsOption = None,
    sets: SetOption = None,
    probe: Annotated[bool, typer.Option("--estimate", help="Try a few rows; say how long it will take.")] = False,
    as_json: AsJson = False,
) -> None:
    """What fit would do, and why; computes nothing unless asked for an estimate."""
    from polymodal.experiment.plan import plan as make_plan

    settings = read_config(
        config, sets, preset=preset, models=models, start=start, fusion=fusion, metric=metric, seeds=seeds,
        allow_remote=allow_remote or None, rank=read_rank(rank_by, rank_item),
    )  # fmt: skip
    plan = make_plan(data, target, valid=valid, test=test, schema=schema, config=settings)
    if not probe:
        show_result(plan.to_json() if as_json else plan.text())
        return
    from polymodal.experiment.estimate import estimate

    found = estimate(plan)
    show_result({**plan.to_json(), "estimate": found.to_json()} if as_json else f"{plan.text()}\n{found.text()}")


@app.command()
def pretrain(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Column that is no stream, as what a fit will predict.")
    ] = None,
    streams: Annotated[
        str | None, typer.Option("--streams", "-s", help="Fields, with commas.", show_default="all")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="auto, masked, contrastive, both, captioning or mix.", show_default="auto")
    ] = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of encoders, batches and splits.")] = None,
    device: DeviceChoice = None,
    resume: Resume = False,
    allow_remote: AllowRemote = False,
    sets: SetOption = None,
    quiet: Quiet = False,
) -> None:
    """Let encoders learn from rows without labels, for `fit --start` and `align --start`."""
    from polymodal.pretraining.config import PretrainConfig
    from polymodal.pretraining.run import pretrain as run_pretrain

    given = {"objective": objective, "seed": seed, "device": device, "allow_remote": allow_remote or None}
    changes = {**{name: value for name, value in given.items() if value is not None}, **read_sets(sets)}
    settings = PretrainConfig.given(config, changes)
    run_pretrain(
        data, target, out=out, streams=streams, valid=valid, test=test, schema=schema, config=settings, resume=resume,
        quiet=quiet,
    )  # fmt: skip
    if quiet:
        say_aside(out)


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    target: TargetOption = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    models: ModelsOption = None,
    start: StartOption = None,
    fusion: FusionOption = None,
    metric: MetricOption = None,
    rank_by: RankOption = None,
    rank_item: ItemOption = None,
    seeds: SeedsOption = None,
    budget_ms: Annotated[float | None, typer.Option(help="Choose only what answers a row within it.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds; what is cut short is said.")] = None,
    device: DeviceChoice = None,
    resume: Resume = False,
    allow_remote: AllowRemote = False,
    sets: SetOption = None,
    quiet: Quiet = False,
) -> None:
    """Train, compare every way to fuse, keep the best, and say whether fusing helped."""
    forked("fit")
    from polymodal.experiment.fit import fit as run_fit

    settings = read_config(
        config, sets, preset=preset, models=models, start=start, fusion=fusion, metric=metric, seeds=seeds,
        budget_ms=budget_ms, time_limit=time_limit, device=device, allow_remote=allow_remote or None,
        rank=read_rank(rank_by, rank_item),
    )  # fmt: skip
    run_fit(data, target, out=out, valid=valid, test=test, schema=schema, config=settings, resume=resume, quiet=quiet)
    if quiet:
        say_aside(out)


@app.command()
def tune(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search.")],
    target: TargetOption = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try.", show_default="30")] = None,
    valid: Valid = None,
    test: Test = None,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    models: ModelsOption = None,
    fusion: FusionOption = None,
    metric: MetricOption = None,
    sampler: Annotated[str | None, typer.Option(help="tpe or random.", show_default="tpe")] = None,
    pruner: Annotated[str | None, typer.Option(help="median, halving or none.", show_default="median")] = None,
    storage: Annotated[str | None, typer.Option(help="URL of an Optuna storage.", show_default="OUT/tune.db")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Trials at a time.", show_default="one a core")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which no further trial starts.")] = None,
    device: DeviceChoice = None,
    resume: Resume = False,
    allow_remote: AllowRemote = False,
    sets: SetOption = None,
    quiet: Quiet = False,
) -> None:
    """Search the settings of a fit by rows that no model saw, fit the best, and say what it gained."""
    from polymodal.tuning.config import TuneConfig
    from polymodal.tuning.tune import tune as run_tune

    settings = read_config(
        config, sets, kind=TuneConfig, preset=preset, models=models, fusion=fusion, metric=metric, trials=trials,
        sampler=sampler, pruner=pruner, storage=storage, workers=workers, time_limit=time_limit, device=device,
        allow_remote=allow_remote or None,
    )  # fmt: skip
    run_tune(data, target, out=out, valid=valid, test=test, schema=schema, config=settings, resume=resume, quiet=quiet)
    if quiet:
        say_aside(out / "best")
