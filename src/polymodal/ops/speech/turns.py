"""Who speaks when: voice activity, and voices told apart by their cepstra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from polymodal.core.errors import require
from polymodal.data.media.sound import Sound

RATE = 16_000
FRAME = 0.02  # seconds


@dataclass(frozen=True)
class Turn:
    """A stretch of speech in seconds; `speaker` counts from 0."""

    start: float
    end: float
    speaker: int = 0


def by_energy(sound: Sound, above: float, gap: float, least: float) -> list[Turn]:
    """Stretches whose 20 ms frames lie more than `above` dB over the background (the tenth percentile of the levels,
    at least 60 dB below the loudest frame), gaps shorter than `gap` seconds closed, those shorter than `least` left
    out.

    Where nothing is quiet, so that no frame rises above the background, nothing is found.
    """
    wave = sound.at(RATE)
    if not len(wave):
        return []
    size = round(FRAME * RATE)
    frames = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
    levels = 10 * np.log10((frames.astype(np.float64) ** 2).mean(1) + 1e-12)
    floor = max(np.percentile(levels, 10), levels.max() - 60, -90)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (levels > floor + above).astype(int), [0]])))
    stretches: list[tuple[float, float]] = []
    for first, last in edges.reshape(-1, 2) * FRAME:
        if stretches and first - stretches[-1][1] < gap:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return [Turn(float(a), float(min(b, sound.seconds))) for a, b in stretches if b - a >= least]


@cache
def _silero() -> tuple[Any, Any]:
    import torch

    silero = require("silero_vad", "speech")
    threads = torch.get_num_threads()
    model = silero.load_silero_vad()  # sets torch to one thread
    torch.set_num_threads(threads)
    return model, silero.get_speech_timestamps


def by_silero(sound: Sound, gap: float, least: float) -> list[Turn]:
    """Stretches of speech by the network of silero-vad (Silero Team 2024; MIT, weights in the package)."""
    import torch

    model, stamps = _silero()
    wave = sound.at(RATE)
    if not len(wave):
        return []
    stretches = stamps(
        torch.from_numpy(wave), model, sampling_rate=RATE, min_silence_duration_ms=round(1000 * gap),
        min_speech_duration_ms=round(1000 * least),
    )  # fmt: skip
    return [Turn(f["start"] / RATE, f["end"] / RATE) for f in stretches]


def voices(sound: Sound, turns: list[Turn], speakers: int | None, apart: float) -> list[Turn]:
    """The turns with their speakers, in the order in which they are first heard.

    No trained speaker model: each turn is the mean and spread of the MFCC 2 to 13 of its louder frames, and turns join
    by average linkage (Sokal & Michener 1958) while their distance is below `apart`, or until `speakers` are left. Good
    enough for voices that differ clearly in one recording; neighbours of alike voices come out as one.
    """
    if len(turns) < 2:
        return turns
    import torch
    from scipy.cluster.hierarchy import fcluster, linkage

    from polymodal.nn.signal.cepstra import MFCC

    wave = torch.from_numpy(sound.at(RATE))
    cepstra = MFCC(RATE, window=400, hop=160, lifter=0)
    points = []
    for turn in turns:
        frames = cepstra(wave[None, round(turn.start * RATE) : max(round(turn.end * RATE), 1)])[0].double()
        frames = frames[frames[:, 0] >= frames[:, 0].median(), 1:]  # the louder half: not the ends, not breath
        points.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]).numpy())
    tree = linkage(np.stack(points), "average")
    groups = fcluster(tree, speakers, "maxclust") if speakers else fcluster(tree, apart, "distance")
    order: dict[int, int] = {}
    return [Turn(t.start, t.end, order.setdefault(int(g), len(order))) for t, g in zip(turns, groups)]
