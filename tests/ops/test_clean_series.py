"""Cleaning series of measurements."""

from __future__ import annotations

import numpy as np
import pytest
from ops import run

from polymodal.core.errors import BadArgument

T = np.linspace(0, 4 * np.pi, 400)
WAVE = np.stack([np.sin(T), np.cos(T)], 1).astype(np.float32)


def test_short_gaps_are_filled_and_long_ones_set_aside():
    short, long, empty = WAVE.copy(), WAVE.copy(), WAVE.copy()
    short[50:60, 0] = np.nan
    short[:3] = np.inf
    long[100:180, 1] = np.nan
    empty[:, 0] = np.nan
    after, aside = run("gaps", [short, long, empty, WAVE, None], "series")
    assert np.abs(after[0] - WAVE).max() < 0.1
    assert after[3] is WAVE
    assert aside == {1: "x: has a gap of 80 samples, above 20", 2: "x: has a channel without any sample"}
    assert run({"gaps": {"longest": 80}}, [long], "series")[1] == {}
    flat = np.array([1, np.nan, np.nan, 4], np.float32)
    for fill, expected in (("linear", [1, 2, 3, 4]), ("previous", [1, 1, 1, 4]), ("zero", [1, 0, 0, 4])):
        assert run({"gaps": {"fill": fill}}, [flat], "series")[0][0].tolist() == expected
    assert np.isnan(flat[1]), "the input is not changed in place"
    for options in ({"fill": "cubic"}, {"longest": -1}):
        with pytest.raises(BadArgument):
            run({"gaps": options}, [flat], "series")


def test_drift():
    trend = np.stack([0.01 * np.arange(400) + 5, -0.02 * np.arange(400)], 1).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 1, WAVE.shape).astype(np.float32)
    after = run("drift", [noise + trend], "series")[0][0]
    assert np.abs(np.polyfit(np.arange(400), after, 1)[0]).max() < 1e-6
    assert np.allclose(after.mean(0), (noise + trend).mean(0), atol=1e-4)
    assert np.allclose(run({"drift": {"keep_level": False}}, [noise + trend], "series")[0][0].mean(0), 0, atol=1e-4)
    curve = (np.arange(400)[:, None] / 100.0) ** 2 + 0 * WAVE
    assert np.abs(run({"drift": {"degree": 2, "keep_level": False}}, [curve], "series")[0][0]).max() < 1e-4
    with pytest.raises(BadArgument, match="degree must be between"):
        run({"drift": {"degree": 20}}, [WAVE], "series")


def test_resampling_keeps_what_the_new_rate_can_carry():
    half = run({"series_resample": {"samples": 200}}, [WAVE], "series")[0][0]
    assert half.shape == (200, 2)
    assert np.abs(half[5:-5] - WAVE[::2][5:-5]).max() < 0.05
    assert run({"series_resample": {"factor": 2.5}}, [WAVE[:, 0]], "series")[0][0].shape == (1000,)
    assert run({"series_resample": {"samples": 400}}, [WAVE], "series")[0][0] is WAVE
    fast = np.sin(np.arange(400) * 2.8).astype(np.float32)
    assert np.abs(run({"series_resample": {"factor": 0.25}}, [fast], "series")[0][0][5:-5]).max() < 0.1
    for options in ({}, {"samples": 5, "factor": 2.0}, {"samples": 0}, {"factor": -1.0}):
        with pytest.raises(BadArgument):
            run({"series_resample": options}, [WAVE], "series")


@pytest.mark.parametrize("samples", [10, 99, 30_000, 99_999])
def test_a_long_series_keeps_its_end(samples):
    slow = np.linspace(0, 1, 100_000, dtype=np.float32)
    after = run({"series_resample": {"samples": samples}}, [slow], "series")[0][0]
    assert len(after) == samples
    assert np.abs(after - np.arange(samples) / samples).max() < 0.02


def test_drift_goes_where_samples_are_missing():
    line = np.stack([0.5 * np.arange(100.0), -1.0 * np.arange(100.0)], 1).astype(np.float32)
    line[[0, 1, 40, 99], 0] = np.nan
    after = run({"drift": {"keep_level": False}}, [line], "series")[0][0]
    assert np.array_equal(np.isnan(after), np.isnan(line))
    assert np.nanmax(np.abs(after)) < 1e-4


def test_smoothing_keeps_peaks_and_drops_spikes():
    rng = np.random.default_rng(0)
    dirty = WAVE + rng.normal(0, 0.1, WAVE.shape).astype(np.float32)
    dirty[[40, 200, 333], 0] += 8
    after = run("smooth", [dirty], "series")[0][0]
    assert np.sqrt(((after - WAVE) ** 2).mean()) < 0.6 * 0.1
    assert np.abs(after - WAVE).max() < 0.4
    kept = run({"smooth": {"spikes": 1e9}}, [dirty], "series")[0][0]
    assert np.abs(kept - WAVE).max() > 1
    short = WAVE[:5]
    assert run("smooth", [short], "series")[0][0] is short
    for options in ({"window": 4}, {"window": 5, "degree": 5}, {"spikes": 0}):
        with pytest.raises(BadArgument):
            run({"smooth": options}, [WAVE], "series")


def test_resampling_does_not_spread_what_is_missing():
    after, why = run({"series_resample": {"factor": 0.5}}, [np.array([1.0, np.nan, 3.0, 4.0]), np.ones(4)], "series")
    assert list(why) == [0]
    assert "put the step gaps before" in why[0]
    assert after[1].tolist() == [1.0, 1.0]
