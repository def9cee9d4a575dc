"""A small table of pictures, questions and titles, and tiny models of every kind."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_generators
import torch
from PIL import Image

from polymodal import cli


@pytest.fixture(scope="session")
def album(tmp_path_factory) -> SimpleNamespace:
    """Five pictures, a broken one and a missing one, with a question each."""
    folder, rng = tmp_path_factory.mktemp("album"), np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    photos = [*(str(folder / f"{i}.png") for i in range(5)), str(folder / "broken.png"), None]
    questions = ["what is it", "who", "what is it", "a b c", "who sits", "who", "who"]
    return SimpleNamespace(folder=folder, photos=photos, table={"photo": photos, "question": questions})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tiny model by the name of what saves it, made once."""
    made: dict[str, str] = {}

    def model(kind: str, *given: Path, **options) -> str:
        key = f"{kind} {options}"
        if key not in made:
            folder = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            made[key] = getattr(tiny_generators, f"save_{kind}")(folder, *given, **options)
        return made[key]

    return model


@pytest.fixture
def polymodal(monkeypatch, capsys):
    """Runs the command line: code, output, errors."""

    def call(*arguments) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return SimpleNamespace(code=stopped.value.code or 0, **capsys.readouterr()._asdict())

    return call
