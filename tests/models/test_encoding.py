"""Token sources: tokens on demand, each cell encoded once, whatever the order of asking."""

from __future__ import annotations

import numpy as np
import torch

from polymodal.core.types import Tokens
from polymodal.models.base import TokenSource
from polymodal.models.encoding import Encoding

ROWS = 6


def _encoding(log: list[list[int]]) -> Encoding:
    """Row r becomes r + 1 tokens of the value r; rows 2 and 5 are not given, row 4 turns out broken."""

    def encode(stream: str, rows: np.ndarray) -> Tokens:
        log.append(rows.tolist())
        length = int(rows.max(initial=0)) + 1
        mask = torch.arange(length) <= torch.from_numpy(rows)[:, None]
        mask[torch.from_numpy(rows) == 4] = False
        x = torch.from_numpy(rows).float()[:, None, None].expand(len(rows), length, 2)
        where = x[..., :1] if len(rows) else None
        return Tokens(x, mask, x[:, 0], where).cleared()

    return Encoding({"a": np.array([True, True, False, True, True, False])}, encode)


def _rows(*chosen: int) -> torch.Tensor:
    return torch.isin(torch.arange(ROWS), torch.tensor(chosen))


def test_every_cell_is_encoded_once_and_only_when_asked_for():
    log: list[list[int]] = []
    source = _encoding(log)
    assert len(source) == ROWS
    assert log == []
    first = source.tokens("a", _rows(0, 2))
    assert first.present.tolist() == [True, False, False, False, False, False]
    both = source.tokens("a", _rows(0, 1, 3))
    assert both.present.tolist() == [True, True, False, True, False, False]
    assert both.pooled[:, 0].tolist() == [0, 1, 0, 3, 0, 0]
    assert both.mask.sum(1).tolist() == [1, 2, 0, 4, 0, 0]
    assert both.where is not None
    assert both.where[3, :, 0].tolist() == [3, 3, 3, 3]
    everything = source.tokens("a")
    assert everything.present.tolist() == [True, True, False, True, False, False]  # 4 is broken
    assert log == [[0], [1, 3], [4]]
    assert source.encoded == {"a": 4}
    assert source.tokens("a", _rows(3)).present.tolist() == [False, False, False, True, False, False]


def test_nothing_asked_for_is_nothing_encoded_but_has_a_shape():
    log: list[list[int]] = []
    source = _encoding(log)
    none = source.tokens("a", torch.zeros(ROWS, dtype=torch.bool))
    assert len(none) == ROWS
    assert not none.present.any()
    assert source.encoded == {"a": 0}
    assert source.tokens("a", _rows(1)).pooled[1].tolist() == [1, 1]


def test_what_is_there_is_handed_out():
    tokens = Tokens.from_vector(torch.ones(3, 2))
    source = TokenSource({"a": tokens})
    assert source.tokens("a") is tokens
    assert source.tokens("a", torch.tensor([True, False, True])).present.tolist() == [True, False, True]
    assert source.present("a").all()
