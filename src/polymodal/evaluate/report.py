"""`write_report`: one self-contained HTML file from `evaluation.json`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from polymodal.core.errors import BadData
from polymodal.core.types import KINDS
from polymodal.evaluate.sections import base, modalities, model, run, summary
from polymodal.evaluate.wording import clean, count, shorten

_NEEDED = ("target", "kind", "primary")
_MEDIA = {"image": "data:image/", "picture": "data:image/", "audio": "data:audio/"}


def write_report(evaluation: Mapping[str, Any], path: str | Path) -> Path:
    """Write the report of one evaluation to `path` and return the path.

    `evaluation` is the content of `evaluation.json`. Needed are `target`, `kind` and `primary`; every section whose
    input is absent is left out. The same input gives the same bytes. Raises `BadData` when a needed key is missing or a
    mistake's picture or sound is not a data URI.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(evaluation), encoding="utf-8")
    return path


def render(evaluation: Mapping[str, Any]) -> str:
    """The report as one HTML string. Raises as `write_report`."""
    _check(evaluation)
    templates = _templates()
    return templates.get_template("report.html.j2").render(
        title=clean(evaluation["target"]),
        task=_task(evaluation),
        metric=base.metric_name(evaluation),
        style=_source(templates, "report.css"),
        script=(script := _source(templates, "report.js")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        verdict=summary.verdict(evaluation),
        key_figures=summary.key_figures(evaluation),
        leaderboard=summary.leaderboard(evaluation),
        worth=modalities.worth(evaluation),
        subsets=modalities.subsets(evaluation),
        noise=modalities.noise(evaluation),
        calibration=model.calibration(evaluation),
        confusion=model.confusion(evaluation),
        residuals=model.residuals(evaluation),
        training=model.training(evaluation),
        mistakes=model.mistakes(evaluation),
        data=run.data(evaluation),
        timings=run.timings(evaluation),
        environment=run.environment(evaluation),
        command=evaluation.get("command"),
    )


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("polymodal.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(count=count, short=lambda name: shorten(name, 165, 13))
    return templates


def _source(templates: Environment, name: str) -> Markup:
    """A template file of ours that is inserted as it is."""
    assert templates.loader is not None
    return Markup(templates.loader.get_source(templates, name)[0].strip())


def _task(evaluation: Mapping[str, Any]) -> str:
    classes = evaluation.get("classes") or []
    if evaluation["kind"] == "number":
        return "a number"
    return f"one of {len(classes)} classes" if evaluation["kind"] == "classes" else f"any of {len(classes)} labels"


def _check(evaluation: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if not evaluation.get(name)]
    if missing:
        raise BadData(
            f"A report needs {', '.join(_NEEDED)}; not given: {', '.join(missing)}. Run `polymodal evaluate` again."
        )
    if evaluation["kind"] not in KINDS:
        raise BadData(f"The kind of target {evaluation['kind']!r} is unknown. Allowed: {', '.join(KINDS)}.")
    for mistake in evaluation.get("mistakes") or []:
        for cell in mistake.get("cells") or []:
            for key, start in _MEDIA.items():
                if key in cell and not str(cell[key]).startswith(start):
                    raise BadData(
                        f"The {key} of stream {cell.get('stream')!r} in row {mistake.get('id')!r} begins "
                        f"with {str(cell[key])[:24]!r}; a report holds its media, as {start}… (see `media.cell_card`)."
                    )
