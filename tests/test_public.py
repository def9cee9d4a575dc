"""The names of `import polymodal as pm`."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import polymodal as pm


@pytest.mark.parametrize("name", pm.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pm, name) is not None
    assert name in dir(pm)


def test_no_module_hides_a_public_name():
    """Importing `polymodal.x` sets the attribute `x` of the package, whatever it was before.

    A package may be a command at once, when calling it is the command.
    """
    for name in {module.name for module in pkgutil.iter_modules(pm.__path__)} & set(pm.__all__):
        assert callable(importlib.import_module(f"polymodal.{name}"))


def test_names_mean_the_same_after_their_modules_were_imported():
    for name, module in pm._LAZY.items():
        assert getattr(pm, name) is getattr(importlib.import_module(module), name)


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = pm.fitt
