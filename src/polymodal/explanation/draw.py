"""Pictures of an explanation: what each modality was worth to one row, and where in it the model looked.

All take plain arrays, so that any attribution can be drawn: gradients, attention, occlusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from polymodal.core.errors import BadArgument, BadData
from polymodal.report.canvas import AGAINST, FAINT, FOR, INK, MUTED, SIZE, Canvas, chart, spread, value_axis
from polymodal.report.cards import picture
from polymodal.report.page import cards, page
from polymodal.report.wording import clean, decimals, joined, plain, share, shorten_all, signed, text_width

COLOURS = 6  # of streams on a page; with more they come again, and the words say which is meant
STRONG = 3.0  # log-probability added to a word (twenty times likelier) from which on its chip is no stronger
WIDTH = 320.0  # pixels; a card is about as wide


@chart
def worth_bars(worth: Mapping[str, float], *, unit: str, missing: Sequence[str] = ()) -> Canvas:
    """What each stream was worth to one answer, strongest first: to the right for it, to the left against it.

    Streams in `missing` were not given in this row; their worth is what their absence told the model.
    """
    names = sorted(worth, key=lambda n: -abs(worth[n]))
    labels = [f"{clean(n)} (not given)" if n in missing else clean(n) for n in names]
    values = [float(worth[n]) for n in names]
    alt = f"Worth to the answer in {unit}: " + ", ".join(
        f"{n} {signed(v)}" for n, v in zip(labels, values, strict=True)
    )
    left, tall, right = min(max(text_width(n, SIZE) for n in labels) + 12, 128.0), 26.0, WIDTH - 52.0
    canvas = Canvas(WIDTH, 6 + tall * len(names) + 24, f"{alt}.")
    axes = canvas.axes(left, 6, right, 6 + tall * len(names))
    axes.set(yticks=[], ylim=(len(names) - 0.5, -0.5))
    value_axis(axes, *spread([0.0, *values]), ticks=4)
    axes.axvline(0, color=FAINT, linewidth=1.2)
    axes.barh(range(len(names)), values, height=0.56, color=[FOR if v >= 0 else AGAINST for v in values], linewidth=0)
    places = decimals(values)
    for i, label in enumerate(shorten_all(labels, left - 8, SIZE)):
        y = 6 + (i + 0.5) * tall
        canvas.text(0, y, label, color=MUTED if names[i] in missing else INK)
        canvas.text(WIDTH, y, signed(values[i], places), anchor="right")
    return canvas


def saliency(image: np.ndarray, weights: np.ndarray, *, longest: int = 320) -> str:
    """Data URI of a picture that is bright where `weights` are high and dim and grey where they are low.

    `image` uint8 [H, W] or [H, W, 3]; `weights` [h, w], 0 or more, of any size: it is stretched over the picture.
    Raises `BadArgument` for negative or non-finite weights.
    """
    grid = np.asarray(weights, dtype=np.float32)
    if grid.ndim != 2 or not np.isfinite(grid).all() or (grid < 0).any():
        raise BadArgument(f"Weights of a picture are [h, w], finite and 0 or more; got shape {list(grid.shape)}.")
    thumb = Image.fromarray(np.asarray(image).squeeze()).convert("RGB")
    thumb.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    stretched = Image.fromarray(grid / (grid.max() or 1.0)).resize(thumb.size, Image.Resampling.BICUBIC)
    light = np.clip(np.asarray(stretched), 0, 1)[..., None]
    color = np.asarray(thumb, dtype=np.float32)
    grey = color.mean(2, keepdims=True)
    return picture((light * color + (1 - light) * (0.3 * grey + 20)).astype(np.uint8), longest=longest)


def highlighted(text: str, spans: Sequence[tuple[int, int]], weights: Sequence[float]) -> Markup:
    """`text` with the characters of each span marked: blue speaks for the answer, orange against it, by strength.

    `spans` are (start, end) in characters, not overlapping; `weights` one number a span. Raises `BadArgument`
    otherwise.
    """
    if len(spans) != len(weights):
        raise BadArgument(f"Every span needs a weight: {len(spans)} spans, {len(weights)} weights.")
    strongest = max((abs(float(w)) for w in weights), default=0.0) or 1.0
    parts, at = [], 0
    for (start, end), weight in sorted(zip(spans, weights, strict=True), key=lambda pair: pair[0]):
        if not at <= start <= end <= len(text):
            raise BadArgument(f"The span {start}:{end} overlaps another or leaves the text of {len(text)} characters.")
        strength = abs(float(weight)) / strongest
        side = "for" if weight >= 0 else "against"
        mark = f'<mark class="{side}" style="--w:{strength:.2f}">{escape(text[start:end])}</mark>'
        parts += [escape(text[at:start]), Markup(mark) if strength >= 0.05 else escape(text[start:end])]
        at = end
    return Markup('<blockquote dir="auto">{}</blockquote>').format(Markup("").join([*parts, escape(text[at:])]))


@chart
def waveform(samples: np.ndarray, rate: float, spans: np.ndarray, weights: np.ndarray) -> Canvas:
    """Sound or a one-channel series [n] over time, with each span of time shaded by its weight.

    `spans` [T, 2] in seconds, `weights` [T]; blue speaks for the answer, orange against it. Raises `BadArgument` when
    their lengths differ or there are no samples.
    """
    values, spans, weights = np.asarray(samples, float), np.asarray(spans, float), np.asarray(weights, float)
    if values.ndim != 1 or not len(values) or spans.shape != (len(weights), 2):
        raise BadArgument(
            f"A waveform is [n] with spans [T, 2] and weights [T]; got {list(values.shape)}, {list(spans.shape)}, "
            f"{list(weights.shape)}."
        )
    seconds = len(values) / rate
    loudest = spans[int(np.abs(weights).argmax())] if len(weights) else (0.0, seconds)
    canvas = Canvas(
        WIDTH, 116, f"Waveform; strongest from {plain(float(loudest[0]), 2)} to {plain(float(loudest[1]), 2)} s."
    )
    axes = canvas.axes(0, 2, WIDTH, 92)
    value_axis(axes, 0, seconds, ticks=5)
    axes.grid(False)
    low, high = _envelope(values, int(WIDTH))
    axes.set(yticks=[], ylim=spread([float(low.min()), float(high.max())]))
    strength = np.abs(weights) / (np.abs(weights).max(initial=0.0) or 1.0)
    for (start, end), weight, alpha in zip(spans, weights, strength, strict=True):
        axes.axvspan(start, end, color=FOR if weight >= 0 else AGAINST, alpha=0.45 * alpha, linewidth=0)
    axes.fill_between(np.linspace(0, seconds, len(low)), low, high, color=INK, linewidth=0.8, alpha=0.85)
    canvas.text(WIDTH, 108, "s", color=MUTED, size=SIZE - 1, anchor="right")
    return canvas


def write_explanation(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """One self-contained page with a card a row; returns its path.

    A row has `id`, `target`, `answer`, `worth` {stream: number}, `unit`, and if known `probability`, `missing`
    (streams), `words` (of an answer in words, each a `word` with its `worth` and where it is `from`) and `cells` (see
    `report.cards.cell_card`); a cell may carry a `drawing` (`highlighted`, `waveform`) or an `image` from `saliency`,
    or `looks`, one of these a word. `meaning` is what else is to be said of worths. Raises `BadData` without rows.
    """
    if not rows:
        raise BadData("There is no row to explain.")
    shown = [
        {
            "id": clean(row["id"]),
            "answer": joined(row["answer"]),
            "sure": "" if row.get("probability") is None else share(row["probability"]),
            "words": [_chip(word, list(row["worth"])) for word in row.get("words") or []],
            "bars": worth_bars(row["worth"], unit=row["unit"], missing=row.get("missing") or ()),
            "cells": cards(row.get("cells") or [], row["id"]),
        }
        for row in rows
    ]
    first = rows[0]
    number = first.get("probability") is None and not isinstance(first["answer"], str)
    streams = [clean(name) for name in first["worth"]] if any(row["words"] for row in shown) else []
    title, unit = clean(first["target"]), clean(first["unit"])
    html = page(
        "explain.html.j2", title=title, unit=unit, number=number, streams=streams, rows=shown,
        meaning=first.get("meaning") or "",
    )  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def _chip(word: Mapping[str, Any], streams: Sequence[str]) -> dict[str, Any]:
    """A word as the page shows it: by the stream that added most to it, if one did."""
    told = {"word": clean(word["word"]), "stream": None, "said": "", "place": "", "strength": 0.0}
    if not (source := word["from"]):
        return told
    name = source["stream"]
    added = float(word["worth"][name])
    return {
        **told,
        "stream": streams.index(name) % COLOURS,
        "said": f"{clean(name)} {signed(added, 1)}",
        "place": clean(source["place"] or ""),
        "strength": min(1.0, added / STRONG),
    }


def _envelope(values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each of at most `columns` stretches."""
    pieces = np.array_split(np.nan_to_num(values), min(columns, len(values)))
    return np.array([p.min() for p in pieces]), np.array([p.max() for p in pieces])
