"""What every trainable part shares."""

from __future__ import annotations

from torch import nn


class Part(nn.Module):
    """A module whose keyword-only constructor arguments are stored untouched under their own names.

    Positional arguments are facts and widths that the parent model gives; no user writes them.
    """
