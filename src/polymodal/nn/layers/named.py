"""Modules under names that users choose: columns and targets."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator

from torch import nn


def module_name(name: str) -> str:
    """What a module called `name` is called within another: no dot in it, and never one of torch's own attributes.

    Different names stay different.
    """
    return "of_" + name.replace("%", "%25").replace(".", "%2E")


class Named(nn.ModuleDict):
    """A `ModuleDict` that takes any name; torch's own refuses dots, and `type`, `values`, `keys` …"""

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(module_name(key))

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(module_name(key), module)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(module_name(key))

    def __contains__(self, key: str) -> bool:
        return super().__contains__(module_name(key))

    def __iter__(self) -> Iterator[str]:
        return (_user_name(name) for name in super().__iter__())

    def keys(self) -> list[str]:  # type: ignore[override]
        return list(self)

    def items(self) -> ItemsView[str, nn.Module]:  # type: ignore[override]
        return dict(zip(self, self.values())).items()


def _user_name(name: str) -> str:
    return name.removeprefix("of_").replace("%2E", ".").replace("%25", "%")
