"""The top of a report: verdict, key figures, leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.report import charts
from polymodal.report.canvas import NARROW, WIDE
from polymodal.report.sections.base import Cell, Chart, Evaluation, Key, chosen_row, metric_name, metric_words, ranked
from polymodal.report.wording import (
    ABSENT,
    chance_of,
    clean,
    count,
    decimals,
    duration,
    interval,
    is_number,
    joined,
    plain,
    shorten,
    signed,
)

IN_UNITS = ("mae", "rmse", "median_ae", "pinball")  # metrics in the unit of what is predicted


def verdict(evaluation: Evaluation) -> dict[str, Any] | None:
    """Headline, sentences, and a tone: `good`, `unsure` or `bad`; `plain` when fusion was compared with nothing."""
    given = evaluation.get("verdict")
    if not given:
        return None
    tone, badge = {
        True: ("good", "Fusion helped"),
        False: ("bad", "Fusion did not help"),
        None: ("unsure", "Too close to tell") if given.get("against_single") else ("plain", ""),
    }[given.get("helped")]
    return {
        "headline": given.get("headline", ""),
        "sentences": given.get("sentences") or [],
        "tone": tone,
        "badge": badge,
    }


def key_figures(evaluation: Evaluation) -> list[dict[str, str]]:
    """The strip of numbers under the verdict."""
    row, metric, unit = chosen_row(evaluation), metric_name(evaluation), clean(evaluation.get("unit") or "")
    figures: list[tuple[str, str, str, str]] = []

    def score(label: str, given: Mapping[str, Any], detail: str, unit: str = "", prefix: str = "") -> None:
        mean, low, high = (given.get(prefix + part) for part in ("mean", "low", "high"))
        if is_number(mean):
            places = decimals([mean])
            figures.append((label, plain(mean, places) + unit, interval(low, high, places), detail))

    seeds, by_folds = row.get("seeds") if row is not None else None, bool(evaluation.get("refitted"))
    if row is not None:
        together = f"{count(seeds)} models together" if by_folds else f"mean of {count(seeds)} seeds"
        often = f", {together}" if is_number(seeds) and seeds > 1 else ""
        score(f"{metric} on test", row, joined(row["strategy"]) + often, prefix="test_")
    constant = clean(evaluation.get("usual") or "one answer for every row")
    for usual in [r for r in evaluation.get("leaderboard") or [] if r["strategy"] == "chance"][:1]:
        score(f"{metric} by chance", usual, constant, prefix="test_")
    # With one seed, or with models of parts, the row above is the deployed model's already.
    alone = {} if seeds == 1 or by_folds else {evaluation["primary"]: evaluation.get("score") or {}}
    for name, found in (alone | (evaluation.get("further") or {})).items():
        shown = f"\u00a0{unit}" if unit and name in IN_UNITS else ""
        score(metric_words(name), found, "the deployed model", shown)
    given = evaluation.get("verdict") or {}
    for key, against in (("against_single", "gain on best single"), ("against_concat", "gain on concat")):
        pair = given.get(key)
        if pair:
            places = decimals([pair["difference"], pair.get("low"), pair.get("high")])
            ends = interval(pair.get("low"), pair.get("high"), places, sign=True)
            name = shorten(pair.get("name", ""), 150, 12.5)
            detail = ", ".join(filter(None, [name, chance_of(pair.get("p"))]))
            figures.append((against, signed(pair["difference"], places), ends, detail))
    error = evaluation.get("calibration") or {}
    if is_number(error.get("ece")):
        before = f"{plain(error['ece_before'])} before scaling" if is_number(error.get("ece_before")) else ""
        figures.append(("calibration error", plain(error["ece"]), before, "0 is perfect"))
    rows = (evaluation.get("data") or {}).get("rows")
    if rows:
        parts = ", ".join(f"{count(n)}\u00a0{name}" for name, n in rows.items())
        figures.append(("rows", count(sum(rows.values())), parts, ""))
    board = evaluation.get("leaderboard") or []
    if board:
        held = sorted({int(r["seeds"]) for r in board if is_number(r.get("seeds"))})
        total = sum(t["seconds"] for t in evaluation.get("timings") or [] if is_number(t.get("seconds")))
        models = "model" if by_folds else "seed"
        often = f"{' or '.join(map(str, held))} {models}{'s' * (held != [1])} each" if held else ""
        figures.append(("strategies compared", str(len(board)), often, f"{duration(total)} in all" if total else ""))
    return [dict(zip(("label", "value", "interval", "detail"), figure, strict=True)) for figure in figures]


def leaderboard(evaluation: Evaluation) -> dict[str, Any] | None:
    """The interval plot for pages and phones, and the table with every column that has something to say."""
    rows, chosen, metric = ranked(evaluation), evaluation.get("chosen"), metric_name(evaluation)
    if not rows:
        return None
    drawn, up = None, bool(evaluation.get("greater_is_better", True))
    if any(is_number(r.get("test_mean")) for r in rows):
        wide, narrow = (
            charts.leaderboard(rows, chosen=chosen, metric=metric, greater_is_better=up, width=width)
            for width in (WIDE, NARROW)
        )
        roles = {charts.role(r) for r in rows}
        beside = "for comparison" if {r.get("level") for r in rows} & {"baseline", "pretrained"} else "chance"
        legend = [Key("dot fusion", "fusion"), Key("square single", "one modality"), Key("diamond chance", beside)]
        keys = [k for k in legend if k.mark.split()[1] in roles]
        if any(r["strategy"] == chosen for r in rows):
            keys.append(Key("bar band", "chosen, without the test rows"))
        caption = (
            f"The dot is the {metric} on test, the bar its 95 % interval: further {'right' if up else 'left'} is "
            "better, and where bars overlap much the difference may be chance."
        )
        if charts.beyond(rows, up):
            caption += " An arrow stands for a score too far off to be drawn."
        drawn = Chart(f"Strategies by {metric} on test", caption, wide, narrow, tuple(keys))
    further, about = list(evaluation.get("further") or {}), evaluation.get("about") or {}
    trained = "Models" if evaluation.get("refitted") else "Seeds"
    return {"chart": drawn, "table": _board_table(rows, chosen, metric, further, about, trained)}


def _board_table(
    rows: Sequence[Mapping[str, Any]],
    chosen: Any,
    metric: str,
    further: Sequence[str],
    about: Mapping[str, str],
    trained: str,
) -> dict[str, Any]:
    places = decimals([r.get("test_mean") for r in rows])

    def number(key: str, write: Any) -> Any:
        return lambda r: Cell(write(r.get(key)), r.get(key) if is_number(r.get(key)) else None)

    def text(key: str) -> Any:
        return lambda r: Cell(joined(r.get(key) or ""))

    most = max((len(stream_names(r)) for r in rows), default=0)

    def streams(r: Mapping[str, Any]) -> Cell:
        names = stream_names(r)
        every = "both" if most == 2 else f"all {most}"
        return Cell(every if len(names) == most > 1 else " + ".join(names), float(len(names)))

    def ends(r: Mapping[str, Any]) -> Cell:
        low = r.get("test_low")
        return Cell(interval(low, r.get("test_high"), places) or ABSENT, low if is_number(low) else None)

    def other(name: str) -> Any:
        """The cell of a metric that is shown beside: its value on test and the interval."""
        value, low, high = (f"{name}_test{end}" for end in ("", "_low", "_high"))
        digits = decimals([r.get(value) for r in rows])

        def cell(r: Mapping[str, Any]) -> Cell:
            span = interval(r.get(low), r.get(high), digits)
            shown = plain(r.get(value), digits) + (f" ({span})" if span else "")
            return Cell(shown, r.get(value) if is_number(r.get(value)) else None)

        return cell

    columns = [
        ("strategy", "Strategy", text("strategy")),
        ("streams", "Streams", streams),
        ("level", "Level", text("level")),
        ("metric", "Metric", text("metric")),
        ("valid", "Validation", number("valid", lambda v: plain(v, places))),
        ("test_mean", "Test", number("test_mean", lambda v: plain(v, places))),
        ("test_low", "95 % interval", ends),
        *((f"{name}_test", metric_words(name), other(name)) for name in further),
        ("seeds", trained, number("seeds", count)),
        ("fit_seconds", "Fit", number("fit_seconds", duration)),
        ("predict_ms", "ms a row", number("predict_ms", lambda v: plain(v, 2))),
        ("parameters", "Parameters", number("parameters", count)),
    ]
    shown = [c for c in columns if any(r.get(c[0]) not in (None, "", []) for r in rows)]
    if len({r.get("metric") for r in rows}) == 1:
        shown = [c for c in shown if c[0] != "metric"]
    numeric = {"valid", "test_mean", "test_low", "seeds", "fit_seconds", "predict_ms", "parameters"}
    numeric |= {f"{name}_test" for name in further}
    return {
        "caption": f"All strategies; scores are {metric}.",
        "head": [(title, key in numeric) for key, title, _ in shown],
        "rows": [{"cells": [cell(r) for _, _, cell in shown], "chosen": r["strategy"] == chosen,
                  "role": charts.role(r), "note": clean(r.get("note") or ""), "about": about.get(r["strategy"], "")}
                 for r in rows],
    }  # fmt: skip


def stream_names(row: Mapping[str, Any]) -> list[str]:
    """The streams of a leaderboard row, given as a list or, as in the CSV file, joined by `+`."""
    given = row.get("streams") or []
    return [clean(n) for n in (given.split("+") if isinstance(given, str) else given)]
