"""Values that people write: YAML read with errors of ours, and options checked against the hints of what takes them."""

from __future__ import annotations

import math
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument
from polymodal.core.limits import DEEPEST, read_settings

_OF: dict[Any, str] = {int: " of whole numbers", float: " of numbers", str: " of texts"}  # what a list holds
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type: "a class",
    Callable: "a function",
    type(None): "nothing",
    Mapping: "'name: value' pairs",
    dict: "'name: value' pairs",
    Sequence: "a list",
}
_MOST_NODES, _SPREAD = 100_000, 10  # values that aliases may make of a document, and how many times its own


def read_yaml(text: str, what: str, *, written: bool = False) -> Any:
    """The value that YAML `text` holds. Raises `BadArgument` that says where in `what` the fault is.

    `1e-3` is a number here, as people mean it; YAML 1.1 takes it for text, and so it stays in a file of ours
    (`written`). A name that is given twice in one mapping is refused, since the first would be lost unsaid; so are
    values that nest deeper than `DEEPEST`, hold themselves, or grow beyond all measure through aliases.
    """
    import yaml

    try:
        return yaml.load(text, _loader(written))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadArgument(f"{what} is not valid YAML{place}: {getattr(error, 'problem', None) or error}.") from error
    except RecursionError as error:
        raise BadArgument(f"{what} is not valid YAML: it nests deeper than {DEEPEST} levels.") from error


@cache
def _loader(written: bool) -> Any:
    import yaml

    def refused(problem: str, node: Any) -> Exception:
        return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    class Loader(yaml.SafeLoader):
        """Safe YAML whose numbers may have an exponent without a point, and which bounds what a document may become."""

        def __init__(self, stream: Any):
            super().__init__(stream)
            self._depth = 0
            self._sizes: dict[int, int] = {}  # of a finished node: how many values it stands for, aliases counted

        def compose_node(self, parent: Any, index: Any) -> Any:
            self._depth += 1
            named = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            self._depth -= 1
            if named and id(node) not in self._sizes:  # it is not finished
                raise refused("a value holds itself", node)
            if self._depth >= DEEPEST:
                raise refused(f"it nests deeper than {DEEPEST} levels", node)
            if id(node) in self._sizes:  # an alias
                return node
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            size = 1
            for one in [x for part in parts for x in (part if isinstance(part, tuple) else (part,))]:
                size += self._sizes[id(one)]
            self._sizes[id(node)] = size
            if size > max(_MOST_NODES, _SPREAD * len(self._sizes)):
                raise refused(f"its aliases make more than {_MOST_NODES:,} values of it", node)
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: dict[Any, int] = {}
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                    continue
                if (first := seen.get((key.tag, key.value))) is not None:
                    raise refused(f"{key.value!r} is given twice, first in line {first}; keep one", key)
                seen[key.tag, key.value] = key.start_mark.line + 1
            return super().construct_mapping(node, deep)

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
                raise refused(
                    f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]} ({error})", node
                ) from error

    number = re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$")
    if not written:
        Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader


def read_written(path: Path) -> Any:
    """What we wrote into a YAML file with `yaml.safe_dump`. Raises as `read_yaml` and `read_settings`."""
    return read_yaml(read_settings(path), str(path), written=True)


def check_types(options: Any) -> None:
    """Raise `BadArgument` for the first field of a dataclass instance whose value does not fit its type hint."""
    hints = typing.get_type_hints(type(options))
    for one in fields(options):
        check_type(one.name, getattr(options, one.name), hints[one.name])


def check_type(name: str, value: Any, hint: Any, *, of: str = "") -> None:
    """Raise `BadArgument` when the value of an option, `of` some part, does not fit its type hint."""
    if not _fits(value, hint):
        allowed = " or ".join(dict.fromkeys(_words(hint)))
        raise BadArgument(f"{name}{f' of {of}' if of else ''} takes {allowed}; got {value!r}.")


def check_range(interval: str, unit: str = "", /, **values: float | None) -> None:
    """Raise `BadArgument` for the first option that lies outside an interval such as "[0, 1)", of `unit`; None may."""
    low, high = map(float, interval[1:-1].split(","))
    closed, open_ = interval[0] == "[", interval[-1] == ")"
    for name, value in values.items():
        if value is None or ((low <= value if closed else low < value) and (value < high if open_ else value <= high)):
            continue
        allowed = f"between {low:,.6g} and {high:,.10g}"
        if not closed or open_:
            end = "" if high == math.inf else f" and {'below' if open_ else 'at most'} {high:,.10g}"
            allowed = f"{'at least' if closed else 'above'} {low:,.6g}{end}"
        raise BadArgument(f"{name} must be {allowed}{f' {unit}' if unit else ''}; got {value}.")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple and inner[-1] is not ...:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin in (Sequence, list, tuple):  # YAML and JSON have lists alone
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(v, inner[0]) for v in value)
    if origin in (Mapping, dict):
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        if isinstance(value, Integral):
            return not isinstance(value, bool) and (hint is int or abs(int(value)) <= sys.float_info.max)
        return hint is float and isinstance(value, Real) and value == value
    return isinstance(value, origin or hint)


def _words(hint: Any) -> list[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [word for one in inner for word in _words(one)]
    if origin is typing.Literal:
        return [repr(one) for one in inner]
    if origin is tuple and inner[-1] is not ...:
        return [f"a list of {len(inner)} numbers"]
    if origin in (Sequence, list, tuple):
        return [_WORDS[Sequence] + _OF.get(inner[0], "")]
    return [_WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))]


def named_columns(given: str | Sequence[str], columns: Collection[str]) -> list[str]:
    """The columns that are named one by one, or with commas between them; what names one as a whole is not parted."""
    each = [given] if isinstance(given, str) else given
    parts = [part for one in each for part in ([one] if one in columns else one.split(","))]
    return [name for part in parts if (name := part.strip())]
