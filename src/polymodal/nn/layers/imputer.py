"""The vectors of streams that a row lacks, from those that it has: drawn, or as they are expected."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens, presence
from polymodal.nn.flow import even_times, on_path, random_times, row_noise, walk
from polymodal.nn.layers.named import Named
from polymodal.nn.layers.position import sinusoids
from polymodal.nn.layers.streams import Join
from polymodal.nn.precision import at_least_float32

WAVES = 32  # of a time
WALK = 10  # steps from noise to a vector
KEPT = 0.75  # of the streams that tell of another one, in training
LEAST = 8  # rows that have a stream and another, below which nothing is learned of it
BATCH, LR, AVERAGE = 128, 4e-3, 0.99
PAUSE = 25  # steps between two looks at the held rows
PATIENCE = 8  # looks without gain
SMALLEST = 1e-6  # standard deviation below which a component is constant


class Vectors(NamedTuple):
    """Pooled vectors of rows: `each[k]` [B, width] of the k-th stream, zero where it is absent; `present` [B, K]."""

    each: list[Tensor]
    present: Tensor

    @classmethod
    def of(cls, streams: Mapping[str, Tokens]) -> Vectors:
        """Those of `streams`, by sorted name."""
        clean = [streams[name].cleared() for name in sorted(streams)]
        return cls([at_least_float32(one.pooled) for one in clean], presence(clean))

    def select(self, rows: Tensor) -> Vectors:
        return Vectors([one[rows] for one in self.each], self.present[rows])


class Imputer(nn.Module):
    """Guesses absent streams' vectors from the present ones: any stream of `widths` from any others.

    With `draws` of a row, they come from a rectified flow (Liu, Gong & Liu 2023) a stream, whose velocity a perceptron
    of `hidden` units tells; streams are drawn one after another by name, each given those before it, so that a row's
    draws go together. A row of which nothing is there gets draws from what training rows are like. With `draws` 0 a
    perceptron tells the expected vector instead, given what is really there.

    In training, streams that tell of another are hidden at random, so that any subset will do. All draws start from the
    same noise in every row: what is drawn for a row depends on that row alone.
    """

    middle: Tensor
    spread: Tensor
    able: Tensor
    noise: Tensor

    def __init__(self, widths: Mapping[str, int], *, draws: int, hidden: int):
        super().__init__()
        self.names = tuple(sorted(widths))
        self.widths = [widths[name] for name in self.names]
        self.draws = draws
        self.guesses = Named({name: Guess(self.widths, widths[name], hidden, bool(draws)) for name in self.names})
        self.requires_grad_(False)  # whoever trains the answer leaves it alone
        self.register_buffer("noise", row_noise(range(draws), (sum(self.widths),), 0))
        self.register_buffer("middle", torch.zeros(sum(self.widths)))
        self.register_buffer("spread", torch.ones(sum(self.widths)))
        self.register_buffer("able", torch.zeros(len(self.names), dtype=torch.bool))  # of which enough rows were seen

    def forward(self, given: Vectors) -> tuple[list[Tensor], Tensor]:
        """Every stream's vectors [R B, width], as given or guessed, and which of them were guessed [R B, K] bool.

        R is `draws`, or 1 of expected vectors; the rows come R times, one draw after the other.
        """
        times = max(1, self.draws)
        each = [x.repeat(times, 1) for x in self._standard(given)]
        present = given.present.repeat(times, 1)
        wanted = ~present & self.able
        known, told = list(each), present
        for k, name in enumerate(self.names):
            guess: Guess = self.guesses[name]  # type: ignore[assignment]
            seen = told if self.draws else present
            hint = guess.read(known if self.draws else each, seen)
            x = self._drawn(guess, hint, k, given.present.shape[0]) if self.draws else guess.expected(hint)
            known[k] = torch.where(wanted[:, k, None], x, each[k])
            told = told | (wanted & (torch.arange(len(self.names), device=told.device) == k))
        spread, middle = self.spread.split(self.widths), self.middle.split(self.widths)
        own = [x.repeat(times, 1) for x in given.each]
        made = [torch.where(w[:, None], x * s + m, o) for w, x, s, m, o in zip(wanted.T, known, spread, middle, own)]
        return made, wanted

    def _drawn(self, guess: Guess, hint: Tensor, stream: int, rows: int) -> Tensor:
        own = self.noise.split(self.widths, 1)[stream]  # type: ignore[operator]
        noise = own[:, None].expand(-1, rows, -1).flatten(0, 1)
        return walk(lambda z, t: guess.velocity(hint, z, t), noise, steps=WALK, solver="euler")

    def _standard(self, given: Vectors) -> list[Tensor]:
        """In standard units, zero where absent."""
        scale = torch.where(self.spread > 0, self.spread, 1.0).split(self.widths)
        middle = self.middle.split(self.widths)
        return [
            torch.where(given.present[:, k, None], (x - m) / s, 0.0)
            for k, (x, m, s) in enumerate(zip(given.each, middle, scale))
        ]

    @torch.enable_grad()
    def fit(self, seen: Vectors, held: Vectors, *, steps: int, seed: int) -> None:
        """Learn from rows `seen` in at most `steps` steps a stream; kept is what does best on rows `held`.

        Streams that fewer than eight rows have beside another one are never guessed.
        """
        for k in range(len(self.names)):
            rows = seen.present[:, k]
            self.able[k] = (rows & (seen.present.sum(1) > 1)).sum() >= LEAST
            if rows.sum() > 1:
                spread = seen.each[k][rows].std(0)
                self.middle.split(self.widths)[k].copy_(seen.each[k][rows].mean(0))
                self.spread.split(self.widths)[k].copy_(torch.where(spread > SMALLEST, spread, 0.0))
        mine, theirs = (Vectors(self._standard(one), one.present) for one in (seen, held))
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            for k in torch.nonzero(self.able)[:, 0].tolist():
                self._learn(k, mine.select(mine.present[:, k]), theirs.select(theirs.present[:, k]), steps)

    def _learn(self, stream: int, seen: Vectors, held: Vectors, steps: int) -> None:
        guess: Guess = self.guesses[self.names[stream]]  # type: ignore[assignment]
        guess.requires_grad_(True)
        mean = copy.deepcopy(guess).requires_grad_(False)
        optimizer = torch.optim.Adam(guess.parameters(), lr=LR)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)
        best, kept, behind = float("inf"), mean.state_dict(), 0
        for step in range(1, steps + 1):
            batch = seen.select(torch.randint(len(seen.present), (BATCH,)))
            hidden = torch.rand(batch.present.shape) >= KEPT
            optimizer.zero_grad()
            guess.missed(batch._replace(present=batch.present & ~hidden), stream).backward()
            optimizer.step()
            decay.step()
            with torch.no_grad():
                share = min(AVERAGE, step / (step + 9))  # the first steps are soon forgotten
                for slow, fast in zip(mean.parameters(), guess.parameters()):
                    slow.lerp_(fast, 1 - share)
                if step % PAUSE and step < steps:
                    continue
                missed = float(mean.eval().missed(held, stream)) if len(held.present) else -step
            behind = 0 if missed < best else behind + 1
            if not behind:
                best, kept = missed, copy.deepcopy(mean.state_dict())
            if behind == PATIENCE:
                break
        guess.load_state_dict(kept)
        guess.requires_grad_(False)


class Guess(nn.Module):
    """What `Imputer` knows of one stream, in standard units: the velocity of its vectors (`flows`), or their mean.

    Of standard normal vectors that nothing tells of, the velocity of z at time t is (2t - 1) z / (t² + (1 - t)²); a
    perceptron learns the difference.
    """

    def __init__(self, widths: list[int], width: int, hidden: int, flows: bool):
        super().__init__()
        self.join = Join(widths, hidden)
        self.turn = nn.Linear(width + WAVES, hidden, bias=False) if flows else None
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
            for _ in range(2)
        )
        self.out = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width))
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.out[1].bias)  # type: ignore[arg-type]

    def read(self, each: list[Tensor], present: Tensor) -> Tensor:
        """What the streams that are there tell: [B, hidden]."""
        return self.join([torch.where(present[:, k, None], x, 0.0) for k, x in enumerate(each)], present)

    def expected(self, hint: Tensor) -> Tensor:
        for block in self.blocks:
            hint = hint + block(hint)
        return self.out(hint)

    def velocity(self, hint: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """[B, width] of z [B, width] at times t [B]."""
        assert self.turn is not None
        straight = (2 * t - 1) / (t.square() + (1 - t).square())
        turned = hint + self.turn(torch.cat([z, sinusoids(t * 1000, WAVES)], 1))
        return straight[:, None] * z + self.expected(turned)

    def missed(self, rows: Vectors, stream: int) -> Tensor:
        """The mean squared error of the velocity, or of the mean, told from the other streams of `rows`."""
        x = rows.each[stream]
        own = torch.arange(rows.present.shape[1], device=x.device) == stream
        hint = self.read(rows.each, rows.present & ~own)
        if self.turn is None:
            return (self.expected(hint) - x).square().mean()
        if self.training:
            t, noise = random_times(len(x), x), torch.randn_like(x)
        else:
            t, noise = even_times(torch.arange(len(x)), x), row_noise(range(len(x)), x.shape[1:], 0).to(x.device)
        z, wanted = on_path(x, noise, t)
        return (self.velocity(hint, z, t) - wanted).square().mean()
