"""The page of `polymodal generate --page`: what each row held, and what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.files import told_path, writing
from polymodal.data.kinds import KINDS
from polymodal.data.media.picture import flat, open_picture
from polymodal.data.media.sound import read_sound
from polymodal.data.tables.table import Problem
from polymodal.report.cards import cell_card
from polymodal.report.page import cards, page
from polymodal.report.wording import clean, count

SHOWN = 200  # rows of a page, the first


def write_answers(
    path: str | Path,
    model: str,
    ids: Sequence[str],
    answers: Mapping[str, Sequence[Any]],
    read: Callable[[int], list[dict[str, Any]]],
    problems: Sequence[Problem] = (),
) -> Path:
    """One self-contained page of the first rows; returns its path.

    `answers` are columns [N] of texts, numbers or the bytes of pictures and sounds, of the rows `ids`; `read` gives the
    cards of what a row held (see `report.cards.cell_card`).
    """
    reasons: dict[str, list[str]] = {}
    for one in problems:
        reasons.setdefault(one.row, []).append(f"{one.column}: {one.reason}".removeprefix(": "))
    rows = [
        {
            "id": clean(ids[row]),
            "said": clean("; ".join(reasons.get(ids[row], ()))),
            "cells": cards([*(_card(name, each[row]) for name, each in answers.items()), *read(row)], ids[row]),
        }
        for row in range(min(len(ids), SHOWN))
    ]
    more = f", the first {count(len(rows))} of {count(len(ids))}" if len(rows) < len(ids) else ""
    path = Path(path)
    with writing(path) as temporary:
        html = page("answers.html.j2", title=clean(told_path(model)), rows=rows, more=more)
        temporary.write_text(html, encoding="utf-8")
    return path


def _card(name: str, answer: Any) -> dict[str, Any]:
    if isinstance(answer, bytes) and KINDS.of_bytes(answer) == "audio":
        sound = read_sound(answer)
        return cell_card(name, {"kind": "audio", "array": sound.mono(), "rate": sound.rate})
    if isinstance(answer, bytes):
        return cell_card(name, {"kind": "image", "array": np.asarray(flat(open_picture(answer)))})
    if answer is None:
        return cell_card(name, {"kind": "missing", "reason": "no answer"})
    return cell_card(name, {"kind": "text", "text": str(answer)})
