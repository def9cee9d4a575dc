"""What objectives against greedy learning add, multiply or weigh."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import cdist

from polymodal.core.types import Output, Tokens
from polymodal.models.build import Heads
from polymodal.nn.mask_streams import drop_streams
from polymodal.objectives import agm, gblend, mmpareto, ogm, pmr
from polymodal.objectives.base import Setting, Step
from polymodal.objectives.ranking import Ranking
from polymodal.objectives.stream_heads import StreamHeads
from polymodal.targets.classes import ClassesTarget
from reference.arithmetic import linear, softmax
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

RNG = np.random.default_rng(0)
TARGET = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.25, 0.25, 0.5))
WIDTHS = {"audio": 3, "image": 2}
PRESENT = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [1, 0]], dtype=bool)
LABELS = np.array([0, 2, 1, 1, 0])


@parity("objective", "unimodal", source="folklore")
def unimodal() -> Pair:
    heads = StreamHeads(Setting(WIDTHS, (TARGET,), Heads().build))

    def run(call, values: Tensors) -> torch.Tensor:
        there = torch.from_numpy(PRESENT)
        streams = {n: Tokens.from_vector(values[n], there[:, k]) for k, n in enumerate(WIDTHS)}
        losses = call(streams, {"y": torch.from_numpy(LABELS)})
        return torch.stack([losses[n] for n in WIDTHS])

    def theirs(values: Arrays) -> np.ndarray:
        found = []
        for k, name in enumerate(WIDTHS):
            rows = PRESENT[:, k]
            p = softmax(linear(values[name][rows], values, f"heads.of_{name}.of_y.scorer.out"))
            found.append(-np.log(p[np.arange(rows.sum()), LABELS[rows]]).mean())
        return np.array(found)

    heads.forward = heads.losses  # type: ignore[method-assign]
    return module_pair(heads, theirs, {n: RNG.normal(size=(5, w)) for n, w in WIDTHS.items()}, run)


@parity("objective", "ranking", source="Li, Chen & Han 2025 (SimMLM)")
def ranking() -> Pair:
    class Fewer:
        """An answer that gives the scores of `fewer` for whatever streams are left."""

        def __init__(self, scores: torch.Tensor):
            self.scores = scores

        def join(self, streams):
            return Output(streams, None, {"y": self.scores})

    def ours(v: Tensors) -> torch.Tensor:
        objective = Ranking(Setting(WIDTHS, (TARGET,), Heads().build), weight=0.7, fewer=0.0, margin=0.1)
        there = torch.from_numpy(PRESENT)
        streams = {n: Tokens.from_vector(torch.zeros(5, w), there[:, k]) for k, (n, w) in enumerate(WIDTHS.items())}
        whole = Output(streams, None, {"y": v["more"]})
        step = Step(Fewer(v["fewer"]), streams, whole, {"y": torch.from_numpy(LABELS)}, {}, {})
        return objective(step)["ranking/y"]

    def theirs(v: Arrays) -> np.ndarray:
        more, fewer = (-np.log(softmax(v[n])[np.arange(5), LABELS]) for n in ("more", "fewer"))
        return 0.7 * np.maximum(0, more - fewer + 0.1).mean()

    return Pair(ours, theirs, {"more": RNG.normal(size=(5, 3)), "fewer": RNG.normal(size=(5, 3))})


@parity("objective", "modality_dropout", source="Neverova, Wolf, Taylor, Nebout 2016")
def modality_dropout() -> Pair:
    """The share of rows in which each of two streams is left, over many draws, within 0.005 of the closed form."""
    rate, rows = 0.3, 200_000
    pooled = torch.zeros(rows, 1, dtype=torch.float64)
    left = drop_streams({n: Tokens.from_vector(pooled) for n in "ab"}, rate)
    shares = torch.stack([left[n].present.double().mean() for n in "ab"])
    expected = 1 - rate + rate**2  # hidden with the chance `rate`, but both come back where both would go
    return Pair(
        lambda v: (shares - expected).abs().clamp(min=0.005) - 0.005 + 0 * v["rate"].sum(),
        lambda v: np.zeros(2), {"rate": np.array([rate])}, smooth=False,
    )  # fmt: skip


def _stacked(found: dict[str, float]) -> torch.Tensor:
    return torch.tensor([found[n] for n in sorted(found)], dtype=torch.float64)


@parity("objective", "ogm", source="Peng, Wei, Deng, Wang, Hu 2022, equations 8 to 10")
def ogm_coefficients() -> Pair:
    def theirs(v: Arrays) -> np.ndarray:
        ratio = np.array([v["sure"][k] / np.delete(v["sure"], k).mean() for k in range(3)])
        return np.where(ratio > 1, 1 - np.tanh(0.3 * ratio), 1.0)

    return Pair(
        lambda v: _stacked(ogm.coefficients(dict(zip("abc", v["sure"].tolist())), 0.3)),
        theirs, {"sure": np.array([0.7, 0.2, 0.4])}, smooth=False,
    )  # fmt: skip


@parity("objective", "agm", source="Li, Li, Wang, Cheng, Hu 2023")
def agm_coefficients() -> Pair:
    def theirs(v: Arrays) -> np.ndarray:
        now, usual = (np.exp(v[n][::-1] - v[n]) for n in ("losses", "running"))
        return np.exp(0.7 * np.minimum(usual - now, 10))

    return Pair(
        lambda v: _stacked(agm.coefficients(*(dict(zip("ab", v[n].tolist())) for n in ("losses", "running")), 0.7)),
        theirs, {"losses": np.array([0.4, 1.1]), "running": np.array([0.9, 1.0])}, smooth=False,
    )  # fmt: skip


@parity("objective", "pmr", source="Fan, Xu, Wang, Wang, Guo 2023", against="SciPy cdist")
def pmr_shares() -> Pair:
    return Pair(
        lambda v: pmr.log_shares(v["vectors"], v["prototypes"]),
        lambda v: np.log(softmax(-cdist(v["vectors"], v["prototypes"]))),
        {"vectors": RNG.normal(size=(5, 4)), "prototypes": RNG.normal(size=(3, 4))},
    )


@parity("objective", "mmpareto", source="Wei & Hu 2024; Sener & Koltun 2018", against="NumPy lstsq")
def mmpareto_gradient() -> Pair:
    g, u = RNG.normal(size=(2, 7)) * np.array([[1.0], [3.0]])
    u = u if g @ u < 0 else -u  # they disagree

    def theirs(v: Arrays) -> np.ndarray:
        g, u = v["g"], v["u"]
        a = np.clip(np.linalg.lstsq((g - u)[:, None], -u, rcond=None)[0][0], 0, 1)  # shortest u + a (g - u)
        h = 2 * (a * g + (1 - a) * u)
        return 1.5 * h / np.linalg.norm(h) * max(np.linalg.norm(h), np.linalg.norm(g + u))

    return Pair(lambda v: mmpareto.integrated(v["g"], v["u"], 1.5), theirs, {"g": g, "u": u}, smooth=False)


@parity("objective", "gblend", source="Wang, Tran, Feiszli 2020")
def gblend_weights() -> Pair:
    def theirs(v: Arrays) -> np.ndarray:
        gain = np.maximum(v["held0"] - v["held1"], 0)
        raw = gain / ((v["held1"] - v["train1"]) - (v["held0"] - v["train0"])) ** 2
        return len(raw) * raw / raw.sum()

    train0, held0 = 1 + RNG.random((2, 4))
    at = {"train0": train0, "held0": held0, "train1": train0 - 0.5 - RNG.random(4)}
    at["held1"] = held0 - np.array([0.3, 0.1, -0.2, 0.2])
    return Pair(lambda v: gblend.blending(v["train0"], v["held0"], v["train1"], v["held1"]), theirs, at)
