"""National numbers of persons: how each is written, its check, and the words that announce it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

NEAR = 40  # letters before a number in which a word that announces it stands


@dataclass(frozen=True)
class National:
    """`check` names a module of python-stdnum, "" where a number has no check digit. `words` must announce a number
    whose look and check alone would take too many others for it."""

    look: str
    check: str
    words: str = ""


# Of a run of digits with one check digit every tenth number is right: such need their words, others their separators.
NUMBERS = (
    National(r"[1-9]\d{5}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dX]", "iso7064.mod_11_2"),  # China
    National(r"[A-Z]{6}[\dLMNP-V]{2}[A-EHLMPR-T][\dLMNP-V]{2}[A-Z][\dLMNP-V]{3}[A-Z]", "it.codicefiscale"),
    National(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[\dA-Z]\d", "mx.curp"),
    National(r"\d{8}-?[A-Z]", "es.dni"),
    National(r"[XYZ]-?\d{7}-?[A-Z]", "es.nie"),
    National(r"[12] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d", "fr.nir"),
    National(r"\d{6}[-+A-FU-Y]\d{3}[\dA-Z]", "fi.hetu"),
    National(r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer"),
    National(r"(?:19|20)\d{10}", "se.personnummer", r"person\w*n\w*r|samordningsn"),
    National(r"\d{6} ?\d{5}", "no.fodselsnummer", r"f[øo]dselsn\w*|personn\w*|d-nummer"),
    National(r"\d{6}-?\d{4}", "dk.cpr", r"\bcpr\b|personnummer"),
    National(r"756\.\d{4}\.\d{4}\.\d\d|756\d{10}", "ch.ssn"),
    National(r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", "be.nn"),
    National(r"\d{6}/\d{3,4}", "cz.rc"),
    National(r"\d{6}-[1-8]\d{6}", "kr.rrn"),
    National(r"\d{3}\.\d{3}\.\d{3}-\d\d", "br.cpf"),
    National(r"\d{11}", "br.cpf", r"\bcpf\b"),
    National(r"\d\d \d{3} \d{3} \d{3}", "de.idnr"),
    National(r"\d{11}", "de.idnr", r"steuer\w*|identifikationsn\w*|\bidnr|tax id"),
    National(r"\d{11}", "pl.pesel", r"pesel"),
    National(r"\d{11}", "tr.tckimlik", r"kimlik|\btckn?\b|t\.c\."),
    National(r"\d{13}", "ro.cnp", r"\bcnp\b"),
    National(r"\d{6} ?\d{4} ?\d{2} ?\d", "za.idnr", r"\bid\b|identity"),
    National(r"[2-9]\d{3} \d{4} \d{4}", "in_.aadhaar"),
    National(r"[2-9]\d{11}", "in_.aadhaar", r"aadha?ar|uidai|आधार"),
    National(r"\d{4}\.?\d{2}\.?\d{3}|\d{9}", "nl.bsn", r"\bbsn\b|burgerservice\w*|sofi\w*"),
    National(r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", r"\bsin\b|social insurance|\bnas\b"),
    National(r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", r"\bnhs\b"),
    National(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] \d\d \d\d \d\d [A-D]", ""),
    National(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]", "", r"\bnino\b|national insurance|\bni (?:no|number)"),
)


def found(text: str) -> Iterator[tuple[int, int]]:
    """Where numbers stand whose check is right, and where it takes one, a word that announces them before."""
    for look, words, check in _compiled():
        for match in look.finditer(text):
            if words is not None and not words.search(text[max(0, match.start() - NEAR) : match.start()]):
                continue
            if check is None or check(match[0]):
                yield match.span()


@cache
def _compiled() -> list[tuple]:  # type: ignore[type-arg]
    return [
        (
            re.compile(rf"(?<![a-zA-Z\d])(?<!\d[.-])(?:{n.look})(?![a-zA-Z\d]|[.-]\d)", re.IGNORECASE),
            re.compile(n.words, re.IGNORECASE) if n.words else None,
            import_module(f"stdnum.{n.check}").is_valid if n.check else None,
        )
        for n in NUMBERS
    ]
