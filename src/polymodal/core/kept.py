"""What was worked out of texts, kept within bounds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(dict[K, V]):
    """Values by key, as a dict; `keep` forgets all of them before they take more than `most` letters."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most
        self.letters = 0

    def keep(self, key: K, value: V, letters: int) -> V:
        """Keep the value of a text of so many letters, and give it back; that of a longer one than `most` is not."""
        if letters <= self.most:
            if self.letters + letters > self.most:
                self.clear()
                self.letters = 0
            self[key] = value
            self.letters += letters
        return value
