"""The answers that may be written, as a tree of their words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.state import END, PAD, UNKNOWN


class Trie:
    """A set of sequences of ids, each of which END closes; nodes are numbered, 0 the root (Fredkin 1960).

    The ids are of words: END is added where it does not close a sequence already. Raises `BadArgument` for no sequence,
    for one without a word and for PAD, BEGIN, UNKNOWN or an END within. `longest`: the most ids of a sequence, END
    among them; `words`: one more than the greatest id; `answers` [K, longest]: the sequences, padded.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]):
        edges: dict[tuple[int, int], int] = {}
        self.longest = 0
        held = []
        for i, given in enumerate(sequences):
            sequence = [int(word) for word in given]
            sequence = sequence if sequence[-1:] == [END] else [*sequence, END]
            if len(sequence) == 1 or min(sequence[:-1]) <= UNKNOWN:
                raise BadArgument(
                    f"Allowed answer {i} cannot be written: {sequence[:-1] or 'it has no word'}. An answer is one or "
                    f"more ids above {UNKNOWN}: a word that the vocabulary has not is no part of one."
                )
            self.longest = max(self.longest, len(sequence))
            held.append(torch.tensor(sequence))
            node = 0
            for word in sequence:
                node = edges.setdefault((node, word), len(edges) + 1)
        if not edges:
            raise BadArgument("Answers are to be held to a set, and the set is empty: give at least one.")
        self.answers = torch.nn.utils.rnn.pad_sequence(held, batch_first=True, padding_value=PAD)
        self.words = max(word for _, word in edges) + 1
        keys = sorted(edges)
        self._keys = torch.tensor([node * self.words + word for node, word in keys])
        self._next = torch.tensor([edges[key] for key in keys])
        starts = torch.zeros(len(edges) + 2, dtype=torch.int64)
        starts[1:] = torch.bincount(self._keys // self.words, minlength=len(edges) + 1).cumsum(0)
        self._starts = starts

    def mask(self, nodes: Tensor, words: int) -> Tensor:
        """Which words may follow at each of `nodes` [N]: [N, words] bool."""
        self._move(nodes.device)
        first = self._starts[nodes]
        count = self._starts[nodes + 1] - first
        row = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), count)
        place = torch.arange(len(row), device=nodes.device) - (count.cumsum(0) - count)[row]
        out = torch.zeros(len(nodes), words, dtype=torch.bool, device=nodes.device)
        out[row, self._keys[first[row] + place] % self.words] = True
        return out

    def follow(self, nodes: Tensor, ids: Tensor) -> Tensor:
        """Where `ids` [N] lead from `nodes` [N]; some node where an id is not allowed."""
        self._move(nodes.device)
        place = torch.searchsorted(self._keys, nodes * self.words + ids)
        return self._next[place.clamp(max=len(self._next) - 1)]

    def _move(self, device: torch.device) -> None:
        if self._keys.device != device:
            self._keys, self._next, self._starts = (part.to(device) for part in (self._keys, self._next, self._starts))
