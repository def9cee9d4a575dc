"""QMF and TMC beyond their formulas: what they learn, what they remember, what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.experiment.strategies import strategies
from polymodal.fusion import DECISIONS
from polymodal.models.build import Heads, Parts
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import example_target

NAMES = ("sound", "sight")
TARGET = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.3, 0.3, 0.4))


def noisy_rows(rows: int, seed: int) -> tuple[dict[str, Tokens], torch.Tensor, torch.Tensor]:
    """Two streams that show the class, the first with heavy noise in the second half of the rows."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randint(3, (rows,), generator=draw)
    noisy = torch.arange(rows) >= rows // 2
    shown = F.one_hot(truth, 3).float()

    def stream(spread: torch.Tensor) -> Tokens:
        weak = torch.where(spread > 1, 0.1, 1.0)  # a noisy cell says little, with noise on top
        return Tokens.from_vector(shown * weak[:, None] * 3 + torch.randn(rows, 3, generator=draw) * 0.5)

    return {"sound": stream(torch.where(noisy, 2.0, 1.0)), "sight": stream(torch.ones(rows))}, truth, noisy


@pytest.mark.parametrize("name", ["qmf", "tmc"])
def test_a_stream_is_trusted_less_where_it_is_bad(name: str):
    torch.manual_seed(0)
    answer = Parts(8, Heads()).late(name, dict.fromkeys(NAMES, 3), [TARGET])
    streams, truth, _ = noisy_rows(512, 0)
    optimizer = torch.optim.AdamW(answer.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        answer.see(torch.arange(512))
        sum(answer.losses(answer(streams), {"y": truth}).values()).backward()
        optimizer.step()
    streams, truth, noisy = noisy_rows(512, 1)
    answer.eval()
    scores = answer.heads["y"]["sound"](streams["sound"]).detach()
    sure = answer.rules["y"].confidence(scores) if name == "qmf" else F.softplus(scores).sum(1)
    assert sure[noisy].mean() < 0.8 * sure[~noisy].mean()
    assert (answer(streams).predictions["y"].argmax(1) == truth).float().mean() > 0.95


def test_qmf_remembers_each_rows_losses():
    rule = DECISIONS.build("qmf", NAMES, "classes", 3).train()
    present = dict.fromkeys(NAMES, torch.ones(4).bool())
    own = dict.fromkeys(NAMES, F.cross_entropy)
    truth = torch.tensor([0, 1, 2, 0])
    for rows in ([2, 0, 5, 1], [2, 0, 5, 1]):
        rule.see(torch.tensor(rows))
        scores = {n: torch.randn(4, 3, generator=torch.Generator().manual_seed(rows[0])) for n in NAMES}
        losses = rule.losses(scores, present, truth, own)
    assert losses["ranking"] > 0
    expected = 2 * F.cross_entropy(scores["sight"], truth, reduction="none")
    torch.testing.assert_close(rule._summed[[2, 0, 5, 1], 0], expected)
    assert rule._seen[:, 0].tolist() == [2, 2, 2, 0, 0, 2]


def test_tmc_counts_its_steps_and_an_absent_stream_changes_nothing():
    rule = DECISIONS.build({"name": "tmc", "anneal": 2}, NAMES, "classes", 3).train()
    scores = {n: torch.randn(4, 3) for n in NAMES}
    there, gone = torch.ones(4).bool(), torch.zeros(4).bool()
    one = rule(scores, {"sound": there, "sight": gone})
    alone = DECISIONS.build("tmc", ("sound",), "classes", 3)({"sound": scores["sound"]}, {"sound": there})
    torch.testing.assert_close(one, alone)
    for _ in range(2):
        rule.losses(scores, dict.fromkeys(NAMES, there), torch.tensor([0, 1, 2, -1]), {})
    assert int(rule.steps) == 2


@pytest.mark.parametrize("name", ["qmf", "tmc"])
@pytest.mark.parametrize("kind", ["number", "multilabel"])
def test_only_classes_have_an_energy_or_evidence(name: str, kind: str):
    with pytest.raises(BadArgument, match=f"combines scores of classes, not of {kind}"):
        DECISIONS.build(name, NAMES, kind, 1)
    with pytest.raises(BadArgument, match=f"The fusion {name} is defined for scores of classes only"):
        strategies(NAMES, name, [example_target(kind)])
    notes: list[str] = []
    found = [s.name for s in strategies(NAMES, "all", [example_target(kind)], notes)]
    assert name not in found
    assert "late_mean" in found
    assert len(notes) == 1
    assert name in notes[0]


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"ranking": -1.0}])
def test_bad_options_of_qmf(options: dict[str, float]):
    with pytest.raises(BadArgument, match="(temperature must be above|ranking must be at least) 0"):
        DECISIONS.build({"name": "qmf", **options}, NAMES, "classes", 3)
