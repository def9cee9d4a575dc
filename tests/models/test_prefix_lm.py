"""One stack over all streams' tokens and the answer: several pictures and several turns, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.core.types import Batch, Tokens
from polymodal.encoders import ENCODERS
from polymodal.models import ANSWERS
from polymodal.models.base import Model
from polymodal.models.build import Heads, Parts
from polymodal.process import PROCESSORS
from polymodal.targets.text import TextTarget
from polymodal.testing import example_target
from polymodal.testing.subject import random_streams

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 50), "blue": (30, 60, 220)}
WIDTHS = {"left": 6, "middle": 10, "right": 8}


def talks(rows: int, seed: int) -> tuple[dict[str, list[Any]], list[str]]:
    """Two pictures of one colour each, and turns of which the last asks for the one that was not talked of."""
    draw = np.random.default_rng(seed)
    hues = draw.choice([*COLOURS], (rows, 2))
    asks = draw.integers(0, 2, rows)
    noise = draw.integers(-20, 20, (rows, 2, 8, 8, 3))
    names, columns = ("first", "second"), {}
    for i, name in enumerate(names):
        solid = np.array([COLOURS[hue] for hue in hues[:, i]])[:, None, None]
        columns[name] = list((solid + noise[:, i]).clip(0, 255).astype(np.uint8))
    columns["talk"] = [
        f"user: what colour is the {names[1 - ask]}? assistant: {hue[1 - ask]} user: and the {names[ask]}?"
        for ask, hue in zip(asks, hues)
    ]
    return columns, [str(hue[ask]) for ask, hue in zip(asks, hues)]


def test_several_pictures_and_several_turns_are_one_sequence():
    torch.manual_seed(0)
    (columns, answers), (new, wanted) = talks(256, 0), talks(64, 1)
    target = TextTarget("says", least=1).fit(answers)
    encoders, given, held = {}, {}, {}
    for name in columns:
        processor = PROCESSORS.build("text" if name == "talk" else "image")
        cells = [processor.read(cell) for cell in columns[name]]
        processor.fit(cells)
        for some, kept in ((cells, given), ([processor.read(cell) for cell in new[name]], held)):
            arrays = {key: torch.from_numpy(value) for key, value in processor.process(some).items()}
            kept[name] = {**arrays, "present": torch.ones(len(some), dtype=torch.bool)}
        kind = {"name": "text_transformer", "layers": 1, "noise": 0.0} if name == "talk" else \
            {"name": "image_resnet", "width": 4, "shift": 0.0, "rotate": 0.0, "scale": 0.0}  # fmt: skip
        encoders[name] = ENCODERS.build(kind, processor.facts(), 16)
        encoders[name].fit_statistics(given[name])
    spec = {"name": "prefix_lm", "units": 32, "depth": 2}
    answer = ANSWERS.build(spec, dict.fromkeys(columns, 16), [target], Parts(16, Heads()))
    model = Model(encoders, answer).train()
    truth = torch.from_numpy(target.encode(answers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(120):
        rows = torch.randint(len(truth), (64,))
        inputs = {n: {k: v[rows] for k, v in one.items()} for n, one in given.items()}
        inputs["second"]["present"] = torch.rand(64) > 0.2  # it learns what it is asked below: to do without
        batch = Batch(inputs, {"says": truth[rows]})
        optimizer.zero_grad()
        sum(model(batch).losses.values()).backward()
        optimizer.step()
    streams = model.eval().encode(Batch(held))

    def said(streams: dict[str, Tokens]) -> list[str]:
        return answer.head("says").decode(answer(streams).predictions["says"])["label"].tolist()

    assert np.mean([a == b for a, b in zip(said(streams), wanted)]) > 0.9
    without = {**streams, "second": streams["second"].keep(torch.zeros(64, dtype=torch.bool))}
    known = [talk.endswith("first?") for talk in new["talk"]]
    right = [a == b for a, b, asked in zip(said(without), wanted, known) if asked]
    assert np.mean(right) > 0.6, "what is still there is still read"


def outcome(answer: torch.nn.Module, streams: dict[str, Tokens]) -> Tensor:
    return answer(streams).predictions["y"]


def test_padding_and_company_change_nothing():
    answer = ANSWERS.build("prefix_lm", WIDTHS, [example_target("text")], Parts(16, Heads())).eval()
    streams = random_streams(WIDTHS)
    told = outcome(answer, streams)
    wide = {
        n: t.changed(x=F.pad(t.x, (0, 0, 0, 5), value=9.0), mask=F.pad(t.mask, (0, 5)),
                     where=None if t.where is None else F.pad(t.where, (0, 0, 0, 5)))
        for n, t in streams.items()
    }  # fmt: skip
    torch.testing.assert_close(outcome(answer, wide), told)
    for row in range(len(told)):
        alone = {n: t.select(slice(row, row + 1)) for n, t in streams.items()}
        torch.testing.assert_close(outcome(answer, alone), told[row : row + 1])


def test_it_writes_as_the_target_s_head_is_asked_to():
    head = {"name": "writer", "decoding": {"allowed": ["the cat", "dog"]}, "smoothing": 0.0}
    target = example_target("text")
    answer = ANSWERS.build("prefix_lm", WIDTHS, [target], Parts(16, Heads({"y": head}))).eval()
    told = answer.head("y").decode(outcome(answer, random_streams(WIDTHS)))
    assert set(told["label"].tolist()) <= {"the cat", "dog"}
    assert answer.head("y").smoothing == 0.0


def test_only_words_are_written():
    with pytest.raises(BadArgument, match="prefix_lm answers in words; the target 'y' is of the kind classes"):
        ANSWERS.build("prefix_lm", WIDTHS, [example_target("classes")], Parts(16, Heads()))
    with pytest.raises(BadArgument, match="units must be a whole number"):
        ANSWERS.build({"name": "prefix_lm", "units": 0}, WIDTHS, [example_target("text")], Parts(16, Heads()))


def test_of_a_language_model_only_what_it_is_asked_is_read():
    heads = Heads({"y": {"name": "writer_pretrained", "model": "no such folder", "decoding": {"beams": 2}}})
    answer = ANSWERS.build("prefix_lm", WIDTHS, [example_target("text")], Parts(16, heads))
    assert (answer.head("y").how.beams, answer.head("y").smoothing) == (2, 0.1)
