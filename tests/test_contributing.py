"""The snippets of CONTRIBUTING.md run as they stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, flags=re.DOTALL))


def test_the_fusion_is_written_in_20_lines_and_keeps_the_laws(tmp_path: Path):
    assert set(BLOCKS) == {"my_fusions.py", "test_my_fusions.py"}
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    written = next(node for node in ast.parse(BLOCKS["my_fusions.py"]).body if isinstance(node, ast.ClassDef))
    assert written.end_lineno - written.lineno < 20
    done = subprocess.run(
        [sys.executable, "-c", "import torch; torch.set_num_threads(1); import test_my_fusions as t; t.test_maximum()"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_dotted_path_names_it(tmp_path: Path, monkeypatch):
    from polymodal.fusion import FUSIONS

    (tmp_path / "my_fusions_by_path.py").write_text(BLOCKS["my_fusions.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    part = FUSIONS.build({"name": "my_fusions_by_path:Maximum", "dropout": 0.3}, {"a": 2, "b": 3}, 4)
    assert FUSIONS.spec(part) == {"name": "my_fusions_by_path:Maximum", "dropout": 0.3}


def test_what_it_names_exists():
    import polymodal.testing

    root = Path(__file__).parents[1]
    for path in re.findall(r"`((?:docs|src|tests)/[\w./]+)`", TEXT):
        assert (root / path).exists(), path
    for check in re.findall(r"`(check_\w+)`", TEXT):
        assert check in polymodal.testing.__all__
