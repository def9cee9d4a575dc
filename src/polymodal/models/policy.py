"""A policy, trained by reward, that decides row by row which stream to encode next and when and by what to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Tokens, presence
from polymodal.core.values import check_range
from polymodal.models.adaptive import Adaptive
from polymodal.models.base import Labelled, TokenSource
from polymodal.models.build import Parts
from polymodal.models.row_score import scored_rows
from polymodal.nn.check import check_count
from polymodal.nn.graphs import observed
from polymodal.nn.layers.streams import Join
from polymodal.nn.mask_streams import mask_streams
from polymodal.targets.base import ScoredTarget

SCOPES = ("row", "data")
BATCH = 64  # rows a step, each of which walks WALKS times
WALKS = 4
LR = 5e-3
ENTROPY = 0.1  # weight of the policy's entropy at first, falling to zero: it tries everything before it settles
DUAL_LR = 0.05  # how fast the price of work rises while a budget is exceeded
BIASES = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)  # towards answering now, tried on validation rows


class _Walk(NamedTuple):
    """Rows that walked through the policy: where they ended, and how likely that was."""

    keep: Tensor  # [B, K] streams encoded
    by: Tensor  # [B] the answer that spoke
    log_p: Tensor  # [B, T] of each decision
    entropy: Tensor  # [B, T]
    live: Tensor  # [B, T] rows that decided at that step


class Policy(Adaptive):
    """Decisions learned by REINFORCE with a baseline (Williams 1992) from reward = rightness - price · share of work.

    At each step the policy reads the pooled vectors encoded so far, which streams there are and were encoded, and how
    much each answer doubts; it encodes one more stream, or stops and lets one of `answers` speak. Training walks
    through the stored tokens of training rows `steps` times, several times a row; the baseline of a walk is what the
    others of its row earned, so that how hard a row is does not count (Kool, van Hoof, Welling 2019). The work is the
    cost of the streams encoded, as a share of all (`parts.cost`); `price` is what all of it is worth in rightness (a
    share of rows right, or R² of a number). Training rows flatter the answers, which saw them, so how readily to stop
    is set by one number on validation rows.

    Under a budget (`budget_ms` of the fit) the price is raised until the mean row keeps it (dual ascent).
    `per="data"` chooses, by the same reward on validation rows, one subset of streams and one answer for all rows
    instead: what no row's cells can change. A row that has none of them is answered from what it has.

    `answers`: one spec or several, `hidden`: units of the policy's layer. Raises `BadArgument` for a value that cannot
    be.
    """

    level: ClassVar[str] = "policy"
    nested: ClassVar[tuple[str, ...]] = ("answers",)
    bias: Tensor
    subset: Tensor
    speaker: Tensor
    settled: Tensor

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        answers: Spec | Sequence[Spec] = ("concat", "late_mean"), per: str = "row", price: float = 0.05,
        hidden: int = 32, steps: int = 300,
    ):  # fmt: skip
        specs = list(answers) if isinstance(answers, list | tuple) else [answers]
        super().__init__(widths, targets, parts, specs)
        self.answers = answers
        self.per = per
        self.price = price
        self.hidden = check_count("hidden", hidden)
        self.steps = check_count("steps", steps)
        if per not in SCOPES:
            raise BadArgument(f"per is 'row' or 'data'; got {per!r}.{suggest(per, SCOPES)}")
        check_range("[0, inf)", price=price)
        self.budget_ms = parts.budget_ms
        streams, speakers = len(self.names), len(specs)
        known = 2 * streams + speakers * len(self.targets)
        self.see_streams = Join([widths[n] for n in self.names], hidden)
        self.see_state = nn.Linear(known, hidden, bias=False)
        self.decide = nn.Linear(hidden, streams + speakers)
        for part in self._learners():
            part.requires_grad_(False)  # the loop that trains the answers leaves them alone
        self.register_buffer("bias", torch.zeros(()))  # towards answering now
        self.register_buffer("subset", torch.ones(streams, dtype=torch.bool))  # of per="data"
        self.register_buffer("speaker", torch.zeros((), dtype=torch.int64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self._walks = False  # what `settled` says, without a look at data in every forward
        self.register_load_state_dict_post_hook(Policy._loaded)

    def _loaded(self, _: Any) -> None:
        self._walks = bool(self.settled)

    def _learners(self) -> list[nn.Module]:
        return [self.see_streams, self.see_state, self.decide]

    # --- use ----------------------------------------------------------------------------------------------------------

    def choose(self, source: TokenSource) -> tuple[dict[str, Tensor], Tensor]:
        present = self.present(source)
        if self.per == "data" or not self._walks:
            keep = present & self.subset
            keep = torch.where(keep.any(1, keepdim=True), keep, present)
            return self.spoken(self.taken(source, keep), self.speaker.expand(present.shape[0])), keep
        keep, by = self._walk(present, lambda k: self.taken(source, k), sample=False)[:2]
        return self.spoken(self.taken(source, keep), by), keep

    def _walk(self, present: Tensor, taken: Callable[[Tensor], Mapping[str, Tokens]], sample: bool) -> _Walk:
        """Decide until every row has stopped: at most one step a stream and one to answer."""
        streams = len(self.names)
        keep = torch.zeros_like(present)
        live = torch.ones(present.shape[0], dtype=torch.bool, device=present.device)
        by = torch.zeros(present.shape[0], dtype=torch.int64, device=present.device)
        notes: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(streams + 1):
            logits = self._look(present, keep, taken(keep))
            policy = torch.distributions.Categorical(logits=logits, validate_args=False)
            action = policy.sample() if sample else logits.argmax(1)
            notes.append((policy.log_prob(action), _entropy(logits), live))
            stops = action >= streams
            by = torch.where(live & stops, action - streams, by)
            more = F.one_hot(action.clamp(max=streams - 1), streams).bool() & (live & ~stops)[:, None]
            keep, live = keep | more, live & ~stops
            if observed(~live.any()):
                break
        return _Walk(keep, by, *(torch.stack(part, 1) for part in zip(*notes)))

    def _look(self, present: Tensor, keep: Tensor, streams: Mapping[str, Tokens]) -> Tensor:
        """Logits [B, K + answers] of rows with the streams `keep` encoded."""
        clean = [streams[n].cleared() for n in self.names]
        got = presence(clean)
        with torch.no_grad():
            said = [answer(streams).predictions for answer in self.inner]
            doubts = [self.doubt(t, one[t.name], streams) for one in said for t in self.targets]
        state = torch.cat([present, keep, torch.stack(doubts, 1)], 1).to(clean[0].pooled.dtype)
        seen = torch.tanh(self.see_streams([c.pooled for c in clean], got) + self.see_state(state))
        left = present & ~keep
        able = torch.cat([left, (got.any(1) | ~left.any(1))[:, None].expand(-1, len(self.inner))], 1)
        ready = torch.cat([self.bias.new_zeros(len(self.names)), self.bias.expand(len(self.inner))])
        return (self.decide(seen).float() + ready).masked_fill(~able, torch.finfo(torch.float32).min)

    # --- what is learned by reward ------------------------------------------------------------------------------------

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Learn the policy on training rows, and on validation rows how readily to stop (or the one choice for all)."""
        self.eval()
        self.settle(train, valid, seed)
        self.bias.zero_()
        if self.per == "data":
            self._choose_once(valid)
            return
        generator_state = torch.get_rng_state()
        torch.manual_seed(seed)
        for part in self._learners():
            part.requires_grad_(True)
        price = self._reinforce(train)
        for part in self._learners():
            part.requires_grad_(False)
        torch.set_rng_state(generator_state)
        self.settled.fill_(True)
        self._walks = True
        self._lean(valid, price)

    def _reinforce(self, train: Labelled) -> Tensor:
        """REINFORCE over batches of training rows; returns the price at the end."""
        rows = torch.nonzero(scored_rows(self.targets, train.targets))[:, 0]
        price = torch.tensor(self.price)
        optimizer = torch.optim.Adam([p for part in self._learners() for p in part.parameters()], lr=LR)
        for step in range(self.steps if len(rows) else 0):
            chosen = rows[torch.randint(len(rows), (min(BATCH, len(rows)),))].repeat_interleave(WALKS)
            batch = Labelled(
                {n: t.select(chosen) for n, t in train.streams.items()},
                {n: t[chosen] for n, t in train.targets.items()},
            )
            walk, reward, work = self._rewarded(batch, price)
            each = reward.view(-1, WALKS)
            others = (each.sum(1, keepdim=True) - each) / (WALKS - 1)
            ahead = (each - others).view(-1, 1)
            trying = ENTROPY * (1 - step / self.steps)
            lost = -((ahead * walk.log_p + trying * walk.entropy) * walk.live).sum(1)
            optimizer.zero_grad()
            lost.mean().backward()
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            if self.budget_ms is not None:
                over = work.mean() - self.budget_ms / float(self.cost.sum())
                price = (price + DUAL_LR * over).clamp(min=self.price)
        return price

    def _rewarded(self, rows: Labelled, price: Tensor, sample: bool = True) -> tuple[_Walk, Tensor, Tensor]:
        """Walks of `rows`, their reward [B], and the share of all work that each spent [B]."""
        whole = {name: rows.streams[name] for name in self.names}
        present = presence(whole.values())
        walk = self._walk(present, lambda keep: mask_streams(whole, keep), sample)
        with torch.no_grad():
            each = torch.stack([self.tried(rows, walk.keep, i)[2] for i in range(len(self.inner))])
            right = each.gather(0, walk.by[None])[0]
        work = (walk.keep * self.cost).sum(1) / self.cost.sum()
        return walk, right - price * work, work

    @torch.no_grad()
    def _lean(self, valid: Labelled, price: Tensor) -> None:
        """The bias towards stopping that earns most on validation rows, within the budget if there is one."""
        candidates = []
        for bias in BIASES:
            self.bias.fill_(bias)
            _, reward, work = self._rewarded(valid, price, sample=False)
            spent = float(work.mean() * self.cost.sum())
            fits = self.budget_ms is None or spent <= self.budget_ms
            candidates.append((fits, float(reward.nanmean()) if fits else -spent, -abs(bias), bias))
        self.bias.fill_(max(candidates)[3])

    @torch.no_grad()
    def _choose_once(self, valid: Labelled) -> None:
        """The subset and the answer that earn most on validation rows, among those within the budget."""
        candidates = []
        for number in range(1, 2 ** len(self.names)):
            keep = torch.tensor([bool(number >> k & 1) for k in range(len(self.names))])
            spent = float((keep * self.cost).sum())
            fits = self.budget_ms is None or spent <= self.budget_ms
            for i in range(len(self.inner)):
                right = float(self.tried(valid, keep, i)[2].nanmean())
                earned = right - self.price * spent / float(self.cost.sum())
                candidates.append((fits, earned if fits else -spent, -number, i, keep))
        best = max(candidates, key=lambda f: f[:4])
        self.subset.copy_(best[4])
        self.speaker.fill_(best[3])


def _entropy(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * torch.where(log_p > -1e30, log_p, 0.0)).sum(1)
