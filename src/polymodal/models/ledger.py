"""Answers that wait for their truth, and the state of the bandits that gave them, in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.models.bandit import Bandit, Served

MOST_WAITING = 100_000  # rows; the oldest are forgotten first


class Ledger:
    """What the bandits within an answer said of which row, until its truth is told. Empty where there is no bandit."""

    def __init__(self, answer: nn.Module):
        self.bandits = [part for part in answer.modules() if isinstance(part, Bandit)]
        self._waiting: dict[str, list[Served]] = {}  # by the row's id, one a bandit, a row each; oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def watching(self, ids: Sequence[str]) -> Iterator[None]:
        """Everything answered while the block runs, in the order of `ids`, waits for its truth."""
        with ExitStack() as stack:
            by_bandit = [stack.enter_context(bandit.serving()) for bandit in self.bandits]
            yield
        rows = [[row for served in each for row in _rows(served)] for each in by_bandit]
        for name, said in zip(ids, zip(*rows)):
            self._waiting.pop(name, None)
            self._waiting[name] = list(said)
        for name in list(self._waiting)[: max(0, len(self._waiting) - MOST_WAITING)]:
            del self._waiting[name]

    def tell(self, ids: Sequence[str], truth: Mapping[str, Tensor]) -> None:
        """Let the bandits learn the encoded truth [n, …] of rows that they answered.

        Raises `BadArgument` without a bandit or for an id given twice, `UnknownName` for a row that nobody waits for.
        """
        if not self.bandits:
            raise BadArgument("This model does not learn from feedback; deploy the answer 'bandit' (fusion='bandit').")
        if len(set(ids)) < len(ids):
            raise BadArgument("Each id may be given once; a row's truth is learned once.")
        for name in ids:
            if name not in self._waiting:
                raise UnknownName(
                    f"No answer to the row {name!r} waits for its truth: it was never predicted by this run, or its "
                    f"truth was told before.{suggest(name, list(self._waiting)[:1000])}"
                )
        said = [self._waiting.pop(name) for name in ids]
        for bandit, rows in zip(self.bandits, zip(*said)):
            bandit.learn(_joined(rows), truth)

    def save(self, path: Path) -> None:
        """Write everything at once: a reader, or a process that starts after a kill, finds the old file or the new."""
        arrays: dict[str, Tensor] = {}
        for i, bandit in enumerate(self.bandits):
            arrays |= {f"{i}/model/{name}": value for name, value in bandit.model.state_dict().items()}
            if self._waiting:
                rows = _joined([said[i] for said in self._waiting.values()])
                arrays |= {f"{i}/{name}": getattr(rows, name) for name in ("contexts", "arms", "work")}
                arrays |= {f"{i}/scores/{name}": value for name, value in rows.scores.items()}
        save_sealed(path, arrays, {"ids": json.dumps(list(self._waiting))})

    def load(self, path: Path) -> None:
        """Read what `save` wrote for the same answer."""
        arrays, about = load_sealed(path, tensors=True)
        ids = json.loads(about["ids"])
        each = []
        for i, bandit in enumerate(self.bandits):
            mine = {name.removeprefix(f"{i}/"): value for name, value in arrays.items() if name.startswith(f"{i}/")}
            model = {n.removeprefix("model/"): v for n, v in mine.items() if n.startswith("model/")}
            bandit.model.load_state_dict(model)
            if ids:
                scores = {n.removeprefix("scores/"): v for n, v in mine.items() if n.startswith("scores/")}
                each.append(_rows(Served(mine["contexts"], mine["arms"], mine["work"], scores)))
        self._waiting = {name: list(said) for name, said in zip(ids, zip(*each))}


def _rows(served: Served) -> list[Served]:
    """A row each."""
    return [
        Served(
            served.contexts[i : i + 1], served.arms[i : i + 1], served.work[i : i + 1],
            {n: s[i : i + 1] for n, s in served.scores.items()},
        )
        for i in range(len(served.arms))
    ]  # fmt: skip


def _joined(rows: Sequence[Served]) -> Served:
    names = rows[0].scores
    return Served(
        torch.cat([r.contexts for r in rows]), torch.cat([r.arms for r in rows]), torch.cat([r.work for r in rows]),
        {n: torch.cat([r.scores[n] for r in rows]) for n in names},
    )  # fmt: skip
