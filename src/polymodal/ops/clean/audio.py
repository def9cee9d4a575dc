"""Cleaning sound: silent, clipped, of other rates and loudness, and the same again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from polymodal.core.errors import require
from polymodal.core.values import check_range
from polymodal.data.media.sound import Sound
from polymodal.ops.base import BatchOp, CellOp, Sketch
from polymodal.ops.rows import Row, Rows, SetAside

FRAME = 0.02  # seconds


class Silent(CellOp):
    """Sets aside sounds whose loudest 20 ms stay below `below` dB of full scale."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, below: float = -50.0):
        super().__init__(columns=columns)
        self.below = below

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        loudest = float(levels(value).max())
        if loudest < self.below:
            raise SetAside(f"is silent (its loudest moment is at {loudest:.0f} dB, below {self.below:g})")
        return value


class Clipped(CellOp):
    """Sets aside sounds cut off at the top: more than a share `above` of the samples stand in runs of three or more at
    the largest level, within one part in a thousand."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, above: float = 0.01):
        super().__init__(columns=columns)
        self.above = above
        check_range("[0, 1)", above=above)

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        share = clipped_share(value.mono())
        if share > self.above:
            raise SetAside(f"is clipped ({share:.1%} of its samples, above {self.above:.1%})")
        return value


class Trim(CellOp):
    """Cuts what comes before and after the sound: 20 ms frames within `below` dB of the background are none of it.

    The background is the tenth percentile of the frames' levels (after Sohn, Kim & Sung 1999, without their model of
    speech); `keep` seconds stay at each end. A sound without a quiet end stays as it is.
    """

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, below: float = 6.0, keep: float = 0.05):
        super().__init__(columns=columns)
        self.below = below
        self.keep = keep
        check_range("(0, inf)", below=below)
        check_range("[0, inf)", keep=keep)

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        active = activity(value, self.below)
        if not active.any():
            return value
        frame = max(1, round(FRAME * value.rate))
        margin = round(self.keep * value.rate)
        first = max(0, int(active.argmax()) * frame - margin)
        last = min(len(value.samples), (len(active) - int(active[::-1].argmax())) * frame + margin)
        return value if last - first >= len(value.samples) - frame else Sound(value.samples[first:last], value.rate)


class Resample(CellOp):
    """One sampling rate, by the Sox resampler (soxr, LGPL)."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, rate: int = 16_000):
        super().__init__(columns=columns)
        self.rate = rate
        check_range("[1000, 384000]", "samples a second", rate=rate)

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        if value.rate == self.rate:
            return value
        import soxr

        return Sound(soxr.resample(value.samples, value.rate, self.rate).astype(np.float32), self.rate)


class Loudness(CellOp):
    """One loudness, in LUFS (ITU-R BS.1770-4; pyloudnorm, MIT). Peaks that would exceed -1 dB hold the gain back.

    Sounds shorter than 0.4 seconds, for which the standard measures nothing, are set by their mean power instead.
    """

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, target: float = -23.0):
        super().__init__(columns=columns)
        self.target = target
        check_range("(-70, 0]", "LUFS", target=target)
        require("pyloudnorm", "audio")

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        loud = loudness(value)
        if not np.isfinite(loud):
            return value
        peak = float(np.abs(value.samples).max())
        gain = min(10 ** ((self.target - loud) / 20), 10 ** (-1 / 20) / peak)
        return value if abs(20 * np.log10(gain)) < 0.1 else Sound((value.samples * gain).astype(np.float32), value.rate)


class SameSound(BatchOp):
    """Keeps the first of rows that hold the same sound, by fingerprint (Haitsma & Kalker 2002): 32 bits every 12 ms,
    the signs of differences of band energies over time and frequency.

    Two sounds are the same when, at the best shift of up to `shift` seconds, at most a share `differing` of the bits of
    their common part differ (unrelated sounds: half). Survives other loudness, rates, compression and some noise.
    Sounds are compared when they share a whole 32-bit word.
    """

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, differing: float = 0.25, shift: float = 0.5):
        super().__init__(columns=columns)
        self.differing = differing
        self.shift = shift
        check_range("(0, 0.5)", differing=differing)
        check_range("[0, inf)", shift=shift)

    def partial_fit(self, rows: Rows) -> Sketch:
        fingerprints: list[np.ndarray] = []
        places: list[tuple[int, int]] = []
        for number, column in enumerate(self.chosen):
            for row, sound in zip(rows.kept, self.values(rows, column)):
                if sound is not None and len(words := fingerprint(sound)):
                    fingerprints.append(words)
                    places.append((row.number, number))
        return {
            "place": np.array(places, np.int64).reshape(-1, 2),
            "length": np.array([len(words) for words in fingerprints], np.int64),
            "words": np.concatenate(fingerprints) if fingerprints else np.zeros(0, np.uint32),
        }

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        place, length, words = (np.concatenate([p[name] for p in parts]) for name in ("place", "length", "words"))
        starts = np.cumsum(length) - length
        owner = np.repeat(np.arange(len(length)), length)
        order = np.argsort(words, kind="stable")
        close = np.flatnonzero(np.diff(words[order].astype(np.int64)) == 0)
        pairs = np.sort(np.stack([owner[order[close]], owner[order[close + 1]]]), axis=0)
        pairs = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)
        copies: dict[int, int] = {}
        most = max(1, round(self.shift / 0.012))
        for a, b in pairs.T.tolist():
            root = a
            while root in copies:
                root = copies[root]
            if place[a, 1] != place[b, 1] or b in copies:
                continue
            one, other = (words[starts[i] : starts[i] + length[i]] for i in (a, b))
            if bit_error(one, other, most) <= self.differing:
                copies[b] = root
        rows = [(place[b, 0], place[a, 0], place[b, 1]) for b, a in copies.items()]
        self.state = {"copy": np.array(rows, np.int64).reshape(-1, 3)}

    def work(self, rows: Rows) -> None:
        copies = {copy: (of, column) for copy, of, column in self.state["copy"].tolist()}
        self.refuse(
            rows,
            {
                i: f"{self.chosen[copies[row.number][1]]}: the same sound as row {copies[row.number][0]}"
                for i, row in enumerate(rows)
                if row.number in copies
            },
        )


def levels(sound: Sound) -> np.ndarray:
    """dB of full scale of each 20 ms, at least one; -120 for digital silence."""
    samples = sound.mono()
    frame = max(1, round(FRAME * sound.rate))
    padded = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    return 20 * np.log10(np.maximum(np.sqrt((padded.astype(np.float64) ** 2).mean(1)), 1e-6))


def activity(sound: Sound, above: float) -> np.ndarray:
    """[frames] bool: which 20 ms stand more than `above` dB over the background (their tenth percentile)."""
    level = levels(sound)
    return level > np.percentile(level, 10) + above


def clipped_share(samples: np.ndarray) -> float:
    """Share of samples in runs of three or more at the largest absolute level."""
    size = np.abs(samples)
    peak = float(size.max(initial=0))
    if peak < 1e-4:
        return 0.0
    top = size >= peak * 0.999
    edges = np.flatnonzero(np.diff(np.concatenate([[False], top, [False]]).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= 3].sum() / len(samples))


def loudness(sound: Sound) -> float:
    """Integrated loudness in LUFS; for less than 0.4 seconds the mean power in dB, less 0.7 as for a 1 kHz tone."""
    if sound.seconds < 0.4:
        power = float((sound.mono().astype(np.float64) ** 2).mean())
        return 10 * np.log10(power) - 0.691 if power > 0 else -np.inf
    import pyloudnorm

    return float(pyloudnorm.Meter(sound.rate).integrated_loudness(sound.samples.astype(np.float64)))


def fingerprint(sound: Sound) -> np.ndarray:
    """uint32 words, one every 12 ms: bit m says whether the energy difference of bands m and m + 1 grew."""
    rate, size, hop = 5512, 2048, 64
    samples = sound.at(rate)
    if len(samples) < size // 4:
        return np.zeros(0, np.uint32)
    padded = np.pad(samples, (size // 2, size // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    edges = np.geomspace(300, 2000, 34) / rate * size
    sums = np.concatenate([np.zeros((len(power), 1)), power.cumsum(1)], 1)
    low = np.round(edges[:-1]).astype(int)
    energy = sums[:, np.maximum(np.round(edges[1:]).astype(int), low + 1)] - sums[:, low]
    difference = energy[:, :-1] - energy[:, 1:]
    bits = np.diff(difference, axis=0) > 0
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u4")[:, 0].astype(np.uint32)


def bit_error(a: np.ndarray, b: np.ndarray, most: int) -> float:
    """The least share of differing bits of two fingerprints over shifts of at most `most` words.

    Only shifts at which the common part is at least half of the shorter one count.
    """
    best = 0.5
    least = max(1, min(len(a), len(b)) // 2)
    for shift in range(-most, most + 1):
        one, other = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
        common = min(len(one), len(other))
        if common >= least:
            best = min(best, float(np.bitwise_count(one[:common] ^ other[:common]).sum() / (32 * common)))
    return best
