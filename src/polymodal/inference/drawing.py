"""Pictures and sounds drawn by a finished model, as many a row as are asked for; where they lie among others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.data.tables.source import Problem, Table
from polymodal.inference.predictor import Predictor
from polymodal.metrics import pictures, sounds
from polymodal.nn.place import at_rest, device_of_module, to_device
from polymodal.targets.base import Target

SPACES = {"picture": pictures.features, "sound": sounds.features}  # by the form of what is drawn


def features(target: Target, fields: np.ndarray) -> np.ndarray:
    """[N, F] of what is drawn [N, H, W, C], in the space in which its kind is compared."""
    return SPACES[target.form](fields)


@torch.no_grad()
def drawings(
    predictor: Predictor, table: Table, *, target: str | None = None, n: int = 1,
    problems: list[Problem] | None = None, **options: Any,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Row numbers [b] of `table` and `n` drawings of each, uint8 [b, n, H, W, C], a chunk of rows at a time.

    `target` names one that is drawn, by default the first. Options (`seed`, and of a flow `guidance`, `steps` and
    `solver`) are those of its head unless given. The k-th drawing of a record of the source is the same whatever `n`
    and whichever rows are beside it; `predict` gives the first. Cells that cannot be used are named in `problems`.
    Raises `BadArgument` where nothing is drawn, or for an option that cannot be.
    """
    check_range("[1, 1_000_000]", n=n)
    able = [one.name for one in predictor.targets if one.drawn]
    if not able or (target is not None and target not in able):
        asked = f"the target {target!r} is not drawn" if target else "no target of this model is drawn"
        raise BadArgument(f"Nothing to draw: {asked}.{suggest(target or '', able) if able else ''}")
    answer: Any = at_rest(predictor.answer)
    head: Any = answer.head(target or able[0])
    for rows, streams in predictor.encode(table, problems):
        fused = answer.fused(to_device(streams, device_of_module(answer)))
        numbers = torch.from_numpy(table.rows[rows])
        drawn = torch.stack([head.draw(fused, numbers, copy=k, **options) for k in range(n)], 1)
        yield rows, head.decode(drawn)["drawn"]
