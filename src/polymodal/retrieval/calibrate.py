"""The modality gap taken out: each stream's mean vector is subtracted and the rest brought back to length one.

In a contrastive space pictures lie near pictures and texts near texts, whatever they show, so that in a corpus of both
a text finds texts first. GR-CLIP (Li et al. 2025, "Closing the Modality Gap for Mixed Modality Search") subtracts the
mean of each modality. With c an item of stream s and q a query of stream t, both of length one,

    score = ⟨q', (c - μ_s) / ‖c - μ_s‖⟩  where  q' = (q - μ_t) / ‖q - μ_t‖,

which follows from ⟨q', c⟩ by one subtraction and one product an item: vectors stay as they were put, and the means may
move with every item that comes or goes.
"""

from __future__ import annotations

import numpy as np

from polymodal.retrieval.corpus import Corpus
from polymodal.retrieval.exact import Adjust

FEWEST = 32  # items that a stream needs before its mean says more of the stream than of the items
_SMALL = 1e-6


class Calibration:
    """Means of the streams of a corpus as it is now. `calibrated` are the streams that have one."""

    def __init__(self, corpus: Corpus, fewest: int = FEWEST):
        known = corpus.counts >= fewest
        self.calibrated = tuple(name for name, k in zip(corpus.streams, known) if k)
        self._streams = corpus.streams
        self._means = np.where(known[:, None], corpus.means(), np.float32(0))
        self._stream = corpus.stream.astype(np.int64)
        inner = corpus.vectors @ self._means.T  # [N, S]
        own = inner[np.arange(len(inner)), self._stream]
        squares = (self._means**2).sum(1)
        length = np.sqrt(np.maximum(1 - 2 * own + squares[self._stream], 0))
        self._scale = np.where(length > _SMALL, 1 / np.maximum(length, _SMALL), 0).astype(np.float32)

    def query(self, vectors: np.ndarray, stream: str | None) -> np.ndarray:
        """Queries [Q, D] of a stream, centred; as they are where the corpus holds too little of that stream."""
        if stream not in self.calibrated:
            return vectors
        centred = vectors - self._means[self._streams.index(stream)]
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return (centred / np.maximum(length, _SMALL)).astype(np.float32)

    def scorer(self, queries: np.ndarray) -> Adjust:
        """Turns inner products of centred `queries` [Q, D] with items, [n] or for each query [Q, n], into scores."""
        offsets = queries @ self._means.T  # [Q, S]

        def adjust(scores: np.ndarray, items: np.ndarray | slice) -> np.ndarray:
            streams = self._stream[items]
            shift = offsets[:, streams] if streams.ndim == 1 else np.take_along_axis(offsets, streams, 1)
            return (scores - shift) * self._scale[items]

        return adjust

    def items(self, corpus: Corpus, numbers: np.ndarray) -> np.ndarray:
        """Centred vectors [n, D] of length one of the items."""
        return (corpus.vectors[numbers] - self._means[self._stream[numbers]]) * self._scale[numbers, None]
