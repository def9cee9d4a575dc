"""Catalogues: from a spec (a name, a dict, a class, a dotted path or an instance) to a part.

A family's `__init__.py` holds one `Catalogue`: a table from name to `module:Class`, with a summary and a source,
so that
listing imports nothing heavy. A part's configuration is its constructor's keyword-only arguments, stored untouched
under their own names, so a part can always be written back as a spec.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.shown import some
from polymodal.core.trust import check_path, is_path
from polymodal.core.values import check_type

T = TypeVar("T", bound=type)
Spec = Any  # "gated" | {"name": "gated", "temperature": 0.5} | "pkg.mod:Class" | Class | instance


@dataclass(frozen=True)
class Engine:
    """What does a part's work: a package under a licence (an SPDX id).

    `name` is what the part's option `engine` calls it, where it has one. `model` says where the engine's model comes
    from: `inside` (the package brings it along: no download), `learnt` (from the user's own data), `named` (the user
    names one: a download, or a folder or file at hand), or nothing (it needs none).
    """

    package: str
    licence: str
    extra: str = ""  # the optional dependency group that brings it
    name: str = ""
    model: str = ""

    def called(self, name: str, *, model: str | None = None) -> Engine:
        """The same engine as the option `engine` calls it; with another `model`, if one is given."""
        return replace(self, name=name, model=self.model if model is None else model)


@dataclass(frozen=True)
class Entry:
    """One catalogued part. `path` is `module:Class`; `source` names authors and year, or `folklore`."""

    path: str
    summary: str
    source: str
    extra: str = ""  # the optional dependency group it needs
    tags: tuple[str, ...] = ()
    engines: tuple[Engine, ...] = ()  # of the ops of preparing, the default one first


class Catalogue:
    """The named parts of one family.

    Names come from the table, from `register`, and from installed packages' entry points of the group
    `polymodal.<family>`.
    """

    def __init__(self, family: str, base: str, entries: Mapping[str, Entry]):
        self.family = family
        self.base = base
        self._entries = dict(entries)
        self._classes: dict[str, type] = {}
        self._plugins_read = False

    def _table(self) -> dict[str, Entry]:
        if not self._plugins_read:
            from importlib.metadata import entry_points

            self._plugins_read = True
            for point in entry_points(group=f"polymodal.{self.family}"):
                self._entries.setdefault(point.name, Entry(point.value, f"plugin of {point.dist}", str(point.dist)))
        return self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table()))

    def __contains__(self, name: object) -> bool:
        return name in self._table()

    def __len__(self) -> int:
        return len(self._table())

    def entry(self, name: str) -> Entry:
        """The table row of `name`. Raises `UnknownName`."""
        table = self._table()
        if name not in table:
            raise UnknownName(f"No {self.family} is called {name!r}.{suggest(name, table)}")
        return table[name]

    def register(self, name: str, *, summary: str = "", source: str = "user") -> Callable[[T], T]:
        """Class decorator that adds a part under `name`. Raises `BadArgument` if the name is taken."""

        def add(cls: T) -> T:
            if name in self._table():
                raise BadArgument(f"The {self.family} {name!r} exists already; choose another name.")
            doc = summary or (inspect.getdoc(cls) or "").split("\n")[0]
            self._entries[name] = Entry(f"{cls.__module__}:{cls.__qualname__}", doc, source)
            self._classes[name] = cls
            return cls

        return add

    def load(self, name: str) -> type:
        """The class behind a catalogue name or a dotted path `pkg.mod:Class`. Imports it.

        Raises `BadData` for a path that the bundle which is being opened may not name; see `core.trust`.
        """
        if name in self._classes:
            return self._classes[name]
        if name not in self._table() and ":" in name:
            return self._checked(import_part(name, (self,)), name)
        path = self.entry(name).path
        self._classes[name] = self._checked(import_path(path), path)
        return self._classes[name]

    def known(self, path: str) -> str | None:
        """The catalogue name of the part at a dotted path, if it has one.

        A part of ours is known by its class wherever older versions had its module, so that their files still open.
        """
        table = self._table()
        if same := [name for name, entry in table.items() if entry.path == path]:
            return same[0]
        ours = path.startswith("polymodal.")
        cls = path.partition(":")[2]
        moved = [n for n, e in table.items() if ours and e.path.startswith("polymodal.") and e.path.endswith(f":{cls}")]
        return moved[0] if len(moved) == 1 else None

    def _checked(self, cls: Any, path: str) -> type:
        base = import_path(self.base)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise BadArgument(f"{path} is not a {self.family}: it must subclass {self.base.replace(':', '.')}.")
        return cls

    def resolve(self, spec: Spec) -> tuple[type, dict[str, Any]]:
        """The class and the keyword arguments that `spec` names.

        Raises `UnknownName` for an unknown part, `BadArgument` for an unknown keyword argument or a value that is not
        of its type.
        """
        if isinstance(spec, type):
            return spec, {}
        if isinstance(spec, str):
            return self.load(spec), {}
        if isinstance(spec, Mapping):
            options = dict(spec)
            name = options.pop("name", None)
            if not isinstance(name, str | type):
                said = "got " + (repr(name) if name is not None else str(sorted(map(str, options))))
                raise BadArgument(f"A {self.family} given as a dict needs the key 'name'; {said}.")
            cls = name if isinstance(name, type) else self.load(name)
            check_options(cls, options, label=str(name))
            return cls, options
        raise BadArgument(
            f"A {self.family} is given as a name, a dict with 'name', a class or 'pkg.mod:Class'; got {spec!r}."
        )

    def build(self, spec: Spec, *given: Any) -> Any:
        """An instance: positional `given` come from the parent (widths and facts), options from the spec.

        An instance passes through untouched.
        """
        if isinstance(spec, import_path(self.base)):
            return spec
        cls, given_options = self.resolve(spec)
        needed = [name for name, p in options(cls).items() if p.default is p.empty and name not in given_options]
        if needed:
            label = spec if isinstance(spec, str) else self.name_of(cls)
            raise BadArgument(f"{label} needs {', '.join(needed)}: give it as an option. `polymodal show` tells more.")
        return cls(*given, **given_options)

    def name_of(self, part: Any) -> str:
        """The catalogue name of an instance or class, or its dotted path when it has none."""
        cls = part if isinstance(part, type) else type(part)
        path = f"{cls.__module__}:{cls.__qualname__}"
        for name, entry in self._table().items():
            if entry.path == path or self._classes.get(name) is cls:
                return name
        return path

    def spec(self, part: Any) -> dict[str, Any]:
        """The dict that rebuilds `part`: its name and those options that differ from their defaults."""
        return {"name": self.name_of(part), **options_of(part)}


def label(spec: Spec) -> str:
    """A spec in words: `gated`, `gated(temperature=0.5)`, the class's own name."""
    if isinstance(spec, Mapping) and "name" in spec:
        options = ", ".join(f"{k}={v}" for k, v in spec.items() if k != "name")
        return f"{label(spec['name'])}({options})" if options else label(spec["name"])
    if isinstance(spec, str):
        return spec.rsplit(":", 1)[-1]
    return spec.__name__ if isinstance(spec, type) else type(spec).__name__


def in_words(spec: Spec) -> str:
    """A spec for a sentence: `text`, `text, references: says_0, says_1`."""
    given = {k: v for k, v in spec.items() if k != "name"} if isinstance(spec, Mapping) else {}
    told = [f"{k}: {some(v, len(v)) if isinstance(v, list | tuple) else v}" for k, v in given.items()]
    return ", ".join([label(spec["name"] if isinstance(spec, Mapping) else spec), *(["; ".join(told)] if told else [])])


def plain(value: Any) -> Any:
    """Specs as plain values: classes and functions by their dotted path, instances by class and options."""
    if isinstance(value, type) or inspect.isfunction(value):
        return f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if hasattr(value, "item"):  # a scalar of NumPy or torch
        return value.item()
    return {"name": plain(type(value)), **options_of(value)}


def options(cls: type) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a part's constructor: what a user may set."""
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def options_of(part: Any) -> dict[str, Any]:
    """The options of an instance that differ from their defaults, read back from its attributes."""
    changed = {}
    for name, parameter in options(type(part)).items():
        if not hasattr(part, name):
            raise BadArgument(
                f"{type(part).__name__} does not keep its option {name!r}: a constructor stores every keyword-only "
                "argument untouched under its own name, so that the part can be written back as a spec."
            )
        value = getattr(part, name)
        if parameter.default is parameter.empty or value != parameter.default:
            changed[name] = value
    return changed


def check_options(cls: type, given: Mapping[str, Any], *, label: str) -> None:
    """Raise `BadArgument` for the first option that the constructor does not have, or whose value is not of the type
    that the constructor's annotation says."""
    allowed = options(cls)
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError:  # of a part from outside whose annotations only a type checker can read
        hints = {}
    for name, value in given.items():
        if name not in allowed:
            raise BadArgument(f"Unknown argument {name!r} of {label}.{suggest(str(name), allowed)}")
        if name in hints and not (value is None and allowed[name].default is None):
            check_type(name, value, hints[name], of=label)


def import_part(path: str, catalogues: Iterable[Catalogue]) -> Any:
    """What a dotted path names: a part that one of the catalogues has, or else whatever lies there.

    Raises `BadData` for a path that the bundle which is being opened may not name, `UnknownName` where nothing lies.
    """
    for catalogue in catalogues:
        if (name := catalogue.known(path)) is not None:
            return catalogue.load(name)
    check_path(path)
    return import_path(path)


def import_path(path: str) -> Any:
    """The object behind `package.module:Name`. Raises `UnknownName`."""
    if not is_path(path):
        mapping = "; a part with options is a mapping, as {'name': …, …}" if "{" in path else ""
        raise UnknownName(f"{path!r} is no dotted path, which is written 'package.module:Class'{mapping}.")
    module, _, attribute = path.partition(":")
    try:
        target: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise
        raise UnknownName(
            f"No module {module!r} for {path!r}. A dotted path is written 'package.module:Class'."
        ) from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            public = [name for name in vars(target) if not name.startswith("_")]
            raise UnknownName(f"{module!r} has no {attribute!r}.{suggest(attribute, public)}")
        target = getattr(target, part)
    return target
