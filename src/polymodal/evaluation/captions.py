"""Answers in words judged from a table alone: captions, translations, transcripts, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, MissingExtra, UnknownName, suggest
from polymodal.core.files import write_json
from polymodal.core.registry import Spec, options, options_of
from polymodal.core.shown import many, some
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Problem, Table
from polymodal.data.tables.write import write_columns
from polymodal.evaluation.cosines import likeness
from polymodal.evaluation.hallucination import hallucinations, nouns, read_objects
from polymodal.evaluation.novelty import copied, distinct
from polymodal.evaluation.statistics import bootstrap
from polymodal.metrics import Judged
from polymodal.metrics.base import Metric
from polymodal.metrics.build import metrics_of
from polymodal.metrics.captions import LEAST_ROWS, Cider
from polymodal.metrics.words import check_segment, words
from polymodal.metrics.written import Written
from polymodal.report.wording import interval, plain, share, signed
from polymodal.targets.text import side_by_side, texts_of

if TYPE_CHECKING:
    from polymodal.inference.space import Space

SHOWN = (
    "cider", "bleu", "bleu_3", "bleu_2", "bleu_1", "rouge_l", "chrf", "token_f1", "exact_match", "vqa_accuracy", "wer",
)  # fmt: skip
MOST = 50  # objects that are listed
FORM = Judged("text", "text", ("text",), SHOWN, len(SHOWN))


def evaluate_captions(
    source: Any,
    *,
    answer: str,
    references: str | Sequence[str],
    metric: Spec | Sequence[Spec] = (),
    segment: str = "characters",
    documents: Any = None,
    training: Any = None,
    objects: str | Path | None = None,
    group: str | None = None,
    space: Space | None = None,
    seen: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How good the answers in a column of a table are by other columns that hold right ones, without any model.

    `source` and `documents` are whatever `read_table` reads. `references` are columns, or patterns as `caption_*`, by
    commas or as a list; a cell may hold a list of references. A pattern leaves out the column of the answers, so that
    one person is judged by the others. `metric` names what is shown, all that read words if nothing is given; `segment`
    says how Chinese is cut (`characters`, `jieba`). `documents` is a table whose references say how rare n-grams are
    for CIDEr, which needs 50 rows else. `training` is a table of the references that answers were learned from, which
    says how many are copied from them, and what objects there are, unless the file `objects` does; then objects named
    that no reference names are counted (see `hallucination`). Rows with the same cell of the column `group` are of one
    thing, as a photo: what is right for one is right for all. Intervals are 95%, by resampling rows, or these things.
    `space` of an `align` run says how near the answers lie to what the rows show, its stream `seen`, beside answers of
    other rows and beside each row's first reference (see `likeness`).

    A row without a reference is set aside; a missing answer counts as an empty one. With `out`, a folder is written:
    `evaluation.json`, and `answers.csv` with what each answer got by the metrics that are means over rows.

    Raises `UnknownName` for a column that is not there, `BadArgument` for the answers among the references and for the
    folder of a fit as `out` and for `seen` without `space`, `BadData` where no row has a reference.
    """
    check_segment(segment, "evaluate_captions")
    table = read_table(source)
    if seen is not None and space is None:
        raise BadArgument("`seen` names a stream of `space`: give both.")
    if out is not None and (Path(out) / "config.yaml").exists():
        raise BadArgument(f"{out} holds a run, whose own evaluation.json this would replace: name another folder.")
    said = [texts_of(cell) for cell in table.column(answer)]
    columns = _columns(references, table, answer)
    right = [[text for column in columns for text in texts_of(table.data[column][i])] for i in range(len(table))]
    unit = None if group is None else _units(table.column(group))
    right = right if unit is None else _shared(right, unit)
    kept = [i for i, texts in enumerate(right) if texts]
    if not kept:
        raise BadData(f"No row of {table.name} has a reference in {some(columns)}: nothing can be judged.")
    without = sorted(set(range(len(table))) - set(kept))
    aside = [Problem(table.ids[i], "", f"no reference in {some(columns)}; row set aside") for i in without]
    answers = np.array([" ".join(said[i]) for i in kept], dtype=str)
    truth = side_by_side([right[i] for i in kept])
    groups = None if unit is None else unit[kept]
    things = kept if groups is None else [kept[place] for place in np.unique(groups, return_index=True)[1]]
    held = None if documents is None else _documents(documents, columns)
    if groups is not None and held is None and len(things) >= LEAST_ROWS:
        held = [right[i] for i in things]  # a photo of five rows is one document, not five
    asked = list(metric) if isinstance(metric, list | tuple) else [metric]
    metrics = [_sharing(one, segment=segment, documents=held) for one in metrics_of(asked, FORM)]
    blind = [one for one in metrics if _blind(one, len(things))]
    if len(things) < LEAST_ROWS <= len(kept):
        metrics = [one for one in metrics if one not in blind]  # which would take the rows of a thing for as many
    found = {one.name: bootstrap(one, truth, answers[None], seed=seed, groups=groups) for one in metrics}
    notes = [f"{many(len(without), 'row')} without a reference in {some(columns)}: not judged"] if without else []
    notes += [f"{one.name}: {_few(len(things))}" for one in blind]
    if empty := int((answers == "").sum()):
        notes.append(f"{empty:,} of {many(len(kept), 'answer')} are missing or empty; they count as wrong")
    cut = [words(text, segment) for text in answers.tolist()]
    result = {
        "data": {
            "source": table.name, "rows": table.records, "judged": len(kept), "empty": empty,
            "set_aside": [vars(problem) for problem in (*table.left_out, *aside)],
        },
        "answer": answer,
        "references": columns,
        "metrics": {name: vars(one) for name, one in found.items()},
        "answers": {
            "distinct": len({one for one in cut if one}), "words": _mean(map(len, cut)),
            "distinct_ngrams": distinct(answers.tolist(), segment=segment),
        },
        "right": {
            "a_row": _mean(len(right[i]) for i in kept),
            "words": _mean(len(words(text, segment)) for i in kept for text in right[i]),
        },
        "notes": notes,
        **({} if groups is None else {"group": group, "groups": len(things)}),
        **_beyond(answers.tolist(), truth, training, objects, columns, segment, notes, groups),
    }  # fmt: skip
    if space is not None:
        rows, first, noted = table.select(kept), [right[i][0] for i in kept], list[Problem]()
        result["likeness"] = likeness(
            space, rows, answers.tolist(), first, seen=seen, groups=groups, seed=seed, problems=noted
        )
        result["data"]["set_aside"] += [vars(problem) for problem in noted]
    if out is not None:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise BadArgument(f"{folder} is a file; `out` names a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "evaluation.json", result)
        each = {"row": [table.ids[i] for i in kept], "answer": answers.tolist(), **_by_row(metrics, truth, answers)}
        write_columns(each, folder / "answers.csv")
    return result


def captions_text(result: Mapping[str, Any]) -> str:
    """What was found, in a few lines."""
    width = max(map(len, result["metrics"]), default=0)
    lines = [
        f"{name:{width}}  {plain(one['mean']):>7}  {interval(one['low'], one['high'])}".rstrip()
        for name, one in result["metrics"].items()
    ]
    said, right = result["answers"], result["right"]
    if one := result.get("copied"):
        count = round(one["mean"] * result["data"]["judged"])
        told = many(result["data"]["judged"], "answer")
        lines.append(f"{count:,} of {told} stand{'s' * (count == 1)} among the training answers")
    if one := result.get("hallucinated"):
        named = ", ".join(f"{name} {count}" for name, count in list(one["most"].items())[:5])
        lines.append(
            f"{share(one['answers']['mean'])} name an object that no reference names"
            f" ({interval(one['answers']['low'], one['answers']['high'])})" + (f": {named}" if named else "")
        )
    if one := result.get("likeness"):
        own, other = one["answers"], one["references"]
        lines.append(
            f"cosine of {one['seen']} and answer {own['pairs']['mean']:.3f}, of answers exchanged "
            f"{own['shuffled']['mean']:.3f}: {signed(own['difference']['mean'])} "
            f"({interval(own['difference']['low'], own['difference']['high'], sign=True)}); "
            f"of references {other['pairs']['mean']:.3f}, {signed(other['difference']['mean'])}"
        )
    lines.append(
        f"{many(said['distinct'], 'different answer')} in {many(result['data']['judged'], 'row')}, "
        f"of {said['words']:.1f} words; "
        f"{right['a_row']:.1f} references a row, of {right['words']:.1f} words"
    )
    return "\n".join(lines)


def _beyond(
    answers: list[str], truth: np.ndarray, training: Any, objects: str | Path | None, columns: Sequence[str],
    segment: str, notes: list[str], groups: np.ndarray | None,
) -> dict[str, Any]:  # fmt: skip
    """What the training answers and the names of objects tell: answers that are copies, and objects not there."""
    found: dict[str, Any] = {}
    names: Mapping[str, str] | None = None if objects is None else read_objects(objects)
    if training is not None:
        known = [text for row in _documents(training, columns) for text in row]
        found["copied"] = vars(copied(answers, known, segment=segment, groups=groups))
        try:
            names = nouns(known) if names is None else names
        except MissingExtra as error:
            notes.append(f"objects in the training answers are not looked for, and --objects names none: {error}")
    if names is not None:
        told = hallucinations(answers, truth, names, segment=segment, groups=groups)
        shares = {"answers": vars(told.answers), "objects": vars(told.objects)}
        found["hallucinated"] = {**shares, "most": dict(list(told.most.items())[:MOST])}
    return found


def _units(cells: Sequence[Any]) -> np.ndarray:
    """[N] the number of the thing that each row is of; a row whose cell is missing is one of its own."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(i if cell is None else str(cell), len(known)) for i, cell in enumerate(cells)])


def _shared(right: Sequence[Sequence[str]], unit: np.ndarray) -> list[list[str]]:
    """For every row the references of all rows that are of the same thing. Rows that hold the same several ones, as
    where each answer stands beside all of them, count once; two people may say the same."""
    each: dict[int, dict[Any, Sequence[str]]] = {}
    for row, (texts, one) in enumerate(zip(right, unit.tolist())):
        each.setdefault(one, {})[tuple(texts) if len(texts) > 1 else row] = texts
    return [[text for texts in each[one].values() for text in texts] for one in unit.tolist()]


def _columns(given: str | Sequence[str], table: Table, answer: str | None) -> list[str]:
    listed = [given] if isinstance(given, str) else given
    patterns = [name for one in listed for name in ([one] if one in table.data else one.split(","))]
    chosen: list[str] = []
    for pattern in (name.strip() for name in patterns):
        if pattern == answer:
            raise BadArgument(f"The answers {answer!r} are no reference to themselves: leave the column out.")
        found = (
            [pattern] if pattern in table.data else [c for c in table.data if fnmatchcase(c, pattern) and c != answer]
        )
        if not found:
            raise UnknownName(f"{table.name} has no column {pattern!r} of references.{suggest(pattern, table.data)}")
        chosen += found
    return list(dict.fromkeys(chosen))


def _documents(source: Any, columns: Sequence[str]) -> list[list[str]]:
    table = read_table(source)
    cells = [table.column(column) for column in columns]
    rows = [[text for cell in row for text in texts_of(cell)] for row in zip(*cells)]
    return [row for row in rows if row]


def _sharing(metric: Metric, **shared: Any) -> Metric:
    """The metric with what all metrics of a table share, as far as it takes that and does not say it itself."""
    takes, own = options(type(metric)), options_of(metric)
    more = {name: value for name, value in shared.items() if name in takes and name not in own and value is not None}
    return type(metric)(**more, **own) if more else metric


def _blind(metric: Metric, rows: int) -> bool:
    return isinstance(metric, Cider) and metric.documents is None and rows < LEAST_ROWS


def _few(rows: int) -> str:
    return (
        f"which n-grams are rare cannot be told from {many(rows, 'row')}; {LEAST_ROWS} are needed, or `documents` that "
        "say it"
    )


def _by_row(metrics: Iterable[Metric], truth: np.ndarray, answers: np.ndarray) -> dict[str, list[float]]:
    means = [one for one in metrics if isinstance(one, Written) and type(one).joined is Written.joined]
    return {one.name: one.read(truth, answers)[1][:, 0].round(6).tolist() for one in means}


def _mean(values: Iterable[int]) -> float:
    return float(np.mean(list(values)))
