"""Filters on columns, as text or as plain data: parsed here, never evaluated as code.

    price < 30 and brand == "x"                comparisons: == != < <= > >=, of a column and a number or a string
    10 <= price < 30                           chained
    brand in ("x", "y") and not sold == true   lists; and, or, not; brackets
    title contains "red"                       part of a text, or one entry of a list; capitals do not matter
    photo is missing, `unit price` is not missing     backticks around names with blanks

A string literal compares with the column's text, a number with its number (a column read from CSV has both). What is
missing, or is no number where one is asked for, neither fulfils a condition nor its contrary, as in SQL.

As plain data: `{"brand": "x", "price": {"<": 30, ">=": 10}, "size": ["s", "m"], "photo": None}`; all must hold.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from polymodal.core.errors import BadArgument, suggest

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<column>`[^`]+`)|(?P<name>[^\W\d]\w*)|(?P<sign>==|!=|<=|>=|<|>|=|\(|\)|,))"
)
_WORDS = ("and", "or", "not", "in", "is", "missing", "contains", "true", "false")


class Columns(Protocol):
    """Where values come from: `column(name, form)` is a column as `number` or as `text`."""

    def column(self, name: str, form: str) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Answer:
    """Kleene's three values (1938): `yes` and `no` [R] bool, and neither where a value is unknown."""

    yes: np.ndarray
    no: np.ndarray


Condition = Callable[[Columns], Answer]


def matching(where: str | Mapping[str, Any], columns: Columns) -> np.ndarray:
    """[R] bool: rows that fulfil the filter.

    Raises `BadArgument` for one that cannot be read, naming the place, `UnknownName` for a column that is not there.
    """
    condition = _Parser(where).parsed() if isinstance(where, str) else _structured(where)
    return condition(columns).yes


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str):
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0

    def parsed(self) -> Condition:
        condition = self._any()
        if self._kind() != "end":
            raise self._error("Expected `and`, `or` or the end")
        return condition

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else _joined(parts, every=False)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _joined(parts, every=True)

    def _one(self) -> Condition:
        if self._take("not"):
            return _not(self._one())
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        left = self._operand()
        if self._take("is"):
            negated = self._take("not")
            self._expect("missing")
            return _is_missing(self._as_column(left), bool(negated))
        negated = self._take("not")
        if self._take("in"):
            condition = _one_of(self._as_column(left), self._list())
            return _not(condition) if negated else condition
        if self._take("contains"):
            condition = _contains(self._as_column(left), self._literal())
            return _not(condition) if negated else condition
        if negated:
            raise self._error("Expected `in` or `contains` after `not`")
        parts = []
        while (sign := self._sign()) is not None:
            right = self._operand()
            parts.append(self._compared(left, sign, right))
            left = right
        if not parts:
            raise self._error("Expected a comparison (== != < <= > >= in contains is)")
        return parts[0] if len(parts) == 1 else _joined(parts, every=True)

    def _compared(self, left: _Operand, sign: str, right: _Operand) -> Condition:
        if left.column == right.column or (left.column and right.column):
            raise self._error("One side of a comparison is a column and the other a number or a quoted string")
        if left.column:
            return _compare(left.column, sign, right.value)
        return _compare(str(right.column), _MIRRORED[sign], left.value)

    def _operand(self) -> _Operand:
        kind, text, _ = self.tokens[self.at]
        if kind == "column" or (kind == "name" and text not in _WORDS):
            self.at += 1
            return _Operand(text.strip("`"), None)
        return _Operand(None, self._literal())

    def _literal(self) -> Any:
        kind, text, _ = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return float(text)
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if text in ("true", "false"):
            return text
        self.at -= 1
        raise self._error("Expected a column, a number or a quoted string")

    def _list(self) -> list[Any]:
        self._expect("(")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._expect(")")
        return values

    def _as_column(self, operand: _Operand) -> str:
        if operand.column is None:
            raise self._error("Expected a column before this")
        return operand.column

    def _sign(self) -> str | None:
        for sign in ("==", "!=", "<=", ">=", "<", ">"):
            if self._take(sign):
                return sign
        if self._take("="):
            return "=="
        return None

    def _kind(self) -> str:
        return self.tokens[self.at][0]

    def _take(self, word: str) -> bool:
        kind, text, _ = self.tokens[self.at]
        if kind in ("name", "sign") and text == word:
            self.at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._error(f"Expected `{word}`")

    def _error(self, what: str) -> BadArgument:
        kind, text, place = self.tokens[self.at]
        here = "its end" if kind == "end" else f"{text!r} (character {place + 1})"
        quote = f' Write a string in quotes: "{text}".' if kind == "name" and text not in _WORDS else ""
        return BadArgument(f"The filter {self.text!r} cannot be read. {what}, but found {here}.{quote}")


@dataclass(frozen=True)
class _Operand:
    column: str | None
    value: Any


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            at = len(text) - len(rest)
            hint = " A quote is not closed." if rest[0] in "\"'`" else ""
            raise BadArgument(f"The filter {text!r} cannot be read from character {at + 1} on: {rest[:20]!r}.{hint}")
        kind = str(match.lastgroup)
        tokens.append((kind, match[kind], match.start(kind)))
        place = match.end()
    return [*tokens, ("end", "", len(text))]


def _structured(where: Mapping[str, Any]) -> Condition:
    parts: list[Condition] = []
    for column, wanted in where.items():
        if wanted is None:
            parts.append(_is_missing(column, negated=False))
        elif isinstance(wanted, Mapping):
            for sign, value in wanted.items():
                if sign == "contains":
                    parts.append(_contains(column, _plain(column, value)))
                    continue
                if sign not in _COMPARE:
                    raise BadArgument(f"No comparison {sign!r} of {column!r}.{suggest(sign, [*_COMPARE, 'contains'])}")
                parts.append(_compare(column, sign, _plain(column, value)))
        elif isinstance(wanted, list | tuple | set):
            parts.append(_one_of(column, [_plain(column, value) for value in wanted]))
        else:
            parts.append(_compare(column, "==", _plain(column, wanted)))
    if not parts:
        raise BadArgument("An empty filter holds nothing back; leave it out.")
    return _joined(parts, every=True)


def _plain(column: str, value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        raise BadArgument(f"The filter on {column!r} takes strings and numbers; got {type(value).__name__}.")
    return value


def _compare(column: str, sign: str, value: Any) -> Condition:
    def answer(columns: Columns) -> Answer:
        if isinstance(value, float):
            held = columns.column(column, "number")
            known = ~np.isnan(held)
            if not known.any():
                _refuse_words(columns, column, value)
        else:
            held = columns.column(column, "text")
            known = _given(held)
        yes = np.zeros(len(held), dtype=bool)
        yes[known] = _COMPARE[sign](held[known], value).astype(bool)
        return Answer(yes, known & ~yes)

    return answer


def _refuse_words(columns: Columns, column: str, value: float) -> None:
    words = [word for word in columns.column(column, "text") if word is not None]
    if words:
        raise BadArgument(
            f"Column {column!r} holds no number (its first value is {words[0][:40]!r}), so it cannot be compared with "
            f"{value:g}. Write the value in quotes."
        )


def _one_of(column: str, values: list[Any]) -> Condition:
    return _joined([_compare(column, "==", value) for value in values], every=False)


def _contains(column: str, value: Any) -> Condition:
    if not isinstance(value, str):
        raise BadArgument(f"{column} contains takes a quoted string; got {value:g}.")
    part = value.casefold()

    def answer(columns: Columns) -> Answer:
        held = columns.column(column, "text")
        known = _given(held)
        yes = np.array([text is not None and part in text.casefold() for text in held], dtype=bool)
        return Answer(yes, known & ~yes)

    return answer


def _is_missing(column: str, negated: bool) -> Condition:
    def answer(columns: Columns) -> Answer:
        given = _given(columns.column(column, "text"))
        return Answer(given, ~given) if negated else Answer(~given, given)

    return answer


def _given(texts: np.ndarray) -> np.ndarray:
    """[R] bool: which of the texts are there."""
    return np.array([text is not None for text in texts], dtype=bool)


def _not(condition: Condition) -> Condition:
    def answer(columns: Columns) -> Answer:
        inner = condition(columns)
        return Answer(inner.no, inner.yes)

    return answer


def _joined(parts: list[Condition], *, every: bool) -> Condition:
    """All of them, or any of them: by De Morgan one is the other with yes and no exchanged."""

    def answer(columns: Columns) -> Answer:
        answers = [part(columns) for part in parts]
        yes, no = np.stack([a.yes for a in answers]), np.stack([a.no for a in answers])
        both, either = np.logical_and.reduce, np.logical_or.reduce
        return Answer(both(yes), either(no)) if every else Answer(either(yes), both(no))

    return answer
