"""Words of a Hunspell dictionary: the stems of its `.dic` with the prefixes and suffixes of its `.aff`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class _Affix:
    prefix: bool
    crosses: bool  # may stand together with an affix of the other end
    taken: str
    given: str
    fits: re.Pattern[str]

    def made(self, stem: str) -> str | None:
        """The stem with the affix, None where it does not take it."""
        if not self.fits.search(stem):
            return None
        if self.prefix:
            return self.given + stem[len(self.taken) :]
        return stem[: len(stem) - len(self.taken)] + self.given


@dataclass
class _Rules:
    encoding: str = "iso-8859-1"  # Hunspell's own, where the file names none
    flags: str = ""  # one letter a flag, else "long" (two letters) or "num" (numbers between commas)
    aliases: list[str] = field(default_factory=list)
    forbidden: str = ""
    affixes: dict[str, list[_Affix]] = field(default_factory=dict)

    def flags_of(self, text: str) -> Sequence[str]:
        if self.aliases and text.isdigit():
            text = self.aliases[int(text) - 1]
        if self.flags == "num":
            return [flag for flag in text.split(",") if flag]
        return re.findall("..", text) if self.flags == "long" else list(text)


def forms(dictionary: Path) -> Iterator[str]:
    """Every form of every stem of a `.dic` file, by the `.aff` of the same name where it lies beside it.

    One prefix and one suffix a word; compounds and suffixes upon suffixes are not made.
    """
    rules = _rules(dictionary.with_suffix(".aff"))
    lines = dictionary.read_text(encoding=rules.encoding, errors="replace").splitlines()
    for line in lines[1:]:  # the first says how many there are
        entry = re.split(r"\t| (?=\w\w:)", line.strip())[0]
        stem, _, flags = entry.replace("\\/", "\0").partition("/")
        stem = stem.replace("\0", "/").strip()
        given = rules.flags_of(flags)
        if stem and rules.forbidden not in given:
            yield from _forms(stem, [a for flag in given for a in rules.affixes.get(flag, ())])


def _forms(stem: str, affixes: Sequence[_Affix]) -> Iterator[str]:
    yield stem
    for affix in affixes:
        made = affix.made(stem)
        if made is None:
            continue
        yield made
        if not affix.prefix and affix.crosses:
            yield from (both for p in affixes if p.prefix and p.crosses and (both := p.made(made)) is not None)


def _rules(path: Path) -> _Rules:
    rules = _Rules()
    if not path.is_file():
        rules.encoding = "utf-8"
        return rules
    raw = path.read_bytes()
    if named := re.search(rb"^\s*SET\s+(\S+)", raw, re.MULTILINE):
        rules.encoding = named[1].decode("ascii", "replace").replace("microsoft-cp", "cp")
    crosses: dict[str, bool] = {}
    for line in raw.decode(rules.encoding, "replace").splitlines():
        match line.split():
            case ["FLAG", kind, *_]:
                rules.flags = kind if kind in ("long", "num") else ""
            case ["AF", alias, *_] if not (alias.isdigit() and not rules.aliases and "AF" not in crosses):
                rules.aliases.append(alias)
            case ["AF", *_]:
                crosses["AF"] = True
            case ["FORBIDDENWORD", flag, *_]:
                rules.forbidden = flag
            case ["PFX" | "SFX", flag, "Y" | "N" as cross, number, *_] if number.isdigit() and flag not in crosses:
                crosses[flag] = cross == "Y"
            case ["PFX" | "SFX" as end, flag, taken, given, *rest]:
                rules.affixes.setdefault(flag, []).append(_affix(end, crosses.get(flag, False), taken, given, rest))
    return rules


def _affix(end: str, crosses: bool, taken: str, given: str, rest: Sequence[str]) -> _Affix:
    """One line of a rule: `SFX D y ied [^aeiou]y`; 0 is nothing, flags behind a slash are for more affixes."""
    given = given.split("/")[0]
    condition = rest[0] if rest else "."
    pattern = re.sub(r"[^\w\[\]^.]", lambda m: re.escape(m[0]), condition)
    prefix = end == "PFX"
    taken = "" if taken == "0" else taken
    fits = re.compile(f"^(?={pattern}){re.escape(taken)}" if prefix else f"(?:{pattern})$")
    return _Affix(prefix, crosses, taken, "" if given == "0" else given, fits)
