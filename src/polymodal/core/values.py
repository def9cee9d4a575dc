"""Values that people write: YAML read with errors of ours, and options checked against a dataclass's own type hints."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Any

from polymodal.core.errors import BadArgument

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type: "a class",
    Callable: "a function",
    type(None): "nothing",
    Mapping: "'name: value' pairs",
    Sequence: "a list",
}


def read_yaml(text: str, what: str) -> Any:
    """The value that YAML `text` holds. Raises `BadArgument` that says where in `what` the fault is.

    `1e-3` is a number here, as people mean it; YAML 1.1 takes it for text.
    """
    import yaml

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadArgument(f"{what} is not valid YAML{place}: {getattr(error, 'problem', None) or error}.") from error


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe YAML whose numbers may have an exponent without a point."""

    number = re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader


def check_types(options: Any) -> None:
    """Raise `BadArgument` for the first field of a dataclass instance whose value does not fit its type hint."""
    hints = typing.get_type_hints(type(options))
    for one in fields(options):
        value, hint = getattr(options, one.name), hints[one.name]
        if not _fits(value, hint):
            allowed = " or ".join(dict.fromkeys(_words(hint)))
            raise BadArgument(f"{one.name} takes {allowed}; got {value!r}.")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _words(hint: Any) -> list[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [word for one in inner for word in _words(one)]
    if origin is tuple:
        return [f"a list of {len(inner)} numbers"]
    return [_WORDS[origin or hint]]
