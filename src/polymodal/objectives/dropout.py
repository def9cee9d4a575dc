"""Modality dropout as an objective of its own."""

from __future__ import annotations

from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.nn.mask_streams import drop_streams
from polymodal.objectives.base import Objective, Setting


class ModalityDropout(Objective):
    """Hides each stream of each row with probability `rate`, never a row's last (Neverova et al. 2016).

    The loop's own option `modality_dropout` does the same for every strategy; this one comes on top of it, so that it
    can be compared with the other objectives.
    """

    def __init__(self, setting: Setting, *, rate: float = 0.3):
        super().__init__(setting)
        self.rate = rate
        check_range("(0, 1)", rate=rate)

    def mask_streams(self, streams: dict[str, Tokens]) -> dict[str, Tokens]:
        return drop_streams(streams, self.rate)
