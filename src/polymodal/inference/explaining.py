"""What each stream was worth to answers, row by row, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Table
from polymodal.explanation.hiding import WORD
from polymodal.inference.asked import asked
from polymodal.inference.looks import Cell, Look, Looking, own_time
from polymodal.inference.predictor import Predictor

LEAST = 1e-3  # of the answer's unit: a part of a cell that weighs less says nothing
LEAST_WORD = 0.1  # log-probability that a stream adds to a word, at least, to be named as where it came from


def explain_rows(predictor: Predictor, table: Table) -> list[dict[str, Any]]:
    """A row each: the answer to the first target and what each stream was worth to it (see
    `explanation.modalities.row_worth`).

    The worths and the value of a row of which nothing is given add up to the row's value: log-probability of the
    answered class, the number itself, or the log-probability of the words that were written. Of these `words` tell the
    same one by one, each with the stream that added most to it and the place in its cell that did (`from`). Raises
    `BadArgument` above ten streams.
    """
    target, names = predictor.targets[0], predictor.streams
    explanations: list[dict[str, Any]] = []
    for rows, streams in predictor.encode(table):
        question = asked(predictor, table, rows, streams)
        worths = question.worth(streams)
        looking = Looking(question, table, rows, streams) if any(question.words) else None
        for i, row in enumerate(rows):
            answer, probability = target.answer(question.answers, i)
            explanations.append(
                {
                    "id": table.ids[row],
                    "row": int(table.rows[row]),
                    "target": target.name,
                    "answer": answer,
                    "probability": probability,
                    "unit": question.worth_unit,
                    "worth": dict(zip(names, worths[i].sum(0).tolist())),
                    "missing": [n for n in names if not bool(streams[n].present[i])],
                    **({"words": _words(looking, i, worths[i])} if looking else {}),
                    **({"meaning": question.meaning} if question.meaning else {}),
                }
            )
    return explanations


def _words(looking: Looking, row: int, worths: np.ndarray) -> list[dict[str, Any]]:
    """Each word with what each stream was worth to it, and from where most of that came."""
    names, words = looking.predictor.streams, looking.asked.words[row]
    leads = [int(worth.argmax()) if worth.max() >= LEAST_WORD else None for worth in worths[: len(words)]]
    cells = {k: looking.cell(row, names[k]) for k in {k for k in leads if k is not None}}
    looks = {k: looking.looks(row, names[k], cell) for k, cell in cells.items()}
    told = []
    for v, (word, lead) in enumerate(zip(words, leads)):
        source = None
        if lead is not None:
            look = looks[lead][v] if looks[lead] else None
            place = place_of(looking, names[lead], cells[lead], look) if look else ""
            source = {"stream": names[lead], "place": place}
        told.append({"word": word, "worth": dict(zip(names, worths[v].tolist())), "from": source})
    return told


def place_of(looking: Looking, name: str, cell: Cell, look: Look) -> str:
    """The part of a cell that spoke most for a value, in words; empty where none did."""
    if not len(look.weights) or look.weights.max() < LEAST:
        return ""
    best = int(look.weights.argmax())
    if look.columns:
        return look.columns[best]
    assert cell.shown is not None
    match KINDS[cell.shown["kind"]].drawing:
        case "image":
            down, across = (f"{value:.0%}" for value in look.where[best, :2])
            return f"{across} from the left, {down} from the top"
        case "volume":
            deep, down, across = (f"{value:.0%}" for value in look.where[best])
            return f"{deep} from the first slice, {down} from the top, {across} from the left"
        case "points":
            ahead, left, up = (f"{value:.3g}" for value in look.where[best, :3])
            return f"{ahead} m ahead, {left} m to the left, {up} m up"
        case "text":
            spans = [match.span() for match in WORD.finditer(cell.shown["text"])]
            middle = look.where[:, :2].mean(1)
            sums = [look.weights[(start <= middle) & (middle <= end)].sum() for start, end in spans]
            start, end = spans[int(np.argmax(sums))] if spans else (0, 0)
            return str(cell.shown["text"][start:end])
        case "audio":
            return f"at {look.where[best, 0]:.2f} s"
        case "series":
            return f"at {own_time(looking.predictor, name, cell.shown, look)[best]:.2f} s"
    return ""


def explanation_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Explanations as lines, the stream that mattered most first."""
    if not found:
        return "No row to explain."
    lines = []
    for row in found:
        answer = row["answer"] if isinstance(row["answer"], str) else f"{row['answer']:.6g}"
        sure = "" if row["probability"] is None else f" ({row['probability']:.2f})"
        lines.append(f"{row['id']}: {row['target']} = {answer}{sure}")
        for name, value in sorted(row["worth"].items(), key=lambda item: -abs(item[1])):
            note = " (missing)" if name in row["missing"] else ""
            lines.append(f"  {name}: {_signed(value)}{note}")
        for word in row.get("words") or []:
            if source := word["from"]:
                place = f" ({source['place']})" if source["place"] else ""
                lines.append(
                    f"    {word['word']}: {source['stream']} {_signed(word['worth'][source['stream']])}{place}"
                )
    number = found[0]["probability"] is None and not isinstance(found[0]["answer"], str)
    does = "raises the number" if number else "speaks for the answer"
    lines.append(f"Worth is in {found[0]['unit']}: above 0, the stream {does}.")
    if found[0].get("meaning"):
        lines.append(found[0]["meaning"])
    if any(row.get("words") for row in found):
        lines.append("Of the words, those are named that a stream made likelier; the others follow from words before.")
    return "\n".join(lines)


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # + 0.0: no -0.000
