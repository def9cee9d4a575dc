"""Cells encoded again with noise in them: each different one once, and those of a frozen tower once for all runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polymodal.core.digest import digest_cells, fingerprint
from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import Dataset
from polymodal.encoders.base import Encoder
from polymodal.nn.place import joined_tokens
from polymodal.process.base import Processor
from polymodal.train.encode import encoded, encoder_group, tokens_from_arrays, tokens_to_arrays


class Noisy:
    """One stream's rows as its processor made them, and their tokens `clean`, from which noise starts.

    A row that noise left as one of them was takes that one's tokens. What a frozen tower makes of a noisy row goes to
    the store: the same noise in the same rows is met again by every later run.
    """

    def __init__(self, processor: Processor, encoder: Encoder, dataset: Dataset, stream: str, rows: np.ndarray):
        self.processor, self.encoder, self.store = processor, encoder, dataset.store
        self.inputs = dataset.tensors(stream, rows)
        self.present = self.inputs.pop("present")
        self.group = ""
        if not any(p.requires_grad for p in encoder.parameters()):
            self.group = fingerprint({"noisy": encoder_group(encoder, dataset.groups[stream])})
            self.about = {"kind": "noisy tokens", "stream": stream, "encoder": type(encoder).__name__}
        self.known = {key: row for row, key in reversed(self._contents(self.inputs))}
        self.encoded = 0

    def tokens(self, clean: Tokens, level: float, seed: int) -> Tokens:
        """The rows' tokens with noise of `level`; `encoded` counts the cells that were encoded for it."""
        noisy = self.processor.corrupt(self.inputs, level, torch.Generator().manual_seed(seed))
        place = torch.arange(len(self.present))
        fresh: dict[bytes, int] = {}  # content to the row that is encoded for all that hold it
        at: list[tuple[int, bytes]] = []
        for row, key in self._contents(noisy):
            if key in self.known:
                place[row] = self.known[key]
            else:
                fresh.setdefault(key, row)
                at.append((row, key))
        if not fresh:
            return clean.select(place).keep(self.present)
        order = {key: len(place) + i for i, key in enumerate(fresh)}
        for row, key in at:
            place[row] = order[key]
        keys = np.frombuffer(b"".join(fresh), np.uint8).reshape(len(fresh), -1)
        tokens = self._tokens(noisy, np.array(list(fresh.values())), keys)
        return joined_tokens([clean, tokens]).select(place).keep(self.present)

    def _contents(self, inputs: Mapping[str, Tensor]) -> list[tuple[int, bytes]]:
        """The rows that are there, each with the digest of all its arrays."""
        rows = self.present.nonzero()[:, 0].tolist()
        arrays = [inputs[name].numpy() for name in sorted(inputs)]
        keys = digest_cells([array[row] for array in arrays] for row in rows)
        return [(row, key.tobytes()) for row, key in zip(rows, keys)]

    def _tokens(self, noisy: Mapping[str, Tensor], rows: np.ndarray, keys: np.ndarray) -> Tokens:
        lacking = self.store.missing(self.group, keys) if self.group else np.arange(len(rows))
        self.encoded += len(lacking)
        made = None
        if len(lacking):
            chosen = torch.from_numpy(rows[lacking])
            some = {name: value[chosen] for name, value in noisy.items()}
            made = encoded(self.encoder, {**some, "present": self.present[chosen]})
        if not self.group:
            assert made is not None
            return made
        if made is not None:
            self.store.write(self.group, keys[lacking], tokens_to_arrays(made))
            self.store.describe(self.group, **self.about)
        return tokens_from_arrays(self.store.view(self.group, keys).load())
