"""A generator of pictures and its critic."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from polymodal.nn.layers.unet import Block, norm
from polymodal.nn.opponent import Opponent
from polymodal.nn.precision import at_least_float32

START = 4  # pixels, from about which a generator begins and at which a critic ends
WIDEST = 4  # times the width at the full side
GAIN = 2.0  # of a critic's map and its kink, which together halve what differs from picture to picture
RATE = 0.01  # of the last batch in what is known of conditions


class Generator(nn.Module):
    """Noise and condition [B, `condition`] to pictures [B, C, S, S] in -1 … 1: a small map, doubled until it is large.

    Blocks have group normalisation (Wu & He 2018), which noise and condition turn, and none over the batch.
    """

    def __init__(self, channels: int, side: int, width: int, *, condition: int):
        super().__init__()
        self.sides = sides_of(side)[::-1]
        widths = widths_of(side, width)[::-1]
        self.first = nn.Linear(condition, widths[0] * self.sides[0] ** 2)
        self.blocks = nn.ModuleList(Block(a, b, condition, still=False) for a, b in zip([widths[0], *widths], widths))
        self.last = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, condition: Tensor) -> Tensor:
        x = self.first(condition).unflatten(1, (-1, self.sides[0], self.sides[0]))
        for side, block in zip(self.sides, self.blocks):
            if x.shape[-1] != side:
                x = F.interpolate(x, (side, side), mode="nearest")
            x = block(x, condition)
        return self.last(x).tanh()


class Critic(Opponent):
    """How real pictures [B, C, S, S] look for a condition [B, `condition`], [B]: by projection (Miyato & Koyama 2018).

    Its maps of pictures have a spectral norm of 1 (Miyato et al. 2018), and nothing is normalised by other rows. It
    learns by hinges (Lim & Ye 2017). With `augment` it sees all pictures, real and drawn, through random changes.
    """

    def __init__(
        self, channels: int, side: int, width: int, *,
        condition: int, augment: bool, lr: float, betas: tuple[float, float],
    ):  # fmt: skip
        super().__init__(lr=lr, betas=betas)
        self.augment = augment
        widths = widths_of(side, width)
        maps = []
        for level, (given, own) in enumerate(zip([channels, *widths], widths)):
            maps.append(spectral_norm(nn.Conv2d(given, own, 3, padding=1)))
            if level + 1 < len(widths):
                maps.append(spectral_norm(nn.Conv2d(own, own, 4, stride=2, padding=1)))
        self.maps = nn.ModuleList(maps)
        self.real = spectral_norm(nn.Linear(widths[-1], 1))
        self.fits = nn.Linear(condition, widths[-1])  # of a condition that is given: it may tell apart what is near
        self.requires_grad_(False)

    def forward(self, x: Tensor, condition: Tensor, told: Tensor) -> Tensor:
        """`told` [B] bool: rows whose condition counts; of others, whether the picture looks real at all."""
        x = augmented(x) if self.augment else x
        for one in self.maps:
            x = GAIN * F.leaky_relu(one(x), 0.2)
        seen = x.sum((2, 3))
        fits = (self.fits(condition) * seen).sum(1) / math.sqrt(seen.shape[1])
        return at_least_float32(self.real(seen)[:, 0] + fits * told)

    def loss(self, real: Tensor, drawn: Tensor, condition: Tensor, told: Tensor, known: Tensor) -> Tensor:  # type: ignore[override]
        """Over the rows `known` [B] bool, whose real picture is there."""
        hinges = F.relu(1 - self(real, condition, told)) + F.relu(1 + self(drawn, condition, told))
        return (hinges * known).sum() / known.sum().clamp(min=1)


def sides_of(side: int) -> list[int]:
    """The side, and its halves as long as they are no smaller than `START`."""
    sides = [side]
    while sides[-1] // 2 >= START:
        sides.append(sides[-1] // 2)
    return sides


def widths_of(side: int, width: int) -> list[int]:
    """Channels at each of `sides_of`: twice as many at each halving, up to `WIDEST` times."""
    return [width * min(2**level, WIDEST) for level in range(len(sides_of(side)))]


def augmented(x: Tensor) -> Tensor:
    """Pictures brighter or darker, moved by up to an eighth, and with a square hidden, each at random and with a
    gradient: what a critic sees of few pictures, real and drawn alike (DiffAugment; Zhao et al. 2020)."""
    rows, _, side, _ = x.shape
    x = x + torch.rand(rows, 1, 1, 1, device=x.device) - 0.5
    reach = max(1, side // 8)
    shift = torch.randint(-reach, reach + 1, (2, rows, 1), device=x.device)
    place = torch.arange(side, device=x.device)
    down, right = ((place + some).clamp(-1, side) + 1 for some in shift)  # of a picture with a rim
    padded = F.pad(x, (1, 1, 1, 1))
    x = padded.gather(2, down[:, None, :, None].expand(-1, x.shape[1], -1, side + 2))
    x = x.gather(3, right[:, None, None, :].expand(-1, x.shape[1], side, -1))
    middle = torch.randint(0, side, (2, rows, 1), device=x.device)
    hidden = [(place - some).abs() <= side // 4 for some in middle]
    return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


class Standardised(nn.Module):
    """Vectors [B, D] less their mean, over their deviation, as training batches had them: a row by itself in use.

    What a condition has in common with all others, however large, then hides nothing of what it says.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """Rows that are not `there` [B] bool teach nothing, and are the mean."""
        if self.training:
            self._see(x.detach().to(self.mean.dtype), there[:, None])
        known = (x - self.mean) * (self.variance + 1e-4).rsqrt()
        return torch.where(there[:, None], known, 0.0).to(x.dtype)

    @torch.no_grad()
    def _see(self, x: Tensor, there: Tensor) -> None:
        count = there.sum()
        mean = (x * there).sum(0) / count.clamp(min=1)
        variance = ((x - mean).square() * there).sum(0) / count.clamp(min=1)
        self.batches += 1
        rate = (1 / self.batches).clamp(min=RATE) * (count > 1)
        self.mean.lerp_(mean, rate)
        self.variance.lerp_(variance, rate)
