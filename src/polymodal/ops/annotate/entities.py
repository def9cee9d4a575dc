"""Names, dates, amounts in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.limits import read_settings
from polymodal.ops.annotate.base import CellAnnotate, called, needs_model, one_of
from polymodal.ops.annotate.pipelines import (
    entities_by_spacy,
    entities_by_stanza,
    spacy_pipeline,
    stanza_pipeline,
)
from polymodal.ops.annotate.words import no_model, token_classifier
from polymodal.ops.language.tokens import chinese, jieba_pair, tag_chinese
from polymodal.ops.networks import labelled

ENGINES = ("rules", "transformers", "spacy", "stanza")
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:r(?:uary)?)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?!\d)"
_YEAR = r"(?:1[5-9]|20)\d\d(?!\d)"
_WEEKDAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_DIGIT = "[〇零一二三四五六七八九十]"
_MONTH_ZH = rf"(?:1[0-2]|0?[1-9]|十?{_DIGIT}) ?月"
_DAY_ZH = rf" ?(?:[12]?\d|3[01]|{_DIGIT}{{1,3}}) ?[日号號]"
_PART = "(?:凌晨|早上|上午|中午|下午|晚上|(?<![有一差快早晚多少好]))"
_MINUTES = rf"(?:半|[0-5]?\d分|{_DIGIT}{{1,3}}分)?"
_NUMBER = "[零一二两三四五六七八九十百千万]"
_COUNTRY = "(?:人民币|美|欧|歐|日|港)"
_SUM = r"(?<![\d.,])\d{1,15}(?:[.,]\d{1,15}){0,8}"  # with bounds: else a page of digits takes minutes
_UNITS = "dollars|euros|pounds|yuan|yen|rupees"
_CODES = "USD|EUR|GBP|JPY|CNY|RMB|CHF|INR"
_WORD = r"[A-Z][\w'’-]{1,40}"
_NAME = rf"{_WORD}(?: (?:{_WORD}|[A-Z]\.|of|the(?= [A-Z]))){{0,9}}(?<! of)(?<! the)"
_PERSON = r"(?:[A-Z]\.(?: ?[A-Z]\.){0,4} )?[A-Z][\w'’-]{0,40}?(?=['’]s\b|\W|$)"
_PERSON += rf"(?: (?:[A-Z]\.|{_WORD}?(?=['’]s\b|\W|$))){{0,5}}"
_CAPITALS = rf"\b{_WORD}(?: (?:{_WORD}|[A-Z]\.|&)){{0,9}}"
# (type, confidence, pattern): the confidence is a judgement, not a measurement
RULES: tuple[tuple[str, float, re.Pattern[str]], ...] = tuple(
    (kind, sure, re.compile(pattern))
    for kind, sure, pattern in (
        ("DATE", 0.95, rf"\b{_YEAR}-(?:0?[1-9]|1[0-2])-{_DAY}|\b{_YEAR}/(?:0?[1-9]|1[0-2])/{_DAY}"),
        ("DATE", 0.8, rf"(?<![\d./]){_DAY}([./]){_DAY}\1(?:\d\d)?\d\d(?![./]?\d)"),  # day or month first
        ("DATE", 0.95, rf"\b{_DAY}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? {_YEAR})?"),
        ("DATE", 0.95, rf"\b{_MONTH} {_DAY}(?:st|nd|rd|th)?(?![\w%])(?! (?:people|times|percent)\b)(?:,? {_YEAR})?"),
        ("DATE", 0.9, rf"\b{_MONTH},? {_YEAR}|\b{_WEEKDAY}\b|\b(?:1[5-9]|20)\d0s\b"),
        ("DATE", 0.95, rf"(?:\d{{2,4}}|{_DIGIT}{{2,4}}|[今去明前后]) ?年(?:{_MONTH_ZH}(?:{_DAY_ZH})?)?"),
        ("DATE", 0.95, rf"{_MONTH_ZH}{_DAY_ZH}|(?:星期|礼拜|禮拜|周|週)[一二三四五六日天](?![\u4e00-\u9fff]年)"),
        ("TIME", 0.95, r"\b(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?!\d)(?: ?[AaPp]\.?[Mm]\b\.?)?"),
        ("TIME", 0.95, r"\b(?:0?[1-9]|1[0-2]) ?[AaPp]\.?[Mm]\b(?:(?<=\.[Mm])\.)?"),
        ("TIME", 0.9, rf"{_PART}(?:[0-2]?\d|{_DIGIT}{{1,3}})[点點](?![儿兒都也不]){_MINUTES}"),
        ("MONEY", 0.95, rf"(?:US|HK|A|C)?[$€£¥￥] ?{_SUM}(?: ?(?:million|billion|trillion|[kKmM]|bn)\b|[万萬亿億]+)?"),
        ("MONEY", 0.95, rf"\b{_SUM}(?: (?:million|billion|trillion))? (?:{_UNITS}|{_CODES})\b"),
        ("MONEY", 0.95, rf"(?:{_SUM}|(?<!{_NUMBER}){_NUMBER}{{1,12}})[百千万萬]?[亿億]?{_COUNTRY}?(?:[元圆]|块钱)"),
        ("PERCENT", 0.95, r"\b\d{1,15}(?:\.\d{1,15})? ?(?:%|percent\b|per cent\b)"),
        ("PERCENT", 0.95, r"(?<![\d.])\d{1,15}(?:\.\d{1,15})?％"),
        ("PERCENT", 0.95, rf"百分之(?:[\d.]{{1,12}}|(?:{_DIGIT}|[百点]){{1,12}})"),
        ("PERSON", 0.8, r"\b(?:Mr|Mrs|Ms|Dr|Prof|Sir|Lady|President|Professor)\b\.? " + _PERSON),
        ("ORG", 0.8, _CAPITALS + r"(?:,? (?:Inc|Ltd|Corp|Co|GmbH|plc|LLC)\b\.?)"),
        ("ORG", 0.7, r"\b(?:University|Bank|Ministry|Institute|Department) of " + _NAME),
    )
)  # fmt: skip
_FLAGS = {"nr": "PERSON", "nrfg": "PERSON", "nrt": "PERSON", "ns": "PLACE", "nt": "ORG"}


class Entities(CellAnnotate):
    """Names, dates and amounts as a JSON list in `<column>_entities`: text, type, start, end (in letters).

    `engine`: `rules` finds dates, times, money, percentages, titled persons and companies by pattern, Chinese names by
    jieba's tags, and every name of `gazetteer`, a file of lines `name<TAB>TYPE`, which goes first. `transformers` takes
    a Hugging Face token classifier (labels B-X, I-X or X; O is none), `spacy` a pipeline, `stanza` a language or
    the folder of one (`stanza_resources/en`); each as `model`. Confidence: the mean over entities, by rules a judgement
    of each rule; missing where there is none, and of spaCy and stanza.
    """

    kinds = ("text",)
    gives: ClassVar = {"entities": "text", "entities_confidence": "number", "entities_model": "category"}

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, engine: str = "rules", model: str = "", gazetteer: str = ""
    ):
        super().__init__(columns=columns)
        self.engine = one_of("engine", engine, ENGINES)
        self.model = model
        self.gazetteer = gazetteer
        if engine != "rules":
            needs_model(engine, model)
            if gazetteer:
                raise BadArgument(
                    f"gazetteer belongs to the engine rules; {engine} would not read it. Leave one of them out."
                )
            if engine == "transformers":
                token_classifier(model)
            else:
                (spacy_pipeline if engine == "spacy" else stanza_pipeline)(model, "entities")
            return
        no_model(engine, model)
        jieba_pair()
        if gazetteer:
            names(gazetteer)

    def told(self, value: str) -> Mapping[str, Any]:
        if self.engine == "rules":
            entities = by_rules(value, names(self.gazetteer) if self.gazetteer else (None, {}))
        elif self.engine == "transformers":
            entities = by_model(self.model, value)
        else:
            by_pipeline = entities_by_spacy if self.engine == "spacy" else entities_by_stanza
            entities = [(*one, None) for one in by_pipeline(self.model, value)]
        sure = [c for *_, c in entities if c is not None]
        made = [{"text": value[a:b], "type": kind, "start": a, "end": b} for a, b, kind, _ in entities]
        return {
            "entities": json.dumps(made, ensure_ascii=False),
            "entities_confidence": sum(sure) / len(sure) if sure else None,
            "entities_model": called(self.model) if self.model else "rules",
        }


Found = list[tuple[int, int, str, float | None]]


def by_rules(text: str, known: tuple[re.Pattern[str] | None, Mapping[str, str]]) -> Found:
    """Entities by gazetteer, patterns and jieba, the earlier of these first; none overlaps another."""
    pattern, kinds = known
    offers: Found = [(m.start(), m.end(), kinds[m.group()], 0.9) for m in pattern.finditer(text)] if pattern else []
    offers += [(m.start(), m.end(), kind, sure) for kind, sure, rule in RULES for m in rule.finditer(text)]
    if chinese(text):
        at = 0
        for word, flag in zip(*tag_chinese(text)[:2]):
            at = text.index(word, at)
            if flag in _FLAGS and len(word) > 1:
                offers.append((at, at + len(word), _FLAGS[flag], 0.6))
            at += len(word)
    taken: Found = []
    covered = bytearray(len(text))
    for one in offers:
        if not any(covered[one[0] : one[1]]):
            covered[one[0] : one[1]] = b"\1" * (one[1] - one[0])
            taken.append(one)
    return sorted(taken, key=lambda one: one[0])


def by_model(model: str, text: str) -> Found:
    """Entities by a token classifier: neighbouring pieces of one type, unless the later begins anew (B-)."""
    entities: list[tuple[int, int, str, list[float]]] = []
    open_ = False
    for _, (start, end), name, chance in labelled(*token_classifier(model), text):
        if start == end or name == "O":
            open_ = False
            continue
        begins, _, kind = name.rpartition("-")
        if open_ and begins != "B" and entities[-1][2] == kind:
            entities[-1] = (entities[-1][0], end, kind, [*entities[-1][3], chance])
        else:
            entities.append((start, end, kind, [chance]))
        open_ = True
    return [(a, b, kind, sum(sure) / len(sure)) for a, b, kind, sure in entities]


@cache
def names(path: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """A gazetteer's pattern, the longest name first, and the type of each name. Raises `BadData`, naming the line."""
    kinds: dict[str, str] = {}
    for number, line in enumerate(read_settings(Path(path)).splitlines(), 1):
        name, tab, kind = line.partition("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if not (name.strip() and tab and kind.strip()):
            raise BadData(f"{path}, line {number}: a name, a tab and a type were due; got {line[:40]!r}.")
        kinds[name.strip()] = kind.strip()
    if not kinds:
        raise BadData(f"{path} holds no name.")
    parts = [
        rf"(?<!\w){re.escape(n)}(?!\w)" if not chinese(n) else re.escape(n)
        for n in sorted(kinds, key=len, reverse=True)
    ]
    return re.compile("|".join(parts)), kinds
