"""Masked modelling: what hidden parts held changes no token, and a decoder is told what it was."""

import pytest
import torch

from polymodal.encoders import ENCODERS

SOUND = {"rate": 8000, "length": 8000}
TABLE = {
    "numbers": ["a", "b"], "edges": [[-1.0, 0.0, 1.0], [-2.0, 2.0]], "categories": [4, 5],
    "category_names": ["c", "d"], "columns": ["a", "b", "c", "d"],
}  # fmt: skip
SERIES = {"channels": 3, "length": 50, "rate": 10.0}
TEXTS = ["it is four", "i", "no no no", "twwo two", "a bc def ghij klmno pqrstu"]


def text_facts(level="characters"):
    return {"level": level, "vocabulary": 128, "length": 32, "space": 32 if level == "characters" else None}


def letters(texts=TEXTS, length=32):
    """Characters as the text processor gives them: a blank belongs to the word behind it; ids are code points."""
    ids, word = torch.zeros(len(texts), length, dtype=torch.int32), torch.zeros(len(texts), length, dtype=torch.int16)
    for row, text in enumerate(texts):
        for i, c in enumerate(text):
            ids[row, i], word[row, i] = ord(c), text[: i + 1].lstrip().count(" ")
    place = torch.arange(length).expand(len(texts), -1)
    spans = torch.stack([place, place + 1], dim=2) * (ids != 0)[..., None]
    return {"ids": ids, "word": word, "spans": spans.int()}


def sounds(real=8000):
    samples = (torch.randn(4, 8000) * 3000).round().clamp(-32768, 32767).to(torch.int16)
    return {"samples": samples, "length": torch.full((4,), real, dtype=torch.int32)}


def table():
    words = torch.stack([torch.randint(4, (6,)), torch.randint(5, (6,))], 1)
    return {"numbers": torch.randn(6, 2), "known": torch.ones(6, 2, dtype=torch.bool), "categories": words.int()}


def pictures(rows=4, side=20, channels=3):
    return {"pixels": torch.randint(0, 256, (rows, channels, side, side), dtype=torch.uint8)}


def series():
    """Longer than what is real of it, with a gap."""
    valid = torch.ones(4, 50, 3, dtype=torch.bool)
    valid[:, 8:14, 1] = False
    return {
        "values": torch.randn(4, 50, 3).cumsum(1),
        "valid": valid,
        "length": torch.full((4,), 41, dtype=torch.int32),
    }


CASES = {
    "image_resnet": ({"size": 20, "channels": 3}, pictures),
    "image_vit": ({"size": 20, "channels": 3}, pictures),
    "audio_cnn": (SOUND, lambda: sounds(real=7000)),
    "audio_transformer": (SOUND, sounds),
    "series_tcn": (SERIES, series),
    "series_gru": (SERIES, series),
    "series_patch": (SERIES, series),
    "table_mlp": (TABLE, table),
    "table_ft": (TABLE, table),
    "vector_mlp": ({"width": 70}, lambda: {"vector": torch.randn(4, 70)}),
    "text_bilstm": (text_facts(), letters),
    "text_transformer": (text_facts("subwords"), letters),
    "text_tfidf": (text_facts(), letters),
}


def built(name):
    facts, make = CASES[name]
    inputs = make()
    spec = {"name": name, "rare": 1} if name == "text_tfidf" else name
    encoder = ENCODERS.build(spec, facts, 12).eval()
    encoder.fit_statistics(inputs)
    return encoder, {**inputs, **encoder.once(inputs)}


def some_hidden(there):
    hidden = there & (torch.rand(there.shape) < 0.5)
    return hidden | (there & (torch.arange(there.shape[1]) == 0))  # one at least


def held_otherwise(inputs, hidden, changed, encoder):
    """The same inputs, where hidden parts hold something else."""
    other = {name: value.clone() for name, value in inputs.items()}
    if "pixels" in inputs:
        filled = changed["pixels"] != inputs["pixels"].float()
        other["pixels"][filled] = 255 - inputs["pixels"][filled]
    elif "power" in inputs:
        filled = changed["power"] != inputs["power"].float()
        other["power"][filled] *= 3
    elif "values" in inputs:
        filled = changed["valid"] != inputs["valid"]
        gap = ~inputs["valid"] & filled.any(1, keepdim=True)
        other["values"][filled | gap] += 5
    elif "numbers" in inputs:
        other["numbers"][changed["known"] != inputs["known"]] += 1
        words = changed["categories"] != inputs["categories"]
        other["categories"][words] = 1 + other["categories"][words] % 3
    elif "vector" in inputs:
        other["vector"][changed["vector"] != inputs["vector"]] += 1
    else:
        word = inputs["word"].long().clamp(max=hidden.shape[1] - 1)
        filled = hidden.gather(1, word) & (inputs["ids"] != 0) & (inputs["ids"] != 32)
        other["ids"][filled] = 97 + (other["ids"][filled] + 1) % 26
    return other


@pytest.mark.parametrize("name", CASES)
def test_hidden_parts_change_no_token_and_are_told(name):
    encoder, inputs = built(name)
    there = encoder.hideable(inputs)
    hidden = some_hidden(there)
    changed, held = encoder.hide(inputs, hidden)
    other = held_otherwise(inputs, hidden, changed, encoder)
    changed_other, held_other = encoder.hide(other, hidden)
    first, second = encoder(changed), encoder(changed_other)
    for part in ("x", "mask", "pooled"):
        assert torch.equal(getattr(first, part), getattr(second, part)), part
    assert first.x.isfinite().all()
    assert not torch.equal(encoder(inputs).x, first.x)  # something was hidden
    told = False
    for one, another in zip(held, held_other):
        assert torch.equal(one.hidden, another.hidden)
        assert one.hidden.shape == one.values.shape[: one.hidden.ndim]
        told |= bool((one.values != another.values)[one.hidden].any())
    assert told


@pytest.mark.parametrize("name", CASES)
def test_every_part_can_be_hidden_and_visible_ones_count(name):
    encoder, inputs = built(name)
    there = encoder.hideable(inputs)
    assert there.any(1).all()
    nothing, held = encoder.hide(inputs, torch.zeros_like(there))
    assert not any(one.hidden.any() for one in held)
    torch.testing.assert_close(encoder(nothing).x, encoder(inputs).x)
    everything, held = encoder.hide(inputs, there)
    assert encoder(everything).x.isfinite().all()
    assert any(one.hidden.any() for one in held)


def test_a_date_and_a_number_that_is_a_category_too_are_one_part():
    facts = {
        "numbers": ["grade", "when (time)", "when (hour, sine)"], "edges": [[0.0, 1.0]] * 3, "categories": [5],
        "category_names": ["grade"], "columns": ["grade", "when"],
    }  # fmt: skip
    encoder = ENCODERS.build("table_mlp", facts, 8).eval()
    inputs = {
        "numbers": torch.randn(3, 3), "known": torch.ones(3, 3, dtype=torch.bool),
        "categories": torch.tensor([[2], [3], [4]], dtype=torch.int32),
    }  # fmt: skip
    assert encoder.hideable(inputs).tolist() == [[True, True]] * 3
    changed, held = encoder.hide(inputs, torch.tensor([[True, False]] * 3))
    assert changed["known"].tolist() == [[False, True, True]] * 3
    assert not changed["categories"].any()
    assert [one.hidden.tolist() for one in held] == [[[True, False, False]] * 3, [[True]] * 3]


def test_the_same_word_is_the_same_wherever_it_stands():
    encoder, _ = built("text_tfidf")
    inputs = letters([" no is no yes no", " no"])
    there = encoder.hideable(inputs)
    _, (held,) = encoder.hide(inputs, there)
    words = held.values[0][there[0]].tolist()
    assert words[0 if len(words) == 5 else 1] == words[-1]
    assert len(set(words[-5:])) == 3
