"""What written answers must beat: copies of the nearest rows' answers, and words written without a look."""

from __future__ import annotations

import numpy as np
import torch

from polymodal.core.types import Tokens
from polymodal.experiment.nearest import nearest_rows
from polymodal.models.base import Labelled
from polymodal.models.blind import Blind
from polymodal.models.build import Heads, Parts
from polymodal.models.consensus import Consensus
from polymodal.targets.base import fitted

TEXTS = ["red dog", "red dog", "blue cat", "blue cat"] * 5
TARGET = fitted("y", "text", TEXTS)
CODES = torch.from_numpy(TARGET.encode(TEXTS))


def parts(**head) -> Parts:
    return Parts(8, Heads({"y": {"name": "writer", "units": 16, "heads": 2, "depth": 1, **head}}))


def tokens(x: torch.Tensor) -> Tokens:
    return Tokens.of_pooled(x, torch.ones(len(x), 1, dtype=torch.bool))


def test_each_stream_counts_alike_whatever_its_scale():
    draw = torch.Generator().manual_seed(0)
    told = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]] * 5)
    first, later = (1000 * torch.randn(20, 2, generator=draw) for _ in range(2))
    answer = Consensus({"small": 2, "large": 2}, [TARGET], parts(), neighbours=5)
    answer.finalize(Labelled({"small": tokens(told), "large": tokens(first)}, {"y": CODES}), None, 0)
    output = answer({"small": tokens(told), "large": tokens(later)})
    right = answer.head("y").decode(output.predictions["y"])["label"] == np.array(TEXTS)
    assert right.mean() > 0.8, "a large noisy stream does not hide a small one that tells"

    older = {name: value for name, value in answer.state_dict().items() if name != "unit"}
    again = Consensus({"small": 2, "large": 2}, [TARGET], parts(), neighbours=5)
    again.load_state_dict(older)
    assert (again.unit == 1).all(), "a bundle from before streams had units is read as it was made"


def test_of_rows_as_near_as_the_last_the_first_are_copied():
    same = torch.ones(20, 2)
    same[:, 1] = torch.arange(20) % 4 == 0  # five rows alike, and fifteen
    answer = Consensus({"s": 2}, [TARGET], parts(), neighbours=1)
    answer.finalize(Labelled({"s": tokens(same)}, {"y": CODES}), None, 0)
    said = answer.head("y").decode(answer({"s": tokens(same[:4])}).predictions["y"])["label"]
    assert said.tolist() == [TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[1]]


def test_a_single_text_is_as_sure_as_the_rows_are_alike_and_the_usual_one_as_it_is_frequent():
    known = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    answer = Consensus({"s": 3}, [TARGET], parts(), neighbours=1)
    answer.finalize(Labelled({"s": tokens(known)}, {"y": CODES}), None, 0)
    absent = Tokens.of_pooled(torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.bool))
    near, far = known[:1], known[:1] + 0.4
    logp = [
        answer.head("y").decode(answer({"s": one}).predictions["y"])["logp"][0]
        for one in (tokens(near), tokens(far), absent)
    ]
    np.testing.assert_allclose(logp[0], 0, atol=1e-5)
    assert -0.01 > logp[1] > -1
    np.testing.assert_allclose(np.exp(logp[2]), 0.5, rtol=1e-6)


def test_who_sees_nothing_samples_by_the_number_of_the_row():
    torch.manual_seed(0)
    answer = Blind({"s": 8}, [TARGET], parts(decoding={"temperature": 1.5})).eval()
    stream = {"s": tokens(torch.randn(12, 8))}

    def said(numbers: torch.Tensor) -> list[str]:
        answer.number(numbers)
        return answer.head("y").decode(answer(stream).predictions["y"])["label"].tolist()

    rows = torch.arange(12)
    assert len(set(said(rows))) > 1
    assert said(rows.flip(0)) == said(rows)[::-1]


def test_the_nearest_rows_are_those_of_a_full_sort_and_ties_are_drawn():
    draw = np.random.default_rng(0)
    train, rows = draw.normal(size=(50, 3)), draw.normal(size=(20, 3))
    away = ((rows[:, None] - train) ** 2).sum(2)
    assert (nearest_rows(train, rows, 4) == away.argsort(1)[:, :4]).all()
    alike = nearest_rows(np.zeros((9, 2)), np.zeros((200, 2)), 2)
    assert set(alike.ravel().tolist()) == set(range(9))
    assert (alike[:, 0] != alike[:, 1]).all()
    assert nearest_rows(train[:1], rows, 2).shape == (20, 1)


def test_what_is_asked_of_a_head_is_told_without_its_weights():
    heads = Heads({"y": {"name": "writer_pretrained", "model": "no such folder", "tune": "full"}})
    assert heads.recipe([TARGET])["lr"] == 1e-4
    assert heads.planned(TARGET).reads_tokens
    answer = Consensus({"s": 2}, [TARGET], Parts(8, heads))  # copies answers, so it opens no model
    answer.finalize(Labelled({"s": tokens(torch.randn(20, 2))}, {"y": CODES}), None, 0)
    absent = Tokens.of_pooled(torch.zeros(1, 2), torch.zeros(1, 1, dtype=torch.bool))
    told = answer({"s": absent}).predictions["y"]
    for head in (answer.head("y"), heads.planned(TARGET)):
        assert head.decode(told)["label"].tolist() == [TARGET.medoid]
