"""One stream at another's times. Values and gradients against NumPy: reference/temporal.py."""

from __future__ import annotations

import pytest
import torch

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.nn.signal.clock import middles, resample, ticks


def stream(values, where, mask=None) -> Tokens:
    x = torch.tensor(values, dtype=torch.float32)[None, :, None]
    real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else torch.tensor([mask])
    places = torch.tensor(where, dtype=torch.float32)[None]
    return Tokens(x, real, x.mean(1), places if places.ndim == 3 else places[..., None])


def at(tokens: Tokens, times: list[float], **options):
    found = resample(tokens, torch.tensor([times]), **options)
    return [round(v, 4) if m else None for v, m in zip(found.x[0, :, 0].tolist(), found.mask[0].tolist())]


def test_linear_nearest_and_what_lies_outside():
    rising = stream([0.0, 10.0, 20.0], [1.0, 2.0, 3.0])
    assert at(rising, [0.5, 1.0, 1.25, 2.9, 3.0, 3.1]) == [None, 0.0, 2.5, 19.0, 20.0, None]
    assert at(rising, [1.2, 1.8, 3.5], way="nearest") == [0.0, 10.0, None]
    assert at(rising, [0.0, 1.5, 9.0], outside="hold") == [0.0, 5.0, 20.0]


def test_masked_tokens_are_not_there():
    gap = stream([0.0, float("nan"), 20.0], [1.0, 2.0, 3.0], [True, False, True])
    assert at(gap, [1.0, 2.0, 3.0]) == [0.0, 10.0, 20.0]
    ends = stream([0.0, 10.0, 999.0], [1.0, 2.0, 3.0], [True, True, False])
    assert at(ends, [1.5, 2.5]) == [5.0, None]


def test_order_of_tokens_does_not_matter():
    assert at(stream([20.0, 0.0, 10.0], [3.0, 1.0, 2.0]), [1.5, 2.5]) == [5.0, 15.0]


def test_a_missing_stream_stays_missing_and_one_token_stands_at_its_time():
    missing = stream([1.0, 2.0], [0.0, 1.0], [False, False])
    found = resample(missing, torch.tensor([[0.5]]))
    assert not found.present.any()
    assert found.x.abs().sum() == 0
    assert at(stream([7.0], [2.0]), [1.9, 2.0, 2.1]) == [None, 7.0, None]
    assert at(stream([7.0], [2.0]), [1.9, 2.0], outside="hold") == [7.0, 7.0]


def test_a_subtitle_is_there_for_all_of_its_span():
    subtitles = stream([1.0, 5.0], [[0.0, 2.0], [4.0, 6.0]])
    assert at(subtitles, [0.0, 1.9, 4.1, 6.0]) == [1.0, 1.0, 5.0, 5.0]
    assert at(subtitles, [3.0], way="linear") == [3.0]
    assert at(subtitles, [6.5, -0.5]) == [None, None]
    assert middles(subtitles)[0].tolist() == [1.0, 5.0]


def test_sounds_under_each_subtitle():
    """Subtitles to sound: the sound at the subtitles' middles."""
    sound = stream([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    subtitles = stream([1.0, 1.0], [[0.0, 1.0], [2.0, 4.0]])
    assert resample(sound, middles(subtitles)).x[0, :, 0].tolist() == [0.5, 3.0]


def test_wanted_times_may_be_masked_too():
    found = resample(
        stream([0.0, 2.0], [0.0, 2.0]), torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]]), outside="refuse"
    )
    assert found.mask.tolist() == [[True, False]]
    assert found.pooled.tolist() == [[1.0]]


def test_times_can_be_learned():
    times = torch.tensor([[0.5, 1.5]], requires_grad=True)
    resample(stream([0.0, 10.0, 40.0], [0.0, 1.0, 2.0]), times).x.sum().backward()
    assert times.grad is not None
    assert times.grad.tolist() == [[10.0, 30.0]]


def test_ticks_are_middles_of_equal_stretches():
    assert ticks(torch.tensor([0.0]), torch.tensor([4.0]), 4)[0].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_bad_input():
    rising = stream([0.0, 1.0], [1.0, 2.0])
    with pytest.raises(BadData, match=r"Row 0: asked for 0 to 5 s of a stream that runs from 1 to 2 s.*'hold'"):
        at(rising, [0.0, 5.0], outside="refuse")
    with pytest.raises(BadArgument, match="'liner'. Did you mean 'linear'"):
        at(rising, [1.0], way="liner")
    with pytest.raises(BadArgument, match="Unknown rule 'clamp' for times outside"):
        at(rising, [1.0], outside="clamp")
    with pytest.raises(BadArgument, match=r"times are \[1, N\]"):
        resample(rising, torch.zeros(3))
    with pytest.raises(BadData, match=r"no times \(`where` is None\)"):
        resample(Tokens.from_vector(torch.zeros(1, 2)), torch.zeros(1, 1))
    with pytest.raises(BadData, match="ends before it begins"):
        at(stream([1.0], [[2.0, 1.0]]), [1.0])
    with pytest.raises(BadData, match="not finite"):
        at(stream([1.0], [float("nan")]), [1.0])
