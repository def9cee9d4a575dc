"""Every catalogued target keeps the laws."""

from __future__ import annotations

import pytest

from polymodal.targets import TARGETS
from polymodal.testing import check_target
from polymodal.testing.target import CELLS


@pytest.mark.parametrize("kind", TARGETS)
def test_target_keeps_the_laws(kind: str):
    check_target(kind, CELLS[kind])
