"""Losses of the heads that write words and draw pictures, of what their networks tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import expit, ndtri

from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.nn.flow import row_noise
from polymodal.targets.picture import PictureTarget
from polymodal.targets.text import TextTarget
from reference.arithmetic import softmax
from reference.parity import Pair, parity

ROWS, UNITS = 3, 8
TEXTS = ["a dog runs", "a cat", "the zebra"]  # the last with a word that training has not


def tokens(rows: int = ROWS) -> Tokens:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 2, UNITS, generator=draw, dtype=torch.float64)
    return Tokens(x, torch.ones(rows, 2, dtype=torch.bool), x.mean(1))


def written(name: str, smoothing: float) -> Pair:
    """What a text costs a symbol, END among them, of what the decoder knows behind each: [3, 4, 8]."""
    target = TextTarget("t", least=1).fit(["a dog runs", "a cat", "the dog", "the cat runs"])
    options: dict[str, Any] = {"units": UNITS, "dropout": 0.0, "smoothing": smoothing}
    head = HEADS.build({"name": name, **options}, UNITS, target).double().train()
    decoder, truth = head.decoder, torch.from_numpy(target.encode(TEXTS))
    place = {word: 4 + i for i, word in enumerate(target.vocabulary)}
    texts = [[*(place.get(word, 3) for word in text.split()), 2] for text in TEXTS]  # 3: unknown, 2: END
    tell, bias = (value.detach().numpy() for value in (decoder.tell.weight, decoder.tell.bias))
    words, usual = (value.detach().numpy() for value in (decoder.embedding.weight, decoder.bias))

    def ours(values: Any) -> torch.Tensor:
        decoder._behind = lambda ids, *_: values["behind"][:, : ids.shape[-1]]
        return head.loss(tokens(), truth)

    def theirs(values: Any) -> np.ndarray:
        costs = []
        for row, text in enumerate(texts):
            for i, word in enumerate(text):
                told = np.log(softmax((values["behind"][row, i] @ tell.T + bias) @ words.T + usual))
                costs.append(-(1 - smoothing) * told[word] - smoothing * told.mean())
        return np.asarray(np.mean(costs))

    behind = np.random.default_rng(1).normal(size=(ROWS, 4, UNITS))
    return Pair(ours, theirs, {"behind": behind})


@parity("head", "writer", source="Vaswani et al. 2017; Szegedy et al. 2016 (smoothing)")
def writer() -> Pair:
    return written("writer", 0.1)


@parity("head", "writer_unified", source="Liu et al. 2018; Szegedy et al. 2016 (smoothing)")
def writer_unified() -> Pair:
    return written("writer_unified", 0.1)


@parity("head", "writer_recurrent", source="Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel, Bengio 2015")
def writer_recurrent() -> Pair:
    return written("writer_recurrent", 0.0)


@parity("head", "flow", source="Liu, Gong & Liu 2023; Esser et al. 2024")
def flow() -> Pair:
    """|v z_t - (e - x)|², the mean over values and rows, where the network tells v z_t at z_t = (1 - t) x + t e."""
    target = PictureTarget("t", size=8).fit([np.zeros((8, 8), np.uint8)])
    pictures = np.random.default_rng(0).integers(0, 255, (ROWS, 8, 8), np.uint8)
    truth = torch.from_numpy(target.encode(list(pictures)))
    head = HEADS.build({"name": "flow", "channels": 8, "depth": 1}, UNITS, target).double().eval()
    noise = row_noise(range(ROWS), (1, 8, 8), head.seed).numpy()
    x = pictures[:, None].astype(np.float32) / np.float32(127.5) - np.float32(1)
    t = expit(ndtri(np.arange(1, ROWS + 1) * ((5**0.5 - 1) / 2) % 1)).astype(np.float32)[:, None, None, None]
    z = (1 - t) * x + t * noise

    def ours(values: Any) -> torch.Tensor:
        head._field = lambda _, at, *rest: values["v"] * at
        return head.loss(tokens(), truth)

    def theirs(values: Any) -> np.ndarray:
        return np.asarray(((values["v"] * z - (noise - x)) ** 2).mean())

    return Pair(ours, theirs, {"v": np.random.default_rng(1).normal(size=(ROWS, 1, 8, 8))})


@parity("head", "gan", source="Lim & Ye 2017 (hinge); Miyato & Koyama 2018 (projection)")
def gan() -> Pair:
    """The critic's mean hinge loss of D = w·h / |w| + b + (V c + a)·h / √n; h is what it sees, summed over places."""
    torch.manual_seed(0)
    target = PictureTarget("t", size=4).fit([np.zeros((4, 4), np.uint8)])
    head = HEADS.build({"name": "gan", "channels": UNITS, "latent": 4, "augment": False}, UNITS, target)
    critic = head.critic.double()
    critic.real(torch.zeros(1, UNITS, dtype=torch.float64))  # in training: the largest singular value, again in float64
    critic.eval()
    critic.maps = torch.nn.ModuleList()  # what it sees are the pictures themselves, of as many channels
    told, known = torch.tensor([True, True, False]), torch.tensor([True, False, True])

    def ours(values: Any) -> torch.Tensor:
        return critic.loss(values["real"], values["drawn"], values["condition"], told, known)

    def theirs(values: Any) -> np.ndarray:
        w = critic.real.parametrizations.weight.original.detach().numpy()[0]
        bias, fits = float(critic.real.bias), [p.detach().numpy() for p in (critic.fits.weight, critic.fits.bias)]

        def judged(x: np.ndarray) -> np.ndarray:
            h = x.sum((2, 3))
            turned = values["condition"] @ fits[0].T + fits[1]
            return h @ w / np.sqrt(w @ w) + bias + (turned * h).sum(1) / np.sqrt(UNITS) * told.numpy()

        hinges = np.maximum(0, 1 - judged(values["real"])) + np.maximum(0, 1 + judged(values["drawn"]))
        return np.asarray(hinges[known.numpy()].mean())

    draw = np.random.default_rng(1)
    shape = (ROWS, UNITS, 4, 4)
    inputs = {"real": draw.normal(size=shape) / 4, "drawn": draw.normal(size=shape) / 4}
    return Pair(ours, theirs, {**inputs, "condition": draw.normal(size=(ROWS, UNITS))})
