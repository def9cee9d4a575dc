"""Encoders by formula: what they share, and each against an independent computation."""

import colorsys

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import torch

from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS, image_hog, series_rocket
from polymodal.encoders.features import LIMIT, moments, quantiles, stretches

SOUND = {"rate": 8000, "length": 8000}


def sounds(rows=4, length=8000, real=None):
    samples = (torch.randn(rows, length) * 3000).round().clamp(-32768, 32767).to(torch.int16)
    return {"samples": samples, "length": torch.full((rows,), real or length, dtype=torch.int32)}


def pictures(rows=4, channels=3, size=32):
    return {"pixels": torch.randint(256, (rows, channels, size, size), dtype=torch.uint8)}


def series(rows=4, length=40, channels=3, real=None):
    values = torch.randn(rows, length, channels).cumsum(1)
    valid = torch.rand(rows, length, channels) < 0.8
    return {"values": values, "valid": valid, "length": torch.full((rows,), real or length, dtype=torch.int32)}


def steps(length=40, channels=3):
    return {"channels": channels, "length": length, "rate": 1.0}


TABLE = {"numbers": ["a", "b"], "edges": [[-1.0, 0.0, 1.0], [-2.0, 2.0]], "categories": [4, 5]}


def table(rows=6):
    return {
        "numbers": torch.randn(rows, 2),
        "known": torch.rand(rows, 2) < 0.7,
        "categories": torch.stack([torch.randint(4, (rows,)), torch.randint(5, (rows,))], 1).int(),
    }


CASES = {
    "audio_mfcc": (SOUND, sounds), "image_hog": ({"channels": 3, "size": 32}, pictures),
    "series_rocket": (steps(), series), "series_plain": (steps(), series), "table_plain": (TABLE, table),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_features_are_standardised_by_the_training_rows(name):
    facts, rows = CASES[name]
    encoder, inputs = ENCODERS.build(name, facts, 8), rows(12)
    encoder.fit_statistics(inputs)
    raw = encoder.features(inputs)
    varies = encoder.spread > 0
    assert encoder.dim == raw.shape[1] == encoder(inputs).width
    assert varies.float().mean() > 0.5
    pooled = encoder(inputs).pooled
    expected = (raw - raw.mean(0)) / raw.std(0, correction=0)
    assert torch.allclose(pooled[:, varies], expected[:, varies].clamp(-LIMIT, LIMIT), atol=1e-2)
    assert not pooled[:, ~varies].any()
    assert not [p for p in encoder.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", CASES)
def test_statistics_skip_absent_rows_and_come_the_same_in_pieces(name, monkeypatch):
    facts, rows = CASES[name]
    first, second, inputs = ENCODERS.build(name, facts, 8), ENCODERS.build(name, facts, 8), rows(12)
    present = torch.arange(12) < 9
    first.fit_statistics({**inputs, "present": present})
    monkeypatch.setattr("polymodal.encoders.features.AT_ONCE", 4)
    second.fit_statistics({key: value[:9] for key, value in inputs.items()})
    assert torch.allclose(first.mean, second.mean, rtol=1e-4, atol=1e-5)
    assert torch.allclose(first.spread, second.spread, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_no_value_lies_beyond_ten_deviations(name):
    facts, rows = CASES[name]
    encoder, inputs = ENCODERS.build(name, facts, 8), rows(12)
    encoder.fit_statistics(inputs)
    encoder.mean += 1e6
    assert encoder(inputs).pooled.abs().max() == LIMIT


OPTIONS = {
    "audio_mfcc": {"count": 13, "mels": 26, "parts": 3}, "image_hog": {"cells": 5, "orientations": 6, "tiny": 4},
    "series_rocket": {"kernels": 84, "parts": 3, "scale": True}, "series_plain": {"parts": 3},
    "table_plain": {"most": 2},
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OPTIONS for option in OPTIONS[name]])
def test_every_option_matters_and_is_checked(name, option):
    facts, rows = CASES[name]
    inputs = rows(6)
    made = []
    for spec in (name, {"name": name, option: OPTIONS[name][option]}):
        encoder = ENCODERS.build(spec, facts, 8)
        encoder.fit_statistics(inputs)
        made.append(encoder.features(inputs))
    assert made[0].shape != made[1].shape or not torch.equal(*made)
    if option != "scale":
        with pytest.raises(BadArgument, match=option):
            ENCODERS.build({"name": name, option: -1}, facts, 8)


def test_moments_and_quantiles_of_the_real_steps():
    x = torch.randn(3, 11, 2)
    real = torch.arange(11) < torch.tensor([11, 4, 0])[:, None]
    mean, spread, skew = moments(x, real)
    found = quantiles(x, real, (0.1, 0.5, 0.9))
    for row, count in enumerate((11, 4)):
        given = x[row, :count].numpy()
        assert mean[row].numpy() == pytest.approx(given.mean(0), abs=1e-5)
        assert spread[row].numpy() == pytest.approx(given.std(0), abs=1e-5)
        assert skew[row].numpy() == pytest.approx(scipy.stats.skew(given), abs=1e-3)
        assert found[row].numpy() == pytest.approx(np.quantile(given, (0.1, 0.5, 0.9), axis=0).T, abs=1e-5)
    assert not torch.cat([mean[2], spread[2], skew[2], found[2].flatten()]).any()


def test_stretches_count_steps_in_part():
    x = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [5.0], [99.0]]])
    assert stretches(x, torch.tensor([1.0]), torch.tensor([5.0]), 2).flatten().tolist() == [2.5, 4.5]
    assert stretches(x, torch.tensor([0.0]), torch.tensor([5.0]), 2).flatten().tolist() == pytest.approx([1.8, 4.2])
    assert stretches(x, torch.tensor([2.0]), torch.tensor([3.0]), 3).flatten().tolist() == pytest.approx([3, 3, 3])


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "length"), [(8000, 8000), (16_000, 160_000), (8000, 1), (1000, 300), (44_100, 60_000)]
)
def test_sounds_of_any_length_are_finite(rate, length):
    encoder = ENCODERS.build("audio_mfcc", {"rate": rate, "length": length}, 12)
    inputs = sounds(4, length)
    inputs["samples"][0] = 0
    inputs["samples"][1] = 32767
    inputs["samples"][2] = -32768
    inputs["length"][3] = 1
    encoder.fit_statistics(inputs)
    assert encoder(inputs).pooled.isfinite().all()


def test_cepstra_are_cosines_of_the_log_mel_spectrum():
    from polymodal.encoders.audio import levelled
    from polymodal.nn.signal.spectral import LogMel

    inputs = sounds(2, real=5000)
    encoder = ENCODERS.build("audio_mfcc", SOUND, 8)
    bands = LogMel(8000, window=encoder.window, hop=encoder.hop)(levelled(inputs["samples"], inputs["length"]))
    frames = -(-5000 // encoder.hop)
    cepstra = scipy.fft.dct(bands.numpy(), norm="ortho", axis=1)[:, :20, :frames]
    raw = encoder.features(inputs)
    assert raw[:, :20].numpy() == pytest.approx(cepstra.mean(2), abs=1e-3)
    shape = (len(encoder.octaves) * 2) + 8
    assert raw[:, 20 + shape : 40 + shape].numpy() == pytest.approx(cepstra.std(2), abs=1e-3)


def test_padding_of_a_sound_is_never_read():
    encoder = ENCODERS.build("audio_mfcc", SOUND, 8)
    inputs = sounds(2, real=3000)
    other = {**inputs, "samples": inputs["samples"].clone()}
    other["samples"][:, 3000:] = 9999
    assert torch.equal(encoder(inputs).pooled, encoder(other).pooled)


def test_a_tone_tells_its_pitch_and_its_centre():
    encoder = ENCODERS.build("audio_mfcc", SOUND, 8)
    time = torch.arange(8000) / 8000
    waves = torch.stack(
        [sum(torch.sin(2 * torch.pi * k * hertz * time) for k in (1, 2, 3)) for hertz in (125.0, 200.0)]
    )
    raw = encoder.features({"samples": (waves * 5000).to(torch.int16), "length": torch.full((2,), 8000)})
    level, centre = raw[:, 20], raw[:, 21]  # means of the frames' shape follow the cepstra
    assert level.isfinite().all()
    assert (centre * 4000).tolist() == pytest.approx([250, 400], rel=0.05)
    strength, pitch = raw[:, 26], raw[:, 27]
    assert strength.min() > 0.9
    assert ((pitch / strength).exp() * 1000).tolist() == pytest.approx([125, 200], rel=0.05)


def test_when_a_word_is_spoken_does_not_matter_to_its_stretches():
    encoder = ENCODERS.build("audio_mfcc", SOUND, 8)
    word = torch.cat([torch.sin(torch.arange(1280) * step) for step in (0.2, 0.9, 0.4)]) * 8000
    samples = torch.zeros(2, 8000)
    samples[0, 1280:5120] = word
    samples[1, 2560:6400] = word
    raw = encoder.features({"samples": samples.to(torch.int16), "length": torch.full((2,), 8000)})
    parts = slice(raw.shape[1] - 3 - 6 * (20 + 2 * len(encoder.octaves) + 8), raw.shape[1] - 3)
    assert torch.allclose(raw[0, parts], raw[1, parts], atol=0.05)
    assert raw[0, -2] < raw[1, -2]  # where it begins


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "size"), [(1, 4), (3, 4), (1, 28), (3, 33), (3, 96), (3, 224)])
def test_pictures_of_any_size_are_finite(channels, size):
    encoder = ENCODERS.build("image_hog", {"channels": channels, "size": size}, 8)
    inputs = pictures(4, channels, size)
    inputs["pixels"][0] = 0
    inputs["pixels"][1] = 255
    inputs["pixels"][2, :, :, size // 2 :] = 0
    encoder.fit_statistics(inputs)
    assert encoder(inputs).pooled.isfinite().all()
    assert 100 < encoder.dim < 1000


@pytest.mark.parametrize("channels", [1, 3])
def test_oriented_gradients_are_those_of_scikit_image(channels):
    skimage = pytest.importorskip("skimage.feature")
    encoder = ENCODERS.build({"name": "image_hog", "cells": 5}, {"channels": channels, "size": 40}, 8)
    pixels = pictures(3, channels, 40)["pixels"]
    pixels[0, :, 10:20] = 100  # flat: no orientation
    found = encoder.gradients(pixels.double())
    for row, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy().astype(float)):
        expected = skimage.hog(picture, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1)
        # theirs lists [row, column, row in block, column in block, orientation], as ours
        assert found[row].numpy() == pytest.approx(expected, abs=1e-4)


def test_patterns_are_counted_as_a_loop_counts_them():
    encoder = ENCODERS.build("image_hog", {"channels": 1, "size": 12}, 8)
    picture = torch.randint(4, (1, 1, 12, 12)).float()
    around = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    counts = [0] * 10
    for i in range(1, 11):
        for j in range(1, 11):
            bits = [bool(picture[0, 0, i + a, j + b] >= picture[0, 0, i, j]) for a, b in around]
            turns = sum(bits[k] != bits[k - 1] for k in range(8))
            counts[sum(bits) if turns <= 2 else 9] += 1
    found = image_hog.patterns(picture, encoder.codes)[0] * 100
    assert found.tolist() == pytest.approx(counts, abs=1e-3)


def test_hue_saturation_and_value_are_those_of_colorsys():
    pixels = pictures(2, 3, 8)["pixels"].float() / 255
    pixels[0, :, 0, 0] = 0.5
    planes = image_hog.colours(pixels)
    for row in range(2):
        for i in range(8):
            for j in range(8):
                expected = colorsys.rgb_to_hsv(*pixels[row, :, i, j].tolist())
                assert planes[row, :3, i, j].tolist() == pytest.approx(expected, abs=1e-5)
    assert planes.min() >= 0
    assert planes.max() <= 1


def test_a_colour_counts_where_it_lies():
    encoder = ENCODERS.build("image_hog", {"channels": 3, "size": 32}, 8)
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    pixels[0, 0, 12:20, 12:20] = 255
    pixels[1, 0, :8, :8] = 255
    first, second = encoder._colour(pixels.float() / 255)
    half = len(first) // 2
    assert first[0] > second[0] == 0  # mean of red in the middle
    assert second[half] > first[half] == 0  # and at the rim


# --- series -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "channels"), [(2, 1), (4, 22), (9, 1), (40, 3), (100, 30), (700, 2)])
def test_series_of_any_length_are_finite(length, channels):
    encoder = ENCODERS.build("series_rocket", steps(length, channels), 8)
    inputs = series(6, length, channels)
    inputs["values"][0] = 1e29
    inputs["values"][1] = -7.0
    inputs["valid"][2] = False
    inputs["valid"][..., 0] = False
    inputs["values"][..., 0] = 0
    inputs["length"][3] = 1
    encoder.fit_statistics(inputs)
    assert encoder(inputs).pooled.isfinite().all()


def test_shares_are_those_of_a_naive_loop():
    encoder = ENCODERS.build({"name": "series_rocket", "kernels": 420}, steps(60, 2), 8)
    inputs = series(3, 60, 2)
    inputs["length"] = torch.tensor([60, 41, 3])
    encoder.fit_statistics(inputs)
    x, _, real = encoder._prepared(inputs)
    x = encoder.convolved(x, real)
    found = encoder.shares(x, real, inputs["length"])
    assert sorted(encoder.dilations) == [1, 2, 4, 7]
    expected, start = [], 0
    for number, (dilation, count) in enumerate(encoder.dilations.items()):
        for first in range(start, start + count):
            for kernel, places in enumerate(series_rocket.KERNELS):
                weight = np.where(np.isin(np.arange(9), places), 2.0, -1.0)
                read = encoder.taps[number, kernel].abs().sum(1) > 0
                for row, length in enumerate((60, 41, 3)):
                    z = x[row, read, :length].sum(0).numpy().astype(float)
                    hits = []
                    for i in range(length):
                        at = [i + (tap - 4) * dilation for tap in range(9)]
                        y = sum(w * z[j] for w, j in zip(weight, at) if 0 <= j < length)
                        whole = at[0] >= 0 and at[-1] < length
                        hits.append((y > float(encoder.biases[kernel, first]), whole))
                    if (kernel + number) % 2 == 1 and any(whole for _, whole in hits):
                        hits = [hit for hit in hits if hit[1]]
                    expected.append(np.mean([above for above, _ in hits]))
        start += count
    naive = np.array(expected).reshape(-1, 3).T
    assert found.numpy() == pytest.approx(naive, abs=1e-5)
    assert 0.2 < naive.mean() < 0.8


def test_convolutions_are_exact_in_any_company():
    encoder = ENCODERS.build("series_rocket", steps(64, 5), 8)
    inputs = series(33, 64, 5)
    encoder.fit_statistics(inputs)
    whole = encoder.features(inputs)
    alone = torch.cat([encoder.features({k: v[i : i + 1] for k, v in inputs.items()}) for i in range(33)])
    made = len(series_rocket.KERNELS) * encoder.biases.shape[1]
    assert torch.equal(whole[:, -made:], alone[:, -made:])
    assert torch.allclose(whole, alone, atol=1e-4)


def test_short_series_have_no_convolutions_but_their_own_values():
    short = ENCODERS.build("series_rocket", steps(4, 1), 8)
    assert not short.dilations
    values = torch.tensor([[[3.0], [1.0], [4.0], [2.0]]])
    inputs = {"values": values, "valid": torch.tensor([[[True], [False], [True], [True]]]), "length": torch.tensor([4])}
    raw = short.features(inputs)[0]
    assert raw[-8:-4].tolist() == pytest.approx([3, 1, 4, 2])
    assert raw[-4:].tolist() == pytest.approx([1, 0, 1, 1])
    assert raw[0] == pytest.approx(3.0)  # the mean of what was measured
    assert raw[3:8].tolist() == pytest.approx([2, 2.5, 3, 3.5, 4])
    assert raw[8] == pytest.approx(0.75)
    assert raw[9:11].tolist() == pytest.approx([3, 2])


@pytest.mark.parametrize("scale", [False, True])
def test_scaling_takes_the_amplitude_from_the_convolutions(scale):
    encoder = ENCODERS.build({"name": "series_rocket", "scale": scale}, steps(64, 1), 8)
    inputs = series(6, 64, 1)
    encoder.fit_statistics(inputs)
    halved = {**inputs, "values": inputs["values"] * 0.5}
    made = len(series_rocket.KERNELS) * encoder.biases.shape[1]
    moved = (encoder.features(inputs) - encoder.features(halved))[:, -made:].abs()
    assert moved.max() < 0.1 if scale else moved.max() > 0.1


@pytest.mark.parametrize("name", ["series_rocket", "series_plain", {"name": "series_plain", "parts": 100}])
def test_what_lies_beyond_the_end_of_a_series_is_never_read(name):
    encoder = ENCODERS.build(name, steps(), 8)
    inputs = series(real=15)
    encoder.fit_statistics(inputs)
    other = {**inputs, "values": inputs["values"].clone(), "valid": inputs["valid"].clone()}
    other["values"][:, 15:] = torch.nan
    other["valid"][:, 15:] = True
    assert torch.equal(encoder(inputs).pooled, encoder(other).pooled)


def test_a_short_series_is_told_by_its_own_values():
    encoder = ENCODERS.build("series_plain", steps(6, 2), 8)
    inputs = series(5, 6, 2)
    inputs["length"][0] = 4
    found = encoder.features(inputs)
    assert torch.equal(found[1:, :12].view(4, 6, 2), inputs["values"][1:])
    assert torch.equal(found[1:, 12:].view(4, 6, 2), inputs["valid"][1:].float())
    assert not found[0, [8, 9, 10, 11, 20, 21, 22, 23]].any()


def test_a_long_series_is_told_by_means_of_its_own_length():
    encoder = ENCODERS.build({"name": "series_plain", "parts": 4}, steps(40, 1), 8)
    values = torch.arange(40.0)[None, :, None]
    inputs = {"values": values, "valid": values >= 8, "length": torch.tensor([16])}
    assert encoder.features(inputs)[0].tolist() == [1.5, 5.5, 9.5, 13.5, 0, 0, 1, 1]


def test_correlations_are_those_of_numpy():
    x = torch.randn(1, 20, 4)
    real = torch.arange(20)[None] < 17
    found = series_rocket._correlations(x, real)[0]
    expected = np.corrcoef(x[0, :17].numpy().T)[np.triu_indices(4, 1)]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_row_of_a_table_as_plain_numbers():
    encoder = ENCODERS.build("table_plain", TABLE, 8)
    numbers = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [4.0, 1.0], [9.0, 5.0]])
    known = torch.ones(5, 2, dtype=torch.bool)
    known[3:, 1] = False
    words = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [3, 4]])
    inputs = {"numbers": numbers, "known": known, "categories": words}
    encoder.fit_statistics(inputs)
    raw = encoder.features(inputs)
    assert raw[:, 0].tolist() == [0, 1, 2, 4, 9]
    assert raw[:, 1].tolist() == [1, 1, 1, 0, 0]
    assert raw[:, 2].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-5)
    assert raw[:, 3].tolist() == [0.5] * 5
    assert raw[:, 4:6].tolist() == [[0, 0]] * 3 + [[0, 1]] * 2
    assert raw[:, 6:10].tolist() == torch.eye(4)[[0, 1, 2, 3, 3]].tolist()
    assert raw[:, 10:].tolist() == torch.eye(5)[[1, 2, 3, 4, 4]].tolist()


def test_ranks_are_those_of_scipy():
    encoder = ENCODERS.build("table_plain", {**TABLE, "categories": []}, 8)
    numbers = torch.stack([torch.randn(65).exp(), torch.randint(5, (65,)).float()], 1)
    encoder.fit_statistics({"numbers": numbers, "known": torch.ones(65, 2, dtype=torch.bool)})
    expected = (scipy.stats.rankdata(numbers.numpy(), axis=0) - 1) / 64
    assert encoder.ranks(numbers).numpy() == pytest.approx(expected, abs=0.01)
    assert encoder.ranks(torch.tensor([[-9.0, -9.0], [99.0, 99.0]])).tolist() == [[0, 0], [1, 1]]


def test_rarer_categories_share_a_feature_with_unknown_ones():
    encoder = ENCODERS.build({"name": "table_plain", "most": 2}, {"edges": [], "categories": [9]}, 8)
    raw = encoder.features({"categories": torch.arange(9)[:, None]})
    assert encoder.dim == 4
    assert raw.argmax(1).tolist() == [0, 1, 2, 3, 1, 1, 1, 1, 1]


def test_a_table_of_numbers_without_any_is_finite():
    encoder = ENCODERS.build("table_plain", {**TABLE, "categories": []}, 8)
    inputs = {"numbers": torch.zeros(3, 2), "known": torch.zeros(3, 2, dtype=torch.bool)}
    encoder.fit_statistics(inputs)
    assert not encoder(inputs).pooled.any()
    assert encoder({"numbers": torch.full((1, 2), 9.0), "known": inputs["known"][:1] | True}).pooled.isfinite().all()
