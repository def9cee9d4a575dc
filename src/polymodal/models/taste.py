"""By how much what holds for all rows differs from user to user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Tokens, presence
from polymodal.learners.sparse import Sparse
from polymodal.models.base import Around, Labelled
from polymodal.models.build import Parts
from polymodal.nn.check import check_count
from polymodal.nn.layers.named import module_name
from polymodal.targets.base import ScoredTarget

NOBODY = -1  # of no user
BITS = 32  # signs of a token that tell an entity from others
FREE = 3.0  # times which the learner reads what all rows say, so that its penalty hardly counts for that
CONSTANTS, SLOPES = (0.5, 1.0), (0.3, 0.6, 1.2)  # spreads of users' own ones that are tried
CELLS = 40_000_000  # numbers of the design at most
PARTS = ("share", "bias", "own", "slope")


class Read(NamedTuple):
    """Of B rows: the number of each one's user [B], whether training had one [B], what is no user [B, K], and whether
    anything is there [B, 1]."""

    place: Tensor
    known: Tensor
    content: Tensor
    some: Tensor


class Taste(Around):
    """A mixed model (Laird & Ware 1982; of users and items, Zhang et al. 2016): what all rows say, and each user's own.

    score = A · answer + c + b_u + V_u · z, where `answer` is the scores of another one, trained as it would be alone, z
    the first `width` principal components of the pooled vectors of all streams but `by`, and u the user, or whatever
    else that stream names. b_u and V_u have an L2 penalty, so that who has few rows differs little from all; whom
    training lacks does not differ. How much users may differ, the validation rows' loss says. Once `answer` is trained,
    the rest is found by the learner `sparse`.

    `by` (default: the first stream) is told apart by the signs of its tokens' first values, as `entity_plain` writes
    them. Raises `UnknownName` where there is no such stream.
    """

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        answer: Spec = "stacking", by: str = "", width: int = 64,
    ):  # fmt: skip
        super().__init__()
        self.answer = answer
        self.by = by
        self.width = check_count("width", width)
        self.names = tuple(sorted(widths))
        self.user = by or self.names[0]
        if self.user not in widths:
            raise UnknownName(f"taste is by {by!r}, which is no stream.{suggest(by, self.names)}")
        self.others = tuple(name for name in self.names if name != self.user)
        self.inner = parts.answer(answer, {name: widths[name] for name in self.names}, targets)
        self.targets = {target.name: target for target in targets}
        content = sum(widths[name] for name in self.others)
        self.kept = min(width, content)
        self.register_buffer("middle", torch.zeros(content))
        self.register_buffer("turn", torch.zeros(content, self.kept))
        self.register_buffer("keys", torch.full((1,), NOBODY))
        for name, target in self.targets.items():
            wide = target.width
            self._keep(name, torch.eye(wide), torch.zeros(wide), torch.zeros(1, wide), torch.zeros(1, self.kept, wide))

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        said: Output = self.inner(streams)
        read = self._read(streams)
        each = {name: self._with_own(name, scores, read) for name, scores in said.predictions.items()}
        return Output(said.streams, said.fused, each)

    def _read(self, streams: Mapping[str, Tokens]) -> Read:
        some = presence(streams[name] for name in self.names).any(1, keepdim=True)
        return Read(*self._place(streams), self._directions(streams), some)

    def _with_own(self, target: str, scores: Tensor, read: Read) -> Tensor:
        """What `answer` said of a target, and what is each user's own."""
        share, bias, own, slope = (getattr(self, _of(part, target)) for part in PARTS)
        mine = own[read.place] + torch.einsum("bd,bdk->bk", read.content, slope[read.place])
        return torch.where(read.some, scores.float() @ share + bias + mine * read.known[:, None], scores.float())

    @torch.no_grad()
    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Find what is each user's own, from what `answer` leaves."""
        self.inner.finalize(train, valid, seed)
        self.eval()
        vectors, there = self._content(train.streams)
        self.middle = vectors.sum(0) / there.sum(0).clamp(min=1)
        self.turn = _components((vectors - self.middle) * there, self.kept)
        codes, named = self._codes(train.streams)
        said = self.inner(train.streams).predictions
        self.keys = torch.unique(torch.cat([codes.new_full((1,), NOBODY), codes[named]]))
        seen, held = self._read(train.streams), self._read(valid.streams)
        told = self.inner(valid.streams).predictions
        for name, target in self.targets.items():  # as wide as the users are many, before any of it is asked
            mine = torch.zeros(len(self.keys), target.width)
            self._keep(name, torch.eye(target.width), mine[0], mine, mine[:, None].repeat(1, self.kept, 1))
        for name, target in self.targets.items():
            truth = train.targets[name]
            rows = torch.nonzero(torch.as_tensor(target.known(truth)) & seen.some[:, 0])[:, 0]
            wide = max(1, min(self.kept, CELLS // max(1, len(rows)))) if self.kept else 0
            read = FREE * said[name][rows].float(), seen.content[rows, :wide], seen.place[rows], seen.known[rows]
            best = float("inf")
            for own, slope in product(CONSTANTS, SLOPES):
                learner = Sparse(strength=1.0)
                learner.fit_to(target, _design(*read, len(self.keys), own, slope), truth[rows].numpy(), seed)
                found = self._parts(learner, len(self.keys), wide, own, slope)
                kept = [getattr(self, _of(part, name)) for part in PARTS]
                self._keep(name, *found)
                losses = target.row_losses(self._with_own(name, told[name], held), valid.targets[name])
                loss = float(losses.nanmean())
                if loss < best:
                    best = loss
                elif best < float("inf"):
                    self._keep(name, *kept)

    def _parts(self, learner: Sparse, users: int, wide: int, own: float, slope: float) -> tuple[Tensor, ...]:
        """The learner's weights, by what they belong to; as `PARTS`."""
        width = learner.weight.shape[1]
        share, mine, slopes = learner.weight.split([width, users, users * wide])
        whole = torch.zeros(users, self.kept, width)
        whole[:, :wide] = slope * slopes.view(users, wide, width)
        return FREE * share, learner.bias, own * mine, whole

    def _keep(self, target: str, *values: Tensor) -> None:
        for part, value in zip(PARTS, values, strict=True):
            setattr(self, _of(part, target), nn.Parameter(value.contiguous().clone(), requires_grad=False))

    def _content(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Pooled vectors of all streams but the user's side by side [B, D], and which of their values are there."""
        nothing = streams[self.user].pooled.float()[:, :0]
        each = [streams[name].cleared() for name in self.others]
        there = [one.present[:, None].expand(-1, one.width) for one in each]
        return torch.cat([nothing, *(e.pooled.float() for e in each)], 1), torch.cat([nothing.bool(), *there], 1)

    def _directions(self, streams: Mapping[str, Tokens]) -> Tensor:
        """[B, K] the principal components of what is no user."""
        vectors, there = self._content(streams)
        return ((vectors - self.middle) * there) @ self.turn

    def _codes(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """[B] a whole number for each user, and whether the row has a user who is known by name."""
        tokens = streams[self.user].cleared()
        signs = tokens.pooled[:, :BITS]
        powers = 2 ** torch.arange(signs.shape[1], device=signs.device)
        return ((signs > 0) * powers).sum(1), tokens.present & (signs != 0).any(1)

    def _place(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """[B] the number of each row's user, and whether training had one."""
        codes, named = self._codes(streams)
        place = torch.searchsorted(self.keys, codes).clamp(max=len(self.keys) - 1)
        return place, named & (self.keys[place] == codes)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        if (keys := state.get(prefix + "keys")) is not None:  # as many users as there were
            self.keys = torch.empty_like(keys)
            for target in self.targets:
                sized = (state.get(prefix + _of(part, target), getattr(self, _of(part, target))) for part in PARTS)
                self._keep(target, *map(torch.empty_like, sized))
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[misc]


def _of(part: str, target: str) -> str:
    return f"{part}_{module_name(target)}"


def _components(rows: Tensor, count: int) -> Tensor:
    """[D, count] to the first principal components of centred rows [N, D], in such a unit that the squares of a row add
    up to 1 in the mean: what differs more from row to row stays larger."""
    values, vectors = torch.linalg.eigh((rows.T @ rows).double() / max(1, len(rows)))
    turn = vectors[:, vectors.shape[1] - count :].flip(1)
    total = values[len(values) - count :].clamp(min=0).sum()
    if count:
        turn = turn * turn.gather(0, turn.abs().argmax(0)[None]).sign()  # the same rows give the same signs
    return (turn / total.sqrt().clamp(min=1e-6)).float().contiguous()  # as it is when it is read back, to the bit


def _design(
    said: Tensor, content: Tensor, place: Tensor, known: Tensor, users: int, own: float, slope: float
) -> sparse.csr_array:
    """What the learner reads: what all rows say, `own` in the column of the row's user, the content in its columns."""
    rows, wide = content.shape
    there = np.flatnonzero(known.numpy())
    user = place.numpy()[there]
    ones = sparse.csr_array((np.full(len(there), own, np.float32), (there, user)), shape=(rows, users))
    columns = user[:, None] * wide + np.arange(wide)
    values = slope * content.numpy()[there]
    cells = (np.repeat(there, wide), columns.ravel())
    mine = sparse.csr_array((values.ravel(), cells), shape=(rows, users * wide))
    return sparse.csr_array(sparse.hstack([sparse.csr_array(said.numpy()), ones, mine], format="csr"))
