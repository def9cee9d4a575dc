"""Candidates of a suggestion: which steps are worth trying on a table, with options read off its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.core.shown import many
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.media.sound import Sound
from polymodal.ops.clean.audio import FRAME, levels, loudness
from polymodal.ops.clean.language import identifier
from polymodal.ops.clean.quality import count_words
from polymodal.ops.clean.series import longest_run
from polymodal.ops.clean.table import unit_of
from polymodal.ops.clean.units import UNITS
from polymodal.ops.rows import Row

SPOKEN = 0.05  # a language that at least this share of the texts is in belongs to the data
UNEVEN = 3.0  # LUFS: a spread of loudness above this is worth levelling
NARROW = 10.0  # dB between loud and quiet moments, below which a background drowns the sound
LETTERS = 20  # a shorter text says little of its language
TAIL = 0.01  # of the rows: more numbers far from the others are a long tail, or codes, rather than faults
DEAD = 0.3  # seconds of nothing before or after a sound that are worth cutting
TREND = 3.0  # a straight line that spans so many spreads around it is drift, or the very signal


@dataclass(frozen=True)
class Candidate:
    """A step to try. `least` is the share of rows it must find to be suggested, `why` what its options rest on.

    `drawn`: how many rows are looked at; `most`: the largest share of them that it may take rows or cells from;
    `optional`: written as a comment, for the user to decide.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    least: float = 0.0
    why: str = ""
    drawn: str = "cells"
    most: float = 0.1
    optional: bool = False


Rows = Mapping[str, Sequence[Row]]  # the rows to look at, by how many: cells, media, pairs


def candidates(rows: Rows, kinds: Mapping[str, str], target: str | None) -> Iterator[Candidate]:
    """Steps to try, in the order in which a recipe should have them."""
    have = {kind: [c for c, k in kinds.items() if k == kind] for kind in set(kinds.values())}
    if any(kind in have for kind in MEDIA_KINDS):
        yield Candidate("readable", {"keep_row": True}, drawn="media")  # as a fit does with such a row
    if "volume" in have:
        yield Candidate("anonymise", drawn="media")
    yield from _texts(rows["cells"], have)
    yield from _numbers(rows["cells"], have, target)
    if any(row.part for row in rows["cells"][:1]):
        # before duplicates, which keep the first of two rows: the one that is measured on has to stay
        yield Candidate("leaks", drawn="pairs")
    yield Candidate("exact_duplicates", drawn="pairs")
    yield from _more_texts(rows["cells"], have)
    if "image" in have:
        yield from _pictures(rows["media"], have["image"])
    if "audio" in have:
        yield from _sounds(rows["media"], have["audio"])
    if "series" in have:
        yield from _series(rows["media"], have["series"])
    if target is not None and kinds.get(target) == "category":
        yield Candidate(
            "label_errors",
            {"label": target, "then": "mark"},
            least=0.01,
            drawn="pairs",
            why="Marks them and keeps every row; `then: set_aside` takes them out.",
        )


def _texts(rows: Sequence[Row], have: Mapping[str, list[str]]) -> Iterator[Candidate]:
    if "text" in have or "category" in have:
        yield Candidate("unicode")
    if "text" in have:
        yield Candidate("markup")
    if "text" in have or "category" in have:
        yield Candidate("spaces")
    if "text" in have:
        yield Candidate("personal")
    if "category" in have:
        yield Candidate("categories")


def _more_texts(rows: Sequence[Row], have: Mapping[str, list[str]]) -> Iterator[Candidate]:
    if "text" not in have:
        return
    for column in have["text"]:
        yield from _lengths(rows, column)
    yield Candidate("near_duplicates")
    yield Candidate("repetition")
    try:
        spoken = languages(rows, have["text"])
    except MissingExtra:
        yield from (Candidate("language"), Candidate("spelling"))  # trying them tells what to install
        return
    total = sum(spoken.values())
    allowed = [name for name, n in spoken.most_common() if n >= SPOKEN * total]
    if allowed and total >= 20:
        told = ", ".join(f"{name} {spoken[name] / total:.0%}" for name in allowed)
        yield Candidate("language", {"allowed": allowed}, least=0.002, why=f"Of texts whose language is sure: {told}.")
    if len(rows) >= 100:
        yield Candidate("unlikely", optional=True)
    if allowed == ["en"]:
        yield Candidate("spelling", least=0.005)


def _lengths(rows: Sequence[Row], column: str) -> Iterator[Candidate]:
    """Texts of one word where most have many, and texts many times as long as most."""
    words = np.array([count_words(str(row.cells[column])) for row in rows if row.cells.get(column) is not None])
    if len(words) < 50 or (middle := float(np.median(words))) < 8:
        return
    bound = {"least": max(2, int(middle / 10)), "most": int(np.ceil(10 * middle))}
    told = (
        f"Half of the texts in {column} have {middle:g} words or fewer; nine of ten up to {np.percentile(words, 90):g}."
    )
    yield Candidate("length", {"columns": [column], **bound}, why=told, most=3 * TAIL)


def languages(rows: Sequence[Row], columns: Sequence[str]) -> Counter[str]:
    """How many of the longer texts are in each language, of those whose language is sure; of 1,000 at most."""
    texts = [str(row.cells[c]) for row in rows for c in columns if row.cells.get(c) is not None]
    texts = [text for text in texts if sum(letter.isalpha() for letter in text) >= LETTERS]
    told = (identifier().classify(text) for text in texts[:: 1 + len(texts) // 1000])
    return Counter(language for language, probability in told if probability >= 0.8)


def _numbers(rows: Sequence[Row], have: Mapping[str, list[str]], target: str | None) -> Iterator[Candidate]:
    for column in [c for kind in ("number", "category", "text", "id", "other") for c in have.get(kind, [])]:
        yield from _units(rows, column)
    for column in have.get("number", []):
        values = np.array([n for row in rows if (n := row.amount(column)) is not None])
        if column != target and len(values) >= 20:
            yield from _sentinel(values, column)
    for column in have.get("number", []):
        if column != target and len(rows) >= 50:
            yield Candidate("outliers", {"columns": [column], "keep_row": True}, most=TAIL)


def _units(rows: Sequence[Row], column: str) -> Iterator[Candidate]:
    cells = [row.cells[column] for row in rows if row.cells.get(column) is not None]
    given = Counter(unit_of(cell) for cell in cells)
    units = Counter({name: n for name, n in given.items() if name})
    if not units or sum(units.values()) + given[""] < 0.9 * len(cells):
        return
    if len({UNITS[name] for name in units}) == 1:
        unit = units.most_common(1)[0][0]
        told = ", ".join(f"{n} in {name}" for name, n in units.most_common())
        plain = f", {given['']} without a unit (taken for {unit})" if given[""] else ""
        yield Candidate("units", {"columns": [column], "unit": unit}, why=f"{told}{plain}.")


def _sentinel(values: np.ndarray, column: str) -> Iterator[Candidate]:
    """A value such as -999 that stands again and again, far from all others."""
    distinct, count = np.unique(values, return_counts=True)
    if len(distinct) < 10:
        return
    for least, place, beside in ((True, 0, 1), (False, -1, -2)):
        away = abs(distinct[place] - distinct[beside])
        others = values[values != distinct[place]]  # a slip among them must not hide the mark
        low, high = np.percentile(others, (1, 99))
        if count[place] >= 3 and high > low and away > 2 * (high - low):
            # halfway: rows that were not looked at may lie a little beyond those that were
            bound = {"least" if least else "most": float(f"{(distinct[place] + distinct[beside]) / 2:.3g}")}
            cells = many(count[place], "cell is", "cells are")
            told = f"{cells} {distinct[place]:g}, far from all others: likely a mark for missing."
            yield Candidate("range", {"columns": [column], **bound, "keep_row": True}, why=told)


def _pictures(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Candidate]:
    modes: Counter[str] = Counter()
    for row in rows:
        for column in columns:
            picture = _value(row, column)
            if picture is not None:
                modes[picture.mode] += 1
    yield Candidate("upright", drawn="media")
    yield Candidate("uniform", drawn="media")
    yield Candidate("blurred", drawn="media", least=0.01)
    if len(modes) > 1:
        told = ", ".join(f"{n} in {mode}" for mode, n in modes.most_common())
        grey = modes.most_common(1)[0][0] == "L"
        yield Candidate("normal", {"mode": "L" if grey else "RGB"}, drawn="media", why=f"Colours are stored as {told}.")
    told = "Fine texture (grass, gravel) can look like grain: look at a few before you use it."
    yield Candidate("denoise", drawn="media", least=0.05, why=told, optional=True)
    yield Candidate("near_pictures", drawn="pairs")


def _sounds(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Candidate]:
    rates: Counter[int] = Counter()
    loud: list[float] = []
    narrow: list[float] = []
    dead: list[float] = []
    for row in rows:
        for column in columns:
            sound = _value(row, column)
            if sound is not None:
                rates[sound.rate] += 1
                dead.append(_dead(sound))
                level = levels(sound)
                if level.max() > -50:
                    loud.append(_loudness(sound))
                    narrow.append(float(np.subtract(*np.percentile(level, (95, 10)))))
    yield Candidate("silent", drawn="media")
    yield Candidate("clipped", drawn="media")
    yield Candidate("same_sound", drawn="pairs")
    if len(rates) > 1:
        rate = rates.most_common(1)[0][0]
        told = ", ".join(f"{n} at {r:,} Hz" for r, n in rates.most_common())
        yield Candidate("resample", {"rate": rate}, drawn="media", why=f"Rates: {told}.")
    loud = [level for level in loud if np.isfinite(level)]
    if len(loud) > 1 and np.std(loud) > UNEVEN:
        low, middle, high = np.percentile(loud, (10, 50, 90))
        yield Candidate(
            "loudness",
            {"target": float(np.clip(round(middle), -40, -14))},
            drawn="media",
            why=f"Loudness lies between {low:.0f} and {high:.0f} LUFS (10th to 90th percentile).",
        )
    share = float(np.mean(np.array(dead) > DEAD)) if dead else 0.0
    if share >= TAIL:
        told = f"{share:.0%} of the sounds begin or end with more than {DEAD:g} s at least 50 dB below their loudest."
        yield Candidate("trim", drawn="media", why=told)
    share = float(np.mean(np.array(narrow) < NARROW)) if narrow else 0.0
    if share >= 0.2:
        yield Candidate(
            "gate",
            drawn="media",
            optional=True,
            why=f"In {share:.0%} of the sounds the loud moments stand less than {NARROW:g} dB over the quiet ones: "
            "noise, or sounds that are steady. Listen before you use it.",
        )


def _dead(sound: Sound) -> float:
    """Seconds of the longer end that lies 50 dB and more below the loudest moment; 0 for a silent sound."""
    level = levels(sound)
    heard = np.flatnonzero(level > level.max() - 50)
    if level.max() < -50 or not len(heard):
        return 0.0
    return float(max(heard[0], len(level) - 1 - heard[-1]) * FRAME)


def _series(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Candidate]:
    gaps: list[int] = []
    whole: list[np.ndarray] = []
    lengths: Counter[int] = Counter()
    for row in rows:
        for column in columns:
            value = _value(row, column)
            if value is None:
                continue
            lengths[len(value)] += 1
            flat = value.reshape(len(value), -1)
            if np.isfinite(flat).all():
                whole.append(flat.astype(np.float64))
            else:
                gaps.append(max(longest_run(channel) for channel in (~np.isfinite(flat)).T))
    if gaps:
        middle, longest = int(np.median(gaps)), max(1, int(np.percentile(gaps, 90)))
        told = f"The longest gap of a series is {middle} samples in the median, {max(gaps)} at most."
        yield Candidate("gaps", {"longest": longest}, drawn="media", why=told)
    usual = lengths.most_common(1)[0][0] if lengths else 0
    if 1 < len(lengths) <= 4 and lengths[usual] >= 0.5 * sum(lengths.values()):
        told = ", ".join(f"{n} of {length:,} samples" for length, n in lengths.most_common())
        why = f"Series: {told}. Right where they are of one duration at several rates; wrong where some are shorter."
        yield Candidate("series_resample", {"samples": usual}, drawn="media", why=why, optional=True)
    drifting, spiked = (float(np.mean([test(s) for s in whole])) if whole else 0.0 for test in (_drifts, _spiked))
    if drifting >= 0.05:
        why = f"In {drifting:.0%} of the series a straight line spans {TREND:g} times the spread around it and more."
        yield Candidate("drift", drawn="media", why=f"{why} Right where it comes from the instrument.", optional=True)
    if spiked >= 0.05:
        why = f"{spiked:.0%} of the series hold single samples far from both neighbours."
        yield Candidate("smooth", drawn="media", why=f"{why} It smooths all the rest a little, too.", optional=True)


def _drifts(series: np.ndarray) -> bool:
    """Whether any channel [n, channels] is a straight line more than anything else."""
    if len(series) < 16:
        return False
    at = np.linspace(-0.5, 0.5, len(series))
    slope = at @ (series - series.mean(0)) / (at @ at)
    spread = (series - series.mean(0) - at[:, None] * slope).std(0)
    return bool((np.abs(slope) > TREND * np.maximum(spread, 1e-12)).any())


def _spiked(series: np.ndarray) -> bool:
    """Whether any sample stands out from both of its neighbours by 12 times what samples do in the median."""
    if len(series) < 16:
        return False
    step = np.diff(series, axis=0)
    out = np.where(step[:-1] * step[1:] < 0, np.minimum(np.abs(step[:-1]), np.abs(step[1:])), 0)
    usual = np.median(np.abs(step), axis=0)
    return bool(((out > 12 * usual) & (usual > 0)).any())


def _loudness(sound: Sound) -> float:
    """LUFS; mean power in dB where the package that measures it is absent (trying the step then says so)."""
    try:
        return loudness(sound)
    except MissingExtra:
        return float(10 * np.log10(max(float((sound.samples**2).mean()), 1e-12)))


def _value(row: Row, column: str) -> Any:
    """The decoded cell, None where it is missing or broken (`readable` tells which are); its memory is freed."""
    cell = row.cells.get(column)
    if not isinstance(cell, Media):
        return None
    try:
        return cell.value()
    except BadCell:
        return None
    finally:
        cell.forget()
