"""Files that an older version wrote (folder `older`) open and say the same, though parts moved to other modules since.

Their parts are named by catalogue and by the paths of that time: `polymodal.answers.hybrid:Hybrid`,
`polymodal.align.contrastive:InfoNCE`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm

OLDER = Path(__file__).parent / "older"
ROWS = json.loads((OLDER / "rows.json").read_text(encoding="utf-8"))
SAID = json.loads((OLDER / "answers.json").read_text(encoding="utf-8"))


def test_the_older_files_name_paths_that_are_gone():
    told = (OLDER / "model" / "config.yaml").read_text(encoding="utf-8")
    assert "polymodal.answers.hybrid:Hybrid" in told
    assert "polymodal.align.contrastive:SigLIP" in (OLDER / "space" / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["model", "number"])
def test_models(name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(OLDER / name, folder)
    columns = pm.load(folder).predict(ROWS)
    assert list(columns) == list(SAID[name])
    for column, values in SAID[name].items():
        if isinstance(values[0], float):
            np.testing.assert_allclose(columns[column], values, rtol=1e-4)
        else:
            assert columns[column] == values
    assert len(pm.load(folder).explain(ROWS)) == len(ROWS["id"])


def test_a_space_and_its_index(tmp_path):
    space = pm.load_space(OLDER / "space")
    assert space.mark == SAID["space"]["mark"], "so that an index made before belongs to it"
    vectors, _ = space.embed("a", [{"a": 0.5, "a2": -1.0}])
    np.testing.assert_allclose(vectors, SAID["space"]["a"], rtol=1e-4, atol=1e-6)
    shutil.copytree(OLDER / "index", tmp_path / "index")
    hits = pm.open_index(tmp_path / "index", OLDER / "space").search(row="r3", k=4)
    assert [hit.id for hit in hits] == SAID["index"]
