"""YAML as people write it, and options checked against their type hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_types, read_yaml


@dataclass(frozen=True)
class Options:
    count: int = 1
    rate: float = 0.1
    name: str = "a"
    sure: bool = True
    limit: float | None = None
    specs: str | Sequence[Any] = "auto"
    table: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[float, float] = (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+4", -20000.0),
        ("1.5e-3", 0.0015),
        ("{lr: 3e-4, clip: 1}", {"lr": 3e-4, "clip": 1}),
        ("e3", "e3"),
        ("", None),
    ],
)
def test_exponents_need_no_point(text, value):
    assert read_yaml(text, "it") == value


def test_faulty_yaml_says_where():
    with pytest.raises(BadArgument, match=r"^--set training is not valid YAML, line 1, column 11: "):
        read_yaml("{epochs: [}", "--set training")


@pytest.mark.parametrize(
    "given",
    [
        {"count": np.int64(3)},
        {"rate": 2},
        {"rate": np.float32(0.5)},
        {"limit": None},
        {"limit": 3},
        {"specs": ["a", {"name": "b"}]},
        {"shares": (1, 0.0)},
    ],
)
def test_values_that_fit_pass(given):
    check_types(Options(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": "many"}, "count takes a whole number; got 'many'."),
        ({"count": 2.5}, "count takes a whole number; got 2.5."),
        ({"count": True}, "count takes a whole number; got True."),
        ({"rate": "1"}, "rate takes a number; got '1'."),
        ({"rate": 10**400}, f"rate takes a number; got {10**400}."),
        ({"name": None}, "name takes text; got None."),
        ({"sure": 1}, "sure takes true or false; got 1."),
        ({"limit": "x"}, "limit takes a number or nothing; got 'x'."),
        ({"specs": 3}, "specs takes text or a list; got 3."),
        ({"table": [1]}, "table takes 'name: value' pairs; got [1]."),
        ({"shares": (1.0,)}, "shares takes a list of 2 numbers; got (1.0,)."),
    ],
)
def test_values_that_do_not_fit_are_named(given, message):
    with pytest.raises(BadArgument) as error:
        check_types(Options(**given))
    assert str(error.value) == message
