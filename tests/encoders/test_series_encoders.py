"""Series encoders: lengths, gaps, scale, causality."""

import pytest
import torch

from polymodal.encoders import ENCODERS

NAMES = ("series_gru", "series_tcn", "series_patch")


def series(rows=4, length=40, channels=2, real=None):
    values = torch.randn(rows, length, channels).cumsum(1)
    valid = torch.ones(rows, length, channels, dtype=torch.bool)
    return {"values": values, "valid": valid, "length": torch.full((rows,), real or length, dtype=torch.int32)}


def facts(length=40, channels=2, rate=10.0):
    return {"channels": channels, "length": length, "rate": rate}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("length", "channels"), [(40, 2), (2, 1), (17, 5), (500, 1), (333, 3)])
def test_any_length_gives_few_tokens_in_seconds(name, length, channels):
    encoder = ENCODERS.build(name, facts(length, channels), 12).eval()
    tokens = encoder(series(2, length, channels))
    assert tokens.x.shape[1] <= 16
    assert tokens.x.isfinite().all()
    assert tokens.present.all()
    assert float(tokens.where.max()) <= length / 10.0


@pytest.mark.parametrize("name", NAMES)
def test_huge_and_constant_values_are_finite(name):
    encoder = ENCODERS.build(name, facts(), 12)
    inputs = series()
    inputs["values"][0] = 1e29
    inputs["values"][..., 1] = 7.0
    encoder.fit_statistics(inputs)
    assert encoder.train()(inputs).pooled.isfinite().all()
    assert encoder.eval()(inputs).pooled.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_beyond_the_end_is_ignored_and_masked(name):
    encoder = ENCODERS.build(name, facts(), 12).eval()
    inputs = series(real=15)
    other = {**inputs, "values": inputs["values"].clone()}
    other["values"][:, 15:] = torch.nan
    first, second = encoder(inputs), encoder(other)
    assert torch.equal(first.pooled, second.pooled)
    assert not first.mask[:, -1].any()


@pytest.mark.parametrize("name", NAMES)
def test_units_do_not_matter_after_statistics(name):
    inputs = series()
    scaled = {**inputs, "values": inputs["values"] * 100 + 5}
    pooled = []
    for given in (inputs, scaled):
        torch.manual_seed(0)
        encoder = ENCODERS.build(name, facts(), 12).eval()
        encoder.fit_statistics(given)
        pooled.append(encoder(given).pooled)
    assert torch.allclose(*pooled, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_gap_is_told_from_a_measured_value(name):
    encoder = ENCODERS.build(name, facts(), 12).eval()
    inputs = series()
    gap = {**inputs, "valid": inputs["valid"].clone()}
    gap["valid"][:, 10:20, 0] = False
    assert not torch.equal(encoder(inputs).pooled, encoder(gap).pooled)


@pytest.mark.parametrize("option", [{"jitter": 0.5}, {"scale": 0.5}])
def test_every_augmentation_changes_the_values(option):
    still = {"name": "series_tcn", "jitter": 0.0, "scale": 0.0}
    inputs = series()
    assert torch.allclose(ENCODERS.build(still, facts(), 8).augment(inputs)["values"], inputs["values"], atol=1e-5)
    changed = ENCODERS.build({**still, **option}, facts(), 8).augment(inputs)["values"]
    assert (changed - inputs["values"]).abs().max() > 0.05


def test_the_tcn_never_looks_ahead():
    encoder = ENCODERS.build("series_tcn", facts(), 12).eval()
    inputs = series()
    later = {**inputs, "values": inputs["values"].clone()}
    later["values"][:, 30:] += 3
    first, second = encoder(inputs), encoder(later)
    assert torch.equal(first.x[:, :10], second.x[:, :10])  # three steps a token
    assert not torch.equal(first.x[:, 10:], second.x[:, 10:])
