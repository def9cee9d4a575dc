"""The model card: what a shared model is, what it was judged by and what its modalities were worth, from its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from polymodal.core.files import read_json

TASKS = {"classes": "tabular-classification", "ordinal": "tabular-classification", "number": "tabular-regression"}
TAGS = {"image": "image", "text": "text", "audio": "audio", "table": "tabular", "series": "time-series"}

Facts = Mapping[str, Any]


def model_card(folder: Path, *, name: str, licence: str | None = None) -> str:
    """`README.md` of a finished run, in Markdown with the front matter that model hubs read; no row of its data."""
    metrics = read_json(folder / "metrics.json")
    facts = read_json(folder / "evaluation.json")
    address = f"hf://{name}" if "/" in name else name
    asked = [f"**{_safe(target)}**" for target in metrics["targets"]]
    asked[0] += f" ({facts.get('task') or facts['kind']})"
    read = [f"{_safe(field['name'])} ({field['kind']})" for field in facts["data"]["fields"]]
    return f"---\n{_front(metrics, facts, name, licence)}---\n\n" + "\n\n".join(
        [
            f"# {name}",
            f"Predicts {_and(asked)} from {_and(read)}, with polymodal {facts['environment']['polymodal']}. What "
            f"answers is `{metrics['chosen']}`.",
            "```python\nimport polymodal as pm\n\n"
            f'run = pm.load("{address}")\nanswers = run.predict("new_rows.csv", as_frame=True)\n```',
            "## Did fusing help?",
            " ".join(_safe(s) for s in (metrics["headline"], *facts["verdict"]["sentences"])),
            "## Figures on the test rows",
            _figures(metrics, facts),
            *_worth(facts),
            "## Data",
            _data(facts),
            "## Limits",
            "The figures hold for rows like the test rows. Cells may be missing, and those that cannot be read count "
            "as missing; the answer is less certain then.",
        ]
    ) + "\n"  # fmt: skip


def _front(metrics: Facts, facts: Facts, name: str, licence: str | None) -> str:
    kinds = dict.fromkeys(field["kind"] for field in facts["data"]["fields"])
    task = TASKS.get(facts["kind"])
    judged = [
        {"type": metric, "value": round(score["mean"], 6)} | ({"name": f"{metric} (test)"})
        for metric, score in metrics["test"].items()
    ]
    result = {"task": {"type": task or "other"}, "dataset": {"type": "private", "name": "the user's table"}}
    front = {
        **({"license": licence} if licence else {}),
        "library_name": "polymodal",
        "tags": ["multimodal", *(TAGS[kind] for kind in kinds if kind in TAGS)],
        **({"pipeline_tag": task} if task else {}),
        "model-index": [{"name": name.rpartition("/")[2], "results": [{**result, "metrics": judged}]}],
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _figures(metrics: Facts, facts: Facts) -> str:
    rows = [
        [target, metric, f"{s['mean']:.4g}", f"{s['low']:.4g} to {s['high']:.4g}" if "low" in s else ""]
        for target, judged in metrics["targets"].items()
        for metric, s in judged["test"].items()
    ]
    board = [
        [r["strategy"], *(_number(r[key]) for key in ("valid", "test_mean", "test_low", "test_high"))]
        for r in facts["leaderboard"]
    ]
    heads = ["strategy", f"{facts['primary']}, validation", "test", "95 % from", "to"]
    return _table(["target", "metric", "mean", "95 % interval"], rows) + "\n\n" + _table(heads, board)


def _worth(facts: Facts) -> list[str]:
    streams = facts.get("worth", {}).get("streams") or []
    rows = [
        [s["name"], _number(s["mean"]), f"{_number(s['low'])} to {_number(s['high'])}", _number(s.get("alone"))]
        for s in streams
    ]
    if not rows:
        return []
    unit = facts["worth"]["unit"]
    return ["## What each modality was worth", _table(["stream", f"worth ({unit})", "95 % interval", "alone"], rows)]


def _data(facts: Facts) -> str:
    counts = ", ".join(f"{count:,} {part}" for part, count in facts["data"]["rows"].items())
    rows = [[f["name"], f["kind"], f"{f['missing']:,}", f"{f['bad']:,}"] for f in facts["data"]["fields"]]
    warnings = "".join(f"\n- {_safe(warning)}" for warning in facts["data"]["warnings"])
    table = _table(["stream", "kind", "missing cells", "unusable cells"], rows)
    return f"Rows: {counts}.\n\n{table}\n{warnings}".rstrip()


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_safe, line))} |" for line in lines)


def _safe(text: str) -> str:
    """Text from the user's table that Markdown or HTML would else read as its own."""
    return re.sub(r"[\\`*_\[\]|]", r"\\\g<0>", escape(" ".join(text.split()), quote=False))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _and(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
