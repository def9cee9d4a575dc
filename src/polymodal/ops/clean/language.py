"""Cleaning by language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.core.values import check_range
from polymodal.ops.base import CellOp
from polymodal.ops.rows import Row, SetAside


class Language(CellOp):
    """Sets aside texts in a language other than those `allowed` (ISO 639-1, as in `[en, zh]`).

    Told by langid (Lui & Baldwin 2012; py3langid, BSD), which brings its model along. Texts shorter than `shortest`
    letters pass, for a word or two tell nothing; so do those told with a probability below `sure`.
    """

    kinds = ("text",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        allowed: Sequence[str] | str = ("en",),
        sure: float = 0.8,
        shortest: int = 20,
    ):
        super().__init__(columns=columns)
        self.allowed = allowed
        self.sure = sure
        self.shortest = shortest
        known = identifier().labels
        self._allowed = [allowed] if isinstance(allowed, str) else list(allowed)
        for language in self._allowed:
            if language not in known:
                raise BadArgument(f"Unknown language {language!r} (ISO 639-1 is meant).{suggest(language, known)}")
        check_range("[0, 1]", sure=sure)

    def mend(self, value: str, row: Row, column: str) -> str:
        if sum(c.isalpha() for c in value) < self.shortest:
            return value
        language, probability = identifier().classify(value)
        if language not in self._allowed and probability >= self.sure:
            raise SetAside(
                f"is in the language {language!r} ({probability:.0%} sure), not in {', '.join(self._allowed)}"
            )
        return value


@cache
def identifier() -> Any:
    """py3langid's identifier with probabilities; loaded once a process. `labels` are the languages it knows."""
    langid = require("py3langid.langid", "text")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
